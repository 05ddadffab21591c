//! What is put in place of what a pattern finds: Go's `Regexp.Expand`.

use std::sync::OnceLock;

use regex::Regex;

/// A replacement, read once.
pub(in super::super) struct Template<'t>(Vec<Part<'t>>);

enum Part<'t> {
    Text(&'t str),
    Group(usize),
}

impl<'t> Template<'t> {
    /// Reads a replacement for a pattern with groups of these names.
    pub(in super::super) fn new(mut text: &'t str, names: &[(Box<str>, usize)]) -> Self {
        let mut parts = Vec::new();
        while let Some((before, rest)) = text.split_once('$') {
            parts.push(Part::Text(before));
            if let Some(rest) = rest.strip_prefix('$') {
                parts.push(Part::Text("$"));
                text = rest;
                continue;
            }
            let Some((name, after)) = name(rest) else {
                parts.push(Part::Text("$"));
                text = rest;
                continue;
            };
            text = after;
            let named = || names.iter().find(|(known, _)| **known == *name);
            match number(name) {
                Some(group) => parts.push(Part::Group(group)),
                None => parts.extend(named().map(|(_, group)| Part::Group(*group))),
            }
        }
        parts.push(Part::Text(text));
        Template(parts)
    }

    /// The replacement for what was found.
    pub(in super::super) fn expand<'f>(&self, group: impl Fn(usize) -> Option<&'f str>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Group(number) => out.push_str(group(*number).unwrap_or_default()),
            }
        }
        out
    }
}

/// The name at the beginning of a text, with or without braces, and what follows.
fn name(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('{');
    let plain = inside.unwrap_or(text);
    let end = plain.find(|c: char| !is_word(c)).unwrap_or(plain.len());
    let (name, rest) = plain.split_at(end);
    let rest = match inside {
        Some(_) => rest.strip_prefix('}')?,
        None => rest,
    };
    (!name.is_empty()).then_some((name, rest))
}

/// Go's letters and digits: fewer than Rust's.
fn is_word(c: char) -> bool {
    static LETTERS: OnceLock<Option<Regex>> = OnceLock::new();
    if c.is_ascii() || !c.is_alphanumeric() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    let letters = LETTERS.get_or_init(|| Regex::new(r"[\pL\p{Nd}]").ok());
    letters
        .as_ref()
        .is_some_and(|letters| letters.is_match(c.encode_utf8(&mut [0; 4])))
}

/// A group's number; one that begins with a zero is a name.
fn number(name: &str) -> Option<usize> {
    if name.len() > 1 && name.starts_with('0') || !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    name.parse().ok().filter(|number| *number < 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::Template;

    #[test]
    fn replacements_name_groups_as_in_go() {
        let names = [("n".into(), 1), ("é".into(), 2), ("n".into(), 2)];
        for (template, want) in [
            ("<$0>$1-${2}", "<all>one-two"),
            ("$n ${n} $é. ${m}", "one one two. "),
            ("$1x$01${1}x", "onex"),
            ("$ ${ n} ${1 $-", "$ ${ n} ${1 $-"),
            ("$$1$$$", "$1$$"),
            ("$1²$٣", "one²"),
            ("$9", ""),
        ] {
            let groups = ["all", "one", "two"];
            let got = Template::new(template, &names).expand(|group| groups.get(group).copied());
            assert_eq!(got, want, "{template}");
        }
    }
}

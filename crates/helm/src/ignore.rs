//! `.helmignore`: shell patterns, one a line, the first that matches decides.

/// The rules of a chart; the default ones ignore hidden files under `templates/`.
#[derive(Clone, Debug)]
pub struct Rules(Vec<Pattern>);

#[derive(Clone, Debug)]
struct Pattern {
    glob: Glob,
    negate: bool,
    folders_only: bool,
    /// Matched against the whole path, not the last part.
    whole: bool,
}

/// A shell pattern as Go's `filepath.Match` reads it.
#[derive(Clone, Debug)]
pub struct Glob(Vec<Part>);

/// What a piece of a pattern matches.
#[derive(Clone, Debug)]
enum Part {
    /// Any characters but slashes.
    Stars,
    /// One character but a slash.
    Any,
    Literal(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Part::Stars | Part::Any => c != '/',
            Part::Literal(own) => *own == c,
            Part::Class { negated, ranges } => {
                c != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If brackets or escapes in it do not close.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let mut parts = Vec::with_capacity(pattern.len());
        let mut chars = pattern.chars().peekable();
        let bad = || "syntax error in pattern".to_owned();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Stars,
                '?' => Part::Any,
                '\\' => Part::Literal(chars.next().ok_or_else(bad)?),
                '[' => class(&mut chars).ok_or_else(bad)?,
                c => Part::Literal(c),
            });
        }
        Ok(Glob(parts))
    }

    /// Whether a text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (mut at, mut chars) = (0, text.chars());
        // The latest stars, and the text from where they are to take one more character.
        let mut again: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            if let Some(Part::Stars) = self.0.get(at) {
                again = Some((at, chars.clone()));
                at += 1;
                continue;
            }
            let mut rest = chars.clone();
            match (self.0.get(at), rest.next()) {
                (None, None) => return true,
                (Some(part), Some(c)) if part.takes(c) => {
                    chars = rest;
                    at += 1;
                    continue;
                }
                _ => {}
            }
            let Some((stars, from)) = &mut again else {
                return false;
            };
            // Stars do not take slashes, so those before them cannot help either.
            if from.next().is_none_or(|c| c == '/') {
                return false;
            }
            chars = from.clone();
            at = *stars + 1;
        }
    }
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Part> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
        let low = class_char(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => class_char(chars)?,
            None => low,
        };
        ranges.push((low, high));
    }
    Some(Part::Class { negated, ranges })
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

impl Default for Rules {
    fn default() -> Self {
        let mut rules = Rules(Vec::new());
        rules.add_defaults();
        rules
    }
}

impl Rules {
    fn add_defaults(&mut self) {
        if let Ok(glob) = Glob::new("templates/.?*") {
            self.0.push(Pattern {
                glob,
                negate: false,
                folders_only: false,
                whole: true,
            });
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// If a line is no pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Rules(Vec::new());
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for line in text.lines() {
            rules.add(line)?;
        }
        rules.add_defaults();
        Ok(rules)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let mut rule = line.trim();
        if rule.is_empty() || rule.starts_with('#') {
            return Ok(());
        }
        if rule.contains("**") {
            return Err("double-star (**) syntax is not supported".to_owned());
        }
        Glob::new(rule)?;
        let negate = rule.starts_with('!');
        if negate {
            rule = &rule[1..];
        }
        let folders_only = rule.ends_with('/');
        if folders_only {
            rule = rule.strip_suffix('/').unwrap_or(rule);
        }
        let (pattern, whole) = match rule.strip_prefix('/') {
            Some(rest) => (rest, true),
            None => (rule, rule.contains('/')),
        };
        self.0.push(Pattern {
            glob: Glob::new(pattern)?,
            negate,
            folders_only,
            whole,
        });
        Ok(())
    }

    /// Whether a path below the chart's folder is left out.
    #[must_use]
    pub fn ignores(&self, path: &str, is_folder: bool) -> bool {
        if matches!(path, "" | "." | "./") {
            return false;
        }
        for pattern in &self.0 {
            let text = if pattern.whole {
                path
            } else {
                path.rsplit('/').next().unwrap_or(path)
            };
            if pattern.negate {
                // As the reference has it: everything that a negated rule does not match is left out.
                if pattern.folders_only && !is_folder || !pattern.glob.matches(text) {
                    return true;
                }
                continue;
            }
            if pattern.folders_only && !is_folder {
                continue;
            }
            if pattern.glob.matches(text) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_shells_do() {
        for (pattern, text, expected) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "a/b.txt", false),
            ("a*b*c", "aXbbYc", true),
            ("a*b*c", "aXbbY", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/b/c", false),
            ("?", "/", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a]", "/", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("", "", true),
            ("*", "", true),
            ("[z-a]", "m", false),
            ("*a/*b", "xa/yb", true),
            ("*a/*b", "x/ya/b", false),
        ] {
            let matched = Glob::new(pattern).map(|glob| glob.matches(text));
            assert_eq!(matched, Ok(expected), "{pattern} on {text}");
        }
        for pattern in ["[", "[a", "[]a]", "[-]", "\\", "[a-]"] {
            assert!(Glob::new(pattern).is_err(), "{pattern}");
        }
    }
}

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

impl Pattern {
    /// A pattern with a mistake matches nothing.
    fn matches(&self, text: &str) -> bool {
        self.glob.matches(text).unwrap_or(false)
    }
}

/// A shell pattern as Go's `filepath.Match` reads it: pieces between stars, each of which is looked at only when a text
/// has got that far. So a mistake in a later one may never show.
#[derive(Clone, Debug)]
pub struct Glob(Vec<Piece>);

#[derive(Clone, Debug)]
struct Piece {
    /// Whether any characters but slashes may come before.
    star: bool,
    /// None: a mistake.
    parts: Option<Vec<Part>>,
}

/// What a part of a pattern matches.
#[derive(Clone, Debug)]
enum Part {
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
            Part::Any => c != '/',
            Part::Literal(own) => *own == c,
            Part::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// A pattern whose brackets or escapes do not close.
const BAD: &str = "syntax error in pattern";

impl Glob {
    /// Reads a pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let after = rest.trim_start_matches('*');
            let star = after.len() < rest.len();
            let (piece, next) = after.split_at(piece_length(after));
            pieces.push(Piece {
                star,
                parts: parts(piece),
            });
            rest = next;
        }
        Glob(pieces)
    }

    /// Whether a text matches.
    ///
    /// # Errors
    /// If brackets or escapes do not close in a piece that was reached.
    pub fn matches(&self, text: &str) -> Result<bool, String> {
        let mut text = text;
        for (index, piece) in self.0.iter().enumerate() {
            let last = index + 1 == self.0.len();
            let parts = match &piece.parts {
                // Trailing stars take everything but slashes.
                Some(parts) if piece.star && parts.is_empty() => return Ok(!text.contains('/')),
                Some(parts) => parts,
                None => return Err(BAD.to_owned()),
            };
            let skips = text.char_indices().map_while(|(at, c)| {
                let passes = at == 0 || !text[..at].ends_with('/');
                (passes && (at == 0 || piece.star)).then_some((at, c))
            });
            let starts = skips.map(|(at, _)| at).chain(
                // Stars may take all that is left.
                (text.is_empty() || piece.star && !text.contains('/')).then_some(text.len()),
            );
            let found = starts
                .filter_map(|at| begins(parts, &text[at..]))
                .find(|rest| !last || rest.is_empty());
            match found {
                Some(rest) => text = rest,
                None => return Ok(false),
            }
        }
        Ok(text.is_empty())
    }
}

/// What follows in a text that begins with these parts.
fn begins<'t>(parts: &[Part], text: &'t str) -> Option<&'t str> {
    let mut chars = text.chars();
    let begins = parts
        .iter()
        .all(|part| chars.next().is_some_and(|c| part.takes(c)));
    begins.then_some(chars.as_str())
}

/// Up to the next star outside of brackets.
fn piece_length(text: &str) -> usize {
    let mut inside = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => inside = true,
            ']' => inside = false,
            '*' if !inside => return at,
            _ => {}
        }
    }
    text.len()
}

fn parts(piece: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut chars = piece.chars().peekable();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '?' => Part::Any,
            '\\' => Part::Literal(chars.next()?),
            '[' => class(&mut chars)?,
            c => Part::Literal(c),
        });
    }
    Some(parts)
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
        self.0.push(Pattern {
            glob: Glob::new("templates/.?*"),
            negate: false,
            folders_only: false,
            whole: true,
        });
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
        // As the reference tries it.
        Glob::new(rule).matches("abc")?;
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
            glob: Glob::new(pattern),
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
                if pattern.folders_only && !is_folder || !pattern.matches(text) {
                    return true;
                }
                continue;
            }
            if pattern.folders_only && !is_folder {
                continue;
            }
            if pattern.matches(text) {
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
            ("[^a]", "/", true),
            ("a[/]b", "a/b", true),
            ("**b", "aab", true),
            ("*é?", "xéa", true),
            ("b*[", "abc", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("", "", true),
            ("*", "", true),
            ("[z-a]", "m", false),
            ("*a/*b", "xa/yb", true),
            ("*a/*b", "x/ya/b", false),
        ] {
            let matched = Glob::new(pattern).matches(text);
            assert_eq!(matched, Ok(expected), "{pattern} on {text}");
        }
        for pattern in ["[", "[a", "[]a]", "[-]", "\\", "[a-]"] {
            assert!(Glob::new(pattern).matches("").is_err(), "{pattern}");
        }
    }
}

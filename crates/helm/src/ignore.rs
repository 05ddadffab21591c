//! `.helmignore`: shell patterns, one a line, the first that matches decides.

use std::fmt::Write as _;

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
pub struct Glob(regex::Regex);

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If brackets or escapes in it do not close.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let mut expression = String::from("(?s)^");
        let mut chars = pattern.chars().peekable();
        let bad = || "syntax error in pattern".to_owned();
        while let Some(c) = chars.next() {
            match c {
                '*' => expression.push_str("[^/]*"),
                '?' => expression.push_str("[^/]"),
                '\\' => push_literal(&mut expression, chars.next().ok_or_else(bad)?),
                '[' => class(&mut chars, &mut expression).ok_or_else(bad)?,
                c => push_literal(&mut expression, c),
            }
        }
        expression.push('$');
        regex::Regex::new(&expression).map(Glob).map_err(|_| bad())
    }

    /// Whether a text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

fn push_literal(expression: &mut String, c: char) {
    expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, expression: &mut String) -> Option<()> {
    expression.push('[');
    if chars.peek() == Some(&'^') {
        chars.next();
        expression.push('^');
    }
    let mut ranges = 0;
    loop {
        if chars.peek() == Some(&']') && ranges > 0 {
            chars.next();
            break;
        }
        let low = class_char(chars)?;
        let mut high = low;
        if chars.peek() == Some(&'-') {
            chars.next();
            high = class_char(chars)?;
        }
        ranges += 1;
        if low <= high {
            // Writing into a String cannot fail.
            let _ = write!(
                expression,
                "\\x{{{:x}}}-\\x{{{:x}}}",
                u32::from(low),
                u32::from(high)
            );
        }
    }
    expression.push_str("&&[^/]]");
    Some(())
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

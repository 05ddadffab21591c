//! Regular expressions of schemas: RE2's language, with Go's error texts where they are shown.

use std::fmt;
use std::sync::OnceLock;

use regex::Regex;

/// A pattern of a schema, compiled when a value first meets it: most never do, and compiled ones
/// are large.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    source: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(crate) fn new(source: &str) -> Pattern {
        Pattern {
            source: source.to_owned(),
            compiled: OnceLock::new(),
        }
    }

    /// Whether a text has a match; a pattern that is none says nothing.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&self.source).ok());
        compiled.as_ref().is_none_or(|pattern| pattern.is_match(text))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// Compiles a pattern within a size limit.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let built = regex::RegexBuilder::new(pattern)
        .size_limit(4 * 1024 * 1024)
        .build();
    built.map_err(|error| format!("error parsing regexp: {}", reason(pattern, &error)))
}

/// Go's words for the common mistakes.
fn reason(pattern: &str, error: &regex::Error) -> String {
    let text = error.to_string();
    let said = |part: &str| text.contains(part);
    if said("unclosed group") {
        format!("missing closing ): `{pattern}`")
    } else if said("unopened group") {
        format!("unexpected ): `{pattern}`")
    } else if said("unclosed character class") {
        let from = pattern.rfind('[').unwrap_or(0);
        format!("missing closing ]: `{}`", &pattern[from..])
    } else if said("repetition operator missing expression") {
        let operator = pattern.find(['*', '+', '?']).map_or("*", |at| &pattern[at..=at]);
        format!("missing argument to repetition operator: `{operator}`")
    } else if said("look-around") {
        let from = pattern.find("(?").unwrap_or(0);
        let end = (from + 3).min(pattern.len());
        format!(
            "invalid or unsupported Perl syntax: `{}`",
            pattern.get(from..end).unwrap_or("(?")
        )
    } else if said("incomplete escape sequence") {
        "trailing backslash at end of expression: ``".to_owned()
    } else if said("unrecognized escape sequence") {
        let from = pattern.find('\\').unwrap_or(0);
        let end = (from + 2).min(pattern.len());
        format!(
            "invalid escape sequence: `{}`",
            pattern.get(from..end).unwrap_or("\\")
        )
    } else if said("size limit") {
        format!("expression too large: `{pattern}`")
    } else {
        format!("invalid regular expression: `{pattern}`")
    }
}

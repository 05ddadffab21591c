//! Regular expressions of schemas: RE2's language, with Go's error texts where they are shown.

use regex::Regex;

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

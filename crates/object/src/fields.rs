//! Field selectors: `metadata.name=a,status.phase!=Running`.

use std::fmt;

/// A text that is no field selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSelectorError(String);

impl fmt::Display for FieldSelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FieldSelectorError {}

/// One term of a field selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// The field's path, as the selector names it.
    pub field: String,
    /// Whether the field must equal the value; else it must differ.
    pub equal: bool,
    /// The value, unescaped.
    pub value: String,
}

/// Terms that must all hold. Without terms every object is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

impl FieldSelector {
    /// Selects everything.
    #[must_use]
    pub fn everything() -> Self {
        FieldSelector::default()
    }

    /// Reads a selector.
    pub fn parse(text: &str) -> Result<Self, FieldSelectorError> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut terms = Vec::with_capacity(parts.len());
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let Some((field, equal, value)) = split_term(part) else {
                return Err(FieldSelectorError(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            // A term about nothing says nothing.
            if field.is_empty() && value.is_empty() {
                continue;
            }
            terms.push(Term {
                field: field.to_owned(),
                equal,
                value: unescape(value)?,
            });
        }
        Ok(FieldSelector { terms })
    }

    /// The terms, in the order in which the selector prints them.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether fields with the given values are selected; an absent field is empty.
    #[must_use]
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms
            .iter()
            .all(|term| (value_of(&term.field).unwrap_or_default() == term.value) == term.equal)
    }

    /// The value that the selector demands of a field, if it does.
    #[must_use]
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.equal && term.field == field)
            .map(|term| term.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, term) in self.terms.iter().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            let operator = if term.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

/// Escapes what separates terms.
#[must_use]
pub fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn unescape(value: &str) -> Result<String, FieldSelectorError> {
    let bad_escape = |sequence: &str| {
        FieldSelectorError(format!(
            "invalid field selector: invalid escape sequence: {sequence}"
        ))
    };
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => return Err(bad_escape(&format!("\\{other}"))),
                None => return Err(bad_escape("\\")),
            },
            ',' | '=' => {
                return Err(FieldSelectorError(format!(
                    "invalid field selector: unescaped character in value: {}",
                    u32::from(c)
                )));
            }
            other => plain.push(other),
        }
    }
    Ok(plain)
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    term.char_indices().find_map(|(at, _)| {
        let rest = &term[at..];
        [("!=", false), ("==", true), ("=", true)]
            .into_iter()
            .find_map(|(operator, equal)| Some((&term[..at], equal, rest.strip_prefix(operator)?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_sorted_and_printed_escaped() {
        let selector = FieldSelector::parse("b==x\\,y,a!=1").expect("valid");
        assert_eq!(selector.to_string(), "a!=1,b=x\\,y");
        assert!(selector.matches(|field| (field == "b").then_some("x,y")));
        assert!(!selector.matches(|field| Some(if field == "a" { "1" } else { "x,y" })));
        assert_eq!(selector.required("b"), Some("x,y"));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for (text, want) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            (
                "a=b=c",
                "invalid field selector: unescaped character in value: 61",
            ),
            ("a=\\x", "invalid field selector: invalid escape sequence: \\x"),
            ("a=\\", "invalid field selector: invalid escape sequence: \\"),
        ] {
            let error = FieldSelector::parse(text).map_err(|error| error.to_string());
            assert_eq!(error, Err(want.to_owned()));
        }
    }
}

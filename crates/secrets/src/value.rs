//! What an encrypted file holds, whatever its format: ordered branches of values, with comments between them.

use fluvial_yaml::Limits;

/// How deep branches and lists may nest. What walks them recurses.
pub(crate) const DEPTH: usize = 128;
/// How many values a file may hold once its aliases are expanded.
pub(crate) const VALUES: usize = 1_000_000;

/// Bounds of the readers below.
pub(crate) fn limits() -> Limits {
    Limits {
        depth: DEPTH,
        ..Limits::default()
    }
}

/// A comment, without the sign that starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) text: String,
    /// It stands behind the value that follows here, not above it.
    pub(crate) inline: bool,
}

/// A value, as formats and ciphertexts know them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Text, or what a binary file holds.
    Text(Vec<u8>),
    /// A time, as RFC 3339 has it.
    Time(String),
    Branch(Vec<Item>),
    List(Vec<Value>),
    /// A comment among the values of a list.
    Comment(Comment),
}

/// What a branch holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Item {
    Comment(Comment),
    Entry { key: String, value: Value },
}

impl Value {
    pub(crate) fn text(text: impl Into<Vec<u8>>) -> Self {
        Value::Text(text.into())
    }

    /// What the message authentication code covers of a leaf.
    pub(crate) fn authenticated(&self) -> Option<Vec<u8>> {
        Some(match self {
            Value::Bool(true) => b"True".to_vec(),
            Value::Bool(false) => b"False".to_vec(),
            Value::Int(number) => number.to_string().into_bytes(),
            Value::Float(number) => number.to_string().into_bytes(),
            Value::Text(text) => text.clone(),
            Value::Time(time) => time.clone().into_bytes(),
            Value::Null | Value::Branch(_) | Value::List(_) | Value::Comment(_) => return None,
        })
    }

    /// A leaf as formats without types write it.
    pub(crate) fn plain(&self) -> Option<Vec<u8>> {
        Some(match self {
            Value::Null => Vec::new(),
            Value::Bool(value) => value.to_string().into_bytes(),
            Value::Float(number) => shortest(*number).into_bytes(),
            Value::Int(_) | Value::Text(_) | Value::Time(_) => self.authenticated()?,
            Value::Branch(_) | Value::List(_) | Value::Comment(_) => return None,
        })
    }

    /// What a person calls it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::Time(_) => "a time",
            Value::Branch(_) => "a mapping",
            Value::List(_) => "a list",
            Value::Comment(_) => "a comment",
        }
    }
}

/// A number that nobody takes for a whole one: with a point or an exponent, as short as it can be.
fn shortest(number: f64) -> String {
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{number:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}E{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_a_fraction_stay_such() {
        for (number, text) in [
            (1.0, "1.0"),
            (-0.5, "-0.5"),
            (123_456.0, "123456.0"),
            (1_234_567.0, "1.234567E+06"),
            (0.000_01, "1E-05"),
        ] {
            assert_eq!(shortest(number), text);
        }
    }
}

//! What a plain scalar's text stands for.
//!
//! Two dialects: go-yaml v3 as kyaml uses it for resources, and yaml.v2 as sigs.k8s.io/yaml uses
//! it for everything that becomes JSON. They agree on numbers and differ in YAML 1.1's words for
//! true and false, and in what becomes of timestamps.

use crate::number::{self, Number};

/// Which Go library's reading of scalars applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// go-yaml v3 as kyaml uses it: resources in kustomize. `yes` is a string, a plain date a time.
    Kyaml,
    /// sigs.k8s.io/yaml: values become JSON. `yes`, `on` and `y` are true, a date is a string.
    Json,
}

/// The type of a scalar, as its YAML tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarType {
    /// `!!null`
    Null,
    /// `!!bool`
    Bool,
    /// `!!int`
    Int,
    /// `!!float`
    Float,
    /// `!!timestamp`
    Timestamp,
    /// `!!merge`
    Merge,
    /// `!!str`
    Str,
}

impl ScalarType {
    /// The tag in short form.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            ScalarType::Null => "!!null",
            ScalarType::Bool => "!!bool",
            ScalarType::Int => "!!int",
            ScalarType::Float => "!!float",
            ScalarType::Timestamp => "!!timestamp",
            ScalarType::Merge => "!!merge",
            ScalarType::Str => "!!str",
        }
    }
}

/// What a plain scalar stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Number(Number),
    Timestamp,
    Merge,
    Str,
}

impl Resolved {
    pub(crate) fn kind(self) -> ScalarType {
        match self {
            Resolved::Null => ScalarType::Null,
            Resolved::Bool(_) => ScalarType::Bool,
            Resolved::Number(Number::Float(_)) => ScalarType::Float,
            Resolved::Number(_) => ScalarType::Int,
            Resolved::Timestamp => ScalarType::Timestamp,
            Resolved::Merge => ScalarType::Merge,
            Resolved::Str => ScalarType::Str,
        }
    }
}

/// The type that a plain scalar's text has.
#[must_use]
pub fn scalar_type(text: &str, mode: Mode) -> ScalarType {
    resolve_plain(text, mode, true).kind()
}

/// Resolves a plain scalar. Timestamps are only looked for where no tag asks for something else.
pub(crate) fn resolve_plain(text: &str, mode: Mode, timestamps: bool) -> Resolved {
    let Some(first) = text.bytes().next() else {
        return Resolved::Null;
    };
    match first {
        b'0'..=b'9' | b'+' | b'-' => resolve_number(text, timestamps),
        b'.' => match text {
            ".nan" | ".NaN" | ".NAN" => Resolved::Number(Number::Float(f64::NAN)),
            ".inf" | ".Inf" | ".INF" => Resolved::Number(Number::Float(f64::INFINITY)),
            _ => number::parse_float(text)
                .map_or(Resolved::Str, |value| Resolved::Number(Number::Float(value))),
        },
        b'~' | b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => match text {
            "~" | "null" | "Null" | "NULL" => Resolved::Null,
            "true" | "True" | "TRUE" => Resolved::Bool(true),
            "false" | "False" | "FALSE" => Resolved::Bool(false),
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" if mode == Mode::Json => {
                Resolved::Bool(true)
            }
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" if mode == Mode::Json => {
                Resolved::Bool(false)
            }
            _ => Resolved::Str,
        },
        b'<' if text == "<<" => Resolved::Merge,
        _ => Resolved::Str,
    }
}

fn resolve_number(text: &str, timestamps: bool) -> Resolved {
    match text {
        "+.inf" | "+.Inf" | "+.INF" => return Resolved::Number(Number::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Resolved::Number(Number::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    if timestamps && number::timestamp(text).is_some() {
        return Resolved::Timestamp;
    }
    let joined;
    let plain = if text.contains('_') {
        joined = text.replace('_', "");
        &joined
    } else {
        text
    };
    if let Some(value) = number::parse_int(plain) {
        return Resolved::Number(value);
    }
    if let Some(value) = number::parse_float(plain) {
        return Resolved::Number(Number::Float(value));
    }
    // `0b` and `0o` may be followed by a sign of their own.
    for (prefix, radix) in [("0b", 2), ("0o", 8)] {
        let (sign, rest) = match plain.strip_prefix('-') {
            Some(rest) => ("-", rest),
            None => ("", plain),
        };
        if let Some(digits) = rest.strip_prefix(prefix)
            && let Ok(value) = i64::from_str_radix(&format!("{sign}{digits}"), radix)
        {
            return Resolved::Number(Number::Int(value));
        }
    }
    Resolved::Str
}

/// True if a text that stands unquoted is no string for a YAML 1.1 reader, so that kyaml puts
/// it in double quotes when it writes a string.
#[must_use]
pub fn is_yaml_1_1_non_string(text: &str) -> bool {
    if text.is_empty() || text.contains('\n') {
        return false;
    }
    crate::json::reads_as_non_string(text)
}

/// A sexagesimal number of YAML 1.1, which yaml.v2 quotes though it does not read it as one.
pub(crate) fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let Some(first) = parts.next() else {
        return false;
    };
    if !first.starts_with(|c: char| c.is_ascii_digit())
        || !first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
    {
        return false;
    }
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else {
        return false;
    };
    let sixty = |part: &str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => matches!(ten, b'0'..=b'5') && one.is_ascii_digit(),
        _ => false,
    };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    sixty(last)
        && fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
        && middle.iter().all(|part| sixty(part))
}

//! What is done with a variable's value.

use super::glob::Glob;

/// A function of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// The value, or the arguments joined when it is empty; says whether a default was given at all.
    Default(bool),
    Length,
    LowerFirst,
    Lower,
    UpperFirst,
    Upper,
    Slice,
    Trim {
        suffix: bool,
        longest: bool,
    },
    ReplaceFirst,
    ReplaceAll,
    ReplacePrefix,
    ReplaceSuffix,
}

impl Function {
    /// Appends the result to `out`; fails for a slice of negative length.
    pub(super) fn apply(self, value: &str, arguments: &[Vec<u8>], out: &mut Vec<u8>) -> Result<(), ()> {
        let bytes = value.as_bytes();
        let argument = |position: usize| arguments.get(position).map(Vec::as_slice).unwrap_or_default();
        match self {
            Function::Default(_) if value.is_empty() => arguments.iter().for_each(|part| out.extend(part)),
            Function::Default(_) => out.extend(bytes),
            Function::Length => out.extend(value.len().to_string().bytes()),
            Function::LowerFirst => first(value, lower, out),
            Function::UpperFirst => first(value, upper, out),
            Function::Lower => out.extend(value.chars().map(lower).collect::<String>().bytes()),
            Function::Upper => out.extend(value.chars().map(upper).collect::<String>().bytes()),
            Function::Slice => out.extend(slice(bytes, arguments)?),
            Function::Trim { suffix, longest } => {
                let pattern = String::from_utf8_lossy(argument(0));
                out.extend(trim(value, &pattern, suffix, longest).bytes());
            }
            Function::ReplaceFirst => replace(bytes, argument(0), argument(1), 1, out),
            Function::ReplaceAll => replace(bytes, argument(0), argument(1), usize::MAX, out),
            Function::ReplacePrefix if arguments.len() == 2 && bytes.starts_with(argument(0)) => {
                out.extend(argument(1));
                out.extend(&bytes[argument(0).len()..]);
            }
            Function::ReplaceSuffix if arguments.len() == 2 && bytes.ends_with(argument(0)) => {
                out.extend(&bytes[..bytes.len() - argument(0).len()]);
                out.extend(argument(1));
            }
            Function::ReplacePrefix | Function::ReplaceSuffix => out.extend(bytes),
        }
        Ok(())
    }
}

fn first(value: &str, change: fn(char) -> char, out: &mut Vec<u8>) {
    let mut chars = value.chars();
    if let Some(first) = chars.next() {
        out.extend(change(first).to_string().bytes());
        out.extend(chars.as_str().bytes());
    }
}

/// Letters whose other case is several letters (`ß`) stay, as in Go.
fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn lower(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// `offset[:length]` in bytes; what is no number leaves the value as it is.
fn slice<'a>(value: &'a [u8], arguments: &[Vec<u8>]) -> Result<&'a [u8], ()> {
    let number = |position: usize| -> Option<i64> {
        let text = std::str::from_utf8(arguments.get(position)?).ok()?;
        text.parse().ok()
    };
    let length = value.len() as i64;
    let Some(mut start) = number(0) else {
        return Ok(value);
    };
    if start < 0 {
        start = start.saturating_add(length).max(0);
    }
    let start = start.min(length);
    if arguments.len() == 1 {
        return Ok(&value[start as usize..]);
    }
    let Some(count) = number(1) else {
        return Ok(value);
    };
    if start.saturating_add(count) >= length {
        return Ok(&value[start as usize..]);
    }
    if count < 0 {
        return Err(());
    }
    Ok(&value[start as usize..(start + count) as usize])
}

fn trim(value: &str, pattern: &str, suffix: bool, longest: bool) -> String {
    if !suffix {
        return match Glob::parse(pattern).and_then(|glob| glob.prefix(value, longest)) {
            Some(length) => value[length..].to_owned(),
            None => value.to_owned(),
        };
    }
    let reverse = |text: &str| text.chars().rev().collect::<String>();
    let reversed = reverse(value);
    match Glob::parse(&reverse(pattern)).and_then(|glob| glob.prefix(&reversed, longest)) {
        Some(length) => reverse(&reversed[length..]),
        None => value.to_owned(),
    }
}

/// Replaces up to `limit` occurrences; an empty text occurs before every letter and at the end.
fn replace(value: &[u8], old: &[u8], new: &[u8], limit: usize, out: &mut Vec<u8>) {
    let mut rest = value;
    let mut count = 0;
    while count < limit {
        let found = if old.is_empty() {
            letter_length(rest, count == 0)
        } else {
            rest.windows(old.len()).position(|window| window == old)
        };
        let Some(at) = found else { break };
        out.extend(&rest[..at]);
        out.extend(new);
        rest = &rest[at + old.len()..];
        count += 1;
    }
    out.extend(rest);
}

/// How far the next empty occurrence is; `None` at the end.
fn letter_length(rest: &[u8], first: bool) -> Option<usize> {
    if first {
        return Some(0);
    }
    let continuation = |byte: &&u8| **byte & 0xc0 == 0x80;
    (!rest.is_empty()).then(|| 1 + rest[1..].iter().take_while(continuation).count())
}

//! Functions of texts; all positions count characters.

use super::super::error::Error;
use super::super::library::Function;
use super::super::value::{List, Value};
use super::format_text;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

type Done<'a> = Result<Value<'a>, Error>;

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "contains" => |args| test(args, |text, part| text.contains(part)),
        "startsWith" => |args| test(args, |text, part| text.starts_with(part)),
        "endsWith" => |args| test(args, |text, part| text.ends_with(part)),
        "charAt" => char_at,
        "lowerAscii" => |args| Ok(Value::text(text(args, 0)?.to_ascii_lowercase())),
        "upperAscii" => |args| Ok(Value::text(text(args, 0)?.to_ascii_uppercase())),
        "trim" => |args| Ok(Value::text(text(args, 0)?.trim())),
        "replace" => replace,
        "split" => split,
        "substring" => substring,
        "join" => join,
        "strings.quote" => |args| Ok(Value::text(quote(text(args, 0)?))),
        "format" => |args| match &args[1] {
            Value::List(list) => format_text::format(text(args, 0)?, list).map(Value::text),
            _ => Err(Error::no_overload()),
        },
        // As a part of a JSON pointer.
        "jsonpatch.escapeKey" => |args| Ok(Value::text(text(args, 0)?.replace('~', "~0").replace('/', "~1"))),
        "base64.encode" => |args| match &args[0] {
            Value::Bytes(bytes) => Ok(Value::text(STANDARD.encode(bytes))),
            _ => Err(Error::no_overload()),
        },
        "base64.decode" => |args| {
            let text = text(args, 0)?;
            let bytes = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
            let bytes = bytes.map_err(|_| Error::new("illegal base64 data at input byte 0"))?;
            Ok(Value::Bytes(bytes.into()))
        },
        _ => return None,
    })
}

fn text<'v>(args: &'v [Value<'_>], at: usize) -> Result<&'v str, Error> {
    args.get(at)
        .and_then(Value::as_str)
        .ok_or_else(Error::no_overload)
}

fn int(args: &[Value<'_>], at: usize) -> Result<Option<i64>, Error> {
    match args.get(at) {
        None => Ok(None),
        Some(Value::Int(number)) => Ok(Some(*number)),
        Some(_) => Err(Error::no_overload()),
    }
}

fn test<'a>(args: &[Value<'a>], of: fn(&str, &str) -> bool) -> Done<'a> {
    Ok(Value::Bool(of(text(args, 0)?, text(args, 1)?)))
}

fn out_of_range(index: i64) -> Error {
    Error::new(format!("index out of range: {index}"))
}

/// The byte where a character begins; the end counts as one.
fn byte_at(text: &str, index: i64) -> Result<usize, Error> {
    let wanted = usize::try_from(index).map_err(|_| out_of_range(index))?;
    let mut starts = text
        .char_indices()
        .map(|(at, _)| at)
        .chain(std::iter::once(text.len()));
    starts.nth(wanted).ok_or_else(|| out_of_range(index))
}

fn char_at<'a>(args: &[Value<'a>]) -> Done<'a> {
    let text = text(args, 0)?;
    let index = int(args, 1)?.unwrap_or(0);
    let at = byte_at(text, index)?;
    let character = text[at..].chars().next();
    Ok(Value::text(character.map(String::from).unwrap_or_default()))
}

fn count(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(i64::MAX)
}

pub(crate) fn index_of<'a>(args: &[Value<'a>]) -> Done<'a> {
    let (text, part) = (text(args, 0)?, text(args, 1)?);
    let from = int(args, 2)?.unwrap_or(0);
    if part.is_empty() {
        return Ok(Value::Int(from));
    }
    // An offset behind the end finds nothing; only one before the start is a mistake.
    if from >= count(text) {
        return Ok(Value::Int(-1));
    }
    let start = byte_at(text, from)?;
    let found = text[start..].find(part);
    Ok(Value::Int(found.map_or(-1, |at| count(&text[..start + at]))))
}

pub(crate) fn last_index_of<'a>(args: &[Value<'a>]) -> Done<'a> {
    let (text, part) = (text(args, 0)?, text(args, 1)?);
    let offset = int(args, 2)?;
    if part.is_empty() {
        return Ok(Value::Int(offset.unwrap_or_else(|| count(text))));
    }
    let end = match offset {
        None => text.len(),
        Some(offset) => {
            if offset >= count(text) {
                return Ok(Value::Int(-1));
            }
            let at = byte_at(text, offset)?;
            (at + part.len()).min(text.len())
        }
    };
    let mut end = end;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let found = text[..end].rfind(part);
    Ok(Value::Int(found.map_or(-1, |at| count(&text[..at]))))
}

pub(crate) fn reverse<'a>(args: &[Value<'a>]) -> Done<'a> {
    Ok(Value::text(text(args, 0)?.chars().rev().collect::<String>()))
}

fn replace<'a>(args: &[Value<'a>]) -> Done<'a> {
    let (text, from, to) = (text(args, 0)?, text(args, 1)?, text(args, 2)?);
    let limit = int(args, 3)?.unwrap_or(-1);
    Ok(Value::text(match usize::try_from(limit) {
        Ok(limit) => text.replacen(from, to, limit),
        Err(_) => text.replace(from, to),
    }))
}

fn split<'a>(args: &[Value<'a>]) -> Done<'a> {
    let (text, by) = (text(args, 0)?, text(args, 1)?);
    let limit = int(args, 2)?.unwrap_or(-1);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return Ok(Value::list(Vec::new()));
    }
    let parts: Vec<Value<'a>> = if by.is_empty() {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let end = if parts.len() + 1 == limit {
                rest.len()
            } else {
                first.len_utf8()
            };
            parts.push(Value::text(&rest[..end]));
            rest = &rest[end..];
        }
        parts
    } else {
        text.splitn(limit, by).map(Value::text).collect()
    };
    Ok(Value::list(parts))
}

fn substring<'a>(args: &[Value<'a>]) -> Done<'a> {
    let text = text(args, 0)?;
    let start = int(args, 1)?.unwrap_or(0);
    let end = int(args, 2)?;
    if let Some(end) = end.filter(|end| start > *end) {
        return Err(Error::new(format!(
            "invalid substring range. start: {start}, end: {end}"
        )));
    }
    let from = byte_at(text, start)?;
    let Some(end) = end else {
        return Ok(Value::text(&text[from..]));
    };
    let to = byte_at(text, end)?;
    Ok(Value::text(&text[from..to]))
}

fn join<'a>(args: &[Value<'a>]) -> Done<'a> {
    let Value::List(list) = &args[0] else {
        return Err(Error::no_overload());
    };
    let by = if args.len() > 1 { text(args, 1)? } else { "" };
    join_list(list, by).map(Value::text)
}

fn join_list(list: &List<'_>, by: &str) -> Result<String, Error> {
    let mut out = String::new();
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            out.push_str(by);
        }
        out.push_str(item.as_str().ok_or_else(Error::no_overload)?);
    }
    Ok(out)
}

/// A text in quotes, control characters escaped.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

//! Text: cutting, padding, quoting, replacing.

use crate::bytes::{from_bytes, to_bytes};
use crate::exec::Scope;
use crate::function::{Function, FunctionResult, Functions, Params, Type, text};
use crate::print::sprintf;
use crate::quote::quote;
use crate::value::{Element, IntType, List, Map, Value};

use super::cast::to_text;
use super::{int_at, text_at};

const INT: Type = Type::Int(IntType::Int);

pub(super) fn register(functions: &mut Functions) {
    let s1 = || Params::fixed(&[Type::Str]);
    let s2 = || Params::fixed(&[Type::Str, Type::Str]);
    functions.pure("hello", Params::default(), |_| text("Hello!"));
    functions.pure("trunc", Params::fixed(&[INT, Type::Str]), |v| {
        text(trunc(int_at(v, 0), text_at(v, 1)))
    });
    functions.pure("trim", s1(), |v| text(trim_space(text_at(v, 0))));
    functions.pure("upper", s1(), |v| {
        text(text_at(v, 0).chars().map(upper).collect::<String>())
    });
    functions.pure("lower", s1(), |v| {
        text(text_at(v, 0).chars().map(lower).collect::<String>())
    });
    functions.pure("substr", Params::fixed(&[INT, INT, Type::Str]), |v| {
        text(substring(int_at(v, 0), int_at(v, 1), text_at(v, 2))?)
    });
    functions.insert("repeat", Function::new(Params::fixed(&[INT, Type::Str]), repeat));
    functions.pure("trimAll", s2(), |v| {
        let set: Vec<char> = text_at(v, 0).chars().collect();
        text(text_at(v, 1).trim_matches(set.as_slice()))
    });
    functions.alias("trimall", "trimAll");
    functions.pure("trimSuffix", s2(), |v| {
        text(
            text_at(v, 1)
                .strip_suffix(text_at(v, 0))
                .unwrap_or_else(|| text_at(v, 1)),
        )
    });
    functions.pure("trimPrefix", s2(), |v| {
        text(
            text_at(v, 1)
                .strip_prefix(text_at(v, 0))
                .unwrap_or_else(|| text_at(v, 1)),
        )
    });
    functions.pure("contains", s2(), |v| {
        Ok(text_at(v, 1).contains(text_at(v, 0)).into())
    });
    functions.pure("hasPrefix", s2(), |v| {
        Ok(text_at(v, 1).starts_with(text_at(v, 0)).into())
    });
    functions.pure("hasSuffix", s2(), |v| {
        Ok(text_at(v, 1).ends_with(text_at(v, 0)).into())
    });
    functions.pure("quote", Params::variadic(&[], Type::Any), |v| {
        text(quoted(v, |value| quote(&to_text(value))))
    });
    functions.pure("squote", Params::variadic(&[], Type::Any), |v| {
        text(quoted(v, |value| format!("'{}'", crate::print::go_value(value))))
    });
    functions.pure("cat", Params::variadic(&[], Type::Any), cat);
    functions.insert(
        "indent",
        Function::new(Params::fixed(&[INT, Type::Str]), |scope, v| indent(scope, v, "")),
    );
    functions.insert(
        "nindent",
        Function::new(Params::fixed(&[INT, Type::Str]), |scope, v| {
            indent(scope, v, "\n")
        }),
    );
    functions.pure(
        "replace",
        Params::fixed(&[Type::Str, Type::Str, Type::Str]),
        |v| text(text_at(v, 2).replace(text_at(v, 0), text_at(v, 1))),
    );
    functions.pure("plural", Params::fixed(&[Type::Str, Type::Str, INT]), |v| {
        text(text_at(v, usize::from(int_at(v, 2) != 1)))
    });
    functions.pure("toString", Params::fixed(&[Type::Any]), |v| text(to_text(&v[0])));
    functions.pure("toStrings", Params::fixed(&[Type::Any]), |v| {
        Ok(strings_like(&v[0], strings_of(&v[0])))
    });
    functions.pure("split", s2(), |v| {
        Ok(numbered(split(text_at(v, 1), text_at(v, 0))).into())
    });
    functions.pure("splitList", s2(), |v| {
        Ok(List::strings(split(text_at(v, 1), text_at(v, 0))).into())
    });
    functions.pure("splitn", Params::fixed(&[Type::Str, INT, Type::Str]), splitn);
    functions.pure("join", Params::fixed(&[Type::Str, Type::Any]), |v| {
        text(strings_of(&v[1]).join(text_at(v, 0)))
    });
    functions.pure("sortAlpha", Params::fixed(&[Type::Any]), |v| match &v[0] {
        Value::List(_) => {
            let mut items = strings_of(&v[0]);
            items.sort();
            Ok(strings_like(&v[0], items))
        }
        other => Ok(List::strings([to_text(other)]).into()),
    });
}

/// Go maps each rune to one rune; letters whose other case is longer stay as they are.
pub(super) fn upper(c: char) -> char {
    let mut all = c.to_uppercase();
    all.next().filter(|_| all.next().is_none()).unwrap_or(c)
}

/// As [`upper`], the other way.
pub(super) fn lower(c: char) -> char {
    let mut all = c.to_lowercase();
    let first = all.next().unwrap_or(c);
    if all.next().is_none() || c == '\u{130}' {
        first
    } else {
        c
    }
}

pub(super) fn trim_space(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace())
}

fn trunc(count: i64, text: &str) -> String {
    let bytes = &*to_bytes(text);
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let kept = if count < 0 && bytes.len() > wanted {
        &bytes[bytes.len() - wanted..]
    } else if count >= 0 && bytes.len() > wanted {
        &bytes[..wanted]
    } else {
        bytes
    };
    from_bytes(kept).into_owned()
}

fn substring(start: i64, end: i64, text: &str) -> Result<String, String> {
    let bytes = &*to_bytes(text);
    let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let (from, to) = if start < 0 {
        (0, end)
    } else if end < 0 || end > length {
        (start, length)
    } else {
        (start, end)
    };
    let range = (usize::try_from(from), usize::try_from(to));
    let (Ok(from), Ok(to)) = range else {
        return Err(format!("runtime error: slice bounds out of range [:{to}]"));
    };
    match bytes.get(from..to) {
        Some(bytes) => Ok(from_bytes(bytes).into_owned()),
        None if to > bytes.len() => Err(format!(
            "runtime error: slice bounds out of range [:{to}] with length {length}"
        )),
        None => Err(format!("runtime error: slice bounds out of range [{from}:{to}]")),
    }
}

fn repeat(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let count = int_at(values, 0);
    let count = usize::try_from(count).map_err(|_| "strings: negative Repeat count")?;
    let part = text_at(values, 1);
    scope.reserve(count.saturating_mul(part.len()))?;
    text(part.repeat(count))
}

fn quoted(values: &[Value], form: impl Fn(&Value) -> String) -> String {
    values
        .iter()
        .filter(|value| !value.is_nil())
        .map(form)
        .collect::<Vec<_>>()
        .join(" ")
}

fn cat(values: &[Value]) -> FunctionResult {
    let present: Vec<Value> = values.iter().filter(|value| !value.is_nil()).cloned().collect();
    // The format is trimmed, not what it makes: an empty text in front leaves its space.
    text(sprintf("%v ".repeat(present.len()).trim_end(), &present))
}

fn indent(scope: &mut Scope<'_, '_>, values: &[Value], before: &str) -> FunctionResult {
    let width = usize::try_from(int_at(values, 0)).map_err(|_| "strings: negative Repeat count")?;
    let body = text_at(values, 1);
    let newlines = || memchr::memchr_iter(b'\n', body.as_bytes());
    let lines = newlines().count() + 1;
    scope.reserve(width.saturating_mul(lines).saturating_add(body.len()))?;
    let pad = " ".repeat(width);
    let mut out = String::with_capacity(body.len() + lines * width + 1);
    out.push_str(before);
    let mut from = 0;
    for newline in newlines() {
        out.push_str(&pad);
        out.push_str(&body[from..=newline]);
        from = newline + 1;
    }
    out.push_str(&pad);
    out.push_str(&body[from..]);
    text(out)
}

/// Texts that were made of a value: a nil `[]string` stays one.
fn strings_like(value: &Value, texts: Vec<String>) -> Value {
    let texts = List::strings(texts);
    match value {
        Value::List(list) if list.is_nil() && list.element == Element::Str => texts.or_nil(),
        _ => texts,
    }
    .into()
}

/// As Sprig's `strslice`: the items that are not nil, as texts.
pub(super) fn strings_of(value: &Value) -> Vec<String> {
    match value {
        Value::List(list) => list
            .items()
            .iter()
            .filter(|item| !item.is_nil())
            .map(to_text)
            .collect(),
        value if value.is_nil() => Vec::new(),
        other => vec![to_text(other)],
    }
}

/// Go's `strings.Split`: an empty separator cuts into characters.
pub(super) fn split(text: &str, separator: &str) -> Vec<String> {
    if separator.is_empty() {
        return text.chars().map(String::from).collect();
    }
    text.split(separator).map(str::to_owned).collect()
}

fn numbered(parts: Vec<String>) -> Map {
    Map::strings(
        parts
            .into_iter()
            .enumerate()
            .map(|(index, part)| (format!("_{index}").into(), Value::from(part)))
            .collect(),
    )
}

fn splitn(values: &[Value]) -> FunctionResult {
    let (separator, count, whole) = (text_at(values, 0), int_at(values, 1), text_at(values, 2));
    let parts = match usize::try_from(count) {
        Err(_) => split(whole, separator),
        Ok(0) => Vec::new(),
        Ok(count) if separator.is_empty() => {
            let mut parts: Vec<String> = whole.chars().take(count - 1).map(String::from).collect();
            let rest: String = whole.chars().skip(count - 1).collect();
            if !rest.is_empty() {
                parts.push(rest);
            }
            parts
        }
        Ok(count) => whole.splitn(count, separator).map(str::to_owned).collect(),
    };
    Ok(numbered(parts).into())
}

//! TOML, written as the reference's encoder writes it: plain keys of a table first, then its tables.

use std::fmt::Write as _;

use fluvial_template::{Element, FunctionResult, Functions, List, Map, Params, Type, Value, number};

use super::text_at;

pub(super) fn register(functions: &mut Functions) {
    let any = || Params::fixed(&[Type::Any]);
    functions.pure("toToml", any(), |v| {
        if v[0].is_nil() {
            return Ok(encode(&v[0])?.into());
        }
        Ok(encode(&v[0]).unwrap_or_else(|error| error).into())
    });
    functions.pure("mustToToml", any(), |v| Ok(encode(&v[0])?.into()));
    functions.pure("fromToml", Params::fixed(&[Type::Str]), |v| decode(text_at(v, 0)));
}

fn encode(value: &Value) -> Result<String, String> {
    if value.is_nil() {
        return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
    }
    let mut writer = Writer { out: String::new() };
    match as_map(value) {
        Some(map) => writer.table(&[], &map)?,
        None => writer.value(value, 0)?,
    }
    Ok(writer.out)
}

fn as_map(value: &Value) -> Option<Map> {
    match value {
        Value::Map(map) => Some(map.clone()),
        Value::Object(object) => object.as_map(),
        _ => None,
    }
}

fn is_table_list(value: &Value) -> bool {
    match value {
        Value::List(list) => {
            !list.items().is_empty() && list.items().iter().all(|item| as_map(item).is_some())
        }
        _ => false,
    }
}

struct Writer {
    out: String,
}

impl Writer {
    fn new_line(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn head(&mut self, path: &[String], open: &str, close: &str) {
        self.out.push_str(&"  ".repeat(path.len().saturating_sub(1)));
        self.out.push_str(open);
        self.out.push_str(&path.join("."));
        self.out.push_str(close);
        self.out.push('\n');
    }

    fn table(&mut self, path: &[String], map: &Map) -> Result<(), String> {
        if path.len() > 200 {
            return Err("toml: tables are nested too deep".to_owned());
        }
        let entries: Vec<_> = map.borrow().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let (inner, plain): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .filter(|(_, value)| !value.is_nil() && !matches!(value, Value::List(list) if list.is_nil()))
            .partition(|(_, value)| as_map(value).is_some() || is_table_list(value));
        for (key, value) in plain {
            self.out.push_str(&"  ".repeat(path.len()));
            self.out.push_str(&key_text(&key));
            self.out.push_str(" = ");
            self.value(&value, 0)?;
            self.out.push('\n');
        }
        for (key, value) in inner {
            let mut path = path.to_vec();
            path.push(key_text(&key));
            if let Some(map) = as_map(&value) {
                if path.len() == 1 {
                    self.new_line();
                }
                self.head(&path, "[", "]");
                self.table(&path, &map)?;
            } else if let Value::List(list) = &value {
                for item in list.items() {
                    self.new_line();
                    self.head(&path, "[[", "]]");
                    self.table(&path, &as_map(item).unwrap_or_default())?;
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        if depth > 200 {
            return Err("toml: values are nested too deep".to_owned());
        }
        match value {
            Value::Nil | Value::NilInterface => {
                return Err("toml: cannot encode array with nil element".to_owned());
            }
            Value::Bool(value) => {
                let _ = write!(self.out, "{value}");
            }
            Value::Int(value, _) => {
                let _ = write!(self.out, "{value}");
            }
            Value::Uint(value, _) => {
                let _ = write!(self.out, "{value}");
            }
            Value::Float(value) => self.out.push_str(&float_text(*value)),
            Value::Str(text) => self.out.push_str(&string_text(text)),
            Value::List(list) => {
                self.out.push('[');
                for (index, item) in list.items().iter().enumerate() {
                    if index > 0 {
                        self.out.push_str(", ");
                    }
                    self.value(item, depth + 1)?;
                }
                self.out.push(']');
            }
            other => match as_map(other) {
                Some(map) => {
                    self.out.push('{');
                    let entries = map.borrow();
                    let shown = entries.iter().filter(|(_, value)| !value.is_nil());
                    for (index, (key, value)) in shown.enumerate() {
                        if index > 0 {
                            self.out.push_str(", ");
                        }
                        self.out.push_str(&key_text(key));
                        self.out.push_str(" = ");
                        self.value(value, depth + 1)?;
                    }
                    self.out.push('}');
                }
                None => self
                    .out
                    .push_str(&string_text(&fluvial_template::sprig::to_text(other))),
            },
        }
        Ok(())
    }
}

fn key_text(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        string_text(key)
    }
}

fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = number::format_float(value, 'g', None);
    if text.contains(['e', '.']) {
        text
    } else {
        text + ".0"
    }
}

fn string_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' || c == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn decode(text: &str) -> FunctionResult {
    if text.contains('\0') {
        let problem =
            "toml: line 1: files cannot contain NULL bytes; probably using UTF-16; TOML files must be UTF-8";
        return Ok(Map::new([("Error".into(), problem.into())].into()).into());
    }
    let table: Result<toml::Table, _> = text.parse();
    Ok(match table {
        Ok(table) => from_toml(&toml::Value::Table(table)),
        Err(error) => Map::new([("Error".into(), problem(text, &error).into())].into()).into(),
    })
}

/// The reference's words for the commonest failures; for others the parser's own.
fn problem(text: &str, error: &toml::de::Error) -> String {
    let span = error.span().unwrap_or(0..0);
    let start = span.start.min(text.len());
    let line = text[..start].matches('\n').count() + 1;
    let here = text.lines().nth(line - 1).unwrap_or_default();
    let at_end = text.get(start..).is_none_or(|rest| rest.trim().is_empty());
    let message = error.message();
    if let Some(odd) = behind_key(here) {
        let odd = fluvial_template::quote_char(odd, false);
        return format!("toml: line {line}: expected '.' or '=', but got {odd} instead");
    }
    if message.contains("duplicate key") {
        let key = text.get(span).unwrap_or_default().trim();
        return format!("toml: line {line} (last key \"{key}\"): Key '{key}' has already been defined.");
    }
    if at_end || here.trim_end().len() + text[..start].rfind('\n').map_or(0, |at| at + 1) <= start {
        return match here.split_once('=') {
            Some((key, _)) => {
                let key = key.trim();
                format!("toml: line {line} (last key \"{key}\"): unexpected EOF; expected value")
            }
            None => format!("toml: line {line}: unexpected EOF; expected key separator '='"),
        };
    }
    if message.contains("expected `=`") && !here.contains('=') {
        return format!("toml: line {line}: unexpected EOF; expected key separator '='");
    }
    format!("toml: line {line}: {message}")
}

/// What stands behind a plain key in a line, if it is neither a dot nor the separator.
fn behind_key(line: &str) -> Option<char> {
    let mut rest = line.trim_start();
    if rest.starts_with(['"', '\'', '[', '#']) {
        return None;
    }
    loop {
        rest = rest
            .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
            .trim_start_matches([' ', '\t']);
        match rest.chars().next()? {
            '.' => rest = rest[1..].trim_start_matches([' ', '\t']),
            '=' | '\r' => return None,
            odd => return Some(odd),
        }
    }
}

fn from_toml(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(value) => Value::int64(*value),
        toml::Value::Float(value) => Value::Float(*value),
        toml::Value::Boolean(value) => Value::Bool(*value),
        toml::Value::Datetime(value) => value.to_string().into(),
        toml::Value::Array(items) => {
            let tables = !items.is_empty() && items.iter().all(toml::Value::is_table);
            let element = if tables { Element::Map } else { Element::Any };
            List::of(element, items.iter().map(from_toml).collect()).into()
        }
        toml::Value::Table(table) => Map::new(
            table
                .iter()
                .map(|(key, value)| (key.as_str().into(), from_toml(value)))
                .collect(),
        )
        .into(),
    }
}

//! The language of `--set` and its siblings: paths, lists and values in one line.

use fluvial_template::sprig::go_json_error;
use fluvial_template::{quote, quote_char};
use serde_json::Value as Json;

use crate::error::Error;
use crate::values::{Values, floats};

type Fields = serde_json::Map<String, Json>;

const MAX_INDEX: usize = 65_536;
const MAX_NESTING: usize = 30;

/// How a text of the `--set` family reads its values.
#[derive(Clone, Copy)]
enum Kind<'r> {
    /// `--set`: truths, null and integers are recognised.
    Typed,
    /// `--set-string`: strings only.
    Text,
    /// `--set-json`
    Json,
    /// `--set-file`: the value is a file's name.
    File(&'r dyn Fn(&str) -> Result<String, String>),
    /// `--set-literal`: all that follows is the value.
    Literal,
}

impl Values {
    /// `--set`.
    ///
    /// # Errors
    /// If the text does not parse, or a path leads through what is no table or list.
    pub fn set(&mut self, text: &str) -> Result<(), Error> {
        self.parse(text, Kind::Typed, "--set")
    }

    /// `--set-string`.
    ///
    /// # Errors
    /// As [`Values::set`].
    pub fn set_string(&mut self, text: &str) -> Result<(), Error> {
        self.parse(text, Kind::Text, "--set-string")
    }

    /// `--set-file`; `read` gives a file's text.
    ///
    /// # Errors
    /// As [`Values::set`], or what `read` reports.
    pub fn set_file(
        &mut self,
        text: &str,
        read: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<(), Error> {
        self.parse(text, Kind::File(read), "--set-file")
    }

    /// `--set-literal`.
    ///
    /// # Errors
    /// As [`Values::set`].
    pub fn set_literal(&mut self, text: &str) -> Result<(), Error> {
        self.parse(text, Kind::Literal, "--set-literal")
    }

    /// `--set-json`: an object, or paths with JSON values.
    ///
    /// # Errors
    /// As [`Values::set`].
    pub fn set_json(&mut self, text: &str) -> Result<(), Error> {
        if text.trim().starts_with('{') {
            let read: Result<Json, _> = serde_json::from_str(text.trim());
            let read =
                read.map_err(|_| Error::values(format!("failed parsing --set-json data JSON: {text}")))?;
            self.merge(Values::from_json(&read)?);
            return Ok(());
        }
        parse(text, &mut self.0, Kind::Json)
            .map_err(|_| Error::values(format!("failed parsing --set-json data {text}")))
    }

    fn parse(&mut self, text: &str, kind: Kind<'_>, flag: &str) -> Result<(), Error> {
        parse(text, &mut self.0, kind)
            .map_err(|error| Error::values(format!("failed parsing {flag} data: {error}")))
    }
}

/// Why parsing stops.
enum Stop {
    End,
    Error(String),
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Stop::Error(message)
    }
}

fn parse(text: &str, fields: &mut Fields, kind: Kind<'_>) -> Result<(), String> {
    let mut parser = Parser { rest: text, kind };
    loop {
        match parser.key(fields, 0) {
            Ok(()) => {}
            Err(Stop::End) => return Ok(()),
            Err(Stop::Error(message)) => return Err(message),
        }
    }
}

struct Parser<'t, 'r> {
    rest: &'t str,
    kind: Kind<'r>,
}

/// Characters up to a stop; none if the text ended before.
struct Until {
    text: String,
    stop: Option<char>,
}

impl Parser<'_, '_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn until(&mut self, stops: &[char]) -> Until {
        let literal = matches!(self.kind, Kind::Literal);
        let mut text = String::new();
        while let Some(c) = self.next() {
            if stops.contains(&c) {
                return Until { text, stop: Some(c) };
            }
            if c == '\\' && !literal {
                match self.next() {
                    Some(c) => text.push(c),
                    None => break,
                }
            } else {
                text.push(c);
            }
        }
        Until { text, stop: None }
    }

    fn key(&mut self, fields: &mut Fields, level: usize) -> Result<(), Stop> {
        let stops: &[char] = match self.kind {
            Kind::Literal => &['=', '[', '.'],
            _ => &['=', '[', ',', '.'],
        };
        let Until { text: key, stop } = self.until(stops);
        match stop {
            None if key.is_empty() => Err(Stop::End),
            None => Err(format!("key {} has no value", quote(&key)).into()),
            Some('[') => self.list_key(fields, &key, level),
            Some('=') => self.assign(fields, &key),
            Some(',') => {
                set(fields, &key, "".into());
                Err(format!("key {} has no value (cannot end with ,)", quote(&key)).into())
            }
            Some(_) => self.nested_key(fields, &key, level + 1),
        }
    }

    fn list_key(&mut self, fields: &mut Fields, key: &str, level: usize) -> Result<(), Stop> {
        let index = self.index()?;
        let mut list = match fields.get_mut(key) {
            None => Vec::new(),
            // What belongs to no name is not put back, but what is written into its places is there.
            Some(Json::Array(items)) if key.is_empty() => items.clone(),
            Some(Json::Array(items)) => std::mem::take(items),
            Some(other) => return Err(unable(other, "[]interface {}").into()),
        };
        let result = self.item(&mut list, index, level);
        match fields.get_mut(key) {
            Some(Json::Array(items)) if key.is_empty() && items.len() == list.len() => *items = list,
            _ => set(fields, key, Json::Array(list)),
        }
        result
    }

    fn nested_key(&mut self, fields: &mut Fields, key: &str, level: usize) -> Result<(), Stop> {
        if level > MAX_NESTING {
            return Err(format!(
                "value name nested level is greater than maximum supported nested level of {MAX_NESTING}"
            )
            .into());
        }
        let mut inner = match fields.get_mut(key) {
            None => Fields::new(),
            Some(Json::Object(inner)) => std::mem::take(inner),
            Some(other) => return Err(unable(other, "map[string]interface {}").into()),
        };
        let result = self.key(&mut inner, level);
        if result.is_ok() && inner.is_empty() {
            return Err(format!("key map {} has no value", quote(key)).into());
        }
        if !inner.is_empty() || fields.contains_key(key) {
            // A table without a name is one only if it was there before.
            if !key.is_empty() || fields.contains_key(key) {
                fields.insert(key.to_owned(), Json::Object(inner));
            }
        }
        result
    }

    fn assign(&mut self, fields: &mut Fields, key: &str) -> Result<(), Stop> {
        match self.kind {
            Kind::Literal => {
                let value = self.until(&[]).text;
                set(fields, key, value.into());
                return Ok(());
            }
            Kind::Json => {
                let value = self.json()?;
                set(fields, key, value);
                return Ok(());
            }
            _ => {}
        }
        if self.rest.is_empty() {
            set(fields, key, "".into());
            return Err(Stop::End);
        }
        let value = self.value()?;
        set(fields, key, value);
        Ok(())
    }

    /// A list in braces, or a value up to the next comma.
    fn value(&mut self) -> Result<Json, Stop> {
        if let Some(rest) = self.rest.strip_prefix('{') {
            self.rest = rest;
            return self.braces();
        }
        let text = self.until(&[',']).text;
        Ok(self.read(text)?)
    }

    fn braces(&mut self) -> Result<Json, Stop> {
        let mut list = Vec::new();
        loop {
            let Until { text, stop } = self.until(&[',', '}']);
            let Some(stop) = stop else {
                return Err("list must terminate with '}'".to_owned().into());
            };
            if stop == '}' {
                if let Some(rest) = self.rest.strip_prefix(',') {
                    self.rest = rest;
                }
                list.push(self.read(text)?);
                return Ok(Json::Array(list));
            }
            list.push(self.read(text)?);
        }
    }

    fn read(&self, text: String) -> Result<Json, String> {
        match self.kind {
            Kind::Typed => Ok(typed(text)),
            Kind::File(read) => read(&text).map(Json::String),
            _ => Ok(Json::String(text)),
        }
    }

    /// JSON up to where it ends, and the comma behind it.
    fn json(&mut self) -> Result<Json, Stop> {
        if self.skip_blank() {
            return Ok(Json::Null);
        }
        // A number or a word ends where it can go no further, whatever follows.
        let first = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let blank = self.rest.len() - first.len();
        let end = blank + plain_length(first).unwrap_or(first.len());
        let mut stream = serde_json::Deserializer::from_str(&self.rest[..end]).into_iter::<Json>();
        let value = match stream.next() {
            Some(Ok(value)) => value,
            _ => {
                let error = go_json_error(self.rest);
                return Err(error.unwrap_or_else(|| "invalid JSON".to_owned()).into());
            }
        };
        let end = stream.byte_offset();
        self.rest = &self.rest[end..];
        self.skip_blank();
        Ok(floats(value))
    }

    /// Skips space and one comma; whether there was nothing else.
    fn skip_blank(&mut self) -> bool {
        let trimmed = self.rest.trim_start();
        match trimmed.strip_prefix(',') {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => {
                self.rest = trimmed;
                trimmed.is_empty()
            }
        }
    }

    fn index(&mut self) -> Result<i64, Stop> {
        let Until { text, stop } = self.until(&[']']);
        if stop.is_none() {
            return Err(Stop::End);
        }
        let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
        let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let problem = if whole {
            "value out of range"
        } else {
            "invalid syntax"
        };
        text.parse().map_err(|_| {
            Stop::Error(format!(
                "error parsing index: strconv.Atoi: parsing {}: {problem}",
                quote(&text)
            ))
        })
    }

    fn item(&mut self, list: &mut Vec<Json>, index: i64, level: usize) -> Result<(), Stop> {
        let Ok(at) = usize::try_from(index) else {
            return Err(format!("negative {index} index not allowed").into());
        };
        let Until { text, stop } = self.until(&['[', '.', '=']);
        if !text.is_empty() {
            let quoted: Vec<String> = text.chars().map(|c| quote_char(c, false)).collect();
            return Err(format!("unexpected data at end of array index: [{}]", quoted.join(" ")).into());
        }
        match stop {
            None => Err(Stop::End),
            Some('=') => {
                let value = match self.kind {
                    Kind::Literal => Json::String(self.until(&[]).text),
                    Kind::Json => self.json()?,
                    _ if self.rest.is_empty() => "".into(),
                    _ => self.value()?,
                };
                set_index(list, at, value)
            }
            Some('[') => {
                let next = self.index()?;
                let mut inner = match list.get_mut(at) {
                    None | Some(Json::Null) => Vec::new(),
                    Some(Json::Array(items)) => items.clone(),
                    Some(other) => return Err(unable(other, "[]interface {}").into()),
                };
                self.item(&mut inner, next, level)?;
                set_index(list, at, Json::Array(inner))
            }
            Some(_) => {
                let mut inner = match list.get_mut(at) {
                    Some(Json::Object(inner)) => inner.clone(),
                    Some(other) => {
                        *other = Json::Object(Fields::new());
                        Fields::new()
                    }
                    None => Fields::new(),
                };
                let result = self.key(&mut inner, level);
                if result.is_err() && list.len() > at {
                    list[at] = Json::Object(inner.clone());
                }
                result?;
                set_index(list, at, Json::Object(inner))
            }
        }
    }
}

fn set(fields: &mut Fields, key: &str, value: Json) {
    if !key.is_empty() {
        fields.insert(key.to_owned(), value);
    }
}

fn set_index(list: &mut Vec<Json>, at: usize, value: Json) -> Result<(), Stop> {
    if at > MAX_INDEX {
        return Err(format!("index of {at} is greater than maximum supported index of {MAX_INDEX}").into());
    }
    if list.len() <= at {
        list.resize(at + 1, Json::Null);
    }
    list[at] = value;
    Ok(())
}

/// Go's words where a path leads through something of another kind.
fn unable(found: &Json, wanted: &str) -> String {
    let kind = match found {
        Json::Null => "nil",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    };
    format!("unable to parse key: interface conversion: interface {{}} is {kind}, not {wanted}")
}

/// The length of a number or a word that a JSON text begins with; nothing if it is neither.
fn plain_length(text: &str) -> Option<usize> {
    if let Some(word) = ["true", "false", "null"]
        .iter()
        .find(|word| text.starts_with(**word))
    {
        return Some(word.len());
    }
    let digits = |at: usize| text[at..].bytes().take_while(u8::is_ascii_digit).count();
    let mut at = usize::from(text.starts_with('-'));
    match digits(at) {
        0 => return None,
        _ if text[at..].starts_with('0') => at += 1,
        count => at += count,
    }
    if text[at..].starts_with('.') {
        at += 1 + Some(digits(at + 1)).filter(|count| *count > 0)?;
    }
    if text[at..].starts_with(['e', 'E']) {
        let sign = usize::from(text[at + 1..].starts_with(['+', '-']));
        at += 1 + sign + Some(digits(at + 1 + sign)).filter(|count| *count > 0)?;
    }
    Some(at)
}

fn typed(text: String) -> Json {
    if text.eq_ignore_ascii_case("true") {
        return true.into();
    }
    // Go folds the long s, too.
    if text.replace('\u{17f}', "s").eq_ignore_ascii_case("false") {
        return false.into();
    }
    if text.eq_ignore_ascii_case("null") {
        return Json::Null;
    }
    if text == "0" {
        return 0.into();
    }
    if !text.starts_with('0')
        && let Ok(number) = text.parse::<i64>()
    {
        return number.into();
    }
    Json::String(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(text: &str) -> Result<Json, String> {
        let mut values = Values::new();
        values.set(text).map_err(|error| error.to_string())?;
        Ok(values.as_json())
    }

    #[test]
    fn paths_lists_and_types_are_read() {
        assert_eq!(
            set("a.b=1,c[1]=x,d={p,2},e=null,f=01").unwrap(),
            json!({"a": {"b": 1}, "c": [null, "x"], "d": ["p", 2], "e": null, "f": "01"})
        );
        assert_eq!(set(r"a\.b=x\,y").unwrap(), json!({"a.b": "x,y"}));
    }

    #[test]
    fn json_values_end_where_they_can_go_no_further() {
        let set = |text: &str| {
            let mut values = Values::from_yaml("\"\": {a: 1}\n").unwrap();
            values.set_json(text).map(|()| values.as_json()).ok()
        };
        assert_eq!(
            set("a=1b=truec=[1]"),
            Some(json!({"": {"a": 1.0}, "a": 1.0, "b": true, "c": [1.0]}))
        );
        assert_eq!(
            set("a=-1.5e2,b=null"),
            Some(json!({"": {"a": 1.0}, "a": -150.0, "b": null}))
        );
        assert_eq!(set(".a=2"), Some(json!({"": {"a": 2.0}})));
        for text in ["a=-", "a=1.", "a=1e", "a=tru", "a=01"] {
            assert_eq!(set(text), None, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert_eq!(
            set("a").unwrap_err(),
            "failed parsing --set data: key \"a\" has no value"
        );
        assert_eq!(
            set("a=1,a.b=2").unwrap_err(),
            "failed parsing --set data: unable to parse key: interface conversion: interface {} is int64, not \
             map[string]interface {}"
        );
    }
}

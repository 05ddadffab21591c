//! `.Files`: a chart's own files for its templates.

use std::any::Any;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fluvial_template::bytes::from_bytes;
use fluvial_template::{Element, List, Map, Object, Params, Type, Underlying, Value};

use crate::chart::{Chart, ChartFile};

/// The files, or those that a pattern chose.
pub(crate) struct Files {
    files: BTreeMap<Arc<str>, ChartFile>,
    map: OnceCell<Map>,
}

impl Files {
    pub(crate) fn of(chart: &Chart) -> Value {
        Files::value(
            chart
                .files
                .iter()
                .map(|file| (Arc::clone(&file.name), file.clone()))
                .collect(),
        )
    }

    fn value(files: BTreeMap<Arc<str>, ChartFile>) -> Value {
        Value::Object(Rc::new(Files {
            files,
            map: OnceCell::new(),
        }))
    }

    fn text(&self, name: &str) -> String {
        self.files
            .get(name)
            .map(|file| from_bytes(file.data()).into_owned())
            .unwrap_or_default()
    }

    fn glob(&self, pattern: &str) -> Value {
        let pattern = glob_expression(pattern).and_then(|text| regex::Regex::new(&text).ok());
        let chosen = self.files.iter().filter(|(name, _)| match &pattern {
            Some(pattern) => pattern.is_match(name),
            None => true,
        });
        Files::value(
            chosen
                .map(|(name, file)| (Arc::clone(name), file.clone()))
                .collect(),
        )
    }

    /// The files under their last names, as a manifest's `data`.
    fn as_data(&self, show: impl Fn(&ChartFile) -> String) -> String {
        let entries = self.files.iter().map(|(name, file)| {
            let base = name.rsplit('/').next().unwrap_or(name);
            (base.to_owned(), serde_json::Value::String(show(file)))
        });
        let yaml = fluvial_yaml::json_to_yaml(&serde_json::Value::Object(entries.collect()));
        yaml.strip_suffix('\n').unwrap_or(&yaml).to_owned()
    }

    fn lines(&self, name: &str) -> Value {
        let text = self.text(name);
        if text.is_empty() {
            return List::strings(Vec::<String>::new()).into();
        }
        let text = text.strip_suffix('\n').unwrap_or(&text);
        List::strings(text.split('\n').map(str::to_owned)).into()
    }
}

impl Object for Files {
    fn type_name(&self) -> String {
        "engine.files".to_owned()
    }

    fn kind(&self) -> &'static str {
        "map"
    }

    fn field(&self, _: &str) -> Option<Value> {
        None
    }

    fn method(&self, name: &str) -> Option<Params> {
        match name {
            "Get" | "GetBytes" | "Glob" | "Lines" => Some(Params::fixed(&[Type::Str])),
            "AsConfig" | "AsSecrets" => Some(Params::default()),
            _ => None,
        }
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let argument = arguments.first().and_then(Value::as_str).unwrap_or_default();
        Ok(match name {
            "Get" => self.text(argument).into(),
            "GetBytes" => {
                let data = self.files.get(argument).map(ChartFile::data);
                List::bytes(data.unwrap_or_default()).into()
            }
            "Glob" => self.glob(argument),
            "Lines" => self.lines(argument),
            "AsConfig" => self.as_data(|file| file.text().into_owned()).into(),
            _ => self.as_data(|file| STANDARD.encode(file.data())).into(),
        })
    }

    fn underlying(&self) -> Underlying {
        Underlying::Value(self.as_map().map_or(Value::Nil, Value::Map))
    }

    fn as_map(&self) -> Option<Map> {
        let map = self.map.get_or_init(|| {
            let entries = self.files.iter();
            let mut map = Map::new(
                entries
                    .map(|(name, file)| (Rc::from(&**name), List::bytes(file.data()).into()))
                    .collect(),
            );
            map.element = Element::Bytes;
            map.named("engine.files")
        });
        Some(map.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A pattern with `*`, `**`, `?`, `[…]` and `{…,…}` as a regular expression; none if it is broken.
fn glob_expression(pattern: &str) -> Option<String> {
    let mut out = String::from("(?s)^");
    let mut chars = pattern.chars().peekable();
    let mut depth = 0usize;
    while let Some(c) = chars.next() {
        match c {
            '*' => {
                let mut double = false;
                while chars.peek() == Some(&'*') {
                    chars.next();
                    double = true;
                }
                out.push_str(if double { ".*" } else { "[^/]*" });
            }
            '?' => out.push_str("[^/]"),
            '\\' => out.push_str(&regex::escape(chars.next()?.encode_utf8(&mut [0; 4]))),
            '{' => {
                depth += 1;
                out.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                out.push(')');
            }
            ',' if depth > 0 => out.push('|'),
            '[' => class(&mut chars, &mut out)?,
            c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push('$');
    (depth == 0).then_some(out)
}

/// `[a-z]`, `[abc]`, `[!…]`.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Option<()> {
    let mut inside = Vec::new();
    let negate = chars.peek() == Some(&'!');
    if negate {
        chars.next();
    }
    loop {
        match chars.next()? {
            ']' if !inside.is_empty() => break,
            '\\' => inside.push(chars.next()?),
            c => inside.push(c),
        }
    }
    out.push_str(if negate { "[^" } else { "[" });
    match inside.as_slice() {
        [low, '-', high] => {
            if low > high {
                return None;
            }
            // Writing into a String cannot fail.
            let _ = write!(out, "\\x{{{:x}}}-\\x{{{:x}}}", u32::from(*low), u32::from(*high));
        }
        list => {
            for c in list {
                let _ = write!(out, "\\x{{{:x}}}", u32::from(*c));
            }
        }
    }
    out.push(']');
    Some(())
}

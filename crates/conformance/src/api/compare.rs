//! Comparison of answers with placeholders.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Got, as_set, events, reduced};

/// Values that placeholders stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings(BTreeMap<String, String>);

const NAMES: &[&str] = &[
    "uid", "rv", "name", "suffix", "ip", "nodePort", "token", "continue", "etag", "listrv",
];

/// The placeholder at the beginning of a text that begins with `$`.
fn placeholder(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('$')?;
    for fixed in ["time", "age", "serverAddress"] {
        if rest.starts_with(fixed) {
            return Some(&text[..=fixed.len()]);
        }
    }
    let letters = rest.len()
        - rest
            .trim_start_matches(|character: char| character.is_ascii_alphabetic())
            .len();
    if !NAMES.contains(&&rest[..letters]) {
        return None;
    }
    let digits = rest[letters..].bytes().take_while(u8::is_ascii_digit).count();
    Some(&text[..=letters + digits])
}

impl Bindings {
    /// Puts the bound values into a request.
    pub(crate) fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill_text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(map) => {
                let filled = map
                    .iter()
                    .map(|(key, item)| (self.fill_text(key), self.fill(item)));
                Value::Object(filled.collect())
            }
            other => other.clone(),
        }
    }

    fn fill_text(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            match placeholder(&rest[at..]) {
                Some(name) => {
                    let bound = self.0.get(name).map(String::as_str);
                    out.push_str(bound.unwrap_or(if name == "$time" {
                        "2024-01-01T00:00:00Z"
                    } else {
                        name
                    }));
                    rest = &rest[at + name.len()..];
                }
                None => {
                    out.push('$');
                    rest = &rest[at + 1..];
                }
            }
        }
        out + rest
    }

    /// Whether a text fits a pattern; binds what is not bound yet.
    fn fits(&mut self, want: &str, got: &str) -> bool {
        let Some(at) = want.find('$').filter(|at| placeholder(&want[*at..]).is_some()) else {
            return want == got;
        };
        if !got.starts_with(&want[..at]) {
            return false;
        }
        let Some(name) = placeholder(&want[at..]) else {
            return false;
        };
        let (rest, got) = (&want[at + name.len()..], &got[at..]);
        let free = matches!(name, "$time" | "$age" | "$serverAddress" | "$rv") || name.starts_with("$listrv");
        if let Some(bound) = self.0.get(name).filter(|_| !free).cloned() {
            return got
                .strip_prefix(bound.as_str())
                .is_some_and(|got| self.fits(rest, got));
        }
        // The shortest value after which the rest fits, the longest if nothing follows.
        let ends: Vec<usize> = if rest.is_empty() {
            vec![got.len()]
        } else {
            (1..=got.len()).filter(|end| got.is_char_boundary(*end)).collect()
        };
        for end in ends {
            let mut trial = self.clone();
            trial.0.insert(name.to_owned(), got[..end].to_owned());
            if trial.fits(rest, &got[end..]) {
                *self = trial;
                return true;
            }
        }
        false
    }

    fn differ(&mut self, path: &str, want: &Value, got: &Value) -> Option<String> {
        let shown = |value: &Value| {
            let text = value.to_string();
            let end = (0..=text.len().min(400))
                .rev()
                .find(|end| text.is_char_boundary(*end))
                .unwrap_or(0);
            text[..end].to_owned()
        };
        match (want, got) {
            (Value::String(want_text), Value::String(got_text)) if self.fits(want_text, got_text) => {
                return None;
            }
            (Value::String(want_text), Value::Number(number))
                if want_text.starts_with('$') && self.fits(want_text, &number.to_string()) =>
            {
                return None;
            }
            (Value::Array(wants), Value::Array(gots)) => return self.lists(path, wants, gots),
            (Value::Object(wants), Value::Object(gots)) => {
                let mut missing = vec![];
                let mut seen = vec![];
                for (key, want) in wants {
                    let real = self.fill_text(key);
                    match gots.get(&real) {
                        // Texts of documents may be worded otherwise.
                        Some(Value::String(_))
                            if key == "description" && want.is_string() && !path.contains("annotations") => {}
                        Some(got) => {
                            if let Some(difference) = self.differ(&format!("{path}.{real}"), want, got) {
                                return Some(difference);
                            }
                        }
                        // Nor need schemas have any.
                        None if key == "description" && path.contains(".components.schemas.") => {}
                        None => missing.push(real.clone()),
                    }
                    seen.push(real);
                }
                let more: Vec<String> = gots
                    .iter()
                    .filter(|(key, _)| !seen.contains(key))
                    .map(|(key, value)| format!("{key}={}", shown(value)))
                    .collect();
                if missing.is_empty() && more.is_empty() {
                    return None;
                }
                let more = more.join(" ");
                return Some(format!("{path}: missing [{}], more [{more}]", missing.join(" ")));
            }
            _ if want == got => return None,
            (Value::Number(want), Value::Number(got)) if want.as_f64() == got.as_f64() => return None,
            _ => {}
        }
        Some(format!("{path}: want {}, got {}", shown(want), shown(got)))
    }

    fn lists(&mut self, path: &str, wants: &[Value], gots: &[Value]) -> Option<String> {
        if path.ends_with(".managedFields") {
            // Sorted by time, which is too coarse: a set.
            let mut left: Vec<&Value> = gots.iter().collect();
            for want in wants {
                let found = left.iter().position(|got| {
                    let mut trial = self.clone();
                    trial.differ("", want, got).is_none()
                });
                match found {
                    Some(at) => {
                        let got = left.remove(at);
                        self.differ("", want, got);
                    }
                    None => {
                        let near = left.iter().find(|got| {
                            got["manager"] == want["manager"] && got["operation"] == want["operation"]
                        });
                        return match near {
                            Some(got) => self.differ(&format!("{path}[{}]", want["manager"]), want, got),
                            None => Some(format!("{path}: no entry {want}")),
                        };
                    }
                }
            }
            return left.first().map(|more| format!("{path}: one more entry {more}"));
        }
        if wants.len() != gots.len() {
            let brief = |list: &[Value]| {
                let text = Value::from(list.to_vec()).to_string();
                text.chars().take(300).collect::<String>()
            };
            return Some(format!(
                "{path}: want {} items {}, got {} {}",
                wants.len(),
                brief(wants),
                gots.len(),
                brief(gots)
            ));
        }
        let pairs = wants.iter().zip(gots).enumerate();
        let mut differences =
            pairs.filter_map(|(index, (want, got))| self.differ(&format!("{path}[{index}]"), want, got));
        differences.next()
    }
}

fn sorted_lists(value: &mut Value) {
    for field in ["causes"] {
        if let Some(list) = value["details"].get_mut(field) {
            let all: Vec<Value> = as_set(list)
                .iter()
                .filter_map(|text| serde_json::from_str(text).ok())
                .collect();
            *list = all.into();
        }
    }
    if let Some(status) = value.get_mut("status").and_then(Value::as_object_mut) {
        for list in status.values_mut().filter(|list| list.is_array()) {
            let all: Vec<Value> = as_set(list)
                .iter()
                .filter_map(|text| serde_json::from_str(text).ok())
                .collect();
            *list = all.into();
        }
    }
    if let Some(map) = value.as_object_mut() {
        map.remove("message");
    }
}

/// Holds an answer against the recorded one.
pub(crate) fn compare(
    bindings: &mut Bindings,
    want: &Value,
    got: &Got,
    unordered: bool,
) -> Result<(), String> {
    let text = || {
        let text = String::from_utf8_lossy(&got.body);
        text.chars().take(700).collect::<String>()
    };
    if want["status"] != got.status {
        return Err(format!(
            "want status {}, got {}: {}; wanted {}",
            want["status"],
            got.status,
            text(),
            want["body"]["message"]
        ));
    }
    for (name, value) in want["headers"].as_object().into_iter().flatten() {
        let have = got.headers.get(&name.to_lowercase()).cloned().unwrap_or_default();
        let wanted: Vec<Value> = match value {
            Value::Array(values) => values.clone(),
            other => vec![other.clone()],
        };
        let have: Vec<Value> = have.into_iter().map(Value::from).collect();
        if let Some(difference) = bindings.differ(&format!("header {name}"), &wanted.into(), &have.into()) {
            return Err(difference);
        }
    }
    if want["headers"]["Warning"].is_null() && got.headers.contains_key("warning") {
        return Err(format!("warning not expected: {:?}", got.headers["warning"]));
    }
    let shape = want["shape"].as_str().unwrap_or("");
    if shape == "status-and-headers" {
        return Ok(());
    }
    if !want["events"].is_null() {
        let have = events(&got.body);
        return bindings
            .differ("events", &want["events"], &have)
            .map_or(Ok(()), Err);
    }
    if let Some(wanted) = want["bodyText"].as_str() {
        let whole = String::from_utf8_lossy(&got.body);
        return if bindings.fits(wanted, &whole) {
            Ok(())
        } else {
            Err(crate::first_difference(wanted, &whole))
        };
    }
    let Some(wanted) = want.get("body").filter(|body| !body.is_null()) else {
        return Ok(());
    };
    let have: Value = serde_json::from_slice(&got.body).map_err(|error| format!("{error}: {}", text()))?;
    let (mut wanted, mut have) = (wanted.clone(), reduced(shape, &have));
    if shape == "data-keys" {
        for side in [&mut wanted, &mut have] {
            for value in side["data"]
                .as_object_mut()
                .into_iter()
                .flat_map(|map| map.values_mut())
            {
                *value = "value".into();
            }
        }
    }
    if unordered {
        sorted_lists(&mut wanted);
        sorted_lists(&mut have);
    }
    bindings.differ("", &wanted, &have).map_or(Ok(()), Err)
}

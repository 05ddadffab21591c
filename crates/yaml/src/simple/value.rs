//! Simple documents as JSON, the way `sigs.k8s.io/yaml` reads them.

use serde_json::{Map, Value};

use super::{Events, NotSimple, Scalar, Told, scan};
use crate::resolve::{Mode, Resolved, resolve_plain};

/// A simple document as JSON; nothing if it is none. `strict` leaves repeated keys to the whole parser.
pub(crate) fn json(text: &str, strict: bool) -> Option<Value> {
    let mut build = Build {
        strict,
        open: Vec::with_capacity(16),
        done: None,
    };
    scan(text, &mut build).ok()?;
    build.done
}

enum Open {
    Map(Map<String, Value>, String),
    List(Vec<Value>),
}

struct Build {
    strict: bool,
    open: Vec<Open>,
    done: Option<Value>,
}

impl Build {
    fn put(&mut self, value: Value) -> Told {
        match self.open.last_mut() {
            Some(Open::Map(fields, key)) => {
                if fields.insert(std::mem::take(key), value).is_some() && self.strict {
                    return Err(NotSimple);
                }
            }
            Some(Open::List(items)) => items.push(value),
            None => self.done = Some(value),
        }
        Ok(())
    }
}

impl<'t> Events<'t> for Build {
    fn map(&mut self) -> Told {
        self.open.push(Open::Map(Map::new(), String::new()));
        Ok(())
    }

    fn list(&mut self) -> Told {
        self.open.push(Open::List(Vec::new()));
        Ok(())
    }

    fn end(&mut self) -> Told {
        let value = match self.open.pop().ok_or(NotSimple)? {
            Open::Map(fields, _) => Value::Object(fields),
            Open::List(items) => Value::Array(items),
        };
        self.put(value)
    }

    fn key(&mut self, key: Scalar<'t>) -> Told {
        let Some(Open::Map(_, here)) = self.open.last_mut() else {
            return Err(NotSimple);
        };
        *here = match key {
            Scalar::Quoted(text) => text.into_owned(),
            Scalar::Plain(text) => match resolve_plain(text, Mode::Json, true) {
                Resolved::Str | Resolved::Timestamp => text.to_owned(),
                _ => return Err(NotSimple),
            },
            _ => return Err(NotSimple),
        };
        Ok(())
    }

    fn scalar(&mut self, scalar: Scalar<'t>) -> Told {
        let value = match scalar {
            Scalar::Missing => Value::Null,
            Scalar::Quoted(text) => Value::String(text.into_owned()),
            Scalar::Block(block) => Value::String(block.text().ok_or(NotSimple)?),
            Scalar::Plain(text) => match resolve_plain(text, Mode::Json, true) {
                Resolved::Null => Value::Null,
                Resolved::Bool(value) => Value::Bool(value),
                Resolved::Str | Resolved::Timestamp => Value::String(text.to_owned()),
                Resolved::Number(number) => crate::json::number_value(number).ok_or(NotSimple)?,
                Resolved::Merge => return Err(NotSimple),
            },
        };
        self.put(value)
    }
}

//! Values as templates see them where Helm gives a table a type with methods.

use std::any::Any;
use std::rc::Rc;

use fluvial_template::{Map, Object, Params, Type, Underlying, Value, quote};

use crate::functions::to_yaml;
use crate::values::{path_value, table_at};

/// `.Values` and `.Template`: a table that knows `Table`, `PathValue`, `AsMap`, `YAML`.
pub(crate) struct Table(Map);

impl Table {
    pub(crate) fn value(map: Map) -> Value {
        Value::Object(Rc::new(Table(map)))
    }
}

impl Object for Table {
    fn type_name(&self) -> String {
        "common.Values".to_owned()
    }

    fn kind(&self) -> &'static str {
        "map"
    }

    fn field(&self, _: &str) -> Option<Value> {
        None
    }

    fn method(&self, name: &str) -> Option<Params> {
        match name {
            "AsMap" | "YAML" => Some(Params::default()),
            "Table" | "PathValue" => Some(Params::fixed(&[Type::Str])),
            _ => None,
        }
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, String> {
        let argument = arguments.first().and_then(Value::as_str).unwrap_or_default();
        match name {
            "AsMap" => Ok(Value::Map(self.0.clone())),
            "YAML" => to_yaml(&Value::Map(self.0.clone())).map(|text| (text + "\n").into()),
            "Table" => match table_at(&self.0, argument) {
                Some(map) => Ok(Table::value(map)),
                None => {
                    let mut here = String::new();
                    for part in argument.split('.') {
                        if !here.is_empty() {
                            here.push('.');
                        }
                        here.push_str(part);
                        if table_at(&self.0, &here).is_none() {
                            return Err(format!("{} is not a table", quote(part)));
                        }
                    }
                    Err(format!("{} is not a table", quote(argument)))
                }
            },
            _ if argument.is_empty() => Err("YAML path cannot be empty".to_owned()),
            _ => path_value(&self.0, argument).ok_or_else(|| {
                let key = argument.rsplit('.').next().unwrap_or_default();
                format!("{} is not a value", quote(key))
            }),
        }
    }

    fn underlying(&self) -> Underlying {
        Underlying::Value(Value::Map(self.0.clone()))
    }

    fn as_map(&self) -> Option<Map> {
        Some(self.0.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

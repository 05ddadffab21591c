//! YAML and JSON, as Helm's functions write and read them.

use fluvial_template::sprig::{encode_json, go_json_error, json_with_overflow};
use fluvial_template::{FunctionResult, Functions, List, Map, Params, Type, Value, number};
use fluvial_yaml::{EmitOptions, Entry, Node, NodeData, ScalarStyle, SequenceIndent};
use serde_json::Value as Json;

use super::text_at;
use crate::metadata::mismatch;
use crate::values::yaml_to_json;

const MAP: &str = "map[string]interface {}";
const LIST: &str = "[]interface {}";

pub(super) fn register(functions: &mut Functions) {
    let any = || Params::fixed(&[Type::Any]);
    let text = || Params::fixed(&[Type::Str]);
    functions.pure("toYaml", any(), |v| Ok(to_yaml(&v[0]).unwrap_or_default().into()));
    functions.pure("mustToYaml", any(), |v| Ok(to_yaml(&v[0])?.into()));
    functions.pure("toYamlPretty", any(), |v| Ok(pretty(&v[0]).into()));
    functions.pure("fromYaml", text(), |v| {
        Ok(decoded_map(yaml_to_json(text_at(v, 0))))
    });
    functions.pure("fromYamlArray", text(), |v| {
        Ok(decoded_list(yaml_to_json(text_at(v, 0))))
    });
    functions.pure("toJson", any(), |v| {
        Ok(encode_json(&v[0], true, None).unwrap_or_default().into())
    });
    functions.pure(
        "mustToJson",
        any(),
        |v| Ok(encode_json(&v[0], true, None)?.into()),
    );
    functions.pure("fromJson", text(), |v| Ok(from_json(text_at(v, 0))));
    functions.pure("fromJsonArray", text(), |v| from_json_array(text_at(v, 0)));
}

/// A value as `toYaml` writes it.
pub(crate) fn to_yaml(value: &Value) -> Result<String, String> {
    let json = checked_json(value, 0)?;
    let mut yaml =
        fluvial_yaml::checked_json_to_yaml(&json).map_err(|error| format!("yaml: {}", error.message))?;
    if yaml.ends_with('\n') {
        yaml.pop();
    }
    Ok(yaml)
}

/// JSON of a value; what holds itself, or numbers that JSON lacks, is refused.
fn checked_json(value: &Value, depth: usize) -> Result<Json, String> {
    if depth > 1000 {
        return Err("error marshaling into JSON: json: unsupported value: encountered a cycle".to_owned());
    }
    match value {
        Value::Float(float) if !float.is_finite() => Err(format!(
            "error marshaling into JSON: json: unsupported value: {}",
            number::shortest(*float)
        )),
        Value::List(list) if !list.is_nil() && list.as_bytes().is_none() => list
            .items()
            .iter()
            .map(|item| checked_json(item, depth + 1))
            .collect::<Result<Vec<_>, _>>()
            .map(Json::Array),
        Value::Map(map) if !map.is_nil() => map
            .borrow()
            .iter()
            .map(|(key, value)| {
                let key = if key.contains('\u{85}') {
                    read_back(key)
                } else {
                    key.to_string()
                };
                Ok((key, checked_json(value, depth + 1)?))
            })
            .collect::<Result<serde_json::Map<_, _>, String>>()
            .map(Json::Object),
        Value::Object(object) => match object.as_map() {
            Some(map) => checked_json(&Value::Map(map), depth),
            None => Ok(object.to_json()),
        },
        Value::Str(text) if text.contains('\u{85}') => Ok(read_back(text).into()),
        other => Ok(other.to_json()),
    }
}

/// A text as it comes back from JSON that is read as YAML, as `toYaml` does: what Unicode calls a next line is a line
/// break there, and folds.
fn read_back(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut breaks = 0;
    for (index, part) in text.split('\u{85}').enumerate() {
        let trimmed = if index > 0 {
            part.trim_start_matches(' ')
        } else {
            part
        };
        if index > 0 {
            breaks += 1;
            out.truncate(out.trim_end_matches(' ').len());
        }
        if trimmed.is_empty() && index > 0 && text.len() > part.len() {
            continue;
        }
        fold(&mut out, &mut breaks);
        out.push_str(trimmed);
    }
    fold(&mut out, &mut breaks);
    out
}

/// One line break becomes a blank, more of them one less.
fn fold(out: &mut String, breaks: &mut usize) {
    match std::mem::take(breaks) {
        0 => {}
        1 => out.push(' '),
        more => out.extend(std::iter::repeat_n('\n', more - 1)),
    }
}

/// `toYamlPretty`: lists are indented below their keys, floats keep their exponents.
fn pretty(value: &Value) -> String {
    let options = EmitOptions {
        sequences: SequenceIndent::Wide,
    };
    let mut text = fluvial_yaml::emit(&node(value, 0), &options);
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// A string; what YAML 1.1 would read as something else is quoted.
fn scalar(text: &str) -> Node {
    let old_bool = ["y", "n", "yes", "no", "on", "off"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text));
    if old_bool {
        Node::new(NodeData::Scalar {
            text: text.into(),
            style: ScalarStyle::DoubleQuoted,
        })
    } else if fluvial_yaml::is_yaml_1_1_non_string(text) {
        Node::string(text)
    } else {
        Node::text(text)
    }
}

fn node(value: &Value, depth: usize) -> Node {
    if depth > 1000 {
        return Node::plain("null");
    }
    match value {
        Value::Nil | Value::NilInterface => Node::plain("null"),
        Value::Bool(value) => Node::plain(if *value { "true" } else { "false" }),
        Value::Int(value, _) => Node::plain(value.to_string()),
        Value::Uint(value, _) => Node::plain(value.to_string()),
        Value::Float(value) => Node::plain(number::format_float(*value, 'g', None)),
        Value::Str(text) => scalar(text),
        Value::List(list) => Node::sequence(list.items().iter().map(|item| node(item, depth + 1)).collect()),
        Value::Map(map) => Node::mapping(
            map.borrow()
                .iter()
                .map(|(key, value)| Entry {
                    key: scalar(key),
                    value: node(value, depth + 1),
                })
                .collect(),
        ),
        Value::Object(object) => match object.as_map() {
            Some(map) => node(&Value::Map(map), depth),
            None => Node::from_json(&object.to_json()),
        },
    }
}

fn decoded_map(read: Result<Json, String>) -> Value {
    let error = match read {
        Ok(Json::Null) => return Map::default().into(),
        Ok(json @ Json::Object(_)) => return Value::from_json(&json),
        Ok(other) => mismatch(&other, "", MAP),
        Err(error) => error,
    };
    error_map(error)
}

fn error_map(error: String) -> Value {
    Map::new([("Error".into(), error.into())].into()).into()
}

fn decoded_list(read: Result<Json, String>) -> Value {
    let error = match read {
        Ok(Json::Null) => return List::any(Vec::new()).into(),
        Ok(json @ Json::Array(_)) => return Value::from_json(&json),
        Ok(other) => mismatch(&other, "", LIST),
        Err(error) => error,
    };
    List::any(vec![error.into()]).into()
}

fn parse_json(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| go_json_error(text).unwrap_or_else(|| error.to_string()))
}

/// What Go's decoder says, without the words of the YAML library around it.
fn bare(error: &str) -> String {
    error
        .strip_prefix("error unmarshaling JSON: while decoding JSON: ")
        .unwrap_or(error)
        .to_owned()
}

fn from_json(text: &str) -> Value {
    match parse_json(text) {
        Ok(Json::Null) => Map::default().nil().into(),
        Ok(json @ Json::Object(_)) => Value::from_json(&json),
        Ok(other) => error_map(bare(&mismatch(&other, "", MAP))),
        Err(error) => match json_with_overflow(text) {
            // All else was decoded, and the error joins it.
            Some((Json::Object(mut fields), error)) => {
                fields.insert("Error".to_owned(), error.into());
                Value::from_json(&Json::Object(fields))
            }
            _ => error_map(error),
        },
    }
}

fn from_json_array(text: &str) -> FunctionResult {
    Ok(match parse_json(text) {
        Ok(Json::Null) => List::any(Vec::new()).or_nil().into(),
        Ok(json @ Json::Array(_)) => Value::from_json(&json),
        Ok(other) => List::any(vec![bare(&mismatch(&other, "", LIST)).into()]).into(),
        Err(error) => {
            let error = json_with_overflow(text).map_or(error, |(_, error)| error);
            List::any(vec![error.into()]).into()
        }
    })
}

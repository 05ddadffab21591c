//! Files without a structure: encrypted as one value of a JSON envelope.

use crate::value::{Item, Value};

pub(super) fn emit(branches: &[Vec<Item>]) -> Result<Vec<u8>, String> {
    let data = branches
        .first()
        .into_iter()
        .flatten()
        .find_map(|item| match item {
            Item::Entry { key, value } if key == "data" => Some(value),
            _ => None,
        });
    match data {
        Some(Value::Text(data)) => Ok(data.clone()),
        Some(other) => Err(format!("'data' must be text, and it is {}", other.kind())),
        None => Err("no binary data found in tree".to_owned()),
    }
}

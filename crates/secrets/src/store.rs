//! The formats: text to branches and back.

mod binary;
mod dotenv;
mod ini;
mod json;
mod yaml;

use fluvial_ports::Format;
use serde_json::Value as Json;

use crate::value::{Item, Value};

/// A file that has been read, its values still encrypted.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) branches: Vec<Vec<Item>>,
    pub(crate) metadata: Json,
}

/// No metadata: the text was never encrypted.
pub(crate) const NO_METADATA: &str = "sops metadata not found";

/// Reads an encrypted file.
pub(crate) fn load(data: &[u8], format: Format) -> Result<Loaded, String> {
    match format {
        Format::Yaml => yaml::load(data),
        Format::Json | Format::Binary => json::load(data),
        Format::Dotenv => dotenv::load(data),
        Format::Ini => ini::load(data),
    }
}

/// Writes a decrypted file.
pub(crate) fn emit(branches: &[Vec<Item>], format: Format) -> Result<Vec<u8>, String> {
    match format {
        Format::Yaml => Ok(yaml::emit(branches)),
        Format::Json => json::emit(branches),
        Format::Binary => binary::emit(branches),
        Format::Dotenv => dotenv::emit(branches),
        Format::Ini => ini::emit(branches),
    }
}

/// The values of a field of metadata that is no text yet: what flat formats keep.
pub(crate) fn flat(items: &[Item]) -> impl Iterator<Item = (String, String)> + '_ {
    items.iter().filter_map(|item| match item {
        Item::Entry {
            key,
            value: Value::Text(text),
        } => Some((key.clone(), String::from_utf8_lossy(text).into_owned())),
        _ => None,
    })
}

//! `metadata.managedFields`: reading, writing, and the order of its entries.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::set::Set;

/// Entries of `Update` beyond this many are joined.
const MAX_UPDATERS: usize = 10;

/// One manager's entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) applied: bool,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: Set,
}

/// Entries by the identity of their manager.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entries {
    pub(super) by_manager: BTreeMap<String, Entry>,
}

impl Entry {
    /// What makes two entries the same manager's: for applies the version does not matter.
    pub(super) fn identity(&self) -> String {
        let mut out = format!("{{\"manager\":{}", Value::from(self.manager.as_str()));
        out.push_str(if self.applied {
            ",\"operation\":\"Apply\""
        } else {
            ",\"operation\":\"Update\""
        });
        if !self.applied && !self.api_version.is_empty() {
            out.push_str(&format!(
                ",\"apiVersion\":{}",
                Value::from(self.api_version.as_str())
            ));
        }
        if !self.subresource.is_empty() {
            out.push_str(&format!(
                ",\"subresource\":{}",
                Value::from(self.subresource.as_str())
            ));
        }
        out.push('}');
        out
    }

    /// The manager in a conflict's text.
    pub(super) fn show(&self) -> String {
        let mut out = fluvial_schema::quote(&self.manager);
        if !self.subresource.is_empty() {
            out.push_str(&format!(
                " with subresource {}",
                fluvial_schema::quote(&self.subresource)
            ));
        }
        if !self.applied {
            out.push_str(&format!(" using {}", self.api_version));
        }
        out
    }

    fn encode(&self) -> Value {
        let mut out = Map::new();
        if !self.manager.is_empty() {
            out.insert("manager".into(), self.manager.as_str().into());
        }
        out.insert(
            "operation".into(),
            if self.applied { "Apply" } else { "Update" }.into(),
        );
        out.insert("apiVersion".into(), self.api_version.as_str().into());
        if let Some(time) = &self.time {
            out.insert("time".into(), time.as_str().into());
        }
        out.insert("fieldsType".into(), "FieldsV1".into());
        out.insert("fieldsV1".into(), self.fields.encode());
        if !self.subresource.is_empty() {
            out.insert("subresource".into(), self.subresource.as_str().into());
        }
        Value::Object(out)
    }

    fn decode(index: usize, value: &Value) -> Result<Entry, String> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let applied = match text("operation") {
            "Apply" => true,
            "Update" => false,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        if text("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {index}")),
            other => {
                let other = fluvial_schema::quote(other);
                return Err(format!(
                    "invalid fieldsType {other} in managed fields entry {index}"
                ));
            }
        }
        let none = json!({});
        let fields = match value.get("fieldsV1") {
            None | Some(Value::Null) => &none,
            Some(fields) => fields,
        };
        Ok(Entry {
            manager: text("manager").to_owned(),
            applied,
            api_version: text("apiVersion").to_owned(),
            subresource: text("subresource").to_owned(),
            time: value.get("time").and_then(Value::as_str).map(str::to_owned),
            fields: Set::decode(fields).map_err(|error| format!("error decoding managed fields: {error}"))?,
        })
    }
}

fn seconds(time: Option<&str>) -> i64 {
    let parsed = time.and_then(|time| time.parse::<jiff::Timestamp>().ok());
    parsed.map_or(0, jiff::Timestamp::as_second)
}

impl Entries {
    pub(super) fn decode(object: &Value) -> Result<Entries, String> {
        let mut by_manager = BTreeMap::new();
        let list = object
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array);
        for (index, value) in list.into_iter().flatten().enumerate() {
            let entry = Entry::decode(index, value)?;
            by_manager.insert(entry.identity(), entry);
        }
        Ok(Entries { by_manager })
    }

    /// Writes the entries into an object.
    pub(super) fn encode(&self, object: &mut Value) {
        if self.by_manager.is_empty() {
            return drop_from(object);
        }
        let mut entries: Vec<(i64, &Entry)> = self
            .by_manager
            .values()
            .map(|entry| (seconds(entry.time.as_deref()), entry))
            .collect();
        entries.sort_by(|(a_time, a), (b_time, b)| {
            // "Apply" sorts before "Update".
            b.applied
                .cmp(&a.applied)
                .then(a_time.cmp(b_time))
                .then_with(|| a.manager.cmp(&b.manager))
                .then_with(|| a.api_version.cmp(&b.api_version))
                .then_with(|| a.subresource.cmp(&b.subresource))
        });
        let list = Value::Array(entries.into_iter().map(|(_, entry)| entry.encode()).collect());
        let Value::Object(map) = object else { return };
        let metadata = map.entry("metadata").or_insert_with(|| json!({}));
        if let Value::Object(metadata) = metadata {
            metadata.insert("managedFields".into(), list);
        }
    }

    /// Joins the oldest updaters until there are no more than ten.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<(i64, String)> = self
            .by_manager
            .iter()
            .filter(|(_, entry)| !entry.applied)
            .map(|(identity, entry)| (seconds(entry.time.as_deref()), identity.clone()))
            .collect();
        let mut count = updaters.len();
        if count <= MAX_UPDATERS {
            return;
        }
        updaters.sort();
        let mut first_of_version: BTreeMap<String, String> = BTreeMap::new();
        for (_, identity) in updaters {
            if count <= MAX_UPDATERS {
                break;
            }
            let Some(entry) = self.by_manager.get(&identity).cloned() else {
                continue;
            };
            let Some(first) = first_of_version.get(&entry.api_version) else {
                first_of_version.insert(entry.api_version, identity);
                continue;
            };
            let mut bucket = Entry {
                manager: "ancient-changes".to_owned(),
                applied: false,
                api_version: entry.api_version.clone(),
                subresource: String::new(),
                time: entry.time.clone(),
                fields: Set::default(),
            };
            let name = bucket.identity();
            let before = self
                .by_manager
                .remove(&name)
                .or_else(|| self.by_manager.remove(first));
            self.by_manager.remove(&identity);
            bucket.fields = before
                .map(|before| before.fields)
                .unwrap_or_default()
                .union(&entry.fields);
            self.by_manager.insert(name, bucket);
            count -= 1;
        }
    }
}

/// Removes managed fields from an object.
pub(super) fn drop_from(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
}

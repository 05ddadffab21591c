//! Field ownership across the versions of a definition. Who recorded fields in another version is asked in that version,
//! so the object must fit there as well: a field that only one of them declares stops an apply, and an update loses what
//! is recorded, as on a real server.

use serde_json::Value;

use crate::kinds::Kind;

/// Whether the kind has a version: a served one or not.
#[must_use]
pub fn declares(kind: &Kind, version: &str) -> bool {
    kind.custom
        .as_ref()
        .is_some_and(|own| own.schemas.contains_key(version))
}

/// Why an object does not fit a version in which somebody's fields are recorded.
#[must_use]
pub fn misfit(kind: &Kind, recorded: &Value, objects: &[&Value]) -> Option<String> {
    // What a webhook makes of the object in that version would have to be asked for.
    let custom = kind.custom.as_ref().filter(|own| own.conversion.is_none())?;
    let own = kind.api_version();
    let mut last = "";
    for entry in recorded["metadata"]["managedFields"].as_array()? {
        let version = entry["apiVersion"].as_str().unwrap_or("");
        if version == own || version == last {
            continue;
        }
        last = version;
        let Some(schema) = custom.schemas.get(version) else {
            continue;
        };
        let types = schema.as_ref().map(|schema| schema.as_type());
        let wrong = objects
            .iter()
            .find_map(|object| fluvial_merge::managed::misfit(types.as_ref(), object));
        if wrong.is_some() {
            return wrong;
        }
    }
    None
}

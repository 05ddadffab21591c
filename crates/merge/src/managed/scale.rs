//! Field ownership of a scale: it is that of one number of the object it belongs to.
//!
//! A scale is no object of its own. Its managers are made from those of its parent for the time of a request, and go back
//! there afterwards; who owned the number and is not among them any more loses it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::entries::{Entries, Entry, drop_from};
use super::path::Step;
use super::set::Set;

/// The version of scales.
pub const VERSION: &str = "autoscaling/v1";

fn path_of(names: &[&str]) -> Vec<Step> {
    names.iter().map(|name| Step::Field((*name).into())).collect()
}

fn only(path: &[Step]) -> Set {
    let mut set = Set::default();
    set.insert(path);
    set
}

/// Where the number is in each `apiVersion` of the parent; nowhere in versions without scale.
pub type Places = BTreeMap<String, Option<Vec<String>>>;

/// The numbers of a parent, as sets of one field.
struct Numbers(BTreeMap<String, Option<Set>>);

impl Numbers {
    fn of(places: &Places) -> Numbers {
        let set = |path: &Vec<String>| {
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            only(&path_of(&names))
        };
        let numbers = places.iter();
        Numbers(
            numbers
                .map(|(version, path)| (version.clone(), path.as_ref().map(set)))
                .collect(),
        )
    }

    /// The number, if the manager owns it.
    fn owned(&self, entry: &Entry) -> Option<&Set> {
        let number = self.0.get(&entry.api_version)?.as_ref()?;
        number.is_subset(&entry.fields).then_some(number)
    }
}

/// Writes the managers of a scale into it: those who own the number of the parent, each in its own version.
pub fn lend(parent: &Value, places: &Places, scale: &mut Value) {
    let numbers = Numbers::of(places);
    let own = only(&path_of(&["spec", "replicas"]));
    let managers = Entries::decode(parent).unwrap_or_default().by_manager;
    let lent = managers
        .into_iter()
        .filter(|(_, entry)| numbers.owned(entry).is_some())
        .map(|(identity, entry)| {
            let entry = Entry {
                api_version: VERSION.to_owned(),
                fields: own.clone(),
                ..entry
            };
            (identity, entry)
        })
        .collect();
    Entries { by_manager: lent }.encode(scale);
}

/// Takes the managers of a scale back into its parent, which was written in `version`.
pub fn take_back(parent: &mut Value, places: &Places, version: &str, scale: &Value) {
    let numbers = Numbers::of(places);
    let before = Entries::decode(parent).unwrap_or_default().by_manager;
    let scaled = Entries::decode(scale).unwrap_or_default().by_manager;
    let mut after = Entries::default();
    for (identity, entry) in &before {
        // What is of versions that the parent does not have is forgotten.
        if !places.contains_key(&entry.api_version) {
            continue;
        }
        let mut entry = entry.clone();
        if let Some(number) = numbers.owned(&entry)
            && !scaled.contains_key(identity)
        {
            entry.fields = entry.fields.difference(number);
            if entry.fields.is_empty() {
                continue;
            }
        }
        after.by_manager.insert(identity.clone(), entry);
    }
    if let Some(theirs) = numbers.0.get(version).and_then(Option::as_ref) {
        let number = only(&path_of(&["spec", "replicas"]));
        // Who changed anything else of the scale owns nothing of its parent.
        let scaled = scaled
            .into_iter()
            .filter(|(_, entry)| number.is_subset(&entry.fields));
        for (identity, entry) in scaled {
            // Who changes a scale has no time.
            after.by_manager.entry(identity).or_insert(Entry {
                api_version: version.to_owned(),
                fields: theirs.clone(),
                time: None,
                ..entry
            });
        }
    }
    drop_from(parent);
    after.encode(parent);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(operation: &str, version: &str, subresource: Option<&str>, fields: &Value) -> Value {
        let mut entry = json!({"manager": "m", "operation": operation, "apiVersion": version,
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields});
        if let Some(name) = subresource {
            entry["subresource"] = name.into();
        }
        entry
    }

    fn places(places: &[(&str, Option<&str>)]) -> Places {
        let names = |path: &str| path.split('.').map(str::to_owned).collect();
        let places = places.iter();
        places
            .map(|(version, path)| ((*version).to_owned(), path.map(names)))
            .collect()
    }

    fn apps() -> Places {
        places(&[("apps/v1", Some("spec.replicas"))])
    }

    #[test]
    fn managers_of_all_versions_keep_what_they_own() {
        let places = places(&[
            ("g/v1", Some("spec.replicas")),
            ("g/v2", Some("spec.count")),
            ("g/v3", None),
        ]);
        let named = |name: &str, mut entry: Value| {
            entry["manager"] = name.into();
            entry
        };
        let old = json!({"f:spec": {"f:replicas": {}, "f:a": {}}});
        let new = json!({"f:spec": {"f:count": {}}});
        let mut parent = json!({"metadata": {"managedFields": [
            named("old", entry("Update", "g/v1", None, &old)), named("new", entry("Apply", "g/v2", None, &new)),
            named("none", entry("Update", "g/v3", None, &old)), named("gone", entry("Update", "g/v0", None, &old))]}});
        let mut scale = json!({"metadata": {}});
        lend(&parent, &places, &mut scale);
        let lent = scale["metadata"]["managedFields"].as_array().unwrap();
        let lent: Vec<&str> = lent
            .iter()
            .filter_map(|entry| entry["manager"].as_str())
            .collect();
        assert_eq!(lent, ["new", "old"]);
        let number = json!({"f:spec": {"f:replicas": {}}});
        let scaled = json!({"metadata": {"managedFields": [named("hpa", entry("Update", VERSION, Some("scale"), &number))]}});
        take_back(&mut parent, &places, "g/v2", &scaled);
        let after = parent["metadata"]["managedFields"].as_array().unwrap();
        let after: Vec<(&str, &Value)> = after
            .iter()
            .map(|entry| (entry["manager"].as_str().unwrap(), &entry["fieldsV1"]))
            .collect();
        let left = json!({"f:spec": {"f:a": {}}});
        assert_eq!(after, [("hpa", &new), ("none", &old), ("old", &left)], "{parent}");
    }

    #[test]
    fn the_number_goes_to_who_scaled_and_no_other_field_does() {
        let fields = json!({"f:spec": {"f:replicas": {}, "f:selector": {}}});
        let mut parent = json!({"metadata": {"managedFields": [entry("Update", "apps/v1", None, &fields)]}});
        let mut scale = json!({"metadata": {}});
        lend(&parent, &apps(), &mut scale);
        let lent = &scale["metadata"]["managedFields"];
        assert_eq!(lent[0]["apiVersion"], VERSION);
        assert_eq!(lent[0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));

        let number = json!({"f:spec": {"f:replicas": {}}});
        let scaled =
            json!({"metadata": {"managedFields": [entry("Update", VERSION, Some("scale"), &number)]}});
        take_back(&mut parent, &apps(), "apps/v1", &scaled);
        let after = parent["metadata"]["managedFields"].as_array().unwrap();
        assert_eq!(after.len(), 2);
        assert_eq!(after[0]["subresource"], "scale");
        assert_eq!(after[0]["apiVersion"], "apps/v1");
        assert!(after[0].get("time").is_none());
        assert_eq!(after[1]["fieldsV1"], json!({"f:spec": {"f:selector": {}}}));
    }

    #[test]
    fn appliers_keep_what_they_own_while_they_are_among_the_managers_of_the_scale() {
        let fields = json!({"f:spec": {"f:replicas": {}}});
        let mut parent = json!({"metadata": {"managedFields": [entry("Apply", "apps/v1", None, &fields)]}});
        let mut scale = json!({"metadata": {}});
        lend(&parent, &apps(), &mut scale);
        let before = parent.clone();
        take_back(&mut parent, &apps(), "apps/v1", &scale);
        assert_eq!(parent, before);
        take_back(&mut parent, &apps(), "apps/v1", &json!({"metadata": {}}));
        assert_eq!(parent, json!({"metadata": {}}));
    }

    #[test]
    fn who_scales_takes_the_number_from_who_applied_it() {
        let schemas = fluvial_schema::SchemaSet::builtin();
        let types = schemas.kind("autoscaling", "v1", "Scale");
        let fields = json!({"f:spec": {"f:replicas": {}, "f:selector": {}}});
        let mut parent = json!({"metadata": {"managedFields": [entry("Apply", "apps/v1", None, &fields)]}});
        let mut live = json!({"apiVersion": VERSION, "kind": "Scale", "metadata": {"name": "d", "namespace": "n",
            "uid": "u", "resourceVersion": "5", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"replicas": 1}, "status": {"replicas": 0, "selector": "a=b"}});
        lend(&parent, &apps(), &mut live);
        assert_eq!(super::super::misfit(types.as_ref(), &live), None);
        let mut updated = live.clone();
        updated["spec"]["replicas"] = 4.into();
        let scaled = super::super::update(super::super::UpdateRequest {
            types: types.as_ref(),
            live: Some(&live),
            updated,
            manager: "hpa",
            subresource: "scale",
            api_version: VERSION,
            time: "2026-01-01T00:00:00Z",
            reset_fields: &[],
        });
        take_back(&mut parent, &apps(), "apps/v1", &scaled);
        let after = parent["metadata"]["managedFields"].as_array().unwrap();
        assert_eq!(after.len(), 2, "{parent}");
        assert_eq!(after[0]["fieldsV1"], json!({"f:spec": {"f:selector": {}}}));
        assert_eq!(after[1]["manager"], "hpa");
    }
}

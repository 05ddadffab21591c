//! The CustomResourceDefinitions.
//!
//! Their facts (fields, types, defaults, patterns, rules, columns) are tables in `definitions/`, kept
//! equal to those that Flux publishes, because existing manifests and clients rely on every one of
//! them. Descriptions are our own and are put in here, and so are the few fields that Flux does not have.

use serde_json::{Value, json};

use crate::kinds;

/// The tables, in order of their names.
const TABLES: &[&str] = &[
    include_str!("../definitions/alerts.json"),
    include_str!("../definitions/artifactgenerators.json"),
    include_str!("../definitions/buckets.json"),
    include_str!("../definitions/externalartifacts.json"),
    include_str!("../definitions/gitrepositories.json"),
    include_str!("../definitions/helmcharts.json"),
    include_str!("../definitions/helmreleases.json"),
    include_str!("../definitions/helmrepositories.json"),
    include_str!("../definitions/imagepolicies.json"),
    include_str!("../definitions/imagerepositories.json"),
    include_str!("../definitions/imageupdateautomations.json"),
    include_str!("../definitions/kustomizations.json"),
    include_str!("../definitions/ocirepositories.json"),
    include_str!("../definitions/providers.json"),
    include_str!("../definitions/receivers.json"),
];

/// Descriptions of fields: lines `Kind.path = text`.
const DESCRIPTIONS: &str = include_str!("../definitions/descriptions.txt");

/// The definitions of all kinds.
#[must_use]
pub fn definitions() -> Vec<Value> {
    let mut definitions = published();
    for definition in &mut definitions {
        extend(definition);
        describe(definition);
    }
    definitions
}

/// The same without fields of our own and without descriptions: what Flux publishes.
#[must_use]
pub fn published() -> Vec<Value> {
    TABLES
        .iter()
        .map(|table| serde_json::from_str(table).expect("a test reads every table"))
        .collect()
}

/// Puts in the fields that are Fluvial's own: `kind` in `dependsOn`.
fn extend(definition: &mut Value) {
    let field =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/dependsOn/items/properties";
    let kinds = ["Kustomization", "HelmRelease"];
    let ours = definition["spec"]["names"]["kind"]
        .as_str()
        .is_some_and(|kind| kinds.contains(&kind));
    if let Some(Value::Object(fields)) = definition.pointer_mut(field)
        && ours
    {
        fields.insert("kind".to_owned(), json!({"type": "string", "enum": kinds}));
    }
}

/// The present definition in place of one of Flux's kinds that does not serve the present version; labels and annotations
/// stay. Nothing for definitions that do, and for those of other kinds.
#[must_use]
pub fn current_definition(object: &Value) -> Option<Value> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let info = kinds::of(text("/spec/group")?, text("/spec/names/kind")?)?;
    let versions = object.pointer("/spec/versions").and_then(Value::as_array);
    let serves = versions
        .into_iter()
        .flatten()
        .any(|version| version["name"] == info.version && version["served"] == true);
    if serves {
        return None;
    }
    let mut current = definitions()
        .into_iter()
        .find(|definition| definition["spec"]["names"]["kind"] == info.kind)?;
    for field in ["labels", "annotations"] {
        if let Some(theirs) = object["metadata"].get(field) {
            current["metadata"][field] = theirs.clone();
        }
    }
    Some(current)
}

/// Puts the descriptions of its kind into a definition.
fn describe(definition: &mut Value) {
    let kind = definition["spec"]["names"]["kind"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    for line in DESCRIPTIONS.lines() {
        let Some((path, text)) = line.split_once(" = ") else {
            continue;
        };
        let mut words = path.split('.');
        let named = words.next();
        if named != Some(kind.as_str()) && named != Some("*") {
            continue;
        }
        let mut schema = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema");
        for word in words {
            schema = schema.and_then(|schema| match word {
                "[]" => schema.get_mut("items"),
                name => schema
                    .get_mut("properties")
                    .and_then(|fields| fields.get_mut(name)),
            });
        }
        if let Some(Value::Object(schema)) = schema {
            schema.insert("description".to_owned(), text.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::KINDS;

    #[test]
    fn an_older_definition_gives_way_to_the_present_one() {
        let older = |version: &str| {
            json!({"kind": "CustomResourceDefinition",
                "metadata": {"name": "gitrepositories.source.toolkit.fluxcd.io", "labels": {"a": "b"}},
                "spec": {"group": "source.toolkit.fluxcd.io", "names": {"kind": "GitRepository"},
                    "versions": [{"name": version, "served": true, "storage": true}]}})
        };
        let current = super::current_definition(&older("v1beta1")).unwrap();
        assert_eq!(current["metadata"]["labels"]["a"], "b");
        assert_eq!(current["spec"]["versions"][0]["name"], "v1");
        assert_eq!(super::current_definition(&older("v1")), None);
        let mut other = older("v1beta1");
        other["spec"]["group"] = "example.com".into();
        assert_eq!(super::current_definition(&other), None);
    }

    #[test]
    fn what_flux_does_not_have_is_one_optional_field() {
        let field =
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/dependsOn/items/properties";
        let mut extended = Vec::new();
        for (mut ours, mut theirs) in definitions().into_iter().zip(published()) {
            describe(&mut theirs);
            if ours == theirs {
                continue;
            }
            extended.push(ours["spec"]["names"]["kind"].as_str().unwrap().to_owned());
            let fields = ours.pointer_mut(field).and_then(Value::as_object_mut).unwrap();
            assert!(fields.remove("kind").is_some());
            let fields = theirs.pointer_mut(field).and_then(Value::as_object_mut).unwrap();
            fields.remove("kind");
            assert_eq!(ours, theirs);
        }
        assert_eq!(extended, ["HelmRelease", "Kustomization"]);
    }

    #[test]
    fn every_kind_has_a_definition_with_its_names() {
        let definitions = definitions();
        assert_eq!(definitions.len(), KINDS.len());
        for info in KINDS {
            let name = format!("{}.{}", info.plural, info.group);
            let definition = definitions
                .iter()
                .find(|definition| definition["metadata"]["name"] == name.as_str())
                .unwrap_or_else(|| panic!("no definition of {name}"));
            let names = &definition["spec"]["names"];
            assert_eq!(names["kind"], info.kind);
            assert_eq!(definition["spec"]["versions"][0]["name"], info.version);
            let short: Vec<&str> = names["shortNames"]
                .as_array()
                .map(|names| names.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            assert_eq!(short, info.short_names);
        }
    }

    #[test]
    fn every_description_names_a_field() {
        let definitions = definitions();
        for line in DESCRIPTIONS
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (path, text) = line.split_once(" = ").expect("a line is `path = text`");
            let (kind, path) = path.split_once('.').unwrap_or((path, ""));
            let mut pointer = "/spec/versions/0/schema/openAPIV3Schema".to_owned();
            for word in path.split('.').filter(|word| !word.is_empty()) {
                pointer += &match word {
                    "[]" => "/items".to_owned(),
                    name => format!("/properties/{name}"),
                };
            }
            pointer += "/description";
            let found = definitions.iter().any(|definition| {
                (kind == "*" || definition["spec"]["names"]["kind"] == kind)
                    && definition.pointer(&pointer).is_some_and(|found| found == text)
            });
            assert!(found, "{line}");
        }
    }
}

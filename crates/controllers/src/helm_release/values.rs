//! The values of a release: those that the spec refers to, in order, then those that it holds itself.

use fluvial_api::HelmRelease;
use fluvial_api::helm::ValuesReference;
use fluvial_helm::Values;
use fluvial_ports::{Cluster, Resource, Target};
use serde_json::Value;

use crate::writer::config_data;

/// Key of values in a ConfigMap or Secret if none is named.
const KEY: &str = "values.yaml";

/// What a reference leads to: the text under its key, or nothing where that is no error.
type Found = Option<String>;

/// That a reference leads nowhere, as Flux says it.
fn unresolved(reference: &ValuesReference, namespace: &str, why: &str) -> String {
    let optional = if reference.optional { " optional" } else { "" };
    format!(
        "could not resolve{optional} {} chart values reference '{namespace}/{}' with key '{}': {why}",
        reference.kind,
        reference.name,
        key_of(reference)
    )
}

/// Reads what a reference leads to.
async fn read(cluster: &dyn Cluster, namespace: &str, reference: &ValuesReference) -> Result<Found, String> {
    let failed = |why: &str| unresolved(reference, namespace, why);
    let resource = match reference.kind.as_str() {
        kind @ ("ConfigMap" | "Secret") => Resource::core(kind),
        _ => return Err(failed("unsupported values reference kind")),
    };
    let target = Target {
        resource: &resource,
        namespace,
        name: &reference.name,
    };
    let object = cluster
        .get(target)
        .await
        .map_err(|error| failed(&error.to_string()))?;
    let Some(object) = object else {
        return if reference.optional {
            Ok(None)
        } else {
            Err(failed(&format!(
                "{} \"{}\" not found",
                resource.plural, reference.name
            )))
        };
    };
    let mut data = config_data(&object).map_err(|error| failed(&error))?;
    match data.remove(key_of(reference)) {
        Some(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_bytes| failed("its value is no text")),
        None if reference.optional => Ok(None),
        None => Err(failed("key not found")),
    }
}

/// The values of a release: what it refers to in the cluster, and its own.
///
/// # Errors
/// A reference leads nowhere, or what it leads to cannot be put in.
pub async fn values_of(cluster: &dyn Cluster, object: &HelmRelease) -> Result<Value, String> {
    let mut found = Vec::with_capacity(object.spec.values_from.len());
    for reference in &object.spec.values_from {
        found.push(read(cluster, &object.metadata.namespace, reference).await?);
    }
    compose(object, &found)
}

fn key_of(reference: &ValuesReference) -> &str {
    reference
        .values_key
        .as_deref()
        .filter(|key| !key.is_empty())
        .unwrap_or(KEY)
}

/// The path that a reference sets, if it sets one value only.
fn path_of(reference: &ValuesReference) -> Option<&str> {
    reference.target_path.as_deref().filter(|path| !path.is_empty())
}

/// Puts the values together: references in order, maps merged, then the spec's own; references to one value go over all.
fn compose(object: &HelmRelease, found: &[Found]) -> Result<Value, String> {
    let inline = match &object.spec.values {
        None | Some(Value::Null) => Values::new(),
        Some(values) => {
            Values::from_json(values).map_err(|error| format!("spec.values cannot be read: {error}"))?
        }
    };
    let mut values = Values::new();
    let mut merged = false;
    for (reference, found) in object.spec.values_from.iter().zip(found) {
        let failed = |error: fluvial_helm::Error| {
            unresolved(reference, &object.metadata.namespace, &error.to_string())
        };
        let Some(text) = found else { continue };
        let Some(path) = path_of(reference) else {
            values.merge(Values::from_yaml(text).map_err(failed)?);
            continue;
        };
        if !merged {
            values.merge(inline.clone());
            merged = true;
        }
        set(&mut values, path, text, reference.literal).map_err(failed)?;
    }
    if !merged {
        values.merge(inline);
    }
    Ok(whole(values.as_json()))
}

/// Sets one value as `--set` does: quoted it is text, literal it is taken as it stands.
fn set(values: &mut Values, path: &str, text: &str, literal: bool) -> Result<(), fluvial_helm::Error> {
    if literal {
        return values.set_literal(&format!("{path}={text}"));
    }
    for quote in ['\'', '"'] {
        if text.starts_with(quote) && text.ends_with(quote) {
            let inner = text.trim_matches(['\'', '"']);
            return values.set_string(&format!("{path}={inner}"));
        }
    }
    values.set(&format!("{path}={text}"))
}

/// Numbers without a fraction as whole ones: as they were given, and as Go writes them.
fn whole(value: Value) -> Value {
    /// Beyond this a float does not hold every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "it has no fraction and is small enough"
                )]
                let whole = float as i64;
                Value::from(whole)
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(whole).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| (key, whole(value)))
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use fluvial_api::Resource;
    use serde_json::json;

    use super::*;

    fn composed(spec: Value, found: &[Option<&str>]) -> Result<Value, String> {
        let mut object = json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "web", "namespace": "ns"}, "spec": {"interval": "1m"}});
        let Value::Object(fields) = spec else {
            unreachable!("a spec is a map")
        };
        for (key, value) in fields {
            object["spec"][key] = value;
        }
        let object = HelmRelease::from_value(&object).unwrap();
        let found: Vec<Found> = found.iter().map(|text| text.map(str::to_owned)).collect();
        compose(&object, &found)
    }

    #[test]
    fn values_are_merged_in_order_and_the_specs_own_come_last() {
        let spec = json!({"values": {"a": {"x": 3}, "m": null},
            "valuesFrom": [{"kind": "ConfigMap", "name": "one"}, {"kind": "Secret", "name": "two"}]});
        let values = composed(
            spec,
            &[
                Some("a: {x: 1, z: 1}\nl: [1, 2]\nm: 1"),
                Some("a: {z: 2}\nl: [3]"),
            ],
        )
        .unwrap();
        assert_eq!(values, json!({"a": {"x": 3, "z": 2}, "l": [3], "m": null}));
    }

    #[test]
    fn a_reference_to_one_value_beats_the_specs_own() {
        let one = |name: &str, path: &str| json!({"kind": "Secret", "name": name, "valuesKey": "k", "targetPath": path});
        let mut literal = one("c", "c");
        literal["literal"] = json!(true);
        let spec = json!({"values": {"a": 1, "c": 1}, "valuesFrom": [one("a", "a"), one("b", "b.x"), one("d", "d"), literal]});
        let values = composed(spec, &[Some("2"), Some("'3'"), Some("4\n"), Some("x,y={z}")]).unwrap();
        // A line break at the end belongs to the value.
        assert_eq!(
            values,
            json!({"a": 2, "b": {"x": "3"}, "c": "x,y={z}", "d": "4\n"})
        );
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let spec = json!({"valuesFrom": [{"kind": "ConfigMap", "name": "one"}]});
        let error = composed(spec, &[Some("- 1")]).unwrap_err();
        assert!(
            error.starts_with(
                "could not resolve ConfigMap chart values reference 'ns/one' with key 'values.yaml': "
            ),
            "{error}"
        );
    }
}

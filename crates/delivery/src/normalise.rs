//! Brings a desired object into the form that the API server would give it, so that a dry run shows true drift only.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fluvial_object::ObjectExt;
use fluvial_schema::{Base, SchemaSet, Type};
use serde_json::{Map, Value};

/// Normalises a desired object in place. The result names fields of built-in kinds that the API does not know and
/// that were dropped: it would refuse them.
pub fn normalise(object: &mut Value, schemas: &SchemaSet) -> Vec<String> {
    let mut dropped = Vec::new();
    strip_server_fields(object);
    match (object.group(), object.kind()) {
        ("", "Secret") => encode_string_data(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => drop_invalid_ca_bundle(object),
        _ => {}
    }
    // Roles may hold anything in their rules that a server of another version knows.
    let role = matches!(
        (object.group(), object.kind()),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole")
    );
    let types = schemas.kind(object.group(), object.version(), object.kind());
    if let Some(types) = types.filter(|_| !role && object.kind() != "CustomResourceDefinition") {
        prune(types.view(), object, &mut String::new(), &mut dropped);
    }
    default_protocols(object);
    dropped
}

/// What only the server writes. The status of a definition stays: it is stored with it.
fn strip_server_fields(object: &mut Value) {
    let definition = object.kind() == "CustomResourceDefinition";
    let Some(map) = object.as_object_mut() else {
        return;
    };
    if !definition {
        map.remove("status");
    }
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
            "managedFields",
            "resourceVersion",
            "selfLink",
            "uid",
        ] {
            metadata.remove(field);
        }
        for field in ["labels", "annotations"] {
            if metadata.get(field).is_some_and(Value::is_null) {
                metadata.remove(field);
            }
        }
    }
}

fn encode_string_data(secret: &mut Value) {
    let Some(map) = secret.as_object_mut() else {
        return;
    };
    let Some(Value::Object(plain)) = map.remove("stringData") else {
        return;
    };
    let data = map
        .entry("data")
        .and_modify(|data| {
            if !data.is_object() {
                *data = Value::Object(Map::new());
            }
        })
        .or_insert_with(|| Value::Object(Map::new()));
    for (key, value) in plain {
        if let Value::String(text) = value {
            data[key] = STANDARD.encode(text).into();
        }
    }
}

/// cert-manager and the like fill the bundle in; a placeholder would be refused.
fn drop_invalid_ca_bundle(definition: &mut Value) {
    let client = definition.pointer_mut("/spec/conversion/webhook/clientConfig");
    let Some(client) = client.and_then(Value::as_object_mut) else {
        return;
    };
    let valid = client
        .get("caBundle")
        .and_then(Value::as_str)
        .and_then(|text| STANDARD.decode(text).ok())
        .is_some_and(|bytes| is_certificate(&bytes));
    if !valid {
        client.remove("caBundle");
    }
}

fn is_certificate(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    let body = text
        .split_once("-----BEGIN CERTIFICATE-----")
        .and_then(|(_, rest)| rest.split_once("-----END CERTIFICATE-----"));
    body.is_some_and(|(body, _)| {
        let body: String = body.split_whitespace().collect();
        // The encoding of a certificate begins as a sequence.
        STANDARD.decode(body).is_ok_and(|der| der.first() == Some(&0x30))
    })
}

/// Drops nulls, which say nothing, and fields that the kind does not have.
fn prune(schema: Type<'_>, value: &mut Value, path: &mut String, dropped: &mut Vec<String>) {
    let schema = schema.resolve();
    let end = path.len();
    match value {
        Value::Object(map) => {
            let open = schema.preserve_unknown() || !schema.has_fields() || schema.base() != Base::Object;
            map.retain(|key, child| {
                if child.is_null() && !open {
                    return false;
                }
                if end > 0 {
                    path.push('.');
                }
                path.push_str(key);
                let known = schema.field(key);
                if let Some(field) = known {
                    prune(field, child, path, dropped);
                }
                let keep = known.is_some() || open;
                if !keep {
                    dropped.push(path.clone());
                }
                path.truncate(end);
                keep
            });
        }
        Value::Array(list) => {
            if let Some(items) = schema.items() {
                for (index, item) in list.iter_mut().enumerate() {
                    path.push_str(&format!("[{index}]"));
                    prune(items, item, path, dropped);
                    path.truncate(end);
                }
            }
        }
        _ => {}
    }
}

/// Ports without a protocol are merged by port and protocol, so it has to be there.
fn default_protocols(object: &mut Value) {
    let pods = match (object.group(), object.kind()) {
        ("", "Service") => {
            protocols(object.pointer_mut("/spec/ports"));
            return;
        }
        ("", "Pod") => "/spec",
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => "/spec/template/spec",
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template/spec",
        _ => return,
    };
    for list in ["initContainers", "containers"] {
        let containers = object.pointer_mut(&format!("{pods}/{list}"));
        for container in containers.and_then(Value::as_array_mut).into_iter().flatten() {
            protocols(container.get_mut("ports"));
        }
    }
}

fn protocols(ports: Option<&mut Value>) {
    for port in ports.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            port.entry("protocol").or_insert_with(|| "TCP".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_texts_of_a_secret_become_data() {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "creationTimestamp": null},
            "data": {"b": "eA=="}, "stringData": {"a": "hi", "b": "y"}});
        assert!(normalise(&mut secret, &SchemaSet::builtin()).is_empty());
        assert_eq!(
            secret,
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "aGk=", "b": "eQ=="}})
        );
    }

    #[test]
    fn unknown_fields_of_built_in_kinds_are_dropped_and_named() {
        let mut deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "status": {},
            "spec": {"replicas": null, "replica": 1, "template": {"spec": {"containers": [{"name": "c", "imag": "x",
                "ports": [{"containerPort": 80}]}]}}}});
        let dropped = normalise(&mut deployment, &SchemaSet::builtin());
        assert_eq!(dropped, ["spec.replica", "spec.template.spec.containers[0].imag"]);
        assert_eq!(
            deployment["spec"],
            json!({"template": {"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}})
        );
    }

    #[test]
    fn custom_resources_and_roles_stay_as_they_are() {
        let schemas = SchemaSet::builtin();
        for (api_version, kind) in [
            ("example.com/v1", "Widget"),
            ("rbac.authorization.k8s.io/v1", "Role"),
        ] {
            let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "odd": {"n": null}});
            let before = object.clone();
            assert!(normalise(&mut object, &schemas).is_empty());
            assert_eq!(object, before);
        }
    }

    #[test]
    fn a_placeholder_for_a_certificate_is_dropped() {
        let definition = |bundle: &str| {
            let mut definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": bundle}}}}});
            normalise(&mut definition, &SchemaSet::builtin());
            definition
                .pointer("/spec/conversion/webhook/clientConfig/caBundle")
                .is_some()
        };
        assert!(!definition("Cg=="));
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert!(definition(&STANDARD.encode(pem)));
    }
}

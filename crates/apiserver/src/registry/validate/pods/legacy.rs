//! Volumes of single makers: what each of them needs.

use serde_json::Value;

use super::super::common::{Errors, invalid, items, named, one_of, required, text};
use crate::names;

/// Kinds of volumes, with the texts that they cannot do without.
const NEEDED: &[(&str, &[&str])] = &[
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("glusterfs", &["endpoints", "path"]),
    ("rbd", &["image"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("quobyte", &["volume"]),
    ("storageos", &["volumeName"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
];

/// What messages call a kind of volume, which is not always its field.
pub(super) fn shown(kind: &str) -> &str {
    match kind {
        "gcePersistentDisk" => "persistentDisk",
        other => other,
    }
}

/// What messages call a kind of volume that is one too many.
pub(super) fn refused(kind: &str) -> &str {
    match kind {
        "cephfs" => "cephFS",
        "downwardAPI" => "downwarAPI",
        other => other,
    }
}

/// A number that must lie in a range, if it is there.
fn range(source: &Value, field: &str, (least, most): (i64, i64), path: &str, errors: &mut Errors) {
    if let Some(number) = source[field].as_i64()
        && !(least..=most).contains(&number)
    {
        let detail = format!("must be between {least} and {most}, inclusive");
        errors.push(invalid(format!("{path}.{field}"), number, detail));
    }
}

/// Checks a volume of a maker.
pub(super) fn volume(kind: &str, source: &Value, path: &str, errors: &mut Errors) {
    let needed = NEEDED.iter().find(|(name, _)| *name == kind);
    for field in needed.into_iter().flat_map(|(_, fields)| fields.iter()) {
        if text(source, field).is_empty() {
            errors.push(required(format!("{path}.{field}"), ""));
        }
    }
    match kind {
        "gcePersistentDisk" | "awsElasticBlockStore" if source["partition"] != 0 => {
            range(source, "partition", (1, 255), path, errors);
        }
        "iscsi" => iscsi(source, path, errors),
        "rbd" | "cephfs" if items(source, "monitors").next().is_none() => {
            errors.push(required(format!("{path}.monitors"), ""));
        }
        "cinder" if !source["secretRef"].is_null() && text(&source["secretRef"], "name").is_empty() => {
            errors.push(required(format!("{path}.secretRef.name"), ""));
        }
        "flocker" if text(source, "datasetName").is_empty() && text(source, "datasetUUID").is_empty() => {
            let detail = "one of datasetName and datasetUUID is required";
            errors.push(required(path, detail));
        }
        "quobyte" => registry(text(source, "registry"), &format!("{path}.registry"), errors),
        "storageos" => {
            for field in ["volumeName", "volumeNamespace"] {
                if !text(source, field).is_empty() {
                    named(
                        text(source, field),
                        names::label,
                        &format!("{path}.{field}"),
                        errors,
                    );
                }
            }
        }
        "azureDisk" => {
            let modes = ["None", "ReadOnly", "ReadWrite"];
            one_of(
                &source["cachingMode"],
                &modes,
                format!("{path}.cachingMode"),
                errors,
            );
        }
        _ => {}
    }
}

fn iscsi(source: &Value, path: &str, errors: &mut Errors) {
    let known = |name: &str| {
        ["iqn.", "eui.", "naa."]
            .iter()
            .any(|start| name.starts_with(start))
    };
    let detail = "must be valid format starting with iqn, eui, or naa";
    let name = text(source, "iqn");
    if !name.is_empty() && !known(name) {
        errors.push(invalid(format!("{path}.iqn"), name, detail));
    }
    if let Some(name) = source["initiatorName"].as_str().filter(|name| !known(name)) {
        errors.push(invalid(format!("{path}.initiatorname"), name, detail));
    }
    range(source, "lun", (0, 255), path, errors);
    let asks = source["chapAuthDiscovery"] == true || source["chapAuthSession"] == true;
    if asks && source["secretRef"].is_null() {
        errors.push(required(format!("{path}.secretRef"), ""));
    }
}

/// Hosts with ports, with commas in between.
fn registry(value: &str, path: &str, errors: &mut Errors) {
    let detail = "must be a host:port pair or multiple pairs separated by commas";
    let pair = |pair: &str| {
        let parts = pair.split_once(':');
        parts.is_some_and(|(host, port)| !host.is_empty() && !port.is_empty())
    };
    if value.is_empty() {
        errors.push(required(path, detail));
    } else if !value.split(',').all(pair) {
        errors.push(invalid(path, value, detail));
    }
}

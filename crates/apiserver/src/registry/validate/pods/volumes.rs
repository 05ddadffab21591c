//! The volumes of a pod.

use std::collections::BTreeSet;

use fluvial_object::quantity::Quantity;
use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::super::common::{
    Errors, duplicate, forbidden, invalid, is_empty, items, named, one_of, required, text,
};
use super::containers::{field_ref, resource_ref};
use super::legacy;
use crate::names;

/// Kinds of volumes in the order in which they are looked at.
const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];
/// What may be at a path of the machine.
pub(in super::super) const HOST_PATHS: &[&str] = &[
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];
/// Fields of a pod that files can show.
const FILE_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

fn no_backsteps(path: &str, at: &str, errors: &mut Errors) {
    if path.split('/').any(|part| part == "..") {
        errors.push(invalid(at, path, "must not contain '..'"));
    }
}

/// A path that leads down from where it starts.
pub(super) fn descending(path: &str, at: &str, errors: &mut Errors) {
    if path.starts_with('/') {
        errors.push(invalid(at, path, "must be a relative path"));
    }
    no_backsteps(path, at, errors);
}

fn file_path(path: &str, at: &str, errors: &mut Errors) {
    descending(path, at, errors);
    if path.starts_with("..") && !path.starts_with("../") {
        errors.push(invalid(at, path, "must not start with '..'"));
    }
}

fn mode(value: &Value, path: String, errors: &mut Errors) {
    if let Some(mode) = value.as_i64()
        && !(0..=0o777).contains(&mode)
    {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(invalid(path, mode, detail));
    }
}

fn key_files(source: &Value, path: &str, errors: &mut Errors) {
    for (index, item) in items(source, "items") {
        let path = format!("{path}.items[{index}]");
        if text(item, "key").is_empty() {
            errors.push(required(format!("{path}.key"), ""));
        }
        let at = format!("{path}.path");
        match text(item, "path") {
            "" => errors.push(required(at, "")),
            own => file_path(own, &at, errors),
        }
        mode(&item["mode"], format!("{path}.mode"), errors);
    }
}

fn need(source: &Value, field: &str, path: &str, errors: &mut Errors) {
    if text(source, field).is_empty() {
        errors.push(required(format!("{path}.{field}"), ""));
    }
}

fn downward(source: &Value, path: &str, errors: &mut Errors) {
    for (_, item) in items(source, "items") {
        need(item, "path", path, errors);
        file_path(text(item, "path"), &format!("{path}.path"), errors);
        let (field, resource) = (&item["fieldRef"], &item["resourceFieldRef"]);
        if !field.is_null() {
            field_ref(field, FILE_FIELDS, &format!("{path}.fieldRef"), errors);
            if !resource.is_null() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(invalid(path, "resource", detail));
            }
        } else if !resource.is_null() {
            resource_ref(resource, true, &format!("{path}.resourceFieldRef"), errors);
        } else {
            errors.push(required(path, "one of fieldRef and resourceFieldRef is required"));
        }
        mode(&item["mode"], format!("{path}.mode"), errors);
    }
}

fn projected(source: &Value, path: &str, errors: &mut Errors) {
    mode(&source["defaultMode"], format!("{path}.defaultMode"), errors);
    let mut taken = BTreeSet::new();
    for (index, own) in items(source, "sources") {
        let at = format!("{path}.sources[{index}]");
        let mut count = 0;
        for name in ["secret", "configMap", "downwardAPI", "serviceAccountToken"] {
            let part = &own[name];
            if part.is_null() {
                continue;
            }
            count += 1;
            let at = format!("{at}.{name}");
            match name {
                "secret" | "configMap" => {
                    need(part, "name", &at, errors);
                    key_files(part, &at, errors);
                    same_files(part, text(part, "name"), &mut taken, path, errors);
                }
                "downwardAPI" => {
                    downward(part, &at, errors);
                    same_files(part, "downwardAPI", &mut taken, path, errors);
                }
                _ => {
                    token(part, &at, path, errors);
                    let file = text(part, "path");
                    if !file.is_empty() && !taken.insert(file) {
                        let detail = "conflicting duplicate paths";
                        errors.push(invalid(path, file, detail));
                    }
                }
            }
        }
        if count > 1 {
            errors.push(forbidden(
                at,
                "may not specify more than 1 volume type per source",
            ));
        }
    }
}

/// Files that another source of the volume, or the same, has already.
fn same_files<'a>(
    part: &'a Value,
    name: &str,
    taken: &mut BTreeSet<&'a str>,
    path: &str,
    errors: &mut Errors,
) {
    for (_, item) in items(part, "items") {
        let file = text(item, "path");
        if !file.is_empty() && !taken.insert(file) {
            errors.push(invalid(path, name, "conflicting duplicate paths"));
        }
    }
}

/// A file with a token; where it goes is told of the whole volume.
fn token(part: &Value, at: &str, path: &str, errors: &mut Errors) {
    let seconds = part["expirationSeconds"].as_i64().unwrap_or(3_600);
    let short = format!("{at}.expirationSeconds");
    if seconds < 600 {
        let detail = "may not specify a duration less than 10 minutes";
        errors.push(invalid(short, seconds, detail));
    } else if seconds > 1 << 32 {
        let detail = "may not specify a duration larger than 2^32 seconds";
        errors.push(invalid(short, seconds, detail));
    }
    need(part, "path", path, errors);
    if !text(part, "path").is_empty() {
        file_path(text(part, "path"), &format!("{path}.path"), errors);
    }
}

fn host_path(source: &Value, path: &str, errors: &mut Errors) {
    let own = text(source, "path");
    if own.is_empty() {
        errors.push(required(format!("{path}.path"), ""));
        return;
    }
    no_backsteps(own, &format!("{path}.path"), errors);
    one_of(&source["type"], HOST_PATHS, format!("{path}.type"), errors);
}

/// A claim that is made for one pod.
fn ephemeral(source: &Value, path: &str, errors: &mut Errors) {
    let template = &source["volumeClaimTemplate"];
    if template.is_null() {
        errors.push(required(format!("{path}.volumeClaimTemplate"), ""));
        return;
    }
    template_metadata(
        &template["metadata"],
        &format!("{path}.volumeClaimTemplate.metadata"),
        errors,
    );
    claim(template, &format!("{path}.volumeClaimTemplate.spec"), errors);
}

/// Claims made for a pod are named and owned by the server: their pattern has labels and annotations alone.
fn template_metadata(meta: &Value, path: &str, errors: &mut Errors) {
    crate::registry::meta::annotations(&meta["annotations"], &format!("{path}.annotations"), errors);
    crate::registry::meta::validate_labels(&meta["labels"], &format!("{path}.labels"), errors);
    for (field, _) in meta.as_object().into_iter().flatten() {
        // An empty time is kept by nobody.
        let own = matches!(
            field.as_str(),
            "labels" | "annotations" | "creationTimestamp" | "deletionTimestamp"
        );
        if !own {
            let shown = if field == "uid" { "uID" } else { field };
            errors.push(forbidden(format!("{path}.{shown}"), "cannot be set"));
        }
    }
}

/// A claim that another object holds the pattern of.
pub(super) fn claim(template: &Value, path: &str, errors: &mut Errors) {
    let mut found = vec![];
    super::super::storage::claim(template, &mut found);
    errors.extend(found.into_iter().map(|mut error| {
        if let Some(rest) = error.path.strip_prefix("spec") {
            error.path = format!("{path}{rest}");
        }
        error
    }));
}

fn source(name: &str, source: &Value, path: &str, errors: &mut Errors) {
    match name {
        "emptyDir" => {
            let limit = &source["sizeLimit"];
            if !limit.is_null() && Quantity::from_value(limit).is_ok_and(|limit| limit.sign() < 0) {
                let detail = "SizeLimit field must be a valid resource quantity";
                errors.push(forbidden(format!("{path}.sizeLimit"), detail));
            }
        }
        "hostPath" => host_path(source, path, errors),
        "secret" | "configMap" => {
            let field = if name == "secret" { "secretName" } else { "name" };
            need(source, field, path, errors);
            mode(&source["defaultMode"], format!("{path}.defaultMode"), errors);
            key_files(source, path, errors);
        }
        "nfs" => {
            need(source, "server", path, errors);
            need(source, "path", path, errors);
            let own = text(source, "path");
            if !own.starts_with('/') {
                errors.push(invalid(format!("{path}.path"), own, "must be an absolute path"));
            }
        }
        "persistentVolumeClaim" => need(source, "claimName", path, errors),
        "downwardAPI" => {
            mode(&source["defaultMode"], format!("{path}.defaultMode"), errors);
            downward(source, path, errors);
        }
        "projected" => projected(source, path, errors),
        "csi" => csi(source, path, errors),
        "ephemeral" => ephemeral(source, path, errors),
        "image" => {
            need(source, "reference", path, errors);
            let policies = ["Always", "IfNotPresent", "Never"];
            one_of(
                &source["pullPolicy"],
                &policies,
                format!("{path}.pullPolicy"),
                errors,
            );
        }
        other => legacy::volume(other, source, path, errors),
    }
}

/// The volumes; gives the names of the good ones, which containers may use.
pub(super) fn volumes<'a>(spec: &'a Value, path: &str, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut good = BTreeSet::new();
    for (index, volume) in items(spec, "volumes") {
        let path = format!("{path}.volumes[{index}]");
        let before = errors.len();
        sources(volume, &path, errors);
        let name = text(volume, "name");
        let path = format!("{path}.name");
        if name.is_empty() {
            errors.push(required(path, ""));
            continue;
        }
        named(name, names::label, &path, errors);
        if !seen.insert(name) {
            errors.push(duplicate(path, name));
        }
        if errors.len() == before {
            good.insert(name);
        }
    }
    good
}

/// What a volume is: one thing.
fn sources(volume: &Value, path: &str, errors: &mut Errors) {
    let mut count = 0;
    for name in SOURCES {
        let own = &volume[*name];
        if own.is_null() {
            continue;
        }
        count += 1;
        if count > 1 {
            let path = format!("{path}.{}", legacy::refused(name));
            errors.push(forbidden(path, "may not specify more than 1 volume type"));
        } else {
            source(name, own, &format!("{path}.{}", legacy::shown(name)), errors);
        }
    }
    if count == 0 && !is_empty(volume) {
        errors.push(required(path, "must specify a volume type"));
    }
}

/// A volume of a driver.
fn csi(source: &Value, path: &str, errors: &mut Errors) {
    let at = format!("{path}.driver");
    let name = text(source, "driver");
    if name.is_empty() {
        errors.push(required(at, ""));
    } else {
        if name.len() > 63 {
            let detail = "may not be more than 63 bytes";
            errors.push(FieldError::plain(ErrorKind::TooLong, at.clone(), detail));
        }
        for at in [at, format!("{path}.name")] {
            let complaints = names::subdomain(&name.to_lowercase());
            errors.extend(complaints.into_iter().map(|detail| invalid(&at, name, detail)));
        }
    }
    let secret = &source["nodePublishSecretRef"];
    if !secret.is_null() && text(secret, "name").is_empty() {
        errors.push(required(format!("{path}.nodePublishSecretRef.name"), ""));
    }
}

/// Only a pod with an account has tokens of it.
pub(in super::super) fn account_tokens(spec: &Value, errors: &mut Errors) {
    if !text(spec, "serviceAccountName").is_empty() {
        return;
    }
    for (index, volume) in items(spec, "volumes") {
        for (source, projected) in items(&volume["projected"], "sources") {
            if projected["serviceAccountToken"].is_object() {
                let path = format!("spec.volumes[{index}].projected.sources[{source}].serviceAccountToken");
                let detail = "must not be specified when serviceAccountName is not set";
                errors.push(forbidden(path, detail));
            }
        }
    }
}

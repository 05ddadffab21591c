//! Claims, volumes, quotas, limits and other small kinds.

use std::collections::BTreeSet;

use fluvial_object::quantity::Quantity;
use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::common::{
    Errors, duplicate, forbidden, go_struct, invalid, is_empty, items, named, not_negative, one_of, required,
    selector, shown, text,
};
use super::pods::HOST_PATHS;
use super::{diff, shown};
use crate::names;

const MODES: &[&str] = &[
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
/// Kinds of volumes in the order in which they are looked at.
const VOLUMES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// The quantity that a value is; what is absent is none.
fn quantity(value: &Value) -> Option<Quantity> {
    if value.is_null() {
        return None;
    }
    Quantity::from_value(value).ok()
}

/// Checks a claim.
pub(super) fn claim(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    if is_empty(&spec["accessModes"]) {
        errors.push(required("spec.accessModes", "at least 1 access mode is required"));
    }
    if !spec["selector"].is_null() {
        selector(&spec["selector"], "spec.selector", errors);
    }
    modes(spec, errors);
    match spec["resources"]["requests"].get("storage") {
        None => errors.push(required("spec.resources[storage]", "")),
        Some(value) => {
            if quantity(value).is_none_or(|quantity| quantity.sign() <= 0) {
                let path = "spec.resources[storage]";
                errors.push(invalid(path, value.clone(), "must be greater than zero"));
            }
        }
    }
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        named(class, names::subdomain, "spec.storageClassName", errors);
    }
    one_of(&spec["volumeMode"], VOLUME_MODES, "spec.volumeMode", errors);
    if let Some(class) = spec["volumeAttributesClassName"]
        .as_str()
        .filter(|class| !class.is_empty())
    {
        named(class, names::subdomain, "spec.volumeAttributesClassName", errors);
    }
    for field in ["dataSource", "dataSourceRef"] {
        if !spec[field].is_null() {
            data_source(&spec[field], &format!("spec.{field}"), errors);
        }
    }
    let (source, reference) = (&spec["dataSource"], &spec["dataSourceRef"]);
    let same = |field: &str| text(source, field) == text(reference, field);
    if !source.is_null() && !reference.is_null() && !["apiGroup", "kind", "name"].into_iter().all(same) {
        errors.push(invalid("spec", serde_json::json!({}), "must match dataSourceRef"));
    }
}

/// Where a claim's first contents come from.
fn data_source(source: &Value, path: &str, errors: &mut Errors) {
    for field in ["name", "kind"] {
        if text(source, field).is_empty() {
            errors.push(required(format!("{path}.{field}"), ""));
        }
    }
    let group = text(source, "apiGroup");
    if group.is_empty() && text(source, "kind") != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(invalid(path, text(source, "kind"), detail));
    }
    if !group.is_empty() {
        named(group, names::subdomain, &format!("{path}.apiGroup"), errors);
    }
}

fn modes(spec: &Value, errors: &mut Errors) {
    for (_, mode) in items(spec, "accessModes") {
        one_of(mode, MODES, "spec.accessModes", errors);
    }
    let list = spec["accessModes"].as_array();
    if list.is_some_and(|list| list.len() > 1 && list.iter().any(|mode| mode == "ReadWriteOncePod")) {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(forbidden("spec.accessModes", detail));
    }
}

/// Checks a volume.
pub(super) fn volume(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    if is_empty(&spec["accessModes"]) {
        errors.push(required("spec.accessModes", ""));
    }
    modes(spec, errors);
    let capacity = &spec["capacity"];
    if is_empty(capacity) {
        errors.push(required("spec.capacity", ""));
    }
    let only = capacity
        .as_object()
        .is_some_and(|map| map.len() == 1 && map.contains_key("storage"));
    if !only {
        errors.push(FieldError::not_supported(
            "spec.capacity",
            shown(capacity),
            &["storage"],
        ));
    }
    for (name, value) in capacity.as_object().into_iter().flatten() {
        if quantity(value).is_some_and(|quantity| quantity.sign() <= 0) {
            let path = format!("spec.capacity[{name}]");
            errors.push(invalid(path, value.clone(), "must be greater than zero"));
        }
    }
    one_of(
        &spec["persistentVolumeReclaimPolicy"],
        &["Delete", "Recycle", "Retain"],
        "spec.persistentVolumeReclaimPolicy",
        errors,
    );
    let path = text(&spec["hostPath"], "path");
    if path.split('/').any(|part| part == "..") {
        errors.push(invalid("spec.hostPath.path", path, "must not contain '..'"));
    }
    let mut sources = VOLUMES.iter().filter(|field| !spec[**field].is_null());
    match sources.next() {
        None => errors.push(required("spec", "must specify a volume type")),
        Some(first) => one_source(first, &spec[*first], errors),
    }
    for field in sources {
        let path = format!("spec.{}", super::pods::refused_volume(field));
        errors.push(forbidden(path, "may not specify more than 1 volume type"));
    }
    volume_source(spec, errors);
    let class = text(spec, "storageClassName");
    if !class.is_empty() {
        named(class, names::subdomain, "spec.storageClassName", errors);
    }
    one_of(&spec["volumeMode"], VOLUME_MODES, "spec.volumeMode", errors);
}

/// What must not change in a claim.
pub(super) fn claim_fixed(new: &Value, old: &Value, errors: &mut Errors) {
    const TYPE: &str = "PersistentVolumeClaimSpec";
    let bound = new["status"]["phase"] == "Bound";
    let (mut is, mut was) = (new["spec"].clone(), old["spec"].clone());
    // Whoever binds a claim names its volume, and one that waited for a default class gets it.
    if text(&was, "volumeName").is_empty() {
        was["volumeName"] = is["volumeName"].clone();
    }
    let annotated = !old["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].is_null();
    if was["storageClassName"].is_null() && !annotated {
        was["storageClassName"] = is["storageClassName"].clone();
    }
    if bound {
        if is["resources"]["requests"].is_object() {
            is["resources"]["requests"]["storage"] = was["resources"]["requests"]["storage"].clone();
        }
        is["volumeAttributesClassName"] = was["volumeAttributesClassName"].clone();
    }
    let shown = |spec: &Value| shown::of(TYPE, spec);
    if shown(&is).compact() != shown(&was).compact() {
        let detail = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
             claims\n{}",
            diff::unified(&shown(&was), &shown(&is))
        );
        errors.push(forbidden("spec", detail));
    }
    let size = |value: &Value| quantity(&value["storage"]).unwrap_or_default();
    let wanted = size(&new["spec"]["resources"]["requests"]);
    if wanted < size(&old["spec"]["resources"]["requests"]) && wanted <= size(&old["status"]["capacity"]) {
        errors.push(forbidden(
            "spec.resources.requests.storage",
            "field can not be less than status.capacity",
        ));
    }
    volume_mode(new, old, errors);
}

fn volume_mode(new: &Value, old: &Value, errors: &mut Errors) {
    let (is, was) = (&new["spec"]["volumeMode"], &old["spec"]["volumeMode"]);
    if is != was {
        errors.push(shown::fixed("p", "volumeMode", is));
    }
}

/// What must not change in a volume: where its data is.
pub(super) fn volume_fixed(new: &Value, old: &Value, errors: &mut Errors) {
    const SECRET: &str = "controllerExpandSecretRef";
    let mut is = new["spec"].clone();
    let was = &old["spec"];
    if was["csi"].is_object()
        && was["csi"][SECRET].is_null()
        && let Some(csi) = is.get_mut("csi").and_then(Value::as_object_mut)
    {
        csi.remove(SECRET);
    }
    let source = |spec: &Value| shown::of("PersistentVolumeSource", spec);
    if source(&is).compact() != source(was).compact() {
        let detail = format!(
            "spec.persistentvolumesource is immutable after creation\n{}",
            diff::unified(&source(was), &source(&is))
        );
        errors.push(forbidden("spec.persistentvolumesource", detail));
    }
    volume_mode(new, old, errors);
    if !was["nodeAffinity"].is_null() && is["nodeAffinity"] != was["nodeAffinity"] {
        let affinity = shown::of_form("*VolumeNodeAffinity", &is["nodeAffinity"]).compact();
        let detail = "field is immutable, except for updating from beta label to GA";
        errors.push(go_struct(ErrorKind::Invalid, "nodeAffinity", &affinity, detail));
    }
    const CLASS: &str = "volumeAttributesClassName";
    if is[CLASS].is_null() && !was[CLASS].is_null() {
        errors.push(forbidden(
            "spec.volumeAttributesClassName",
            "update from non-nil value to nil is forbidden",
        ));
    }
}

/// What a kind of volume needs.
fn one_source(kind: &str, source: &Value, errors: &mut Errors) {
    let path = format!("spec.{kind}");
    let needed: &[&str] = match kind {
        "csi" => &["driver", "volumeHandle"],
        "local" | "hostPath" => &["path"],
        "nfs" => &["server", "path"],
        _ => &[],
    };
    for field in needed {
        if text(source, field).is_empty() {
            errors.push(required(format!("{path}.{field}"), ""));
        }
    }
    if kind == "hostPath" {
        one_of(&source["type"], HOST_PATHS, format!("{path}.type"), errors);
    }
    super::pods::maker_volume(kind, source, &path, errors);
}

/// Where volumes are, and what becomes of them.
fn volume_source(spec: &Value, errors: &mut Errors) {
    let affinity = &spec["nodeAffinity"];
    let path = "spec.nodeAffinity";
    if !spec["local"].is_null() && affinity.is_null() {
        errors.push(required(path, "Local volume requires node affinity"));
    }
    if !affinity.is_null() {
        if affinity["required"].is_null() {
            let detail = "must specify required node constraints";
            errors.push(required(format!("{path}.required"), detail));
        } else {
            super::pods::node_terms(&affinity["required"], &format!("{path}.required"), errors);
        }
    }
    if spec["persistentVolumeReclaimPolicy"] == "Recycle" && spec["hostPath"]["path"] == "/" {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        errors.push(forbidden("spec.persistentVolumeReclaimPolicy", detail));
    }
}

/// Quota resources that need no domain.
fn is_standard(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    ];
    NAMES.contains(&name) || name.starts_with("count/") || name.starts_with("requests.hugepages-")
}

/// Resources that are counted in whole numbers.
fn is_whole(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ];
    NAMES.contains(&name)
}

/// The scopes of a quota stay.
pub(super) fn quota_fixed(new: &Value, old: &Value, errors: &mut Errors) {
    let scopes = |quota: &Value| -> std::collections::BTreeSet<String> {
        items(&quota["spec"], "scopes")
            .map(|(_, own)| own.to_string())
            .collect()
    };
    if scopes(new) != scopes(old) {
        let own = new["spec"]["scopes"].clone();
        errors.push(invalid("spec.scopes", own, "field is immutable"));
    }
}

/// Checks a quota.
pub(super) fn quota(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    for (name, value) in spec["hard"].as_object().into_iter().flatten() {
        let path = format!("spec.hard[{name}]");
        let before = errors.len();
        named(name, names::qualified_name, &path, errors);
        let pages = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
        let standard = is_standard(name) || pages || name.contains('/');
        if errors.len() == before && !standard {
            let detail = "must be a standard resource type or fully qualified";
            errors.push(invalid(&path, name.clone(), detail));
        }
        if !standard {
            errors.push(invalid(
                &path,
                name.clone(),
                "must be a standard resource for quota",
            ));
        }
        let Some(amount) = quantity(value) else { continue };
        if amount.sign() < 0 {
            errors.push(invalid(
                &path,
                value.clone(),
                "must be greater than or equal to 0",
            ));
        }
        if is_whole(name) && amount.milli_value() % 1000 != 0 {
            errors.push(invalid(&path, value.clone(), "must be an integer"));
        }
    }
    scopes(spec, errors);
    let has = |name: &str| items(spec, "scopes").any(|(_, scope)| scope == name);
    for (one, other) in [("Terminating", "NotTerminating"), ("BestEffort", "NotBestEffort")] {
        if has(one) && has(other) {
            errors.push(invalid(
                "spec.scopes",
                spec["scopes"].clone(),
                "conflicting scopes",
            ));
        }
    }
    for (_, term) in items(&spec["scopeSelector"], "matchExpressions") {
        let path = "spec.scopeSelector.matchExpressions";
        let name = text(term, "scopeName");
        if !SCOPES.contains(&name) {
            errors.push(invalid(format!("{path}.scopeName"), name, "unsupported scope"));
        }
        for _ in misfits(spec, name) {
            let shown = go_selector(&spec["scopeSelector"]);
            errors.push(go_struct(ErrorKind::Invalid, path, &shown, MISFIT));
        }
        scope_term(term, errors);
    }
}

/// A selector of scopes as Go prints it.
fn go_selector(selector: &Value) -> String {
    let terms = items(selector, "matchExpressions").map(|(_, term)| {
        format!(
            "{{\"ScopeName\":{},\"Operator\":{},\"Values\":{}}}",
            Value::from(text(term, "scopeName")),
            Value::from(text(term, "operator")),
            term["values"]
        )
    });
    format!(
        "{{\"MatchExpressions\":[{}]}}",
        terms.collect::<Vec<_>>().join(",")
    )
}

fn scope_term(term: &Value, errors: &mut Errors) {
    let path = "spec.scopeSelector.matchExpressions";
    let (name, operator) = (text(term, "scopeName"), text(term, "operator"));
    let plain = matches!(
        name,
        "Terminating" | "NotTerminating" | "BestEffort" | "NotBestEffort" | "CrossNamespacePodAffinity"
    );
    if plain && operator != "Exists" {
        let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                      ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                      ResourceQuotaScopeCrossNamespacePodAffinity";
        errors.push(invalid(format!("{path}.operator"), operator, detail));
    }
    let given = !is_empty(&term["values"]);
    match operator {
        "In" | "NotIn" if !given => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.push(required(format!("{path}.values"), detail));
        }
        "Exists" | "DoesNotExist" if given => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            let values = term["values"].clone();
            errors.push(invalid(format!("{path}.values"), values, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => errors.push(invalid(
            format!("{path}.operator"),
            operator,
            "not a valid selector operator",
        )),
    }
}

/// What quotas may be limited to.
const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

fn scopes(spec: &Value, errors: &mut Errors) {
    for (_, scope) in items(spec, "scopes") {
        let name = scope.as_str().unwrap_or("");
        if !SCOPES.contains(&name) {
            errors.push(invalid(
                "spec.scopes",
                spec["scopes"].clone(),
                "unsupported scope",
            ));
            continue;
        }
        for _ in misfits(spec, name) {
            errors.push(invalid("spec.scopes", spec["scopes"].clone(), MISFIT));
        }
    }
}

const MISFIT: &str = "unsupported scope applied to resource";

/// The resources of a quota that a scope says nothing about.
fn misfits<'a>(spec: &'a Value, scope: &'a str) -> impl Iterator<Item = &'a str> {
    let bare = |resource: &'a str| {
        let parts = ["requests.", "limits."].iter();
        let found = parts.filter_map(|part| resource.strip_prefix(part)).next();
        found.unwrap_or(resource)
    };
    let amounts = |resource: &str| matches!(resource, "cpu" | "memory" | "ephemeral-storage");
    let names = spec["hard"].as_object().into_iter().flatten();
    names.map(|(name, _)| name.as_str()).filter(move |resource| {
        let known = amounts(bare(resource))
            || matches!(
                *resource,
                "pods"
                    | "resourcequotas"
                    | "services"
                    | "replicationcontrollers"
                    | "secrets"
                    | "persistentvolumeclaims"
                    | "configmaps"
                    | "services.nodeports"
                    | "services.loadbalancers"
                    | "requests.storage"
            );
        let fits = match scope {
            "BestEffort" => *resource == "pods",
            "Terminating"
            | "NotTerminating"
            | "NotBestEffort"
            | "PriorityClass"
            | "CrossNamespacePodAffinity" => {
                *resource == "pods" || matches!(bare(resource), "cpu" | "memory")
            }
            "VolumeAttributesClass" => matches!(*resource, "persistentvolumeclaims" | "requests.storage"),
            _ => true,
        };
        known && !fits
    })
}

/// Checks limits of what containers, pods and claims may ask for.
pub(super) fn limits(object: &Value, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, limit) in items(&object["spec"], "limits") {
        let path = format!("spec.limits[{index}]");
        let kind = text(limit, "type");
        named(kind, names::qualified_name, &format!("{path}.type"), errors);
        if !seen.insert(kind) {
            errors.push(duplicate(format!("{path}.type"), kind));
            continue;
        }
        limited(limit, &["max", "min"], &path, errors);
        if kind != "Pod" {
            limited(limit, &["default", "defaultRequest"], &path, errors);
        } else {
            for field in ["default", "defaultRequest"] {
                if !is_empty(&limit[field]) {
                    let detail = "may not be specified when `type` is 'Pod'";
                    errors.push(forbidden(format!("{path}.{field}"), detail));
                }
            }
        }
        let standard = matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim");
        if !standard && !kind.contains('/') && names::qualified_name(kind).is_empty() {
            let detail = "must be a standard limit type or fully qualified";
            errors.push(invalid(format!("{path}.type"), kind, detail));
        }
        limited(limit, &["maxLimitRequestRatio"], &path, errors);
        limit_order(limit, &path, errors);
        ratios(limit, &path, errors);
        let bound = |field: &str| !limit[field]["storage"].is_null();
        if kind == "PersistentVolumeClaim" && !bound("min") && !bound("max") {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            errors.push(required(format!("{path}.limits"), detail));
        }
    }
}

/// What is limited must be known.
fn limited(limit: &Value, fields: &[&str], path: &str, errors: &mut Errors) {
    let of_pods = matches!(text(limit, "type"), "Pod" | "Container");
    for field in fields {
        for name in limit[*field].as_object().into_iter().flat_map(|map| map.keys()) {
            let path = format!("{path}.{field}[{name}]");
            if of_pods {
                super::pods::resource_name(name, &path, errors);
            } else {
                named(name, names::qualified_name, &path, errors);
            }
        }
    }
}

/// How far limits may be above requests.
fn ratios(limit: &Value, path: &str, errors: &mut Errors) {
    for (name, value) in limit["maxLimitRequestRatio"].as_object().into_iter().flatten() {
        let Some(ratio) = quantity(value) else { continue };
        let path = format!("{path}.maxLimitRequestRatio[{name}]");
        if ratio.milli_value() < 1_000 {
            let detail = format!("ratio {ratio} is less than 1");
            errors.push(invalid(path.clone(), ratio.to_string(), detail));
        }
        let bounds = (quantity(&limit["min"][name]), quantity(&limit["max"][name]));
        if let (Some(least), Some(most)) = bounds
            && least.sign() > 0
        {
            let possible = most.as_float() / least.as_float();
            if ratio.as_float() > possible {
                let detail = format!("ratio {ratio} is greater than max/min = {possible:.6}");
                errors.push(invalid(path, ratio.to_string(), detail));
            }
        }
    }
}

fn limit_order(limit: &Value, path: &str, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for field in ["min", "max", "default", "defaultRequest"] {
        names.extend(
            limit[field]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name),
        );
    }
    for name in names {
        // Field shown, what is too large or small, and against what.
        let pairs = [
            ("min", "min", "max", "max", "min"),
            (
                "defaultRequest",
                "min",
                "defaultRequest",
                "default request",
                "defaultRequest",
            ),
            ("defaultRequest", "defaultRequest", "max", "max", "defaultRequest"),
            (
                "defaultRequest",
                "defaultRequest",
                "default",
                "default limit",
                "defaultRequest",
            ),
            ("default", "min", "default", "default", "min"),
            ("default", "default", "max", "max", "max"),
        ];
        for (field, small, large, shown, value) in pairs {
            let (Some(first), Some(second)) = (quantity(&limit[small][name]), quantity(&limit[large][name]))
            else {
                continue;
            };
            if first > second {
                let what = match small {
                    "defaultRequest" => "default request",
                    other => other,
                };
                let detail = format!("{what} value {first} is greater than {shown} value {second}");
                let value = if field == "defaultRequest" && small == "min" {
                    limit["defaultRequest"][name].clone()
                } else {
                    limit[value][name].clone()
                };
                errors.push(invalid(format!("{path}.{field}[{name}]"), value, detail));
            }
        }
    }
}

/// Checks a lease.
pub(super) fn lease(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    if spec["leaseDurationSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds <= 0)
    {
        let value = spec["leaseDurationSeconds"].clone();
        errors.push(invalid(
            "spec.leaseDurationSeconds",
            value,
            "must be greater than 0",
        ));
    }
    not_negative(spec, "leaseTransitions", "spec", errors);
}

/// What must not change in kinds that say little else.
pub(super) fn fixed_fields(new: &Value, old: &Value, fields: &[&str], errors: &mut Errors) {
    for field in fields {
        if new[*field] != old[*field] {
            errors.push(invalid(*field, shown(&new[*field]), "field is immutable"));
        }
    }
}

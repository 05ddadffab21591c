//! Definitions as objects: defaults, rules, status.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::{Value, json};

use crate::api::Api;
use crate::names;

/// Keeps a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

/// Fills in what a definition leaves open.
pub fn defaults(object: &mut Value) {
    let stored = object["status"]["storedVersions"].as_array();
    if object["status"].is_object() && stored.is_none_or(Vec::is_empty) {
        let versions = object["spec"]["versions"].as_array();
        let storage = versions.and_then(|all| all.iter().find(|version| version["storage"] == true));
        if let Some(name) = storage.map(|version| version["name"].clone()) {
            object["status"]["storedVersions"] = json!([name]);
        }
    }
    let spec = &mut object["spec"];
    if !spec.is_object() {
        return;
    }
    let kind = text(&spec["names"], "kind").to_owned();
    if spec["names"].is_object() && !kind.is_empty() {
        if text(&spec["names"], "singular").is_empty() {
            spec["names"]["singular"] = kind.to_lowercase().into();
        }
        if text(&spec["names"], "listKind").is_empty() {
            spec["names"]["listKind"] = format!("{kind}List").into();
        }
    }
    if spec["conversion"].is_null() {
        spec["conversion"] = json!({"strategy": "None"});
    }
    if spec["conversion"]["webhook"]["clientConfig"]["service"].is_object()
        && spec["conversion"]["webhook"]["clientConfig"]["service"]["port"].is_null()
    {
        spec["conversion"]["webhook"]["clientConfig"]["service"]["port"] = 443.into();
    }
    prune_nulls(spec);
}

fn prune_nulls(spec: &mut Value) {
    if let Some(conversion) = spec["conversion"].as_object_mut()
        && conversion.get("webhook").is_some_and(Value::is_null)
    {
        conversion.remove("webhook");
    }
}

/// Prepares a definition that is created or changed.
pub fn prepare(_api: &Api, object: &mut Value, old: Option<&Value>) {
    let storage = object["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|version| version["storage"] == true)
        .map(|version| text(version, "name").to_owned());
    match old {
        None => {
            object["status"] = json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""},
                "storedVersions": storage.into_iter().collect::<Vec<_>>()});
        }
        Some(_) => {
            let Some(storage) = storage else {
                return;
            };
            let list = object["status"].get_mut("storedVersions");
            if let Some(list) = list.and_then(Value::as_array_mut)
                && !list.iter().any(|version| *version == *storage)
            {
                list.push(storage.into());
            }
        }
    }
}

fn condition(kind: &str, status: bool, now: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": if status { "True" } else { "False" }, "lastTransitionTime": now,
        "reason": reason, "message": message})
}

/// Marks a definition that is being deleted: its objects go first.
pub fn doom(definition: &mut Value, finalizers: &mut Vec<Value>, now: &str) {
    if !finalizers.iter().any(|item| item == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    let terminating = condition("Terminating", true, now, "InstanceDeletionPending", message);
    match definition["status"]["conditions"].as_array_mut() {
        Some(list) => {
            list.retain(|item| item["type"] != "Terminating");
            list.push(terminating);
        }
        None => definition["status"]["conditions"] = json!([terminating]),
    }
}

/// Sets the status that a definition should have; true if something changed.
pub fn accept(api: &Api, definition: &mut Value, conflict: bool) -> bool {
    let before = definition.clone();
    let names = definition["spec"]["names"].clone();
    let now = api.now();
    if conflict && !super::is_true(definition, "NamesAccepted") {
        if definition["status"]["conditions"].is_null() {
            let kind = text(&names, "listKind");
            definition["status"]["acceptedNames"]["plural"] = names["plural"].clone();
            definition["status"]["conditions"] = json!([
                condition(
                    "NamesAccepted",
                    false,
                    &now,
                    "ListKindConflict",
                    &format!("{kind:?} is already in use")
                ),
                condition(
                    "Established",
                    false,
                    &now,
                    "NotAccepted",
                    "not all names are accepted"
                ),
            ]);
        }
    } else {
        definition["status"]["acceptedNames"] = names;
        if !super::is_true(definition, "Established") {
            definition["status"]["conditions"] = json!([
                condition("NamesAccepted", true, &now, "NoConflicts", "no conflicts found"),
                condition(
                    "Established",
                    true,
                    &now,
                    "InitialNamesAccepted",
                    "the initial names have been accepted"
                ),
            ]);
        }
    }
    if *definition == before {
        return false;
    }
    let live = with_kind(before);
    let updated = with_kind(definition.clone());
    let types = api
        .schemas
        .kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    *definition = fluvial_merge::managed::update(fluvial_merge::managed::UpdateRequest {
        types: types.as_ref(),
        live: Some(&live),
        updated,
        manager: "kube-apiserver",
        subresource: "status",
        api_version: "apiextensions.k8s.io/v1",
        time: &now,
        reset_fields: &[],
    });
    true
}

fn with_kind(mut value: Value) -> Value {
    value["apiVersion"] = "apiextensions.k8s.io/v1".into();
    value["kind"] = "CustomResourceDefinition".into();
    value
}

pub(super) fn invalid(
    path: impl Into<String>,
    value: impl Into<Value>,
    detail: impl Into<String>,
) -> FieldError {
    FieldError::new(ErrorKind::Invalid, path, value.into(), detail)
}

/// Errors of a definition.
#[must_use]
pub fn validate(object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = vec![];
    let spec = &object["spec"];
    let group = text(spec, "group");
    if group.is_empty() {
        errors.push(FieldError::plain(ErrorKind::Required, "spec.group", ""));
    } else if !names::subdomain(group).is_empty() {
        errors.extend(
            names::subdomain(group)
                .into_iter()
                .map(|detail| invalid("spec.group", group, detail)),
        );
    } else if !group.contains('.') {
        errors.push(invalid(
            "spec.group",
            group,
            "should be a domain with at least one dot",
        ));
    }
    if text(spec, "scope").is_empty() {
        errors.push(FieldError::plain(ErrorKind::Required, "spec.scope", ""));
    } else if !matches!(text(spec, "scope"), "Cluster" | "Namespaced") {
        let detail = "supported values: \"Cluster\", \"Namespaced\"";
        errors.push(FieldError::new(
            ErrorKind::NotSupported,
            "spec.scope",
            spec["scope"].clone(),
            detail,
        ));
    }
    if spec["preserveUnknownFields"] == true {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(invalid("spec.preserveUnknownFields", true, detail));
    }
    versions(spec, &mut errors);
    validate_names(&spec["names"], &mut errors);
    common_parts(spec, &mut errors);
    super::conversion::validate(&spec["conversion"], &mut errors);
    if let Some(old) = old {
        fixed(spec, old, &mut errors);
        errors.extend(stored_versions(object));
    } else {
        first_versions(spec, &mut errors);
    }
    approval(object, group, &mut errors);
    errors
}

/// What stays for ever, and what stays once objects can exist.
fn fixed(spec: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let established = super::is_true(old, "Established");
    let fields = [
        ("/scope", established),
        ("/names/kind", established),
        ("/group", true),
        ("/names/plural", true),
    ];
    for (pointer, fixed) in fields {
        let (is, was) = (spec.pointer(pointer), old["spec"].pointer(pointer));
        if fixed && is != was {
            let path = format!("spec{}", pointer.replace('/', "."));
            errors.push(invalid(
                path,
                is.cloned().unwrap_or_default(),
                "field is immutable",
            ));
        }
    }
}

/// What the first status would say of the versions.
fn first_versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let list = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let mut stored = list.iter().filter(|version| version["storage"] == true);
    match (stored.next(), stored.next()) {
        (None, _) => {
            let detail = "must have at least one stored version";
            errors.push(invalid("status.storedVersions", Value::Null, detail));
        }
        (Some(first), Some(second)) => {
            // The first one would be recorded, and each other one missed.
            let name = text(first, "name");
            for other in std::iter::once(second).chain(stored) {
                let other = text(other, "name");
                let other = if other == name { name } else { other };
                let detail = format!("must have the storage version {other}");
                errors.push(invalid("status.storedVersions", json!([name]), detail));
            }
        }
        _ => {}
    }
}

/// Versions as the server's own type shows them; what all of them have in common is not theirs.
fn shown_versions(spec: &Value) -> String {
    let Some(list) = spec["versions"].as_array() else {
        return "null".to_owned();
    };
    let one = |version: &Value| {
        let flag = |field: &str| version[field] == true;
        format!(
            "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":{},\"Schema\":null,\
             \"Subresources\":null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null}}",
            version["name"],
            flag("served"),
            flag("storage"),
            flag("deprecated"),
            version["deprecationWarning"]
        )
    };
    format!("[{}]", list.iter().map(one).collect::<Vec<_>>().join(","))
}

/// Names of versions, and what they say of being deprecated.
fn version_names(spec: &Value, errors: &mut Vec<FieldError>) {
    let list = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let mut twice = false;
    for (index, version) in list.iter().enumerate() {
        let (path, name) = (format!("spec.versions[{index}]"), text(version, "name"));
        twice |= list[..index].iter().any(|other| other["name"] == version["name"]);
        for detail in names::label_1035(name) {
            errors.push(invalid(format!("{path}.name"), name, detail));
        }
        let at = format!("{path}.deprecationWarning");
        match version["deprecationWarning"].as_str() {
            Some(text) if version["deprecated"] != true => {
                errors.push(invalid(at, text, "can only be set for deprecated versions"));
            }
            Some("") => errors.push(invalid(at, "", "must not be an empty string")),
            Some(text) => {
                if text.len() > 256 {
                    errors.push(invalid(at.clone(), text, "must be <= 256 characters long"));
                }
                if let Some((index, _)) = text.char_indices().find(|(_, own)| own.is_control()) {
                    let detail = format!(
                        "must only contain printable UTF-8 characters; non-printable character found at index {index}"
                    );
                    errors.push(invalid(at, text, detail));
                }
            }
            None => {}
        }
    }
    let stored = list.iter().filter(|version| version["storage"] == true).count();
    let details = [
        (twice, "must contain unique version names"),
        (
            stored != 1,
            "must have exactly one version marked as storage version",
        ),
    ];
    for (wrong, detail) in details {
        if wrong {
            let detail = format!("{}: {detail}", shown_versions(spec));
            errors.push(FieldError::plain(ErrorKind::Invalid, "spec.versions", detail));
        }
    }
    // The first one stands for all in what the server keeps.
    if let [first, ..] = list {
        let name = text(first, "name");
        let complaints = names::label_1035(name).into_iter().filter(|_| !name.is_empty());
        for detail in complaints {
            errors.push(invalid("spec.version", name, detail));
        }
    }
}

/// Versions in which objects may be kept must stay known.
#[must_use]
pub fn stored_versions(object: &Value) -> Vec<FieldError> {
    let versions = object["spec"]["versions"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let stored = object["status"]["storedVersions"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if stored.is_empty() {
        let detail = "must have at least one stored version";
        return vec![invalid("status.storedVersions", Value::Array(vec![]), detail)];
    }
    let missing = stored
        .iter()
        .enumerate()
        .filter(|(_, name)| !versions.iter().any(|version| version["name"] == **name));
    missing
        .map(|(index, name)| {
            let text = name.as_str().unwrap_or("");
            let detail = format!(
                "missing from spec.versions; {text} was previously a storage version, and must remain in \
                 spec.versions until a storage migration ensures no data remains persisted in {text} and removes \
                 {text} from status.storedVersions"
            );
            invalid(format!("status.storedVersions[{index}]"), text, detail)
        })
        .collect()
}

/// The fields that may be selected by: scalars outside of metadata.
fn selectable(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let list = version["selectableFields"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let mut seen: Vec<&str> = vec![];
    for (index, field) in list.iter().enumerate() {
        let at = format!("{path}.selectableFields[{index}].jsonPath");
        let own = text(field, "jsonPath");
        if own.is_empty() {
            errors.push(FieldError::plain(ErrorKind::Required, at, ""));
            continue;
        }
        let why = if !own.starts_with('.') && !own.starts_with('[') {
            // What is shown ends where the next step would begin.
            let word = own.split(['.', '[']).next().unwrap_or(own);
            Some(format!("is an invalid path: expected [ or . but got: {word}"))
        } else if own.contains('[') {
            Some("is an invalid path: array notation is not allowed".to_owned())
        } else if own.ends_with('.') {
            Some("is an invalid path: unexpected end of JSON path".to_owned())
        } else {
            let schema = &version["schema"]["openAPIV3Schema"];
            match schema_at(schema, own).map(|found| text(found, "type")) {
                Some("string" | "boolean" | "integer") => None,
                Some(_) => {
                    let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                    Some(why.to_owned())
                }
                None => Some("is an invalid path: does not refer to a valid field".to_owned()),
            }
        };
        if let Some(why) = why {
            errors.push(invalid(at, own, why));
        } else if seen.contains(&own) {
            errors.push(FieldError::new(ErrorKind::Duplicate, at, own.into(), ""));
        }
        if !seen.contains(&own) {
            seen.push(own);
        }
    }
    if seen.len() > 8 {
        errors.push(FieldError::new(
            ErrorKind::TooMany,
            format!("{path}.selectableFields"),
            seen.len().into(),
            "must have at most 8 items",
        ));
    }
}

/// The schema of a field below the root; metadata is not the definition's to describe.
fn schema_at<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    let names: Vec<&str> = path.trim_start_matches('.').split('.').collect();
    if names.first() == Some(&"metadata") {
        return None;
    }
    names
        .into_iter()
        .try_fold(schema, |schema, name| schema.get("properties")?.get(name))
}

fn approval(object: &Value, group: &str, errors: &mut Vec<FieldError>) {
    const NAME: &str = "api-approved.kubernetes.io";
    let protected = [".k8s.io", ".kubernetes.io"]
        .iter()
        .any(|end| group.ends_with(end) || group == &end[1..]);
    if !protected {
        return;
    }
    let path = format!("metadata.annotations[{NAME}]");
    let end = "see https://github.com/kubernetes/enhancements/pull/1111";
    match object["metadata"]["annotations"][NAME].as_str() {
        None | Some("") => {
            let detail = format!("protected groups must have approval annotation \"{NAME}\", {end}");
            errors.push(FieldError::plain(ErrorKind::Required, path, detail));
        }
        Some(value) if !value.contains("://") && !value.starts_with("unapproved") => {
            let detail = format!(
                "protected groups must have approval annotation \"{NAME}\" with either a URL or a reason starting with \
                 \"unapproved\", {end}"
            );
            errors.push(invalid(path, value, detail));
        }
        Some(_) => {}
    }
}

fn validate_names(given: &Value, errors: &mut Vec<FieldError>) {
    let label = |field: &str, value: &str, errors: &mut Vec<FieldError>| {
        errors.extend(
            names::label_1035(value)
                .into_iter()
                .map(|detail| invalid(field, value, detail)),
        );
    };
    let mixed = |field: &str, value: &str, errors: &mut Vec<FieldError>| {
        errors.extend(
            names::label_1035(&value.to_lowercase())
                .into_iter()
                .map(|detail| {
                    invalid(
                        field,
                        value,
                        format!("may have mixed case, but should otherwise match: {detail}"),
                    )
                }),
        );
    };
    let list = |field: &str, errors: &mut Vec<FieldError>| {
        for (index, value) in given[field].as_array().into_iter().flatten().enumerate() {
            let path = format!("spec.names.{field}[{index}]");
            label(&path, value.as_str().unwrap_or(""), errors);
        }
    };
    let one = |field: &str, big: bool, errors: &mut Vec<FieldError>| {
        let (path, value) = (format!("spec.names.{field}"), text(given, field));
        match (value, big) {
            // Those that are left out are made of the others, if these are there.
            ("", _) => errors.push(FieldError::plain(ErrorKind::Required, path, "")),
            (value, true) => mixed(&path, value, errors),
            (value, false) => label(&path, value, errors),
        }
    };
    for (field, big) in [("plural", false), ("singular", false)] {
        one(field, big, errors);
    }
    for (field, big) in [("kind", true), ("listKind", true)] {
        one(field, big, errors);
    }
    list("shortNames", errors);
    let kind = text(given, "listKind");
    if !kind.is_empty() && given["listKind"] == given["kind"] {
        let detail = "kind and listKind may not be the same";
        errors.push(invalid("spec.names.listKind", kind, detail));
    }
    list("categories", errors);
}

/// The parts of versions that are said once if all versions say the same.
const PARTS: [&str; 4] = [
    "schema",
    "selectableFields",
    "additionalPrinterColumns",
    "subresources",
];

/// The versions' own parts, each at its place; then what they are named.
fn versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let list = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, version) in list.iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        if version["schema"]["openAPIV3Schema"].is_null() {
            let at = format!("{path}.schema.openAPIV3Schema");
            errors.push(FieldError::plain(ErrorKind::Required, at, ""));
        }
        for name in PARTS.iter().filter(|name| !is_common(list, name)) {
            part(version, name, &path, &format!("{path}.schema"), errors);
        }
    }
    version_names(spec, errors);
}

fn is_common(list: &[Value], part: &str) -> bool {
    list.windows(2).all(|pair| pair[0][part] == pair[1][part])
}

/// What all versions say, as if the definition said it.
fn common_parts(spec: &Value, errors: &mut Vec<FieldError>) {
    let list = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(first) = list.first() else { return };
    for name in PARTS.iter().filter(|name| is_common(list, name)) {
        part(first, name, "spec", "spec.validation", errors);
    }
}

fn part(version: &Value, name: &str, path: &str, schema: &str, errors: &mut Vec<FieldError>) {
    match name {
        "schema" => schema_of(&version["schema"]["openAPIV3Schema"], schema, errors),
        "selectableFields" => selectable(version, path, errors),
        "additionalPrinterColumns" => columns(version, path, errors),
        _ => {
            let path = format!("{path}.subresources.scale");
            scale(&version["subresources"]["scale"], &path, errors);
        }
    }
}

fn schema_of(schema: &Value, prefix: &str, errors: &mut Vec<FieldError>) {
    if schema.is_null() {
        return;
    }
    let Err(found) = fluvial_schema::CrdSchema::parse(schema) else {
        return;
    };
    errors.extend(found.into_iter().map(|mut error| {
        let dot = if error.path.is_empty() || error.path.starts_with('[') {
            ""
        } else {
            "."
        };
        error.path = format!("{prefix}{dot}{}", error.path);
        error.detail = error.detail.replace(
            "within openAPIV3Schema",
            &format!("within {prefix}.openAPIV3Schema"),
        );
        error
    }));
}

fn columns(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, column) in version["additionalPrinterColumns"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let at = format!("{path}.additionalPrinterColumns[{index}]");
        if text(column, "name").is_empty() {
            errors.push(FieldError::plain(ErrorKind::Required, format!("{at}.name"), ""));
        }
        let kind = text(column, "type");
        if kind.is_empty() {
            let detail = "must be one of boolean,date,integer,number,string";
            errors.push(FieldError::plain(
                ErrorKind::Required,
                format!("{at}.type"),
                detail,
            ));
        } else if !matches!(kind, "boolean" | "date" | "integer" | "number" | "string") {
            let detail = "must be one of boolean,date,integer,number,string";
            errors.push(invalid(format!("{at}.type"), kind, detail));
        }
        let format = text(column, "format");
        const FORMATS: &str = "byte,date,date-time,double,float,int32,int64,password";
        if !format.is_empty() && !FORMATS.split(',').any(|own| own == format) {
            let detail = format!("must be one of {FORMATS}");
            errors.push(invalid(format!("{at}.format"), format, detail));
        }
        simple_path(text(column, "jsonPath"), &format!("{at}.JSONPath"), None, errors);
    }
}

fn simple_path(value: &str, path: &str, below: Option<&str>, errors: &mut Vec<FieldError>) {
    if value.is_empty() {
        errors.push(FieldError::plain(ErrorKind::Required, path, ""));
    } else if !value.starts_with('.') {
        errors.push(invalid(path, value, "must be a simple json path starting with ."));
    } else if let Some(below) = below.filter(|below| !value.starts_with(&format!("{below}."))) {
        errors.push(invalid(
            path,
            value,
            format!("should be a json path under {below}"),
        ));
    }
}

fn scale(scale: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !scale.is_object() {
        return;
    }
    let fields = [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")];
    for (field, below) in fields {
        simple_path(
            text(scale, field),
            &format!("{path}.{field}"),
            Some(below),
            errors,
        );
    }
    let labels = text(scale, "labelSelectorPath");
    let at = format!("{path}.labelSelectorPath");
    if !labels.is_empty() && !labels.starts_with('.') {
        errors.push(invalid(at, labels, "must be a simple json path starting with ."));
    } else if !labels.is_empty() && !labels.starts_with(".spec.") && !labels.starts_with(".status.") {
        let detail = "should be a json path under either .spec or .status";
        errors.push(invalid(at, labels, detail));
    }
}

//! ConfigMaps, Secrets and what must not change in common kinds.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use crate::kinds::Kind;
use crate::names;

use super::common::go_struct;
use super::shown;

fn invalid(path: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
    FieldError::new(ErrorKind::Invalid, path, value.into(), detail)
}

/// Errors of an object.
pub(super) fn validate(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ConfigMap") => config_map(object, errors),
        ("", "Secret") => secret(object, errors),
        _ => {}
    }
}

fn config_map(object: &Value, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            let path = format!("{field}[{key}]");
            errors.extend(
                names::config_key(key)
                    .into_iter()
                    .map(|text| invalid(&path, key.clone(), text)),
            );
            if field == "data" && object["binaryData"].get(key).is_some() {
                errors.push(invalid(
                    &path,
                    key.clone(),
                    "duplicate of key present in binaryData",
                ));
            }
            size += value.as_str().map_or(0, str::len);
        }
    }
    if size > 1 << 20 {
        errors.push(FieldError::plain(
            ErrorKind::TooLong,
            "[]",
            "may not be more than 1048576 bytes",
        ));
    }
}

/// The finalizers of a namespace's spec.
pub(super) fn namespace(object: &Value, errors: &mut Vec<FieldError>) {
    for finalizer in object["spec"]["finalizers"].as_array().into_iter().flatten() {
        let text = finalizer.as_str().unwrap_or("");
        let complaints = names::qualified_name(text);
        errors.extend(
            complaints
                .into_iter()
                .map(|detail| invalid("spec.finalizers", text, detail)),
        );
        if !text.contains('/') && !matches!(text, "kubernetes" | "orphan" | "foregroundDeletion") {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(invalid("spec.finalizers", text, detail));
        }
    }
}

/// An APIService is named after what it serves.
pub(super) fn api_service(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    let text = |field: &str| spec[field].as_str().unwrap_or("");
    if text("group").is_empty() && text("version") != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::plain(ErrorKind::Required, "spec.group", detail));
    }
    super::common::named(text("version"), names::label_1035, "spec.version", errors);
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let number = spec[field].as_i64().unwrap_or(0);
        if number <= 0 || number > most {
            let detail = format!("must be positive and less than {most}");
            errors.push(invalid(format!("spec.{field}"), number, detail));
        }
    }
    let service = &spec["service"];
    if service.is_object() {
        for field in ["namespace", "name"] {
            if service[field].as_str().unwrap_or("").is_empty() {
                let path = format!("spec.service.{field}");
                errors.push(FieldError::plain(ErrorKind::Required, path, ""));
            }
        }
        let insecure = spec["insecureSkipTLSVerify"] == true;
        if insecure && !text("caBundle").is_empty() {
            let detail = "may not be true if caBundle is present";
            errors.push(invalid("spec.insecureSkipTLSVerify", true, detail));
        }
    } else {
        if !text("caBundle").is_empty() {
            let size = text("caBundle").trim_end_matches('=').len() * 3 / 4;
            let detail = "local APIServices may not have a caBundle";
            errors.push(invalid("spec.caBundle", format!("{size} bytes"), detail));
        }
        if spec["insecureSkipTLSVerify"] == true {
            let detail = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(invalid("spec.insecureSkipTLSVerify", true, detail));
        }
    }
}

/// What the types of secrets ask for beyond the presence of a key.
fn secret_of_type(object: &Value, errors: &mut Vec<FieldError>) {
    use base64::Engine as _;
    let missing = |path: &str| FieldError::plain(ErrorKind::Required, path, "");
    let has = |key: &str| object["data"].get(key).is_some();
    let key = match object["type"].as_str().unwrap_or("") {
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            errors.extend([missing("data[username]"), missing("data[password]")]);
            return;
        }
        "kubernetes.io/service-account-token" => {
            const NAME: &str = "kubernetes.io/service-account.name";
            let name = object["metadata"]["annotations"][NAME].as_str();
            if name.unwrap_or("").is_empty() {
                errors.push(missing(&format!("metadata.annotations[{NAME}]")));
            }
            return;
        }
        "kubernetes.io/dockerconfigjson" => ".dockerconfigjson",
        "kubernetes.io/dockercfg" => ".dockercfg",
        _ => return,
    };
    let Some(text) = object["data"][key].as_str() else {
        return;
    };
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_default();
    if let Err(why) = crate::http::body::json(&bytes) {
        let path = format!("data[{key}]");
        errors.push(invalid(path, "<secret contents redacted>", why));
    }
}

fn secret(object: &Value, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let path = format!("data[{key}]");
        errors.extend(
            names::config_key(key)
                .into_iter()
                .map(|text| invalid(&path, key.clone(), text)),
        );
        size += value.as_str().map_or(0, str::len) / 4 * 3;
    }
    if size > 1 << 20 {
        errors.push(FieldError::plain(
            ErrorKind::TooLong,
            "data",
            "may not be more than 1048576 bytes",
        ));
    }
    secret_of_type(object, errors);
    let required: &[&str] = match object["type"].as_str().unwrap_or("") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in required {
        if object["data"].get(key).is_none() {
            errors.push(FieldError::plain(ErrorKind::Required, format!("data[{key}]"), ""));
        }
    }
}

/// A job's selector is made for it, and chooses what its template makes.
pub(super) fn job_selector(job: &Value, generated: bool, errors: &mut Vec<FieldError>) {
    if job["spec"]["manualSelector"] == true {
        return;
    }
    let selector = &job["spec"]["selector"];
    if selector.is_null() {
        errors.push(FieldError::plain(ErrorKind::Required, "spec.selector", ""));
    } else if generated {
        let uid = &job["metadata"]["uid"];
        let wanted = serde_json::json!({"batch.kubernetes.io/controller-uid": uid});
        let old = serde_json::json!({"controller-uid": uid});
        let labels = &selector["matchLabels"];
        let only = selector["matchExpressions"].as_array().is_none_or(Vec::is_empty);
        if !only || (*labels != wanted && *labels != old) {
            let detail = "`selector` not auto-generated";
            errors.push(invalid("spec.selector", selector.clone(), detail));
        }
    }
    let matches = fluvial_object::labels::Selector::from_value(selector)
        .is_ok_and(|selector| selector.matches_object(&job["spec"]["template"]));
    if !matches || selector.is_null() {
        let shown = job["spec"]["template"]["metadata"]["labels"].clone();
        let detail = "`selector` does not match template `labels`";
        errors.push(invalid("spec.template.metadata.labels", shown, detail));
    }
}

/// A job's template with what another state of it may say otherwise.
fn job_template(job: &Value, open: bool) -> Value {
    let mut template = job["spec"]["template"].clone();
    if open {
        if let Some(template) = template.as_object_mut() {
            template.remove("metadata");
        }
        if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
            for field in ["nodeSelector", "tolerations", "schedulingGates"] {
                spec.remove(field);
            }
            if let Some(affinity) = spec.get_mut("affinity").and_then(Value::as_object_mut) {
                affinity.remove("nodeAffinity");
                if affinity.is_empty() {
                    spec.remove("affinity");
                }
            }
            for field in ["containers", "initContainers"] {
                let list = spec.get_mut(field).and_then(Value::as_array_mut);
                for container in list.into_iter().flatten().filter_map(Value::as_object_mut) {
                    container.remove("resources");
                }
            }
        }
    }
    template
}

/// What a job keeps for life. One that is suspended and has no pods may still say where they run and what they get.
fn job_fixed(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (is, was) = (&new["spec"], &old["spec"]);
    let conditions = old["status"]["conditions"].as_array().into_iter().flatten();
    let mut suspended = conditions.filter(|item| item["type"] == "Suspended" && item["status"] == "True");
    let open = was["suspend"] == true
        && (old["status"]["startTime"].is_null() || suspended.next().is_some())
        && old["status"]["active"].as_i64().unwrap_or(0) == 0;
    for (field, form) in [
        ("selector", "*metav1.LabelSelector"),
        ("template", "&PodTemplateSpec"),
        ("completionMode", "p"),
        ("podFailurePolicy", "*batch.PodFailurePolicy"),
        ("backoffLimitPerIndex", "p"),
        ("managedBy", "p"),
        ("successPolicy", "*batch.SuccessPolicy"),
    ] {
        let path = format!("spec.{field}");
        if field == "template" {
            if job_template(new, open) == job_template(old, open) {
                continue;
            }
            errors.push(if open {
                shown::fixed("&PodSpec", "spec.template.spec", &is[field]["spec"])
            } else {
                shown::fixed(form, path, &is[field])
            });
        } else if is[field] != was[field] {
            errors.push(shown::fixed(form, path, &is[field]));
        }
    }
}

/// Errors of a change.
pub(super) fn immutable(kind: &Kind, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    const FIXED: &str = "field is immutable";
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "ConfigMap" | "Secret") => {
            if old["immutable"] == true {
                if new["immutable"] != true {
                    let detail = "field is immutable when `immutable` is set";
                    errors.push(FieldError::plain(ErrorKind::Forbidden, "immutable", detail));
                }
                for field in ["data", "binaryData"] {
                    if new[field] != old[field] {
                        let detail = "field is immutable when `immutable` is set";
                        errors.push(FieldError::plain(ErrorKind::Forbidden, field, detail));
                    }
                }
            }
            if kind.kind == "Secret" && new["type"] != old["type"] {
                errors.push(invalid("type", new["type"].clone(), FIXED));
            }
        }
        ("apps", "Deployment" | "ReplicaSet") if new["spec"]["selector"] != old["spec"]["selector"] => {
            let form = "*metav1.LabelSelector";
            errors.push(shown::fixed(form, "spec.selector", &new["spec"]["selector"]));
        }
        ("batch", "Job") => {
            // Only an elastic job, in which both numbers move together, may change its completions.
            let (is, was) = (&new["spec"]["completions"], &old["spec"]["completions"]);
            let elastic = new["spec"]["completionMode"] == "Indexed" && !is.is_null();
            if is != was && !elastic {
                errors.push(invalid("spec.completions", is.clone(), FIXED));
            } else if is != was && *is != new["spec"]["parallelism"] {
                let detail = "can only be modified in tandem with spec.parallelism";
                errors.push(invalid("spec.completions", is.clone(), detail));
            }
            job_fixed(new, old, errors);
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding")
            if new["roleRef"] != old["roleRef"] =>
        {
            let text = |field: &str| new["roleRef"][field].clone();
            let shown = format!(
                "{{\"APIGroup\":{},\"Kind\":{},\"Name\":{}}}",
                text("apiGroup"),
                text("kind"),
                text("name")
            );
            errors.push(go_struct(
                ErrorKind::Invalid,
                "roleRef",
                &shown,
                "cannot change roleRef",
            ));
        }
        _ => {}
    }
}

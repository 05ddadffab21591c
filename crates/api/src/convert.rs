//! Manifests of removed API versions, made current.
//!
//! One version of each kind is served, yet repositories still hold the older ones; they are accepted
//! and converted on the way in.

use serde_json::{Map, Value, json};

use crate::kinds;

/// The object in its kind's served version. Objects of other kinds, or in versions that never were,
/// come back as they are.
#[must_use]
pub fn to_current(mut object: Value) -> Value {
    let version = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    let Some((group, version)) = version.split_once('/') else {
        return object;
    };
    let Some(info) = kinds::of(group, kind) else {
        return object;
    };
    if !info.old_versions.contains(&version) {
        return object;
    }
    object["apiVersion"] = info.api_version().into();
    if let Some(fields) = object.as_object_mut() {
        // A status in a manifest says nothing, and its old fields would only be refused.
        fields.remove("status");
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        convert_spec(info.kind, spec);
    }
    object
}

fn convert_spec(kind: &str, spec: &mut Map<String, Value>) {
    match kind {
        "GitRepository" => {
            spec.remove("gitImplementation");
            spec.remove("accessFrom");
            if let Some(mode) = spec.get_mut("verify").and_then(|verify| verify.get_mut("mode"))
                && mode == "head"
            {
                *mode = "HEAD".into();
            }
        }
        "Bucket" => {
            spec.remove("accessFrom");
        }
        "HelmChart" => {
            spec.remove("accessFrom");
            values_files(spec);
        }
        "Kustomization" => {
            spec.remove("validation");
            patches(spec);
        }
        "HelmRelease" => {
            let chart = spec.get_mut("chart").and_then(|chart| chart.get_mut("spec"));
            if let Some(chart) = chart.and_then(Value::as_object_mut) {
                values_files(chart);
            }
            let renderers = spec.get_mut("postRenderers").and_then(Value::as_array_mut);
            for renderer in renderers.into_iter().flatten() {
                if let Some(step) = renderer.get_mut("kustomize").and_then(Value::as_object_mut) {
                    patches(step);
                }
            }
        }
        "Alert" => summary(spec),
        "ImageUpdateAutomation" => {
            let template = spec
                .get_mut("git")
                .and_then(|git| git.get_mut("commit"))
                .and_then(|commit| commit.get_mut("messageTemplate"));
            if let Some(Value::String(text)) = template {
                *text = message_template(text);
            }
        }
        _ => {}
    }
}

/// `valuesFile` counted after `valuesFiles`.
fn values_files(spec: &mut Map<String, Value>) {
    let Some(file) = spec.remove("valuesFile").filter(|file| file != "") else {
        return;
    };
    let files = spec.entry("valuesFiles").or_insert_with(|| json!([]));
    if let Some(files) = files.as_array_mut()
        && !files.contains(&file)
    {
        files.push(file);
    }
}

/// Both older lists of patches, after those that are there, in the order in which kustomize ran them.
fn patches(spec: &mut Map<String, Value>) {
    let mut added: Vec<Value> = vec![];
    if let Some(Value::Array(list)) = spec.remove("patchesStrategicMerge") {
        added.extend(list.iter().map(|patch| json!({"patch": patch_text(patch)})));
    }
    if let Some(Value::Array(list)) = spec.remove("patchesJson6902") {
        added.extend(list.iter().map(|entry| {
            let mut patch = json!({"patch": patch_text(entry.get("patch").unwrap_or(&Value::Null))});
            if let Some(target) = entry.get("target") {
                patch["target"] = target.clone();
            }
            patch
        }));
    }
    if added.is_empty() {
        return;
    }
    let patches = spec.entry("patches").or_insert_with(|| json!([]));
    if let Some(patches) = patches.as_array_mut() {
        patches.extend(added);
    }
}

/// A patch as text: text stays, anything else becomes JSON, which is YAML too.
fn patch_text(patch: &Value) -> String {
    match patch {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn summary(spec: &mut Map<String, Value>) {
    let Some(summary) = spec.remove("summary").filter(|summary| summary != "") else {
        return;
    };
    let metadata = spec.entry("eventMetadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.entry("summary").or_insert(summary);
    }
}

/// The older template data `.Updated` in terms of `.Changed`.
fn message_template(text: &str) -> String {
    if !text.contains(".Updated") {
        return text.to_owned();
    }
    let mut text = text.to_owned();
    if text.contains(".Updated.Images") {
        // Elements were image references and printed as such; now they are changes.
        text = text
            .replace("{{.}}", "{{.NewValue}}")
            .replace("{{ . }}", "{{ .NewValue }}");
    }
    text.replace(".Updated.Images", ".Changed.Changes")
        .replace(".Updated.Files", ".Changed.FileChanges")
        .replace(".Updated.Objects", ".Changed.Objects")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(api_version: &str, kind: &str, spec: &Value) -> Value {
        let object =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
        to_current(object)
    }

    #[test]
    fn current_and_foreign_objects_stay_as_they_are() {
        for (version, kind) in [
            ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
            ("kustomize.toolkit.fluxcd.io/v7", "Kustomization"),
            ("kustomize.config.k8s.io/v1beta1", "Kustomization"),
            ("v1", "ConfigMap"),
        ] {
            let object = json!({"apiVersion": version, "kind": kind, "spec": {"validation": "client"}});
            assert_eq!(to_current(object.clone()), object);
        }
    }

    #[test]
    fn older_patches_of_a_kustomization_are_folded_into_one_list() {
        let object = converted(
            "kustomize.toolkit.fluxcd.io/v1beta1",
            "Kustomization",
            &json!({
                "validation": "client",
                "patches": [{"patch": "a: 1"}],
                "patchesStrategicMerge": [{"kind": "Deployment"}],
                "patchesJson6902": [{"patch": [{"op": "remove", "path": "/x"}], "target": {"kind": "Service"}}],
            }),
        );
        assert_eq!(object["apiVersion"], "kustomize.toolkit.fluxcd.io/v1");
        assert_eq!(
            object["spec"],
            json!({"patches": [
                {"patch": "a: 1"},
                {"patch": "{\"kind\":\"Deployment\"}"},
                {"patch": "[{\"op\":\"remove\",\"path\":\"/x\"}]", "target": {"kind": "Service"}},
            ]})
        );
    }

    #[test]
    fn a_helm_release_loses_its_older_fields() {
        let object = converted(
            "helm.toolkit.fluxcd.io/v2beta1",
            "HelmRelease",
            &json!({
                "chart": {"spec": {"chart": "x", "valuesFile": "b.yaml", "valuesFiles": ["a.yaml"]}},
                "postRenderers": [{"kustomize": {"patchesStrategicMerge": ["a: 1"]}}],
            }),
        );
        assert_eq!(object["apiVersion"], "helm.toolkit.fluxcd.io/v2");
        assert_eq!(
            object["spec"],
            json!({
                "chart": {"spec": {"chart": "x", "valuesFiles": ["a.yaml", "b.yaml"]}},
                "postRenderers": [{"kustomize": {"patches": [{"patch": "a: 1"}]}}],
            })
        );
    }

    #[test]
    fn sources_and_alerts_take_the_current_spelling() {
        let git = converted(
            "source.toolkit.fluxcd.io/v1beta2",
            "GitRepository",
            &json!({"gitImplementation": "go-git", "accessFrom": {}, "verify": {"mode": "head"}}),
        );
        assert_eq!(git["spec"], json!({"verify": {"mode": "HEAD"}}));
        let alert = converted(
            "notification.toolkit.fluxcd.io/v1beta2",
            "Alert",
            &json!({"summary": "prod", "eventMetadata": {"env": "x"}}),
        );
        assert_eq!(alert["apiVersion"], "notification.toolkit.fluxcd.io/v1beta3");
        assert_eq!(
            alert["spec"],
            json!({"eventMetadata": {"env": "x", "summary": "prod"}})
        );
    }

    #[test]
    fn commit_templates_speak_of_changes() {
        let object = converted(
            "image.toolkit.fluxcd.io/v1beta1",
            "ImageUpdateAutomation",
            &json!({"git": {"commit": {"messageTemplate": "{{ range .Updated.Images }}- {{.}}\n{{ end }}"}}}),
        );
        assert_eq!(
            object["spec"]["git"]["commit"]["messageTemplate"],
            "{{ range .Changed.Changes }}- {{.NewValue}}\n{{ end }}"
        );
    }
}

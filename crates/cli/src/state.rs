//! What an object of a Flux kind says of itself.

use fluvial_api::{keys, kinds};
use fluvial_ports::{Resource, Target};
use serde_json::Value;

/// Text at a path of fields.
#[must_use]
pub(crate) fn text<'a>(object: &'a Value, path: &[&str]) -> Option<&'a str> {
    field(object, path).and_then(Value::as_str)
}

/// The field at a path.
#[must_use]
pub(crate) fn field<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, name| value.get(name))
}

/// Kind.
#[must_use]
pub(crate) fn kind(object: &Value) -> &str {
    text(object, &["kind"]).unwrap_or_default()
}

/// Name.
#[must_use]
pub(crate) fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"]).unwrap_or_default()
}

/// Namespace, or nothing.
#[must_use]
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"]).unwrap_or_default()
}

/// Where it is, as one of a resource.
#[must_use]
pub(crate) fn target<'t>(resource: &'t Resource, object: &'t Value) -> Target<'t> {
    Target {
        resource,
        namespace: namespace(object),
        name: name(object),
    }
}

/// `Kind/namespace/name`, or `Kind/name`.
#[must_use]
pub(crate) fn id(object: &Value) -> String {
    match namespace(object) {
        "" => format!("{}/{}", kind(object), name(object)),
        namespace => format!("{}/{namespace}/{}", kind(object), name(object)),
    }
}

/// A condition by its type.
#[must_use]
pub(crate) fn condition<'a>(object: &'a Value, wanted: &str) -> Option<&'a Value> {
    field(object, &["status", "conditions"])?
        .as_array()?
        .iter()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(wanted))
}

/// Whether a condition is `True`.
#[must_use]
pub(crate) fn holds(object: &Value, wanted: &str) -> bool {
    condition(object, wanted).and_then(|condition| text(condition, &["status"])) == Some("True")
}

/// Whether it has no status and is never reconciled.
#[must_use]
pub(crate) fn is_static(object: &Value) -> bool {
    kinds::kind(kind(object)).is_some_and(|info| info.is_static)
        || (kind(object) == "HelmRepository" && text(object, &["spec", "type"]) == Some("oci"))
}

/// Whether it rests.
#[must_use]
pub(crate) fn is_suspended(object: &Value) -> bool {
    if kind(object) == "ArtifactGenerator" {
        return text(object, &["metadata", "annotations", keys::GENERATOR_RECONCILE])
            .is_some_and(|value| value.eq_ignore_ascii_case("disabled"));
    }
    field(object, &["spec", "suspend"]) == Some(&Value::Bool(true))
}

/// The chart version of a release: the newest that was released, or else the one that was tried.
#[must_use]
pub(crate) fn release_revision(object: &Value) -> &str {
    field(object, &["status", "history"])
        .and_then(|history| text(history.get(0)?, &["chartVersion"]))
        .or_else(|| text(object, &["status", "lastAttemptedRevision"]))
        .unwrap_or_default()
}

/// What kstatus makes of a custom resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It is as its spec wants it.
    Current,
    /// It is getting there, or trying to.
    Underway,
    /// It cannot get there.
    Failed,
    /// It is going away.
    Terminating,
}

/// How far an object of a Flux kind is.
#[must_use]
pub(crate) fn progress(object: &Value) -> Progress {
    if field(object, &["metadata", "deletionTimestamp"]).is_some() {
        return Progress::Terminating;
    }
    if is_static(object) {
        return Progress::Current;
    }
    let observed = field(object, &["status", "observedGeneration"]).and_then(Value::as_i64);
    let generation = field(object, &["metadata", "generation"]).and_then(Value::as_i64);
    if let (Some(observed), Some(generation)) = (observed, generation)
        && observed != generation
    {
        return Progress::Underway;
    }
    if holds(object, "Reconciling") {
        return Progress::Underway;
    }
    if holds(object, "Stalled") {
        return Progress::Failed;
    }
    match condition(object, "Ready").and_then(|ready| text(ready, &["status"])) {
        Some("True") | None => Progress::Current,
        Some(_) => Progress::Underway,
    }
}

/// Hexadecimal digests in a text, cut to eight characters.
#[must_use]
pub(crate) fn shorten_digests(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let end = rest[start..]
            .find(|c| !is_word(c))
            .map_or(rest.len(), |length| start + length);
        let word = &rest[start..end];
        let is_digest = matches!(word.len(), 40 | 64)
            && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        short.push_str(&rest[..start]);
        short.push_str(if is_digest { &word[..8] } else { word });
        rest = &rest[end..];
    }
    short.push_str(rest);
    short
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn digests_are_cut_and_nothing_else() {
        let digest = "5394cb7f48332b2de7c17dd8b8384bbc84b7e738";
        assert_eq!(
            shorten_digests(&format!("at 'main@sha1:{digest}'!")),
            "at 'main@sha1:5394cb7f'!"
        );
        assert_eq!(shorten_digests(&format!("x{digest}")), format!("x{digest}"));
        assert_eq!(shorten_digests("sha256:cccc ü"), "sha256:cccc ü");
    }

    #[test]
    fn a_failed_reconciliation_is_still_in_progress_unless_it_is_stalled() {
        let object = |generation: i64, conditions: Value| {
            json!({"kind": "Kustomization", "metadata": {"generation": generation},
                   "status": {"observedGeneration": 1, "conditions": conditions}})
        };
        let ready = |status: &str| json!([{"type": "Ready", "status": status}]);
        assert_eq!(progress(&object(1, ready("True"))), Progress::Current);
        assert_eq!(progress(&object(2, ready("True"))), Progress::Underway);
        assert_eq!(progress(&object(1, ready("False"))), Progress::Underway);
        let stalled = json!([{"type": "Ready", "status": "False"}, {"type": "Stalled", "status": "True"}]);
        assert_eq!(progress(&object(1, stalled)), Progress::Failed);
        assert_eq!(
            progress(&json!({"kind": "Alert", "metadata": {"generation": 4}})),
            Progress::Current
        );
    }
}

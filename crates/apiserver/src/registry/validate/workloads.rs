//! Deployments, sets and jobs.

use fluvial_schema::ErrorKind;
use fluvial_schema::FieldError;
use serde_json::Value;

use super::classes::at_most_whole;
use super::common::{
    Errors, forbidden, go_struct, int_or_percent, invalid, is_empty, items, named, not_negative, one_of,
    required, selector_matches, shown, text,
};
use super::pods;
use crate::names;
use crate::simulator::is_schedule;

const STATEFUL_FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
    'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
/// What of a stateful set may change.
const STATEFUL_FREE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// Checks a workload.
pub(super) fn validate(kind: &str, object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    match kind {
        "Deployment" => deployment(spec, errors),
        "ReplicaSet" => {
            not_negative(spec, "replicas", "spec", errors);
            not_negative(spec, "minReadySeconds", "spec", errors);
            if selector_matches(spec, "deployment", errors) {
                template(&spec["template"], "spec.template", true, errors);
            }
            no_deadline(spec, "ReplicaSet", errors);
        }
        "ReplicationController" => replication_controller(spec, errors),
        "DaemonSet" => daemon_set(spec, errors),
        "StatefulSet" => {
            stateful_set(spec, errors);
            claim_templates(spec, errors);
        }
        "Job" => {
            job(spec, "spec", errors);
            super::jobs::hostname(object, errors);
        }
        "CronJob" => {
            let name = crate::api::meta(object, "name");
            if name.len() > 52 {
                let detail = "must be no more than 52 characters";
                errors.push(invalid("metadata.name", name, detail));
            }
            cron_job(spec, errors);
        }
        "ControllerRevision" => revision(object, errors),
        _ => {}
    }
}

/// The template of pods that run until they are stopped, or until they end.
pub(super) fn template(template: &Value, path: &str, always: bool, errors: &mut Errors) {
    pods::spec(&template["spec"], &format!("{path}.spec"), errors);
    crate::registry::meta::annotations(
        &template["metadata"]["annotations"],
        &format!("{path}.annotations"),
        errors,
    );
    if !is_empty(&template["spec"]["ephemeralContainers"]) {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(forbidden(format!("{path}.spec.ephemeralContainers"), detail));
    }
    crate::registry::meta::validate_labels(
        &template["metadata"]["labels"],
        &format!("{path}.labels"),
        errors,
    );
    let policy = template["spec"]["restartPolicy"].clone();
    if always && policy.as_str().is_some_and(|policy| policy != "Always") {
        let path = format!("{path}.spec.restartPolicy");
        errors.push(FieldError::not_supported(path, policy, &["Always"]));
    }
}

/// Whether a number or percentage counts as nothing, as one does that cannot be read.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            let number = text
                .strip_suffix('%')
                .and_then(|number| number.parse::<i64>().ok());
            number.unwrap_or(0) == 0
        }
        other => other.as_i64().unwrap_or(0) == 0,
    }
}

fn deployment(spec: &Value, errors: &mut Errors) {
    not_negative(spec, "replicas", "spec", errors);
    if selector_matches(spec, "deployment", errors) {
        template(&spec["template"], "spec.template", true, errors);
    }
    no_deadline(spec, "ReplicaSet", errors);
    let strategy = &spec["strategy"];
    let rolling = &strategy["rollingUpdate"];
    match text(strategy, "type") {
        "Recreate" if !rolling.is_null() => errors.push(forbidden(
            "spec.strategy.rollingUpdate",
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        "Recreate" => {}
        "RollingUpdate" => {
            for field in ["maxUnavailable", "maxSurge"] {
                let path = format!("spec.strategy.rollingUpdate.{field}");
                int_or_percent(&rolling[field], &path, errors);
                if field == "maxUnavailable" {
                    at_most_whole(&rolling[field], &path, errors);
                }
            }
            if is_zero(&rolling["maxUnavailable"]) && is_zero(&rolling["maxSurge"]) {
                errors.push(invalid(
                    "spec.strategy.rollingUpdate.maxUnavailable",
                    rolling["maxUnavailable"].clone(),
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
        }
        other => {
            let rolling = if rolling.is_null() {
                "null".to_owned()
            } else {
                let (most, more) = (shown(&rolling["maxUnavailable"]), shown(&rolling["maxSurge"]));
                format!("{{\"MaxUnavailable\":{most},\"MaxSurge\":{more}}}")
            };
            let shown = format!("{{\"Type\":{},\"RollingUpdate\":{rolling}}}", Value::from(other));
            let detail = "supported values: \"Recreate\", \"RollingUpdate\"";
            errors.push(go_struct(
                ErrorKind::NotSupported,
                "spec.strategy",
                &shown,
                detail,
            ));
        }
    }
    for field in [
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    ] {
        not_negative(spec, field, "spec", errors);
    }
    let (deadline, ready) = (
        spec["progressDeadlineSeconds"].as_i64(),
        spec["minReadySeconds"].as_i64().unwrap_or(0),
    );
    if let Some(deadline) = deadline.filter(|deadline| *deadline <= ready) {
        errors.push(invalid(
            "spec.progressDeadlineSeconds",
            deadline,
            "must be greater than minReadySeconds",
        ));
    }
}

fn replication_controller(spec: &Value, errors: &mut Errors) {
    not_negative(spec, "minReadySeconds", "spec", errors);
    if is_empty(&spec["selector"]) {
        errors.push(required("spec.selector", ""));
    }
    not_negative(spec, "replicas", "spec", errors);
    if spec["template"].is_null() {
        errors.push(required("spec.template", ""));
        return;
    }
    let labels = &spec["template"]["metadata"]["labels"];
    let wanted = spec["selector"].as_object().into_iter().flatten();
    if wanted.into_iter().any(|(name, value)| labels[name] != *value) {
        errors.push(invalid(
            "spec.template.metadata.labels",
            labels.clone(),
            "`selector` does not match template `labels`",
        ));
    }
    template(&spec["template"], "spec.template", true, errors);
    no_deadline(spec, "ReplicationController", errors);
}

fn daemon_set(spec: &Value, errors: &mut Errors) {
    let before = errors.len();
    let _readable = selector_matches(spec, "daemonset", errors);
    // A missing selector is told by what it does not match alone.
    if spec["selector"].is_null() && errors.len() > before {
        errors.remove(before);
    }
    template(&spec["template"], "spec.template", true, errors);
    no_deadline(spec, "DaemonSet", errors);
    not_negative(spec, "minReadySeconds", "spec", errors);
    let rolling = &spec["updateStrategy"]["rollingUpdate"];
    let path = "spec.updateStrategy.rollingUpdate";
    if !rolling.is_null() {
        let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
        int_or_percent(unavailable, &format!("{path}.maxUnavailable"), errors);
        int_or_percent(surge, &format!("{path}.maxSurge"), errors);
        at_most_whole(unavailable, &format!("{path}.maxUnavailable"), errors);
        at_most_whole(surge, &format!("{path}.maxSurge"), errors);
        if is_zero(unavailable) && is_zero(surge) {
            let detail = "cannot be 0 when maxSurge is 0";
            errors.push(required(format!("{path}.maxUnavailable"), detail));
        }
        if !is_zero(unavailable) && !is_zero(surge) {
            let detail = "may not be set when maxUnavailable is non-zero";
            errors.push(invalid(format!("{path}.maxSurge"), surge.clone(), detail));
        }
    }
    if let Some(other) = other_strategy(spec) {
        let rolling = if rolling.is_null() {
            "null".to_owned()
        } else {
            let number = |field: &str| {
                if rolling[field].is_null() {
                    0.into()
                } else {
                    rolling[field].clone()
                }
            };
            let (most, more) = (number("maxUnavailable"), number("maxSurge"));
            format!("{{\"MaxUnavailable\":{most},\"MaxSurge\":{more}}}")
        };
        let shown = format!("{{\"Type\":{other},\"RollingUpdate\":{rolling}}}");
        let detail = "supported values: \"RollingUpdate\", \"OnDelete\"";
        errors.push(go_struct(
            ErrorKind::NotSupported,
            "spec.updateStrategy",
            &shown,
            detail,
        ));
    }
    not_negative(spec, "revisionHistoryLimit", "spec", errors);
}

/// The type of an update strategy that there is none of.
fn other_strategy(spec: &Value) -> Option<&Value> {
    let kind = &spec["updateStrategy"]["type"];
    (!matches!(kind.as_str(), None | Some("" | "RollingUpdate" | "OnDelete"))).then_some(kind)
}

fn stateful_update(spec: &Value, errors: &mut Errors) {
    let path = "spec.updateStrategy";
    let rolling = &spec["updateStrategy"]["rollingUpdate"];
    let numbers = || {
        format!(
            "{{\"Partition\":{},\"MaxUnavailable\":{}}}",
            rolling["partition"].as_i64().unwrap_or(0),
            rolling["maxUnavailable"]
        )
    };
    if let Some(other) = other_strategy(spec) {
        let rolling = if rolling.is_null() {
            "null".to_owned()
        } else {
            numbers()
        };
        let shown = format!("{{\"Type\":{other},\"RollingUpdate\":{rolling}}}");
        let detail = "must be 'RollingUpdate' or 'OnDelete'";
        errors.push(go_struct(ErrorKind::Invalid, path, &shown, detail));
    } else if spec["updateStrategy"]["type"] == "OnDelete" && !rolling.is_null() {
        let shown = numbers();
        let detail = "only allowed for updateStrategy 'RollingUpdate'";
        let path = format!("{path}.rollingUpdate");
        errors.push(go_struct(ErrorKind::Invalid, path, &shown, detail));
    } else {
        not_negative(rolling, "partition", &format!("{path}.rollingUpdate"), errors);
    }
}

fn stateful_set(spec: &Value, errors: &mut Errors) {
    let policy = &spec["podManagementPolicy"];
    if !matches!(policy.as_str(), None | Some("" | "OrderedReady" | "Parallel")) {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.push(invalid("spec.podManagementPolicy", policy.clone(), detail));
    }
    stateful_update(spec, errors);
    for field in ["whenDeleted", "whenScaled"] {
        let path = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
        let value = &spec["persistentVolumeClaimRetentionPolicy"][field];
        one_of(value, &["Retain", "Delete"], path, errors);
    }
    for field in ["replicas", "minReadySeconds"] {
        not_negative(spec, field, "spec", errors);
    }
    not_negative(&spec["ordinals"], "start", "spec.ordinals", errors);
    let readable = selector_matches(spec, "statefulset", errors);
    if !text(spec, "serviceName").is_empty() {
        let name = text(spec, "serviceName");
        named(name, names::label, "spec.serviceName", errors);
    }
    if readable {
        template(&with_claims(spec), "spec.template", true, errors);
    }
    no_deadline(spec, "StatefulSet", errors);
}

fn claim_templates(spec: &Value, errors: &mut Errors) {
    for (index, claim) in items(spec, "volumeClaimTemplates") {
        let at = format!("spec.volumeClaimTemplates[{index}].spec");
        super::pods::claim(claim, &at, errors);
    }
}

/// Checks a stateful set that was there. Its claims are fixed, so what is wrong with them is no news.
pub(super) fn stateful_again(object: &Value, errors: &mut Errors) {
    stateful_set(&object["spec"], errors);
}

/// The template as its pods get it: with a volume for each claim.
fn with_claims(spec: &Value) -> Value {
    let mut template = spec["template"].clone();
    let claims: std::collections::BTreeSet<&str> = items(spec, "volumeClaimTemplates")
        .map(|(_, claim)| crate::api::meta(claim, "name"))
        .filter(|name| !name.is_empty())
        .collect();
    if claims.is_empty() {
        return template;
    }
    let made = claims
        .iter()
        .map(|name| serde_json::json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    let own = items(&template["spec"], "volumes").map(|(_, volume)| volume.clone());
    let own = own.filter(|volume| !claims.contains(&text(volume, "name")));
    let all: Vec<Value> = made.chain(own).collect();
    template["spec"]["volumes"] = all.into();
    template
}

/// What runs until it is stopped has no deadline.
fn no_deadline(spec: &Value, kind: &str, errors: &mut Errors) {
    if !spec["template"]["spec"]["activeDeadlineSeconds"].is_null() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(forbidden("spec.template.spec.activeDeadlineSeconds", detail));
    }
}

fn job(spec: &Value, path: &str, errors: &mut Errors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    ] {
        not_negative(spec, field, path, errors);
    }
    let cron = path != "spec";
    if spec["manualSelector"] == true && !cron {
        if spec["selector"].is_null() {
            errors.push(required(format!("{path}.selector"), ""));
        }
        let labels = &spec["template"]["metadata"]["labels"];
        let selector = fluvial_object::labels::Selector::from_value(&spec["selector"]);
        if selector.is_ok_and(|selector| !selector.matches(|name| labels[name].as_str())) {
            let detail = "`selector` does not match template `labels`";
            let path = format!("{path}.template.metadata.labels");
            errors.push(invalid(path, labels.clone(), detail));
        }
    }
    super::jobs::policies(spec, path, errors);
    let template_path = format!("{path}.template");
    template(&spec["template"], &template_path, false, errors);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if !matches!(policy.as_str(), Some("OnFailure" | "Never")) {
        let path = format!("{template_path}.spec.restartPolicy");
        if policy == "Always" || is_empty(policy) {
            errors.push(required(path, "valid values: \"OnFailure\", \"Never\""));
        } else {
            errors.push(FieldError::not_supported(
                path,
                policy.clone(),
                &["OnFailure", "Never"],
            ));
        }
    } else if policy != "Never" && !spec["podFailurePolicy"].is_null() {
        let detail = "only \"Never\" is supported when podFailurePolicy is specified";
        let at = format!("{template_path}.spec.restartPolicy");
        errors.push(invalid(at, policy.clone(), detail));
    }
    if !cron {
        return;
    }
    if !spec["selector"].is_null() {
        let detail = "`selector` will be auto-generated";
        errors.push(invalid(
            format!("{path}.selector"),
            spec["selector"].clone(),
            detail,
        ));
    }
    if spec["manualSelector"] == true {
        let at = format!("{path}.manualSelector");
        errors.push(FieldError::not_supported(at, true.into(), &["nil", "false"]));
    }
}

fn cron_job(spec: &Value, errors: &mut Errors) {
    let schedule = text(spec, "schedule");
    let zoned = schedule.contains("TZ");
    if schedule.is_empty() {
        errors.push(required("spec.schedule", ""));
    } else if zoned {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(invalid("spec.schedule", schedule, detail));
    } else if !is_schedule(schedule) {
        let fields: Vec<&str> = schedule.split_whitespace().collect();
        let detail = if fields.len() == 5 {
            format!("failed to parse: {schedule}")
        } else {
            format!(
                "expected exactly 5 fields, found {}: [{}]",
                fields.len(),
                fields.join(" ")
            )
        };
        errors.push(invalid("spec.schedule", schedule, detail));
    }
    not_negative(spec, "startingDeadlineSeconds", "spec", errors);
    if let Some(zone) = spec["timeZone"].as_str() {
        if zone.is_empty() {
            errors.push(invalid(
                "spec.timeZone",
                zone,
                "timeZone must be nil or non-empty string",
            ));
        } else if zone.eq_ignore_ascii_case("local") {
            let detail =
                "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
            errors.push(invalid("spec.timeZone", zone, detail));
        } else if jiff::tz::TimeZone::get(zone).is_err() {
            errors.push(invalid(
                "spec.timeZone",
                zone,
                format!("unknown time zone {zone}"),
            ));
        }
    }
    one_of(
        &spec["concurrencyPolicy"],
        &["Allow", "Forbid", "Replace"],
        "spec.concurrencyPolicy",
        errors,
    );
    job(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec", errors);
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        not_negative(spec, field, "spec", errors);
    }
}

/// What must not change in a stateful set.
pub(super) fn stateful_fixed(new: &Value, old: &Value, errors: &mut Errors) {
    let rest = |value: &Value| {
        let mut map = value["spec"].as_object().cloned().unwrap_or_default();
        map.retain(|field, _| !STATEFUL_FREE.contains(&field.as_str()));
        map
    };
    if rest(new) != rest(old) {
        errors.push(forbidden("spec", STATEFUL_FIXED));
    }
}

/// A revision's content never changes.
pub(super) fn revision_fixed(new: &Value, old: &Value, errors: &mut Errors) {
    if new["data"] != old["data"] || new["revision"] != old["revision"] {
        errors.push(invalid("data", shown(&new["data"]), "field is immutable"));
    }
}

/// A revision has data and a number.
fn revision(object: &Value, errors: &mut Errors) {
    if object["data"].is_null() {
        errors.push(required("data", "data is mandatory"));
    }
    if let Some(number) = object["revision"].as_i64().filter(|number| *number < 0) {
        errors.push(invalid("revision", number, "must be greater than or equal to 0"));
    }
}

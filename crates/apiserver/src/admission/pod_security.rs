//! Pod Security: the levels that namespaces ask for by their labels, and what pods must not do under each.

use std::collections::BTreeMap;

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use crate::api::{Api, meta};
use crate::request::Request;
use crate::status::{Failure, Outcome};

mod checks;

use checks::Finding;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much a namespace allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    fn read(text: &str) -> Option<Level> {
        match text {
            "privileged" => Some(Level::Privileged),
            "baseline" => Some(Level::Baseline),
            "restricted" => Some(Level::Restricted),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        }
    }
}

/// A level and the version of the standard it is taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standard {
    level: Level,
    version: String,
}

impl Standard {
    fn of(labels: &Value, mode: &str) -> Standard {
        let text = |name: String| labels[&name].as_str().map(str::to_owned);
        let version = text(format!("{PREFIX}{mode}-version"));
        Standard {
            // What cannot be read is refused when it is written; of old objects the strictest is assumed.
            level: text(format!("{PREFIX}{mode}")).map_or(Level::Privileged, |text| {
                Level::read(&text).unwrap_or(Level::Restricted)
            }),
            version: version.unwrap_or_else(|| "latest".to_owned()),
        }
    }

    fn findings(&self, meta: &Value, spec: &Value) -> Vec<Finding> {
        match self.level {
            Level::Privileged => vec![],
            level => checks::all(meta, spec, level == Level::Restricted),
        }
    }
}

impl std::fmt::Display for Standard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.level.name(), self.version)
    }
}

fn described(findings: &[Finding]) -> String {
    let all: Vec<String> = findings
        .iter()
        .map(|finding| {
            if finding.detail.is_empty() {
                finding.reason.to_owned()
            } else {
                format!("{} ({})", finding.reason, finding.detail)
            }
        })
        .collect();
    all.join(", ")
}

/// The pod that an object of a kind is or makes: its metadata and its spec.
fn pod_of<'a>(request: &Request, object: &'a Value) -> Option<(&'a Value, &'a Value)> {
    if request.kind.custom.is_some() {
        return None;
    }
    let template = match (request.kind.group.as_str(), request.kind.kind.as_str()) {
        ("", "Pod") => object,
        ("", "PodTemplate") => &object["template"],
        ("", "ReplicationController")
        | ("apps", "ReplicaSet" | "Deployment" | "DaemonSet" | "StatefulSet")
        | ("batch", "Job") => &object["spec"]["template"],
        ("batch", "CronJob") => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => return None,
    };
    template["spec"]
        .is_object()
        .then(|| (&template["metadata"], &template["spec"]))
}

/// Holds a new or changed object against the levels of its namespace.
///
/// # Errors
/// It is a pod that the level to be enforced does not allow, or a namespace that asks for no level there is.
pub fn validate(api: &Api, request: &Request, object: &Value, old: Option<&Value>) -> Outcome<()> {
    if request.kind.is("", "Namespace") {
        if request.target.subresource.is_empty() {
            return namespace(api, request, object, old);
        }
        return Ok(());
    }
    let sub = request.target.subresource.as_str();
    if !matches!(sub, "" | "ephemeralcontainers" | "resize") {
        return Ok(());
    }
    let Some((meta, spec)) = pod_of(request, object) else {
        return Ok(());
    };
    let own = request.kind.kind == "Pod";
    // An update that leaves alone what is looked at passes.
    if own
        && let Some(old) = old
        && checks::same(&old["metadata"], &old["spec"], meta, spec)
    {
        return Ok(());
    }
    let Some(found) = api.store.collection("namespaces").get(&request.target.namespace) else {
        return Ok(());
    };
    // Most namespaces say nothing: their text is searched before it is parsed.
    if !found.mentions(PREFIX) {
        return Ok(());
    }
    let labels = found.value()["metadata"]["labels"].take();
    if own {
        let enforce = Standard::of(&labels, "enforce");
        let findings = enforce.findings(meta, spec);
        if !findings.is_empty() {
            let why = format!("violates PodSecurity \"{enforce}\": {}", described(&findings));
            return Err(Failure::forbidden(
                "",
                "pods",
                crate::api::meta(object, "name"),
                &why,
            ));
        }
    }
    let warn = Standard::of(&labels, "warn");
    let findings = warn.findings(meta, spec);
    if !findings.is_empty() {
        request.warn(format!(
            "would violate PodSecurity \"{warn}\": {}",
            described(&findings)
        ));
    }
    Ok(())
}

fn label_errors(labels: &Value) -> Vec<FieldError> {
    let mut errors = vec![];
    for mode in ["enforce", "audit", "warn"] {
        let name = format!("{PREFIX}{mode}");
        if let Some(text) = labels[&name].as_str().filter(|text| Level::read(text).is_none()) {
            errors.push(FieldError::new(
                ErrorKind::Invalid,
                format!("metadata.labels[{name}]"),
                text.into(),
                "must be one of privileged, baseline, restricted",
            ));
        }
        let name = format!("{PREFIX}{mode}-version");
        if let Some(text) = labels[&name].as_str().filter(|text| !is_version(text)) {
            errors.push(FieldError::new(
                ErrorKind::Invalid,
                format!("metadata.labels[{name}]"),
                text.into(),
                "must be \"latest\" or \"v1.x\"",
            ));
        }
    }
    errors
}

fn is_version(text: &str) -> bool {
    text == "latest"
        || text.strip_prefix("v1.").is_some_and(|minor| {
            !minor.is_empty()
                && minor.bytes().all(|byte| byte.is_ascii_digit())
                && (minor == "0" || !minor.starts_with('0'))
        })
}

fn namespace(api: &Api, request: &Request, object: &Value, old: Option<&Value>) -> Outcome<()> {
    let labels = &object["metadata"]["labels"];
    let before = old.map_or(&Value::Null, |old| &old["metadata"]["labels"]);
    let errors = label_errors(labels);
    let known = label_errors(before);
    if errors.iter().any(|error| !known.contains(error)) {
        return Err(Failure::invalid("", "Namespace", meta(object, "name"), &errors));
    }
    let (now, was) = (Standard::of(labels, "enforce"), Standard::of(before, "enforce"));
    if old.is_none() || now == was || (now.level <= was.level && now.version == was.version) {
        return Ok(());
    }
    for text in existing(api, meta(object, "name"), &now) {
        request.warn(text);
    }
    Ok(())
}

/// What is said of pods that are there already when a namespace becomes stricter.
fn existing(api: &Api, namespace: &str, standard: &Standard) -> Vec<String> {
    let prefix = format!("{namespace}/");
    let Ok(snapshot) = api
        .store
        .collection("pods")
        .snapshot(&api.store, &prefix, None, None)
    else {
        return vec![];
    };
    let mut reasons: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for stored in snapshot.objects {
        let pod = stored.value();
        let findings = standard.findings(&pod["metadata"], &pod["spec"]);
        if findings.is_empty() {
            continue;
        }
        let all: Vec<&str> = findings.iter().map(|finding| finding.reason).collect();
        reasons
            .entry(all.join(", "))
            .and_modify(|entry| entry.1 += 1)
            .or_insert_with(|| (stored.name().to_owned(), 0));
    }
    if reasons.is_empty() {
        return vec![];
    }
    let mut texts = vec![format!(
        "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{standard}\""
    )];
    let mut each: Vec<String> = reasons
        .into_iter()
        .map(|(reason, (name, others))| match others {
            0 => format!("{name}: {reason}"),
            1 => format!("{name} (and 1 other pod): {reason}"),
            more => format!("{name} (and {more} other pods): {reason}"),
        })
        .collect();
    each.sort();
    texts.extend(each);
    texts
}

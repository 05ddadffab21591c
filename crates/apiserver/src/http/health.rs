//! Health, version and figures of the server.

use serde_json::json;

use super::response::Answer;
use super::route::Query;
use crate::api::Api;

/// The checks that are named with `?verbose`.
const CHECKS: &[&str] = &[
    "ping",
    "log",
    "loopback-serving-certificate",
    "etcd",
    "etcd-readiness",
    "informer-sync",
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/peer-endpoint-reconciler-controller",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/start-kube-apiserver-identity-lease-controller",
    "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
    "poststarthook/storage-readiness",
    "poststarthook/start-legacy-token-tracking-controller",
    "poststarthook/start-service-ip-repair-controllers",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kubernetes-service-cidr-controller",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-status-local-available-controller",
    "poststarthook/apiservice-status-remote-available-controller",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-discovery-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
    "shutdown",
];

/// Whether a check is one of an endpoint's: some tell only whether the server takes requests, one
/// only whether it lives.
fn is_of(check: &str, endpoint: &str) -> bool {
    match check {
        "etcd-readiness" | "informer-sync" | "shutdown" => endpoint == "readyz",
        "loopback-serving-certificate" => endpoint != "readyz",
        _ => true,
    }
}

/// What `/version` says.
#[must_use]
pub fn version() -> serde_json::Value {
    json!({"major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35", "gitVersion": "v1.36.3",
        "gitCommit": "0000000000000000000000000000000000000000", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "go1.26.8", "compiler": "gc",
        "platform": "linux/amd64"})
}

/// The answer to a path, if it is one of these.
#[must_use]
pub fn answer(api: &Api, path: &str, query: &Query) -> Option<Answer> {
    const TEXT: &str = "text/plain; charset=utf-8";
    match path {
        "/version" | "/version/" => Some(Answer::json(200, &version())),
        "/healthz" | "/livez" | "/readyz" => {
            let whole = |text: String| {
                let answer = Answer::bytes(200, text, TEXT);
                Some(answer.with_header("x-content-type-options", "nosniff"))
            };
            if query.get("verbose").is_none() {
                return whole("ok".to_owned());
            }
            let name = &path[1..];
            let excluded: Vec<&str> = query.all("exclude").collect();
            let mut text = String::new();
            for check in CHECKS.iter().filter(|check| is_of(check, name)) {
                let shown = if excluded.contains(check) {
                    "excluded: ok"
                } else {
                    "ok"
                };
                text.push_str(&format!("[+]{check} {shown}\n"));
            }
            let unknown: Vec<String> = excluded
                .iter()
                .filter(|own| !CHECKS.iter().any(|check| check == *own && is_of(check, name)))
                .map(|own| format!("{own:?}"))
                .collect();
            if !unknown.is_empty() {
                let names = unknown.join(",");
                text.push_str(&format!(
                    "warn: some health checks cannot be excluded: no matches for {names}\n"
                ));
            }
            text.push_str(&format!("{name} check passed\n"));
            whole(text)
        }
        "/metrics" => Some(Answer::bytes(
            200,
            metrics(api),
            "text/plain; version=0.0.4; charset=utf-8",
        )),
        "/metrics/slis" => Some(Answer::bytes(
            200,
            checks(),
            "text/plain; version=0.0.4; charset=utf-8",
        )),
        _ => {
            let (endpoint, check) = path.trim_start_matches('/').split_once('/')?;
            (ENDPOINTS.contains(&endpoint) && CHECKS.contains(&check) && is_of(check, endpoint))
                .then(|| Answer::bytes(200, "ok", TEXT))
        }
    }
}

const ENDPOINTS: [&str; 3] = ["healthz", "livez", "readyz"];

/// The paths of all single checks.
pub fn paths() -> impl Iterator<Item = String> {
    ENDPOINTS.into_iter().flat_map(|endpoint| {
        let own = CHECKS.iter().filter(move |check| is_of(check, endpoint));
        own.map(move |check| format!("/{endpoint}/{check}"))
    })
}

/// How the checks stand, as figures.
fn checks() -> String {
    let mut text =
        String::from("# HELP kubernetes_healthcheck [STABLE] The result of each check, 1 if it is passed.\n");
    text.push_str("# TYPE kubernetes_healthcheck gauge\n");
    for endpoint in ENDPOINTS {
        for check in CHECKS.iter().filter(|check| is_of(check, endpoint)) {
            text.push_str(&format!(
                "kubernetes_healthcheck{{name=\"{check}\",type=\"{endpoint}\"}} 1\n"
            ));
        }
    }
    text
}

fn metrics(api: &Api) -> String {
    let mut text = String::from("# HELP apiserver_storage_objects Number of stored objects\n");
    text.push_str("# TYPE apiserver_storage_objects gauge\n");
    for collection in api.store.collections() {
        text.push_str(&format!(
            "apiserver_storage_objects{{resource=\"{}\"}} {}\n",
            collection.name,
            collection.len()
        ));
    }
    text
}

//! Sources against the servers that people run: each becomes ready, follows a new revision, and says what is wrong in
//! Flux's words. `cargo xtask tier counterparts` runs these; what needs a program that is not there is skipped by name. Those
//! against stand-ins (`cells`) need none.

mod bucket;
mod cells;
mod git;
mod helm;
mod parts;
mod registry;
mod servers;
mod stand;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use fluvial_cluster::Client;
use fluvial_ports::{Apply, Cluster as _, Connection, Resource, Target};
use serde_json::{Value, json};

use crate::fleet::{Fleet, Up, eventually};

/// Namespace of everything here.
const NAMESPACE: &str = "default";
/// Group of the sources.
const GROUP: &str = "source.toolkit.fluxcd.io";

/// The running program, and a way to its API.
struct World {
    fleet: Fleet,
    _up: Option<Up>,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

fn resource(kind: &str) -> Resource {
    let (group, version) = match kind {
        "Secret" | "ServiceAccount" | "ConfigMap" => ("", "v1"),
        "Kustomization" => ("kustomize.toolkit.fluxcd.io", "v1"),
        "HelmRelease" => ("helm.toolkit.fluxcd.io", "v2"),
        "ArtifactGenerator" => ("source.extensions.fluxcd.io", "v1beta1"),
        _ => (GROUP, "v1"),
    };
    Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: match kind {
            "GitRepository" | "OCIRepository" | "HelmRepository" => {
                kind.to_lowercase().trim_end_matches('y').to_owned() + "ies"
            }
            kind => kind.to_lowercase() + "s",
        },
        namespaced: true,
    }
}

impl World {
    fn new() -> Self {
        let fleet = Fleet::new();
        let up = fleet.up(&[]);
        let kubeconfig = fleet.beside("kubeconfig");
        eventually("the API server", || kubeconfig.is_file());
        eventually("the fleet", || up.kustomizations().len() > 1);
        World::over(fleet, Some(up), kubeconfig)
    }

    /// The world behind a kubeconfig.
    fn over(fleet: Fleet, up: Option<Up>, kubeconfig: PathBuf) -> Self {
        // Another test may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let credentials = Connection {
            kubeconfig: Some(kubeconfig),
            ..Connection::default()
        };
        let client = runtime.block_on(Client::connect(&credentials)).unwrap();
        World {
            fleet,
            _up: up,
            client,
            runtime,
        }
    }

    /// A folder of this test.
    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.fleet.beside(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn apply(&self, kind: &str, name: &str, object: Value) {
        let mut object = object;
        let resource = resource(kind);
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = kind.into();
        object["metadata"]["name"] = name.into();
        object["metadata"]["namespace"] = NAMESPACE.into();
        let target = Target {
            resource: &resource,
            namespace: NAMESPACE,
            name,
        };
        let apply = Apply {
            manager: "test",
            force: true,
            dry_run: false,
        };
        self.runtime
            .block_on(self.client.apply(target, &object, apply))
            .unwrap();
    }

    /// A Secret.
    fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let data: serde_json::Map<String, Value> = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect();
        self.apply("Secret", name, json!({"stringData": data}));
    }

    /// A source that is looked at every second.
    fn source(&self, kind: &str, name: &str, spec: Value) {
        let mut spec = spec;
        if spec.get("interval").is_none() {
            spec["interval"] = "1s".into();
        }
        self.apply(kind, name, json!({"spec": spec}));
    }

    fn get(&self, kind: &str, name: &str) -> Value {
        let resource = resource(kind);
        let target = Target {
            resource: &resource,
            namespace: NAMESPACE,
            name,
        };
        let found = self.runtime.block_on(self.client.get(target)).unwrap();
        found.unwrap_or_default()
    }

    /// Waits until the object is ready; the revision of its artifact.
    fn ready(&self, kind: &str, name: &str) -> String {
        let object = self.until(kind, name, "ready", |ready, _| ready["status"] == "True");
        revision(&object)
    }

    /// Waits until the object has another revision than this one.
    fn follows(&self, kind: &str, name: &str, old: &str) -> String {
        let object = self.until(kind, name, "at another revision", |ready, object| {
            ready["status"] == "True" && revision(object) != old
        });
        revision(&object)
    }

    /// Waits until the object has failed for this reason, with a message that has these words.
    fn fails(&self, kind: &str, name: &str, reason: &str, words: &[&str]) {
        assert_eq!(self.wrong(kind, name, reason, words), None);
    }

    /// Waits until the object has failed; what is not as it should be about that.
    fn wrong(&self, kind: &str, name: &str, reason: &str, words: &[&str]) -> Option<String> {
        let object = self.until(kind, name, "failed", |ready, object| {
            ready["status"] == "False" && observed(object)
        });
        let ready = ready(&object);
        let message = ready["message"].as_str().unwrap_or_default();
        if ready["reason"] != reason {
            return Some(format!(
                "{kind} {name}: {}, not {reason}: {message}",
                ready["reason"]
            ));
        }
        let missing = words.iter().find(|word| !message.contains(**word))?;
        Some(format!("{kind} {name} does not say {missing:?}: {message}"))
    }

    fn until(&self, kind: &str, name: &str, what: &str, holds: impl Fn(&Value, &Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let object = self.get(kind, name);
            let ready = ready(&object);
            if !ready.is_null()
                && ready["observedGeneration"] == object["metadata"]["generation"]
                && holds(&ready, &object)
            {
                return object;
            }
            assert!(
                Instant::now() < end,
                "{kind} {name} is not {what}: {}",
                object["status"]
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Whether the last run is over.
fn observed(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Stalled" || condition["reason"] == "ProgressingWithRetry")
}

fn ready(object: &Value) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.find(|condition| condition["type"] == "Ready");
    ready.cloned().unwrap_or_default()
}

fn revision(object: &Value) -> String {
    let revision = object["status"]["artifact"]["revision"].as_str();
    revision.unwrap_or_default().to_owned()
}

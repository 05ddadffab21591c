//! Waiting for one object, by watch.

use std::time::Duration;

use fluvial_ports::{Cluster, Select, Watched};
use futures::StreamExt;
use serde_json::Value;

use crate::nouns::Noun;
use crate::state::{self, condition, field, shorten_digests, text};

/// What flux says when time is up.
const TIME_IS_UP: &str = "context deadline exceeded";

/// Follows an object until `done` holds of it; gives its last state.
pub(crate) async fn until(
    cluster: &dyn Cluster,
    noun: &Noun,
    object: &Value,
    timeout: Duration,
    done: impl Fn(&Value) -> bool,
) -> Result<Value, String> {
    if done(object) {
        return Ok(object.clone());
    }
    let select = Select {
        namespace: Some(state::namespace(object).to_owned()),
        fields: Some(format!("metadata.name={}", state::name(object))),
        ..Select::default()
    };
    let mut events = cluster.watch(&noun.resource(), &select);
    let follow = async {
        while let Some(event) = events.next().await {
            match event {
                Watched::Applied(object) if done(&object) => return Ok(object),
                Watched::Deleted(_) => {
                    return Err(format!("{} was deleted", state::id(object)));
                }
                _ => {}
            }
        }
        Err("the watch ended".to_owned())
    };
    tokio::time::timeout(timeout, follow)
        .await
        .unwrap_or_else(|_| Err(TIME_IS_UP.to_owned()))
}

/// What is said of an object after its reconciliation.
pub(crate) fn success_message(noun: &Noun, object: &Value) -> String {
    let status = |path: &[&str]| object.get("status").and_then(|status| text(status, path));
    let revision = |path: &[&str]| status(path).unwrap_or_default().to_owned();
    match noun.kind {
        "Kustomization" => format!("applied revision {}", revision(&["lastAppliedRevision"])),
        "HelmRelease" => format!("applied revision {}", state::release_revision(object)),
        "GitRepository" | "OCIRepository" | "HelmRepository" | "HelmChart" | "Bucket" => {
            format!("fetched revision {}", revision(&["artifact", "revision"]))
        }
        "ImageRepository" => {
            let count = field(object, &["status", "lastScanResult", "tagCount"]).and_then(Value::as_i64);
            format!("scan fetched {} tags", count.unwrap_or(0))
        }
        "ImagePolicy" => {
            let mut image = revision(&["latestRef", "name"]);
            if let Some(tag) = status(&["latestRef", "tag"]) {
                image = format!("{image}:{tag}");
            }
            if let Some(digest) = status(&["latestRef", "digest"]) {
                image = format!("{image}@{digest}");
            }
            format!("selected ref {image}")
        }
        "ImageUpdateAutomation" => match condition(object, "Ready") {
            Some(ready) => text(ready, &["message"]).unwrap_or_default().to_owned(),
            None => "automation not yet run".to_owned(),
        },
        "ArtifactGenerator" => {
            let message = condition(object, "Ready").and_then(|ready| text(ready, &["message"]));
            shorten_digests(message.unwrap_or_default())
        }
        kind => format!("{kind} reconciliation completed"),
    }
}

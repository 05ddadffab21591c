//! Which kinds the server serves: one request for each group version that is asked for, kept until a custom resource
//! definition of that group changes.

use std::sync::{Arc, Mutex, PoisonError};

use fluvial_ports::{ClusterError, ErrorKind, KindChange, Resource};
use rustc_hash::FxHashMap;
use serde::Deserialize;
use tokio::sync::broadcast;

#[derive(Deserialize)]
pub(crate) struct ResourceList {
    #[serde(default)]
    resources: Vec<Served>,
}

#[derive(Deserialize)]
struct Served {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
}

/// The parts of a custom resource definition that matter here; the rest is never decoded.
#[derive(Deserialize, Clone)]
pub(crate) struct Definition {
    pub(crate) metadata: Meta,
    pub(crate) spec: DefinitionSpec,
    #[serde(default)]
    pub(crate) status: DefinitionStatus,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    #[serde(default)]
    pub(crate) resource_version: Option<String>,
    #[serde(default)]
    pub(crate) deletion_timestamp: Option<String>,
}

#[derive(Deserialize, Clone)]
pub(crate) struct DefinitionSpec {
    group: String,
    names: Names,
}

#[derive(Deserialize, Clone)]
struct Names {
    kind: String,
}

#[derive(Deserialize, Clone, Default)]
pub(crate) struct DefinitionStatus {
    /// `null` in a definition that was just created.
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize, Clone)]
struct Condition {
    r#type: String,
    status: String,
}

impl crate::watch::Versioned for Definition {
    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

impl Definition {
    pub(crate) fn change(&self, deleted: bool) -> KindChange {
        let established = self
            .status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.r#type == "Established" && c.status == "True");
        KindChange {
            group: self.spec.group.clone(),
            kind: self.spec.names.kind.clone(),
            served: established && !deleted && self.metadata.deletion_timestamp.is_none(),
        }
    }
}

/// What is known of the served kinds.
pub(crate) struct Discovery {
    known: Mutex<FxHashMap<String, FxHashMap<String, Arc<Resource>>>>,
    changes: broadcast::Sender<KindChange>,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            changes: broadcast::channel(256).0,
        }
    }
}

impl Discovery {
    pub(crate) fn lookup(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(api_version)?.get(kind).cloned()
    }

    /// Takes a group version's list in; answers with the wanted kind.
    pub(crate) fn learn(
        &self,
        api_version: &str,
        list: ResourceList,
        kind: &str,
    ) -> Result<Arc<Resource>, ClusterError> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kinds: FxHashMap<String, Arc<Resource>> = list
            .resources
            .into_iter()
            .filter(|served| !served.name.contains('/'))
            .map(|served| {
                let resource = Resource {
                    group: if served.group.is_empty() {
                        group.to_owned()
                    } else {
                        served.group
                    },
                    version: if served.version.is_empty() {
                        version.to_owned()
                    } else {
                        served.version
                    },
                    plural: served.name,
                    namespaced: served.namespaced,
                    kind: served.kind.clone(),
                };
                (served.kind, Arc::new(resource))
            })
            .collect();
        let found = kinds.get(kind).cloned();
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(api_version.to_owned(), kinds);
        found.ok_or_else(|| no_kind(api_version, kind))
    }

    /// Forgets the group of a definition that changed, and tells who waits for kinds.
    pub(crate) fn changed(&self, change: KindChange) {
        let prefix = format!("{}/", change.group);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|api_version, _| !api_version.starts_with(&prefix));
        drop(known);
        // Nobody may be listening.
        let _ = self.changes.send(change);
    }

    /// Forgets everything: what was known may have changed unseen.
    pub(crate) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<KindChange> {
        self.changes.subscribe()
    }
}

pub(crate) fn no_kind(api_version: &str, kind: &str) -> ClusterError {
    ClusterError::new(
        ErrorKind::NoKind,
        format!("no matches for kind \"{kind}\" in version \"{api_version}\""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> ResourceList {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn kinds_are_known_until_their_group_changes() {
        let discovery = Discovery::default();
        let served = r#"{"resources":[{"name":"things","kind":"Thing","namespaced":true},{"name":"things/status","kind":"Thing","namespaced":true}]}"#;
        let thing = discovery.learn("x.io/v1", list(served), "Thing").unwrap();
        assert_eq!(
            (thing.plural.as_str(), thing.group.as_str(), thing.namespaced),
            ("things", "x.io", true)
        );
        assert!(discovery.lookup("x.io/v1", "Thing").is_some());
        discovery.changed(KindChange {
            group: "y.io".to_owned(),
            kind: "Other".to_owned(),
            served: true,
        });
        assert!(discovery.lookup("x.io/v1", "Thing").is_some());
        discovery.changed(KindChange {
            group: "x.io".to_owned(),
            kind: "Thing".to_owned(),
            served: false,
        });
        assert!(discovery.lookup("x.io/v1", "Thing").is_none());
    }

    #[test]
    fn a_kind_that_is_not_served_is_named() {
        let error = Discovery::default()
            .learn("x.io/v1", list(r#"{"resources":[]}"#), "Thing")
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoKind);
        assert_eq!(
            error.to_string(),
            "no matches for kind \"Thing\" in version \"x.io/v1\""
        );
    }

    #[test]
    fn a_definition_is_served_once_established() {
        let text = r#"{"metadata":{"name":"things.x.io"},"spec":{"group":"x.io","names":{"kind":"Thing","plural":"things"},"versions":[{"schema":{}}]},
            "status":{"conditions":[{"type":"Established","status":"True","reason":"x"}]}}"#;
        let definition: Definition = serde_json::from_str(text).unwrap();
        assert!(definition.change(false).served);
        assert!(!definition.change(true).served);
    }
}

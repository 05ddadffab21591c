//! From objects to typed resources and back.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Metadata, convert};

/// Why an object could not be read as the kind that it claims to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {part}: {message}")]
pub struct Error {
    /// `Kind/namespace/name`, as far as they are known.
    pub object: String,
    /// `metadata`, `spec` or `status`.
    pub part: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// A kind of Fluvial with its typed parts.
pub trait Resource: Sized {
    /// What is wanted.
    type Spec: Serialize + DeserializeOwned + Default;
    /// What was observed.
    type Status: Serialize + DeserializeOwned + Default;
    /// API group.
    const GROUP: &'static str;
    /// Served and stored version.
    const VERSION: &'static str;
    /// Kind.
    const KIND: &'static str;
    /// Plural name, as in URLs.
    const PLURAL: &'static str;

    /// Puts the parts together.
    fn new(metadata: Metadata, spec: Self::Spec, status: Self::Status) -> Self;
    /// Names, labels and the server's own fields.
    fn metadata(&self) -> &Metadata;
    /// What is wanted.
    fn spec(&self) -> &Self::Spec;
    /// What was observed last.
    fn status(&self) -> &Self::Status;

    /// `group/version`.
    #[must_use]
    fn api_version() -> String {
        format!("{}/{}", Self::GROUP, Self::VERSION)
    }

    /// Reads an object; older versions are converted first. Schema defaults are applied.
    ///
    /// # Errors
    /// If the object is of another kind, or a field has the wrong type or is missing.
    fn from_value(value: &Value) -> Result<Self, Error> {
        let fail = |part, message: String| Error {
            object: describe(value, Self::KIND),
            part,
            message,
        };
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        let version = value
            .get("apiVersion")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        if kind != Self::KIND || group != Self::GROUP {
            return Err(fail(
                "kind",
                format!("is {group}/{kind}, not {}/{}", Self::GROUP, Self::KIND),
            ));
        }
        if version != Self::VERSION {
            let current = convert::to_current(value.clone());
            let now = current
                .get("apiVersion")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if now != Self::api_version() {
                return Err(fail("apiVersion", format!("version {version:?} is not known")));
            }
            return Self::from_value(&current);
        }
        let metadata = part(value, "metadata").map_err(|message| fail("metadata", message))?;
        let spec = part(value, "spec").map_err(|message| fail("spec", message))?;
        let status = part(value, "status").map_err(|message| fail("status", message))?;
        Ok(Self::new(metadata, spec, status))
    }

    /// Writes the object: apiVersion, kind, metadata, spec; and status unless it is empty.
    #[must_use]
    fn to_value(&self) -> Value {
        let mut object = Map::new();
        object.insert("apiVersion".to_owned(), Self::api_version().into());
        object.insert("kind".to_owned(), Self::KIND.into());
        object.insert("metadata".to_owned(), to_value(self.metadata()));
        object.insert("spec".to_owned(), to_value(self.spec()));
        let status = to_value(self.status());
        if status.as_object().is_some_and(|status| !status.is_empty()) {
            object.insert("status".to_owned(), status);
        }
        Value::Object(object)
    }
}

fn part<T: DeserializeOwned>(value: &Value, name: &str) -> Result<T, String> {
    let empty = Value::Object(Map::new());
    let part = value.get(name).filter(|part| !part.is_null()).unwrap_or(&empty);
    serde_path_to_error::deserialize(part).map_err(|error| match error.path().to_string().as_str() {
        "." => error.into_inner().to_string(),
        path => format!("{path}: {}", error.inner()),
    })
}

fn to_value(part: &impl Serialize) -> Value {
    serde_json::to_value(part).expect("records have text keys and finite numbers")
}

/// `Kind/namespace/name` of an object that may be broken.
fn describe(value: &Value, kind: &str) -> String {
    let metadata = value.get("metadata");
    let field = |name| {
        metadata
            .and_then(|metadata| metadata.get(name))
            .and_then(Value::as_str)
    };
    let name = field("name").unwrap_or("(no name)");
    match field("namespace") {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kustomize::DeletionPolicy;
    use crate::{GitRepository, Kustomization};
    use serde_json::json;

    fn apps() -> Value {
        json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "flux-system", "generation": 3},
            "spec": {
                "interval": "10m0s",
                "prune": true,
                "sourceRef": {"kind": "GitRepository", "name": "fleet"},
                "deletionPolicy": "Orphan",
                "dependsOn": [{"name": "infra", "readyExpr": "true"}],
                "postBuild": {"substitute": {"a": "b"}},
            },
            "status": {"observedGeneration": -1},
        })
    }

    #[test]
    fn an_object_survives_reading_and_writing() {
        let apps = apps();
        let read = Kustomization::from_value(&apps).unwrap();
        assert_eq!(read.spec.deletion_policy(), DeletionPolicy::Orphan);
        assert_eq!(read.spec.timeout().to_string(), "9m30s");
        assert_eq!(read.spec.retry_interval().to_string(), "10m0s");
        assert_eq!(read.to_value(), apps);
    }

    #[test]
    fn older_versions_are_read_too() {
        let mut old = apps();
        old["apiVersion"] = "kustomize.toolkit.fluxcd.io/v1beta1".into();
        old["spec"]["validation"] = "client".into();
        assert_eq!(
            Kustomization::from_value(&old).unwrap().spec.interval.0.as_secs(),
            600
        );
    }

    #[test]
    fn errors_name_the_object_and_what_is_wrong() {
        let mut broken = apps();
        broken["spec"]["prune"] = "yes".into();
        assert_eq!(
            Kustomization::from_value(&broken).unwrap_err().to_string(),
            "Kustomization/flux-system/apps: spec: prune: invalid type: string \"yes\", expected a boolean"
        );
        broken["spec"]["prune"] = true.into();
        broken["spec"]["interval"] = "soon".into();
        assert_eq!(
            Kustomization::from_value(&broken).unwrap_err().to_string(),
            "Kustomization/flux-system/apps: spec: interval: \"soon\" is not a duration such as 30s, 5m or 1h30m"
        );
        assert!(
            GitRepository::from_value(&apps())
                .unwrap_err()
                .message
                .contains("not source.toolkit")
        );
        broken["apiVersion"] = "kustomize.toolkit.fluxcd.io/v9".into();
        assert!(
            Kustomization::from_value(&broken)
                .unwrap_err()
                .message
                .contains("v9")
        );
    }
}

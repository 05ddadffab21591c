//! What templates are told about the cluster and about Helm.

use std::any::Any;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use fluvial_template::{List, Object, Params, Type, Underlying, Value};

/// The Helm release whose rendering this is.
pub const HELM_VERSION: &str = "v4.3";
/// The Go release that Helm was built with.
const GO_VERSION: &str = "go1.26.8";
/// The cluster's version if nobody says.
pub const DEFAULT_KUBE_VERSION: &str = "v1.37.0";

/// A cluster's version as templates see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeVersion {
    /// As the server gives it: `v1.33.4-gke.1`.
    pub version: String,
    /// Without what comes after the three numbers.
    normalized: String,
    /// `1`
    pub major: String,
    /// `33`
    pub minor: String,
}

impl KubeVersion {
    /// Reads what `--kube-version` takes: `1.33`, `v1.33.4-gke.1`.
    ///
    /// # Errors
    /// If it is no version.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("could not parse {} as version", fluvial_template::quote(text));
        let trimmed = text.trim_start();
        let numbers = trimmed.strip_prefix('v').unwrap_or(trimmed);
        let end = numbers
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(numbers.len());
        let parts: Vec<&str> = numbers[..end]
            .split('.')
            .take_while(|part| !part.is_empty())
            .collect();
        if parts.is_empty() {
            return Err(bad());
        }
        if parts.len() < 2 {
            return Err(format!(
                "illegal version string {}",
                fluvial_template::quote(text)
            ));
        }
        let parts: Vec<u64> = parts
            .iter()
            .map(|part| part.parse().map_err(|_| bad()))
            .collect::<Result<_, _>>()?;
        let normalized: Vec<String> = parts.iter().map(u64::to_string).collect();
        Ok(KubeVersion {
            version: if text.starts_with('v') {
                text.to_owned()
            } else {
                format!("v{text}")
            },
            normalized: format!("v{}", normalized.join(".")),
            major: parts[0].to_string(),
            minor: parts[1].to_string(),
        })
    }

    /// The version that constraints are held against.
    #[must_use]
    pub fn normalized(&self) -> &str {
        &self.normalized
    }
}

/// The cluster and Helm, as `.Capabilities`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The cluster's version.
    pub kube_version: KubeVersion,
    /// Group versions, and `group/version/Kind`s, that the cluster serves.
    pub api_versions: Arc<Vec<String>>,
    /// Helm's own version.
    pub helm_version: String,
}

impl Default for Capabilities {
    fn default() -> Self {
        static BUILT_IN: LazyLock<Arc<Vec<String>>> = LazyLock::new(|| {
            let lines = include_str!("capabilities/api_versions.txt").lines();
            Arc::new(lines.map(str::to_owned).collect())
        });
        Capabilities {
            kube_version: KubeVersion {
                version: DEFAULT_KUBE_VERSION.to_owned(),
                normalized: DEFAULT_KUBE_VERSION.to_owned(),
                major: "1".to_owned(),
                minor: "37".to_owned(),
            },
            api_versions: Arc::clone(&BUILT_IN),
            helm_version: HELM_VERSION.to_owned(),
        }
    }
}

impl Capabilities {
    /// Adds API versions, as `--api-versions` does.
    pub fn add_api_versions(&mut self, versions: impl IntoIterator<Item = String>) {
        let mut versions = versions.into_iter().peekable();
        if versions.peek().is_some() {
            Arc::make_mut(&mut self.api_versions).extend(versions);
        }
    }

    pub(crate) fn value(&self) -> Value {
        Value::Object(Rc::new(CapabilitiesObject {
            kube: Value::Object(Rc::new(KubeVersionObject {
                version: self.kube_version.clone(),
                in_place: true,
            })),
            apis: List::strings(self.api_versions.iter().map(String::as_str))
                .with_object(Rc::new(VersionSet(self.api_versions.iter().cloned().collect())))
                .into(),
            helm: Value::Object(Rc::new(BuildInfo(self.helm_version.clone()))),
        }))
    }
}

struct CapabilitiesObject {
    kube: Value,
    apis: Value,
    helm: Value,
}

impl Object for CapabilitiesObject {
    fn type_name(&self) -> String {
        "*common.Capabilities".to_owned()
    }

    fn kind(&self) -> &'static str {
        "ptr"
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "KubeVersion" => Some(self.kube.clone()),
            "APIVersions" => Some(self.apis.clone()),
            "HelmVersion" => Some(self.helm.clone()),
            _ => None,
        }
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct {
            pointer: true,
            fields: vec![
                ("KubeVersion", self.kube.clone()),
                ("APIVersions", self.apis.clone()),
                ("HelmVersion", self.helm.clone()),
            ],
        }
    }

    fn json_fields(&self) -> Option<Vec<(&'static str, Value)>> {
        Some(vec![
            ("KubeVersion", self.kube.clone()),
            ("APIVersions", self.apis.clone()),
            ("HelmVersion", self.helm.clone()),
        ])
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "KubeVersion": self.kube.to_json(),
            "APIVersions": self.apis.to_json(),
            "HelmVersion": self.helm.to_json(),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct KubeVersionObject {
    version: KubeVersion,
    /// Whether it stands where it can be pointed to.
    in_place: bool,
}

impl Object for KubeVersionObject {
    fn type_name(&self) -> String {
        "common.KubeVersion".to_owned()
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Version" => Some(self.version.version.as_str().into()),
            "Major" => Some(self.version.major.as_str().into()),
            "Minor" => Some(self.version.minor.as_str().into()),
            _ => None,
        }
    }

    fn has_unexported(&self, name: &str) -> bool {
        name == "normalizedVersion"
    }

    fn method(&self, name: &str) -> Option<Params> {
        matches!(name, "String" | "GitVersion").then(Params::default)
    }

    fn call(&self, name: &str, _: &[Value]) -> Result<Value, String> {
        Ok(if name == "String" {
            self.version.normalized.as_str().into()
        } else {
            self.version.version.as_str().into()
        })
    }

    fn text_in_place(&self) -> Option<String> {
        self.in_place.then(|| self.version.normalized.clone())
    }

    fn copied(&self) -> Option<Value> {
        let copy = || KubeVersionObject {
            version: self.version.clone(),
            in_place: false,
        };
        self.in_place.then(|| Value::Object(Rc::new(copy())))
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct {
            pointer: false,
            fields: vec![
                ("Version", self.version.version.as_str().into()),
                ("normalizedVersion", self.version.normalized.as_str().into()),
                ("Major", self.version.major.as_str().into()),
                ("Minor", self.version.minor.as_str().into()),
            ],
        }
    }

    fn json_fields(&self) -> Option<Vec<(&'static str, Value)>> {
        Some(vec![
            ("Version", self.version.version.as_str().into()),
            ("Major", self.version.major.as_str().into()),
            ("Minor", self.version.minor.as_str().into()),
        ])
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"Version": self.version.version, "Major": self.version.major, "Minor": self.version.minor})
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct VersionSet(BTreeSet<String>);

impl Object for VersionSet {
    fn type_name(&self) -> String {
        "common.VersionSet".to_owned()
    }

    fn kind(&self) -> &'static str {
        "slice"
    }

    fn field(&self, _: &str) -> Option<Value> {
        None
    }

    fn method(&self, name: &str) -> Option<Params> {
        (name == "Has").then(|| Params::fixed(&[Type::Str]))
    }

    fn call(&self, _: &str, arguments: &[Value]) -> Result<Value, String> {
        let wanted = arguments.first().and_then(Value::as_str).unwrap_or_default();
        Ok(self.0.contains(wanted).into())
    }

    fn underlying(&self) -> Underlying {
        Underlying::Value(Value::Nil)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct BuildInfo(String);

impl BuildInfo {
    fn fields(&self) -> [(&'static str, &'static str, Value); 5] {
        [
            ("Version", "version", self.0.as_str().into()),
            ("GitCommit", "git_commit", "".into()),
            ("GitTreeState", "git_tree_state", "".into()),
            ("GoVersion", "go_version", GO_VERSION.into()),
            ("KubeClientVersion", "kube_client_version", "v1.37".into()),
        ]
    }
}

impl Object for BuildInfo {
    fn type_name(&self) -> String {
        "version.BuildInfo".to_owned()
    }

    fn field(&self, name: &str) -> Option<Value> {
        let mut fields = self.fields().into_iter();
        fields.find(|(go, _, _)| *go == name).map(|(_, _, value)| value)
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct {
            pointer: false,
            fields: self
                .fields()
                .into_iter()
                .map(|(name, _, value)| (name, value))
                .collect(),
        }
    }

    fn json_fields(&self) -> Option<Vec<(&'static str, Value)>> {
        let fields = self.fields().into_iter();
        let shown = fields.filter(|(_, _, value)| value.truth());
        Some(shown.map(|(_, name, value)| (name, value)).collect())
    }

    fn to_json(&self) -> serde_json::Value {
        let fields = self.fields().into_iter();
        let shown = fields.filter(|(_, _, value)| value.truth());
        shown
            .map(|(_, name, value)| (name.to_owned(), value.to_json()))
            .collect()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

//! The cluster that an object's resources live in: ours, or the one that `spec.kubeConfig` names. For all kinds that
//! have this field.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fluvial_api::meta::KubeConfig;
use fluvial_ports::{Cluster, ClusterError, ErrorKind, Remote, Resource, Target, Token};
use fluvial_tree::Digest;
use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::context::Context;

/// How long before its end a token is replaced.
const MARGIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// Why there is no client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteError {
    /// What the spec refers to is not there. When the object is being deleted, nobody can delete its resources then.
    Missing(String),
    /// It is there and can never work.
    Unusable(String),
    /// Try again.
    Failed(String),
}

impl RemoteError {
    /// Text.
    pub fn message(&self) -> &str {
        match self {
            RemoteError::Missing(text) | RemoteError::Unusable(text) | RemoteError::Failed(text) => text,
        }
    }
}

/// Which cluster an object's resources live in, as far as its spec tells: objects of the same place can want the same.
pub type Place = Option<Arc<str>>;

/// The place of an object.
pub fn place(namespace: &str, kube_config: Option<&KubeConfig>) -> Place {
    let kube_config = kube_config?;
    let text = match (&kube_config.secret_ref, &kube_config.config_map_ref) {
        (Some(secret), _) => {
            let key = secret.key.as_deref().unwrap_or_default();
            format!("Secret/{namespace}/{}/{key}", secret.name)
        }
        (None, Some(map)) => format!("ConfigMap/{namespace}/{}", map.name),
        (None, None) => "nowhere".to_owned(),
    };
    Some(text.into())
}

/// Tokens that were issued for other clusters.
#[derive(Debug, Default)]
pub struct Tokens(tokio::sync::Mutex<FxHashMap<Digest, Token>>);

/// The cluster that an object's resources live in, seen by the identity of this process there.
///
/// # Errors
/// The Secret or ConfigMap is not there, or no client can be made of it.
pub async fn cluster(
    context: &Context,
    namespace: &str,
    kube_config: Option<&KubeConfig>,
) -> Result<Arc<dyn Cluster>, RemoteError> {
    let Some(kube_config) = kube_config else {
        return Ok(Arc::clone(&context.cluster));
    };
    let remote = match (&kube_config.secret_ref, &kube_config.config_map_ref) {
        (Some(secret), None) => of_secret(context, namespace, &secret.name, secret.key.as_deref()).await?,
        (None, Some(map)) => of_config_map(context, namespace, &map.name).await?,
        _ => {
            return Err(RemoteError::Unusable(
                "exactly one of spec.kubeConfig.secretRef or spec.kubeConfig.configMapRef must be set"
                    .to_owned(),
            ));
        }
    };
    context
        .remotes
        .cluster(&remote)
        .await
        .map_err(|error| match error.kind {
            ErrorKind::Invalid | ErrorKind::Other => RemoteError::Unusable(error.message),
            _ => RemoteError::Failed(error.message),
        })
}

/// Whether what a kubeConfig refers to is there: without it nothing can be deleted in the other cluster.
///
/// # Errors
/// It cannot be read.
pub async fn exists(
    context: &Context,
    namespace: &str,
    kube_config: &KubeConfig,
) -> Result<bool, ClusterError> {
    let (kind, name) = match (&kube_config.secret_ref, &kube_config.config_map_ref) {
        (Some(secret), _) => ("Secret", &secret.name),
        (None, Some(map)) => ("ConfigMap", &map.name),
        (None, None) => return Ok(false),
    };
    Ok(read(context, kind, namespace, name).await?.is_some())
}

/// Reads a ConfigMap or Secret as this process.
pub(crate) async fn read(
    context: &Context,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, ClusterError> {
    let resource = Resource::core(kind);
    let target = Target {
        resource: &resource,
        namespace,
        name,
    };
    context.cluster.get(target).await
}

/// The entries of a Secret. What is no base64 is none of its entries: the server takes no such object.
pub(crate) fn entries(secret: &Value) -> BTreeMap<String, Vec<u8>> {
    let data = secret.get("data").and_then(Value::as_object);
    data.into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), STANDARD.decode(value.as_str()?).ok()?)))
        .collect()
}

async fn of_secret(
    context: &Context,
    namespace: &str,
    name: &str,
    key: Option<&str>,
) -> Result<Remote, RemoteError> {
    let unread = |error: &dyn std::fmt::Display| {
        format!("unable to read KubeConfig secret '{namespace}/{name}' error: {error}")
    };
    let secret = read(context, "Secret", namespace, name)
        .await
        .map_err(|error| RemoteError::Failed(unread(&error)))?
        .ok_or_else(|| RemoteError::Missing(unread(&format!("secrets \"{name}\" not found"))))?;
    let mut entries = entries(&secret);
    let wanted: &[&str] = match &key {
        Some(key) if !key.is_empty() => &[*key],
        _ => &["value", "value.yaml"],
    };
    let found = wanted
        .iter()
        .find_map(|key| entries.remove(*key).filter(|data| !data.is_empty()));
    let data = found.ok_or_else(|| {
        let names: Vec<String> = wanted.iter().map(|key| format!("'{key}'")).collect();
        RemoteError::Unusable(format!(
            "KubeConfig secret '{namespace}/{name}' does not contain a {} key with data",
            names.join(" nor ")
        ))
    })?;
    Ok(Remote::Kubeconfig(data.into()))
}

async fn of_config_map(context: &Context, namespace: &str, name: &str) -> Result<Remote, RemoteError> {
    let unread = |error: &dyn std::fmt::Display| {
        format!("unable to read KubeConfig configmap '{namespace}/{name}' error: {error}")
    };
    let map = read(context, "ConfigMap", namespace, name)
        .await
        .map_err(|error| RemoteError::Failed(unread(&error)))?
        .ok_or_else(|| RemoteError::Missing(unread(&format!("configmaps \"{name}\" not found"))))?;
    let field = |field: &str| {
        let text = map
            .get("data")
            .and_then(|data| data.get(field))
            .and_then(Value::as_str);
        text.filter(|text| !text.trim().is_empty())
    };
    let unusable =
        |text: String| RemoteError::Unusable(format!("KubeConfig configmap '{namespace}/{name}': {text}"));
    match field("provider") {
        Some("generic") => {}
        Some(provider @ ("aws" | "azure" | "gcp")) => {
            return Err(unusable(format!(
                "signing in to a cluster of provider '{provider}' is not supported; use provider 'generic', whose \
                 cluster trusts the tokens of this one, or a kubeconfig in a Secret (spec.kubeConfig.secretRef)"
            )));
        }
        Some(other) => return Err(unusable(format!("unknown provider '{other}'"))),
        None => return Err(unusable("it has no entry 'provider'".to_owned())),
    }
    let address = field("address").ok_or_else(|| unusable("it has no entry 'address'".to_owned()))?;
    let account = field("serviceAccountName").ok_or_else(|| {
        unusable(
            "it has no entry 'serviceAccountName', whose token the other cluster would accept".to_owned(),
        )
    })?;
    let audiences = match field("audiences") {
        Some(text) => audiences(text),
        None => vec![address.to_owned()],
    };
    let token = token(context, namespace, account, &audiences).await?;
    Ok(Remote::Token {
        address: address.trim().to_owned(),
        ca: field("ca.crt").map(str::to_owned),
        token: token.text,
    })
}

/// A list in YAML, or one a line.
fn audiences(text: &str) -> Vec<String> {
    if let Ok(Value::Array(items)) = fluvial_yaml::yaml_to_json(text, false) {
        return items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
    }
    text.split_whitespace().map(str::to_owned).collect()
}

/// A token of a service account that is good for a while yet.
async fn token(
    context: &Context,
    namespace: &str,
    account: &str,
    audiences: &[String],
) -> Result<Token, RemoteError> {
    let id = Digest::of(format!("{namespace}\n{account}\n{}", audiences.join("\n")).as_bytes());
    let now = context.clock.now();
    let mut tokens = context.tokens.0.lock().await;
    tokens.retain(|_, token| token.expires > now + MARGIN);
    if let Some(token) = tokens.get(&id) {
        return Ok(token.clone());
    }
    let issued = context.cluster.token((namespace, account), audiences).await;
    let token = issued.map_err(|error| {
        let text = format!("no token for the service account '{namespace}/{account}': {error}");
        match error.kind {
            ErrorKind::NotFound => RemoteError::Missing(text),
            _ => RemoteError::Failed(text),
        }
    })?;
    tokens.insert(id, token.clone());
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_are_a_list_or_lines() {
        assert_eq!(audiences("- a\n- b\n"), ["a", "b"]);
        assert_eq!(audiences("a\nb"), ["a", "b"]);
        assert_eq!(audiences("https://k"), ["https://k"]);
    }

    #[test]
    fn places_differ_by_what_they_are_read_from() {
        let of = |json: Value| {
            let kube_config: KubeConfig = serde_json::from_value(json).unwrap();
            place("ns", Some(&kube_config))
        };
        let one = of(serde_json::json!({"secretRef": {"name": "a"}}));
        assert_eq!(place("ns", None), None);
        assert_eq!(one, of(serde_json::json!({"secretRef": {"name": "a"}})));
        assert_ne!(one, of(serde_json::json!({"secretRef": {"name": "b"}})));
        assert_ne!(one, of(serde_json::json!({"configMapRef": {"name": "a"}})));
    }
}

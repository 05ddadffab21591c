//! The Secrets and service accounts that sources name.

use std::sync::Arc;

use fluvial_ports::{Account, Resource, SecretData, Target};
use serde_json::Value;

use super::step::Failure;
use crate::context::Context;
use crate::writer::config_data;

/// Reason for credentials that cannot be had.
pub(crate) const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";

async fn read(
    context: &Context,
    resource: Resource,
    namespace: &str,
    name: &str,
    field: &str,
) -> Result<Value, Failure> {
    let target = Target {
        resource: &resource,
        namespace,
        name,
    };
    let kind = &resource.kind;
    let failed = |text: String| Failure::fetch(AUTHENTICATION_FAILED, text);
    let found = context.cluster.get(target).await;
    found
        .map_err(|error| {
            failed(format!(
                "cannot read {kind} '{namespace}/{name}' of {field}: {error}"
            ))
        })?
        .ok_or_else(|| {
            failed(format!(
                "{kind} '{namespace}/{name}' of {field} not found; create it or correct the reference"
            ))
        })
}

/// The data of a Secret.
///
/// # Errors
/// If it is not there or cannot be read; names it and the field.
pub async fn secret(
    context: &Context,
    namespace: &str,
    name: &str,
    field: &str,
) -> Result<SecretData, Failure> {
    let secret = read(context, Resource::core("Secret"), namespace, name, field).await?;
    config_data(&secret).map_err(|error| {
        Failure::fetch(
            AUTHENTICATION_FAILED,
            format!("Secret '{namespace}/{name}' of {field}: {error}"),
        )
    })
}

/// The data of a Secret, if one is named.
///
/// # Errors
/// If one is named and cannot be read.
pub async fn optional(
    context: &Context,
    namespace: &str,
    reference: Option<&fluvial_api::meta::LocalReference>,
    field: &str,
) -> Result<Option<SecretData>, Failure> {
    match reference {
        Some(reference) => Ok(Some(secret(context, namespace, &reference.name, field).await?)),
        None => Ok(None),
    }
}

/// The data of the pull Secrets of a service account.
///
/// # Errors
/// If the account or one of its Secrets cannot be read.
pub async fn pull_secrets(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Vec<SecretData>, Failure> {
    let field = "spec.serviceAccountName";
    let account = read(context, Resource::core("ServiceAccount"), namespace, name, field).await?;
    let names = account.get("imagePullSecrets").and_then(Value::as_array);
    let mut all = Vec::new();
    for reference in names.into_iter().flatten() {
        let Some(name) = reference.get("name").and_then(Value::as_str) else {
            continue;
        };
        let field = "imagePullSecrets of the service account";
        all.push(secret(context, namespace, name, field).await?);
    }
    Ok(all)
}

/// The service account whose identity a cloud is asked with, if one is named.
///
/// # Errors
/// If one is named and cannot be read.
pub async fn account(
    context: &Context,
    namespace: &str,
    name: Option<&str>,
) -> Result<Option<Account>, Failure> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let resource = Resource::core("ServiceAccount");
    let account = read(context, resource, namespace, name, "spec.serviceAccountName").await?;
    let annotations = account
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    Ok(Some(Account {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        annotations: annotations
            .map(|all| all.iter().filter_map(text).collect())
            .unwrap_or_default(),
        cluster: Arc::clone(&context.cluster),
    }))
}

//! How the commands sign in to registries: by option, with a cloud's identity, or as docker does.

use std::path::PathBuf;

use fluvial_ports::{Access, Provider, SecretData};
use serde_json::{Value, json};

use crate::commands::create::source::oci_provider;
use crate::environment::{Failure, Session};
use crate::registry::Address;

/// Options of every command that asks a registry.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Login {
    /// Login for the registry, as USER:PASSWORD or a token
    #[arg(long, value_name = "LOGIN", default_value = "", hide_default_value = true)]
    creds: String,
    /// Whose registry it is: generic, aws, azure or gcp
    #[arg(long, value_name = "PROVIDER", default_value = "generic", value_parser = oci_provider)]
    provider: String,
}

impl Login {
    /// With which rights a registry is asked.
    pub(super) fn access(
        &self,
        session: &mut Session<'_>,
        address: &Address,
        insecure: bool,
    ) -> Result<Access, Failure> {
        let provider = match self.provider.as_str() {
            "aws" => Provider::Aws,
            "azure" => Provider::Azure,
            "gcp" => Provider::Gcp,
            _ => Provider::Generic,
        };
        let credentials = if provider != Provider::Generic {
            session.action("logging in to registry with provider credentials");
            None
        } else if self.creds.is_empty() {
            docker(session, address)?
        } else {
            session.action("logging in to registry with credentials");
            Some(given(&self.creds, address))
        };
        Ok(Access {
            credentials,
            insecure,
            provider,
            timeout: session.global.timeout,
            ..Access::default()
        })
    }
}

fn config(value: &Value) -> SecretData {
    SecretData::from([(".dockerconfigjson".to_owned(), value.to_string().into_bytes())])
}

/// User and password, or a token if there is no colon.
fn given(creds: &str, address: &Address) -> SecretData {
    let host = address.repository.split('/').next().unwrap_or_default();
    let login = match creds.split_once(':') {
        Some((user, password)) => json!({"username": user, "password": password}),
        None => json!({"registrytoken": creds}),
    };
    config(&json!({"auths": {host: login}}))
}

/// The configuration of docker for this user, if there is one.
fn docker(session: &mut Session<'_>, address: &Address) -> Result<Option<SecretData>, Failure> {
    let variable = |name: &str| {
        let value = session.env.variables.get(name);
        value.filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let folder = variable("DOCKER_CONFIG").or_else(|| Some(variable("HOME")?.join(".docker")));
    let Some(path) = folder.map(|folder| folder.join("config.json")) else {
        return Ok(None);
    };
    let data = match std::fs::read(&path) {
        Ok(data) => data,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::new(format!("{}: {error}", path.display()))),
    };
    // The text of the error could quote a password.
    let value: Value = serde_json::from_slice(&data)
        .map_err(|_| Failure::new(format!("{}: it is no JSON", path.display())))?;
    let host = address.repository.split('/').next().unwrap_or_default();
    let helper = value
        .pointer("/credHelpers")
        .and_then(|helpers| helpers.get(host));
    let store = value.get("credsStore").and_then(Value::as_str);
    let has_login = |login: &Value| login.as_object().is_some_and(|login| !login.is_empty());
    let known = value
        .pointer("/auths")
        .and_then(|auths| auths.get(host))
        .is_some_and(has_login);
    if !known && (helper.is_some() || store.is_some_and(|store| !store.is_empty())) {
        session.warning(&format!(
            "{}: the login for {host} is kept by a helper program, which is not run; give it with --creds",
            path.display()
        ));
    }
    let auths = value
        .get("auths")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let auths: serde_json::Map<String, Value> =
        auths.into_iter().filter(|(_, login)| has_login(login)).collect();
    Ok((!auths.is_empty()).then(|| config(&json!({"auths": auths}))))
}

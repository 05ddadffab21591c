//! Docker's `config.json` as Secrets of type `kubernetes.io/dockerconfigjson` hold it: which login a registry gets.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;

use super::{Basic, Secret, SecretData, refuse};
use crate::error::SourceError;

/// Largest configuration that is read.
const MAX_SIZE: usize = 1 << 20;
/// Key of the present form.
const JSON_KEY: &str = ".dockerconfigjson";
/// Key of the first form, which is the list of logins alone.
const OLD_KEY: &str = ".dockercfg";

/// Logins by registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DockerConfig {
    logins: BTreeMap<String, RegistryLogin>,
}

/// How to sign in to a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum RegistryLogin {
    Basic(Basic),
    /// Given to the token server as a refresh token.
    Identity(Secret),
    /// Sent as it is.
    Registry(Secret),
}

/// The login that a registry gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login<'a> {
    /// User and password.
    Basic(&'a Basic),
    /// A refresh token for the token server (`identitytoken`).
    Identity(&'a Secret),
    /// A bearer token for the registry (`registrytoken`).
    Registry(&'a Secret),
}

impl DockerConfig {
    /// Reads the data of a Secret.
    ///
    /// # Errors
    /// If it holds no such configuration or a broken one.
    pub fn from_secret(data: &SecretData) -> Result<Self, SourceError> {
        if let Some(text) = data.get(JSON_KEY) {
            return Self::parse(text);
        }
        if let Some(text) = data.get(OLD_KEY) {
            return Self::read(&json(text, OLD_KEY)?, OLD_KEY);
        }
        Err(refuse(format!(
            "the secret has no '{JSON_KEY}'; make one of type kubernetes.io/dockerconfigjson \
             (kubectl create secret docker-registry)"
        )))
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// If it is no JSON, or a login in it cannot be understood.
    pub fn parse(text: &[u8]) -> Result<Self, SourceError> {
        let value = json(text, JSON_KEY)?;
        match value.get("auths") {
            Some(auths) => Self::read(auths, "auths"),
            None => Ok(DockerConfig::default()),
        }
    }

    fn read(auths: &Value, place: &str) -> Result<Self, SourceError> {
        let auths = auths
            .as_object()
            .ok_or_else(|| refuse(format!("'{place}' of the docker configuration is no mapping")))?;
        let mut logins = BTreeMap::new();
        for (registry, entry) in auths {
            if let Some(login) = login(registry, entry)? {
                logins.insert(normal(registry), login);
            }
        }
        Ok(DockerConfig { logins })
    }

    /// Adds the logins of another configuration for registries that this one does not know.
    pub fn add(&mut self, other: DockerConfig) {
        for (registry, login) in other.logins {
            self.logins.entry(registry).or_insert(login);
        }
    }

    /// Whether there is no login at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logins.is_empty()
    }

    /// The login for `repository` (`registry/path`, without tag): that of the longest entry that it lies in. `*` in an
    /// entry's host stands for one or a part of one label.
    #[must_use]
    pub fn login(&self, repository: &str) -> Option<Login<'_>> {
        let wanted = normal(repository);
        let (host, path) = split(&wanted);
        self.logins
            .iter()
            .filter(|(entry, _)| {
                let (entry_host, entry_path) = split(entry);
                host_matches(entry_host, host)
                    && path
                        .strip_prefix(entry_path)
                        .is_some_and(|rest| entry_path.is_empty() || rest.is_empty() || rest.starts_with('/'))
            })
            .max_by_key(|(entry, _)| (split(entry).1.len(), !entry.contains('*'), entry.len()))
            .map(|(_, login)| match login {
                RegistryLogin::Basic(basic) => Login::Basic(basic),
                RegistryLogin::Identity(token) => Login::Identity(token),
                RegistryLogin::Registry(token) => Login::Registry(token),
            })
    }
}

fn json(text: &[u8], place: &str) -> Result<Value, SourceError> {
    if text.len() > MAX_SIZE {
        return Err(refuse(format!(
            "'{place}' of the secret has more than {MAX_SIZE} bytes"
        )));
    }
    // The parser's message could quote what it read: it is a secret, so only the place is told.
    serde_json::from_slice(text).map_err(|error| {
        refuse(format!(
            "'{place}' of the secret is no JSON (line {}, column {}); make it with kubectl create secret docker-registry",
            error.line(),
            error.column()
        ))
    })
}

fn login(registry: &str, entry: &Value) -> Result<Option<RegistryLogin>, SourceError> {
    let invalid = |what: &str| {
        refuse(format!(
            "login of '{registry}' in the docker configuration: {what}"
        ))
    };
    let field = |name: &str| -> Result<&str, SourceError> {
        match entry.get(name) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(invalid(&format!("'{name}' is no text"))),
        }
    };
    let identity = field("identitytoken")?;
    if !identity.is_empty() {
        return Ok(Some(RegistryLogin::Identity(Secret::new(identity))));
    }
    let token = field("registrytoken")?;
    if !token.is_empty() {
        return Ok(Some(RegistryLogin::Registry(Secret::new(token))));
    }
    let auth = field("auth")?;
    if !auth.is_empty() {
        let decoded = STANDARD
            .decode(auth.trim())
            .or_else(|_| STANDARD_NO_PAD.decode(auth.trim()))
            .map_err(|_| invalid("'auth' is not base64"))?;
        let decoded = String::from_utf8(decoded).map_err(|_| invalid("'auth' is no text"))?;
        let (username, password) = decoded
            .split_once(':')
            .ok_or_else(|| invalid("'auth' is not base64 of user:password"))?;
        return Ok(Some(RegistryLogin::Basic(Basic {
            username: username.to_owned(),
            password: Secret::new(password.trim_end_matches('\0')),
        })));
    }
    let (username, password) = (field("username")?, field("password")?);
    Ok((!username.is_empty() || !password.is_empty()).then(|| {
        RegistryLogin::Basic(Basic {
            username: username.to_owned(),
            password: Secret::new(password),
        })
    }))
}

/// `host/path` without scheme, API version and trailing slash; Docker Hub under one name.
fn normal(registry: &str) -> String {
    let rest = registry.split_once("://").map_or(registry, |(_, rest)| rest);
    let rest = rest.trim_end_matches('/');
    let rest = rest
        .strip_suffix("/v1")
        .or_else(|| rest.strip_suffix("/v2"))
        .unwrap_or(rest);
    let (host, path) = split(rest);
    let host = host.to_ascii_lowercase();
    let host = match host.as_str() {
        "docker.io" | "registry-1.docker.io" => "index.docker.io",
        host => host,
    };
    format!("{host}{path}")
}

/// Host, and path with its slash.
fn split(registry: &str) -> (&str, &str) {
    registry.split_at(registry.find('/').unwrap_or(registry.len()))
}

/// Whether a host is one that a pattern with `*` inside labels means.
fn host_matches(pattern: &str, host: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == host;
    }
    let (pattern, host): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern.len() == host.len()
        && pattern
            .iter()
            .zip(host)
            .all(|(pattern, label)| label_matches(pattern, label))
}

fn label_matches(pattern: &str, label: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = label.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::super::tests::data;
    use super::*;

    fn user<'a>(config: &'a DockerConfig, repository: &str) -> Option<&'a str> {
        match config.login(repository)? {
            Login::Basic(basic) => Some(basic.username.as_str()),
            Login::Identity(_) => Some("<identity>"),
            Login::Registry(_) => Some("<registry>"),
        }
    }

    #[test]
    fn the_longest_fitting_entry_gives_the_login() {
        let auth = STANDARD.encode("hub:p:w");
        let config = DockerConfig::parse(
            format!(
                r#"{{"auths": {{
                "https://index.docker.io/v1/": {{"auth": "{auth}"}},
                "ghcr.io": {{"username": "all", "password": "x"}},
                "ghcr.io/org": {{"username": "org", "password": "x"}},
                "*.dkr.example.com": {{"identitytoken": "t"}},
                "https://r.example.com:5000/v2/": {{"registrytoken": "t"}},
                "empty.example.com": {{}}}}, "credsStore": "x"}}"#
            )
            .as_bytes(),
        )
        .unwrap();
        assert_eq!(user(&config, "docker.io/library/nginx"), Some("hub"));
        let Some(Login::Basic(hub)) = config.login("index.docker.io/x") else {
            panic!()
        };
        assert_eq!(hub.password.expose(), b"p:w");
        assert_eq!(user(&config, "ghcr.io/organisation/x"), Some("all"));
        assert_eq!(user(&config, "ghcr.io/org/x"), Some("org"));
        assert_eq!(user(&config, "GHCR.io/org"), Some("org"));
        assert_eq!(user(&config, "1.dkr.example.com/x"), Some("<identity>"));
        assert_eq!(user(&config, "a.b.dkr.example.com/x"), None);
        assert_eq!(user(&config, "r.example.com:5000/x"), Some("<registry>"));
        assert_eq!(user(&config, "r.example.com/x"), None);
        assert_eq!(user(&config, "empty.example.com/x"), None);
    }

    #[test]
    fn broken_configurations_are_refused_without_their_content() {
        for text in [
            "hunter2",
            r#"{"auths": "hunter2"}"#,
            r#"{"auths": {"x": {"auth": "hunter2!"}}}"#,
            r#"{"auths": {"x": {"auth": "aHVudGVyMg=="}}}"#,
            r#"{"auths": {"x": {"username": 5}}}"#,
        ] {
            let error = DockerConfig::parse(text.as_bytes()).unwrap_err();
            assert!(!error.message.contains("hunter2"), "{error}");
        }
        let error = DockerConfig::from_secret(&data(&[("username", "x")])).unwrap_err();
        assert!(error.message.contains(JSON_KEY));
        let old = data(&[(OLD_KEY, r#"{"r.io": {"username": "u", "password": "p"}}"#)]);
        assert_eq!(
            user(&DockerConfig::from_secret(&old).unwrap(), "r.io/x"),
            Some("u")
        );
    }
}

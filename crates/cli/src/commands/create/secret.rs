//! `create secret`: Secrets in the forms that Flux reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgMatches, Args, Command};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::credentials::{self, authorities, read, texts, tls};
use super::{Call, apply, demand, given, named, notify, parse};
use crate::command;
use crate::environment::{Failure, Outcome};
use crate::state;

/// Options of `create secret git`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Git {
    /// Address of the repository
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// User for basic authentication
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password for basic authentication, or passphrase of the private key
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Token in place of user and password
    #[arg(long, value_name = "TOKEN")]
    bearer_token: Option<String>,
    /// File with the certificates that the server's is held against
    #[arg(long, visible_alias = "ca-file", value_name = "FILE")]
    ca_crt_file: Option<String>,
    #[command(flatten)]
    ssh: credentials::SshOptions,
}

/// Options of `create secret githubapp`.
#[derive(Clone, Debug, Default, clap::Args)]
struct GithubApp {
    /// Id of the app
    #[arg(long, value_name = "ID")]
    app_id: Option<String>,
    /// Owner of the installation
    #[arg(long, value_name = "NAME")]
    app_installation_owner: Option<String>,
    /// Id of the installation
    #[arg(long, value_name = "ID")]
    app_installation_id: Option<String>,
    /// File with the app's private key
    #[arg(long, value_name = "FILE")]
    app_private_key: Option<String>,
    /// Address of the API of a GitHub Enterprise server
    #[arg(long, value_name = "URL")]
    app_base_url: Option<String>,
}

/// Options of `create secret helm` and `create secret tls`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Pair {
    /// File with the client's certificate
    #[arg(long, value_name = "FILE")]
    tls_crt_file: Option<String>,
    /// File with the client's key
    #[arg(long, value_name = "FILE")]
    tls_key_file: Option<String>,
    /// File with the certificates that the server's is held against
    #[arg(long, value_name = "FILE")]
    ca_crt_file: Option<String>,
}

/// Options of secrets with a user and a password.
#[derive(Clone, Debug, Default, clap::Args)]
struct User {
    /// User
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
}

/// Options of `create secret notation`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Notation {
    /// File with the trust policy
    #[arg(long, value_name = "FILE")]
    trust_policy_file: Option<String>,
    /// Files with the certificates of authorities
    #[arg(long, value_name = "FILES", value_delimiter = ',')]
    ca_cert_file: Vec<String>,
}

/// Options of `create secret oci`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Oci {
    /// Host of the registry, or an image in it
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    user: User,
}

/// Options of `create secret proxy`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Proxy {
    /// Address of the proxy
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    #[command(flatten)]
    user: User,
}

/// Options of `create secret receiver`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Receiver {
    /// Kind of service that calls
    #[arg(long = "type", value_name = "TYPE", value_parser = notify::receiver_type)]
    kind: Option<String>,
    /// Token [default: a random one]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Host under which the service reaches the receiver
    #[arg(long, value_name = "HOST")]
    hostname: Option<String>,
    /// The caller's e-mail address (gcr)
    #[arg(long, value_name = "EMAIL")]
    email_claim: Option<String>,
    /// The token's audience (gcr) [default: the receiver's address]
    #[arg(long, value_name = "URL")]
    audience_claim: Option<String>,
}

/// The subcommands.
pub(super) fn command() -> Command {
    let leaf = |command: Command, about: &'static str| named(command, about);
    Command::new("secret")
        .about("Create or update Secrets in the forms that Flux reads")
        .subcommand(leaf(
            Git::augment_args(Command::new("git")),
            "Credentials for Git over https or ssh",
        ))
        .subcommand(leaf(
            GithubApp::augment_args(Command::new("githubapp")),
            "Credentials of a GitHub app",
        ))
        .subcommand(leaf(
            User::augment_args(Pair::augment_args(Command::new("helm"))),
            "Credentials for a repository of charts",
        ))
        .subcommand(leaf(
            Notation::augment_args(Command::new("notation")),
            "What Notation's signatures are held against",
        ))
        .subcommand(leaf(
            Oci::augment_args(Command::new("oci")),
            "Credentials for a registry",
        ))
        .subcommand(leaf(
            Proxy::augment_args(Command::new("proxy")),
            "Address and credentials of a proxy",
        ))
        .subcommand(leaf(
            Receiver::augment_args(Command::new("receiver")),
            "Token of a Receiver",
        ))
        .subcommand(leaf(
            Pair::augment_args(Command::new("tls")),
            "Certificates and key for TLS",
        ))
}

/// Creates a Secret.
pub(super) async fn run(call: &mut Call<'_, '_>, kind: &str, matches: &ArgMatches) -> Outcome {
    let made = match kind {
        "git" => git(call, &command::options(matches)).await?,
        "githubapp" => github_app(call, &command::options(matches))?,
        "helm" => helm(call, &command::options(matches), &command::options(matches))?,
        "notation" => notation(call, &command::options(matches))?,
        "oci" => oci(&command::options(matches))?,
        "proxy" => proxy(&command::options(matches))?,
        "receiver" => receiver(call, &command::options(matches))?,
        _ => {
            let pair: Pair = command::options(matches);
            let data = tls(
                call,
                pair.tls_crt_file.as_ref(),
                pair.tls_key_file.as_ref(),
                pair.ca_crt_file.as_ref(),
            )?;
            demand(
                !data.is_empty(),
                "no certificates were named: use --ca-crt-file, or --tls-crt-file and --tls-key-file",
            )?;
            Made::of(tls_type(&data), data)
        }
    };
    let mut secret = credentials::secret(call, made.data)?;
    if let Some(webhook) = made.webhook {
        secret["metadata"]["annotations"] = json!({"notification.toolkit.fluxcd.io/webhook": webhook});
    }
    if let Some(kind) = made.kind {
        secret["type"] = kind.into();
    }
    if call.common.export {
        call.print(&secret)?;
        // flux ends all but one of them with an empty line.
        return if kind == "tls" {
            Ok(())
        } else {
            call.session.print("\n")
        };
    }
    if let Some(public) = state::text(&secret, &["stringData", "identity.pub"]) {
        call.session.addition(&format!("deploy key: {public}"));
    }
    let cluster = call.session.cluster().await?;
    apply(cluster.as_ref(), &secret).await?;
    let what = if kind == "notation" {
        "notation configuration"
    } else {
        kind
    };
    let (name, namespace) = (call.name.clone(), call.namespace());
    call.session.action(&format!(
        "{what} secret '{name}' created in '{namespace}' namespace"
    ));
    Ok(())
}

/// What goes into a Secret.
#[derive(Default)]
struct Made {
    kind: Option<&'static str>,
    data: Map<String, Value>,
    webhook: Option<String>,
}

impl Made {
    fn of(kind: Option<&'static str>, data: Map<String, Value>) -> Self {
        Made {
            kind,
            data,
            webhook: None,
        }
    }
}

const OPAQUE: Option<&str> = Some("Opaque");

/// The type of a Secret with such fields.
fn tls_type(data: &Map<String, Value>) -> Option<&'static str> {
    if data.contains_key("tls.crt") {
        Some("kubernetes.io/tls")
    } else {
        OPAQUE
    }
}

async fn git(call: &Call<'_, '_>, options: &Git) -> Result<Made, Failure> {
    let url = options.url.as_deref().unwrap_or_default();
    demand(!url.is_empty(), "url is required")?;
    let scheme = parse::scheme(url).map_err(Failure::new)?;
    match scheme.as_str() {
        "http" | "https" => {}
        "ssh" => {
            let data = credentials::ssh(call, url, &options.ssh, options.password.as_ref()).await?;
            return Ok(Made::of(None, data));
        }
        scheme => {
            return Err(Failure::new(format!(
                "git URL scheme '{scheme}' not supported, can be: ssh, http and https"
            )));
        }
    }
    let user = given(options.username.as_ref()) && given(options.password.as_ref());
    let token = given(options.bearer_token.as_ref());
    demand(
        user || token,
        "for Git over HTTP/S the username and password, or a bearer token is required",
    )?;
    demand(
        !(token && (given(options.username.as_ref()) || given(options.password.as_ref()))),
        "user credentials and bearer token cannot be used together",
    )?;
    let mut data = texts(&[
        ("username", options.username.as_ref()),
        ("password", options.password.as_ref()),
        ("bearerToken", options.bearer_token.as_ref()),
    ]);
    authorities(call, options.ca_crt_file.as_ref(), &mut data)?;
    Ok(Made::of(None, data))
}

fn github_app(call: &Call<'_, '_>, options: &GithubApp) -> Result<Made, Failure> {
    let key = read(
        call,
        options.app_private_key.as_deref().unwrap_or_default(),
        "private key",
    )?;
    demand(given(options.app_id.as_ref()), "githubAppID is required")?;
    let (owner, id) = (&options.app_installation_owner, &options.app_installation_id);
    demand(
        given(owner.as_ref()) != given(id.as_ref()),
        "one of --app-installation-owner and --app-installation-id is required",
    )?;
    demand(!key.is_empty(), "githubAppPrivateKey is required")?;
    let data = texts(&[
        ("githubAppID", options.app_id.as_ref()),
        ("githubAppInstallationOwner", owner.as_ref()),
        ("githubAppInstallationID", id.as_ref()),
        ("githubAppPrivateKey", Some(&key)),
        ("githubAppBaseURL", options.app_base_url.as_ref()),
    ]);
    Ok(Made::of(OPAQUE, data))
}

fn helm(call: &Call<'_, '_>, pair: &Pair, user: &User) -> Result<Made, Failure> {
    let mut data = tls(
        call,
        pair.tls_crt_file.as_ref(),
        pair.tls_key_file.as_ref(),
        pair.ca_crt_file.as_ref(),
    )?;
    let login = texts(&[
        ("username", user.username.as_ref()),
        ("password", user.password.as_ref()),
    ]);
    let kind = match (login.is_empty(), data.is_empty()) {
        (true, true) => None,
        (true, false) => tls_type(&data),
        _ => Some("kubernetes.io/basic-auth"),
    };
    data.extend(login);
    Ok(Made::of(kind, data))
}

fn notation(call: &Call<'_, '_>, options: &Notation) -> Result<Made, Failure> {
    demand(!options.ca_cert_file.is_empty(), "--ca-cert-file is required")?;
    let policy = options.trust_policy_file.as_deref().unwrap_or_default();
    demand(!policy.is_empty(), "--trust-policy-file is required")?;
    let text = read(call, policy, "trust policy")?;
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::new(format!("failed to unmarshal trust policy {policy}: {why}"))
    };
    let document: Value = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    if !document.is_object() {
        let found = match &document {
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            _ => "array",
        };
        return Err(unreadable(&format!(
            "json: cannot unmarshal {found} into Go value of type trustpolicy.Document"
        )));
    }
    check_policy(&document)
        .map_err(|why| Failure::new(format!("invalid trust policy: trust policy: {why}")))?;
    let mut data = Map::new();
    data.insert("trustpolicy.json".to_owned(), text.into());
    for file in &options.ca_cert_file {
        let name = file.rsplit('/').next().unwrap_or(file);
        if !name.ends_with(".crt") && !name.ends_with(".pem") {
            return Err(Failure::new(format!("{name} must end with either .crt or .pem")));
        }
        data.insert(name.to_owned(), read(call, file, "TLS CA")?.into());
    }
    Ok(Made::of(OPAQUE, data))
}

/// What Notation demands of a trust policy.
fn check_policy(document: &Value) -> Result<(), String> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    match text(document, "version").as_str() {
        "" => return Err("trust policy document has empty version, version must be specified".to_owned()),
        "1.0" => {}
        other => {
            return Err(format!(
                "trust policy document uses unsupported version {other:?}"
            ));
        }
    }
    let statements = document["trustPolicies"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if statements.is_empty() {
        return Err("trust policy document can not have zero trust policy statements".to_owned());
    }
    let mut names = std::collections::BTreeSet::new();
    for statement in statements {
        let name = text(statement, "name");
        if name.is_empty() {
            return Err(
                "a trust policy statement is missing a name, every statement requires a name".to_owned(),
            );
        }
        if !names.insert(name.clone()) {
            return Err(format!(
                "multiple trust policy statements use the same name {name:?}, statement names must be unique"
            ));
        }
        let level = text(&statement["signatureVerification"], "level");
        let known = ["strict", "permissive", "audit", "skip"];
        if level.is_empty() {
            return Err(format!(
                "trust policy statement {name:?} has invalid signatureVerification: signature verification level is \
                 empty or missing in the trust policy statement"
            ));
        }
        if !known.contains(&level.as_str()) {
            return Err(format!(
                "trust policy statement {name:?} has invalid signatureVerification: invalid signature verification \
                 level {level:?}"
            ));
        }
        let list = |key: &str| statement[key].as_array().is_some_and(|items| !items.is_empty());
        if !list("registryScopes") {
            return Err(format!(
                "trust policy statement {name:?} has zero registry scopes, it must specify registry scopes with at \
                 least one value"
            ));
        }
        if level != "skip" && !(list("trustStores") && list("trustedIdentities")) {
            return Err(format!(
                "trust policy statement {name:?} is either missing trust stores or trusted identities, both must be \
                 specified"
            ));
        }
    }
    Ok(())
}

fn oci(options: &Oci) -> Result<Made, Failure> {
    let url = options.url.as_deref().unwrap_or_default();
    demand(!url.is_empty(), "--url is required")?;
    demand(given(options.user.username.as_ref()), "--username is required")?;
    demand(given(options.user.password.as_ref()), "--password is required")?;
    if !parse::is_image(url) {
        return Err(Failure::new(format!(
            "error parsing url: 'could not parse reference: {url}'"
        )));
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (username, password) = (text(&options.user.username), text(&options.user.password));
    let auth = STANDARD.encode(format!("{username}:{password}"));
    // In the order that flux writes, which a map would not keep.
    let quoted = |text: &str| Value::from(text).to_string();
    let config = format!(
        "{{\n  \"auths\": {{\n    {}: {{\n      \"username\": {},\n      \"password\": {},\n      \"auth\": {}\n    \
         }}\n  }}\n}}",
        quoted(url),
        quoted(&username),
        quoted(&password),
        quoted(&auth)
    );
    let mut data = Map::new();
    data.insert(".dockerconfigjson".to_owned(), config.into());
    Ok(Made::of(Some("kubernetes.io/dockerconfigjson"), data))
}

fn proxy(options: &Proxy) -> Result<Made, Failure> {
    demand(given(options.address.as_ref()), "address is required")?;
    let data = texts(&[
        ("address", options.address.as_ref()),
        ("username", options.user.username.as_ref()),
        ("password", options.user.password.as_ref()),
    ]);
    Ok(Made::of(OPAQUE, data))
}

fn receiver(call: &Call<'_, '_>, options: &Receiver) -> Result<Made, Failure> {
    let kind = options.kind.as_deref().unwrap_or_default();
    demand(!kind.is_empty(), "--type is required")?;
    let host = options.hostname.as_deref().unwrap_or_default();
    demand(!host.is_empty(), "--hostname is required")?;
    demand(
        kind != "gcr" || given(options.email_claim.as_ref()),
        "--email-claim is required for gcr receiver type",
    )?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let token = match options.token.clone().filter(|token| !token.is_empty()) {
        Some(token) => token,
        None => {
            let mut random = [0; 32];
            let mut ambient =
                call.session.env.outside.ambient().ok_or_else(|| {
                    Failure::new("there is no randomness here: name the token with --token")
                })?;
            ambient.random(&mut random);
            hex(&random)
        }
    };
    let digest = hex(&Sha256::digest(format!(
        "{token}{}{}",
        call.name,
        call.namespace()
    )));
    let webhook = format!("https://{host}/hook/{digest}");
    let mut data = texts(&[("token", Some(&token))]);
    if kind == "gcr" {
        let audience = options.audience_claim.clone().unwrap_or_else(|| webhook.clone());
        data.extend(texts(&[
            ("email", options.email_claim.as_ref()),
            ("audience", Some(&audience)),
        ]));
    }
    Ok(Made {
        webhook: Some(webhook),
        ..Made::of(None, data)
    })
}

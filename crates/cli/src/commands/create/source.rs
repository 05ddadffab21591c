//! `create source`: where things come from.

use clap::{Arg, ArgMatches, Args, Command};
use serde_json::{Value, json};

use super::credentials::{self, Login};
use super::{Call, Spec, Story, apply, demand, given, named, parse};
use crate::command;
use crate::commands::delete::agrees;
use crate::environment::{Failure, Outcome};
use crate::nouns::Noun;
use crate::state::{field, text};

const PROVIDERS: [&str; 4] = ["generic", "aws", "azure", "gcp"];

/// Options of `create source git`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Git {
    /// Address: https://, http:// or ssh://
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Branch
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Tag
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,
    /// Newest tag in a range of versions
    #[arg(long, value_name = "RANGE")]
    tag_semver: Option<String>,
    /// Commit
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,
    /// Any reference, such as refs/pull/1/head
    #[arg(long, value_name = "REF")]
    ref_name: Option<String>,
    /// User for basic authentication
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password for basic authentication
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// File with the certificates that the server's is held against
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    #[command(flatten)]
    ssh: credentials::SshOptions,
    /// Secret with credentials
    #[arg(long, value_name = "NAME")]
    secret_ref: Option<String>,
    /// Secret with a proxy's address and credentials
    #[arg(long, value_name = "NAME")]
    proxy_secret_ref: Option<String>,
    /// Whose repository it is
    #[arg(long, value_name = "PROVIDER", value_parser = git_provider)]
    provider: Option<String>,
    /// Fetch submodules too
    #[arg(long)]
    recurse_submodules: bool,
    /// Files to leave out, in .gitignore's form
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    ignore_paths: Vec<String>,
    /// Folders to fetch, instead of all
    #[arg(long, value_name = "PATHS", value_delimiter = ',')]
    sparse_checkout_paths: Vec<String>,
    /// Do not ask whether the key is known to the server
    #[arg(short, long)]
    silent: bool,
}

/// Options of `create source bucket`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Bucket {
    /// Name of the bucket
    #[arg(long, value_name = "NAME")]
    bucket_name: Option<String>,
    /// Host and port of the service
    #[arg(long, value_name = "HOST")]
    endpoint: Option<String>,
    /// Whose bucket it is
    #[arg(long, value_name = "PROVIDER", default_value = "generic", value_parser = bucket_provider)]
    provider: String,
    /// Region
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Access key
    #[arg(long, value_name = "KEY")]
    access_key: Option<String>,
    /// Secret key
    #[arg(long, value_name = "KEY")]
    secret_key: Option<String>,
    /// Speak plain HTTP
    #[arg(long)]
    insecure: bool,
    /// Secret with credentials
    #[arg(long, value_name = "NAME")]
    secret_ref: Option<String>,
    /// Secret with a proxy's address and credentials
    #[arg(long, value_name = "NAME")]
    proxy_secret_ref: Option<String>,
    /// Files to leave out, in .gitignore's form
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    ignore_paths: Vec<String>,
}

/// Options of `create source helm`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Helm {
    /// Address: https://, http:// or oci://
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// User for basic authentication
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password for basic authentication
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// File with the client's certificate
    #[arg(long, value_name = "FILE")]
    cert_file: Option<String>,
    /// File with the client's key
    #[arg(long, value_name = "FILE")]
    key_file: Option<String>,
    /// File with the certificates that the server's is held against
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    /// Secret with credentials
    #[arg(long, value_name = "NAME")]
    secret_ref: Option<String>,
    /// Whose registry it is (oci://)
    #[arg(long, value_name = "PROVIDER")]
    oci_provider: Option<String>,
    /// Send credentials to all hosts that charts come from
    #[arg(long)]
    pass_credentials: bool,
}

/// Options of `create source chart`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Chart {
    /// Name of the chart, or its path in the source
    #[arg(long, value_name = "CHART")]
    chart: Option<String>,
    /// Version, or a range of versions
    #[arg(long, value_name = "RANGE")]
    chart_version: Option<String>,
    /// Source as KIND/NAME: HelmRepository, GitRepository or Bucket
    #[arg(long, value_name = "SOURCE", value_parser = chart_source)]
    source: Option<String>,
    /// What makes a new artifact: ChartVersion or Revision
    #[arg(long, value_name = "STRATEGY", default_value = "ChartVersion")]
    reconcile_strategy: String,
    /// Who checks signatures
    #[arg(long, value_name = "PROVIDER", value_parser = chart_verifier)]
    verify_provider: Option<String>,
    /// Pattern of the signer's issuer
    #[arg(long, value_name = "PATTERN")]
    verify_issuer: Option<String>,
    /// Pattern of the signer's subject
    #[arg(long, value_name = "PATTERN")]
    verify_subject: Option<String>,
}

/// Options of `create source oci`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Oci {
    /// Address: oci://
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Tag
    #[arg(long, value_name = "NAME")]
    tag: Option<String>,
    /// Newest tag in a range of versions
    #[arg(long, value_name = "RANGE")]
    tag_semver: Option<String>,
    /// Digest
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
    /// Whose registry it is
    #[arg(long, value_name = "PROVIDER", default_value = "generic", value_parser = oci_provider)]
    provider: String,
    /// Layer to take, and how: MEDIA-TYPE:extract or MEDIA-TYPE:copy
    #[arg(long, value_name = "LAYER")]
    layer_selector: Option<String>,
    /// Secret with credentials
    #[arg(long, value_name = "NAME")]
    secret_ref: Option<String>,
    /// Secret with certificates
    #[arg(long, value_name = "NAME")]
    cert_ref: Option<String>,
    /// Secret with a proxy's address and credentials
    #[arg(long, value_name = "NAME")]
    proxy_secret_ref: Option<String>,
    /// Account whose pull secrets are used
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// Speak plain HTTP
    #[arg(long)]
    insecure: bool,
    /// Files to leave out, in .gitignore's form
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    ignore_paths: Vec<String>,
    /// Who checks signatures
    #[arg(long, value_name = "PROVIDER", value_parser = oci_verifier)]
    verify_provider: Option<String>,
    /// Secret with the keys that signatures are held against
    #[arg(long, value_name = "NAME")]
    verify_secret_ref: Option<String>,
    /// Pattern of the signer's issuer
    #[arg(long, value_name = "PATTERN")]
    verify_issuer: Option<String>,
    /// Pattern of the signer's subject
    #[arg(long, value_name = "PATTERN")]
    verify_subject: Option<String>,
}

fn git_provider(text: &str) -> Result<String, String> {
    parse::one_of(
        text,
        &["generic", "github", "aws", "azure"],
        "source Git provider",
    )
}

fn bucket_provider(text: &str) -> Result<String, String> {
    parse::one_of(text, &PROVIDERS, "source bucket provider")
}

pub(crate) fn oci_provider(text: &str) -> Result<String, String> {
    parse::one_of(text, &PROVIDERS, "source OCI provider")
}

fn oci_verifier(text: &str) -> Result<String, String> {
    parse::one_of(text, &["cosign"], "source OCI verify provider")
}

fn chart_verifier(text: &str) -> Result<String, String> {
    parse::one_of(text, &["cosign", "notation"], "source OCI verify provider")
}

fn chart_source(text: &str) -> Result<String, String> {
    let kinds = ["HelmRepository", "GitRepository", "Bucket"];
    parse::source(text, &kinds, None, false).map(|named| format!("{}/{}", named.kind, named.name))
}

/// The subcommands.
pub(super) fn command() -> Command {
    Command::new("source")
        .about("Create or update sources")
        .arg(
            Arg::new("fetch-timeout")
                .long("fetch-timeout")
                .global(true)
                .value_name("DURATION")
                .value_parser(parse::duration)
                .help("How long a fetch may take"),
        )
        .subcommand(named(
            Git::augment_args(Command::new("git")),
            "Create or update a GitRepository",
        ))
        .subcommand(named(
            Bucket::augment_args(Command::new("bucket")),
            "Create or update a Bucket",
        ))
        .subcommand(named(
            Helm::augment_args(Command::new("helm")),
            "Create or update a HelmRepository",
        ))
        .subcommand(named(
            Chart::augment_args(Command::new("chart")),
            "Create or update a HelmChart",
        ))
        .subcommand(named(
            Oci::augment_args(Command::new("oci")),
            "Create or update an OCIRepository",
        ))
}

/// Creates a source.
pub(super) async fn run(call: &mut Call<'_, '_>, kind: &str, matches: &ArgMatches) -> Outcome {
    let timeout = matches
        .try_get_one::<String>("fetch-timeout")
        .ok()
        .flatten()
        .cloned();
    // Nothing, and less, is no limit.
    let timeout = timeout.filter(|timeout| timeout != "0s" && !timeout.starts_with('-'));
    let timeout = timeout.as_deref();
    match kind {
        "git" => git(call, &command::options(matches), timeout).await,
        "bucket" => bucket(call, &command::options(matches), timeout).await,
        "helm" => helm(call, &command::options(matches), timeout).await,
        "chart" => chart(call, &command::options(matches)).await,
        _ => oci(call, &command::options(matches), timeout).await,
    }
}

/// `source reconciliation completed`, and the revision.
fn fetched(noun: &Noun, object: &Value) -> Vec<String> {
    let word = if noun.kind == "OCIRepository" {
        ""
    } else {
        " source"
    };
    let mut lines = vec![format!("{}{word} reconciliation completed", noun.kind)];
    // A registry of charts has no artifact.
    if field(object, &["spec", "type"]) != Some(&Value::from("oci")) {
        let revision = text(object, &["status", "artifact", "revision"]).unwrap_or_default();
        lines.push(format!("fetched revision: {revision}"));
    }
    lines
}

/// Puts a key for Git over ssh on the cluster, once it has been added to the repository; gives the Secret's name.
async fn deploy_key(call: &mut Call<'_, '_>, url: &str, options: &Git) -> Result<String, Failure> {
    let data = credentials::ssh(call, url, &options.ssh, options.password.as_ref()).await?;
    let secret = credentials::secret(call, data)?;
    let field = |name: &str| text(&secret, &["stringData", name]).unwrap_or_default();
    call.session.success(&format!(
        "collected public key from SSH server:\n{}",
        field("known_hosts")
    ));
    call.session
        .addition(&format!("deploy key: {}", field("identity.pub")));
    if !options.silent && !agrees(call.session, "Have you added the deploy key to your repository")? {
        return Err(Failure::new("aborting"));
    }
    call.session.action("applying secret with repository credentials");
    let cluster = call.session.cluster().await?;
    apply(cluster.as_ref(), &secret).await?;
    call.session.success("authentication configured");
    Ok(call.name.clone())
}

async fn git(call: &mut Call<'_, '_>, options: &Git, timeout: Option<&str>) -> Outcome {
    let url = options.url.as_deref().unwrap_or_default();
    demand(!url.is_empty(), "url is required")?;
    let scheme =
        parse::scheme(url).map_err(|error| Failure::new(format!("git URL parse failed: {error}")))?;
    if !["ssh", "http", "https"].contains(&scheme.as_str()) {
        return Err(Failure::new(format!(
            "git URL scheme '{scheme}' not supported, can be: ssh, http and https"
        )));
    }
    let references = [
        &options.branch,
        &options.tag,
        &options.tag_semver,
        &options.commit,
        &options.ref_name,
    ];
    demand(
        references.iter().any(|reference| given(reference.as_ref())),
        "a Git ref is required, use one of the following: --branch, --tag, --commit, --ref-name or --tag-semver",
    )?;
    demand(
        !(given(options.ca_file.as_ref()) && scheme == "ssh"),
        "specifying a CA file is not supported for Git over SSH",
    )?;
    let mut reference = Spec::default();
    if given(options.commit.as_ref()) {
        reference
            .text("commit", options.commit.as_deref())
            .text("branch", options.branch.as_deref());
    } else if given(options.ref_name.as_ref()) {
        reference.text("name", options.ref_name.as_deref());
    } else if given(options.tag_semver.as_ref()) {
        reference.text("semver", options.tag_semver.as_deref());
    } else if given(options.tag.as_ref()) {
        reference.text("tag", options.tag.as_deref());
    } else {
        reference.text("branch", options.branch.as_deref());
    }
    let mut spec = Spec::default();
    spec.put("url", url)
        .put("interval", call.interval.clone())
        .put("ref", reference.value())
        .text("timeout", timeout)
        .text("provider", options.provider.as_deref())
        .text("ignore", parse::lines(&options.ignore_paths).as_deref())
        .flag("recurseSubmodules", options.recurse_submodules)
        .name("secretRef", options.secret_ref.as_deref())
        .name("proxySecretRef", options.proxy_secret_ref.as_deref());
    if !options.sparse_checkout_paths.is_empty() {
        spec.put("sparseCheckout", options.sparse_checkout_paths.clone());
    }
    let story = Story {
        generated: "GitRepository source",
        applied: "GitRepository source",
        created: "GitRepository source",
        end: fetched,
    };
    if !call.common.export && !given(options.secret_ref.as_ref()) {
        call.generated(story.generated);
        let login = Login {
            username: options.username.clone(),
            password: options.password.clone(),
            ca_file: options.ca_file.clone(),
            ..Login::default()
        };
        if scheme == "http" && given(options.username.as_ref()) {
            call.session
                .warning("insecure configuration: credentials configured for an HTTP URL");
        }
        let name = match scheme.as_str() {
            "ssh" => Some(deploy_key(call, url, options).await?),
            _ => credentials::store(call, &login).await?,
        };
        if let Some(name) = name {
            spec.put("secretRef", json!({"name": name}));
        }
        let story = Story {
            generated: "",
            ..story
        };
        return call.finish("GitRepository", spec.value(), story).await;
    }
    call.finish("GitRepository", spec.value(), story).await
}

async fn bucket(call: &mut Call<'_, '_>, options: &Bucket, timeout: Option<&str>) -> Outcome {
    demand(given(options.bucket_name.as_ref()), "bucket-name is required")?;
    demand(given(options.endpoint.as_ref()), "endpoint is required")?;
    let mut spec = Spec::default();
    spec.text("bucketName", options.bucket_name.as_deref())
        .text("endpoint", options.endpoint.as_deref())
        .put("provider", options.provider.clone())
        .put("interval", call.interval.clone())
        .text("timeout", timeout)
        .text("region", options.region.as_deref())
        .flag("insecure", options.insecure)
        .text("ignore", parse::lines(&options.ignore_paths).as_deref())
        .name("secretRef", options.secret_ref.as_deref())
        .name("proxySecretRef", options.proxy_secret_ref.as_deref());
    let mut story = Story {
        generated: "Bucket source",
        applied: "Bucket source",
        created: "source",
        end: fetched,
    };
    if !call.common.export && !given(options.secret_ref.as_ref()) {
        call.generated(story.generated);
        story.generated = "";
        let login = Login {
            keys: options.access_key.clone().zip(options.secret_key.clone()),
            ..Login::default()
        };
        if let Some(name) = credentials::store(call, &login).await? {
            spec.put("secretRef", json!({"name": name}));
        }
    }
    call.finish("Bucket", spec.value(), story).await
}

async fn helm(call: &mut Call<'_, '_>, options: &Helm, timeout: Option<&str>) -> Outcome {
    let url = options.url.as_deref().unwrap_or_default();
    demand(!url.is_empty(), "url is required")?;
    let scheme = parse::scheme(url).map_err(|error| Failure::new(format!("url parse failed: {error}")))?;
    if !["http", "https", "oci"].contains(&scheme.as_str()) {
        return Err(Failure::new(format!(
            "url scheme '{scheme}' not supported, can be: http, https and oci"
        )));
    }
    let mut spec = Spec::default();
    spec.put("url", url)
        .put("interval", call.interval.clone())
        .text("timeout", timeout)
        .name("secretRef", options.secret_ref.as_deref());
    if given(options.secret_ref.as_ref()) {
        spec.flag("passCredentials", options.pass_credentials);
    }
    if scheme == "oci" {
        spec.put("type", "oci")
            .text("provider", options.oci_provider.as_deref());
    }
    let mut story = Story {
        generated: "HelmRepository source",
        applied: "HelmRepository source",
        created: "source",
        end: fetched,
    };
    if !call.common.export && !given(options.secret_ref.as_ref()) {
        call.generated(story.generated);
        story.generated = "";
        let login = Login {
            username: options.username.clone(),
            password: options.password.clone(),
            ca_file: options.ca_file.clone(),
            pair: options.cert_file.clone().zip(options.key_file.clone()),
            ..Login::default()
        };
        if let Some(name) = credentials::store(call, &login).await? {
            spec.put("secretRef", json!({"name": name}));
            spec.flag("passCredentials", options.pass_credentials);
        }
    }
    call.finish("HelmRepository", spec.value(), story).await
}

async fn chart(call: &mut Call<'_, '_>, options: &Chart) -> Outcome {
    demand(given(options.source.as_ref()), "chart source is required")?;
    demand(given(options.chart.as_ref()), "chart name or path is required")?;
    call.generated("HelmChart source");
    let source = parse::kind_and_name(options.source.as_deref().unwrap_or_default());
    let mut spec = Spec::default();
    spec.text("chart", options.chart.as_deref())
        .text("version", options.chart_version.as_deref())
        .put("interval", call.interval.clone())
        .put("reconcileStrategy", options.reconcile_strategy.clone())
        .put("sourceRef", json!({"kind": source.kind, "name": source.name}));
    if let Some(provider) = &options.verify_provider {
        let verify = verification(
            provider,
            None,
            options.verify_issuer.as_ref(),
            options.verify_subject.as_ref(),
        );
        spec.put("verify", verify);
    }
    let story = Story {
        generated: "",
        applied: "HelmChart source",
        created: "source",
        end: fetched,
    };
    call.finish("HelmChart", spec.value(), story).await
}

fn verification(
    provider: &str,
    secret: Option<&str>,
    issuer: Option<&String>,
    subject: Option<&String>,
) -> Value {
    let mut verify = Spec::default();
    verify.put("provider", provider).name("secretRef", secret);
    if given(issuer) || given(subject) {
        let text = |value: Option<&String>| value.cloned().unwrap_or_default();
        verify.put(
            "matchOIDCIdentity",
            json!([{"issuer": text(issuer), "subject": text(subject)}]),
        );
    }
    verify.value()
}

async fn oci(call: &mut Call<'_, '_>, options: &Oci, timeout: Option<&str>) -> Outcome {
    demand(given(options.url.as_ref()), "url is required")?;
    demand(
        [&options.tag, &options.tag_semver, &options.digest]
            .iter()
            .any(|one| given(one.as_ref())),
        "--tag, --tag-semver or --digest is required",
    )?;
    let mut reference = Spec::default();
    reference
        .text("tag", options.tag.as_deref())
        .text("semver", options.tag_semver.as_deref())
        .text("digest", options.digest.as_deref());
    let mut spec = Spec::default();
    spec.text("url", options.url.as_deref())
        .put("provider", options.provider.clone())
        .put("interval", call.interval.clone())
        .put("ref", reference.value())
        .text("timeout", timeout)
        .text("ignore", parse::lines(&options.ignore_paths).as_deref())
        .flag("insecure", options.insecure)
        .text("serviceAccountName", options.service_account.as_deref())
        .name("secretRef", options.secret_ref.as_deref())
        .name("certSecretRef", options.cert_ref.as_deref())
        .name("proxySecretRef", options.proxy_secret_ref.as_deref());
    if let Some(layer) = &options.layer_selector {
        let (media_type, operation) = layer.rsplit_once(':').ok_or_else(|| {
            Failure::new(format!(
                "invalid --layer-selector {layer:?}: must be in the format '<media-type>:<operation>'"
            ))
        })?;
        if !["extract", "copy"].contains(&operation) {
            return Err(Failure::new(format!(
                "invalid --layer-selector {layer:?}: operation must be \"extract\" or \"copy\""
            )));
        }
        spec.put(
            "layerSelector",
            json!({"mediaType": media_type, "operation": operation}),
        );
    }
    let (issuer, subject) = (options.verify_issuer.as_ref(), options.verify_subject.as_ref());
    match &options.verify_provider {
        Some(provider) => {
            let secret = options.verify_secret_ref.as_deref();
            spec.put("verify", verification(provider, secret, issuer, subject));
        }
        None => {
            demand(
                !given(options.verify_secret_ref.as_ref()),
                "a verification provider must be specified when a secret is specified",
            )?;
            demand(
                !given(issuer) && !given(subject),
                "a verification provider must be specified when OIDC issuer/subject is specified",
            )?;
        }
    }
    let story = Story {
        generated: "",
        applied: "OCIRepository",
        created: "OCIRepository",
        end: fetched,
    };
    call.finish("OCIRepository", spec.value(), story).await
}

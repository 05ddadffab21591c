//! `trace`: from an object on the cluster to whoever delivers it, and to the source of that.

use fluvial_ports::Cluster;
use serde_json::Value;

use super::why::look::{Found, Looker};
use crate::environment::{Failure, Outcome, Session};
use crate::nouns;
use crate::state::{self, condition, field, release_revision, text};
use fluvial_api::keys;

/// Options of `trace`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Objects as KIND NAME, or KIND/NAME
    #[arg(value_name = "OBJECT", num_args = 0..)]
    objects: Vec<String>,
    /// Kind, where only a name is given
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// API version of that kind
    #[arg(long, value_name = "VERSION")]
    api_version: Option<String>,
}

/// Traces objects.
pub(crate) async fn run(session: &mut Session<'_>, options: &Options) -> Outcome {
    let wanted = wanted(options)?;
    let cluster = session.cluster().await?;
    let namespace = session.global.namespace.clone();
    let looker = Looker::new(cluster.as_ref(), &namespace, session.env.clock.now());
    let mut objects = vec![];
    for (word, name) in &wanted {
        let (api_version, kind) = looker.kind(word).await?;
        match looker.get(&api_version, &kind, &namespace, name).await? {
            Found::Object(object) | Found::Judged { object, .. } => objects.push(*object),
            Found::Absent { .. } => {
                let resource = cluster.resource(&api_version, &kind).await?;
                let group = match resource.group.as_str() {
                    "" => String::new(),
                    group => format!(".{group}"),
                };
                return Err(Failure::new(format!(
                    "{}{group} {name:?} not found",
                    resource.plural
                )));
            }
        }
    }
    for (position, object) in objects.iter().enumerate() {
        match trace(cluster.as_ref(), object).await {
            Ok(report) => {
                session.print(&report)?;
                if position + 1 < objects.len() {
                    session.print("---\n")?;
                }
            }
            // The others are traced all the same.
            Err(why) => write!(
                session.env.err,
                "failed to trace {}/{} in namespace {}: {}",
                state::kind(object),
                state::name(object),
                state::namespace(object),
                why.message
            )?,
        }
    }
    Ok(())
}

/// The kinds and names asked for.
fn wanted(options: &Options) -> Result<Vec<(String, String)>, Failure> {
    let words = &options.objects;
    if let (Some(kind), Some(name)) = (&options.kind, words.first()) {
        let version = options.api_version.as_deref().unwrap_or_default();
        let word = match version.split_once('/') {
            Some((group, version)) => format!("{kind}.{version}.{group}"),
            None => kind.clone(),
        };
        return Ok(vec![(word, name.clone())]);
    }
    match words.first() {
        None => Err(Failure::new(
            "either `<resource>/<name>` or `<resource> <name>` is required as an argument",
        )),
        Some(first) if first.contains('/') => words
            .iter()
            .map(|word| {
                let (kind, name) = word.split_once('/').ok_or_else(|| {
                    Failure::new("there is no need to specify a resource type as a separate argument when passing arguments in resource/name form")
                })?;
                Ok((kind.to_owned(), name.to_owned()))
            })
            .collect(),
        Some(_) if words.len() == 1 => Err(Failure::new("resource(s) were provided, but no name was specified")),
        Some(kind) => Ok(words[1..].iter().map(|name| (kind.clone(), name.clone())).collect()),
    }
}

/// A report: blocks of titles and values.
struct Report {
    /// Where values begin.
    column: usize,
    text: String,
}

impl Report {
    fn row(&mut self, title: &str, value: &str) {
        let title = format!("{title}:");
        self.text
            .push_str(&format!("{title:<width$}{value}\n", width = self.column));
    }

    /// Begins a block on an object.
    fn block(&mut self, object: &Value) {
        self.text.push_str("---\n");
        self.row(state::kind(object), state::name(object));
        self.row("Namespace", state::namespace(object));
    }

    /// A field of the object, if it has one.
    fn field(&mut self, title: &str, object: &Value, path: &[&str]) {
        if let Some(value) = text(object, path) {
            self.row(title, value);
        }
    }

    /// How the object is.
    fn status(&mut self, object: &Value) {
        match condition(object, "Ready") {
            Some(ready) => {
                let time = text(ready, &["lastTransitionTime"]).unwrap_or_default();
                let time = time.replace('T', " ").replace('Z', " +0000 UTC");
                self.row("Status", &format!("Last reconciled at {time}"));
                self.row("Message", text(ready, &["message"]).unwrap_or_default());
            }
            None => self.row("Status", "Unknown"),
        }
    }

    /// A block on a source.
    fn source(&mut self, object: &Value) {
        self.block(object);
        match state::kind(object) {
            "Bucket" => {
                self.field("Endpoint", object, &["spec", "endpoint"]);
                self.field("Bucket", object, &["spec", "bucketName"]);
            }
            "HelmChart" => {
                self.field("Chart", object, &["spec", "chart"]);
                self.row("Version", text(object, &["spec", "version"]).unwrap_or("*"));
            }
            _ => self.field("URL", object, &["spec", "url"]),
        }
        for (title, name) in [
            ("Tag", "tag"),
            ("SemVer", "semver"),
            ("Branch", "branch"),
            ("Digest", "digest"),
            ("Commit", "commit"),
        ] {
            self.field(title, object, &["spec", "ref", name]);
        }
        self.field("Revision", object, &["status", "artifact", "revision"]);
        self.status(object);
    }
}

async fn trace(cluster: &dyn Cluster, object: &Value) -> Result<String, Failure> {
    let label = |key: &str| text(object, &["metadata", "labels", key]);
    let owner = |name: &str, namespace: &str| Some((label(name)?.to_owned(), label(namespace)?.to_owned()));
    let (kind, (name, namespace), column) = match owner(keys::KUSTOMIZE_NAME, keys::KUSTOMIZE_NAMESPACE) {
        Some(owner) => ("Kustomization", owner, 17),
        None => match owner(keys::HELM_NAME, keys::HELM_NAMESPACE) {
            Some(owner) => ("HelmRelease", owner, 16),
            None => return Err(Failure::new("object not managed by Flux")),
        },
    };
    let owner = get(cluster, kind, &namespace, &name).await.map_err(|error| {
        Failure::new(format!(
            "failed to find {}: {}",
            kind.to_lowercase(),
            error.message
        ))
    })?;
    let mut report = Report {
        column,
        text: "\n".to_owned(),
    };
    report.row(
        "Object",
        &format!("{}/{}", state::kind(object), state::name(object)),
    );
    if !state::namespace(object).is_empty() {
        report.row("Namespace", state::namespace(object));
    }
    report.row("Status", "Managed by Flux");
    report.block(&owner);
    report.field("Target", &owner, &["spec", "targetNamespace"]);
    if kind == "Kustomization" {
        report.field("Path", &owner, &["spec", "path"]);
        report.field("Revision", &owner, &["status", "lastAppliedRevision"]);
    } else {
        report.row("Revision", release_revision(&owner));
    }
    report.status(&owner);
    let chart = text(&owner, &["status", "helmChart"]).map(str::to_owned);
    let mut last = owner;
    if let Some((namespace, name)) = chart.as_deref().and_then(|chart| chart.split_once('/')) {
        let chart = get(cluster, "HelmChart", namespace, name)
            .await
            .map_err(|error| Failure::new(format!("failed to find HelmChart: {}", error.message)))?;
        report.source(&chart);
        last = chart;
    }
    let reference = [&["spec", "sourceRef"][..], &["spec", "chartRef"]]
        .into_iter()
        .find_map(|path| field(&last, path));
    if let Some(reference) = reference {
        let part = |name: &str| text(reference, &[name]);
        let kind = part("kind").unwrap_or_default();
        let namespace = part("namespace").unwrap_or_else(|| state::namespace(&last));
        let source = get(cluster, kind, namespace, part("name").unwrap_or_default())
            .await
            .map_err(|error| Failure::new(format!("failed to find {kind}: {}", error.message)))?;
        report.source(&source);
    }
    Ok(report.text)
}

async fn get(cluster: &dyn Cluster, kind: &str, namespace: &str, name: &str) -> Result<Value, Failure> {
    let noun = nouns::of_kind(kind).ok_or_else(|| Failure::new(format!("{kind} is no kind of Flux")))?;
    let resource = noun.resource();
    let target = fluvial_ports::Target {
        resource: &resource,
        namespace,
        name,
    };
    cluster
        .get(target)
        .await?
        .ok_or_else(|| super::not_found(noun, name))
}

//! `create`: objects from options, printed with `--export` or put on the cluster and waited for.

mod credentials;
mod images;
mod notify;
mod parse;
mod release;
mod secret;
pub(crate) mod source;
mod tenant;

use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use fluvial_ports::{Apply, Cluster, Create as Creation, Patch, PatchKind};
use serde_json::{Map, Value, json};

use super::suspend::MANAGER;
use super::wait;
use crate::command;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns::{self, Noun};
use crate::state::{self, Progress, condition, text};

/// Options of all of `create`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Common {
    /// Print the manifest instead of putting it on the cluster
    #[arg(long, global = true)]
    export: bool,
    /// Labels: KEY=VALUE, several separated by commas
    #[arg(long, global = true, value_name = "LABELS", value_delimiter = ',')]
    label: Vec<String>,
}

/// The subcommands.
pub(crate) fn command(create: Command) -> Command {
    // A policy of images has one of its own, which wins. A default here would be taken for a value there.
    let interval = Arg::new("interval")
        .long("interval")
        .global(true)
        .value_name("DURATION")
        .value_parser(parse::duration)
        .help("How often the object is reconciled [default: 1m0s]");
    Common::augment_args(create)
        .arg(interval)
        .subcommand(source::command())
        .subcommand(images::command())
        .subcommand(secret::command())
        .subcommand(named(
            release::Kustomization::augment_args(Command::new("kustomization")).visible_alias("ks"),
            "Create or update a Kustomization",
        ))
        .subcommand(named(
            release::HelmRelease::augment_args(Command::new("helmrelease")).visible_alias("hr"),
            "Create or update a HelmRelease",
        ))
        .subcommand(named(
            notify::Alert::augment_args(Command::new("alert")),
            "Create or update an Alert",
        ))
        .subcommand(named(
            notify::Provider::augment_args(Command::new("alert-provider")),
            "Create or update a Provider of alerts",
        ))
        .subcommand(named(
            notify::Receiver::augment_args(Command::new("receiver")),
            "Create or update a Receiver",
        ))
        .subcommand(named(
            tenant::Options::augment_args(Command::new("tenant")),
            "Create or update the namespaces of a tenant, with the account that reconciles them",
        ))
}

/// A leaf: it takes a name.
fn named(command: Command, about: &'static str) -> Command {
    command.about(about).arg(
        Arg::new("name")
            .num_args(0..)
            .action(ArgAction::Append)
            .value_name("NAME")
            .help("Name of the object"),
    )
}

/// Creates what the words after `create` name.
pub(crate) async fn run(session: &mut Session<'_>, words: &[&str], matches: &ArgMatches) -> Outcome {
    let name = matches
        .try_get_many::<String>("name")
        .ok()
        .flatten()
        .and_then(|mut names| names.next().cloned())
        .ok_or_else(|| Failure::new("name is required"))?;
    if !is_name(&name) {
        return Err(Failure::new(format!(
            "name '{name}' is invalid, it should adhere to standard defined in RFC 1123, the name can only contain \
             alphanumeric characters or '-'"
        )));
    }
    let mut call = Call {
        common: command::options(matches),
        interval: matches
            .try_get_one::<String>("interval")
            .ok()
            .flatten()
            .cloned()
            .unwrap_or_else(|| "1m0s".to_owned()),
        name,
        session,
    };
    let call = &mut call;
    match words {
        ["source", kind] => source::run(call, kind, matches).await,
        ["image", kind] => images::run(call, kind, matches).await,
        ["secret", kind] => secret::run(call, kind, matches).await,
        ["kustomization"] => release::kustomization(call, &command::options(matches)).await,
        ["helmrelease"] => release::helm_release(call, &command::options(matches)).await,
        ["alert"] => notify::alert(call, &command::options(matches)).await,
        ["alert-provider"] => notify::provider(call, &command::options(matches)).await,
        ["receiver"] => notify::receiver(call, &command::options(matches)).await,
        ["tenant"] => tenant::run(call, &command::options(matches)).await,
        _ => Err(Failure::new("there is no such thing to create")),
    }
}

/// Whether flux takes it for a name: two to 63 characters.
fn is_name(name: &str) -> bool {
    let alphanumeric =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = name.as_bytes();
    (2..=63).contains(&bytes.len())
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|byte| alphanumeric(Some(byte)) || *byte == b'-')
}

/// One call of `create`.
struct Call<'s, 'e> {
    session: &'s mut Session<'e>,
    common: Common,
    interval: String,
    name: String,
}

/// How a kind's creation is told of.
#[derive(Clone, Copy, Debug)]
struct Story {
    /// What is generated and applied; nothing is said of generating if it is empty.
    generated: &'static str,
    /// What is applied and waited for.
    applied: &'static str,
    /// What was created or updated.
    created: &'static str,
    /// What is said at the end.
    end: fn(&Noun, &Value) -> Vec<String>,
}

impl Call<'_, '_> {
    fn namespace(&self) -> String {
        self.session.global.namespace.clone()
    }

    /// The labels asked for.
    fn labels(&self) -> Result<Map<String, Value>, Failure> {
        let mut labels = Map::new();
        for label in self.common.label.iter().filter(|label| !label.is_empty()) {
            let parts: Vec<&str> = label.split('=').collect();
            let [key, value] = parts[..] else {
                return Err(Failure::new(format!(
                    "invalid label format '{label}', must be key=value"
                )));
            };
            if let Some(why) = parse::wrong_label_key(key) {
                return Err(Failure::new(format!("invalid label '{key}': [{why}]")));
            }
            if let Some(why) = parse::wrong_label_value(value) {
                return Err(Failure::new(format!("invalid label value '{value}': [{why}]")));
            }
            labels.insert(key.to_owned(), value.into());
        }
        Ok(labels)
    }

    /// The object with the labels asked for.
    fn object(&self, api_version: &str, kind: &str, spec: &Value) -> Result<Value, Failure> {
        let mut metadata = json!({"name": self.name, "namespace": self.namespace()});
        let labels = self.labels()?;
        if !labels.is_empty() {
            metadata["labels"] = Value::Object(labels);
        }
        Ok(json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}))
    }

    fn print(&mut self, object: &Value) -> Outcome {
        self.session
            .print(&format!("---\n{}", fluvial_yaml::json_to_yaml(object)))
    }

    /// Prints the object, or puts it on the cluster and waits for it.
    async fn finish(&mut self, kind: &str, spec: Value, story: Story) -> Outcome {
        let noun = nouns::of_kind(kind).ok_or_else(|| Failure::new(format!("no kind {kind}")))?;
        let object = self.object(&noun.info().api_version(), kind, &spec)?;
        if self.common.export {
            return self.print(&object);
        }
        if !story.generated.is_empty() {
            self.generated(story.generated);
        }
        self.deliver(noun, &object, story).await
    }

    /// `✚` something is made.
    fn generated(&mut self, what: &str) {
        self.session.addition(&format!("generating {what}"));
    }

    async fn deliver(&mut self, noun: &'static Noun, object: &Value, story: Story) -> Outcome {
        let session = &mut *self.session;
        let cluster = session.cluster().await?;
        session.action(&format!("applying {}", story.applied));
        let (stored, created) = upsert(cluster.as_ref(), noun, object).await?;
        let verb = if created { "created" } else { "updated" };
        session.success(&format!("{} {verb}", story.created));
        session.waiting(&format!("waiting for {} reconciliation", story.applied));
        let ready = wait::until(
            cluster.as_ref(),
            noun,
            &stored,
            session.global.timeout,
            |object| {
                let settled = state::is_static(object) || condition(object, "Ready").is_some();
                match state::progress(object) {
                    Progress::Current => settled,
                    Progress::Failed => true,
                    _ => false,
                }
            },
        )
        .await
        .map_err(Failure::new)?;
        if state::progress(&ready) == Progress::Failed {
            let stalled = condition(&ready, "Stalled").and_then(|stalled| text(stalled, &["message"]));
            return Err(Failure::new(stalled.unwrap_or_default()));
        }
        for line in (story.end)(noun, &ready) {
            session.success(&line);
        }
        Ok(())
    }

    /// A file, by the path as it was given.
    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        if path.is_empty() {
            return Err("open : no such file or directory".to_owned());
        }
        std::fs::read(self.session.env.folder.join(path))
            .map_err(|error| format!("open {path}: {}", go_words(&error)))
    }
}

/// An error of the file system in the words of Go programs.
pub(crate) fn go_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

/// Creates an object, or sets labels and spec of the one that is there; true if it was created.
async fn upsert(cluster: &dyn Cluster, noun: &Noun, object: &Value) -> Result<(Value, bool), Failure> {
    let resource = noun.resource();
    let target = state::target(&resource, object);
    if cluster.get(target).await?.is_none() {
        let how = Creation {
            manager: MANAGER,
            dry_run: false,
        };
        return Ok((cluster.create(target, object, how).await?, true));
    }
    let labels = object["metadata"]
        .get("labels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    // `add` replaces what is there.
    let body = json!([
        {"op": "add", "path": "/metadata/labels", "value": labels},
        {"op": "add", "path": "/spec", "value": object["spec"]},
    ]);
    let patch = Patch {
        kind: PatchKind::Json,
        subresource: None,
        manager: MANAGER,
        body: &body,
        dry_run: false,
    };
    Ok((cluster.patch(target, patch).await?, false))
}

/// Applies an object of any kind.
async fn apply(cluster: &dyn Cluster, object: &Value) -> Result<(), Failure> {
    let part = |name: &str| text(object, &[name]).unwrap_or_default();
    let resource = cluster.resource(part("apiVersion"), part("kind")).await?;
    let target = state::target(&resource, object);
    let how = Apply {
        manager: MANAGER,
        force: true,
        dry_run: false,
    };
    cluster.apply(target, object, how).await?;
    Ok(())
}

/// A spec under construction: what was not asked for stays away.
#[derive(Clone, Debug, Default)]
struct Spec(Map<String, Value>);

impl Spec {
    fn put(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// A text, if there is one.
    fn text(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.put(key, value);
        }
        self
    }

    /// A reference by name, if there is one.
    fn name(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.put(key, json!({"name": value}));
        }
        self
    }

    /// True, or nothing.
    fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        if value {
            self.put(key, true);
        }
        self
    }

    fn value(&mut self) -> Value {
        Value::Object(std::mem::take(&mut self.0))
    }
}

/// The first failure of several checks.
fn demand(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds {
        Ok(())
    } else {
        Err(Failure::new(otherwise))
    }
}

/// Whether there is a text.
fn given(value: Option<&String>) -> bool {
    value.is_some_and(|value| !value.is_empty())
}

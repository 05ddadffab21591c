//! `debug`: what a Kustomization or a HelmRelease is made with, and what became of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fluvial_delivery::substitute::{Reference, references};
use fluvial_helm::Values;
use fluvial_object::ObjectExt;
use fluvial_ports::{Cluster, Target};
use serde_json::{Value, json};

use super::not_found;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns;
use crate::render;
use crate::state::{self, field, text};

/// Options of both.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Name of the object
    #[arg(value_name = "NAME", num_args = 0..)]
    pub names: Vec<String>,
    /// Print the status
    #[arg(long)]
    pub show_status: bool,
    /// Print the history
    #[arg(long)]
    pub show_history: bool,
}

/// Options of `debug helmrelease`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Release {
    #[command(flatten)]
    common: Options,
    /// Print the values, from all places that they come from
    #[arg(long)]
    show_values: bool,
}

/// Options of `debug kustomization`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Kustomization {
    #[command(flatten)]
    common: Options,
    /// Print the variables, from all places that they come from
    #[arg(long)]
    show_vars: bool,
}

/// Shows a HelmRelease.
pub(crate) async fn release(session: &mut Session<'_>, options: &Release) -> Outcome {
    let what = chosen(&options.common, options.show_values, "--show-values")?;
    let (cluster, object) = find(session, "HelmRelease", &options.common).await?;
    let text = match what {
        What::Status => status(&object, "helm/helmreleases/#helmrelease-status"),
        What::History => history(&object, "helm/helmreleases/#history"),
        What::Input => fluvial_yaml::json_to_yaml(&values(cluster.as_ref(), &object).await?),
    };
    session.print(&text)
}

/// Shows a Kustomization.
pub(crate) async fn kustomization(session: &mut Session<'_>, options: &Kustomization) -> Outcome {
    let what = chosen(&options.common, options.show_vars, "--show-vars")?;
    let (cluster, object) = find(session, "Kustomization", &options.common).await?;
    let text = match what {
        What::Status => status(&object, "kustomize/kustomizations/#kustomization-status"),
        What::History => history(&object, "kustomize/kustomizations/#history"),
        What::Input => variables(cluster.as_ref(), &object).await?,
    };
    session.print(&text)
}

enum What {
    Status,
    History,
    Input,
}

fn chosen(options: &Options, input: bool, flag: &str) -> Result<What, Failure> {
    if options.names.len() != 1 {
        return Err(Failure::new(format!(
            "accepts 1 arg(s), received {}",
            options.names.len()
        )));
    }
    match (options.show_status, options.show_history, input) {
        (true, false, false) => Ok(What::Status),
        (false, true, false) => Ok(What::History),
        (false, false, true) => Ok(What::Input),
        _ => Err(Failure::new(format!(
            "exactly one of --show-status, {flag}, or --show-history must be set"
        ))),
    }
}

async fn find(
    session: &Session<'_>,
    kind: &str,
    options: &Options,
) -> Result<(std::sync::Arc<dyn Cluster>, Value), Failure> {
    let noun = nouns::of_kind(kind).ok_or_else(|| Failure::new(format!("no kind {kind}")))?;
    let name = options.names.first().map_or("", String::as_str);
    let resource = noun.resource();
    let target = Target {
        resource: &resource,
        namespace: &session.global.namespace,
        name,
    };
    let cluster = session.cluster().await?;
    let object = cluster.get(target).await?.ok_or_else(|| not_found(noun, name))?;
    Ok((cluster, object))
}

const DOCUMENTS: &str = "https://fluxcd.io/flux/components/";

fn status(object: &Value, page: &str) -> String {
    let status = object.get("status").cloned().unwrap_or_else(|| json!({}));
    format!(
        "# Status documentation: {DOCUMENTS}{page}\n{}",
        fluvial_yaml::json_to_yaml(&status)
    )
}

fn history(object: &Value, page: &str) -> String {
    let mut history = field(object, &["status", "history"])
        .cloned()
        .unwrap_or_else(|| json!([]));
    for entry in history.as_array_mut().into_iter().flatten() {
        if state::kind(object) == "HelmRelease" && entry.get("deleted").is_none() {
            entry["deleted"] = Value::Null;
        }
    }
    format!(
        "# History documentation: {DOCUMENTS}{page}\n{}",
        fluvial_yaml::json_to_yaml(&history)
    )
}

async fn look(
    cluster: &dyn Cluster,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, Failure> {
    let resource = cluster.resource("v1", kind).await?;
    let target = Target {
        resource: &resource,
        namespace,
        name,
    };
    Ok(cluster.get(target).await?)
}

/// `NAME=VALUE`, one a line.
async fn variables(cluster: &dyn Cluster, object: &Value) -> Result<String, Failure> {
    let post_build = field(object, &["spec", "postBuild"])
        .ok_or_else(|| Failure::new("no post build substitutions found"))?;
    let mut found = vec![];
    for reference in references(post_build) {
        found.extend(
            look(
                cluster,
                &reference.kind,
                state::namespace(object),
                &reference.name,
            )
            .await?,
        );
    }
    let find = |reference: &Reference| {
        found
            .iter()
            .find(|object| object.kind() == reference.kind && object.name() == reference.name)
    };
    let substitution = render::substitution(object, false, &find).map_err(Failure::new)?;
    Ok(substitution
        .variables()
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect())
}

/// The values of a release: those of `valuesFrom` in their order, then its own.
pub(crate) async fn values(cluster: &dyn Cluster, object: &Value) -> Result<Value, Failure> {
    let mut values = Values::new();
    let list = field(object, &["spec", "valuesFrom"]).and_then(Value::as_array);
    for reference in list.into_iter().flatten() {
        let part = |name: &str| text(reference, &[name]).filter(|text| !text.is_empty());
        let (kind, name) = (part("kind").unwrap_or_default(), part("name").unwrap_or_default());
        let namespace = state::namespace(object);
        let key = part("valuesKey").unwrap_or("values.yaml");
        let place = format!("{kind} '{namespace}/{name}'");
        let optional = reference["optional"] == true;
        let Some(source) = look(cluster, kind, namespace, name).await? else {
            if optional {
                continue;
            }
            return Err(Failure::new(format!("could not find {place}")));
        };
        let Some(content) =
            content(&source, key).map_err(|why| Failure::new(format!("{place}: {key}: {why}")))?
        else {
            if optional {
                continue;
            }
            return Err(Failure::new(format!("missing key '{key}' in {place}")));
        };
        let failed = |error: fluvial_helm::Error| {
            Failure::new(format!(
                "unable to read values from key '{key}' in {place}: {error}"
            ))
        };
        match part("targetPath") {
            None => values.merge(Values::from_yaml(&content).map_err(failed)?),
            // In quotes it is a text, whatever it looks like.
            Some(path) => match quoted(&content) {
                Some(text) => values.set_string(&format!("{path}={text}")).map_err(failed)?,
                None => values.set(&format!("{path}={content}")).map_err(failed)?,
            },
        }
    }
    if let Some(own) = field(object, &["spec", "values"]) {
        let failed = |error: fluvial_helm::Error| Failure::new(format!("spec.values: {error}"));
        values.merge(Values::from_json(own).map_err(failed)?);
    }
    Ok(values.as_json())
}

fn quoted(text: &str) -> Option<&str> {
    ['\'', '"']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

/// One field of a ConfigMap or Secret.
fn content(source: &Value, key: &str) -> Result<Option<String>, String> {
    let Some(content) = text(source, &["data", key]) else {
        return Ok(None);
    };
    if state::kind(source) != "Secret" {
        return Ok(Some(content.to_owned()));
    }
    let bytes = STANDARD
        .decode(content.split_ascii_whitespace().collect::<String>())
        .map_err(|error| error.to_string())?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| "it is no UTF-8".to_owned())
}

//! `debug`: what a Kustomization or a HelmRelease is made with, and what became of it.

use fluvial_api::{HelmRelease, Resource as _, convert};
use fluvial_delivery::substitute::{Reference, references};
use fluvial_object::ObjectExt;
use fluvial_ports::{Cluster, Target};
use serde_json::{Value, json};

use super::not_found;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns;
use crate::render;
use crate::state::{self, field};

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

/// The values of a release, as they are when it is reconciled.
pub(crate) async fn values(cluster: &dyn Cluster, object: &Value) -> Result<Value, Failure> {
    let release = HelmRelease::from_value(&convert::to_current(object.clone()))
        .map_err(|error| Failure::new(error.to_string()))?;
    let values = fluvial_controllers::helm_release::values_of(cluster, &release).await;
    values.map_err(Failure::new)
}

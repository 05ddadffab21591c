//! `check`: whether a cluster can be worked on, and whether somebody does.

use fluvial_api::kinds::{KINDS, KindInfo};
use fluvial_controllers::lease::{self, Leading};
use fluvial_object::semver::Version;
use fluvial_ports::{Cluster, ErrorKind, Select, Target};
use serde_json::Value;

use super::uninstall::parts;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns;
use crate::state::{self, field, text};

/// Options of `check`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Only what is needed before an installation
    #[arg(long)]
    pre: bool,
}

/// The oldest Kubernetes whose definitions have everything that ours use.
const OLDEST: &str = "1.29.0";

/// Controllers of Flux that do what Fluvial does.
const SAME: [&str; 3] = ["kustomize-controller", "helm-controller", "source-controller"];

/// Looks at everything, says what it finds, and fails if something is not as it should be.
pub(crate) async fn run(session: &mut Session<'_>, options: &Options) -> Outcome {
    let cluster = session.cluster().await?;
    let cluster = cluster.as_ref();
    session.action("checking prerequisites");
    let mut well = kubernetes(session, cluster).await?;
    if options.pre {
        return ended(
            session,
            well,
            "the cluster can be installed on",
            "prerequisites failed",
        );
    }
    session.action("checking definitions");
    let mut known = true;
    for info in KINDS {
        known &= definition(session, cluster, info).await?;
    }
    well &= known;
    session.action("checking controllers");
    well &= controllers(session, cluster).await?;
    ended(session, well, "all checks passed", "checks failed")
}

fn ended(session: &mut Session<'_>, well: bool, good: &str, bad: &str) -> Outcome {
    if !well {
        return Err(Failure::new(bad));
    }
    session.success(good);
    Ok(())
}

/// The version of the API server.
async fn kubernetes(session: &mut Session<'_>, cluster: &dyn Cluster) -> Result<bool, Failure> {
    let served = cluster.served().await?.unwrap_or_default();
    let number = served.version.trim_start_matches('v');
    let wanted = Version::parse(OLDEST);
    let well = matches!((Version::parse(number), wanted), (Ok(found), Ok(wanted)) if found >= wanted);
    let line = format!("Kubernetes {number} >={OLDEST}");
    if well {
        session.success(&line);
    } else {
        session.failure(&format!("Kubernetes {number} is older than {OLDEST}"));
    }
    Ok(well)
}

/// Whether a kind is defined in its newest version, and stored in it alone.
async fn definition(
    session: &mut Session<'_>,
    cluster: &dyn Cluster,
    info: &KindInfo,
) -> Result<bool, Failure> {
    let name = format!("{}.{}", info.plural, info.group);
    let resource = cluster
        .resource("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        .await?;
    let target = Target {
        resource: &resource,
        namespace: "",
        name: &name,
    };
    let Some(found) = cluster.get(target).await? else {
        session.failure(&format!("{name} is not defined; `fluvial install` defines it"));
        return Ok(false);
    };
    let versions = field(&found, &["spec", "versions"]).and_then(Value::as_array);
    let is_served = |version: &&Value| version["name"] == info.version && version["served"] == true;
    if !versions.into_iter().flatten().any(|version| is_served(&version)) {
        session.failure(&format!(
            "{name} is defined without {}; `fluvial install` brings it",
            info.version
        ));
        return Ok(false);
    }
    let stored = field(&found, &["status", "storedVersions"]).and_then(Value::as_array);
    let mut older = stored
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .filter(|version| *version != info.version);
    if let Some(old) = older.next() {
        session.failure(&format!(
            "{name}/{} has objects stored as {old}; `fluvial migrate` stores them anew",
            info.version
        ));
        return Ok(false);
    }
    session.success(&format!("{name}/{}", info.version));
    Ok(true)
}

/// Who reconciles.
async fn controllers(session: &mut Session<'_>, cluster: &dyn Cluster) -> Result<bool, Failure> {
    let leading = lease::leaders(cluster, &session.global.namespace, session.env.clock.now()).await?;
    let (deployed, mut well) = deployments(session, cluster).await?;
    if leading.is_empty() {
        if deployed.is_empty() {
            well = lonely(session, cluster).await?;
        }
        return Ok(well);
    }
    for Leading { lease, holder } in &leading {
        session.success(&format!("`fluvial serve` runs as {holder}, lease {lease}"));
    }
    // Those that do a part of the work may well stand beside others that do the rest.
    let whole = leading.iter().any(|leading| leading.lease == lease::NAME);
    if !whole {
        return Ok(well);
    }
    if let Some(other) = deployed.iter().find(|name| SAME.contains(&name.as_str())) {
        session.failure(&format!(
            "{other} runs beside `fluvial serve`: both reconcile the same objects; scale one of them to zero"
        ));
        well = false;
    }
    Ok(well)
}

/// The controllers that are deployed in the cluster and not scaled to zero, and whether all are ready.
async fn deployments(
    session: &mut Session<'_>,
    cluster: &dyn Cluster,
) -> Result<(Vec<String>, bool), Failure> {
    let resource = cluster.resource("apps/v1", "Deployment").await?;
    let select = Select {
        namespace: Some(session.global.namespace.clone()),
        labels: Some(parts(&session.global.namespace)),
        ..Select::default()
    };
    let (mut names, mut well) = (vec![], true);
    for object in cluster.list(&resource, &select).await? {
        let number =
            |path: &[&str], absent: i64| field(&object, path).and_then(Value::as_i64).unwrap_or(absent);
        let (wanted, ready) = (
            number(&["spec", "replicas"], 1),
            number(&["status", "readyReplicas"], 0),
        );
        if wanted == 0 {
            continue;
        }
        names.push(state::name(&object).to_owned());
        let line = format!("{}: {ready} of {wanted} ready", state::name(&object));
        if ready >= wanted {
            session.success(&line);
        } else {
            session.failure(&line);
            well = false;
        }
        for container in object
            .pointer("/spec/template/spec/containers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            session.action(text(container, &["image"]).unwrap_or_default());
        }
    }
    Ok((names, well))
}

/// Nobody has said that it reconciles. `up` does not, whose cluster is its own; then what it has done tells.
async fn lonely(session: &mut Session<'_>, cluster: &dyn Cluster) -> Result<bool, Failure> {
    let (mut all, mut behind) = (0, None);
    for kind in ["GitRepository", "Kustomization", "HelmRelease"] {
        let Some(noun) = nouns::of_kind(kind) else {
            continue;
        };
        let objects = match cluster.list(&noun.resource(), &Select::default()).await {
            Err(error) if matches!(error.kind, ErrorKind::NoKind | ErrorKind::NotFound) => continue,
            objects => objects?,
        };
        for object in objects.iter().filter(|object| !state::is_suspended(object)) {
            all += 1;
            let number = |path: &[&str]| field(object, path).and_then(Value::as_i64);
            if number(&["status", "observedGeneration"]) != number(&["metadata", "generation"]) {
                behind = Some(state::id(object));
            }
        }
    }
    match behind {
        None if all > 0 => {
            session.success(&format!(
                "all {all} objects have been looked at; nobody leads, as with `fluvial up`"
            ));
            Ok(true)
        }
        None => {
            session.failure("no controllers are deployed, and nobody leads; start `fluvial serve`");
            Ok(false)
        }
        Some(id) => {
            session.failure(&format!(
                "nobody has looked at {id}, no controllers are deployed and nobody leads; start `fluvial serve`"
            ));
            Ok(false)
        }
    }
}

//! `diff`: what an apply would change on the cluster.

use std::collections::BTreeSet;

use base64::Engine as _;
use fluvial_delivery::control::skip;
use fluvial_delivery::ignore::{IgnoreRules, leave_alone};
use fluvial_delivery::inventory::{Entry, Inventory};
use fluvial_delivery::{drift, stage};
use fluvial_object::ObjectExt;
use fluvial_ports::{Apply as How, Cluster, ClusterError, ErrorKind, Target};
use serde_json::{Value, json};

use super::build;
use crate::difference;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns;
use crate::render::{self, Rendered};
use crate::state::{self, field};

/// Options of `diff kustomization`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Trial {
    #[command(flatten)]
    build: build::Options,
    /// Take a Kustomization that is not on the cluster for a new one
    #[arg(long)]
    ignore_not_found: bool,
    /// For flux's scripts: there is no progress to show
    #[arg(long)]
    progress_bar: bool,
}

/// Shows what a Kustomization's apply would change. Exit code 1: something; 2: that cannot be said.
pub(crate) async fn kustomization(session: &mut Session<'_>, options: &Trial) -> Outcome {
    let outcome = changes(session, options).await;
    verdict(session, outcome)
}

/// The end of a comparison.
pub(crate) fn verdict(session: &mut Session<'_>, outcome: Result<bool, Failure>) -> Outcome {
    match outcome {
        Ok(false) => Ok(()),
        Ok(true) => {
            session.warning("identified at least one change, exiting with non-zero exit code");
            Err(Failure {
                message: String::new(),
                code: 1,
            })
        }
        Err(failure) => Err(Failure { code: 2, ..failure }),
    }
}

/// An apply that is only tried.
pub(crate) struct Apply<'a> {
    /// Field manager of the controller whose apply it is.
    pub manager: &'static str,
    /// Fields to leave alone.
    pub ignore: &'a IgnoreRules,
    /// The objects.
    pub items: &'a [Rendered],
}

/// Tells what an apply would change; whether that is anything.
pub(crate) async fn tell(
    session: &mut Session<'_>,
    cluster: &dyn Cluster,
    apply: &Apply<'_>,
) -> Result<bool, Failure> {
    let width = session
        .env
        .outside
        .terminal()
        .map(|(columns, _)| usize::from(columns));
    let namespaces: BTreeSet<&str> = apply
        .items
        .iter()
        .filter(|item| item.object.kind() == "Namespace")
        .map(|item| item.object.name())
        .collect();
    let mut changed = false;
    for item in apply.items {
        if let Some((text, counts)) = one(cluster, item, apply, &namespaces, width).await? {
            changed |= counts;
            session.print(&text)?;
        }
    }
    Ok(changed)
}

async fn changes(session: &mut Session<'_>, options: &Trial) -> Result<bool, Failure> {
    options.build.demand_folder(session)?;
    let mut built = build::built(session, &options.build).await?;
    for item in &mut built.items {
        // As the controller applies it.
        item.object = fluvial_api::convert::to_current(item.object.take());
    }
    let cluster = session.cluster().await?;
    let mut inventory = Inventory::default();
    for (position, owner) in built.owners.iter().enumerate() {
        let found = live(cluster.as_ref(), owner).await?;
        if position == 0 && found.is_none() && !options.ignore_not_found {
            let noun = nouns::of_kind("Kustomization").ok_or_else(|| Failure::new("no such kind"))?;
            let absent = super::not_found(noun, state::name(owner)).message;
            return Err(Failure::new(format!(
                "failed to get kustomization object: {absent}"
            )));
        }
        let prunes = field(owner, &["spec", "prune"]) == Some(&Value::Bool(true));
        let status = found
            .as_ref()
            .and_then(|found| field(found, &["status", "inventory"]));
        if let (true, Some(status)) = (prunes, status) {
            inventory = inventory.union(&Inventory::from_value(status)?);
        }
    }
    let ignore = built
        .owners
        .first()
        .and_then(|owner| field(owner, &["spec", "ignore"]));
    let ignore = IgnoreRules::from_value(ignore.unwrap_or(&Value::Null))?;
    let apply = Apply {
        manager: "kustomize-controller",
        ignore: &ignore,
        items: &built.items,
    };
    let mut changed = tell(session, cluster.as_ref(), &apply).await?;
    let desired = built.items.iter().map(|item| Entry::of(&item.object));
    let mut gone = inventory.without(&Inventory::new(desired));
    stage::sort(&mut gone, |entry| &entry.id);
    for entry in gone {
        changed = true;
        session.print(&format!(
            "► {} deleted\n",
            named(&entry.id.kind, &entry.id.namespace, &entry.id.name)
        ))?;
    }
    Ok(changed)
}

fn named(kind: &str, namespace: &str, name: &str) -> String {
    match namespace {
        "" => format!("{kind}/{name}"),
        namespace => format!("{kind}/{namespace}/{name}"),
    }
}

/// The Kustomization on the cluster.
async fn live(cluster: &dyn Cluster, owner: &Value) -> Result<Option<Value>, Failure> {
    let noun = nouns::of_kind("Kustomization").ok_or_else(|| Failure::new("no such kind"))?;
    let resource = noun.resource();
    let target = state::target(&resource, owner);
    Ok(cluster.get(target).await?)
}

/// What is to be said of one object, and whether it counts as a change.
async fn one(
    cluster: &dyn Cluster,
    item: &Rendered,
    apply: &Apply<'_>,
    namespaces: &BTreeSet<&str>,
    width: Option<usize>,
) -> Result<Option<(String, bool)>, Failure> {
    let mut object = item.object.clone();
    let encrypted = object.kind() == "Secret" && object.get("sops").is_some();
    render::hide_encrypted(&mut object);
    let id = named(object.kind(), object.namespace(), object.name());
    let failed = |error: ClusterError| {
        let reason = match error.reason.as_str() {
            "" => String::new(),
            reason => format!(" ({reason})"),
        };
        Failure::new(format!("{id} dry-run failed{reason}: {error}"))
    };
    let version = state::text(&object, &["apiVersion"]).unwrap_or_default();
    let resource = match cluster.resource(version, object.kind()).await {
        Ok(resource) => resource,
        Err(error) => return Err(failed(error)),
    };
    let target = Target {
        resource: &resource,
        namespace: if resource.namespaced {
            object.namespace()
        } else {
            ""
        },
        name: object.name(),
    };
    let live = cluster.get(target).await?;
    if skip(&object, live.as_ref()).is_some() {
        return Ok(Some((format!("► {id} skipped\n"), false)));
    }
    let created = || Ok(Some((format!("► {id} created\n"), true)));
    let mut applied = object.clone();
    let pointers = apply.ignore.pointers(&object);
    if let Some(live) = &live {
        leave_alone(&mut applied, live, &pointers, apply.manager);
    }
    let how = How {
        manager: apply.manager,
        force: true,
        dry_run: true,
    };
    let mut merged = match cluster.apply(target, &applied, how).await {
        Ok(merged) => merged,
        // Its namespace is about to be made by the same apply.
        Err(error) if error.kind == ErrorKind::NotFound && namespaces.contains(target.namespace) => {
            return created();
        }
        Err(error) => return Err(failed(error)),
    };
    let Some(mut live) = live else {
        return created();
    };
    if encrypted {
        keep_values(&mut merged, &live);
    }
    if drift::compare(&merged, Some(&live), &pointers) == drift::Drift::None {
        return Ok(None);
    }
    for object in [&mut live, &mut merged] {
        strip(object);
    }
    if object.kind() == "Secret" {
        mask(&mut live, &mut merged);
    }
    let report = difference::report(&live, &merged, width);
    Ok(Some((format!("► {id} drifted\n\n{report}"), true)))
}

/// Takes away what a server says of an object besides its content.
fn strip(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
    }
}

/// Encrypted values cannot be compared; only which there are counts.
fn keep_values(merged: &mut Value, live: &Value) {
    let Some(data) = merged.get_mut("data").and_then(Value::as_object_mut) else {
        return;
    };
    for (key, value) in data {
        if let Some(known) = live["data"].get(key) {
            *value = known.clone();
        }
    }
}

/// Takes secret values out of sight, and leaves whether they differ.
fn mask(live: &mut Value, merged: &mut Value) {
    // A mask is text, as what it hides is once it is decoded.
    let decoded = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap_or_default()
    };
    let before = live.get("data").cloned().unwrap_or_default();
    let after = merged.get("data").cloned().unwrap_or_default();
    let hide = |object: &mut Value, other: &Value, word: &str| {
        let data = object.get_mut("data").and_then(Value::as_object_mut);
        for (key, value) in data.into_iter().flatten() {
            *value = match other.get(key) {
                Some(known) if decoded(known) != decoded(value) => json!(format!("*** ({word})")),
                _ => json!("*****"),
            };
        }
    };
    hide(live, &after, "before");
    hide(merged, &before, "after");
}

//! `suspend` and `resume`: let objects rest, and wake them again.

use std::sync::Arc;

use fluvial_api::keys;
use fluvial_ports::{Cluster, ClusterError, Patch, PatchKind, Select, Target};
use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};

use super::wait;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns::Noun;
use crate::state::{self, is_static};

/// Field manager of the command line, as flux names it.
pub(crate) const MANAGER: &str = "flux";

/// Options of both.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// All objects of the kind in the namespace.
    #[arg(long, global = true)]
    pub all: bool,
    /// Wait for one object after another (resume only; without it all are waited for together).
    #[arg(long, global = true)]
    pub wait: bool,
}

/// What tells both verbs apart.
struct Turn {
    /// Whether objects are to rest.
    rest: bool,
    doing: &'static str,
    done: &'static str,
}

const SUSPEND: Turn = Turn {
    rest: true,
    doing: "suspending",
    done: "suspended",
};
const RESUME: Turn = Turn {
    rest: false,
    doing: "resuming",
    done: "resumed",
};

impl Turn {
    /// What is said of an object that is not there.
    fn absent(&self, noun: &Noun, name: Option<&str>, namespace: &str) -> String {
        let kind = noun.kind;
        match name {
            Some(name) if self.rest => format!("{kind} {name} not found in {namespace} namespace"),
            Some(name) => format!("{kind} object '{name}' not found in {namespace} namespace"),
            None => format!("no {kind} objects found in {namespace} namespace"),
        }
    }

    /// Turns the objects of these names, or all; `then` gets each one as it is afterwards.
    async fn run(
        &self,
        session: &mut Session<'_>,
        cluster: &dyn Cluster,
        noun: &'static Noun,
        names: &[String],
        mut then: impl AsyncFnMut(&mut Session<'_>, Value),
    ) -> Outcome {
        let namespace = session.global.namespace.clone();
        for (name, objects) in find(cluster, noun, names, &namespace).await? {
            if objects.is_empty() {
                session.failure(&self.absent(noun, name, &namespace));
            }
            for object in objects {
                session.action(&format!(
                    "{} {} {} in {} namespace",
                    self.doing,
                    noun.human,
                    state::name(&object),
                    state::namespace(&object)
                ));
                let object = set_suspended(cluster, noun, &object, self.rest).await?;
                session.success(&format!("{} {}", noun.human, self.done));
                then(session, object).await;
            }
        }
        Ok(())
    }
}

fn some_named(noun: &Noun, names: &[String], options: &Options) -> Outcome {
    if names.is_empty() && !options.all {
        return Err(Failure::new(format!("{} name is required", noun.human)));
    }
    Ok(())
}

/// Lets objects rest.
pub(crate) async fn suspend(
    session: &mut Session<'_>,
    noun: &'static Noun,
    names: &[String],
    options: &Options,
) -> Outcome {
    some_named(noun, names, options)?;
    let cluster = session.cluster().await?;
    SUSPEND
        .run(
            session,
            cluster.as_ref(),
            noun,
            names,
            async |_: &mut Session<'_>, _: Value| {},
        )
        .await
}

/// Wakes objects, and waits until they have been reconciled.
pub(crate) async fn resume(
    session: &mut Session<'_>,
    noun: &'static Noun,
    names: &[String],
    options: &Options,
) -> Outcome {
    some_named(noun, names, options)?;
    let cluster = session.cluster().await?;
    let timeout = session.global.timeout;
    let (mut resumed, mut failures) = (vec![], 0);
    let then = async |session: &mut Session<'_>, object: Value| {
        if options.wait {
            session.waiting(&format!("waiting for {} reconciliation", noun.kind));
            let result = awake(cluster.clone(), noun, object, timeout).await;
            failures += usize::from(!report(session, noun, result));
        } else {
            resumed.push(object);
        }
    };
    RESUME.run(session, cluster.as_ref(), noun, names, then).await?;
    let mut pending = FuturesUnordered::new();
    for object in resumed {
        session.waiting(&format!("waiting for {} reconciliation", noun.kind));
        pending.push(awake(cluster.clone(), noun, object, timeout));
    }
    while let Some(result) = pending.next().await {
        failures += usize::from(!report(session, noun, result));
    }
    match failures {
        0 => Ok(()),
        count => Err(Failure::new(format!(
            "reconciliation failed for {count} {}(s)",
            noun.kind
        ))),
    }
}

/// Objects of a kind by name (each with what was found for it), or all of them under no name.
async fn find<'a>(
    cluster: &dyn Cluster,
    noun: &Noun,
    names: &'a [String],
    namespace: &str,
) -> Result<Vec<(Option<&'a str>, Vec<Value>)>, ClusterError> {
    let resource = noun.resource();
    if names.is_empty() {
        let select = Select {
            namespace: Some(namespace.to_owned()),
            ..Select::default()
        };
        let mut all = cluster.list(&resource, &select).await?;
        all.sort_by(|a, b| state::name(a).cmp(state::name(b)));
        return Ok(vec![(None, all)]);
    }
    let mut found = vec![];
    for name in names {
        let target = Target {
            resource: &resource,
            namespace,
            name,
        };
        found.push((
            Some(name.as_str()),
            cluster.get(target).await?.into_iter().collect(),
        ));
    }
    Ok(found)
}

async fn set_suspended(
    cluster: &dyn Cluster,
    noun: &Noun,
    object: &Value,
    suspended: bool,
) -> Result<Value, ClusterError> {
    let body = if noun.kind == "ArtifactGenerator" {
        let value = if suspended { "disabled" } else { "enabled" };
        json!({"metadata": {"annotations": {keys::GENERATOR_RECONCILE: value}}})
    } else {
        // Absent means awake, so that an object looks as before its rest.
        json!({"spec": {"suspend": if suspended { Value::Bool(true) } else { Value::Null }}})
    };
    let resource = noun.resource();
    let target = state::target(&resource, object);
    let patch = Patch {
        kind: PatchKind::Merge,
        subresource: None,
        manager: MANAGER,
        body: &body,
        dry_run: false,
    };
    cluster.patch(target, patch).await
}

/// Waits for an object to be reconciled after its rest.
async fn awake(
    cluster: Arc<dyn Cluster>,
    noun: &'static Noun,
    object: Value,
    timeout: std::time::Duration,
) -> (String, Result<Value, String>) {
    let name = state::name(&object).to_owned();
    if is_static(&object) {
        return (name, Ok(object));
    }
    let result = wait::until(cluster.as_ref(), noun, &object, timeout, |object| {
        state::progress(object) == state::Progress::Current && state::condition(object, "Ready").is_some()
    })
    .await;
    (name, result)
}

/// Says how it went; true if well.
fn report(session: &mut Session<'_>, noun: &Noun, (name, result): (String, Result<Value, String>)) -> bool {
    match result {
        Ok(object) => {
            session.success(&format!("{} {name} reconciliation completed", noun.kind));
            session.success(&wait::success_message(noun, &object));
            true
        }
        Err(message) => {
            session.failure(&format!("{} {name} reconciliation failed: {message}", noun.kind));
            false
        }
    }
}

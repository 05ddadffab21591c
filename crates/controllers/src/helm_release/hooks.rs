//! Hooks: objects that run at a moment of an action, one after the other, and are cleaned up as they say.

use fluvial_delivery::health::Status;
use fluvial_helm::release::{HookRun, Phase, Stored, hooks_of};
use fluvial_object::ObjectExt;
use fluvial_ports::{Clock, ClusterError, Create, Propagation};
use serde_json::Value;

use super::names::Manner;
use super::objects::{Hands, MANAGER, Trouble, Waits};
use crate::kustomization::apply::target;
use crate::kustomization::health::Awaited;

const SUCCEEDED: &str = "hook-succeeded";
const FAILED: &str = "hook-failed";
const BEFORE: &str = "before-hook-creation";

/// A moment of an action at which hooks run.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'f> {
    /// Which one.
    pub(crate) phase: Phase,
    /// When everything must be over.
    pub(crate) limit: tokio::time::Instant,
    /// Which of its hooks run; all without it.
    pub(crate) only: Option<&'f (dyn Fn(&str) -> bool + Sync)>,
}

impl Hands<'_> {
    /// Runs the hooks of a moment. What came of each is put into the release, which the caller stores.
    pub(crate) async fn run_hooks(
        &self,
        release: &mut Stored,
        moment: Moment<'_>,
        manner: &Manner,
        clock: &dyn Clock,
        waits: &mut Waits<'_>,
    ) -> Result<(), Trouble> {
        let limit = moment.limit;
        let mut order = hooks_of(&release.hooks, moment.phase);
        if let Some(only) = moment.only {
            order.retain(|position| only(&release.hooks[*position].name));
        }
        let mut done = Vec::new();
        for position in order {
            let object = hook_object(&release.hooks[position].manifest)?;
            let policies = release.hooks[position].delete_policies.clone();
            let has = |policy: &str| policies.iter().any(|known| known == policy);
            if has(BEFORE) || policies.is_empty() {
                self.remove_hook(&object, limit, waits).await?;
            }
            release.hooks[position].last_run = HookRun {
                started_at: clock.now().to_string(),
                completed_at: String::new(),
                phase: "Running".to_owned(),
            };
            let result = self.run_hook(&object, manner, limit, waits).await;
            let run = &mut release.hooks[position].last_run;
            run.completed_at = clock.now().to_string();
            if let Err(trouble) = result {
                run.phase = "Failed".to_owned();
                if has(FAILED) {
                    // The failure itself is what is told.
                    if let Err(error) = self.remove_hook(&object, limit, waits).await {
                        tracing::warn!("a failed hook could not be deleted: {}", error.text);
                    }
                }
                self.clean(&done, limit, waits).await;
                return Err(trouble);
            }
            run.phase = "Succeeded".to_owned();
            if has(SUCCEEDED) {
                done.push(object);
            }
        }
        for object in done.iter().rev() {
            self.remove_hook(object, limit, waits).await?;
        }
        Ok(())
    }

    /// Removes hooks that had succeeded before another one failed.
    async fn clean(&self, done: &[Value], limit: tokio::time::Instant, waits: &mut Waits<'_>) {
        for object in done {
            if let Err(error) = self.remove_hook(object, limit, waits).await {
                tracing::warn!("a hook could not be deleted: {}", error.text);
            }
        }
    }

    async fn remove_hook(
        &self,
        object: &Value,
        limit: tokio::time::Instant,
        waits: &mut Waits<'_>,
    ) -> Result<(), Trouble> {
        let deleted = self.delete_one(object, Propagation::Background).await;
        let failed = |error: ClusterError| Trouble::from(format!("hook {}: {error}", object.id()));
        match deleted.map_err(failed)? {
            Some(going) => self.wait_gone(&[going], limit, waits).await,
            None => Ok(()),
        }
    }

    async fn run_hook(
        &self,
        object: &Value,
        manner: &Manner,
        limit: tokio::time::Instant,
        waits: &mut Waits<'_>,
    ) -> Result<(), Trouble> {
        let failed =
            |error: ClusterError| Trouble::from(format!("warning: Hook {} failed: {error}", object.id()));
        let placed = self.place(object).await.map_err(failed)?;
        let target = target(&placed.resource, &placed.id);
        self.metrics.wrote("object");
        let how = Create {
            manager: MANAGER,
            dry_run: false,
        };
        let created = self.cluster.create(target, &placed.object, how).await;
        let now = match created {
            // One that is never deleted is there from an earlier time.
            Err(error) if error.kind == fluvial_ports::ErrorKind::AlreadyExists && manner.server_side => {
                let how = fluvial_ports::Apply {
                    manager: MANAGER,
                    force: true,
                    dry_run: false,
                };
                self.cluster
                    .apply(target, &placed.object, how)
                    .await
                    .map_err(failed)?
            }
            created => created.map_err(failed)?,
        };
        let ends = matches!(placed.id.kind.as_str(), "Pod" | "Job");
        if manner.legacy_wait && !ends {
            return Ok(());
        }
        let mut awaited = Awaited {
            ends,
            ..placed.awaited(&now, &self.judge)
        };
        if ends {
            // Whatever it looks like, it has only just been made.
            awaited.health.status = Status::InProgress;
        }
        // A hook under way may be moving data: it ends before anything newer begins.
        let mut waits = Waits {
            work: &mut *waits.work,
            slot: &mut *waits.slot,
            newer: None,
        };
        self.wait(vec![awaited], limit, &mut waits).await
    }
}

fn hook_object(manifest: &str) -> Result<Value, Trouble> {
    let mut objects = fluvial_helm::release::objects_of(manifest)
        .map_err(|error| Trouble::from(format!("unable to build kubernetes object for hook: {error}")))?;
    objects
        .pop()
        .map(|one| one.object)
        .ok_or_else(|| Trouble::from("unable to build kubernetes object for hook: it is empty".to_owned()))
}

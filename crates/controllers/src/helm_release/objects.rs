//! Objects of a release in the cluster: who owns them, applying, replacing, removing, waiting for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fluvial_delivery::health::Status;
use fluvial_delivery::ownership::{TakenOver, clean_up};
use fluvial_helm::release::Object;
use fluvial_object::{ObjectExt, ObjectId};
use fluvial_ports::{
    Apply, BoxFuture, Cluster, ClusterError, Create, Delete, ErrorKind, Patch, PatchKind, Propagation,
    Resource,
};
use fluvial_schema::SchemaSet;
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::names::Manner;
use crate::Key;
use crate::kustomization::apply::target;
use crate::kustomization::health::{Awaited, Ended, Judge, Wait};
use crate::kustomization::prune::gone;
use crate::metrics::Metrics;
use crate::queue::{Reasons, Work};
use crate::runner::Slot;

/// Field manager of everything that a release holds.
pub(crate) const MANAGER: &str = "helm-controller";
/// Who manages an object.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The release that an object is of.
pub(crate) const RELEASE_NAME: &str = "meta.helm.sh/release-name";
/// The namespace of that release.
pub(crate) const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";
/// How long a kind is waited for whose definition is part of the same release.
const SERVED_SOON: Duration = Duration::from_secs(10);
/// What ends a wait before its time: another spec.
const NEWER: Reasons = Reasons::SPEC.with(Reasons::DELETED);

/// Why an action failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Text.
    pub(crate) text: String,
    /// Whether something newer ended it.
    pub(crate) canceled: bool,
    /// Kinds that are not served.
    pub(crate) missing_kinds: Vec<(String, String)>,
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

impl Trouble {
    /// The same behind a text.
    pub(crate) fn context(mut self, context: &str) -> Self {
        self.text = format!("{context}: {}", self.text);
        self
    }
}

/// Waits of a run: they hold no worker, and end when something newer is there.
pub(crate) struct Waits<'a> {
    /// The run.
    pub(crate) work: &'a mut Work<Key>,
    /// Its place.
    pub(crate) slot: &'a mut Slot,
    /// Whether there is something newer, which ends a wait; nothing does without it. The reasons alone do not tell:
    /// the run may have seen already what they are about.
    pub(crate) newer: Option<&'a (dyn Fn() -> bool + Send + Sync)>,
}

impl Waits<'_> {
    /// Waits for `future`, for so long at most. `Err(true)`: something newer is there.
    async fn for_<T>(
        &mut self,
        limit: tokio::time::Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, bool> {
        let Self { work, slot, newer } = self;
        let newer = *newer;
        let mut heard = Reasons::default();
        let waiting = async {
            tokio::pin!(future);
            loop {
                tokio::select! {
                    done = &mut future => return Ok(done),
                    news = work.changed() => {
                        heard = heard.with(news);
                        if news.any(NEWER) && newer.is_some_and(|newer| newer()) {
                            return Err(true);
                        }
                    }
                }
            }
        };
        let result = slot.parked(tokio::time::timeout_at(limit, waiting)).await;
        // What happened meanwhile is for the next run.
        if !heard.is_empty() {
            work.keep(heard);
        }
        result.unwrap_or(Err(false))
    }
}

/// An object of a release with its kind as the API serves it.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    /// Which object.
    pub(crate) id: ObjectId,
    /// Its kind.
    pub(crate) resource: Arc<Resource>,
    /// The object as the manifest has it, with its namespace.
    pub(crate) object: Value,
}

impl Placed {
    /// The object as it was just seen, to wait for.
    pub(crate) fn awaited(&self, live: &Value, judge: &Judge) -> Awaited {
        Awaited::seen(self.id.clone(), Arc::clone(&self.resource), live, judge)
    }
}

/// What acts on objects.
pub(crate) struct Hands<'a> {
    /// The cluster, as the identity that applies.
    pub(crate) cluster: Arc<dyn Cluster>,
    /// Name of the release.
    pub(crate) release: &'a str,
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// Judges objects.
    pub(crate) judge: Judge,
    /// Requests at the same time.
    pub(crate) concurrent: usize,
    /// Counts writes.
    pub(crate) metrics: &'a Metrics,
    /// Schemas of the built-in kinds.
    pub(crate) schemas: &'a SchemaSet,
    /// Whose fields are taken over when an object was not applied by the server before.
    pub(crate) taken_over: &'a [TakenOver],
}

/// The kinds that definitions among objects bring.
fn brought(objects: &[Object]) -> BTreeSet<(String, String)> {
    objects
        .iter()
        .filter(|one| one.kind() == "CustomResourceDefinition")
        .filter_map(|one| {
            let group = one.object.text_at(&["spec", "group"])?;
            let kind = one.object.text_at(&["spec", "names", "kind"])?;
            Some((group.to_owned(), kind.to_owned()))
        })
        .collect()
}

impl Hands<'_> {
    /// Finds the kinds of objects. What a definition among them brings is looked for when its turn comes.
    pub(crate) async fn check_kinds(&self, objects: &[Object]) -> Result<(), Trouble> {
        let brought = brought(objects);
        let mut seen = BTreeSet::new();
        let mut trouble = Trouble::default();
        let mut texts = Vec::new();
        for one in objects {
            let object = &one.object;
            let kind = (object.group().to_owned(), object.kind().to_owned());
            if brought.contains(&kind) || !seen.insert((object.api_version(), object.kind())) {
                continue;
            }
            if let Err(error) = self.cluster.resource(object.api_version(), object.kind()).await {
                if error.kind == ErrorKind::NoKind {
                    trouble.missing_kinds.push(kind);
                }
                texts.push(format!(
                    "resource mapping not found for name: \"{}\" namespace: \"{}\" from \"{}\": {error}",
                    object.name(),
                    object.namespace(),
                    one.source
                ));
            }
        }
        if texts.is_empty() {
            return Ok(());
        }
        trouble.text = format!(
            "unable to build kubernetes objects from release manifest: {}",
            texts.join(", ")
        );
        Err(trouble)
    }

    /// An object with its kind and namespace.
    pub(crate) async fn place(&self, object: &Value) -> Result<Placed, ClusterError> {
        let resource = self.cluster.resource(object.api_version(), object.kind()).await?;
        let mut object = object.clone();
        if resource.namespaced && object.namespace().is_empty() {
            object
                .metadata_mut()
                .insert("namespace".to_owned(), json!(self.namespace));
        }
        let mut id = object.id();
        if !resource.namespaced {
            id.namespace.clear();
        }
        Ok(Placed { id, resource, object })
    }

    /// The same, where the kind may be served in a moment.
    async fn place_soon(&self, object: &Value) -> Result<Placed, ClusterError> {
        let deadline = tokio::time::Instant::now() + SERVED_SOON;
        let mut changes = self.cluster.kind_changes();
        loop {
            match self.place(object).await {
                Err(error) if error.kind == ErrorKind::NoKind => {
                    let pause = Duration::from_millis(50);
                    if tokio::time::Instant::now() > deadline {
                        return Err(error);
                    }
                    let _ = tokio::time::timeout(pause, changes.next()).await;
                }
                placed => return placed,
            }
        }
    }

    /// The object with the marks that tell Helm whose it is.
    pub(crate) fn owned(&self, object: &Value) -> Value {
        let mut object = object.clone();
        object.set_label(MANAGED_BY, "Helm");
        object.set_annotation(RELEASE_NAME, self.release);
        object.set_annotation(RELEASE_NAMESPACE, self.namespace);
        object
    }

    /// Applies objects in order; those of one kind at the same time. `before` is what the version before had.
    pub(crate) async fn apply(
        &self,
        objects: &[Object],
        before: &[Object],
        manner: &Manner,
        applied: &mut Vec<Awaited>,
        created: &mut Vec<Placed>,
    ) -> Result<(), Trouble> {
        let mut rest = objects;
        let brings = !brought(objects).is_empty();
        while let Some(first) = rest.first() {
            let same = rest.iter().take_while(|one| one.kind() == first.kind()).count();
            let (batch, later) = rest.split_at(same);
            rest = later;
            let writes: Vec<BoxFuture<'_, Result<(Awaited, Option<Placed>), Trouble>>> = batch
                .iter()
                .map(|one| Box::pin(self.apply_one(one, before, manner, brings)) as BoxFuture<'_, _>)
                .collect();
            let results: Vec<_> = stream::iter(writes)
                .buffered(self.concurrent.max(1))
                .collect()
                .await;
            for result in results {
                let (awaited, new) = result?;
                applied.push(awaited);
                created.extend(new);
            }
        }
        Ok(())
    }

    async fn apply_one(
        &self,
        one: &Object,
        before: &[Object],
        manner: &Manner,
        brings: bool,
    ) -> Result<(Awaited, Option<Placed>), Trouble> {
        let named = |error: &ClusterError| format!("failed to create resource {}: {error}", one.object.id());
        let placed = if brings {
            self.place_soon(&one.object).await
        } else {
            self.place(&one.object).await
        };
        let placed = placed.map_err(|error| Trouble::from(named(&error)))?;
        let desired = self.owned(&placed.object);
        let known = before
            .iter()
            .find(|old| same_object(&old.object, &one.object))
            .map(|old| &old.object);
        let result = if manner.server_side {
            self.apply_server_side(&placed, &desired).await
        } else {
            self.apply_client_side(&placed, &desired, known, manner.replace)
                .await
        };
        let now = result.map_err(|error| Trouble::from(named(&error)))?;
        let awaited = placed.awaited(&now, &self.judge);
        let new = known.is_none().then_some(placed);
        Ok((awaited, new))
    }

    async fn apply_server_side(&self, placed: &Placed, desired: &Value) -> Result<Value, ClusterError> {
        let how = Apply {
            manager: MANAGER,
            force: true,
            dry_run: false,
        };
        self.metrics.wrote("object");
        self.cluster
            .apply(target(&placed.resource, &placed.id), desired, how)
            .await
    }

    /// Takes fields over that were written without the server's book-keeping, so that they can go again.
    pub(crate) async fn take_over(&self, objects: &[Object]) -> Result<(), Trouble> {
        for one in objects {
            let Ok(placed) = self.place(&one.object).await else {
                continue;
            };
            let target = target(&placed.resource, &placed.id);
            let failed = |error: ClusterError| Trouble::from(format!("{}: {error}", placed.id));
            let Some(live) = self.cluster.get(target).await.map_err(failed)? else {
                continue;
            };
            let Some(body) = clean_up(&live, MANAGER, self.taken_over) else {
                continue;
            };
            self.metrics.wrote("object");
            let patch = Patch {
                kind: PatchKind::Json,
                subresource: None,
                manager: MANAGER,
                body: &body,
                dry_run: false,
            };
            self.cluster.patch(target, patch).await.map_err(failed)?;
        }
        Ok(())
    }

    /// As Helm did before the server kept track: what the version before had and this one has not is removed, the
    /// changes of others in other fields stay.
    async fn apply_client_side(
        &self,
        placed: &Placed,
        desired: &Value,
        before: Option<&Value>,
        replace: bool,
    ) -> Result<Value, ClusterError> {
        let target = target(&placed.resource, &placed.id);
        let live = self.cluster.get(target).await?;
        self.metrics.wrote("object");
        let Some(live) = live else {
            let how = Create {
                manager: MANAGER,
                dry_run: false,
            };
            return self.cluster.create(target, desired, how).await;
        };
        let invalid = |error: &dyn std::fmt::Display| {
            ClusterError::new(ErrorKind::Invalid, format!("the patch cannot be made: {error}"))
        };
        let wanted = if replace {
            replacement(&live, desired)
        } else {
            let original = before.map_or_else(|| desired.clone(), |old| self.owned(old));
            three_way(&original, desired, &live, self.schemas).map_err(|error| invalid(&error))?
        };
        let body = fluvial_merge::merge_patch::diff(&live, &wanted).map_err(|error| invalid(&error))?;
        if body.as_object().is_none_or(serde_json::Map::is_empty) {
            return Ok(live);
        }
        let patch = Patch {
            kind: PatchKind::Merge,
            subresource: None,
            manager: MANAGER,
            body: &body,
            dry_run: false,
        };
        self.cluster.patch(target, patch).await
    }

    /// Creates an object, if it is not there.
    pub(crate) async fn create_if_absent(&self, object: &Value) -> Result<(), Trouble> {
        let failed =
            |error: ClusterError| Trouble::from(format!("failed to create {}: {error}", object.id()));
        let placed = self.place(object).await.map_err(failed)?;
        let target = target(&placed.resource, &placed.id);
        // Who may not make it can still find it there.
        if self.cluster.get(target).await.is_ok_and(|found| found.is_some()) {
            return Ok(());
        }
        let how = Create {
            manager: MANAGER,
            dry_run: false,
        };
        self.metrics.wrote("object");
        match self.cluster.create(target, object, how).await {
            Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(()),
            result => result.map(|_now| ()).map_err(failed),
        }
    }

    /// Makes sure that no object is there already that is not of this release.
    pub(crate) async fn check_owners(&self, objects: &[Object], verb: &str) -> Result<(), Trouble> {
        for one in objects {
            // A kind that is not served yet has no objects.
            let Ok(placed) = self.place(&one.object).await else {
                continue;
            };
            let live = self
                .cluster
                .get(target(&placed.resource, &placed.id))
                .await
                .map_err(|error| Trouble::from(format!("{}: {error}", placed.id)))?;
            let Some(live) = live else { continue };
            let faults = self.faults(&live);
            if !faults.is_empty() {
                return Err(Trouble::from(format!(
                    "Unable to continue with {verb}: {} \"{}\" in namespace \"{}\" exists and cannot be imported into the \
                     current release: invalid ownership metadata; {}",
                    live.kind(),
                    live.name(),
                    live.namespace(),
                    faults.join("; ")
                )));
            }
        }
        Ok(())
    }

    /// What shows that an object is not of this release.
    fn faults(&self, live: &Value) -> Vec<String> {
        let checks = [
            ("label", MANAGED_BY, live.label(MANAGED_BY), "Helm"),
            (
                "annotation",
                RELEASE_NAME,
                live.annotation(RELEASE_NAME),
                self.release,
            ),
            (
                "annotation",
                RELEASE_NAMESPACE,
                live.annotation(RELEASE_NAMESPACE),
                self.namespace,
            ),
        ];
        checks
            .iter()
            .filter_map(|(what, key, found, wanted)| match found {
                None => Some(format!(
                    "{what} validation error: missing key \"{key}\": must be set to \"{wanted}\""
                )),
                Some(found) if found != wanted => Some(format!(
                    "{what} validation error: key \"{key}\" must equal \"{wanted}\": current value is \"{found}\""
                )),
                Some(_) => None,
            })
            .collect()
    }

    /// Deletes objects; those that stay by policy are left out. Gives what is on its way out.
    pub(crate) async fn delete(
        &self,
        objects: &[Object],
        propagation: Propagation,
    ) -> (Vec<(Placed, String)>, Vec<String>) {
        let mut going = Vec::new();
        let mut errors = Vec::new();
        for one in objects.iter().filter(|one| !one.is_kept()) {
            match self.delete_one(&one.object, propagation).await {
                Ok(Some(gone)) => going.push(gone),
                Ok(None) => {}
                Err(error) => errors.push(format!("failed to delete {}: {error}", one.object.id())),
            }
        }
        (going, errors)
    }

    /// Deletes one object, if it is there.
    pub(crate) async fn delete_one(
        &self,
        object: &Value,
        propagation: Propagation,
    ) -> Result<Option<(Placed, String)>, ClusterError> {
        let placed = match self.place(object).await {
            Ok(placed) => placed,
            // Without its kind it is gone too.
            Err(error) if error.kind == ErrorKind::NoKind => return Ok(None),
            Err(error) => return Err(error),
        };
        let target = target(&placed.resource, &placed.id);
        let Some(live) = self.cluster.get(target).await? else {
            return Ok(None);
        };
        // What somebody asked to keep in the cluster is kept, whatever the manifest says.
        if kept(&live) {
            return Ok(None);
        }
        let how = Delete {
            uid: Some(live.uid()),
            resource_version: None,
            propagation,
        };
        self.metrics.wrote("object");
        self.cluster.delete(target, how).await?;
        let uid = live.uid().to_owned();
        Ok(Some((placed, uid)))
    }

    /// Waits until deleted objects are gone.
    pub(crate) async fn wait_gone(
        &self,
        going: &[(Placed, String)],
        limit: tokio::time::Instant,
        waits: &mut Waits<'_>,
    ) -> Result<(), Trouble> {
        let all = async {
            for (placed, uid) in going {
                gone(&*self.cluster, &placed.id, &placed.resource, uid)
                    .await
                    .map_err(|error| format!("{}: {error}", placed.id))?;
            }
            Ok::<(), String>(())
        };
        match waits.for_(limit, all).await {
            Ok(result) => result.map_err(Trouble::from),
            Err(true) => Err(canceled()),
            Err(false) => {
                let names: Vec<String> = going.iter().map(|(placed, _)| placed.id.to_string()).collect();
                Err(Trouble::from(format!(
                    "timed out waiting for deletion of [{}]; look at their finalizers",
                    names.join(", ")
                )))
            }
        }
    }

    /// Waits until objects are healthy.
    pub(crate) async fn wait(
        &self,
        awaited: Vec<Awaited>,
        limit: tokio::time::Instant,
        waits: &mut Waits<'_>,
    ) -> Result<(), Trouble> {
        let open: Vec<Awaited> = awaited
            .into_iter()
            .filter(|one| one.health.status != Status::Current)
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let mut wait = Wait::new(&*self.cluster, open, self.judge.clone());
        let ended = waits.for_(limit, wait.run(true)).await;
        match ended {
            Ok(Ended::Current) => Ok(()),
            Ok(Ended::Failed) => Err(Trouble::from(wait.report(false))),
            Err(true) => Err(canceled()),
            Err(false) => Err(Trouble::from(wait.report(true))),
        }
    }
}

/// Which of applied objects are waited for.
pub(crate) fn awaited(applied: Vec<Awaited>, manner: &Manner) -> Vec<Awaited> {
    /// What Helm's older waiter looks at.
    const LEGACY: [&str; 10] = [
        "Pod",
        "Job",
        "Deployment",
        "PersistentVolumeClaim",
        "Service",
        "DaemonSet",
        "CustomResourceDefinition",
        "StatefulSet",
        "ReplicaSet",
        "ReplicationController",
    ];
    if !manner.wait {
        return Vec::new();
    }
    applied
        .into_iter()
        .filter(|one| manner.wait_for_jobs || one.id.kind != "Job")
        .filter(|one| !manner.legacy_wait || LEGACY.contains(&one.id.kind.as_str()))
        .collect()
}

fn canceled() -> Trouble {
    Trouble {
        text: "New reconciliation triggered, release action canceled".to_owned(),
        canceled: true,
        missing_kinds: Vec::new(),
    }
}

fn kept(live: &Value) -> bool {
    live.annotation("helm.sh/resource-policy")
        .is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep"))
}

/// Whether two manifests are of one object, versions aside.
pub(crate) fn same_object(one: &Value, other: &Value) -> bool {
    one.kind() == other.kind()
        && one.name() == other.name()
        && one.namespace() == other.namespace()
        && one.group() == other.group()
}

/// What the live object becomes: as wanted, without what was wanted before and is no more.
fn three_way(
    original: &Value,
    desired: &Value,
    live: &Value,
    schemas: &SchemaSet,
) -> Result<Value, fluvial_merge::PatchError> {
    let types = schemas.kind(desired.group(), desired.version(), desired.kind());
    if let Some(types) = types {
        let patch = fluvial_merge::strategic::diff3(original, desired, live, Some(&types), true)?;
        return fluvial_merge::strategic::apply(live.clone(), &patch, Some(&types));
    }
    // Of custom kinds nothing is known: lists are replaced.
    let mut wanted = live.clone();
    let additions = fluvial_merge::merge_patch::diff(live, desired)?;
    let removals = fluvial_merge::merge_patch::diff(original, desired)?;
    fluvial_merge::merge_patch::apply(&mut wanted, &only_removals(&removals))?;
    fluvial_merge::merge_patch::apply(&mut wanted, &without_removals(&additions))?;
    Ok(wanted)
}

/// The nulls of a merge patch alone.
fn only_removals(patch: &Value) -> Value {
    filtered(patch, &|value| value.is_null())
}

/// A merge patch without its nulls.
fn without_removals(patch: &Value) -> Value {
    filtered(patch, &|value| !value.is_null())
}

fn filtered(patch: &Value, keep: &dyn Fn(&Value) -> bool) -> Value {
    let Value::Object(fields) = patch else {
        return patch.clone();
    };
    let kept = fields.iter().filter_map(|(key, value)| match value {
        Value::Object(_) => Some((key.clone(), filtered(value, keep))),
        other => keep(other).then(|| (key.clone(), other.clone())),
    });
    Value::Object(kept.collect())
}

/// The live object with nothing of it left but what the server keeps.
fn replacement(live: &Value, desired: &Value) -> Value {
    let mut wanted = desired.clone();
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
        "finalizers",
    ] {
        if let Some(value) = live.at(&["metadata", field]) {
            wanted.metadata_mut().insert(field.to_owned(), value.clone());
        }
    }
    if let (Some(status), Some(fields)) = (live.get("status"), wanted.as_object_mut()) {
        fields.insert("status".to_owned(), status.clone());
    }
    wanted
}

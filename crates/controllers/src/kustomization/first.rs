//! The first delivery of a Kustomization. Nothing that it applies is on record before, if it is a matter of a moment:
//! what a kill leaves behind is then found by its labels and its field manager.

use std::sync::PoisonError;

use fluvial_api::Kustomization;
use fluvial_api::keys::FINALIZER;
use fluvial_delivery::control::{OWNER_NAME, OWNER_NAMESPACE};
use fluvial_delivery::inventory::{Entry, Inventory};
use fluvial_delivery::stage::{Stage, stage_of};
use fluvial_object::ObjectExt;
use fluvial_ports::{BoxFuture, Cluster, ClusterError, ErrorKind, Select};
use futures::{StreamExt, stream};
use rustc_hash::FxHashSet;
use serde_json::Value;

use super::Kustomizations;
use super::apply::MANAGER;
use super::manifest::Item;
use super::step::{Facts, RECONCILIATION_FAILED, inventory_of};
use crate::Key;
use crate::deliverer::account;
use crate::deliverer::failure::Failure;
use crate::writer::has_finalizer;

/// More objects than this take more than a moment.
const FEW: usize = 50;

/// Whether no run has written down anything yet.
fn is_untold(object: &Kustomization) -> bool {
    let status = &object.status;
    status.conditions.is_empty() && status.inventory.is_none() && status.last_applied_revision.is_none()
}

impl Kustomizations {
    /// What is probably there: the inventory, or what a kill has cut off before there was one, which is to be recorded
    /// however the run ends.
    pub(super) async fn recorded(
        &self,
        key: &Key,
        object: &Kustomization,
        facts: &mut Facts,
    ) -> Result<Inventory, Failure> {
        let failed = |text: String| Failure::retry(RECONCILIATION_FAILED, text);
        let begun = is_untold(object) && has_finalizer(object, FINALIZER) && self.is_own(object);
        if !begun || self.is_untouched(key, object) {
            return inventory_of(&object.status).map_err(failed);
        }
        let found = self.left_behind(object).await.map_err(|error| {
            failed(format!(
                "what an earlier run may have applied cannot be looked for: {error}"
            ))
        })?;
        if found.is_empty() {
            self.untouched(key, object);
        } else {
            tracing::info!(%key, count = found.len(), "an earlier run was cut off: what it applied is taken up");
            facts.inventory = Some(found.entries().to_vec());
        }
        Ok(found)
    }

    /// Whether a delivery may begin before it is on record; then it has begun.
    pub(super) fn begins_at_once(&self, key: &Key, object: &Kustomization, items: &[Item]) -> bool {
        let quick = |item: &Item| {
            stage_of(&item.id, &self.stage_kinds) == Stage::Rest
                || matches!(item.id.kind.as_str(), "Namespace" | "ClusterRole")
        };
        is_untold(object)
            && self.is_own(object)
            && items.len() <= FEW
            && items.iter().all(quick)
            && self
                .untouched
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&(key.clone(), object.metadata.uid.clone()))
    }

    /// Whether it applies as this process, where this process looks.
    fn is_own(&self, object: &Kustomization) -> bool {
        object.spec.kube_config.is_none() && account(&self.context.settings, object).is_none()
    }

    /// Remembers that nothing of a Kustomization has been applied yet.
    pub(super) fn untouched(&self, key: &Key, object: &Kustomization) {
        self.untouched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((key.clone(), object.metadata.uid.clone()));
    }

    fn is_untouched(&self, key: &Key, object: &Kustomization) -> bool {
        self.untouched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&(key.clone(), object.metadata.uid.clone()))
    }

    /// Everything in the cluster that was applied for a Kustomization.
    async fn left_behind(&self, object: &Kustomization) -> Result<Inventory, ClusterError> {
        let cluster = &*self.context.cluster;
        let served = cluster.served().await?.unwrap_or_default();
        let select = Select {
            labels: Some(format!(
                "{OWNER_NAME}={},{OWNER_NAMESPACE}={}",
                object.metadata.name, object.metadata.namespace
            )),
            metadata_only: true,
            ..Select::default()
        };
        let mut kinds = FxHashSet::default();
        let looks: Vec<BoxFuture<'_, Result<Vec<Entry>, ClusterError>>> = served
            .api_versions
            .iter()
            .filter_map(|text| kind_of(text))
            .filter(|(api_version, kind)| {
                let group = api_version.split_once('/').map_or("", |(group, _)| group);
                kinds.insert((group, *kind))
            })
            .map(|(api_version, kind)| {
                Box::pin(applied(cluster, api_version, kind, &select)) as BoxFuture<'_, _>
            })
            .collect();
        let concurrent = self.context.settings.concurrent_requests.max(1);
        let mut looks = stream::iter(looks).buffered(concurrent);
        let mut entries = Vec::new();
        while let Some(found) = looks.next().await {
            entries.extend(found?);
        }
        Ok(Inventory::new(entries))
    }
}

/// API version and kind of `group/version/Kind`; nothing for a group and version alone, and for parts of objects.
fn kind_of(text: &str) -> Option<(&str, &str)> {
    let (api_version, kind) = text.rsplit_once('/')?;
    kind.starts_with(|first: char| first.is_ascii_uppercase())
        .then_some((api_version, kind))
}

/// Objects of a kind that were applied by us.
async fn applied(
    cluster: &dyn Cluster,
    api_version: &str,
    kind: &str,
    select: &Select,
) -> Result<Vec<Entry>, ClusterError> {
    let listed = async {
        let resource = cluster.resource(api_version, kind).await?;
        let listed = cluster.list(&resource, select).await?;
        Ok::<_, ClusterError>((resource, listed))
    };
    let (resource, listed) = match listed.await {
        Ok(found) => found,
        // What cannot be listed: reviews and the like, and what this process has nothing to do with.
        Err(error)
            if matches!(
                error.kind,
                ErrorKind::NoKind | ErrorKind::NotFound | ErrorKind::Forbidden
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) if error.code == 405 => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let entries = listed.into_iter().filter(is_applied).map(|object| Entry {
        id: fluvial_object::ObjectId::new(&resource.group, &resource.kind, object.namespace(), object.name()),
        version: resource.version.clone(),
    });
    Ok(entries.collect())
}

/// Labels are copied to objects that others make; who applied an object is not.
fn is_applied(object: &Value) -> bool {
    let managers = object
        .at(&["metadata", "managedFields"])
        .and_then(Value::as_array);
    managers
        .into_iter()
        .flatten()
        .any(|entry| entry["manager"] == MANAGER && entry["operation"] == "Apply")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_whole_kinds_are_looked_at() {
        assert_eq!(kind_of("apps/v1/Deployment"), Some(("apps/v1", "Deployment")));
        assert_eq!(kind_of("v1/ConfigMap"), Some(("v1", "ConfigMap")));
        assert_eq!(kind_of("apps/v1"), None);
        assert_eq!(kind_of("v1"), None);
    }

    #[test]
    fn copies_of_labels_are_not_ours() {
        let by = |manager: &str, operation: &str| json!({"metadata": {"managedFields": [{"manager": manager, "operation": operation}]}});
        assert!(is_applied(&by(MANAGER, "Apply")));
        assert!(!is_applied(&by(MANAGER, "Update")));
        assert!(!is_applied(&by("kube-controller-manager", "Update")));
        assert!(!is_applied(&json!({"metadata": {}})));
    }
}

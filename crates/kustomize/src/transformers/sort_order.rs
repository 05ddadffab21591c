//! `sortOptions` and the legacy order: what other objects need comes first.

use crate::error::{Error, Result};
use crate::id::Gvk;
use crate::kustomization::read::Reader;
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::session::Session;
use crate::transformers::Transformer;

/// Kinds that come first, in this order.
const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];

/// Kinds that come last.
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// What objects are sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SortOrder {
    /// As loaded.
    Fifo,
    /// By kind.
    Legacy { first: Vec<String>, last: Vec<String> },
    /// None that there is: only the kustomization that is built says in what order, the others' are not looked at.
    Wrong(Error),
}

impl SortOrder {
    pub(crate) fn legacy() -> Self {
        SortOrder::Legacy {
            first: FIRST.map(str::to_owned).into(),
            last: LAST.map(str::to_owned).into(),
        }
    }

    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        reader.only(&["order", "legacySortOptions"])?;
        let legacy = reader.object("legacySortOptions")?;
        match &*reader.string("order")? {
            "fifo" if legacy.is_none() => Ok(SortOrder::Fifo),
            "fifo" => Ok(SortOrder::Wrong(reader.error(
                "the field 'sortOptions.legacySortOptions' needs the sort order 'legacy', the order is 'fifo'",
            ))),
            "legacy" => {
                let Some(legacy) = legacy else {
                    return Ok(SortOrder::legacy());
                };
                legacy.only(&["orderFirst", "orderLast"])?;
                Ok(SortOrder::Legacy {
                    first: legacy.strings("orderFirst")?,
                    last: legacy.strings("orderLast")?,
                })
            }
            "" => Ok(SortOrder::Wrong(
                reader.error("the field 'sortOptions.order' must be one of 'fifo' or 'legacy'"),
            )),
            other => Ok(SortOrder::Wrong(reader.error(format!(
                "the field 'sortOptions.order' must be one of 'fifo' or 'legacy', not '{other}'"
            )))),
        }
    }
}

/// Where a kind stands.
fn rank(kind: &str, first: &[String], last: &[String]) -> i64 {
    let position = |list: &[String]| list.iter().rposition(|one| one == kind).map(|at| at as i64);
    match (position(first), position(last)) {
        (_, Some(at)) => at + 1,
        (Some(at), None) => at - first.len() as i64,
        (None, None) => 0,
    }
}

/// What sorts a kind among others in the built-in order.
pub(crate) fn legacy_key(gvk: &Gvk) -> (i64, String) {
    let position = |list: &[&str]| list.iter().position(|one| *one == gvk.kind).map(|at| at as i64);
    let rank = match (position(&FIRST), position(&LAST)) {
        (Some(at), _) => at - FIRST.len() as i64,
        (None, Some(at)) => at + 1,
        (None, None) => 0,
    };
    (rank, gvk_text(gvk))
}

fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

fn gvk_text(gvk: &Gvk) -> String {
    format!(
        "{}_{}_{}",
        or(&gvk.group, "~G"),
        or(&gvk.version, "~V"),
        or(&gvk.kind, "~K")
    )
}

/// What sorts objects: their kind's rank, then group, version and kind, then namespace and name.
fn key(resource: &Resource, first: &[String], last: &[String]) -> (i64, String, String) {
    let gvk = resource.gvk();
    let rank = rank(&gvk.kind, first, last);
    // Namespaces of Kubernetes itself come before those of other groups.
    let kind = if rank != 0 && gvk.kind == "Namespace" && gvk.group.is_empty() {
        String::new()
    } else {
        gvk_text(&gvk)
    };
    // The two are compared as one text: a bar comes after all that names are made of.
    let name = format!("{}|{}", or(resource.namespace(), "~X"), or(resource.name(), "~N"));
    (rank, kind, name)
}

/// The transformer.
#[derive(Clone, Debug)]
pub(crate) struct SortOrderTransformer {
    pub(crate) order: SortOrder,
}

impl Transformer for SortOrderTransformer {
    fn transform(&self, map: &mut ResMap, _session: &Session<'_>) -> Result<()> {
        let (first, last) = match &self.order {
            SortOrder::Fifo => return Ok(()),
            SortOrder::Wrong(error) => return Err(error.clone()),
            SortOrder::Legacy { first, last } => (first, last),
        };
        map.resources_mut()
            .sort_by_cached_key(|resource| key(resource, first, last));
        Ok(())
    }
}

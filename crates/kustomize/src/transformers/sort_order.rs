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
            "fifo" => Err(reader.error(
                "the field 'sortOptions.legacySortOptions' needs the sort order 'legacy', the order is 'fifo'",
            )),
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
            "" => Err(reader.error("the field 'sortOptions.order' must be one of 'fifo' or 'legacy'")),
            other => Err(reader.error(format!(
                "the field 'sortOptions.order' must be one of 'fifo' or 'legacy', not '{other}'"
            ))),
        }
    }
}

/// Where a kind stands.
fn rank(kind: &str, first: &[String], last: &[String]) -> i64 {
    let position = |list: &[String]| list.iter().position(|one| one == kind).map(|at| at as i64);
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

/// What sorts objects of one rank: group, version and kind, then namespace and name.
fn id_key(resource: &Resource) -> (String, String) {
    let gvk = resource.gvk();
    // Namespaces of Kubernetes itself come before those of other groups.
    let kind = if gvk.kind == "Namespace" && gvk.group.is_empty() {
        String::new()
    } else {
        gvk_text(&gvk)
    };
    let name = format!("{}_{}", or(resource.namespace(), "~X"), or(resource.name(), "~N"));
    (kind, name)
}

/// The transformer.
#[derive(Clone, Debug)]
pub(crate) struct SortOrderTransformer {
    pub(crate) order: SortOrder,
}

impl Transformer for SortOrderTransformer {
    fn transform(&self, map: &mut ResMap, _session: &Session<'_>) -> Result<()> {
        let SortOrder::Legacy { first, last } = &self.order else {
            return Ok(());
        };
        for list in [first, last] {
            let mut seen = std::collections::BTreeSet::new();
            if let Some(twice) = list.iter().find(|kind| !seen.insert(*kind)) {
                return Err(Error::new(format!(
                    "kind '{twice}' is listed twice in legacySortOptions"
                )));
            }
        }
        map.resources_mut()
            .sort_by_cached_key(|resource| (rank(resource.kind(), first, last), id_key(resource)));
        Ok(())
    }
}

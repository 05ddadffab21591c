//! The inventory: which objects a Kustomization has put into the cluster, as `status.inventory` holds it.
//!
//! The coding is Flux's, so that either can take over from the other.

use std::fmt;

use fluvial_object::{ObjectExt, ObjectId};
use rustc_hash::FxHashSet;
use serde_json::{Value, json};

/// One object of an inventory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Which object.
    pub id: ObjectId,
    /// API version (without group) that it was applied with.
    pub version: String,
}

/// An id that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryError {
    id: String,
    detail: &'static str,
}

impl fmt::Display for InventoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "inventory entry {:?} cannot be read: {}; want <namespace>_<name>_<group>_<kind>",
            self.id, self.detail
        )
    }
}

impl std::error::Error for InventoryError {}

impl Entry {
    /// The entry for an object.
    #[must_use]
    pub fn of(object: &Value) -> Self {
        Entry {
            id: object.id(),
            version: object.version().to_owned(),
        }
    }

    /// `group/version`, or `version` alone in the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.id.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.id.group, self.version)
        }
    }
}

/// Kinds whose names may hold colons, which are written `__`.
fn has_colons(group: &str, kind: &str) -> bool {
    group == "rbac.authorization.k8s.io"
        && matches!(
            kind,
            "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding"
        )
}

/// The coded form of an id: `<namespace>_<name>_<group>_<kind>`.
#[must_use]
pub fn encode(id: &ObjectId) -> String {
    let name = if has_colons(&id.group, &id.kind) {
        id.name.replace(':', "__")
    } else {
        id.name.clone()
    };
    format!("{}_{name}_{}_{}", id.namespace, id.group, id.kind)
}

/// Reads a coded id: the first `_` ends the namespace, the last two split group and kind.
pub fn decode(text: &str) -> Result<ObjectId, InventoryError> {
    let error = |detail| InventoryError {
        id: text.to_owned(),
        detail,
    };
    let (namespace, rest) = text
        .split_once('_')
        .ok_or_else(|| error("no namespace separator"))?;
    let (rest, kind) = rest.rsplit_once('_').ok_or_else(|| error("no kind separator"))?;
    let (name, group) = rest.rsplit_once('_').ok_or_else(|| error("no group separator"))?;
    let name = name.replace("__", ":");
    if name.contains('_') {
        return Err(error("too many separators"));
    }
    if name.is_empty() || kind.is_empty() {
        return Err(error("empty name or kind"));
    }
    Ok(ObjectId::new(group, kind, namespace, name))
}

/// Objects in the order in which they were applied; no id comes twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    entries: Vec<Entry>,
}

impl Inventory {
    /// An inventory of entries; of two with one id the first stays.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut seen = FxHashSet::default();
        let entries = entries
            .into_iter()
            .filter(|entry| seen.insert(entry.id.clone()))
            .collect();
        Inventory { entries }
    }

    /// Reads `status.inventory`, ours or Flux's; absent or null is empty.
    pub fn from_value(inventory: &Value) -> Result<Self, InventoryError> {
        let list = inventory.get("entries").and_then(Value::as_array);
        let entries = list
            .into_iter()
            .flatten()
            .map(|entry| {
                let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
                Ok(Entry {
                    id: decode(text("id"))?,
                    version: text("v").to_owned(),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Inventory::new(entries))
    }

    /// The value of `status.inventory`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let entries: Vec<Value> = self
            .entries
            .iter()
            .map(|entry| json!({"id": encode(&entry.id), "v": entry.version}))
            .collect();
        json!({ "entries": entries })
    }

    /// The entries in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The ids in order.
    pub fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.entries.iter().map(|entry| &entry.id)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether an object is in it, whatever its version.
    #[must_use]
    pub fn contains(&self, id: &ObjectId) -> bool {
        self.entries.iter().any(|entry| entry.id == *id)
    }

    /// Entries of this one, then those that only `other` has: what must be on record before anything is applied.
    #[must_use]
    pub fn union(&self, other: &Inventory) -> Inventory {
        Inventory::new(self.entries.iter().chain(&other.entries).cloned())
    }

    /// Entries that `other` has no object for, whatever its version: what has left.
    #[must_use]
    pub fn without(&self, other: &Inventory) -> Vec<Entry> {
        let others: FxHashSet<&ObjectId> = other.ids().collect();
        self.entries
            .iter()
            .filter(|entry| !others.contains(&entry.id))
            .cloned()
            .collect()
    }

    /// Whether both hold the same objects in the same versions, in any order.
    #[must_use]
    pub fn same_objects(&self, other: &Inventory) -> bool {
        let own: FxHashSet<&Entry> = self.entries.iter().collect();
        own.len() == other.len() && other.entries.iter().all(|entry| own.contains(entry))
    }
}

impl FromIterator<Entry> for Inventory {
    fn from_iter<T: IntoIterator<Item = Entry>>(entries: T) -> Self {
        Inventory::new(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(group: &str, kind: &str, namespace: &str, name: &str, version: &str) -> Entry {
        Entry {
            id: ObjectId::new(group, kind, namespace, name),
            version: version.to_owned(),
        }
    }

    #[test]
    fn ids_are_coded_as_flux_codes_them() {
        for (entry, want) in [
            (entry("", "Namespace", "", "podinfo", "v1"), "_podinfo__Namespace"),
            (
                entry("apps", "Deployment", "apps", "web", "v1"),
                "apps_web_apps_Deployment",
            ),
            (entry("", "ConfigMap", "ns", "a.b-c", "v1"), "ns_a.b-c__ConfigMap"),
            (
                entry(
                    "rbac.authorization.k8s.io",
                    "ClusterRole",
                    "",
                    "system:node-proxier",
                    "v1",
                ),
                "_system__node-proxier_rbac.authorization.k8s.io_ClusterRole",
            ),
        ] {
            assert_eq!(encode(&entry.id), want);
            assert_eq!(decode(want), Ok(entry.id));
        }
    }

    #[test]
    fn ids_that_are_none_are_refused() {
        for text in ["", "a", "a_b", "a_b_c", "a_b_c_d_e", "a___"] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_inventory_comes_back_from_its_status() {
        let inventory = Inventory::new([
            entry("", "Namespace", "", "a", "v1"),
            entry("apps", "Deployment", "a", "web", "v1"),
            entry("", "Namespace", "", "a", "v2"),
        ]);
        assert_eq!(inventory.len(), 2);
        assert_eq!(Inventory::from_value(&inventory.to_value()), Ok(inventory));
        assert_eq!(Inventory::from_value(&Value::Null), Ok(Inventory::default()));
    }

    #[test]
    fn what_left_is_told_by_id_not_by_version() {
        let old = Inventory::new([entry("g", "K", "n", "a", "v1"), entry("g", "K", "n", "b", "v1")]);
        let new = Inventory::new([entry("g", "K", "n", "c", "v1"), entry("g", "K", "n", "a", "v2")]);
        let left: Vec<_> = old.without(&new).into_iter().map(|entry| entry.id.name).collect();
        assert_eq!(left, ["b"]);
        let names: Vec<_> = new
            .union(&old)
            .entries()
            .iter()
            .map(|e| format!("{}@{}", e.id.name, e.version))
            .collect();
        assert_eq!(names, ["c@v1", "a@v2", "b@v1"]);
        assert!(!old.same_objects(&new));
    }
}

//! What an operation does to the sets of all managers.

use std::sync::LazyLock;

use serde_json::Value;

use super::entries::{Entries, Entry};
use super::path::{Step, equal};
use super::reconcile::reconcile;
use super::set::Set;
use super::shape::Shape;
use super::typed::{self, Comparison};
use super::{ApplyError, Conflict};

/// Fields of metadata that nobody manages.
const STRIPPED: [&str; 9] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

fn field(name: &str) -> Step {
    Step::Field(name.into())
}

/// The fields that are stripped from every manager.
static STRIPPED_SET: LazyLock<Set> = LazyLock::new(|| {
    let mut set = Set::default();
    for name in ["apiVersion", "kind", "metadata"] {
        set.insert(&[field(name)]);
    }
    for name in STRIPPED {
        set.insert(&[field("metadata"), field(name)]);
    }
    set
});

/// The fields that are stripped from every manager.
pub(super) fn stripped() -> &'static Set {
    &STRIPPED_SET
}

/// A set from names, for fields that an endpoint ignores.
pub(super) fn from_names(paths: &[&[&str]]) -> Set {
    let mut set = Set::default();
    for path in paths {
        set.insert(&path.iter().map(|name| field(name)).collect::<Vec<_>>());
    }
    set
}

/// A conflict before it is printed.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) identity: String,
    pub(super) manager: String,
    pub(super) path: Vec<Step>,
}

/// Why an apply stops.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    Conflicts(Vec<Found>),
}

/// One operation's fixed inputs.
pub(super) struct Operation<'a> {
    pub(super) shape: Shape<'a>,
    pub(super) ignored: Set,
    pub(super) subresource: &'a str,
    pub(super) api_version: &'a str,
    pub(super) time: &'a str,
}

impl Operation<'_> {
    fn entry(&self, manager: &str, applied: bool, fields: Set) -> Entry {
        Entry {
            manager: manager.to_owned(),
            applied,
            api_version: self.api_version.to_owned(),
            subresource: self.subresource.to_owned(),
            time: Some(self.time.to_owned()),
            fields,
        }
    }

    fn reconciled(&self, mut entries: Entries) -> Entries {
        for entry in entries.by_manager.values_mut() {
            if let Some(fields) = reconcile(self.shape, &entry.fields) {
                entry.fields = fields;
            }
        }
        entries
    }

    /// Takes changed and removed fields from all others; without force, changed ones are conflicts.
    fn settle(
        &self,
        comparison: &Comparison,
        entries: &mut Entries,
        own: Option<&str>,
        force: bool,
    ) -> Result<(), Stop> {
        let changed = comparison.modified.clone().union(&comparison.added);
        let mut conflicts = Vec::new();
        let mut taken: Vec<(String, Set)> = Vec::new();
        for (identity, entry) in &entries.by_manager {
            if own == Some(identity.as_str()) {
                continue;
            }
            let fields = entry.fields.intersection(&changed);
            if !fields.is_empty() {
                if !force {
                    fields.each(&mut Vec::new(), &mut |path| {
                        conflicts.push(Found {
                            identity: identity.clone(),
                            manager: entry.show(),
                            path: path.to_vec(),
                        });
                    });
                }
                taken.push((identity.clone(), fields));
            }
            if !comparison.removed.is_empty() {
                taken.push((identity.clone(), comparison.removed.clone()));
            }
        }
        if !conflicts.is_empty() {
            return Err(Stop::Conflicts(conflicts));
        }
        for (identity, fields) in taken {
            if let Some(entry) = entries.by_manager.get_mut(&identity) {
                entry.fields = std::mem::take(&mut entry.fields).difference(&fields);
            }
        }
        entries.by_manager.retain(|_, entry| !entry.fields.is_empty());
        Ok(())
    }

    /// An update: the manager owns what changed.
    pub(super) fn update(&self, live: &Value, new: &Value, entries: Entries, manager: &str) -> Entries {
        let mut entries = self.reconciled(entries);
        let comparison = typed::compare(self.shape, live, new).without(&self.ignored);
        // Without the check for conflicts this cannot fail.
        if self.settle(&comparison, &mut entries, None, true).is_err() {
            return entries;
        }
        let fields = comparison
            .modified
            .union(&comparison.added)
            .difference(stripped());
        if !fields.is_empty() {
            let entry = self.entry(manager, false, fields);
            match entries.by_manager.get_mut(&entry.identity()) {
                Some(known) => {
                    known.fields = entry.fields.union(&known.fields);
                    known.time = entry.time;
                }
                None => {
                    entries.by_manager.insert(entry.identity(), entry);
                }
            }
        }
        entries.cap();
        entries
    }

    /// An apply: the manager owns what it wants, and what it no longer wants goes.
    pub(super) fn apply(
        &self,
        live: &Value,
        wanted: &Value,
        entries: Entries,
        manager: &str,
        force: bool,
    ) -> Result<(Value, Entries), Stop> {
        let mut entries = self.reconciled(entries);
        let fields = typed::fields(self.shape, wanted).recursive_difference(&self.ignored);
        let mut merged = typed::merge(self.shape, live, wanted);
        let entry = self.entry(manager, true, fields);
        let identity = entry.identity();
        let last = entries.by_manager.insert(identity.clone(), entry);
        if let Some(last) = &last {
            self.prune(&mut merged, &entries, &identity, &last.fields);
        }
        let comparison = typed::compare(self.shape, live, &merged).without(&self.ignored);
        self.settle(&comparison, &mut entries, Some(&identity), force)?;
        let same = equal(live, &merged);
        if let Some(entry) = entries.by_manager.get_mut(&identity) {
            entry.fields = std::mem::take(&mut entry.fields).difference(stripped());
            if entry.fields.is_empty() {
                entries.by_manager.remove(&identity);
            } else if same {
                // Nothing changed: the time stays what it was.
                entry.time = last.and_then(|last| last.time);
            }
        }
        // Equal numbers may be written in different ways: the live ones stay.
        let out = if same && *live != merged {
            live.clone()
        } else {
            merged
        };
        Ok((out, entries))
    }

    /// Removes what this manager applied before and does not want any more, unless others own it.
    fn prune(&self, merged: &mut Value, entries: &Entries, identity: &str, last: &Set) {
        let shape = self.shape;
        let all = |set: &Set| typed::with_named_fields(Some(shape), set);
        let wanted = entries.by_manager.get(identity).map(|entry| &entry.fields);
        if last.is_empty() || wanted.is_some_and(|wanted| last.is_subset(wanted)) {
            return;
        }
        let last = all(last);
        let merged_fields = all(&typed::fields(shape, merged));
        let mut pruned = merged.clone();
        typed::remove(shape, &mut pruned, &last);
        let managed = entries
            .by_manager
            .values()
            .fold(Set::default(), |managed, entry| managed.union(&entry.fields));
        // Back comes what someone owns …
        let kept = all(&typed::fields(shape, &pruned)).union(&all(&managed));
        let mut pruned = merged.clone();
        typed::remove(shape, &mut pruned, &merged_fields.clone().difference(&kept));
        // … and what this manager never applied.
        let kept = all(&typed::fields(shape, &pruned));
        let gone = merged_fields.difference(&kept).intersection(&last);
        typed::remove(shape, merged, &gone);
    }
}

/// The error with its texts.
pub(super) fn conflict_error(found: &[Found]) -> ApplyError {
    let text = |path: &[Step]| path.iter().map(Step::to_string).collect::<String>();
    let conflicts = found.iter().map(|found| Conflict {
        message: format!("conflict with {}", found.manager),
        field: text(&found.path),
    });
    let message = if let [one] = found {
        format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            one.manager,
            text(&one.path)
        )
    } else {
        let mut lines = Vec::new();
        let mut last = None;
        for found in found {
            if last != Some(&found.identity) {
                lines.push(format!("conflicts with {}:", found.manager));
                last = Some(&found.identity);
            }
            lines.push(format!("- {}", text(&found.path)));
        }
        format!(
            "Apply failed with {} conflicts: {}",
            found.len(),
            lines.join("\n")
        )
    };
    ApplyError::Conflict {
        message,
        conflicts: conflicts.collect(),
    }
}

/// How an object is named in errors: `namespace/name; group/version, Kind=kind`.
pub(super) fn describe(object: &Value) -> String {
    let text = |path: &str| {
        object
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let version = text("/apiVersion");
    let version = if version.contains('/') {
        version
    } else {
        format!("/{version}")
    };
    format!(
        "{}/{}; {version}, Kind={}",
        text("/metadata/namespace"),
        text("/metadata/name"),
        text("/kind")
    )
}

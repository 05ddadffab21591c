//! What a run did, object by object, and the texts of its events.

use std::fmt;

use fluvial_object::ObjectId;

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It was not there and is now.
    Created,
    /// It changed.
    Configured,
    /// It was as it should be.
    Unchanged,
    /// It was deleted, as asked for or because it left Git.
    Deleted,
    /// It was left alone, as it asks for.
    Skipped,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Created => "created",
            Action::Configured => "configured",
            Action::Unchanged => "unchanged",
            Action::Deleted => "deleted",
            Action::Skipped => "skipped",
        })
    }
}

/// One object and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The object.
    pub id: ObjectId,
    /// What became of it.
    pub action: Action,
}

impl Change {
    /// A change.
    #[must_use]
    pub fn new(id: ObjectId, action: Action) -> Self {
        Change { id, action }
    }

    /// Whether the cluster is another one after it.
    #[must_use]
    pub fn is_effective(&self) -> bool {
        matches!(
            self.action,
            Action::Created | Action::Configured | Action::Deleted
        )
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.action)
    }
}

/// The text of the event that tells of changes: a line for each that had an effect; `None` if there was none.
#[must_use]
pub fn event_text(changes: &[Change]) -> Option<String> {
    let lines: Vec<String> = changes
        .iter()
        .filter(|change| change.is_effective())
        .map(ToString::to_string)
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The same with the objects of an action on one line, as with Flux's `GroupChangeLog`.
#[must_use]
pub fn grouped_event_text(changes: &[Change]) -> Option<String> {
    let mut lines = Vec::new();
    for action in [Action::Created, Action::Configured, Action::Deleted] {
        let ids: Vec<String> = changes
            .iter()
            .filter(|change| change.action == action)
            .map(|change| change.id.to_string())
            .collect();
        if !ids.is_empty() {
            lines.push(format!("{action}: {}", ids.join(", ")));
        }
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_list_what_had_an_effect() {
        let id = |name: &str| ObjectId::new("", "ConfigMap", "ns", name);
        let changes = [
            Change::new(id("a"), Action::Created),
            Change::new(id("b"), Action::Unchanged),
            Change::new(id("c"), Action::Deleted),
            Change::new(id("d"), Action::Skipped),
            Change::new(id("e"), Action::Created),
        ];
        assert_eq!(
            event_text(&changes).as_deref(),
            Some("ConfigMap/ns/a created\nConfigMap/ns/c deleted\nConfigMap/ns/e created")
        );
        assert_eq!(
            grouped_event_text(&changes).as_deref(),
            Some("created: ConfigMap/ns/a, ConfigMap/ns/e\ndeleted: ConfigMap/ns/c")
        );
        assert_eq!(event_text(&changes[1..2]), None);
    }
}

//! What people see of a fleet: one row an object, children below what made them, and whether more is to come. Pure:
//! from objects and the time to rows.

use std::collections::{BTreeMap, BTreeSet};

use fluvial_api::keys;
use jiff::Timestamp;
use serde_json::Value;

use crate::state::{self, condition, field, holds, text};

/// How the message begins while an object waits for the health of what it made.
const HEALTH: &str = "Running health checks";

/// How an object fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fare {
    /// It is as it should be.
    Ready,
    /// It rests.
    Suspended,
    /// Work on it goes on.
    Working,
    /// It waits for something else.
    Waiting,
    /// It failed.
    Failed,
    /// Nobody here works on its kind.
    Idle,
}

impl Fare {
    /// The sign in front of a row.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Fare::Ready => "✔",
            Fare::Suspended => "‖",
            Fare::Working => "►",
            Fare::Waiting => "◎",
            Fare::Failed => "✗",
            Fare::Idle => "·",
        }
    }
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// How deep it stands.
    pub depth: usize,
    /// `Kind/namespace/name`.
    pub id: String,
    /// How it fares.
    pub fare: Fare,
    /// What there is to say, on one line.
    pub text: String,
    /// Since when it is so.
    pub since: Option<Timestamp>,
    /// Who made it, where it does not stand below it.
    pub maker: Option<String>,
}

/// A fleet at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Rows from top to bottom.
    pub rows: Vec<Row>,
}

impl View {
    /// How many rows fare so.
    pub(crate) fn count(&self, fare: Fare) -> usize {
        self.rows.iter().filter(|row| row.fare == fare).count()
    }

    /// Whether there is something, and nothing is left to be done by anybody who is here.
    pub(crate) fn is_ready(&self) -> bool {
        !self.rows.is_empty()
            && self
                .rows
                .iter()
                .all(|row| matches!(row.fare, Fare::Ready | Fare::Suspended | Fare::Idle))
    }

    /// Whether work goes on that may change something by itself.
    pub(crate) fn is_moving(&self) -> bool {
        let works = |(at, row): (usize, &Row)| row.fare == Fare::Working && !self.is_held_up(at);
        self.rows.is_empty() || self.rows.iter().enumerate().any(works)
    }

    /// Whether an object does nothing but wait for the health of what it made, which will not come by itself.
    fn is_held_up(&self, at: usize) -> bool {
        let row = &self.rows[at];
        let made = || {
            let below = self.rows.iter().enumerate().skip(at + 1);
            let below = below.take_while(|(_, other)| other.depth > row.depth);
            let elsewhere = self.rows.iter().enumerate();
            below.chain(elsewhere.filter(|(_, other)| other.maker.as_ref() == Some(&row.id)))
        };
        let mut holds_up = false;
        row.text.starts_with(HEALTH)
            && made().all(|(at, other)| {
                let is_stuck = match other.fare {
                    Fare::Failed | Fare::Waiting => true,
                    Fare::Working => self.is_held_up(at),
                    Fare::Ready | Fare::Suspended | Fare::Idle => false,
                };
                holds_up |= is_stuck;
                is_stuck || other.fare != Fare::Working
            })
            && holds_up
    }

    /// `3 ready, 1 waiting, 1 failed`.
    pub(crate) fn summary(&self) -> String {
        let parts: Vec<String> = [
            (Fare::Ready, "ready"),
            (Fare::Working, "working"),
            (Fare::Waiting, "waiting"),
            (Fare::Failed, "failed"),
            (Fare::Suspended, "suspended"),
            (Fare::Idle, "of kinds that nobody here works on"),
        ]
        .into_iter()
        .filter_map(|(fare, word)| match self.count(fare) {
            0 => None,
            count => Some(format!("{count} {word}")),
        })
        .collect();
        if parts.is_empty() {
            "nothing yet".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

/// What a view needs of an object: a fleet is looked at again and again, and its objects are large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its row, when it stands alone.
    row: Row,
    /// Who made it.
    owner: Option<String>,
    is_source: bool,
    is_part_of_another: bool,
}

impl Item {
    /// Of an object of a Flux kind. Kinds outside of `handled` are shown as such.
    pub(crate) fn of(object: &Value, handled: &[&str]) -> Self {
        let is_source = is_source(object);
        let mut row = row(object, handled);
        let mut owner = owner(object).filter(|owner| *owner != row.id);
        if is_source {
            row.maker = owner.take();
        }
        Item {
            owner,
            is_source,
            is_part_of_another: is_part_of_another(object),
            row,
        }
    }

    /// `Kind/namespace/name`.
    pub(crate) fn id(&self) -> &str {
        &self.row.id
    }
}

/// The rows of objects of Flux kinds: sources first, then what builds on them, below what made it.
pub(crate) fn view<'a>(items: impl IntoIterator<Item = &'a Item>) -> View {
    let items: BTreeMap<&str, &Item> = items
        .into_iter()
        .filter(|item| !item.is_part_of_another)
        .map(|item| (item.id(), item))
        .collect();
    let mut children: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    for (id, item) in &items {
        let owner = item.owner.as_deref().filter(|owner| items.contains_key(owner));
        children.entry(owner).or_default().push(id);
    }
    let mut rows = Rows {
        items: &items,
        children: &children,
        seen: BTreeSet::new(),
        rows: Vec::with_capacity(items.len()),
    };
    let roots = children.get(&None).map(Vec::as_slice).unwrap_or_default();
    let (sources, others): (Vec<&str>, Vec<&str>) = roots.iter().partition(|id| items[**id].is_source);
    for root in sources.into_iter().chain(others) {
        rows.add(root, 0);
    }
    // Objects that made each other have no root.
    for id in items.keys() {
        rows.add(id, 0);
    }
    View { rows: rows.rows }
}

struct Rows<'a> {
    items: &'a BTreeMap<&'a str, &'a Item>,
    children: &'a BTreeMap<Option<&'a str>, Vec<&'a str>>,
    seen: BTreeSet<&'a str>,
    rows: Vec<Row>,
}

impl<'a> Rows<'a> {
    fn add(&mut self, id: &'a str, depth: usize) {
        if !self.seen.insert(id) {
            return;
        }
        self.rows.push(Row {
            depth,
            ..self.items[id].row.clone()
        });
        for child in self.children.get(&Some(id)).into_iter().flatten() {
            self.add(child, depth + 1);
        }
    }
}

/// Charts that belong to a release are told of in the release's own row.
fn is_part_of_another(object: &Value) -> bool {
    state::kind(object) == "HelmChart" && text(object, &["metadata", "labels", keys::HELM_NAME]).is_some()
}

fn is_source(object: &Value) -> bool {
    text(object, &["apiVersion"]).is_some_and(|version| version.starts_with("source.toolkit."))
}

/// Whoever made the object, as its labels say.
pub(crate) fn owner(object: &Value) -> Option<String> {
    let label = |key: &str| text(object, &["metadata", "labels", key]);
    let pair = |kind: &str, namespace: &str, name: &str| {
        Some(format!("{kind}/{}/{}", label(namespace)?, label(name)?))
    };
    pair("Kustomization", keys::KUSTOMIZE_NAMESPACE, keys::KUSTOMIZE_NAME)
        .or_else(|| pair("HelmRelease", keys::HELM_NAMESPACE, keys::HELM_NAME))
}

fn row(object: &Value, handled: &[&str]) -> Row {
    let (fare, text) = fare(object, handled);
    let ready = condition(object, "Ready");
    let since = ready
        .and_then(|ready| state::text(ready, &["lastTransitionTime"]))
        .or_else(|| state::text(object, &["metadata", "creationTimestamp"]))
        .and_then(|time| time.parse().ok());
    Row {
        depth: 0,
        id: state::id(object),
        fare,
        text,
        since,
        maker: None,
    }
}

/// How an object fares, and what there is to say of it.
pub(crate) fn fare(object: &Value, handled: &[&str]) -> (Fare, String) {
    if field(object, &["metadata", "deletionTimestamp"]).is_some() {
        return (Fare::Working, "is being deleted".to_owned());
    }
    if state::is_suspended(object) {
        return (Fare::Suspended, "suspended".to_owned());
    }
    if state::is_static(object) {
        return (Fare::Ready, String::new());
    }
    let ready = condition(object, "Ready");
    let generation = field(object, &["metadata", "generation"]).and_then(Value::as_i64);
    let observed = field(object, &["status", "observedGeneration"]).and_then(Value::as_i64);
    let Some(ready) = ready else {
        return if handled.contains(&state::kind(object)) {
            (Fare::Working, "not looked at yet".to_owned())
        } else {
            (
                Fare::Idle,
                format!("no controller for {} runs here", state::kind(object)),
            )
        };
    };
    let message = state::shorten_digests(&one_line(text(ready, &["message"]).unwrap_or_default()));
    let reason = text(ready, &["reason"]).unwrap_or_default();
    let stale =
        matches!((generation, observed), (Some(generation), Some(observed)) if generation != observed);
    match text(ready, &["status"]) {
        Some("True") if stale => (Fare::Working, "has changed; not looked at yet".to_owned()),
        Some("True") => (Fare::Ready, message),
        Some("False") if waits(reason) && !holds(object, "Stalled") => (Fare::Waiting, message),
        Some("False") => (Fare::Failed, message),
        _ => {
            let doing = condition(object, "Reconciling").and_then(|doing| text(doing, &["message"]));
            let doing = doing.map(|doing| state::shorten_digests(&one_line(doing)));
            (Fare::Working, doing.unwrap_or(message))
        }
    }
}

/// Reasons that mean that something else is to happen first.
fn waits(reason: &str) -> bool {
    matches!(reason, "DependencyNotReady" | "ArtifactFailed" | "SourceNotReady")
}

/// The first line, and a sign when there is more.
fn one_line(text: &str) -> String {
    match text.trim().split_once('\n') {
        Some((first, _)) => format!("{} …", first.trim_end()),
        None => text.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HANDLED: &[&str] = &["GitRepository", "Kustomization"];

    fn object(kind: &str, name: &str, owner: Option<&str>, ready: Option<(&str, &str, &str)>) -> Value {
        let mut object = json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": kind,
            "metadata": {"namespace": "ns", "name": name, "generation": 1},
        });
        if kind == "GitRepository" {
            object["apiVersion"] = "source.toolkit.fluxcd.io/v1".into();
        }
        if let Some(owner) = owner {
            object["metadata"]["labels"] =
                json!({keys::KUSTOMIZE_NAME: owner, keys::KUSTOMIZE_NAMESPACE: "ns"});
        }
        if let Some((status, reason, message)) = ready {
            object["status"] = json!({"observedGeneration": 1, "conditions": [
                {"type": "Ready", "status": status, "reason": reason, "message": message}]});
        }
        object
    }

    fn seen(objects: &[Value]) -> View {
        let items: Vec<Item> = objects.iter().map(|object| Item::of(object, HANDLED)).collect();
        view(&items)
    }

    #[test]
    fn what_was_made_stands_below_its_maker_and_sources_come_first() {
        let objects = [
            object(
                "Kustomization",
                "root",
                Some("root"),
                Some(("True", "", "Applied")),
            ),
            object(
                "Kustomization",
                "apps",
                Some("root"),
                Some(("False", "DependencyNotReady", "waits")),
            ),
            object(
                "Kustomization",
                "infra",
                Some("root"),
                Some(("Unknown", "Progressing", "checks\nmore")),
            ),
            object("GitRepository", "z", Some("root"), Some(("True", "", "stored"))),
            object("HelmRelease", "h", Some("infra"), None),
        ];
        let view = seen(&objects);
        let shown: Vec<(usize, &str, Fare)> = view
            .rows
            .iter()
            .map(|row| (row.depth, row.id.as_str(), row.fare))
            .collect();
        assert_eq!(
            shown,
            [
                (0, "GitRepository/ns/z", Fare::Ready),
                (0, "Kustomization/ns/root", Fare::Ready),
                (1, "Kustomization/ns/apps", Fare::Waiting),
                (1, "Kustomization/ns/infra", Fare::Working),
                (2, "HelmRelease/ns/h", Fare::Idle),
            ]
        );
        assert_eq!(view.rows[3].text, "checks …");
        assert!(view.is_moving() && !view.is_ready());
        assert_eq!(
            view.summary(),
            "2 ready, 1 working, 1 waiting, 1 of kinds that nobody here works on"
        );
    }

    #[test]
    fn who_waits_for_the_health_of_a_failure_moves_nothing() {
        let row = |depth, fare, text: &str| Row {
            depth,
            id: format!("{depth}"),
            fare,
            text: text.to_owned(),
            since: None,
            maker: None,
        };
        let checks = "Running health checks for revision main with a timeout of 5m";
        let mut view = View {
            rows: vec![
                row(0, Fare::Working, checks),
                row(1, Fare::Working, checks),
                row(2, Fare::Failed, "no chart"),
                row(1, Fare::Ready, ""),
                row(0, Fare::Ready, ""),
            ],
        };
        assert!(!view.is_moving());
        view.rows[3].fare = Fare::Working;
        assert!(view.is_moving());
        view.rows[3].fare = Fare::Ready;
        view.rows[2].fare = Fare::Ready;
        assert!(view.is_moving());
        // Sources stand apart from who made them.
        view.rows[1].fare = Fare::Ready;
        view.rows.push(Row {
            maker: Some("0".to_owned()),
            ..row(3, Fare::Failed, "no registry")
        });
        assert!(!view.is_moving());
    }

    #[test]
    fn objects_that_made_each_other_are_shown_once() {
        let objects = [
            object("Kustomization", "a", Some("b"), None),
            object("Kustomization", "b", Some("a"), None),
        ];
        let view = seen(&objects);
        assert_eq!(view.rows.len(), 2);
        assert!(view.is_moving());
    }

    #[test]
    fn a_status_of_an_older_generation_is_not_trusted() {
        let mut changed = object("Kustomization", "a", None, Some(("True", "", "Applied")));
        changed["metadata"]["generation"] = 2.into();
        assert_eq!(fare(&changed, HANDLED).0, Fare::Working);
        let mut stalled = object(
            "Kustomization",
            "a",
            None,
            Some(("False", "ArtifactFailed", "no path")),
        );
        assert_eq!(fare(&stalled, HANDLED).0, Fare::Waiting);
        let conditions = stalled["status"]["conditions"].as_array_mut().unwrap();
        conditions.push(json!({"type": "Stalled", "status": "True"}));
        assert_eq!(fare(&stalled, HANDLED).0, Fare::Failed);
    }
}

//! Drift: the cluster held against the stored manifest by dry runs, and made to match it again.

use fluvial_api::HelmRelease;
use fluvial_delivery::changes::{Action, Change};
use fluvial_delivery::drift::{Counts, Drift, at_pointer, compare, counts};
use fluvial_delivery::ignore::{IgnoreRules, leave_alone};
use fluvial_helm::release::Object;
use fluvial_object::{ObjectExt, ObjectId};
use fluvial_ports::{Apply, ErrorKind, Patch, PatchKind};
use serde_json::{Map, Value};

use super::objects::{Hands, MANAGER, Placed};
use crate::kustomization::apply::target;

/// Label or annotation that leaves an object out.
const DISABLED: &str = "helm.toolkit.fluxcd.io/driftDetection";
/// Objects that a message names.
const NAMED: usize = 20;

/// One object that is not as the release has it.
#[derive(Debug, Clone)]
pub(crate) struct Drifted {
    /// Which object.
    pub(crate) placed: Placed,
    /// The object as it should be.
    pub(crate) desired: Value,
    /// As the server would make it; nothing if it is not there.
    pub(crate) dry: Option<Value>,
    /// As it is.
    pub(crate) live: Option<Value>,
    /// How many fields differ.
    pub(crate) counts: Counts,
}

impl Drifted {
    /// An object that is not there.
    fn removed(placed: Placed, desired: Value) -> Self {
        Self {
            placed,
            desired,
            dry: None,
            live: None,
            counts: Counts::default(),
        }
    }

    /// One line for people.
    fn text(&self) -> String {
        let name = full_name(&self.placed.id);
        if self.live.is_none() {
            return format!("{name} removed");
        }
        let Counts {
            additions,
            changes,
            removals,
        } = self.counts;
        format!("{name} changed ({additions} additions, {changes} changes, {removals} removals)")
    }
}

/// What was found of one object.
enum Finding {
    /// It is as it should be.
    Same,
    /// Its drift does not count.
    Excluded(ObjectId),
    /// It is not as it should be.
    Drifted(Box<Drifted>),
}

/// What was found of a release.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Objects that are not as they should be.
    pub(crate) drifted: Vec<Drifted>,
    /// Lines for people, of those and of the objects whose drift does not count.
    lines: Vec<String>,
    /// What could not be compared.
    pub(crate) errors: Vec<String>,
}

impl Findings {
    /// All drift for a message.
    pub(crate) fn summary(&self) -> String {
        let mut lines: Vec<&str> = self.lines.iter().take(NAMED).map(String::as_str).collect();
        let more = format!("and {} more", self.lines.len().saturating_sub(NAMED));
        if self.lines.len() > NAMED {
            lines.push(&more);
        }
        lines.join("\n")
    }
}

/// What became of drift.
#[derive(Debug, Default)]
pub(crate) struct Corrected {
    /// Objects that are as they should be again.
    pub(crate) changes: Vec<Change>,
    /// Why others are not.
    pub(crate) errors: Vec<String>,
}

impl Corrected {
    /// What is told of it: of the release `name`.
    pub(crate) fn text(&self, name: &str) -> String {
        let lines: Vec<String> = self.changes.iter().map(ToString::to_string).collect();
        let lines = lines.join("\n");
        if self.errors.is_empty() {
            return format!("Cluster state of release {name} has been corrected:\n{lines}");
        }
        let errors = self.errors.join("\n");
        if lines.is_empty() {
            return format!("Failed to correct cluster state of release {name}:\n{errors}");
        }
        format!(
            "Failed to partially correct cluster state of release {name}:\n{errors}\n\nSuccessful corrections:\n{lines}"
        )
    }
}

/// As messages about drift name an object: with the place of its namespace, whether it has one or not.
fn full_name(id: &ObjectId) -> String {
    format!("{}/{}/{}", id.kind, id.namespace, id.name)
}

/// The rules of a release by which fields are left out.
pub(crate) fn rules(object: &HelmRelease) -> Result<IgnoreRules, String> {
    let rules = object.spec.drift_detection.as_ref().map(|drift| &drift.ignore);
    let rules = serde_json::to_value(rules).map_err(|error| error.to_string())?;
    IgnoreRules::from_value(&rules).map_err(|error| {
        error
            .to_string()
            .replace("spec.ignore", "spec.driftDetection.ignore")
    })
}

fn is_left_out(object: &Value) -> bool {
    let off = |value: Option<&str>| value.is_some_and(|value| value.eq_ignore_ascii_case("disabled"));
    off(object.label(DISABLED)) || off(object.annotation(DISABLED))
}

impl Hands<'_> {
    /// Finds out what is not as the release has it. What cannot be compared is told beside.
    pub(crate) async fn drift(&self, objects: &[Object], rules: &IgnoreRules) -> Findings {
        let mut findings = Findings::default();
        for one in objects {
            match self.drift_of(&one.object, rules).await {
                Ok(Finding::Same) => {}
                Ok(Finding::Excluded(id)) => findings.lines.push(format!("{} excluded", full_name(&id))),
                Ok(Finding::Drifted(found)) => {
                    findings.lines.push(found.text());
                    findings.drifted.push(*found);
                }
                Err(error) => findings.errors.push(format!("{}: {error}", one.object.id())),
            }
        }
        findings
    }

    async fn drift_of(
        &self,
        object: &Value,
        rules: &IgnoreRules,
    ) -> Result<Finding, fluvial_ports::ClusterError> {
        let placed = self.place(object).await?;
        let mut desired = self.owned(&placed.object);
        let pointers = rules.pointers(&desired);
        if is_left_out(object) || pointers.iter().any(String::is_empty) {
            return Ok(Finding::Excluded(placed.id));
        }
        let removed = |placed, desired| Finding::Drifted(Box::new(Drifted::removed(placed, desired)));
        let target = target(&placed.resource, &placed.id);
        let Some(live) = self.cluster.get(target).await? else {
            return Ok(removed(placed, desired));
        };
        if is_left_out(&live) {
            return Ok(Finding::Excluded(placed.id));
        }
        leave_alone(&mut desired, &live, &pointers, MANAGER);
        let how = Apply {
            manager: MANAGER,
            force: true,
            dry_run: true,
        };
        let dry = match self.cluster.apply(target, &desired, how).await {
            Ok(dry) => dry,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(removed(placed, desired)),
            Err(error) => return Err(error),
        };
        let dry = without_removals(dry, &live, &desired);
        Ok(match compare(&dry, Some(&live), &pointers) {
            Drift::None => Finding::Same,
            Drift::Created => removed(placed, desired),
            Drift::Changed(_) => Finding::Drifted(Box::new(Drifted {
                placed,
                desired,
                counts: counts(&dry, &live, &pointers),
                dry: Some(dry),
                live: Some(live),
            })),
        })
    }

    /// Makes what has drifted as it should be: absent objects are created, then the others patched. No version is
    /// stored.
    pub(crate) async fn correct(&self, drift: &[Drifted]) -> Corrected {
        let mut corrected = Corrected::default();
        let (there, absent): (Vec<_>, Vec<_>) = drift.iter().partition(|one| one.live.is_some());
        for one in absent.into_iter().chain(there) {
            let id = &one.placed.id;
            let action = match one.live {
                None => Action::Created,
                Some(_) => Action::Configured,
            };
            match self.correct_one(one).await {
                Ok(()) => corrected.changes.push(Change::new(id.clone(), action)),
                Err(error) => corrected.errors.push(format!("{id}: {error}")),
            }
        }
        corrected
    }

    async fn correct_one(&self, one: &Drifted) -> Result<(), fluvial_ports::ClusterError> {
        let target = target(&one.placed.resource, &one.placed.id);
        self.metrics.wrote("object");
        let (Some(live), Some(dry)) = (&one.live, &one.dry) else {
            let how = Apply {
                manager: MANAGER,
                force: true,
                dry_run: false,
            };
            return self.cluster.apply(target, &one.desired, how).await.map(|_now| ());
        };
        let body =
            fluvial_merge::merge_patch::diff(&comparable(live), &comparable(dry)).map_err(|error| {
                fluvial_ports::ClusterError::new(
                    ErrorKind::Invalid,
                    format!("the patch cannot be made: {error}"),
                )
            })?;
        let patch = Patch {
            kind: PatchKind::Merge,
            subresource: None,
            manager: MANAGER,
            body: &body,
            dry_run: false,
        };
        self.cluster.patch(target, patch).await.map(|_now| ())
    }
}

/// What is compared of an object: labels, annotations, and the body.
fn comparable(object: &Value) -> Value {
    let mut fields = object.as_object().cloned().unwrap_or_default();
    fields.remove("status");
    let metadata: Map<String, Value> = ["labels", "annotations"]
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), object.at(&["metadata", field])?.clone())))
        .collect();
    fields.insert("metadata".to_owned(), Value::Object(metadata));
    Value::Object(fields)
}

/// Labels and annotations that the release does not set are others': their absence is no drift.
fn without_removals(mut dry: Value, live: &Value, desired: &Value) -> Value {
    for field in ["labels", "annotations"] {
        let pointer = format!("/metadata/{field}");
        let Some(there) = at_pointer(live, &pointer).and_then(Value::as_object) else {
            continue;
        };
        let ours = at_pointer(desired, &pointer).and_then(Value::as_object);
        let foreign: Vec<(String, Value)> = there
            .iter()
            .filter(|(key, _)| ours.is_none_or(|ours| !ours.contains_key(*key)))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if foreign.is_empty() {
            continue;
        }
        let metadata = dry.metadata_mut();
        let map = metadata.entry(field).or_insert_with(|| Value::Object(Map::new()));
        if let Some(map) = map.as_object_mut() {
            for (key, value) in foreign {
                map.entry(key).or_insert(value);
            }
        }
    }
    dry
}

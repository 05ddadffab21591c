//! Drift: the cluster held against the stored manifest by dry runs, and made to match it again.

use fluvial_api::HelmRelease;
use fluvial_delivery::drift::{Drift, at_pointer, compare};
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
    /// Which fields differ.
    pub(crate) fields: Vec<String>,
}

impl Drifted {
    /// One line for people.
    pub(crate) fn text(&self) -> String {
        let id = name(&self.placed.id);
        if self.live.is_none() {
            return format!("{id} removed");
        }
        let mut text = format!("{id} changed ({} fields)", self.fields.len());
        for field in self.fields.iter().take(5) {
            text.push_str("\n  ");
            text.push_str(field);
        }
        text
    }
}

fn name(id: &ObjectId) -> String {
    if id.namespace.is_empty() {
        format!("{}/{}", id.kind, id.name)
    } else {
        format!("{}/{}/{}", id.kind, id.namespace, id.name)
    }
}

/// All drift for a message.
pub(crate) fn summary(drift: &[Drifted]) -> String {
    let mut lines: Vec<String> = drift.iter().take(NAMED).map(Drifted::text).collect();
    if drift.len() > NAMED {
        lines.push(format!("and {} more", drift.len() - NAMED));
    }
    lines.join("\n")
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
    pub(crate) async fn drift(&self, objects: &[Object], rules: &IgnoreRules) -> (Vec<Drifted>, Vec<String>) {
        let mut drift = Vec::new();
        let mut errors = Vec::new();
        for one in objects {
            match self.drift_of(&one.object, rules).await {
                Ok(found) => drift.extend(found),
                Err(error) => errors.push(format!("{}: {error}", one.object.id())),
            }
        }
        (drift, errors)
    }

    async fn drift_of(
        &self,
        object: &Value,
        rules: &IgnoreRules,
    ) -> Result<Option<Drifted>, fluvial_ports::ClusterError> {
        if is_left_out(object) {
            return Ok(None);
        }
        let placed = self.place(object).await?;
        let mut desired = self.owned(&placed.object);
        let pointers = rules.pointers(&desired);
        if pointers.iter().any(String::is_empty) {
            return Ok(None);
        }
        let target = target(&placed.resource, &placed.id);
        let Some(live) = self.cluster.get(target).await? else {
            return Ok(Some(Drifted {
                placed,
                desired,
                dry: None,
                live: None,
                fields: Vec::new(),
            }));
        };
        if is_left_out(&live) {
            return Ok(None);
        }
        leave_alone(&mut desired, &live, &pointers, MANAGER);
        let how = Apply {
            manager: MANAGER,
            force: true,
            dry_run: true,
        };
        let dry = match self.cluster.apply(target, &desired, how).await {
            Ok(dry) => dry,
            Err(error) if error.kind == ErrorKind::NotFound => {
                return Ok(Some(Drifted {
                    placed,
                    desired,
                    dry: None,
                    live: None,
                    fields: Vec::new(),
                }));
            }
            Err(error) => return Err(error),
        };
        let dry = without_removals(dry, &live, &desired);
        Ok(match compare(&dry, Some(&live), &pointers) {
            Drift::None => None,
            Drift::Created => Some(Drifted {
                placed,
                desired,
                dry: None,
                live: None,
                fields: Vec::new(),
            }),
            Drift::Changed(fields) => Some(Drifted {
                placed,
                desired,
                fields: fields.iter().map(ToString::to_string).collect(),
                dry: Some(dry),
                live: Some(live),
            }),
        })
    }

    /// Makes what has drifted as it should be: absent objects are created, the others patched. No version is stored.
    pub(crate) async fn correct(&self, drift: &[Drifted]) -> (usize, Vec<String>) {
        let mut corrected = 0;
        let mut errors = Vec::new();
        for one in drift {
            match self.correct_one(one).await {
                Ok(()) => corrected += 1,
                Err(error) => errors.push(format!("{}: {error}", name(&one.placed.id))),
            }
        }
        (corrected, errors)
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

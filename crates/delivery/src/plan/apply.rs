//! One object on its way into the cluster: what to send, and what the answer of the dry run means.

use std::borrow::Cow;
use std::fmt;

use fluvial_object::path::FieldPath;
use fluvial_object::{ObjectExt, ObjectId};
use serde_json::Value;

use super::{ApplyError, Phase, Refusal};
use crate::changes::Action;
use crate::control::{self, ApplyMode, Skip};
use crate::drift::{self, Drift};
use crate::ignore::{self, IgnoreRules};
use crate::ownership::{self, TakenOver};

/// How a Kustomization wants its objects applied.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Field manager.
    pub manager: &'a str,
    /// Whether every object may be made anew where a change is refused as immutable.
    pub force: bool,
    /// Managers whose fields become ours.
    pub taken_over: &'a [TakenOver],
    /// Fields that others may set.
    pub ignore: &'a IgnoreRules,
}

/// What is to be asked of the server about an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask<'a> {
    /// Nothing: the object is left alone. It stays on record.
    Skip(Skip),
    /// What an apply of this would do. The same is sent when it is applied.
    Send(Cow<'a, Value>),
}

/// What to ask about an object, wanted in this form, of which the cluster has that.
#[must_use]
pub fn ask<'a>(desired: &'a Value, live: Option<&Value>, rules: &Rules<'_>) -> Ask<'a> {
    if let Some(skip) = control::skip(desired, live) {
        return Ask::Skip(skip);
    }
    let Some(live) = live else {
        return Ask::Send(Cow::Borrowed(desired));
    };
    let pointers = rules.ignore.pointers(live);
    if pointers.is_empty() {
        return Ask::Send(Cow::Borrowed(desired));
    }
    let mut desired = desired.clone();
    ignore::leave_alone(&mut desired, live, &pointers, rules.manager);
    Ask::Send(Cow::Owned(desired))
}

/// What is done with an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It is left alone, as it asks for.
    Skip(Skip),
    /// It is as it should be: nothing is written.
    Keep,
    /// It is applied.
    Apply {
        /// Whether it is new.
        created: bool,
        /// JSON patch that goes first: field ownership of earlier tools becomes ours.
        clean_up: Option<Value>,
        /// Fields that differ (the first few).
        drift: Vec<FieldPath>,
    },
    /// It is deleted (in the background, only if it still has this UID), waited for until gone, and applied. First
    /// [`may_recreate`] is asked: an object that would not come back is never deleted.
    Recreate {
        /// UID of the live object.
        uid: String,
    },
}

impl Step {
    /// What the object's line in the event says when the step is done.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Step::Skip(_) => Action::Skipped,
            Step::Keep => Action::Unchanged,
            Step::Apply { created: true, .. } | Step::Recreate { .. } => Action::Created,
            Step::Apply { .. } => Action::Configured,
        }
    }

    /// Whether it changes the cluster.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self, Step::Apply { .. } | Step::Recreate { .. })
    }
}

/// What the answer to a dry run means. `live` is what was there when it was asked.
pub fn decide(
    desired: &Value,
    live: Option<&Value>,
    answer: Result<&Value, Refusal>,
    rules: &Rules<'_>,
) -> Result<Step, ApplyError> {
    let dry_run = match answer {
        Ok(dry_run) => dry_run,
        Err(refusal) => return refused(desired, live, refusal, rules),
    };
    let pointers = live.map(|live| rules.ignore.pointers(live)).unwrap_or_default();
    let clean_up = live
        .filter(|_| control::apply_mode(desired) != ApplyMode::Merge)
        .and_then(|live| ownership::clean_up(live, rules.manager, rules.taken_over));
    Ok(match drift::compare(dry_run, live, &pointers) {
        Drift::Created => Step::Apply {
            created: true,
            clean_up: None,
            drift: Vec::new(),
        },
        Drift::None if clean_up.is_none() => Step::Keep,
        Drift::None => Step::Apply {
            created: false,
            clean_up,
            drift: Vec::new(),
        },
        Drift::Changed(drift) => Step::Apply {
            created: false,
            clean_up,
            drift,
        },
    })
}

/// Only what is there can be in the way, and only who asks for it gets it made anew.
fn refused(
    desired: &Value,
    live: Option<&Value>,
    refusal: Refusal,
    rules: &Rules<'_>,
) -> Result<Step, ApplyError> {
    let error = |refusal| ApplyError {
        id: desired.id(),
        phase: Phase::DryRun,
        refusal,
    };
    match live {
        Some(live)
            if refusal.may_be_immutable()
                && !live.uid().is_empty()
                && (rules.force || control::is_force_enabled(desired, Some(live))) =>
        {
            Ok(Step::Recreate {
                uid: live.uid().to_owned(),
            })
        }
        _ => Err(error(refusal)),
    }
}

/// Whether an object that is to be made anew would be accepted, by the answer to a dry-run `create` of it: a server
/// checks contents before it finds the name taken. Any other refusal would be met again after the deletion, with the
/// object gone.
pub fn may_recreate(id: &ObjectId, answer: Result<(), Refusal>) -> Result<(), ApplyError> {
    match answer {
        Err(refusal) if !refusal.is_already_exists() => Err(ApplyError {
            id: id.clone(),
            phase: Phase::DryRun,
            refusal,
        }),
        _ => Ok(()),
    }
}

/// Why a stage is not written: one refusal is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageError {
    /// All refusals, in apply order.
    pub errors: Vec<ApplyError>,
}

/// Refusals told at most.
const MAX_TOLD: usize = 10;

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.errors.iter().take(MAX_TOLD).enumerate() {
            let separator = if position == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        match self.errors.len().saturating_sub(MAX_TOLD) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for StageError {}

/// The steps of a stage, in the order given; or, if one object of it was refused, no step at all.
pub fn stage<T>(
    decisions: impl IntoIterator<Item = (T, Result<Step, ApplyError>)>,
) -> Result<Vec<(T, Step)>, StageError> {
    let mut steps = Vec::new();
    let mut errors = Vec::new();
    for (item, decision) in decisions {
        match decision {
            Ok(step) => steps.push((item, step)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(steps)
    } else {
        Err(StageError { errors })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const US: &str = "kustomize-controller";

    fn check(
        rules: (bool, &Value),
        desired: &Value,
        live: Option<&Value>,
        answer: Result<&Value, Refusal>,
    ) -> String {
        let managers = ownership::taken_over(US, &[]);
        let ignore = IgnoreRules::from_value(rules.1).expect("valid rules");
        let rules = Rules {
            manager: US,
            force: rules.0,
            taken_over: &managers,
            ignore: &ignore,
        };
        match ask(desired, live, &rules) {
            Ask::Skip(skip) => format!("{skip:?}"),
            Ask::Send(_) => match decide(desired, live, answer, &rules) {
                Ok(Step::Recreate { uid }) => format!("recreate {uid}"),
                Ok(step) => {
                    let clean = matches!(
                        &step,
                        Step::Apply {
                            clean_up: Some(_),
                            ..
                        }
                    );
                    format!("{}{}", step.action(), if clean { " after clean-up" } else { "" })
                }
                Err(error) => error.to_string(),
            },
        }
    }

    fn object(extra: &Value) -> Value {
        let mut object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}});
        merge(&mut object, extra);
        object
    }

    fn live(extra: &Value) -> Value {
        let mut live = object(&json!({"metadata": {"uid": "u1", "resourceVersion": "5"}}));
        merge(&mut live, extra);
        live
    }

    fn merge(into: &mut Value, from: &Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from.clone(),
        }
    }

    #[test]
    fn the_answer_of_a_dry_run_says_what_is_done() {
        let none = json!(null);
        let kubectl = json!({"metadata": {"managedFields": [{"manager": "kubectl-client-side-apply", "operation": "Update",
            "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:a": {}}}}]}});
        let one = json!({"data": {"a": "1"}});
        let two = json!({"data": {"a": "2"}});
        let plain = object(&one);
        for (name, desired, live, answer, want) in [
            ("missing", &plain, None, object(&one), "created"),
            ("same", &plain, Some(live(&one)), live(&one), "unchanged"),
            ("changed", &plain, Some(live(&two)), live(&one), "configured"),
            (
                "kubectl's",
                &plain,
                Some(merged(&live(&one), &kubectl)),
                merged(&live(&one), &kubectl),
                "configured after clean-up",
            ),
            (
                "kubectl's, merged",
                &merged(
                    &plain,
                    &json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/ssa": "Merge"}}}),
                ),
                Some(merged(&live(&one), &kubectl)),
                merged(&live(&one), &kubectl),
                "unchanged",
            ),
            (
                "disabled there",
                &plain,
                Some(live(
                    &json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/reconcile": "Disabled"}}}),
                )),
                live(&one),
                "ReconcileDisabled",
            ),
        ] {
            assert_eq!(
                check((false, &none), desired, live.as_ref(), Ok(&answer)),
                want,
                "{name}"
            );
        }
    }

    fn merged(base: &Value, extra: &Value) -> Value {
        let mut base = base.clone();
        merge(&mut base, extra);
        base
    }

    #[test]
    fn only_who_asks_for_it_is_made_anew_and_only_what_is_there() {
        let none = json!(null);
        let immutable = || Refusal::new(422, "Invalid", "field is immutable");
        let forbidden = || Refusal::new(403, "Forbidden", "no");
        let plain = object(&json!({}));
        let asking =
            object(&json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/force": "enabled"}}}));
        let there = live(&json!({}));
        let asking_there =
            live(&json!({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/force": "Enabled"}}}));
        let refused = "ConfigMap/n/c dry-run failed (Invalid): field is immutable";
        for (name, force, desired, live, refusal, want) in [
            ("not asked", false, &plain, Some(&there), immutable(), refused),
            (
                "by the spec",
                true,
                &plain,
                Some(&there),
                immutable(),
                "recreate u1",
            ),
            (
                "by the object",
                false,
                &asking,
                Some(&there),
                immutable(),
                "recreate u1",
            ),
            (
                "by the live object",
                false,
                &plain,
                Some(&asking_there),
                immutable(),
                "recreate u1",
            ),
            ("not there", true, &plain, None, immutable(), refused),
            (
                "another refusal",
                true,
                &plain,
                Some(&there),
                forbidden(),
                "ConfigMap/n/c dry-run failed (Forbidden): no",
            ),
        ] {
            assert_eq!(check((force, &none), desired, live, Err(refusal)), want, "{name}");
        }
    }

    #[test]
    fn an_object_that_would_not_come_back_is_not_deleted() {
        let id = ObjectId::new("", "Service", "n", "s");
        assert!(may_recreate(&id, Ok(())).is_ok());
        assert!(may_recreate(&id, Err(Refusal::new(409, "AlreadyExists", "taken"))).is_ok());
        let error =
            may_recreate(&id, Err(Refusal::new(422, "Invalid", "bad port"))).expect_err("it is invalid");
        assert_eq!(
            error.to_string(),
            "Service/n/s dry-run failed (Invalid): bad port"
        );
    }

    #[test]
    fn ignored_fields_are_no_drift_and_are_sent_as_they_are_there() {
        let rules = json!([{"paths": ["/data/a"]}]);
        let desired = object(&json!({"data": {"a": "git"}}));
        let there = live(&json!({"data": {"a": "other"}}));
        assert_eq!(
            check((false, &rules), &desired, Some(&there), Ok(&there)),
            "unchanged"
        );
        let ignore = IgnoreRules::from_value(&rules).expect("valid rules");
        let rules = Rules {
            manager: US,
            force: false,
            taken_over: &[],
            ignore: &ignore,
        };
        let Ask::Send(sent) = ask(&desired, Some(&there), &rules) else {
            panic!("it is not skipped");
        };
        assert_eq!(sent["data"]["a"], "other");
        assert!(matches!(ask(&desired, None, &rules), Ask::Send(Cow::Borrowed(_))));
    }

    #[test]
    fn one_refusal_keeps_the_whole_stage_from_being_written() {
        let refusal = |name: &str| ApplyError {
            id: ObjectId::new("", "Secret", "n", name),
            phase: Phase::DryRun,
            refusal: Refusal::new(403, "Forbidden", "no"),
        };
        let all = stage([("a", Ok(Step::Keep)), ("b", Ok(Step::Keep))]).expect("nothing refused");
        assert_eq!(all.len(), 2);
        let error = stage([("a", Ok(Step::Keep)), ("b", Err(refusal("b")))]).expect_err("one refused");
        assert_eq!(error.to_string(), "Secret/n/b dry-run failed (Forbidden): no");
        let many = (0..12).map(|number| (number, Err(refusal("x"))));
        let text = stage(many).expect_err("refused").to_string();
        assert!(
            text.ends_with("\nand 2 more") && text.lines().count() == 11,
            "{text}"
        );
    }
}

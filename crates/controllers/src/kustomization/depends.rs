//! What must be ready first: the check of `dependsOn`, cycles in it, and the order that it gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use fluvial_api::{Kustomization, Resource};
use fluvial_delivery::expr::Expression;

use super::step::{DEPENDENCY_CYCLE, DEPENDENCY_NOT_READY, Failure, INVALID_EXPRESSION};
use crate::condition::{self, READY};
use crate::{Key, SourceId};

/// The source that a Kustomization names.
pub(crate) fn source_of(object: &Kustomization) -> SourceId {
    let reference = &object.spec.source_ref;
    let namespace = reference
        .namespace
        .as_deref()
        .unwrap_or(&object.metadata.namespace);
    SourceId {
        kind: reference.kind.as_str().into(),
        key: Key::new(namespace, &reference.name),
    }
}

/// The Kustomizations that one depends on.
pub(crate) fn dependencies(object: &Kustomization) -> Vec<Key> {
    let own = &object.metadata.namespace;
    object
        .spec
        .depends_on
        .iter()
        .map(|dependency| Key::new(dependency.namespace.as_deref().unwrap_or(own), &dependency.name))
        .collect()
}

/// The `readyExpr` of each dependency.
pub(crate) fn expressions(object: &Kustomization) -> Result<Vec<Option<Expression>>, Failure> {
    let dependencies = object.spec.depends_on.iter().enumerate();
    dependencies
        .map(|(position, dependency)| {
            let text = dependency.ready_expr.as_deref().filter(|text| !text.is_empty());
            text.map(Expression::ready).transpose().map_err(|error| {
                Failure::stalled(
                    INVALID_EXPRESSION,
                    format!("spec.dependsOn[{position}].readyExpr: {error}"),
                )
            })
        })
        .collect()
}

/// Checks that everything that `object` depends on is ready, at `revision` where both use one source.
pub(crate) fn check(
    object: &Kustomization,
    revision: &str,
    find: impl Fn(&Key) -> Option<Arc<Kustomization>>,
    additive: bool,
    expressions: &[Option<Expression>],
) -> Result<(), Failure> {
    let keys = dependencies(object);
    if keys.is_empty() {
        return Ok(());
    }
    if let Some(cycle) = cycle(object, &find) {
        return Err(Failure::stalled(
            DEPENDENCY_CYCLE,
            format!(
                "spec.dependsOn leads back to the object itself: {cycle}; none of these can ever be ready, remove one \
                 of the dependencies"
            ),
        ));
    }
    let source = source_of(object);
    for (position, key) in keys.iter().enumerate() {
        let Some(found) = find(key) else {
            return Err(Failure::waiting(
                DEPENDENCY_NOT_READY,
                format!("dependency '{key}' not found"),
            ));
        };
        if let Some(Some(expression)) = expressions.get(position) {
            asked(object, key, &found, expression)?;
            if !additive {
                continue;
            }
        }
        ready(key, &found, &source, revision)?;
    }
    Ok(())
}

/// Whether one dependency is ready by an expression over it and its dependent.
fn asked(
    object: &Kustomization,
    key: &Key,
    found: &Kustomization,
    expression: &Expression,
) -> Result<(), Failure> {
    let text = match expression.is_ready(&object.to_value(), &found.to_value()) {
        Ok(true) => return Ok(()),
        Ok(false) => format!("dependency '{key}' is not ready according to readyExpr eval"),
        Err(error) => format!("dependency '{key}' is not ready: {error}"),
    };
    Err(Failure::waiting(DEPENDENCY_NOT_READY, text))
}

/// Whether one dependency is ready by Flux's own rule.
fn ready(key: &Key, found: &Kustomization, source: &SourceId, revision: &str) -> Result<(), Failure> {
    let status = &found.status;
    let handled = found.metadata.generation == status.observed_generation;
    if !handled || !condition::is_true(&status.conditions, READY) {
        return Err(Failure::waiting(
            DEPENDENCY_NOT_READY,
            format!("dependency '{key}' is not ready"),
        ));
    }
    let same_source = source_of(found) == *source;
    if same_source && status.last_applied_revision.as_deref() != Some(revision) {
        return Err(Failure::waiting(
            DEPENDENCY_NOT_READY,
            format!("dependency '{key}' revision is not up to date"),
        ));
    }
    Ok(())
}

/// A cycle that leads back to `object`, as text.
fn cycle(object: &Kustomization, find: &impl Fn(&Key) -> Option<Arc<Kustomization>>) -> Option<String> {
    let start = Key::of(&object.metadata);
    // The one that led to each, for the text.
    let mut from: BTreeMap<Key, Key> = BTreeMap::new();
    let mut open: Vec<Key> = Vec::new();
    for next in dependencies(object) {
        if from.insert(next.clone(), start.clone()).is_none() {
            open.push(next);
        }
    }
    while let Some(key) = open.pop() {
        if key == start {
            let mut path = vec![start.to_string()];
            let mut at = from.get(&start);
            while let Some(key) = at {
                path.push(key.to_string());
                if *key == start {
                    break;
                }
                at = from.get(key);
            }
            path.reverse();
            return Some(path.join(" -> "));
        }
        let Some(found) = find(&key) else { continue };
        for next in dependencies(&found) {
            if !from.contains_key(&next) {
                from.insert(next.clone(), key.clone());
                open.push(next);
            }
        }
    }
    None
}

/// Sorts keys so that each comes after those of them that it depends on. Those in a cycle come last.
pub(crate) fn in_order(objects: &[Arc<Kustomization>]) -> Vec<Key> {
    let mut missing: BTreeMap<Key, usize> = BTreeMap::new();
    let mut followers: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
    for object in objects {
        missing.insert(Key::of(&object.metadata), 0);
    }
    for object in objects {
        let key = Key::of(&object.metadata);
        for dependency in dependencies(object) {
            if missing.contains_key(&dependency) && dependency != key {
                followers.entry(dependency).or_default().push(key.clone());
                *missing.entry(key.clone()).or_default() += 1;
            }
        }
    }
    let mut order: Vec<Key> = missing
        .iter()
        .filter(|(_, missing)| **missing == 0)
        .map(|(key, _)| key.clone())
        .collect();
    let mut next = 0;
    while next < order.len() {
        for follower in followers.remove(&order[next]).unwrap_or_default() {
            if let Some(left) = missing.get_mut(&follower) {
                *left -= 1;
                if *left == 0 {
                    order.push(follower);
                }
            }
        }
        next += 1;
    }
    order.extend(
        missing
            .into_iter()
            .filter(|(_, left)| *left > 0)
            .map(|(key, _)| key),
    );
    order
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, depends_on: &[&str], status: &serde_json::Value) -> Arc<Kustomization> {
        let depends_on: Vec<_> = depends_on.iter().map(|name| json!({"name": name})).collect();
        Arc::new(
            Kustomization::from_value(&json!({
                "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
                "metadata": {"name": name, "namespace": "ns", "generation": 1},
                "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "fleet"},
                    "dependsOn": depends_on},
                "status": status,
            }))
            .unwrap(),
        )
    }

    fn verdict(objects: &[Arc<Kustomization>], name: &str) -> Result<(), Failure> {
        let find = |key: &Key| {
            objects
                .iter()
                .find(|object| Key::of(&object.metadata) == *key)
                .cloned()
        };
        let object = find(&Key::new("ns", name)).unwrap();
        check(&object, "main@sha1:2", find, false, &[])
    }

    #[test]
    fn a_dependency_counts_when_ready_for_its_spec_and_at_this_revision() {
        let status = |ready: &str, generation: i64, revision: &str| {
            json!({"observedGeneration": generation, "lastAppliedRevision": revision,
                "conditions": [{"type": "Ready", "status": ready, "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
        };
        let apps = object("apps", &["infra"], &json!({}));
        let with =
            |status: serde_json::Value| verdict(&[apps.clone(), object("infra", &[], &status)], "apps");
        assert_eq!(with(status("True", 1, "main@sha1:2")), Ok(()));
        let text = |result: Result<(), Failure>| result.unwrap_err().message;
        assert_eq!(
            text(with(status("True", 1, "main@sha1:1"))),
            "dependency 'ns/infra' revision is not up to date"
        );
        assert_eq!(
            text(with(status("True", 0, "main@sha1:2"))),
            "dependency 'ns/infra' is not ready"
        );
        assert_eq!(
            text(with(status("False", 1, "main@sha1:2"))),
            "dependency 'ns/infra' is not ready"
        );
        assert_eq!(text(verdict(&[apps], "apps")), "dependency 'ns/infra' not found");
    }

    #[test]
    fn a_cycle_is_named_whole() {
        let objects = [
            object("a", &["b"], &json!({})),
            object("b", &["x", "c"], &json!({})),
            object("c", &["a"], &json!({})),
            object("d", &["a"], &json!({})),
        ];
        let failure = verdict(&objects, "a").unwrap_err();
        assert_eq!(failure.reason, DEPENDENCY_CYCLE);
        assert!(
            failure.message.contains("ns/a -> ns/b -> ns/c -> ns/a"),
            "{}",
            failure.message
        );
        // One that merely hangs on a cycle waits.
        assert_eq!(verdict(&objects, "d").unwrap_err().reason, DEPENDENCY_NOT_READY);
    }

    #[test]
    fn what_is_depended_on_comes_first() {
        let objects = [
            object("a", &["c", "elsewhere"], &json!({})),
            object("b", &["a"], &json!({})),
            object("c", &[], &json!({})),
            object("y", &["z"], &json!({})),
            object("z", &["y"], &json!({})),
        ];
        let order: Vec<String> = in_order(&objects)
            .iter()
            .map(|key| key.name.to_string())
            .collect();
        assert_eq!(order, ["c", "a", "b", "y", "z"]);
    }
}

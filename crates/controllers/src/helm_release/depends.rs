//! What must be ready before a release: the check of `dependsOn`, and cycles in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use fluvial_api::{HelmRelease, Resource};
use fluvial_delivery::expr::Expression;

use super::step::{DEPENDENCY_CYCLE, DEPENDENCY_NOT_READY, Failure, INVALID_EXPRESSION};
use super::wakes::dependencies;
use crate::Key;
use crate::condition::{self, READY};

/// The `readyExpr` of each dependency.
pub(crate) fn expressions(object: &HelmRelease) -> Result<Vec<Option<Expression>>, Failure> {
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

/// Checks that everything that `object` depends on is ready.
pub(crate) fn check(
    object: &HelmRelease,
    find: impl Fn(&Key) -> Option<Arc<HelmRelease>>,
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
    let waiting = |text: String| Failure::waiting(DEPENDENCY_NOT_READY, text);
    for (position, key) in keys.iter().enumerate() {
        let Some(found) = find(key) else {
            return Err(waiting(format!("unable to get '{key}' dependency: not found")));
        };
        if let Some(Some(expression)) = expressions.get(position) {
            match expression.is_ready(&object.to_value(), &found.to_value()) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(waiting(format!(
                        "dependency '{key}' is not ready according to readyExpr eval"
                    )));
                }
                Err(error) => return Err(waiting(format!("dependency '{key}' is not ready: {error}"))),
            }
            if !additive {
                continue;
            }
        }
        let handled = found.metadata.generation == found.status.observed_generation;
        if !handled || !condition::is_true(&found.status.conditions, READY) {
            return Err(waiting(format!("dependency '{key}' is not ready")));
        }
    }
    Ok(())
}

/// A cycle that leads back to `object`, as text.
fn cycle(object: &HelmRelease, find: &impl Fn(&Key) -> Option<Arc<HelmRelease>>) -> Option<String> {
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

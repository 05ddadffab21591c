//! What must be ready first: the check of `dependsOn`, cycles in it, and the order that it gives. An object may depend
//! on objects of the other kind; Flux knows its own kind only.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use fluvial_api::meta::{Dependency, DependencyKind};
use fluvial_api::{HelmRelease, Kustomization, Resource};
use fluvial_delivery::expr::Expression;
use serde_json::Value;

use super::Deliverer;
use super::failure::{DEPENDENCY_CYCLE, DEPENDENCY_NOT_READY, Failure};
use crate::Key;
use crate::condition::{self, READY};
use crate::feed::Feed;
use crate::links::Links;
use crate::queue::{Queue, Reasons};

/// An object that others can depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node {
    /// Its kind.
    pub(crate) kind: DependencyKind,
    /// Which one.
    pub(crate) key: Key,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.key)
    }
}

impl Node {
    fn of<T: Deliverer>(object: &T) -> Self {
        Self {
            kind: T::DEPENDENCY,
            key: Key::of(object.metadata()),
        }
    }

    /// That it is not there, as an API server says it.
    fn not_found(&self) -> String {
        let (plural, group) = match self.kind {
            DependencyKind::Kustomization => (Kustomization::PLURAL, Kustomization::GROUP),
            DependencyKind::HelmRelease => (HelmRelease::PLURAL, HelmRelease::GROUP),
        };
        format!("{plural}.{group} \"{}\" not found", self.key.name)
    }

    /// As messages for an object of a kind call it: the kind is said where it is another one.
    fn text_for(&self, kind: DependencyKind) -> String {
        if self.kind == kind {
            self.key.to_string()
        } else {
            self.to_string()
        }
    }
}

/// What one depends on.
pub(crate) fn dependencies<T: Deliverer>(object: &T) -> Vec<Node> {
    let own = &object.metadata().namespace;
    let node = |dependency: &Dependency| Node {
        kind: dependency.kind.unwrap_or(T::DEPENDENCY),
        key: Key::new(dependency.namespace.as_deref().unwrap_or(own), &dependency.name),
    };
    object.depends_on().iter().map(node).collect()
}

/// An object that something depends on, as it is.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// A Kustomization.
    Kustomization(Arc<Kustomization>),
    /// A HelmRelease.
    HelmRelease(Arc<HelmRelease>),
}

impl Found {
    fn dependencies(&self) -> Vec<Node> {
        match self {
            Found::Kustomization(found) => dependencies(&**found),
            Found::HelmRelease(found) => dependencies(&**found),
        }
    }

    fn is_ready(&self) -> bool {
        match self {
            Found::Kustomization(found) => is_ready(&**found),
            Found::HelmRelease(found) => is_ready(&**found),
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Found::Kustomization(found) => found.to_value(),
            Found::HelmRelease(found) => found.to_value(),
        }
    }
}

/// Flux's own rule: ready, and for its present spec.
fn is_ready<T: Deliverer>(object: &T) -> bool {
    object.metadata().generation == object.observed_generation()
        && condition::is_true(object.conditions(), READY)
}

/// Everything that can be depended on, and who depends on what.
pub struct Peers {
    kustomizations: Arc<Feed<Kustomization>>,
    releases: Arc<Feed<HelmRelease>>,
}

/// Wakes those that depend on what has changed.
struct Waker {
    links: Links<Node, Node>,
    kustomizations: Queue<Key>,
    releases: Queue<Key>,
}

impl Peers {
    /// The objects of both kinds. From now on, those that depend on one are woken when it is ready, or no longer.
    pub fn new(
        kustomizations: (&Arc<Feed<Kustomization>>, &Queue<Key>),
        releases: (&Arc<Feed<HelmRelease>>, &Queue<Key>),
    ) -> Arc<Self> {
        let waker = Arc::new(Waker {
            links: Links::default(),
            kustomizations: kustomizations.1.clone(),
            releases: releases.1.clone(),
        });
        waker.listen(kustomizations.0);
        waker.listen(releases.0);
        Arc::new(Self {
            kustomizations: Arc::clone(kustomizations.0),
            releases: Arc::clone(releases.0),
        })
    }

    /// An object as it is now.
    pub(crate) fn find(&self, node: &Node) -> Option<Found> {
        match node.kind {
            DependencyKind::Kustomization => {
                let found = self.kustomizations.store().get(&node.key);
                found.map(Found::Kustomization)
            }
            DependencyKind::HelmRelease => self.releases.store().get(&node.key).map(Found::HelmRelease),
        }
    }
}

impl Waker {
    fn listen<T: Deliverer>(self: &Arc<Self>, feed: &Feed<T>) {
        let waker = Arc::clone(self);
        feed.listen(move |transition| {
            let node = Node {
                kind: T::DEPENDENCY,
                key: transition.key.clone(),
            };
            let (old, new) = (transition.old.as_deref(), transition.new.as_deref());
            let generation = |object: Option<&T>| object.map(|object| object.metadata().generation);
            if new.is_none() || generation(old) != generation(new) {
                waker.links.set(&node, new.map(dependencies).unwrap_or_default());
            }
            if standing(old) == standing(new) {
                return;
            }
            for dependent in waker.links.referrers(&node) {
                let queue = match dependent.kind {
                    DependencyKind::Kustomization => &waker.kustomizations,
                    DependencyKind::HelmRelease => &waker.releases,
                };
                queue.add(dependent.key, Reasons::DEPENDENCY);
            }
        });
    }
}

/// What dependents look at. Expressions may look at anything in the status; a new reason, or having come further, says
/// that there is something to see.
fn standing<T: Deliverer>(object: Option<&T>) -> Option<(bool, bool, (Option<&str>, i64), &str)> {
    let object = object?;
    let conditions = object.conditions();
    Some((
        condition::is_true(conditions, READY),
        object.metadata().generation == object.observed_generation(),
        object.reached(),
        condition::get(conditions, READY).map_or("", |ready| ready.reason.as_str()),
    ))
}

/// The `readyExpr` of each dependency.
pub(crate) fn expressions<T: Deliverer>(object: &T) -> Result<Vec<Option<Expression>>, Failure> {
    let dependencies = object.depends_on().iter().enumerate();
    dependencies
        .map(|(position, dependency)| {
            let text = dependency.ready_expr.as_deref().filter(|text| !text.is_empty());
            text.map(Expression::ready).transpose().map_err(|error| {
                Failure::expression(format!(
                    "failed to evaluate dependency {}: spec.dependsOn[{position}].readyExpr: {error}",
                    dependency.name
                ))
            })
        })
        .collect()
}

/// Checks that everything that `object` depends on is ready. `also` is asked about what is ready by Flux's own rule.
pub(crate) fn check<T: Deliverer>(
    object: &T,
    find: impl Fn(&Node) -> Option<Found>,
    additive: bool,
    expressions: &[Option<Expression>],
    also: impl Fn(&str, &Found) -> Result<(), String>,
) -> Result<(), Failure> {
    let nodes = dependencies(object);
    if nodes.is_empty() {
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
    for (position, node) in nodes.iter().enumerate() {
        let name = node.text_for(T::DEPENDENCY);
        let Some(found) = find(node) else {
            let why = node.not_found();
            return Err(waiting(match T::DEPENDENCY {
                DependencyKind::Kustomization => format!("dependency '{name}' not found: {why}"),
                DependencyKind::HelmRelease => format!("unable to get '{name}' dependency: {why}"),
            }));
        };
        if let Some(Some(expression)) = expressions.get(position) {
            match expression.is_ready(&object.to_value(), &found.to_value()) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(waiting(format!(
                        "dependency '{name}' is not ready according to readyExpr eval"
                    )));
                }
                Err(error) => return Err(waiting(format!("dependency '{name}' is not ready: {error}"))),
            }
            if !additive {
                continue;
            }
        }
        if !found.is_ready() {
            return Err(waiting(format!("dependency '{name}' is not ready")));
        }
        also(&name, &found).map_err(waiting)?;
    }
    Ok(())
}

/// A cycle that leads back to `object`, as text.
fn cycle<T: Deliverer>(object: &T, find: &impl Fn(&Node) -> Option<Found>) -> Option<String> {
    let start = Node::of(object);
    // The one that led to each, for the text.
    let mut from: BTreeMap<Node, Node> = BTreeMap::new();
    let mut open: Vec<Node> = Vec::new();
    for next in dependencies(object) {
        if from.insert(next.clone(), start.clone()).is_none() {
            open.push(next);
        }
    }
    while let Some(node) = open.pop() {
        if node == start {
            let mut path = vec![start.clone()];
            let mut at = from.get(&start);
            while let Some(node) = at {
                path.push(node.clone());
                if *node == start {
                    break;
                }
                at = from.get(node);
            }
            path.reverse();
            let mixed = path.iter().any(|node| node.kind != start.kind);
            let text = |node: &Node| {
                if mixed {
                    node.to_string()
                } else {
                    node.key.to_string()
                }
            };
            return Some(path.iter().map(text).collect::<Vec<_>>().join(" -> "));
        }
        let Some(found) = find(&node) else { continue };
        for next in found.dependencies() {
            if !from.contains_key(&next) {
                from.insert(next.clone(), node.clone());
                open.push(next);
            }
        }
    }
    None
}

/// Sorts objects of a kind so that each comes after those of them that it depends on. Those in a cycle come last.
pub(crate) fn in_order<T: Deliverer>(objects: &[Arc<T>]) -> Vec<Key> {
    let mut missing: BTreeMap<Key, usize> = BTreeMap::new();
    let mut followers: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
    for object in objects {
        missing.insert(Key::of(object.metadata()), 0);
    }
    for object in objects {
        let key = Key::of(object.metadata());
        for Node {
            kind,
            key: dependency,
        } in dependencies(&**object)
        {
            if kind == T::DEPENDENCY && missing.contains_key(&dependency) && dependency != key {
                followers.entry(dependency).or_default().push(key.clone());
                *missing.entry(key.clone()).or_default() += 1;
            }
        }
    }
    let free = missing.iter().filter(|(_, missing)| **missing == 0);
    let mut order: Vec<Key> = free.map(|(key, _)| key.clone()).collect();
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
    let stuck = missing.into_iter().filter(|(_, left)| *left > 0);
    order.extend(stuck.map(|(key, _)| key));
    order
}

#[cfg(test)]
#[path = "depends/tests.rs"]
mod tests;

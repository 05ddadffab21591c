//! What pods and claims ask for, added up.

use std::collections::BTreeMap;

use fluvial_object::quantity::{Format, Quantity};
use serde_json::Value;

/// Amounts by the names of resources.
pub type Amounts = BTreeMap<String, Quantity>;

/// The amounts of a map of quantities.
#[must_use]
pub fn amounts(value: &Value) -> Amounts {
    value
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?)))
        .collect()
}

/// A whole number of things.
#[must_use]
pub fn count(number: usize) -> Quantity {
    Quantity::from_integer(i64::try_from(number).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// Adds one to the other.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let total = sum
            .get(name)
            .map_or_else(|| amount.clone(), |own| own.add(amount));
        sum.insert(name.clone(), total);
    }
}

fn raise(sum: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if sum.get(name).is_none_or(|own| own < amount) {
            sum.insert(name.clone(), amount.clone());
        }
    }
}

/// What a pod requests and what limits it: its containers together, or the init container that wants most, and the
/// overhead of its runtime.
#[must_use]
pub fn pod(spec: &Value) -> (Amounts, Amounts) {
    let total = |field: &str| {
        let mut sum = Amounts::new();
        let list = |name: &str| spec[name].as_array().into_iter().flatten();
        for container in list("containers") {
            add(&mut sum, &amounts(&container["resources"][field]));
        }
        let mut aside = Amounts::new();
        let mut start = Amounts::new();
        for container in list("initContainers") {
            let own = amounts(&container["resources"][field]);
            let mut now = aside.clone();
            add(&mut now, &own);
            if container["restartPolicy"] == "Always" {
                add(&mut sum, &own);
                aside.clone_from(&now);
            }
            raise(&mut start, &now);
        }
        raise(&mut sum, &start);
        // What the pod says for itself counts instead.
        for (name, amount) in amounts(&spec["resources"][field]) {
            sum.insert(name, amount);
        }
        let overhead = amounts(&spec["overhead"]);
        if field == "requests" {
            add(&mut sum, &overhead);
        } else {
            let known: Amounts = overhead
                .into_iter()
                .filter(|(name, _)| sum.contains_key(name))
                .collect();
            add(&mut sum, &known);
        }
        sum
    };
    (total("requests"), total("limits"))
}

/// Looking into absent fields leaves nulls behind.
pub fn tidy(container: &mut Value) {
    if let Some(map) = container["resources"].as_object_mut() {
        map.retain(|_, value| !value.is_null());
        for amounts in map.values_mut().filter_map(Value::as_object_mut) {
            amounts.retain(|_, value| !value.is_null());
        }
    }
}

//! The objects that a binding gives to a policy.

use fluvial_object::labels::Selector;
use serde_json::Value;

use super::Context;
use crate::api::Api;
use crate::verbs::show;

/// The parameters of a binding: null if the policy takes none.
pub(super) fn find(
    api: &Api,
    kind: &Value,
    reference: &Value,
    context: &Context<'_>,
) -> Result<Vec<Value>, String> {
    if !kind.is_object() || !reference.is_object() {
        return Ok(vec![Value::Null]);
    }
    let version = kind["apiVersion"].as_str().unwrap_or("");
    let (group, short) = version.split_once('/').unwrap_or(("", version));
    let name = kind["kind"].as_str().unwrap_or("");
    let kinds = api.kinds();
    let Some(found) = kinds.by_kind(group, short, name) else {
        return Err(format!(
            "failed to find resource referenced by paramKind: '{version}, Kind={name}'"
        ));
    };
    let mut namespace = "";
    if found.namespaced {
        namespace = reference["namespace"]
            .as_str()
            .filter(|own| !own.is_empty())
            .unwrap_or(&context.request.target.namespace);
        if namespace.is_empty() {
            return Err(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                    .into(),
            );
        }
    } else if reference["namespace"].as_str().is_some_and(|own| !own.is_empty()) {
        return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
    }
    let collection = api.store.collection(&found.collection);
    let mut all = vec![];
    if let Some(name) = reference["name"].as_str().filter(|name| !name.is_empty()) {
        all.extend(collection.get(&found.key(namespace, name)));
    } else {
        let selector = Selector::from_value(&reference["selector"]).map_err(|error| error.to_string())?;
        let prefix = if namespace.is_empty() {
            String::new()
        } else {
            format!("{namespace}/")
        };
        if let Ok(snapshot) = collection.snapshot(&api.store, &prefix, None, None) {
            all.extend(
                snapshot
                    .objects
                    .into_iter()
                    .filter(|stored| selector.matches_object(&stored.value())),
            );
        }
    }
    if all.is_empty() && reference["parameterNotFoundAction"] != "Allow" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    Ok(all.iter().map(|stored| show(found, stored)).collect())
}

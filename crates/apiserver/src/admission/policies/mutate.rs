//! Mutating policies.

use fluvial_merge::json_patch;
use fluvial_merge::managed::{ApplyRequest, apply};
use serde_json::{Value, json};

use super::{Context, MUTATING, MUTATING_BINDINGS, Policy, all, exempt, matching, params, policies, refusal};
use crate::api::{Api, meta};
use crate::request::Request;
use crate::status::Outcome;
use crate::verbs::decode;

/// Changes an object as the policies that are bound to the request want it.
///
/// # Errors
/// A policy fails that must not.
pub fn mutate(
    api: &Api,
    request: &Request,
    operation: &'static str,
    object: &mut Value,
    old: &Value,
) -> Outcome<()> {
    if exempt(request) {
        return Ok(());
    }
    let policies = policies(api, MUTATING);
    if policies.is_empty() {
        return Ok(());
    }
    let bindings: Vec<Value> = all(api, MUTATING_BINDINGS)
        .iter()
        .map(|stored| stored.value())
        .collect();
    // What each policy left behind: those that want to see later changes run once more.
    let mut left: Vec<Option<Value>> = vec![];
    for policy in &policies {
        let ran = run(api, policy, &bindings, request, operation, object, old)?;
        let again = policy.spec["reinvocationPolicy"] == "IfNeeded";
        left.push((ran && again).then(|| object.clone()));
    }
    for (policy, left) in policies.iter().zip(left) {
        if left.is_some_and(|left| left != *object) {
            run(api, policy, &bindings, request, operation, object, old)?;
        }
    }
    Ok(())
}

fn run(
    api: &Api,
    policy: &Policy,
    bindings: &[Value],
    request: &Request,
    operation: &'static str,
    object: &mut Value,
    old: &Value,
) -> Outcome<bool> {
    let mut ran = false;
    for binding in bindings
        .iter()
        .filter(|binding| binding["spec"]["policyName"] == *policy.name)
    {
        let context = Context {
            request,
            operation,
            object,
            old,
        };
        if !matching::matches(api, &policy.spec["matchConstraints"], &context)
            || !matching::optional(api, &binding["spec"]["matchResources"], &context)
        {
            continue;
        }
        let target = context.name().to_owned();
        let fail = |why: String| {
            let name = meta(binding, "name");
            let why = format!(
                "MutatingAdmissionPolicy '{}' with binding '{name}' denied request: {why}",
                policy.name
            );
            refusal(request, &target, &why, "")
        };
        let params = match params::find(
            api,
            &policy.spec["paramKind"],
            &binding["spec"]["paramRef"],
            &context,
        ) {
            Ok(params) => params,
            Err(_) if policy.ignores() => continue,
            Err(why) => return Err(fail(format!("failed to configure binding: {why}"))),
        };
        for param in &params {
            match one(api, policy, request, operation, object, old, param) {
                Ok(done) => ran |= done,
                Err(_) if policy.ignores() => {}
                Err(Wrong::Expression(why)) => return Err(fail(why)),
                Err(Wrong::Patch(why)) => {
                    let name = meta(binding, "name");
                    let why = format!(
                        "policy '{}' with binding '{name}' denied request: JSON Patch: {why}",
                        policy.name
                    );
                    let mut refused = refusal(request, &target, &why, "");
                    refused.code = 403;
                    refused.message = why;
                    return Err(refused);
                }
            }
        }
    }
    Ok(ran)
}

/// Why a mutation does not come about.
enum Wrong {
    /// Its expression, or what comes of it.
    Expression(String),
    /// Its patch does not fit the object.
    Patch(String),
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Wrong::Expression(why)
    }
}

fn one(
    api: &Api,
    policy: &Policy,
    request: &Request,
    operation: &'static str,
    object: &mut Value,
    old: &Value,
    param: &Value,
) -> Result<bool, Wrong> {
    let mut new = object.clone();
    let mutations = policy.spec["mutations"].as_array().into_iter().flatten();
    for (index, (mutation, (rule, _))) in mutations.zip(&policy.rules).enumerate() {
        let program = rule.as_ref().map_err(Clone::clone)?;
        let before = new.clone();
        let context = Context {
            request,
            operation,
            object: &before,
            old,
        };
        let (review, namespace) = (context.review(), context.namespace(api));
        let port = context.authorizer(api);
        let vars = context.vars(policy, &review, &namespace, param, &port);
        if index == 0 && !policy.applies(&vars)? {
            return Ok(false);
        }
        let value = program.eval(&vars).map_err(|error| error.to_string())?;
        let value = value
            .to_json()
            .ok_or_else(|| "the expression has no JSON value".to_owned())?;
        if mutation["patchType"] == "JSONPatch" {
            json_patch::apply(&mut new, &value).map_err(|error| Wrong::Patch(error.to_string()))?;
        } else {
            new = applied(api, request, &before, value)?;
        }
    }
    let mut complaints = decode::Complaints::default();
    decode::typed(api, &request.kind, &mut new, &mut complaints)?;
    *object = new;
    Ok(true)
}

/// Merges an apply configuration; who owns what stays as it was.
fn applied(api: &Api, request: &Request, object: &Value, mut configuration: Value) -> Result<Value, String> {
    let kind = &request.kind;
    let version = kind.api_version();
    configuration["apiVersion"] = version.clone().into();
    configuration["kind"] = kind.kind.clone().into();
    let mut live = object.clone();
    let managed = live["metadata"]
        .as_object_mut()
        .and_then(|meta| meta.remove("managedFields"));
    for field in ["name", "namespace"] {
        if !object["metadata"][field].is_null() {
            configuration["metadata"][field] = object["metadata"][field].clone();
        }
    }
    let types = kind.types(&api.schemas);
    let mut merged = apply(&ApplyRequest {
        types: types.as_ref(),
        live: Some(&live),
        empty: None,
        applied: &configuration,
        manager: "admission",
        subresource: "",
        api_version: &version,
        time: &api.now(),
        force: true,
        reset_fields: &[],
    })
    .map_err(|error| format!("{error:?}"))?;
    if let Some(meta) = merged["metadata"].as_object_mut() {
        meta.remove("managedFields");
        if let Some(managed) = managed {
            meta.insert("managedFields".into(), managed);
        }
    } else {
        merged["metadata"] = json!({});
    }
    Ok(merged)
}

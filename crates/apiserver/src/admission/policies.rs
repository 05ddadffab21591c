//! Admission policies: expressions that check (`ValidatingAdmissionPolicy`) or change (`MutatingAdmissionPolicy`) what is
//! written, bound to parts of the cluster and to parameters.
//!
//! Audit annotations have no effect: there is no audit log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_schema::cel::{Env, Program, Value as Cel, Vars};
use serde_json::{Value, json};

use crate::api::{Api, meta};
use crate::request::Request;
use crate::status::{Failure, Outcome};
use crate::store::Stored;

pub mod check;
mod context;
pub mod matching;
mod mutate;
mod params;
pub mod status;

pub use context::Context;
pub use mutate::mutate;

/// Collections of the kinds.
pub const VALIDATING: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";
const VALIDATING_BINDINGS: &str = "validatingadmissionpolicybindings.admissionregistration.k8s.io";
/// Collections of the kinds.
pub const MUTATING: &str = "mutatingadmissionpolicies.admissionregistration.k8s.io";
const MUTATING_BINDINGS: &str = "mutatingadmissionpolicybindings.admissionregistration.k8s.io";

/// An expression, or why it does not compile.
pub(super) type Compiled = Result<Program, String>;

/// A policy with its expressions compiled.
#[derive(Debug)]
pub(super) struct Policy {
    name: String,
    spec: Value,
    variables: Vec<(String, Compiled)>,
    conditions: Vec<(String, Compiled)>,
    /// Of validations: the expression and that of the message; of mutations: the expression.
    rules: Vec<(Compiled, Option<Compiled>)>,
}

/// Compiled policies by collection and name, with the versions of the objects.
#[derive(Debug, Default)]
pub struct Cache(Mutex<BTreeMap<(&'static str, String), (u64, Arc<Policy>)>>);

fn compiled(source: &Value, env: &Env) -> Compiled {
    Program::compile(source.as_str().unwrap_or(""), env)
        .map_err(|error| format!("compilation failed: {error}"))
}

impl Policy {
    fn read(object: &Value, mutating: bool) -> Policy {
        let spec = object["spec"].clone();
        let params = spec["paramKind"].is_object();
        let base = || {
            let env = if mutating {
                Env::mutation(params)
            } else {
                Env::admission(params)
            };
            env.authorizer()
        };
        let list = |field: &str| spec[field].as_array().into_iter().flatten();
        let mut types = BTreeMap::new();
        let mut variables = vec![];
        for variable in list("variables") {
            let name = variable["name"].as_str().unwrap_or("").to_owned();
            let program = compiled(&variable["expression"], &base().variables(types.clone()));
            let output = program
                .as_ref()
                .map_or_else(|_| Default::default(), |program| program.output().clone());
            types.insert(name.clone(), output);
            variables.push((name, program));
        }
        let env = base().variables(types);
        let plain = base();
        let conditions = list("matchConditions")
            .map(|condition| {
                let source = condition["expression"].as_str().unwrap_or("").to_owned();
                (source, compiled(&condition["expression"], &plain))
            })
            .collect();
        let rules = if mutating {
            list("mutations")
                .map(|mutation| {
                    let source = match mutation["patchType"].as_str() {
                        Some("JSONPatch") => &mutation["jsonPatch"]["expression"],
                        _ => &mutation["applyConfiguration"]["expression"],
                    };
                    (compiled(source, &env), None)
                })
                .collect()
        } else {
            list("validations")
                .map(|validation| {
                    let message = validation["messageExpression"]
                        .as_str()
                        .filter(|text| !text.is_empty())
                        .map(|_| compiled(&validation["messageExpression"], &env));
                    (compiled(&validation["expression"], &env), message)
                })
                .collect()
        };
        Policy {
            name: meta(object, "name").to_owned(),
            spec,
            variables,
            conditions,
            rules,
        }
    }

    /// Whether a failure of the policy itself lets the request pass.
    fn ignores(&self) -> bool {
        self.spec["failurePolicy"] == "Ignore"
    }

    /// Whether the conditions hold.
    fn applies(&self, vars: &Vars<'_>) -> Result<bool, String> {
        let mut failed = None;
        for (source, condition) in &self.conditions {
            let result = condition
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|program| program.eval(vars).map_err(|error| error.to_string()));
            match result.map(|value| value.as_bool()) {
                // One that is false decides, whatever became of the others.
                Ok(Some(false)) => return Ok(false),
                Ok(_) => {}
                Err(error) => {
                    let why = format!("expression '{source}' resulted in error: {error}");
                    failed = failed.or(Some(why));
                }
            }
        }
        failed.map_or(Ok(true), Err)
    }
}

fn policies(api: &Api, collection: &'static str) -> Vec<Arc<Policy>> {
    let found = all(api, collection);
    if found.is_empty() {
        return vec![];
    }
    let mut cache = api.policies.0.lock().unwrap_or_else(PoisonError::into_inner);
    cache.retain(|(own, name), _| *own != collection || found.iter().any(|stored| stored.name() == name));
    let read = |stored: &Arc<Stored>| {
        let key = (collection, stored.name().to_owned());
        if let Some((version, policy)) = cache.get(&key)
            && *version == stored.version
        {
            return policy.clone();
        }
        let policy = Arc::new(Policy::read(&stored.value(), collection == MUTATING));
        cache.insert(key, (stored.version, policy.clone()));
        policy
    };
    found.iter().map(read).collect()
}

fn all(api: &Api, collection: &str) -> Vec<Arc<Stored>> {
    let collection = api.store.collection(collection);
    if collection.is_empty() {
        return vec![];
    }
    collection
        .snapshot(&api.store, "", None, None)
        .map(|snapshot| snapshot.objects)
        .unwrap_or_default()
}

/// Policies never judge the objects that say which policies there are.
fn exempt(request: &Request) -> bool {
    request.kind.custom.is_none() && request.kind.group == "admissionregistration.k8s.io"
}

/// What one evaluation says.
struct Verdict<'p> {
    policy: &'p Policy,
    binding: String,
    message: String,
    reason: String,
    actions: Value,
}

/// Holds a request against all validating policies that are bound to it.
///
/// # Errors
/// A policy denies it.
pub fn validate(api: &Api, context: &Context<'_>) -> Outcome<()> {
    if exempt(context.request) {
        return Ok(());
    }
    let policies = policies(api, VALIDATING);
    if policies.is_empty() {
        return Ok(());
    }
    let bindings: Vec<Value> = all(api, VALIDATING_BINDINGS)
        .iter()
        .map(|stored| stored.value())
        .collect();
    let review = context.review();
    let mut denied = None;
    for policy in &policies {
        if !matching::matches(api, &policy.spec["matchConstraints"], context) {
            continue;
        }
        for binding in bindings
            .iter()
            .filter(|binding| binding["spec"]["policyName"] == *policy.name)
        {
            if !matching::optional(api, &binding["spec"]["matchResources"], context) {
                continue;
            }
            for verdict in judge(api, policy, binding, context, &review) {
                report(context, &verdict, &mut denied);
            }
        }
    }
    denied.map_or(Ok(()), Err)
}

fn report(context: &Context<'_>, verdict: &Verdict<'_>, denied: &mut Option<Failure>) {
    let request = context.request;
    let has = |action: &str| {
        verdict
            .actions
            .as_array()
            .is_some_and(|list| list.iter().any(|own| own == action))
    };
    let (name, binding, message) = (&verdict.policy.name, &verdict.binding, &verdict.message);
    if has("Warn") {
        request.warn(format!(
            "Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{binding}': {message}"
        ));
    }
    if has("Deny") && denied.is_none() {
        let why =
            format!("ValidatingAdmissionPolicy '{name}' with binding '{binding}' denied request: {message}");
        *denied = Some(refusal(request, context.name(), &why, &verdict.reason));
    }
}

/// A refusal with the code that belongs to its reason.
pub(super) fn refusal(request: &Request, name: &str, why: &str, reason: &str) -> Failure {
    let kind = &request.kind;
    let mut failure = Failure::forbidden(&kind.group, &kind.plural, name, why);
    let (reason, code) = match reason {
        "Forbidden" => ("Forbidden", 403),
        "Unauthorized" => ("Unauthorized", 401),
        "RequestEntityTooLarge" => ("RequestEntityTooLarge", 413),
        _ => ("Invalid", 422),
    };
    failure.reason = reason;
    failure.code = code;
    if let Some(details) = &mut failure.details {
        details["causes"] = json!([{"message": why}]);
    }
    failure
}

fn judge<'p>(
    api: &Api,
    policy: &'p Policy,
    binding: &Value,
    context: &Context<'_>,
    review: &Value,
) -> Vec<Verdict<'p>> {
    let verdict = |message: String, reason: &str| Verdict {
        policy,
        binding: meta(binding, "name").to_owned(),
        message,
        reason: reason.to_owned(),
        actions: binding["spec"]["validationActions"].clone(),
    };
    let params = match params::find(
        api,
        &policy.spec["paramKind"],
        &binding["spec"]["paramRef"],
        context,
    ) {
        Ok(params) => params,
        Err(_) if policy.ignores() => return vec![],
        Err(why) => return vec![verdict(format!("failed to configure binding: {why}"), "")],
    };
    let namespace = context.namespace(api);
    let port = context.authorizer(api);
    let mut verdicts = vec![];
    for param in &params {
        let vars = context.vars(policy, review, &namespace, param, &port);
        match policy.applies(&vars) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(_) if policy.ignores() => continue,
            Err(why) => {
                verdicts.push(verdict(why, ""));
                continue;
            }
        }
        let validations = policy.spec["validations"].as_array().into_iter().flatten();
        for (validation, (rule, message)) in validations.zip(&policy.rules) {
            let source = validation["expression"].as_str().unwrap_or("").trim();
            let result = rule
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|program| program.eval(&vars).map_err(|error| error.to_string()));
            match result.map(|value| value.as_bool()) {
                Ok(Some(true)) => {}
                Ok(_) => {
                    let text = said(message.as_ref(), &vars)
                        .or_else(|| validation["message"].as_str().map(|text| text.trim().to_owned()))
                        .filter(|text| !text.is_empty())
                        .unwrap_or_else(|| format!("failed expression: {source}"));
                    verdicts.push(verdict(text, validation["reason"].as_str().unwrap_or("")));
                }
                Err(_) if policy.ignores() => {}
                Err(why) => {
                    verdicts.push(verdict(
                        format!("expression '{source}' resulted in error: {why}"),
                        "",
                    ));
                }
            }
        }
    }
    verdicts
}

/// The text of a message's expression: one line that says something.
fn said(message: Option<&Compiled>, vars: &Vars<'_>) -> Option<String> {
    let value: Cel<'_> = message?.as_ref().ok()?.eval(vars).ok()?;
    let text = value.as_str()?.trim();
    (!text.is_empty() && !text.contains('\n') && text.len() <= 5 * 1024).then(|| text.to_owned())
}

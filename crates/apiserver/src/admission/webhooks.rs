//! Admission webhooks: others who change or refuse what is written, asked over HTTPS.
//!
//! Requests are worked on without waiting. A webhook that must be asked first ends the work with a call; when its
//! answer is there, the work is done again from the start and finds it. Reviews are told apart by what they say of the
//! object, without what the server itself makes anew each time.
//!
//! What the controllers inside the server do asks nobody. Where workloads are simulated, a webhook behind a service
//! that exists lets everything pass, as its pods would run.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use fluvial_schema::cel::{Env, Program};
use serde_json::{Value, json};

use super::policies::{Context, matching};
use crate::api::{Api, new_uid};
use crate::convert::webhook::Batch;
use crate::request::Request;
use crate::status::{Failure, Outcome};
use crate::verbs::decode;

mod target;
mod trust;

pub use target::{Call, prepare};

const MUTATING: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
const VALIDATING: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";
/// Calls for one request.
const CALLS: usize = 64;
/// The same where objects are converted: a long list takes many.
const CONVERSIONS: usize = 4_096;

#[derive(Debug, Default)]
struct State {
    enabled: bool,
    asked: usize,
    batches: usize,
    answers: BTreeMap<u64, Result<Value, String>>,
    pending: Option<(u64, Call)>,
    conversions: BTreeMap<u64, Result<Value, String>>,
    batch: Option<(u64, Batch)>,
    uid: Option<String>,
    suffixes: Vec<String>,
}

/// What was asked for a request, and what stays the same each time it is worked on.
#[derive(Debug, Default)]
pub struct Calls(Mutex<State>);

impl Calls {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of a request that somebody waits for.
    #[must_use]
    pub fn enabled() -> Self {
        Calls(Mutex::new(State {
            enabled: true,
            ..State::default()
        }))
    }

    /// The call to make before the request is worked on again.
    #[must_use]
    pub fn pending(&self) -> Option<(u64, Call)> {
        self.lock().pending.take()
    }

    /// Keeps an answer.
    pub fn answered(&self, key: u64, answer: Result<Value, String>) {
        let mut state = self.lock();
        match state.batch.take() {
            Some((own, batch)) if own == key => state.conversions.extend(batch.unpack(answer)),
            other => {
                state.batch = other;
                state.answers.insert(key, answer);
            }
        }
    }

    /// Whether somebody makes the calls that are asked for.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.lock().enabled
    }

    /// What a conversion webhook made of an object.
    #[must_use]
    pub fn converted(&self, key: u64) -> Option<Result<Value, String>> {
        self.lock().conversions.get(&key).cloned()
    }

    /// Asks for a conversion before the request is worked on again.
    ///
    /// # Errors
    /// Too much has been asked for already.
    pub fn convert(&self, batch: Batch, call: Call) -> Result<(), String> {
        let mut state = self.lock();
        if state.batches >= CONVERSIONS {
            return Err(format!("more than {CONVERSIONS} calls for one request"));
        }
        state.batches += 1;
        let key = u64::MAX - state.batches as u64;
        state.batch = Some((key, batch));
        state.pending = Some((key, call));
        Ok(())
    }

    /// The uid of the object that the request makes.
    #[must_use]
    pub fn uid(&self) -> String {
        self.lock().uid.get_or_insert_with(new_uid).clone()
    }

    /// The end of a generated name, by attempt.
    #[must_use]
    pub fn suffix(&self, attempt: usize) -> String {
        let mut state = self.lock();
        while state.suffixes.len() <= attempt {
            state.suffixes.push(crate::api::name_suffix());
        }
        state.suffixes[attempt].clone()
    }
}

/// What of an object tells reviews apart.
pub fn essence(object: &Value, hasher: &mut rustc_hash::FxHasher) {
    let mut plain = object.clone();
    if let Some(meta) = plain["metadata"].as_object_mut() {
        for field in ["managedFields", "creationTimestamp", "uid", "deletionTimestamp"] {
            meta.remove(field);
        }
    }
    plain.to_string().hash(hasher);
}

fn hooks(api: &Api, collection: &str) -> Vec<(String, Value)> {
    let collection = api.store.collection(collection);
    if collection.is_empty() {
        return vec![];
    }
    let Ok(snapshot) = collection.snapshot(&api.store, "", None, None) else {
        return vec![];
    };
    snapshot
        .objects
        .iter()
        .flat_map(|stored| {
            let hooks = match stored.value()["webhooks"].take() {
                Value::Array(hooks) => hooks,
                _ => vec![],
            };
            let name = stored.name().to_owned();
            hooks.into_iter().map(move |hook| (name.clone(), hook))
        })
        .collect()
}

fn wanted(api: &Api, hook: &Value, context: &Context<'_>) -> Result<bool, String> {
    let equivalent = hook["matchPolicy"] != "Exact";
    let rules = hook["rules"].as_array().into_iter().flatten();
    if !rules
        .into_iter()
        .any(|rule| matching::rule(rule, context, equivalent))
        || !matching::selectors(api, hook, context)
    {
        return Ok(false);
    }
    let conditions = hook["matchConditions"].as_array().map_or(&[][..], Vec::as_slice);
    if conditions.is_empty() {
        return Ok(true);
    }
    let (review, namespace) = (context.review(), context.namespace(api));
    let port = context.authorizer(api);
    let vars = context.plain_vars(&review, &namespace, &Value::Null, &port);
    let env = Env::admission(false).authorizer();
    let mut failed = None;
    for condition in conditions {
        let source = condition["expression"].as_str().unwrap_or("");
        let result = Program::compile(source, &env)
            .map_err(|error| error.to_string())
            .and_then(|program| program.eval(&vars).map_err(|error| error.to_string()));
        match result.map(|value| value.as_bool()) {
            Ok(Some(false)) => return Ok(false),
            Ok(_) => {}
            Err(why) => failed = Some(why),
        }
    }
    failed.map_or(Ok(true), Err)
}

/// Asks a webhook: its response, or None if it has no say or its failure is ignored.
fn ask(api: &Api, configuration: &str, hook: &Value, context: &Context<'_>) -> Outcome<Option<Value>> {
    let name = hook["name"].as_str().unwrap_or("");
    let ignores = hook["failurePolicy"] == "Ignore";
    let fail = |why: String| {
        if ignores {
            tracing::warn!(webhook = name, why, "a webhook failed, which it may");
            return Ok(None);
        }
        Err(Failure::internal(format!(
            "failed calling webhook {name:?}: {why}"
        )))
    };
    match wanted(api, hook, context) {
        Ok(false) => return Ok(None),
        Ok(true) => {}
        Err(why) => return fail(why),
    }
    let mut hasher = rustc_hash::FxHasher::default();
    (
        configuration,
        name,
        context.operation,
        &context.request.target.name,
    )
        .hash(&mut hasher);
    essence(context.object, &mut hasher);
    essence(context.old, &mut hasher);
    let key = hasher.finish();
    let calls = &context.request.calls;
    let state = calls.lock();
    if let Some(answer) = state.answers.get(&key) {
        let answer = answer.clone();
        drop(state);
        return match answer.and_then(|review| response(&review)) {
            Ok(response) => Ok(Some(response)),
            Err(why) => fail(format!("failed to call webhook: {why}")),
        };
    }
    if !state.enabled {
        return Ok(None);
    }
    if state.asked >= CALLS {
        drop(state);
        return fail(format!("more than {CALLS} calls for one request"));
    }
    drop(state);
    let seconds = hook["timeoutSeconds"].as_u64().unwrap_or(10);
    let call = match target::prepare(api, &hook["clientConfig"], seconds, &review(hook, context)) {
        Ok(Some(call)) => call,
        Ok(None) => return Ok(None),
        Err(why) => return fail(format!("failed to call webhook: {why}")),
    };
    let mut state = calls.lock();
    state.asked += 1;
    state.pending = Some((key, call));
    Err(Failure::unclassified("a webhook is being asked"))
}

fn review(hook: &Value, context: &Context<'_>) -> Value {
    let versions = hook["admissionReviewVersions"].as_array();
    let version = versions
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .find(|version| matches!(*version, "v1" | "v1beta1"))
        .unwrap_or("v1");
    let mut request = context.review();
    request["uid"] = new_uid().into();
    request["object"] = context.object.clone();
    request["oldObject"] = context.old.clone();
    json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": request})
}

fn response(review: &Value) -> Result<Value, String> {
    if review["kind"] != "AdmissionReview" {
        return Err(format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {}, Kind={}",
            review["apiVersion"].as_str().unwrap_or(""),
            review["kind"].as_str().unwrap_or("")
        ));
    }
    if !review["response"].is_object() {
        return Err("webhook response was absent".to_owned());
    }
    Ok(review["response"].clone())
}

/// A refusal in the words of the webhook.
fn denied(name: &str, response: &Value) -> Failure {
    let status = &response["status"];
    let text = |field: &str| status[field].as_str().unwrap_or("");
    let head = format!("admission webhook {name:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{head} without explanation"),
        ("", reason) => format!("{head}: {reason}"),
        (message, _) => format!("{head}: {message}"),
    };
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
    let reason = [
        "Forbidden",
        "Invalid",
        "BadRequest",
        "Unauthorized",
        "Conflict",
        "NotFound",
        "InternalError",
    ]
    .into_iter()
    .find(|known| *known == text("reason"))
    .unwrap_or("");
    let failure = Failure::new(code, reason, message);
    match &status["details"] {
        Value::Null => failure,
        details => failure.with_details(details.clone()),
    }
}

fn warn(request: &Request, response: &Value) {
    for text in response["warnings"].as_array().into_iter().flatten() {
        if let Some(text) = text.as_str() {
            request.warn(text);
        }
    }
}

fn exempt(request: &Request) -> bool {
    request.kind.custom.is_none() && request.kind.group == "admissionregistration.k8s.io"
}

/// Lets webhooks change an object.
///
/// # Errors
/// One refuses, or fails and must not.
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
    let hooks = hooks(api, MUTATING);
    // Those that want to see later changes are asked once more.
    let mut left = vec![];
    for (configuration, hook) in &hooks {
        let ran = one(api, request, operation, configuration, hook, object, old)?;
        let again = ran && hook["reinvocationPolicy"] == "IfNeeded";
        left.push(again.then(|| object.clone()));
    }
    for ((configuration, hook), left) in hooks.iter().zip(left) {
        if left.is_some_and(|left| left != *object) {
            one(api, request, operation, configuration, hook, object, old)?;
        }
    }
    Ok(())
}

fn one(
    api: &Api,
    request: &Request,
    operation: &'static str,
    configuration: &str,
    hook: &Value,
    object: &mut Value,
    old: &Value,
) -> Outcome<bool> {
    let context = Context {
        request,
        operation,
        object,
        old,
    };
    let Some(response) = ask(api, configuration, hook, &context)? else {
        return Ok(false);
    };
    let name = hook["name"].as_str().unwrap_or("");
    warn(request, &response);
    if response["allowed"] != true {
        return Err(denied(name, &response));
    }
    let Some(patch) = response["patch"].as_str().filter(|patch| !patch.is_empty()) else {
        return Ok(true);
    };
    let patched = base64::engine::general_purpose::STANDARD
        .decode(patch)
        .map_err(|error| error.to_string())
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).map_err(|error| error.to_string()))
        .and_then(|patch| {
            let mut new = object.clone();
            fluvial_merge::json_patch::apply(&mut new, &patch).map_err(|error| error.to_string())?;
            let mut complaints = decode::Complaints::default();
            decode::typed(api, &request.kind, &mut new, &mut complaints)?;
            Ok(new)
        });
    match patched {
        Ok(new) => *object = new,
        Err(_) if hook["failurePolicy"] == "Ignore" => {}
        Err(why) => {
            return Err(Failure::internal(format!(
                "failed calling webhook {name:?}: received invalid webhook response: {why}"
            )));
        }
    }
    Ok(true)
}

/// Lets webhooks refuse what is about to be written or deleted.
///
/// # Errors
/// One refuses, or fails and must not.
pub fn validate(api: &Api, context: &Context<'_>) -> Outcome<()> {
    if exempt(context.request) {
        return Ok(());
    }
    for (configuration, hook) in hooks(api, VALIDATING) {
        let Some(response) = ask(api, &configuration, &hook, context)? else {
            continue;
        };
        warn(context.request, &response);
        if response["allowed"] != true {
            return Err(denied(hook["name"].as_str().unwrap_or(""), &response));
        }
    }
    Ok(())
}

/// The name that a failure shows; kept here so that targets and refusals agree.
pub(super) fn shown(service: &Value) -> String {
    format!(
        "{}.{}.svc",
        service["name"].as_str().unwrap_or(""),
        service["namespace"].as_str().unwrap_or("")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_words_of_the_webhook() {
        let failure = denied(
            "a.b.c",
            &json!({"allowed": false, "status": {"message": "no", "code": 403, "reason": "Forbidden"}}),
        );
        assert_eq!(failure.code, 403);
        assert_eq!(
            failure.message,
            "admission webhook \"a.b.c\" denied the request: no"
        );
        let failure = denied("a.b.c", &json!({"allowed": false}));
        assert_eq!(failure.code, 400);
        assert_eq!(
            failure.message,
            "admission webhook \"a.b.c\" denied the request without explanation"
        );
    }
}

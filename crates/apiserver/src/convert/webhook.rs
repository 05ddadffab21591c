//! Conversion webhooks: custom resources that are kept in one version and shown in another, which only their author's
//! service can make of them.
//!
//! A request that needs a conversion ends with a call, as with admission webhooks, and is worked on again when the
//! answer is there. Lists are converted many objects at a time, and lists and watches share what was converted for
//! them, because a state of an object is converted to the same again.
//!
//! Controllers inside the server ask nobody: they see and write the form that is kept. Where workloads are simulated,
//! a webhook behind a service that exists changes nothing but the version.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_object::go::type_name;
use serde_json::{Map, Value, json};

use crate::admission::webhooks::{Calls, essence, prepare};
use crate::api::{Api, meta, new_uid};
use crate::kinds::Kind;
use crate::registry::meta as rules;
use crate::status::{Failure, Outcome};
use crate::store::{LabelHint, Stored};

/// Seconds that a conversion may take.
const SECONDS: u64 = 30;
/// Objects converted by one call.
const BATCH: usize = 256;
/// Bytes of objects converted by one call.
const BATCH_BYTES: usize = 1 << 20;
/// Bytes of converted objects that are remembered.
const CACHE_BYTES: usize = 32 << 20;

#[derive(Debug, Default)]
struct Cache {
    /// By version, so that the oldest go first; then by the form.
    objects: BTreeMap<(u64, Arc<str>), Arc<Stored>>,
    bytes: usize,
}

/// How a definition's objects are converted.
#[derive(Debug)]
pub struct Conversion {
    client: Value,
    review: &'static str,
    cache: Mutex<Cache>,
}

impl Conversion {
    /// Reads `spec.conversion`; None unless a webhook converts.
    #[must_use]
    pub fn read(conversion: &Value) -> Option<Conversion> {
        if conversion["strategy"] != "Webhook" {
            return None;
        }
        let hook = &conversion["webhook"];
        let versions = hook["conversionReviewVersions"].as_array();
        let mut known = versions
            .into_iter()
            .flatten()
            .filter_map(|version| match version.as_str() {
                Some("v1") => Some("apiextensions.k8s.io/v1"),
                Some("v1beta1") => Some("apiextensions.k8s.io/v1beta1"),
                _ => None,
            });
        Some(Conversion {
            client: hook["clientConfig"].clone(),
            review: known.next().unwrap_or("apiextensions.k8s.io/v1"),
            cache: Mutex::default(),
        })
    }

    fn known(&self, version: u64, form: &Arc<str>) -> Option<Arc<Stored>> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.objects.get(&(version, form.clone())).cloned()
    }

    fn keep(&self, form: &Arc<str>, stored: &Arc<Stored>) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.bytes += stored.text.size();
        let key = (stored.version, form.clone());
        if let Some(old) = cache.objects.insert(key, stored.clone()) {
            cache.bytes -= old.text.size();
        }
        while cache.bytes > CACHE_BYTES
            && let Some((_, old)) = cache.objects.pop_first()
        {
            cache.bytes -= old.text.size();
        }
    }
}

/// Whether a stored object has to be converted to be one of the kind's version.
#[must_use]
pub fn is_foreign(kind: &Kind, stored: &Stored) -> bool {
    let hooked = kind.custom.as_ref().is_some_and(|own| own.conversion.is_some());
    let version = stored.form.as_deref().and_then(|form| form.rsplit_once('/'));
    hooked && version.is_some_and(|(_, version)| version != kind.version)
}

/// Objects that are converted by one call, each with the key of its answer.
#[derive(Debug)]
pub struct Batch {
    uid: String,
    review: &'static str,
    form: Arc<str>,
    items: Vec<(u64, Value)>,
}

fn gvk(object: &Value) -> String {
    let text = |field: &str| object[field].as_str().unwrap_or("");
    format!("{}, Kind={}", text("apiVersion"), text("kind"))
}

fn failed(object: &Value, why: &str) -> String {
    format!("conversion webhook for {} failed: {why}", gvk(object))
}

impl Batch {
    fn request(&self) -> Value {
        let objects: Vec<&Value> = self.items.iter().map(|(_, object)| object).collect();
        json!({"kind": "ConversionReview", "apiVersion": self.review, "request": {
            "uid": self.uid, "desiredAPIVersion": &*self.form, "objects": objects}})
    }

    /// The objects of an answer, each under its key.
    #[must_use]
    pub fn unpack(self, answer: Result<Value, String>) -> Vec<(u64, Result<Value, String>)> {
        let objects = answer.and_then(|review| self.objects(review));
        match objects {
            Err(why) => {
                let all = self.items.into_iter();
                all.map(|(key, object)| (key, Err(failed(&object, &why))))
                    .collect()
            }
            Ok(objects) if objects.len() != self.items.len() => {
                let (got, want) = (objects.len(), self.items.len());
                let all = self.items.into_iter();
                all.map(|(key, object)| {
                    let head = format!("conversion webhook for {}", gvk(&object));
                    (
                        key,
                        Err(format!("{head} returned {got} objects, expected {want}")),
                    )
                })
                .collect()
            }
            Ok(objects) => {
                let pairs = self.items.into_iter().zip(objects);
                pairs
                    .map(|((key, original), converted)| {
                        let checked = check(&original, converted, &self.form);
                        let head = || format!("conversion webhook for {} returned", gvk(&original));
                        (key, checked.map_err(|why| format!("{} {why}", head())))
                    })
                    .collect()
            }
        }
    }

    fn objects(&self, mut review: Value) -> Result<Vec<Value>, String> {
        let want = json!({"apiVersion": self.review, "kind": "ConversionReview"});
        if gvk(&review) != gvk(&want) {
            return Err(format!(
                "expected webhook response of {}, got {}",
                gvk(&want),
                gvk(&review)
            ));
        }
        let response = &mut review["response"];
        if !response.is_object() {
            return Err("no response provided".to_owned());
        }
        let uid = response["uid"].as_str().unwrap_or("");
        if uid != self.uid {
            return Err(format!("expected response.uid={:?}, got {uid:?}", self.uid));
        }
        let result = &response["result"];
        let status = result["status"].as_str().unwrap_or("");
        if status != "Success" {
            return Err(match result["message"].as_str().unwrap_or("") {
                "" => format!("response.result.status was '{status}', not 'Success'"),
                message => message.to_owned(),
            });
        }
        match response["convertedObjects"].take() {
            Value::Array(objects) => Ok(objects),
            _ => Ok(vec![]),
        }
    }
}

/// Holds a converted object against the one that was sent.
fn check(original: &Value, converted: Value, form: &str) -> Result<Value, String> {
    let text = |object: &Value, field: &str| object[field].as_str().unwrap_or("").to_owned();
    let got = text(&converted, "apiVersion");
    if got != form {
        return Err(format!(
            "invalid object at index 0: invalid groupVersion (expected {form}, received {got})"
        ));
    }
    let (want, got) = (text(original, "kind"), text(&converted, "kind"));
    if want != got {
        return Err(format!(
            "invalid object at index 0: invalid kind (expected {want}, received {got})"
        ));
    }
    for (field, shown) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (want, got) = (meta(original, field), meta(&converted, field));
        if want != got {
            return Err(format!(
                "invalid object: must have the same {shown}: {want} != {got}"
            ));
        }
    }
    restored(original, converted).map_err(|why| format!("invalid metadata: {why}"))
}

/// A converted object with the metadata of its original: a webhook decides on labels and annotations alone.
fn restored(original: &Value, mut converted: Value) -> Result<Value, String> {
    let found = match converted.get_mut("metadata") {
        None => return Err("missing metadata field".to_owned()),
        Some(found) => found.take(),
    };
    let Value::Object(mut found) = found else {
        let name = type_name(&found);
        return Err(format!("invalid metadata of type {name} in converted object"));
    };
    let mut metadata = original["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        let given = match found.remove(field) {
            None | Some(Value::Null) => {
                metadata.remove(field);
                continue;
            }
            Some(Value::Object(given)) => given,
            Some(other) => {
                let name = type_name(&other);
                return Err(format!(
                    "invalid metadata.{field} of type {name} in converted object"
                ));
            }
        };
        check_texts(field, &given, metadata.get(field))?;
        metadata.insert(field.to_owned(), Value::Object(given));
    }
    converted["metadata"] = Value::Object(metadata);
    Ok(converted)
}

fn check_texts(field: &str, given: &Map<String, Value>, before: Option<&Value>) -> Result<(), String> {
    for (name, value) in given {
        if !value.is_string() {
            let what = type_name(value);
            return Err(format!(
                "metadata.{field}[{name}] must be a string, but is {what} in converted object"
            ));
        }
    }
    if before.and_then(Value::as_object) == Some(given) {
        return Ok(());
    }
    let errors = rules::texts(field, given);
    if errors.is_empty() {
        return Ok(());
    }
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Err(match errors.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    })
}

/// Takes out what a version's schema does not know, as far as the version is served.
fn pruned(api: &Api, kind: &Kind, form: &str, object: &mut Value, defaults: bool) {
    let version = form.rsplit_once('/').map_or(form, |(_, version)| version);
    let own = api.kinds().find(&kind.group, version, &kind.plural).cloned();
    let custom = own.as_ref().and_then(|own| own.custom.as_ref());
    if let Some(schema) = custom.and_then(|custom| custom.schema.as_ref()) {
        schema.prune(object);
        if defaults {
            schema.default(object);
        }
    }
}

fn pending() -> Failure {
    Failure::unclassified("an object is being converted")
}

/// Asks for a batch, or knows its answer without asking.
fn ask(api: &Api, calls: &Calls, conversion: &Conversion, batch: Batch) -> Outcome<()> {
    let example = batch
        .items
        .first()
        .map(|(_, object)| object.clone())
        .unwrap_or_default();
    let fail = |why: String| Failure::unclassified(failed(&example, &why));
    match prepare(api, &conversion.client, SECONDS, &batch.request()).map_err(fail)? {
        Some(call) => {
            calls.convert(batch, call).map_err(fail)?;
            Err(pending())
        }
        None => Ok(()),
    }
}

/// Stored objects in the version of the kind.
///
/// # Errors
/// The webhook has to be asked first, or fails.
pub fn stored(
    api: &Api,
    calls: &Calls,
    kind: &Kind,
    mut objects: Vec<Arc<Stored>>,
    fresh: bool,
) -> Outcome<Vec<Arc<Stored>>> {
    let Some(conversion) = kind.custom.as_ref().and_then(|own| own.conversion.as_ref()) else {
        return Ok(objects);
    };
    if !calls.can_ask() {
        return Ok(objects);
    }
    let form: Arc<str> = kind.api_version().into();
    let mut items: Vec<(u64, Value)> = vec![];
    let mut bytes = 0;
    for object in &mut objects {
        if !is_foreign(kind, object) {
            continue;
        }
        if let Some(known) = conversion.known(object.version, &form).filter(|_| !fresh) {
            *object = known;
            continue;
        }
        let mut hasher = rustc_hash::FxHasher::default();
        (object.version, &*object.key, &*form).hash(&mut hasher);
        let key = hasher.finish();
        match calls.converted(key) {
            Some(answer) => {
                *object = kept(object, answer.map_err(Failure::unclassified)?, &form);
                conversion.keep(&form, object);
            }
            None if items.len() < BATCH && bytes < BATCH_BYTES => {
                bytes += object.text.size();
                items.push((key, whole(api, kind, object)));
            }
            None => {}
        }
    }
    if items.is_empty() {
        return Ok(objects);
    }
    let batch = Batch {
        uid: new_uid(),
        review: conversion.review,
        form: form.clone(),
        items,
    };
    ask(api, calls, conversion, batch)?;
    // Nobody to ask: it is the version alone that changes.
    for object in &mut objects {
        if is_foreign(kind, object) {
            *object = Arc::new(Stored {
                key: object.key.clone(),
                version: object.version,
                text: object.json().into(),
                form: Some(form.clone()),
                labels: object.labels,
            });
        }
    }
    Ok(objects)
}

/// One stored object in the version of the kind.
///
/// # Errors
/// The webhook has to be asked first, or fails.
pub fn one(api: &Api, calls: &Calls, kind: &Kind, object: Arc<Stored>, fresh: bool) -> Outcome<Arc<Stored>> {
    if !is_foreign(kind, &object) {
        return Ok(object);
    }
    let mut all = stored(api, calls, kind, vec![object.clone()], fresh)?;
    Ok(all.pop().unwrap_or(object))
}

/// A stored object as the webhook sees it.
fn whole(api: &Api, kind: &Kind, stored: &Stored) -> Value {
    let form = stored.form.as_deref().unwrap_or("");
    let mut value = stored.value();
    value["kind"] = kind.kind.clone().into();
    value["apiVersion"] = form.into();
    pruned(api, kind, form, &mut value, true);
    value
}

fn kept(stored: &Stored, mut value: Value, form: &Arc<str>) -> Arc<Stored> {
    if let Some(map) = value.as_object_mut() {
        map.remove("kind");
        map.remove("apiVersion");
    }
    // A Value always serialises: its keys are strings.
    let json = serde_json::to_vec(&value).unwrap_or_default();
    Arc::new(Stored {
        key: stored.key.clone(),
        version: stored.version,
        text: json.into(),
        form: Some(form.clone()),
        // A webhook may change labels.
        labels: LabelHint::UNKNOWN,
    })
}

/// An object in another version of its kind.
fn converted(
    api: &Api,
    calls: &Calls,
    kind: &Kind,
    conversion: &Conversion,
    object: &Value,
    form: &Arc<str>,
) -> Outcome<Value> {
    let mut hasher = rustc_hash::FxHasher::default();
    (&**form, &object["apiVersion"].as_str()).hash(&mut hasher);
    essence(object, &mut hasher);
    let key = hasher.finish();
    let mut value = match calls.converted(key) {
        // What the server sets anew each time is that of now.
        Some(answer) => answer
            .and_then(|value| restored(object, value))
            .map_err(Failure::unclassified)?,
        None => {
            let batch = Batch {
                uid: new_uid(),
                review: conversion.review,
                form: form.clone(),
                items: vec![(key, object.clone())],
            };
            ask(api, calls, conversion, batch)?;
            object.clone()
        }
    };
    value["apiVersion"] = (&**form).into();
    pruned(api, kind, form, &mut value, false);
    Ok(value)
}

/// Turns a new state into the version that is kept. The client is shown what becomes of that in its own version; None
/// if it is the same.
///
/// # Errors
/// The webhook has to be asked first, or fails.
pub fn to_storage(api: &Api, calls: &Calls, kind: &Kind, object: &mut Value) -> Outcome<Option<Value>> {
    let Some(custom) = &kind.custom else {
        return Ok(None);
    };
    let own = object["apiVersion"].as_str().unwrap_or("").to_owned();
    if own == *custom.storage {
        return Ok(None);
    }
    let Some(conversion) = &custom.conversion else {
        object["apiVersion"] = (&*custom.storage).into();
        return Ok(None);
    };
    // Controllers write the form that they saw.
    if !calls.can_ask() {
        return Ok(None);
    }
    let kept = converted(api, calls, kind, conversion, object, &custom.storage)?;
    let shown = converted(api, calls, kind, conversion, &kept, &own.into())?;
    *object = kept;
    Ok(Some(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let object = json!({"apiVersion": "e.io/v1", "kind": "Thing",
            "metadata": {"name": "a", "uid": "u", "labels": {"a": "b"}, "generation": 4}, "spec": {"a": 1}});
        Batch {
            uid: "1".into(),
            review: "apiextensions.k8s.io/v1",
            form: "e.io/v2".into(),
            items: vec![(7, object)],
        }
    }

    fn answer(object: &Value) -> Result<Value, String> {
        Ok(
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response":
            {"uid": "1", "result": {"status": "Success"}, "convertedObjects": [object]}}),
        )
    }

    fn only(answer: Result<Value, String>) -> Result<Value, String> {
        batch().unpack(answer).remove(0).1
    }

    #[test]
    fn a_webhook_decides_on_labels_and_annotations_of_the_metadata_alone() {
        let object = json!({"apiVersion": "e.io/v2", "kind": "Thing", "spec": {"b": 1}, "metadata":
            {"name": "a", "uid": "u", "annotations": {"c": "d"}, "generation": 9, "finalizers": ["x"]}});
        assert_eq!(
            only(answer(&object)).unwrap(),
            json!({"apiVersion": "e.io/v2", "kind": "Thing", "spec": {"b": 1},
                "metadata": {"name": "a", "uid": "u", "annotations": {"c": "d"}, "generation": 4}})
        );
    }

    #[test]
    fn answers_that_are_none_are_refused_in_a_servers_words() {
        let head = "conversion webhook for e.io/v1, Kind=Thing";
        let object = |version: &str, name: &str| json!({"apiVersion": version, "kind": "Thing", "metadata": {"name": name, "uid": "u"}});
        let cases = [
            (
                answer(&object("e.io/v1", "a")),
                "returned invalid object at index 0: invalid groupVersion (expected \
                                              e.io/v2, received e.io/v1)",
            ),
            (
                answer(&object("e.io/v2", "b")),
                "returned invalid object: must have the same name: a != b",
            ),
            (
                Ok(json!({"apiVersion": "v1", "kind": "Status"})),
                "failed: expected webhook response of \
                apiextensions.k8s.io/v1, Kind=ConversionReview, got v1, Kind=Status",
            ),
            (
                Ok(
                    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": {"uid": "1",
                "result": {"status": "Failure", "message": "no way"}}}),
                ),
                "failed: no way",
            ),
            (
                Ok(
                    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": {"uid": "1",
                "result": {"status": "Success"}}}),
                ),
                "returned 0 objects, expected 1",
            ),
            (Err("EOF".to_owned()), "failed: EOF"),
        ];
        for (answer, end) in cases {
            assert_eq!(only(answer).unwrap_err(), format!("{head} {end}"));
        }
    }
}

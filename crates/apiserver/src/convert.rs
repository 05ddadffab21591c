//! Kinds that are served in another form than they are kept in.
//!
//! Events are kept as `v1` and also served as `events.k8s.io/v1`; horizontal pod autoscalers are
//! kept as `autoscaling/v2` and also served as `v1`. Versions of custom resources differ in their
//! schema alone, unless a webhook converts them: what a version does not know is not shown, what it
//! defaults is filled in.

use std::sync::Arc;

use serde_json::Value;

use crate::admission::webhooks::Calls;
use crate::api::Api;
use crate::kinds::Kind;
use crate::status::Outcome;
use crate::store::Stored;
use crate::verbs::Reply;

mod autoscaler;
pub mod webhook;

/// Whether reading needs more than the stored text.
#[must_use]
pub fn differs(kind: &Kind) -> bool {
    match &kind.custom {
        Some(custom) => custom.several,
        None => {
            kind.group == "events.k8s.io" || (kind.kind == "HorizontalPodAutoscaler" && kind.version == "v1")
        }
    }
}

const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(object: &mut Value, pairs: impl Iterator<Item = (&'static str, &'static str)>) {
    if let Some(map) = object.as_object_mut() {
        for (from, to) in pairs {
            if let Some(value) = map.remove(from) {
                map.insert(to.to_owned(), value);
            }
        }
    }
}

/// Turns what the store holds into the version of `kind`.
pub fn from_storage(kind: &Kind, object: &mut Value) {
    if !differs(kind) {
        return;
    }
    if let Some(custom) = &kind.custom {
        if let Some(schema) = &custom.schema {
            schema.prune(object);
            schema.default(object);
        }
    } else if kind.kind == "Event" {
        rename(object, EVENT_FIELDS.iter().copied());
        if let Some(map) = object.as_object_mut() {
            for field in ["reportingController", "reportingInstance"] {
                if map.get(field).is_some_and(|value| value == "") {
                    map.remove(field);
                }
            }
        }
    } else {
        autoscaler::to_v1(object);
    }
}

/// Turns an object of the version of `kind` into what the store holds. What the client sees of it is returned if a
/// webhook had a say.
///
/// # Errors
/// A conversion webhook has to be asked first, or fails.
pub fn to_storage(api: &Api, calls: &Calls, kind: &Kind, object: &mut Value) -> Outcome<Option<Value>> {
    if kind.custom.is_some() {
        return webhook::to_storage(api, calls, kind, object);
    }
    builtin_to_storage(kind, object);
    Ok(None)
}

/// The reply to a write, whose new state is shown as [`to_storage`] said.
#[must_use]
pub fn written(code: u16, stored: Arc<Stored>, shown: Option<Value>) -> Reply {
    match shown {
        None => Reply::Stored(code, stored),
        Some(mut value) => {
            value["metadata"]["resourceVersion"] = stored.version.to_string().into();
            Reply::Value(code, value)
        }
    }
}

/// Whether a stored object is in another version than those written now.
#[must_use]
pub fn is_outdated(kind: &Kind, stored: &Stored) -> bool {
    let storage = kind.custom.as_ref().map(|custom| &*custom.storage);
    storage.is_some() && stored.form.is_some() && stored.form.as_deref() != storage
}

/// [`to_storage`] for kinds that no definition made.
pub fn builtin_to_storage(kind: &Kind, object: &mut Value) {
    if !differs(kind) {
        return;
    }
    if kind.kind == "Event" {
        rename(object, EVENT_FIELDS.iter().map(|(from, to)| (*to, *from)));
    } else {
        autoscaler::to_v2(object);
    }
}

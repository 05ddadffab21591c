//! What can be done with resources.

pub mod create;
pub mod decode;
pub mod delete;
pub mod patch;
pub mod read;
pub mod special;
pub mod update;
pub mod watch;

use std::sync::Arc;

use serde_json::Value;

use crate::kinds::Kind;
use crate::store::Stored;

/// The answer to a request, before it takes the form asked for.
#[derive(Debug)]
pub enum Reply {
    /// An object as it is in the store.
    Stored(u16, Arc<Stored>),
    /// A complete value.
    Value(u16, Value),
    /// A list of stored objects.
    List {
        /// Version of the list.
        version: u64,
        /// Where the next page begins.
        next: Option<String>,
        /// How many follow.
        remaining: Option<usize>,
        /// The objects.
        objects: Vec<Arc<Stored>>,
    },
    /// A text, such as a log.
    Text(u16, String),
    /// A watch.
    Watch(Box<watch::Watch>),
}

/// A stored object as it looks in the version asked for.
#[must_use]
pub fn show(kind: &Kind, stored: &Stored) -> Value {
    let mut value = stored.value();
    kind.stamp(&mut value);
    // What nobody converted stays what it is.
    if let Some(form) = stored.form.as_deref()
        && crate::convert::webhook::is_foreign(kind, stored)
    {
        value["apiVersion"] = form.into();
        return value;
    }
    crate::convert::from_storage(kind, &mut value);
    value
}

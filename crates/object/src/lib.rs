//! Kubernetes objects as values: ids, selectors, conditions, quantities, durations.
//!
//! An object is a [`serde_json::Value`]; this crate gives it names ([`ObjectId`], [`GroupVersionKind`]),
//! accessors ([`ObjectExt`]) and the small value languages of the Kubernetes API, each read and written
//! as the Go libraries do it: quantities, durations, selectors, JSON paths, version constraints.

pub mod access;
pub mod condition;
pub mod duration;
pub mod fields;
pub mod go;
pub mod id;
pub mod jsonpath;
pub mod labels;
pub mod path;
pub mod quantity;
mod quote;
pub mod semver;
pub mod time;

pub use access::ObjectExt;
pub use condition::{Condition, ConditionStatus};
pub use id::{GroupVersionKind, ObjectId, id_of};
pub use path::FieldPath;

//! OpenAPI and CRD schemas as explicit values.
//!
//! A [`SchemaSet`] holds the built-in kinds; a [`CrdSchema`] is one custom resource's. Both lead to
//! a [`TypeRef`]: a cheap handle on one node of an immutable [`Table`], from which one walks on.

pub mod cel;
mod crd;
mod error;
mod kinds;
mod resources;
mod table;
mod types;
mod unknown;

pub use crd::CrdSchema;
pub use error::{ErrorKind, FieldError, quote};
pub use kinds::SchemaSet;
pub use resources::{Resource, Subresource};
pub use table::{Base, ListType, MapType, Table};
pub use types::{Type, TypeRef};

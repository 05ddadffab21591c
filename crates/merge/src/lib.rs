//! JSON patch, merge patch, strategic merge and server-side apply.
//!
//! All are functions from values to values. What a field means comes as a
//! [`fluvial_schema::TypeRef`]; without one, types are deduced from the values.

mod error;
pub mod json_patch;
pub mod managed;
pub mod merge_patch;
pub mod strategic;

pub use error::PatchError;

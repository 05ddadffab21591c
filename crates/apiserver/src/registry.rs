//! What each kind does on its way into the store: defaults, what is prepared, what is refused.

pub mod claims;
pub mod defaults;
pub mod images;
pub mod meta;
pub mod nodes;
pub mod prepare;
pub mod services;
pub mod validate;
pub mod warnings;
pub mod workloads;

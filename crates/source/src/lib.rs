//! Git and other sources, mirrors, the artifact store and its HTTP server.

pub mod error;
pub mod folder;
pub mod git;
pub mod ignore;
pub mod limits;

mod entry;

pub use error::{Class, SourceError};

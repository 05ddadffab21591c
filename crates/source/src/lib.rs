//! Git and other sources, mirrors, the artifact store and its HTTP server.

pub mod artifact;
pub mod credentials;
pub mod error;
pub mod folder;
pub mod git;
pub mod http;
pub mod ignore;
pub mod include;
pub mod limits;
pub mod mirrors;
pub mod watch;

mod entry;

pub use error::{Class, SourceError};

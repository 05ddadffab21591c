//! Git and other sources, mirrors, the artifact store and its HTTP server.

pub mod artifact;
pub mod bucket;
pub mod credentials;
pub mod error;
pub mod folder;
pub mod git;
pub mod helm;
pub mod http;
pub mod ignore;
pub mod include;
pub mod limits;
pub mod mirrors;
pub mod oci;
pub mod watch;

mod aside;
mod entry;
mod web;

pub use error::{Class, SourceError};

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

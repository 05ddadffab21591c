//! The Kubernetes client behind the controllers' ports: one shared connection pool, kinds looked up lazily, watches
//! that heal themselves, server-side apply, impersonation by header.

mod client;
mod connect;
mod discovery;
mod error;
mod request;
mod watch;

pub use client::Client;
pub use kube::client::Body;
pub use connect::{ConnectError, Credentials};

#[cfg(test)]
mod tests;

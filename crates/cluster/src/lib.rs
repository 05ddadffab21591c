//! The Kubernetes client behind the controllers' ports: one shared connection pool, kinds looked up lazily, watches
//! that heal themselves, server-side apply, impersonation by header.

mod client;
mod connect;
mod discovery;
mod error;
mod remote;
mod request;
mod served;
mod watch;

pub use client::Client;
pub use connect::{ConnectError, namespace};
/// The body of the requests that a service given to [`Client::from_service`] gets.
pub use kube::client::Body;
pub use remote::RemoteClients;

#[cfg(test)]
mod tests;

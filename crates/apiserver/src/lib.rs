//! Kubernetes API semantics as a tower service over a store.
//!
//! [`ApiServer`] holds everything: the object store, the kinds that it serves, the controllers that
//! run beside it. Its [`Service`] answers requests in the process; [`serve`] puts it behind TLS.

pub mod admission;
pub mod api;
pub mod auth;
pub mod controllers;
pub mod convert;
pub mod crd;
pub mod http;
pub mod kinds;
pub mod names;
pub mod registry;
pub mod request;
pub mod select;
pub mod serve;
pub mod server;
pub mod simulator;
pub mod status;
pub mod store;
pub mod typed;
pub mod verbs;

pub use auth::User;
pub use auth::tokens::StaticTokens;
pub use server::{ApiServer, Config, Service, StartError};

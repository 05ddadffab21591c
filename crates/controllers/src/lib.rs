//! The reconcilers over ports: queues, conditions, events, metrics, leases; per kind one pure step function and the
//! code that carries its decisions out.

pub mod artifact_generator;
mod aside;
pub mod backoff;
pub mod bucket;
pub mod condition;
pub mod context;
pub mod decrypt;
pub mod deliverer;
pub mod feed;
pub mod git_repository;
pub mod helm_chart;
pub mod helm_release;
pub mod helm_repository;
pub mod key;
pub mod kustomization;
pub mod lease;
pub mod links;
pub mod metrics;
pub mod oci_repository;
pub mod probe;
pub mod queue;
pub mod recorder;
pub mod remote;
pub mod render;
pub mod revisions;
pub mod run;
pub mod runner;
pub mod source;
pub mod status;
pub mod store;
mod wake;
pub mod writer;

pub use aside::Aside;
pub use context::{Component, Restrictions, Settings};
pub use fluvial_ports as ports;
pub use key::{Key, SourceId};
pub use run::{Config, Ended, Handle, Ports, run};

//! The reconcilers over ports: queues, conditions, events, metrics, leases; per kind one pure step function and the
//! code that carries its decisions out.

pub mod queue;

pub use fluvial_ports as ports;

//! The reconcilers over ports: queues, leases, metrics, events.

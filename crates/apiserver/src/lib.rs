//! Kubernetes API semantics as a tower service over a store.

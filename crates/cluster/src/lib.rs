//! The Kubernetes client behind the controllers' ports.

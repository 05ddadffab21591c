//! Kubernetes objects as values: ids, selectors, conditions, quantities, durations.

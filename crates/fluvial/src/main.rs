//! GitOps in one binary.

fn main() {}

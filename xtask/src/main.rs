//! Repository chores: tidy, code generation, conformance.

fn main() {}

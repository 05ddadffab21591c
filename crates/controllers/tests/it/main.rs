//! Stories of the controllers on an embedded API server: what a person does, and what must come of it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    clippy::disallowed_methods,
    dead_code,
    reason = "tests: a failure is a panic, the clock is the real one, and the stories grow into their world"
)]

mod fakes;
mod kustomizations;
mod sources;
mod world;

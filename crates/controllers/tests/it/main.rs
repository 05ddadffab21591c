//! Stories of the controllers on an embedded API server: what a person does, and what must come of it.

#![expect(
    unreachable_pub,
    clippy::panic,
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    clippy::disallowed_methods,
    reason = "a test tells what went wrong by panicking"
)]

mod across;
mod encrypted;
mod fakes;
mod first;
mod fleets;
mod helm_releases;
mod kills;
mod kustomizations;
#[path = "../../../secrets/tests/it/made.rs"]
mod made;
mod moves;
mod release_kills;
mod release_storage;
mod release_words;
mod remote;
mod sources;
mod tap;
mod waits;
mod world;

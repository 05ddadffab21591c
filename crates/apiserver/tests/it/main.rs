//! The server as a process: what it keeps when it is killed, and what real clients make of it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test tells what went wrong by panicking"
)]

mod hooks;
mod kills;
mod plain;
mod story;

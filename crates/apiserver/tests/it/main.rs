//! The server as a process: what it keeps when it is killed, and what real clients make of it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test tells what went wrong by panicking, and what it skips"
)]

mod answers;
mod changes;
mod conversion;
mod ended;
mod flows;
mod hooks;
mod kept;
mod kills;
mod neighbours;
mod plain;
mod published;
mod rare;
mod refusals;
mod story;
mod versions;
mod watcher;

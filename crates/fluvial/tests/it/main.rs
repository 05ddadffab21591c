//! The program as people use it: a repository, a commit, a look at what runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

mod cluster;
mod counterparts;
mod fleet;
mod kill;
mod kill_release;
#[path = "../../../secrets/tests/it/made.rs"]
#[expect(dead_code, reason = "other tests make other formats")]
mod made;
mod mistakes;
mod peers;
mod public;
mod secrets;
mod starts;
mod story;
#[path = "../../../source/tests/it/support.rs"]
#[expect(
    dead_code,
    clippy::print_stdout,
    clippy::panic,
    reason = "other tests need more of it, which say what they skip"
)]
mod support;

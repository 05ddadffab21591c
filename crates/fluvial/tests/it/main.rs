//! The program as people use it: a repository, a commit, a look at what runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fleet;
mod kill;
#[path = "../../../secrets/tests/it/made.rs"]
#[expect(dead_code, reason = "other tests make other formats")]
mod made;
mod secrets;
mod story;

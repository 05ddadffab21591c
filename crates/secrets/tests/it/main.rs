//! Files and keyrings together: what opens, what does not, and what is said then.

#![expect(clippy::unwrap_used, reason = "a test tells what went wrong by panicking")]

mod files;
mod made;
mod services;

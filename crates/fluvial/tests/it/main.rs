//! The program as people use it: a repository, a commit, a look at what runs.

mod fleet;
mod kill;
mod story;

//! An immutable file tree in memory: what a source's revision holds, and what every build reads.
//!
//! Paths are relative, normalised and never leave the root; symlinks are kept as data and resolved
//! inside the tree only. A `Tree` is cheap to clone and to share between threads.
//!
//! Invariant: nothing here touches a disk; adapters fill a [`TreeBuilder`].

mod path;
mod tree;

pub use path::{PathError, TreePath};
pub use tree::{Digest, Entry, File, ResolveError, Tree, TreeBuilder};

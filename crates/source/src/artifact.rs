//! Artifacts: a tree as a tarball, tarballs as trees, the store that keeps them and its server.

mod disk;
mod pack;
mod serve;
mod store;
mod unpack;

pub use pack::{Packed, pack, pack_readable};
pub use serve::serve;
pub use store::{Owner, Store, Stored, git_file_name};
pub use unpack::unpack;

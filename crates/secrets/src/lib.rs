//! Files that SOPS has encrypted: YAML, JSON, dotenv, INI and anything else, opened with age and PGP keys, and with
//! keys that AWS, Azure, Google Cloud and Vault keep.
//!
//! A file's values are encrypted one by one with its data key; the data key is encrypted with one key of each of the
//! file's groups. [`Keyring`] holds who we are and finds the data key, [`File`] does the rest. Keys are wiped from
//! memory when dropped and are part of no message and of no debug output.

mod cipher;
mod error;
mod file;
mod keyring;
mod metadata;
mod port;
mod shamir;
mod store;
mod value;
mod walk;

pub use cipher::DataKey;
pub use error::Error;
pub use file::File;
pub use fluvial_ports::{Format, Integrity};
pub use keyring::{AmbientIdentity, Endpoints, Keyring, KeyringBuilder};
pub use port::{Services, Sops};

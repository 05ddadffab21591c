//! kustomize build over a Tree.
//!
//! [`build`] loads a kustomization and all that it names, runs generators, components and
//! transformers in kustomize's order, and gives ordered objects whose every field knows the file
//! and line that set it. Read `build.rs`, then `accumulate.rs`, then one transformer.
//!
//! Invariant: nothing here reads a disk, the network, a clock or the environment, and nothing
//! outlives a build, so builds run side by side.

mod accumulate;
mod budget;
mod build;
mod config;
mod error;
mod explain;
pub mod facts;
mod fieldspec;
mod filter;
pub mod flux;
mod generators;
mod id;
mod kustomization;
pub mod kyaml;
mod loader;
mod nodes;
mod options;
mod parallel;
mod parse;
mod plugins;
mod provenance;
mod remote;
mod resmap;
mod resource;
mod session;
mod transformers;

pub use build::{Build, BuildRequest, KUSTOMIZE_VERSION, build, build_to_yaml, load};
pub use error::{Error, Location, Result};
pub use explain::{Change, Setting, explain, history};
pub use filter::filter;
pub use generators::key_values::env_file;
pub use id::{Gvk, ResId};
pub use kustomization::FILE_NAMES;
pub use options::{LoadRestrictor, Options, Reorder};
pub use remote::{ChartRenderer, ChartRequest, FileError, NoCharts, NoRemote, RemoteResolver, RepoSpec};
pub use resource::{Origin, Resource};
pub use session::{Reads, Warning};
pub use transformers::hash::suffix as hash_suffix;
pub use transformers::images::{Image, ImageParts, image_matches};
pub use transformers::path_matcher::{split_path, split_path_with_brackets};
pub use transformers::selector::{Requirements, Selector};

//! The commands, one file each.

pub(crate) mod artifact;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod debug;
pub(crate) mod delete;
pub(crate) mod diff;
pub(crate) mod envsubst;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod helm;
pub(crate) mod install;
pub(crate) mod kustomize;
pub(crate) mod logs;
pub(crate) mod migrate;
pub(crate) mod reconcile;
pub(crate) mod release;
pub(crate) mod serve;
pub(crate) mod stats;
pub(crate) mod suspend;
pub(crate) mod trace;
pub(crate) mod tree;
pub(crate) mod uninstall;
pub(crate) mod up;
pub(crate) mod wait;
pub(crate) mod why;

use crate::environment::Failure;
use crate::nouns::Noun;

/// What a server says of an absent object.
pub(crate) fn not_found(noun: &Noun, name: &str) -> Failure {
    let info = noun.info();
    Failure::new(format!("{}.{} {name:?} not found", info.plural, info.group))
}

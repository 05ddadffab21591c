//! kustomize build over a Tree.

pub mod facts;
pub mod kyaml;

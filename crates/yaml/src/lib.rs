//! YAML documents as the Go tools read and write them: key order, comments, styles, YAML 1.1
//! edge cases and source positions, so that what kustomize, Helm and Flux print can be printed
//! byte for byte.

mod node;

pub use node::{Comments, Entry, FileId, Node, NodeData, Pos, ScalarStyle, Style};

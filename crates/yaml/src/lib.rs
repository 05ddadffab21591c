//! YAML documents as the Go tools read and write them: key order, comments, styles, YAML 1.1
//! edge cases and source positions, so that what kustomize, Helm and Flux print can be printed
//! byte for byte.

mod anchors;
mod base64;
mod characters;
mod documents;
mod emit;
mod error;
mod gosyntax;
mod json;
mod node;
mod number;
mod parse;
mod parts;
mod resolve;
mod scan;
pub mod simple;

pub use documents::split_documents;
pub use emit::{
    EmitOptions, SequenceIndent, checked_json_to_yaml, emit, emit_deep, json_text_to_yaml, json_to_yaml,
    node_to_yaml,
};
pub use error::{Error, Limits};
pub use json::yaml_to_json;
pub use node::{Comments, Entry, FileId, Node, NodeData, Pos, ScalarStyle, Style};
pub use parse::{ReadOptions, parse_documents, parse_first, parse_part, parse_part_first, parse_values};
pub use parts::{Part, ends_oddly, parts, separated};
pub use resolve::{Mode, ScalarType, is_yaml_1_1_non_string, scalar_type};

//! Go's `text/template`: the language, its values and printing, byte for byte, with errors worded
//! and placed as Go does.
//!
//! ```
//! use std::sync::Arc;
//! use fluvial_template::{Functions, Limits, Set, Value};
//!
//! let mut set = Set::new(Arc::new(Functions::builtins()));
//! set.add("greeting", "Hello{{ range .names }}, {{ . }}{{ else }} nobody{{ end }}!")?;
//! let data = Value::from_json(&serde_json::json!({ "names": ["Ann", "Ben"] }));
//! assert_eq!(set.execute("greeting", &data, Limits::default(), &mut ())?, "Hello, Ann, Ben!");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Invariant: knows nothing of Kubernetes; reads no clock and no randomness.

mod ast;
mod builtins;
pub mod bytes;
mod error;
pub mod escape;
mod exec;
mod function;
mod lex;
pub mod number;
mod parse;
pub mod print;
mod quote;
pub mod sprig;
mod trace;
mod value;

pub use builtins::{compare_basic, equal};
pub use error::{ExecError, Location};
pub use exec::{Limits, MissingKey, Parsed, Scope, Set};
pub use function::{Body, Function, FunctionError, FunctionResult, Functions, Params, Type};
pub use parse::ParseError;
pub use quote::{is_printable, quote, quote_char};
pub use trace::{Depth, Read, Reads, Run, Step, Trace};
pub use value::{Element, IntType, List, Map, Object, UintType, Underlying, Value};

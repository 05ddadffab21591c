//! Go's `text/template`: the language, its values and printing, byte for byte, with errors worded
//! and placed as Go does. It knows nothing of Kubernetes and reads neither clock nor randomness.
//!
//! # Parse once, run often
//!
//! A [`Set`] holds parsed templates by name, over a library of [`Functions`]. Sets are cheap to share
//! between threads; every run has values of its own.
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
//! # Functions
//!
//! [`sprig::register`] adds the Sprig library. Own functions say what types they take, and wrong
//! arguments fail as Go's reflection makes them fail.
//!
//! ```
//! use std::sync::Arc;
//! use fluvial_template::{Functions, Limits, Params, Set, Type, Value, sprig};
//!
//! let mut functions = Functions::builtins();
//! sprig::register(&mut functions);
//! functions.pure("shout", Params::fixed(&[Type::Str]), |values| {
//!     Ok(format!("{}!", values[0].as_str().unwrap_or_default().to_uppercase()).into())
//! });
//! let mut set = Set::new(Arc::new(functions));
//! set.add("t", r#"{{ .name | default "world" | shout | quote }}"#)?;
//! let none = Value::from_json(&serde_json::json!({}));
//! assert_eq!(set.execute("t", &none, Limits::default(), &mut ())?, r#""WORLD!""#);
//!
//! set.add("wrong", "{{ shout 3 }}")?;
//! let error = set.execute("wrong", &none, Limits::default(), &mut ()).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     r#"template: wrong:1:9: executing "wrong" at <3>: expected string; found 3"#
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Functions that need the time or randomness (`now`, `randAlphaNum`, `genCA`) take them from the run's
//! host, a [`sprig::Host`] with an [`sprig::Ambient`]; a run without one is deterministic.
//!
//! # Hostile templates
//!
//! [`Limits`] bound steps, output and nesting. What exceeds them is an error like any other.
//!
//! ```
//! use std::sync::Arc;
//! use fluvial_template::{Functions, Limits, Set, Value};
//!
//! let mut set = Set::new(Arc::new(Functions::builtins()));
//! set.add("t", r#"{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}"#)?;
//! let limits = Limits { depth: 100, ..Limits::default() };
//! let error = set.execute("t", &Value::Nil, limits, &mut ()).unwrap_err();
//! assert!(error.to_string().ends_with("exceeded maximum template depth"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where output comes from
//!
//! A run can note what it reads and which statement writes which line ([`Trace`]).
//!
//! ```
//! use std::sync::Arc;
//! use fluvial_template::{Functions, Limits, Set, Trace, Value};
//!
//! let mut set = Set::new(Arc::new(Functions::builtins()));
//! set.add("t", "a: {{ .image.tag }}\n{{ if .debug }}b: 1\n{{ end }}")?;
//! let data = Value::from_json(&serde_json::json!({"image": {"tag": "v1", "name": "web"}}));
//! let mut trace = Trace::new();
//! if let Value::Map(map) = &data {
//!     trace.watch(map, "");
//! }
//! set.execute_traced("t", &data, Limits::default(), &mut (), &mut trace)?;
//! let run = trace.take();
//! let reads = run.reads().expect("few enough");
//! let paths: Vec<String> = reads.iter().map(|read| read.path.join(".")).collect();
//! assert_eq!(paths, ["debug", "image", "image.tag"]);
//! let (step, _) = run.line(0).last().expect("the first line was written");
//! assert_eq!(run.step(step).expect("it is a step").action, "{{ .image.tag }}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Values
//!
//! [`Value`] tells apart what templates can tell apart: `int` and `float64`, a missing field and no
//! value at all, maps that are shared and can be changed in place. Objects of the host implement
//! [`Object`] and answer fields and methods themselves. Strings hold any bytes ([`bytes`]).

mod ast;
mod builtins;
pub mod bytes;
mod complex;
mod error;
pub mod escape;
mod exec;
mod function;
mod guard;
#[cfg(test)]
mod hostile;
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
pub use guard::Guard;
pub use parse::ParseError;
pub use quote::{is_printable, quote, quote_char};
pub use trace::{Depth, Read, Reads, Run, Step, Trace};
pub use value::{Element, IntType, List, Map, Object, UintType, Underlying, Value};

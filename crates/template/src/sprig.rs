//! The Sprig function library: everything that needs no cryptography, versions or YAML.
//!
//! Time and randomness come from the run's host through [`Ambient`]; a run without them is
//! deterministic.

mod cases;
mod cast;
mod clock;
mod crypto;
mod dates;
mod dicts;
mod durations;
mod encoding;
mod flow;
mod json;
mod lists;
mod math;
mod paths;
mod patterns;
mod random;
mod regexes;
mod strings;
mod urls;
mod words;

use crate::exec::Scope;
use crate::function::{FunctionError, Functions};
use crate::trace::Reads;
use crate::value::Value;

pub use cast::{to_float, to_int, to_text};
pub use encoding::{encode_json, json_with_overflow};
pub use json::{go_json_error, go_json_stream_error};
pub use patterns::go_regex_error;
pub use regexes::{Pattern, Patterns};
pub use urls::is_go_url;

/// What impure functions take from outside. A host that offers it wraps itself in [`Host`].
pub trait Ambient {
    /// The present time, in nanoseconds since 1970.
    fn now(&mut self) -> i128;

    /// Fills a buffer with random bytes.
    fn random(&mut self, buffer: &mut [u8]);

    /// The addresses of a host. `None`: names are not resolved here, as is the rule.
    fn addresses(&mut self, host: &str) -> Option<Vec<String>> {
        let _ = host;
        None
    }
}

/// The host that functions of this library look for: [`Scope::host`] must be one, or be absent.
pub struct Host {
    /// Clock and randomness.
    pub ambient: Box<dyn Ambient>,
    /// What other libraries of functions keep.
    pub state: Box<dyn std::any::Any>,
}

/// The ambient of a scope.
///
/// # Errors
/// If the run was started without one.
pub fn ambient<'a>(scope: &'a mut Scope<'_, '_>) -> Result<&'a mut dyn Ambient, FunctionError> {
    match scope.host.downcast_mut::<Host>() {
        Some(host) => Ok(host.ambient.as_mut()),
        None => Err("this run has neither clock nor randomness".into()),
    }
}

/// Adds the library to the functions.
pub fn register(functions: &mut Functions) {
    strings::register(functions);
    words::register(functions);
    math::register(functions);
    lists::register(functions);
    dicts::register(functions);
    flow::register(functions);
    encoding::register(functions);
    paths::register(functions);
    regexes::register(functions);
    urls::register(functions);
    random::register(functions);
    dates::register(functions);
    durations::register(functions);
    crypto::register(functions);
    // Making keys and slow hashes: a second or so each.
    functions.costing(
        2_000_000,
        &[
            "genPrivateKey",
            "genCA",
            "genCAWithKey",
            "genSelfSignedCert",
            "genSelfSignedCertWithKey",
            "genSignedCert",
            "genSignedCertWithKey",
            "derivePassword",
            "bcrypt",
            "htpasswd",
        ],
    );
    functions.reading(
        Reads::Nothing,
        &[
            "dict",
            "list",
            "tuple",
            "set",
            "unset",
            "ternary",
            "append",
            "mustAppend",
            "push",
            "mustPush",
            "prepend",
            "mustPrepend",
            "concat",
            "first",
            "mustFirst",
            "last",
            "mustLast",
            "rest",
            "mustRest",
            "initial",
            "mustInitial",
            "reverse",
            "mustReverse",
            "kindOf",
            "kindIs",
            "typeOf",
            "typeIs",
            "typeIsLike",
        ],
    );
    functions.reading(
        Reads::Emptiness,
        &[
            "default",
            "empty",
            "coalesce",
            "all",
            "any",
            "compact",
            "mustCompact",
        ],
    );
    functions.reading(Reads::Entry, &["get", "hasKey"]);
    functions.reading(Reads::EntryOfLast, &["dig"]);
    functions.reading(Reads::Shallow, &["keys", "values", "pick", "omit"]);
}

/// The text argument at an index; the executor has checked its type.
fn text_at(values: &[Value], index: usize) -> &str {
    values.get(index).and_then(Value::as_str).unwrap_or_default()
}

/// The integer argument at an index; the executor has checked its type.
fn int_at(values: &[Value], index: usize) -> i64 {
    match values.get(index) {
        Some(Value::Int(value, _)) => *value,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{Functions, Limits, Set, Value};

    fn run(text: &str) -> Result<String, String> {
        let mut functions = Functions::builtins();
        super::register(&mut functions);
        let mut set = Set::new(Arc::new(functions));
        set.add("t", text).map_err(|error| error.to_string())?;
        set.execute("t", &Value::Nil, Limits::default(), &mut ())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn oddities_of_the_reference_are_kept() {
        for (text, want) in [
            (r#"{{ cat "" 10 }}"#, " 10"),
            (r#"{{ cat "a " "b " }}"#, "a  b "),
            (r#"{{ nospace "a ü\tb" }}"#, "aÃ¼b"),
            ("{{ divf 1000 1e21 }}", "0"),
            ("{{ divf 2 3e-7 }}", "6.666666666666667e+06"),
            (r#"{{ regexMatch "(" "a" }}"#, "false"),
        ] {
            assert_eq!(run(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn a_pattern_that_does_not_compile_is_a_panic_or_with_must_an_error() {
        let error = |text: &str| run(text).unwrap_err();
        let problem = "error parsing regexp: missing closing ): `(`";
        assert!(error(r#"{{ regexFind "(" "a" }}"#).ends_with(&format!(
            "error calling regexFind: regexp: Compile(`(`): {problem}"
        )));
        assert!(
            error(r#"{{ mustRegexFind "(" "a" }}"#)
                .ends_with(&format!("error calling mustRegexFind: {problem}"))
        );
    }
}

//! `${variable}` expansion in the dialect of Flux's post-build substitution.
//!
//! Only `${…}` is looked at; a bare `$name` stays, and `$$` stands for `$`. Inside the braces: defaults (`:=`, `:-`,
//! `=`), case (`^ ^^ , ,,`), length (`#`), parts (`:offset:length`), trimming by pattern (`# ## % %%`) and
//! replacing (`/ // /# /%`), nested where a text may stand.

use std::fmt;

mod functions;
mod glob;
mod parse;

use functions::Function;
use parse::Part;

/// Why a text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvsubstError {
    /// The braces hold something that is no expression.
    BadSubstitution,
    /// No `}` after the name.
    MissingClosingBrace,
    /// No name after `${`.
    VariableName,
    /// The argument of a function is missing or not closed.
    FunctionArgument,
    /// `:` or `=` begins no default.
    DefaultFunction,
    /// A part that ends before it begins.
    Slice {
        /// The variable.
        name: String,
    },
    /// No value and no default, in strict mode.
    NotSet {
        /// The variable.
        name: String,
    },
    /// Expressions within expressions beyond what is sensible.
    TooDeep,
    /// The result outgrew its bound.
    TooLarge,
}

impl EnvsubstError {
    /// The variable that the error is about.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        match self {
            EnvsubstError::NotSet { name } | EnvsubstError::Slice { name } => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for EnvsubstError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EnvsubstError::BadSubstitution => f.write_str("bad substitution"),
            EnvsubstError::MissingClosingBrace => f.write_str("missing closing brace"),
            EnvsubstError::VariableName => f.write_str("unable to parse variable name"),
            EnvsubstError::FunctionArgument => f.write_str("unable to parse substitution within function"),
            EnvsubstError::DefaultFunction => f.write_str("unable to parse default function"),
            EnvsubstError::Slice { name } => write!(f, "variable {name:?}: the part ends before it begins"),
            EnvsubstError::NotSet { name } => write!(f, "variable not set (strict mode): {name:?}"),
            EnvsubstError::TooDeep => f.write_str("expressions are nested too deeply"),
            EnvsubstError::TooLarge => f.write_str("the result is too large"),
        }
    }
}

impl std::error::Error for EnvsubstError {}

/// An error with the place in the text where the expression begins that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// What is wrong.
    pub error: EnvsubstError,
    /// Byte offset of the outermost `${`.
    pub offset: usize,
}

/// Results may not grow beyond this: variables that hold much, named often.
const MAX_RESULT: usize = 64 << 20;

/// Whether expansion can change a text at all.
#[must_use]
pub fn is_affected(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .iter()
        .zip(bytes.iter().skip(1))
        .any(|(first, second)| *first == b'$' && matches!(second, b'{' | b'$'))
}

/// Expands a text. The result is bytes because `${v:0:2}` cuts between bytes, not letters. Where `strict`, a variable
/// without a value must have a default.
pub fn expand<'v>(
    text: &str,
    value_of: &dyn Fn(&str) -> Option<&'v str>,
    strict: bool,
) -> Result<Vec<u8>, Located> {
    let parts = parse::parts(text)?;
    let evaluation = Evaluation { value_of, strict };
    let mut out = Vec::with_capacity(text.len());
    for (offset, part) in &parts {
        evaluation.part(part, &mut out).map_err(|error| Located {
            error,
            offset: *offset,
        })?;
    }
    Ok(out)
}

struct Evaluation<'a, 'v> {
    value_of: &'a dyn Fn(&str) -> Option<&'v str>,
    strict: bool,
}

impl Evaluation<'_, '_> {
    fn part(&self, part: &Part, out: &mut Vec<u8>) -> Result<(), EnvsubstError> {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Expression {
                name,
                function,
                arguments,
            } => {
                // Arguments first: a missing variable in a default that is not needed is an error all the same.
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    let mut value = Vec::new();
                    self.part(argument, &mut value)?;
                    values.push(value);
                }
                let value = (self.value_of)(name);
                if value.is_none() && self.strict && *function != Function::Default(true) {
                    return Err(EnvsubstError::NotSet { name: name.clone() });
                }
                function
                    .apply(value.unwrap_or_default(), &values, out)
                    .map_err(|()| EnvsubstError::Slice { name: name.clone() })?;
            }
        }
        if out.len() > MAX_RESULT {
            return Err(EnvsubstError::TooLarge);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, String> {
        let value_of = |name: &str| match name {
            "A" => Some("alpha"),
            "P" => Some("/usr/lib/x.tar.gz"),
            "E" => Some(""),
            _ => None,
        };
        expand(text, &value_of, true)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|located| format!("{}: {}", located.offset, located.error))
    }

    #[test]
    fn expressions_expand_and_dollars_fold() {
        for (text, want) in [
            ("a ${A} $A $${A}", "a alpha $A ${A}"),
            ("${X:=d} ${E:-e} ${X=${A}!}", "d e alpha!"),
            ("${A^} ${A^^} ${#A}", "Alpha ALPHA 5"),
            ("${A:1:3} ${A:3}", "lph ha"),
            (
                "${P##*/} ${P%.*} ${P#/usr}",
                "x.tar.gz /usr/lib/x.tar /lib/x.tar.gz",
            ),
            (
                "${A/a/o} ${A//a/o} ${A/#al/AL} ${A/%a/A}",
                "olpha olpho ALpha alphA",
            ),
        ] {
            assert_eq!(run(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn errors_name_their_place() {
        for (text, want) in [
            ("x ${A-b}", "2: missing closing brace"),
            ("${A} ${a.b}", "5: missing closing brace"),
            ("ab${ A}", "2: unable to parse variable name"),
            ("${X}", "0: variable not set (strict mode): \"X\""),
            ("${A:0:-1}", "0: variable \"A\": the part ends before it begins"),
        ] {
            assert_eq!(run(text), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn hostile_texts_end() {
        assert!(run(&"${A:-".repeat(100_000)).is_err());
        let pattern = format!("${{A##{}}}", "*a".repeat(10_000));
        assert_eq!(run(&pattern).as_deref(), Ok("alpha"));
    }

    #[test]
    fn texts_that_cannot_change_are_told_cheaply() {
        assert!(!is_affected("$A $ {x} $(y)"));
        assert!(is_affected("a $$ b") && is_affected("${x"));
    }
}

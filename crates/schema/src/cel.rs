//! Kubernetes' dialect of the Common Expression Language: the rules of definitions, admission
//! policies and health checks.
//!
//! An [`Env`] says which variables and libraries an expression may use; [`Program::compile`] reads and
//! checks it once; [`Program::eval`] runs it over [`Vars`], looking into JSON where it lies.
//!
//! ```
//! use fluvial_schema::cel::{Env, Program, Type, Value, Vars};
//!
//! let env = Env::kubernetes().variable("self", Type::Dyn);
//! let program = Program::compile("self.replicas > 1", &env)?;
//! let object = serde_json::json!({"replicas": 3});
//! let vars = Vars::default().with("self", Value::json(&object));
//! assert_eq!(program.eval(&vars)?.as_bool(), Some(true));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;

mod ast;
mod authorizer;
mod check;
mod cost;
mod error;
pub(crate) mod escape;
pub(crate) mod estimate;
mod eval;
mod functions;
mod instant;
mod json;
mod lexer;
mod library;
mod macros;
mod ops;
mod parser;
mod plan;
mod policy;
mod types;
mod unify;
mod validate;
mod value;

pub use authorizer::{Authorization, Authorizer, Decision, Question};
pub use cost::{PER_CALL, PER_OBJECT};
pub use error::{CompileError, Error};
pub use functions::formats::NamedFormat;
pub use functions::semver::Semver;
pub use functions::url::Url;
pub use instant::Instant;
pub use types::{ObjectType, RecordType, Type};
pub use value::{Key, List, Map, Opaque, Text, Value};

use library::Libraries;

/// What expressions may refer to.
#[derive(Clone, Debug)]
pub struct Env {
    variables: BTreeMap<String, Type>,
    libraries: Libraries,
    checked: bool,
}

impl Env {
    /// The libraries of an API server; expressions are checked.
    #[must_use]
    pub fn kubernetes() -> Env {
        Env {
            variables: BTreeMap::new(),
            libraries: Libraries::KUBERNETES,
            checked: true,
        }
    }

    /// The libraries of Flux's expressions; expressions are checked.
    #[must_use]
    pub fn flux() -> Env {
        Env {
            libraries: Libraries::FLUX,
            ..Env::kubernetes()
        }
    }

    /// Without a check: any variable may come at run time, as in Flux's health checks.
    #[must_use]
    pub fn unchecked(mut self) -> Env {
        self.checked = false;
        self
    }

    /// With a variable.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, kind: Type) -> Env {
        self.variables.insert(name.into(), kind);
        self
    }

    /// With policies' `authorizer`.
    #[must_use]
    pub fn authorizer(self) -> Env {
        self.variable("authorizer", Type::Opaque("kubernetes.authorization.Authorizer"))
            .variable(
                "authorizer.requestResource",
                Type::Opaque("kubernetes.authorization.ResourceCheck"),
            )
    }
}

/// The value of a variable, or why there is none.
#[derive(Clone, Debug)]
pub(crate) enum Var<'a> {
    Value(Value<'a>),
    Failed(Error),
}

/// Values of variables. A name with a dot (`variables.foo`) is a field of a record.
#[derive(Clone, Debug, Default)]
pub struct Vars<'a> {
    all: Vec<(String, Var<'a>)>,
    records: bool,
}

impl<'a> Vars<'a> {
    /// With a variable.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: Value<'a>) -> Self {
        self.set(name, Ok(value));
        self
    }

    /// Sets a variable; an error is what expressions get that use it.
    pub fn set(&mut self, name: impl Into<String>, value: Result<Value<'a>, Error>) {
        let name = name.into();
        self.records |= name.contains('.');
        self.all.push((
            name,
            match value {
                Ok(value) => Var::Value(value),
                Err(error) => Var::Failed(error),
            },
        ));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Var<'a>> {
        self.all
            .iter()
            .rev()
            .find(|(own, _)| own == name)
            .map(|(_, var)| var)
    }

    pub(crate) fn has_records(&self) -> bool {
        self.records
    }

    pub(crate) fn get_qualified(&self, record: &str, field: &str) -> Option<&Var<'a>> {
        let is = |own: &str| own.strip_prefix(record).and_then(|rest| rest.strip_prefix('.')) == Some(field);
        self.all.iter().rev().find(|(own, _)| is(own)).map(|(_, var)| var)
    }
}

/// An expression that is ready to run.
#[derive(Clone, Debug)]
pub struct Program {
    expr: ast::Expr,
    output: Type,
    checked: bool,
}

impl Program {
    /// Reads, checks and prepares an expression.
    ///
    /// # Errors
    /// What is wrong with it, in the reference's words.
    pub fn compile(source: &str, env: &Env) -> Result<Program, CompileError> {
        let extended = env.libraries == Libraries::KUBERNETES;
        let wrong = |issues| CompileError::of(source, issues);
        let mut expr = parser::parse(source, extended).map_err(wrong)?;
        let mut output = Type::Dyn;
        if env.checked {
            output = check::check(&mut expr, &env.variables, env.libraries).map_err(wrong)?;
        }
        let literals = |expr: &ast::Expr, patterns: bool| {
            let mut issues = Vec::new();
            if env.checked && extended {
                validate::validate(expr, patterns, &mut issues);
            }
            if issues.is_empty() {
                Ok(())
            } else {
                Err(wrong(issues))
            }
        };
        literals(&expr, false)?;
        if let Err(error) = plan::plan(&mut expr, env.libraries) {
            literals(&expr, true)?;
            return Err(CompileError::Program(error.to_string()));
        }
        Ok(Program {
            expr,
            output,
            checked: env.checked,
        })
    }

    /// Whether the expression mentions a variable.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        self.expr.uses(name)
    }

    /// The type of the result.
    #[must_use]
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// Runs within the usual limit of cost.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub fn eval<'a>(&self, vars: &Vars<'a>) -> Result<Value<'a>, Error> {
        self.eval_within(vars, PER_CALL).0
    }

    /// Runs within a limit of cost; the result and the cost.
    pub fn eval_within<'a>(&self, vars: &Vars<'a>, limit: u64) -> (Result<Value<'a>, Error>, u64) {
        let mut run = eval::Run::new(vars, limit.min(PER_CALL), !self.checked);
        let result = run.eval(&self.expr);
        (result, run.cost())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(source: &str) -> Result<String, String> {
        let object = json!({"n": 5, "s": "hello", "l": [3, 1, 2], "m": {"k": "v"}});
        let env = Env::kubernetes().variable("self", Type::Dyn);
        let program = Program::compile(source, &env).map_err(|error| error.to_string())?;
        let vars = Vars::default().with("self", Value::json(&object));
        let value = program.eval(&vars).map_err(|error| error.to_string())?;
        Ok(value.to_string())
    }

    #[test]
    fn expressions_have_values() {
        for (source, want) in [
            ("self.l.map(x, x * 2).filter(x, x > 2)", "[6, 4]"),
            ("self.l.sort() == [1, 2, 3] && self.m.k == 'v'", "true"),
            ("self.?nope.orValue('d') + self.s.upperAscii()", "dHELLO"),
            ("self.l.sortBy(x, -x)", "[3, 2, 1]"),
            ("quantity('1Gi').isGreaterThan(quantity('1G'))", "true"),
            (
                "timestamp('2024-07-01T12:00:00Z').getHours('Europe/Berlin')",
                "14",
            ),
            ("false && self.nope == 1", "false"),
        ] {
            assert_eq!(run(source).as_deref(), Ok(want), "{source}");
        }
    }

    #[test]
    fn mistakes_are_shown_at_their_places() {
        assert_eq!(
            run("1 + 'a'").expect_err("types differ"),
            "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^"
        );
        assert_eq!(run("self.nope"), Err("no such key: nope".to_owned()));
        assert!(run("(((").is_err());
        assert!(run(&"(".repeat(10_000)).is_err());
        assert!(run(&"1+".repeat(10_000)).is_err());
    }

    #[test]
    fn hostile_expressions_end() {
        let nested = "lists.range(10000).all(a, lists.range(10000).all(b, true))";
        assert_eq!(
            run(nested),
            Err("operation cancelled: actual cost limit exceeded".to_owned())
        );
        assert!(run("lists.range(9000000000000).size() > 0").is_err());
    }

    #[test]
    fn broken_expressions_are_refused() {
        let env = Env::flux().unchecked();
        for source in [
            r"'\xéff'",
            "type()",
            "size(1, 2, 3)",
            "'a'.matches()",
            r#""\u0é09""#,
            "@",
            "'''",
        ] {
            let program = Program::compile(source, &env);
            let failed = program.map_or(true, |program| program.eval(&Vars::default()).is_err());
            assert!(failed, "{source}");
        }
    }

    #[test]
    fn unchecked_expressions_name_what_is_missing() {
        let env = Env::flux().unchecked();
        let program = Program::compile("data.x == 1", &env).expect("it reads");
        let error = program.eval(&Vars::default()).expect_err("no data");
        assert_eq!(error.to_string(), "no such attribute(s): data.x");
    }
}

//! Expressions in CEL over whole objects: `readyExpr` and `healthCheckExprs`.

use std::fmt;

use serde_json::Value;

mod engine;

/// An expression that says yes or no about objects.
pub struct Expression {
    text: String,
    program: engine::Program,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExprError {
    /// It is no CEL.
    Parse {
        /// The expression.
        text: String,
        /// What the parser says.
        detail: String,
    },
    /// It cannot mean anything: an unknown variable, or no yes and no.
    Compile {
        /// The expression.
        text: String,
        /// Why.
        detail: String,
    },
    /// It failed on an object.
    Evaluate {
        /// The expression.
        text: String,
        /// Why.
        detail: String,
    },
    /// It came out as neither yes nor no.
    NoBool {
        /// The expression.
        text: String,
    },
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExprError::Parse { text, detail } => {
                write!(f, "failed to parse the CEL expression '{text}': {detail}")
            }
            ExprError::Compile { text, detail } => {
                write!(f, "failed to compile the CEL expression '{text}': {detail}")
            }
            ExprError::Evaluate { text, detail } => {
                write!(f, "failed to evaluate the CEL expression '{text}': {detail}")
            }
            ExprError::NoBool { text } => {
                write!(f, "failed to evaluate CEL expression as boolean: '{text}'")
            }
        }
    }
}

impl std::error::Error for ExprError {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

impl Expression {
    /// Reads an expression; which variables there are shows when it is evaluated.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        let program = engine::Program::parse(text).map_err(|detail| ExprError::Parse {
            text: text.to_owned(),
            detail,
        })?;
        Ok(Expression {
            text: text.to_owned(),
            program,
        })
    }

    /// Reads an expression that has these variables and no others.
    pub fn compile(text: &str, variables: &[&str]) -> Result<Self, ExprError> {
        let expression = Expression::parse(text)?;
        match expression.program.unknown_variable(variables) {
            None => Ok(expression),
            Some(name) => Err(ExprError::Compile {
                text: text.to_owned(),
                detail: format!("undeclared reference to '{name}' (in container '')"),
            }),
        }
    }

    /// Reads a `readyExpr`: its variables are `self`, the Kustomization that waits, and `dep`, the one waited for.
    pub fn ready(text: &str) -> Result<Self, ExprError> {
        Expression::compile(text, &["self", "dep"])
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Yes or no, with these variables.
    pub fn evaluate<'v>(
        &self,
        variables: impl IntoIterator<Item = (&'v str, &'v Value)>,
    ) -> Result<bool, ExprError> {
        let text = || self.text.clone();
        match self.program.run(variables) {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(ExprError::NoBool { text: text() }),
            Err(detail) => Err(ExprError::Evaluate { text: text(), detail }),
        }
    }

    /// What a `readyExpr` says about a dependency.
    pub fn is_ready(&self, dependent: &Value, dependency: &Value) -> Result<bool, ExprError> {
        self.evaluate([("self", dependent), ("dep", dependency)])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ready_expression_sees_both_objects() {
        let own = json!({"metadata": {"labels": {"v": "2"}}});
        let other = json!({"metadata": {"labels": {"v": "2"}}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let ask = |text: &str| {
            Expression::ready(text)
                .and_then(|expression| expression.is_ready(&own, &other))
                .map_err(|error| error.to_string())
        };
        assert_eq!(ask("self.metadata.labels.v == dep.metadata.labels.v"), Ok(true));
        assert_eq!(
            ask("dep.status.conditions.exists(c, c.type == 'Ready' && c.status == 'False')"),
            Ok(false)
        );
        assert_eq!(
            ask("dep.status.nope"),
            Err("failed to evaluate the CEL expression 'dep.status.nope': no such key: nope".to_owned())
        );
        assert_eq!(
            ask("dep.status.conditions[0].type"),
            Err("failed to evaluate CEL expression as boolean: 'dep.status.conditions[0].type'".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_before_it_is_used() {
        let refused = |text: &str| Expression::ready(text).expect_err("bad").to_string();
        assert!(refused("dep.x ==").starts_with("failed to parse the CEL expression 'dep.x =='"));
        assert!(refused("status.ready").contains("undeclared reference to 'status'"));
    }
}

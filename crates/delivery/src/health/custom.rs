//! `healthCheckExprs`: the health of kinds whose status only their owner can read, told by expressions.

use std::fmt;

use fluvial_api::meta::HealthCheckExpr;
use fluvial_object::ObjectExt;
use fluvial_object::id::split_api_version;
use jiff::Timestamp;
use serde_json::Value;

use super::{Health, Status, assess};
use crate::expr::{ExprError, Expression};

/// The expressions for one kind.
#[derive(Debug)]
pub struct Custom {
    current: Expression,
    in_progress: Option<Expression>,
    failed: Option<Expression>,
}

/// Why expressions for a kind cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomError {
    /// There is nothing that says when an object is there.
    NoCurrent,
    /// An expression cannot be read.
    Expression {
        /// Which of them.
        which: &'static str,
        /// Why.
        error: ExprError,
    },
}

impl fmt::Display for CustomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CustomError::NoCurrent => f.write_str("expression Current not specified"),
            CustomError::Expression { which, error } => {
                write!(f, "failed to parse the expression {which}: {error}")
            }
        }
    }
}

impl std::error::Error for CustomError {}

impl Custom {
    /// Reads expressions; only `current` has to be there.
    pub fn parse(
        current: &str,
        in_progress: Option<&str>,
        failed: Option<&str>,
    ) -> Result<Self, CustomError> {
        let parse = |which, text: &str| {
            Expression::parse(text).map_err(|error| CustomError::Expression { which, error })
        };
        let optional = |which, text: Option<&str>| {
            text.filter(|text| !text.is_empty())
                .map(|text| parse(which, text))
                .transpose()
        };
        if current.is_empty() {
            return Err(CustomError::NoCurrent);
        }
        Ok(Custom {
            current: parse("Current", current)?,
            in_progress: optional("InProgress", in_progress)?,
            failed: optional("Failed", failed)?,
        })
    }

    /// How an object is: what is under way comes before what failed, that before what is there.
    pub fn status(&self, object: &Value) -> Result<Status, ExprError> {
        let generation = object.at(&["metadata", "generation"]).and_then(Value::as_i64);
        let observed = object
            .at(&["status", "observedGeneration"])
            .and_then(Value::as_i64);
        if let (Some(generation), Some(observed)) = (generation, observed)
            && generation != observed
        {
            return Ok(Status::InProgress);
        }
        let fields = || {
            object
                .as_object()
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.as_str(), value))
        };
        for (expression, status) in [
            (self.in_progress.as_ref(), Status::InProgress),
            (self.failed.as_ref(), Status::Failed),
            (Some(&self.current), Status::Current),
        ] {
            if let Some(expression) = expression
                && expression.evaluate(fields())?
            {
                return Ok(status);
            }
        }
        Ok(Status::InProgress)
    }
}

/// The expressions of a Kustomization or a HelmRelease, each for a kind or a whole group.
#[derive(Debug, Default)]
pub struct HealthExprs(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    group: String,
    kind: Option<String>,
    custom: Custom,
}

/// What is wrong with `spec.healthCheckExprs`, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthExprsError {
    position: usize,
    detail: String,
}

impl fmt::Display for HealthExprsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spec.healthCheckExprs[{}]: {}", self.position, self.detail)
    }
}

impl std::error::Error for HealthExprsError {}

impl HealthExprs {
    /// Reads `spec.healthCheckExprs`. Two for one kind are refused.
    pub fn new(expressions: &[HealthCheckExpr]) -> Result<Self, HealthExprsError> {
        let mut rules: Vec<Rule> = Vec::with_capacity(expressions.len());
        for (position, spec) in expressions.iter().enumerate() {
            let error = |detail| HealthExprsError { position, detail };
            let group = split_api_version(&spec.api_version).0;
            let kind = spec.kind.clone().filter(|kind| !kind.is_empty());
            if let Some(first) = rules
                .iter()
                .position(|rule| rule.group == group && rule.kind == kind)
            {
                let what = kind.unwrap_or_else(|| "all kinds".to_owned());
                return Err(error(format!(
                    "{what} of group {group:?} has expressions already, in spec.healthCheckExprs[{first}]"
                )));
            }
            let custom = Custom::parse(&spec.current, spec.in_progress.as_deref(), spec.failed.as_deref())
                .map_err(|detail| error(detail.to_string()))?;
            rules.push(Rule {
                group: group.to_owned(),
                kind,
                custom,
            });
        }
        Ok(HealthExprs(rules))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The expressions for a kind, of whichever version: those for the kind itself, else those for its group.
    #[must_use]
    pub fn find(&self, group: &str, kind: &str) -> Option<&Custom> {
        let mut of_group = self.0.iter().filter(|rule| rule.group == group);
        of_group
            .clone()
            .find(|rule| rule.kind.as_deref() == Some(kind))
            .or_else(|| of_group.find(|rule| rule.kind.is_none()))
            .map(|rule| &rule.custom)
    }

    /// How a live object is (`None`: not there): by its expressions if there are any, else as [`assess`] says. One
    /// whose expressions fail on it is `Unknown`.
    #[must_use]
    pub fn assess(&self, object: Option<&Value>, now: Timestamp) -> Health {
        let custom = object.and_then(|object| Some((object, self.find(object.group(), object.kind())?)));
        let Some((object, custom)) = custom else {
            return assess(object, now);
        };
        match custom.status(object) {
            Ok(status) => Health::new(status, "", format!("{status} by spec.healthCheckExprs")),
            Err(error) => Health::new(Status::Unknown, "Unknown", error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expressions(list: &[(&str, Option<&str>, &str)]) -> Vec<HealthCheckExpr> {
        let one = |(api_version, kind, current): &(&str, Option<&str>, &str)| HealthCheckExpr {
            api_version: (*api_version).to_owned(),
            kind: kind.map(str::to_owned),
            current: (*current).to_owned(),
            ..HealthCheckExpr::default()
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn expressions_are_found_by_group_and_kind_whatever_the_version() {
        let exprs = HealthExprs::new(&expressions(&[
            ("a.b/v1", None, "status.x == 1"),
            ("a.b/v1", Some("Special"), "status.x == 2"),
        ]))
        .expect("valid");
        let status = |api_version: &str, kind: &str| {
            let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {}, "status": {"x": 2}});
            exprs.assess(Some(&object), Timestamp::UNIX_EPOCH).status
        };
        assert_eq!(status("a.b/v2", "Special"), Status::Current);
        assert_eq!(status("a.b/v2", "Other"), Status::InProgress);
        assert_eq!(status("c.d/v1", "Special"), Status::Current);
        assert_eq!(exprs.assess(None, Timestamp::UNIX_EPOCH).status, Status::NotFound);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let error = |list: &[(&str, Option<&str>, &str)]| {
            HealthExprs::new(&expressions(list)).expect_err("bad").to_string()
        };
        assert_eq!(
            error(&[("a.b/v1", Some("K"), "")]),
            "spec.healthCheckExprs[0]: expression Current not specified"
        );
        assert_eq!(
            error(&[("a.b/v1", Some("K"), "true"), ("a.b/v2", Some("K"), "true")]),
            "spec.healthCheckExprs[1]: K of group \"a.b\" has expressions already, in spec.healthCheckExprs[0]"
        );
    }
}

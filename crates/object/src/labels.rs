//! Label selectors, as text (`app=web,tier notin (db)`) and as `metav1.LabelSelector` values.

use std::fmt;

use serde_json::Value;

use crate::access::ObjectExt;
use crate::quote::quote;

mod parse;
mod validate;

pub use validate::{check_key, check_value};

/// A selector that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError(String);

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SelectorError {}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// `!key`
    DoesNotExist,
    /// `key=value`
    Equals,
    /// `key==value`
    DoubleEquals,
    /// `key in (…)`
    In,
    /// `key!=value`
    NotEquals,
    /// `key notin (…)`
    NotIn,
    /// `key`
    Exists,
    /// `key>number`
    GreaterThan,
    /// `key<number`
    LessThan,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    /// Sorted.
    values: Vec<String>,
}

impl Requirement {
    /// A requirement, with key, values and their number checked.
    pub fn new(
        key: &str,
        operator: Operator,
        values: impl IntoIterator<Item = String>,
    ) -> Result<Self, SelectorError> {
        let mut values: Vec<String> = values.into_iter().collect();
        validate::requirement(key, operator, &values, "[]")?;
        values.sort_unstable();
        Ok(Requirement {
            key: key.to_owned(),
            operator,
            values,
        })
    }

    /// The label's key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The operator.
    #[must_use]
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The values, sorted.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    /// Whether a label's value (`None`: no such label) fulfils it.
    #[must_use]
    pub fn matches(&self, value: Option<&str>) -> bool {
        let listed = value.is_some_and(|value| self.values.iter().any(|own| own == value));
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => listed,
            Operator::NotIn | Operator::NotEquals => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compares(value, |have, want| have > want),
            Operator::LessThan => self.compares(value, |have, want| have < want),
        }
    }

    fn compares(&self, value: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let have = value.and_then(|value| value.parse().ok());
        let want = self.values.first().and_then(|value| value.parse().ok());
        have.zip(want).is_some_and(|(have, want)| holds(have, want))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.operator == Operator::DoesNotExist {
            f.write_str("!")?;
        }
        f.write_str(&self.key)?;
        let joined = || self.values().collect::<Vec<_>>().join(",");
        match self.operator {
            Operator::DoesNotExist | Operator::Exists => Ok(()),
            Operator::Equals => write!(f, "={}", joined()),
            Operator::DoubleEquals => write!(f, "=={}", joined()),
            Operator::NotEquals => write!(f, "!={}", joined()),
            Operator::GreaterThan => write!(f, ">{}", joined()),
            Operator::LessThan => write!(f, "<{}", joined()),
            Operator::In => write!(f, " in ({})", joined()),
            Operator::NotIn => write!(f, " notin ({})", joined()),
        }
    }
}

/// Which labels are selected: none at all, or those that fulfil every requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Option<Vec<Requirement>>);

impl Default for Selector {
    fn default() -> Self {
        Selector::everything()
    }
}

impl Selector {
    /// Selects everything.
    #[must_use]
    pub fn everything() -> Self {
        Selector(Some(Vec::new()))
    }

    /// Selects nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Selector(None)
    }

    /// Selects what fulfils all requirements.
    #[must_use]
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Selector(Some(requirements))
    }

    /// Reads a selector as `kubectl -l` and list requests take it.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::selector(text)
    }

    /// Reads a `metav1.LabelSelector`: null selects nothing, an empty one everything.
    pub fn from_value(selector: &Value) -> Result<Self, SelectorError> {
        if selector.is_null() {
            return Ok(Selector::nothing());
        }
        let map = typed(selector, Value::as_object, "a label selector must be a map")?;
        let mut requirements = Vec::new();
        if let Some(labels) = map.get("matchLabels").filter(|labels| !labels.is_null()) {
            for (key, value) in typed(labels, Value::as_object, "matchLabels must be a map")? {
                let value = typed(value, Value::as_str, "values of matchLabels must be strings")?;
                requirements.push(Requirement::new(key, Operator::Equals, [value.to_owned()])?);
            }
        }
        if let Some(list) = map.get("matchExpressions").filter(|list| !list.is_null()) {
            for expression in typed(list, Value::as_array, "matchExpressions must be a list")? {
                requirements.push(expression_requirement(expression)?);
            }
        }
        Ok(Selector::new(requirements))
    }

    /// The requirements; `None` when nothing is selected.
    #[must_use]
    pub fn requirements(&self) -> Option<&[Requirement]> {
        self.0.as_deref()
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether labels, given as a look-up, are selected.
    #[must_use]
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.as_ref().is_some_and(|requirements| {
            requirements
                .iter()
                .all(|requirement| requirement.matches(value_of(&requirement.key)))
        })
    }

    /// Whether an object's labels are selected.
    #[must_use]
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = object.labels();
        self.matches(|key| labels?.get(key)?.as_str())
    }

    /// The selector as tables show it: `<none>` when it has no requirements.
    #[must_use]
    pub fn formatted(&self) -> String {
        let text = self.to_string();
        if text.is_empty() {
            "<none>".to_owned()
        } else {
            text
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.0.iter().flatten().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

fn typed<'a, T: ?Sized>(
    value: &'a Value,
    read: impl Fn(&'a Value) -> Option<&'a T>,
    otherwise: &str,
) -> Result<&'a T, SelectorError> {
    read(value).ok_or_else(|| SelectorError(otherwise.to_owned()))
}

fn expression_requirement(expression: &Value) -> Result<Requirement, SelectorError> {
    let key = expression.get("key").and_then(Value::as_str).unwrap_or_default();
    let operator = expression
        .get("operator")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let operator = match operator {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => {
            return Err(SelectorError(format!(
                "{} is not a valid label selector operator",
                quote(other)
            )));
        }
    };
    let mut values = Vec::new();
    if let Some(list) = expression.get("values").filter(|list| !list.is_null()) {
        for value in typed(list, Value::as_array, "values of an expression must be a list")? {
            values.push(typed(value, Value::as_str, "values of an expression must be strings")?.to_owned());
        }
    }
    validate::requirement(key, operator, &values, "null")?;
    Requirement::new(key, operator, values)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requirements_print_sorted_by_key() {
        let selector = Selector::parse("b in (y,x), !c,a!=1").expect("valid");
        assert_eq!(selector.to_string(), "a!=1,b in (x,y),!c");
        assert!(selector.matches(|key| (key == "b").then_some("x")));
        assert!(!selector.matches(|_| Some("x")));
    }

    #[test]
    fn a_null_selector_selects_nothing_and_an_empty_one_everything() {
        let nothing = Selector::from_value(&Value::Null).expect("valid");
        assert!(!nothing.matches(|_| None) && !nothing.is_everything());
        let everything = Selector::from_value(&json!({})).expect("valid");
        assert!(everything.matches(|_| None) && everything.is_everything());
    }

    #[test]
    fn expressions_and_labels_are_joined() {
        let selector = json!({"matchLabels": {"z": "1"},
            "matchExpressions": [{"key": "a", "operator": "In", "values": ["x"]}]});
        let selector = Selector::from_value(&selector).expect("valid");
        assert_eq!(selector.formatted(), "a in (x),z=1");
        assert!(selector.matches_object(&json!({"metadata": {"labels": {"a": "x", "z": "1"}}})));
    }

    #[test]
    fn numbers_compare_as_numbers() {
        let selector = Selector::parse("n>9").expect("valid");
        assert!(selector.matches(|_| Some("10")));
        assert!(!selector.matches(|_| Some("x")));
        let error = Selector::parse("n>x").expect_err("no number").to_string();
        assert!(
            error.ends_with("for 'Gt', 'Lt' operators, the value must be an integer"),
            "{error}"
        );
    }
}

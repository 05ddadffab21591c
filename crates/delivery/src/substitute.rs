//! Post-build substitution: variables of a Kustomization put into each built object.
//!
//! It acts on the object's YAML as kustomize writes it, where quotes are gone that were not needed: `"${n}"` with 42
//! becomes a number. Objects without an expression are left alone without being written and read again.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fluvial_object::{FieldPath, ObjectExt, ObjectId, path::Step};
use serde_json::Value;

use crate::control;
use crate::envsubst::{self, EnvsubstError};

/// A ConfigMap or Secret that `spec.postBuild.substituteFrom` names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// `ConfigMap` or `Secret`.
    pub kind: String,
    /// Name, in the Kustomization's namespace.
    pub name: String,
    /// Whether it may be missing.
    pub optional: bool,
}

/// Where in the sources an object or a field comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File, relative to the source's root.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
}

/// Why substitution fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubstituteError {
    message: String,
    variable: Option<String>,
    object: Option<ObjectId>,
    field: Option<FieldPath>,
    place: Option<Place>,
}

impl SubstituteError {
    fn new(message: impl Into<String>) -> Self {
        SubstituteError {
            message: message.into(),
            variable: None,
            object: None,
            field: None,
            place: None,
        }
    }

    /// The message alone, in Flux's words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The variable that the error is about.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        self.variable.as_deref()
    }

    /// The object that could not be substituted.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectId> {
        self.object.as_ref()
    }

    /// The field that holds the expression.
    #[must_use]
    pub fn field(&self) -> Option<&FieldPath> {
        self.field.as_ref()
    }

    /// Where in the sources it stands.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The same error with its place in the sources.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
}

impl fmt::Display for SubstituteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object}")?;
            if let Some(field) = &self.field {
                write!(f, " field {field}")?;
            }
            if let Some(place) = &self.place {
                write!(f, " ({}:{})", place.file, place.line)?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for SubstituteError {}

/// Variables and how they are put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Substitution {
    variables: BTreeMap<String, String>,
    /// A variable without value and default is an error, not empty.
    pub strict: bool,
    /// Substitute even when there is no variable at all.
    pub always: bool,
}

/// The objects that `spec.postBuild` refers to, in order.
#[must_use]
pub fn references(post_build: &Value) -> Vec<Reference> {
    let list = post_build.get("substituteFrom").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|reference| Reference {
            kind: reference.kind().to_owned(),
            name: reference.text_at(&["name"]).unwrap_or_default().to_owned(),
            optional: reference.get("optional") == Some(&Value::Bool(true)),
        })
        .collect()
}

impl Substitution {
    /// A substitution without variables yet.
    #[must_use]
    pub fn new(strict: bool, always: bool) -> Self {
        Substitution {
            variables: BTreeMap::new(),
            strict,
            always,
        }
    }

    /// What `spec.postBuild` says, with the objects that it refers to given by `lookup`.
    pub fn from_post_build<'o>(
        post_build: &Value,
        strict: bool,
        lookup: &dyn Fn(&Reference) -> Option<&'o Value>,
    ) -> Result<Self, SubstituteError> {
        let always = post_build.text_at(&["substituteStrategy"]) == Some("Always");
        let mut substitution = Substitution::new(strict, always);
        for reference in references(post_build) {
            substitution.add_source(&reference, lookup(&reference))?;
        }
        if let Some(inline) = post_build.get("substitute").and_then(Value::as_object) {
            for (name, value) in inline {
                let text = value.as_str().ok_or_else(|| {
                    SubstituteError::new(format!(
                        ".spec.postBuild.substitute accessor error: contains non-string value in the map under key \
                         {name:?}: {} is of the type {}, expected string",
                        if value.is_null() { "<nil>".to_owned() } else { value.to_string() },
                        type_name(value)
                    ))
                })?;
                substitution.set(name, text);
            }
        }
        Ok(substitution)
    }

    /// Sets a variable; line breaks are dropped from its value.
    pub fn set(&mut self, name: &str, value: &str) {
        let value = value.chars().filter(|c| *c != '\n').collect();
        self.variables.insert(name.to_owned(), value);
    }

    /// Takes the variables of a ConfigMap or Secret, `None` if it does not exist.
    pub fn add_source(
        &mut self,
        reference: &Reference,
        source: Option<&Value>,
    ) -> Result<(), SubstituteError> {
        let resource = match reference.kind.as_str() {
            "ConfigMap" => "configmaps",
            "Secret" => "secrets",
            _ => return Ok(()),
        };
        let fail = |what: String| {
            SubstituteError::new(format!(
                "substitute from '{}/{}' error: {what}",
                reference.kind, reference.name
            ))
        };
        let Some(source) = source else {
            if reference.optional {
                return Ok(());
            }
            return Err(fail(format!("{resource} {:?} not found", reference.name)));
        };
        let data = source.get("data").and_then(Value::as_object);
        for (key, value) in data.into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            if reference.kind == "ConfigMap" {
                self.set(key, text);
                continue;
            }
            let bytes = STANDARD
                .decode(text.split_ascii_whitespace().collect::<String>())
                .map_err(|error| fail(format!("key {key:?} is no base64: {error}")))?;
            self.set(key, &String::from_utf8_lossy(&bytes));
        }
        Ok(())
    }

    /// The variables, by name.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Whether anything is substituted at all.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.always || !self.variables.is_empty()
    }

    /// Substitutes in one object. `None`: it stays as it is.
    pub fn object(&self, object: &Value) -> Result<Option<Value>, SubstituteError> {
        if control::is_substitution_disabled(object) || !self.is_active() {
            return Ok(None);
        }
        let about = |mut error: SubstituteError| {
            error.object = Some(object.id());
            error
        };
        self.check_names().map_err(about)?;
        if !mentions(object) {
            return Ok(None);
        }
        self.rewrite(object).map(Some).map_err(about)
    }

    fn check_names(&self) -> Result<(), SubstituteError> {
        let valid = |name: &str| {
            let mut bytes = name.bytes();
            let begins = |byte: u8| byte == b'_' || byte.is_ascii_alphabetic();
            bytes.next().is_some_and(begins) && bytes.all(|byte| begins(byte) || byte.is_ascii_digit())
        };
        match self.variables.keys().find(|name| !valid(name)) {
            None => Ok(()),
            Some(name) => Err(SubstituteError {
                variable: Some(name.clone()),
                ..SubstituteError::new(format!(
                    "envsubst error: '{name}' var name is invalid, must match \
                     '^[_[:alpha:]][_[:alpha:][:digit:]]*$'"
                ))
            }),
        }
    }

    fn expand(&self, text: &str) -> Result<Vec<u8>, EnvsubstError> {
        let value_of = |name: &str| self.variables.get(name).map(String::as_str);
        envsubst::expand(text, &value_of, self.strict).map_err(|located| located.error)
    }

    fn rewrite(&self, object: &Value) -> Result<Value, SubstituteError> {
        let text = fluvial_yaml::json_to_yaml(object);
        let expanded = self.expand(&text).map_err(|error| SubstituteError {
            variable: error.variable().map(str::to_owned),
            field: self.culprit(object, &error),
            ..SubstituteError::new(format!("envsubst error: variable substitution failed: {error}"))
        })?;
        let unreadable =
            |error: &dyn fmt::Display| SubstituteError::new(format!("envsubst error: YAMLToJSON: {error}"));
        let expanded = String::from_utf8(expanded).map_err(|error| unreadable(&error))?;
        let value = fluvial_yaml::yaml_to_json(&expanded, false).map_err(|error| unreadable(&error))?;
        if !value.is_object() {
            return Err(unreadable(&"the result is no object"));
        }
        Ok(value)
    }

    /// The first field that fails in the same way by itself.
    fn culprit(&self, object: &Value, error: &EnvsubstError) -> Option<FieldPath> {
        let mut path = FieldPath::root();
        self.search(object, error, &mut path).then_some(path)
    }

    fn search(&self, value: &Value, error: &EnvsubstError, path: &mut FieldPath) -> bool {
        let fails = |text: &str| envsubst::is_affected(text) && self.expand(text).as_ref() == Err(error);
        match value {
            Value::String(text) => fails(text),
            Value::Array(list) => list.iter().enumerate().any(|(index, value)| {
                path.push(Step::Index(index));
                let found = self.search(value, error, path);
                if !found {
                    path.pop();
                }
                found
            }),
            Value::Object(map) => map.iter().any(|(key, value)| {
                path.push(Step::Field(key.clone()));
                let found = fails(key) || self.search(value, error, path);
                if !found {
                    path.pop();
                }
                found
            }),
            _ => false,
        }
    }
}

/// Whether any text of a value holds something to expand.
fn mentions(value: &Value) -> bool {
    match value {
        Value::String(text) => envsubst::is_affected(text),
        Value::Array(list) => list.iter().any(mentions),
        Value::Object(map) => map
            .iter()
            .any(|(key, value)| envsubst::is_affected(key) || mentions(value)),
        _ => false,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Substitution {
        let mut substitution = Substitution::new(true, false);
        for (name, value) in pairs {
            substitution.set(name, value);
        }
        substitution
    }

    #[test]
    fn quotes_that_are_not_needed_are_gone_before_values_are_put_in() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"n": "${N}", "s": "v${N}", "k": "plain"}});
        let got = with(&[("N", "42")])
            .object(&object)
            .expect("valid")
            .expect("changed");
        assert_eq!(got["data"], json!({"n": 42, "s": "v42", "k": "plain"}));
    }

    #[test]
    fn objects_without_expressions_or_with_the_marker_stay() {
        let substitution = with(&[("N", "42")]);
        let plain = json!({"kind": "ConfigMap", "data": {"k": "$N"}});
        assert_eq!(substitution.object(&plain), Ok(None));
        let marked = json!({"kind": "ConfigMap", "data": {"k": "${N}"}, "metadata": {
            "annotations": {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}}});
        assert_eq!(substitution.object(&marked), Ok(None));
        let none = Substitution::new(true, false);
        assert_eq!(none.object(&json!({"data": "${N}"})), Ok(None));
    }

    #[test]
    fn an_error_names_object_field_and_place() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "ns"},
            "data": {"list": ["fine ${N}", "bad ${MISSING}"]}});
        let error = with(&[("N", "1")]).object(&object).expect_err("missing");
        assert_eq!(error.variable(), Some("MISSING"));
        let place = Place {
            file: "apps/a.yaml".to_owned(),
            line: 7,
        };
        assert_eq!(
            error.at(place).to_string(),
            "ConfigMap/ns/a field data.list[1] (apps/a.yaml:7): envsubst error: variable substitution failed: \
             variable not set (strict mode): \"MISSING\""
        );
    }

    #[test]
    fn later_sources_win_and_inline_values_win_over_all() {
        let map = json!({"data": {"A": "map", "B": "b\n"}});
        let secret = json!({"data": {"A": "c2VjcmV0"}});
        let post_build = json!({
            "substituteFrom": [{"kind": "ConfigMap", "name": "m"}, {"kind": "Secret", "name": "s"},
                {"kind": "Secret", "name": "gone", "optional": true}],
            "substitute": {"C": "inline"}});
        let lookup = |reference: &Reference| match reference.name.as_str() {
            "m" => Some(&map),
            "s" => Some(&secret),
            _ => None,
        };
        let substitution = Substitution::from_post_build(&post_build, true, &lookup).expect("valid");
        let got: Vec<_> = substitution
            .variables()
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        assert_eq!(got, ["A=secret", "B=b", "C=inline"]);
        let missing = Reference {
            kind: "Secret".to_owned(),
            name: "x".to_owned(),
            optional: false,
        };
        let error = Substitution::default()
            .add_source(&missing, None)
            .expect_err("missing");
        assert_eq!(
            error.message(),
            "substitute from 'Secret/x' error: secrets \"x\" not found"
        );
    }
}

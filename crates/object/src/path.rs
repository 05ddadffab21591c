//! Paths to fields inside an object, as error texts print them and as JSON pointers.

use std::fmt;

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A field of a map.
    Field(String),
    /// An element of a list.
    Index(usize),
    /// A key of a map whose keys are data (labels, annotations), printed in brackets.
    Key(String),
}

/// A path from an object's root to a field.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Step>);

impl FieldPath {
    /// The root.
    #[must_use]
    pub fn root() -> Self {
        FieldPath::default()
    }

    /// The steps from the root.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path with a field appended.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(Step::Field(name.to_owned()))
    }

    /// The path with a list index appended.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// The path with a map key appended.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = Vec::with_capacity(self.0.len() + 1);
        steps.extend_from_slice(&self.0);
        steps.push(step);
        FieldPath(steps)
    }

    /// Appends a step in place.
    pub fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// Removes the last step in place.
    pub fn pop(&mut self) -> Option<Step> {
        self.0.pop()
    }

    /// The value at the path.
    #[must_use]
    pub fn get<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(value, |value, step| match step {
            Step::Field(name) | Step::Key(name) => value.as_object()?.get(name),
            Step::Index(index) => value.as_array()?.get(*index),
        })
    }

    /// The path as a JSON pointer (RFC 6901).
    #[must_use]
    pub fn to_pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.0 {
            pointer.push('/');
            match step {
                Step::Field(name) | Step::Key(name) => pointer.push_str(&escape_pointer(name)),
                Step::Index(index) => pointer.push_str(&index.to_string()),
            }
        }
        pointer
    }
}

/// A map key as one token of a JSON pointer.
#[must_use]
pub fn escape_pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// One token of a JSON pointer as the map key that it stands for.
#[must_use]
pub fn unescape_pointer(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

impl fmt::Display for FieldPath {
    /// `spec.containers[0].env[key]`, as the API server prints paths; `<nil>` for the root.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("<nil>");
        }
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) => {
                    if position > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(name)?;
                }
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => write!(f, "[{key}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_prints_as_the_api_server_prints_it_and_as_a_pointer() {
        let path = FieldPath::root()
            .field("spec")
            .field("containers")
            .index(0)
            .field("env")
            .key("a/b~c");
        assert_eq!(path.to_string(), "spec.containers[0].env[a/b~c]");
        assert_eq!(path.to_pointer(), "/spec/containers/0/env/a~1b~0c");
        assert_eq!(unescape_pointer("a~1b~0c"), "a/b~c");
        assert_eq!(FieldPath::root().to_string(), "<nil>");
    }

    #[test]
    fn a_path_finds_its_value() {
        let object = json!({"spec": {"list": [{"a": 1}]}});
        let path = FieldPath::root().field("spec").field("list").index(0).field("a");
        assert_eq!(path.get(&object), Some(&json!(1)));
        assert_eq!(path.field("b").get(&object), None);
    }
}

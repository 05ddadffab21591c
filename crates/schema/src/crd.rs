//! Schemas of custom resources.

use std::sync::Arc;

use serde_json::Value;

use crate::error::FieldError;
use crate::table::{Index, Table};
use crate::types::TypeRef;

mod prune;
mod read;

/// Reads a schema as it is.
pub(crate) fn read_any(table: &mut Table, schema: &Value) -> Index {
    read::read(table, schema, 0, false)
}

/// The schema of one version of a custom resource.
#[derive(Clone, Debug)]
pub struct CrdSchema {
    root: TypeRef,
}

impl CrdSchema {
    /// Reads an `openAPIV3Schema`. Errors have paths below `openAPIV3Schema`.
    ///
    /// # Errors
    /// All violations of the rules for structural schemas.
    pub fn parse(schema: &Value) -> Result<CrdSchema, Vec<FieldError>> {
        let mut table = Table::default();
        let root = read::root(&mut table, schema)?;
        Ok(CrdSchema {
            root: TypeRef {
                table: Arc::new(table),
                index: root,
            },
        })
    }

    /// The type of the whole object, with `metadata` as every object has it.
    #[must_use]
    pub fn as_type(&self) -> TypeRef {
        self.root.clone()
    }

    /// Sets defaults.
    pub fn default(&self, value: &mut Value) {
        self.root.default(value);
    }

    /// Removes fields that the schema does not know; returns their paths.
    pub fn prune(&self, value: &mut Value) -> Vec<String> {
        prune::prune(self.root.view(), value)
    }

    /// Checks an object (and its rules); `old` is the object before an update.
    #[must_use]
    pub fn validate(&self, _value: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        Vec::new()
    }
}

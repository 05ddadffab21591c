//! What built-in kinds refuse. Each subject has its own file.

use fluvial_schema::FieldError;
use serde_json::Value;

use crate::api::Api;
use crate::kinds::Kind;

mod core;

/// Errors of a new object beyond its metadata.
pub fn create(_api: &Api, kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    if let Some(custom) = &kind.custom {
        if let Some(schema) = &custom.schema {
            errors.extend(schema.validate(object, None));
        }
        return;
    }
    if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        errors.extend(crate::crd::definition::validate(object, None));
        return;
    }
    core::validate(kind, object, errors);
}

/// Errors of a changed object beyond its metadata.
pub fn update(
    _api: &Api,
    kind: &Kind,
    new: &Value,
    old: &Value,
    subresource: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Some(custom) = &kind.custom {
        if let Some(schema) = &custom.schema {
            errors.extend(schema.validate(new, Some(old)));
        }
        return;
    }
    if kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        if subresource.is_empty() {
            errors.extend(crate::crd::definition::validate(new, Some(old)));
        }
        return;
    }
    core::immutable(kind, new, old, errors);
    if subresource.is_empty() {
        core::validate(kind, new, errors);
    }
}

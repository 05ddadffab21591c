//! OpenAPI and CRD schemas as explicit values.

//! Values in place of tables.

use serde_json::Value;

use crate::environment::{Outcome, Session};

/// How values are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// JSON, indented.
    Json,
    /// YAML.
    Yaml,
}

/// Prints a value.
pub(crate) fn write_value(session: &mut Session<'_>, value: &Value, format: Format) -> Outcome {
    match format {
        Format::Json => session.print(&(serde_json::to_string_pretty(value)? + "\n")),
        Format::Yaml => session.print(&fluvial_yaml::json_to_yaml(value)),
    }
}

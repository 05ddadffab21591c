//! A request to a resource, with its options read.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fluvial_schema::{ErrorKind, FieldError};
use serde_json::{Value, json};

use crate::admission::webhooks::Calls;
use crate::auth::User;
use crate::http::negotiate::Accept;
use crate::http::route::{Query, Target};
use crate::kinds::Kind;
use crate::status::{Failure, Outcome};

/// How unknown and duplicate fields are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped with a warning.
    #[default]
    Warn,
    /// They are an error.
    Strict,
}

/// A request to a resource.
#[derive(Debug)]
pub struct Request {
    /// Who asks.
    pub user: User,
    /// The kind in the version asked for.
    pub kind: Arc<Kind>,
    /// The path's parts.
    pub target: Target,
    /// The query.
    pub query: Query,
    /// What is accepted.
    pub accept: Accept,
    /// Content type.
    pub content_type: Option<String>,
    /// User agent.
    pub user_agent: String,
    /// The body.
    pub body: Bytes,
    /// Nothing is written.
    pub dry_run: bool,
    /// How strict decoding is.
    pub validation: FieldValidation,
    /// Warnings for the answer.
    pub warnings: Mutex<Vec<String>>,
    /// What webhooks said of it.
    pub calls: Calls,
}

fn unsupported(path: &str, value: Value, allowed: &[&str]) -> FieldError {
    let allowed: Vec<String> = allowed.iter().map(|text| format!("\"{text}\"")).collect();
    FieldError::new(
        ErrorKind::NotSupported,
        path,
        value,
        format!("supported values: {}", allowed.join(", ")),
    )
}

impl Request {
    /// Takes the warnings out.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a warning.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Checks the options of a write and keeps them.
    ///
    /// # Errors
    /// An option has a value that is not known.
    pub fn read_options(&mut self, options: &str, apply: bool) -> Outcome<()> {
        let mut errors = vec![];
        let manager = self.query.text("fieldManager").to_owned();
        let force = self.query.get("force");
        if options == "PatchOptions" {
            if apply && manager.is_empty() {
                let detail = "is required for apply patch";
                errors.push(FieldError::plain(ErrorKind::Required, "fieldManager", detail));
            }
            if !apply && force.is_some() {
                let detail = "may not be specified for non-apply patch";
                errors.push(FieldError::plain(ErrorKind::Forbidden, "force", detail));
            }
        }
        if manager.len() > 128 {
            errors.push(FieldError::plain(
                ErrorKind::TooLong,
                "fieldManager",
                "may not be more than 128 bytes",
            ));
        }
        if let Some(bad) = manager.chars().position(|character| character.is_control()) {
            let detail = {
                let code = manager.chars().nth(bad).map_or(0, u32::from);
                format!("invalid character U+{code:04X} (at position {bad})")
            };
            errors.push(FieldError::new(
                ErrorKind::Invalid,
                "fieldManager",
                manager.into(),
                detail,
            ));
        }
        let dry: Vec<&str> = self.query.all("dryRun").collect();
        if dry.iter().any(|value| *value != "All") {
            errors.push(unsupported("dryRun", json!(dry), &["All"]));
        }
        self.dry_run = !dry.is_empty();
        self.validation = match self.query.text("fieldValidation") {
            "Strict" => FieldValidation::Strict,
            "Ignore" => FieldValidation::Ignore,
            "" | "Warn" => FieldValidation::Warn,
            other => {
                errors.push(unsupported(
                    "fieldValidation",
                    other.into(),
                    &["", "Ignore", "Strict", "Warn"],
                ));
                FieldValidation::Warn
            }
        };
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Failure::invalid("meta.k8s.io", options, "", &errors))
        }
    }

    /// Who is named as the manager of the fields written.
    #[must_use]
    pub fn manager(&self) -> String {
        let named = self.query.text("fieldManager");
        if !named.is_empty() {
            return named.to_owned();
        }
        self.user_agent
            .split('/')
            .next()
            .unwrap_or("")
            .chars()
            .take(128)
            .collect()
    }

    /// The key of the object named.
    #[must_use]
    pub fn key(&self) -> String {
        self.kind.key(&self.target.namespace, &self.target.name)
    }

    /// 404 for the object named.
    #[must_use]
    pub fn not_found(&self) -> Failure {
        // The one kind that answers under the name of one.
        let plural = if self.kind.is("", "ComponentStatus") {
            &self.kind.singular
        } else {
            &self.kind.plural
        };
        Failure::not_found(&self.kind.group, plural, &self.target.name)
    }

    /// 409 for the object named, because it changed.
    #[must_use]
    pub fn changed(&self) -> Failure {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Failure::conflict(&self.kind.group, &self.kind.plural, &self.target.name, why)
    }
}

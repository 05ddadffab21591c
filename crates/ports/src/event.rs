//! What happened, for people and for notifications.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Only worth a core Event.
    Trace,
    /// Something went well.
    Info,
    /// Something failed.
    Error,
}

/// One event about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// API version of the object.
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// UID of the object.
    pub uid: String,
    /// Resource version of the object.
    pub resource_version: String,
    /// How much it matters.
    pub severity: Severity,
    /// Reason word.
    pub reason: String,
    /// Text.
    pub message: String,
    /// Group-prefixed facts (`kustomize.toolkit.fluxcd.io/revision`).
    pub metadata: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
    /// Name of the controller.
    pub controller: &'static str,
}

/// Takes events on their way to notifications. Never blocks.
pub trait Events: Send + Sync + 'static {
    /// Hands one event over.
    fn notify(&self, event: &Event);
}

/// Drops all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl Events for NoEvents {
    fn notify(&self, _event: &Event) {}
}

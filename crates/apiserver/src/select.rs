//! Label and field selectors of lists and watches.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fluvial_object::fields::{FieldSelector, Term};
use fluvial_object::labels::Selector;
use serde::Deserialize;
use serde_json::Value;

use crate::kinds::Kind;
use crate::request::Request;
use crate::status::{Failure, Outcome};
use crate::store::Stored;

/// What a list or watch selects.
#[derive(Debug)]
pub struct Selection {
    labels: Selector,
    fields: FieldSelector,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Labelled<'a> {
    #[serde(borrow, default)]
    metadata: Labels<'a>,
}

#[derive(Default, Deserialize)]
struct Labels<'a> {
    #[serde(borrow, default)]
    labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// Fields of a kind that can be selected beside name and namespace.
fn selectable(kind: &Kind) -> &'static [&'static str] {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "Event") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "Event") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "Namespace") => &["status.phase"],
        ("", "Node") => &["spec.unschedulable"],
        ("", "Secret") => &["type"],
        ("", "Service") => &["spec.clusterIP", "spec.type"],
        ("", "ReplicationController") => &["status.replicas"],
        ("batch", "Job") => &["status.successful"],
        ("certificates.k8s.io", "CertificateSigningRequest") => &["spec.signerName"],
        ("resource.k8s.io", "ResourceSlice") => &["spec.nodeName", "spec.driver"],
        _ => &[],
    }
}

/// The error of a field that cannot be selected, as the kind's server code words it.
fn unknown_field(kind: &Kind, field: &str) -> Failure {
    if kind.custom.is_some() {
        return Failure::bad_request(format!("field label not supported: {field}"));
    }
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod" | "Event" | "Namespace" | "Node" | "Secret" | "Service" | "ReplicationController")
        | ("events.k8s.io", _)
        | ("certificates.k8s.io", _) => Failure::bad_request(format!("field label not supported: {field}")),
        ("resource.k8s.io", "ResourceSlice") => Failure::bad_request(format!(
            "field label not supported for resource.k8s.io/{}, Kind=ResourceSlice: {field}",
            kind.version
        )),
        ("batch", "Job") => Failure::bad_request(format!("field label \"{field}\" not supported for Job")),
        _ => Failure::bad_request(format!(
            "\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )),
    }
}

impl Selection {
    /// Reads the selectors of a request; an object's name in the path selects it.
    ///
    /// # Errors
    /// A selector cannot be read or names a field that cannot be selected.
    pub fn read(request: &Request) -> Outcome<Self> {
        let labels = request.query.text("labelSelector");
        let labels = Selector::parse(labels).map_err(|error| Failure::bad_request(error.to_string()))?;
        let fields = FieldSelector::parse(request.query.text("fieldSelector"))
            .map_err(|error| Failure::bad_request(error.to_string()))?;
        let kind = &request.kind;
        for term in fields.terms() {
            let spaceless = matches!(
                kind.kind.as_str(),
                "Namespace" | "Node" | "CertificateSigningRequest" | "ResourceSlice"
            ) && kind.custom.is_none();
            let known = term.field == "metadata.name"
                || (term.field == "metadata.namespace" && !spaceless)
                || selectable(kind).contains(&term.field.as_str())
                || kind.custom.as_ref().is_some_and(|custom| {
                    custom
                        .selectable
                        .iter()
                        .any(|field| field.trim_start_matches('.') == term.field)
                });
            if !known {
                return Err(unknown_field(kind, &term.field));
            }
        }
        let name = (!request.target.name.is_empty()).then(|| request.target.name.clone());
        Ok(Selection { labels, fields, name })
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_empty() && self.name.is_none()
    }

    /// Whether one object is asked for by its name.
    #[must_use]
    pub fn is_one(&self) -> bool {
        let named = |term: &Term| term.equal && term.field == "metadata.name";
        self.name.is_some() || self.fields.terms().iter().any(named)
    }

    /// Whether an object is selected.
    #[must_use]
    pub fn matches(&self, kind: &Kind, stored: &Stored) -> bool {
        if self.name.as_deref().is_some_and(|name| name != stored.name()) {
            return false;
        }
        if !self.fields.is_empty() && !self.fields_match(kind, stored) {
            return false;
        }
        if self.labels.is_everything() {
            return true;
        }
        if !stored.labels.may_match(&self.labels) {
            return false;
        }
        let json = stored.json();
        let Ok(object) = serde_json::from_slice::<Labelled<'_>>(&json) else {
            return self.labels.matches_object(&stored.value());
        };
        self.labels
            .matches(|key| object.metadata.labels.get(key).map(|value| &**value))
    }

    fn fields_match(&self, kind: &Kind, stored: &Stored) -> bool {
        let simple = self
            .fields
            .terms()
            .iter()
            .all(|term| matches!(term.field.as_str(), "metadata.name" | "metadata.namespace"));
        if simple {
            return self.fields.matches(|field| {
                Some(if field == "metadata.name" {
                    stored.name()
                } else {
                    stored.namespace()
                })
            });
        }
        let mut object = stored.value();
        crate::convert::from_storage(kind, &mut object);
        let values: BTreeMap<String, String> = self
            .fields
            .terms()
            .iter()
            .map(|term| (term.field.clone(), field_value(kind, &object, &term.field)))
            .collect();
        self.fields.matches(|field| values.get(field).map(String::as_str))
    }
}

fn field_value(kind: &Kind, object: &Value, field: &str) -> String {
    let path = match (kind.kind.as_str(), field) {
        ("Job", "status.successful") => "status.succeeded",
        ("Event", "source") if kind.group.is_empty() => "source.component",
        _ => field,
    };
    let found = path.split('.').fold(object, |value, name| &value[name]);
    match found {
        Value::Null => match field {
            "spec.hostNetwork" | "spec.unschedulable" => "false".to_owned(),
            "status.successful" | "status.replicas" => "0".to_owned(),
            _ => String::new(),
        },
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

//! Questions to the API server's authorizer from policies' expressions, through a port.

use std::fmt;
use std::sync::Arc;

use super::error::Error;
use super::library::Function;
use super::value::{Opaque, Value};

/// Who decides what a user may do.
pub trait Authorizer: Send + Sync {
    /// Whether the user of the request (or the service account of the question) may do it.
    fn decide(&self, question: &Question) -> Decision;
}

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Namespace and name of a service account that is asked about instead of the user.
    pub service_account: Option<(String, String)>,
    /// A path that is no resource.
    pub path: Option<String>,
    /// API group.
    pub group: String,
    /// Resource.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Field selector of the request.
    pub field_selector: String,
    /// Label selector of the request.
    pub label_selector: String,
    /// Verb.
    pub verb: String,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong.
    pub error: Option<String>,
}

/// A question in the making, or its answer.
#[derive(Clone)]
pub struct Authorization<'a> {
    port: &'a dyn Authorizer,
    question: Question,
    step: Step,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Start,
    Path,
    Group,
    Resource,
    Decided(Decision),
}

impl fmt::Debug for Authorization<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization")
            .field("question", &self.question)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

impl<'a> Value<'a> {
    /// The `authorizer` of a policy's expressions.
    #[must_use]
    pub fn authorizer(port: &'a dyn Authorizer) -> Value<'a> {
        Value::Opaque(Opaque::Authorization(Arc::new(Authorization {
            port,
            question: Question::default(),
            step: Step::Start,
        })))
    }

    /// The `authorizer.requestResource` of a policy's expressions.
    #[must_use]
    pub fn request_resource(port: &'a dyn Authorizer, question: Question) -> Value<'a> {
        Value::Opaque(Opaque::Authorization(Arc::new(Authorization {
            port,
            question,
            step: Step::Resource,
        })))
    }
}

impl<'a> Authorization<'a> {
    pub(crate) fn type_name(&self) -> &'static str {
        match self.step {
            Step::Start => "kubernetes.authorization.Authorizer",
            Step::Path => "kubernetes.authorization.PathCheck",
            Step::Group => "kubernetes.authorization.GroupCheck",
            Step::Resource => "kubernetes.authorization.ResourceCheck",
            Step::Decided(_) => "kubernetes.authorization.Decision",
        }
    }

    fn go(&self, name: &str, args: &[&str]) -> Option<Value<'a>> {
        let mut next = self.clone();
        let question = &mut next.question;
        let one = || args.first().map(|text| (*text).to_owned());
        match (&self.step, name) {
            (Step::Decided(decision), name) => {
                return Some(match name {
                    "allowed" => Value::Bool(decision.allowed),
                    "reason" => Value::text(decision.reason.as_str()),
                    "errored" => Value::Bool(decision.error.is_some()),
                    "error" => Value::text(decision.error.clone().unwrap_or_default()),
                    _ => return None,
                });
            }
            (Step::Start, "path") => {
                question.path = one();
                next.step = Step::Path;
            }
            (Step::Start, "group") => {
                question.group = one()?;
                next.step = Step::Group;
            }
            (Step::Start, "serviceAccount") => {
                question.service_account = Some((one()?, (*args.get(1)?).to_owned()));
            }
            (Step::Group, "resource") => {
                question.resource = one()?;
                next.step = Step::Resource;
            }
            (Step::Resource, "subresource") => question.subresource = one()?,
            (Step::Resource, "namespace") => question.namespace = one()?,
            (Step::Resource, "name") => question.name = one()?,
            (Step::Resource, "fieldSelector") => question.field_selector = one()?,
            (Step::Resource, "labelSelector") => question.label_selector = one()?,
            (Step::Resource | Step::Path, "check") => {
                question.verb = one()?;
                next.step = Step::Decided(self.port.decide(&next.question));
            }
            _ => return None,
        }
        Some(Value::Opaque(Opaque::Authorization(Arc::new(next))))
    }
}

fn run<'a>(name: &str, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let texts: Option<Vec<&str>> = args[1..].iter().map(Value::as_str).collect();
    match (&args[0], texts) {
        (Value::Opaque(Opaque::Authorization(authorization)), Some(texts)) => {
            authorization.go(name, &texts).ok_or_else(Error::no_overload)
        }
        _ => Err(Error::no_overload()),
    }
}

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "path" => |args| run("path", args),
        "group" => |args| run("group", args),
        "serviceAccount" => |args| run("serviceAccount", args),
        "resource" => |args| run("resource", args),
        "subresource" => |args| run("subresource", args),
        "namespace" => |args| run("namespace", args),
        "name" => |args| run("name", args),
        "fieldSelector" => |args| run("fieldSelector", args),
        "labelSelector" => |args| run("labelSelector", args),
        "check" => |args| run("check", args),
        "allowed" => |args| run("allowed", args),
        "reason" => |args| run("reason", args),
        "errored" => |args| run("errored", args),
        "error" => |args| run("error", args),
        _ => return None,
    })
}

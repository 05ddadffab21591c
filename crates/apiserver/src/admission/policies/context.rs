//! A request as policies and webhooks see it.

use fluvial_schema::cel::{Authorizer, Decision, Question, Value as Cel, Vars};
use serde_json::{Value, json};

use super::Policy;
use crate::api::Api;
use crate::auth::{Attributes, User, rbac};
use crate::request::Request;

/// A request with the object that it writes.
#[derive(Debug)]
pub struct Context<'a> {
    /// The request.
    pub request: &'a Request,
    /// CREATE, UPDATE, DELETE or CONNECT.
    pub operation: &'static str,
    /// The object after the request; null for a deletion.
    pub object: &'a Value,
    /// The object before it; null for a creation.
    pub old: &'a Value,
}

/// Asks the server's own rules.
pub struct Rules<'a> {
    api: &'a Api,
    user: &'a User,
}

impl Authorizer for Rules<'_> {
    fn decide(&self, question: &Question) -> Decision {
        let other;
        let user = match &question.service_account {
            Some((namespace, name)) => {
                let groups = [
                    "system:serviceaccounts",
                    &format!("system:serviceaccounts:{namespace}"),
                ];
                other =
                    User::new(&format!("system:serviceaccount:{namespace}:{name}"), &groups).authenticated();
                &other
            }
            None => self.user,
        };
        let decision = rbac::authorize(
            self.api,
            user,
            &Attributes {
                verb: &question.verb,
                group: &question.group,
                resource: &question.resource,
                subresource: &question.subresource,
                namespace: &question.namespace,
                name: &question.name,
                path: question.path.as_deref().unwrap_or(""),
            },
        );
        Decision {
            allowed: decision.allowed,
            reason: decision.reason,
            error: None,
        }
    }
}

impl<'a> Context<'a> {
    /// The name of what is written: of the path, or of a new object.
    #[must_use]
    pub fn name(&self) -> &'a str {
        if self.request.target.name.is_empty() {
            self.object["metadata"]["name"].as_str().unwrap_or("")
        } else {
            &self.request.target.name
        }
    }

    /// The object that selectors look at: what is written, or what is deleted.
    #[must_use]
    pub fn subjects(&self) -> [&'a Value; 2] {
        [self.object, self.old]
    }

    /// The labels of the namespace that a selector of namespaces looks at; none for what lives in no namespace.
    #[must_use]
    pub fn namespace(&self, api: &Api) -> Value {
        if self.request.kind.is("", "Namespace") {
            return Value::Null;
        }
        let name = &self.request.target.namespace;
        if name.is_empty() {
            return Value::Null;
        }
        let found = api.store.collection("namespaces").get(name);
        found.map(|stored| stored.value()).unwrap_or_default()
    }

    /// The rules that `authorizer` asks.
    #[must_use]
    pub fn authorizer<'s>(&'s self, api: &'s Api) -> Rules<'s> {
        Rules {
            api,
            user: &self.request.user,
        }
    }

    /// The `request` of expressions and reviews.
    #[must_use]
    pub fn review(&self) -> Value {
        let (request, kind) = (self.request, &self.request.kind);
        let sub = request.target.subresource.as_str();
        let (mut group, mut version, mut name) = (&kind.group, &kind.version, &kind.kind);
        if let Some(own) = kind.subresource(sub).filter(|own| !own.version.is_empty()) {
            (group, version, name) = (&own.group, &own.version, &own.kind);
        }
        let gvk = json!({"group": group, "version": version, "kind": name});
        let gvr = json!({"group": kind.group, "version": kind.version, "resource": kind.plural});
        let user = &request.user;
        let mut info = json!({"username": user.name, "groups": user.groups});
        if !user.uid.is_empty() {
            info["uid"] = user.uid.clone().into();
        }
        if !user.extra.is_empty() {
            info["extra"] = json!(user.extra);
        }
        let mut review = json!({"kind": gvk, "resource": gvr, "requestKind": gvk, "requestResource": gvr,
            "operation": self.operation, "userInfo": info, "dryRun": request.dry_run});
        let name = self.name();
        for (field, value) in [
            ("name", name),
            ("namespace", &request.target.namespace),
            ("subResource", sub),
            ("requestSubResource", sub),
        ] {
            if !value.is_empty() {
                review[field] = value.into();
            }
        }
        review["options"] = self.options();
        review
    }

    fn options(&self) -> Value {
        let kind = match self.operation {
            "CREATE" => "CreateOptions",
            "UPDATE"
                if self
                    .request
                    .content_type
                    .as_deref()
                    .is_some_and(|text| text.contains("patch")) =>
            {
                "PatchOptions"
            }
            "UPDATE" => "UpdateOptions",
            _ => "DeleteOptions",
        };
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if self.request.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        if self.operation != "DELETE" {
            options["fieldManager"] = self.request.manager().into();
        }
        options
    }

    /// The variables of a policy's expressions.
    pub(super) fn vars<'v>(
        &self,
        policy: &Policy,
        review: &'v Value,
        namespace: &'v Value,
        param: &'v Value,
        port: &'v Rules<'_>,
    ) -> Vars<'v>
    where
        'a: 'v,
    {
        let mut vars = self.plain_vars(review, namespace, param, port);
        for (name, program) in &policy.variables {
            let value = match program {
                Ok(program) => program.eval(&vars),
                Err(why) => Err(fluvial_schema::cel::Error::new(why.clone())),
            };
            let value = value.map_err(|error| {
                let why = format!("composited variable {name:?} fails to evaluate: {error}");
                fluvial_schema::cel::Error::new(why)
            });
            vars.set(format!("variables.{name}"), value);
        }
        vars
    }

    /// The variables of all expressions.
    pub fn plain_vars<'v>(
        &self,
        review: &'v Value,
        namespace: &'v Value,
        param: &'v Value,
        port: &'v Rules<'_>,
    ) -> Vars<'v>
    where
        'a: 'v,
    {
        let (kind, target) = (&self.request.kind, &self.request.target);
        let question = Question {
            group: kind.group.clone(),
            resource: kind.plural.clone(),
            subresource: target.subresource.clone(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            ..Question::default()
        };
        Vars::default()
            .with("object", Cel::json(self.object))
            .with("oldObject", Cel::json(self.old))
            .with("request", Cel::json(review))
            .with("namespaceObject", Cel::json(namespace))
            .with("params", Cel::json(param))
            .with("authorizer", Cel::authorizer(port))
            .with(
                "authorizer.requestResource",
                Cel::request_resource(port, question),
            )
    }
}

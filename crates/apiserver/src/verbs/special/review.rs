//! Reviews: who someone is and what they may do; tokens of service accounts.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::{Value, json};

use crate::api::{Api, meta, new_uid};
use crate::auth::signer::ISSUER;
use crate::auth::{Attributes, User, rbac};
use crate::request::Request;
use crate::status::{Failure, Outcome};
use crate::verbs::{Reply, create, decode, show};

mod selectors;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// POST of a kind that is not kept.
///
/// # Errors
/// The question makes no sense.
pub fn review(api: &Api, request: &Request, object: Value) -> Outcome<Reply> {
    let manager = request.manager();
    let mut object = create::own(api, request, None, object, &manager);
    match request.kind.kind.as_str() {
        "SelfSubjectReview" => {
            object["metadata"]["creationTimestamp"] = api.now().into();
            object["status"] = json!({"userInfo": user_info(&request.user)});
        }
        "TokenReview" => token_review(api, &mut object)?,
        "SubjectAccessReview" | "LocalSubjectAccessReview" | "SelfSubjectAccessReview" => {
            access_review(api, request, &mut object)?;
        }
        "SelfSubjectRulesReview" => rules_review(api, request, &mut object)?,
        "Binding" => {
            let kinds = api.kinds();
            let pods = kinds.find("", "v1", "pods").ok_or_else(Failure::no_resource)?;
            let mut target = request.target.clone();
            meta(&object, "name").clone_into(&mut target.name);
            let inner = Request {
                user: request.user.clone(),
                kind: pods.clone(),
                target,
                query: request.query.clone(),
                accept: request.accept.clone(),
                content_type: None,
                user_agent: request.user_agent.clone(),
                body: bytes::Bytes::new(),
                dry_run: request.dry_run,
                validation: request.validation,
                warnings: std::sync::Mutex::default(),
                calls: crate::admission::webhooks::Calls::default(),
            };
            return super::bind(api, &inner, &object);
        }
        _ => return Err(Failure::method_not_allowed()),
    }
    Ok(Reply::Value(201, object))
}

fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.clone().into();
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn token_review(api: &Api, object: &mut Value) -> Outcome<()> {
    let token = text(&object["spec"], "token").to_owned();
    if token.is_empty() {
        return Err(Failure::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let wanted = texts(&object["spec"]["audiences"]);
    let mut audiences = if wanted.is_empty() {
        vec![ISSUER.to_owned()]
    } else {
        wanted
    };
    let found = crate::http::authenticate::bearer_for(api, &token, &mut audiences);
    object["status"] = match found {
        Ok(user) => {
            json!({"authenticated": true, "user": user_info(&user), "audiences": audiences})
        }
        Err(error) => json!({"user": {}, "error": error}),
    };
    Ok(())
}

/// What is wrong with a question about access.
fn question_errors(request: &Request, spec: &Value, own: bool) -> Vec<fluvial_schema::FieldError> {
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut errors = vec![];
    if resource.is_object() == other.is_object() {
        let (shape, detail) = if resource.is_object() {
            (
                fluvial_schema::ErrorKind::Invalid,
                "cannot be specified in combination with resourceAttributes",
            )
        } else {
            (
                fluvial_schema::ErrorKind::Invalid,
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            )
        };
        let (path, value) = if resource.is_object() {
            ("spec.nonResourceAttributes", None)
        } else {
            ("spec.resourceAttributes", Some(Value::Null))
        };
        // Named as the server's own type names its fields.
        let detail = if resource.is_object() {
            format!(
                "{{\"Path\":{},\"Verb\":{}}}: {detail}",
                Value::from(text(other, "path")),
                Value::from(text(other, "verb"))
            )
        } else {
            detail.to_owned()
        };
        errors.push(fluvial_schema::FieldError {
            kind: shape,
            path: path.to_owned(),
            value,
            detail,
        });
    }
    if !own && text(spec, "user").is_empty() && texts(&spec["groups"]).is_empty() {
        let detail = "at least one of user or group must be specified";
        errors.push(fluvial_schema::FieldError::new(
            fluvial_schema::ErrorKind::Invalid,
            "spec.user",
            text(spec, "user").into(),
            detail,
        ));
    }
    selectors::errors(resource, &mut errors);
    if request.kind.kind == "LocalSubjectAccessReview" {
        local(request, resource, other, &mut errors);
    }
    errors
}

/// What a review of one namespace asks for is in that namespace.
fn local(request: &Request, resource: &Value, other: &Value, errors: &mut Vec<FieldError>) {
    if resource.is_object() && text(resource, "namespace") != request.target.namespace {
        errors.push(FieldError::new(
            ErrorKind::Invalid,
            "spec.resourceAttributes.namespace",
            text(resource, "namespace").into(),
            "must match metadata.namespace",
        ));
    }
    if other.is_object() {
        let (path, verb) = (text(other, "path"), text(other, "verb"));
        let shown = format!(
            "{{\"Path\":{},\"Verb\":{}}}",
            Value::from(path),
            Value::from(verb)
        );
        let detail = format!("{shown}: disallowed on this kind of request");
        let field = "spec.nonResourceAttributes";
        errors.push(FieldError::plain(ErrorKind::Invalid, field, detail));
    }
}

/// A question has nothing that describes it; one of a namespace is in it.
fn described(meta: &Value, namespace: &str) -> Option<FieldError> {
    let own = |(name, value): &(&String, &Value)| match name.as_str() {
        "managedFields" => false,
        "namespace" => **value != namespace,
        _ => !value.is_null() && **value != "" && **value != json!({}) && **value != json!([]),
    };
    meta.as_object()?.iter().find(own)?;
    let shown = crate::verbs::patch::in_order("ObjectMeta", meta);
    let except = if namespace.is_empty() {
        ""
    } else {
        " except for namespace"
    };
    let detail = format!("{shown}: must be empty{except}");
    Some(FieldError::plain(ErrorKind::Invalid, "metadata", detail))
}

fn access_review(api: &Api, request: &Request, object: &mut Value) -> Outcome<()> {
    let own = request.kind.kind == "SelfSubjectAccessReview";
    let spec = object["spec"].clone();
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut errors = question_errors(request, &spec, own);
    errors.extend(described(&object["metadata"], request.target.namespace.as_str()));
    if !errors.is_empty() {
        return Err(Failure::invalid("authorization.k8s.io", "", "", &errors));
    }
    let user = if own {
        request.user.clone()
    } else {
        User {
            name: text(&spec, "user").to_owned(),
            groups: texts(&spec["groups"]),
            ..User::default()
        }
    };
    let wanted = if resource.is_object() {
        Attributes {
            verb: text(resource, "verb"),
            group: text(resource, "group"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: text(resource, "namespace"),
            name: text(resource, "name"),
            path: "",
        }
    } else {
        Attributes {
            verb: text(other, "verb"),
            path: text(other, "path"),
            ..Attributes::default()
        }
    };
    let decision = rbac::authorize(api, &user, &wanted);
    object["status"] = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        object["status"]["reason"] = decision.reason.into();
    }
    if let Some(ignored) = selectors::ignored(resource) {
        object["status"]["evaluationError"] = ignored.into();
    }
    Ok(())
}

fn rules_review(api: &Api, request: &Request, object: &mut Value) -> Outcome<()> {
    let namespace = text(&object["spec"], "namespace").to_owned();
    if namespace.is_empty() {
        return Err(Failure::bad_request("no namespace on request"));
    }
    let (mut resources, mut paths) = (vec![], vec![]);
    rbac::visit_rules(api, &request.user, &namespace, &mut |rule, _| {
        let mut shown = json!({"verbs": rule["verbs"].clone()});
        if rule["resources"].as_array().is_some_and(|list| !list.is_empty()) {
            for field in ["apiGroups", "resources", "resourceNames"] {
                if !rule[field].is_null() {
                    shown[field] = rule[field].clone();
                }
            }
            resources.push(shown);
        } else if !rule["nonResourceURLs"].is_null() {
            shown["nonResourceURLs"] = rule["nonResourceURLs"].clone();
            paths.push(shown);
        }
        false
    });
    object["spec"] = json!({});
    object["metadata"] = json!({});
    object["status"] = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
    Ok(())
}

/// POST of a service account's token.
pub(super) fn token(api: &Api, request: &mut Request) -> Outcome<Reply> {
    let stored = api
        .store
        .collection("serviceaccounts")
        .get(&request.key())
        .ok_or_else(|| request.not_found())?;
    let account = show(&request.kind, &stored);
    let mut object = decode::object(api, request)?;
    let name = meta(&object, "name");
    if !name.is_empty() && name != request.target.name {
        let detail = "must match the service account name if specified";
        let error = FieldError::new(ErrorKind::Invalid, "metadata.name", name.into(), detail);
        return Err(Failure::invalid(
            "authentication.k8s.io",
            "TokenRequest",
            &request.target.name,
            &[error],
        ));
    }
    create::place(request, &mut object)?;
    if object["spec"]["expirationSeconds"].is_null() {
        object["spec"]["expirationSeconds"] = 3600.into();
    }
    let seconds = object["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
    if !(600..=1 << 32).contains(&seconds) {
        let detail = if seconds < 600 {
            "may not specify a duration less than 10 minutes"
        } else {
            "may not specify a duration larger than 2^32 seconds"
        };
        let path = "spec.expirationSeconds";
        let error =
            fluvial_schema::FieldError::new(fluvial_schema::ErrorKind::Invalid, path, seconds.into(), detail);
        return Err(Failure::invalid(
            "authentication.k8s.io",
            "TokenRequest",
            "",
            &[error],
        ));
    }
    let types = api.schemas.kind("authentication.k8s.io", "v1", "TokenRequest");
    let mut empty = types.as_ref().map(|types| crate::typed::empty(types.view()));
    if let Some(empty) = &mut empty {
        // A field that is there even when it is null.
        empty["spec"]["boundObjectRef"] = Value::Null;
    }
    let mut object = fluvial_merge::managed::update(fluvial_merge::managed::UpdateRequest {
        types: types.as_ref(),
        live: empty.as_ref(),
        updated: object,
        manager: &request.manager(),
        subresource: "token",
        api_version: "authentication.k8s.io/v1",
        time: &api.now(),
        reset_fields: &[&["status"]],
    });
    if texts(&object["spec"]["audiences"]).is_empty() {
        object["spec"]["audiences"] = json!([ISSUER]);
    }
    let now = (api.clock)();
    let expires = now + jiff::SignedDuration::from_secs(seconds);
    let (namespace, name) = (&request.target.namespace, &request.target.name);
    let mut claims = json!({"aud": object["spec"]["audiences"].clone(), "exp": expires.as_second(), "iat": now.as_second(),
        "nbf": now.as_second(), "iss": ISSUER, "jti": new_uid(), "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": meta(&account, "uid")}}});
    bind_claims(api, request, &mut object, &mut claims)?;
    object["metadata"]["name"] = name.clone().into();
    object["metadata"]["namespace"] = namespace.clone().into();
    object["metadata"]["uid"] = account["metadata"]["uid"].clone();
    object["metadata"]["creationTimestamp"] = api.now().into();
    let token = api.signer.sign(&claims).map_err(Failure::internal)?;
    object["status"] = json!({"token": token, "expirationTimestamp": crate::api::rfc3339(expires)});
    Ok(Reply::Value(201, object))
}

fn bind_claims(api: &Api, request: &Request, object: &mut Value, claims: &mut Value) -> Outcome<()> {
    let bound = object["spec"]["boundObjectRef"].clone();
    if !bound.is_object() {
        object["spec"]["boundObjectRef"] = Value::Null;
        return Ok(());
    }
    let (kind, name) = (text(&bound, "kind"), text(&bound, "name"));
    if name.is_empty() {
        return Err(Failure::bad_request("Name parameter required."));
    }
    // The group counts, not the version.
    let core = !text(&bound, "apiVersion").contains('/');
    let (collection, field, namespaced) = match kind {
        "Pod" if core => ("pods", "pod", true),
        "Secret" if core => ("secrets", "secret", true),
        "Node" if core => ("nodes", "node", false),
        _ => {
            let version = text(&bound, "apiVersion");
            let version = if version.contains('/') {
                version.to_owned()
            } else {
                format!("/{version}")
            };
            return Err(Failure::bad_request(format!(
                "cannot bind token to object of type {version}, Kind={kind}"
            )));
        }
    };
    let key = if namespaced {
        format!("{}/{name}", request.target.namespace)
    } else {
        name.to_owned()
    };
    let found = api
        .store
        .collection(collection)
        .get(&key)
        .ok_or_else(|| Failure::not_found("", collection, name))?;
    let uid = found.value()["metadata"]["uid"].clone();
    let wanted = text(&bound, "uid");
    if !wanted.is_empty() && uid != wanted {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Failure::conflict("", kind, name, &why));
    }
    claims["kubernetes.io"][field] = json!({"name": name, "uid": uid});
    Ok(())
}

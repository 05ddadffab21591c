//! What is refused of policies, their bindings and webhook configurations themselves.

use std::collections::BTreeMap;

use fluvial_schema::cel::{Env, Program, Type};
use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use crate::kinds::Kind;
use crate::names;

mod hooks;
mod rules;

type Errors = Vec<FieldError>;

fn invalid(path: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
    FieldError::new(ErrorKind::Invalid, path, value.into(), detail)
}

fn required(path: impl Into<String>, detail: &str) -> FieldError {
    FieldError::plain(ErrorKind::Required, path, detail)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// Errors of an object of the group `admissionregistration.k8s.io`.
pub fn validate(kind: &Kind, object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    match kind.kind.as_str() {
        "ValidatingAdmissionPolicy" => validating(crate::api::meta(object, "name"), spec, errors),
        "MutatingAdmissionPolicy" => mutating(spec, errors),
        "ValidatingAdmissionPolicyBinding" => {
            binding(spec, errors);
            actions(spec, errors);
        }
        "MutatingAdmissionPolicyBinding" => binding(spec, errors),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            let mut seen: Vec<&str> = vec![];
            for (index, hook) in list(object, "webhooks").iter().enumerate() {
                let path = format!("webhooks[{index}]");
                hooks::webhook(hook, &path, kind.kind == "MutatingWebhookConfiguration", errors);
                let name = text(hook, "name");
                if seen.contains(&name) {
                    errors.push(FieldError::new(
                        ErrorKind::Duplicate,
                        format!("{path}.name"),
                        name.into(),
                        "",
                    ));
                }
                seen.push(name);
            }
        }
        _ => {}
    }
}

fn failure_policy(value: &Value, path: &str, errors: &mut Errors) {
    one_of(value, "failurePolicy", &["Fail", "Ignore"], path, errors);
}

fn one_of(value: &Value, field: &str, allowed: &[&str], path: &str, errors: &mut Errors) {
    if let Some(own) = value[field].as_str().filter(|own| !allowed.contains(own)) {
        errors.push(FieldError::not_supported(
            format!("{path}.{field}"),
            own.into(),
            allowed,
        ));
    }
}

fn param_kind(spec: &Value, errors: &mut Errors) {
    let kind = &spec["paramKind"];
    if !kind.is_object() {
        return;
    }
    group_version(text(kind, "apiVersion"), "spec.paramKind.apiVersion", errors);
    let (name, at) = (text(kind, "kind"), "spec.paramKind.kind");
    let wrong = names::label_1035(&name.to_lowercase());
    if name.is_empty() {
        errors.push(required(at, ""));
    } else if !wrong.is_empty() {
        let detail = format!(
            "may have mixed case, but should otherwise match: {}",
            wrong.join(",")
        );
        errors.push(invalid(at, name, detail));
    }
}

fn group_version(given: &str, at: &str, errors: &mut Errors) {
    let (group, version) = match given.split_once('/') {
        None if given.is_empty() => {
            errors.push(required(at, ""));
            return;
        }
        Some((_, version)) if version.contains('/') => {
            let detail = format!("unexpected GroupVersion string: {given}");
            errors.push(invalid(at, given, detail));
            return;
        }
        Some(pair) => pair,
        None => ("", given),
    };
    let wrong = names::subdomain(group);
    if !group.is_empty() && !wrong.is_empty() {
        errors.push(invalid(at, group, wrong.join(",")));
    }
    let wrong = names::label_1035(version);
    if version.is_empty() {
        errors.push(invalid(at, given, "version must be specified"));
    } else if !wrong.is_empty() {
        errors.push(invalid(at, version, wrong.join(",")));
    }
}

fn constraints(spec: &Value, errors: &mut Errors) {
    let own = &spec["matchConstraints"];
    if !own.is_object() {
        errors.push(required("spec.matchConstraints", ""));
        return;
    }
    resources(own, "spec.matchConstraints", errors);
    if list(own, "resourceRules").is_empty() {
        errors.push(required("spec.matchConstraints.resourceRules", ""));
    }
}

fn resources(own: &Value, path: &str, errors: &mut Errors) {
    one_of(own, "matchPolicy", &["Equivalent", "Exact"], path, errors);
    selectors(own, path, errors);
    for field in ["resourceRules", "excludeResourceRules"] {
        for (index, one) in list(own, field).iter().enumerate() {
            let path = format!("{path}.{field}[{index}]");
            let names = list(one, "resourceNames");
            for (index, name) in names.iter().enumerate() {
                let at = format!("{path}.resourceNames[{index}]");
                let text = name.as_str().unwrap_or("");
                let wrong = names::segment(text);
                errors.extend(wrong.into_iter().map(|detail| invalid(&at, text, detail)));
                if names[..index].contains(name) {
                    errors.push(FieldError::new(ErrorKind::Duplicate, at, text.into(), ""));
                }
            }
            rules::rule(one, &path, errors);
        }
    }
}

fn selectors(own: &Value, path: &str, errors: &mut Errors) {
    for field in ["namespaceSelector", "objectSelector"] {
        crate::registry::validate::selector(&own[field], &format!("{path}.{field}"), errors);
    }
}

/// Compiles an expression and holds its type against what is wanted.
fn expression(source: &str, env: &Env, wanted: &[&str], path: &str, errors: &mut Errors) -> Type {
    match Program::compile(source, env) {
        Ok(program) => {
            let output = program.output().to_string();
            // What may be anything is not known to fit.
            let fits = wanted.is_empty() || wanted.contains(&output.as_str());
            if !fits {
                let want = match wanted {
                    ["string", "null"] => "one of [string null_type]",
                    other => other[0],
                };
                let detail = format!("must evaluate to {want} but got {output}");
                errors.push(invalid(path, source, detail));
            }
            program.output().clone()
        }
        Err(error) => {
            errors.push(invalid(path, source, format!("compilation failed: {error}")));
            Type::Dyn
        }
    }
}

fn conditions(own: &Value, path: &str, env: &Env, errors: &mut Errors) {
    let all = list(own, "matchConditions");
    if all.len() > 64 {
        errors.push(FieldError::new(
            ErrorKind::TooMany,
            format!("{path}matchConditions"),
            all.len().into(),
            "must have at most 64 items",
        ));
    }
    let mut seen: Vec<&str> = vec![];
    for (index, condition) in all.iter().enumerate() {
        let at = format!("{path}matchConditions[{index}]");
        let source = text(condition, "expression").trim();
        if source.is_empty() {
            errors.push(required(format!("{at}.expression"), ""));
        } else {
            expression(source, env, &["bool"], &format!("{at}.expression"), errors);
        }
        let name = text(condition, "name");
        if name.is_empty() {
            errors.push(required(format!("{at}.name"), ""));
        } else {
            errors.extend(
                names::qualified_name(name)
                    .into_iter()
                    .map(|detail| invalid(format!("{at}.name"), name, detail)),
            );
            if seen.contains(&name) {
                errors.push(FieldError::new(
                    ErrorKind::Duplicate,
                    format!("{at}.name"),
                    name.into(),
                    "",
                ));
            }
        }
        seen.push(name);
    }
}

/// The types of a policy's variables, if it has any.
type Variables = Option<BTreeMap<String, Type>>;

/// An environment in which there are such variables; where there are none, nothing is called so.
fn with(env: Env, variables: &Variables) -> Env {
    match variables {
        Some(types) => env.variables(types.clone()),
        None => env,
    }
}

/// The variables of a policy, for the environment in which what follows is compiled.
fn variables(spec: &Value, base: &dyn Fn() -> Env, errors: &mut Errors) -> Variables {
    let mut types = BTreeMap::new();
    for (index, variable) in list(spec, "variables").iter().enumerate() {
        let path = format!("spec.variables[{index}]");
        let name = text(variable, "name");
        if name.is_empty() {
            errors.push(required(format!("{path}.name"), "name is not specified"));
        } else if !is_identifier(name) {
            errors.push(invalid(
                format!("{path}.name"),
                name,
                "must be a valid CEL identifier",
            ));
        }
        let source = text(variable, "expression").trim();
        if source.is_empty() {
            errors.push(required(
                format!("{path}.expression"),
                "expression is not specified",
            ));
            continue;
        }
        let env = base().variables(types.clone());
        let output = expression(source, &env, &[], &format!("{path}.expression"), errors);
        types.insert(name.to_owned(), output);
    }
    (!list(spec, "variables").is_empty()).then_some(types)
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn validating(name: &str, spec: &Value, errors: &mut Errors) {
    failure_policy(spec, "spec", errors);
    param_kind(spec, errors);
    constraints(spec, errors);
    let params = spec["paramKind"].is_object();
    let base = || Env::admission(params).authorizer();
    conditions(spec, "spec.", &base(), errors);
    let known = variables(spec, &base, errors);
    let env = with(base(), &known);
    // Messages ask nobody what is allowed.
    let told = with(Env::admission(params), &known);
    let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        errors.push(required("spec.validations", detail));
        errors.push(required("spec.auditAnnotations", detail));
    }
    for (index, one) in validations.iter().enumerate() {
        validation(one, &format!("spec.validations[{index}]"), (&env, &told), errors);
    }
    for (index, one) in annotations.iter().enumerate() {
        let path = format!("spec.auditAnnotations[{index}]");
        let (at, key) = (format!("{path}.key"), format!("{name}/{}", text(one, "key")));
        let wrong = names::qualified_name(&key);
        errors.extend(wrong.into_iter().map(|detail| invalid(&at, key.as_str(), detail)));
        let source = text(one, "valueExpression").trim();
        if source.is_empty() {
            errors.push(required(
                format!("{path}.valueExpression"),
                "valueExpression is not specified",
            ));
        } else {
            let at = format!("{path}.valueExpression");
            expression(source, &env, &["string", "null"], &at, errors);
        }
    }
}

fn validation(one: &Value, path: &str, (env, told): (&Env, &Env), errors: &mut Errors) {
    let source = text(one, "expression").trim();
    if source.is_empty() {
        errors.push(required(
            format!("{path}.expression"),
            "expression is not specified",
        ));
    } else {
        expression(source, env, &["bool"], &format!("{path}.expression"), errors);
    }
    let source = text(one, "messageExpression").trim();
    if !text(one, "messageExpression").is_empty() && source.is_empty() {
        errors.push(invalid(
            format!("{path}.messageExpression"),
            text(one, "messageExpression"),
            "must be non-empty if specified",
        ));
    } else if !source.is_empty() {
        let at = format!("{path}.messageExpression");
        expression(source, told, &["string"], &at, errors);
    }
    if let Some(message) = one["message"].as_str() {
        if !message.is_empty() && message.trim().is_empty() {
            errors.push(invalid(
                format!("{path}.message"),
                message,
                "message must be non-empty if specified",
            ));
        } else if message.trim().contains('\n') {
            errors.push(invalid(
                format!("{path}.message"),
                message,
                "message must not contain line breaks",
            ));
        }
    }
    one_of(
        one,
        "reason",
        &["Forbidden", "Invalid", "RequestEntityTooLarge"],
        path,
        errors,
    );
}

fn mutating(spec: &Value, errors: &mut Errors) {
    failure_policy(spec, "spec", errors);
    param_kind(spec, errors);
    constraints(spec, errors);
    let params = spec["paramKind"].is_object();
    let base = || Env::mutation(params).authorizer();
    conditions(spec, "spec.", &base(), errors);
    let env = with(base(), &variables(spec, &base, errors));
    let mutations = list(spec, "mutations");
    if mutations.is_empty() {
        errors.push(required(
            "spec.mutations",
            "mutations must contain at least one item",
        ));
    }
    for (index, mutation) in mutations.iter().enumerate() {
        let path = format!("spec.mutations[{index}]");
        let (field, wanted) = match text(mutation, "patchType") {
            "ApplyConfiguration" => ("applyConfiguration", "Object"),
            "JSONPatch" => ("jsonPatch", "list(JSONPatch)"),
            "" => {
                errors.push(required(format!("{path}.patchType"), ""));
                continue;
            }
            other => {
                errors.push(FieldError::not_supported(
                    format!("{path}.patchType"),
                    other.into(),
                    &["ApplyConfiguration", "JSONPatch"],
                ));
                continue;
            }
        };
        let at = format!("{path}.{field}");
        if !mutation[field].is_object() {
            errors.push(required(
                at,
                &format!(
                    "must be specified when patchType is {}",
                    text(mutation, "patchType")
                ),
            ));
            continue;
        }
        let at = format!("{at}.expression");
        let source = text(&mutation[field], "expression").trim();
        if source.is_empty() {
            errors.push(required(at, ""));
        } else {
            expression(source, &env, &[wanted, "list(dyn)"], &at, errors);
        }
    }
    one_of(spec, "reinvocationPolicy", &["IfNeeded", "Never"], "spec", errors);
    if text(spec, "reinvocationPolicy").is_empty() {
        errors.push(required("spec.reinvocationPolicy", ""));
    }
}

fn binding(spec: &Value, errors: &mut Errors) {
    let name = text(spec, "policyName");
    if name.is_empty() {
        errors.push(required("spec.policyName", ""));
    } else {
        errors.extend(
            names::subdomain(name)
                .into_iter()
                .map(|detail| invalid("spec.policyName", name, detail)),
        );
    }
    let reference = &spec["paramRef"];
    if reference.is_object() {
        let (name, selector) = (text(reference, "name"), &reference["selector"]);
        let either = "one of name or selector must be specified";
        let complaints = names::segment(name).into_iter();
        errors.extend(complaints.map(|detail| invalid("spec.paramRef.name", name, detail)));
        if name.is_empty() && selector.is_null() {
            errors.push(required("spec.paramRef", either));
        } else if !name.is_empty() && !selector.is_null() {
            let detail = "name and selector are mutually exclusive";
            for field in ["name", "selector"] {
                let path = format!("spec.paramRef.{field}");
                errors.push(FieldError::plain(ErrorKind::Forbidden, path, detail));
            }
        }
        if text(reference, "parameterNotFoundAction").is_empty() {
            errors.push(required("spec.paramRef.parameterNotFoundAction", ""));
        }
        one_of(
            reference,
            "parameterNotFoundAction",
            &["Allow", "Deny"],
            "spec.paramRef",
            errors,
        );
    }
    if spec["matchResources"].is_object() {
        resources(&spec["matchResources"], "spec.matchResources", errors);
    }
}

fn actions(spec: &Value, errors: &mut Errors) {
    let path = "spec.validationActions";
    let given = list(spec, "validationActions");
    if given.is_empty() {
        errors.push(required(path, "at least one validation action is required"));
    }
    let mut seen: Vec<&str> = vec![];
    for (index, own) in given.iter().enumerate() {
        let own = own.as_str().unwrap_or("");
        if !["Audit", "Deny", "Warn"].contains(&own) {
            errors.push(FieldError::not_supported(
                format!("{path}[{index}]"),
                own.into(),
                &["Audit", "Deny", "Warn"],
            ));
        }
        if seen.contains(&own) {
            errors.push(FieldError::new(
                ErrorKind::Duplicate,
                format!("{path}[{index}]"),
                own.into(),
                "",
            ));
        }
        seen.push(own);
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                      response and headers serves no purpose)";
        errors.push(invalid(path, spec["validationActions"].clone(), detail));
    }
}

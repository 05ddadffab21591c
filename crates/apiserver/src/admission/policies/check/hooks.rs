//! What is refused of webhook configurations.

use fluvial_schema::cel::Env;
use serde_json::Value;

use super::{Errors, conditions, failure_policy, invalid, list, one_of, required, selectors, text};
use crate::crd::conversion;
use crate::names;

pub(super) fn webhook(hook: &Value, path: &str, mutating: bool, errors: &mut Errors) {
    let name = text(hook, "name");
    let wrong = names::subdomain(name);
    if name.is_empty() {
        errors.push(required(format!("{path}.name"), ""));
    } else if !wrong.is_empty() {
        errors.extend(
            wrong
                .into_iter()
                .map(|detail| invalid(format!("{path}.name"), name, detail)),
        );
    } else if name.split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        errors.push(invalid(format!("{path}.name"), name, detail));
    }
    for (index, own) in list(hook, "rules").iter().enumerate() {
        super::rules::rule(own, &format!("{path}.rules[{index}]"), errors);
    }
    failure_policy(hook, path, errors);
    one_of(hook, "matchPolicy", &["Equivalent", "Exact"], path, errors);
    if hook["sideEffects"].is_null() {
        errors.push(required(
            format!("{path}.sideEffects"),
            "must specify one of None, NoneOnDryRun",
        ));
    }
    one_of(hook, "sideEffects", &["None", "NoneOnDryRun"], path, errors);
    if let Some(seconds) = hook["timeoutSeconds"]
        .as_i64()
        .filter(|own| !(1..=30).contains(own))
    {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.push(invalid(format!("{path}.timeoutSeconds"), seconds, detail));
    }
    selectors(hook, path, errors);
    if mutating {
        one_of(hook, "reinvocationPolicy", &["IfNeeded", "Never"], path, errors);
    }
    client(&hook["clientConfig"], &format!("{path}.clientConfig"), errors);
    let env = Env::admission(false).authorizer();
    conditions(hook, &format!("{path}."), &env, errors);
    let at = format!("{path}.admissionReviewVersions");
    let versions = list(hook, "admissionReviewVersions");
    if versions.is_empty() {
        errors.push(required(at, "must specify one of v1, v1beta1"));
    } else {
        conversion::known_versions(&hook["admissionReviewVersions"], &at, errors);
    }
}

/// Where a webhook is.
fn client(config: &Value, path: &str, errors: &mut Errors) {
    let (url, service) = (config["url"].as_str(), &config["service"]);
    if url.is_some() == service.is_object() {
        errors.push(required(path, "exactly one of url or service is required"));
        return;
    }
    if let Some(url) = url {
        conversion::url(url, &format!("{path}.url"), errors);
        return;
    }
    conversion::service(service, &format!("{path}.service"), errors);
}

//! Flow control: who is told apart, what they ask for, and how many may wait.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use crate::names;

use super::common::{Errors, forbidden, go_struct, invalid, is_empty, items, named, required, text};

const VERBS: [&str; 9] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];

/// Checks a flow schema.
pub(super) fn schema(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let precedence = spec["matchingPrecedence"].as_i64().unwrap_or(0);
    let mut wrong = |detail: &str| errors.push(invalid("spec.matchingPrecedence", precedence, detail));
    if precedence <= 0 {
        wrong("must be a positive value");
    }
    if precedence > 10_000 {
        wrong("must not be greater than 10000");
    }
    if precedence == 1 && crate::api::meta(object, "name") != "exempt" {
        wrong("only the schema named 'exempt' may have matchingPrecedence 1");
    }
    let method = &spec["distinguisherMethod"];
    if method.is_object() && !matches!(text(method, "type"), "ByNamespace" | "ByUser") {
        let shown = format!("{{\"Type\":{}}}", Value::from(text(method, "type")));
        let detail = "supported values: \"ByNamespace\", \"ByUser\"";
        let path = "spec.distinguisherMethod.type";
        errors.push(go_struct(ErrorKind::NotSupported, path, &shown, detail));
    }
    let name = text(&spec["priorityLevelConfiguration"], "name");
    let path = "spec.priorityLevelConfiguration.name";
    if name.is_empty() {
        errors.push(required(path, "must reference a priority level"));
    } else {
        named(name, names::subdomain, path, errors);
    }
    for (index, rule) in items(spec, "rules") {
        rules(rule, &format!("spec.rules[{index}]"), errors);
    }
}

fn rules(rule: &Value, path: &str, errors: &mut Errors) {
    if is_empty(&rule["subjects"]) {
        errors.push(required(
            format!("{path}.subjects"),
            "subjects must contain at least one value",
        ));
    }
    for (index, one) in items(rule, "subjects") {
        subject(one, &format!("{path}.subjects[{index}]"), errors);
    }
    if is_empty(&rule["resourceRules"]) && is_empty(&rule["nonResourceRules"]) {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(required(path, detail));
    }
    for (index, one) in items(rule, "resourceRules") {
        resources(one, &format!("{path}.resourceRules[{index}]"), errors);
    }
    for (index, one) in items(rule, "nonResourceRules") {
        others(one, &format!("{path}.nonResourceRules[{index}]"), errors);
    }
}

fn subject(subject: &Value, path: &str, errors: &mut Errors) {
    const KINDS: [(&str, &str); 3] = [
        ("ServiceAccount", "serviceAccount"),
        ("User", "user"),
        ("Group", "group"),
    ];
    let kind = text(subject, "kind");
    let Some((_, field)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        let allowed = ["Group", "ServiceAccount", "User"];
        errors.push(FieldError::not_supported(
            format!("{path}.kind"),
            kind.into(),
            &allowed,
        ));
        return;
    };
    let (who, at) = (&subject[*field], format!("{path}.{field}"));
    if who.is_null() {
        errors.push(required(
            at,
            &format!("{field} is required when subject kind is '{kind}'"),
        ));
    } else {
        let name = text(who, "name");
        if name.is_empty() {
            errors.push(required(format!("{at}.name"), ""));
        } else if kind == "ServiceAccount" && name != "*" {
            named(name, names::subdomain, &format!("{at}.name"), errors);
        }
        if kind == "ServiceAccount" {
            let at = format!("{at}.namespace");
            match text(who, "namespace") {
                "" => errors.push(required(at, "must specify namespace for service account")),
                namespace => named(namespace, names::label, &at, errors),
            }
        }
    }
    // The order of the server's own checks differs with the kind.
    let others: &[&str] = match kind {
        "ServiceAccount" => &["user", "group"],
        "User" => &["serviceAccount", "group"],
        _ => &["serviceAccount", "user"],
    };
    for other in others {
        if !subject[*other].is_null() {
            let of = KINDS
                .iter()
                .find(|(_, field)| field == other)
                .map_or("", |(kind, _)| *kind);
            let detail = format!("{other} is forbidden when subject kind is not '{of}'");
            errors.push(forbidden(format!("{path}.{other}"), detail));
        }
    }
}

fn has_all(list: &Value) -> bool {
    list.as_array()
        .is_some_and(|list| list.iter().any(|item| item == "*"))
}

/// A list in which `*` stands alone; true if its items are to be looked at.
fn alone(list: &Value, path: String, what: &str, errors: &mut Errors) -> bool {
    if !has_all(list) {
        return true;
    }
    if list.as_array().is_some_and(|list| list.len() > 1) {
        let detail = format!("if '*' is present, must not specify other {what}");
        errors.push(invalid(path, list.clone(), detail));
    }
    false
}

fn verbs(rule: &Value, path: &str, errors: &mut Errors) {
    let (list, path) = (&rule["verbs"], format!("{path}.verbs"));
    if is_empty(list) {
        errors.push(required(path, "verbs must contain at least one value"));
    } else if alone(list, path.clone(), "verbs", errors) {
        let known = |verb: &Value| verb.as_str().is_some_and(|verb| VERBS.contains(&verb));
        if !list.as_array().is_some_and(|list| list.iter().all(known)) {
            errors.push(FieldError::not_supported(path, list.clone(), &VERBS));
        }
    }
}

fn resources(rule: &Value, path: &str, errors: &mut Errors) {
    verbs(rule, path, errors);
    for (field, one, many) in [
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ] {
        let (list, path) = (&rule[field], format!("{path}.{field}"));
        if is_empty(list) {
            let detail = format!("resource rules must supply at least one {one}");
            errors.push(required(path, &detail));
        } else {
            alone(list, path, many, errors);
        }
    }
    let (list, path) = (&rule["namespaces"], format!("{path}.namespaces"));
    if is_empty(list) && rule["clusterScope"] != true {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.push(required(path, detail));
    } else if alone(list, path.clone(), "namespaces", errors) {
        for (index, namespace) in list.as_array().into_iter().flatten().enumerate() {
            let namespace = namespace.as_str().unwrap_or("");
            for detail in names::label(namespace) {
                let detail = format!("each member of this list must be '*' or a DNS-1123 label; {detail}");
                errors.push(invalid(format!("{path}[{index}]"), namespace, detail));
            }
        }
    }
}

fn others(rule: &Value, path: &str, errors: &mut Errors) {
    verbs(rule, path, errors);
    let (list, path) = (&rule["nonResourceURLs"], format!("{path}.nonResourceURLs"));
    if is_empty(list) {
        errors.push(required(path, "nonResourceURLs must contain at least one value"));
    } else if alone(list, path.clone(), "non-resource URLs", errors) {
        for (index, url) in list.as_array().into_iter().flatten().enumerate() {
            let url = url.as_str().unwrap_or("");
            let stars = url.matches('*').count();
            let detail = match url {
                "" => "must not be empty",
                "/" => continue,
                _ if !url.starts_with('/') => "must start with slash",
                _ if url.contains(' ') => "must not contain white-space",
                _ if url.contains("//") => "must not contain double slash",
                _ if stars > 1 || (stars == 1 && !url.ends_with("/*")) => {
                    "wildcard can only do suffix matching"
                }
                _ => continue,
            };
            errors.push(invalid(format!("{path}[{index}]"), url, detail));
        }
    }
}

/// Checks a priority level.
pub(super) fn level(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let kind = text(spec, "type");
    if (crate::api::meta(object, "name") == "exempt") != (kind == "Exempt") {
        let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.push(invalid("spec.type", kind, detail));
    }
    match kind {
        "Exempt" => {
            if !spec["limited"].is_null() {
                errors.push(forbidden(
                    "spec.limited",
                    "must be nil if the type is not Limited",
                ));
            }
            shares(&spec["exempt"], "spec.exempt", errors);
            lendable(&spec["exempt"], "spec.exempt", errors);
        }
        "Limited" => {
            if !spec["exempt"].is_null() {
                errors.push(forbidden("spec.exempt", "must be nil if the type is Limited"));
            }
            if spec["limited"].is_null() {
                errors.push(required("spec.limited", "must not be empty when type is Limited"));
            } else {
                limited(&spec["limited"], errors);
            }
        }
        "" => errors.push(required("spec.type", "")),
        other => errors.push(FieldError::not_supported(
            "spec.type",
            other.into(),
            &["Exempt", "Limited"],
        )),
    }
}

fn shares(part: &Value, path: &str, errors: &mut Errors) {
    let own = &part["nominalConcurrencyShares"];
    if own.as_i64().is_some_and(|shares| shares < 0) {
        let path = format!("{path}.nominalConcurrencyShares");
        errors.push(invalid(path, own.clone(), "must be a non-negative integer"));
    }
}

fn lendable(part: &Value, path: &str, errors: &mut Errors) {
    let own = &part["lendablePercent"];
    if own.as_i64().is_some_and(|percent| !(0..=100).contains(&percent)) {
        let path = format!("{path}.lendablePercent");
        errors.push(invalid(path, own.clone(), "must be between 0 and 100, inclusive"));
    }
}

fn limited(part: &Value, errors: &mut Errors) {
    const PATH: &str = "spec.limited";
    shares(part, PATH, errors);
    let (response, at) = (&part["limitResponse"], "spec.limited.limitResponse");
    let waiting = &response["queuing"];
    match text(response, "type") {
        "Reject" => {
            if !waiting.is_null() {
                let detail = "must be nil if limited.limitResponse.type is not Limited";
                errors.push(forbidden(format!("{at}.queuing"), detail));
            }
        }
        "Queue" => {
            if waiting.is_null() {
                let detail = "must not be empty if limited.limitResponse.type is Limited";
                errors.push(required(format!("{at}.queuing"), detail));
            } else {
                queues(waiting, &format!("{at}.queuing"), errors);
            }
        }
        "" => errors.push(required(format!("{at}.type"), "")),
        other => errors.push(FieldError::not_supported(
            format!("{at}.type"),
            other.into(),
            &["Queue", "Reject"],
        )),
    }
    lendable(part, PATH, errors);
    let borrowed = &part["borrowingLimitPercent"];
    if borrowed.as_i64().is_some_and(|percent| percent < 0) {
        let detail = "if specified, must be a non-negative integer";
        errors.push(invalid(
            format!("{PATH}.borrowingLimitPercent"),
            borrowed.clone(),
            detail,
        ));
    }
}

fn queues(waiting: &Value, path: &str, errors: &mut Errors) {
    const MOST: i64 = 10_000_000;
    /// How many bits a hash has to deal hands from.
    const BITS: i64 = 60;
    let number = |field: &str| waiting[field].as_i64().unwrap_or(0);
    let mut wrong = |field: &str, detail: String| {
        errors.push(invalid(format!("{path}.{field}"), number(field), detail));
    };
    let positive = "must be positive".to_owned();
    let (count, hand) = (number("queues"), number("handSize"));
    if number("queueLengthLimit") <= 0 {
        wrong("queueLengthLimit", positive.clone());
    }
    if count <= 0 {
        wrong("queues", positive.clone());
    } else if count > MOST {
        wrong("queues", format!("must not be greater than {MOST}"));
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "both are below a billion"
    )]
    let needed = ((count as f64).log2() * hand as f64).ceil() as i64;
    if hand <= 0 {
        wrong("handSize", positive);
    } else if hand > count {
        wrong("handSize", format!("should not be greater than queues ({count})"));
    } else if needed > BITS {
        let detail = format!(
            "required entropy bits of deckSize {count} and handSize {hand} should not be greater than {BITS}"
        );
        wrong("handSize", detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(check: fn(&Value, &mut Errors), object: &Value) -> Vec<String> {
        let mut errors = vec![];
        check(object, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_of_a_flow_say_who_and_what() {
        let object = json!({"spec": {"matchingPrecedence": 1, "priorityLevelConfiguration": {"name": "a"}, "rules": [
            {"subjects": [{"kind": "User", "group": {"name": "g"}}],
                "resourceRules": [{"verbs": ["look"], "apiGroups": ["*", "a"], "namespaces": ["A"]}]},
            {"nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["/a*b"]}]},
        ]}});
        assert_eq!(
            texts(schema, &object),
            [
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
                "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
                "spec.rules[0].resourceRules[0].verbs: Unsupported value: [\"look\"]: supported values: \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\"",
                "spec.rules[0].resourceRules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other api groups",
                "spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource",
                "spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: \"A\": each member of this list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                "spec.rules[1].subjects: Required value: subjects must contain at least one value",
                "spec.rules[1].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"/a*b\": wildcard can only do suffix matching",
            ]
        );
    }

    #[test]
    fn hands_must_be_dealt_from_one_hash() {
        let object = |queues: i64, hand: i64| {
            json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue",
                "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 1}}}}})
        };
        assert_eq!(texts(level, &object(64, 6)), [""; 0]);
        let found = texts(level, &object(64, 11)).join("");
        assert!(
            found.ends_with(
                "required entropy bits of deckSize 64 and handSize 11 should not be greater than 60"
            ),
            "{found}"
        );
        let found = texts(level, &object(2, 3)).join("");
        assert!(
            found.ends_with("should not be greater than queues (2)"),
            "{found}"
        );
    }
}

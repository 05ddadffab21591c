//! Discovery: which groups, versions and resources there are.

use base64::Engine as _;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use super::negotiate::{Accept, Shape};
use super::response::Answer;
use crate::api::Api;
use crate::kinds::{Kind, Kinds, Subresource};
use crate::status::{Failure, Outcome};

/// `/`: all paths.
#[must_use]
pub fn root(api: &Api) -> Value {
    const FIXED: [&str; 15] = [
        "/.well-known/openid-configuration",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/",
        "/healthz",
        "/livez",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    let mut paths: Vec<String> = FIXED.map(str::to_owned).to_vec();
    for (group, versions) in api.kinds().order.iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(
            versions
                .iter()
                .map(|(version, _)| format!("/apis/{group}/{version}")),
        );
    }
    paths.extend(super::health::paths());
    paths.sort();
    json!({"paths": paths})
}

fn versions_of(group: &str, versions: &[(String, Vec<std::sync::Arc<Kind>>)]) -> Value {
    let one = |version: &str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().map(|(version, _)| one(version)).collect();
    let first = all.first().cloned().unwrap_or_default();
    json!({"name": group, "versions": all, "preferredVersion": first})
}

fn with_kind(mut value: Value, kind: &str) -> Value {
    value["kind"] = kind.into();
    value["apiVersion"] = "v1".into();
    value
}

/// The answer to a discovery path: the segments after `/api` or `/apis`.
///
/// # Errors
/// There is no such group or version.
pub fn answer(
    api: &Api,
    core: bool,
    rest: &[String],
    accept: &Accept,
    headers: &HeaderMap,
) -> Outcome<Answer> {
    let kinds = api.kinds();
    if let (Shape::Discovery(version), []) = (&accept.shape, rest) {
        return Ok(aggregated(&kinds, core, version, headers));
    }
    let value = match (core, rest) {
        (true, []) => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [
            {"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}]}),
        (false, []) => {
            let groups: Vec<Value> = kinds
                .order
                .iter()
                .filter(|(group, _)| !group.is_empty())
                .map(|(group, versions)| versions_of(group, versions))
                .collect();
            with_kind(json!({"groups": groups}), "APIGroupList")
        }
        (true, [version]) => resources(&kinds, "", version)?,
        (false, [group]) => {
            let versions = kinds.group(group).ok_or_else(Failure::no_page)?;
            with_kind(versions_of(group, versions), "APIGroup")
        }
        (false, [group, version]) => resources(&kinds, group, version)?,
        _ => return Err(Failure::no_page()),
    };
    Ok(Answer::json(200, &value))
}

fn resources(kinds: &Kinds, group: &str, version: &str) -> Outcome<Value> {
    let Some(list) = kinds.version(group, version) else {
        let builtin = kinds.group(group).is_some_and(|versions| {
            versions
                .iter()
                .flat_map(|(_, kinds)| kinds)
                .all(|kind| kind.custom.is_none())
        });
        return Err(if builtin || group.is_empty() {
            Failure::no_resource()
        } else {
            Failure::no_page()
        });
    };
    let mut shown = vec![];
    for kind in list {
        let mut entry = json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": kind.verbs});
        if !kind.short_names.is_empty() {
            entry["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            entry["categories"] = json!(kind.categories);
        }
        if kind.can("list") && kind.kind != "ComponentStatus" {
            entry["storageVersionHash"] = storage_hash(kind).into();
        }
        shown.push(entry);
        shown.extend(kind.subresources.iter().map(|sub| subresource(kind, sub)));
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let mut answer = with_kind(
        json!({"groupVersion": group_version, "resources": shown}),
        "APIResourceList",
    );
    // The first group is older than the field.
    if group_version == "v1"
        && let Some(map) = answer.as_object_mut()
    {
        map.remove("apiVersion");
    }
    Ok(answer)
}

fn subresource(kind: &Kind, sub: &Subresource) -> Value {
    let mut entry = json!({"name": format!("{}/{}", kind.plural, sub.name), "singularName": "",
        "namespaced": kind.namespaced, "kind": sub.kind, "verbs": sub.verbs});
    if !sub.version.is_empty() {
        entry["group"] = sub.group.clone().into();
        entry["version"] = sub.version.clone().into();
    }
    entry
}

/// A number that changes with the version that objects are kept in.
fn storage_hash(kind: &Kind) -> String {
    let (group, version) = match (kind.group.as_str(), kind.kind.as_str()) {
        ("autoscaling", _) => ("autoscaling", "v2"),
        ("events.k8s.io", _) => ("", "v1"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy" | "MutatingAdmissionPolicyBinding") => {
            ("admissionregistration.k8s.io", "v1beta1")
        }
        _ => (kind.group.as_str(), kind.version.as_str()),
    };
    let digest = Sha256::digest(format!("{group}/{version}/{}", kind.kind));
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

fn aggregated_resource(kind: &Kind) -> Value {
    let nothing = |name: &str| json!({"group": "", "version": "", "kind": name});
    let mut entry = json!({"resource": kind.plural, "responseKind": nothing(&kind.kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular, "verbs": kind.verbs});
    if kind.custom.is_some() {
        entry["responseKind"] = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
    }
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
    if !kind.subresources.is_empty() {
        let all: Vec<Value> = kind
            .subresources
            .iter()
            .map(|sub| {
                let response = if sub.version.is_empty() && kind.custom.is_none() {
                    nothing(&sub.kind)
                } else if sub.version.is_empty() {
                    json!({"group": kind.group, "version": kind.version, "kind": sub.kind})
                } else {
                    json!({"group": sub.group, "version": sub.version, "kind": sub.kind})
                };
                json!({"subresource": sub.name, "responseKind": response, "verbs": sub.verbs})
            })
            .collect();
        entry["subresources"] = all.into();
    }
    entry
}

fn aggregated(kinds: &Kinds, core: bool, version: &str, headers: &HeaderMap) -> Answer {
    let groups: Vec<Value> = kinds
        .order
        .iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|(version, kinds)| {
                    let all: Vec<Value> = kinds.iter().map(|kind| aggregated_resource(kind)).collect();
                    json!({"version": version, "resources": all, "freshness": "Current"})
                })
                .collect();
            let meta = if group.is_empty() {
                json!({})
            } else {
                json!({"name": group})
            };
            json!({"metadata": meta, "versions": versions})
        })
        .collect();
    let value = json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": groups});
    let media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    tagged(value.to_string(), media, headers)
}

/// Bytes with an entity tag; nothing if the client has them.
#[must_use]
pub fn tagged(text: impl Into<Bytes>, media: &'static str, headers: &HeaderMap) -> Answer {
    use std::fmt::Write as _;
    let text = text.into();
    let mut tag = String::from("\"");
    for byte in Sha512::digest(&text) {
        // Writing into a string cannot fail.
        let _written = write!(tag, "{byte:02X}");
    }
    tag.push('"');
    let known = headers.get("if-none-match").and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known == tag) {
        return Answer::bytes(304, "", "")
            .with_header("etag", tag)
            .with_header("cache-control", "public");
    }
    Answer::bytes(200, text, media)
        .with_header("etag", tag)
        .with_header("vary", "Accept")
        .with_header("cache-control", "public")
}

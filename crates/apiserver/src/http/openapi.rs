//! OpenAPI documents: made when somebody asks, from the types that requests are checked with.

mod paths;
mod protobuf;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use super::discovery::tagged;
use super::response::Answer;
use super::route::Query;
use crate::api::Api;
use crate::crd;
use crate::kinds::Kind;
use crate::status::Outcome;

const V3: &str = "#/components/schemas/";
const V2: &str = "#/definitions/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The answer to an OpenAPI path; None if the path is another.
#[must_use]
pub fn answer(api: &Api, path: &str, query: &Query, headers: &HeaderMap) -> Option<Outcome<Answer>> {
    let rest = path.strip_prefix("/openapi/")?;
    if rest == "v2" {
        return Some(Ok(second(api, headers)));
    }
    let rest = rest.strip_prefix("v3")?;
    if rest.is_empty() {
        return Some(Ok(Answer::bytes(
            200,
            index(api).to_string(),
            "text/plain; charset=utf-8",
        )));
    }
    let document = rest
        .strip_prefix('/')
        .and_then(|name| Some((name, v3(api, name)?)));
    Some(match document {
        Some((name, document)) => Ok(third(api, name, &document, query, headers)),
        None => Ok(Answer::bytes(404, "", "")),
    })
}

/// A document of the third version: who names it by its hash may keep it.
fn third(api: &Api, name: &str, document: &Value, query: &Query, headers: &HeaderMap) -> Answer {
    let accepted = headers.get("accept").and_then(|value| value.to_str().ok());
    // Whoever would rather have it as protobuf reads this as well.
    let known = |media: &str| {
        let media = media.split(';').next().unwrap_or_default().trim();
        matches!(media, "*/*" | "application/*" | "application/json")
            || media.starts_with("application/com.github.proto")
    };
    if !accepted
        .filter(|all| !all.is_empty())
        .unwrap_or("*/*")
        .split(',')
        .any(known)
    {
        return Answer::bytes(406, "", "").with_header("vary", "Accept");
    }
    let hash = hash_of(api, name);
    let tag = format!("\"{hash}\"");
    let keep = query.get("hash").filter(|own| !own.is_empty());
    if keep.is_some_and(|own| own != hash) {
        return Answer::bytes(301, "", "application/json")
            .with_header("etag", tag)
            .with_header("location", format!("/openapi/v3/{name}?hash={hash}"))
            .with_header("vary", "Accept");
    }
    let own = headers.get("if-none-match").and_then(|value| value.to_str().ok());
    let answer = match own == Some(tag.as_str()) {
        true => Answer::bytes(304, "", ""),
        false => Answer::bytes(200, document.to_string(), "application/json"),
    };
    let answer = answer.with_header("etag", tag).with_header("vary", "Accept");
    match keep {
        None => answer,
        Some(_) => answer
            .with_header("cache-control", "public, immutable")
            .with_header("expires", in_a_year(api)),
    }
}

fn in_a_year(api: &Api) -> String {
    let year = jiff::SignedDuration::from_hours(365 * 24);
    let then = (api.clock)().saturating_add(year).unwrap_or(jiff::Timestamp::MAX);
    then.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

/// The second document in the first form of those that the client names, as every real server has both.
fn second(api: &Api, headers: &HeaderMap) -> Answer {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let accepted = headers.get("accept").and_then(|value| value.to_str().ok());
    for clause in accepted.unwrap_or("*/*").split(',') {
        match clause.split(';').next().unwrap_or_default().trim() {
            "*/*" | "application/*" | "application/json" => {
                return tagged(v2(api).to_string(), "application/json", headers);
            }
            media if media.replace('@', ".") == PROTOBUF => {
                return tagged(protobuf::encode(&v2(api)), PROTOBUF, headers);
            }
            _ => {}
        }
    }
    Answer::bytes(406, "", "").with_header("vary", "Accept")
}

/// Documents of no group's version.
const ROOTS: [(&str, &str, &str); 5] = [
    (
        ".well-known/openid-configuration",
        "getServiceAccountIssuerOpenIDConfiguration",
        "",
    ),
    ("api", "getCoreAPIVersions", "APIVersions"),
    ("apis", "getAPIVersions", "APIGroupList"),
    ("openid/v1/jwks", "getServiceAccountIssuerOpenIDKeyset", ""),
    ("version", "getCodeVersion", ""),
];

/// The names of all documents.
fn index(api: &Api) -> Value {
    let mut names: BTreeSet<String> = ROOTS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    for (group, versions) in &api.kinds().order {
        for (version, kinds) in versions {
            if group.is_empty() {
                names.insert(format!("api/{version}"));
                continue;
            }
            names.insert(format!("apis/{group}/{version}"));
            if kinds.iter().any(|kind| kind.custom.is_none()) {
                names.insert(format!("apis/{group}"));
            }
        }
    }
    let paths: Map<String, Value> = names
        .into_iter()
        .map(|name| {
            let url = format!("/openapi/v3/{name}?hash={}", hash_of(api, &name));
            (name, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// The group and version that a document is of.
fn group_version(name: &str) -> Option<(&str, &str)> {
    match name.strip_prefix("apis/") {
        Some(rest) => rest.split_once('/'),
        None => name.strip_prefix("api/").map(|version| ("", version)),
    }
}

/// What a document changes with. Those of built-in kinds never change while the program runs.
fn hash_of(api: &Api, name: &str) -> String {
    let mut digest = Sha512::new()
        .chain_update(env!("CARGO_PKG_VERSION"))
        .chain_update(name);
    let kinds = api.kinds();
    let own = group_version(name).and_then(|(group, version)| kinds.version(group, version));
    for kind in own.into_iter().flatten().filter_map(|kind| kind.custom.as_ref()) {
        let stored = api.store.collection(crd::COLLECTION).get(&kind.definition);
        digest = digest.chain_update(stored.map_or(0, |stored| stored.version).to_le_bytes());
    }
    let mut hash = String::with_capacity(128);
    for byte in digest.finalize() {
        // Writing into a string cannot fail.
        let _written = write!(hash, "{byte:02X}");
    }
    hash
}

/// `com.example.group.v1.Kind`.
fn custom_name(kind: &Kind) -> String {
    let reversed: Vec<&str> = kind.group.rsplit('.').collect();
    format!("{}.{}.{}", reversed.join("."), kind.version, kind.kind)
}

fn custom_schema(api: &Api, kind: &Kind, prefix: &str) -> Option<Value> {
    let custom = kind.custom.as_ref()?;
    let definition = api
        .store
        .collection(crd::COLLECTION)
        .get(&custom.definition)?
        .value();
    let versions = definition["spec"]["versions"].as_array()?;
    let version = versions.iter().find(|version| version["name"] == *kind.version)?;
    let mut schema = version["schema"]["openAPIV3Schema"].clone();
    if schema["properties"].is_null() {
        schema["properties"] = json!({});
    }
    let fields = &mut schema["properties"];
    fields["apiVersion"] = json!({"type": "string",
        "description": "The group and version of this object, such as apps/v1."});
    fields["kind"] =
        json!({"type": "string", "description": "The kind of this object, in upper camel case."});
    fields["metadata"] = json!({"allOf": [{"$ref": format!("{prefix}{META}.ObjectMeta")}],
        "description": "The object's name, labels, annotations and what the server keeps about it."});
    int_or_string(&mut schema);
    schema["x-kubernetes-group-version-kind"] = json!([gvk(kind)]);
    Some(schema)
}

/// What is a number or a text says so in words that other tools know.
fn int_or_string(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) && !map.contains_key("anyOf")
            {
                map.insert("anyOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
            }
            map.values_mut().for_each(int_or_string);
        }
        Value::Array(items) => items.iter_mut().for_each(int_or_string),
        _ => {}
    }
}

fn gvk(kind: &Kind) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": kind.kind})
}

/// Adds the schemas that `schema` refers to.
fn close(api: &Api, schema: &Value, prefix: &str, all: &mut BTreeMap<String, Value>) {
    let mut wanted = BTreeSet::new();
    references(schema, prefix, &mut wanted);
    for name in wanted {
        if all.contains_key(&name) {
            continue;
        }
        let Some(found) = api.schemas.definition(&name) else {
            continue;
        };
        let schema = found.view().to_openapi(prefix);
        all.insert(name, schema.clone());
        close(api, &schema, prefix, all);
    }
}

fn references(value: &Value, prefix: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|text| text.strip_prefix(prefix))
            {
                out.insert(name.to_owned());
            }
            map.values().for_each(|item| references(item, prefix, out));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, prefix, out)),
        _ => {}
    }
}

fn schemas(api: &Api, kinds: &[Arc<Kind>], prefix: &str) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for kind in kinds {
        if kind.custom.is_some() {
            if let Some(schema) = custom_schema(api, kind, prefix) {
                let name = custom_name(kind);
                let list = json!({"type": "object", "required": ["items"], "properties": {
                    "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                    "items": {"type": "array", "items": {"$ref": format!("{prefix}{name}")}},
                    "metadata": {"allOf": [{"$ref": format!("{prefix}{META}.ListMeta")}]}},
                    "x-kubernetes-group-version-kind": [{"group": kind.group, "version": kind.version, "kind": kind.list_kind}]});
                close(api, &schema, prefix, &mut all);
                close(api, &list, prefix, &mut all);
                all.insert(format!("{name}List"), list);
                all.insert(name, schema);
            }
            continue;
        }
        let found = api.schemas.kind(&kind.group, &kind.version, &kind.kind);
        let Some((name, found)) = found
            .as_ref()
            .and_then(|found| Some((found.view().name()?, found)))
        else {
            continue;
        };
        for name in [name.to_owned(), format!("{name}List")] {
            let found = if name.ends_with("List") {
                api.schemas.definition(&name)
            } else {
                Some(found.clone())
            };
            if let Some(found) = found {
                let schema = found.view().to_openapi(prefix);
                close(api, &schema, prefix, &mut all);
                all.insert(name, schema);
            }
        }
    }
    if kinds.iter().any(|kind| kind.can("delete")) {
        let names = ["DeleteOptions", "Status", "Patch"];
        let options = names.map(|name| json!({"$ref": format!("{prefix}{META}.{name}")}));
        close(api, &json!(options), prefix, &mut all);
    }
    all
}

/// A document of the third version by its name.
fn v3(api: &Api, name: &str) -> Option<Value> {
    let mut found = Map::new();
    let Some((group, version)) = group_version(name) else {
        return root(api, name);
    };
    let all = api.kinds();
    let kinds = all.version(group, version)?;
    for kind in kinds {
        paths::of(api, kind, V3, &mut found);
    }
    let custom = kinds.iter().all(|kind| kind.custom.is_some());
    if !custom {
        let id = format!("get{}{}APIResources", title(group), paths::capital(version));
        let list = format!("{META}.APIResourceList");
        found.insert(
            format!("/{name}/"),
            paths::read(&id, "get available resources", Some(&list)),
        );
    }
    let mut schemas = schemas(api, kinds, V3);
    close(api, &Value::Object(found.clone()), V3, &mut schemas);
    let info = if custom {
        json!({"title": "Kubernetes CRD Swagger", "version": "v0.1.0"})
    } else {
        json!({"title": "Kubernetes", "version": "1.36"})
    };
    let mut components = json!({"schemas": schemas});
    if !custom {
        components["securitySchemes"] = security();
    }
    Some(json!({"openapi": "3.0.0", "info": info, "paths": found, "components": components}))
}

fn security() -> Value {
    json!({"BearerToken": {"type": "apiKey", "description": "Bearer Token authentication", "name": "authorization",
        "in": "header"}})
}

fn title(group: &str) -> String {
    match group {
        "" => "Core".to_owned(),
        _ => group.split(['.', '-']).map(paths::capital).collect(),
    }
}

/// The document of a path above all versions.
fn root(api: &Api, name: &str) -> Option<Value> {
    let (id, kind) = match name.strip_prefix("apis/") {
        Some(group) => {
            let kinds = api.kinds();
            let own = kinds.group(group)?;
            let mut kinds = own.iter().flat_map(|(_, kinds)| kinds);
            kinds.find(|kind| kind.custom.is_none())?;
            (format!("get{}APIGroup", title(group)), "APIGroup")
        }
        None => {
            let (_, id, kind) = ROOTS.iter().find(|(own, ..)| *own == name)?;
            ((*id).to_owned(), *kind)
        }
    };
    let full = match (name, kind) {
        ("version", _) => Some("io.k8s.apimachinery.pkg.version.Info".to_owned()),
        (_, "") => None,
        (_, kind) => Some(format!("{META}.{kind}")),
    };
    let path = paths::read(&id, "get information about this path", full.as_deref());
    let mut schemas = BTreeMap::new();
    close(api, &path, V3, &mut schemas);
    let mut components = json!({"securitySchemes": security()});
    if !schemas.is_empty() {
        components["schemas"] = json!(schemas);
    }
    Some(
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "1.36"},
        "paths": {format!("/{name}/"): path}, "components": components}),
    )
}

fn v2(api: &Api) -> Value {
    let all: Vec<Arc<Kind>> = api.kinds().all().cloned().collect();
    let mut found = Map::new();
    for kind in &all {
        paths::of(api, kind, V2, &mut found);
    }
    let mut definitions = json!(schemas(api, &all, V2));
    flatten(&mut definitions);
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "1.36"}, "paths": found,
        "definitions": definitions, "parameters": {},
        "securityDefinitions": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        "security": [{"BearerToken": []}]})
}

/// Version 2 knows neither `oneOf` nor defaults beside references.
fn flatten(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("oneOf");
            let inner = match map.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
                Some([one]) => one.get("$ref").cloned(),
                _ => None,
            };
            if let Some(reference) = inner {
                map.remove("allOf");
                map.remove("default");
                map.insert("$ref".to_owned(), reference);
            }
            map.values_mut().for_each(flatten);
        }
        Value::Array(items) => items.iter_mut().for_each(flatten),
        _ => {}
    }
}

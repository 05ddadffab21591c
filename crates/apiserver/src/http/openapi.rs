//! OpenAPI documents: made when somebody asks, from the types that requests are checked with.

mod protobuf;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::HeaderMap;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::discovery::tagged;
use super::response::Answer;
use crate::api::Api;
use crate::crd;
use crate::kinds::Kind;
use crate::status::{Failure, Outcome};

const V3: &str = "#/components/schemas/";
const V2: &str = "#/definitions/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The answer to an OpenAPI path; None if the path is another.
#[must_use]
pub fn answer(api: &Api, path: &str, headers: &HeaderMap) -> Option<Outcome<Answer>> {
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
    let rest = rest.trim_matches('/');
    let group_version = match rest.strip_prefix("apis/") {
        Some(rest) => rest.split_once('/'),
        None => rest.strip_prefix("api/").map(|version| ("", version)),
    };
    let document = group_version.and_then(|(group, version)| v3(api, group, version));
    Some(match document {
        Some(document) => Ok(tagged(document.to_string(), "application/json", headers)),
        None => Err(Failure {
            plain: true,
            ..Failure::new(404, "", "")
        }),
    })
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

fn index(api: &Api) -> Value {
    let mut paths = Map::new();
    for (group, versions) in &api.kinds().order {
        for (version, kinds) in versions {
            let path = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            // The documents of built-in kinds never change while the program runs.
            let mut digest = Sha256::new()
                .chain_update(env!("CARGO_PKG_VERSION"))
                .chain_update(&path);
            for kind in kinds.iter().filter_map(|kind| kind.custom.as_ref()) {
                let stored = api.store.collection(crd::COLLECTION).get(&kind.definition);
                digest = digest.chain_update(stored.map_or(0, |stored| stored.version).to_le_bytes());
            }
            let hash: String = digest
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02X}"))
                .collect();
            let url = format!("/openapi/v3/{path}?hash={hash}");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
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
    let options = json!([{"$ref": format!("{prefix}{META}.DeleteOptions")}, {"$ref": format!("{prefix}{META}.Status")},
        {"$ref": format!("{prefix}{META}.Patch")}]);
    close(api, &options, prefix, &mut all);
    all
}

fn parameters(verb: &str, v2: bool) -> Value {
    let names: &[(&str, &str)] = match verb {
        "list" => &[
            ("labelSelector", "string"),
            ("fieldSelector", "string"),
            ("limit", "integer"),
            ("continue", "string"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
            ("allowWatchBookmarks", "boolean"),
            ("sendInitialEvents", "boolean"),
        ],
        "get" => &[("pretty", "string")],
        "delete" => &[
            ("dryRun", "string"),
            ("gracePeriodSeconds", "integer"),
            ("orphanDependents", "boolean"),
            ("propagationPolicy", "string"),
        ],
        "patch" => &[
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
            ("force", "boolean"),
        ],
        _ => &[
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
        ],
    };
    names
        .iter()
        .map(|(name, kind)| {
            if v2 {
                json!({"name": name, "in": "query", "type": kind, "uniqueItems": true})
            } else {
                json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
            }
        })
        .collect()
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}

/// Forms of a patch.
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

fn operation(kind: &Kind, verb: &str, place: &str, name: &str, prefix: &str) -> Value {
    let (action, about) = match verb {
        "create" => ("post", "create"),
        "update" => ("put", "replace"),
        "list" => ("list", "list"),
        "deletecollection" => ("deletecollection", "deleteCollection"),
        other => (other, if other == "get" { "read" } else { other }),
    };
    let group: String = kind.group.split(['.', '-']).map(capital).collect();
    let group = if group.is_empty() {
        "Core".to_owned()
    } else {
        group
    };
    let id = format!("{about}{group}{}{place}{}", capital(&kind.version), kind.kind);
    let v2 = prefix == V2;
    let shown = if verb == "list" {
        format!("{name}List")
    } else {
        name.to_owned()
    };
    let schema = json!({"$ref": format!("{prefix}{shown}")});
    let ok = if v2 {
        json!({"description": "OK", "schema": schema})
    } else {
        json!({"description": "OK", "content": {"application/json": {"schema": schema}}})
    };
    let mut operation = json!({"operationId": id, "parameters": parameters(verb, v2),
        "responses": {"200": ok, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(kind)});
    if v2 {
        operation["produces"] = json!(["application/json", "application/yaml"]);
        operation["consumes"] = json!(["*/*"]);
    }
    if matches!(verb, "create" | "update" | "patch") {
        let body = json!({"$ref": format!("{prefix}{}", if verb == "patch" { format!("{META}.Patch") } else { name.to_owned() })});
        if v2 {
            if let Some(list) = operation["parameters"].as_array_mut() {
                list.push(json!({"name": "body", "in": "body", "required": true, "schema": body}));
            }
        } else {
            let media: &[&str] = match verb {
                // kubectl takes the last one wherever it is offered; no custom kind can be patched so.
                "patch" if kind.custom.is_some() => &PATCHES[..3],
                "patch" => &PATCHES,
                _ => &["application/json", "application/yaml"],
            };
            let content: Map<String, Value> = media
                .iter()
                .map(|media| ((*media).to_owned(), json!({"schema": body})))
                .collect();
            operation["requestBody"] = json!({"required": true, "content": content});
        }
    }
    operation
}

fn paths(api: &Api, kind: &Kind, prefix: &str, out: &mut Map<String, Value>) {
    let name = if kind.custom.is_some() {
        custom_name(kind)
    } else {
        let found = api.schemas.kind(&kind.group, &kind.version, &kind.kind);
        found
            .as_ref()
            .and_then(|found| found.view().name())
            .unwrap_or("")
            .to_owned()
    };
    let root = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    let (base, place) = if kind.namespaced {
        (
            format!("{root}/namespaces/{{namespace}}/{}", kind.plural),
            "Namespaced",
        )
    } else {
        (format!("{root}/{}", kind.plural), "")
    };
    let mut put = |path: String, verbs: &[(&str, &str)], place: &str, all: &[String]| {
        let mut item = Map::new();
        for (method, verb) in verbs.iter().filter(|(_, verb)| all.iter().any(|own| own == verb)) {
            item.insert((*method).to_owned(), operation(kind, verb, place, &name, prefix));
        }
        if !item.is_empty() {
            out.insert(path, Value::Object(item));
        }
    };
    let many = [
        ("get", "list"),
        ("post", "create"),
        ("delete", "deletecollection"),
    ];
    let single = [
        ("get", "get"),
        ("put", "update"),
        ("patch", "patch"),
        ("delete", "delete"),
    ];
    put(base.clone(), &many, place, &kind.verbs);
    put(format!("{base}/{{name}}"), &single, place, &kind.verbs);
    if kind.namespaced {
        put(
            format!("{root}/{}", kind.plural),
            &[("get", "list")],
            "",
            &kind.verbs,
        );
    }
    for sub in kind.subresources.iter().filter(|sub| sub.kind == kind.kind) {
        put(
            format!("{base}/{{name}}/{}", sub.name),
            &single,
            place,
            &sub.verbs,
        );
    }
}

fn v3(api: &Api, group: &str, version: &str) -> Option<Value> {
    let all = api.kinds();
    let kinds = all.version(group, version)?;
    let mut found = Map::new();
    for kind in kinds {
        paths(api, kind, V3, &mut found);
    }
    let custom = kinds.iter().all(|kind| kind.custom.is_some());
    let info = if custom {
        json!({"title": "Kubernetes CRD Swagger", "version": "v0.1.0"})
    } else {
        json!({"title": "Kubernetes", "version": "v1.36.3"})
    };
    Some(
        json!({"openapi": "3.0.0", "info": info, "paths": found, "components": {"schemas": schemas(api, kinds, V3)}}),
    )
}

fn v2(api: &Api) -> Value {
    let all: Vec<Arc<Kind>> = api.kinds().all().cloned().collect();
    let mut found = Map::new();
    for kind in &all {
        paths(api, kind, V2, &mut found);
    }
    let mut definitions = json!(schemas(api, &all, V2));
    flatten(&mut definitions);
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.36.3"}, "paths": found,
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

//! What can be done at which path, as OpenAPI says it.

use serde_json::{Map, Value, json};

use super::{META, V2, custom_name, gvk};
use crate::api::Api;
use crate::kinds::{Kind, Subresource};

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

pub(super) fn capital(text: &str) -> String {
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

/// Adds the paths of a kind.
pub(super) fn of(api: &Api, kind: &Kind, prefix: &str, out: &mut Map<String, Value>) {
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
    if prefix == super::V3 {
        for sub in kind.subresources.iter().filter(|sub| sub.kind != kind.kind) {
            let path = format!("{base}/{{name}}/{}", sub.name);
            out.insert(path.clone(), other(api, kind, sub, place));
            if sub.name == "proxy" {
                out.insert(format!("{path}/{{path}}"), other(api, kind, sub, place));
            }
        }
        if kind.custom.is_none() && kind.can("watch") {
            watched(kind, &root, out);
        }
    }
}

/// What has neither parameters nor forms worth telling.
fn plain(action: &str, id: &str, kind: &Value, name: Option<&str>) -> Value {
    let schema = match name {
        Some(name) => json!({"$ref": format!("{}{name}", super::V3)}),
        None => json!({"type": "string"}),
    };
    let media = if name.is_some() { "application/json" } else { "*/*" };
    json!({"operationId": id, "responses": {"200": {"description": "OK", "content": {media: {"schema": schema}}},
        "401": {"description": "Unauthorized"}}, "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind})
}

/// A subresource of another kind.
fn other(api: &Api, kind: &Kind, sub: &Subresource, place: &str) -> Value {
    let (group, version) = match sub.version.is_empty() {
        true => (&kind.group, &kind.version),
        false => (&sub.group, &sub.version),
    };
    let gvk = json!({"group": group, "version": version, "kind": sub.kind});
    let found = api.schemas.kind(group, version, &sub.kind);
    let connects = matches!(
        sub.name.as_str(),
        "attach" | "exec" | "log" | "portforward" | "proxy"
    );
    let name = found
        .as_ref()
        .and_then(|found| found.view().name())
        .filter(|_| !connects);
    let mut item = Map::new();
    let methods: &[(&str, &str)] = &[
        ("get", "get"),
        ("post", "create"),
        ("put", "update"),
        ("patch", "patch"),
        ("delete", "delete"),
    ];
    for (method, verb) in methods {
        if sub.verbs.iter().any(|own| own == verb) {
            let action = match (connects, sub.name.as_str(), *verb) {
                (true, name, _) if name != "log" => "connect",
                (_, _, "create") => "post",
                (_, _, "update") => "put",
                (_, _, verb) => verb,
            };
            let id = format!("{verb}{place}{}{}", kind.kind, capital(&sub.name));
            item.insert((*method).to_owned(), plain(action, &id, &gvk, name));
        }
    }
    if sub.name == "proxy" {
        for method in ["head", "options"] {
            let id = format!("{method}{place}{}Proxy", kind.kind);
            item.insert(method.to_owned(), plain("connect", &id, &gvk, None));
        }
    }
    Value::Object(item)
}

/// The old paths of watches.
fn watched(kind: &Kind, root: &str, out: &mut Map<String, Value>) {
    let event = format!("{META}.WatchEvent");
    let mut put = |path: String, action: &str, place: &str| {
        let id = format!("{action}{place}{}", kind.kind);
        out.insert(path, json!({"get": plain(action, &id, &gvk(kind), Some(&event))}));
    };
    let plural = &kind.plural;
    put(format!("{root}/watch/{plural}"), "watchlist", "");
    if kind.namespaced {
        let base = format!("{root}/watch/namespaces/{{namespace}}/{plural}");
        put(format!("{base}/{{name}}"), "watch", "Namespaced");
        put(base, "watchlist", "Namespaced");
    } else {
        put(format!("{root}/watch/{plural}/{{name}}"), "watch", "");
    }
}

/// A path that is read alone.
pub(super) fn read(id: &str, about: &str, kind: Option<&str>) -> Value {
    let schema = match kind {
        Some(kind) => json!({"$ref": format!("{}{kind}", super::V3)}),
        None => json!({"type": "string"}),
    };
    json!({"get": {"description": about, "operationId": id, "responses": {
        "200": {"description": "OK", "content": {"application/json": {"schema": schema}}},
        "401": {"description": "Unauthorized"}}}})
}

//! Definitions of several versions: who owns what of an object that is written in all of them.

use serde_json::{Value, json};

use crate::hooks::Cluster;

const WIDGETS: &str = "/apis/example.com/VERSION/namespaces/default/widgets/w";

fn path(version: &str, rest: &str) -> String {
    format!("{}{rest}", WIDGETS.replace("VERSION", version))
}

fn version(name: &str, number: &str) -> Value {
    let number_type = json!({"type": "integer"});
    json!({"name": name, "served": true, "storage": name == "v1", "schema": {"openAPIV3Schema": {"type": "object",
        "properties": {"spec": {"type": "object", "properties": {"replicas": number_type, "count": number_type}},
            "status": {"type": "object", "properties": {"replicas": number_type}}}}},
        "subresources": {"scale": {"specReplicasPath": number, "statusReplicasPath": ".status.replicas"}}})
}

async fn started() -> Cluster {
    let cluster = Cluster::start();
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [version("v1", ".spec.replicas"), version("v2", ".spec.count")]}});
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    cluster.create(definitions, definition).await;
    cluster
}

fn applied(version: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})
}

fn managers(object: &Value) -> Vec<(&str, &Value)> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let mut all: Vec<_> = entries
        .iter()
        .map(|entry| (entry["manager"].as_str().unwrap(), &entry["fieldsV1"]))
        .collect();
    all.sort_by_key(|(manager, _)| *manager);
    all
}

#[tokio::test]
async fn a_scale_keeps_the_managers_of_all_versions() {
    let cluster = started().await;
    let one = applied("v1", &json!({"replicas": 1, "count": 1}));
    let (status, _, made) = cluster
        .send("PATCH", &path("v1", "?fieldManager=one"), &one)
        .await;
    assert_eq!(status, 201, "{made}");
    let two = applied("v2", &json!({"replicas": 1}));
    let (status, _, made) = cluster
        .send("PATCH", &path("v2", "?fieldManager=two"), &two)
        .await;
    assert_eq!(status, 200, "{made}");

    let scale = |number: i64| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "w", "namespace": "default"},
            "spec": {"replicas": number}})
    };
    let (status, _, scaled) = cluster
        .send("PUT", &path("v2", "/scale?fieldManager=hpa"), &scale(5))
        .await;
    assert_eq!(
        (status, &scaled["spec"]["replicas"]),
        (200, &json!(5)),
        "{scaled}"
    );
    let (_, _, object) = cluster.send("GET", &path("v1", ""), &Value::Null).await;
    let (replicas, count) = (
        json!({"f:spec": {"f:replicas": {}}}),
        json!({"f:spec": {"f:count": {}}}),
    );
    // Each owns the number of its own version until another scales; all else that they own is left to them.
    let left = [("hpa", &count), ("one", &count), ("two", &replicas)];
    assert_eq!(managers(&object), left, "{object}");

    let other = path("v1", "/scale?fieldManager=other&force=true");
    let (status, _, refused) = cluster.send("PATCH", &other, &scale(7)).await;
    let why = "failed to convert new object (default/w; autoscaling/v1, Kind=Scale) to proper version: \
               request to convert CR to an invalid group/version: autoscaling/v1";
    assert_eq!(
        (status, refused["message"].as_str()),
        (500, Some(why)),
        "{refused}"
    );
}

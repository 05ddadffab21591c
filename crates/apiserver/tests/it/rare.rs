//! What is particular to kinds: which are made by an update, how often they look at metadata, what their tables show.

use serde_json::{Value, json};

use crate::hooks::Cluster;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn named(version: &str, kind: &str, name: &str, more: &Value) -> Value {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    for (field, value) in more.as_object().unwrap() {
        object[field.as_str()] = value.clone();
    }
    object
}

#[tokio::test]
async fn updates_make_objects_of_some_kinds_that_are_missing() {
    let cluster = Cluster::start();
    let lease = named(
        "coordination.k8s.io/v1",
        "Lease",
        "x",
        &json!({"spec": {"holderIdentity": "h"}}),
    );
    let (status, _, made) = cluster.send("PUT", &format!("{LEASES}/x"), &lease).await;
    assert_eq!((status, &made["spec"]["holderIdentity"]), (201, &json!("h")));
    assert_eq!(made["metadata"]["managedFields"][0]["operation"], "Update");
    let map = named("v1", "ConfigMap", "x", &json!({}));
    assert_eq!(cluster.send("PUT", &format!("{MAPS}/x"), &map).await.0, 404);
}

#[tokio::test]
async fn names_that_are_taken_are_told_otherwise_where_the_server_may_choose() {
    let cluster = Cluster::start();
    let mut map = named("v1", "ConfigMap", "x", &json!({}));
    cluster.create(MAPS, map.clone()).await;
    let (_, _, answer) = cluster.create(MAPS, map.clone()).await;
    assert_eq!(answer["message"], "configmaps \"x\" already exists");
    map["metadata"]["generateName"] = "x-".into();
    let (status, _, answer) = cluster.create(MAPS, map).await;
    let wanted =
        "configmaps \"x\" already exists, the server was not able to generate a unique name for the object";
    assert_eq!((status, &answer["message"]), (409, &json!(wanted)));
    assert_eq!(answer["details"]["retryAfterSeconds"], 1);
}

#[tokio::test]
async fn bad_labels_of_an_update_are_reported_by_each_look_of_the_kind() {
    let cluster = Cluster::start();
    let selector = json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}});
    let cases = [
        (MAPS, named("v1", "ConfigMap", "x", &json!({})), 4),
        (
            "/api/v1/namespaces/default/services",
            named("v1", "Service", "x", &json!({"spec": {"ports": [{"port": 80}]}})),
            3,
        ),
        (
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            named("policy/v1", "PodDisruptionBudget", "x", &selector),
            2,
        ),
        (
            "/apis/storage.k8s.io/v1/csinodes",
            named(
                "storage.k8s.io/v1",
                "CSINode",
                "x",
                &json!({"spec": {"drivers": []}}),
            ),
            3,
        ),
    ];
    for (path, mut object, looks) in cases {
        let (status, _, made) = cluster.create(path, object.clone()).await;
        assert_eq!(status, 201, "{made}");
        object["metadata"] = made["metadata"].clone();
        object["metadata"]["labels"] = json!({"not good": "x"});
        let (status, _, answer) = cluster.send("PUT", &format!("{path}/x"), &object).await;
        assert_eq!(status, 422, "{answer}");
        assert_eq!(
            answer["details"]["causes"].as_array().unwrap().len(),
            looks,
            "{path}"
        );
    }
}

#[tokio::test]
async fn options_of_a_deletion_have_types() {
    let cluster = Cluster::start();
    cluster
        .create(MAPS, named("v1", "ConfigMap", "x", &json!({})))
        .await;
    let path = format!("{MAPS}/x");
    for (options, wanted) in [
        (
            json!({"gracePeriodSeconds": "x"}),
            "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
        ),
        (
            json!({"kind": "Foo"}),
            "no kind \"Foo\" is registered for version \"meta.k8s.io/v1\" in scheme \"pkg/runtime/scheme.go:111\"",
        ),
    ] {
        let (status, _, answer) = cluster.send("DELETE", &path, &options).await;
        assert_eq!((status, &answer["message"]), (400, &json!(wanted)));
    }
}

#[tokio::test]
async fn flow_schemas_say_whether_their_level_exists() {
    let cluster = Cluster::start();
    let path = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
    let spec = json!({"spec": {"priorityLevelConfiguration": {"name": "nowhere"}}});
    let flow = named("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", "x", &spec);
    assert_eq!(cluster.create(path, flow).await.0, 201);
    for _ in 0..500 {
        let (_, _, flow) = cluster.send("GET", &format!("{path}/x"), &Value::Null).await;
        let told = &flow["status"]["conditions"][0];
        if told["type"] == "Dangling" {
            assert_eq!(
                (&told["status"], &told["reason"]),
                (&json!("True"), &json!("NotFound"))
            );
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nothing is said of it");
}

#[tokio::test]
async fn an_empty_list_of_managers_forgets_them() {
    let cluster = Cluster::start();
    let mut map = named("v1", "ConfigMap", "x", &json!({"data": {"a": "b"}}));
    let (_, _, made) = cluster.create(MAPS, map.clone()).await;
    assert_eq!(made["metadata"]["managedFields"].as_array().unwrap().len(), 1);
    map["metadata"]["managedFields"] = json!([]);
    let (status, _, changed) = cluster.send("PUT", &format!("{MAPS}/x"), &map).await;
    assert_eq!(
        (status, &changed["metadata"]["managedFields"]),
        (200, &Value::Null)
    );
}

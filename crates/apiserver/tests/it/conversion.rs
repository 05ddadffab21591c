//! Custom resources in several versions, converted by a webhook over HTTPS.

use std::sync::atomic::{AtomicUsize, Ordering};

use fluvial_apiserver::User;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::hooks::{Cluster, webhook};

static ASKED: AtomicUsize = AtomicUsize::new(0);

/// `v1` has `spec.host` as `name:port`, `v2` has both apart.
fn convert(review: &Value) -> Value {
    ASKED.fetch_add(1, Ordering::SeqCst);
    let request = &review["request"];
    let desired = request["desiredAPIVersion"].as_str().unwrap();
    let mut failure = None;
    let objects = request["objects"].as_array().unwrap().iter().map(|object| {
        let mut object = object.clone();
        object["apiVersion"] = desired.into();
        let spec = object["spec"].clone();
        if desired.ends_with("/v2") {
            let (host, port) = spec["host"].as_str().unwrap().split_once(':').unwrap_or(("", ""));
            if host.is_empty() {
                failure = Some("a host needs a name and a port");
            }
            object["spec"] = json!({"name": host, "port": port, "extra": "unknown to the schema"});
        } else {
            let text = |field: &str| spec[field].as_str().unwrap();
            object["spec"] = json!({"host": format!("{}:{}", text("name"), text("port"))});
            object["metadata"]["labels"] = json!({"port": text("port")});
            object["metadata"]["generation"] = 99.into();
        }
        object
    });
    let objects: Vec<Value> = objects.collect();
    let result = match failure {
        None => json!({"status": "Success"}),
        Some(message) => json!({"status": "Failed", "message": message}),
    };
    json!({"kind": "ConversionReview", "apiVersion": review["apiVersion"],
        "response": {"uid": request["uid"], "result": result, "convertedObjects": objects}})
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const V1: &str = "/apis/example.com/v1/namespaces/default/hosts";
const V2: &str = "/apis/example.com/v2/namespaces/default/hosts";

fn definition(client: &Value, storage: &str) -> Value {
    let version = |name: &str, fields: Value| {
        json!({"name": name, "served": true, "storage": name == storage, "schema": {"openAPIV3Schema":
            {"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}}})
    };
    let text = json!({"type": "string"});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "hosts.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "hosts", "kind": "Host"},
            "versions": [version("v1", json!({"host": text})), version("v2", json!({"name": text, "port": text}))],
            "conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
                "clientConfig": client}}}})
}

fn host(version: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Host", "metadata": {"name": name}, "spec": spec})
}

/// The first `count` events of a watch.
async fn watched(cluster: &Cluster, path: &str, count: usize) -> Vec<Value> {
    let mut request = http::Request::get(path)
        .body(Full::new(bytes::Bytes::new()))
        .unwrap();
    request.extensions_mut().insert(User::admin());
    let Ok(response) = cluster.0.service().oneshot(request).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut text = Vec::new();
    while text.iter().filter(|byte| **byte == b'\n').count() < count {
        let frame = body.frame().await.expect("the watch goes on");
        let Ok(frame) = frame;
        text.extend_from_slice(&frame.into_data().unwrap());
    }
    let lines = text.split(|byte| *byte == b'\n').take(count);
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test]
async fn every_version_shows_what_a_webhook_makes_of_the_stored_one() {
    let (url, bundle) = webhook(convert).await;
    let cluster = Cluster::start();
    let client = json!({"url": url, "caBundle": bundle});
    let (status, _, made) = cluster.create(DEFINITIONS, definition(&client, "v1")).await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    // Written in the version that is kept: nobody is asked.
    let (status, _, made) = cluster
        .create(V1, host("v1", "a", &json!({"host": "x:80"})))
        .await;
    assert_eq!((status, ASKED.load(Ordering::SeqCst)), (201, 0), "{made}");
    let (_, _, seen) = cluster.send("GET", &format!("{V2}/a"), &Value::Null).await;
    assert_eq!(seen["apiVersion"], "example.com/v2");
    assert_eq!(seen["spec"], json!({"name": "x", "port": "80"}));
    assert_eq!(seen["metadata"]["generation"], 1);
    // Written in the other: it is kept converted, and the answer is what was kept, converted back.
    let (status, _, made) = cluster
        .create(V2, host("v2", "b", &json!({"name": "y", "port": "81"})))
        .await;
    assert_eq!((status, &made["spec"]["port"]), (201, &json!("81")), "{made}");
    let (_, _, list) = cluster.send("GET", V1, &Value::Null).await;
    let hosts = list["items"].as_array().unwrap().iter();
    let hosts: Vec<&Value> = hosts.map(|item| &item["spec"]["host"]).collect();
    assert_eq!(hosts, ["x:80", "y:81"]);
    assert_eq!(list["items"][1]["metadata"]["labels"], json!({"port": "81"}));
    // Applied in one version, seen by watches in both; a second watch asks for nothing new.
    let applied = host("v2", "b", &json!({"port": "82"}));
    let path = format!("{V2}/b?fieldManager=me&force=true");
    let (status, _, made) = cluster.send("PATCH", &path, &applied).await;
    assert_eq!(
        (status, &made["spec"]),
        (200, &json!({"name": "y", "port": "82"})),
        "{made}"
    );
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    let first = list["metadata"]["resourceVersion"].as_str().unwrap();
    let at = |base: &str| format!("{base}?watch=true&resourceVersion={first}");
    let events = watched(&cluster, &at(V1), 1).await;
    assert_eq!(events[0]["object"]["spec"]["host"], "y:82");
    assert_eq!(events[0]["object"]["metadata"]["resourceVersion"], version);
    let events = watched(&cluster, &at(V2), 1).await;
    assert_eq!(events[0]["object"]["spec"], json!({"name": "y", "port": "82"}));
    let before = ASKED.load(Ordering::SeqCst);
    watched(&cluster, &at(V2), 1).await;
    assert_eq!(ASKED.load(Ordering::SeqCst), before);
    // The other version is kept from now on: what is there moves with its next write, even one that changes nothing.
    let (_, _, mut live) = cluster
        .send("GET", &format!("{DEFINITIONS}/hosts.example.com"), &Value::Null)
        .await;
    for item in live["spec"]["versions"].as_array_mut().unwrap() {
        item["storage"] = (item["name"] == "v2").into();
    }
    let path = format!("{DEFINITIONS}/hosts.example.com");
    let (status, _, live) = cluster.send("PUT", &path, &live).await;
    assert_eq!(
        (status, &live["status"]["storedVersions"]),
        (200, &json!(["v1", "v2"]))
    );
    let form = |name: &str| {
        let found = cluster
            .0
            .api()
            .store
            .collection("hosts.example.com")
            .get(&format!("default/{name}"));
        found.unwrap().form.clone().unwrap().to_string()
    };
    assert_eq!(form("a"), "example.com/v1");
    let (_, _, same) = cluster.send("GET", &format!("{V1}/a"), &Value::Null).await;
    let (status, _, again) = cluster.send("PUT", &format!("{V1}/a"), &same).await;
    assert_eq!((status, &again["spec"]["host"]), (200, &json!("x:80")), "{again}");
    assert_eq!(form("a"), "example.com/v2");
    // What the webhook refuses is refused, in its words.
    let (status, _, answer) = cluster
        .create(V1, host("v1", "c", &json!({"host": "nothing"})))
        .await;
    let message = "conversion webhook for example.com/v1, Kind=Host failed: a host needs a name and a port";
    assert_eq!((status, &answer["message"]), (500, &json!(message)));
    let (status, _, _) = cluster.send("DELETE", &format!("{V1}/b"), &Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(cluster.send("GET", &format!("{V2}/b"), &Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_conversion_that_cannot_be_asked_for_fails_what_needs_it_alone() {
    let cluster = Cluster::start();
    let service = json!({"service": {"namespace": "default", "name": "gone", "path": "/convert"}});
    cluster.create(DEFINITIONS, definition(&service, "v1")).await;
    let (status, ..) = cluster
        .create(V1, host("v1", "a", &json!({"host": "x:80"})))
        .await;
    assert_eq!(status, 201);
    assert_eq!(cluster.send("GET", V1, &Value::Null).await.0, 200);
    let (status, _, answer) = cluster.send("GET", &format!("{V2}/a"), &Value::Null).await;
    let message = "conversion webhook for example.com/v1, Kind=Host failed: Post \
                   \"https://gone.default.svc:443/convert?timeout=30s\": service \"gone\" not found";
    assert_eq!((status, &answer["message"]), (500, &json!(message)));
    // Controllers delete what nobody can convert.
    let (status, ..) = cluster
        .send(
            "DELETE",
            &format!("{DEFINITIONS}/hosts.example.com"),
            &Value::Null,
        )
        .await;
    assert_eq!(status, 200);
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if cluster.0.api().store.collection("hosts.example.com").is_empty() {
            return;
        }
    }
    let (_, _, left) = cluster
        .send("GET", &format!("{DEFINITIONS}/hosts.example.com"), &Value::Null)
        .await;
    let (_, _, objects) = cluster.send("GET", V1, &Value::Null).await;
    panic!("the objects are still there: {left} {objects}");
}

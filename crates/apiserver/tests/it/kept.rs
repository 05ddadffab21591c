//! Nobody is told of a write that is not on the disk yet, neither who reads nor who watches: a crash could take it back.

use std::time::Duration;

use bytes::Bytes;
use fluvial_apiserver::api::Features;
use fluvial_apiserver::{ApiServer, Config, User};
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

const SPACES: &str = "/api/v1/namespaces";
/// Longer than an answer from memory takes; what is told too early is told before.
const MOMENT: Duration = Duration::from_millis(200);

fn request(method: &str, path: &str, body: &Value) -> http::Request<Full<Bytes>> {
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    request
        .extensions_mut()
        .insert(User::new("admin", &["system:masters"]));
    request
}

#[tokio::test]
async fn a_write_is_told_of_once_it_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let server = ApiServer::new(Config {
        data: Some(folder.path().into()),
        features: Features {
            controllers: false,
            workloads: false,
        },
        ..Config::default()
    })
    .unwrap();
    let send = |method: &str, path: &str, body: Value| server.service().oneshot(request(method, path, &body));
    let list = send("GET", SPACES, json!({})).await.unwrap();
    let list: Value = serde_json::from_slice(&list.into_body().collect().await.unwrap().to_bytes()).unwrap();
    let since = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{SPACES}?watch=true&resourceVersion={since}");
    let mut watch = send("GET", &path, json!({})).await.unwrap().into_body();

    let held = server.api().store.together().unwrap();
    let write = tokio::spawn(send("POST", SPACES, json!({"metadata": {"name": "new"}})));
    let spaces = server.api().store.collection("namespaces");
    while spaces.get("new").is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let path = format!("{SPACES}/new");
    for path in [SPACES, &path] {
        let read = tokio::time::timeout(MOMENT, send("GET", path, json!({}))).await;
        assert!(read.is_err(), "{path} was answered");
    }
    assert!(
        tokio::time::timeout(MOMENT, watch.frame()).await.is_err(),
        "a watcher was told"
    );
    assert!(!write.is_finished());

    drop(held);
    assert_eq!(write.await.unwrap().unwrap().status(), StatusCode::CREATED);
    let read = send("GET", &path, json!({})).await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
    let event = watch.frame().await.unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&event).unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["metadata"]["name"]),
        (&json!("ADDED"), &json!("new"))
    );
}

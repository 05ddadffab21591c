use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluvial_ports::{
    Apply, Cluster, Create, Delete, ErrorKind, Patch, PatchKind, Resource, Select, Target, Watched,
};
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::json;

use crate::Client;

/// One request as the server saw it.
#[derive(Debug)]
struct Seen {
    line: String,
    user: Option<String>,
    content_type: Option<String>,
    body: String,
}

type Answer = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, std::convert::Infallible>;

/// Code of an answer that is well, and does not end.
const UNENDED: u16 = 299;

/// A server that gives prepared answers in order and then hangs.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    fn client(answers: &[(u16, &str)]) -> (Client, Self) {
        let script = Self::default();
        script
            .answers
            .lock()
            .unwrap()
            .extend(answers.iter().map(|(code, body)| (*code, (*body).to_owned())));
        let server = script.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, tower::BoxError>(server.answer(request).await) }
        });
        (Client::from_service(service), script)
    }

    async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        let (head, body) = request.into_parts();
        let header = |name: &str| {
            head.headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let seen = Seen {
            line: format!("{} {}", head.method, head.uri),
            user: header("impersonate-user"),
            content_type: header("content-type"),
            body: String::new(),
        };
        let bytes = body.collect().await.unwrap().to_bytes();
        let seen = Seen {
            body: String::from_utf8(bytes.to_vec()).unwrap(),
            ..seen
        };
        if seen.line.contains("customresourcedefinitions") {
            std::future::pending::<()>().await;
        }
        self.seen.lock().unwrap().push(seen);
        let next = self.answers.lock().unwrap().pop_front();
        match next {
            Some((UNENDED, body)) => {
                let frame = http_body::Frame::data(bytes::Bytes::from(body));
                let frames = futures::stream::iter([Ok::<_, std::convert::Infallible>(frame)]);
                let frames = frames.chain(futures::stream::pending());
                Response::new(http_body_util::StreamBody::new(frames).boxed_unsync())
            }
            Some((code, body)) => Response::builder()
                .status(code)
                .body(http_body_util::Full::from(body.into_bytes()).boxed_unsync())
                .unwrap(),
            None => std::future::pending().await,
        }
    }

    fn lines(&self) -> Vec<String> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|seen| seen.line.clone())
            .collect()
    }
}

fn config_maps() -> Resource {
    Resource {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        plural: "configmaps".to_owned(),
        namespaced: true,
    }
}

#[tokio::test]
async fn apply_carries_manager_force_dry_run_and_user() {
    let (client, script) = Script::client(&[(200, r#"{"metadata":{"name":"a"}}"#)]);
    let resource = config_maps();
    let target = Target {
        resource: &resource,
        namespace: "ns",
        name: "a",
    };
    let how = Apply {
        manager: "kustomize-controller",
        force: true,
        dry_run: true,
    };
    let object = json!({"metadata": {"name": "a"}});
    client
        .acting_as("system:serviceaccount:ns:deployer")
        .apply(target, &object, how)
        .await
        .unwrap();
    let seen = script.seen.lock().unwrap();
    assert_eq!(
        seen[0].line,
        "PATCH /api/v1/namespaces/ns/configmaps/a?fieldManager=kustomize-controller&force=true&dryRun=All"
    );
    assert_eq!(seen[0].user.as_deref(), Some("system:serviceaccount:ns:deployer"));
    assert_eq!(
        seen[0].content_type.as_deref(),
        Some("application/apply-patch+yaml")
    );
    assert_eq!(seen[0].body, r#"{"metadata":{"name":"a"}}"#);
}

#[tokio::test]
async fn an_object_can_be_tried_out_and_a_taken_name_is_told_from_bad_content() {
    let (client, script) = Script::client(&[
        (
            409,
            r#"{"kind":"Status","reason":"AlreadyExists","code":409,"message":"taken"}"#,
        ),
        (201, r#"{"metadata":{"name":"a"}}"#),
    ]);
    let resource = config_maps();
    let target = Target {
        resource: &resource,
        namespace: "ns",
        name: "a",
    };
    let object = json!({"metadata": {"name": "a"}});
    let how = |dry_run| Create {
        manager: "us",
        dry_run,
    };
    let taken = client.create(target, &object, how(true)).await.unwrap_err();
    assert_eq!(
        (taken.kind, taken.reason.as_str()),
        (ErrorKind::AlreadyExists, "AlreadyExists")
    );
    client.create(target, &object, how(false)).await.unwrap();
    let path = "POST /api/v1/namespaces/ns/configmaps?fieldManager=us";
    assert_eq!(script.lines(), [format!("{path}&dryRun=All"), path.to_owned()]);
}

#[tokio::test]
async fn a_missing_object_is_no_error_and_a_refused_one_is() {
    let missing =
        r#"{"kind":"Status","message":"configmaps \"a\" not found","reason":"NotFound","code":404}"#;
    let conflict =
        r#"{"kind":"Status","message":"the object has been modified","reason":"Conflict","code":409}"#;
    let (client, script) = Script::client(&[(404, missing), (404, missing), (409, conflict)]);
    let resource = config_maps();
    let target = Target {
        resource: &resource,
        namespace: "ns",
        name: "a",
    };
    assert_eq!(client.get(target).await.unwrap(), None);
    assert!(
        !client
            .delete(
                target,
                Delete {
                    uid: Some("u"),
                    ..Delete::default()
                }
            )
            .await
            .unwrap()
    );
    let body = json!({"status": {}});
    let patch = Patch {
        kind: PatchKind::Merge,
        subresource: Some("status"),
        manager: "m",
        body: &body,
        dry_run: false,
    };
    let error = client.patch(target, patch).await.unwrap_err();
    assert_eq!(
        (error.kind, error.to_string().as_str()),
        (ErrorKind::Conflict, "the object has been modified")
    );
    let seen = script.seen.lock().unwrap();
    assert!(seen[1].body.contains(r#""preconditions":{"uid":"u"}"#) && seen[1].body.contains("Background"));
    assert_eq!(
        seen[2].line,
        "PATCH /api/v1/namespaces/ns/configmaps/a/status?fieldManager=m"
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttled_request_is_repeated() {
    let throttled = r#"{"kind":"Status","message":"slow down","reason":"TooManyRequests","code":429}"#;
    let (client, script) = Script::client(&[(429, throttled), (429, throttled), (200, r#"{"items":[]}"#)]);
    assert!(
        client
            .list(&config_maps(), &Select::default())
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(script.lines().len(), 3);
}

#[tokio::test]
async fn a_list_reads_all_pages_and_says_what_its_items_are() {
    let (client, script) = Script::client(&[
        (
            200,
            r#"{"metadata":{"continue":"next/1"},"items":[{"metadata":{"name":"a"}}]}"#,
        ),
        (200, r#"{"metadata":{},"items":[{"metadata":{"name":"b"}}]}"#),
    ]);
    let objects = client.list(&config_maps(), &Select::default()).await.unwrap();
    assert_eq!(
        objects[1],
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}})
    );
    assert_eq!(
        script.lines()[1],
        "GET /api/v1/configmaps?limit=500&continue=next%2F1"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_falls_back_to_lists_and_goes_on_after_breaks() {
    let refused =
        r#"{"kind":"Status","message":"sendInitialEvents is forbidden","reason":"Invalid","code":422}"#;
    let list =
        r#"{"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a","resourceVersion":"4"}}]}"#;
    let events = concat!(
        r#"{"type":"MODIFIED","object":{"metadata":{"name":"a","resourceVersion":"6"}}}"#,
        "\n",
        r#"{"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"8"}}}"#,
        "\n"
    );
    let expired = concat!(
        r#"{"type":"ERROR","object":{"kind":"Status","message":"too old","reason":"Expired","code":410}}"#,
        "\n"
    );
    let (client, script) = Script::client(&[
        (422, refused),
        (200, list),
        (200, events),
        (200, expired),
        (200, list),
    ]);
    let mut watch = client.watch(
        &config_maps(),
        &Select {
            namespace: Some("ns".to_owned()),
            ..Select::default()
        },
    );
    let mut story = Vec::new();
    while story.len() < 7 {
        let item = tokio::time::timeout(Duration::from_secs(60), watch.next())
            .await
            .unwrap()
            .unwrap();
        story.push(match item {
            Watched::Restarted => "restarted".to_owned(),
            Watched::Applied(object) => format!("applied {}", object["metadata"]["resourceVersion"]),
            Watched::Deleted(_) => "deleted".to_owned(),
            Watched::Ready => "ready".to_owned(),
            Watched::Failed(error) => format!("failed: {error}"),
        });
    }
    let list = ["restarted", "applied \"4\"", "ready"];
    assert_eq!(story, [&list[..], &["applied \"6\""], &list[..]].concat());
    let lines = script.lines();
    assert!(lines[0].contains("sendInitialEvents=true"), "{lines:?}");
    assert!(
        lines[2].ends_with("resourceVersion=5") && lines[3].ends_with("resourceVersion=8"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_streamed_list_is_ready_at_its_bookmark() {
    let events = concat!(
        r#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"9"}}}"#,
        "\n",
        r#"{"type":"BOOKMARK","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"12","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
        "\n"
    );
    let (client, script) = Script::client(&[(200, events)]);
    let mut watch = client.watch(&config_maps(), &Select::default());
    assert!(matches!(watch.next().await, Some(Watched::Restarted)));
    assert!(matches!(watch.next().await, Some(Watched::Applied(_))));
    assert!(matches!(watch.next().await, Some(Watched::Ready)));
    while script.lines().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(script.lines()[1].ends_with("resourceVersion=12"));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_without_an_end_is_asked_for_in_pages() {
    let added = concat!(
        r#"{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"9"}}}"#,
        "\n"
    );
    let list =
        r#"{"metadata":{"resourceVersion":"12"},"items":[{"metadata":{"name":"a","resourceVersion":"9"}}]}"#;
    let (client, script) = Script::client(&[(UNENDED, added), (200, list)]);
    let mut watch = client.watch(&config_maps(), &Select::default());
    assert!(matches!(watch.next().await, Some(Watched::Restarted)));
    assert!(matches!(watch.next().await, Some(Watched::Applied(_))));
    assert!(matches!(watch.next().await, Some(Watched::Restarted)));
    assert!(matches!(watch.next().await, Some(Watched::Applied(_))));
    assert!(matches!(watch.next().await, Some(Watched::Ready)));
    assert!(script.lines()[1].contains("limit=500"));
}

#[tokio::test]
async fn a_watch_from_a_version_begins_without_a_list() {
    let gone = concat!(
        r#"{"type":"DELETED","object":{"metadata":{"name":"a","resourceVersion":"9"}}}"#,
        "\n"
    );
    let (client, script) = Script::client(&[(200, gone)]);
    let select = Select {
        since: Some("7".to_owned()),
        ..Select::default()
    };
    let mut watch = client.watch(&config_maps(), &select);
    assert!(matches!(watch.next().await, Some(Watched::Deleted(_))));
    assert!(script.lines()[0].ends_with("resourceVersion=7"));
}

#[tokio::test]
async fn a_kind_is_asked_for_once() {
    let served = r#"{"resources":[{"name":"configmaps","kind":"ConfigMap","namespaced":true}]}"#;
    let (client, script) = Script::client(&[(200, served), (404, "404 page not found")]);
    assert_eq!(
        client.resource("v1", "ConfigMap").await.unwrap().plural,
        "configmaps"
    );
    assert_eq!(
        client.resource("v1", "ConfigMap").await.unwrap().plural,
        "configmaps"
    );
    assert_eq!(
        client.resource("x.io/v1", "Thing").await.unwrap_err().kind,
        ErrorKind::NoKind
    );
    assert_eq!(script.lines(), ["GET /api/v1", "GET /apis/x.io/v1"]);
}

//! Answers say which flow schema a request belongs to: clients that look for it do not limit themselves.

use fluvial_apiserver::User;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;

use crate::hooks::Cluster;

const FLOWS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";

async fn asked(cluster: &Cluster, user: Option<User>, path: &str) -> (u16, Option<String>, Value) {
    let mut request = http::Request::builder()
        .uri(path)
        .header(
            "accept",
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        )
        .body(Full::<bytes::Bytes>::default())
        .unwrap();
    match user {
        Some(user) => {
            request.extensions_mut().insert(user);
        }
        None => {
            let token = http::HeaderValue::from_static("Bearer of-nobody");
            request.headers_mut().insert("authorization", token);
        }
    }
    let Ok(response) = cluster.0.service().oneshot(request).await;
    let of = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let flow = of("x-kubernetes-pf-flowschema-uid");
    assert_eq!(flow.is_some(), of("x-kubernetes-pf-prioritylevel-uid").is_some());
    let status = response.status().as_u16();
    let Ok(body) = response.into_body().collect().await;
    (
        status,
        flow,
        serde_json::from_slice(&body.to_bytes()).unwrap_or_default(),
    )
}

#[tokio::test]
async fn whoever_is_known_is_told_of_the_flow() {
    let cluster = Cluster::start();
    let (_, _, table) = asked(&cluster, Some(User::admin()), FLOWS).await;
    let rows = table["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["cells"][0].as_str().unwrap()).collect();
    // By what is matched first.
    assert_eq!((names[0], *names.last().unwrap()), ("exempt", "catch-all"));
    let uid = |name: &str| {
        let row = rows.iter().find(|row| row["cells"][0] == name).unwrap();
        Some(row["object"]["metadata"]["uid"].as_str().unwrap().to_owned())
    };
    let account = User::new(
        "system:serviceaccount:default:default",
        &["system:serviceaccounts"],
    )
    .authenticated();
    let somebody = User::new("eve", &[]).authenticated();
    for (user, path, status, flow) in [
        (User::admin(), "/livez/ping", 200, "exempt"),
        (account.clone(), "/livez/ping", 403, "service-accounts"),
        (account, "/api/v1/nodes", 403, "service-accounts"),
        (somebody.clone(), "/nothing", 403, "global-default"),
        (somebody, "/healthz", 200, "probes"),
        (User::anonymous(), "/api", 403, "global-default"),
    ] {
        let who = user.name.clone();
        let (answered, told, _) = asked(&cluster, Some(user), path).await;
        assert_eq!((answered, told), (status, uid(flow)), "{who} {path}");
    }
    let (status, flow, _) = asked(&cluster, None, "/livez/ping").await;
    assert_eq!((status, flow), (401, None));
}

#[tokio::test]
async fn an_answer_without_a_body_says_how_long_it_would_be_and_keeps_the_name_of_its_request() {
    let cluster = Cluster::start();
    let send = async |method: &str| {
        let mut request = http::Request::builder()
            .method(method)
            .uri("/livez/ping")
            .header("audit-id", "mine")
            .body(Full::<bytes::Bytes>::default())
            .unwrap();
        request.extensions_mut().insert(User::admin());
        let Ok(response) = cluster.0.service().oneshot(request).await;
        let (head, body) = response.into_parts();
        assert_eq!(head.headers["audit-id"], "mine");
        let Ok(body) = body.collect().await;
        (head, body.to_bytes().len())
    };
    let (_, whole) = send("GET").await;
    let (head, none) = send("HEAD").await;
    assert_eq!(
        (head.headers["content-length"].to_str().unwrap(), none),
        (whole.to_string().as_str(), 0)
    );
}

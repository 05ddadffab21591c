//! Measures the server in the process: `bench [NAMESPACES] [WATCHERS]`. Applies a namespace, a
//! ConfigMap, a ServiceAccount and a Service for each, twice; lists; wakes watchers by one change.

#![expect(clippy::print_stdout, reason = "the figures are this program's output")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use fluvial_apiserver::{ApiServer, Config, User};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::ServiceExt;

type Failure = Box<dyn std::error::Error>;

async fn call(server: &ApiServer, method: &str, uri: &str, body: String) -> Result<Bytes, Failure> {
    let mut request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", "application/apply-patch+yaml")
        .body(Full::new(Bytes::from(body)))?;
    request.extensions_mut().insert(User::admin());
    let response = server.service().oneshot(request).await?;
    let good = response.status().is_success();
    let bytes = response
        .into_body()
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    if good {
        Ok(bytes)
    } else {
        Err(String::from_utf8_lossy(&bytes).into_owned().into())
    }
}

async fn watch(server: &ApiServer, uri: &str) -> Result<fluvial_apiserver::http::Body, Failure> {
    let mut request = http::Request::builder().uri(uri).body(Full::new(Bytes::new()))?;
    request.extensions_mut().insert(User::admin());
    Ok(server.service().oneshot(request).await?.into_body())
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}

/// Where an object is applied to, and its text.
fn objects(index: usize) -> [(String, String); 4] {
    let namespace = format!("bench-{index}");
    let place = format!("/api/v1/namespaces/{namespace}");
    let labels = json!({"kustomize.toolkit.fluxcd.io/name": namespace, "kustomize.toolkit.fluxcd.io/namespace": "flux-system"});
    let meta = |name: &str| json!({"name": name, "namespace": namespace, "labels": labels});
    let object = |kind: &str, rest: serde_json::Value| {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": meta("app")});
        if let (Some(all), serde_json::Value::Object(rest)) = (object.as_object_mut(), rest) {
            all.extend(rest);
        }
        object.to_string()
    };
    [
        (place.clone(), json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}).to_string()),
        (format!("{place}/configmaps/app"), object("ConfigMap", json!({"data": {"key": "value", "index": index.to_string()}}))),
        (format!("{place}/serviceaccounts/app"), object("ServiceAccount", json!({}))),
        (format!("{place}/services/app"), object("Service", json!({"spec": {"selector": {"app": "app"}, "ports": [{"port": 80}]}}))),
    ]
}

async fn run() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let mut number = |default: usize| words.next().and_then(|word| word.parse().ok()).unwrap_or(default);
    let (count, watchers) = (number(1000), number(1000));
    let start = Instant::now();
    let server = ApiServer::new(Config::default())?;
    println!(
        "start                {:>9.1} ms, {} MB",
        millis(start),
        resident()
    );
    for round in ["apply", "apply without change"] {
        let start = Instant::now();
        for index in 0..count {
            for (uri, body) in objects(index) {
                call(
                    &server,
                    "PATCH",
                    &format!("{uri}?fieldManager=bench&force=true"),
                    body,
                )
                .await?;
            }
        }
        let each = start.elapsed().as_secs_f64() / (4 * count) as f64;
        println!("{round:<20} {:>9.0} /s, {} MB", 1.0 / each, resident());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    let list = call(&server, "GET", "/api/v1/configmaps", String::new()).await?;
    println!(
        "list                 {:>9.1} ms, {} KB",
        millis(start),
        list.len() / 1024
    );
    let mut bodies = vec![];
    let uri = format!(
        "/api/v1/namespaces/bench-0/configmaps?watch=true&resourceVersion={}",
        server.api().store.version()
    );
    for _ in 0..watchers {
        bodies.push(watch(&server, &uri).await?);
    }
    println!("{watchers} watchers{:>19} MB", resident());
    let tasks: Vec<_> = bodies
        .into_iter()
        .map(|mut body| tokio::spawn(async move { body.frame().await.is_some() }))
        .collect();
    let start = Instant::now();
    let changed = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"key": "changed"}});
    let uri = "/api/v1/namespaces/bench-0/configmaps/app?fieldManager=bench&force=true";
    call(&server, "PATCH", uri, changed.to_string()).await?;
    for task in tasks {
        task.await?;
    }
    println!("one change to all    {:>9.1} ms", millis(start));
    Ok(())
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    run().await
}

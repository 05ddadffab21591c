//! A client with caches, as controllers have: its watches go on through a restart of the server and through a
//! compaction, and end up with what is there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::client::Body;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;

use super::plain::{Client, Server};

const PATH: &str = "/api/v1/namespaces/default/configmaps";

/// The way to whatever server there is now; it can be cut.
#[derive(Clone, Default)]
struct Line(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    port: Option<u16>,
    open: Vec<tokio::task::AbortHandle>,
}

impl Line {
    /// Nothing comes through any more.
    fn cut(&self) {
        let mut state = self.0.lock().unwrap();
        state.port = None;
        state.open.drain(..).for_each(|open| open.abort());
    }

    fn lead_to(&self, port: u16) {
        self.0.lock().unwrap().port = Some(port);
    }
}

impl tower::Service<http::Request<Body>> for Line {
    type Response = http::Response<Incoming>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let line = self.clone();
        Box::pin(async move {
            let port = line.0.lock().unwrap().port.ok_or("the line is cut")?;
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            let open = tokio::spawn(async move { drop(connection.await) });
            line.0.lock().unwrap().open.push(open.abort_handle());
            let (mut parts, body) = request.into_parts();
            parts.headers.insert("host", "x".parse()?);
            parts
                .headers
                .insert("authorization", "Bearer admin-token".parse()?);
            let body: Bytes = body.collect().await?.to_bytes();
            let request = http::Request::from_parts(parts, http_body_util::Full::new(body));
            Ok(sender.send_request(request).await?)
        })
    }
}

/// Names with their values, as a watcher knows them, and how often it had to list anew.
#[derive(Clone, Default)]
struct Cache(Arc<Mutex<(BTreeMap<String, String>, usize)>>);

impl Cache {
    fn objects(&self) -> BTreeMap<String, String> {
        self.0.lock().unwrap().0.clone()
    }

    fn lists(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

fn entry(object: &DynamicObject) -> (String, String) {
    let value = object.data["data"]["value"].as_str().unwrap_or("").to_owned();
    (object.metadata.name.clone().unwrap(), value)
}

/// An attempt is made soon after another, whatever came before: how long it takes is no matter of the machine.
struct Soon;

impl Iterator for Soon {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(200))
    }
}

impl Backoff for Soon {
    fn reset(&mut self) {}
}

async fn follow(events: impl Stream<Item = watcher::Result<watcher::Event<DynamicObject>>>, cache: Cache) {
    let mut events = std::pin::pin!(events.backoff(Soon));
    let mut fresh = BTreeMap::new();
    while let Some(event) = events.next().await {
        // The line is cut at times.
        let Ok(event) = event else { continue };
        let mut cache = cache.0.lock().unwrap();
        match event {
            watcher::Event::Init => fresh.clear(),
            watcher::Event::InitApply(object) => fresh.extend([entry(&object)]),
            watcher::Event::InitDone => {
                cache.0 = std::mem::take(&mut fresh);
                cache.1 += 1;
            }
            watcher::Event::Apply(object) => cache.0.extend([entry(&object)]),
            watcher::Event::Delete(object) => drop(cache.0.remove(&entry(&object).0)),
        }
    }
}

fn there(port: u16) -> BTreeMap<String, String> {
    let (status, list) = Client::connect(port).unwrap().json("GET", PATH, "").unwrap();
    assert_eq!(status, 200);
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or("").to_owned();
            (text(&item["metadata"]["name"]), text(&item["data"]["value"]))
        })
        .collect()
}

/// Writes an object anew, with so many bytes beside its value.
fn write(port: u16, name: &str, value: &str, filler: usize) {
    // Nothing that can be packed well.
    let seed = value.bytes().fold(1_u32, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    let filler: String = (0..filler)
        .scan(seed, |state, _| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some(char::from(b' ' + 3 + u8::try_from(*state >> 27).unwrap()))
        })
        .collect();
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"value": value, "filler": filler}})
    .to_string();
    let mut client = Client::connect(port).unwrap();
    let (mut status, _) = client.send("PUT", &format!("{PATH}/{name}"), &body).unwrap();
    if status == 404 {
        status = client.send("POST", PATH, &body).unwrap().0;
    }
    assert!(matches!(status, 200 | 201), "{status}");
}

fn delete(port: u16, name: &str) {
    let mut client = Client::connect(port).unwrap();
    assert_eq!(
        client.send("DELETE", &format!("{PATH}/{name}"), "").unwrap().0,
        200
    );
}

/// Waits until all caches hold what the server holds.
async fn settle(caches: &[Cache], port: u16, what: &str) {
    let want = there(port);
    for _ in 0..2_000 {
        if caches.iter().all(|cache| cache.objects() == want) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let have: Vec<_> = caches.iter().map(Cache::objects).collect();
    panic!("{what}: the server has {want:?}, the watchers {have:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_go_on_through_a_restart_and_a_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path());
    let line = Line::default();
    line.lead_to(server.port);
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
    let client = kube::Client::new(line.clone(), "default");
    let api = kube::Api::<DynamicObject>::namespaced_with(client, "default", &resource);
    let caches = [Cache::default(), Cache::default()];
    // One lists and watches, one gets its list from the watch.
    let configs = [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ];
    for (cache, config) in caches.iter().zip(configs) {
        tokio::spawn(follow(watcher(api.clone(), config), cache.clone()));
    }
    for index in 0..10 {
        write(server.port, &format!("m{index}"), "first", 0);
    }
    settle(&caches, server.port, "at first").await;

    server.kill();
    line.cut();
    let mut server = Server::start(folder.path());
    write(server.port, "m1", "second", 0);
    delete(server.port, "m2");
    line.lead_to(server.port);
    write(server.port, "new", "second", 0);
    settle(&caches, server.port, "after a restart").await;
    write(server.port, "m3", "third", 0);
    settle(&caches, server.port, "in the watch after a restart").await;

    // A cut without a restart, in which little happens: both go on where they were.
    let lists: Vec<usize> = caches.iter().map(Cache::lists).collect();
    line.cut();
    write(server.port, "m4", "fourth", 0);
    delete(server.port, "m5");
    line.lead_to(server.port);
    settle(&caches, server.port, "after a cut").await;
    assert_eq!(caches.iter().map(Cache::lists).collect::<Vec<_>>(), lists);

    // So much happens that what they have seen is no longer known: they list anew, and nothing is missing.
    line.cut();
    delete(server.port, "m6");
    for turn in 0..300 {
        write(server.port, "m7", &turn.to_string(), 60_000);
    }
    line.lead_to(server.port);
    settle(&caches, server.port, "after a compaction").await;
    assert!(
        caches
            .iter()
            .zip(lists)
            .all(|(cache, before)| cache.lists() > before)
    );
    write(server.port, "m8", "last", 0);
    settle(&caches, server.port, "in the watch after a compaction").await;
    server.kill();
}

//! The API server beside kube-apiserver and etcd: start, memory at rest, server-side applies, a large list, and one
//! change that a thousand watch. One client measures both, over TLS.

mod client;
mod crowd;
mod servers;

use std::path::Path;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::measure::median;
use crate::programs::progress;
use crate::{Failure, flag};
use client::{Client, Place};
use crowd::Crowd;
use servers::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Watches on one connection, where many share it: what a client of Go opens at most, by the default of kube-apiserver.
const STREAMS: usize = 100;
/// Where the objects of the large list are.
const MANY: &str = "/api/v1/namespaces/bench-many/configmaps";

#[derive(Clone, Copy)]
struct Sizes {
    seconds: u64,
    objects: usize,
    watchers: usize,
    rounds: usize,
}

/// `fluvial-bench apiserver`.
pub(crate) fn run(words: &[String]) -> Result<Value, Failure> {
    let number = |name: &str, default: usize| match flag(words, name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("{name} {text} is no number")),
    };
    let sizes = Sizes {
        seconds: number("--seconds", 5)? as u64,
        objects: number("--objects", 10_000)?,
        watchers: number("--watchers", 1_000)?,
        rounds: number("--rounds", 5)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(both(words, sizes))
}

async fn both(words: &[String], sizes: Sizes) -> Result<Value, Failure> {
    let token = flag(words, "--token").unwrap_or("");
    let mut figures = json!({});
    if let Some(url) = flag(words, "--ours-url") {
        figures["ours"] = measured("ours", Server::running(url, token)?, sizes).await?;
    } else {
        let program = flag(words, "--ours").ok_or("--ours PROGRAM or --ours-url URL is missing")?;
        figures["ours"] = measured("ours", Server::ours(program, true).await?, sizes).await?;
        figures["ours_in_memory"] =
            measured("ours_in_memory", Server::ours(program, false).await?, sizes).await?;
    }
    if let Some(url) = flag(words, "--peer-url") {
        figures["peer"] = measured("peer", Server::running(url, token)?, sizes).await?;
    } else if let Some(peers) = flag(words, "--peers") {
        figures["peer"] = measured("peer", Server::peer(Path::new(peers)).await?, sizes).await?;
    }
    if figures.get("peer").is_some() {
        figures["times"] = times(&figures["ours"], &figures["peer"]);
        if figures.get("ours_in_memory").is_some() {
            figures["times_in_memory"] = times(&figures["ours_in_memory"], &figures["peer"]);
        }
    }
    Ok(figures)
}

/// How many times better ours is.
fn times(ours: &Value, peer: &Value) -> Value {
    let ratio = |name: &str, more_is_better: bool| {
        let (own, other) = (ours[name].as_f64(), peer[name].as_f64());
        own.zip(other).map(|(own, other)| {
            let ratio = if more_is_better { own / other } else { other / own };
            (ratio * 10.0).round() / 10.0
        })
    };
    json!({
        "ready_ms": ratio("ready_ms", false),
        "idle_kib": ratio("idle_kib", false),
        "applies_per_second_1": ratio("applies_per_second_1", true),
        "applies_per_second_16": ratio("applies_per_second_16", true),
        "list_ms": ratio("list_ms", false),
        "watchers_ms": ratio("watchers_ms", false),
        "watchers_cpu_ms": ratio("watchers_cpu_ms", false),
        "watchers_http2_ms": ratio("watchers_http2_ms", false),
        "watchers_http2_cpu_ms": ratio("watchers_http2_cpu_ms", false),
    })
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

async fn measured(name: &str, server: Server, sizes: Sizes) -> Result<Value, Failure> {
    let place = &server.place;
    let ready = server.ready.map(|seconds| rounded(seconds * 1e3));
    progress(&format!("{name}: ready after {} ms", ready.unwrap_or_default()));
    // What runs at the start is over, and freed memory is given back.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle = server.resident()?;
    let one = applies(place, 1, sizes.seconds).await?;
    let many = applies(place, 16, sizes.seconds).await?;
    progress(&format!(
        "{name}: {one:.0} applies a second, of 16 clients {many:.0}"
    ));
    fill(place, sizes.objects).await?;
    let (list, bytes) = list(place, sizes.rounds).await?;
    progress(&format!(
        "{name}: a list of {bytes} bytes in {:.1} ms",
        list * 1e3
    ));
    let (woken, spent) = watchers(&server, sizes, 1).await?;
    progress(&format!("{name}: all watchers woken in {:.1} ms", woken * 1e3));
    let (beside, spent_beside) = watchers(&server, sizes, STREAMS).await?;
    progress(&format!(
        "{name}: {STREAMS} to a connection in {:.1} ms",
        beside * 1e3
    ));
    Ok(json!({
        "ready_ms": ready,
        "idle_kib": idle,
        "applies_per_second_1": one.round(),
        "applies_per_second_16": many.round(),
        "list_ms": rounded(list * 1e3),
        "list_bytes": bytes,
        "watchers_ms": rounded(woken * 1e3),
        "watchers_cpu_ms": spent.map(rounded),
        "watchers_http2_ms": rounded(beside * 1e3),
        "watchers_http2_cpu_ms": spent_beside.map(rounded),
        "loaded_kib": server.resident()?,
    }))
}

fn map(name: &str, value: u64) -> Bytes {
    format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"{name}\",\"labels\":{{\"app\":\"bench\"}}}},\
         \"data\":{{\"value\":\"{value}\",\"text\":\"some words that stay the same\"}}}}"
    )
    .into()
}

async fn apply(client: &mut Client, base: &str, name: &str, value: u64) -> Result<(), Failure> {
    let path = format!("{base}/{name}?fieldManager=bench&force=true");
    client.good("PATCH", &path, map(name, value)).await.map(|_| ())
}

/// Server-side applies a second, each of which changes something.
async fn applies(place: &Place, clients: usize, seconds: u64) -> Result<f64, Failure> {
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..clients {
        let mut client = place.connect().await?;
        tasks.spawn(async move {
            let mut done = 0;
            while Instant::now() < end {
                let name = format!("c{clients}-{number}-{}", done % 100);
                apply(&mut client, MAPS, &name, done).await?;
                done += 1;
            }
            Ok::<u64, Failure>(done)
        });
    }
    let mut sum = 0;
    while let Some(done) = tasks.join_next().await {
        sum += done.map_err(|error| error.to_string())??;
    }
    Ok(sum as f64 / begin.elapsed().as_secs_f64())
}

/// Puts the objects of the large list there.
async fn fill(place: &Place, objects: usize) -> Result<(), Failure> {
    let namespace = "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"bench-many\"}}";
    let path = "/api/v1/namespaces/bench-many?fieldManager=bench";
    place
        .connect()
        .await?
        .good("PATCH", path, namespace.into())
        .await?;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16 {
        let mut client = place.connect().await?;
        tasks.spawn(async move {
            for index in (number..objects).step_by(16) {
                apply(&mut client, MANY, &format!("many-{index}"), 0).await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// Seconds of a whole list, and its bytes.
async fn list(place: &Place, rounds: usize) -> Result<(f64, usize), Failure> {
    let mut client = place.connect().await?;
    let (mut walls, mut bytes) = (vec![], 0);
    for _ in 0..=rounds {
        let begin = Instant::now();
        bytes = client.good("GET", MANY, Bytes::new()).await?;
        walls.push(begin.elapsed().as_secs_f64());
    }
    // The first one is to warm up.
    walls.remove(0);
    Ok((median(walls), bytes))
}

/// Seconds from the sending of a change to its arrival at the last watcher, and the processor time that it costs the
/// server: the watchers are a process of their own, which has the same processors to itself as the server.
async fn watchers(server: &Server, sizes: Sizes, streams: usize) -> Result<(f64, Option<f64>), Failure> {
    let place = &server.place;
    let mut client = place.connect().await?;
    apply(&mut client, MAPS, "watched", 0).await?;
    let path = format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Dwatched");
    let mut crowd = Crowd::open(place, &path, sizes.watchers, streams)?;
    let mut walls = vec![];
    let before = server.processor()?;
    for round in 0..=sizes.rounds {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let begin = Instant::now();
        let woken = tokio::task::spawn_blocking(move || crowd.wait().map(|()| crowd));
        apply(&mut client, MAPS, "watched", round as u64 + 1).await?;
        crowd = woken.await.map_err(|error| error.to_string())??;
        walls.push(begin.elapsed().as_secs_f64());
    }
    let spent = before
        .zip(server.processor()?)
        .map(|(before, after)| after - before);
    walls.remove(0);
    let rounds = sizes.rounds as f64 + 1.0;
    Ok((median(walls), spent.map(|spent| spent as f64 / rounds)))
}

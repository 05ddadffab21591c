//! A large index of a chart repository over HTTP, taken in here beside `helm repo update`.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvial_ports::IndexRequest;
use fluvial_source::helm::{HelmLimits, HelmSource};
use fluvial_source::mirrors::Mirrors;
use serde_json::{Value, json};

use crate::measure::{measure, medians};
use crate::{Failure, flag};

fn text(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}

/// Runs the comparison; the peer is left out if none is given.
pub(crate) fn run(words: &[String]) -> Result<Value, Failure> {
    let number = |name: &str, default: usize| {
        flag(words, name).map_or(Ok(default), |value| {
            value.parse().map_err(|_| format!("{name} needs a number"))
        })
    };
    let (megabytes, rounds) = (number("--megabytes", 40)?, number("--rounds", 3)?);
    let work = tempfile::tempdir().map_err(text)?;
    let index = make(megabytes << 20);
    let (bytes, url) = (index.len(), serve(index)?);
    let own = std::env::current_exe().map_err(text)?.display().to_string();
    let peer = flag(words, "--peer").map(PathBuf::from);
    let helm = |verb: &str| {
        let (peer, at) = (
            peer.as_deref().unwrap_or(Path::new("helm")),
            work.path().display(),
        );
        let script = format!(
            "HELM_CACHE_HOME='{at}/cache' HELM_CONFIG_HOME='{at}/config' HELM_DATA_HOME='{at}/data' '{}' repo {verb}",
            peer.display()
        );
        vec!["sh".to_owned(), "-c".to_owned(), script]
    };
    if peer.is_some() {
        measure(&helm(&format!("add large {url}")))?;
    }
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let folder = work.path().join(format!("ours-{round}")).display().to_string();
        ours.push(measure(&[
            own.clone(),
            "index-fetch".to_owned(),
            url.clone(),
            folder,
        ])?);
        if peer.is_some() {
            peers.push(measure(&helm("update"))?);
        }
    }
    let ours = medians(&ours);
    let mut figures = json!({ "bytes": bytes, "rounds": rounds, "ours": ours.json() });
    if peer.is_some() {
        let peer = medians(&peers);
        figures["peer"] = peer.json();
        figures["wall_ratio"] = (peer.wall / ours.wall).into();
        figures["cpu_ratio"] = (peer.cpu / ours.cpu).into();
        figures["peak_ratio"] = (peer.peak / ours.peak).into();
    }
    Ok(figures)
}

/// The inner half: one process that takes an index in.
pub(crate) fn fetch(words: &[String]) -> Result<Value, Failure> {
    let [url, folder] = words else {
        return Err("index-fetch needs a URL and a folder".to_owned());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(text)?;
    let source = HelmSource::new(folder, HelmLimits::default());
    let request = IndexRequest {
        url: url.clone(),
        ..IndexRequest::default()
    };
    let found = runtime.block_on(source.index(&request, &Mirrors::default()));
    let found = found.map_err(text)?;
    Ok(json!({ "revision": found.revision, "bytes": found.size }))
}

/// An index of at least so many bytes, written as chart museums write them.
fn make(bytes: usize) -> Vec<u8> {
    let mut index = "apiVersion: v1\nentries:\n".to_owned();
    let mut chart = 0;
    while index.len() < bytes {
        // Writing into a String cannot fail.
        let _ = writeln!(index, "  chart-{chart:04}:");
        for version in (0..100).rev() {
            let _ = write!(
                index,
                "  - apiVersion: v2\n    appVersion: 2.{version}.1\n    created: \"2026-01-01T10:20:30.123456789Z\"\n    \
                 dependencies:\n    - condition: postgresql.enabled\n      name: postgresql\n      repository: \
                 https://charts.example.com/base\n      version: 12.x.x\n    description: Chart number {chart}, which runs a \
                 service with its database, as it was at {version}\n    digest: {:064x}\n    home: \
                 https://example.com/charts/{chart}\n    icon: https://example.com/icons/{chart}.svg\n    keywords:\n    - \
                 service\n    - database\n    maintainers:\n    - email: team@example.com\n      name: team\n    name: \
                 chart-{chart:04}\n    sources:\n    - https://git.example.com/charts/{chart}\n    type: application\n    \
                 urls:\n    - https://charts.example.com/chart-{chart:04}-1.{version}.0.tgz\n    version: 1.{version}.0\n",
                chart * 100 + version
            );
        }
        chart += 1;
    }
    index.into_bytes()
}

/// Serves one file under every path; the server's URL.
fn serve(index: Vec<u8>) -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let address = listener.local_addr().map_err(text)?;
    let index: Arc<[u8]> = index.into();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let index = Arc::clone(&index);
            // A client that goes away is its own affair.
            std::thread::spawn(move || answer(stream, &index));
        }
    });
    Ok(format!("http://{address}"))
}

fn answer(mut stream: TcpStream, index: &[u8]) -> std::io::Result<()> {
    for line in BufReader::new(stream.try_clone()?).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/yaml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        index.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(index)
}

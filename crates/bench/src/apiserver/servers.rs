//! The servers that are measured: ours as a process, and kube-apiserver with its etcd.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hyper::body::Bytes;

use super::client::Place;
use crate::Failure;
use crate::programs::{self, Running, cpu, free_port, spawn, status, write};

/// Longest that a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(120);
const TOKEN: &str = "bench-token";
const TOKENS: &str = "bench-token,bench,1,\"system:masters\"\n";

/// A server with all that belongs to it.
pub(super) struct Server {
    programs: Vec<Running>,
    /// Where it is.
    pub(super) place: Place,
    /// Seconds from the start of its programs to its being ready.
    pub(super) ready: Option<f64>,
    _folder: Option<tempfile::TempDir>,
}

impl Server {
    /// One that runs already.
    pub(super) fn running(url: &str, token: &str) -> Result<Server, Failure> {
        Ok(Server {
            programs: vec![],
            place: Place::new(url, token)?,
            ready: None,
            _folder: None,
        })
    }

    /// Ours: in memory, or durable as the other is.
    pub(super) async fn ours(program: &str, durable: bool) -> Result<Server, Failure> {
        let folder = folder()?;
        let port = free_port()?;
        let tokens = folder.path().join("tokens.csv");
        write(&tokens, TOKENS)?;
        let mut command = Command::new(program);
        command
            .args(["apiserver", "--listen", &format!("127.0.0.1:{port}")])
            .args(["--log-level", "error", "--token-auth-file"])
            .arg(tokens)
            .arg("--kubeconfig-out")
            .arg(folder.path().join("kubeconfig"));
        if durable {
            command.arg("--data").arg(folder.path().join("data"));
        }
        let begin = Instant::now();
        let program = spawn(&mut command, &folder.path().join("apiserver.log"))?;
        started(vec![program], port, folder, begin).await
    }

    /// kube-apiserver and etcd from a folder.
    pub(super) async fn peer(peers: &Path) -> Result<Server, Failure> {
        let folder = folder()?;
        // The bench's own clients are not to be made to wait.
        let patient = [
            "--enable-priority-and-fairness=false",
            "--max-requests-inflight=4000",
        ];
        let begin = Instant::now();
        let kube = programs::kube(peers, folder.path(), TOKENS, &patient)?;
        started(vec![kube.etcd, kube.apiserver], kube.port, folder, begin).await
    }

    /// Processor milliseconds of its programs so far; None if others started them.
    pub(super) fn processor(&self) -> Result<Option<u64>, Failure> {
        if self.programs.is_empty() {
            return Ok(None);
        }
        let each = self.programs.iter().map(|program| cpu(program.0.id()));
        each.sum::<Result<u64, Failure>>().map(Some)
    }

    /// Resident KiB of its programs; None if others started them.
    pub(super) fn resident(&self) -> Result<Option<u64>, Failure> {
        if self.programs.is_empty() {
            return Ok(None);
        }
        let each = self
            .programs
            .iter()
            .map(|program| status(program.0.id(), "VmRSS:"));
        each.sum::<Result<u64, Failure>>().map(Some)
    }
}

fn folder() -> Result<tempfile::TempDir, Failure> {
    tempfile::tempdir().map_err(|error| error.to_string())
}

async fn started(
    programs: Vec<Running>,
    port: u16,
    folder: tempfile::TempDir,
    begin: Instant,
) -> Result<Server, Failure> {
    let place = Place::new(&format!("https://127.0.0.1:{port}"), TOKEN)?;
    while !is_ready(&place).await {
        if begin.elapsed() > PATIENCE {
            let log = std::fs::read_to_string(folder.path().join("apiserver.log")).unwrap_or_default();
            let last = log.lines().last().unwrap_or("it wrote nothing");
            return Err(format!(
                "a server was not ready after {} s: {last}",
                PATIENCE.as_secs()
            ));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(Server {
        programs,
        place,
        ready: Some(begin.elapsed().as_secs_f64()),
        _folder: Some(folder),
    })
}

async fn is_ready(place: &Place) -> bool {
    let Ok(mut client) = place.connect().await else {
        return false;
    };
    matches!(client.size("GET", "/readyz", Bytes::new()).await, Ok((200, _)))
}

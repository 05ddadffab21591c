//! The servers that are measured: ours as a process, and kube-apiserver with its etcd.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper::body::Bytes;

use super::client::Place;
use crate::Failure;

/// Longest that a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(120);
const TOKEN: &str = "bench-token";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

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
        let mut command = Command::new(program);
        command
            .args(["apiserver", "--listen", &format!("127.0.0.1:{port}")])
            .args(["--log-level", "error", "--token-auth-file"])
            .arg(tokens(folder.path())?)
            .arg("--kubeconfig-out")
            .arg(folder.path().join("kubeconfig"));
        if durable {
            command.arg("--data").arg(folder.path().join("data"));
        }
        started(vec![command], port, folder).await
    }

    /// kube-apiserver and etcd from a folder.
    pub(super) async fn peer(peers: &Path) -> Result<Server, Failure> {
        let folder = folder()?;
        let work = folder.path();
        let (client, other, port) = (free_port()?, free_port()?, free_port()?);
        let [client, other] = [client, other].map(|port| format!("http://127.0.0.1:{port}"));
        let mut etcd = Command::new(peers.join("etcd"));
        etcd.arg("--data-dir")
            .arg(work.join("etcd"))
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &other,
                "--initial-advertise-peer-urls",
                &other,
            ])
            .args(["--initial-cluster", &format!("default={other}")]);
        let key = work.join("accounts.key");
        let pair = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
        write(&key, &pair.serialize_pem())?;
        let mut server = Command::new(peers.join("kube-apiserver"));
        server
            .args(["--etcd-servers", &client, "--secure-port", &port.to_string()])
            .args(["--bind-address", "127.0.0.1", "--authorization-mode", "RBAC"])
            .args(["--service-account-issuer", "https://kubernetes.default.svc"])
            .args(["--service-cluster-ip-range", "10.96.0.0/12"])
            .args(["--disable-admission-plugins", "ServiceAccount"])
            // The bench's own clients are not to be made to wait.
            .args([
                "--enable-priority-and-fairness=false",
                "--max-requests-inflight=4000",
            ])
            .arg("--cert-dir")
            .arg(work.join("certificates"))
            .arg("--token-auth-file")
            .arg(tokens(work)?)
            .arg("--service-account-key-file")
            .arg(&key)
            .arg("--service-account-signing-key-file")
            .arg(&key);
        started(vec![etcd, server], port, folder).await
    }

    /// Resident KiB of its programs; None if others started them.
    pub(super) fn resident(&self) -> Result<Option<u64>, Failure> {
        if self.programs.is_empty() {
            return Ok(None);
        }
        let mut sum = 0;
        for program in &self.programs {
            let file = format!("/proc/{}/status", program.0.id());
            let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let number = line.and_then(|line| line.split_whitespace().next());
            sum += number
                .and_then(|number| number.parse::<u64>().ok())
                .ok_or("VmRSS cannot be read")?;
        }
        Ok(Some(sum))
    }
}

fn folder() -> Result<tempfile::TempDir, Failure> {
    tempfile::tempdir().map_err(|error| error.to_string())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn tokens(folder: &Path) -> Result<std::path::PathBuf, Failure> {
    let file = folder.join("tokens.csv");
    write(&file, &format!("{TOKEN},bench,1,\"system:masters\"\n"))?;
    Ok(file)
}

fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok(address.port())
}

async fn started(commands: Vec<Command>, port: u16, folder: tempfile::TempDir) -> Result<Server, Failure> {
    let place = Place::new(&format!("https://127.0.0.1:{port}"), TOKEN)?;
    let begin = Instant::now();
    let mut programs = vec![];
    for (index, mut command) in commands.into_iter().enumerate() {
        let log = folder.path().join(format!("{index}.log"));
        let file = File::create(&log).map_err(|error| error.to_string())?;
        let other = file.try_clone().map_err(|error| error.to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(other)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
        programs.push(Running(child));
    }
    while !is_ready(&place).await {
        if begin.elapsed() > PATIENCE {
            return Err(format!("a server was not ready after {} s", PATIENCE.as_secs()));
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

//! Programs that a measuring starts and ends: ours, and kube-apiserver with its etcd.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Failure;

/// Ends the program with the measuring, however that ends.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Starts a program whose output goes to a file.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> Result<Running, Failure> {
    let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let other = file.try_clone().map_err(|error| error.to_string())?;
    let child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(other)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
    Ok(Running(child))
}

/// Writes a file, and the folders above it.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok(address.port())
}

/// A field of `/proc/PROCESS/status`, such as `VmRSS:`, in KiB.
pub(crate) fn status(process: u32, field: &str) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))
        .map_err(|error| format!("the program ended early: {error}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.trim().split(' ').next()?.parse().ok())
        .ok_or_else(|| format!("the system says nothing of {field}"))
}

/// Processor milliseconds so far.
pub(crate) fn cpu(process: u32) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .map_err(|error| format!("the program ended early: {error}"))?;
    // After the name in parentheses: user and system time are fields 14 and 15 of the whole, in hundredths.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse::<u64>().ok())
            .unwrap_or_default()
    };
    Ok((ticks(12) + ticks(13)) * 10)
}

/// Says on the terminal how far a measuring is; the figures have standard output for themselves.
#[expect(clippy::print_stderr, reason = "a program for terminals")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

/// A released program of a folder.
pub(crate) fn peer(peers: &Path, name: &str) -> Result<PathBuf, Failure> {
    let path = peers.join(name);
    path.is_file().then_some(path).ok_or_else(|| {
        format!(
            "there is no {name} in {} (cargo xtask peers {name})",
            peers.display()
        )
    })
}

/// kube-apiserver and its etcd.
pub(crate) struct Kube {
    /// etcd.
    pub(crate) etcd: Running,
    /// kube-apiserver.
    pub(crate) apiserver: Running,
    /// Where it listens, over TLS.
    pub(crate) port: u16,
}

/// Starts both in a folder; `tokens` are the lines of the token file, `more` further words for kube-apiserver.
pub(crate) fn kube(peers: &Path, work: &Path, tokens: &str, more: &[&str]) -> Result<Kube, Failure> {
    let (client, other, port) = (free_port()?, free_port()?, free_port()?);
    let [client, other] = [client, other].map(|port| format!("http://127.0.0.1:{port}"));
    let etcd = spawn(
        Command::new(peer(peers, "etcd")?)
            .arg("--data-dir")
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
            .args(["--initial-cluster", &format!("default={other}")]),
        &work.join("etcd.log"),
    )?;
    let [file, key, public] = ["tokens.csv", "accounts.key", "accounts.pub"].map(|name| work.join(name));
    write(&file, tokens)?;
    let pair = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
    write(&key, &pair.serialize_pem())?;
    // Of a private key of this form it would make nothing.
    write(&public, &pair.public_key_pem())?;
    let apiserver = spawn(
        Command::new(peer(peers, "kube-apiserver")?)
            .args(["--etcd-servers", &client, "--secure-port", &port.to_string()])
            .args(["--bind-address", "127.0.0.1", "--authorization-mode", "RBAC"])
            .args(["--service-account-issuer", "https://kubernetes.default.svc"])
            .args(["--service-cluster-ip-range", "10.96.0.0/12"])
            .args(["--disable-admission-plugins", "ServiceAccount"])
            .args(more)
            .arg("--cert-dir")
            .arg(work.join("certificates"))
            .arg("--token-auth-file")
            .arg(file)
            .arg("--service-account-key-file")
            .arg(public)
            .arg("--service-account-signing-key-file")
            .arg(&key),
        &work.join("apiserver.log"),
    )?;
    Ok(Kube {
        etcd,
        apiserver,
        port,
    })
}

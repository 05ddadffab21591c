//! Servers of other people on free ports of this machine, which end with the test.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::fleet::eventually;

/// A running server.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a program is, in the usual places of servers too; says what is skipped if it is not there.
pub(super) fn program(story: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/lib/git-core"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        eprintln!("skipped: counterparts/{story}: the program {name} is not installed");
    }
    found
}

/// A port that nobody listens at.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts a server and waits until it listens.
pub(super) fn start(command: &mut Command, port: u16) -> Server {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Server { child, port };
    eventually("the server", || {
        let ended = server.child.try_wait().ok().flatten();
        assert!(ended.is_none(), "{command:?} ended: {ended:?}");
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    server
}

/// nginx with these servers in its configuration.
pub(super) fn nginx(program: &Path, folder: &Path, port: u16, servers: &str) -> Server {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {}/{name};\n", folder.display()))
        .collect();
    let folder = folder.display();
    let text = format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\n\
         events {{}}\nhttp {{\naccess_log off;\nclient_max_body_size 0;\n{temporary}{servers}\n}}\n"
    );
    let file = PathBuf::from(folder.to_string()).join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    start(
        Command::new(program)
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(folder.to_string()),
        port,
    )
}

/// A server that takes requests and never answers; how many seconds it lives is up to the process.
pub(super) fn silent() -> u16 {
    serve(|_| std::thread::sleep(Duration::from_secs(120)))
}

/// A server that promises a long answer and breaks off.
pub(super) fn broken(kind: &'static str) -> u16 {
    serve(move |mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 100000\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(b"001e# service=git-upload-pack\n0000");
    })
}

fn serve(answer: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

/// A private authority with a server's and a client's certificate, as PEM.
pub(super) struct Authority {
    pub(super) ca: String,
    pub(super) server: (String, String),
    pub(super) client: (String, String),
}

pub(super) fn authority() -> Authority {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "counterparts");
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    Authority {
        ca,
        server: signed("localhost"),
        client: signed("client"),
    }
}

/// Runs a program that must succeed; what it prints.
pub(super) fn run(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(
        done.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

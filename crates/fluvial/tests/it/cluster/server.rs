//! The two servers of the stories: Fluvial's own, and kube-apiserver with etcd.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::PROGRAM;
use crate::fleet::eventually;

/// A process that ends with the story.
pub(crate) struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program whose words go into a file.
pub(crate) fn start(command: &mut Command, log: &Path) -> Running {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Running(child)
}

/// A port that nobody has now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// `fluvial apiserver`.
pub(crate) struct Ours {
    running: Option<Running>,
    work: PathBuf,
    port: u16,
    durable: bool,
}

impl Ours {
    /// A server that answers. A durable one keeps its objects in a folder of `work`.
    pub(crate) fn start(work: &Path, durable: bool) -> Self {
        let mut ours = Ours {
            running: None,
            work: work.to_owned(),
            port: free_port(),
            durable,
        };
        ours.again();
        ours
    }

    /// Starts it at the address that it had.
    pub(crate) fn again(&mut self) {
        let kubeconfig = self.kubeconfig();
        // An old one would be taken for the new one's.
        let _ = std::fs::remove_file(&kubeconfig);
        let mut command = Command::new(PROGRAM);
        command
            .args(["apiserver", "--listen", &format!("127.0.0.1:{}", self.port)])
            .arg("--kubeconfig-out")
            .arg(&kubeconfig);
        if self.durable {
            command.arg("--data").arg(self.work.join("data"));
        }
        self.running = Some(start(&mut command, &self.work.join("apiserver.log")));
        eventually("the API server", || kubeconfig.is_file());
    }

    /// Ends it without a chance to clean up.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// That of its administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.work.join("kubeconfig")
    }
}

/// kube-apiserver, etcd and kube-controller-manager.
pub(crate) struct Real {
    _running: Vec<Running>,
    kubeconfig: PathBuf,
}

const TOKENS: &str = "admin-token,admin,1,\"system:masters\"\nmanager-token,manager,2,\"system:masters\"\n";

impl Real {
    /// A cluster without nodes that answers.
    pub(crate) fn start([etcd, apiserver, manager]: [&Path; 3], work: &Path) -> Self {
        let (client, peer, port) = (free_port(), free_port(), free_port());
        let client = format!("http://127.0.0.1:{client}");
        let mut running = vec![store(etcd, &client, peer, work)];
        let key = work.join("accounts.key");
        let pair = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        let public = work.join("accounts.pub");
        std::fs::write(&public, pair.public_key_pem()).unwrap();
        let tokens = work.join("tokens.csv");
        std::fs::write(&tokens, TOKENS).unwrap();
        let certificates = work.join("certificates");
        running.push(start(
            Command::new(apiserver)
                .args(["--etcd-servers", &client, "--secure-port", &port.to_string()])
                .args(["--bind-address", "127.0.0.1", "--authorization-mode", "RBAC"])
                .args(["--service-account-issuer", "https://kubernetes.default.svc"])
                .args(["--service-cluster-ip-range", "10.96.0.0/12"])
                .arg("--cert-dir")
                .arg(&certificates)
                .arg("--token-auth-file")
                .arg(&tokens)
                .arg("--service-account-key-file")
                .arg(&public)
                .arg("--service-account-signing-key-file")
                .arg(&key),
            &work.join("apiserver.log"),
        ));
        let ca = certificates.join("apiserver.crt");
        let kubeconfig = |name: &str| {
            let file = work.join(format!("{name}.kubeconfig"));
            let text = kubeconfig(
                &format!("https://127.0.0.1:{port}"),
                &ca,
                &format!("{name}-token"),
            );
            std::fs::write(&file, text).unwrap();
            file
        };
        let (admin, of_manager) = (kubeconfig("admin"), kubeconfig("manager"));
        eventually("kube-apiserver", || {
            Command::new(PROGRAM)
                .args(["install", "--kubeconfig"])
                .arg(&admin)
                .output()
                .unwrap()
                .status
                .success()
        });
        running.push(start(
            Command::new(manager)
                .args(["--leader-elect=false", "--secure-port", &free_port().to_string()])
                .args([
                    "--bind-address",
                    "127.0.0.1",
                    "--use-service-account-credentials=false",
                ])
                .arg("--kubeconfig")
                .arg(of_manager)
                .arg("--service-account-private-key-file")
                .arg(&key)
                .arg("--root-ca-file")
                .arg(&ca)
                .arg("--cert-dir")
                .arg(work.join("manager")),
            &work.join("manager.log"),
        ));
        // The one started last is to be ended first.
        running.reverse();
        Real {
            _running: running,
            kubeconfig: admin,
        }
    }

    /// That of its administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }
}

/// etcd, alone.
fn store(program: &Path, client: &str, peer: u16, work: &Path) -> Running {
    let peer = format!("http://127.0.0.1:{peer}");
    start(
        Command::new(program)
            .arg("--data-dir")
            .arg(work.join("etcd"))
            .args(["--listen-client-urls", client, "--advertise-client-urls", client])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args([
                "--initial-cluster",
                &format!("default={peer}"),
                "--log-level",
                "error",
            ]),
        &work.join("etcd.log"),
    )
}

/// A kubeconfig with a token.
pub(crate) fn kubeconfig(url: &str, ca: &Path, token: &str) -> String {
    let ca = ca.display();
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: own\n\
         clusters:\n- name: own\n  cluster: {{server: \"{url}\", certificate-authority: {ca}}}\n\
         users:\n- name: own\n  user: {{token: {token}}}\n\
         contexts:\n- name: own\n  context: {{cluster: own, user: own}}\n"
    )
}

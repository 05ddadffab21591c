//! Repositories for tests, and Git's own HTTP backend behind a small server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use fluvial_source::git::{Fetched, GitSource, Revision};
use fluvial_source::limits::Limits;
use fluvial_tree::{Tree, TreePath};
use tempfile::TempDir;

/// Whether git is there; says so if not.
pub(crate) fn git_is_missing() -> bool {
    let missing = Command::new("git").arg("--version").output().is_err();
    if missing {
        println!("skipped: there is no git program");
    }
    missing
}

/// Whether git's HTTP backend is there; says so if not.
pub(crate) fn backend_is_missing() -> bool {
    if git_is_missing() {
        return true;
    }
    let missing = !backend().is_file();
    if missing {
        println!("skipped: there is no git http-backend");
    }
    missing
}

fn backend() -> PathBuf {
    let output = Command::new("git").arg("--exec-path").output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()).join("git-http-backend")
}

/// A repository with a work tree, below `root()/NAME`.
pub(crate) struct TestRepo {
    root: TempDir,
    name: String,
}

impl TestRepo {
    pub(crate) fn new() -> Self {
        Self::with_format("sha1")
    }

    pub(crate) fn with_format(format: &str) -> Self {
        let repo = TestRepo {
            root: tempfile::tempdir().unwrap(),
            name: "repo".to_owned(),
        };
        std::fs::create_dir(repo.path()).unwrap();
        repo.git(&["init", "-q", "-b", "main", &format!("--object-format={format}")]);
        repo.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        repo
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().join(&self.name)
    }

    pub(crate) fn url(&self) -> String {
        self.path().display().to_string()
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.path(), args)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// Writes files and commits everything; the commit's id.
    pub(crate) fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        for (path, text) in files {
            self.write(path, text);
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }
}

pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.com")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.com")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn source(cache: &TempDir) -> GitSource {
    GitSource::new(cache.path(), Limits::default())
}

#[track_caller]
pub(crate) fn changed(fetched: Fetched) -> Revision {
    match fetched {
        Fetched::Changed(revision) => revision,
        Fetched::Unchanged => panic!("unchanged"),
    }
}

#[track_caller]
pub(crate) fn text(tree: &Tree, path: &str) -> String {
    let file = tree.file(&TreePath::parse(path).unwrap()).unwrap();
    String::from_utf8(file.data().to_vec()).unwrap()
}

/// What a server may do to those who fetch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trick {
    /// An endless list of references.
    EndlessReferences,
    /// An endless object.
    EndlessPack,
    /// Words of progress without end.
    EndlessProgress,
    /// Four billion objects.
    ManyObjects,
    /// One object that says that it has a terabyte.
    LargeObject,
    /// Half of a pack.
    Cut,
}

/// A line of Git's protocol on a band.
fn line(band: u8, data: &[u8]) -> Vec<u8> {
    let mut line = format!("{:04x}", data.len() + 5).into_bytes();
    line.push(band);
    line.extend_from_slice(data);
    line
}

impl Trick {
    /// The answer to a command, if it is played at that one.
    pub(crate) fn answer(self, command: &[u8]) -> Option<Response<Body>> {
        let is = |name: &[u8]| command.windows(name.len()).any(|part| part == name);
        let endless = |first: Vec<u8>, more: Vec<u8>| {
            let first = futures::stream::iter([Ok::<_, std::io::Error>(first)]);
            let more = futures::stream::repeat_with(move || Ok(more.clone()));
            Some(Response::new(Body::from_stream(futures::StreamExt::chain(
                first, more,
            ))))
        };
        if self == Trick::EndlessReferences {
            let line = format!("{} refs/heads/{}\n", "1".repeat(40), "x".repeat(200));
            let line = format!("{:04x}{line}", line.len() + 4);
            return is(b"command=ls-refs").then(|| endless(Vec::new(), line.repeat(100).into_bytes()))?;
        }
        if !is(b"command=fetch") {
            return None;
        }
        let begin = |count: u32, object: &[u8]| {
            let pack = [b"PACK\0\0\0\x02".as_slice(), &count.to_be_bytes(), object].concat();
            [b"000dpackfile\n".to_vec(), line(1, &pack)].concat()
        };
        // A stored block of zlib's that another follows, of a blob.
        let block = [b"\x00\xff\xff\x00\x00".to_vec(), vec![b'x'; 0xffff]].concat();
        let blocks: Vec<u8> = block.chunks(60_000).flat_map(|part| line(1, part)).collect();
        // Type blob, and a size in groups of seven bits.
        let huge = b"\xb0\x80\x80\x80\x80\x80\x10\x78\x01";
        match self {
            Trick::EndlessPack => endless(begin(1, huge), blocks),
            Trick::EndlessProgress => endless(b"000dpackfile\n".to_vec(), line(2, &[b'.'; 1000])),
            Trick::ManyObjects => endless(begin(u32::MAX, huge), blocks),
            Trick::LargeObject => {
                let end = b"\x01\x01\x00\xfe\xffx\x00\x79\x00\x79";
                let data = [begin(1, huge), line(1, end), line(1, &[0; 20]), b"0000".to_vec()];
                Some(Response::new(Body::from(data.concat())))
            }
            Trick::Cut | Trick::EndlessReferences => {
                Some(Response::new(Body::from(begin(3, b"\xb0\x01\x78"))))
            }
        }
    }
}

/// What the server saw and shall do.
#[derive(Default)]
pub(crate) struct Behaviour {
    /// `Authorization` that it wants.
    pub(crate) authorization: Option<String>,
    /// Sends every request of a path beginning so elsewhere.
    pub(crate) redirect: Option<(String, String)>,
    /// Waits so long before it answers.
    pub(crate) delay: Option<std::time::Duration>,
    /// What a fetch gets instead of objects.
    pub(crate) fetch: Option<Trick>,
    /// Speaks the first protocol only.
    pub(crate) old: bool,
    /// Method, path and `Authorization` of each request.
    pub(crate) seen: Vec<(String, String, Option<String>)>,
}

/// A server of all repositories below a folder.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) behaviour: Arc<Mutex<Behaviour>>,
}

struct Shared {
    root: PathBuf,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Server {
    pub(crate) async fn start(root: &Path) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self::on(root, listener, port)
    }

    /// The server on a listener of any kind.
    pub(crate) fn on<L>(root: &Path, listener: L, port: u16) -> Self
    where
        L: axum::serve::Listener,
        L::Addr: std::fmt::Debug,
    {
        let behaviour = Arc::new(Mutex::new(Behaviour::default()));
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            behaviour: Arc::clone(&behaviour),
        });
        let router = Router::new().fallback(handle).with_state(shared);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Server { port, behaviour }
    }

    pub(crate) fn url(&self, repo: &TestRepo) -> String {
        format!("http://127.0.0.1:{}/{}", self.port, repo.name)
    }

    pub(crate) fn posts(&self) -> usize {
        let behaviour = self.behaviour.lock().unwrap();
        behaviour
            .seen
            .iter()
            .filter(|(method, ..)| method == "POST")
            .count()
    }

    pub(crate) fn requests(&self) -> usize {
        self.behaviour.lock().unwrap().seen.len()
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let authorization = header("authorization");
    let status = |status: u16| Response::builder().status(status);
    let (delay, old) = {
        let mut behaviour = shared.behaviour.lock().unwrap();
        behaviour
            .seen
            .push((method.to_string(), uri.path().to_owned(), authorization.clone()));
        if let Some((from, to)) = &behaviour.redirect
            && let Some(rest) = uri.path_and_query().unwrap().as_str().strip_prefix(from.as_str())
        {
            return status(302)
                .header("location", format!("{to}{rest}"))
                .body(Body::empty())
                .unwrap();
        }
        if behaviour.authorization.is_some() && behaviour.authorization != authorization {
            return status(401)
                .header("www-authenticate", "Basic realm=\"x\"")
                .body(Body::empty())
                .unwrap();
        }
        if let Some(mut answer) = behaviour.fetch.and_then(|trick| trick.answer(&body)) {
            let kind = axum::http::HeaderValue::from_static("application/x-git-upload-pack-result");
            answer.headers_mut().insert("content-type", kind);
            return answer;
        }
        (behaviour.delay, behaviour.old)
    };
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    let mut command = Command::new(backend());
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method.as_str())
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("REMOTE_ADDR", "127.0.0.1");
    if !old && let Some(protocol) = header("git-protocol") {
        command.env("GIT_PROTOCOL", protocol);
    }
    let output = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            // The backend may close its input before it has read everything.
            let _ = stdin.write_all(&body);
        });
        let output = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap();
        output
    })
    .await
    .unwrap();
    let split = output
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or(0);
    let mut code = 200;
    let mut fields = Vec::new();
    for line in String::from_utf8_lossy(&output[..split]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            code = value[..3].parse().unwrap();
        } else {
            fields.push((name.to_owned(), value.to_owned()));
        }
    }
    let mut response = status(code);
    for (name, value) in fields {
        response = response.header(name, value);
    }
    response.body(Body::from(output[split + 4..].to_vec())).unwrap()
}

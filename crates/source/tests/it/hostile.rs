//! Servers and contents that mean harm: redirects that would carry credentials away, layers and charts that unpack to more
//! than they look like or to places outside, lists that never end.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use base64::Engine as _;
use fluvial_ports::{Access, ChartRequest, ImageReference, ImageRequest, IndexRequest, Layer};
use fluvial_source::SourceError;
use fluvial_source::credentials::cloud::Clouds;
use fluvial_source::helm::{HelmLimits, HelmSource};
use fluvial_source::mirrors::Mirrors;
use fluvial_source::oci::OciSource;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::EntryType;

const SECRET: &str = "lovelace";

/// An answer that is always the same: status, headers, body.
type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// What a server knows and has seen.
#[derive(Default)]
struct Served {
    answers: BTreeMap<String, Answer>,
    /// Requests: path, and everything else that could hold a secret.
    seen: Vec<(String, String)>,
}

#[derive(Clone)]
struct Server {
    served: Arc<Mutex<Served>>,
    url: String,
}

async fn answer(
    State(served): State<Arc<Mutex<Served>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut served = served.lock().unwrap();
    let said = format!(
        "{headers:?} {:?} {:?}",
        uri.query(),
        String::from_utf8_lossy(&body)
    );
    served.seen.push((uri.path().to_owned(), said));
    let Some((status, headers, body)) = served.answers.get(uri.path()).cloned() else {
        return Response::builder().status(404).body(Body::empty()).unwrap();
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap()
}

impl Server {
    /// A server at this name of the machine; another name is another server.
    async fn start(host: &str) -> Self {
        let served = Arc::<Mutex<Served>>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{host}:{}", listener.local_addr().unwrap().port());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&served));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Server { served, url }
    }

    fn put(&self, path: &str, answer: Answer) {
        self.served
            .lock()
            .unwrap()
            .answers
            .insert(path.to_owned(), answer);
    }

    fn give(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.put(path, (200, Vec::new(), body.into()));
    }

    /// Sends a path to the same path of another server.
    fn redirect(&self, path: &str, to: &Server) {
        self.put(
            path,
            (307, vec![("location", format!("{}{path}", to.url))], Vec::new()),
        );
    }

    /// How often it was asked, after a look that nothing secret came with it.
    #[track_caller]
    fn asked_in_public(&self) -> usize {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("ada:{SECRET}"));
        let served = self.served.lock().unwrap();
        for (path, said) in &served.seen {
            let lower = said.to_lowercase();
            assert!(
                !said.contains(SECRET) && !said.contains(&encoded) && !lower.contains("authorization"),
                "{path}: {said}"
            );
        }
        served.seen.len()
    }

    fn host(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// An image with one layer of these bytes.
    fn push(&self, layer: &[u8]) {
        let (manifest, blob) = image(layer);
        self.give("/v2/", "");
        self.give("/v2/app/manifests/v1", manifest);
        self.give(&blob, layer);
    }
}

fn digest(data: &[u8]) -> String {
    let hash = Sha256::digest(data);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A manifest with one layer, and the path of the layer.
fn image(layer: &[u8]) -> (String, String) {
    let layers = json!([{"mediaType": "x/y", "digest": digest(layer), "size": layer.len()}]);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "layers": layers});
    (manifest.to_string(), format!("/v2/app/blobs/{}", digest(layer)))
}

struct Sources {
    helm: HelmSource,
    oci: OciSource,
    folder: tempfile::TempDir,
}

fn sources() -> Sources {
    let folder = tempfile::tempdir().unwrap();
    let helm = HelmSource::new(folder.path(), HelmLimits::default());
    Sources {
        oci: OciSource::new(BTreeMap::new(), helm.clone(), Clouds::default()),
        helm,
        folder,
    }
}

fn secret(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, Vec<u8>>> {
    let pairs = pairs.iter();
    Some(
        pairs
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect(),
    )
}

fn ada() -> Access {
    Access {
        credentials: secret(&[("username", "ada"), ("password", SECRET)]),
        timeout: Duration::from_secs(20),
        ..Access::default()
    }
}

fn asks(server: &Server, access: Access) -> ImageRequest {
    ImageRequest {
        url: format!("oci://{}/app", server.host()),
        reference: ImageReference {
            tag: Some("v1".to_owned()),
            ..ImageReference::default()
        },
        access,
        ..ImageRequest::default()
    }
}

async fn pull(request: &ImageRequest) -> Result<Vec<String>, SourceError> {
    let sources = sources();
    let found = sources.oci.image(request, None, &Mirrors::default()).await?;
    let Some(Layer::Files(tree)) = found.layer else {
        panic!("files")
    };
    Ok(tree.iter().map(|(path, _)| path.to_string()).collect())
}

/// An entry of a tarball, as somebody with bad intentions writes it.
fn entry(name: &str, kind: EntryType, link: &str, size: u64, data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(size);
    let ustar = header.as_ustar_mut().unwrap();
    ustar.name[..name.len()].copy_from_slice(name.as_bytes());
    ustar.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    let mut entry = header.as_bytes().to_vec();
    entry.extend_from_slice(data);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn gzip(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for part in parts {
        out.write_all(part).unwrap();
    }
    out.write_all(&[0; 1024]).unwrap();
    out.finish().unwrap()
}

fn file(name: &str, data: &[u8]) -> Vec<u8> {
    entry(name, EntryType::Regular, "", data.len() as u64, data)
}

/// The path of an extended header in place of the plain one.
fn renamed(name: &str, data: &[u8]) -> Vec<u8> {
    let rest = format!(" path={name}\n");
    let mut size = rest.len() + 2;
    if size.to_string().len() + rest.len() != size {
        size = size.to_string().len() + rest.len();
    }
    let record = format!("{size}{rest}");
    let mut all = entry(
        "x",
        EntryType::XHeader,
        "",
        record.len() as u64,
        record.as_bytes(),
    );
    all.extend(file("harmless", data));
    all
}

#[tokio::test]
async fn layers_that_lead_out_are_refused_and_their_links_left_out() {
    let server = Server::start("127.0.0.1").await;
    let request = asks(
        &server,
        Access {
            credentials: None,
            ..ada()
        },
    );
    for (what, bad, word) in [
        ("parent", file("../evil", b"x"), "'..'"),
        ("inner parent", file("a/../../evil", b"x"), "'..'"),
        ("absolute", file("/etc/evil", b"x"), "absolute"),
        ("backslash", file("a\\..\\evil", b"x"), "backslash"),
        ("renamed", renamed("../../evil", b"x"), "'..'"),
        ("renamed to the root", renamed("/etc/evil", b"x"), "absolute"),
        ("device", entry("dev", EntryType::Char, "", 0, b""), "neither"),
        ("pipe", entry("pipe", EntryType::Fifo, "", 0, b""), "neither"),
        (
            "parent folder",
            entry("../", EntryType::Directory, "", 0, b""),
            "'..'",
        ),
        ("git", file(".git/config", b"x"), ""),
    ] {
        server.push(&gzip(&[file("good", b"x"), bad]));
        let pulled = pull(&request).await;
        if word.is_empty() {
            // Rules leave it out later, as in every artifact.
            assert!(pulled.is_ok(), "{what}");
            continue;
        }
        let error = pulled.expect_err(what);
        assert_eq!(error.reason, "OCIArtifactLayerOperationFailed", "{what}");
        assert!(error.message.contains(word), "{what}: {error}");
    }
    // A link and a file behind it: neither leads anywhere.
    let links = gzip(&[
        entry("out", EntryType::Symlink, "/tmp", 0, b""),
        entry("hard", EntryType::Link, "/etc/passwd", 0, b""),
        entry("loop", EntryType::Symlink, "loop", 0, b""),
        file("good", b"x"),
    ]);
    server.push(&links);
    assert_eq!(pull(&request).await.unwrap(), ["good"]);
    let through = gzip(&[
        entry("out", EntryType::Symlink, "/tmp", 0, b""),
        file("out/evil", b"x"),
    ]);
    server.push(&through);
    assert_eq!(pull(&request).await.unwrap(), ["out", "out/evil"]);
    assert!(!std::path::Path::new("/tmp/evil").exists());
    // Names that some systems take for one.
    server.push(&gzip(&[file("A", b"1"), file("a", b"2")]));
    assert_eq!(pull(&request).await.unwrap(), ["A", "a"]);
}

#[tokio::test]
async fn layers_that_unpack_to_too_much_are_refused_before_they_do() {
    let server = Server::start("127.0.0.1").await;
    let request = asks(
        &server,
        Access {
            credentials: None,
            ..ada()
        },
    );
    // Two hundred mebibytes of zeros in two hundred kibibytes.
    let zeros = vec![0; 200 << 20];
    let bomb = gzip(&[entry("zeros", EntryType::Regular, "", zeros.len() as u64, &zeros)]);
    drop(zeros);
    assert!(bomb.len() < 2 << 20);
    server.push(&bomb);
    let error = pull(&request).await.unwrap_err();
    assert_eq!(error.reason, "OCIArtifactLayerOperationFailed");
    assert!(error.message.contains("'zeros' has 200.0 MiB"), "{error}");
    // A size that is only said.
    server.push(&gzip(&[entry("liar", EntryType::Regular, "", 7 << 30, b"x")]));
    let error = pull(&request).await.unwrap_err();
    assert!(error.message.contains("'liar' has 7.0 GiB"), "{error}");
    // Deeper than anybody needs, and more than one path for a file.
    let deep = "d/".repeat(49) + "f";
    let deeper = renamed(&format!("{}{deep}", "e/".repeat(200)), b"x");
    server.push(&gzip(&[deeper]));
    let error = pull(&request).await.unwrap_err();
    assert!(error.message.contains("nested deeper"), "{error}");
    // No archive at all, and one that breaks off.
    for data in [&b"\x1f\x8b\x08\x00garbage"[..], &bomb[..1000], b""] {
        server.push(data);
        let error = pull(&request).await.unwrap_err();
        assert!(error.reason.starts_with("OCIArtifact"), "{error}");
    }
}

#[tokio::test]
async fn lists_and_manifests_without_end_are_cut_off() {
    let server = Server::start("127.0.0.1").await;
    server.give("/v2/", "");
    server.give("/v2/app/manifests/v1", vec![b' '; 64 << 20]);
    let request = asks(
        &server,
        Access {
            credentials: None,
            ..ada()
        },
    );
    let error = pull(&request).await.unwrap_err();
    assert!(error.message.contains("more than"), "{error}");
    // A list of tags whose next page is itself.
    let next = vec![("link", "</v2/app/tags/list>; rel=\"next\"".to_owned())];
    let page = json!({"tags": ["1.0.0"]}).to_string().into_bytes();
    server.put("/v2/app/tags/list", (200, next, page));
    let mut range = request.clone();
    range.reference.semver = Some("*".to_owned());
    let error = pull(&range).await.unwrap_err();
    assert!(error.message.contains("pages"), "{error}");
}

#[tokio::test]
async fn no_redirect_carries_a_login_away_from_its_registry() {
    let registry = Server::start("127.0.0.1").await;
    let elsewhere = Server::start("localhost").await;
    let layer = gzip(&[file("good", b"x")]);
    let (manifest, blob) = image(&layer);
    let challenge = |url: &str| {
        let text = format!("Bearer realm=\"{url}/token\",service=\"x\"");
        (401, vec![("www-authenticate", text)], Vec::new())
    };
    // Layers are often somewhere else; the login stays.
    registry.put(
        "/v2/",
        (
            401,
            vec![("www-authenticate", "Basic realm=\"x\"".to_owned())],
            Vec::new(),
        ),
    );
    registry.give("/v2/app/manifests/v1", manifest.as_str());
    registry.redirect(&blob, &elsewhere);
    elsewhere.give(&blob, layer.as_slice());
    let request = asks(&registry, ada());
    assert_eq!(pull(&request).await.unwrap(), ["good"]);
    assert_eq!(elsewhere.asked_in_public(), 1);
    // A token server that sends elsewhere gets no token from there by the login.
    registry.put("/v2/", challenge(&registry.url));
    registry.redirect("/token", &elsewhere);
    elsewhere.give("/token", json!({"token": "theirs"}).to_string());
    registry.redirect("/v2/app/manifests/v1", &elsewhere);
    elsewhere.give("/v2/app/manifests/v1", manifest.as_str());
    assert_eq!(pull(&request).await.unwrap(), ["good"]);
    elsewhere.asked_in_public();
    // A form with a token is not sent on at all.
    let config = json!({"auths": {registry.host(): {"identitytoken": SECRET}}}).to_string();
    let identity = Access {
        credentials: secret(&[(".dockerconfigjson", &config)]),
        ..ada()
    };
    let error = pull(&asks(&registry, identity)).await.unwrap_err();
    assert!(error.message.contains("a redirect of a form"), "{error}");
    assert!(!error.message.contains(SECRET), "{error}");
    elsewhere.asked_in_public();
    // Nor to another scheme, nor for ever.
    for (location, word) in [
        ("file:///etc/passwd", "a redirect to 'file:"),
        ("/v2/app/manifests/v1", "redirects"),
    ] {
        let to = vec![("location", location.to_owned())];
        registry.put("/v2/", (200, Vec::new(), Vec::new()));
        registry.put("/v2/app/manifests/v1", (302, to, Vec::new()));
        let error = pull(&request).await.unwrap_err();
        assert!(error.message.contains(word), "{error}");
    }
}

#[tokio::test]
async fn no_redirect_carries_a_login_away_from_its_chart_repository() {
    let repository = Server::start("127.0.0.1").await;
    let elsewhere = Server::start("localhost").await;
    let chart = gzip(&[file(
        "tea/Chart.yaml",
        b"apiVersion: v2\nname: tea\nversion: 1.0.0\n",
    )]);
    let sum = digest(&chart);
    let index = format!(
        "apiVersion: v1\nentries:\n  tea:\n  - name: tea\n    version: 1.0.0\n    digest: {}\n    urls: [tea.tgz]\n",
        &sum[7..]
    );
    repository.redirect("/index.yaml", &elsewhere);
    elsewhere.give("/index.yaml", index);
    repository.redirect("/tea.tgz", &elsewhere);
    elsewhere.give("/tea.tgz", chart.as_slice());
    for everywhere in [false, true] {
        let sources = sources();
        let access = Access {
            pass_credentials: everywhere,
            ..ada()
        };
        let asked = IndexRequest {
            url: repository.url.clone(),
            access: access.clone(),
            last_revision: None,
        };
        let found = sources.helm.index(&asked, &Mirrors::default()).await.unwrap();
        let wanted = ChartRequest {
            repository: repository.url.clone(),
            chart: "tea".to_owned(),
            index: Some(found.revision),
            access,
            ..ChartRequest::default()
        };
        let found = sources.helm.chart(&wanted, &Mirrors::default()).await.unwrap();
        assert_eq!(found.archive.as_deref(), Some(chart.as_slice()));
        assert!(sources.folder.path().is_dir());
    }
    assert_eq!(elsewhere.asked_in_public(), 4);
}

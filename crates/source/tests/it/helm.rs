//! Chart repositories: a server that counts and refuses, and folders in its place.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use fluvial_helm::{LoadLimits, Package};
use fluvial_ports::{Access, ChartRequest, Content, IndexRequest};
use fluvial_source::credentials::cloud::Clouds;
use fluvial_source::helm::{HelmLimits, HelmSource};
use fluvial_source::mirrors::Mirrors;
use fluvial_source::oci::OciSource;
use fluvial_source::{Class, SourceError};
use fluvial_tree::{File, TreeBuilder, TreePath};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// A packed chart.
fn chart(name: &str, version: &str) -> Vec<u8> {
    let mut tree = TreeBuilder::default();
    let text = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    tree.file("Chart.yaml", File::new(text.into_bytes(), false))
        .unwrap();
    let tree = tree.build();
    let package = Package::from_tree(&tree, &TreePath::root(), LoadLimits::default()).unwrap();
    package.pack().unwrap()
}

fn digest(data: &[u8]) -> String {
    Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[derive(Default)]
struct Served {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    password: Option<&'static str>,
    redirect: Mutex<Option<String>>,
    /// Requests by path: how often, and how often with credentials.
    seen: Mutex<BTreeMap<String, (usize, usize)>>,
    full: AtomicUsize,
}

impl Served {
    fn put(&self, path: &str, data: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(path.to_owned(), data.into());
    }

    fn with_credentials(&self, path: &str) -> usize {
        self.seen.lock().unwrap().get(path).map_or(0, |seen| seen.1)
    }
}

async fn answer(State(served): State<Arc<Served>>, headers: HeaderMap, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let credentials = headers.get(header::AUTHORIZATION);
    {
        let mut seen = served.seen.lock().unwrap();
        let seen = seen.entry(path.clone()).or_default();
        seen.0 += 1;
        seen.1 += usize::from(credentials.is_some());
    }
    if let Some(password) = served.password {
        let wanted = format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(format!("me:{password}"))
        );
        if credentials.is_none_or(|given| given.to_str().unwrap() != wanted) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
    }
    if let Some(place) = &*served.redirect.lock().unwrap() {
        return (StatusCode::FOUND, [(header::LOCATION, format!("{place}{path}"))]).into_response();
    }
    if path.ends_with("/slow/index.yaml") {
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    let Some(data) = served.files.lock().unwrap().get(&path).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = format!("\"{}\"", digest(&data));
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.to_str().unwrap() == tag)
    {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    served.full.fetch_add(1, Ordering::Relaxed);
    ([(header::ETAG, tag)], data).into_response()
}

async fn serve(served: &Arc<Served>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(Arc::clone(served));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn index(charts: &[(&str, &str, &str, &str)]) -> String {
    let mut entries: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (name, version, url, digest) in charts {
        let row =
            json!({"apiVersion": "v2", "name": name, "version": version, "urls": [url], "digest": digest});
        entries.entry(name).or_default().push(row);
    }
    let json = json!({"apiVersion": "v1", "entries": entries});
    fluvial_yaml::json_to_yaml(&json)
}

struct Setup {
    helm: HelmSource,
    _folder: tempfile::TempDir,
}

fn setup() -> Setup {
    let folder = tempfile::tempdir().unwrap();
    Setup {
        helm: HelmSource::new(folder.path(), HelmLimits::default()),
        _folder: folder,
    }
}

fn access(password: Option<&str>) -> Access {
    let data = |password: &str| {
        BTreeMap::from([
            ("username".to_owned(), b"me".to_vec()),
            ("password".to_owned(), password.as_bytes().to_vec()),
        ])
    };
    Access {
        credentials: password.map(data),
        timeout: Duration::from_secs(5),
        ..Access::default()
    }
}

fn asked(url: &str, access: Access) -> IndexRequest {
    IndexRequest {
        url: url.to_owned(),
        access,
        last_revision: None,
    }
}

fn wanted(repository: &str, version: &str, access: Access) -> ChartRequest {
    ChartRequest {
        repository: repository.to_owned(),
        chart: "web".to_owned(),
        version: version.to_owned(),
        access,
        ..ChartRequest::default()
    }
}

#[tokio::test]
async fn an_index_is_fetched_once_and_charts_are_chosen_from_it() {
    let served = Arc::new(Served::default());
    let url = serve(&served).await;
    let (old, new) = (chart("web", "1.0.0"), chart("web", "1.2.0"));
    served.put("/charts/web-1.0.0.tgz", old.clone());
    served.put("/charts/web-1.2.0.tgz", new.clone());
    let text = index(&[
        ("web", "1.0.0", "web-1.0.0.tgz", &digest(&old)),
        (
            "web",
            "1.2.0",
            &format!("{url}/charts/web-1.2.0.tgz"),
            &digest(&new),
        ),
    ]);
    served.put("/charts/index.yaml", text.clone());
    let (repository, none) = (format!("{url}/charts"), Mirrors::default());
    let setup = setup();
    let first = setup
        .helm
        .index(&asked(&repository, access(None)), &none)
        .await
        .unwrap();
    assert_eq!(first.revision, format!("sha256:{}", digest(text.as_bytes())));
    assert!(!first.unchanged);
    let mut again = asked(&repository, access(None));
    again.last_revision = Some(first.revision.clone());
    let second = setup.helm.index(&again, &none).await.unwrap();
    assert!(second.unchanged);
    assert_eq!(served.full.load(Ordering::Relaxed), 1);
    let Content::File(path) = second.content else {
        panic!("a file")
    };
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(json["entries"]["web"][0]["version"], "1.2.0");

    let newest = setup
        .helm
        .chart(&wanted(&repository, "", access(None)), &none)
        .await
        .unwrap();
    assert_eq!(
        (newest.version.as_str(), newest.archive.as_deref()),
        ("1.2.0", Some(&new[..]))
    );
    let older = setup
        .helm
        .chart(&wanted(&repository, "<1.1", access(None)), &none)
        .await
        .unwrap();
    assert_eq!(older.archive.as_deref(), Some(&old[..]));
    let mut same = wanted(&repository, "", access(None));
    same.last_version = Some("1.2.0".to_owned());
    assert!(setup.helm.chart(&same, &none).await.unwrap().archive.is_none());
    let error = setup
        .helm
        .chart(&wanted(&repository, "^9", access(None)), &none)
        .await
        .unwrap_err();
    assert_eq!(
        (error.class, error.reason),
        (Class::Stalled, "InvalidChartReference")
    );
    assert!(
        error
            .message
            .ends_with("no 'web' chart with version matching '^9' found"),
        "{error}"
    );
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let served = Arc::new(Served {
        password: Some("right"),
        ..Served::default()
    });
    let url = serve(&served).await;
    served.put(
        "/index.yaml",
        index(&[("web", "1.0.0", "web.tgz", &"0".repeat(64))]),
    );
    served.put("/web.tgz", chart("web", "1.0.0"));
    served.put("/broken/index.yaml", "apiVersion: v1\nentries: [\n");
    let (setup, none) = (setup(), Mirrors::default());
    let fails = async |request: IndexRequest| -> SourceError {
        setup.helm.index(&request, &none).await.expect_err("it fails")
    };
    let error = fails(asked(&url, access(None))).await;
    assert!(
        error.message.contains("401") && error.message.contains("name a secret"),
        "{error}"
    );
    let error = fails(asked(&url, access(Some("wrong")))).await;
    assert!(error.message.contains("check user name and password"), "{error}");
    assert!(!error.message.contains("wrong;"), "{error}");
    let error = fails(asked(&format!("{url}/nothing"), access(Some("right")))).await;
    assert!(
        error.message.contains("404") && error.reason == "Failed",
        "{error}"
    );
    let error = fails(asked(&format!("{url}/broken"), access(Some("right")))).await;
    assert_eq!(error.reason, "IndexationFailed");
    let mut slow = asked(&format!("{url}/slow"), access(Some("right")));
    slow.access.timeout = Duration::from_millis(200);
    let error = fails(slow).await;
    assert!(error.message.contains("raise the timeout"), "{error}");
    let error = fails(asked("ftp://x/y", access(None))).await;
    assert_eq!((error.class, error.reason), (Class::Stalled, "URLInvalid"));
    let error = setup
        .helm
        .chart(&wanted(&url, "", access(Some("right"))), &none)
        .await
        .unwrap_err();
    assert!(
        error.reason == "ChartPullError" && error.message.contains("has digest"),
        "{error}"
    );
}

#[tokio::test]
async fn credentials_stay_with_the_repository_s_host() {
    let other = Arc::new(Served::default());
    let elsewhere = serve(&other).await.replace("127.0.0.1", "localhost");
    let data = chart("web", "1.0.0");
    other.put("/web.tgz", data.clone());
    let text = index(&[("web", "1.0.0", &format!("{elsewhere}/web.tgz"), &digest(&data))]);
    other.put("/index.yaml", text.clone());
    let served = Arc::new(Served {
        password: Some("right"),
        ..Served::default()
    });
    let url = serve(&served).await;
    served.put("/index.yaml", text);
    let (setup, none) = (setup(), Mirrors::default());
    setup
        .helm
        .chart(&wanted(&url, "", access(Some("right"))), &none)
        .await
        .unwrap();
    assert_eq!(other.with_credentials("/web.tgz"), 0);
    // Passed on when asked for.
    let fresh = self::setup();
    let mut passing = wanted(&url, "", access(Some("right")));
    passing.access.pass_credentials = true;
    fresh.helm.chart(&passing, &none).await.unwrap();
    assert_eq!(other.with_credentials("/web.tgz"), 1);
    // Never along a redirect.
    *served.redirect.lock().unwrap() = Some(elsewhere);
    let fresh = self::setup();
    fresh
        .helm
        .index(&asked(&url, access(Some("right"))), &none)
        .await
        .unwrap();
    assert_eq!(other.with_credentials("/index.yaml"), 0);
}

#[tokio::test]
async fn a_folder_of_charts_stands_in_for_a_repository_and_a_registry() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("web-1.0.0.tgz"), chart("web", "1.0.0")).unwrap();
    std::fs::write(folder.path().join("other.tgz"), b"no chart").unwrap();
    std::fs::create_dir(folder.path().join("web")).unwrap();
    std::fs::write(
        folder.path().join("web/Chart.yaml"),
        "apiVersion: v2\nname: web\nversion: 2.0.0-dev\n",
    )
    .unwrap();
    let rules = json!([
        {"from": "https://charts.example.org", "to": folder.path()},
        {"from": "oci://registry.example.org/charts", "to": folder.path()},
    ]);
    let mirrors = Mirrors::from_value(&rules, std::path::Path::new("/")).unwrap();
    let setup = setup();
    let found = setup
        .helm
        .index(&asked("https://charts.example.org", access(None)), &mirrors)
        .await
        .unwrap();
    assert_eq!(found.rewritten.as_deref(), Some(folder.path().to_str().unwrap()));
    let oci = OciSource::new(BTreeMap::new(), setup.helm.clone(), Clouds::default());
    let chart_of = async |request: ChartRequest| {
        let found = if request.repository.starts_with("oci:") {
            oci.chart(&request, &mirrors).await
        } else {
            setup.helm.chart(&request, &mirrors).await
        };
        found.unwrap()
    };
    for repository in ["https://charts.example.org/", "oci://registry.example.org/charts"] {
        let stable = chart_of(wanted(repository, "", access(None))).await;
        assert_eq!(stable.version, "1.0.0", "{repository}");
        let dev = chart_of(wanted(repository, ">=2.0.0-0", access(None))).await;
        let package = Package::from_archive(&dev.archive.unwrap(), LoadLimits::default()).unwrap();
        assert_eq!(package.metadata().version, "2.0.0-dev");
    }
}

#[tokio::test]
async fn endless_indexes_and_charts_are_cut_off() {
    let served = Arc::new(Served::default());
    let url = serve(&served).await;
    served.put("/index.yaml", vec![b'#'; 4096]);
    let folder = tempfile::tempdir().unwrap();
    let limits = HelmLimits {
        index: 1000,
        chart: 100,
        ..HelmLimits::default()
    };
    let helm = HelmSource::new(folder.path(), limits);
    let error = helm
        .index(&asked(&url, access(None)), &Mirrors::default())
        .await
        .unwrap_err();
    assert!(error.message.contains("more than 1000 bytes"), "{error}");
    let data = chart("web", "1.0.0");
    served.put(
        "/index.yaml",
        index(&[("web", "1.0.0", "web.tgz", &digest(&data))]),
    );
    served.put("/web.tgz", data);
    let error = helm
        .chart(&wanted(&url, "", access(None)), &Mirrors::default())
        .await
        .unwrap_err();
    assert!(error.message.contains("more than 100 bytes"), "{error}");
    let pending = folder.path().join("pending");
    assert_eq!(std::fs::read_dir(pending).unwrap().count(), 0);
}

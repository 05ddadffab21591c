//! OCI registries: one in this process, with a token server, as the distribution specification describes them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use fluvial_ports::{Access, ChartRequest, ImageReference, ImageRequest, Layer, Verification};
use fluvial_source::artifact;
use fluvial_source::credentials::cloud::Clouds;
use fluvial_source::helm::{HelmLimits, HelmSource};
use fluvial_source::mirrors::Mirrors;
use fluvial_source::oci::OciSource;
use fluvial_source::{Class, SourceError};
use fluvial_tree::{File, Tree, TreeBuilder, TreePath};
use serde_json::json;
use sha2::{Digest as _, Sha256};

fn digest(data: &[u8]) -> String {
    let hex: String = Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = TreeBuilder::default();
    for (path, text) in files {
        tree.file(path, File::new(text.as_bytes(), false)).unwrap();
    }
    tree.build()
}

#[derive(Default)]
struct Registry {
    url: Mutex<String>,
    password: Option<&'static str>,
    /// Manifests by tag and by digest, blobs by digest.
    stored: Mutex<BTreeMap<String, Vec<u8>>>,
    tags: Mutex<Vec<String>>,
    /// Paths that were asked for with a token.
    asked: Mutex<Vec<String>>,
}

impl Registry {
    /// Stores an image; gives its digest.
    fn push(&self, tag: &str, layers: &[(&str, &[u8])], annotations: &serde_json::Value) -> String {
        let mut stored = self.stored.lock().unwrap();
        let mut descriptors = Vec::new();
        for (media_type, data) in layers {
            stored.insert(digest(data), data.to_vec());
            descriptors.push(json!({"mediaType": media_type, "digest": digest(data), "size": data.len()}));
        }
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "layers": descriptors, "annotations": annotations});
        let data = manifest.to_string().into_bytes();
        let id = digest(&data);
        stored.insert(format!("tag:{tag}"), data.clone());
        stored.insert(id.clone(), data);
        self.tags.lock().unwrap().push(tag.to_owned());
        id
    }
}

async fn answer(State(registry): State<Arc<Registry>>, headers: HeaderMap, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let given = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap().to_owned());
    if let Some(password) = registry.password {
        if path == "/token" {
            let wanted = base64::engine::general_purpose::STANDARD.encode(format!("me:{password}"));
            let good = given.is_some_and(|given| given == format!("Basic {wanted}"));
            assert!(query.contains("scope=repository"), "{query}");
            return if good {
                json!({"token": "the-token"}).to_string().into_response()
            } else {
                StatusCode::UNAUTHORIZED.into_response()
            };
        }
        if given.as_deref() != Some("Bearer the-token") {
            let challenge = format!(
                "Bearer realm=\"{}/token\",service=\"test\",scope=\"x\"",
                registry.url.lock().unwrap()
            );
            return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response();
        }
        registry.asked.lock().unwrap().push(path.clone());
    }
    if path == "/v2/" {
        return StatusCode::OK.into_response();
    }
    if path.ends_with("/tags/list") {
        // Two tags a page.
        let tags = registry.tags.lock().unwrap().clone();
        let at: usize = query
            .split("last=")
            .nth(1)
            .and_then(|at| at.parse().ok())
            .unwrap_or(0);
        let page: Vec<_> = tags.iter().skip(at).take(2).cloned().collect();
        let mut response = json!({"name": "x", "tags": page}).to_string().into_response();
        if at + 2 < tags.len() {
            let link = format!("<{path}?last={}>; rel=\"next\"", at + 2);
            response.headers_mut().insert(header::LINK, link.parse().unwrap());
        }
        return response;
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let stored = registry.stored.lock().unwrap();
    let key = if name.starts_with("sha256:") {
        name.to_owned()
    } else {
        format!("tag:{name}")
    };
    match stored.get(&key) {
        Some(data) => data.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

struct Setup {
    registry: Arc<Registry>,
    host: String,
    oci: OciSource,
    _folder: tempfile::TempDir,
}

async fn setup(password: Option<&'static str>) -> Setup {
    let registry = Arc::new(Registry {
        password,
        ..Registry::default()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    *registry.url.lock().unwrap() = format!("http://{host}");
    let router = Router::new().fallback(answer).with_state(Arc::clone(&registry));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().unwrap();
    let helm = HelmSource::new(folder.path(), HelmLimits::default());
    Setup {
        registry,
        host,
        oci: OciSource::new(BTreeMap::new(), helm, Clouds::default()),
        _folder: folder,
    }
}

fn access() -> Access {
    Access {
        timeout: Duration::from_secs(10),
        ..Access::default()
    }
}

fn docker_config(host: &str, password: &str) -> BTreeMap<String, Vec<u8>> {
    let config = json!({"auths": {host: {"username": "me", "password": password}}});
    BTreeMap::from([(".dockerconfigjson".to_owned(), config.to_string().into_bytes())])
}

impl Setup {
    fn asks(&self, reference: ImageReference) -> ImageRequest {
        ImageRequest {
            url: format!("oci://{}/org/manifests", self.host),
            reference,
            access: access(),
            ..ImageRequest::default()
        }
    }

    async fn fails(&self, request: ImageRequest) -> SourceError {
        self.oci
            .image(&request, &Mirrors::default())
            .await
            .expect_err("it fails")
    }
}

fn tag(tag: &str) -> ImageReference {
    ImageReference {
        tag: Some(tag.to_owned()),
        ..ImageReference::default()
    }
}

#[tokio::test]
async fn images_are_found_by_tag_range_and_digest() {
    let setup = setup(None).await;
    let files = tree(&[("a.yaml", "kind: A\n")]);
    let packed = artifact::pack(&files);
    let flux = "application/vnd.cncf.flux.content.v1.tar+gzip";
    let origin = json!({"org.opencontainers.image.revision": "main@sha1:1"});
    let first = setup.registry.push("1.0.0", &[(flux, &packed.data)], &origin);
    setup.registry.push("1.1.0-rc.1", &[(flux, b"later")], &json!({}));
    setup.registry.push("0.9.0", &[(flux, b"older")], &json!({}));
    let none = Mirrors::default();
    let range = ImageReference {
        semver: Some("1.x".to_owned()),
        ..ImageReference::default()
    };
    let by_digest = ImageReference {
        digest: Some(first.clone()),
        ..tag("unused")
    };
    for (reference, revision) in [
        (tag("1.0.0"), format!("1.0.0@{first}")),
        (range, format!("1.0.0@{first}")),
        (by_digest, first.clone()),
    ] {
        let mut request = setup.asks(reference);
        let found = setup.oci.image(&request, &none).await.unwrap();
        assert_eq!(found.revision, revision);
        assert_eq!(
            found.annotations["org.opencontainers.image.revision"],
            "main@sha1:1"
        );
        let Some(Layer::Files(tree)) = found.layer else {
            panic!("files")
        };
        assert_eq!(tree.digest(), files.digest());
        request.last_revision = Some(revision);
        assert!(setup.oci.image(&request, &none).await.unwrap().layer.is_none());
        request.last_revision = None;
        request.copy = true;
        let Some(Layer::Copy(data)) = setup.oci.image(&request, &none).await.unwrap().layer else {
            panic!("a copy")
        };
        assert_eq!(&*data, &*packed.data);
    }
}

#[tokio::test]
async fn a_token_is_asked_for_with_the_login_of_the_host() {
    let setup = setup(Some("right")).await;
    let packed = artifact::pack(&tree(&[("a", "b")]));
    setup.registry.push("latest", &[("x", &packed.data)], &json!({}));
    let error = setup.fails(setup.asks(ImageReference::default())).await;
    assert_eq!(error.reason, "AuthenticationFailed");
    let mut wrong = setup.asks(ImageReference::default());
    wrong.access.credentials = Some(docker_config(&setup.host, "wrong"));
    let error = setup.fails(wrong).await;
    assert!(
        error.reason == "AuthenticationFailed" && error.message.contains("refused"),
        "{error}"
    );
    let mut other = setup.asks(ImageReference::default());
    other.access.credentials = Some(docker_config("ghcr.io", "right"));
    assert_eq!(setup.fails(other).await.reason, "AuthenticationFailed");
    // A pull secret of a service account does as well.
    let mut right = setup.asks(ImageReference::default());
    right.access.pull_secrets = vec![docker_config(&setup.host, "right")];
    setup.oci.image(&right, &Mirrors::default()).await.unwrap();
    assert!(
        setup
            .registry
            .asked
            .lock()
            .unwrap()
            .iter()
            .any(|path| path.contains("/blobs/"))
    );
}

#[tokio::test]
async fn failures_name_what_is_missing_or_damaged() {
    let setup = setup(None).await;
    let packed = artifact::pack(&tree(&[("a", "b")]));
    setup.registry.push("1.0.0", &[("x/y", &packed.data)], &json!({}));
    setup.registry.push("empty", &[], &json!({}));
    setup.registry.push("text", &[("x/y", b"no archive")], &json!({}));
    let error = setup.fails(setup.asks(tag("2.0.0"))).await;
    assert!(
        error.message.contains("'2.0.0'") && error.message.contains("404"),
        "{error}"
    );
    assert_eq!(
        (error.reason, error.class),
        ("OCIArtifactPullFailed", Class::Retry)
    );
    let mut layer = setup.asks(tag("1.0.0"));
    layer.media_type = "application/z".to_owned();
    let error = setup.fails(layer).await;
    assert_eq!(error.reason, "OCIArtifactLayerOperationFailed");
    assert!(error.message.contains("it has x/y"), "{error}");
    assert!(
        setup
            .fails(setup.asks(tag("empty")))
            .await
            .message
            .contains("no layers found")
    );
    assert!(
        setup
            .fails(setup.asks(tag("text")))
            .await
            .message
            .contains("failed to extract")
    );
    // What is stored under a digest is something else.
    setup
        .registry
        .stored
        .lock()
        .unwrap()
        .insert(digest(&packed.data), b"forged".to_vec());
    let error = setup.fails(setup.asks(tag("1.0.0"))).await;
    assert!(error.message.contains("has digest"), "{error}");
    // Signatures are never taken on trust.
    let mut signed = setup.asks(tag("1.0.0"));
    signed.verify = Some(Verification {
        provider: "cosign".to_owned(),
        ..Verification::default()
    });
    let error = setup.fails(signed).await;
    assert_eq!((error.reason, error.class), ("VerificationError", Class::Stalled));
    let mut url = setup.asks(tag("1.0.0"));
    url.url = "https://ghcr.io/x".to_owned();
    assert_eq!(setup.fails(url).await.reason, "URLInvalid");
}

#[tokio::test]
async fn charts_come_from_registries_by_version_and_range() {
    let setup = setup(None).await;
    let package = |version: &str| {
        let text = format!("apiVersion: v2\nname: web\nversion: {version}\n");
        let limits = fluvial_helm::LoadLimits::default();
        let files = tree(&[("Chart.yaml", &text)]);
        let package = fluvial_helm::Package::from_tree(&files, &TreePath::root(), limits).unwrap();
        package.pack().unwrap()
    };
    let chart = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    for version in ["1.0.0", "1.2.0+build.5", "2.0.0"] {
        let tag = version.replace('+', "_");
        setup
            .registry
            .push(&tag, &[("prov", b"x"), (chart, &package(version))], &json!({}));
    }
    let mut request = ChartRequest {
        repository: format!("oci://{}/org/charts", setup.host),
        chart: "web".to_owned(),
        access: access(),
        ..ChartRequest::default()
    };
    for (range, want) in [
        ("1.0.0", "1.0.0"),
        ("1.x", "1.2.0+build.5"),
        ("", "2.0.0"),
        ("*", "2.0.0"),
    ] {
        request.version = range.to_owned();
        let found = setup.oci.chart(&request, &Mirrors::default()).await.unwrap();
        assert_eq!(
            (found.name.as_str(), found.version.as_str()),
            ("web", want),
            "{range}"
        );
        assert_eq!(found.archive.as_deref(), Some(&package(want)[..]));
    }
    request.version = "^9".to_owned();
    let error = setup.oci.chart(&request, &Mirrors::default()).await.unwrap_err();
    assert_eq!(
        (error.reason, error.class),
        ("InvalidChartReference", Class::Stalled)
    );
}

#[tokio::test]
async fn a_folder_stands_in_for_an_image() {
    let setup = setup(None).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), "kind: A\n").unwrap();
    let rules = json!([{"from": "oci://ghcr.io/org/manifests", "to": folder.path()}]);
    let mirrors = Mirrors::from_value(&rules, std::path::Path::new("/")).unwrap();
    let mut request = setup.asks(tag("v1"));
    request.url = "oci://ghcr.io/org/manifests".to_owned();
    let found = setup.oci.image(&request, &mirrors).await.unwrap();
    assert!(found.revision.starts_with("v1@sha256:"), "{}", found.revision);
    assert!(found.rewritten.is_some());
    request.last_revision = Some(found.revision);
    assert!(setup.oci.image(&request, &mirrors).await.unwrap().layer.is_none());
}

#[tokio::test]
async fn a_folder_of_charts_stands_in_for_the_whole_address_of_one() {
    let setup = setup(None).await;
    let folder = tempfile::tempdir().unwrap();
    let chart = folder.path().join("anything");
    std::fs::create_dir(&chart).unwrap();
    let text = "apiVersion: v2\nname: web\nversion: 1.2.3\n";
    std::fs::write(chart.join("Chart.yaml"), text).unwrap();
    let rules = json!([{"from": "oci://ghcr.io/org/charts", "to": folder.path()},
        {"from": "oci://ghcr.io/org/charts/web", "to": folder.path()},
        {"from": "oci://ghcr.io/org/charts/absent", "to": folder.path()}]);
    let mirrors = Mirrors::from_value(&rules, std::path::Path::new("/")).unwrap();
    let mut request = setup.asks(ImageReference {
        semver: Some("1.x".to_owned()),
        ..ImageReference::default()
    });
    request.media_type = "application/vnd.cncf.helm.chart.content.v1.tar+gzip".to_owned();
    request.url = "oci://ghcr.io/org/charts/web".to_owned();
    let found = setup.oci.image(&request, &mirrors).await.unwrap();
    assert!(found.revision.starts_with("1.2.3@sha256:"), "{}", found.revision);
    request.url = "oci://ghcr.io/org/charts/absent".to_owned();
    let error = setup.oci.image(&request, &mirrors).await.unwrap_err();
    assert!(
        error.message.contains("no chart 'absent' in the mirror"),
        "{error}"
    );
}

//! OCI registries: one in this process, with a token server, as the distribution specification describes them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use fluvial_ports::{Access, ChartRequest, ImageReference, ImageRequest, Layer, Verdict, Verification};
use fluvial_source::artifact;
use fluvial_source::credentials::cloud::Clouds;
use fluvial_source::helm::{HelmLimits, HelmSource};
use fluvial_source::mirrors::Mirrors;
use fluvial_source::oci::{NewArtifact, OciSource};
use fluvial_source::{Class, SourceError};
use fluvial_tree::{File, Tree, TreeBuilder, TreePath};
use rcgen::SigningKey as _;
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
    if request.method() == Method::POST && path.ends_with("/blobs/uploads/") {
        return (StatusCode::ACCEPTED, [(header::LOCATION, "/upload/here?state=x")]).into_response();
    }
    if request.method() == Method::PUT {
        let body = axum::body::to_bytes(request.into_body(), 1 << 20)
            .await
            .unwrap()
            .to_vec();
        let mut stored = registry.stored.lock().unwrap();
        match query.split_once("digest=") {
            Some((state, wanted)) => {
                assert_eq!((path.as_str(), state), ("/upload/here", "state=x&"));
                assert_eq!(wanted.replace("%3A", ":"), digest(&body));
                stored.insert(digest(&body), body);
            }
            None => {
                registry.tags.lock().unwrap().push(name.to_owned());
                stored.insert(digest(&body), body.clone());
                stored.insert(format!("tag:{name}"), body);
            }
        }
        return StatusCode::CREATED.into_response();
    }
    let stored = registry.stored.lock().unwrap();
    let key = if path.contains("/referrers/") {
        format!("referrers:{name}")
    } else if name.starts_with("sha256:") {
        name.to_owned()
    } else {
        format!("tag:{name}")
    };
    match stored.get(&key) {
        Some(data) => data.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Registry {
    /// Stores a manifest under its digest and, if one is given, a tag.
    fn put(&self, tag: Option<&str>, manifest: &serde_json::Value) -> String {
        let data = manifest.to_string().into_bytes();
        let id = digest(&data);
        let mut stored = self.stored.lock().unwrap();
        if let Some(tag) = tag {
            stored.insert(format!("tag:{tag}"), data.clone());
        }
        stored.insert(id.clone(), data);
        id
    }

    /// Stores a blob; gives its descriptor.
    fn blob(&self, media_type: &str, data: &[u8], annotations: &serde_json::Value) -> serde_json::Value {
        self.stored.lock().unwrap().insert(digest(data), data.to_vec());
        json!({"mediaType": media_type, "digest": digest(data), "size": data.len(), "annotations": annotations})
    }

    /// Signs an image as cosign 2 does.
    fn sign_simply(&self, id: &str, key: &rcgen::KeyPair) {
        let payload = json!({"critical": {"identity": {"docker-reference": ""}, "image": {"docker-manifest-digest": id},
            "type": "cosign container image signature"}})
        .to_string();
        let signature = base64(&key.sign(payload.as_bytes()).unwrap());
        let kind = "application/vnd.dev.cosign.simplesigning.v1+json";
        let note = json!({"dev.cosignproject.cosign/signature": signature});
        let layer = self.blob(kind, payload.as_bytes(), &note);
        let tag = format!("{}.sig", id.replace(':', "-"));
        self.put(Some(&tag), &json!({"layers": [layer]}));
    }

    /// Signs an image as cosign 3 does; the registry lists referrers, or a tag stands for the list.
    fn sign_in_bundle(&self, id: &str, key: &rcgen::KeyPair, lists: bool) {
        let hex = id.strip_prefix("sha256:").unwrap();
        let statement =
            json!({"_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": hex}}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1"})
            .to_string();
        let kind = "application/vnd.in-toto+json";
        let message = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        let signature = base64(&key.sign(message.as_bytes()).unwrap());
        let bundle = json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {},
            "dsseEnvelope": {"payload": base64(statement.as_bytes()), "payloadType": kind, "signatures": [{"sig": signature}]}});
        let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let layer = self.blob(kind, bundle.to_string().as_bytes(), &json!({}));
        let manifest = self.put(None, &json!({"artifactType": kind, "layers": [layer]}));
        let index = json!({"manifests": [{"artifactType": kind, "digest": manifest, "size": 1}]});
        if lists {
            let mut stored = self.stored.lock().unwrap();
            stored.insert(format!("referrers:{id}"), index.to_string().into_bytes());
        } else {
            self.put(Some(&id.replace(':', "-")), &index);
        }
    }
}

fn base64(data: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(data)
}

fn verification(key: &rcgen::KeyPair) -> Verification {
    let keys = BTreeMap::from([("cosign.pub".to_owned(), key.public_key_pem().into_bytes())]);
    Verification {
        provider: "cosign".to_owned(),
        keys: Some(keys),
        ..Verification::default()
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
            .image(&request, None, &Mirrors::default())
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
        let found = setup.oci.image(&request, None, &none).await.unwrap();
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
        assert!(
            setup
                .oci
                .image(&request, None, &none)
                .await
                .unwrap()
                .layer
                .is_none()
        );
        request.last_revision = None;
        request.copy = true;
        let Some(Layer::Copy(data)) = setup.oci.image(&request, None, &none).await.unwrap().layer else {
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
    setup.oci.image(&right, None, &Mirrors::default()).await.unwrap();
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
    let mut url = setup.asks(tag("1.0.0"));
    url.url = "https://ghcr.io/x".to_owned();
    assert_eq!(setup.fails(url).await.reason, "URLInvalid");
}

#[tokio::test]
async fn what_was_pushed_is_pulled_tagged_and_described() {
    let setup = setup(Some("right")).await;
    let files = tree(&[("a/b.yaml", "kind: B\n")]);
    let mut access = access();
    let url = format!("oci://{}/org/manifests", setup.host);
    let artifact = NewArtifact {
        content: artifact::pack_readable(&files),
        annotations: BTreeMap::from([(
            "org.opencontainers.image.created".to_owned(),
            "1970-01-01T00:00:00Z".to_owned(),
        )]),
    };
    let error = setup.oci.push(&url, "v1", &artifact, &access).await.unwrap_err();
    assert_eq!(error.reason, "AuthenticationFailed");
    access.credentials = Some(docker_config(&setup.host, "right"));
    let id = setup.oci.push(&url, "v1", &artifact, &access).await.unwrap();
    assert_eq!(
        setup.oci.push(&url, "v2", &artifact, &access).await.unwrap(),
        id,
        "it is reproducible"
    );
    setup.oci.tag(&url, "v1", "latest", &access).await.unwrap();
    let error = setup.oci.tag(&url, "v9", "latest", &access).await.unwrap_err();
    assert!(error.message.contains("'v9'"), "{error}");
    let tags = setup.oci.tags(&url, &access).await.unwrap();
    assert_eq!(tags, ["v1", "v2", "latest"]);
    for (digest, annotations) in setup.oci.describe(&url, &tags, &access).await.unwrap() {
        assert_eq!((digest, annotations), (id.clone(), artifact.annotations.clone()));
    }
    let mut request = setup.asks(ImageReference::default());
    request.access = access;
    let found = setup
        .oci
        .image(&request, None, &Mirrors::default())
        .await
        .unwrap();
    let Some(Layer::Files(pulled)) = found.layer else {
        panic!("files")
    };
    assert_eq!(
        (pulled.digest(), found.revision),
        (files.digest(), format!("latest@{id}"))
    );
    let stored = setup.registry.stored.lock().unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&stored[&id]).unwrap();
    // Digests are of bytes: fields are in the order that others write them in.
    let text = |id: &str| String::from_utf8(stored[id].clone()).unwrap();
    let (config, layer) = (&manifest["config"], &manifest["layers"][0]);
    let part = |part: &serde_json::Value| {
        format!(
            "{{\"mediaType\":{},\"size\":{},\"digest\":{}}}",
            part["mediaType"], part["size"], part["digest"]
        )
    };
    assert_eq!(
        text(&id),
        format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{},\
             \"layers\":[{}],\"annotations\":{{\"org.opencontainers.image.created\":\"1970-01-01T00:00:00Z\"}}}}",
            part(config),
            part(layer)
        )
    );
    let described = text(config["digest"].as_str().unwrap());
    let begin = "{\"architecture\":\"\",\"created\":\"1970-01-01T00:00:00Z\",\"history\":[{\"created\":\
                 \"0001-01-01T00:00:00Z\"}],\"os\":\"\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:";
    assert!(
        described.starts_with(begin) && described.ends_with("\"]},\"config\":{}}"),
        "{described}"
    );
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.cncf.flux.config.v1+json"
    );
    assert_eq!(
        manifest["layers"][0]["mediaType"],
        "application/vnd.cncf.flux.content.v1.tar+gzip"
    );
}

#[tokio::test]
async fn images_with_a_signature_of_a_trusted_key_are_verified() {
    let setup = setup(None).await;
    let packed = artifact::pack(&tree(&[("a", "b")]));
    let (key, other) = (
        rcgen::KeyPair::generate().unwrap(),
        rcgen::KeyPair::generate().unwrap(),
    );
    let push = |tag: &str| {
        let origin = json!({"org.opencontainers.image.revision": tag});
        setup.registry.push(tag, &[("x", &packed.data)], &origin)
    };
    let (simple, listed, tagged, _) = (push("simple"), push("listed"), push("tagged"), push("bare"));
    setup.registry.sign_simply(&simple, &key);
    setup.registry.sign_in_bundle(&listed, &key, true);
    setup.registry.sign_in_bundle(&tagged, &key, false);
    for name in ["simple", "listed", "tagged"] {
        let mut request = setup.asks(tag(name));
        request.verify = Some(verification(&key));
        let found = setup
            .oci
            .image(&request, None, &Mirrors::default())
            .await
            .unwrap();
        let told = Verdict::Verified(format!("verified signature of revision {}", found.revision));
        assert_eq!(found.verified, Some(told));
        // The same revision again is not looked at again.
        request.last_revision = Some(found.revision);
        let again = setup
            .oci
            .image(&request, None, &Mirrors::default())
            .await
            .unwrap();
        assert!(again.verified.is_none() && again.layer.is_none());
        request.last_revision = None;
        request.verify = Some(verification(&other));
        let error = setup.fails(request).await;
        assert_eq!((error.reason, error.class), ("VerificationError", Class::Retry));
        assert!(error.message.contains("none of the trusted keys"), "{error}");
    }
    let mut bare = setup.asks(tag("bare"));
    bare.verify = Some(verification(&key));
    let error = setup.fails(bare.clone()).await;
    assert_eq!(error.reason, "VerificationError");
    assert!(
        error
            .message
            .starts_with("failed to verify the signature using provider 'cosign': no matching signatures"),
        "{error}"
    );
    bare.verify = Some(Verification {
        provider: "cosign".to_owned(),
        ..Verification::default()
    });
    let error = setup.fails(bare.clone()).await;
    assert!(
        error.message.contains("'cosign keyless'") && error.message.contains("--sigstore-trusted-root"),
        "{error}"
    );
    let keys = BTreeMap::from([("key.pem".to_owned(), Vec::new())]);
    for (provider, want) in [
        ("cosign", "no public key"),
        ("notation", "'trustpolicy.json' not found"),
    ] {
        bare.verify = Some(Verification {
            provider: provider.to_owned(),
            keys: Some(keys.clone()),
            ..Verification::default()
        });
        let error = setup.fails(bare.clone()).await;
        assert!(error.message.contains(want), "{error}");
    }
}

#[tokio::test]
async fn charts_without_a_trusted_signature_are_not_taken() {
    let setup = setup(None).await;
    let chart = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    let id = setup.registry.push("1.0.0", &[(chart, b"archive")], &json!({}));
    let key = rcgen::KeyPair::generate().unwrap();
    let request = ChartRequest {
        repository: format!("oci://{}/org/charts", setup.host),
        chart: "web".to_owned(),
        version: "1.0.0".to_owned(),
        access: access(),
        verify: Some(verification(&key)),
        ..ChartRequest::default()
    };
    let error = setup.oci.chart(&request, &Mirrors::default()).await.unwrap_err();
    assert_eq!(
        (error.reason, error.class),
        ("ChartVerificationError", Class::Retry)
    );
    assert!(error.message.contains("no signatures found"), "{error}");
    setup.registry.sign_in_bundle(&id, &key, true);
    let found = setup.oci.chart(&request, &Mirrors::default()).await.unwrap();
    let told = Verdict::Verified("verified signature of version 1.0.0".to_owned());
    assert_eq!(found.verified, Some(told));
}

#[tokio::test]
async fn a_notation_policy_may_let_all_pass() {
    let setup = setup(None).await;
    let packed = artifact::pack(&tree(&[("a", "b")]));
    setup.registry.push("1.0.0", &[("x", &packed.data)], &json!({}));
    let mut request = setup.asks(tag("1.0.0"));
    let root = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    let mut ask = |level: &str| {
        let policy = json!({"version": "1.0", "trustPolicies": [{"name": "all", "registryScopes": ["*"],
            "signatureVerification": {"level": level}, "trustStores": ["ca:x"], "trustedIdentities": ["*"]}]});
        request.verify = Some(Verification {
            provider: "notation".to_owned(),
            keys: Some(BTreeMap::from([
                ("trustpolicy.json".to_owned(), policy.to_string().into_bytes()),
                ("root.crt".to_owned(), root.clone().into_bytes()),
            ])),
            ..Verification::default()
        });
        request.clone()
    };
    let skipped = setup
        .oci
        .image(&ask("skip"), None, &Mirrors::default())
        .await
        .unwrap();
    assert_eq!(skipped.verified, Some(Verdict::Ignored));
    let error = setup.fails(ask("strict")).await;
    assert!(error.message.contains("no signature is associated"), "{error}");
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
    let found = setup.oci.image(&request, None, &mirrors).await.unwrap();
    assert!(found.revision.starts_with("v1@sha256:"), "{}", found.revision);
    assert!(found.rewritten.is_some());
    request.last_revision = Some(found.revision);
    assert!(
        setup
            .oci
            .image(&request, None, &mirrors)
            .await
            .unwrap()
            .layer
            .is_none()
    );
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
    let found = setup.oci.image(&request, None, &mirrors).await.unwrap();
    assert!(found.revision.starts_with("1.2.3@sha256:"), "{}", found.revision);
    request.url = "oci://ghcr.io/org/charts/absent".to_owned();
    let error = setup.oci.image(&request, None, &mirrors).await.unwrap_err();
    assert!(
        error.message.contains("no chart 'absent' in the mirror"),
        "{error}"
    );
}

//! A stand-in for every server that sources come from: one content, at listeners of different moods.

pub(super) mod ssh;
mod stores;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use rcgen::SigningKey as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use stores::Wish;

/// How a listener treats those who ask.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mood {
    /// Gives what there is.
    Well,
    /// To those only who are `ada` with password `lovelace`.
    Asking,
    /// Breaks off in the middle of what is large: an index, a chart, a layer, an object.
    Cut,
    /// Never ends it.
    Endless,
    /// Never begins it.
    Silent,
}

/// What all listeners have.
#[derive(Clone, Default)]
pub(super) struct Content(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

/// A digest as registries and artifacts write it.
pub(super) fn digest(data: &[u8]) -> String {
    let hex: String = Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// A gzipped tarball of these files.
pub(super) fn tarball(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tree = fluvial_tree::TreeBuilder::default();
    for (path, text) in files {
        let file = fluvial_tree::File::new(text.as_bytes(), false);
        tree.file(path, file).unwrap();
    }
    fluvial_source::artifact::pack(&tree.build()).data.to_vec()
}

/// An archive of the chart `tea`.
pub(super) fn chart(version: &str) -> Vec<u8> {
    let text = format!("apiVersion: v2\nname: tea\nversion: {version}\n");
    tarball(&[("tea/Chart.yaml", &text), ("tea/values.yaml", "sugar: 1\n")])
}

impl Content {
    pub(super) fn put(&self, path: &str, data: impl Into<Vec<u8>>) {
        self.0.lock().unwrap().insert(path.to_owned(), data.into());
    }

    pub(super) fn remove(&self, path: &str) {
        self.0.lock().unwrap().remove(path);
    }

    /// A chart repository at `/charts` with this version of `tea`.
    pub(super) fn publish(&self, version: &str) {
        let data = chart(version);
        let index = format!(
            "apiVersion: v1\nentries:\n  tea:\n  - apiVersion: v2\n    name: tea\n    version: {version}\n    digest: {}\n    \
             urls: [tea-{version}.tgz]\n",
            digest(&data).trim_start_matches("sha256:")
        );
        self.put(&format!("/charts/tea-{version}.tgz"), data);
        self.put("/charts/index.yaml", index);
    }

    /// Stores an image with one layer; gives its digest.
    pub(super) fn push(&self, name: &str, tag: &str, media_type: &str, layer: &[u8]) -> String {
        let layer = self.blob(name, media_type, layer, &json!({}));
        let tags = format!("/v2/{name}/tags/list");
        let mut known: Vec<String> = {
            let content = self.0.lock().unwrap();
            let list = content
                .get(&tags)
                .map(|data| serde_json::from_slice(data).unwrap());
            list.map_or_else(Vec::new, |list: serde_json::Value| {
                serde_json::from_value(list["tags"].clone()).unwrap()
            })
        };
        known.push(tag.to_owned());
        self.put(&tags, json!({"name": name, "tags": known}).to_string());
        self.manifest(name, tag, &layer)
    }

    fn blob(&self, name: &str, kind: &str, data: &[u8], notes: &serde_json::Value) -> serde_json::Value {
        let id = digest(data);
        self.put(&format!("/v2/{name}/blobs/{id}"), data);
        json!({"mediaType": kind, "digest": id, "size": data.len(), "annotations": notes})
    }

    fn manifest(&self, name: &str, tag: &str, layer: &serde_json::Value) -> String {
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digest(b"{}"), "size": 2},
            "layers": [layer]});
        let data = manifest.to_string();
        let id = digest(data.as_bytes());
        self.put(&format!("/v2/{name}/manifests/{tag}"), data.as_str());
        self.put(&format!("/v2/{name}/manifests/{id}"), data);
        id
    }

    /// Signs an image, as cosign does with a key.
    pub(super) fn sign(&self, name: &str, id: &str, key: &rcgen::KeyPair) {
        let payload = json!({"critical": {"identity": {"docker-reference": ""},
            "image": {"docker-manifest-digest": id}, "type": "cosign container image signature"}})
        .to_string();
        let signature = STANDARD.encode(key.sign(payload.as_bytes()).unwrap());
        let notes = json!({"dev.cosignproject.cosign/signature": signature});
        let kind = "application/vnd.dev.cosign.simplesigning.v1+json";
        let layer = self.blob(name, kind, payload.as_bytes(), &notes);
        self.manifest(name, &format!("{}.sig", id.replace(':', "-")), &layer);
    }

    /// Serves it on a free port.
    pub(super) async fn serve(&self, mood: Mood) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = self.router(mood);
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    }

    /// Serves it to those who trust the issuer of this certificate.
    pub(super) async fn serve_tls(&self, certificate: &(String, String)) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (router, acceptor) = (self.router(Mood::Well), acceptor(certificate));
        tokio::spawn(async move { axum::serve(TlsListener(listener, acceptor), router).await });
        port
    }

    fn router(&self, mood: Mood) -> Router {
        Router::new().fallback(answer).with_state((self.clone(), mood))
    }
}

/// Shows a certificate and has its key.
pub(super) fn acceptor(certificate: &(String, String)) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_slice(certificate.0.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.1.as_bytes()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

/// A listener of those who trust it.
pub(super) struct TlsListener(pub(super) TcpListener, pub(super) TlsAcceptor);

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, from) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Whether the request is one of `ada`: with her password, her token, or signed with her key.
fn is_ada(headers: &HeaderMap, query: &str) -> bool {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let basic = format!("Basic {}", STANDARD.encode("ada:lovelace"));
    let known =
        |given: &str| given == basic || given == "Bearer lovelace" || given.contains("Credential=ADA/");
    given.is_some_and(known) || query.contains("sig=lovelace")
}

/// Whether a path leads to what is large.
fn is_large(path: &str) -> bool {
    let index = path.ends_with("/index.yaml") || path.ends_with("/git-upload-pack");
    index || path.contains("/blobs/") || path.ends_with(".tgz") || path.ends_with(".tar.gz")
}

async fn answer(State((content, mood)): State<(Content, Mood)>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let wish = Wish::read(&path, &query);
    if mood == Mood::Asking && !is_ada(request.headers(), &query) {
        if wish.is_of_a_store() {
            return wish.refusal();
        }
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"x\"")];
        return (StatusCode::UNAUTHORIZED, ask).into_response();
    }
    if let Some(listing) = wish.listing(&content) {
        return listing.into_response();
    }
    let found = content.0.lock().unwrap().get(&wish.path).cloned();
    let Some(data) = found else {
        return match path == "/v2/" {
            true => StatusCode::OK.into_response(),
            false if wish.is_of_a_store() => wish.absence(),
            false => StatusCode::NOT_FOUND.into_response(),
        };
    };
    if !wish.is_for_an_object() && !is_large(&path) {
        return data.into_response();
    }
    match mood {
        Mood::Well | Mood::Asking => data.into_response(),
        Mood::Silent => {
            tokio::time::sleep(Duration::from_secs(120)).await;
            data.into_response()
        }
        Mood::Cut => {
            let half = data[..data.len() / 2].to_vec();
            let broken = std::io::Error::other("the line is cut");
            let end = async {
                // Else nothing of the answer leaves.
                tokio::time::sleep(Duration::from_millis(100)).await;
                Err(broken)
            };
            let parts = futures::stream::once(async { Ok(half) });
            let body = Body::from_stream(parts.chain(futures::stream::once(end)));
            ([(header::CONTENT_LENGTH, data.len().to_string())], body).into_response()
        }
        Mood::Endless => {
            let more = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'#'; 1 << 16]));
            Body::from_stream(more).into_response()
        }
    }
}

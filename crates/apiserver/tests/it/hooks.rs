//! Webhooks over HTTPS: they change, refuse, fail and are passed by.

use std::sync::Arc;

use base64::Engine as _;
use fluvial_apiserver::api::Features;
use fluvial_apiserver::{ApiServer, Config, User};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tower::ServiceExt;

fn encoded(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// What the webhook says: it labels what it is shown, and refuses what is called bad.
fn judge(review: &Value) -> Value {
    let request = &review["request"];
    let mut response = json!({"uid": request["uid"], "allowed": true, "warnings": ["seen"]});
    if request["object"]["metadata"]["name"] == "bad" {
        response["allowed"] = false.into();
        response["status"] = json!({"message": "it is bad", "code": 403, "reason": "Forbidden"});
    } else if request["object"]["metadata"]["labels"].is_null() && request["operation"] == "CREATE" {
        let patch = json!([{"op": "add", "path": "/metadata/labels", "value": {"hooked": "yes"}}]);
        response["patch"] = encoded(&patch.to_string()).into();
        response["patchType"] = "JSONPatch".into();
    }
    json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response})
}

/// A webhook on a port of its own; its URL and the bundle that trusts it.
pub(crate) async fn webhook(judge: fn(&Value) -> Value) -> (String, String) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let bundle = encoded(&certified.cert.pem());
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            tokio::spawn(async move {
                let service = hyper::service::service_fn(
                    move |request: http::Request<hyper::body::Incoming>| async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        let review: Value = serde_json::from_slice(&body).unwrap();
                        let answer = judge(&review);
                        Ok::<_, hyper::Error>(http::Response::new(Full::new(bytes::Bytes::from(
                            answer.to_string(),
                        ))))
                    },
                );
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            });
        }
    });
    (format!("https://localhost:{port}/"), bundle)
}

pub(crate) struct Cluster(pub(crate) ApiServer);

impl Cluster {
    pub(crate) fn start() -> Cluster {
        let config = Config {
            features: Features {
                controllers: true,
                workloads: false,
            },
            ..Config::default()
        };
        Cluster(ApiServer::new(config).unwrap())
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Vec<String>, Value) {
        let form = if method == "PATCH" {
            "application/apply-patch+yaml"
        } else {
            "application/json"
        };
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", form)
            .body(Full::new(bytes::Bytes::from(body.to_string())))
            .unwrap();
        request.extensions_mut().insert(User::admin());
        let Ok(response) = self.0.service().oneshot(request).await;
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.map(|value| value.to_str().unwrap().to_owned()).collect();
        let status = response.status().as_u16();
        let Ok(body) = response.into_body().collect().await;
        (
            status,
            warnings,
            serde_json::from_slice(&body.to_bytes()).unwrap_or_default(),
        )
    }

    pub(crate) async fn create(&self, path: &str, body: Value) -> (u16, Vec<String>, Value) {
        self.send("POST", path, &body).await
    }
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1";

fn hook(url: &str, bundle: &str, policy: &str) -> Value {
    json!({"name": "hook.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "failurePolicy": policy, "timeoutSeconds": 5, "clientConfig": {"url": url, "caBundle": bundle},
        "matchConditions": [{"name": "not-free", "expression": "object.metadata.name != 'free'"}],
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
            "resources": ["configmaps"]}]})
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

#[tokio::test]
async fn webhooks_change_and_refuse_what_they_are_asked_about() {
    let (url, bundle) = webhook(judge).await;
    let cluster = Cluster::start();
    let kind = |kind: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "hook"},
            "webhooks": [hook(&url, &bundle, "Fail")]})
    };
    let (status, _, _) = cluster
        .create(
            &format!("{HOOKS}/mutatingwebhookconfigurations"),
            kind("MutatingWebhookConfiguration"),
        )
        .await;
    assert_eq!(status, 201);
    let (status, warnings, object) = cluster.create(MAPS, map("good")).await;
    assert_eq!(status, 201, "{object}");
    assert_eq!(object["metadata"]["labels"]["hooked"], "yes");
    assert_eq!(warnings, ["299 - \"seen\""]);
    let (status, _, object) = cluster.create(MAPS, map("free")).await;
    assert_eq!((status, &object["metadata"]["labels"]), (201, &Value::Null));
    cluster
        .create(
            &format!("{HOOKS}/validatingwebhookconfigurations"),
            kind("ValidatingWebhookConfiguration"),
        )
        .await;
    let (status, _, answer) = cluster.create(MAPS, map("bad")).await;
    assert_eq!(status, 403);
    assert_eq!(
        answer["message"],
        "admission webhook \"hook.example.com\" denied the request: it is bad"
    );
}

#[tokio::test]
async fn a_webhook_that_fails_stops_what_it_must_and_nothing_else() {
    let cluster = Cluster::start();
    let configuration = |policy: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "hook"}, "webhooks": [hook("https://127.0.0.1:1/x", "", policy)]})
    };
    let path = format!("{HOOKS}/validatingwebhookconfigurations");
    cluster.create(&path, configuration("Fail")).await;
    let (status, _, answer) = cluster.create(MAPS, map("a")).await;
    assert_eq!(status, 500);
    let message = answer["message"].as_str().unwrap();
    let head = "Internal error occurred: failed calling webhook \"hook.example.com\": failed to call webhook: Post \
                \"https://127.0.0.1:1/x?timeout=5s\": dial tcp 127.0.0.1:1:";
    assert!(message.starts_with(head), "{message}");
    cluster.send("DELETE", &format!("{path}/hook"), &json!({})).await;
    cluster.create(&path, configuration("Ignore")).await;
    assert_eq!(cluster.create(MAPS, map("a")).await.0, 201);
}

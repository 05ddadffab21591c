//! Request bodies of all forms, selectors and patches against a server in the process: no input panics, and each has an
//! answer.
#![no_main]

use std::sync::OnceLock;

use bytes::Bytes;
use fluvial_apiserver::api::Features;
use fluvial_apiserver::{ApiServer, Config, User};
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;
use tower::ServiceExt;

const KINDS: &[&str] = &[
    "/api/v1/namespaces/default/configmaps",
    "/api/v1/namespaces/default/pods",
    "/api/v1/namespaces/default/services",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/batch/v1/namespaces/default/cronjobs",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
];
const FORMS: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

fn server() -> &'static (Runtime, ApiServer) {
    static SERVER: OnceLock<(Runtime, ApiServer)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let runtime = Runtime::new().expect("a runtime");
        let config = Config {
            features: Features {
                controllers: false,
                workloads: false,
            },
            ..Config::default()
        };
        let server = {
            let _inside = runtime.enter();
            ApiServer::new(config).expect("a server")
        };
        (runtime, server)
    })
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

fuzz_target!(|data: &[u8]| {
    let [what, form, body @ ..] = data else { return };
    let (runtime, server) = server();
    let kind = KINDS[usize::from(*what) % KINDS.len()];
    let form = FORMS[usize::from(*form) % FORMS.len()];
    let (method, path) = match what / 32 {
        0..=2 => ("POST", format!("{kind}?dryRun=All&fieldValidation=Strict")),
        3..=5 => ("PATCH", format!("{kind}/x?dryRun=All&fieldManager=fuzz&force=true")),
        6 => ("GET", format!("{kind}?labelSelector={}", escaped(body))),
        _ => ("GET", format!("{kind}?fieldSelector={}", escaped(body))),
    };
    let Ok(mut request) = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", if method == "POST" { FORMS[usize::from(*what) % 3] } else { form })
        .body(Full::new(Bytes::copy_from_slice(body)))
    else {
        return;
    };
    request.extensions_mut().insert(User::admin());
    runtime.block_on(async {
        let Ok(response) = server.service().oneshot(request).await;
        assert!(response.status().as_u16() >= 200);
        let Ok(_) = response.into_body().collect().await;
    });
});

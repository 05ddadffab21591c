//! What the server publishes of itself: the keys of its tokens, and its documents.

use fluvial_apiserver::User;
use serde_json::{Value, json};

use crate::answers::asked;
use crate::hooks::Cluster;

async fn get(cluster: &Cluster, path: &str, accept: &str) -> (u16, Value) {
    let headers = [("accept", accept)];
    asked(cluster, User::admin(), ("GET", path), &headers, &Value::Null).await
}

#[tokio::test]
async fn tokens_name_a_key_that_is_published() {
    let cluster = Cluster::start();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}});
    cluster
        .create("/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    let path = "/api/v1/namespaces/default/serviceaccounts/a/token";
    let (status, _, made) = cluster
        .send(
            "POST",
            path,
            &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}),
        )
        .await;
    assert_eq!(status, 201, "{made}");
    let token = made["status"]["token"].as_str().unwrap();
    let head = token.split('.').next().unwrap();
    let head = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, head).unwrap();
    let head: Value = serde_json::from_slice(&head).unwrap();

    let (status, keys) = get(&cluster, "/openid/v1/jwks", "*/*").await;
    let key = &keys["keys"][0];
    assert_eq!(
        (status, &key["kid"], &key["alg"]),
        (200, &head["kid"], &head["alg"]),
        "{keys}"
    );
    let (status, about) = get(&cluster, "/.well-known/openid-configuration", "application/json").await;
    assert_eq!(status, 200);
    assert_eq!(about["id_token_signing_alg_values_supported"], json!(["ES256"]));
    assert!(
        about["jwks_uri"].as_str().unwrap().ends_with("/openid/v1/jwks"),
        "{about}"
    );
    // Only who reads sets of keys is given one.
    let (status, refused) = get(&cluster, "/openid/v1/jwks", "application/json").await;
    let why = "406: Not Acceptable\n\nAvailable representations: application/jwk-set+json";
    assert_eq!((status, refused["message"].as_str()), (406, Some(why)));

    let review =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let (_, _, reviewed) = cluster
        .send("POST", "/apis/authentication.k8s.io/v1/tokenreviews", &review)
        .await;
    let name = &reviewed["status"]["user"]["username"];
    assert_eq!(name, "system:serviceaccount:default:a", "{reviewed}");
}

#[tokio::test]
async fn documents_tell_of_all_paths_and_are_kept_by_their_hash() {
    let cluster = Cluster::start();
    let (_, index) = get(&cluster, "/openapi/v3", "application/json").await;
    for name in [
        "api",
        "apis",
        "apis/apps",
        "version",
        ".well-known/openid-configuration",
    ] {
        let url = index["paths"][name]["serverRelativeURL"].as_str().unwrap();
        let (status, document) = get(&cluster, url, "application/json").await;
        assert_eq!(status, 200, "{name}");
        assert!(
            document["paths"][format!("/{name}/")]["get"].is_object(),
            "{document}"
        );
    }
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let (_, document) = get(&cluster, url, "application/json").await;
    let paths = document["paths"].as_object().unwrap();
    let own = "/apis/apps/v1";
    for (path, method) in [
        (format!("{own}/"), "get"),
        (format!("{own}/watch/deployments"), "get"),
        (
            format!("{own}/watch/namespaces/{{namespace}}/deployments/{{name}}"),
            "get",
        ),
        (
            format!("{own}/namespaces/{{namespace}}/deployments/{{name}}/scale"),
            "patch",
        ),
    ] {
        assert!(paths[&path][method].is_object(), "{path}");
    }
    // All that a document refers to is in it.
    let text = document.to_string();
    for name in text.split("#/components/schemas/").skip(1) {
        let name = name.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
    let (status, _) = get(
        &cluster,
        &format!("/openapi/v3{own}?hash=old"),
        "application/json",
    )
    .await;
    assert_eq!(status, 301);
    let (status, _) = get(&cluster, &format!("/openapi/v3{own}"), "text/plain").await;
    assert_eq!(status, 406);
}

//! Secrets that hold the token of a service account: they are filled in, and go with the account.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{mutate_managed, remove};
use crate::api::{Api, meta};
use crate::auth::signer::ISSUER;
use crate::store::{Change, Notice, Stored};

const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";
/// Longest that such a token is good for: as long as anybody uses the cluster.
const YEARS: i64 = 100;

/// Reacts to a change.
pub fn react(api: &Api, notice: &Notice) {
    let event = &notice.event;
    match &*notice.collection {
        "secrets" if event.change != Change::Deleted => follow(api, &event.object),
        "serviceaccounts" if event.change != Change::Modified => all(api, event.object.namespace()),
        _ => {}
    }
}

fn all(api: &Api, namespace: &str) {
    let secrets = api.store.collection("secrets");
    if let Ok(snapshot) = secrets.snapshot(&api.store, &format!("{namespace}/"), None, None) {
        for stored in snapshot.objects {
            follow(api, &stored);
        }
    }
}

fn follow(api: &Api, stored: &Stored) {
    // Most secrets are others, and some are large.
    if !stored.mentions(TYPE) {
        return;
    }
    let secret = stored.value();
    if secret["type"] != TYPE || !secret["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let kinds = api.kinds();
    let Some(kind) = kinds.find("", "v1", "secrets") else {
        return;
    };
    let namespace = stored.namespace();
    let account = secret["metadata"]["annotations"][NAME].as_str().unwrap_or("");
    let found = api
        .store
        .collection("serviceaccounts")
        .get(&format!("{namespace}/{account}"))
        .map(|found| meta(&found.value(), "uid").to_owned());
    let wanted = secret["metadata"]["annotations"][UID].as_str();
    let Some(uid) = found.filter(|uid| wanted.is_none_or(|wanted| wanted == uid)) else {
        remove(api, kind, namespace, stored.name(), "Background");
        return;
    };
    mutate_managed(api, kind, &stored.key, &mut |secret| {
        fill(api, namespace, account, &uid, secret)
    });
}

/// Adds what is missing; whether anything was.
fn fill(api: &Api, namespace: &str, account: &str, uid: &str, secret: &mut Value) -> bool {
    let before = secret.clone();
    secret["metadata"]["annotations"][UID] = uid.into();
    if !secret["data"].is_object() {
        secret["data"] = json!({});
    }
    secret["data"]["ca.crt"] = STANDARD.encode(&api.authority).into();
    secret["data"]["namespace"] = STANDARD.encode(namespace).into();
    if secret["data"]["token"].is_null() {
        let now = (api.clock)().as_second();
        let claims = json!({"iss": ISSUER, "aud": [ISSUER], "iat": now, "nbf": now,
            "exp": now + YEARS * 366 * 24 * 3600, "sub": format!("system:serviceaccount:{namespace}:{account}"),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": uid},
                "secret": {"name": meta(secret, "name"), "uid": meta(secret, "uid")}}});
        // Without one now, the next look at the secret makes it.
        if let Ok(token) = api.signer.sign(&claims) {
            secret["data"]["token"] = STANDARD.encode(token).into();
        }
    }
    *secret != before
}

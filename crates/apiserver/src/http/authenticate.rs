//! Who a request is from: an extension set by the process, a bearer token, a certificate, or nobody.

use http::request::Parts;
use serde_json::Value;

use super::{header, impersonate};
use crate::api::{Api, meta};
use crate::auth::User;
use crate::auth::signer::ISSUER;
use crate::status::{Failure, Outcome};

/// The user of a request, after impersonation.
///
/// # Errors
/// The token is not known, or the user may not act as another.
pub fn user(api: &Api, parts: &Parts) -> Outcome<User> {
    let user = match parts.extensions.get::<User>() {
        Some(user) => user.clone().authenticated(),
        None => match bearer(parts) {
            Some(token) => {
                let mut audiences = vec![ISSUER.to_owned()];
                bearer_for(api, &token, &mut audiences).map_err(|_| Failure::unauthorized())?
            }
            None => User::anonymous(),
        },
    };
    impersonate::user(api, parts, user)
}

fn bearer(parts: &Parts) -> Option<String> {
    let value = header(&parts.headers, "authorization")?;
    let (scheme, token) = value.trim().split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim().to_owned())
}

/// The user of a token that is meant for one of these audiences; they become those of both.
///
/// # Errors
/// The text that a review of the token gives.
pub fn bearer_for(api: &Api, token: &str, audiences: &mut Vec<String>) -> Result<User, String> {
    const BAD: &str = "invalid bearer token";
    let known = |why: String| format!("[{BAD}, {why}]");
    let fixed = api
        .tokens
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .find(token);
    if let Some(user) = fixed {
        audiences.retain(|audience| audience == ISSUER);
        return if audiences.is_empty() {
            Err(BAD.to_owned())
        } else {
            Ok(user.authenticated())
        };
    }
    let claims = api.signer.claims(token);
    let claims = claims.map_err(|why| why.map_or_else(|| BAD.to_owned(), |why| known(why.to_owned())))?;
    let meant: Vec<&str> = claims["aud"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let wanted = audiences.clone();
    audiences.retain(|audience| meant.contains(&audience.as_str()));
    if audiences.is_empty() {
        let list = |all: &[String]| {
            all.iter()
                .map(|one| format!("{one:?}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let meant: Vec<String> = meant.iter().map(|one| (*one).to_owned()).collect();
        return Err(known(format!(
            "token audiences [{}] is invalid for the target audiences [{}]",
            list(&meant),
            list(&wanted)
        )));
    }
    let now = (api.clock)().as_second();
    if claims["exp"].as_i64().unwrap_or(0) < now {
        return Err(known("service account token has expired".to_owned()));
    }
    if claims["nbf"].as_i64().unwrap_or(0) > now + 5 {
        return Err(known("service account token is not valid yet".to_owned()));
    }
    account(api, &claims).map_err(known)
}

/// The service account of a token, if it and what the token is bound to are still there.
fn account(api: &Api, claims: &Value) -> Result<User, String> {
    let about = &claims["kubernetes.io"];
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let namespace = text(&about["namespace"]);
    let (name, uid) = (
        text(&about["serviceaccount"]["name"]),
        text(&about["serviceaccount"]["uid"]),
    );
    let found = api
        .store
        .collection("serviceaccounts")
        .get(&format!("{namespace}/{name}"))
        .ok_or_else(|| format!("serviceaccounts {name:?} not found"))?
        .value();
    let own = meta(&found, "uid");
    if own != uid {
        return Err(format!(
            "service account UID ({own}) does not match claim ({uid})"
        ));
    }
    let mut user = User::new(
        &format!("system:serviceaccount:{namespace}:{name}"),
        &[
            "system:serviceaccounts",
            &format!("system:serviceaccounts:{namespace}"),
        ],
    );
    uid.clone_into(&mut user.uid);
    if let Some(id) = claims["jti"].as_str() {
        user.extra.insert(
            "authentication.kubernetes.io/credential-id".into(),
            vec![format!("JTI={id}")],
        );
    }
    for (field, collection, namespaced) in [
        ("pod", "pods", true),
        ("secret", "secrets", true),
        ("node", "nodes", false),
    ] {
        let bound = &about[field];
        let Some(name) = bound["name"].as_str() else {
            continue;
        };
        let key = if namespaced {
            format!("{namespace}/{name}")
        } else {
            name.to_owned()
        };
        let gone = || "service account token has been invalidated".to_owned();
        let found = api.store.collection(collection).get(&key).ok_or_else(gone)?;
        let uid = bound["uid"].as_str().unwrap_or("");
        if meta(&found.value(), "uid") != uid {
            return Err(gone());
        }
        if field != "secret" {
            let prefix = format!("authentication.kubernetes.io/{field}");
            user.extra.insert(format!("{prefix}-name"), vec![name.to_owned()]);
            user.extra.insert(format!("{prefix}-uid"), vec![uid.to_owned()]);
        }
    }
    Ok(user.authenticated())
}

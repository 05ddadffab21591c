//! Who a request is from: an extension set by the process, a bearer token, a certificate, or nobody.

use http::request::Parts;
use serde_json::Value;

use super::header;
use crate::api::{Api, meta};
use crate::auth::tokens::ISSUER;
use crate::auth::{Attributes, User, rbac};
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
                bearer_for(api, &token, &mut audiences).ok_or_else(Failure::unauthorized)?
            }
            None => User::anonymous(),
        },
    };
    impersonated(api, parts, user)
}

fn bearer(parts: &Parts) -> Option<String> {
    let value = header(&parts.headers, "authorization")?;
    let (scheme, token) = value.trim().split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim().to_owned())
}

/// The user of a token that is meant for one of these audiences; they become those of both.
#[must_use]
pub fn bearer_for(api: &Api, token: &str, audiences: &mut Vec<String>) -> Option<User> {
    let fixed = api
        .tokens
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .find(token);
    if let Some(user) = fixed {
        audiences.retain(|audience| audience == ISSUER);
        return (!audiences.is_empty()).then(|| user.authenticated());
    }
    let claims = api.signer.claims(token)?;
    let now = (api.clock)().as_second();
    if claims["exp"].as_i64()? < now || claims["nbf"].as_i64()? > now + 5 {
        return None;
    }
    let meant: Vec<&str> = claims["aud"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    audiences.retain(|audience| meant.contains(&audience.as_str()));
    if audiences.is_empty() {
        return None;
    }
    account(api, &claims)
}

/// The service account of a token, if it and what the token is bound to are still there.
fn account(api: &Api, claims: &Value) -> Option<User> {
    let about = &claims["kubernetes.io"];
    let namespace = about["namespace"].as_str()?;
    let (name, uid) = (
        about["serviceaccount"]["name"].as_str()?,
        about["serviceaccount"]["uid"].as_str()?,
    );
    let found = api
        .store
        .collection("serviceaccounts")
        .get(&format!("{namespace}/{name}"))?;
    if meta(&found.value(), "uid") != uid {
        return None;
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
        let found = api.store.collection(collection).get(&key)?;
        let uid = bound["uid"].as_str()?;
        if meta(&found.value(), "uid") != uid {
            return None;
        }
        if field != "secret" {
            let prefix = format!("authentication.kubernetes.io/{field}");
            user.extra.insert(format!("{prefix}-name"), vec![name.to_owned()]);
            user.extra.insert(format!("{prefix}-uid"), vec![uid.to_owned()]);
        }
    }
    Some(user.authenticated())
}

/// A user as Go prints one.
fn go_user(user: &User) -> String {
    let quoted = |list: &[String]| -> String {
        let all: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
        format!("[]string{{{}}}", all.join(", "))
    };
    let groups = if user.groups.is_empty() {
        "[]string(nil)".to_owned()
    } else {
        quoted(&user.groups)
    };
    let extra = if user.extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let pairs: Vec<String> = user
            .extra
            .iter()
            .map(|(key, values)| format!("{key:?}:{}", quoted(values)))
            .collect();
        format!("map[string][]string{{{}}}", pairs.join(", "))
    };
    format!(
        "&user.DefaultInfo{{Name:\"\", UID:{:?}, Groups:{groups}, Extra:{extra}}}",
        user.uid
    )
}

fn impersonated(api: &Api, parts: &Parts, user: User) -> Outcome<User> {
    let one = |name: &str| header(&parts.headers, name).unwrap_or("").to_owned();
    let name = one("impersonate-user");
    let groups: Vec<String> = parts
        .headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .map(str::to_owned)
        .collect();
    let uid = one("impersonate-uid");
    let mut other = User {
        name,
        uid,
        groups,
        ..User::default()
    };
    for (key, value) in &parts.headers {
        if let Some(key) = key.as_str().strip_prefix("impersonate-extra-") {
            let key = percent_decoded(key);
            other
                .extra
                .entry(key)
                .or_default()
                .push(value.to_str().unwrap_or("").to_owned());
        }
    }
    if other == User::default() {
        return Ok(user);
    }
    if other.name.is_empty() {
        return Err(Failure::bad_request(format!(
            "requested {} without impersonating a user name",
            go_user(&other)
        )));
    }
    let account = other
        .name
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'))
        .map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    match &account {
        Some((namespace, name)) => check(api, &user, "", "serviceaccounts", "", namespace, name)?,
        None => check(api, &user, "", "users", "", "", &other.name)?,
    }
    for group in &other.groups {
        check(api, &user, "", "groups", "", "", group)?;
    }
    if !other.uid.is_empty() {
        check(api, &user, "authentication.k8s.io", "uids", "", "", &other.uid)?;
    }
    for (key, values) in &other.extra {
        for value in values {
            check(api, &user, "authentication.k8s.io", "userextras", key, "", value)?;
        }
    }
    if let Some((namespace, _)) = account
        && other.groups.is_empty()
    {
        other.groups = vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
        ];
    }
    if other.name == "system:anonymous" {
        if !other.is_in("system:unauthenticated") {
            other.groups.push("system:unauthenticated".into());
        }
    } else if !other.is_in("system:authenticated") && !other.is_in("system:unauthenticated") {
        other.groups.push("system:authenticated".into());
    }
    Ok(other)
}

fn check(
    api: &Api,
    user: &User,
    group: &str,
    resource: &str,
    subresource: &str,
    namespace: &str,
    name: &str,
) -> Outcome<()> {
    let wanted = Attributes {
        verb: "impersonate",
        group,
        resource,
        subresource,
        namespace,
        name,
        path: "",
    };
    if rbac::authorize(&api.store, user, &wanted).allowed {
        return Ok(());
    }
    Err(Failure::forbidden(group, resource, name, &wanted.refusal(user)))
}

fn percent_decoded(text: &str) -> String {
    match super::route::parse(&format!("/api/v1/{}", text.replace('/', "%2F"))) {
        super::route::Path::Resource(target) => target.resource,
        _ => text.to_owned(),
    }
}

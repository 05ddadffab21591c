//! Acting as somebody else: as whom, and whether one may.
//!
//! There are several ways to be allowed it, which are tried one after the other. The older one is a right to be
//! somebody; the newer ones are a right to be somebody of one sort together with a right to do, as such a one, what is
//! asked for. Who was let through by one of them is asked by it first the next time, and where none lets one through,
//! the first one's answer is given.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use http::request::Parts;

use super::{Query, header, route, verb};
use crate::api::Api;
use crate::auth::{Attributes, User, rbac};
use crate::names;
use crate::status::{Failure, Outcome};

/// The group of those who decide everything, which nobody comes into by the newer ways.
const MASTERS: &str = "system:masters";
/// So many groups or extras are allowed as a whole first.
const MANY: usize = 4;
/// So many users are remembered.
const REMEMBERED: usize = 10_000;

/// Which way each user was let through last.
#[derive(Debug, Default)]
pub struct Ways(Mutex<BTreeMap<String, Way>>);

impl Ways {
    fn last(&self, user: &User) -> Option<Way> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&user.name).copied()
    }

    fn keep(&self, user: &User, way: Way) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED && !known.contains_key(&user.name) {
            known.clear();
        }
        known.insert(user.name.clone(), way);
    }
}

/// A way to be allowed to act as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    OwnNode,
    AnyNode,
    Account,
    Person,
    Older,
}

const WAYS: [Way; 5] = [Way::OwnNode, Way::AnyNode, Way::Account, Way::Person, Way::Older];

impl Way {
    /// What verbs of the newer ways call it.
    fn word(self) -> &'static str {
        match self {
            Way::OwnNode => "associated-node",
            Way::AnyNode => "arbitrary-node",
            Way::Account => "serviceaccount",
            Way::Person => "user-info",
            Way::Older => "",
        }
    }

    /// Whether it is a way to become this user.
    fn suits(self, user: &User, other: &User) -> bool {
        let plain = other.uid.is_empty() && other.groups.is_empty() && other.extra.is_empty();
        let (node, account) = (node(&other.name), account(&other.name));
        match self {
            Way::OwnNode => {
                let own = user.extra.get("authentication.kubernetes.io/node-name");
                let own = own.and_then(|names| match names.as_slice() {
                    [name] => Some(name.as_str()),
                    _ => None,
                });
                plain && self::account(&user.name).is_some() && node.is_some() && node == own
            }
            Way::AnyNode => plain && node.is_some(),
            Way::Account => plain && account.is_some(),
            Way::Person => node.is_none() && account.is_none(),
            Way::Older => true,
        }
    }
}

/// The node of a node's user name.
fn node(name: &str) -> Option<&str> {
    name.strip_prefix("system:node:")
        .filter(|name| names::subdomain(name).is_empty())
}

/// Namespace and name of a service account's user name.
fn account(name: &str) -> Option<(&str, &str)> {
    let (namespace, name) = name.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (names::label(namespace).is_empty() && names::subdomain(name).is_empty()).then_some((namespace, name))
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

/// The user that a request is made as.
///
/// # Errors
/// The headers make no sense, or the user may not act as another.
pub(super) fn user(api: &Api, parts: &Parts, user: User) -> Outcome<User> {
    let other = wanted(parts);
    if other == User::default() {
        return Ok(user);
    }
    if other.name.is_empty() {
        return Err(Failure::bad_request(format!(
            "requested {} without impersonating a user name",
            go_user(&other)
        )));
    }
    let last = api.impersonators.last(&user);
    let rest = WAYS.into_iter().filter(|way| Some(*way) != last);
    let mut first = None;
    for way in last.into_iter().chain(rest) {
        if !way.suits(&user, &other) {
            continue;
        }
        match by(api, parts, way, &user, &other) {
            Ok(found) => {
                api.impersonators.keep(&user, way);
                return Ok(found);
            }
            Err(failure) => first = first.or(Some(failure)),
        }
    }
    Err(first.unwrap_or_else(|| Failure::internal("all impersonation modes failed")))
}

/// The user that the headers name, as they name it.
fn wanted(parts: &Parts) -> User {
    let one = |name: &str| header(&parts.headers, name).unwrap_or("").to_owned();
    let mut other = User {
        name: one("impersonate-user"),
        uid: one("impersonate-uid"),
        ..User::default()
    };
    for (key, value) in &parts.headers {
        let value = value.to_str().unwrap_or("").to_owned();
        if key == "impersonate-group" {
            other.groups.push(value);
        } else if let Some(key) = key.as_str().strip_prefix("impersonate-extra-") {
            other.extra.entry(percent_decoded(key)).or_default().push(value);
        }
    }
    other
}

/// Who one becomes in one of the ways.
fn by(api: &Api, parts: &Parts, way: Way, user: &User, other: &User) -> Outcome<User> {
    let asker = Asker { api, user, way };
    if way != Way::Older {
        asker.may_do(parts)?;
    }
    let mut found = other.clone();
    found.groups = asker.may_be(other)?;
    let everybody = if found.name == "system:anonymous" {
        "system:unauthenticated"
    } else if found.is_in("system:unauthenticated") {
        return Ok(found);
    } else {
        "system:authenticated"
    };
    if !found.is_in(everybody) {
        found.groups.push(everybody.into());
    }
    Ok(found)
}

/// Who wants to act as another, in which way.
struct Asker<'a> {
    api: &'a Api,
    user: &'a User,
    way: Way,
}

impl Asker<'_> {
    fn check(&self, wanted: &Attributes<'_>) -> Outcome<()> {
        if rbac::authorize(self.api, self.user, wanted).allowed {
            return Ok(());
        }
        Err(self.refused(wanted, ""))
    }

    fn refused(&self, wanted: &Attributes<'_>, why: &str) -> Failure {
        let mut text = wanted.refusal(self.user);
        if !why.is_empty() {
            text = format!("{text}: {why}");
        }
        if wanted.resource.is_empty() {
            let details = serde_json::json!({});
            return Failure::new(403, "Forbidden", format!("forbidden: {text}")).with_details(details);
        }
        Failure::forbidden(wanted.group, wanted.resource, wanted.name, &text)
    }

    /// Whether what the request asks for may be done as somebody of this sort.
    fn may_do(&self, parts: &Parts) -> Outcome<()> {
        let path = parts.uri.path();
        let verb = |verb: &str| format!("impersonate-on:{}:{verb}", self.way.word());
        let route::Path::Resource(target) = route::parse(path) else {
            let verb = verb(&parts.method.as_str().to_lowercase());
            let wanted = Attributes {
                verb: &verb,
                path,
                ..Attributes::default()
            };
            return self.check(&wanted);
        };
        let query = Query::parse(parts.uri.query().unwrap_or(""));
        let verb = verb(verb::of(parts, &query, &target));
        self.check(&Attributes {
            verb: &verb,
            group: &target.group,
            resource: &target.resource,
            subresource: &target.subresource,
            namespace: &target.namespace,
            name: &target.name,
            path: "",
        })
    }

    /// Whether one may be this user; gives the groups that they are in.
    fn may_be(&self, other: &User) -> Outcome<Vec<String>> {
        let newer = self.way != Way::Older;
        let verb = if newer {
            format!("impersonate:{}", self.way.word())
        } else {
            "impersonate".to_owned()
        };
        let of_users = if newer { "authentication.k8s.io" } else { "" };
        let about = |group, resource, name| Attributes {
            verb: &verb,
            group,
            resource,
            name,
            ..Attributes::default()
        };
        let mut groups = other.groups.clone();
        let mut who = about(of_users, "users", other.name.as_str());
        if let Some(name) = node(&other.name).filter(|_| newer) {
            who.resource = "nodes";
            // Which node it is has been looked at.
            who.name = if self.way == Way::OwnNode { "*" } else { name };
            groups = vec!["system:nodes".into()];
        } else if let Some((namespace, name)) = account(&other.name) {
            (who.resource, who.namespace, who.name) = ("serviceaccounts", namespace, name);
            if groups.is_empty() {
                let all = "system:serviceaccounts";
                groups = vec![all.into(), format!("{all}:{namespace}")];
            }
        }
        self.check(&who)?;
        if !other.uid.is_empty() {
            self.check(&about("authentication.k8s.io", "uids", &other.uid))?;
        }
        self.groups(&other.groups, &|name| about(of_users, "groups", name))?;
        self.extra(&other.extra, &|name| {
            about("authentication.k8s.io", "userextras", name)
        })?;
        Ok(groups)
    }

    fn groups<'a>(&self, groups: &'a [String], about: &dyn Fn(&'a str) -> Attributes<'a>) -> Outcome<()> {
        if self.way != Way::Older {
            if groups.iter().any(String::is_empty) {
                let why = "impersonating the empty string group is not allowed";
                return Err(self.refused(&about(""), why));
            }
            if groups.iter().any(|group| group == MASTERS) {
                let why = "impersonating the system:masters group is not allowed";
                return Err(self.refused(&about(MASTERS), why));
            }
            if groups.len() >= MANY && self.check(&about("*")).is_ok() {
                return Ok(());
            }
        }
        groups.iter().try_for_each(|group| self.check(&about(group)))
    }

    fn extra<'a>(
        &self,
        extra: &'a BTreeMap<String, Vec<String>>,
        about: &dyn Fn(&'a str) -> Attributes<'a>,
    ) -> Outcome<()> {
        if self.way != Way::Older {
            for (key, values) in extra {
                if let Some(why) = odd_extra(key, values) {
                    return Err(self.refused(&about(""), &why));
                }
            }
            let many = extra.len() >= MANY || extra.values().map(Vec::len).sum::<usize>() >= MANY;
            let all = Attributes {
                subresource: "*",
                ..about("*")
            };
            if many && self.check(&all).is_ok() {
                return Ok(());
            }
        }
        for (key, values) in extra {
            for value in values {
                self.check(&Attributes {
                    subresource: key,
                    ..about(value)
                })?;
            }
        }
        Ok(())
    }
}

/// Why an attribute is not taken in the newer ways.
fn odd_extra(key: &str, values: &[String]) -> Option<String> {
    if key.is_empty() {
        return Some("impersonating the empty string key in extra is not allowed".to_owned());
    }
    let shaped = key
        .split_once('/')
        .is_some_and(|(domain, path)| names::subdomain(domain).is_empty() && !path.is_empty());
    if !shaped {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        return Some(format!(
            "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {key:?}: {why}"
        ));
    }
    values
        .iter()
        .any(String::is_empty)
        .then(|| "impersonating the empty string value in extra is not allowed".to_owned())
}

fn percent_decoded(text: &str) -> String {
    match route::parse(&format!("/api/v1/{}", text.replace('/', "%2F"))) {
        route::Path::Resource(target) => target.resource,
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sort_of_user_has_its_way() {
        let ways = |name: &str| -> Vec<Way> {
            let other = User::new(name, &[]);
            let suits = |way: &Way| way.suits(&User::new("u", &[]), &other);
            WAYS.into_iter().filter(suits).collect()
        };
        assert_eq!(ways("jane"), [Way::Person, Way::Older]);
        assert_eq!(ways("system:node:n"), [Way::AnyNode, Way::Older]);
        assert_eq!(ways("system:serviceaccount:n:s"), [Way::Account, Way::Older]);
        // What only begins like an account is a person.
        assert_eq!(ways("system:serviceaccount:n"), [Way::Person, Way::Older]);
        // With groups of its own, an account is become in the older way alone.
        let mut other = User::new("system:serviceaccount:n:s", &["g"]);
        assert!(!Way::Account.suits(&User::default(), &other) && Way::Older.suits(&User::default(), &other));
        other = User::new("system:node:n", &[]);
        let mut own = User::new("system:serviceaccount:n:s", &[]);
        let node = "authentication.kubernetes.io/node-name";
        own.extra.insert(node.into(), vec!["n".into()]);
        assert!(Way::OwnNode.suits(&own, &other));
        own.extra.insert(node.into(), vec!["m".into()]);
        assert!(!Way::OwnNode.suits(&own, &other));
    }

    #[test]
    fn attributes_of_people_have_a_domain() {
        let odd = |key: &str, values: &[&str]| {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            odd_extra(key, &values)
        };
        assert_eq!(odd("example.com/scopes", &["a"]), None);
        assert!(odd("scopes", &["a"]).is_some());
        assert!(odd("example.com/scopes", &[""]).is_some());
    }
}

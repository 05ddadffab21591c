//! What a request wants done, and whether that can be done to what its path names.

use http::Method;
use http::request::Parts;

use super::route::{Query, Target};
use crate::kinds::Kind;
use crate::status::{Failure, Outcome};
use crate::verbs::special::connect;

/// The verb of a request to a resource, as authorisation knows it.
pub(super) fn of(parts: &Parts, query: &Query, target: &Target) -> &'static str {
    match parts.method {
        Method::GET => {
            let watched = target.watch || query.flag("watch");
            match (target.name.is_empty(), watched) {
                (_, true) if target.watch || target.name.is_empty() => "watch",
                (true, _) => "list",
                _ => "get",
            }
        }
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if target.name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// Whether a kind, or a part of it, has a verb at the place that the path names.
///
/// # Errors
/// It has not, or there is no such place.
pub(super) fn check(kind: &Kind, target: &Target, verb: &str) -> Outcome<()> {
    // Nothing lies below a part of an object, unless somebody else answers there.
    let below = !target.rest.is_empty() && !connect::is(&target.subresource);
    if below && kind.custom.is_none() {
        return Err(Failure::no_resource());
    }
    let allowed = if target.subresource.is_empty() {
        let place = match verb {
            "create" => target.name.is_empty() && (!kind.namespaced || !target.namespace.is_empty()),
            "deletecollection" => !kind.namespaced || !target.namespace.is_empty(),
            "update" | "patch" | "delete" => !target.name.is_empty(),
            _ => true,
        };
        // What is only asked has no objects that could be named.
        let kept = ["get", "update", "patch", "delete"]
            .iter()
            .any(|verb| kind.can(verb));
        if !kept && kind.custom.is_none() && !target.name.is_empty() {
            return Err(Failure::no_resource());
        }
        place && kind.can(verb)
    } else {
        match kind.subresource(&target.subresource) {
            Some(sub) => sub.verbs.iter().any(|own| own == verb),
            None if kind.custom.is_some() => {
                return Err(Failure::not_found(&kind.group, &kind.plural, &target.name));
            }
            None => return Err(Failure::no_resource()),
        }
    };
    if allowed {
        Ok(())
    } else {
        Err(Failure::method_not_allowed())
    }
}

/// Whether a path can name an object so: names are segments of keys.
///
/// # Errors
/// It cannot.
pub(super) fn named(name: &str) -> Outcome<()> {
    let why = match name {
        "." | ".." => format!("may not be '{name}'"),
        _ if name.contains('%') => "may not contain '%'".to_owned(),
        _ => return Ok(()),
    };
    Err(Failure::bad_request(format!(
        "Name parameter invalid: {name:?}: {why}"
    )))
}

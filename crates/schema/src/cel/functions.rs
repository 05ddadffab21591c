//! Functions by subject. Each module knows its functions by name.

use super::library::Function;
use super::ops;

pub(crate) mod convert;
pub(crate) mod format_text;
pub(crate) mod formats;
pub(crate) mod lists;
pub(crate) mod net;
pub(crate) mod optional;
pub(crate) mod quantity;
pub(crate) mod regex;
pub(crate) mod semver;
pub(crate) mod strings;
pub(crate) mod time;
pub(crate) mod url;

/// What runs for a name; some names are shared by subjects, whose types decide.
pub(crate) fn function(name: &str) -> Option<Function> {
    ops::function(name)
        .or_else(|| shared(name))
        .or_else(|| convert::function(name))
        .or_else(|| optional::function(name))
        .or_else(|| strings::function(name))
        .or_else(|| lists::function(name))
        .or_else(|| regex::function(name))
        .or_else(|| time::function(name))
        .or_else(|| url::function(name))
        .or_else(|| net::function(name))
        .or_else(|| quantity::function(name))
        .or_else(|| semver::function(name))
        .or_else(|| formats::function(name))
        .or_else(|| super::authorizer::function(name))
}

/// Methods that values of several types have.
fn shared(name: &str) -> Option<Function> {
    use super::value::{Opaque, Value};
    fn is_version(args: &[Value<'_>]) -> bool {
        matches!(args[0], Value::Opaque(Opaque::Semver(_)))
    }
    Some(match name {
        "isGreaterThan" | "isLessThan" | "compareTo" => match name {
            "isGreaterThan" => |args| {
                if is_version(args) {
                    semver::greater(args)
                } else {
                    quantity::greater(args)
                }
            },
            "isLessThan" => |args| {
                if is_version(args) {
                    semver::less(args)
                } else {
                    quantity::less(args)
                }
            },
            _ => |args| {
                if is_version(args) {
                    semver::compare_to(args)
                } else {
                    quantity::compare_to(args)
                }
            },
        },
        "indexOf" | "lastIndexOf" | "reverse" => match name {
            "indexOf" => |args| {
                if matches!(args[0], Value::List(_)) {
                    lists::index_of(args)
                } else {
                    strings::index_of(args)
                }
            },
            "lastIndexOf" => |args| {
                if matches!(args[0], Value::List(_)) {
                    lists::last_index_of(args)
                } else {
                    strings::last_index_of(args)
                }
            },
            _ => |args| {
                if matches!(args[0], Value::List(_)) {
                    lists::reverse(args)
                } else {
                    strings::reverse(args)
                }
            },
        },
        _ => return None,
    })
}

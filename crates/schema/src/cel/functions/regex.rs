//! Regular expressions.

use regex::Regex;

use super::super::error::Error;
use super::super::library::Function;
use super::super::value::Value;
use crate::crd::compile_pattern;

type Done<'a> = Result<Value<'a>, Error>;

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "matches" => |args| search("matches", args),
        "find" => |args| search("find", args),
        "findAll" => find_all,
        _ => return None,
    })
}

fn texts<'v>(args: &'v [Value<'_>]) -> Result<(&'v str, Regex), Error> {
    let (Some(text), Some(pattern)) = (args[0].as_str(), args[1].as_str()) else {
        return Err(Error::no_overload());
    };
    Ok((text, compile_pattern(pattern).map_err(Error::new)?))
}

fn search<'a>(name: &str, args: &[Value<'a>]) -> Done<'a> {
    let (text, pattern) = texts(args)?;
    Ok(run(name, &pattern, text))
}

/// A search with a pattern that is compiled already.
pub(crate) fn run<'a>(name: &str, pattern: &Regex, text: &str) -> Value<'a> {
    match name {
        "matches" => Value::Bool(pattern.is_match(text)),
        "find" => Value::text(pattern.find(text).map_or("", |found| found.as_str())),
        _ => all(pattern, text, usize::MAX),
    }
}

fn all<'a>(pattern: &Regex, text: &str, limit: usize) -> Value<'a> {
    let found = pattern.find_iter(text).take(limit);
    Value::list(found.map(|found| Value::text(found.as_str())).collect())
}

fn find_all<'a>(args: &[Value<'a>]) -> Done<'a> {
    let (text, pattern) = texts(args)?;
    let limit = match args.get(2) {
        None => usize::MAX,
        Some(Value::Int(limit)) => usize::try_from(*limit).unwrap_or(usize::MAX),
        Some(_) => return Err(Error::no_overload()),
    };
    Ok(all(&pattern, text, limit))
}

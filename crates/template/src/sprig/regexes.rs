//! Regular expressions with RE2's syntax, compiled once.

use std::sync::{Arc, Mutex, PoisonError};

use regex::Regex;
use rustc_hash::FxHashMap;

use crate::exec::Scope;
use crate::function::{Function, FunctionResult, Functions, Params, Type, text};
use crate::value::{IntType, List, Value};

use super::{int_at, text_at};

const INT: Type = Type::Int(IntType::Int);

type ScopedBody = fn(&mut Scope<'_, '_>, &[Value]) -> FunctionResult;

pub(super) fn register(functions: &mut Functions) {
    let s2 = || Params::fixed(&[Type::Str, Type::Str]);
    let s3 = || Params::fixed(&[Type::Str, Type::Str, Type::Str]);
    let with_count = || Params::fixed(&[Type::Str, Type::Str, INT]);
    let mut both = |name: &str, params: Params, body: ScopedBody| {
        let must = format!("must{}{}", name[..1].to_uppercase(), &name[1..]);
        functions.insert(name, Function::new(params.clone(), body));
        functions.insert(must, Function::new(params, body));
    };
    both("regexMatch", s2(), |scope, v| {
        Ok(scope.pattern(text_at(v, 0))?.is_match(text_at(v, 1)).into())
    });
    both("regexFind", s2(), |scope, v| {
        let found = scope
            .pattern(text_at(v, 0))?
            .find(text_at(v, 1))
            .map_or("", |found| found.as_str())
            .to_owned();
        text(found)
    });
    both("regexFindAll", with_count(), find_all);
    both("regexReplaceAll", s3(), |scope, v| {
        let template = template_of(text_at(v, 2));
        text(
            scope
                .pattern(text_at(v, 0))?
                .replace_all(text_at(v, 1), template.as_str())
                .into_owned(),
        )
    });
    both("regexReplaceAllLiteral", s3(), |scope, v| {
        text(
            scope
                .pattern(text_at(v, 0))?
                .replace_all(text_at(v, 1), regex::NoExpand(text_at(v, 2)))
                .into_owned(),
        )
    });
    both("regexSplit", with_count(), split);
    functions.pure("regexQuoteMeta", Params::fixed(&[Type::Str]), |v| {
        text(quote_meta(text_at(v, 0)))
    });
    // Sprig's regexMatch answers false for a pattern that does not compile.
    functions.insert(
        "regexMatch",
        Function::new(s2(), |scope, v| {
            Ok(scope
                .pattern(text_at(v, 0))
                .is_ok_and(|regex| regex.is_match(text_at(v, 1)))
                .into())
        }),
    );
}

/// Compiled patterns: building one costs a thousand times what using it does. Share one among runs.
#[derive(Default)]
pub struct Patterns(Mutex<FxHashMap<Box<str>, Arc<Regex>>>);

/// More patterns than a chart has; templates can make patterns up.
const MOST_PATTERNS: usize = 1_000;

impl Patterns {
    /// The pattern, compiled now or before.
    pub(crate) fn get(&self, pattern: &str) -> Result<Arc<Regex>, String> {
        let known = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(pattern)
            .cloned();
        if let Some(regex) = known {
            return Ok(regex);
        }
        let regex = Arc::new(compile(pattern)?);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_PATTERNS {
            all.clear();
        }
        all.insert(pattern.into(), Arc::clone(&regex));
        Ok(regex)
    }
}

impl std::fmt::Debug for Patterns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Patterns")
    }
}

/// Compiles with Go's syntax and a bound on the program's size.
fn compile(pattern: &str) -> Result<Regex, String> {
    // What the crate would take and RE2 does not: the rest is refused by both.
    if let Some(error) = super::go_regex_error(pattern) {
        return Err(error);
    }
    // `\z` is the same; `\Z` and look-around are refused by both, `\pN` is shared, and so are flags.
    regex::RegexBuilder::new(pattern)
        .size_limit(4 << 20)
        .build()
        .map_err(|_| format!("error parsing regexp: invalid pattern: `{pattern}`"))
}

/// Go's `$name` takes the longest run of letters, digits and underscores; so does the crate, but it
/// needs no braces for what Go would read as a missing group.
fn template_of(replacement: &str) -> String {
    replacement.to_owned()
}

fn find_all(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let regex = scope.pattern(text_at(values, 0))?;
    let count = usize::try_from(int_at(values, 2)).unwrap_or(usize::MAX);
    let found = regex
        .find_iter(text_at(values, 1))
        .take(count)
        .map(|found| found.as_str());
    Ok(List::strings(found).into())
}

/// Go's `Regexp.Split`.
fn split(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let (pattern, whole, count) = (text_at(values, 0), text_at(values, 1), int_at(values, 2));
    let regex = scope.pattern(pattern)?;
    if count == 0 {
        return Ok(List::strings(Vec::<String>::new()).into());
    }
    if !pattern.is_empty() && whole.is_empty() {
        return Ok(List::strings([""]).into());
    }
    let limit = usize::try_from(count).unwrap_or(usize::MAX);
    let (mut parts, mut begin, mut end) = (Vec::new(), 0, 0);
    for found in regex.find_iter(whole) {
        if parts.len() == limit - 1 {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            parts.push(&whole[begin..end]);
        }
        begin = found.end();
    }
    if end != whole.len() {
        parts.push(&whole[begin..]);
    }
    Ok(List::strings(parts).into())
}

fn quote_meta(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

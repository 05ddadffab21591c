//! Checks of literals that an API server makes beyond types: times, durations, patterns, formats.

use super::ast::{Expr, Kind};
use super::error::Issue;
use super::functions::format_text;
use super::instant::Instant;
use super::value::Value;
use crate::crd::{compile_pattern, go_duration};

/// All mistakes in literals; patterns are compiled only if asked, because planning does that anyway.
pub(crate) fn validate(expr: &Expr, patterns: bool, issues: &mut Vec<Issue>) {
    for child in expr.children() {
        validate(child, patterns, issues);
    }
    let Kind::Call(call) = &expr.kind else { return };
    let text = |at: usize| {
        let arg = call.args.get(at)?;
        Some((arg.at, arg.literal()?.as_str()?))
    };
    let bad = match (&*call.name, call.args.len()) {
        ("duration", 1) => text(0).filter(|(_, text)| go_duration(text).is_none()),
        ("timestamp", 1) => text(0).filter(|(_, text)| Instant::parse(text).is_none()),
        ("matches", 2) if patterns => text(1).filter(|(_, text)| compile_pattern(text).is_err()),
        _ => None,
    };
    if let Some((at, _)) = bad {
        issues.push(Issue::new(at, format!("invalid {} argument", call.name)));
    }
    if &*call.name == "format" && call.member {
        formats(expr.at, &call.args, issues);
    }
}

/// A format with a constant text is held against its arguments.
fn formats(at: u32, args: &[Expr], issues: &mut Vec<Issue>) {
    let (Some(text), Kind::List(items)) = (args[0].literal().and_then(Value::as_str), &args[1].kind) else {
        return;
    };
    let kinds: Vec<(u32, Option<&Value<'_>>)> =
        items.iter().map(|(_, item)| (item.at, item.literal())).collect();
    if let Some((place, text)) = format_text::check(text, &kinds) {
        issues.push(Issue::new(place.unwrap_or(at), text));
    }
}

//! Macros: calls that bind names, expanded while an expression is read.

use std::sync::Arc;

use super::ast::{Bind, Expr, Fold, FoldKind, Kind};
use super::parser::Parser;

/// A call, or what its macro makes of it.
pub(crate) fn call(
    parser: &mut Parser<'_>,
    at: u32,
    target: Option<Expr>,
    name: Arc<str>,
    args: Vec<Expr>,
) -> Expr {
    match target {
        None if &*name == "has" && args.len() == 1 => has(parser, args),
        None => Expr::with(at, name, false, args),
        Some(target) => method(parser, at, target, name, args),
    }
}

fn has(parser: &mut Parser<'_>, mut args: Vec<Expr>) -> Expr {
    let mut arg = args.remove(0);
    match &mut arg.kind {
        Kind::Select(select) if !select.test && !select.optional => select.test = true,
        _ => parser.issue(arg.at, "invalid argument to has() macro"),
    }
    arg
}

/// What kind of walk a method is: kind, whether it binds two names, whether a filter is among the
/// arguments.
fn walk(name: &str, count: usize, extended: bool) -> Option<(FoldKind, bool, bool)> {
    Some(match (name, count) {
        ("all", 2) => (FoldKind::All, false, false),
        ("exists", 2) => (FoldKind::Exists, false, false),
        ("exists_one" | "existsOne", 2) => (FoldKind::ExistsOne, false, false),
        ("map", 2) => (FoldKind::List, false, false),
        ("map", 3) => (FoldKind::List, false, true),
        ("filter", 2) => (FoldKind::Filter, false, false),
        _ if !extended => return None,
        ("all", 3) => (FoldKind::All, true, false),
        ("exists", 3) => (FoldKind::Exists, true, false),
        ("exists_one" | "existsOne", 3) => (FoldKind::ExistsOne, true, false),
        ("transformList", 3 | 4) => (FoldKind::List, true, count == 4),
        ("transformMap", 3 | 4) => (FoldKind::MapValues, true, count == 4),
        ("transformMapEntry", 3 | 4) => (FoldKind::MapEntries, true, count == 4),
        ("sortBy", 2) => (FoldKind::SortBy, false, false),
        _ => return None,
    })
}

fn method(parser: &mut Parser<'_>, at: u32, target: Expr, name: Arc<str>, mut args: Vec<Expr>) -> Expr {
    if matches!(&*name, "optMap" | "optFlatMap") && args.len() == 2 {
        let body = args.remove(1);
        let flat = &*name == "optFlatMap";
        let name = variable(
            parser,
            &args[0],
            "optMap() variable name must be a simple identifier",
        );
        return Expr::new(
            at,
            Kind::Bind(Box::new(Bind {
                target,
                name,
                body,
                flat,
            })),
        );
    }
    let Some((kind, two, filtered)) = walk(&name, args.len(), parser.extended) else {
        args.insert(0, target);
        return Expr::with(at, name, true, args);
    };
    let body = args.pop().expect("macros have arguments");
    let filter = if filtered { args.pop() } else { None };
    let simple = "argument must be a simple name";
    let first = variable(parser, &args[0], simple);
    let second = two.then(|| variable(parser, &args[1], simple));
    if second.as_ref() == Some(&first) {
        parser.issue(args[1].at, format!("duplicate variable name: {first}"));
    }
    Expr::new(
        at,
        Kind::Fold(Box::new(Fold {
            kind,
            range: target,
            first,
            second,
            filter,
            body,
        })),
    )
}

fn variable(parser: &mut Parser<'_>, arg: &Expr, otherwise: &str) -> Arc<str> {
    match &arg.kind {
        Kind::Ident(name) => name.clone(),
        _ => {
            parser.issue(arg.at, otherwise);
            "".into()
        }
    }
}

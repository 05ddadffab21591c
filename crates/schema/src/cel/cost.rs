//! What steps cost, so that hostile expressions end: the reference's figures, which grow with the
//! sizes of what a function walks over.

use super::ast::FoldKind;
use super::value::{Opaque, Value};

/// The most that one expression may cost.
pub const PER_CALL: u64 = 1_000_000;
/// The most that all rules of one object may cost.
pub const PER_OBJECT: u64 = 10_000_000;

/// A tenth of a size, rounded up: the price of walking over a text.
fn walk(size: u64) -> u64 {
    size.div_ceil(10)
}

fn pattern(text: u64, pattern: u64) -> u64 {
    walk(text + 1) * pattern.div_ceil(4)
}

/// The price of a call with these arguments.
pub(crate) fn of(name: &str, args: &[Value<'_>]) -> u64 {
    let size = |at: usize| args.get(at).map_or(0, Value::extent);
    let first_list = matches!(args.first(), Some(Value::List(_)));
    match name {
        "startsWith" | "endsWith" => walk(size(1)),
        "bytes" | "string" | "strings.quote" | "format" => walk(size(0)).max(1),
        "matches" | "find" | "findAll" => pattern(size(0), size(1)),
        "contains" => walk(size(0)) * walk(size(1)),
        "@in" if matches!(args[1], Value::List(_)) => size(1).max(1),
        "_==_" | "_!=_" => walk(weight(&args[0]).min(weight(&args[1]))).max(1),
        "_<_" | "_<=_" | "_>_" | "_>=_" => walk(size(0).min(size(1))).max(1),
        "_+_" => match args[0] {
            Value::String(_) | Value::Bytes(_) | Value::List(_) => walk(size(0) + size(1)).max(1),
            _ => 1,
        },
        "lowerAscii" | "upperAscii" | "substring" | "trim" | "charAt" | "url" | "isURL" | "quantity"
        | "isQuantity" | "ip" | "isIP" | "ip.isCanonical" | "cidr" | "isCIDR" | "semver" | "isSemver"
        | "base64.encode" | "base64.decode" => walk(size(0)).max(1),
        "validate" => match &args[0] {
            Value::Opaque(Opaque::Format(format)) => pattern(size(1), format.pattern_length()),
            _ => 1,
        },
        "replace" | "split" => walk(size(0)) * 2,
        "join" | "isSorted" | "sum" | "max" | "min" | "sort" | "distinct" | "flatten" => {
            let sum = |items: &Value<'_>| match items {
                Value::List(list) => list.iter().map(|item| item.extent()).sum(),
                other => other.extent(),
            };
            args.first().map_or(1, |list: &Value<'_>| sum(list).max(1))
        }
        "indexOf" | "lastIndexOf" if first_list => size(0).max(1),
        "indexOf" | "lastIndexOf" => walk(size(0)) * walk(size(1)).max(1),
        "reverse" | "slice" => size(0).max(1),
        "sets.contains" | "sets.intersects" | "sets.equivalent" => size(0) * size(1) + 1,
        "lists.range" => match args[0] {
            Value::Int(count) => u64::try_from(count).unwrap_or(1).max(1),
            _ => 1,
        },
        "check" => 350_000,
        _ => 1,
    }
}

/// How much an equality has to look at.
fn weight(value: &Value<'_>) -> u64 {
    match value {
        Value::List(list) => list
            .iter()
            .take(10_000)
            .map(|item| weight(&item))
            .sum::<u64>()
            .max(1),
        Value::Map(map) => (map.len() as u64).max(1),
        other => other.extent(),
    }
}

/// Whether the result's size is paid for too.
pub(crate) fn by_result(name: &str) -> bool {
    matches!(name, "replace" | "join" | "format" | "flatten")
}

/// What a turn of a walk costs besides its body.
pub(crate) fn of_turn(kind: FoldKind) -> u64 {
    match kind {
        FoldKind::All => 3,
        FoldKind::Exists => 4,
        FoldKind::ExistsOne => 2,
        FoldKind::List | FoldKind::SortBy => 12,
        FoldKind::Filter => 13,
        FoldKind::MapValues | FoldKind::MapEntries => 32,
    }
}

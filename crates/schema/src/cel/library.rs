//! The functions that expressions may call: declarations for the checker, and what runs.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::error::Error;
use super::functions;
use super::types::Type;
use super::value::Value;

/// What runs for a call: functions look at their arguments' types themselves.
pub(crate) type Function = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, Error>;

/// Which functions an environment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Libraries(u8);

impl Libraries {
    /// Those of an API server.
    pub(crate) const KUBERNETES: Libraries = Libraries(0b01_0111);
    /// Those of Flux's expressions.
    pub(crate) const FLUX: Libraries = Libraries(0b10_1111);

    fn has(self, number: u8) -> bool {
        self.0 & (1 << number) != 0
    }
}

/// Sections of the file of declarations, in the order of their bits.
const SECTIONS: [&str; 6] = ["core", "strings", "sets", "strings3", "kubernetes", "encoders"];

/// One signature of a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) member: bool,
    pub(crate) args: Vec<Type>,
    pub(crate) result: Type,
    library: u8,
}

/// All signatures by name. The file is a constant, so that this is one as well.
static DECLARED: LazyLock<BTreeMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut all: BTreeMap<&'static str, Vec<Overload>> = BTreeMap::new();
    let mut library = 0;
    for line in include_str!("declarations.txt").lines() {
        if let Some(section) = line.strip_prefix("# ") {
            let at = SECTIONS.iter().position(|own| *own == section);
            library = u8::try_from(at.expect("sections of the file are known")).expect("few sections");
            continue;
        }
        let (member, line) = match line.strip_prefix('.') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let open = line.find('(').expect("a declaration has arguments");
        let (args, rest) = arguments(&line[open..]);
        let (result, _) = read(rest.trim_start());
        expand(
            all.entry(&line[..open]).or_default(),
            member,
            &args,
            &result,
            library,
        );
    }
    for sign in ["_<_", "_<=_", "_>_", "_>=_"] {
        all.insert(sign, comparisons());
    }
    all
});

/// Types that have an order.
const COMPARABLE: [Type; 8] = [
    Type::Int,
    Type::Uint,
    Type::Double,
    Type::Bool,
    Type::Duration,
    Type::Timestamp,
    Type::String,
    Type::Bytes,
];
/// The parameter that stands for each comparable type in turn.
const EACH: u32 = 2;

fn expand(all: &mut Vec<Overload>, member: bool, args: &[Type], result: &Type, library: u8) {
    fn put(kind: &Type, each: &Type) -> Type {
        match kind {
            Type::Param(EACH) => each.clone(),
            Type::List(items) => Type::list(put(items, each)),
            other => other.clone(),
        }
    }
    let generic = args
        .iter()
        .any(|arg| matches!(arg, Type::List(items) if matches!(**items, Type::Param(EACH))));
    let each: &[Type] = if generic { &COMPARABLE } else { &COMPARABLE[..1] };
    for each in each {
        all.push(Overload {
            member,
            args: args.iter().map(|arg| put(arg, each)).collect(),
            result: put(result, each),
            library,
        });
    }
}

fn comparisons() -> Vec<Overload> {
    let overload = |one: &Type, other: &Type| Overload {
        member: false,
        args: vec![one.clone(), other.clone()],
        result: Type::Bool,
        library: 0,
    };
    let numbers = &COMPARABLE[..3];
    let mut all: Vec<Overload> = COMPARABLE.iter().map(|kind| overload(kind, kind)).collect();
    for one in numbers {
        let others = numbers.iter().filter(|other| !one.same(other));
        all.extend(others.map(|other| overload(one, other)));
    }
    all
}

fn arguments(text: &'static str) -> (Vec<Type>, &'static str) {
    let mut rest = &text[1..];
    let mut args = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix(')') {
            return (args, after);
        }
        let (kind, after) = read(rest);
        args.push(kind);
        rest = after;
    }
}

fn read(text: &'static str) -> (Type, &'static str) {
    let end = text.find(['(', ')', ',', ' ']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let kind = match name {
        "A" => Type::Param(0),
        "B" => Type::Param(1),
        "C" => Type::Param(EACH),
        "list" | "map" | "optional" => {
            let (mut of, rest) = arguments(rest);
            let last = of.pop().expect("a parameter");
            let kind = match name {
                "list" => Type::list(last),
                "map" => Type::map(of.pop().expect("two parameters"), last),
                _ => Type::optional(last),
            };
            return (kind, rest);
        }
        _ => simple(name),
    };
    (kind, rest)
}

fn simple(name: &'static str) -> Type {
    match name {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "type" => Type::Type,
        other => Type::Opaque(other),
    }
}

/// The signatures of a function in an environment; empty for one that it does not have.
pub(crate) fn overloads(name: &str, libraries: Libraries) -> impl Iterator<Item = &'static Overload> + Clone {
    let all = DECLARED.get(name).map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(move |overload| libraries.has(overload.library))
}

/// Whether anything has that name.
pub(crate) fn declared(name: &str, libraries: Libraries) -> bool {
    overloads(name, libraries).next().is_some()
}

/// What runs for a function that an environment has with so many arguments.
pub(crate) fn function(name: &str, member: bool, count: usize, libraries: Libraries) -> Option<Function> {
    if !overloads(name, libraries).any(|overload| overload.member == member && overload.args.len() == count) {
        return None;
    }
    functions::function(name)
}

/// The type that a name stands for.
pub(crate) fn type_named(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 19] = [
        "bool",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "list",
        "map",
        "null_type",
        "type",
        "optional_type",
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "net.IP",
        "net.CIDR",
        "kubernetes.URL",
        "kubernetes.Quantity",
        "kubernetes.Semver",
        "kubernetes.NamedFormat",
    ];
    NAMES.iter().find(|own| **own == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_function_runs() {
        for name in DECLARED.keys() {
            assert!(functions::function(name).is_some(), "{name}");
        }
    }
}

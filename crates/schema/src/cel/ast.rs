//! Expressions as trees, macros expanded.

use std::sync::Arc;

use super::library::Function;
use super::value::Value;

/// A node with the place of its token, counted in characters.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) at: u32,
    pub(crate) kind: Kind,
}

/// An entry of a map literal: whether it is optional, key and value.
#[derive(Clone, Debug)]
pub(crate) struct MapEntry {
    pub(crate) optional: bool,
    pub(crate) key: Expr,
    pub(crate) value: Expr,
}

/// A message literal.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) name: Arc<str>,
    pub(crate) fields: Vec<MapEntry>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Literal(Value<'static>),
    /// A variable.
    Ident(Arc<str>),
    /// A field.
    Select(Box<Select>),
    /// A function call, by operator, name or method.
    Call(Box<Call>),
    /// `&&` or `||` of several.
    Logic {
        and: bool,
        args: Vec<Expr>,
    },
    Ternary(Box<[Expr; 3]>),
    /// Elements with whether they are optional.
    List(Vec<(bool, Expr)>),
    Map(Vec<MapEntry>),
    /// A message literal: its type's name, and the fields as entries of a map.
    Struct(Box<Message>),
    Fold(Box<Fold>),
    /// `optMap` and `optFlatMap`.
    Bind(Box<Bind>),
}

#[derive(Clone, Debug)]
pub(crate) struct Select {
    pub(crate) operand: Expr,
    pub(crate) field: Arc<str>,
    /// `has(…)`: only whether it is there.
    pub(crate) test: bool,
    pub(crate) optional: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: Arc<str>,
    /// The first argument is the target of a method.
    pub(crate) member: bool,
    pub(crate) args: Vec<Expr>,
    /// What runs; `None` until resolved, or where nothing has that name.
    pub(crate) function: Option<Function>,
    /// Prepared from constant arguments.
    pub(crate) prepared: Prepared,
}

/// Work that constant arguments allow to do once.
#[derive(Clone, Debug, Default)]
pub(crate) enum Prepared {
    #[default]
    Nothing,
    Pattern(Arc<regex::Regex>),
    Value(Value<'static>),
}

/// Which macro walks over the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    /// `map` and `filter` of lists; `transformList`.
    List,
    Filter,
    /// `transformMap`.
    MapValues,
    /// `transformMapEntry`.
    MapEntries,
    /// `sortBy`.
    SortBy,
}

#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) kind: FoldKind,
    pub(crate) range: Expr,
    pub(crate) first: Arc<str>,
    pub(crate) second: Option<Arc<str>>,
    pub(crate) filter: Option<Expr>,
    /// The predicate or what becomes of an element.
    pub(crate) body: Expr,
}

#[derive(Clone, Debug)]
pub(crate) struct Bind {
    pub(crate) target: Expr,
    pub(crate) name: Arc<str>,
    pub(crate) body: Expr,
    pub(crate) flat: bool,
}

impl Expr {
    pub(crate) fn new(at: u32, kind: Kind) -> Expr {
        Expr { at, kind }
    }

    pub(crate) fn call(at: u32, name: &str, args: Vec<Expr>) -> Expr {
        Expr::with(at, name.into(), false, args)
    }

    pub(crate) fn with(at: u32, name: Arc<str>, member: bool, args: Vec<Expr>) -> Expr {
        Expr::new(
            at,
            Kind::Call(Box::new(Call {
                name,
                member,
                args,
                function: None,
                prepared: Prepared::Nothing,
            })),
        )
    }

    /// The literal, if it is one.
    pub(crate) fn literal(&self) -> Option<&Value<'static>> {
        match &self.kind {
            Kind::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// The expressions directly below.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) => Vec::new(),
            Kind::Struct(message) => message.fields.iter().map(|field| &field.value).collect(),
            Kind::Select(select) => vec![&select.operand],
            Kind::Call(call) => call.args.iter().collect(),
            Kind::Logic { args, .. } => args.iter().collect(),
            Kind::Ternary(parts) => parts.iter().collect(),
            Kind::List(items) => items.iter().map(|(_, item)| item).collect(),
            Kind::Map(entries) => entries
                .iter()
                .flat_map(|entry| [&entry.key, &entry.value])
                .collect(),
            Kind::Fold(fold) => {
                let mut all = vec![&fold.range, &fold.body];
                all.extend(&fold.filter);
                all
            }
            Kind::Bind(bind) => vec![&bind.target, &bind.body],
        }
    }

    /// Whether a variable occurs.
    pub(crate) fn uses(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Ident(own) if **own == *name)
            || self.children().into_iter().any(|child| child.uses(name))
    }

    /// `a.b.c` as a text, if it is such a chain of plain names.
    pub(crate) fn qualified(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.to_string()),
            Kind::Select(select) if !select.test && !select.optional => {
                let mut name = select.operand.qualified()?;
                name.push('.');
                name.push_str(&select.field);
                Some(name)
            }
            _ => None,
        }
    }
}

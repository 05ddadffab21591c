//! The checker: every name and call of an expression must mean something before it runs, and the
//! words for what does not are those of the reference.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{Bind, Call, Expr, Fold, FoldKind, Kind, MapEntry, Message, Select};
use super::error::Issue;
use super::library::{Libraries, Overload, declared, overloads, type_named};
use super::types::Type;
use super::unify::{Known, instantiate, most_general};
use super::value::Value;

/// Parameters that one signature has at most.
const PARAMETERS: u32 = 2;

pub(crate) struct Checker<'e> {
    variables: &'e BTreeMap<String, Type>,
    libraries: Libraries,
    known: Known,
    scope: Vec<(Arc<str>, Type)>,
    issues: Vec<Issue>,
    /// How many calls of `format` are around: literals within may mix types.
    formats: usize,
}

/// Checks an expression and resolves its names; the result's type.
pub(crate) fn check(
    expr: &mut Expr,
    variables: &BTreeMap<String, Type>,
    libraries: Libraries,
) -> Result<Type, Vec<Issue>> {
    let mut checker = Checker {
        variables,
        libraries,
        known: Known::default(),
        scope: Vec::new(),
        issues: Vec::new(),
        formats: 0,
    };
    let kind = checker.expr(expr);
    if checker.issues.is_empty() {
        Ok(checker.known.fill(&kind, true))
    } else {
        Err(checker.issues)
    }
}

/// Turns a call on a name space (`sets.contains(…)`) into a plain one.
pub(crate) fn namespaced(call: &mut Call, libraries: Libraries) {
    if !call.member {
        return;
    }
    let Some(space) = call.args[0].qualified() else {
        return;
    };
    let name = format!("{space}.{}", call.name);
    if declared(&name, libraries) {
        call.args.remove(0);
        call.member = false;
        call.name = name.into();
    }
}

impl Checker<'_> {
    fn issue(&mut self, at: u32, text: String) {
        self.issues.push(Issue::new(at, text));
    }

    fn undeclared(&mut self, at: u32, name: &str) -> Type {
        self.issue(at, format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }

    fn mismatch(&mut self, at: u32, wanted: &Type, found: &Type) -> Type {
        let (wanted, found) = (self.known.fill(wanted, true), self.known.fill(found, true));
        self.issue(at, format!("expected type '{wanted}' but found '{found}'"));
        Type::Error
    }

    fn variable(&self, name: &str) -> Option<Type> {
        let local = self.scope.iter().rev().find(|(own, _)| **own == *name);
        local
            .map(|(_, kind)| kind.clone())
            .or_else(|| self.variables.get(name).cloned())
    }

    fn expr(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        if let Some(name) = expr.qualified().filter(|name| name.contains('.'))
            && self
                .variable(name.split('.').next().unwrap_or_default())
                .is_none()
            && let Some(kind) = type_named(&name)
        {
            expr.kind = Kind::Literal(Value::Type(kind));
            return Type::Type;
        }
        match &mut expr.kind {
            Kind::Literal(value) => literal(value),
            Kind::Ident(name) => {
                if let Some(kind) = self.variable(name) {
                    return kind;
                }
                match type_named(name) {
                    Some(kind) => {
                        expr.kind = Kind::Literal(Value::Type(kind));
                        Type::Type
                    }
                    None => self.undeclared(at, &name.clone()),
                }
            }
            Kind::Select(select) => self.select(at, select),
            Kind::Call(call) => self.call(at, call),
            Kind::Logic { args, .. } => self.logic(args),
            Kind::Ternary(parts) => {
                let kinds: Vec<Type> = parts.iter_mut().map(|part| self.expr(part)).collect();
                self.ternary(at, &kinds)
            }
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct(message) => self.message(at, message),
            Kind::Fold(fold) => self.fold(at, fold),
            Kind::Bind(bind) => self.bind(at, bind),
        }
    }

    fn ternary(&mut self, at: u32, kinds: &[Type]) -> Type {
        let result = self.known.fresh();
        let wanted = [&Type::Bool, &result, &result];
        let pairs: Vec<(&Type, &Type)> = kinds.iter().zip(wanted).collect();
        if self.known.all_assignable(&pairs) {
            return self.known.fill(&result, false);
        }
        self.no_match(at, "_?_:_", false, kinds)
    }

    fn no_match(&mut self, at: u32, name: &str, member: bool, kinds: &[Type]) -> Type {
        let texts: Vec<String> = kinds
            .iter()
            .map(|kind| self.known.fill(kind, true).to_string())
            .collect();
        let signature = if member {
            format!("{}.({})", texts[0], texts[1..].join(", "))
        } else {
            format!("({})", texts.join(", "))
        };
        self.issue(
            at,
            format!("found no matching overload for '{name}' applied to '{signature}'"),
        );
        Type::Error
    }

    fn logic(&mut self, args: &mut [Expr]) -> Type {
        let kinds: Vec<Type> = args.iter_mut().map(|arg| self.expr(arg)).collect();
        let mut result = Type::Bool;
        for (arg, kind) in args.iter().zip(&kinds) {
            if !self.known.assignable(kind, &Type::Bool) {
                result = self.mismatch(arg.at, &Type::Bool, kind);
            }
        }
        result
    }

    /// The type of a variable whose name has a dot.
    fn qualified_variable(&self, select: &Select) -> Option<Type> {
        let Kind::Ident(name) = &select.operand.kind else {
            return None;
        };
        let local = self.scope.iter().any(|(own, _)| own == name);
        let kind = self.variables.get(&format!("{name}.{}", select.field));
        kind.filter(|_| !local && !select.test).cloned()
    }

    fn select(&mut self, at: u32, select: &mut Select) -> Type {
        if let Some(kind) = self.qualified_variable(select) {
            return kind;
        }
        let operand = self.expr(&mut select.operand);
        let operand = self.known.fill(&operand, false);
        let (target, wrapped) = match &operand {
            Type::Optional(of) => ((**of).clone(), true),
            other => (other.clone(), false),
        };
        let kind = match &target {
            Type::Map(of) => of.1.clone(),
            Type::Object(_) | Type::Record(_) => match target.field(&select.field) {
                Some((kind, name)) => {
                    if let Some(name) = name {
                        select.field = name.into();
                    }
                    kind
                }
                None => {
                    self.issue(at, format!("undefined field '{}'", select.field));
                    Type::Error
                }
            },
            Type::Param(_) => {
                self.known.assignable(&Type::Dyn, &target);
                Type::Dyn
            }
            other => {
                if !other.is_wild() {
                    self.issue(at, format!("type '{other}' does not support field selection"));
                }
                Type::Dyn
            }
        };
        match (select.test, wrapped || select.optional) {
            (true, _) => Type::Bool,
            (false, true) => Type::optional(kind),
            (false, false) => kind,
        }
    }

    fn call(&mut self, at: u32, call: &mut Call) -> Type {
        let shadowed = |checker: &Self, name: &str| {
            checker
                .variable(name.split('.').next().unwrap_or_default())
                .is_some()
        };
        if call.member
            && let Some(space) = call.args[0].qualified()
            && !shadowed(self, &space)
        {
            namespaced(call, self.libraries);
        }
        let format = usize::from(&*call.name == "format");
        self.formats += format;
        let kinds: Vec<Type> = call.args.iter_mut().map(|arg| self.expr(arg)).collect();
        self.formats -= format;
        if !declared(&call.name, self.libraries) {
            return self.undeclared(at, &call.name.clone());
        }
        self.resolve(at, &call.name.clone(), call.member, &kinds)
    }

    fn resolve(&mut self, at: u32, name: &str, member: bool, kinds: &[Type]) -> Type {
        let mut result: Option<Type> = None;
        let fitting = overloads(name, self.libraries)
            .filter(|overload| overload.member == member && overload.args.len() == kinds.len());
        for overload in fitting {
            let Some(kind) = self.try_overload(overload, kinds) else {
                continue;
            };
            result = Some(match result {
                None => kind,
                Some(before) if before.is_dyn() || kind.same(&before) => before,
                Some(_) => Type::Dyn,
            });
        }
        match result {
            Some(result) => result,
            None => self.no_match(at, name, member, kinds),
        }
    }

    fn try_overload(&mut self, overload: &Overload, kinds: &[Type]) -> Option<Type> {
        let base = self.known.reserve(PARAMETERS);
        let args: Vec<Type> = overload.args.iter().map(|arg| instantiate(arg, base)).collect();
        let pairs: Vec<(&Type, &Type)> = kinds.iter().zip(&args).collect();
        if !self.known.all_assignable(&pairs) {
            return None;
        }
        Some(self.known.fill(&instantiate(&overload.result, base), false))
    }

    /// The common type of what came before and this.
    fn join(&mut self, at: u32, before: Option<Type>, kind: Type) -> Type {
        match before {
            None => kind,
            Some(before) => {
                if self.known.assignable(&before, &kind) {
                    most_general(&before, &kind)
                } else if self.formats > 0 {
                    Type::Dyn
                } else {
                    self.mismatch(at, &before, &kind)
                }
            }
        }
    }

    /// The type within an optional element or entry.
    fn unwrap(&mut self, at: u32, kind: &Type) -> Type {
        match self.known.fill(kind, false) {
            Type::Optional(of) => (*of).clone(),
            kind if kind.is_wild() => kind,
            kind => self.mismatch(at, &Type::optional(kind.clone()), &kind),
        }
    }

    fn list(&mut self, items: &mut [(bool, Expr)]) -> Type {
        let mut joined = None;
        for (optional, item) in items {
            let mut kind = self.expr(item);
            if *optional {
                kind = self.unwrap(item.at, &kind);
            }
            joined = Some(self.join(item.at, joined, kind));
        }
        let joined = joined.unwrap_or_else(|| self.known.fresh());
        Type::list(joined)
    }

    /// A message of a type that the environment declares as a variable of that name: a record with fields of its own,
    /// or one without, whose messages nest (`Object.spec{…}`) and whose other fields take anything.
    fn message(&mut self, at: u32, message: &mut Message) -> Type {
        let name = message.name.clone();
        let root = name.split('.').next().unwrap_or_default();
        let Some(Type::Record(declared)) = self.variables.get(root).cloned() else {
            return self.undeclared(at, &name);
        };
        let open = declared.is_open();
        if *declared.name() != *root || (!open && *name != *root) {
            return self.undeclared(at, &name);
        }
        for field in &mut message.fields {
            let key = field
                .key
                .literal()
                .and_then(|key| key.as_str().map(str::to_owned));
            let key = key.unwrap_or_default();
            let mut found = self.expr(&mut field.value);
            if field.optional {
                found = self.unwrap(field.value.at, &found);
            }
            let wanted = match declared.field(&key) {
                Some(kind) => kind.clone(),
                None if open => Type::Dyn,
                None => {
                    self.issue(field.key.at, format!("undefined field '{key}'"));
                    continue;
                }
            };
            let nested = matches!(&found, Type::Record(own) if open && own.is_open());
            let wanted = if nested {
                Type::record(format!("{name}.{key}"), std::collections::BTreeMap::new())
            } else {
                wanted
            };
            let (shown, own) = (wanted.to_string(), found.to_string());
            let fits = if nested {
                shown == own
            } else {
                self.known.all_assignable(&[(&found, &wanted)])
            };
            if !fits {
                let text =
                    format!("expected type of field '{key}' is '{shown}' but provided type is '{own}'");
                self.issue(field.key.at, text);
            }
        }
        Type::record(name.to_string(), std::collections::BTreeMap::new())
    }

    fn map(&mut self, entries: &mut [MapEntry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            let key = self.expr(&mut entry.key);
            keys = Some(self.join(entry.key.at, keys, key));
            let mut value = self.expr(&mut entry.value);
            if entry.optional {
                value = self.unwrap(entry.value.at, &value);
            }
            values = Some(self.join(entry.value.at, values, value));
        }
        let keys = keys.unwrap_or_else(|| self.known.fresh());
        let values = values.unwrap_or_else(|| self.known.fresh());
        Type::map(keys, values)
    }

    /// Types of what a walk over a range binds.
    fn range(&mut self, range: &mut Expr) -> Range {
        let kind = self.expr(range);
        let of = |single: &Type, first: Type, second: Type| Range {
            single: single.clone(),
            first,
            second,
        };
        match self.known.fill(&kind, false) {
            Type::List(items) => of(&items, Type::Int, (*items).clone()),
            Type::Map(kinds) => of(&kinds.0, kinds.0.clone(), kinds.1.clone()),
            kind if kind.is_wild() => of(&Type::Dyn, Type::Dyn, Type::Dyn),
            kind @ Type::Param(_) => {
                self.known.assignable(&Type::Dyn, &kind);
                of(&Type::Dyn, Type::Dyn, Type::Dyn)
            }
            kind => {
                let text = format!(
                    "expression of type '{kind}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.issue(range.at, text);
                of(&Type::Error, Type::Error, Type::Error)
            }
        }
    }

    fn fold(&mut self, at: u32, fold: &mut Fold) -> Type {
        let range = self.range(&mut fold.range);
        let depth = self.scope.len();
        match &fold.second {
            None => self.scope.push((fold.first.clone(), range.single.clone())),
            Some(second) => {
                self.scope.push((fold.first.clone(), range.first.clone()));
                self.scope.push((second.clone(), range.second.clone()));
            }
        }
        let filter = fold.filter.as_mut().map(|filter| self.expr(filter));
        let body = self.expr(&mut fold.body);
        self.scope.truncate(depth);
        let single = range.single.clone();
        let element = if fold.kind == FoldKind::Filter {
            range.single
        } else {
            body.clone()
        };
        let result = match fold.kind {
            FoldKind::All | FoldKind::Exists => {
                if !self.known.assignable(&body, &Type::Bool) {
                    return self.mismatch(fold.body.at, &Type::Bool, &body);
                }
                return Type::Bool;
            }
            FoldKind::ExistsOne => Type::Int,
            FoldKind::List | FoldKind::Filter | FoldKind::SortBy => Type::list(element),
            FoldKind::MapValues => Type::map(range.first, element),
            FoldKind::MapEntries => match self.known.fill(&element, false) {
                kind @ Type::Map(_) => kind,
                kind if kind.is_wild() => Type::map(Type::Dyn, Type::Dyn),
                kind => self.no_match(
                    at,
                    "cel.@mapInsert",
                    false,
                    &[Type::map(Type::Dyn, Type::Dyn), kind],
                ),
            },
        };
        let condition = match fold.kind {
            FoldKind::ExistsOne | FoldKind::Filter => Some(body),
            _ => filter,
        };
        let result = match condition {
            Some(condition) => self.ternary(at, &[condition, result.clone(), result]),
            None => result,
        };
        match fold.kind {
            FoldKind::ExistsOne if !matches!(result, Type::Error) => Type::Bool,
            FoldKind::SortBy => self.sort_by(at, &result, single),
            _ => result,
        }
    }

    /// Keys must have an order; the list keeps its type.
    fn sort_by(&mut self, at: u32, keys: &Type, items: Type) -> Type {
        let keys = self.known.fill(keys, false);
        match self.resolve(at, "sort", true, std::slice::from_ref(&keys)) {
            Type::Error => Type::Error,
            _ => Type::list(items),
        }
    }

    fn bind(&mut self, at: u32, bind: &mut Bind) -> Type {
        let target = self.expr(&mut bind.target);
        let inner = match self.known.fill(&target, false) {
            Type::Optional(of) => (*of).clone(),
            kind if kind.is_wild() || matches!(kind, Type::Param(_)) => Type::Dyn,
            kind => self.no_match(at, "hasValue", true, &[kind]),
        };
        self.scope.push((bind.name.clone(), inner));
        let body = self.expr(&mut bind.body);
        self.scope.pop();
        if !bind.flat {
            return Type::optional(body);
        }
        let result = Type::optional(self.known.fresh());
        if self.known.assignable(&body, &result) {
            return self.known.fill(&result, false);
        }
        self.no_match(at, "_?_:_", false, &[Type::Bool, body, Type::optional(Type::Dyn)])
    }
}

/// Types of what walks bind.
struct Range {
    /// What a single name is: the item of a list, the key of a map.
    single: Type,
    first: Type,
    second: Type,
}

fn literal(value: &Value<'_>) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Uint(_) => Type::Uint,
        Value::Double(_) => Type::Double,
        Value::String(_) => Type::String,
        Value::Bytes(_) => Type::Bytes,
        Value::Type(_) => Type::Type,
        _ => Type::Dyn,
    }
}

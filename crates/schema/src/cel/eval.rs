//! The interpreter. It counts the cost of each step as the reference does, and stops at the limit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{Bind, Call, Expr, Fold, FoldKind, Kind, MapEntry, Prepared, Select};
use super::cost;
use super::error::Error;
use super::functions::{lists, regex as patterns};
use super::library::type_named;
use super::ops;
use super::value::{Key, List, Map, Value};
use super::{Var, Vars};

/// One run of a program.
pub(crate) struct Run<'p, 'a> {
    vars: &'p Vars<'a>,
    /// Names that walks have bound, innermost last.
    scope: Vec<(&'p str, Value<'a>)>,
    cost: u64,
    limit: u64,
    /// Names of missing variables are reported with the fields behind them.
    unchecked: bool,
}

type Evaluated<'a> = Result<Value<'a>, Error>;

impl<'p, 'a> Run<'p, 'a> {
    pub(crate) fn new(vars: &'p Vars<'a>, limit: u64, unchecked: bool) -> Self {
        Run {
            vars,
            scope: Vec::new(),
            cost: 0,
            limit,
            unchecked,
        }
    }

    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    fn charge(&mut self, cost: u64) -> Result<(), Error> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit {
            Err(Error::cost())
        } else {
            Ok(())
        }
    }

    pub(crate) fn eval(&mut self, expr: &'p Expr) -> Evaluated<'a> {
        match &expr.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Ident(name) => {
                self.charge(1)?;
                self.variable(name)
            }
            Kind::Select(select) => self.select(expr, select),
            Kind::Call(call) => self.call(call),
            Kind::Logic { and, args } => self.logic(*and, args),
            Kind::Ternary(parts) => match self.eval(&parts[0])? {
                Value::Bool(true) => self.eval(&parts[1]),
                Value::Bool(false) => self.eval(&parts[2]),
                _ => Err(Error::no_overload()),
            },
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct(message) => self.map(&message.fields),
            Kind::Fold(fold) => self.fold(fold),
            Kind::Bind(bind) => self.bind(bind),
        }
    }

    fn variable(&self, name: &str) -> Evaluated<'a> {
        if let Some((_, value)) = self.scope.iter().rev().find(|(own, _)| *own == name) {
            return Ok(value.clone());
        }
        match self.vars.get(name) {
            Some(Var::Value(value)) => Ok(value.clone()),
            Some(Var::Failed(error)) => Err(error.clone()),
            None => match type_named(name) {
                Some(kind) if self.unchecked => Ok(Value::Type(kind)),
                _ => Err(Error::missing(name)),
            },
        }
    }

    /// A field of a record whose fields are variables of their own.
    fn qualified(&mut self, select: &Select) -> Option<Evaluated<'a>> {
        let Kind::Ident(name) = &select.operand.kind else {
            return None;
        };
        if !self.vars.has_records() || self.scope.iter().any(|(own, _)| *own == &**name) {
            return None;
        }
        let found = match self.vars.get_qualified(name, &select.field)? {
            Var::Value(value) => Ok(value.clone()),
            Var::Failed(error) => Err(error.clone()),
        };
        Some(self.charge(2).and(found))
    }

    fn select(&mut self, expr: &Expr, select: &'p Select) -> Evaluated<'a> {
        if let Some(found) = self.qualified(select) {
            return if select.test {
                found.map(|_| Value::Bool(true))
            } else {
                found
            };
        }
        let operand = match self.eval(&select.operand) {
            Err(error) if self.unchecked && error.is_missing() => {
                return Err(match self.full_name(expr, select) {
                    Some(name) => match type_named(&name) {
                        Some(kind) => return Ok(Value::Type(kind)),
                        None => Error::missing(&name),
                    },
                    None => error,
                });
            }
            other => other?,
        };
        if !select.test {
            self.charge(1)?;
        }
        let (map, optional) = match operand {
            Value::Optional(None) => {
                return Ok(if select.test {
                    Value::Bool(false)
                } else {
                    Value::Optional(None)
                });
            }
            Value::Optional(Some(inner)) => ((*inner).clone(), true),
            other => (other, select.optional),
        };
        let found = match &map {
            Value::Map(map) => map.field(&select.field),
            Value::List(_) if !select.test && !optional => {
                return Err(Error::new("unsupported index type 'string' in list"));
            }
            // What has no fields has not this one either.
            _ => None,
        };
        if select.test {
            let empty = matches!(found, Some(Value::Optional(None)));
            return Ok(Value::Bool(found.is_some() && !empty));
        }
        match (found, optional) {
            (found, true) => Ok(Value::Optional(found.map(Arc::new))),
            (Some(value), false) => Ok(value),
            (None, false) => Err(Error::no_key(&select.field)),
        }
    }

    fn full_name(&self, expr: &Expr, select: &Select) -> Option<String> {
        if select.test {
            return Some(format!("{}.{}", select.operand.qualified()?, select.field));
        }
        expr.qualified()
    }

    /// `&&` and `||`: one side may decide although another fails.
    fn logic(&mut self, and: bool, args: &'p [Expr]) -> Evaluated<'a> {
        let mut failed: Option<Error> = None;
        for arg in args {
            match self.eval(arg) {
                Ok(Value::Bool(value)) if value != and => return Ok(Value::Bool(value)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => {
                    failed.get_or_insert_with(Error::no_overload);
                }
                Err(error) if error.is_cost() => return Err(error),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(Value::Bool(and)),
        }
    }

    fn call(&mut self, call: &'p Call) -> Evaluated<'a> {
        if let Prepared::Value(value) = &call.prepared {
            self.charge(1)?;
            return Ok(value.clone());
        }
        let Some(function) = call.function else {
            return self.unknown(call);
        };
        let value = match call.args.as_slice() {
            [] => {
                self.charge(1)?;
                function(&[])?
            }
            [one] => {
                let args = [self.eval(one)?];
                self.run(call, function, &args)?
            }
            [one, two] => {
                let args = [self.eval(one)?, self.eval(two)?];
                if let Prepared::Pattern(pattern) = &call.prepared
                    && let Value::String(text) = &args[0]
                {
                    self.charge(cost::of(&call.name, &args))?;
                    return Ok(patterns::run(&call.name, pattern, text.as_str()));
                }
                self.run(call, function, &args)?
            }
            more => {
                let args = more
                    .iter()
                    .map(|arg| self.eval(arg))
                    .collect::<Result<Vec<_>, Error>>()?;
                self.run(call, function, &args)?
            }
        };
        if cost::by_result(&call.name) {
            self.charge(value.extent().div_ceil(10))?;
        }
        Ok(value)
    }

    fn run(&mut self, call: &Call, function: super::library::Function, args: &[Value<'a>]) -> Evaluated<'a> {
        self.charge(cost::of(&call.name, args))?;
        function(args).map_err(|error| {
            let named = call.name.starts_with(|c: char| c.is_ascii_alphabetic());
            if !named || error != Error::no_overload() {
                return error;
            }
            let kinds: Vec<&str> = args.iter().map(Value::type_name).collect();
            Error::new(format!("no such overload: {}({})", call.name, kinds.join(", ")))
        })
    }

    /// A call that means nothing: only unchecked programs have them.
    fn unknown(&mut self, call: &'p Call) -> Evaluated<'a> {
        let mut first = None;
        for arg in &call.args {
            let value = self.eval(arg)?;
            first.get_or_insert(value);
        }
        let receives = matches!(
            first,
            Some(Value::String(_) | Value::Timestamp(_) | Value::Duration(_))
        );
        Err(if receives {
            Error::no_overload()
        } else {
            Error::new(format!("no such overload: {}", call.name))
        })
    }

    fn list(&mut self, items: &'p [(bool, Expr)]) -> Evaluated<'a> {
        let mut out = Vec::with_capacity(items.len());
        for (optional, item) in items {
            let value = self.eval(item)?;
            match (optional, value) {
                (false, value) => out.push(value),
                (true, Value::Optional(None)) => {}
                (true, Value::Optional(Some(value))) => out.push((*value).clone()),
                (true, other) => {
                    return Err(Error::new(format!(
                        "cannot initialize optional list element from non-optional value {other}"
                    )));
                }
            }
        }
        self.charge(10)?;
        Ok(Value::list(out))
    }

    fn map(&mut self, entries: &'p [MapEntry]) -> Evaluated<'a> {
        let mut out = BTreeMap::new();
        for entry in entries {
            let key = self.eval(&entry.key)?;
            let value = self.eval(&entry.value)?;
            let key = Key::of(&key)
                .ok_or_else(|| Error::new(format!("unsupported key type: {}", key.type_name())))?;
            match (entry.optional, value) {
                (false, value) => {
                    out.insert(key, value);
                }
                (true, Value::Optional(None)) => {
                    out.remove(&key);
                }
                (true, Value::Optional(Some(value))) => {
                    out.insert(key, (*value).clone());
                }
                (true, other) => {
                    return Err(Error::new(format!(
                        "cannot initialize optional entry '{key}' from non-optional value {other}"
                    )));
                }
            }
        }
        self.charge(30)?;
        Ok(out.into())
    }

    fn bind(&mut self, bind: &'p Bind) -> Evaluated<'a> {
        let Value::Optional(target) = self.eval(&bind.target)? else {
            return Err(Error::no_overload());
        };
        self.charge(1)?;
        let Some(value) = target else {
            return Ok(Value::Optional(None));
        };
        self.scope.push((&bind.name, (*value).clone()));
        let body = self.eval(&bind.body);
        self.scope.pop();
        match body? {
            value if !bind.flat => Ok(Value::some(value)),
            value @ Value::Optional(_) => Ok(value),
            _ => Err(Error::no_overload()),
        }
    }

    fn fold(&mut self, fold: &'p Fold) -> Evaluated<'a> {
        let range = self.eval(&fold.range)?;
        let depth = self.scope.len();
        let result = match &range {
            Value::List(list) => self.fold_list(fold, list),
            Value::Map(map) => self.fold_map(fold, map),
            other => Err(Error::new(format!(
                "got '{}', expected iterable type",
                ops::go_name(other)
            ))),
        };
        self.scope.truncate(depth);
        result
    }

    fn fold_list(&mut self, fold: &'p Fold, list: &List<'a>) -> Evaluated<'a> {
        let mut state = State::new(fold.kind);
        for (index, item) in list.iter().enumerate() {
            let index = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
            let done = match &fold.second {
                None => self.turn(fold, &mut state, item.clone(), None, item),
                Some(_) => self.turn(fold, &mut state, index, Some(item.clone()), item),
            }?;
            if done {
                break;
            }
        }
        self.finish(state)
    }

    fn fold_map(&mut self, fold: &'p Fold, map: &Map<'a>) -> Evaluated<'a> {
        let mut state = State::new(fold.kind);
        for key in map.keys() {
            let value = fold.second.as_ref().map(|_| map.get(&key).unwrap_or(Value::Null));
            if self.turn(fold, &mut state, key.clone(), value, key)? {
                break;
            }
        }
        self.finish(state)
    }

    /// One turn of a walk; whether it is decided.
    fn turn(
        &mut self,
        fold: &'p Fold,
        state: &mut State<'a>,
        first: Value<'a>,
        second: Option<Value<'a>>,
        item: Value<'a>,
    ) -> Result<bool, Error> {
        let depth = self.scope.len();
        let key = first.clone();
        self.scope.push((&fold.first, first));
        if let (Some(name), Some(value)) = (&fold.second, second) {
            self.scope.push((name, value));
        }
        let done = self.inside(fold, state, &key, item);
        self.scope.truncate(depth);
        done
    }

    fn inside(
        &mut self,
        fold: &'p Fold,
        state: &mut State<'a>,
        key: &Value<'a>,
        item: Value<'a>,
    ) -> Result<bool, Error> {
        if let Some(filter) = &fold.filter {
            match self.eval(filter)? {
                Value::Bool(true) => {}
                Value::Bool(false) => {
                    self.charge(1)?;
                    return Ok(false);
                }
                _ => return Err(Error::no_overload()),
            }
        }
        self.charge(cost::of_turn(fold.kind))?;
        let body = self.eval(&fold.body);
        state.take(body, key, item)
    }

    fn finish(&mut self, state: State<'a>) -> Evaluated<'a> {
        self.charge(1)?;
        state.finish()
    }
}

/// What a walk has found so far.
struct State<'a> {
    kind: FoldKind,
    count: usize,
    failed: Option<Error>,
    decided: bool,
    items: Vec<Value<'a>>,
    sort_keys: Vec<Value<'a>>,
    entries: BTreeMap<Key, Value<'a>>,
}

impl<'a> State<'a> {
    fn new(kind: FoldKind) -> Self {
        State {
            kind,
            count: 0,
            failed: None,
            decided: false,
            items: Vec::new(),
            sort_keys: Vec::new(),
            entries: BTreeMap::new(),
        }
    }

    /// Takes in what the body gave for an element; whether nothing more can change.
    fn take(&mut self, body: Evaluated<'a>, key: &Value<'a>, item: Value<'a>) -> Result<bool, Error> {
        match self.kind {
            FoldKind::All | FoldKind::Exists => {
                let all = self.kind == FoldKind::All;
                match body {
                    Ok(Value::Bool(value)) => self.decided = value != all,
                    Ok(_) => {
                        self.failed.get_or_insert_with(Error::no_overload);
                    }
                    Err(error) if error.is_cost() => return Err(error),
                    Err(error) => {
                        self.failed.get_or_insert(error);
                    }
                }
                return Ok(self.decided);
            }
            FoldKind::ExistsOne | FoldKind::Filter => match body? {
                Value::Bool(true) if self.kind == FoldKind::Filter => self.items.push(item),
                Value::Bool(value) => self.count += usize::from(value),
                _ => return Err(Error::no_overload()),
            },
            FoldKind::List => self.items.push(body?),
            FoldKind::SortBy => {
                self.sort_keys.push(body?);
                self.items.push(item);
            }
            FoldKind::MapValues => self.insert(key, body?)?,
            FoldKind::MapEntries => {
                let Value::Map(map) = body? else {
                    return Err(Error::no_overload());
                };
                for key in map.keys() {
                    let value = map.get(&key).unwrap_or(Value::Null);
                    self.insert(&key, value)?;
                }
            }
        }
        Ok(false)
    }

    fn insert(&mut self, key: &Value<'a>, value: Value<'a>) -> Result<(), Error> {
        let key =
            Key::of(key).ok_or_else(|| Error::new(format!("unsupported key type: {}", key.type_name())))?;
        if self.entries.contains_key(&key) {
            return Err(Error::new(format!("insert failed: key {key} already exists")));
        }
        self.entries.insert(key, value);
        Ok(())
    }

    fn finish(self) -> Evaluated<'a> {
        match self.kind {
            FoldKind::All | FoldKind::Exists => match self.failed {
                Some(error) if !self.decided => Err(error),
                _ => Ok(Value::Bool((self.kind == FoldKind::All) != self.decided)),
            },
            FoldKind::ExistsOne => Ok(Value::Bool(self.count == 1)),
            FoldKind::List | FoldKind::Filter => Ok(Value::list(self.items)),
            FoldKind::SortBy => lists::sort_by(&self.items, &self.sort_keys),
            FoldKind::MapValues | FoldKind::MapEntries => Ok(self.entries.into()),
        }
    }
}

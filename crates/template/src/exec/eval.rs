//! Pipelines, commands, operands and calls. The order in which places are noted for errors follows
//! Go's, because the place is part of the message.

use std::rc::Rc;

use super::{At, MissingKey, Result2, Scope, State};
use crate::ast::{Chain, Command, Expr, ExprKind, Number, Pipe, variable_parts};
use crate::function::{Function, FunctionError, Params, Type};
use crate::trace::Depth;
use crate::value::{Element, IntType, Object, Underlying, Value};

/// The value that a pipeline hands to its next command, if there is one.
type Final = Option<Value>;

/// What a field is taken of; out of a map its type is `interface {}`, whatever it holds.
#[derive(Clone, Copy)]
struct Receiver<'v> {
    value: &'v Value,
    in_map: bool,
}

impl<'t> State<'_, 't> {
    pub(super) fn pipeline(&mut self, dot: &Value, pipe: &'t Pipe) -> Result2<Value> {
        self.at = Some(At::Pipe(pipe));
        let mark = self.mark();
        let mut value: Final = None;
        for command in self.code.commands(pipe) {
            value = Some(self.command(dot, command, value)?.unwrap_interface());
        }
        let value = value.unwrap_or(Value::Nil);
        for name in self.code.variables(pipe) {
            let name = self.code.text(*name);
            if pipe.assign {
                self.assign(name, value.clone(), mark)?;
            } else {
                let place = self.variables.len();
                self.note_set(place, mark);
                self.elements.variables.retain(|known| *known < place);
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn not_a_function(&self, words: &[Expr], last: &Final) -> Result2<()> {
        if words.len() > 1 || last.is_some() {
            let first = words.first().map(|word| self.alone(word)).unwrap_or_default();
            return self.fail(format!("can't give argument to non-function {first}"));
        }
        Ok(())
    }

    fn command(&mut self, dot: &Value, command: &'t Command, last: Final) -> Result2<Value> {
        self.step()?;
        let words = self.code.words(command);
        let Some((first, arguments)) = words.split_first() else {
            return self.fail("empty command");
        };
        match &first.kind {
            ExprKind::Field(names) => {
                self.at = Some(At::Expr(first));
                let names = self.code.text(*names);
                return self.field_chain(dot, dot.clone(), names, arguments, last, first);
            }
            ExprKind::Chain(place) => {
                return self.chain(dot, first, self.code.chain(*place), arguments, last);
            }
            ExprKind::Identifier(name) => {
                let name = self.code.text(*name);
                return self.function(dot, first, name, At::Command(command), arguments, last);
            }
            ExprKind::Pipe(place) => {
                self.not_a_function(words, &last)?;
                return self.pipeline(dot, self.code.pipe(*place));
            }
            ExprKind::Variable(text) => {
                self.at = Some(At::Expr(first));
                let (name, fields) = variable_parts(self.code.text(*text));
                let value = self.variable(name)?;
                if fields.is_empty() {
                    self.not_a_function(words, &last)?;
                    return Ok(value);
                }
                return self.field_chain(dot, value, fields, arguments, last, first);
            }
            _ => {}
        }
        self.at = Some(At::Expr(first));
        self.not_a_function(words, &last)?;
        match &first.kind {
            ExprKind::Bool(value) => Ok(Value::Bool(*value)),
            ExprKind::Dot => Ok(dot.clone()),
            ExprKind::Number(place) => self.ideal_constant(self.code.number(*place)),
            _ => match self.code.literal(first) {
                Some(text) => Ok(Value::Str(text)),
                None => self.fail("nil is not a command"),
            },
        }
    }

    fn ideal_constant(&self, number: &Number) -> Result2<Value> {
        if let Some(parts) = number.complex {
            return Ok(crate::complex::complex(parts));
        }
        let text = &number.text;
        let hex = text.len() > 2 && text.starts_with('0') && matches!(text.as_bytes()[1], b'x' | b'X');
        let floating = !number.character && !hex && text.contains(['.', 'e', 'E', 'p', 'P']);
        match (number.float, number.int) {
            (Some(float), _) if floating => Ok(Value::Float(float)),
            (_, Some(int)) => Ok(Value::int(int)),
            (Some(float), None) if number.uint.is_none() => Ok(Value::Float(float)),
            _ => self.fail(format!("{text} overflows int")),
        }
    }

    fn variable(&mut self, name: &str) -> Result2<Value> {
        match self.variables.iter().rposition(|(known, _)| *known == name) {
            Some(index) => {
                self.note_variable(index);
                Ok(self.variables[index].1.clone())
            }
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    fn chain(
        &mut self,
        dot: &Value,
        expr: &'t Expr,
        chain: &'t Chain,
        arguments: &'t [Expr],
        last: Final,
    ) -> Result2<Value> {
        self.at = Some(At::Expr(expr));
        let value = match &chain.base.kind {
            ExprKind::Nil => {
                let expr = self.code.show(expr);
                return self.fail(format!("indirection through explicit nil in {expr}"));
            }
            _ => self.untyped(dot, &chain.base)?,
        };
        let fields = self.code.text(chain.fields);
        self.field_chain(dot, value, fields, arguments, last, expr)
    }

    /// An operand without an expected type: the base of a chain.
    fn untyped(&mut self, dot: &Value, expr: &'t Expr) -> Result2<Value> {
        self.at = Some(At::Expr(expr));
        match &expr.kind {
            ExprKind::Dot => Ok(dot.clone()),
            ExprKind::Field(names) => {
                let names = self.code.text(*names);
                self.field_chain(dot, dot.clone(), names, &[], None, expr)
            }
            ExprKind::Variable(text) => {
                let (name, fields) = variable_parts(self.code.text(*text));
                let value = self.variable(name)?;
                if fields.is_empty() {
                    return Ok(value);
                }
                self.field_chain(dot, value, fields, &[], None, expr)
            }
            ExprKind::Pipe(place) => self.pipeline(dot, self.code.pipe(*place)),
            ExprKind::Identifier(name) => {
                let name = self.code.text(*name);
                self.function(dot, expr, name, At::Expr(expr), &[], None)
            }
            ExprKind::Chain(place) => self.chain(dot, expr, self.code.chain(*place), &[], None),
            ExprKind::Bool(value) => Ok(Value::Bool(*value)),
            ExprKind::Number(place) => self.ideal_constant(self.code.number(*place)),
            ExprKind::Str(..) | ExprKind::Escaped(_) | ExprKind::Nil => {
                Ok(self.code.literal(expr).map_or(Value::Nil, Value::Str))
            }
        }
    }

    /// The value at names with dots between them.
    fn field_chain(
        &mut self,
        dot: &Value,
        receiver: Value,
        names: &'t str,
        arguments: &'t [Expr],
        last: Final,
        expr: &'t Expr,
    ) -> Result2<Value> {
        let mut value = receiver;
        let mut in_map = match &expr.kind {
            ExprKind::Field(_) => self.elements.dot,
            ExprKind::Variable(text) if !self.elements.variables.is_empty() => {
                let (name, _) = variable_parts(self.code.text(*text));
                let at = self.variables.iter().rposition(|(known, _)| *known == name);
                at.is_some_and(|at| self.elements.variables.contains(&at))
            }
            _ => false,
        };
        let mut names = names;
        while let Some(at) = names.bytes().position(|byte| byte == b'.') {
            let (name, rest) = (&names[..at], &names[at + 1..]);
            names = rest;
            let next = self.field(
                dot,
                name,
                &[],
                None,
                Receiver {
                    value: &value,
                    in_map,
                },
                expr,
            )?;
            in_map = is_map(&value);
            value = next;
        }
        self.field(
            dot,
            names,
            arguments,
            last,
            Receiver {
                value: &value,
                in_map,
            },
            expr,
        )
    }

    fn field(
        &mut self,
        dot: &Value,
        name: &'t str,
        arguments: &'t [Expr],
        last: Final,
        receiver: Receiver<'_>,
        expr: &'t Expr,
    ) -> Result2<Value> {
        self.step()?;
        let has_arguments = !arguments.is_empty() || last.is_some();
        match receiver.value {
            Value::Nil => {
                if self.set.missing_key == MissingKey::Error {
                    return self.fail(format!(
                        "nil data; no entry for key {}",
                        crate::quote::quote(name)
                    ));
                }
                Ok(Value::Nil)
            }
            Value::NilInterface => self.fail(format!("nil pointer evaluating interface {{}}.{name}")),
            Value::Map(map) => {
                if has_arguments {
                    return self.fail(format!("{name} is not a method but has arguments"));
                }
                self.note_entry(map, name);
                let found = map.get(name);
                self.entry(found, map.element, name)
            }
            Value::Object(object) => {
                let object = Rc::clone(object);
                if let Some(params) = object.method(name) {
                    self.note_value(receiver.value, Depth::Whole);
                    let arguments = self.arguments(dot, &params, name, arguments, last)?;
                    let result = object.call(name, &arguments);
                    return result.or_else(|message| {
                        self.at = Some(At::Expr(expr));
                        self.fail(format!("error calling {name}: {message}"))
                    });
                }
                self.object_field(&object, name, has_arguments, receiver.in_map)
            }
            Value::List(list)
                if let Some(object) = list.object()
                    && let Some(params) = object.method(name) =>
            {
                let object = Rc::clone(object);
                let arguments = self.arguments(dot, &params, name, arguments, last)?;
                object.call(name, &arguments).or_else(|message| {
                    self.at = Some(At::Expr(expr));
                    self.fail(format!("error calling {name}: {message}"))
                })
            }
            other => {
                let kind = if receiver.in_map {
                    "interface {}".to_owned()
                } else {
                    other.type_name()
                };
                self.fail(format!("can't evaluate field {name} in type {kind}"))
            }
        }
    }

    fn object_field(
        &mut self,
        object: &Rc<dyn Object>,
        name: &str,
        has_arguments: bool,
        in_map: bool,
    ) -> Result2<Value> {
        if let Some(map) = object.as_map() {
            if has_arguments {
                return self.fail(format!("{name} is not a method but has arguments"));
            }
            self.note_entry(&map, name);
            return self.entry(map.get(name), map.element, name);
        }
        match object.field(name) {
            Some(_) if has_arguments => {
                self.fail(format!("{name} has arguments but cannot be invoked as function"))
            }
            Some(value) => Ok(value),
            None if object.has_unexported(name) => self.fail(format!(
                "{name} is an unexported field of struct type {}",
                object.type_name()
            )),
            None if in_map => self.fail(format!("can't evaluate field {name} in type interface {{}}")),
            None => self.fail(format!(
                "can't evaluate field {name} in type {}",
                object.type_name()
            )),
        }
    }

    /// A map's entry, or what the options say of a missing one.
    fn entry(&self, found: Option<Value>, element: Element, name: &str) -> Result2<Value> {
        if let Some(value) = found {
            return Ok(value);
        }
        match self.set.missing_key {
            MissingKey::Invalid => Ok(Value::Nil),
            MissingKey::Zero => Ok(zero(element)),
            MissingKey::Error => self.fail(format!("map has no entry for key {}", crate::quote::quote(name))),
        }
    }

    fn function(
        &mut self,
        dot: &Value,
        expr: &'t Expr,
        name: &str,
        place: At<'t>,
        arguments: &'t [Expr],
        last: Final,
    ) -> Result2<Value> {
        self.at = Some(At::Expr(expr));
        let set = self.set;
        let Some(function) = set.functions.get(name) else {
            return self.fail(format!("{} is not a defined function", crate::quote::quote(name)));
        };
        if let Some(stop) = function.short_circuit {
            return self.short_circuit(dot, name, function, stop, arguments, last);
        }
        // `call` quotes the operand that is no function.
        let arguments_text = if name == "call" {
            let piped = || match last.as_ref()? {
                Value::Str(text) => Some(text.to_string()),
                other => Some(format!("<{} Value>", other.type_name())),
            };
            arguments.first().map(|word| self.alone(word)).or_else(piped)
        } else {
            None
        };
        let arguments = self.arguments(dot, &function.params, name, arguments, last)?;
        self.note_arguments(function, &arguments);
        self.charge(&arguments)?;
        self.spend(function.cost)?;
        let mut scope = Scope {
            set,
            budget: self.budget,
            host: self.host,
        };
        let body = &function.body;
        match stacker::maybe_grow(64 << 10, 1 << 20, || body(&mut scope, &arguments)) {
            Ok(value) => {
                self.note_made(&value, &arguments);
                self.charge(std::slice::from_ref(&value))?;
                Ok(value)
            }
            Err(FunctionError { mut message, source }) => {
                self.at = Some(place);
                if let Some(kind) = message
                    .strip_prefix("non-function of type ")
                    .filter(|_| name == "call")
                {
                    let called = arguments_text.as_deref().unwrap_or_default();
                    message = format!("non-function {called} of type {kind}");
                }
                Err(self.error(format!("error calling {name}: {message}"), source))
            }
        }
    }

    /// `and` and `or`: the first argument that decides.
    fn short_circuit(
        &mut self,
        dot: &Value,
        name: &str,
        function: &Function,
        stop: bool,
        arguments: &'t [Expr],
        last: Final,
    ) -> Result2<Value> {
        self.check_count(&function.params, name, arguments.len(), last.is_some())?;
        let mut value = Value::Nil;
        for argument in arguments {
            value = self.argument(dot, Type::Value, argument)?;
            self.note_value(&value, Depth::Emptiness);
            if value.truth() == stop {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn check_count(&self, params: &Params, name: &str, given: usize, has_final: bool) -> Result2<()> {
        let total = given + usize::from(has_final);
        if params.rest.is_some() {
            if total < params.fixed.len() {
                let want = params.fixed.len();
                return self.fail(format!(
                    "wrong number of args for {name}: want at least {want} got {given}"
                ));
            }
        } else if total != params.fixed.len() {
            let want = params.fixed.len();
            return self.fail(format!(
                "wrong number of args for {name}: want {want} got {total}"
            ));
        }
        Ok(())
    }

    fn arguments(
        &mut self,
        dot: &Value,
        params: &Params,
        name: &str,
        arguments: &'t [Expr],
        last: Final,
    ) -> Result2<Vec<Value>> {
        self.check_count(params, name, arguments.len(), last.is_some())?;
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for (index, argument) in arguments.iter().enumerate() {
            let want = params
                .fixed
                .get(index)
                .copied()
                .or(params.rest)
                .unwrap_or(Type::Any);
            values.push(self.argument(dot, want, argument)?.copied());
        }
        if let Some(value) = last {
            let want = params
                .fixed
                .get(values.len())
                .copied()
                .or(params.rest)
                .unwrap_or(Type::Any);
            values.push(self.validate(value, want)?.copied());
        }
        Ok(values)
    }

    fn validate(&self, value: Value, want: Type) -> Result2<Value> {
        match &value {
            Value::Nil => {
                if want.can_be_nil() {
                    return Ok(value);
                }
                self.fail(format!("invalid value; expected {}", want.name()))
            }
            _ if want.accepts(&value) => Ok(match (&value, want) {
                (Value::Object(object), Type::Map) => object.as_map().map_or(Value::Nil, Value::Map),
                _ => value,
            }),
            _ => self.fail(format!(
                "wrong type for value; expected {}; got {}",
                want.name(),
                value.type_name()
            )),
        }
    }

    fn argument(&mut self, dot: &Value, want: Type, expr: &'t Expr) -> Result2<Value> {
        self.step()?;
        self.at = Some(At::Expr(expr));
        let value = match &expr.kind {
            ExprKind::Dot => dot.clone(),
            ExprKind::Nil => {
                if want.can_be_nil() {
                    return Ok(Value::Nil);
                }
                return self.fail(format!("cannot assign nil to {}", want.name()));
            }
            ExprKind::Bool(_) | ExprKind::Number(_) | ExprKind::Str(..) | ExprKind::Escaped(_) => {
                return self.constant(want, expr);
            }
            _ => self.untyped(dot, expr)?,
        };
        self.validate(value, want)
    }

    /// A literal as an argument of the wanted type.
    fn constant(&self, want: Type, expr: &Expr) -> Result2<Value> {
        let expected = |what: &str| self.fail(format!("expected {what}; found {}", self.code.show(expr)));
        let number = match &expr.kind {
            ExprKind::Number(place) => Some(self.code.number(*place)),
            _ => None,
        };
        match (want, &expr.kind) {
            (Type::Any | Type::Value, ExprKind::Number(place)) => {
                self.ideal_constant(self.code.number(*place))
            }
            (Type::Bool | Type::Any | Type::Value, ExprKind::Bool(value)) => Ok(Value::Bool(*value)),
            (Type::Bool, _) => expected("bool"),
            (Type::Str | Type::Any | Type::Value, _) => match (self.code.literal(expr), want) {
                (Some(text), _) => Ok(Value::Str(text)),
                (None, Type::Str) => expected("string"),
                (None, want) => self.unfit(expr, want),
            },
            (Type::Int(kind), _) => match number.and_then(|number| number.int) {
                Some(int) => Ok(Value::Int(narrow(int, kind), kind)),
                None => expected("integer"),
            },
            (Type::Uint(kind), _) => match number.and_then(|number| number.uint) {
                Some(uint) => Ok(Value::Uint(uint, kind)),
                None => expected("unsigned integer"),
            },
            (Type::Float, _) => match number.and_then(|number| number.float) {
                Some(float) => Ok(Value::Float(float)),
                None => expected("float"),
            },
            (want, _) => self.unfit(expr, want),
        }
    }

    fn unfit(&self, expr: &Expr, want: Type) -> Result2<Value> {
        let (expr, want) = (self.code.show(expr), want.name());
        self.fail(format!("can't handle {expr} for arg of type {want}"))
    }

    /// How an operand is quoted by itself: a pipeline stands without the parentheses that it has among others.
    fn alone(&self, operand: &Expr) -> String {
        match operand.kind {
            ExprKind::Pipe(place) => self.code.show(self.code.pipe(place)).to_string(),
            _ => self.code.show(operand).to_string(),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "as Go's SetInt does")]
fn narrow(value: i64, kind: IntType) -> i64 {
    if kind == IntType::Int32 {
        i64::from(value as i32)
    } else {
        value
    }
}

fn zero(element: Element) -> Value {
    match element {
        Element::Any => Value::NilInterface,
        Element::Str => Value::from(""),
        Element::Int => Value::int(0),
        Element::Byte => Value::Uint(0, crate::value::UintType::Uint8),
        Element::Bytes => crate::value::List::bytes(&[]).into(),
        Element::Map | Element::List => Value::Nil,
    }
}

fn is_map(value: &Value) -> bool {
    match value {
        Value::Map(_) => true,
        Value::Object(object) => object.as_map().is_some(),
        _ => false,
    }
}

/// The number behind an object, for comparisons.
pub(crate) fn plain(value: &Value) -> Value {
    match value {
        Value::Object(object) => match object.underlying() {
            Underlying::Value(value) => value,
            Underlying::Struct { .. } => value.clone(),
        },
        value => value.clone(),
    }
}

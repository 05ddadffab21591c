//! Functions and their parameter types, so that wrong arguments fail as Go's reflection makes them fail.

use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::error::ExecError;
use crate::exec::Scope;
use crate::trace::Reads;
use crate::value::{Element, IntType, UintType, Value};

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`
    Any,
    /// `reflect.Value`: takes anything, nil too; the language's own functions have it.
    Value,
    /// `bool`
    Bool,
    /// `string`
    Str,
    /// A signed integer.
    Int(IntType),
    /// An unsigned integer.
    Uint(UintType),
    /// `float64`
    Float,
    /// A slice.
    List(Element),
    /// `map[string]interface {}`
    Map,
    /// An object of the host with this type name.
    Object(&'static str),
}

impl Type {
    /// As Go prints the type.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Type::Any => "interface {}".to_owned(),
            Type::Value => "reflect.Value".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Str => "string".to_owned(),
            Type::Int(kind) => Value::Int(0, kind).type_name(),
            Type::Uint(kind) => Value::Uint(0, kind).type_name(),
            Type::Float => "float64".to_owned(),
            Type::List(element) => format!("[]{}", element.type_name()),
            Type::Map => "map[string]interface {}".to_owned(),
            Type::Object(name) => name.to_owned(),
        }
    }

    /// Whether nil is one of its values.
    pub(crate) fn can_be_nil(self) -> bool {
        matches!(self, Type::Any | Type::Value | Type::List(_) | Type::Map)
    }

    /// Whether a value has this type.
    pub(crate) fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Type::Any | Type::Value, _)
            | (Type::Bool, Value::Bool(_))
            | (Type::Str, Value::Str(_))
            | (Type::Float, Value::Float(_)) => true,
            (Type::Int(want), Value::Int(_, have)) => want == *have,
            (Type::Uint(want), Value::Uint(_, have)) => want == *have,
            (Type::List(want), Value::List(list)) => want == list.element,
            (Type::Map, Value::Map(map)) => map.element == Element::Any,
            (Type::Map, Value::Object(object)) => {
                object.as_map().is_some_and(|map| map.element == Element::Any)
            }
            (Type::Object(name), Value::Object(object)) => object.type_name() == name,
            _ => false,
        }
    }
}

/// The parameters of a function: fixed ones, then perhaps any number of one type.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// Types of the fixed parameters.
    pub fixed: Vec<Type>,
    /// Type of the rest, if the function is variadic.
    pub rest: Option<Type>,
}

impl Params {
    /// Fixed parameters only.
    #[must_use]
    pub fn fixed(fixed: &[Type]) -> Self {
        Params {
            fixed: fixed.to_vec(),
            rest: None,
        }
    }

    /// Fixed parameters and a variadic tail.
    #[must_use]
    pub fn variadic(fixed: &[Type], rest: Type) -> Self {
        Params {
            fixed: fixed.to_vec(),
            rest: Some(rest),
        }
    }
}

/// Why a function failed.
#[derive(Debug)]
pub struct FunctionError {
    /// The whole text.
    pub message: String,
    /// The template error inside, if the function ran a template (`include`, `tpl`).
    pub source: Option<Box<ExecError>>,
}

impl<T: Into<String>> From<T> for FunctionError {
    fn from(message: T) -> Self {
        FunctionError {
            message: message.into(),
            source: None,
        }
    }
}

/// What a function returns.
pub type FunctionResult = Result<Value, FunctionError>;

/// A function's body. Nil arguments arrive as [`Value::Nil`].
pub type Body = Arc<dyn Fn(&mut Scope<'_, '_>, &[Value]) -> FunctionResult + Send + Sync>;

/// A function that templates can call.
#[derive(Clone)]
pub struct Function {
    pub(crate) params: Params,
    pub(crate) body: Body,
    /// `and`, `or`: arguments are evaluated until the answer is known.
    pub(crate) short_circuit: Option<bool>,
    pub(crate) reads: Reads,
    /// Steps that a call takes beside its own.
    pub(crate) cost: u64,
}

impl Function {
    /// A function from its parameters and body.
    pub fn new(
        params: Params,
        body: impl Fn(&mut Scope<'_, '_>, &[Value]) -> FunctionResult + Send + Sync + 'static,
    ) -> Self {
        Function {
            params,
            body: Arc::new(body),
            short_circuit: None,
            reads: Reads::Whole,
            cost: 0,
        }
    }

    /// A function that needs nothing but its arguments.
    pub fn pure(params: Params, body: fn(&[Value]) -> FunctionResult) -> Self {
        Function {
            params,
            body: Arc::new(move |_, arguments| body(arguments)),
            short_circuit: None,
            reads: Reads::Whole,
            cost: 0,
        }
    }
}

/// The functions that templates of a set can call, by name.
#[derive(Clone, Default)]
pub struct Functions(FxHashMap<String, Function>);

impl Functions {
    /// The language's own functions: `and`, `call`, `html`, `index`, `slice`, `js`, `len`, `not`,
    /// `or`, `print`, `printf`, `println`, `urlquery`, `eq`, `ge`, `gt`, `le`, `lt`, `ne`.
    #[must_use]
    pub fn builtins() -> Self {
        let mut functions = Functions::default();
        crate::builtins::register(&mut functions);
        functions
    }

    /// Adds or replaces a function.
    pub fn insert(&mut self, name: impl Into<String>, function: Function) {
        self.0.insert(name.into(), function);
    }

    /// Adds or replaces a function that needs nothing but its arguments.
    pub fn pure(&mut self, name: &str, params: Params, body: fn(&[Value]) -> FunctionResult) {
        self.insert(name, Function::pure(params, body));
    }

    /// Makes a second name for a function.
    pub fn alias(&mut self, name: &str, of: &str) {
        if let Some(function) = self.0.get(of).cloned() {
            self.insert(name, function);
        }
    }

    /// Says what functions read of the maps that are their arguments; without it, all of them.
    pub fn reading(&mut self, reads: Reads, names: &[&str]) {
        for name in names {
            if let Some(function) = self.0.get_mut(*name) {
                function.reads = reads;
            }
        }
    }

    /// Says that calls of functions take as long as so many steps.
    pub fn costing(&mut self, steps: u64, names: &[&str]) {
        for name in names {
            if let Some(function) = self.0.get_mut(*name) {
                function.cost = steps;
            }
        }
    }

    /// Removes a function.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Looks a function up.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Function> {
        self.0.get(name)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        names.sort_unstable();
        names.into_iter()
    }
}

/// A string result.
pub(crate) fn text(text: impl Into<Rc<str>>) -> FunctionResult {
    Ok(Value::Str(text.into()))
}

//! Runs templates: statements here, pipelines and operands in `exec/eval.rs`.

mod eval;
mod note;

pub(crate) use eval::plain;

use std::any::Any;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::ast::{
    Branch, BranchKind, Call, Code, Command, Expr, Node, Pipe, SourceText, Tree, template_clause,
};
use crate::error::{ExecError, Location};
use crate::function::{FunctionError, Functions};
use crate::parse::{ParseError, parse};
use crate::sprig::{Pattern, Patterns};
use crate::trace::{Depth, Lines, Trace};
use crate::value::{Element, IntType, Value};

/// What a key that a map lacks gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// No value: prints `<no value>`.
    #[default]
    Invalid,
    /// The zero value of the map's elements.
    Zero,
    /// An error.
    Error,
}

/// Bounds of one run: what exceeds them ends with an error, not with the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of output, texts that functions collect included.
    pub output: usize,
    /// Actions and operands that are evaluated.
    pub steps: u64,
    /// Templates inside templates.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            output: 256 << 20,
            steps: 200_000_000,
            depth: 5_000,
        }
    }
}

/// Parsed templates by name. Parse once, share, run many times and in parallel.
#[derive(Clone)]
pub struct Set {
    parent: Option<Arc<Set>>,
    trees: FxHashMap<Arc<str>, Arc<Tree>>,
    functions: Arc<Functions>,
    patterns: Arc<Patterns>,
    missing_key: MissingKey,
}

impl Set {
    /// An empty set.
    #[must_use]
    pub fn new(functions: Arc<Functions>) -> Self {
        Set {
            parent: None,
            trees: FxHashMap::default(),
            functions,
            patterns: Arc::default(),
            missing_key: MissingKey::default(),
        }
    }

    /// A set on top of another, which it sees and does not change.
    #[must_use]
    pub fn layered(parent: Arc<Set>) -> Self {
        let (functions, missing_key) = (Arc::clone(&parent.functions), parent.missing_key);
        let patterns = Arc::clone(&parent.patterns);
        Set {
            parent: Some(parent),
            trees: FxHashMap::default(),
            functions,
            patterns,
            missing_key,
        }
    }

    /// Shares compiled patterns with other sets.
    pub fn set_patterns(&mut self, patterns: Arc<Patterns>) {
        self.patterns = patterns;
    }

    /// What missing keys give.
    pub fn set_missing_key(&mut self, missing_key: MissingKey) {
        self.missing_key = missing_key;
    }

    /// Parses a text and adds the templates in it. A template that is defined again replaces the
    /// older one, unless its body is blank.
    ///
    /// # Errors
    /// If the text does not parse; the set is then unchanged.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), ParseError> {
        let parsed = self.functions.parse(name, text)?;
        self.add_parsed(&parsed);
        Ok(())
    }

    /// Adds templates that have been parsed, as [`Set::add`] does.
    pub fn add_parsed(&mut self, parsed: &Parsed) {
        for tree in parsed.0.iter() {
            if tree.blank && self.find(&tree.name).is_some() {
                continue;
            }
            self.trees.insert(Arc::clone(&tree.name), Arc::clone(tree));
        }
    }

    /// Adds parsed templates; the one of this name replaces any other, blank or not.
    pub fn add_main_parsed(&mut self, name: &str, parsed: &Parsed) {
        for tree in parsed.0.iter() {
            if &*tree.name != name && tree.blank && self.find(&tree.name).is_some() {
                continue;
            }
            self.trees.insert(Arc::clone(&tree.name), Arc::clone(tree));
        }
    }

    fn find(&self, name: &str) -> Option<&Arc<Tree>> {
        self.trees.get(name).or_else(|| self.parent.as_ref()?.find(name))
    }

    /// Whether there is a template of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The functions.
    #[must_use]
    pub fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }

    /// Runs a template. `host` is what functions find in [`Scope::host`].
    ///
    /// # Errors
    /// If the template, or a function in it, fails, or a limit is reached.
    pub fn execute(
        &self,
        name: &str,
        data: &Value,
        limits: Limits,
        host: &mut dyn Any,
    ) -> Result<String, ExecError> {
        self.execute_raw(name, data, limits, host)
            .map(crate::bytes::lossy)
    }

    /// As [`Set::execute`]; the output may hold bytes that are no UTF-8 (see [`crate::bytes`]).
    ///
    /// # Errors
    /// As [`Set::execute`].
    pub fn execute_raw(
        &self,
        name: &str,
        data: &Value,
        limits: Limits,
        host: &mut dyn Any,
    ) -> Result<String, ExecError> {
        let mut budget = Budget::of(limits, None);
        execute(self, name, data, &mut budget, host).map(|(text, _)| text)
    }

    /// As [`Set::execute_raw`], noting what is read and which statement writes which line.
    ///
    /// # Errors
    /// As [`Set::execute`].
    pub fn execute_traced(
        &self,
        name: &str,
        data: &Value,
        limits: Limits,
        host: &mut dyn Any,
        trace: &mut Trace,
    ) -> Result<String, ExecError> {
        let mut budget = Budget::of(limits, Some(std::mem::take(trace)));
        let result = execute(self, name, data, &mut budget, host);
        *trace = budget.trace.take().map(|trace| *trace).unwrap_or_default();
        let (text, lines) = result?;
        trace.ended(lines.into_inner());
        Ok(text)
    }
}

/// A text's templates, parsed: cheap to clone, to add to any set whose functions are the same.
#[derive(Clone, Debug)]
pub struct Parsed(Arc<[Arc<Tree>]>);

impl Parsed {
    /// The templates of a file with the same text under another name; nothing where a `define` in the text has one of
    /// the two names: which template counts would be another question then, that parsing answers.
    #[must_use]
    pub fn again(&self, name: &str) -> Option<Parsed> {
        let (own, defined) = self.0.split_last()?;
        if !own.file.own_last || defined.iter().any(|tree| *tree.name == *name) {
            return None;
        }
        let file = Arc::new(SourceText {
            name: name.into(),
            code: Arc::clone(&own.file.code),
            own_last: true,
        });
        let tree = |name: &Arc<str>, tree: &Tree| {
            Arc::new(Tree {
                name: Arc::clone(name),
                file: Arc::clone(&file),
                root: tree.root,
                blank: tree.blank,
            })
        };
        let defined = defined.iter().map(|known| tree(&known.name, known));
        Some(Parsed(defined.chain([tree(&file.name, own)]).collect()))
    }
}

impl Functions {
    /// Parses a text without adding it to a set.
    ///
    /// # Errors
    /// If it does not parse, or calls what is no function here.
    pub fn parse(&self, name: &str, text: &str) -> Result<Parsed, ParseError> {
        let trees = parse(name, text, &|function| self.get(function).is_some())?;
        Ok(Parsed(trees.into_iter().map(Arc::new).collect()))
    }
}

struct Budget {
    steps: u64,
    output: usize,
    depth: usize,
    /// What is noted of the run, if anything.
    trace: Option<Box<Trace>>,
}

impl Budget {
    fn of(limits: Limits, trace: Option<Trace>) -> Self {
        Budget {
            steps: limits.steps,
            output: limits.output,
            depth: limits.depth,
            trace: trace.map(Box::new),
        }
    }
}

fn execute(
    set: &Set,
    name: &str,
    data: &Value,
    budget: &mut Budget,
    host: &mut dyn Any,
) -> Result<(String, Lines), ExecError> {
    let Some(tree) = set.find(name) else {
        return Err(ExecError {
            template: name.to_owned(),
            location: None,
            message: format!("{} is an incomplete or empty template", crate::quote::quote(name)),
            source: None,
        });
    };
    let mut state = State {
        set,
        tree,
        code: &tree.file.code,
        at: None,
        variables: variables_of(data),
        elements: Elements::default(),
        // Most of what one template gives another is a line or two.
        out: String::with_capacity(128),
        lines: Lines::default(),
        within: None,
        set_by: Vec::new(),
        budget,
        host,
    };
    state.walk_list(data, state.code.nodes(tree.root))?;
    Ok((state.out, state.lines))
}

/// The variables that a template begins with, and room for some of its own.
fn variables_of<'t>(data: &Value) -> Vec<(&'t str, Value)> {
    let mut variables = Vec::with_capacity(4);
    variables.push(("$", data.clone()));
    variables
}

/// What a function can reach beside its arguments.
pub struct Scope<'s, 't> {
    set: &'t Set,
    budget: &'s mut Budget,
    /// The caller's own state for this run: clock, randomness, charts, whatever its functions need.
    pub host: &'s mut dyn Any,
}

impl Scope<'_, '_> {
    /// The set whose template is running.
    #[must_use]
    pub fn set(&self) -> &Set {
        self.set
    }

    /// A regular expression in Go's syntax, compiled once for all that share the set's patterns.
    ///
    /// # Errors
    /// If it is none, worded as Go words it.
    pub fn pattern(&self, pattern: &str) -> Result<Arc<Pattern>, String> {
        self.set.patterns.get(pattern)
    }

    /// Runs a template of the set into a text.
    ///
    /// # Errors
    /// The template's error, as the function's source.
    pub fn execute(&mut self, name: &str, data: &Value) -> Result<String, FunctionError> {
        self.execute_in(self.set, name, data)
    }

    /// Runs a template of another set into a text, within this run's limits.
    ///
    /// # Errors
    /// The template's error, as the function's source.
    pub fn execute_in(&mut self, set: &Set, name: &str, data: &Value) -> Result<String, FunctionError> {
        match execute(set, name, data, self.budget, self.host) {
            Ok((text, lines)) => {
                if let Some(trace) = &mut self.budget.trace {
                    trace.gave(text.len(), lines.into_inner());
                }
                Ok(text)
            }
            Err(error) => Err(FunctionError {
                message: error.to_string(),
                source: Some(Box::new(error)),
            }),
        }
    }

    /// Refuses results that would exceed the run's output limit (`repeat`, padding).
    ///
    /// # Errors
    /// If `bytes` is more than what is left.
    pub fn reserve(&self, bytes: usize) -> Result<(), FunctionError> {
        if bytes > self.budget.output {
            return Err("the output is larger than allowed".into());
        }
        Ok(())
    }
}

/// What errors name as the place.
#[derive(Clone, Copy)]
enum At<'t> {
    Expr(&'t Expr),
    Command(&'t Command),
    Pipe(&'t Pipe),
    Template(&'t Call),
    Range(&'t Branch),
}

enum Flow {
    Next,
    Break,
    Continue,
}

/// What holds an item of an untyped collection as it came out of a `range`: to errors its type is `interface {}`, until it
/// goes through a pipeline.
#[derive(Default)]
struct Elements {
    /// The dot does.
    dot: bool,
    /// The variables that do, by their places.
    variables: Vec<usize>,
}

impl Elements {
    fn add(&mut self, variable: usize) {
        if !self.variables.contains(&variable) {
            self.variables.push(variable);
        }
    }
}

struct State<'s, 't> {
    set: &'t Set,
    tree: &'t Tree,
    /// The parts of the tree's file.
    code: &'t Code,
    at: Option<At<'t>>,
    variables: Vec<(&'t str, Value)>,
    elements: Elements,
    out: String,
    /// Who wrote which line, if it is noted.
    lines: Lines,
    /// The condition or loop around the statement, if it is noted.
    within: Option<u32>,
    /// For each variable what was read to set it, if it is noted.
    set_by: Vec<(u32, u32)>,
    budget: &'s mut Budget,
    host: &'s mut dyn Any,
}

type Result2<T> = Result<T, ExecError>;

impl<'t> State<'_, 't> {
    fn fail<T>(&self, message: impl Into<String>) -> Result2<T> {
        Err(self.error(message.into(), None))
    }

    fn error(&self, message: String, source: Option<Box<ExecError>>) -> ExecError {
        let location = self.at.map(|at| {
            let code = self.code;
            let (pos, context) = match at {
                At::Expr(expr) => (expr.pos, code.show(expr).to_string()),
                At::Command(command) => (command.pos, code.show(command).to_string()),
                At::Pipe(pipe) => (pipe.pos, code.show(pipe).to_string()),
                At::Template(call) => {
                    let pipe = call.pipe.map(|pipe| code.pipe(pipe));
                    (call.pos, template_clause(code, &call.name, pipe))
                }
                At::Range(branch) => {
                    let pipe = code.show(code.pipe(branch.pipe));
                    (branch.pos, format!("{{{{range {pipe}}}}}"))
                }
            };
            let (line, column) = self.tree.file.position(pos as usize);
            Location {
                file: self.tree.file.name.to_string(),
                line,
                column,
                context,
            }
        });
        ExecError {
            template: self.tree.name.to_string(),
            location,
            message,
            source,
        }
    }

    fn step(&mut self) -> Result2<()> {
        match self.budget.steps.checked_sub(1) {
            Some(steps) => {
                self.budget.steps = steps;
                Ok(())
            }
            None => self.fail("the template runs longer than allowed"),
        }
    }

    /// Large values cost more than one step: a call that takes or makes one does much work.
    fn charge(&mut self, values: &[Value]) -> Result2<()> {
        let cost = |value: &Value| match value {
            Value::Str(text) => text.len() >> 8,
            Value::List(list) => list.items().len() >> 2,
            _ => 0,
        };
        let cost: usize = values.iter().map(cost).sum();
        self.spend(cost as u64)
    }

    /// Takes steps off the budget.
    fn spend(&mut self, steps: u64) -> Result2<()> {
        match self.budget.steps.checked_sub(steps) {
            Some(steps) => {
                self.budget.steps = steps;
                Ok(())
            }
            None => self.fail("the template runs longer than allowed"),
        }
    }

    fn write(&mut self, text: &str) -> Result2<()> {
        let Some(left) = self.budget.output.checked_sub(text.len()) else {
            return self.fail("the output is larger than allowed");
        };
        self.budget.output = left;
        self.out.push_str(text);
        Ok(())
    }

    fn walk_list(&mut self, dot: &Value, nodes: &'t [Node]) -> Result2<Flow> {
        for node in nodes {
            match self.walk(dot, node)? {
                Flow::Next => {}
                flow => return Ok(flow),
            }
        }
        Ok(Flow::Next)
    }

    fn walk(&mut self, dot: &Value, node: &'t Node) -> Result2<Flow> {
        self.step()?;
        match node {
            Node::Text(span) => {
                let text = self.code.text(*span);
                self.write(text)?;
                self.note_text(span.pos as usize, text);
            }
            Node::Action(pipe) => {
                let pipe = self.code.pipe(*pipe);
                let mark = self.mark();
                let value = self.pipeline(dot, pipe)?;
                if pipe.variables.len() == 0 {
                    let start = self.out.len();
                    self.print(pipe, &value)?;
                    self.note_action(pipe, &value, mark, start);
                }
            }
            Node::Branch(place) => {
                let branch = &self.code.branches[*place as usize];
                return if branch.kind == BranchKind::Range {
                    self.range(dot, branch)
                } else {
                    self.if_or_with(dot, branch)
                };
            }
            Node::Template(place) => self.template(dot, &self.code.calls[*place as usize])?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, pipe: &'t Pipe, value: &Value) -> Result2<()> {
        let text = match value {
            Value::Nil | Value::NilInterface => return self.write("<no value>"),
            Value::Str(text) => return self.write(text),
            Value::Object(object) if let Some(text) = object.text_in_place() => {
                self.note_value(value, Depth::Whole);
                text
            }
            value => {
                self.note_value(value, Depth::Whole);
                crate::print::go_value(value)
            }
        };
        self.at = Some(At::Pipe(pipe));
        self.write(&text)
    }

    fn if_or_with(&mut self, dot: &Value, branch: &'t Branch) -> Result2<Flow> {
        let mark = self.variables.len();
        let (read, outer) = (self.mark(), self.within);
        let value = self.pipeline(dot, self.code.pipe(branch.pipe))?;
        self.note_branch(branch, &value, read, Depth::Emptiness);
        let flow = if value.truth() {
            let with = branch.kind == BranchKind::With;
            let outer = self.elements.dot;
            self.elements.dot &= !with;
            let flow = self.walk_list(if with { &value } else { dot }, self.code.nodes(branch.list))?;
            self.elements.dot = outer;
            flow
        } else if let Some(otherwise) = branch.otherwise {
            self.walk_list(dot, self.code.nodes(otherwise))?
        } else {
            Flow::Next
        };
        self.variables.truncate(mark);
        self.within = outer;
        Ok(flow)
    }

    fn range(&mut self, dot: &Value, branch: &'t Branch) -> Result2<Flow> {
        let mark = self.variables.len();
        self.at = Some(At::Range(branch));
        let (read, outer) = (self.mark(), self.within);
        let value = self.pipeline(dot, self.code.pipe(branch.pipe))?;
        self.note_branch(branch, &value, read, Depth::Shallow);
        let map = match &value {
            Value::Map(map) => Some(map.clone()),
            Value::Object(object) => object.as_map(),
            _ => None,
        };
        let mut any = false;
        match (&value, map) {
            (Value::Nil | Value::NilInterface, _) => {}
            (_, Some(map)) => {
                // The body may change the map; as in Go, the iteration goes over the keys of the start.
                let entries: Vec<_> = map
                    .borrow()
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                let untyped = map.element == Element::Any;
                for (key, item) in entries {
                    any = true;
                    if !self.iteration(branch, Value::Str(key), item, untyped)? {
                        break;
                    }
                }
            }
            (Value::List(list), _) => {
                for (index, item) in list.items().iter().enumerate() {
                    any = true;
                    let index = Value::int(i64::try_from(index).unwrap_or(i64::MAX));
                    if !self.iteration(branch, index, item.clone(), list.element == Element::Any)? {
                        break;
                    }
                }
            }
            (Value::Int(count, kind), _) => any = self.range_int(branch, *count, *kind, &value)?,
            (Value::Uint(count, _), _) => {
                let count = i64::try_from(*count).unwrap_or(i64::MAX);
                any = self.range_int(branch, count, IntType::Int, &value)?;
            }
            _ => {
                // What a pointer points to is shown, without the sign for it.
                let text = crate::print::go_value(&value);
                let text = match value.kind() {
                    "ptr" => text.trim_start_matches('&'),
                    _ => &text,
                };
                return self.fail(format!("range can't iterate over {text}"));
            }
        }
        self.variables.truncate(mark);
        match branch.otherwise {
            Some(otherwise) if !any => {
                let flow = self.walk_list(dot, self.code.nodes(otherwise))?;
                self.variables.truncate(mark);
                self.within = outer;
                Ok(flow)
            }
            _ => {
                self.within = outer;
                Ok(Flow::Next)
            }
        }
    }

    fn range_int(&mut self, branch: &'t Branch, count: i64, kind: IntType, value: &Value) -> Result2<bool> {
        if self.code.pipe(branch.pipe).variables.len() > 1 {
            let text = crate::print::go_value(value);
            return self.fail(format!("can't use {text} to iterate over more than one variable"));
        }
        let mut any = false;
        for index in 0..count {
            any = true;
            if !self.iteration(branch, Value::Int(index, kind), Value::Int(index, kind), false)? {
                break;
            }
        }
        Ok(any)
    }

    /// One round; `false` after a `break`. An item of an untyped collection stays one for errors.
    fn iteration(&mut self, branch: &'t Branch, index: Value, item: Value, untyped: bool) -> Result2<bool> {
        self.step()?;
        let mark = self.variables.len();
        // The nil of an untyped collection keeps its interface: its fields are an error, as in Go.
        let item = match untyped && item.is_nil() {
            true => Value::NilInterface,
            false => item.unwrap_interface(),
        };
        let pipe = self.code.pipe(branch.pipe);
        let names = self.code.variables(pipe);
        let (first, second) = match names.len() {
            0 => (None, None),
            1 => (Some(item.clone()), None),
            _ => (Some(index), Some(item.clone())),
        };
        for (index, (span, value)) in names.iter().zip([first, second]).enumerate() {
            let Some(value) = value else { continue };
            let name = self.code.text(*span);
            if pipe.assign {
                let mark = self.mark();
                self.assign(name, value, mark)?;
            } else if let Some(at) = self.variables.iter().rposition(|(known, _)| *known == name) {
                self.variables[at].1 = value;
            }
            let at = self.variables.iter().rposition(|(known, _)| *known == name);
            let last = || self.code.text(names[names.len() - 1]);
            if let Some(at) = at.filter(|_| untyped && (index + 1 == names.len() || last() == name)) {
                self.elements.add(at);
            }
        }
        let outer = std::mem::replace(&mut self.elements.dot, untyped);
        let flow = self.walk_list(&item, self.code.nodes(branch.list))?;
        self.elements.dot = outer;
        self.variables.truncate(mark);
        Ok(!matches!(flow, Flow::Break))
    }

    fn assign(&mut self, name: &str, value: Value, mark: u32) -> Result2<()> {
        match self.variables.iter().rposition(|(known, _)| *known == name) {
            Some(index) => {
                self.variables[index].1 = value;
                self.elements.variables.retain(|known| *known != index);
                self.note_set(index, mark);
                Ok(())
            }
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    fn template(&mut self, dot: &Value, call: &'t Call) -> Result2<()> {
        self.at = Some(At::Template(call));
        let Some(tree) = self.set.find(&call.name) else {
            return self.fail(format!(
                "template {} not defined",
                crate::quote::quote(&call.name)
            ));
        };
        let Some(depth) = self.budget.depth.checked_sub(1) else {
            return self.fail("exceeded maximum template depth");
        };
        let data = match call.pipe {
            Some(pipe) => self.pipeline(dot, self.code.pipe(pipe))?,
            None => Value::Nil,
        };
        self.budget.depth = depth;
        let variables = std::mem::replace(&mut self.variables, variables_of(&data));
        let set_by = std::mem::take(&mut self.set_by);
        let elements = std::mem::take(&mut self.elements);
        let (own, at) = (std::mem::replace(&mut self.tree, tree), self.at);
        self.code = &tree.file.code;
        let nodes = self.code.nodes(tree.root);
        let result = stacker::maybe_grow(64 << 10, 1 << 20, || self.walk_list(&data, nodes));
        result?;
        self.variables = variables;
        self.set_by = set_by;
        self.elements = elements;
        self.tree = own;
        self.code = &own.file.code;
        self.at = at;
        self.budget.depth += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The parsed form of a template, and how error messages quote its parts.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::quote::quote;

/// A parsed template: what `define` gives a name to, or a whole file.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The file in which it was defined.
    pub(crate) file: Arc<SourceText>,
    pub(crate) root: Vec<Node>,
    /// Whether it holds nothing but space.
    pub(crate) blank: bool,
}

/// A file's name and text, for positions in errors.
#[derive(Debug)]
pub(crate) struct SourceText {
    pub(crate) name: Arc<str>,
    pub(crate) text: Arc<str>,
}

impl SourceText {
    /// Line (from 1) and column in bytes (from 0), as Go counts them.
    pub(crate) fn position(&self, pos: usize) -> (usize, usize) {
        let before = &self.text[..pos.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        (
            line,
            before.len() - before.rfind('\n').map_or(0, |newline| newline + 1),
        )
    }
}

/// A word of a template; the same ones of a file are shared.
pub(crate) type Name = Arc<str>;

/// A statement.
#[derive(Debug)]
pub(crate) enum Node {
    /// A piece of the file's text.
    Text {
        pos: usize,
        end: usize,
    },
    Action(Pipe),
    Branch(Box<Branch>),
    Template {
        pos: usize,
        name: Arc<str>,
        pipe: Option<Pipe>,
    },
    Break,
    Continue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BranchKind {
    If,
    Range,
    With,
}

/// `if`, `range` or `with`.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) kind: BranchKind,
    pub(crate) pos: usize,
    pub(crate) pipe: Pipe,
    pub(crate) list: Vec<Node>,
    pub(crate) otherwise: Option<Vec<Node>>,
}

/// Commands joined by `|`, with the variables that take the result.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) pos: usize,
    pub(crate) assign: bool,
    pub(crate) variables: Vec<Name>,
    pub(crate) commands: Vec<Command>,
}

/// An operand with its arguments.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) pos: usize,
    pub(crate) words: Vec<Expr>,
}

/// An operand.
#[derive(Debug)]
pub(crate) struct Expr {
    pub(crate) pos: usize,
    pub(crate) kind: ExprKind,
}

#[derive(Debug)]
pub(crate) enum ExprKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    Str { quoted: Name, text: Name },
    Field(Vec<Name>),
    Variable(Vec<Name>),
    Identifier(Name),
    Chain { base: Box<Expr>, fields: Vec<Name> },
    Pipe(Box<Pipe>),
}

/// A numeric literal with all the readings it has.
#[derive(Clone, Debug)]
pub(crate) struct Number {
    pub(crate) text: Box<str>,
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
    pub(crate) character: bool,
}

impl Expr {
    /// Whether it can stand in a later stage of a pipeline: only what can take an argument can.
    pub(crate) fn is_constant(&self) -> bool {
        matches!(
            self.kind,
            ExprKind::Bool(_) | ExprKind::Dot | ExprKind::Nil | ExprKind::Number(_) | ExprKind::Str { .. }
        )
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Dot => f.write_str("."),
            ExprKind::Nil => f.write_str("nil"),
            ExprKind::Bool(value) => write!(f, "{value}"),
            ExprKind::Number(number) => f.write_str(&number.text),
            ExprKind::Str { quoted, .. } => f.write_str(quoted),
            ExprKind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            ExprKind::Variable(names) => names.iter().enumerate().try_for_each(|(index, name)| {
                f.write_str(if index > 0 { "." } else { "" })?;
                f.write_str(name)
            }),
            ExprKind::Identifier(name) => f.write_str(name),
            ExprKind::Chain { base, fields } => {
                write!(f, "{base}")?;
                fields.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            ExprKind::Pipe(pipe) => write!(f, "({pipe})"),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{word}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            for (index, name) in self.variables.iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                f.write_str(name)?;
            }
            f.write_str(if self.assign { " = " } else { " := " })?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{command}")?;
        }
        Ok(())
    }
}

/// `{{template "name" pipe}}`, as errors quote it.
pub(crate) fn template_clause(name: &str, pipe: Option<&Pipe>) -> String {
    pipe.map_or_else(
        || format!("{{{{template {}}}}}", quote(name)),
        |pipe| format!("{{{{template {} {pipe}}}}}", quote(name)),
    )
}

/// A string literal's value for run time.
pub(crate) fn literal(text: &Arc<str>) -> Rc<str> {
    Rc::from(&**text)
}

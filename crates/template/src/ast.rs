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
    pub(crate) root: Box<[Node]>,
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
    Template(Box<Call>),
    Break,
    Continue,
}

/// `template`, and what `block` leaves in its place.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) pos: usize,
    pub(crate) name: Arc<str>,
    pub(crate) pipe: Option<Pipe>,
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
    pub(crate) list: Box<[Node]>,
    pub(crate) otherwise: Option<Box<[Node]>>,
}

/// Commands joined by `|`, with the variables that take the result.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) pos: usize,
    pub(crate) assign: bool,
    pub(crate) variables: Box<[Name]>,
    pub(crate) commands: Box<[Command]>,
}

/// An operand with its arguments.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) pos: usize,
    pub(crate) words: Box<[Expr]>,
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
    Number(Box<Number>),
    /// A string that stands in its quotes as it is.
    Str(Name, Quote),
    Escaped(Box<Escaped>),
    Field(Box<[Name]>),
    Variable(Box<[Name]>),
    Identifier(Name),
    Chain(Box<Chain>),
    Pipe(Box<Pipe>),
}

/// The quotes of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quote {
    Double,
    Back,
}

/// A string that is written otherwise than it reads.
#[derive(Debug)]
pub(crate) struct Escaped {
    pub(crate) quoted: Box<str>,
    pub(crate) text: Name,
}

/// Fields of what is no field itself.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) base: Expr,
    pub(crate) fields: Box<[Name]>,
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
            ExprKind::Bool(_)
                | ExprKind::Dot
                | ExprKind::Nil
                | ExprKind::Number(_)
                | ExprKind::Str(..)
                | ExprKind::Escaped(_)
        )
    }

    /// The value of a string literal.
    pub(crate) fn as_literal(&self) -> Option<Rc<str>> {
        match &self.kind {
            ExprKind::Str(text, _) => Some(Rc::from(&**text)),
            ExprKind::Escaped(escaped) => Some(Rc::from(&*escaped.text)),
            _ => None,
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Dot => f.write_str("."),
            ExprKind::Nil => f.write_str("nil"),
            ExprKind::Bool(value) => write!(f, "{value}"),
            ExprKind::Number(number) => f.write_str(&number.text),
            ExprKind::Str(text, Quote::Double) => write!(f, "\"{text}\""),
            ExprKind::Str(text, Quote::Back) => write!(f, "`{text}`"),
            ExprKind::Escaped(escaped) => f.write_str(&escaped.quoted),
            ExprKind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            ExprKind::Variable(names) => names.iter().enumerate().try_for_each(|(index, name)| {
                f.write_str(if index > 0 { "." } else { "" })?;
                f.write_str(name)
            }),
            ExprKind::Identifier(name) => f.write_str(name),
            ExprKind::Chain(chain) => {
                write!(f, "{}", chain.base)?;
                chain.fields.iter().try_for_each(|name| write!(f, ".{name}"))
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

//! The parsed form of a template, and how error messages quote its parts.
//!
//! Charts have very many templates of which most never run: a file's parts lie in a few arrays and name each other by
//! their places, and words are places in the file's text. A field with all its names is one word: `Values.image.tag`.

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
    pub(crate) root: Range,
    /// Whether it holds nothing but space.
    pub(crate) blank: bool,
}

/// A file's name and content, for positions in errors.
#[derive(Debug)]
pub(crate) struct SourceText {
    pub(crate) name: Arc<str>,
    pub(crate) code: Arc<Code>,
    /// Whether the last template is the file's own: no `define` in it has the file's name.
    pub(crate) own_last: bool,
}

impl SourceText {
    /// Line (from 1) and column in bytes (from 0), as Go counts them.
    pub(crate) fn position(&self, pos: usize) -> (usize, usize) {
        let text = &self.code.text;
        let before = &text[..pos.min(text.len())];
        let line = before.matches('\n').count() + 1;
        (
            line,
            before.len() - before.rfind('\n').map_or(0, |newline| newline + 1),
        )
    }
}

/// A place in a file's text.
pub(crate) type Pos = u32;

/// A piece of a file's text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) pos: Pos,
    pub(crate) end: Pos,
}

/// Neighbours in one of the arrays of [`Code`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Range {
    start: u32,
    end: u32,
}

/// A file's text and the parts of all templates in it.
#[derive(Debug, Default)]
pub(crate) struct Code {
    pub(crate) text: Arc<str>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) pipes: Vec<Pipe>,
    pub(crate) commands: Vec<Command>,
    pub(crate) words: Vec<Expr>,
    pub(crate) variables: Vec<Span>,
    pub(crate) branches: Vec<Branch>,
    pub(crate) calls: Vec<Call>,
    pub(crate) numbers: Vec<Number>,
    pub(crate) escaped: Vec<Escaped>,
    pub(crate) chains: Vec<Chain>,
}

/// The place that the next part of an array gets. Texts are shorter than `u32::MAX`, so there are fewer parts.
fn place(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Adds a part to an array; gives its place.
pub(crate) fn put<T>(parts: &mut Vec<T>, part: T) -> u32 {
    parts.push(part);
    place(parts.len() - 1)
}

/// Moves what stands behind a mark to an array.
pub(crate) fn move_to<T>(parts: &mut Vec<T>, from: &mut Vec<T>, mark: usize) -> Range {
    let start = place(parts.len());
    parts.extend(from.drain(mark..));
    Range {
        start,
        end: place(parts.len()),
    }
}

fn slice<T>(parts: &[T], range: Range) -> &[T] {
    &parts[range.start as usize..range.end as usize]
}

impl Range {
    /// Everything from a place of an array to its end.
    pub(crate) fn since<T>(parts: &[T], start: usize) -> Range {
        Range {
            start: place(start),
            end: place(parts.len()),
        }
    }

    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

impl Code {
    pub(crate) fn text(&self, span: Span) -> &str {
        &self.text[span.pos as usize..span.end as usize]
    }

    pub(crate) fn nodes(&self, range: Range) -> &[Node] {
        slice(&self.nodes, range)
    }

    pub(crate) fn pipe(&self, place: u32) -> &Pipe {
        &self.pipes[place as usize]
    }

    pub(crate) fn commands(&self, pipe: &Pipe) -> &[Command] {
        slice(&self.commands, pipe.commands)
    }

    pub(crate) fn words(&self, command: &Command) -> &[Expr] {
        slice(&self.words, command.words)
    }

    pub(crate) fn variables(&self, pipe: &Pipe) -> &[Span] {
        slice(&self.variables, pipe.variables)
    }

    pub(crate) fn number(&self, place: u32) -> &Number {
        &self.numbers[place as usize]
    }

    pub(crate) fn chain(&self, place: u32) -> &Chain {
        &self.chains[place as usize]
    }

    /// The value of a string literal.
    pub(crate) fn literal(&self, expr: &Expr) -> Option<Rc<str>> {
        match expr.kind {
            ExprKind::Str(text, _) => Some(Rc::from(self.text(text))),
            ExprKind::Escaped(place) => Some(Rc::from(&*self.escaped[place as usize].text)),
            _ => None,
        }
    }

    /// Gives back what the arrays have too much.
    pub(crate) fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.pipes.shrink_to_fit();
        self.commands.shrink_to_fit();
        self.words.shrink_to_fit();
        self.variables.shrink_to_fit();
        self.branches.shrink_to_fit();
        self.calls.shrink_to_fit();
    }
}

/// A statement; the numbers are places in arrays of [`Code`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Node {
    /// A piece of the file's text.
    Text(Span),
    Action(u32),
    Branch(u32),
    Template(u32),
    Break,
    Continue,
}

/// `template`, and what `block` leaves in its place.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) pos: Pos,
    pub(crate) name: Arc<str>,
    pub(crate) pipe: Option<u32>,
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
    pub(crate) pos: Pos,
    pub(crate) pipe: u32,
    pub(crate) list: Range,
    pub(crate) otherwise: Option<Range>,
}

/// Commands joined by `|`, with the variables that take the result.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) pos: Pos,
    pub(crate) assign: bool,
    pub(crate) variables: Range,
    pub(crate) commands: Range,
}

/// An operand with its arguments.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) pos: Pos,
    pub(crate) words: Range,
}

/// An operand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expr {
    pub(crate) pos: Pos,
    pub(crate) kind: ExprKind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ExprKind {
    Dot,
    Nil,
    Bool(bool),
    Number(u32),
    /// A string that stands in its quotes as it is.
    Str(Span, Quote),
    Escaped(u32),
    /// Names with dots between them.
    Field(Span),
    /// The same, where the first one is the variable.
    Variable(Span),
    Identifier(Span),
    Chain(u32),
    Pipe(u32),
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
    pub(crate) quoted: Span,
    pub(crate) text: Box<str>,
}

/// Fields of what is no field itself.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) base: Expr,
    pub(crate) fields: Span,
}

/// A numeric literal with all the readings it has.
#[derive(Clone, Debug)]
pub(crate) struct Number {
    pub(crate) text: Box<str>,
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
    /// The real and the imaginary part of an imaginary literal.
    pub(crate) complex: Option<(f64, f64)>,
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
}

/// A variable's name, and the fields behind it.
pub(crate) fn variable_parts(text: &str) -> (&str, &str) {
    text.split_once('.').unwrap_or((text, ""))
}

/// A part as it is quoted.
pub(crate) struct Shown<'c, T>(pub(crate) &'c Code, pub(crate) &'c T);

impl Code {
    pub(crate) fn show<'c, T>(&'c self, part: &'c T) -> Shown<'c, T> {
        Shown(self, part)
    }
}

impl fmt::Display for Shown<'_, Expr> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.0;
        match self.1.kind {
            ExprKind::Dot => f.write_str("."),
            ExprKind::Nil => f.write_str("nil"),
            ExprKind::Bool(value) => write!(f, "{value}"),
            ExprKind::Number(place) => f.write_str(&code.number(place).text),
            ExprKind::Str(text, Quote::Double) => write!(f, "\"{}\"", code.text(text)),
            ExprKind::Str(text, Quote::Back) => write!(f, "`{}`", code.text(text)),
            ExprKind::Escaped(place) => f.write_str(code.text(code.escaped[place as usize].quoted)),
            ExprKind::Field(names) => write!(f, ".{}", code.text(names)),
            ExprKind::Variable(text) | ExprKind::Identifier(text) => f.write_str(code.text(text)),
            ExprKind::Chain(place) => {
                let chain = code.chain(place);
                write!(f, "{}.{}", code.show(&chain.base), code.text(chain.fields))
            }
            ExprKind::Pipe(place) => write!(f, "({})", code.show(code.pipe(place))),
        }
    }
}

impl fmt::Display for Shown<'_, Command> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.words(self.1).iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{}", self.0.show(word))?;
        }
        Ok(())
    }
}

impl fmt::Display for Shown<'_, Pipe> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(code, pipe) = self;
        for (index, name) in code.variables(pipe).iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            f.write_str(code.text(*name))?;
        }
        if pipe.variables.len() > 0 {
            f.write_str(if pipe.assign { " = " } else { " := " })?;
        }
        for (index, command) in code.commands(pipe).iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{}", code.show(command))?;
        }
        Ok(())
    }
}

/// `{{template "name" pipe}}`, as errors quote it.
pub(crate) fn template_clause(code: &Code, name: &str, pipe: Option<&Pipe>) -> String {
    pipe.map_or_else(
        || format!("{{{{template {}}}}}", quote(name)),
        |pipe| format!("{{{{template {} {}}}}}", quote(name), code.show(pipe)),
    )
}

//! Parses items into [`Tree`]s, with the grammar and the error texts of Go's `text/template/parse`.

use std::sync::Arc;

use crate::ast::{
    Branch, BranchKind, Call, Chain, Code, Command, Escaped, Expr, ExprKind, Node, Number, Pipe, Pos, Quote,
    Range, SourceText, Span, Tree, move_to, put,
};
use crate::lex::{Item, Items, Kind, lex};
use crate::quote::{quote, unquote};

/// Actions may not nest deeper: a hostile template ends with an error, not with the stack.
const MAX_DEPTH: usize = 200;

/// Why a template does not parse. The text follows Go's: `template: NAME:LINE: MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The file.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "template: {}:{}: {}", self.name, self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

type Result<T> = std::result::Result<T, ParseError>;

/// How a list of statements ended.
enum End {
    End,
    Else,
}

/// Parses a file: the trees of its `define`s and `block`s first, then its own.
pub(crate) fn parse<'a>(
    name: &'a str,
    text: &'a str,
    has_function: &'a dyn Fn(&str) -> bool,
) -> Result<Vec<Tree>> {
    let mut parser = Parser {
        name,
        items: lex(text),
        next: 0,
        last: None,
        has_function,
        variables: vec!["$"],
        code: Code::default(),
        nodes: Vec::new(),
        commands: Vec::new(),
        words: Vec::new(),
        range_depth: 0,
        depth: 0,
        action: None,
        text,
        parts: Vec::new(),
    };
    let root = parser.file()?;
    let own_last = parser.parts.iter().all(|part| *part.name != *name);
    parser.add(name.into(), root)?;
    let mut code = parser.code;
    code.text = text.into();
    code.shrink();
    let file = Arc::new(SourceText {
        name: name.into(),
        code: Arc::new(code),
        own_last,
    });
    let tree = |part: Part| Tree {
        name: part.name,
        file: Arc::clone(&file),
        root: part.root,
        blank: part.blank,
    };
    Ok(parser.parts.into_iter().map(tree).collect())
}

/// Whether a template holds nothing but space.
fn is_blank(nodes: &[Node], text: &str) -> bool {
    nodes.iter().all(|node| match node {
        Node::Text(span) => text[span.pos as usize..span.end as usize].trim().is_empty(),
        _ => false,
    })
}

/// A template of the file.
struct Part {
    name: Arc<str>,
    root: Range,
    blank: bool,
}

struct Parser<'a> {
    name: &'a str,
    text: &'a str,
    items: Items<'a>,
    next: usize,
    /// Index of the item that was read or looked at last: errors name its line.
    last: Option<usize>,
    has_function: &'a dyn Fn(&str) -> bool,
    variables: Vec<&'a str>,
    code: Code,
    /// Statements, commands and words of all levels that are not complete yet.
    nodes: Vec<Node>,
    commands: Vec<Command>,
    words: Vec<Expr>,
    range_depth: usize,
    depth: usize,
    /// The item that began the action.
    action: Option<Item>,
    parts: Vec<Part>,
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Item {
        let item = self.peek();
        self.next = self.next.min(self.items.last()) + 1;
        item
    }

    fn peek(&mut self) -> Item {
        self.last = Some(self.next);
        self.items.get(self.next)
    }

    fn skip_space(&mut self) {
        while self.items.kind(self.next) == Some(Kind::Space) {
            self.next += 1;
        }
    }

    fn take_word(&mut self) -> Item {
        self.skip_space();
        self.take()
    }

    fn peek_word(&mut self) -> Item {
        self.skip_space();
        self.peek()
    }

    /// Adds a template; of two with one name in a text, one must be blank.
    fn add(&mut self, name: Arc<str>, root: Range) -> Result<()> {
        let part = Part {
            blank: is_blank(self.code.nodes(root), self.text),
            name,
            root,
        };
        match self.parts.iter_mut().find(|known| known.name == part.name) {
            None => self.parts.push(part),
            Some(known) if known.blank => *known = part,
            Some(_) if part.blank => {}
            Some(_) => {
                let name = crate::quote::quote(&part.name);
                return self.error(format!("template: multiple definition of template {name}"));
            }
        }
        Ok(())
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        let line = self
            .last
            .map_or(1, |index| self.items.line(self.items.get(index)));
        Err(ParseError {
            name: self.name.to_owned(),
            line,
            message: message.into(),
        })
    }

    fn unexpected<T>(&self, item: Item, context: &str) -> Result<T> {
        if item.kind == Kind::Error {
            let mut extra = String::new();
            let started = self.action.map(|action| self.items.line(action));
            if let Some(line) = started.filter(|line| *line != self.items.line(item)) {
                extra = format!(" in action started at {}:{line}", self.name);
                if self.items.error.ends_with(" action") {
                    extra.drain(..extra.find(" started").unwrap_or(0));
                }
            }
            return self.error(format!("{}{extra}", self.items.error));
        }
        self.error(format!("unexpected {} in {context}", self.items.describe(item)))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Item> {
        let item = self.take_word();
        if item.kind == kind {
            Ok(item)
        } else {
            self.unexpected(item, context)
        }
    }

    /// Where the value of a literal stands, if it stands there as it is.
    fn plain(&self, item: Item) -> Option<Span> {
        let quoted = self.items.text(item).as_bytes();
        let inner = quoted.get(1..quoted.len().saturating_sub(1))?;
        let escapes = quoted[0] != b'`' && memchr::memchr(b'\\', inner).is_some();
        if escapes || memchr::memchr(b'\r', inner).is_some() {
            return None;
        }
        let span = item.span();
        Some(Span {
            pos: span.pos + 1,
            end: span.end - 1,
        })
    }

    /// A string literal.
    fn string(&mut self, item: Item) -> Result<ExprKind> {
        if let Some(span) = self.plain(item) {
            let quote = match item.kind {
                Kind::RawString => Quote::Back,
                _ => Quote::Double,
            };
            return Ok(ExprKind::Str(span, quote));
        }
        match unquote(self.items.text(item)) {
            Some(text) => Ok(ExprKind::Escaped(put(
                &mut self.code.escaped,
                Escaped {
                    quoted: item.span(),
                    text: text.into(),
                },
            ))),
            None => self.error("invalid syntax"),
        }
    }

    fn file(&mut self) -> Result<Range> {
        let mark = self.nodes.len();
        while self.peek().kind != Kind::Eof {
            if self.peek().kind == Kind::LeftDelim {
                let start = self.next;
                self.take();
                if self.take_word().kind == Kind::Define {
                    self.definition()?;
                    continue;
                }
                self.next = start;
            }
            match self.statement()? {
                Statement::Node(node) => self.nodes.push(node),
                Statement::End => return self.error("unexpected {{end}}"),
                Statement::Else => return self.error("unexpected {{else}}"),
            }
        }
        Ok(move_to(&mut self.code.nodes, &mut self.nodes, mark))
    }

    fn definition(&mut self) -> Result<()> {
        let context = "define clause";
        let item = self.take_word();
        let name = self.template_name(item, context)?;
        self.expect(Kind::RightDelim, context)?;
        // A definition sees neither the variables nor the loops around it.
        let variables = std::mem::replace(&mut self.variables, vec!["$"]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (root, end) = self.list()?;
        self.variables = variables;
        self.range_depth = range_depth;
        match end {
            End::End => {}
            End::Else => return self.error(format!("unexpected {{{{else}}}} in {context}")),
        }
        self.add(name, root)
    }

    fn list(&mut self) -> Result<(Range, End)> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(format!("actions nest deeper than {MAX_DEPTH}"));
        }
        let mark = self.nodes.len();
        while self.peek_word().kind != Kind::Eof {
            let end = match self.statement()? {
                Statement::Node(node) => {
                    self.nodes.push(node);
                    continue;
                }
                Statement::End => End::End,
                Statement::Else => End::Else,
            };
            self.depth -= 1;
            return Ok((move_to(&mut self.code.nodes, &mut self.nodes, mark), end));
        }
        self.depth -= 1;
        self.error("unexpected EOF")
    }

    fn statement(&mut self) -> Result<Statement> {
        let item = self.take_word();
        match item.kind {
            Kind::Text => Ok(Statement::Node(Node::Text(item.span()))),
            Kind::LeftDelim => {
                self.action = Some(item);
                let statement = self.action();
                self.action = None;
                statement
            }
            _ => self.unexpected(item, "input"),
        }
    }

    fn action(&mut self) -> Result<Statement> {
        let start = self.next;
        let item = self.take_word();
        let node = match item.kind {
            Kind::Block => self.block()?,
            Kind::Break | Kind::Continue => self.jump(item)?,
            Kind::Else => {
                let peeked = self.peek_word();
                if !matches!(peeked.kind, Kind::If | Kind::With) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                return Ok(Statement::Else);
            }
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Statement::End);
            }
            Kind::If => self.branch(BranchKind::If, item.pos)?,
            Kind::Range => self.branch(BranchKind::Range, item.pos)?,
            Kind::With => self.branch(BranchKind::With, item.pos)?,
            Kind::Template => self.template()?,
            _ => {
                self.next = start;
                self.skip_space();
                Node::Action(self.pipeline("command", Kind::RightDelim)?)
            }
        };
        Ok(Statement::Node(node))
    }

    fn jump(&mut self, item: Item) -> Result<Node> {
        let context = format!("{{{{{}}}}}", self.items.text(item));
        let after = self.take_word();
        if after.kind != Kind::RightDelim {
            return self.unexpected(after, &context);
        }
        if self.range_depth == 0 {
            return self.error(format!("{context} outside {{{{range}}}}"));
        }
        Ok(if item.kind == Kind::Break {
            Node::Break
        } else {
            Node::Continue
        })
    }

    fn branch(&mut self, kind: BranchKind, pos: Pos) -> Result<Node> {
        let context = match kind {
            BranchKind::If => "if",
            BranchKind::Range => "range",
            BranchKind::With => "with",
        };
        let scope = self.variables.len();
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        if kind == BranchKind::Range {
            self.range_depth += 1;
        }
        let (list, end) = self.list()?;
        if kind == BranchKind::Range {
            self.range_depth -= 1;
        }
        let otherwise = match end {
            End::Else => Some(self.otherwise(kind)?),
            _ => None,
        };
        self.variables.truncate(scope);
        let branch = Branch {
            kind,
            pos,
            pipe,
            list,
            otherwise,
        };
        Ok(Node::Branch(put(&mut self.code.branches, branch)))
    }

    /// What follows `{{else`: a list up to `{{end}}`, or another `if` or `with` that ends both.
    fn otherwise(&mut self, kind: BranchKind) -> Result<Range> {
        let peeked = self.peek();
        let chained = match (kind, peeked.kind) {
            (BranchKind::If, Kind::If) => Some(BranchKind::If),
            (BranchKind::With, Kind::With) => Some(BranchKind::With),
            _ => None,
        };
        if let Some(chained) = chained {
            let item = self.take();
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return self.error(format!("actions nest deeper than {MAX_DEPTH}"));
            }
            let node = self.branch(chained, item.pos)?;
            self.depth -= 1;
            let start = self.code.nodes.len();
            self.code.nodes.push(node);
            return Ok(Range::since(&self.code.nodes, start));
        }
        let (list, end) = self.list()?;
        if matches!(end, End::Else) {
            return self.error("expected end; found {{else}}");
        }
        Ok(list)
    }

    fn block(&mut self) -> Result<Node> {
        let context = "block clause";
        let word = self.take_word();
        let name = self.template_name(word, context)?;
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let variables = std::mem::replace(&mut self.variables, vec!["$"]);
        let range_depth = std::mem::take(&mut self.range_depth);
        let (root, end) = self.list()?;
        self.variables = variables;
        self.range_depth = range_depth;
        if !matches!(end, End::End) {
            return self.error(format!("unexpected {{{{else}}}} in {context}"));
        }
        self.add(Arc::clone(&name), root)?;
        let call = Call {
            pos: word.pos,
            name,
            pipe: Some(pipe),
        };
        Ok(Node::Template(put(&mut self.code.calls, call)))
    }

    fn template(&mut self) -> Result<Node> {
        let context = "template clause";
        let word = self.take_word();
        let name = self.template_name(word, context)?;
        let before = self.next;
        let pipe = if self.take_word().kind == Kind::RightDelim {
            None
        } else {
            self.next = before;
            Some(self.pipeline(context, Kind::RightDelim)?)
        };
        let call = Call {
            pos: word.pos,
            name,
            pipe,
        };
        Ok(Node::Template(put(&mut self.code.calls, call)))
    }

    fn template_name(&mut self, item: Item, context: &str) -> Result<Arc<str>> {
        if !matches!(item.kind, Kind::String | Kind::RawString) {
            return self.unexpected(item, context);
        }
        let quoted = self.items.text(item);
        if self.plain(item).is_some() {
            return Ok(quoted[1..quoted.len() - 1].into());
        }
        match unquote(quoted) {
            Some(name) => Ok(name.into()),
            None => self.error("invalid syntax"),
        }
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<u32> {
        let pos = self.peek_word().pos;
        let (assign, variables) = self.declarations(context)?;
        let mark = self.commands.len();
        loop {
            let item = self.take_word();
            match item.kind {
                kind if kind == end => {
                    self.check_pipeline(mark, context)?;
                    let commands = move_to(&mut self.code.commands, &mut self.commands, mark);
                    let pipe = Pipe {
                        pos,
                        assign,
                        variables,
                        commands,
                    };
                    return Ok(put(&mut self.code.pipes, pipe));
                }
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.next -= 1;
                    let command = self.command()?;
                    self.commands.push(command);
                }
                _ => return self.unexpected(item, context),
            }
        }
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`: whether it assigns, and the variables.
    fn declarations(&mut self, context: &str) -> Result<(bool, Range)> {
        let first = self.code.variables.len();
        loop {
            let declared = |parser: &Self| Range::since(&parser.code.variables, first);
            let variable = self.peek_word();
            if variable.kind != Kind::Variable {
                return Ok((false, declared(self)));
            }
            let start = self.next;
            self.take();
            let after = self.peek_word();
            match after.kind {
                Kind::Assign | Kind::Declare => {
                    self.take_word();
                    self.declare(variable);
                    return Ok((after.kind == Kind::Assign, declared(self)));
                }
                Kind::Char if self.items.text(after) == "," => {
                    self.take_word();
                    self.declare(variable);
                    if context == "range" && declared(self).len() < 2 {
                        let next = self.peek_word();
                        if matches!(next.kind, Kind::Variable | Kind::RightDelim | Kind::RightParen) {
                            continue;
                        }
                        return self.error("range can only initialize variables");
                    }
                    return self.error(format!("too many declarations in {context}"));
                }
                _ => {
                    self.next = start;
                    return Ok((false, declared(self)));
                }
            }
        }
    }

    fn declare(&mut self, variable: Item) {
        self.code.variables.push(variable.span());
        self.variables.push(self.items.text(variable));
    }

    /// Looks over the commands of a pipeline, which stand behind a mark.
    fn check_pipeline(&self, mark: usize, context: &str) -> Result<()> {
        let commands = &self.commands[mark..];
        if commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (index, command) in commands.iter().enumerate().skip(1) {
            if self.code.words(command).first().is_some_and(Expr::is_constant) {
                return self.error(format!("non executable command in pipeline stage {}", index + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command> {
        let pos = self.peek_word().pos;
        let mark = self.words.len();
        loop {
            self.skip_space();
            self.peek();
            if let Some(word) = self.operand()? {
                self.words.push(word);
            }
            let item = self.take();
            match item.kind {
                Kind::Space => {}
                Kind::RightDelim | Kind::RightParen => {
                    self.next -= 1;
                    break;
                }
                Kind::Pipe => break,
                _ => return self.unexpected(item, "operand"),
            }
        }
        if self.words.len() == mark {
            return self.error("empty command");
        }
        let words = move_to(&mut self.code.words, &mut self.words, mark);
        Ok(Command { pos, words })
    }

    fn operand(&mut self) -> Result<Option<Expr>> {
        let Some(node) = self.term()? else { return Ok(None) };
        let first = self.peek();
        if first.kind != Kind::Field {
            return Ok(Some(node));
        }
        let mut fields = first.span();
        fields.pos += 1;
        while self.items.kind(self.next) == Some(Kind::Field) {
            fields.end = self.take().span().end;
        }
        self.peek();
        let longer = |names: Span| Span {
            pos: names.pos,
            end: fields.end,
        };
        let kind = match node.kind {
            // Fields follow each other without anything between them.
            ExprKind::Field(names) => ExprKind::Field(longer(names)),
            ExprKind::Variable(names) => ExprKind::Variable(longer(names)),
            _ if node.is_constant() => {
                let term = quote(&self.with_text(|code| code.show(&node).to_string()));
                return self.error(format!("unexpected . after term {term}"));
            }
            _ => ExprKind::Chain(put(&mut self.code.chains, Chain { base: node, fields })),
        };
        Ok(Some(Expr { pos: first.pos, kind }))
    }

    /// The parts so far with the text that they stand in, to show one of them.
    fn with_text(&mut self, show: impl Fn(&Code) -> String) -> String {
        self.code.text = self.text.into();
        show(&self.code)
    }

    fn term(&mut self) -> Result<Option<Expr>> {
        let item = self.take_word();
        let kind = match item.kind {
            Kind::Identifier => {
                let name = self.items.text(item);
                if !(self.has_function)(name) {
                    return self.error(format!("function {} not defined", quote(name)));
                }
                ExprKind::Identifier(item.span())
            }
            Kind::Dot => ExprKind::Dot,
            Kind::Nil => ExprKind::Nil,
            Kind::Variable => {
                let name = self.items.text(item);
                if !self.variables.contains(&name) {
                    return self.error(format!("undefined variable {}", quote(name)));
                }
                ExprKind::Variable(item.span())
            }
            Kind::Field => {
                let mut names = item.span();
                names.pos += 1;
                ExprKind::Field(names)
            }
            Kind::Bool => ExprKind::Bool(self.items.text(item) == "true"),
            Kind::CharConstant | Kind::Number => match number(item.kind, self.items.text(item)) {
                Ok(number) => ExprKind::Number(put(&mut self.code.numbers, number)),
                Err(message) => return self.error(message),
            },
            Kind::LeftParen => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return self.error(format!("actions nest deeper than {MAX_DEPTH}"));
                }
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.depth -= 1;
                ExprKind::Pipe(pipe)
            }
            Kind::String | Kind::RawString => self.string(item)?,
            _ => {
                self.next -= 1;
                return Ok(None);
            }
        };
        let pos = match &kind {
            ExprKind::Pipe(pipe) => self.code.pipe(*pipe).pos,
            _ => item.pos,
        };
        Ok(Some(Expr { pos, kind }))
    }
}

enum Statement {
    Node(Node),
    End,
    Else,
}

/// Reads a numeric literal in every way that fits.
fn number(kind: Kind, text: &str) -> std::result::Result<Number, String> {
    let mut number = Number {
        text: text.into(),
        int: None,
        uint: None,
        float: None,
        complex: None,
        character: false,
    };
    if kind == Kind::CharConstant {
        let value = unquote(text).unwrap_or_default();
        let mut chars = value.chars();
        let (Some(c), rest) = (chars.next(), chars.next()) else {
            return Err("invalid syntax".to_owned());
        };
        if rest.is_some() {
            return Err(format!("malformed character constant: {text}"));
        }
        number.int = Some(i64::from(u32::from(c)));
        number.uint = Some(u64::from(u32::from(c)));
        number.float = Some(f64::from(u32::from(c)));
        number.character = true;
        return Ok(number);
    }
    if let Some((real, imaginary)) = crate::complex::parts(text) {
        number.complex = Some((real, imaginary));
        if imaginary == 0.0 {
            number.float = Some(real);
            (number.int, number.uint) = whole(real);
        }
        return Ok(number);
    }
    number.uint = crate::number::parse_uint(text);
    number.int = crate::number::parse_int(text);
    if number.int == Some(0) {
        number.uint = Some(0);
    }
    #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
    match (number.int, number.uint) {
        (Some(int), _) => number.float = Some(int as f64),
        (None, Some(uint)) => number.float = Some(uint as f64),
        (None, None) => {
            let Some(float) = crate::number::parse_float(text) else {
                return Err(format!("illegal number syntax: {}", quote(text)));
            };
            if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                return Err(format!("integer overflow: {}", quote(text)));
            }
            number.float = Some(float);
            (number.int, number.uint) = whole(float);
        }
    }
    Ok(number)
}

/// The whole numbers that a float is exactly.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be exact"
)]
fn whole(float: f64) -> (Option<i64>, Option<u64>) {
    let (int, uint) = (float as i64, float as u64);
    (
        (int as f64 == float).then_some(int),
        (uint as f64 == float).then_some(uint),
    )
}

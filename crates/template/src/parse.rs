//! Parses items into [`Tree`]s, with the grammar and the error texts of Go's `text/template/parse`.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::ast::{
    Branch, BranchKind, Call, Chain, Command, Escaped, Expr, ExprKind, Name, Node, Number, Pipe, Quote,
    SourceText, Tree,
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
    name: &str,
    text: &'a str,
    has_function: &'a dyn Fn(&str) -> bool,
) -> Result<Vec<Tree>> {
    let file = Arc::new(SourceText {
        name: name.into(),
        text: text.into(),
    });
    let mut parser = Parser {
        file: Arc::clone(&file),
        items: lex(text),
        next: 0,
        last: None,
        has_function,
        variables: vec!["$"],
        names: FxHashMap::default(),
        nodes: Vec::new(),
        commands: Vec::new(),
        words: Vec::new(),
        range_depth: 0,
        depth: 0,
        action_line: 0,
        trees: Vec::new(),
    };
    let root = parser.file()?;
    parser.add(name.into(), root)?;
    Ok(parser.trees)
}

/// Whether a template holds nothing but space.
fn is_blank(nodes: &[Node], text: &str) -> bool {
    nodes
        .iter()
        .all(|node| matches!(node, Node::Text { pos, end } if text[*pos..*end].trim().is_empty()))
}

/// A word, and whether it has been found to be a function's name.
struct Known {
    name: Name,
    function: bool,
}

struct Parser<'a> {
    file: Arc<SourceText>,
    items: Items<'a>,
    next: usize,
    /// Index of the item that was read or looked at last: errors name its line.
    last: Option<usize>,
    has_function: &'a dyn Fn(&str) -> bool,
    variables: Vec<&'a str>,
    names: FxHashMap<&'a str, Known>,
    /// Statements, commands and words of all levels that are not complete yet.
    nodes: Vec<Node>,
    commands: Vec<Command>,
    words: Vec<Expr>,
    range_depth: usize,
    depth: usize,
    action_line: usize,
    trees: Vec<Tree>,
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Item<'a> {
        let index = self.next.min(self.items.last());
        self.next = index + 1;
        self.last = Some(index);
        self.items.get(index)
    }

    fn peek(&mut self) -> Item<'a> {
        let index = self.next.min(self.items.last());
        self.last = Some(index);
        self.items.get(index)
    }

    fn skip_space(&mut self) {
        while self.items.kind(self.next).is_some_and(|kind| kind == Kind::Space) {
            self.next += 1;
        }
    }

    fn take_word(&mut self) -> Item<'a> {
        self.skip_space();
        self.take()
    }

    fn peek_word(&mut self) -> Item<'a> {
        self.skip_space();
        self.peek()
    }

    /// Adds a template; of two with one name in a text, one must be blank.
    fn add(&mut self, name: Arc<str>, root: Box<[Node]>) -> Result<()> {
        let tree = Tree {
            blank: is_blank(&root, &self.file.text),
            name,
            file: Arc::clone(&self.file),
            root,
        };
        match self.trees.iter_mut().find(|known| known.name == tree.name) {
            None => self.trees.push(tree),
            Some(known) if known.blank => *known = tree,
            Some(_) if tree.blank => {}
            Some(_) => {
                let name = crate::quote::quote(&tree.name);
                return self.error(format!("template: multiple definition of template {name}"));
            }
        }
        Ok(())
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        let line = self.last.map_or(1, |index| self.items.get(index).line);
        Err(ParseError {
            name: self.file.name.to_string(),
            line,
            message: message.into(),
        })
    }

    fn unexpected<T>(&self, item: &Item<'_>, context: &str) -> Result<T> {
        if item.kind == Kind::Error {
            let mut extra = String::new();
            if self.action_line != 0 && self.action_line != item.line {
                extra = format!(" in action started at {}:{}", self.file.name, self.action_line);
                if self.items.error.ends_with(" action") {
                    extra.drain(..extra.find(" started").unwrap_or(0));
                }
            }
            return self.error(format!("{}{extra}", self.items.error));
        }
        self.error(format!("unexpected {} in {context}", item.describe()))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Item<'a>> {
        let item = self.take_word();
        if item.kind == kind {
            Ok(item)
        } else {
            self.unexpected(&item, context)
        }
    }

    /// The shared form of a word.
    fn known(&mut self, text: &'a str) -> &mut Known {
        self.names.entry(text).or_insert_with(|| Known {
            name: text.into(),
            function: false,
        })
    }

    fn name(&mut self, text: &'a str) -> Name {
        Arc::clone(&self.known(text).name)
    }

    /// The value of a literal.
    fn literal(&mut self, quoted: &'a str) -> Option<Name> {
        let inner = quoted.get(1..quoted.len().saturating_sub(1))?;
        if !quoted.starts_with('`') && inner.contains('\\') || inner.contains('\r') {
            return unquote(quoted).map(Into::into);
        }
        Some(self.name(inner))
    }

    fn file(&mut self) -> Result<Box<[Node]>> {
        let mut nodes = Vec::new();
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
                Statement::Node(node) => nodes.push(node),
                Statement::End => return self.error("unexpected {{end}}"),
                Statement::Else => return self.error("unexpected {{else}}"),
            }
        }
        Ok(nodes.into())
    }

    fn definition(&mut self) -> Result<()> {
        let context = "define clause";
        let item = self.take_word();
        let name = self.template_name(&item, context)?;
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

    fn list(&mut self) -> Result<(Box<[Node]>, End)> {
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
            return Ok((self.nodes.drain(mark..).collect(), end));
        }
        self.depth -= 1;
        self.error("unexpected EOF")
    }

    fn statement(&mut self) -> Result<Statement> {
        let item = self.take_word();
        match item.kind {
            Kind::Text => Ok(Statement::Node(Node::Text {
                pos: item.pos,
                end: item.pos + item.text.len(),
            })),
            Kind::LeftDelim => {
                self.action_line = item.line;
                let statement = self.action();
                self.action_line = 0;
                statement
            }
            _ => self.unexpected(&item, "input"),
        }
    }

    fn action(&mut self) -> Result<Statement> {
        let start = self.next;
        let item = self.take_word();
        let node = match item.kind {
            Kind::Block => self.block()?,
            Kind::Break | Kind::Continue => self.jump(&item)?,
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

    fn jump(&mut self, item: &Item<'_>) -> Result<Node> {
        let context = format!("{{{{{}}}}}", item.text);
        let after = self.take_word();
        if after.kind != Kind::RightDelim {
            return self.unexpected(&after, &context);
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

    fn branch(&mut self, kind: BranchKind, pos: usize) -> Result<Node> {
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
        Ok(Node::Branch(Box::new(Branch {
            kind,
            pos,
            pipe,
            list,
            otherwise,
        })))
    }

    /// What follows `{{else`: a list up to `{{end}}`, or another `if` or `with` that ends both.
    fn otherwise(&mut self, kind: BranchKind) -> Result<Box<[Node]>> {
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
            return Ok(Box::new([node]));
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
        let name = self.template_name(&word, context)?;
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
        Ok(Node::Template(Box::new(Call {
            pos: word.pos,
            name,
            pipe: Some(pipe),
        })))
    }

    fn template(&mut self) -> Result<Node> {
        let context = "template clause";
        let word = self.take_word();
        let name = self.template_name(&word, context)?;
        let before = self.next;
        let pipe = if self.take_word().kind == Kind::RightDelim {
            None
        } else {
            self.next = before;
            Some(self.pipeline(context, Kind::RightDelim)?)
        };
        Ok(Node::Template(Box::new(Call {
            pos: word.pos,
            name,
            pipe,
        })))
    }

    fn template_name(&mut self, item: &Item<'a>, context: &str) -> Result<Arc<str>> {
        if !matches!(item.kind, Kind::String | Kind::RawString) {
            return self.unexpected(item, context);
        }
        match self.literal(item.text) {
            Some(name) => Ok(name),
            None => self.error("invalid syntax"),
        }
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe> {
        let pos = self.peek_word().pos;
        let mut pipe = Pipe {
            pos,
            assign: false,
            variables: Box::default(),
            commands: Box::default(),
        };
        self.declarations(context, &mut pipe)?;
        let mark = self.commands.len();
        loop {
            let item = self.take_word();
            match item.kind {
                kind if kind == end => {
                    pipe.commands = self.commands.drain(mark..).collect();
                    self.check_pipeline(&pipe, context)?;
                    return Ok(pipe);
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
                _ => return self.unexpected(&item, context),
            }
        }
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declarations(&mut self, context: &str, pipe: &mut Pipe) -> Result<()> {
        loop {
            let variable = self.peek_word();
            if variable.kind != Kind::Variable {
                return Ok(());
            }
            let start = self.next;
            self.take();
            let after = self.peek_word();
            match after.kind {
                Kind::Assign | Kind::Declare => {
                    pipe.assign = after.kind == Kind::Assign;
                    self.take_word();
                    self.declare(pipe, &variable);
                    return Ok(());
                }
                Kind::Char if after.text == "," => {
                    self.take_word();
                    self.declare(pipe, &variable);
                    if context == "range" && pipe.variables.len() < 2 {
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
                    return Ok(());
                }
            }
        }
    }

    fn declare(&mut self, pipe: &mut Pipe, variable: &Item<'a>) {
        let name = self.name(variable.text);
        pipe.variables = pipe.variables.iter().cloned().chain([name]).collect();
        self.variables.push(variable.text);
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Result<()> {
        if pipe.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        for (index, command) in pipe.commands.iter().enumerate().skip(1) {
            if command.words.first().is_some_and(Expr::is_constant) {
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
                _ => return self.unexpected(&item, "operand"),
            }
        }
        if self.words.len() == mark {
            return self.error("empty command");
        }
        let words = self.words.drain(mark..).collect();
        Ok(Command { pos, words })
    }

    fn operand(&mut self) -> Result<Option<Expr>> {
        let Some(node) = self.term()? else { return Ok(None) };
        let first = self.peek();
        if first.kind != Kind::Field {
            return Ok(Some(node));
        }
        let more = (self.next..)
            .take_while(|index| self.items.kind(*index) == Some(Kind::Field))
            .count();
        let mut take = |names: &[Name]| -> Box<[Name]> {
            let mut all = Vec::with_capacity(names.len() + more);
            all.extend_from_slice(names);
            for _ in 0..more {
                let text = &self.take().text[1..];
                all.push(self.name(text));
            }
            self.peek();
            all.into()
        };
        let kind = match node.kind {
            ExprKind::Field(names) => ExprKind::Field(take(&names)),
            ExprKind::Variable(names) => ExprKind::Variable(take(&names)),
            _ if node.is_constant() => {
                take(&[]);
                return self.error(format!("unexpected . after term {}", quote(&node.to_string())));
            }
            _ => ExprKind::Chain(Box::new(Chain {
                base: node,
                fields: take(&[]),
            })),
        };
        Ok(Some(Expr { pos: first.pos, kind }))
    }

    fn term(&mut self) -> Result<Option<Expr>> {
        let item = self.take_word();
        let kind = match item.kind {
            Kind::Identifier => {
                if !self.known(item.text).function {
                    if !(self.has_function)(item.text) {
                        return self.error(format!("function {} not defined", quote(item.text)));
                    }
                    self.known(item.text).function = true;
                }
                ExprKind::Identifier(self.name(item.text))
            }
            Kind::Dot => ExprKind::Dot,
            Kind::Nil => ExprKind::Nil,
            Kind::Variable => {
                if !self.variables.contains(&item.text) {
                    return self.error(format!("undefined variable {}", quote(item.text)));
                }
                ExprKind::Variable(Box::new([self.name(item.text)]))
            }
            Kind::Field => ExprKind::Field(Box::new([self.name(&item.text[1..])])),
            Kind::Bool => ExprKind::Bool(item.text == "true"),
            Kind::CharConstant | Kind::Number => match number(&item) {
                Ok(number) => ExprKind::Number(Box::new(number)),
                Err(message) => return self.error(message),
            },
            Kind::LeftParen => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return self.error(format!("actions nest deeper than {MAX_DEPTH}"));
                }
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.depth -= 1;
                ExprKind::Pipe(Box::new(pipe))
            }
            Kind::String | Kind::RawString => match self.literal(item.text) {
                Some(text) => string(item.text, text),
                None => return self.error("invalid syntax"),
            },
            _ => {
                self.next -= 1;
                return Ok(None);
            }
        };
        let pos = match &kind {
            ExprKind::Pipe(pipe) => pipe.pos,
            _ => item.pos,
        };
        Ok(Some(Expr { pos, kind }))
    }
}

/// A string literal from what stands there and what it reads as.
fn string(quoted: &str, text: Name) -> ExprKind {
    match quoted.as_bytes() {
        [b'"', inner @ .., b'"'] if inner == text.as_bytes() => ExprKind::Str(text, Quote::Double),
        [b'`', inner @ .., b'`'] if inner == text.as_bytes() => ExprKind::Str(text, Quote::Back),
        _ => ExprKind::Escaped(Box::new(Escaped {
            quoted: quoted.into(),
            text,
        })),
    }
}

enum Statement {
    Node(Node),
    End,
    Else,
}

/// Reads a numeric literal in every way that fits.
fn number(item: &Item<'_>) -> std::result::Result<Number, String> {
    let text = item.text;
    let mut number = Number {
        text: text.into(),
        int: None,
        uint: None,
        float: None,
        character: false,
    };
    if item.kind == Kind::CharConstant {
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
    number.uint = crate::number::parse_uint(text);
    number.int = crate::number::parse_int(text);
    if number.int == Some(0) {
        number.uint = Some(0);
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "as Go converts"
    )]
    #[expect(clippy::cast_sign_loss, reason = "checked to be exact")]
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
            if (float as i64) as f64 == float {
                number.int = Some(float as i64);
            }
            if (float as u64) as f64 == float {
                number.uint = Some(float as u64);
            }
        }
    }
    Ok(number)
}

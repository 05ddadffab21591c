//! Tokens as trees, with the error texts of the reference's generated parser for the usual slips.

use std::sync::Arc;

use super::ast::{Expr, Kind, MapEntry, Message, Select};
use super::error::Issue;
use super::lexer::{Lexeme, Token, lex};
use super::macros;
use super::value::Value;

/// Brackets and operators nest no deeper.
const DEPTH: u32 = 250;
/// Characters that an expression may have.
const SIZE: usize = 100_000;
const OPERAND: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";
/// Words that identifiers may not be, besides literals and operators.
pub(super) const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Stop: what follows cannot be understood.
pub(crate) struct Stop;
type Parsed = Result<Expr, Stop>;

pub(crate) struct Parser<'s> {
    tokens: Vec<Lexeme<'s>>,
    next: usize,
    depth: u32,
    /// Macros of the newer libraries are known too.
    pub(crate) extended: bool,
    pub(crate) issues: Vec<Issue>,
}

/// Reads an expression.
pub(crate) fn parse(source: &str, extended: bool) -> Result<Expr, Vec<Issue>> {
    if source.len() > SIZE && source.chars().count() > SIZE {
        return Err(vec![Issue::new(
            0,
            format!(
                "expression code point size exceeds limit: size: {}, limit {SIZE}",
                source.chars().count()
            ),
        )]);
    }
    let (tokens, issues) = lex(source);
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
        extended,
        issues,
    };
    match parser.whole() {
        Ok(expr) if parser.issues.is_empty() => Ok(expr),
        _ => Err(parser.issues),
    }
}

impl Parser<'_> {
    pub(crate) fn issue(&mut self, at: u32, text: impl Into<String>) {
        self.issues.push(Issue::new(at, text));
    }

    fn syntax(&mut self, text: &str) {
        let at = self.tokens[self.next].at;
        self.issue(at, format!("Syntax error: {text}"));
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn text(&self) -> &str {
        self.tokens[self.next].text
    }

    fn after(&self) -> &Token {
        &self.tokens[(self.next + 1).min(self.tokens.len() - 1)].token
    }

    fn at(&self) -> u32 {
        self.tokens[self.next].at
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(own) if *own == sign)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        if found {
            self.advance();
        }
        found
    }

    fn advance(&mut self) {
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
    }

    /// A closing sign; where it alone is missing, it is thought there.
    fn close(&mut self, sign: &str) -> Result<(), Stop> {
        if self.take(sign) {
            return Ok(());
        }
        let text = self.text().to_owned();
        if matches!(self.after(), Token::Sign(own) if *own == sign) {
            self.syntax(&format!("extraneous input '{text}' expecting '{sign}'"));
            self.advance();
            self.advance();
            return Ok(());
        }
        if *self.peek() == Token::End || starts_after(self.peek()) {
            self.syntax(&format!("missing '{sign}' at '{text}'"));
            return Ok(());
        }
        self.syntax(&format!("mismatched input '{text}' expecting '{sign}'"));
        Err(Stop)
    }

    fn whole(&mut self) -> Parsed {
        let expr = self.expr()?;
        if *self.peek() != Token::End {
            let kind = if *self.after() == Token::End {
                "extraneous"
            } else {
                "mismatched"
            };
            let text = self.text().to_owned();
            self.syntax(&format!("{kind} input '{text}' expecting <EOF>"));
            return Err(Stop);
        }
        Ok(expr)
    }

    fn expr(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH {
            let at = self.at();
            self.issue(at, format!("expression recursion limit exceeded: {DEPTH}"));
            return Err(Stop);
        }
        let expr = self.ternary();
        self.depth -= 1;
        expr
    }

    fn ternary(&mut self) -> Parsed {
        let condition = self.logic(false)?;
        let at = self.at();
        if !self.take("?") {
            return Ok(condition);
        }
        let yes = self.logic(false)?;
        if !self.take(":") {
            let text = self.text().to_owned();
            self.syntax(&format!("mismatched input '{text}' expecting ':'"));
            return Err(Stop);
        }
        let no = self.expr()?;
        Ok(Expr::new(at, Kind::Ternary(Box::new([condition, yes, no]))))
    }

    fn logic(&mut self, and: bool) -> Parsed {
        let sign = if and { "&&" } else { "||" };
        let mut args = Vec::new();
        let mut place = None;
        loop {
            args.push(if and { self.relation()? } else { self.logic(true)? });
            let at = self.at();
            if !self.take(sign) {
                break;
            }
            place.get_or_insert(at);
        }
        match place {
            Some(at) => Ok(Expr::new(at, Kind::Logic { and, args })),
            None => Ok(args.pop().expect("the loop pushed one")),
        }
    }

    fn relation(&mut self) -> Parsed {
        const OPERATORS: [(&str, &str); 7] = [
            ("<", "_<_"),
            ("<=", "_<=_"),
            (">=", "_>=_"),
            (">", "_>_"),
            ("==", "_==_"),
            ("!=", "_!=_"),
            ("in", "@in"),
        ];
        self.chain(&OPERATORS, Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.chain(&[("+", "_+_"), ("-", "_-_")], Self::product)
    }

    fn product(&mut self) -> Parsed {
        self.chain(&[("*", "_*_"), ("/", "_/_"), ("%", "_%_")], Self::unary)
    }

    fn chain(&mut self, operators: &[(&str, &str)], below: fn(&mut Self) -> Parsed) -> Parsed {
        let depth = self.depth;
        let mut left = below(self)?;
        while let Token::Sign(sign) = self.peek()
            && let Some((_, name)) = operators.iter().find(|(own, _)| own == sign)
        {
            self.deepen()?;
            let at = self.at();
            self.advance();
            let right = below(self)?;
            left = Expr::call(at, name, vec![left, right]);
        }
        self.depth = depth;
        Ok(left)
    }

    /// Chains count as nesting, because their trees are as deep.
    fn deepen(&mut self) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth <= DEPTH {
            return Ok(());
        }
        let at = self.at();
        self.issue(at, format!("expression recursion limit exceeded: {DEPTH}"));
        Err(Stop)
    }

    fn unary(&mut self) -> Parsed {
        for (sign, name) in [("!", "!_"), ("-", "-_")] {
            if !self.is(sign) || (sign == "-" && matches!(self.after(), Token::Int | Token::Float)) {
                continue;
            }
            let at = self.at();
            let mut count = 0;
            while self.take(sign) {
                count += 1;
            }
            let operand = self.member()?;
            return Ok(if count % 2 == 1 {
                Expr::call(at, name, vec![operand])
            } else {
                operand
            });
        }
        self.member()
    }

    fn member(&mut self) -> Parsed {
        let expr = self.primary()?;
        self.behind(expr)
    }

    /// What follows an operand. Apart from [`Self::member`], so that operands nest in small frames.
    #[inline(never)]
    fn behind(&mut self, mut expr: Expr) -> Parsed {
        let depth = self.depth;
        loop {
            let at = self.at();
            if self.is(".") {
                self.deepen()?;
                expr = self.after_dot(expr, at)?;
            } else if self.take("[") {
                self.deepen()?;
                let optional = self.take("?");
                let index = self.expr()?;
                self.close("]")?;
                expr = Expr::call(at, if optional { "_[?_]" } else { "_[_]" }, vec![expr, index]);
            } else if self.is("{") && expr.qualified().is_some() {
                expr = self.message_of(&expr)?;
            } else {
                self.depth = depth;
                return Ok(expr);
            }
        }
    }

    fn after_dot(&mut self, operand: Expr, at: u32) -> Parsed {
        self.advance();
        let optional = self.take("?");
        if *self.peek() != Token::Name {
            let next = if *self.peek() == Token::End {
                ""
            } else {
                self.text()
            };
            let text = format!(
                "no viable alternative at input '.{}{next}'",
                if optional { "?" } else { "" }
            );
            self.syntax(&text);
            return Err(Stop);
        }
        let name: Arc<str> = self.text().into();
        self.advance();
        let open = self.at();
        if !optional && self.take("(") {
            let args = self.arguments()?;
            return Ok(macros::call(self, open, Some(operand), name, args));
        }
        Ok(Expr::new(
            at,
            Kind::Select(Box::new(Select {
                operand,
                field: name,
                test: false,
                optional,
            })),
        ))
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Stop> {
        let mut args = Vec::new();
        if self.take(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if !self.take(",") {
                break;
            }
        }
        self.close(")")?;
        Ok(args)
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        match self.peek().clone() {
            Token::Sign("(") => {
                self.advance();
                let expr = self.expr()?;
                self.close(")")?;
                Ok(expr)
            }
            Token::Sign("[") => self.list(),
            Token::Sign("{") => self.map(),
            Token::Sign(word @ ("true" | "false" | "null")) => {
                self.advance();
                let value = if word == "null" {
                    Value::Null
                } else {
                    Value::Bool(word == "true")
                };
                Ok(Expr::new(at, Kind::Literal(value)))
            }
            Token::Sign(".") if *self.after() == Token::Name => {
                self.advance();
                self.name()
            }
            Token::Name => self.name(),
            Token::Sign("-") | Token::Int | Token::Uint | Token::Float => self.number(),
            Token::String(text) => {
                self.advance();
                Ok(Expr::new(at, Kind::Literal(Value::text(text))))
            }
            Token::Bytes(bytes) => {
                self.advance();
                Ok(Expr::new(at, Kind::Literal(Value::Bytes(bytes.into()))))
            }
            _ => {
                let text = self.text().to_owned();
                if *self.peek() != Token::End && starts_operand(self.after()) {
                    self.syntax(&format!("extraneous input '{text}' expecting {OPERAND}"));
                    self.advance();
                    return self.unary();
                }
                self.syntax(&format!("mismatched input '{text}' expecting {OPERAND}"));
                Err(Stop)
            }
        }
    }

    fn name(&mut self) -> Parsed {
        let at = self.at();
        let name: Arc<str> = self.text().into();
        self.advance();
        let open = self.at();
        if self.take("(") {
            let args = self.arguments()?;
            if RESERVED.contains(&&*name) {
                self.issue(at, format!("reserved identifier: {name}"));
            }
            return Ok(macros::call(self, open, None, name, args));
        }
        if self.is("{") {
            return self.message(at, name);
        }
        if RESERVED.contains(&&*name) {
            self.issue(at, format!("reserved identifier: {name}"));
        }
        Ok(Expr::new(at, Kind::Ident(name)))
    }

    /// A message literal behind a name with dots.
    fn message_of(&mut self, name: &Expr) -> Parsed {
        let text = name.qualified().unwrap_or_default();
        self.message(name.at, text.into())
    }

    /// A message literal, whose type the checker looks up.
    fn message(&mut self, at: u32, name: Arc<str>) -> Parsed {
        self.advance();
        let mut fields = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            if *self.peek() != Token::Name {
                let text = self.text().to_owned();
                self.syntax(&format!(
                    "mismatched input '{text}' expecting {{'}}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}}"
                ));
                return Err(Stop);
            }
            let key = Expr::new(self.at(), Kind::Literal(Value::text(self.text())));
            self.advance();
            self.close(":")?;
            let value = self.expr()?;
            fields.push(MapEntry { optional, key, value });
            if !self.take(",") {
                self.close("}")?;
                break;
            }
        }
        Ok(Expr::new(at, Kind::Struct(Box::new(Message { name, fields }))))
    }

    fn list(&mut self) -> Parsed {
        let at = self.at();
        self.advance();
        let mut items = Vec::new();
        while !self.take("]") {
            let optional = self.take("?");
            items.push((optional, self.expr()?));
            if !self.take(",") {
                self.end_of("]")?;
                break;
            }
        }
        Ok(Expr::new(at, Kind::List(items)))
    }

    fn end_of(&mut self, sign: &str) -> Result<(), Stop> {
        if self.take(sign) {
            return Ok(());
        }
        let text = self.text().to_owned();
        self.syntax(&format!("mismatched input '{text}' expecting {{'{sign}', ','}}"));
        Err(Stop)
    }

    fn map(&mut self) -> Parsed {
        let at = self.at();
        self.advance();
        let mut entries = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let key = self.expr()?;
            if !self.take(":") {
                let text = self.text().to_owned();
                self.syntax(&format!("mismatched input '{text}' expecting ':'"));
                return Err(Stop);
            }
            let value = self.expr()?;
            entries.push(MapEntry { optional, key, value });
            if !self.take(",") {
                self.end_of("}")?;
                break;
            }
        }
        Ok(Expr::new(at, Kind::Map(entries)))
    }

    fn number(&mut self) -> Parsed {
        let at = self.at();
        let minus = self.take("-");
        let text = self.text().to_owned();
        let token = self.peek().clone();
        if minus && !matches!(token, Token::Int | Token::Float) {
            self.syntax(&format!("mismatched input '{text}' expecting {OPERAND}"));
            return Err(Stop);
        }
        self.advance();
        let sign = if minus { "-" } else { "" };
        let (value, what) = match token {
            Token::Float => (format!("{sign}{text}").parse().ok().map(Value::Double), "double"),
            Token::Uint => {
                let digits = text.trim_end_matches(['u', 'U']);
                let value = match digits.strip_prefix("0x") {
                    Some(hex) => u64::from_str_radix(hex, 16),
                    None => digits.parse(),
                };
                (value.ok().map(Value::Uint), "uint")
            }
            _ => {
                let value = match text.strip_prefix("0x") {
                    Some(hex) => i64::from_str_radix(&format!("{sign}{hex}"), 16),
                    None => format!("{sign}{text}").parse(),
                };
                (value.ok().map(Value::Int), "int")
            }
        };
        let finite = !matches!(value, Some(Value::Double(value)) if value.is_infinite());
        if value.is_none() || !finite {
            self.issue(at, format!("invalid {what} literal"));
        }
        Ok(Expr::new(at, Kind::Literal(value.unwrap_or(Value::Null))))
    }
}

/// Whether the token may follow a closed bracket.
fn starts_after(token: &Token) -> bool {
    matches!(token, Token::Sign(sign) if !matches!(*sign, "{" | "(" | "!" | "true" | "false" | "null" | ":"))
}

fn starts_operand(token: &Token) -> bool {
    match token {
        Token::End => false,
        Token::Sign(sign) => matches!(
            *sign,
            "[" | "{" | "(" | "." | "-" | "!" | "true" | "false" | "null"
        ),
        _ => true,
    }
}

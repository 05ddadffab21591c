//! Go's `fmt`: `Sprint`, `Sprintln`, `Sprintf` with every verb and flag, over template values.

mod verbs;

use crate::value::{Underlying, Value};

/// A hostile width or precision makes no gigabytes; Go has the same bound.
const MAX_WIDTH: usize = 1_000_000;

/// What `%v` prints.
#[must_use]
pub fn go_value(value: &Value) -> String {
    let mut out = String::new();
    verbs::Printer::new(&mut out).argument(value, 'v');
    out
}

/// `fmt.Sprint`: a space between two operands when neither is a string.
#[must_use]
pub fn sprint(values: &[Value]) -> String {
    let mut out = String::new();
    let mut before_string = true;
    for (index, value) in values.iter().enumerate() {
        let string = matches!(value, Value::Str(_));
        if index > 0 && !string && !before_string {
            out.push(' ');
        }
        verbs::Printer::new(&mut out).argument(value, 'v');
        before_string = string;
    }
    out
}

/// `fmt.Sprintln`.
#[must_use]
pub fn sprintln(values: &[Value]) -> String {
    let mut out = values.iter().map(go_value).collect::<Vec<_>>().join(" ");
    out.push('\n');
    out
}

/// The flags, width and precision of one verb.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) minus: bool,
    pub(crate) plus: bool,
    /// `%+v`: fields with their names.
    pub(crate) names: bool,
    pub(crate) sharp: bool,
    pub(crate) space: bool,
    pub(crate) zero: bool,
    pub(crate) width: Option<usize>,
    pub(crate) precision: Option<usize>,
}

/// `fmt.Sprintf`.
#[must_use]
pub fn sprintf(format: &str, values: &[Value]) -> String {
    let mut formatter = Formatter {
        chars: format.chars().collect(),
        at: 0,
        values,
        next: 0,
        reordered: false,
        good_index: true,
    };
    formatter.run()
}

struct Formatter<'a> {
    chars: Vec<char>,
    at: usize,
    values: &'a [Value],
    next: usize,
    reordered: bool,
    good_index: bool,
}

impl Formatter<'_> {
    fn run(&mut self) -> String {
        let mut out = String::new();
        let mut ever_reordered = false;
        while self.at < self.chars.len() {
            let c = self.chars[self.at];
            self.at += 1;
            if c != '%' {
                out.push(c);
                continue;
            }
            self.directive(&mut out);
            ever_reordered |= self.reordered;
        }
        if !ever_reordered && self.next < self.values.len() {
            out.push_str("%!(EXTRA ");
            for (index, value) in self.values[self.next..].iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                if matches!(value, Value::Nil | Value::NilInterface) {
                    out.push_str("<nil>");
                } else {
                    out.push_str(&value.type_name());
                    out.push('=');
                    verbs::Printer::new(&mut out).argument(value, 'v');
                }
            }
            out.push(')');
        }
        out
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        while let Some(c) = self.peek() {
            match c {
                '#' => flags.sharp = true,
                '0' => flags.zero = true,
                '+' => flags.plus = true,
                '-' => flags.minus = true,
                ' ' => flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        flags
    }

    fn directive(&mut self, out: &mut String) {
        self.good_index = true;
        self.reordered = false;
        let mut flags = self.flags();
        let mut after_index = self.index();
        if self.peek() == Some('*') {
            self.at += 1;
            match self.star() {
                Some(width) => {
                    flags.minus |= width < 0;
                    flags.width = Some(usize::try_from(width.unsigned_abs()).unwrap_or(0));
                }
                None => out.push_str("%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            flags.width = self.digits();
            if after_index && flags.width.is_some() {
                self.good_index = false;
            }
        }
        if self.peek() == Some('.') {
            self.at += 1;
            if after_index {
                self.good_index = false;
            }
            after_index = self.index();
            if self.peek() == Some('*') {
                self.at += 1;
                match self.star() {
                    Some(precision) => flags.precision = usize::try_from(precision).ok(),
                    None => out.push_str("%!(BADPREC)"),
                }
                after_index = false;
            } else {
                flags.precision = Some(self.digits().unwrap_or(0));
            }
        }
        if !after_index {
            self.index();
        }
        self.verb(flags, out);
    }

    fn verb(&mut self, flags: Flags, out: &mut String) {
        let Some(verb) = self.peek() else {
            out.push_str("%!(NOVERB)");
            return;
        };
        self.at += 1;
        if verb == '%' {
            out.push('%');
        } else if !self.good_index {
            out.push_str(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(value) = self.values.get(self.next) {
            self.next += 1;
            verbs::Printer::with(out, flags).argument(value, verb);
        } else {
            out.push_str(&format!("%!{verb}(MISSING)"));
        }
    }

    fn digits(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            let next = number
                .unwrap_or(0usize)
                .saturating_mul(10)
                .saturating_add(digit as usize);
            number = Some(next.min(MAX_WIDTH));
            self.at += 1;
        }
        number
    }

    /// `[n]`: which argument comes next.
    fn index(&mut self) -> bool {
        if self.peek() != Some('[') {
            return false;
        }
        self.reordered = true;
        let Some(length) = self.chars[self.at..].iter().position(|c| *c == ']') else {
            self.good_index = false;
            self.at += 1;
            return false;
        };
        let text: String = self.chars[self.at + 1..self.at + length].iter().collect();
        self.at += length + 1;
        match text.parse::<usize>() {
            Ok(index) if (1..=self.values.len()).contains(&index) => {
                self.next = index - 1;
                true
            }
            _ => {
                self.good_index = false;
                true
            }
        }
    }

    fn star(&mut self) -> Option<i64> {
        let value = self.values.get(self.next)?;
        self.next += 1;
        let limit = i64::try_from(MAX_WIDTH).unwrap_or(i64::MAX);
        match value {
            Value::Int(number, _) => Some(*number).filter(|number| number.saturating_abs() <= limit),
            Value::Uint(number, _) => i64::try_from(*number).ok().filter(|number| *number <= limit),
            _ => None,
        }
    }
}

/// The value an object stands for when its text does not apply.
fn underlying_number(value: &Value) -> Option<Value> {
    match value {
        Value::Object(object) => match object.underlying() {
            Underlying::Value(value) => Some(value),
            Underlying::Struct { .. } => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;

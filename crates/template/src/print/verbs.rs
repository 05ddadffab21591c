//! One value under one verb.

use std::fmt::Write as _;

use super::{Flags, underlying_number};
use crate::bytes::{from_bytes, to_bytes};
use crate::number::format_float;
use crate::quote::{quote, quote_ascii, quote_char};
use crate::value::{Element, List, Map, Underlying, Value};

/// Maps and lists print to this depth; `set` can tie a map into itself.
const MAX_DEPTH: usize = 100;

/// Prints into a text.
pub(super) struct Printer<'a> {
    out: &'a mut String,
    flags: Flags,
    erroring: bool,
    depth: usize,
}

impl<'a> Printer<'a> {
    pub(super) fn new(out: &'a mut String) -> Self {
        Self::with(out, Flags::default())
    }

    pub(super) fn with(out: &'a mut String, flags: Flags) -> Self {
        Printer {
            out,
            flags,
            erroring: false,
            depth: 0,
        }
    }

    /// An operand: nil has its own rules here, other than inside a list.
    pub(super) fn argument(&mut self, value: &Value, verb: char) {
        if verb == 'v' && self.flags.plus {
            // Names of fields are asked for, not signs.
            self.flags.plus = false;
            self.flags.names = true;
        }
        match (value, verb) {
            (Value::Nil | Value::NilInterface, 'T' | 'v') => self.pad("<nil>"),
            (Value::Nil | Value::NilInterface, _) => self.bad_verb(value, verb),
            (_, 'T') => self.text(&value.type_name(), 's'),
            // Only errors can be wrapped, and none of these is one.
            (Value::List(list), 'w') if list.element == Element::Byte => self.value(value, verb),
            (_, 'w') => self.bad_verb(value, verb),
            _ => self.value(value, verb),
        }
    }

    /// `%#v`: the value as a Go program would write it.
    fn syntax(&mut self, value: &Value, inside: bool) {
        if !self.enter() {
            return;
        }
        match value {
            Value::Nil | Value::NilInterface if inside => self.out.push_str("interface {}(nil)"),
            Value::Nil | Value::NilInterface => self.out.push_str("<nil>"),
            Value::Uint(number, _) => {
                let _ = write!(self.out, "0x{number:x}");
            }
            Value::Float(number) => self.out.push_str(&format_float(*number, 'g', None)),
            Value::Str(text) => self.out.push_str(&quote(text)),
            Value::List(list) => {
                let kind = if list.element == Element::Byte {
                    "[]byte".to_owned()
                } else {
                    value.type_name()
                };
                self.out.push_str(&kind);
                if list.is_nil() {
                    self.out.push_str("(nil)");
                    self.depth -= 1;
                    return;
                }
                self.out.push('{');
                for (index, item) in list.items().iter().enumerate() {
                    if index > 0 {
                        self.out.push_str(", ");
                    }
                    self.syntax(item, true);
                }
                self.out.push('}');
            }
            Value::Map(map) => {
                self.out.push_str(&value.type_name());
                self.syntax_map(map);
            }
            Value::Object(object) => match (object.as_map(), object.underlying()) {
                (Some(map), _) => {
                    self.out.push_str(&value.type_name());
                    self.syntax_map(&map);
                }
                (None, Underlying::Value(inner)) => self.syntax(&inner, inside),
                (None, Underlying::Struct { pointer, fields }) => {
                    let name = value.type_name();
                    self.out.push_str(if pointer { "&" } else { "" });
                    self.out.push_str(name.trim_start_matches('*'));
                    self.out.push('{');
                    for (index, (name, field)) in fields.iter().enumerate() {
                        if index > 0 {
                            self.out.push_str(", ");
                        }
                        let _ = write!(self.out, "{name}:");
                        self.syntax(field, true);
                    }
                    self.out.push('}');
                }
            },
            Value::Bool(_) | Value::Int(..) => {
                let _ = write!(self.out, "{}", crate::print::go_value(value));
            }
        }
        self.depth -= 1;
    }

    fn syntax_map(&mut self, map: &Map) {
        self.out.push('{');
        for (index, (key, value)) in map.borrow().iter().enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            self.out.push_str(&quote(key));
            self.out.push(':');
            self.syntax(value, true);
        }
        self.out.push('}');
    }

    fn value(&mut self, value: &Value, verb: char) {
        if self.flags.sharp && verb == 'v' {
            let start = self.out.len();
            self.syntax(value, false);
            let text = self.out.split_off(start);
            let zero = self.flags.zero && matches!(value, Value::Int(..) | Value::Uint(..) | Value::Float(_));
            let kept = std::mem::replace(&mut self.flags.zero, zero);
            self.pad(&text);
            self.flags.zero = kept;
            return;
        }
        match value {
            Value::Nil | Value::NilInterface => self.out.push_str("<nil>"),
            Value::Bool(truth) => match verb {
                't' | 'v' => self.pad(if *truth { "true" } else { "false" }),
                _ => self.bad_verb(value, verb),
            },
            Value::Int(number, _) => self.integer(number.unsigned_abs(), *number < 0, verb, value),
            Value::Uint(number, _) => {
                if self.flags.sharp && verb == 'v' {
                    self.integer_in(*number, false, 16, verb, false);
                } else {
                    self.integer(*number, false, verb, value);
                }
            }
            Value::Float(number) => self.float(*number, verb, value),
            Value::Str(text) => match verb {
                'v' if self.flags.sharp => self.quoted(text),
                'v' | 's' => self.text(text, verb),
                'x' | 'X' => self.hex(&to_bytes(text), verb),
                'q' => self.quoted(text),
                _ => self.bad_verb(value, verb),
            },
            Value::List(list) => self.list(list, verb),
            Value::Map(map) => self.map(map, verb),
            Value::Object(object) => {
                if let Some(map) = object.as_map() {
                    return self.map(&map, verb);
                }
                if matches!(verb, 'v' | 's' | 'x' | 'X' | 'q')
                    && !(self.flags.sharp && verb == 'v')
                    && let Some(text) = object.text().filter(|_| !self.erroring)
                {
                    return self.value(&Value::from(text), verb);
                }
                if let Some(number) = underlying_number(value) {
                    let is_int = matches!(number, Value::Int(..));
                    if is_int && !"vdboOxXcqU".contains(verb) && !self.erroring {
                        return self.bad_verb(value, verb);
                    }
                    return self.value(&number, verb);
                }
                self.structure(&object.underlying(), verb);
            }
        }
    }

    fn bad_verb(&mut self, value: &Value, verb: char) {
        let _ = write!(self.out, "%!{verb}(");
        if value.is_nil() {
            self.out.push_str("<nil>");
        } else {
            self.out.push_str(&value.type_name());
            self.out.push('=');
            let erroring = std::mem::replace(&mut self.erroring, true);
            // Only `%#v` asks for Go's syntax; floats keep their zeros with the flag.
            let sharp = self.flags.sharp;
            if sharp && matches!(value, Value::Float(_)) {
                self.value(value, 'g');
            } else {
                self.flags.sharp &= verb == 'v';
                self.value(value, 'v');
            }
            self.flags.sharp = sharp;
            self.erroring = erroring;
        }
        self.out.push(')');
    }

    fn pad(&mut self, text: &str) {
        let width = self.flags.width.unwrap_or(0);
        let missing = width.saturating_sub(text.chars().count());
        if missing == 0 {
            self.out.push_str(text);
        } else if self.flags.minus {
            self.out.push_str(text);
            self.out.extend(std::iter::repeat_n(' ', missing));
        } else {
            self.out.extend(std::iter::repeat_n(
                if self.flags.zero { '0' } else { ' ' },
                missing,
            ));
            self.out.push_str(text);
        }
    }

    fn truncate<'t>(&self, text: &'t str) -> &'t str {
        match self
            .flags
            .precision
            .and_then(|precision| text.char_indices().nth(precision))
        {
            Some((end, _)) => &text[..end],
            None => text,
        }
    }

    fn text(&mut self, text: &str, _verb: char) {
        let text = self.truncate(text);
        self.pad(text);
    }

    fn quoted(&mut self, text: &str) {
        let text = self.truncate(text);
        if self.flags.sharp && !text.contains('`') && !text.chars().any(|c| c.is_control() && c != '\t') {
            return self.pad(&format!("`{text}`"));
        }
        let quoted = if self.flags.plus {
            quote_ascii(text)
        } else {
            quote(text)
        };
        self.pad(&quoted);
    }

    fn hex(&mut self, bytes: &[u8], verb: char) {
        let bytes = &bytes[..self.flags.precision.unwrap_or(bytes.len()).min(bytes.len())];
        let mut text = String::with_capacity(bytes.len() * 2 + 2);
        for (index, byte) in bytes.iter().enumerate() {
            if index > 0 && self.flags.space {
                text.push(' ');
            }
            if self.flags.sharp && (self.flags.space || index == 0) {
                text.push('0');
                text.push(verb);
            }
            let _ = if verb == 'x' {
                write!(text, "{byte:02x}")
            } else {
                write!(text, "{byte:02X}")
            };
        }
        self.pad(&text);
    }

    fn integer(&mut self, magnitude: u64, negative: bool, verb: char, value: &Value) {
        match verb {
            'v' | 'd' => self.integer_in(magnitude, negative, 10, verb, false),
            'b' => self.integer_in(magnitude, negative, 2, verb, false),
            'o' | 'O' => self.integer_in(magnitude, negative, 8, verb, false),
            'x' => self.integer_in(magnitude, negative, 16, verb, false),
            'X' => self.integer_in(magnitude, negative, 16, verb, true),
            'c' => {
                let c = Self::character(magnitude, negative);
                self.pad(c.encode_utf8(&mut [0; 4]));
            }
            'q' => {
                let quoted = quote_char(Self::character(magnitude, negative), self.flags.plus);
                self.pad(&quoted);
            }
            'U' => self.unicode(magnitude, negative),
            _ => self.bad_verb(value, verb),
        }
    }

    fn character(magnitude: u64, negative: bool) -> char {
        let code = u32::try_from(magnitude).ok().filter(|_| !negative);
        code.and_then(char::from_u32)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn unicode(&mut self, magnitude: u64, negative: bool) {
        let code = if negative {
            magnitude.wrapping_neg()
        } else {
            magnitude
        };
        let digits = self.flags.precision.unwrap_or(4).max(4);
        let hex = format!("{code:X}");
        let mut text = format!("U+{}{hex}", "0".repeat(digits.saturating_sub(hex.len())));
        if self.flags.sharp
            && let Some(c) = u32::try_from(code)
                .ok()
                .and_then(char::from_u32)
                .filter(|c| !c.is_control())
        {
            let _ = write!(text, " '{c}'");
        }
        let zero = std::mem::replace(&mut self.flags.zero, false);
        self.pad(&text);
        self.flags.zero = zero;
    }

    fn integer_in(&mut self, magnitude: u64, negative: bool, base: u32, verb: char, upper: bool) {
        let mut digits = match base {
            2 => format!("{magnitude:b}"),
            8 => format!("{magnitude:o}"),
            16 if upper => format!("{magnitude:X}"),
            16 => format!("{magnitude:x}"),
            _ => magnitude.to_string(),
        };
        let signed = negative || self.flags.plus || self.flags.space;
        let mut least = self.flags.precision.unwrap_or(0);
        if self.flags.precision == Some(0) && magnitude == 0 {
            let zero = std::mem::replace(&mut self.flags.zero, false);
            self.pad("");
            self.flags.zero = zero;
            return;
        }
        if self.flags.precision.is_none()
            && self.flags.zero
            && !self.flags.minus
            && let Some(width) = self.flags.width
        {
            least = width.saturating_sub(usize::from(signed));
        }
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        if self.flags.sharp {
            match base {
                2 => digits.insert_str(0, "0b"),
                8 if !digits.starts_with('0') => digits.insert(0, '0'),
                16 => digits.insert_str(0, if upper { "0X" } else { "0x" }),
                _ => {}
            }
        }
        if verb == 'O' {
            digits.insert_str(0, "0o");
        }
        if negative {
            digits.insert(0, '-');
        } else if self.flags.plus {
            digits.insert(0, '+');
        } else if self.flags.space {
            digits.insert(0, ' ');
        }
        let zero = std::mem::replace(&mut self.flags.zero, false);
        self.pad(&digits);
        self.flags.zero = zero;
    }

    fn float(&mut self, number: f64, verb: char, value: &Value) {
        let (form, default) = match verb {
            'v' => ('g', None),
            'e' | 'E' | 'f' | 'F' => (verb, Some(6)),
            'g' | 'G' => (verb, None),
            'b' | 'x' | 'X' => (verb, None),
            _ => return self.bad_verb(value, verb),
        };
        let precision = self.flags.precision.or(default);
        let mut text = match form {
            'b' => binary_float(number),
            'x' | 'X' => hex_float(number, precision, form),
            _ => format_float(number, form, precision),
        };
        if self.flags.sharp && form != 'b' && number.is_finite() {
            text = keep_point(&text, form, precision);
        }
        if !text.starts_with(['+', '-']) {
            text.insert(0, '+');
        }
        if !number.is_finite() {
            // Infinity always shows its sign.
            if number.is_nan() && !self.flags.space && !self.flags.plus {
                text.remove(0);
            }
            let kept = std::mem::replace(&mut self.flags.zero, false);
            self.pad(&text);
            self.flags.zero = kept;
            return;
        }
        if self.flags.space && text.starts_with('+') && !self.flags.plus {
            text.replace_range(..1, " ");
        }
        let zero = self.flags.zero && !self.flags.minus;
        let sign = self.flags.plus || !text.starts_with('+');
        if sign {
            if zero && self.flags.width.is_some_and(|width| width > text.len()) {
                self.out.push_str(&text[..1]);
                let width = self.flags.width;
                self.flags.width = width.map(|width| width - 1);
                self.pad(&text[1..]);
                self.flags.width = width;
                return;
            }
        } else {
            text.remove(0);
        }
        let kept = std::mem::replace(&mut self.flags.zero, zero);
        self.pad(&text);
        self.flags.zero = kept;
    }

    fn enter(&mut self) -> bool {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            self.out.push_str("...");
            self.depth -= 1;
            return false;
        }
        true
    }

    fn list(&mut self, list: &List, verb: char) {
        if list.element == Element::Byte && matches!(verb, 's' | 'q' | 'x' | 'X') {
            let bytes: Vec<u8> = list
                .items()
                .iter()
                .filter_map(|item| match item {
                    Value::Uint(byte, _) => u8::try_from(*byte).ok(),
                    _ => None,
                })
                .collect();
            return match verb {
                'x' | 'X' => self.hex(&bytes, verb),
                'q' => self.quoted(&from_bytes(&bytes)),
                _ => self.text(&from_bytes(&bytes), 's'),
            };
        }
        if !self.enter() {
            return;
        }
        self.out.push('[');
        for (index, item) in list.items().iter().enumerate() {
            if index > 0 {
                self.out.push(' ');
            }
            self.value(item, verb);
        }
        self.out.push(']');
        self.depth -= 1;
    }

    fn map(&mut self, map: &Map, verb: char) {
        if !self.enter() {
            return;
        }
        self.out.push_str("map[");
        for (index, (key, value)) in map.borrow().iter().enumerate() {
            if index > 0 {
                self.out.push(' ');
            }
            self.value(&Value::Str(key.clone()), verb);
            self.out.push(':');
            self.value(value, verb);
        }
        self.out.push(']');
        self.depth -= 1;
    }

    fn structure(&mut self, underlying: &Underlying, verb: char) {
        let Underlying::Struct { pointer, fields } = underlying else {
            return;
        };
        if !self.enter() {
            return;
        }
        self.out.push_str(if *pointer { "&{" } else { "{" });
        for (index, (name, value)) in fields.iter().enumerate() {
            if index > 0 {
                self.out.push(' ');
            }
            if self.flags.names {
                self.out.push_str(name);
                self.out.push(':');
            }
            self.value(value, verb);
        }
        self.out.push('}');
        self.depth -= 1;
    }
}

/// `%b`: mantissa and power of two.
fn binary_float(number: f64) -> String {
    let bits = number.to_bits();
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let exponent = i64::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, exponent) = if exponent == 0 {
        (fraction, 1)
    } else {
        (fraction | 1 << 52, exponent)
    };
    format!("{sign}{mantissa}p{:+}", exponent - 1075)
}

/// `%x`: hexadecimal mantissa, power of two.
fn hex_float(number: f64, precision: Option<usize>, form: char) -> String {
    if !number.is_finite() {
        return format_float(number, 'g', None);
    }
    let bits = number.to_bits();
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let mut exponent = i64::try_from((bits >> 52) & 0x7ff).unwrap_or(0) - 1023;
    let mut mantissa = bits & ((1 << 52) - 1);
    if number == 0.0 {
        exponent = 0;
    } else if exponent == -1023 {
        exponent = -1022;
        while mantissa & (1 << 52) == 0 {
            mantissa <<= 1;
            exponent -= 1;
        }
    } else {
        mantissa |= 1 << 52;
    }
    if let Some(precision) = precision.filter(|precision| *precision < 13) {
        let shift = (13 - precision) * 4;
        let (low, half) = (mantissa & ((1 << shift) - 1), 1u64 << (shift - 1));
        mantissa >>= shift;
        if low > half || (low == half && mantissa & 1 == 1) {
            mantissa += 1;
        }
        mantissa <<= shift;
        if mantissa >= 1 << 53 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let digits = format!("{:013x}", mantissa & ((1 << 52) - 1));
    let digits = match precision {
        None => digits.trim_end_matches('0').to_owned(),
        Some(precision) if precision <= 13 => digits[..precision].to_owned(),
        Some(precision) => format!("{digits}{}", "0".repeat(precision - 13)),
    };
    let lead = mantissa >> 52;
    let dot = if digits.is_empty() { "" } else { "." };
    let direction = if exponent < 0 { '-' } else { '+' };
    let text = format!("{sign}0x{lead}{dot}{digits}p{direction}{:02}", exponent.abs());
    if form == 'X' { text.to_uppercase() } else { text }
}

/// `%#g` and its like keep the decimal point and trailing zeros.
fn keep_point(text: &str, form: char, precision: Option<usize>) -> String {
    let hex = matches!(form, 'x' | 'X');
    let exponent: [char; 2] = if hex { ['p', 'P'] } else { ['e', 'E'] };
    let split = text.find(exponent).unwrap_or(text.len());
    let (mantissa, tail) = text.split_at(split);
    let mut mantissa = mantissa.to_owned();
    if !mantissa.contains('.') {
        mantissa.push('.');
    }
    if matches!(form, 'g' | 'G' | 'x') {
        let wanted = precision.unwrap_or(6);
        // The x of a hexadecimal number counts as a digit to Go.
        let significant = mantissa
            .trim_start_matches(['-', '+', '0', '.'])
            .chars()
            .filter(|c| if hex { *c != '.' } else { c.is_ascii_digit() })
            .count();
        mantissa.push_str(&"0".repeat(wanted.saturating_sub(significant.max(1))));
    }
    mantissa + tail
}

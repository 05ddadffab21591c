//! What stands for one character of a pattern: escapes and classes.

use super::classes::{perl, posix, write_range, write_ranges, write_unicode};
use super::{NOTHING, Reader};

impl Reader<'_> {
    /// A class that a backslash names, written as members of a class; whether there was one.
    pub(super) fn named(&mut self, members: &mut String) -> Result<bool, String> {
        let from = self.rest;
        let mut chars = from.chars();
        let Some(letter) = chars.by_ref().nth(1).filter(|_| from.starts_with('\\')) else {
            return Ok(false);
        };
        if let Some((ranges, negated)) = perl(letter) {
            self.rest = chars.as_str();
            write_ranges(members, ranges, negated, self.flags.fold);
            return Ok(true);
        }
        if !matches!(letter, 'p' | 'P') {
            return Ok(false);
        }
        let name = match chars.next() {
            Some('{') => {
                let Some((name, rest)) = chars.as_str().split_once('}') else {
                    return Err(format!("invalid character class range: `{from}`"));
                };
                self.rest = rest;
                name
            }
            one => {
                self.rest = chars.as_str();
                &from[2..2 + one.map_or(0, char::len_utf8)]
            }
        };
        let (name, turned) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        if !write_unicode(members, name, (letter == 'P') != turned) {
            return Err(format!("invalid character class range: `{}`", self.since(from)));
        }
        Ok(true)
    }

    /// A backslash and what stands for one character behind it.
    pub(super) fn escape(&mut self) -> Result<u32, String> {
        let from = self.rest;
        self.next();
        let Some(c) = self.next() else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        let octal = self.rest.starts_with(|c: char| c.is_digit(8));
        let code = match c {
            'a' => Some(7),
            'f' => Some(0xC),
            'n' => Some(0xA),
            'r' => Some(0xD),
            't' => Some(9),
            'v' => Some(0xB),
            'x' => self.hexadecimal(),
            // A lone digit would refer to a group, which RE2 lacks; two are an octal code.
            '0'..='7' if c == '0' || octal => {
                let mut code = u32::from(c) - u32::from('0');
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    self.next();
                    code = code * 8 + digit;
                }
                Some(code)
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
            _ => None,
        };
        code.ok_or_else(|| format!("invalid escape sequence: `{}`", self.since(from)))
    }

    /// What follows `\x`.
    fn hexadecimal(&mut self) -> Option<u32> {
        let first = self.next()?;
        if first != '{' {
            let second = self.next();
            return Some(first.to_digit(16)? * 16 + second?.to_digit(16)?);
        }
        let mut code = None;
        loop {
            match self.next()? {
                '}' => return code,
                digit => {
                    let next = code.unwrap_or(0) * 16 + digit.to_digit(16)?;
                    code = Some(next).filter(|code| *code <= u32::from(char::MAX));
                    code?;
                }
            }
        }
    }

    pub(super) fn class(&mut self) -> Result<(), String> {
        let from = self.rest;
        self.next();
        let negated = self.rest.starts_with('^');
        if negated {
            self.next();
        }
        let mut members = String::new();
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if self.posix(&mut members)? || self.named(&mut members)? {
                continue;
            }
            let range = self.rest;
            let low = self.class_character(from)?;
            let mut high = low;
            if self.rest.len() >= 2 && self.rest.starts_with('-') && !self.rest[1..].starts_with(']') {
                self.next();
                high = self.class_character(from)?;
                if high < low {
                    return Err(format!("invalid character class range: `{}`", self.since(range)));
                }
            }
            write_range(&mut members, low, high);
        }
        self.next();
        match (members.is_empty(), negated) {
            (true, false) => self.write(NOTHING),
            (true, true) => self.write("(?s:.)"),
            (false, false) => self.write(&format!("[{members}]")),
            (false, true) => self.write(&format!("[^{members}]")),
        }
        Ok(())
    }

    /// `[:name:]`; whether there was one.
    fn posix(&mut self, members: &mut String) -> Result<bool, String> {
        let from = self.rest;
        let Some((name, rest)) = from.strip_prefix("[:").and_then(|inside| inside.split_once(":]")) else {
            return Ok(false);
        };
        self.rest = rest;
        let (plain, negated) = match name.strip_prefix('^') {
            Some(plain) => (plain, true),
            None => (name, false),
        };
        let Some(ranges) = posix(plain) else {
            return Err(format!("invalid character class range: `{}`", self.since(from)));
        };
        write_ranges(members, ranges, negated, self.flags.fold);
        Ok(true)
    }

    fn class_character(&mut self, class: &str) -> Result<u32, String> {
        if self.rest.starts_with('\\') {
            return self.escape();
        }
        match self.next() {
            Some(c) => Ok(u32::from(c)),
            None => Err(format!("missing closing ]: `{class}`")),
        }
    }
}

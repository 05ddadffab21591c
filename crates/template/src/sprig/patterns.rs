//! What Go's `regexp` says of a pattern that it refuses.

/// The names that stand between `[:` and `:]`.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// Go's error for a pattern; none if nothing is wrong that this knows.
#[must_use]
pub fn go_regex_error(pattern: &str) -> Option<String> {
    let problem = Reader {
        pattern,
        at: 0,
        open: 0,
    }
    .read()
    .err()?;
    Some(format!("error parsing regexp: {problem}"))
}

struct Reader<'p> {
    pattern: &'p str,
    at: usize,
    open: usize,
}

impl<'p> Reader<'p> {
    fn rest(&self) -> &'p str {
        &self.pattern[self.at..]
    }

    fn read(mut self) -> Result<(), String> {
        // The operator before, and whether something is there that can be repeated.
        let mut repeated: Option<usize> = None;
        let mut atom = false;
        while let Some(c) = self.rest().chars().next() {
            let start = self.at;
            match c {
                '\\' => {
                    self.escape()?;
                    (atom, repeated) = (true, None);
                }
                '[' => {
                    self.class()?;
                    (atom, repeated) = (true, None);
                }
                '(' => {
                    self.group()?;
                    (atom, repeated) = (false, None);
                }
                ')' => {
                    if self.open == 0 {
                        return Err(format!("unexpected ): `{}`", self.pattern));
                    }
                    self.open -= 1;
                    self.at += 1;
                    (atom, repeated) = (true, None);
                }
                '|' => {
                    self.at += 1;
                    (atom, repeated) = (false, None);
                }
                '*' | '+' | '?' => {
                    self.at += 1;
                    if self.rest().starts_with('?') {
                        self.at += 1;
                    }
                    let operator = &self.pattern[start..self.at];
                    if let Some(before) = repeated {
                        let both = &self.pattern[before..self.at];
                        return Err(format!("invalid nested repetition operator: `{both}`"));
                    }
                    if !atom {
                        return Err(format!("missing argument to repetition operator: `{operator}`"));
                    }
                    repeated = Some(start);
                }
                '{' => match counted(self.rest()) {
                    Some((length, too_many)) => {
                        self.at += length;
                        let operator = &self.pattern[start..self.at];
                        if too_many {
                            return Err(format!("invalid repeat count: `{operator}`"));
                        }
                        if !atom {
                            return Err(format!("missing argument to repetition operator: `{operator}`"));
                        }
                        if let Some(before) = repeated {
                            let both = &self.pattern[before..self.at];
                            return Err(format!("invalid nested repetition operator: `{both}`"));
                        }
                        if self.rest().starts_with('?') {
                            self.at += 1;
                        }
                        repeated = Some(start);
                    }
                    None => {
                        self.at += 1;
                        (atom, repeated) = (true, None);
                    }
                },
                c => {
                    self.at += c.len_utf8();
                    (atom, repeated) = (true, None);
                }
            }
        }
        if self.open > 0 {
            return Err(format!("missing closing ): `{}`", self.pattern));
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.rest().chars().nth(1) else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        let start = self.at;
        self.at += 1 + c.len_utf8();
        match c {
            'A' | 'b' | 'B' | 'z' | 'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'a' | 'f' | 't' | 'n' | 'r' | 'v'
            | 'C' => {}
            'x' | 'p' | 'P' | '0' => {}
            'Q' => {
                let end = self.rest().find(r"\E").map_or(self.rest().len(), |at| at + 2);
                self.at += end;
            }
            // A lone digit would refer to a group, which RE2 lacks; two are an octal code.
            '1'..='7' if self.rest().starts_with(|c: char| c.is_digit(8)) => {}
            c if c.is_ascii_alphanumeric() => {
                return Err(format!(
                    "invalid escape sequence: `{}`",
                    &self.pattern[start..self.at]
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        let rest = self.rest();
        self.open += 1;
        if !rest.starts_with("(?") {
            self.at += 1;
            return Ok(());
        }
        if rest.starts_with("(?P<")
            || rest.starts_with("(?<") && !rest.starts_with("(?<=") && !rest.starts_with("(?<!")
        {
            let Some(end) = rest.find('>') else {
                return Err(format!("invalid named capture: `{rest}`"));
            };
            self.at += end + 1;
            return Ok(());
        }
        let flags = rest[2..]
            .bytes()
            .take_while(|byte| b"imsU-".contains(byte))
            .count();
        match rest.as_bytes().get(2 + flags) {
            Some(b':') => self.at += 3 + flags,
            Some(b')') if flags > 0 => {
                self.at += 3 + flags;
                self.open -= 1;
            }
            None => return Err(format!("invalid or unsupported Perl syntax: `{rest}`")),
            Some(_) => {
                let end = 2 + flags + rest[2 + flags..].chars().next().map_or(0, char::len_utf8);
                return Err(format!("invalid or unsupported Perl syntax: `{}`", &rest[..end]));
            }
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        let whole = self.rest();
        let mut at = 1;
        if whole[at..].starts_with('^') {
            at += 1;
        }
        let mut first = true;
        loop {
            let Some(c) = whole[at..].chars().next() else {
                return Err(format!("missing closing ]: `{whole}`"));
            };
            if c == ']' && !first {
                self.at += at + 1;
                return Ok(());
            }
            first = false;
            if whole[at..].starts_with("[:")
                && let Some(end) = whole[at..].find(":]")
            {
                let name = &whole[at..at + end + 2];
                let known = name[2..end].trim_start_matches('^');
                if !CLASSES.contains(&known) {
                    return Err(format!("invalid character class range: `{name}`"));
                }
                at += end + 2;
                continue;
            }
            let low = at;
            at = after_char(whole, at).ok_or_else(|| format!("missing closing ]: `{whole}`"))?;
            if whole[at..].starts_with('-') && !whole[at + 1..].starts_with(']') && at + 1 < whole.len() {
                let high = at + 1;
                at = after_char(whole, high).ok_or_else(|| format!("missing closing ]: `{whole}`"))?;
                let (from, to) = (&whole[low..high - 1], &whole[high..at]);
                if !from.starts_with('\\') && !to.starts_with('\\') && from.chars().next() > to.chars().next()
                {
                    return Err(format!("invalid character class range: `{}`", &whole[low..at]));
                }
            }
        }
    }
}

/// The place behind a character or an escape.
fn after_char(text: &str, at: usize) -> Option<usize> {
    let mut chars = text[at..].chars();
    match chars.next()? {
        '\\' => Some(at + 1 + chars.next()?.len_utf8()),
        c => Some(at + c.len_utf8()),
    }
}

/// The length of `{n}`, `{n,}` or `{n,m}`, and whether a count is beyond a thousand.
pub(super) fn counted(text: &str) -> Option<(usize, bool)> {
    let end = text.find('}')?;
    let (low, high) = text[1..end].split_once(',').unwrap_or((&text[1..end], ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if low.is_empty() || !digits(low) || !digits(high) {
        return None;
    }
    let number = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            text.parse::<u32>().ok()
        }
    };
    let (low, high_number) = (number(low), number(high));
    let large = |number: Option<u32>| number.is_none_or(|number| number > 1000);
    let reversed = !high.is_empty() && high_number < low;
    Some((end + 1, large(low) || large(high_number) || reversed))
}

#[cfg(test)]
mod tests {
    use super::go_regex_error;

    #[test]
    fn refusals_are_gos() {
        let error = |pattern| go_regex_error(pattern).unwrap_or_default();
        assert_eq!(error("^[a-z]+(x|y){2,3}?$"), "");
        assert_eq!(
            error("[unclosed"),
            "error parsing regexp: missing closing ]: `[unclosed`"
        );
        assert_eq!(
            error("^(?!x).*$"),
            "error parsing regexp: invalid or unsupported Perl syntax: `(?!`"
        );
        assert_eq!(
            error("a{1001}"),
            "error parsing regexp: invalid repeat count: `{1001}`"
        );
        assert_eq!(error("(a"), "error parsing regexp: missing closing ): `(a`");
        assert_eq!(
            error("*"),
            "error parsing regexp: missing argument to repetition operator: `*`"
        );
    }
}

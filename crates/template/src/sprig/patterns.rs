//! Go's `regexp` syntax, read as Go reads it: what is wrong with a pattern in Go's words, or the same pattern in the
//! syntax of the engines here.

mod characters;
mod classes;
mod template;

pub(super) use template::Template;

/// Go's error for a pattern; none if nothing is wrong.
#[must_use]
pub fn go_regex_error(pattern: &str) -> Option<String> {
    translate(pattern).err()
}

/// A pattern in the engines' syntax.
pub(super) struct Translated {
    pub text: String,
    /// Names of groups with their numbers. The engines do not get to know them: Go's may be there twice.
    pub names: Vec<(Box<str>, usize)>,
}

/// Reads a pattern in Go's syntax.
pub(super) fn translate(pattern: &str) -> Result<Translated, String> {
    let mut reader = Reader {
        whole: pattern,
        rest: pattern,
        out: String::with_capacity(pattern.len() + 16),
        names: Vec::new(),
        groups: 0,
        open: Vec::new(),
        flags: Flags::default(),
        written_fold: false,
        atom: None,
        weight: 0,
    };
    match reader.read() {
        Ok(()) => Ok(Translated {
            text: reader.out,
            names: reader.names,
        }),
        Err(problem) => Err(format!("error parsing regexp: {problem}")),
    }
}

/// What `(?flags)` sets. Only case folding is left to the engines' flags.
#[derive(Clone, Copy, Default)]
struct Flags {
    fold: bool,
    lines: bool,
    dot_all: bool,
    swapped: bool,
}

/// What was written last and can be repeated.
#[derive(Clone, Copy)]
struct Atom {
    start: usize,
    /// How often counted repetitions say what is within.
    weight: u32,
    /// The group's weight without it.
    before: u32,
    repeated: bool,
}

/// What an open group comes back to.
struct Group {
    flags: Flags,
    written_fold: bool,
    start: usize,
    weight: u32,
}

struct Reader<'p> {
    whole: &'p str,
    rest: &'p str,
    out: String,
    names: Vec<(Box<str>, usize)>,
    groups: usize,
    open: Vec<Group>,
    flags: Flags,
    written_fold: bool,
    atom: Option<Atom>,
    /// The largest weight in the group.
    weight: u32,
}

/// As often as counted repetitions may repeat one thing, all together.
const MOST_REPEATS: u32 = 1000;

/// What is never found.
const NOTHING: &str = "[^\\x00-\\x{10FFFF}]";

impl<'p> Reader<'p> {
    /// The text from a former rest to here.
    fn since(&self, from: &'p str) -> &'p str {
        &from[..from.len() - self.rest.len()]
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn read(&mut self) -> Result<(), String> {
        // Where the repetition right before begins.
        let mut last: Option<&'p str> = None;
        while let Some(c) = self.rest.chars().next() {
            let from = self.rest;
            let mut repeat = None;
            match c {
                '*' | '+' | '?' => {
                    self.next();
                    self.repeat(from, &from[..1], None, last)?;
                    repeat = Some(from);
                }
                '{' => match counted(self.rest) {
                    Some(counts) => {
                        self.rest = &self.rest[counts.length..];
                        if counts.too_many() {
                            return Err(format!("invalid repeat count: `{}`", self.since(from)));
                        }
                        self.repeat(from, &from[..counts.length], Some(counts), last)?;
                        repeat = Some(from);
                    }
                    None => {
                        self.next();
                        self.literal(u32::from('{'));
                    }
                },
                '(' => self.group()?,
                ')' => {
                    self.next();
                    self.close()?;
                }
                '|' => {
                    self.next();
                    self.out.push('|');
                    self.atom = None;
                }
                '[' => self.class()?,
                '\\' => self.escaped()?,
                c => {
                    self.next();
                    match (c, self.flags) {
                        ('^' | '$', Flags { lines: true, .. }) => self.write(&format!("(?m:{c})")),
                        ('.', Flags { dot_all: true, .. }) => self.write("(?s:.)"),
                        ('^' | '$' | '.', _) => self.write(&from[..1]),
                        (c, _) => self.literal(u32::from(c)),
                    }
                }
            }
            last = repeat;
        }
        if self.open.is_empty() {
            return Ok(());
        }
        Err(format!("missing closing ): `{}`", self.whole))
    }

    /// Notes that something begins that can be repeated.
    fn begin(&mut self) {
        if self.flags.fold != self.written_fold {
            self.out.push_str(if self.flags.fold { "(?i)" } else { "(?-i)" });
            self.written_fold = self.flags.fold;
        }
        self.atom = Some(Atom {
            start: self.out.len(),
            weight: 1,
            before: self.weight,
            repeated: false,
        });
        self.weight = self.weight.max(1);
    }

    fn write(&mut self, text: &str) {
        self.begin();
        self.out.push_str(text);
    }

    fn literal(&mut self, code: u32) {
        self.begin();
        match char::from_u32(code) {
            Some(c) => {
                if c.is_ascii_punctuation() && r"\.+*?()|[]{}^$#&-~".contains(c) {
                    self.out.push('\\');
                }
                self.out.push(c);
            }
            None => self.out.push_str(NOTHING),
        }
    }

    /// A repetition that was just read.
    fn repeat(
        &mut self,
        from: &'p str,
        operator: &str,
        counts: Option<Counts>,
        last: Option<&'p str>,
    ) -> Result<(), String> {
        let mut lazy = self.flags.swapped;
        if let Some(rest) = self.rest.strip_prefix('?') {
            self.rest = rest;
            lazy = !lazy;
        }
        if let Some(last) = last {
            let both = self.since(last);
            return Err(format!("invalid nested repetition operator: `{both}`"));
        }
        let Some(mut atom) = self.atom else {
            let operator = self.since(from);
            return Err(format!("missing argument to repetition operator: `{operator}`"));
        };
        if atom.repeated {
            // Something that leaves no trace stands between the two.
            self.out.insert_str(atom.start, "(?:");
            self.out.push(')');
        }
        self.out.push_str(operator);
        if lazy {
            self.out.push('?');
        }
        if let Some(counts) = counts {
            atom.weight = match counts.high.unwrap_or(counts.low) {
                0 if counts.high == Some(0) => 1,
                times => atom.weight.saturating_mul(times.max(1)),
            };
            if counts.low.max(counts.high.unwrap_or(0)) >= 2 && atom.weight > MOST_REPEATS {
                return Err(format!("invalid repeat count: `{}`", self.since(from)));
            }
            self.weight = atom.before.max(atom.weight);
        }
        atom.repeated = true;
        self.atom = Some(atom);
        Ok(())
    }

    fn open(&mut self, text: &str, flags: Flags) {
        if self.flags.fold != self.written_fold {
            self.out.push_str(if self.flags.fold { "(?i)" } else { "(?-i)" });
            self.written_fold = self.flags.fold;
        }
        self.open.push(Group {
            flags: self.flags,
            written_fold: self.written_fold,
            start: self.out.len(),
            weight: self.weight,
        });
        self.out.push_str(text);
        self.flags = flags;
        self.atom = None;
        self.weight = 0;
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(group) = self.open.pop() else {
            return Err(format!("unexpected ): `{}`", self.whole));
        };
        self.out.push(')');
        self.flags = group.flags;
        self.written_fold = group.written_fold;
        self.atom = Some(Atom {
            start: group.start,
            weight: self.weight.max(1),
            before: group.weight,
            repeated: false,
        });
        self.weight = self.weight.max(group.weight).max(1);
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        let from = self.rest;
        let Some(inside) = from.strip_prefix("(?") else {
            self.next();
            self.groups += 1;
            self.open("(", self.flags);
            return Ok(());
        };
        let named = match inside.strip_prefix("P<") {
            Some(_) if from.len() == 4 => None,
            None => inside.strip_prefix('<').filter(|_| from.len() > 3),
            named => named,
        };
        if let Some(named) = named {
            let Some((name, rest)) = named.split_once('>') else {
                return Err(format!("invalid named capture: `{from}`"));
            };
            self.rest = rest;
            if name.is_empty()
                || !name
                    .bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
            {
                return Err(format!("invalid named capture: `{}`", self.since(from)));
            }
            self.groups += 1;
            self.names.push((name.into(), self.groups));
            self.open("(", self.flags);
            return Ok(());
        }
        self.rest = inside;
        let (mut flags, mut on, mut any) = (self.flags, true, false);
        while let Some(c) = self.next() {
            match c {
                'i' => flags.fold = on,
                'm' => flags.lines = on,
                's' => flags.dot_all = on,
                'U' => flags.swapped = on,
                '-' if on => {
                    on = false;
                    any = false;
                    continue;
                }
                ':' | ')' if on || any => {
                    if c == ':' {
                        self.open("(?:", flags);
                    } else {
                        self.flags = flags;
                    }
                    return Ok(());
                }
                _ => break,
            }
            any = true;
        }
        Err(format!(
            "invalid or unsupported Perl syntax: `{}`",
            self.since(from)
        ))
    }

    /// What begins with a backslash, outside of classes.
    fn escaped(&mut self) -> Result<(), String> {
        let from = self.rest;
        let mut chars = from.chars().skip(1);
        match chars.next() {
            Some(c @ ('A' | 'z' | 'b' | 'B')) => {
                self.rest = &from[2..];
                match c {
                    'b' => self.write("(?-u:\\b)"),
                    'B' => self.write("(?-u:\\B)"),
                    _ => self.write(&from[..2]),
                }
            }
            Some('C') => return Err(format!("invalid escape sequence: `{}`", &from[..2])),
            Some('Q') => {
                let (quoted, rest) = from[2..].split_once("\\E").unwrap_or((&from[2..], ""));
                for c in quoted.chars() {
                    self.literal(u32::from(c));
                }
                self.rest = rest;
            }
            _ => {
                let mut members = String::new();
                if self.named(&mut members)? {
                    match members.is_empty() {
                        true => self.write(NOTHING),
                        false => self.write(&format!("[{members}]")),
                    }
                } else {
                    let code = self.escape()?;
                    self.literal(code);
                }
            }
        }
        Ok(())
    }
}

/// What `{low,high}` says.
#[derive(Clone, Copy)]
struct Counts {
    length: usize,
    low: u32,
    /// None: as often as it goes.
    high: Option<u32>,
}

impl Counts {
    fn too_many(self) -> bool {
        let high = self.high.unwrap_or(self.low);
        self.low > MOST_REPEATS || high > MOST_REPEATS || high < self.low
    }
}

/// Reads `{n}`, `{n,}` or `{n,m}`; anything else is no repetition.
fn counted(text: &str) -> Option<Counts> {
    let end = text.find('}')?;
    let inside = &text[1..end];
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let plain = digits && (text.len() == 1 || !text.starts_with('0'));
        plain.then(|| text.parse::<u32>().unwrap_or(u32::MAX))
    };
    let (low, high) = match inside.split_once(',') {
        None => (number(inside)?, Some(number(inside)?)),
        Some((low, "")) => (number(low)?, None),
        Some((low, high)) => (number(low)?, Some(number(high)?)),
    };
    Some(Counts {
        length: end + 1,
        low,
        high,
    })
}

#[cfg(test)]
mod tests;

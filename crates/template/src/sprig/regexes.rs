//! Regular expressions with RE2's syntax, compiled once.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use regex::Regex;
use rustc_hash::FxHashMap;

use crate::exec::Scope;
use crate::function::{Function, FunctionResult, Functions, Params, Type, text};
use crate::print::sprintf;
use crate::value::{IntType, List, Value};

use super::patterns::{Template, Translated, translate};
use super::{int_at, text_at};

const INT: Type = Type::Int(IntType::Int);

type ScopedBody = fn(&mut Scope<'_, '_>, &[Value]) -> FunctionResult;

pub(super) fn register(functions: &mut Functions) {
    let s2 = || Params::fixed(&[Type::Str, Type::Str]);
    let s3 = || Params::fixed(&[Type::Str, Type::Str, Type::Str]);
    let with_count = || Params::fixed(&[Type::Str, Type::Str, INT]);
    let mut both = |name: &str, params: Params, body: ScopedBody| {
        let must = format!("must{}{}", name[..1].to_uppercase(), &name[1..]);
        functions.insert(must, Function::new(params.clone(), body));
        // Without "must", a pattern that does not compile ends in the panic's words.
        functions.insert(
            name,
            Function::new(params, move |scope, v| {
                body(scope, v).map_err(|error| {
                    let compiled = sprintf("%#q", &v[..1]);
                    format!("regexp: Compile({compiled}): {}", error.message).into()
                })
            }),
        );
    };
    both("regexMatch", s2(), |scope, v| {
        Ok(scope.pattern(text_at(v, 0))?.is_match(text_at(v, 1)).into())
    });
    both("regexFind", s2(), |scope, v| {
        let (pattern, whole) = (scope.pattern(text_at(v, 0))?, text_at(v, 1));
        let found = pattern.find_iter(whole).next();
        text(found.map_or("", |found| &whole[found]))
    });
    both("regexFindAll", with_count(), find_all);
    both("regexReplaceAll", s3(), |scope, v| {
        let pattern = scope.pattern(text_at(v, 0))?;
        text(pattern.replace_all(text_at(v, 1), text_at(v, 2)))
    });
    both("regexReplaceAllLiteral", s3(), |scope, v| {
        let pattern = scope.pattern(text_at(v, 0))?;
        text(pattern.replace_all_literally(text_at(v, 1), text_at(v, 2)))
    });
    both("regexSplit", with_count(), split);
    functions.pure("regexQuoteMeta", Params::fixed(&[Type::Str]), |v| {
        text(quote_meta(text_at(v, 0)))
    });
    // Sprig's regexMatch answers false for a pattern that does not compile.
    functions.insert(
        "regexMatch",
        Function::new(s2(), |scope, v| {
            Ok(scope
                .pattern(text_at(v, 0))
                .is_ok_and(|regex| regex.is_match(text_at(v, 1)))
                .into())
        }),
    );
}

/// Compiled patterns: building one costs a thousand times what using it does. Share one among runs.
#[derive(Default)]
pub struct Patterns(Mutex<FxHashMap<Box<str>, Arc<Pattern>>>);

/// More patterns than a chart has; templates can make patterns up.
const MOST_PATTERNS: usize = 1_000;

impl Patterns {
    /// The pattern, compiled now or before.
    pub(crate) fn get(&self, pattern: &str) -> Result<Arc<Pattern>, String> {
        let known = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(pattern)
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let compiled = Arc::new(Pattern::compile(pattern)?);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_PATTERNS {
            all.clear();
        }
        all.insert(pattern.into(), Arc::clone(&compiled));
        Ok(compiled)
    }
}

impl std::fmt::Debug for Patterns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Patterns")
    }
}

/// A compiled pattern in Go's syntax. Most patterns of charts see a few names and nothing else: an engine that is small and
/// slow reads these, since the large one takes longer to get ready than that takes. Both find the same.
pub struct Pattern {
    ours: Translated,
    small: Option<regex_lite::Regex>,
    whole: OnceLock<Result<Regex, String>>,
    /// Bytes that the small engine has read.
    read: AtomicUsize,
}

/// Bytes after which the large engine has paid for itself.
const LITTLE: usize = 8 << 10;
/// The largest program of the small engine, in bytes: one of a few dozen states.
const SMALL: usize = 16 << 10;

enum Engine<'p> {
    Small(&'p regex_lite::Regex),
    Whole(&'p Regex),
}

impl Pattern {
    /// Compiles with Go's syntax and a bound on the program's size.
    fn compile(pattern: &str) -> Result<Self, String> {
        let ours = translate(pattern)?;
        let small = small(&ours.text);
        let compiled = Pattern {
            ours,
            small,
            whole: OnceLock::new(),
            read: AtomicUsize::new(0),
        };
        if compiled.small.is_none() {
            // What both have a syntax for may still be too much here.
            let refused = |_| format!("error parsing regexp: expression too large: `{pattern}`");
            compiled.whole().as_ref().map_err(refused)?;
        }
        Ok(compiled)
    }

    fn whole(&self) -> &Result<Regex, String> {
        self.whole.get_or_init(|| {
            regex::RegexBuilder::new(&self.ours.text)
                .size_limit(4 << 20)
                .build()
                .map_err(|error| error.to_string())
        })
    }

    /// What reads a text.
    fn engine(&self, text: &str) -> Option<Engine<'_>> {
        if let Some(small) = &self.small {
            let read = self.read.fetch_add(text.len(), Ordering::Relaxed);
            if read.saturating_add(text.len()) < LITTLE {
                return Some(Engine::Small(small));
            }
        }
        match (self.whole(), &self.small) {
            (Ok(whole), _) => Some(Engine::Whole(whole)),
            (Err(_), small) => small.as_ref().map(Engine::Small),
        }
    }

    /// Whether it is found in a text.
    pub fn is_match(&self, text: &str) -> bool {
        match self.engine(text) {
            Some(Engine::Small(regex)) => regex.is_match(text),
            Some(Engine::Whole(regex)) => regex.is_match(text),
            None => false,
        }
    }

    /// Where it is found in a text, from left to right.
    pub fn find_iter<'t>(&'t self, text: &'t str) -> Box<dyn Iterator<Item = Range<usize>> + 't> {
        match self.engine(text) {
            Some(Engine::Small(regex)) => Box::new(regex.find_iter(text).map(|found| found.range())),
            Some(Engine::Whole(regex)) => Box::new(regex.find_iter(text).map(|found| found.range())),
            None => Box::new(std::iter::empty()),
        }
    }

    /// Puts a replacement with groups (`$1`, `${name}`) in place of all that is found. As in Go a group's name is the
    /// longest run of letters, digits and underscores.
    #[must_use]
    pub fn replace_all(&self, text: &str, replacement: &str) -> String {
        if !replacement.contains('$') {
            return self.replace_all_literally(text, replacement);
        }
        let template = Template::new(replacement, &self.ours.names);
        match self.engine(text) {
            Some(Engine::Small(regex)) => {
                let all = |found: &regex_lite::Captures<'_>| {
                    template.expand(|group| found.get(group).map(|found| found.as_str()))
                };
                regex.replace_all(text, all).into_owned()
            }
            Some(Engine::Whole(regex)) => {
                let all = |found: &regex::Captures<'_>| {
                    template.expand(|group| found.get(group).map(|found| found.as_str()))
                };
                regex.replace_all(text, all).into_owned()
            }
            None => text.to_owned(),
        }
    }

    /// Puts a text in place of all that is found.
    #[must_use]
    pub fn replace_all_literally(&self, text: &str, replacement: &str) -> String {
        match self.engine(text) {
            Some(Engine::Small(regex)) => regex
                .replace_all(text, regex_lite::NoExpand(replacement))
                .into_owned(),
            Some(Engine::Whole(regex)) => regex.replace_all(text, regex::NoExpand(replacement)).into_owned(),
            None => text.to_owned(),
        }
    }
}

/// The pattern for the small engine, which knows no tables of Unicode: nothing that asks for them is left to it.
fn small(ours: &str) -> Option<regex_lite::Regex> {
    let plain_group = |rest: &str| rest.starts_with([':', 'P', '<']);
    let plain = ours.is_ascii()
        && !ours.contains("\\p")
        && !ours.contains("\\P")
        && ours.split("(?").skip(1).all(plain_group);
    plain.then_some(())?;
    regex_lite::RegexBuilder::new(ours).size_limit(SMALL).build().ok()
}

fn find_all(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let (regex, whole) = (scope.pattern(text_at(values, 0))?, text_at(values, 1));
    let count = usize::try_from(int_at(values, 2)).unwrap_or(usize::MAX);
    let found = regex.find_iter(whole).take(count).map(|found| &whole[found]);
    Ok(List::strings(found).or_nil().into())
}

/// Go's `Regexp.Split`.
fn split(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let (pattern, whole, count) = (text_at(values, 0), text_at(values, 1), int_at(values, 2));
    let regex = scope.pattern(pattern)?;
    if count == 0 {
        return Ok(List::strings(Vec::<String>::new()).or_nil().into());
    }
    if !pattern.is_empty() && whole.is_empty() {
        return Ok(List::strings([""]).into());
    }
    let limit = usize::try_from(count).unwrap_or(usize::MAX);
    let (mut parts, mut begin, mut end) = (Vec::new(), 0, 0);
    for found in regex.find_iter(whole) {
        if parts.len() == limit - 1 {
            break;
        }
        end = found.start;
        if found.end != 0 {
            parts.push(&whole[begin..end]);
        }
        begin = found.end;
    }
    if end != whole.len() {
        parts.push(&whole[begin..]);
    }
    Ok(List::strings(parts).into())
}

fn quote_meta(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_ascii_and_quoting_is_known() {
        for (pattern, text, want) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^\w+$", "é", false),
            (r"^[^\W_]+$", "ab1", true),
            (r"^[\w.-]+$", "a.b-c_1", true),
            (r"^\S+\s\S+$", "a b", true),
            (r"a\Q.*\Eb", "a.*b", true),
            (r"a\Q.*\Eb", "axxb", false),
            (r"\bfoo\b", "a foo b", true),
            (r"^[]a]+$", "]a", true),
            (r"^[[:alpha:]&&]+$", "a&", true),
            (r"^[a[]+$", "a[", true),
            (r"^\101$", "A", true),
            (r"^.$", "é", true),
            ("^{{ .a }}-{,2}$", "{{ xa }}-{,2}", true),
            (r"^a{2,3}$", "aaa", true),
            (r"^[{]$", "{", true),
        ] {
            let regex = Pattern::compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn both_engines_find_the_same() {
        let texts = [
            "",
            "a",
            "ab-cd.ef",
            "Ab_9\n--x",
            "é a\u{212a}k",
            "aXbXc\r\n",
            "foo foobar\tfoo",
            "[x]{1,2}",
            "\u{7f}\0 ",
        ];
        for pattern in [
            "a",
            "",
            "x*",
            "[^a]",
            "[^-A-Za-z0-9_.]+",
            r"\W",
            r"\s+",
            r"^\S*$",
            "(a|ab)(c|-cd)?",
            "(?P<n>[a-f]+)-?",
            "a??b|.",
            "^.*?[k]",
            "$",
            "^",
            "[[:upper:]]|[[:^alpha:]]",
            r"\x{61}|\x0a|\141",
            r"\.|-",
            "(?:fo+)+",
            "[]a]",
            "o{2}|o{0,1}b",
            r"\Afoo|foo\z",
            "[^\u{0}-\u{60}]",
            "((a)|(b))*",
            "()|a",
            r"[\d\-]+",
        ] {
            let compiled = Pattern::compile(pattern).unwrap();
            let whole = compiled.whole().as_ref().unwrap();
            let Some(small) = &compiled.small else {
                assert!(!compiled.ours.text.is_ascii(), "{pattern}");
                continue;
            };
            for text in texts {
                let all = |found: Vec<Range<usize>>| found;
                assert_eq!(
                    all(small.find_iter(text).map(|found| found.range()).collect()),
                    all(whole.find_iter(text).map(|found| found.range()).collect()),
                    "{pattern} {text}"
                );
                for replacement in ["<$1>", "${n}$0", "$$1 $1x", "-"] {
                    assert_eq!(
                        small.replace_all(text, replacement),
                        whole.replace_all(text, replacement),
                        "{pattern} {text} {replacement}"
                    );
                }
            }
        }
        for pattern in [
            r"\pL",
            "(?i)k",
            r"\bfoo\b",
            "(?s).",
            "é",
            "(?:[a-z]{1,30}[0-9]{1,30}){30}",
        ] {
            let compiled = Pattern::compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(compiled.small.is_none(), "{pattern}");
        }
    }

    #[test]
    fn much_text_is_read_by_the_large_engine() {
        let pattern = Pattern::compile("^b+$").unwrap();
        let long = "b".repeat(LITTLE);
        assert!(pattern.is_match("bb") && pattern.whole.get().is_none());
        assert!(pattern.is_match(&long) && pattern.whole.get().is_some());
        assert!(!pattern.is_match("a"));
    }
}

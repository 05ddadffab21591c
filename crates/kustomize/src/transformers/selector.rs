//! Selecting the objects that a patch or a replacement is for.

use regex::{Regex, RegexBuilder};

use crate::error::{Error, Result};
use crate::id::{Gvk, IdRef};
use crate::kustomization::read::Reader;
use crate::resmap::ResMap;
use crate::resource::Resource;

/// The largest compiled regular expression, in bytes.
const MAX_REGEX: usize = 1 << 20;

/// A target selector as written: regular expressions that match whole fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Group, version and kind.
    pub gvk: Gvk,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Label selector.
    pub label_selector: String,
    /// Annotation selector, written as a label selector.
    pub annotation_selector: String,
}

impl Selector {
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        reader.only(&[
            "group",
            "version",
            "kind",
            "name",
            "namespace",
            "labelSelector",
            "annotationSelector",
        ])?;
        Self::read_loosely(reader)
    }

    pub(crate) fn read_loosely(reader: &Reader<'_>) -> Result<Self> {
        Ok(Selector {
            gvk: crate::config::gvk(reader)?,
            name: reader.strict().string("name")?,
            namespace: reader.strict().string("namespace")?,
            label_selector: reader.string("labelSelector")?,
            annotation_selector: reader.string("annotationSelector")?,
        })
    }

    /// Whether it has no name, namespace, group, version and kind.
    pub(crate) fn has_no_id(&self) -> bool {
        self.gvk == Gvk::default() && self.name.is_empty() && self.namespace.is_empty()
    }
}

/// A selector ready to match.
#[derive(Debug)]
pub(crate) struct Matcher {
    group: Pattern,
    version: Pattern,
    kind: Pattern,
    name: Pattern,
    namespace: Pattern,
    // What is wrong with these is only an error where an object fits all else.
    labels: Result<Requirements>,
    annotations: Result<Requirements>,
}

impl Matcher {
    pub(crate) fn new(selector: &Selector) -> Result<Self> {
        Ok(Matcher {
            group: Pattern::new(&selector.gvk.group)?,
            version: Pattern::new(&selector.gvk.version)?,
            kind: Pattern::new(&selector.gvk.kind)?,
            name: Pattern::new(&selector.name)?,
            namespace: Pattern::new(&selector.namespace)?,
            labels: Requirements::parse(&selector.label_selector),
            annotations: Requirements::parse(&selector.annotation_selector),
        })
    }

    /// The objects of a build that may be a patch's targets: those of the name, if it is a word.
    pub(crate) fn candidates(&self, map: &ResMap) -> Vec<usize> {
        match &self.name {
            Pattern::Word(name) => map.named(name),
            _ => (0..map.resources().len()).collect(),
        }
    }

    fn matches_gvk(&self, group: &str, version: &str, kind: &str) -> bool {
        self.kind.matches(kind) && self.group.matches(group) && self.version.matches(version)
    }

    /// Whether an identity fits.
    pub(crate) fn matches_id(&self, id: &IdRef<'_>) -> bool {
        self.matches_gvk(id.group, id.version, id.kind)
            && self.name.matches(id.name)
            && self.namespace.matches(id.namespace)
    }

    /// Whether labels and annotations fit.
    pub(crate) fn matches_metadata(&self, resource: &Resource) -> Result<bool> {
        let labels = self.labels.as_ref().map_err(Clone::clone)?;
        if !labels.is_empty() && !labels.match_all(&resource.labels()) {
            return Ok(false);
        }
        let annotations = self.annotations.as_ref().map_err(Clone::clone)?;
        Ok(annotations.is_empty() || annotations.match_all(&resource.annotations()))
    }

    /// Whether an object is a patch's target: name and namespace may be the first or current ones.
    pub(crate) fn selects(&self, resource: &Resource) -> Result<bool> {
        let (_, first_name, first_namespace) = resource.first();
        let (group, version) = crate::id::split_api_version(resource.api_version());
        let fits = (self.name.matches(first_name) || self.name.matches(resource.name()))
            && (self.namespace.matches(first_namespace)
                || self.namespace.matches(resource.effective_namespace()))
            && self.matches_gvk(group, version, resource.kind());
        Ok(fits && self.matches_metadata(resource)?)
    }
}

/// A regular expression that matches a whole text; most are plain words.
#[derive(Debug)]
enum Pattern {
    Any,
    Word(String),
    Regex(Regex),
}

impl Pattern {
    fn new(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Pattern::Any);
        }
        if text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '/'))
        {
            return Ok(Pattern::Word(text.to_owned()));
        }
        compile(&format!("^(?:{text})$")).map(Pattern::Regex)
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Word(word) => word == text,
            Pattern::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Compiles a regular expression within bounds.
pub(crate) fn compile(text: &str) -> Result<Regex> {
    RegexBuilder::new(text)
        .size_limit(MAX_REGEX)
        .build()
        .map_err(|error| Error::new(format!("'{text}' is not a regular expression: {error}")))
}

/// A label selector: all of its requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    Missing(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Greater(String, i64),
    Less(String, i64),
}

impl Requirements {
    /// Reads a label selector: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn parse(text: &str) -> Result<Self> {
        let mut tokens = Tokens::new(text);
        let mut list = Vec::new();
        if tokens.peek().is_none() {
            return Ok(Requirements(list));
        }
        loop {
            list.push(tokens.requirement()?);
            match tokens.next() {
                None => return Ok(Requirements(list)),
                Some(",") if tokens.peek().is_some() => {}
                _ => return Err(tokens.malformed()),
            }
        }
    }

    /// Whether there is nothing to fulfil.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether labels fulfil all requirements.
    #[must_use]
    pub fn match_all(&self, labels: &[(&str, &str)]) -> bool {
        let get = |key: &str| {
            labels
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, value)| *value)
        };
        self.0.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => get(key).is_some(),
            Requirement::Missing(key) => get(key).is_none(),
            Requirement::In(key, values) => {
                get(key).is_some_and(|value| values.iter().any(|one| one == value))
            }
            Requirement::NotIn(key, values) => {
                get(key).is_none_or(|value| values.iter().all(|one| one != value))
            }
            Requirement::Greater(key, bound) => get(key)
                .and_then(|value| value.parse::<i64>().ok())
                .is_some_and(|value| value > *bound),
            Requirement::Less(key, bound) => get(key)
                .and_then(|value| value.parse::<i64>().ok())
                .is_some_and(|value| value < *bound),
        })
    }
}

/// Up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Lower-case names separated by dots.
fn is_domain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let end = |byte: Option<&u8>| byte.is_some_and(|byte| inside(*byte));
            end(part.as_bytes().first())
                && end(part.as_bytes().last())
                && part.bytes().all(|byte| inside(byte) || byte == b'-')
        })
}

struct Tokens<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        Tokens {
            text,
            rest: text.trim_start(),
        }
    }

    fn malformed(&self) -> Error {
        Error::new(format!("unable to parse label selector '{}'", self.text))
    }

    fn peek(&self) -> Option<&'a str> {
        let rest = self.rest;
        let first = rest.chars().next()?;
        let special = |c: char| "=!(),<>".contains(c) || c.is_whitespace();
        let end = match first {
            '=' | '!' if rest[1..].starts_with('=') => 2,
            c if special(c) => 1,
            _ => rest.find(special).unwrap_or(rest.len()),
        };
        Some(&rest[..end])
    }

    fn next(&mut self) -> Option<&'a str> {
        let token = self.peek()?;
        self.rest = self.rest[token.len()..].trim_start();
        Some(token)
    }

    /// A label's key.
    fn key(&mut self) -> Result<&'a str> {
        let word = self.word()?;
        let name = match word.split_once('/') {
            None => word,
            Some((prefix, name)) if is_domain(prefix) => name,
            Some(_) => return Err(self.malformed()),
        };
        if is_name(name) {
            Ok(word)
        } else {
            Err(self.malformed())
        }
    }

    fn word(&mut self) -> Result<&'a str> {
        match self.peek() {
            Some(token) if !token.starts_with(|c| "=!(),<>".contains(c)) => {
                self.next();
                Ok(token)
            }
            _ => Err(self.malformed()),
        }
    }

    fn requirement(&mut self) -> Result<Requirement> {
        if self.peek() == Some("!") {
            self.next();
            return Ok(Requirement::Missing(self.key()?.to_owned()));
        }
        let key = self.key()?.to_owned();
        let operator = match self.peek() {
            None | Some(",") => return Ok(Requirement::Exists(key)),
            Some(operator) => operator,
        };
        self.next();
        match operator {
            "=" | "==" => Ok(Requirement::In(key, vec![self.value()?])),
            "!=" => Ok(Requirement::NotIn(key, vec![self.value()?])),
            "in" => Ok(Requirement::In(key, self.values()?)),
            "notin" => Ok(Requirement::NotIn(key, self.values()?)),
            ">" => Ok(Requirement::Greater(key, self.number()?)),
            "<" => Ok(Requirement::Less(key, self.number()?)),
            _ => Err(self.malformed()),
        }
    }

    /// A value; nothing before a comma or the end is the empty one.
    fn value(&mut self) -> Result<String> {
        match self.peek() {
            None | Some(",") => Ok(String::new()),
            _ => self.label_value(),
        }
    }

    fn label_value(&mut self) -> Result<String> {
        let word = self.word()?;
        if is_name(word) {
            Ok(word.to_owned())
        } else {
            Err(self.malformed())
        }
    }

    fn number(&mut self) -> Result<i64> {
        let word = self.word()?;
        word.parse().map_err(|_| self.malformed())
    }

    fn values(&mut self) -> Result<Vec<String>> {
        if self.next() != Some("(") {
            return Err(self.malformed());
        }
        let mut values = Vec::new();
        loop {
            match self.peek() {
                Some("," | ")") => values.push(String::new()),
                _ => values.push(self.label_value()?),
            }
            match self.next() {
                Some(",") => {}
                Some(")") => return Ok(values),
                _ => return Err(self.malformed()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_read_all_operators() {
        let matches = |selector: &str| {
            Requirements::parse(selector)
                .unwrap()
                .match_all(&[("a", "b"), ("n", "5")])
        };
        for good in [
            "a=b",
            "a==b,n",
            "c!=d",
            "a in (x, b)",
            "a notin (c)",
            "!z",
            "n>4",
            "",
        ] {
            assert!(matches(good), "{good}");
        }
        for bad in ["a=c", "z", "!a", "a notin (b)", "n<5"] {
            assert!(!matches(bad), "{bad}");
        }
        assert!(Requirements::parse("a in b").is_err());
        assert!(Requirements::parse("a=b,").is_err());
    }
}

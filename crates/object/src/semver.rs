//! Versions and constraints with the semantics of Masterminds/semver, which Helm and Flux use.

use std::cmp::Ordering;
use std::fmt;

mod constraint;

pub use constraint::Constraint;

/// A text that is no version or no constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemverError(String);

impl fmt::Display for SemverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SemverError {}

/// A semantic version. It equals another that differs only in build metadata or in spelling.
#[derive(Clone, Debug)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: String,
    metadata: String,
    original: String,
}

/// Longer texts are no versions.
const MAX_LENGTH: usize = 256;

fn invalid() -> SemverError {
    SemverError("invalid semantic version".to_owned())
}

/// The parts of a version, as text.
pub(crate) struct Split<'a> {
    pub(crate) numbers: [Option<&'a str>; 3],
    pub(crate) prerelease: &'a str,
    pub(crate) metadata: &'a str,
}

/// Splits `v1.2.3-pre+meta` where `is_number` says what a number is made of; `None` if the text has another form.
pub(crate) fn split(text: &str, is_number: impl Fn(char) -> bool) -> Option<Split<'_>> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (text, metadata) = match text.split_once('+') {
        Some((text, metadata)) => (text, Some(metadata)),
        None => (text, None),
    };
    let (core, prerelease) = match text.split_once('-') {
        Some((core, prerelease)) => (core, Some(prerelease)),
        None => (text, None),
    };
    let mut numbers = [None; 3];
    for (position, number) in core.split('.').enumerate() {
        let slot = numbers.get_mut(position)?;
        if number.is_empty() || !number.chars().all(&is_number) {
            return None;
        }
        *slot = Some(number);
    }
    let dotted = |text: &str| text.split('.').all(is_identifier);
    if !prerelease.is_none_or(dotted) || !metadata.is_none_or(dotted) {
        return None;
    }
    Some(Split {
        numbers,
        prerelease: prerelease.unwrap_or_default(),
        metadata: metadata.unwrap_or_default(),
    })
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl Version {
    /// Reads a version; `v` before it, and minor and patch, may be left out.
    pub fn parse(text: &str) -> Result<Self, SemverError> {
        if text.len() > MAX_LENGTH {
            return Err(invalid());
        }
        let split = split(text, |c| c.is_ascii_digit()).ok_or_else(invalid)?;
        let number = |position: usize| {
            match split.numbers[position] {
            None => Ok(0),
            Some(digits) => digits.parse().map_err(|_| {
                SemverError(format!(
                    "error parsing version segment: strconv.ParseUint: parsing \"{digits}\": value out of range"
                ))
            }),
        }
        };
        let version = Version {
            major: number(0)?,
            minor: number(1)?,
            patch: number(2)?,
            prerelease: split.prerelease.to_owned(),
            metadata: split.metadata.to_owned(),
            original: text.to_owned(),
        };
        let zero_padded = |part: &str| {
            part.len() > 1 && part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if version.prerelease.split('.').any(zero_padded) {
            return Err(SemverError("version segment starts with 0".to_owned()));
        }
        Ok(version)
    }

    /// Reads a version that is one to the letter of semver.org: three numbers, no `v`.
    pub fn parse_strict(text: &str) -> Result<Self, SemverError> {
        let version = Version::parse(text)?;
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let parts: Vec<&str> = core.split('.').collect();
        let padded = |part: &&str| part.len() > 1 && part.starts_with('0');
        if parts.len() != 3 || parts.iter().any(padded) || text.starts_with('v') {
            return Err(invalid());
        }
        Ok(version)
    }

    /// First number.
    #[must_use]
    pub fn major(&self) -> u64 {
        self.major
    }

    /// Second number.
    #[must_use]
    pub fn minor(&self) -> u64 {
        self.minor
    }

    /// Third number.
    #[must_use]
    pub fn patch(&self) -> u64 {
        self.patch
    }

    /// What follows `-`, or empty.
    #[must_use]
    pub fn prerelease(&self) -> &str {
        &self.prerelease
    }

    /// What follows `+`, or empty.
    #[must_use]
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// The text that it was read from.
    #[must_use]
    pub fn original(&self) -> &str {
        &self.original
    }

    /// The version with other build metadata.
    pub fn with_metadata(&self, metadata: &str) -> Result<Self, SemverError> {
        if !metadata.is_empty() && !metadata.split('.').all(is_identifier) {
            return Err(SemverError("invalid metadata string".to_owned()));
        }
        let mut version = self.clone();
        metadata.clone_into(&mut version.metadata);
        version.original = version.to_string();
        Ok(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.prerelease.is_empty() {
            write!(f, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch)
            .cmp(&(other.major, other.minor, other.patch))
            .then_with(|| compare_prereleases(&self.prerelease, &other.prerelease))
    }
}

/// A release comes after all its pre-releases.
pub(crate) fn compare_prereleases(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let ordering = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => compare_parts(a, b),
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

fn compare_parts(a: &str, b: &str) -> Ordering {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).expect("valid")
    }

    #[test]
    fn versions_order_by_precedence() {
        let ordered = [
            "1.0.0-1",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-rc.2",
            "1.0.0-rc.10",
            "1",
            "v1.0.1",
        ];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("1.2+a"), version("v1.2.0+b"));
    }

    #[test]
    fn strict_versions_have_three_numbers_and_no_v() {
        for text in ["v1.2.3", "1.2", "01.2.3"] {
            assert!(
                Version::parse(text).is_ok() && Version::parse_strict(text).is_err(),
                "{text}"
            );
        }
        assert!(Version::parse("1.2.3-01").is_err() && Version::parse("1.2.x").is_err());
    }

    #[test]
    fn constraints_know_ranges_wildcards_and_prereleases() {
        for (constraint, yes, no) in [
            ("^1.2", "1.9.0", "2.0.0"),
            ("~1.2.3", "1.2.9", "1.3.0"),
            ("1.x || >=3", "3.1.0", "2.0.0"),
            ("1.2 - 1.4", "1.4.9", "1.5.0"),
            (">1.2", "1.3.0", "1.2.9"),
            (">=1.0.0-0, <2", "1.5.0-rc.1", "2.0.0"),
            (">=1.0.0", "1.5.0", "1.5.0-rc.1"),
        ] {
            let constraint = Constraint::parse(constraint).expect("valid");
            assert!(constraint.matches(&version(yes)), "{constraint} {yes}");
            assert!(!constraint.matches(&version(no)), "{constraint} {no}");
        }
    }
}

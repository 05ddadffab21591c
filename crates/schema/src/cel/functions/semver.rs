//! Semantic versions, read strictly or tolerantly.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::super::error::Error;
use super::super::library::Function;
use super::super::value::{Opaque, Value};

type Done<'a> = Result<Value<'a>, Error>;

/// A version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semver {
    numbers: [u64; 3],
    pre: Vec<String>,
    build: Vec<String>,
}

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "semver" => |args| {
            let version = read(args)?.map_err(Error::new)?;
            Ok(Value::Opaque(Opaque::Semver(Arc::new(version))))
        },
        "isSemver" => |args| Ok(Value::Bool(read(args)?.is_ok())),
        "major" => |args| number(args, 0),
        "minor" => |args| number(args, 1),
        "patch" => |args| number(args, 2),
        _ => return None,
    })
}

fn read(args: &[Value<'_>]) -> Result<Result<Semver, String>, Error> {
    let text = args[0].as_str().ok_or_else(Error::no_overload)?;
    let tolerant = match args.get(1) {
        None => false,
        Some(value) => value.as_bool().ok_or_else(Error::no_overload)?,
    };
    Ok(if tolerant {
        Semver::tolerant(text)
    } else {
        Semver::parse(text)
    })
}

fn get(value: &Value<'_>) -> Result<Arc<Semver>, Error> {
    match value {
        Value::Opaque(Opaque::Semver(version)) => Ok(version.clone()),
        _ => Err(Error::no_overload()),
    }
}

fn number<'a>(args: &[Value<'a>], at: usize) -> Done<'a> {
    let number = get(&args[0])?.numbers[at];
    Ok(Value::Int(i64::try_from(number).unwrap_or(i64::MAX)))
}

pub(crate) fn greater<'a>(args: &[Value<'a>]) -> Done<'a> {
    Ok(Value::Bool(get(&args[0])?.compare(&*get(&args[1])?).is_gt()))
}

pub(crate) fn less<'a>(args: &[Value<'a>]) -> Done<'a> {
    Ok(Value::Bool(get(&args[0])?.compare(&*get(&args[1])?).is_lt()))
}

pub(crate) fn compare_to<'a>(args: &[Value<'a>]) -> Done<'a> {
    Ok(Value::Int(get(&args[0])?.compare(&*get(&args[1])?) as i64))
}

const NAMES: [&str; 3] = ["Major", "Minor", "Patch"];

impl Semver {
    /// Reads a whole version.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Semver, String> {
        if text.is_empty() {
            return Err("Version string empty".to_owned());
        }
        let parts: Vec<&str> = text.splitn(3, '.').collect();
        let [major, minor, rest] = parts.as_slice() else {
            return Err("No Major.Minor.Patch elements found".to_owned());
        };
        let (rest, build) = match rest.split_once('+') {
            Some((rest, build)) => (rest, Some(build)),
            None => (*rest, None),
        };
        let (patch, pre) = match rest.split_once('-') {
            Some((patch, pre)) => (patch, Some(pre)),
            None => (rest, None),
        };
        let mut numbers = [0; 3];
        for (at, part) in [*major, *minor, patch].into_iter().enumerate() {
            numbers[at] = component(NAMES[at], part)?;
        }
        let identifiers = |text: Option<&str>, pre: bool| -> Result<Vec<String>, String> {
            let all = text.into_iter().flat_map(|text| text.split('.'));
            all.map(|part| identifier(part, pre)).collect()
        };
        Ok(Semver {
            numbers,
            pre: identifiers(pre, true)?,
            build: identifiers(build, false)?,
        })
    }

    /// Reads a version that may begin with `v`, lack parts or have leading zeros.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn tolerant(text: &str) -> Result<Semver, String> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text.splitn(3, '.').map(str::to_owned).collect();
        for part in &mut parts {
            if part.len() > 1 {
                let rest = part.trim_start_matches('0');
                *part = if rest.starts_with(|c: char| c.is_ascii_digit()) {
                    rest.to_owned()
                } else {
                    format!("0{rest}")
                };
            }
        }
        if parts.len() < 3 {
            if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
                return Err("Short version cannot contain PreRelease/Build meta data".to_owned());
            }
            parts.resize(3, "0".to_owned());
        }
        Semver::parse(&parts.join("."))
    }

    /// The order of versions; builds do not count.
    #[must_use]
    pub fn compare(&self, other: &Semver) -> Ordering {
        let pre = match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let parts = self.pre.iter().zip(&other.pre);
                let first = parts
                    .map(|(one, other)| compare_parts(one, other))
                    .find(|found| found.is_ne());
                first.unwrap_or_else(|| self.pre.len().cmp(&other.pre.len()))
            }
        };
        self.numbers.cmp(&other.numbers).then(pre)
    }
}

fn compare_parts(one: &str, other: &str) -> Ordering {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => one.cmp(other),
    }
}

fn component(name: &str, text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "Invalid character(s) found in {} number {}",
            name.to_lowercase(),
            crate::error::quote(text)
        ));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!(
            "{name} number must not contain leading zeroes {}",
            crate::error::quote(text)
        ));
    }
    text.parse().map_err(|_| {
        format!(
            "strconv.ParseUint: parsing {}: value out of range",
            crate::error::quote(text)
        )
    })
}

fn identifier(text: &str, pre: bool) -> Result<String, String> {
    let what = if pre { "Prerelease" } else { "Build meta data" };
    if text.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Err(format!(
            "Invalid character(s) found in {} {}",
            what.to_lowercase(),
            crate::error::quote(text)
        ));
    }
    let number = text.bytes().all(|byte| byte.is_ascii_digit());
    if pre && number && text.len() > 1 && text.starts_with('0') {
        return Err(format!(
            "Numeric PreRelease version must not contain leading zeroes {}",
            crate::error::quote(text)
        ));
    }
    Ok(text.to_owned())
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre.join("."))?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build.join("."))?;
        }
        Ok(())
    }
}

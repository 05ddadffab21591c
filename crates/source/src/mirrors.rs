//! Source rewrites for offline, air-gapped and test use: URL prefixes and where to go instead.
//!
//! As Git's `insteadOf`, but for every kind of source; what is rewritten is told to the caller, who shows it.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::error::{SourceError, reason};
use crate::git::redact;

/// The rules of a mirrors file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Longest prefix first.
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    from: String,
    to: String,
}

/// A URL that was rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Where to go.
    pub url: String,
    /// The prefix that matched.
    pub from: String,
}

impl Rewritten {
    /// For a status or an event: what is used instead of what.
    #[must_use]
    pub fn describe(&self, original: &str) -> String {
        format!(
            "'{}' is taken from mirror '{}' (rule '{}')",
            redact(original),
            redact(&self.url),
            redact(&self.from)
        )
    }
}

fn invalid(message: String) -> SourceError {
    SourceError::stalled(reason::MIRRORS_INVALID, message)
}

impl Mirrors {
    /// Reads the rules from a decoded file: a list of `{from, to}`. A relative `to` path is relative to `folder`,
    /// which is the file's own.
    ///
    /// # Errors
    /// If it has another form.
    pub fn from_value(value: &Value, folder: &Path) -> Result<Self, SourceError> {
        let rows = match value {
            Value::Null => return Ok(Mirrors::default()),
            Value::Array(rows) => rows,
            _ => {
                return Err(invalid(
                    "a mirrors file is a list of entries with 'from' and 'to'".to_owned(),
                ));
            }
        };
        let mut rules: Vec<Rule> = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            let number = index + 1;
            let row = row
                .as_object()
                .ok_or_else(|| invalid(format!("entry {number} of the mirrors has no 'from' and 'to'")))?;
            if let Some(key) = row.keys().find(|key| !matches!(key.as_str(), "from" | "to")) {
                return Err(invalid(format!(
                    "entry {number} of the mirrors has the unknown field '{key}'; there are 'from' and 'to'"
                )));
            }
            let field = |name: &str| {
                row.get(name)
                    .and_then(Value::as_str)
                    .filter(|text| !text.is_empty())
                    .ok_or_else(|| invalid(format!("entry {number} of the mirrors has no '{name}' text")))
            };
            let (from, to) = (field("from")?, field("to")?);
            if rules.iter().any(|rule| rule.from == from) {
                return Err(invalid(format!(
                    "'{}' is mirrored twice; keep one entry",
                    redact(from)
                )));
            }
            rules.push(Rule {
                from: from.to_owned(),
                to: place(to, folder),
            });
        }
        rules.sort_by(|a, b| b.from.len().cmp(&a.from.len()).then_with(|| a.from.cmp(&b.from)));
        Ok(Mirrors { rules })
    }

    /// Whether there are no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Where to go instead of `url`: the rule with the longest prefix decides. A prefix ends at a slash, at the
    /// end, or before `.git`.
    #[must_use]
    pub fn rewrite(&self, url: &str) -> Option<Rewritten> {
        self.rules.iter().find_map(|rule| {
            let rest = url.strip_prefix(&rule.from)?;
            let rest = if rest.trim_end_matches('/') == ".git" {
                ""
            } else {
                rest
            };
            let at_boundary = rest.is_empty() || rest.starts_with('/') || rule.from.ends_with(['/', ':']);
            at_boundary.then(|| Rewritten {
                url: join(&rule.to, rest),
                from: rule.from.clone(),
            })
        })
    }
}

fn join(to: &str, rest: &str) -> String {
    match (to.ends_with('/'), rest.strip_prefix('/')) {
        (true, Some(rest)) => format!("{to}{rest}"),
        (false, None) if !rest.is_empty() => format!("{to}/{rest}"),
        _ => format!("{to}{rest}"),
    }
}

/// A URL as it is; a path made absolute from the file's folder.
fn place(to: &str, folder: &Path) -> String {
    if to.contains("://") {
        return to.to_owned();
    }
    let mut path = PathBuf::new();
    for part in folder.join(to).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if path.file_name().is_some() => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    let mut text = path.to_string_lossy().into_owned();
    if to.ends_with('/') && !text.ends_with('/') {
        text.push('/');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mirrors() -> Mirrors {
        let rules = json!([
            {"from": "https://github.com/", "to": "../repos/"},
            {"from": "https://github.com/acme/fleet", "to": "https://mirror.local/fleet"},
            {"from": "oci://ghcr.io", "to": "oci://registry.local/ghcr"},
        ]);
        Mirrors::from_value(&rules, Path::new("/srv/conf")).unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_and_ends_at_a_boundary() {
        let mirrors = mirrors();
        let url = |url: &str| mirrors.rewrite(url).map(|rewritten| rewritten.url);
        assert_eq!(url("https://github.com/o/r.git").unwrap(), "/srv/repos/o/r.git");
        assert_eq!(
            url("https://github.com/acme/fleet.git").unwrap(),
            "https://mirror.local/fleet"
        );
        assert_eq!(
            url("https://github.com/acme/fleet").unwrap(),
            "https://mirror.local/fleet"
        );
        assert_eq!(
            url("https://github.com/acme/fleet-two").unwrap(),
            "/srv/repos/acme/fleet-two"
        );
        assert_eq!(url("oci://ghcr.io/a/b").unwrap(), "oci://registry.local/ghcr/a/b");
        assert_eq!(url("oci://ghcr.io.evil/a"), None);
        let told = mirrors.rewrite("https://u:p@github.com/x");
        assert_eq!(told, None);
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_entry() {
        for (value, want) in [
            (json!({}), "is a list"),
            (json!([{"from": "x"}]), "entry 1 of the mirrors has no 'to'"),
            (json!([{"from": "x", "to": "y", "too": 1}]), "unknown field 'too'"),
            (
                json!([{"from": "x", "to": "y"}, {"from": "x", "to": "z"}]),
                "mirrored twice",
            ),
        ] {
            let error = Mirrors::from_value(&value, Path::new("/")).unwrap_err();
            assert!(error.message.contains(want), "{error}");
        }
    }
}

//! Which revision of a repository is wanted, and how a found one is written.

use gix::ObjectId;

use super::versions;
use crate::error::{SourceError, reason};

/// `spec.ref`: commit wins over name, name over semver, semver over tag, tag over branch; with
/// nothing set it is the branch `master`. Empty texts count as not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitReference {
    /// Branch name.
    pub branch: Option<String>,
    /// Tag name.
    pub tag: Option<String>,
    /// Version range over the tags.
    pub semver: Option<String>,
    /// Full reference name, as `refs/pull/420/head`.
    pub name: Option<String>,
    /// Commit id; with `branch`, the branch that it is on.
    pub commit: Option<String>,
}

/// A reference, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Commit { id: ObjectId, branch: Option<String> },
    Name(String),
    Semver(String),
    Tag(String),
    Branch(String),
}

fn set(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

impl GitReference {
    /// A branch.
    #[must_use]
    pub fn branch(name: &str) -> Self {
        GitReference {
            branch: Some(name.to_owned()),
            ..Self::default()
        }
    }

    /// What counts, checked.
    pub(crate) fn target(&self) -> Result<Target, SourceError> {
        let invalid = |message: String| {
            SourceError::stalled(
                reason::GIT_OPERATION_FAILED,
                format!("invalid spec.ref: {message}"),
            )
        };
        let target = if let Some(commit) = set(&self.commit) {
            let id = ObjectId::from_hex(commit.as_bytes()).map_err(|_| {
                invalid(format!(
                    "commit '{commit}' is no full commit id (40 hexadecimal digits, or 64 in a SHA-256 repository)"
                ))
            })?;
            Target::Commit {
                id,
                branch: set(&self.branch).map(str::to_owned),
            }
        } else if let Some(name) = set(&self.name) {
            if name != "HEAD" && !name.starts_with("refs/") {
                return Err(invalid(format!(
                    "name '{name}' is no full reference name; write refs/heads/{name} or refs/tags/{name}"
                )));
            }
            Target::Name(name.to_owned())
        } else if let Some(range) = set(&self.semver) {
            versions::check(range).map_err(|error| invalid(format!("semver '{range}': {error}")))?;
            Target::Semver(range.to_owned())
        } else if let Some(tag) = set(&self.tag) {
            Target::Tag(tag.to_owned())
        } else {
            Target::Branch(set(&self.branch).unwrap_or("master").to_owned())
        };
        if let Some(name) = target.full_name() {
            gix::validate::reference::name(name.as_str().into()).map_err(|error| {
                invalid(format!("'{name}' is no reference name that Git allows: {error}"))
            })?;
        }
        Ok(target)
    }
}

impl Target {
    /// The reference that must exist for it, if it is one.
    pub(crate) fn full_name(&self) -> Option<String> {
        match self {
            Target::Commit { .. } | Target::Semver(_) => None,
            Target::Name(name) => Some(name.clone()),
            Target::Tag(tag) => Some(format!("refs/tags/{tag}")),
            Target::Branch(branch) => Some(format!("refs/heads/{branch}")),
        }
    }

    /// For messages: `branch 'main'`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Target::Commit { id, branch: None } => format!("commit '{id}'"),
            Target::Commit {
                id,
                branch: Some(branch),
            } => format!("commit '{id}' of branch '{branch}'"),
            Target::Name(name) => format!("reference '{name}'"),
            Target::Semver(range) => format!("a tag in the version range '{range}'"),
            Target::Tag(tag) => format!("tag '{tag}'"),
            Target::Branch(branch) => format!("branch '{branch}'"),
        }
    }

    /// What stands before the `@` of the revision; semver has the chosen tag instead.
    pub(crate) fn label(&self) -> &str {
        match self {
            Target::Commit { branch, .. } => branch.as_deref().unwrap_or_default(),
            Target::Name(name) | Target::Tag(name) | Target::Branch(name) => name,
            Target::Semver(_) => "",
        }
    }
}

/// The revision as Flux writes it: `main@sha1:…`, or `sha1:…` without a label.
pub(crate) fn revision(label: &str, id: &ObjectId) -> String {
    let algorithm = match id.kind() {
        gix::hash::Kind::Sha1 => "sha1",
        _ => "sha256",
    };
    if label.is_empty() {
        format!("{algorithm}:{id}")
    } else {
        format!("{label}@{algorithm}:{id}")
    }
}

/// A revision in today's form; Flux before 2.0 wrote `main/<hex>`.
#[must_use]
pub fn normalise_revision(text: &str) -> String {
    if text.contains(':') {
        return text.to_owned();
    }
    let (label, id) = text
        .rsplit_once('/')
        .map_or((None, text), |(label, id)| (Some(label), id));
    let algorithm = match id.len() {
        40 => "sha1",
        64 => "sha256",
        _ => return text.to_owned(),
    };
    if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return text.to_owned();
    }
    match label {
        Some(label) if label != "HEAD" => format!("{label}@{algorithm}:{id}"),
        _ => format!("{algorithm}:{id}"),
    }
}

/// The error for a reference that is not there, with names that look like it.
pub(crate) fn missing(url: &str, target: &Target, names: &[String]) -> SourceError {
    if names.is_empty() {
        return empty(url);
    }
    let prefix = match target {
        Target::Tag(_) => "refs/tags/",
        Target::Branch(_) => "refs/heads/",
        _ => "refs/",
    };
    let known: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_prefix(prefix))
        .collect();
    let close = crate::error::close_names(target.label().trim_start_matches(prefix), known.iter().copied());
    let hint = if !close.is_empty() {
        format!("did you mean '{}'?", close.join("' or '"))
    } else if known.is_empty() {
        "there are none of this kind; push one or change spec.ref".to_owned()
    } else {
        let shown: Vec<&str> = known.iter().copied().take(5).collect();
        let more = known.len().saturating_sub(shown.len());
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!("there are '{}'{more}; change spec.ref", shown.join("', '"))
    };
    let default_note = if matches!(target, Target::Branch(branch) if branch == "master") {
        " ('master' is the default of an empty spec.ref)"
    } else {
        ""
    };
    SourceError::retry(
        reason::GIT_OPERATION_FAILED,
        format!(
            "repository '{url}' has no {}{default_note}: {hint}",
            target.describe()
        ),
    )
}

/// The error for a repository without any commit.
pub(crate) fn empty(url: &str) -> SourceError {
    SourceError::retry(
        reason::EMPTY_GIT_REPOSITORY,
        format!("repository '{url}' is empty; push a first commit"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789";

    #[test]
    fn the_most_exact_field_wins() {
        let mut reference = GitReference {
            branch: Some("b".into()),
            tag: Some("t".into()),
            semver: Some(">=1".into()),
            name: Some("refs/heads/n".into()),
            commit: Some(ID.into()),
        };
        assert!(matches!(
            reference.target(),
            Ok(Target::Commit { branch: Some(_), .. })
        ));
        reference.commit = None;
        assert!(matches!(reference.target(), Ok(Target::Name(_))));
        reference.name = Some(String::new());
        assert!(matches!(reference.target(), Ok(Target::Semver(_))));
        reference.semver = None;
        assert!(matches!(reference.target(), Ok(Target::Tag(_))));
        reference.tag = None;
        assert_eq!(reference.target(), Ok(Target::Branch("b".into())));
        assert_eq!(
            GitReference::default().target(),
            Ok(Target::Branch("master".into()))
        );
    }

    #[test]
    fn references_that_cannot_exist_stall() {
        let with = |change: fn(&mut GitReference)| {
            let mut reference = GitReference::default();
            change(&mut reference);
            reference.target().unwrap_err()
        };
        for error in [
            with(|r| r.commit = Some("abc".into())),
            with(|r| r.name = Some("main".into())),
            with(|r| r.branch = Some("a..b".into())),
            with(|r| r.tag = Some("a b".into())),
            with(|r| r.semver = Some("not a range".into())),
        ] {
            assert_eq!(error.class, crate::error::Class::Stalled, "{error}");
        }
    }

    #[test]
    fn revisions_are_written_and_read_as_flux_does() {
        let id = ObjectId::from_hex(ID.as_bytes()).unwrap();
        assert_eq!(revision("main", &id), format!("main@sha1:{ID}"));
        assert_eq!(revision("", &id), format!("sha1:{ID}"));
        assert_eq!(
            normalise_revision(&format!("main/{ID}")),
            format!("main@sha1:{ID}")
        );
        assert_eq!(
            normalise_revision(&format!("feature/x/{ID}")),
            format!("feature/x@sha1:{ID}")
        );
        assert_eq!(normalise_revision(&format!("HEAD/{ID}")), format!("sha1:{ID}"));
        assert_eq!(normalise_revision(ID), format!("sha1:{ID}"));
        assert_eq!(normalise_revision("main@sha1:x"), "main@sha1:x");
    }

    #[test]
    fn a_missing_reference_names_the_likely_ones() {
        let names = vec!["refs/heads/main".to_owned(), "refs/tags/v1".to_owned()];
        let error = missing("u", &Target::Branch("mian".into()), &names);
        assert!(error.message.contains("did you mean 'main'"), "{error}");
        let error = missing("u", &Target::Branch("master".into()), &names);
        assert!(error.message.contains("default of an empty spec.ref"), "{error}");
        assert_eq!(
            missing("u", &Target::Tag("x".into()), &[]).reason,
            "EmptyGitRepository"
        );
    }
}

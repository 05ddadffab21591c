//! One error for all sources: what happens next, Flux's reason, and a message for people.

use std::fmt;

/// What happens after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nothing but a changed spec helps; there is no retry.
    Stalled,
    /// Something else must appear first; looked at again at the next interval or when it changes.
    Waiting,
    /// May pass by itself; retried with growing pauses.
    Retry,
}

/// The reasons of Flux's source conditions that errors here carry.
pub mod reason {
    /// A Git operation failed.
    pub const GIT_OPERATION_FAILED: &str = "GitOperationFailed";
    /// The server refused the credentials, or they are unusable.
    pub const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
    /// The URL is no URL of this kind of source.
    pub const URL_INVALID: &str = "URLInvalid";
    /// The repository holds no commit.
    pub const EMPTY_GIT_REPOSITORY: &str = "EmptyGitRepository";
    /// An object of the repository is missing, broken or refused.
    pub const INVALID_GIT_OBJECT: &str = "InvalidGitObject";
    /// A signature is missing or wrong.
    pub const VERIFICATION_ERROR: &str = "VerificationError";
    /// A commit's signature is wrong.
    pub const INVALID_COMMIT_SIGNATURE: &str = "InvalidCommitSignature";
    /// A tag's signature is wrong.
    pub const INVALID_TAG_SIGNATURE: &str = "InvalidTagSignature";
    /// `spec.verify.mode` does not fit `spec.ref`.
    pub const INVALID_VERIFICATION_MODE: &str = "InvalidVerificationMode";
    /// A folder of the store cannot be made.
    pub const DIRECTORY_CREATION_FAILED: &str = "DirectoryCreationFailed";
    /// A file of the store cannot be inspected.
    pub const STAT_OPERATION_FAILED: &str = "StatOperationFailed";
    /// A file cannot be read.
    pub const READ_OPERATION_FAILED: &str = "ReadOperationFailed";
    /// An artifact cannot be written or unpacked.
    pub const ARCHIVE_OPERATION_FAILED: &str = "ArchiveOperationFailed";
    /// The `latest` link cannot be set.
    pub const SYMLINK_UPDATE_FAILED: &str = "SymlinkUpdateFailed";
    /// An included artifact is missing or does not fit.
    pub const INCLUDE_UNAVAILABLE: &str = "IncludeUnavailable";
    /// The proxy settings are unusable.
    pub const PROXY_INVALID: &str = "InvalidProxyConfiguration";
    /// `spec.provider` and what belongs to it do not fit.
    pub const INVALID_PROVIDER_CONFIGURATION: &str = "InvalidProviderConfiguration";
    /// A bucket cannot be listed, or an object of it cannot be read.
    pub const BUCKET_OPERATION_FAILED: &str = "BucketOperationFailed";
    /// `spec.sts` does not fit.
    pub const INVALID_STS_CONFIGURATION: &str = "InvalidSTSConfiguration";
    /// The mirrors file is wrong.
    pub const MIRRORS_INVALID: &str = "MirrorsInvalid";
}

/// Why a source has no (new) revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError {
    /// What happens next.
    pub class: Class,
    /// Flux's condition reason.
    pub reason: &'static str,
    /// What, where, and what to do; holds no secret.
    pub message: String,
}

impl SourceError {
    /// An error that only a changed spec ends.
    pub fn stalled(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Stalled, reason, message)
    }

    /// An error that ends when something else appears.
    pub fn waiting(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Waiting, reason, message)
    }

    /// An error that may pass by itself.
    pub fn retry(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Retry, reason, message)
    }

    /// An error of this revision's content: a new revision ends it, and the next look may find one.
    pub(crate) fn stalled_until_new_revision(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Class::Waiting, reason, message)
    }

    fn new(class: Class, reason: &'static str, message: impl Into<String>) -> Self {
        SourceError {
            class,
            reason,
            message: message.into(),
        }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SourceError {}

/// At most three of `candidates` that look like `wanted`, best first.
#[must_use]
pub fn close_names<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let limit = (wanted.chars().count() / 2).clamp(2, 8);
    let mut scored: Vec<(usize, &str)> = candidates
        .into_iter()
        .take(10_000)
        .filter_map(|candidate| {
            let distance = edit_distance(wanted, candidate);
            let contains = wanted.len() > 2 && (candidate.contains(wanted) || wanted.contains(candidate));
            (distance <= limit || contains).then_some((distance, candidate))
        })
        .collect();
    scored.sort_unstable();
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Levenshtein distance over the first 100 characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_names_are_the_likely_slips() {
        let names = ["main", "feature/login", "release-1.0", "mian"];
        assert_eq!(close_names("mai", names), ["main", "mian"]);
        assert_eq!(close_names("login", names), ["feature/login"]);
        assert!(close_names("zzzzzz", names).is_empty());
        assert_eq!(edit_distance("kitten", "sitting"), 3);
    }
}

//! Registries of artifacts, as the commands see them: what is asked of them, and their addresses.

use std::collections::BTreeMap;

use fluvial_ports::{Access, BoxFuture};
use fluvial_tree::Tree;

/// An artifact that was pulled.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Its digest.
    pub digest: String,
    /// The annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// Its files.
    pub files: Tree,
}

/// Digest and annotations of an artifact.
pub type Facts = (String, BTreeMap<String, String>);

/// What registries are asked for. Errors are texts for people; `access` carries the login and the time limit.
pub trait Registry: Send + Sync {
    /// The files without what patterns in the format of .gitignore exclude.
    fn without(&self, files: &Tree, patterns: &str) -> Tree;

    /// The files as the tarball of an artifact.
    fn pack(&self, files: &Tree) -> Vec<u8>;

    /// Stores an artifact under a tag; its digest.
    fn push<'a>(
        &'a self,
        address: &'a Address,
        files: &'a Tree,
        annotations: &'a BTreeMap<String, String>,
        access: &'a Access,
    ) -> BoxFuture<'a, Result<String, String>>;

    /// An artifact with its files.
    fn pull<'a>(&'a self, address: &'a Address, access: &'a Access) -> BoxFuture<'a, Result<Pulled, String>>;

    /// The tags of a repository.
    fn tags<'a>(
        &'a self,
        address: &'a Address,
        access: &'a Access,
    ) -> BoxFuture<'a, Result<Vec<String>, String>>;

    /// What tags mean, in their order.
    fn describe<'a>(
        &'a self,
        address: &'a Address,
        tags: &'a [String],
        access: &'a Access,
    ) -> BoxFuture<'a, Result<Vec<Facts>, String>>;

    /// Gives an artifact one more tag.
    fn tag<'a>(
        &'a self,
        address: &'a Address,
        tag: &'a str,
        access: &'a Access,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// Where an artifact is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `HOST/PATH`.
    pub repository: String,
    /// Tag, or digest with its algorithm; nothing if neither is named.
    pub reference: Option<String>,
}

impl Address {
    /// Reads `oci://HOST/PATH[:TAG|@DIGEST]`.
    ///
    /// # Errors
    /// If it is of another form.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("oci://")
            .ok_or("URL must be in format 'oci://<domain>/<org>/<repo>'")?;
        let wrong = |why: &str| format!("'{rest}' invalid URL: {why}");
        let (repository, reference) = match rest.split_once('@') {
            Some((repository, digest)) if digest.contains(':') => (repository, Some(digest)),
            Some(_) => return Err(wrong("a digest is written as sha256:…")),
            None => match rest.rsplit_once(':') {
                // What follows the colon of a port has the repository in it.
                Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
                _ => (rest, None),
            },
        };
        if reference.is_some_and(str::is_empty) {
            return Err(wrong("the tag is empty"));
        }
        match repository.split_once('/') {
            Some((host, path)) if !host.is_empty() && !path.is_empty() => Ok(Address {
                repository: repository.to_owned(),
                reference: reference.map(str::to_owned),
            }),
            _ => Err(wrong("it names no repository")),
        }
    }

    /// The tag or digest that is meant.
    #[must_use]
    pub fn reference(&self) -> &str {
        self.reference.as_deref().unwrap_or("latest")
    }

    /// The repository's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("oci://{}", self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let read = |url: &str| Address::parse(url).map(|all| (all.repository, all.reference));
        let some = |repository: &str, reference: Option<&str>| {
            Ok((repository.to_owned(), reference.map(str::to_owned)))
        };
        assert_eq!(
            read("oci://ghcr.io/org/app:v1"),
            some("ghcr.io/org/app", Some("v1"))
        );
        assert_eq!(read("oci://localhost:5000/app"), some("localhost:5000/app", None));
        assert_eq!(
            read("oci://localhost:5000/app:1"),
            some("localhost:5000/app", Some("1"))
        );
        assert_eq!(
            read("oci://ghcr.io/app@sha256:00"),
            some("ghcr.io/app", Some("sha256:00"))
        );
        for url in [
            "ghcr.io/app",
            "oci://ghcr.io",
            "oci://ghcr.io/app:",
            "oci://ghcr.io/app@00",
            "oci:///app",
        ] {
            assert!(read(url).is_err(), "{url}");
        }
    }
}

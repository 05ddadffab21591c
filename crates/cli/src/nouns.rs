//! What verbs act on: one row a kind, with its words on the command line and in messages.

use fluvial_api::kinds::{self, KindInfo};
use fluvial_ports::Resource;

/// One kind on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noun {
    /// `source`, `image` or `artifact` if it comes after that word.
    pub group: &'static str,
    /// The word for one of them.
    pub name: &'static str,
    /// Other words for one of them.
    pub aliases: &'static [&'static str],
    /// The word after `get`.
    pub plural: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// The kind in messages.
    pub human: &'static str,
    /// Verbs other than `get` that it takes.
    pub verbs: &'static [Verb],
}

/// Verbs that change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Asks for a reconciliation.
    Reconcile,
    /// Lets rest, and ends the rest.
    Suspend,
}

use Verb::{Reconcile, Suspend};

const BOTH: &[Verb] = &[Reconcile, Suspend];

/// One row.
const fn noun(
    group: &'static str,
    (name, aliases): (&'static str, &'static [&'static str]),
    plural: &'static str,
    kind: &'static str,
    human: &'static str,
    verbs: &'static [Verb],
) -> Noun {
    Noun {
        group,
        name,
        aliases,
        plural,
        kind,
        human,
        verbs,
    }
}

/// All of them, in the order in which `get all` shows them.
pub(crate) const NOUNS: &[Noun] = &[
    noun("source", ("oci", &[]), "oci", "OCIRepository", "source oci", BOTH),
    noun(
        "source",
        ("bucket", &[]),
        "bucket",
        "Bucket",
        "source bucket",
        BOTH,
    ),
    noun("source", ("git", &[]), "git", "GitRepository", "source git", BOTH),
    noun(
        "source",
        ("helm", &[]),
        "helm",
        "HelmRepository",
        "source helm",
        BOTH,
    ),
    noun(
        "source",
        ("chart", &[]),
        "chart",
        "HelmChart",
        "source chart",
        BOTH,
    ),
    noun(
        "source",
        ("external", &[]),
        "external",
        "ExternalArtifact",
        "external artifact",
        &[],
    ),
    noun(
        "image",
        ("repository", &[]),
        "repository",
        "ImageRepository",
        "image repository",
        BOTH,
    ),
    noun(
        "image",
        ("policy", &[]),
        "policy",
        "ImagePolicy",
        "image policy",
        BOTH,
    ),
    noun(
        "image",
        ("update", &[]),
        "update",
        "ImageUpdateAutomation",
        "image update automation",
        BOTH,
    ),
    noun(
        "",
        ("helmrelease", &["hr"]),
        "helmreleases",
        "HelmRelease",
        "helmrelease",
        BOTH,
    ),
    noun(
        "",
        ("kustomization", &["ks"]),
        "kustomizations",
        "Kustomization",
        "kustomization",
        BOTH,
    ),
    noun("", ("receiver", &[]), "receivers", "Receiver", "receiver", BOTH),
    noun(
        "",
        ("alert-provider", &[]),
        "alert-providers",
        "Provider",
        "alert provider",
        &[Suspend],
    ),
    noun("", ("alert", &[]), "alerts", "Alert", "alert", &[Suspend]),
    noun(
        "artifact",
        ("generator", &[]),
        "generators",
        "ArtifactGenerator",
        "artifactgenerator",
        BOTH,
    ),
];

impl Noun {
    /// Names of the kind in the API.
    #[must_use]
    pub(crate) fn info(&self) -> &'static KindInfo {
        kinds::kind(self.kind).expect("a test looks every row up")
    }

    /// The kind for the API client.
    #[must_use]
    pub(crate) fn resource(&self) -> Resource {
        resource(self.info())
    }
}

/// A kind for the API client.
#[must_use]
pub(crate) fn resource(info: &KindInfo) -> Resource {
    Resource {
        group: info.group.to_owned(),
        version: info.version.to_owned(),
        kind: info.kind.to_owned(),
        plural: info.plural.to_owned(),
        namespaced: true,
    }
}

/// The row of a kind.
#[must_use]
pub(crate) fn of_kind(kind: &str) -> Option<&'static Noun> {
    NOUNS.iter().find(|noun| noun.kind == kind)
}

/// The row that a word means in `KIND/NAME`: kind, plural or abbreviation, in any letter case.
#[must_use]
pub(crate) fn of_word(word: &str) -> Option<&'static Noun> {
    NOUNS.iter().find(|noun| {
        let info = noun.info();
        word.eq_ignore_ascii_case(info.kind)
            || word.eq_ignore_ascii_case(info.plural)
            || info
                .short_names
                .iter()
                .any(|name| word.eq_ignore_ascii_case(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_a_kind_and_every_kind_has_a_row() {
        assert_eq!(NOUNS.len(), kinds::KINDS.len());
        for info in kinds::KINDS {
            assert_eq!(of_kind(info.kind).expect(info.kind).info(), info);
        }
        assert_eq!(of_word("ks").map(|noun| noun.kind), Some("Kustomization"));
        assert_eq!(of_word("HelmReleases").map(|noun| noun.kind), Some("HelmRelease"));
    }
}

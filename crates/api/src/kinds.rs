//! The table of kinds: names, versions, abbreviations.

/// Names of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindInfo {
    /// API group.
    pub group: &'static str,
    /// Served and stored version.
    pub version: &'static str,
    /// Versions that were served once and are accepted in manifests.
    pub old_versions: &'static [&'static str],
    /// Kind.
    pub kind: &'static str,
    /// Plural name, as in URLs.
    pub plural: &'static str,
    /// Abbreviations for the command line.
    pub short_names: &'static [&'static str],
    /// Whether its objects have no status and are never reconciled.
    pub is_static: bool,
}

impl KindInfo {
    /// `group/version`.
    #[must_use]
    pub fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}

const SOURCE: &str = "source.toolkit.fluxcd.io";
const KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io";
const HELM: &str = "helm.toolkit.fluxcd.io";
const NOTIFICATION: &str = "notification.toolkit.fluxcd.io";
const IMAGE: &str = "image.toolkit.fluxcd.io";
const EXTENSIONS: &str = "source.extensions.fluxcd.io";
const BETAS: &[&str] = &["v1beta1", "v1beta2"];

/// One row without abbreviations.
const fn row(
    group: &'static str,
    version: &'static str,
    old_versions: &'static [&'static str],
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
) -> KindInfo {
    KindInfo {
        group,
        version,
        old_versions,
        kind,
        plural,
        short_names,
        is_static: false,
    }
}

/// All kinds.
pub const KINDS: &[KindInfo] = &[
    row(
        SOURCE,
        "v1",
        BETAS,
        "GitRepository",
        "gitrepositories",
        &["gitrepo"],
    ),
    row(
        SOURCE,
        "v1",
        BETAS,
        "OCIRepository",
        "ocirepositories",
        &["ocirepo"],
    ),
    row(
        SOURCE,
        "v1",
        BETAS,
        "HelmRepository",
        "helmrepositories",
        &["helmrepo"],
    ),
    row(SOURCE, "v1", BETAS, "HelmChart", "helmcharts", &["hc"]),
    row(SOURCE, "v1", BETAS, "Bucket", "buckets", &[]),
    row(
        SOURCE,
        "v1",
        &[],
        "ExternalArtifact",
        "externalartifacts",
        &["ea"],
    ),
    row(KUSTOMIZE, "v1", BETAS, "Kustomization", "kustomizations", &["ks"]),
    row(
        HELM,
        "v2",
        &["v2beta1", "v2beta2"],
        "HelmRelease",
        "helmreleases",
        &["hr"],
    ),
    row(NOTIFICATION, "v1", BETAS, "Receiver", "receivers", &[]),
    KindInfo {
        is_static: true,
        ..row(NOTIFICATION, "v1beta3", BETAS, "Alert", "alerts", &[])
    },
    KindInfo {
        is_static: true,
        ..row(NOTIFICATION, "v1beta3", BETAS, "Provider", "providers", &[])
    },
    row(
        IMAGE,
        "v1",
        BETAS,
        "ImageRepository",
        "imagerepositories",
        &["imgrepo", "imagerepo"],
    ),
    row(
        IMAGE,
        "v1",
        BETAS,
        "ImagePolicy",
        "imagepolicies",
        &["imgpol", "imagepol"],
    ),
    row(
        IMAGE,
        "v1",
        BETAS,
        "ImageUpdateAutomation",
        "imageupdateautomations",
        &["iua", "imgupd", "imgauto"],
    ),
    row(
        EXTENSIONS,
        "v1beta1",
        &[],
        "ArtifactGenerator",
        "artifactgenerators",
        &["ag"],
    ),
];

/// The row of a kind.
#[must_use]
pub fn kind(name: &str) -> Option<&'static KindInfo> {
    KINDS.iter().find(|info| info.kind == name)
}

/// The row of a group and kind.
#[must_use]
pub fn of(group: &str, kind: &str) -> Option<&'static KindInfo> {
    KINDS.iter().find(|info| info.group == group && info.kind == kind)
}

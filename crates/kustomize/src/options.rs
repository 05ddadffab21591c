//! What a caller can choose.

/// Which files a kustomization may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadRestrictor {
    /// Files in or below the kustomization's own folder; other kustomizations anywhere.
    #[default]
    RootOnly,
    /// Everything in the tree.
    None,
}

/// The order of the output, where no `sortOptions` say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reorder {
    /// As loaded.
    None,
    /// By kind: what others need comes first.
    #[default]
    Legacy,
}

/// What a caller can choose about a build.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which files may be read.
    pub load_restrictor: LoadRestrictor,
    /// The order of the output.
    pub reorder: Reorder,
    /// Whether repositories and files elsewhere may be read.
    pub remote: bool,
    /// Whether `helmCharts` may be rendered.
    pub helm: bool,
    /// Kubernetes version for charts; empty: as in the kustomization.
    pub helm_kube_version: String,
    /// API versions for charts, besides those in the kustomization.
    pub helm_api_versions: Vec<String>,
    /// Whether every object gets the label `app.kubernetes.io/managed-by`.
    pub managed_by_label: bool,
    /// Whether an own schema adds to the built-in one (Flux) or takes its place (kustomize).
    pub keep_built_in_schema: bool,
    /// Whether unknown fields in the kustomization to build are warnings (Flux, which rewrites that
    /// file) instead of errors.
    pub lenient_root: bool,
    /// Whether every object remembers what changed its fields, for [`crate::history`]; that takes
    /// time and memory.
    pub record_changes: bool,
    /// Whether nobody will ask what was read: the digests of large files are not for nothing.
    pub forget_reads: bool,
    /// How many threads one build may use for large files; 0 and 1: the caller's own only. Who builds many
    /// kustomizations at once has nothing to gain from more.
    pub threads: usize,
    /// The absolute path that the tree's root stands for, if absolute paths are to be understood.
    pub root_path: Option<String>,
}

impl Options {
    /// As Flux builds: no load restriction in the tree, load order, nothing remote.
    #[must_use]
    pub fn flux() -> Self {
        Options {
            load_restrictor: LoadRestrictor::None,
            reorder: Reorder::None,
            keep_built_in_schema: true,
            lenient_root: true,
            ..Options::default()
        }
    }

    /// As `kustomize build` without flags.
    #[must_use]
    pub fn cli() -> Self {
        Options {
            remote: true,
            ..Options::default()
        }
    }
}

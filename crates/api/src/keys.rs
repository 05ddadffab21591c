//! Annotations, labels and finalizers with a meaning.

/// Asks for a reconciliation; its value is an opaque token.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Asks for a forced upgrade of a HelmRelease, when equal to [`REQUESTED_AT`].
pub const FORCE_AT: &str = "reconcile.fluxcd.io/forceAt";
/// Asks for a reset of failure counts of a HelmRelease, when equal to [`REQUESTED_AT`].
pub const RESET_AT: &str = "reconcile.fluxcd.io/resetAt";
/// Label that makes a ConfigMap or Secret wake those that refer to it, with value `Enabled`.
pub const WATCH: &str = "reconcile.fluxcd.io/watch";
/// Finalizer of every reconciled kind.
pub const FINALIZER: &str = "finalizers.fluxcd.io";
/// Finalizer of ArtifactGenerator.
pub const GENERATOR_FINALIZER: &str = "source.extensions.fluxcd.io/finalizer";
/// Owner label: name of the Kustomization.
pub const KUSTOMIZE_NAME: &str = "kustomize.toolkit.fluxcd.io/name";
/// Owner label: namespace of the Kustomization.
pub const KUSTOMIZE_NAMESPACE: &str = "kustomize.toolkit.fluxcd.io/namespace";
/// Owner label: name of the HelmRelease.
pub const HELM_NAME: &str = "helm.toolkit.fluxcd.io/name";
/// Owner label: namespace of the HelmRelease.
pub const HELM_NAMESPACE: &str = "helm.toolkit.fluxcd.io/namespace";
/// Suspends an ArtifactGenerator, with value `Disabled`.
pub const GENERATOR_RECONCILE: &str = "source.extensions.fluxcd.io/reconcile";
/// Opts an object out of substitution, with value `disabled`.
pub const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";
/// Lets a HelmRelease whose versions are too large for one object keep them in several, with value `enabled`. An
/// extension of Fluvial's own.
pub const SPLIT_STORAGE: &str = "fluvial.dev/split-storage";

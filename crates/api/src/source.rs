//! `source.toolkit.fluxcd.io`: where manifests and charts come from.

mod bucket;
mod external;
mod git;
mod helm;
mod oci;

pub use bucket::{Bucket, BucketProvider, BucketSpec, SourceStatus, Sts, StsProvider};
pub use external::{ExternalArtifact, ExternalArtifactSpec, ExternalArtifactStatus};
pub use git::{
    GitProvider, GitReference, GitRepository, GitRepositorySpec, GitRepositoryStatus, GitVerification,
    Include, VerificationMode,
};
pub use helm::{
    ChartVerification, HelmChart, HelmChartSpec, HelmChartStatus, HelmRepository, HelmRepositorySpec,
    HelmRepositoryType, ReconcileStrategy,
};
pub use oci::{
    CloudProvider, LayerOperation, LayerSelector, OCIRepository, OCIRepositorySpec, OCIRepositoryStatus,
    OciReference, OciVerification, OidcIdentity, SignatureProvider,
};

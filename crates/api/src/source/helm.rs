//! HelmRepository and HelmChart.

use super::{CloudProvider, OidcIdentity, SignatureProvider, SourceStatus};
use crate::Duration;
use crate::meta::{AccessFrom, Artifact, Condition, LocalReference, SourceReference};

words! {
    /// What kind of server it is.
    HelmRepositoryType {
        /// HTTP with an index.
        Default = "default",
        /// An OCI registry.
        Oci = "oci",
    }
}

words! {
    /// When a chart is packed anew.
    ReconcileStrategy {
        /// When its version changes.
        ChartVersion = "ChartVersion",
        /// When its source changes.
        Revision = "Revision",
    }
}

record! {
    /// What is wanted of a HelmRepository.
    HelmRepositorySpec {
        required {
            /// Where it is.
            url: String,
        }
        optional {
            /// What kind of server it is.
            r#type: HelmRepositoryType,
            /// How often its index is looked at.
            interval: Option<Duration>,
            /// Secret with credentials.
            secret_ref: Option<LocalReference>,
            /// Secret with certificates.
            cert_secret_ref: Option<LocalReference>,
            /// Whether credentials go to other hosts that the index names.
            pass_credentials: bool,
            /// Who answers for credentials of a registry.
            provider: CloudProvider,
            /// Whether plain HTTP is allowed.
            insecure: bool,
            /// How long one fetch may take.
            timeout: Option<Duration>,
            /// Whether it rests.
            suspend: bool,
            /// Accepted and without effect.
            access_from: Option<AccessFrom>,
        }
    }
}

resource! {
    /// A server of Helm charts.
    HelmRepository {
        spec: HelmRepositorySpec, status: SourceStatus,
        group: "source.toolkit.fluxcd.io", version: "v1", plural: "helmrepositories"
    }
}

record! {
    /// How a chart's signature is verified.
    ChartVerification {
        optional {
            /// Whose signatures.
            provider: SignatureProvider,
            /// Secret with public keys.
            secret_ref: Option<LocalReference>,
            /// Accepted signers.
            #[serde(rename = "matchOIDCIdentity")]
            match_oidc_identity: Vec<OidcIdentity>,
        }
    }
}

record! {
    /// What is wanted of a HelmChart.
    HelmChartSpec {
        required {
            /// Name of the chart, or its folder in a Git repository or bucket.
            chart: String,
            /// How often it is looked at.
            interval: Duration,
            /// Where it comes from.
            source_ref: SourceReference,
        }
        optional {
            /// Range of versions; all if empty.
            version: String,
            /// When it is packed anew.
            reconcile_strategy: ReconcileStrategy,
            /// Files that take the place of the default values.
            values_files: Vec<String>,
            /// Whether absent ones are no error.
            ignore_missing_values_files: bool,
            /// Signature checks.
            verify: Option<ChartVerification>,
            /// Whether it rests.
            suspend: bool,
        }
    }
}

record! {
    /// What was observed of a HelmChart.
    HelmChartStatus {
        optional {
            /// Generation that was handled last.
            observed_generation: i64,
            /// Conditions.
            conditions: Vec<Condition>,
            /// The stored artifact.
            artifact: Option<Artifact>,
            /// Where the newest artifact is found.
            url: Option<String>,
            /// Revision of the source that it was made from.
            observed_source_artifact_revision: Option<String>,
            /// Name in the chart.
            observed_chart_name: Option<String>,
            /// Values files that it was made with.
            observed_values_files: Vec<String>,
            /// Token of the last handled request.
            last_handled_reconcile_at: Option<String>,
        }
    }
}

resource! {
    /// One chart of a source.
    HelmChart {
        spec: HelmChartSpec, status: HelmChartStatus,
        group: "source.toolkit.fluxcd.io", version: "v1", plural: "helmcharts"
    }
}

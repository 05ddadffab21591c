//! OCIRepository.

use crate::Duration;
use crate::meta::{Artifact, Condition, LocalReference};

words! {
    /// Who answers for the credentials of a registry.
    CloudProvider {
        /// Secrets and service accounts.
        Generic = "generic",
        /// AWS with the workload's identity.
        Aws = "aws",
        /// Azure with the workload's identity.
        Azure = "azure",
        /// Google Cloud with the workload's identity.
        Gcp = "gcp",
    }
}

words! {
    /// What happens to the chosen layer.
    LayerOperation {
        /// It is unpacked.
        Extract = "extract",
        /// It is stored as it is.
        Copy = "copy",
    }
}

words! {
    /// Whose signatures are checked.
    SignatureProvider {
        /// Sigstore.
        Cosign = "cosign",
        /// Notary project.
        Notation = "notation",
    }
}

record! {
    /// What is pulled; digest beats semver beats tag.
    OciReference {
        optional {
            /// Digest.
            digest: String,
            /// Range of versions.
            semver: String,
            /// Regular expression that tags must match to count for `semver`.
            semver_filter: String,
            /// Tag.
            tag: String,
        }
    }
}

record! {
    /// Which layer is taken, and how.
    LayerSelector {
        optional {
            /// The first layer of this media type; the very first if empty.
            media_type: String,
            /// What happens to it.
            operation: LayerOperation,
        }
    }
}

record! {
    /// A signer by identity.
    OidcIdentity {
        required {
            /// Regular expression for the issuer.
            issuer: String,
            /// Regular expression for the subject.
            subject: String,
        }
    }
}

record! {
    /// How signatures are verified.
    OciVerification {
        optional {
            /// Whose signatures.
            provider: SignatureProvider,
            /// Secret with public keys.
            secret_ref: Option<LocalReference>,
            /// Accepted signers.
            #[serde(rename = "matchOIDCIdentity")]
            match_oidc_identity: Vec<OidcIdentity>,
            /// Secret with a trusted root.
            trusted_root_secret_ref: Option<LocalReference>,
        }
    }
}

record! {
    /// What is wanted of an OCIRepository.
    OCIRepositorySpec {
        required {
            /// Where the repository is, without a tag.
            url: String,
            /// How often it is looked at.
            interval: Duration,
        }
        optional {
            /// What is pulled.
            #[serde(rename = "ref")]
            reference: Option<OciReference>,
            /// Which layer is taken.
            layer_selector: Option<LayerSelector>,
            /// Who answers for credentials.
            provider: CloudProvider,
            /// Secret with credentials.
            secret_ref: Option<LocalReference>,
            /// Service account with pull secrets, or the identity for cloud providers.
            service_account_name: Option<String>,
            /// Secret with certificates.
            cert_secret_ref: Option<LocalReference>,
            /// Secret with the proxy's address.
            proxy_secret_ref: Option<LocalReference>,
            /// Whether plain HTTP is allowed.
            insecure: bool,
            /// Patterns that are left out.
            ignore: Option<String>,
            /// Signature checks.
            verify: Option<OciVerification>,
            /// How long one pull may take.
            timeout: Option<Duration>,
            /// Whether it rests.
            suspend: bool,
        }
    }
}

record! {
    /// What was observed of an OCIRepository.
    OCIRepositoryStatus {
        optional {
            /// Generation that was handled last.
            observed_generation: i64,
            /// Conditions.
            conditions: Vec<Condition>,
            /// The stored artifact.
            artifact: Option<Artifact>,
            /// Where the newest artifact is found.
            url: Option<String>,
            /// Patterns that the artifact was made with.
            observed_ignore: Option<String>,
            /// Layer that the artifact was made from.
            observed_layer_selector: Option<LayerSelector>,
            /// Token of the last handled request.
            last_handled_reconcile_at: Option<String>,
        }
    }
}

resource! {
    /// An OCI repository as a source of manifests and charts.
    OCIRepository {
        spec: OCIRepositorySpec, status: OCIRepositoryStatus,
        group: "source.toolkit.fluxcd.io", version: "v1", plural: "ocirepositories"
    }
}

//! Bucket, and the status that the simpler sources share.

use crate::Duration;
use crate::meta::{Artifact, Condition, LocalReference};

words! {
    /// Whose storage it is.
    BucketProvider {
        /// Anything that speaks S3.
        Generic = "generic",
        /// AWS S3.
        Aws = "aws",
        /// Google Cloud Storage.
        Gcp = "gcp",
        /// Azure Blob Storage.
        Azure = "azure",
    }
}

words! {
    /// Who hands out temporary credentials.
    StsProvider {
        /// AWS.
        Aws = "aws",
        /// An LDAP server behind MinIO.
        Ldap = "ldap",
    }
}

record! {
    /// Where temporary credentials come from.
    Sts {
        required {
            /// Who hands them out.
            provider: StsProvider,
            /// Address.
            endpoint: String,
        }
        optional {
            /// Secret with credentials.
            secret_ref: Option<LocalReference>,
            /// Secret with certificates.
            cert_secret_ref: Option<LocalReference>,
        }
    }
}

record! {
    /// What is wanted of a Bucket.
    BucketSpec {
        required {
            /// Name of the bucket.
            bucket_name: String,
            /// Address of the storage.
            endpoint: String,
            /// How often it is looked at.
            interval: Duration,
        }
        optional {
            /// Whose storage it is.
            provider: BucketProvider,
            /// Region.
            region: Option<String>,
            /// Only keys that begin with it.
            prefix: Option<String>,
            /// Whether plain HTTP is allowed.
            insecure: bool,
            /// Temporary credentials.
            sts: Option<Sts>,
            /// Secret with credentials.
            secret_ref: Option<LocalReference>,
            /// Secret with certificates.
            cert_secret_ref: Option<LocalReference>,
            /// Secret with the proxy's address.
            proxy_secret_ref: Option<LocalReference>,
            /// Identity for cloud providers.
            service_account_name: Option<String>,
            /// Patterns that are left out.
            ignore: Option<String>,
            /// How long one fetch may take.
            timeout: Option<Duration>,
            /// Whether it rests.
            suspend: bool,
        }
    }
}

record! {
    /// What was observed of a Bucket or HelmRepository.
    SourceStatus {
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
            /// Token of the last handled request.
            last_handled_reconcile_at: Option<String>,
        }
    }
}

resource! {
    /// An object store as a source of manifests and charts.
    Bucket {
        spec: BucketSpec, status: SourceStatus,
        group: "source.toolkit.fluxcd.io", version: "v1", plural: "buckets"
    }
}

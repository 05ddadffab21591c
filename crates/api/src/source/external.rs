//! ExternalArtifact: an artifact that someone else stores.

use crate::meta::{Artifact, Condition, SourceReference};

record! {
    /// What an ExternalArtifact was made from.
    ExternalArtifactSpec {
        optional {
            /// Its maker.
            source_ref: Option<SourceReference>,
        }
    }
}

record! {
    /// What its maker says of an ExternalArtifact.
    ExternalArtifactStatus {
        optional {
            /// The stored artifact.
            artifact: Option<Artifact>,
            /// Conditions.
            conditions: Vec<Condition>,
        }
    }
}

resource! {
    /// An artifact that someone else stores.
    ExternalArtifact {
        spec: ExternalArtifactSpec, status: ExternalArtifactStatus,
        group: "source.toolkit.fluxcd.io", version: "v1", plural: "externalartifacts"
    }
}

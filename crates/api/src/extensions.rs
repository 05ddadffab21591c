//! `source.extensions.fluxcd.io`: artifacts made of artifacts.

use crate::meta::{CommonMetadata, Condition};

words! {
    /// What happens to files that are there already.
    CopyStrategy {
        /// They are replaced.
        Overwrite = "Overwrite",
        /// YAML is merged.
        Merge = "Merge",
        /// A tarball is unpacked.
        Extract = "Extract",
    }
}

record! {
    /// One copy step.
    CopyOperation {
        required {
            /// `@alias/glob`.
            from: String,
            /// `@artifact/path`.
            to: String,
        }
        optional {
            /// Globs that are left out.
            exclude: Vec<String>,
            /// What happens to files that are there already.
            strategy: CopyStrategy,
        }
    }
}

record! {
    /// One artifact to make.
    OutputArtifact {
        required {
            /// Name of the ExternalArtifact.
            name: String,
            /// How it is put together.
            copy: Vec<CopyOperation>,
        }
        optional {
            /// Source whose revision it takes (`@alias`).
            revision: Option<String>,
            /// Source whose origin revision it takes (`@alias`).
            origin_revision: Option<String>,
        }
    }
}

record! {
    /// A source under a short name.
    SourceAlias {
        required {
            /// Short name.
            alias: String,
            /// Kind.
            kind: String,
            /// Name.
            name: String,
        }
        optional {
            /// Namespace; the generator's if absent.
            namespace: Option<String>,
        }
    }
}

record! {
    /// What is wanted of an ArtifactGenerator.
    ArtifactGeneratorSpec {
        required {
            /// Sources.
            sources: Vec<SourceAlias>,
            /// Artifacts to make.
            artifacts: Vec<OutputArtifact>,
        }
        optional {
            /// Folders whose captures become variables.
            path_pattern: Option<String>,
            /// Labels and annotations of what is made.
            common_metadata: Option<CommonMetadata>,
        }
    }
}

record! {
    /// An artifact that was made.
    GeneratedArtifact {
        required {
            /// Name.
            name: String,
            /// Namespace.
            namespace: String,
            /// Digest.
            digest: String,
            /// File in the storage.
            filename: String,
        }
    }
}

record! {
    /// What was observed of an ArtifactGenerator.
    ArtifactGeneratorStatus {
        optional {
            /// Conditions.
            conditions: Vec<Condition>,
            /// Artifacts that were made.
            inventory: Vec<GeneratedArtifact>,
            /// Digest over the sources.
            observed_sources_digest: Option<String>,
            /// Token of the last handled request.
            last_handled_reconcile_at: Option<String>,
        }
    }
}

resource! {
    /// Makes artifacts of parts of other artifacts.
    ArtifactGenerator {
        spec: ArtifactGeneratorSpec, status: ArtifactGeneratorStatus,
        group: "source.extensions.fluxcd.io", version: "v1beta1", plural: "artifactgenerators"
    }
}

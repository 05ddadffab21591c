//! `kustomize.toolkit.fluxcd.io`: what is applied.

use crate::Duration;
use crate::meta::{
    CommonMetadata, Condition, Dependency, HealthCheck, HealthCheckExpr, IgnoreRule, Image, Inventory,
    KubeConfig, LocalReference, Patch, SourceReference, Strings,
};

words! {
    /// What becomes of the applied objects when a Kustomization is deleted.
    DeletionPolicy {
        /// They go if `prune` is set.
        MirrorPrune = "MirrorPrune",
        /// They go.
        Delete = "Delete",
        /// They go, and the Kustomization waits until they are gone.
        WaitForTermination = "WaitForTermination",
        /// They stay.
        Orphan = "Orphan",
    }
}

words! {
    /// When substitution runs.
    SubstituteStrategy {
        /// If there is at least one variable.
        WithVariables = "WithVariables",
        /// Always.
        Always = "Always",
    }
}

words! {
    /// Annotations that the build adds.
    BuildMetadata {
        /// Where an object came from.
        OriginAnnotations = "originAnnotations",
        /// What changed it.
        TransformerAnnotations = "transformerAnnotations",
    }
}

record! {
    /// ConfigMap or Secret with variables.
    SubstituteReference {
        required {
            /// `ConfigMap` or `Secret`.
            kind: String,
            /// Name.
            name: String,
        }
        optional {
            /// Whether its absence is no error.
            optional: bool,
        }
    }
}

record! {
    /// What is done to the built objects.
    PostBuild {
        optional {
            /// Variables.
            substitute: Strings,
            /// ConfigMaps and Secrets with variables, later ones win.
            substitute_from: Vec<SubstituteReference>,
            /// When substitution runs.
            substitute_strategy: SubstituteStrategy,
        }
    }
}

record! {
    /// How encrypted files are read.
    Decryption {
        required {
            /// `sops`.
            provider: String,
        }
        optional {
            /// Secret with keys.
            secret_ref: Option<LocalReference>,
            /// Identity for key services.
            service_account_name: Option<String>,
        }
    }
}

record! {
    /// What is wanted of a Kustomization.
    KustomizationSpec {
        required {
            /// How often it is reconciled.
            interval: Duration,
            /// Whether objects that left the source are deleted.
            prune: bool,
            /// Where the manifests come from.
            source_ref: SourceReference,
        }
        optional {
            /// Folder in the source; its root if empty.
            path: String,
            /// Interval after a failure; `interval` if absent.
            retry_interval: Option<Duration>,
            /// How long one run may take.
            timeout: Option<Duration>,
            /// Whether it rests.
            suspend: bool,
            /// Whether objects with changed immutable fields are recreated.
            force: bool,
            /// Whether all applied objects must become healthy.
            wait: bool,
            /// What must be ready first.
            depends_on: Vec<Dependency>,
            /// What becomes of the objects on deletion.
            deletion_policy: Option<DeletionPolicy>,
            /// Service account to act as.
            service_account_name: Option<String>,
            /// A remote cluster.
            kube_config: Option<KubeConfig>,
            /// Namespace that all objects are put in.
            target_namespace: Option<String>,
            /// Prefix of all names.
            name_prefix: Option<String>,
            /// Suffix of all names.
            name_suffix: Option<String>,
            /// Labels and annotations for all objects.
            common_metadata: Option<CommonMetadata>,
            /// Patches.
            patches: Vec<Patch>,
            /// Image replacements.
            images: Vec<Image>,
            /// Components.
            components: Vec<String>,
            /// Whether absent components are no error.
            ignore_missing_components: bool,
            /// Annotations that the build adds.
            build_metadata: Vec<BuildMetadata>,
            /// Substitution.
            post_build: Option<PostBuild>,
            /// Decryption.
            decryption: Option<Decryption>,
            /// Objects that must become healthy, unless `wait` is set.
            health_checks: Vec<HealthCheck>,
            /// How health of custom kinds is told.
            health_check_exprs: Vec<HealthCheckExpr>,
            /// Fields that drift detection leaves alone.
            ignore: Vec<IgnoreRule>,
        }
    }
}

impl KustomizationSpec {
    /// How long after a failure the next run begins.
    #[must_use]
    pub fn retry_interval(&self) -> Duration {
        self.retry_interval.unwrap_or(self.interval)
    }

    /// How long one run may take: `timeout`, else the interval less 30 s; at least 30 s.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        let least = std::time::Duration::from_secs(30);
        let timeout = self
            .timeout
            .map_or_else(|| self.interval.0.saturating_sub(least), |timeout| timeout.0);
        Duration(timeout.max(least))
    }

    /// What becomes of the objects on deletion.
    #[must_use]
    pub fn deletion_policy(&self) -> DeletionPolicy {
        self.deletion_policy.unwrap_or_default()
    }
}

record! {
    /// Runs with the same result, counted together.
    HistoryEntry {
        required {
            /// Digest of the built manifests.
            digest: String,
            /// When the first of them ran (RFC 3339).
            first_reconciled: String,
            /// When the last of them ran (RFC 3339).
            last_reconciled: String,
            /// How long it took.
            last_reconciled_duration: Duration,
            /// Reason of its Ready condition.
            last_reconciled_status: String,
            /// How many there were.
            total_reconciliations: i64,
        }
        optional {
            /// Revision and origin revision.
            metadata: Strings,
        }
    }
}

record! {
    /// What was observed of a Kustomization.
    KustomizationStatus {
        optional {
            /// Generation that was handled last.
            observed_generation: i64,
            /// Conditions.
            conditions: Vec<Condition>,
            /// Revision of the last success.
            last_applied_revision: Option<String>,
            /// Upstream's revision of the last success.
            last_applied_origin_revision: Option<String>,
            /// Revision of the last attempt.
            last_attempted_revision: Option<String>,
            /// Token of the last handled request.
            last_handled_reconcile_at: Option<String>,
            /// What was applied.
            inventory: Option<Inventory>,
            /// Runs, newest first.
            history: Vec<HistoryEntry>,
        }
    }
}

resource! {
    /// Manifests of a source, built with kustomize and applied.
    Kustomization {
        spec: KustomizationSpec, status: KustomizationStatus,
        group: "kustomize.toolkit.fluxcd.io", version: "v1", plural: "kustomizations"
    }
}

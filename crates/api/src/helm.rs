//! `helm.toolkit.fluxcd.io`: charts that are installed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Duration;
use crate::meta::{
    CommonMetadata, Condition, Dependency, HealthCheckExpr, IgnoreRule, Image, Inventory, KubeConfig, Patch,
    SourceReference,
};
use crate::source::{ChartVerification, ReconcileStrategy};

words! {
    /// What happens to the definitions in a chart's `crds` folder.
    CrdsPolicy {
        /// Nothing.
        Skip = "Skip",
        /// Absent ones are created.
        Create = "Create",
        /// Absent ones are created, present ones replaced.
        CreateReplace = "CreateReplace",
    }
}

words! {
    /// Where post-renderers apply.
    PostRenderStrategy {
        /// To templates and hooks together.
        Combined = "combined",
        /// To templates only.
        NoHooks = "nohooks",
        /// To templates and hooks, apart.
        Separate = "separate",
    }
}

words! {
    /// How an action waits for health.
    WaitStrategyName {
        /// As Kustomizations do.
        Poller = "poller",
        /// As Helm does.
        Legacy = "legacy",
    }
}

words! {
    /// What is done about drift.
    DriftMode {
        /// Nothing.
        Disabled = "disabled",
        /// It is reported.
        Warn = "warn",
        /// It is corrected.
        Enabled = "enabled",
    }
}

words! {
    /// What a failed action leads to.
    ActionStrategyName {
        /// Remediation.
        RemediateOnFailure = "RemediateOnFailure",
        /// Another attempt.
        RetryOnFailure = "RetryOnFailure",
    }
}

words! {
    /// Whether the server keeps track of field owners.
    ServerSideApplyMode {
        /// As the last release did.
        Auto = "auto",
        /// Yes.
        Enabled = "enabled",
        /// No.
        Disabled = "disabled",
    }
}

words! {
    /// What a failed upgrade is remediated with.
    RemediationStrategy {
        /// A rollback.
        Rollback = "rollback",
        /// An uninstallation.
        Uninstall = "uninstall",
    }
}

words! {
    /// What a change of the chart's name leads to.
    ChartNameChangeStrategy {
        /// Uninstallation and installation.
        Reinstall = "Reinstall",
        /// An upgrade.
        InPlaceUpdate = "InPlaceUpdate",
    }
}

words! {
    /// How dependants of deleted objects go.
    DeletionPropagation {
        /// After them.
        Background = "background",
        /// Before them.
        Foreground = "foreground",
        /// Not at all.
        Orphan = "orphan",
    }
}

record! {
    /// The HelmChart to be made.
    ChartTemplateSpec {
        required {
            /// Name of the chart, or its folder.
            chart: String,
            /// Where it comes from.
            source_ref: SourceReference,
        }
        optional {
            /// Range of versions.
            version: String,
            /// How often it is looked at; the release's interval if absent.
            interval: Option<Duration>,
            /// When it is packed anew.
            reconcile_strategy: ReconcileStrategy,
            /// Files that take the place of the default values.
            values_files: Vec<String>,
            /// Whether absent ones are no error.
            ignore_missing_values_files: bool,
            /// Signature checks.
            verify: Option<ChartVerification>,
        }
    }
}

record! {
    /// The HelmChart to be made, with its labels.
    ChartTemplate {
        required {
            /// The chart.
            spec: ChartTemplateSpec,
        }
        optional {
            /// Labels and annotations of the HelmChart.
            metadata: Option<CommonMetadata>,
        }
    }
}

record! {
    /// Values from a ConfigMap or Secret.
    ValuesReference {
        required {
            /// `ConfigMap` or `Secret`.
            kind: String,
            /// Name.
            name: String,
        }
        optional {
            /// Key; `values.yaml` if absent.
            values_key: Option<String>,
            /// Path of the one value that it sets.
            target_path: Option<String>,
            /// Whether the value is taken as it stands.
            literal: bool,
            /// Whether its absence is no error.
            optional: bool,
        }
    }
}

record! {
    /// Steps of kustomize on what was rendered.
    KustomizePostRenderer {
        optional {
            /// Patches.
            patches: Vec<Patch>,
            /// Image replacements.
            images: Vec<Image>,
        }
    }
}

record! {
    /// One step on what was rendered.
    PostRenderer {
        optional {
            /// Steps of kustomize.
            kustomize: Option<KustomizePostRenderer>,
        }
    }
}

record! {
    /// How an action waits for health.
    WaitStrategy {
        optional {
            /// Which way.
            name: WaitStrategyName,
        }
    }
}

record! {
    /// What is done about drift.
    DriftDetection {
        optional {
            /// What.
            mode: DriftMode,
            /// Fields that do not count.
            ignore: Vec<IgnoreRule>,
        }
    }
}

record! {
    /// What a failed action leads to.
    ActionStrategy {
        required {
            /// Which way.
            name: ActionStrategyName,
        }
        optional {
            /// Time between attempts.
            retry_interval: Option<Duration>,
        }
    }
}

record! {
    /// Remediation of a failed action.
    Remediation {
        optional {
            /// How often the action is tried again; negative: without end.
            retries: i64,
            /// Whether failed tests do not count; the release's setting if absent.
            ignore_test_failures: Option<bool>,
            /// Whether the last failure is remediated too.
            remediate_last_failure: Option<bool>,
            /// With what (upgrades only).
            strategy: Option<RemediationStrategy>,
        }
    }
}

record! {
    /// How a release is installed.
    Install {
        optional {
            /// How long it may take.
            timeout: Option<Duration>,
            /// What a failure leads to.
            strategy: Option<ActionStrategy>,
            /// Remediation.
            remediation: Option<Remediation>,
            /// Definitions.
            crds: Option<CrdsPolicy>,
            /// Whether the target namespace is created.
            create_namespace: bool,
            /// Whether a used name may be taken again.
            replace: bool,
            /// Whether definitions are left out (older spelling).
            #[serde(rename = "skipCRDs")]
            skip_crds: bool,
            /// Whether hooks are left out.
            disable_hooks: bool,
            /// Whether it does not wait for health.
            disable_wait: bool,
            /// Whether it does not wait for jobs.
            disable_wait_for_jobs: bool,
            /// Whether rendered objects are not validated.
            #[serde(rename = "disableOpenAPIValidation")]
            disable_openapi_validation: bool,
            /// Whether values are not validated.
            disable_schema_validation: bool,
            /// Whether objects of others are left alone.
            disable_take_ownership: bool,
            /// Whether the server keeps track of field owners.
            server_side_apply: Option<bool>,
        }
    }
}

record! {
    /// How a release is upgraded.
    Upgrade {
        optional {
            /// How long it may take.
            timeout: Option<Duration>,
            /// What a failure leads to.
            strategy: Option<ActionStrategy>,
            /// Remediation.
            remediation: Option<Remediation>,
            /// Definitions.
            crds: Option<CrdsPolicy>,
            /// What a change of the chart's name leads to.
            chart_name_change_strategy: Option<ChartNameChangeStrategy>,
            /// Whether new objects are deleted after a failure.
            cleanup_on_fail: bool,
            /// Whether objects are replaced.
            force: bool,
            /// Whether values of the last release are kept.
            preserve_values: bool,
            /// Whether hooks are left out.
            disable_hooks: bool,
            /// Whether it does not wait for health.
            disable_wait: bool,
            /// Whether it does not wait for jobs.
            disable_wait_for_jobs: bool,
            /// Whether rendered objects are not validated.
            #[serde(rename = "disableOpenAPIValidation")]
            disable_openapi_validation: bool,
            /// Whether values are not validated.
            disable_schema_validation: bool,
            /// Whether objects of others are left alone.
            disable_take_ownership: bool,
            /// Whether the server keeps track of field owners.
            server_side_apply: Option<ServerSideApplyMode>,
        }
    }
}

record! {
    /// A filter of tests.
    TestFilter {
        required {
            /// Name of the test.
            name: String,
        }
        optional {
            /// Whether it is left out.
            exclude: bool,
        }
    }
}

record! {
    /// How a release is tested.
    Test {
        optional {
            /// Whether it is.
            enable: bool,
            /// How long it may take.
            timeout: Option<Duration>,
            /// Whether failures do not count.
            ignore_failures: bool,
            /// Which tests run.
            filters: Vec<TestFilter>,
        }
    }
}

record! {
    /// How a release is rolled back.
    Rollback {
        optional {
            /// How long it may take.
            timeout: Option<Duration>,
            /// Whether new objects are deleted after a failure.
            cleanup_on_fail: bool,
            /// Whether objects are replaced.
            force: bool,
            /// Whether pods are restarted.
            recreate: bool,
            /// Whether hooks are left out.
            disable_hooks: bool,
            /// Whether it does not wait for health.
            disable_wait: bool,
            /// Whether it does not wait for jobs.
            disable_wait_for_jobs: bool,
            /// Whether the server keeps track of field owners.
            server_side_apply: Option<ServerSideApplyMode>,
        }
    }
}

record! {
    /// How a release is uninstalled.
    Uninstall {
        optional {
            /// How long it may take.
            timeout: Option<Duration>,
            /// Whether hooks are left out.
            disable_hooks: bool,
            /// Whether the history stays.
            keep_history: bool,
            /// Whether it does not wait until all is gone.
            disable_wait: bool,
            /// How dependants go.
            deletion_propagation: DeletionPropagation,
        }
    }
}

record! {
    /// What is wanted of a HelmRelease.
    HelmReleaseSpec {
        required {
            /// How often it is reconciled.
            interval: Duration,
        }
        optional {
            /// The HelmChart to be made.
            chart: Option<ChartTemplate>,
            /// A chart that is there.
            chart_ref: Option<SourceReference>,
            /// How long one action may take.
            timeout: Option<Duration>,
            /// Whether it rests.
            suspend: bool,
            /// Name of the release.
            release_name: Option<String>,
            /// Namespace that it is installed in.
            target_namespace: Option<String>,
            /// Namespace of its storage.
            storage_namespace: Option<String>,
            /// What must be ready first.
            depends_on: Vec<Dependency>,
            /// Versions kept; 0: all.
            max_history: Option<i64>,
            /// Service account to act as.
            service_account_name: Option<String>,
            /// A remote cluster.
            kube_config: Option<KubeConfig>,
            /// Whether one client serves all steps.
            persistent_client: Option<bool>,
            /// Labels and annotations for all objects.
            common_metadata: Option<CommonMetadata>,
            /// Values.
            values: Option<Value>,
            /// Values from elsewhere, later ones win.
            values_from: Vec<ValuesReference>,
            /// Steps on what was rendered.
            post_renderers: Vec<PostRenderer>,
            /// Where they apply.
            post_render_strategy: Option<PostRenderStrategy>,
            /// How actions wait.
            wait_strategy: Option<WaitStrategy>,
            /// How health of custom kinds is told.
            health_check_exprs: Vec<HealthCheckExpr>,
            /// Drift.
            drift_detection: Option<DriftDetection>,
            /// Installation.
            install: Option<Install>,
            /// Upgrade.
            upgrade: Option<Upgrade>,
            /// Tests.
            test: Option<Test>,
            /// Rollback.
            rollback: Option<Rollback>,
            /// Uninstallation.
            uninstall: Option<Uninstall>,
        }
    }
}

record! {
    /// What came of a test hook.
    TestHookStatus {
        optional {
            /// When it began (RFC 3339).
            last_started: Option<String>,
            /// When it ended (RFC 3339).
            last_completed: Option<String>,
            /// Phase.
            phase: Option<String>,
        }
    }
}

record! {
    /// One version of a release as it was observed.
    Snapshot {
        required {
            /// Digest over the observed release.
            digest: String,
            /// Name of the release.
            name: String,
            /// Namespace of the release.
            namespace: String,
            /// Version.
            version: i64,
            /// Status as Helm calls it.
            status: String,
            /// Name of the chart.
            chart_name: String,
            /// Version of the chart.
            chart_version: String,
            /// Digest of the values.
            config_digest: String,
            /// When the first version was deployed (RFC 3339).
            first_deployed: String,
            /// When this version was deployed (RFC 3339).
            last_deployed: String,
        }
        optional {
            /// Version of this record's form.
            api_version: Option<String>,
            /// Action that made it.
            action: Option<String>,
            /// Version of the application.
            app_version: Option<String>,
            /// Digest of the OCI artifact.
            oci_digest: Option<String>,
            /// When it was deleted (RFC 3339).
            deleted: Option<String>,
            /// Tests by name; absent: not run.
            test_hooks: Option<BTreeMap<String, TestHookStatus>>,
        }
    }
}

record! {
    /// What was observed of a HelmRelease.
    HelmReleaseStatus {
        optional {
            /// Generation that was handled last.
            observed_generation: i64,
            /// Conditions.
            conditions: Vec<Condition>,
            /// The HelmChart that was made, as `namespace/name`.
            helm_chart: Option<String>,
            /// Namespace of the storage.
            storage_namespace: Option<String>,
            /// Versions, newest first.
            history: Vec<Snapshot>,
            /// Objects of the release.
            inventory: Option<Inventory>,
            /// Last action.
            last_attempted_release_action: Option<String>,
            /// How long it took.
            last_attempted_release_action_duration: Option<Duration>,
            /// Failures since the last change.
            failures: i64,
            /// Failed installations.
            install_failures: i64,
            /// Failed upgrades.
            upgrade_failures: i64,
            /// Generation of the last attempt.
            last_attempted_generation: i64,
            /// Chart version of the last attempt.
            last_attempted_revision: Option<String>,
            /// Its digest.
            last_attempted_revision_digest: Option<String>,
            /// Digest of the values of the last attempt.
            last_attempted_config_digest: Option<String>,
            /// The same, older form.
            last_attempted_values_checksum: Option<String>,
            /// Version of the release, older form.
            last_release_revision: i64,
            /// Token of the last handled request.
            last_handled_reconcile_at: Option<String>,
            /// Token of the last handled force request.
            last_handled_force_at: Option<String>,
            /// Token of the last handled reset request.
            last_handled_reset_at: Option<String>,
            /// Digest of the post-renderers.
            observed_post_renderers_digest: Option<String>,
            /// Digest of the common metadata.
            observed_common_metadata_digest: Option<String>,
        }
    }
}

resource! {
    /// A chart with values, installed and kept up to date.
    HelmRelease {
        spec: HelmReleaseSpec, status: HelmReleaseStatus,
        group: "helm.toolkit.fluxcd.io", version: "v2", plural: "helmreleases"
    }
}

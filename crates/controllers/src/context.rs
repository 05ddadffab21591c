//! What all reconcilers share: the ports, and the settings of the process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fluvial_ports::{Artifacts, Clock, Cluster, Decryption, Remotes, Sources};

use crate::aside::Aside;
use crate::backoff::Backoff;
use crate::metrics::Metrics;
use crate::recorder::Recorder;
use crate::remote::Tokens;
use crate::revisions::Revisions;

/// What objects of some kinds may do. Flux has it from the arguments of the controller that reconciles them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Only objects whose labels match this selector are reconciled.
    pub selector: Option<String>,
    /// Whether references into other namespaces are refused.
    pub no_cross_namespace_refs: bool,
    /// Service account for those that name none.
    pub default_service_account: Option<String>,
}

/// A part that can run by itself. Flux has each as a program, with the names that are given here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// `source-controller`.
    Sources,
    /// `source-watcher`.
    Generators,
    /// `kustomize-controller`.
    Kustomizations,
    /// `helm-controller`.
    Releases,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Sources,
        Self::Generators,
        Self::Kustomizations,
        Self::Releases,
    ];

    /// Which part reconciles the objects of a kind.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        match kind {
            "Kustomization" => Self::Kustomizations,
            "HelmRelease" => Self::Releases,
            "ArtifactGenerator" => Self::Generators,
            _ => Self::Sources,
        }
    }
}

/// Settings of the process; the defaults are Flux's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which parts run here.
    pub components: BTreeSet<Component>,
    /// Only objects in this namespace are reconciled.
    pub namespace: Option<String>,
    /// What Kustomizations may do.
    pub kustomizations: Restrictions,
    /// What HelmReleases may do.
    pub releases: Restrictions,
    /// What objects of all other kinds may do; they act for nobody.
    pub sources: Restrictions,
    /// How many sources are fetched at the same time.
    pub concurrent_sources: usize,
    /// How many Kustomizations are built and applied at the same time; waiting ones are not counted.
    pub concurrent_kustomizations: usize,
    /// How many HelmReleases are worked on at the same time; waiting ones are not counted.
    pub concurrent_releases: usize,
    /// How many requests of one Kustomization or HelmRelease are under way at the same time.
    pub concurrent_requests: usize,
    /// How far successful intervals are spread, in percent.
    pub jitter_percent: u8,
    /// Waits after failures of sources.
    pub backoff: Backoff,
    /// How long something missing is waited for before it is looked for again without being woken.
    pub requeue_dependency: Duration,
    /// Whether remote bases are refused.
    pub no_remote_bases: bool,
    /// Secret (namespace and name) with age keys for Kustomizations that name no Secret with keys.
    pub sops_age_secret: Option<(String, String)>,
    /// Which ConfigMaps and Secrets wake those that refer to them; `None` for all.
    pub config_selector: Option<String>,
    /// Whether `readyExpr` is asked in addition to readiness, and not in its place.
    pub additive_ready_expr: bool,
    /// Whether failed actions of releases that name no strategy are only tried again, and not remediated.
    pub only_retry: bool,
    /// Whether the version of a chart that comes from a registry holds the digest of its source.
    pub versions_with_digest: bool,
    /// Whether a variable without value and default is an error.
    pub strict_substitution: bool,
    /// Group/kinds that are applied in a stage of their own, before everything else that is namespaced.
    pub stage_kinds: Vec<String>,
    /// How long runs may go on at shutdown.
    pub grace: Duration,
    /// Who reports events: the name of this process.
    pub instance: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            components: Component::ALL.into(),
            namespace: None,
            kustomizations: Restrictions::default(),
            releases: Restrictions::default(),
            sources: Restrictions::default(),
            concurrent_sources: 4,
            concurrent_kustomizations: 8,
            concurrent_releases: 8,
            concurrent_requests: 4,
            jitter_percent: 5,
            backoff: Backoff::default(),
            requeue_dependency: Duration::from_secs(30),
            no_remote_bases: false,
            sops_age_secret: None,
            config_selector: None,
            additive_ready_expr: false,
            only_retry: false,
            versions_with_digest: true,
            strict_substitution: true,
            stage_kinds: Vec::new(),
            grace: Duration::from_secs(10),
            instance: "fluvial".to_owned(),
        }
    }
}

impl Settings {
    /// What objects of a kind may do.
    #[must_use]
    pub fn restrictions(&self, kind: &str) -> &Restrictions {
        match kind {
            "Kustomization" => &self.kustomizations,
            "HelmRelease" => &self.releases,
            _ => &self.sources,
        }
    }
}

/// The ports and what is shared over them.
pub struct Context {
    /// The API server.
    pub cluster: Arc<dyn Cluster>,
    /// Where revisions come from.
    pub sources: Arc<dyn Sources>,
    /// Where artifacts are kept.
    pub artifacts: Arc<dyn Artifacts>,
    /// Who decrypts.
    pub decryption: Arc<dyn Decryption>,
    /// Ways to other clusters.
    pub remotes: Arc<dyn Remotes>,
    /// Tokens for other clusters.
    pub tokens: Tokens,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The processors, for what keeps them busy.
    pub aside: Aside,
    /// Takes events.
    pub recorder: Recorder,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Trees that are held.
    pub revisions: Arc<Revisions>,
    /// Settings.
    pub settings: Settings,
}

//! Puts the reconcilers together and runs them: lease, queues, shutdown.

mod start;

use std::sync::Arc;

use fluvial_api::{
    ArtifactGenerator, Bucket, GitRepository, HelmChart, HelmRelease, HelmRepository, Kustomization,
    OCIRepository,
};
use fluvial_ports::{Artifacts, Clock, Cluster, Decryption, Events, Remotes, Sources};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::Key;
use crate::aside::Aside;
use crate::context::{Component, Context, Settings};
use crate::feed::Feed;
use crate::lease::{self, Leader, Lease};
use crate::metrics::Metrics;
use crate::probe::{Phase, Probe};
use crate::queue::Queue;
use crate::recorder::Recorder;
use crate::revisions::Revisions;
use start::Tasks;

/// What the controllers ask of the outside.
#[derive(Clone)]
pub struct Ports {
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
    /// Takes notifications.
    pub events: Arc<dyn Events>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The processors, for what keeps them busy.
    pub aside: Aside,
}

/// How the controllers run.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Settings of the reconcilers.
    pub settings: Settings,
    /// The lease to hold while running; none when this is the only process by construction.
    pub lease: Option<lease::Config>,
}

/// Why the controllers have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// They were asked to.
    Stopped,
    /// Another process leads now, or may.
    LeaseLost,
}

/// Running controllers.
pub struct Handle {
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// State for the health endpoints.
    pub probe: Arc<Probe>,
    /// GitRepositories as they are now.
    pub git_repositories: Arc<Feed<GitRepository>>,
    /// Kustomizations as they are now.
    pub kustomizations: Arc<Feed<Kustomization>>,
    /// HelmReleases as they are now.
    pub helm_releases: Arc<Feed<HelmRelease>>,
    /// The process that leads, if that is another one.
    pub leader: Arc<Leader>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Ended>,
}

impl Handle {
    /// Asks the controllers to end, without waiting for it.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// What asks the controllers to end, for somebody who does not hold this.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let stop = self.stop.clone();
        move || {
            stop.send_replace(true);
        }
    }

    /// Waits until the controllers have ended: asked to, or because the lease was lost.
    pub async fn ended(self) -> Ended {
        let ended = self.task.await;
        self.probe.set(Phase::Stopping);
        ended.unwrap_or(Ended::Stopped)
    }
}

/// The sources besides Git repositories, as they are now.
#[derive(Default)]
struct Feeds {
    helm_repositories: Arc<Feed<HelmRepository>>,
    helm_charts: Arc<Feed<HelmChart>>,
    buckets: Arc<Feed<Bucket>>,
    oci_repositories: Arc<Feed<OCIRepository>>,
    generators: Arc<Feed<ArtifactGenerator>>,
}

/// Everything that runs together.
struct Machine {
    ports: Ports,
    config: Config,
    metrics: Arc<Metrics>,
    probe: Arc<Probe>,
    git_repositories: Arc<Feed<GitRepository>>,
    kustomizations: Arc<Feed<Kustomization>>,
    helm_releases: Arc<Feed<HelmRelease>>,
    feeds: Feeds,
    leader: Arc<Leader>,
}

/// Starts the controllers.
pub fn run(config: Config, ports: Ports) -> Handle {
    let (stop, stopped) = watch::channel(false);
    let machine = Machine {
        ports,
        config,
        metrics: Arc::default(),
        probe: Arc::default(),
        git_repositories: Arc::default(),
        kustomizations: Arc::default(),
        helm_releases: Arc::default(),
        feeds: Feeds::default(),
        leader: Arc::default(),
    };
    Handle {
        metrics: Arc::clone(&machine.metrics),
        probe: Arc::clone(&machine.probe),
        git_repositories: Arc::clone(&machine.git_repositories),
        kustomizations: Arc::clone(&machine.kustomizations),
        helm_releases: Arc::clone(&machine.helm_releases),
        leader: Arc::clone(&machine.leader),
        stop,
        task: tokio::spawn(machine.run(stopped)),
    }
}

impl Machine {
    async fn run(self, mut stopped: watch::Receiver<bool>) -> Ended {
        let Some(config) = self.config.lease.clone() else {
            self.reconcile(wait_for(&mut stopped)).await;
            return Ended::Stopped;
        };
        let mut lease = Lease::new(
            Arc::clone(&self.ports.cluster),
            Arc::clone(&self.ports.clock),
            config,
        );
        lease.leader = Arc::clone(&self.leader);
        self.probe.set(Phase::Standby);
        tokio::select! {
            () = lease.acquire() => {}
            () = wait_for(&mut stopped) => return Ended::Stopped,
        }
        let mut ended = Ended::Stopped;
        let until = async {
            tokio::select! {
                () = lease.hold() => ended = Ended::LeaseLost,
                () = wait_for(&mut stopped) => {}
            }
        };
        self.reconcile(until).await;
        if ended == Ended::Stopped {
            lease.release().await;
        }
        ended
    }

    /// Reconciles until `until` is over, then lets the runs under way end.
    async fn reconcile(&self, until: impl Future<Output = ()>) {
        self.probe.set(Phase::Starting);
        let settings = self.config.settings.clone();
        let (recorder, writing) = Recorder::new(
            Arc::clone(&self.ports.cluster),
            Arc::clone(&self.ports.events),
            Arc::clone(&self.ports.clock),
            settings.instance.clone(),
            Arc::clone(&self.metrics),
        );
        let writing = tokio::spawn(writing);
        let context = Arc::new(Context {
            cluster: Arc::clone(&self.ports.cluster),
            sources: Arc::clone(&self.ports.sources),
            artifacts: Arc::clone(&self.ports.artifacts),
            decryption: Arc::clone(&self.ports.decryption),
            remotes: Arc::clone(&self.ports.remotes),
            tokens: crate::remote::Tokens::default(),
            clock: Arc::clone(&self.ports.clock),
            aside: self.ports.aside.clone(),
            recorder,
            metrics: Arc::clone(&self.metrics),
            revisions: Arc::new(Revisions::default()),
            settings,
        });
        let mut watches = JoinSet::new();
        let mut runners = JoinSet::new();
        let mut queues = Vec::new();
        self.start(Tasks {
            context: &context,
            watches: &mut watches,
            runners: &mut runners,
            queues: &mut queues,
        });
        tokio::pin!(until);
        let components = context.settings.components.clone();
        let complete = async {
            if components.contains(&Component::Sources) {
                self.git_repositories.complete().await;
            }
            if components.contains(&Component::Kustomizations) {
                self.kustomizations.complete().await;
            }
            if components.contains(&Component::Releases) {
                self.helm_releases.complete().await;
            }
        };
        let running = tokio::select! {
            () = complete => true,
            () = &mut until => false,
        };
        if running {
            self.probe.set(Phase::Running);
            until.await;
        }
        self.probe.set(Phase::Stopping);
        shut(&queues, runners).await;
        watches.shutdown().await;
        drop(context);
        let _ = tokio::time::timeout(self.config.settings.grace, writing).await;
    }
}

/// Closes the queues and waits for the runs under way.
async fn shut(queues: &[Queue<Key>], mut runners: JoinSet<()>) {
    for queue in queues {
        queue.close();
    }
    while runners.join_next().await.is_some() {}
}

async fn wait_for(stopped: &mut watch::Receiver<bool>) {
    // A dropped handle stops the controllers too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

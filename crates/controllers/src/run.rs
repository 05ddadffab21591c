//! Puts the reconcilers together and runs them: lease, watches, queues, shutdown.

use std::sync::Arc;

use fluvial_api::{
    ArtifactGenerator, Bucket, ExternalArtifact, GitRepository, HelmChart, HelmRelease, HelmRepository,
    Kustomization, OCIRepository, Resource as Kind,
};
use fluvial_ports::{Artifacts, Clock, Cluster, Decryption, Events, Remotes, Select, Sources};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::Key;
use crate::artifact_generator;
use crate::bucket::{Buckets, Objects};
use crate::charts::Charts;
use crate::context::{Context, Settings};
use crate::deliverer::depends::Peers;
use crate::feed::Feed;
use crate::git_repository;
use crate::helm_chart::{self, Origins};
use crate::helm_release::HelmReleases;
use crate::helm_repository::{HelmRepositories, Indexes};
use crate::kustomization::Kustomizations;
use crate::lease::{self, Lease};
use crate::metrics::Metrics;
use crate::oci_repository::{Images, OciRepositories};
use crate::probe::{Phase, Probe};
use crate::queue::Queue;
use crate::recorder::Recorder;
use crate::revisions::Revisions;
use crate::runner::{self, Reconcile};
use crate::writer::resource_of;

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
    stop: watch::Sender<bool>,
    task: JoinHandle<Ended>,
}

impl Handle {
    /// Asks the controllers to end, without waiting for it.
    pub fn stop(&self) {
        self.stop.send_replace(true);
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
    };
    Handle {
        metrics: Arc::clone(&machine.metrics),
        probe: Arc::clone(&machine.probe),
        git_repositories: Arc::clone(&machine.git_repositories),
        kustomizations: Arc::clone(&machine.kustomizations),
        helm_releases: Arc::clone(&machine.helm_releases),
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
            recorder,
            metrics: Arc::clone(&self.metrics),
            revisions: Arc::new(Revisions::default()),
            charts: Charts::default(),
            settings,
        });
        let mut watches = JoinSet::new();
        let mut runners = JoinSet::new();
        let queues = self.start(&context, &mut watches, &mut runners);
        tokio::pin!(until);
        let complete = async {
            self.git_repositories.complete().await;
            self.kustomizations.complete().await;
            self.helm_releases.complete().await;
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

    /// Starts the watches and the reconcilers.
    fn start(
        &self,
        context: &Arc<Context>,
        watches: &mut JoinSet<()>,
        runners: &mut JoinSet<()>,
    ) -> Vec<Queue<Key>> {
        let settings = &context.settings;
        let git_queue = Queue::default();
        let git = Arc::new(git_repository::reconciler(
            Arc::clone(context),
            Arc::clone(&self.git_repositories),
            git_queue.clone(),
        ));
        let (queue, releases_queue) = (Queue::default(), Queue::default());
        let peers = Peers::new(
            (&self.kustomizations, &queue),
            (&self.helm_releases, &releases_queue),
        );
        let kustomizations = Arc::new(Kustomizations::new(
            Arc::clone(context),
            Arc::clone(&self.kustomizations),
            Arc::clone(&self.git_repositories),
            Arc::clone(&peers),
            queue.clone(),
        ));
        watches.spawn(follow(Arc::clone(&self.git_repositories), context));
        watches.spawn(follow(Arc::clone(&self.kustomizations), context));
        for watch in kustomizations.watches() {
            watches.spawn(watch);
        }
        runners.spawn(when_complete(
            self.git_repositories.clone(),
            runner::run(
                git,
                git_queue.clone(),
                settings.concurrent_sources,
                settings.grace,
                Arc::clone(&self.metrics),
            ),
        ));
        let sources = Arc::clone(&self.git_repositories);
        let running = runner::run(
            kustomizations,
            queue.clone(),
            settings.concurrent_kustomizations,
            settings.grace,
            Arc::clone(&self.metrics),
        );
        runners.spawn(when_complete(self.kustomizations.clone(), async move {
            sources.complete().await;
            running.await;
        }));
        let mut queues = vec![git_queue, queue];
        queues.extend(self.start_sources(context, watches, runners));
        self.start_releases(context, peers, &releases_queue, watches, runners);
        queues.push(releases_queue);
        queues
    }

    /// Starts the reconciler of HelmReleases.
    fn start_releases(
        &self,
        context: &Arc<Context>,
        peers: Arc<Peers>,
        queue: &Queue<Key>,
        watches: &mut JoinSet<()>,
        runners: &mut JoinSet<()>,
    ) {
        let settings = &context.settings;
        let charts = match &settings.sources.selector {
            None => Arc::clone(&self.feeds.helm_charts),
            // Charts may be labelled for another process than their releases.
            Some(_) => all_of::<HelmChart>(context, watches),
        };
        let releases = Arc::new(HelmReleases::new(
            Arc::clone(context),
            Arc::clone(&self.helm_releases),
            Arc::clone(&charts),
            peers,
            queue.clone(),
        ));
        watches.spawn(follow(Arc::clone(&self.helm_releases), context));
        for watch in releases.watches() {
            watches.spawn(watch);
        }
        let running = runner::run(
            releases,
            queue.clone(),
            settings.concurrent_releases,
            settings.grace,
            Arc::clone(&self.metrics),
        );
        runners.spawn(when_complete(self.helm_releases.clone(), async move {
            charts.complete().await;
            running.await;
        }));
    }

    /// Starts what reconciles the sources that are not Git.
    fn start_sources(
        &self,
        context: &Arc<Context>,
        watches: &mut JoinSet<()>,
        runners: &mut JoinSet<()>,
    ) -> Vec<Queue<Key>> {
        let feeds = &self.feeds;
        let (repositories, charts) = (Queue::default(), Queue::default());
        let reconciler = HelmRepositories::new(
            Arc::clone(context),
            Arc::clone(&feeds.helm_repositories),
            repositories.clone(),
            Indexes,
        );
        watches.spawn(follow(Arc::clone(&feeds.helm_repositories), context));
        runners.spawn(when_complete(
            Arc::clone(&feeds.helm_repositories),
            self.sources(context, reconciler, &repositories),
        ));
        let reconciler = helm_chart::reconciler(
            Arc::clone(context),
            Arc::clone(&feeds.helm_charts),
            Origins {
                repositories: Arc::clone(&feeds.helm_repositories),
                git: Arc::clone(&self.git_repositories),
                buckets: Arc::clone(&feeds.buckets),
            },
            charts.clone(),
        );
        watches.spawn(follow(Arc::clone(&feeds.helm_charts), context));
        let (origin, git) = (
            Arc::clone(&feeds.helm_repositories),
            Arc::clone(&self.git_repositories),
        );
        let running = self.sources(context, reconciler, &charts);
        runners.spawn(when_complete(Arc::clone(&feeds.helm_charts), async move {
            origin.complete().await;
            git.complete().await;
            running.await;
        }));
        let images = Queue::default();
        let reconciler = OciRepositories::new(
            Arc::clone(context),
            Arc::clone(&feeds.oci_repositories),
            images.clone(),
            Images,
        );
        watches.spawn(follow(Arc::clone(&feeds.oci_repositories), context));
        runners.spawn(when_complete(
            Arc::clone(&feeds.oci_repositories),
            self.sources(context, reconciler, &images),
        ));
        let buckets = Queue::default();
        let reconciler = Buckets::new(
            Arc::clone(context),
            Arc::clone(&feeds.buckets),
            buckets.clone(),
            Objects,
        );
        watches.spawn(follow(Arc::clone(&feeds.buckets), context));
        runners.spawn(when_complete(
            Arc::clone(&feeds.buckets),
            self.sources(context, reconciler, &buckets),
        ));
        let generators = Queue::default();
        let reconciler = artifact_generator::reconciler(
            Arc::clone(context),
            Arc::clone(&feeds.generators),
            artifact_generator::Origins {
                git: Arc::clone(&self.git_repositories),
                oci: Arc::clone(&feeds.oci_repositories),
                buckets: Arc::clone(&feeds.buckets),
                charts: Arc::clone(&feeds.helm_charts),
                external: all_of::<ExternalArtifact>(context, watches),
            },
            generators.clone(),
        );
        watches.spawn(follow(Arc::clone(&feeds.generators), context));
        runners.spawn(when_complete(
            Arc::clone(&feeds.generators),
            self.sources(context, reconciler, &generators),
        ));
        vec![repositories, charts, images, buckets, generators]
    }

    /// Runs a reconciler of sources.
    fn sources<R: Reconcile>(
        &self,
        context: &Context,
        reconciler: R,
        queue: &Queue<Key>,
    ) -> impl Future<Output = ()> + Send + use<R> {
        let settings = &context.settings;
        runner::run(
            Arc::new(reconciler),
            queue.clone(),
            settings.concurrent_sources,
            settings.grace,
            Arc::clone(&self.metrics),
        )
    }
}

/// All objects of a kind, whatever their labels say about whose they are.
fn all_of<K: Kind + Send + Sync + 'static>(context: &Context, watches: &mut JoinSet<()>) -> Arc<Feed<K>> {
    let all: Arc<Feed<K>> = Arc::default();
    let select = Select {
        namespace: context.settings.namespace.clone(),
        ..Select::default()
    };
    let watch = context.cluster.watch(&resource_of::<K>(), &select);
    let feed = Arc::clone(&all);
    watches.spawn(async move { feed.follow(watch).await });
    all
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

/// Follows all objects of a kind that this process reconciles.
fn follow<T: Kind + Send + Sync + 'static>(
    feed: Arc<Feed<T>>,
    context: &Context,
) -> impl Future<Output = ()> + Send + use<T> {
    let select = Select {
        namespace: context.settings.namespace.clone(),
        labels: context.settings.restrictions(T::KIND).selector.clone(),
        ..Select::default()
    };
    let watch = context.cluster.watch(&resource_of::<T>(), &select);
    async move { feed.follow(watch).await }
}

/// Runs once all objects of a kind are known.
async fn when_complete<T: Kind + Send + Sync + 'static>(
    feed: Arc<Feed<T>>,
    running: impl Future<Output = ()> + Send,
) {
    feed.complete().await;
    running.await;
}

//! Which reconcilers run, and the watches that each of them needs.

use std::sync::Arc;

use fluvial_api::{ExternalArtifact, HelmChart, Resource as Kind};
use fluvial_ports::Select;
use tokio::task::JoinSet;

use super::Machine;
use crate::Key;
use crate::artifact_generator;
use crate::bucket::{Buckets, Objects};
use crate::context::{Component, Context};
use crate::deliverer::depends::Peers;
use crate::feed::Feed;
use crate::git_repository;
use crate::helm_chart::{self, Origins};
use crate::helm_release::HelmReleases;
use crate::helm_repository::{HelmRepositories, Indexes};
use crate::kustomization::Kustomizations;
use crate::oci_repository::{Images, OciRepositories};
use crate::queue::Queue;
use crate::runner::{self, Reconcile};
use crate::writer::resource_of;

/// Tasks that are started: watches, which are dropped in the end, and reconcilers, which may finish what they do.
pub(super) struct Tasks<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) watches: &'a mut JoinSet<()>,
    pub(super) runners: &'a mut JoinSet<()>,
    pub(super) queues: &'a mut Vec<Queue<Key>>,
}

impl Machine {
    /// Starts the watches and the reconcilers of the components that run here.
    pub(super) fn start(&self, mut tasks: Tasks<'_>) {
        let components = tasks.context.settings.components.clone();
        let (queue, releases_queue) = (Queue::default(), Queue::default());
        let peers = Peers::new(
            (&self.kustomizations, &queue),
            (&self.helm_releases, &releases_queue),
        );
        if components.contains(&Component::Kustomizations) {
            self.start_kustomizations(&mut tasks, Arc::clone(&peers), queue);
        }
        if components.contains(&Component::Sources) {
            self.start_git(&mut tasks);
            self.start_charts(&mut tasks);
            self.start_files(&mut tasks);
        }
        if components.contains(&Component::Generators) {
            self.start_generators(&mut tasks);
        }
        if components.contains(&Component::Releases) {
            self.start_releases(&mut tasks, peers, releases_queue);
        }
    }

    /// Objects of a kind of sources, for those who use them: what is reconciled here, if that is all there is.
    fn all_sources<K: Kind + Send + Sync + 'static>(
        own: &Arc<Feed<K>>,
        tasks: &mut Tasks<'_>,
    ) -> Arc<Feed<K>> {
        let settings = &tasks.context.settings;
        if settings.components.contains(&Component::Sources) && settings.sources.selector.is_none() {
            return Arc::clone(own);
        }
        // They may be labelled for another process, or be all of another program's.
        tasks.all_of()
    }

    fn start_git(&self, tasks: &mut Tasks<'_>) {
        let queue = Queue::default();
        let git = git_repository::reconciler(
            Arc::clone(tasks.context),
            Arc::clone(&self.git_repositories),
            queue.clone(),
        );
        tasks.follow(&self.git_repositories);
        let running = self.sources(tasks.context, git, &queue);
        tasks.run(&self.git_repositories, queue, running);
    }

    fn start_kustomizations(&self, tasks: &mut Tasks<'_>, peers: Arc<Peers>, queue: Queue<Key>) {
        let sources = Self::all_sources(&self.git_repositories, tasks);
        let context = tasks.context;
        let kustomizations = Arc::new(Kustomizations::new(
            Arc::clone(context),
            Arc::clone(&self.kustomizations),
            Arc::clone(&sources),
            peers,
            queue.clone(),
        ));
        tasks.follow(&self.kustomizations);
        for watch in kustomizations.watches() {
            tasks.watches.spawn(watch);
        }
        let running = runner::run(
            kustomizations,
            queue.clone(),
            context.settings.concurrent_kustomizations,
            context.settings.grace,
            Arc::clone(&self.metrics),
        );
        tasks.run(&self.kustomizations, queue, async move {
            sources.complete().await;
            running.await;
        });
    }

    /// Starts the reconciler of HelmReleases.
    fn start_releases(&self, tasks: &mut Tasks<'_>, peers: Arc<Peers>, queue: Queue<Key>) {
        let charts = Self::all_sources::<HelmChart>(&self.feeds.helm_charts, tasks);
        let context = tasks.context;
        let releases = Arc::new(HelmReleases::new(
            Arc::clone(context),
            Arc::clone(&self.helm_releases),
            Arc::clone(&charts),
            peers,
            queue.clone(),
        ));
        tasks.follow(&self.helm_releases);
        for watch in releases.watches() {
            tasks.watches.spawn(watch);
        }
        let running = runner::run(
            releases,
            queue.clone(),
            context.settings.concurrent_releases,
            context.settings.grace,
            Arc::clone(&self.metrics),
        );
        tasks.run(&self.helm_releases, queue, async move {
            charts.complete().await;
            running.await;
        });
    }

    /// Starts what reconciles chart repositories and charts.
    fn start_charts(&self, tasks: &mut Tasks<'_>) {
        let (feeds, context) = (&self.feeds, tasks.context);
        let (repositories, charts) = (Queue::default(), Queue::default());
        let reconciler = HelmRepositories::new(
            Arc::clone(context),
            Arc::clone(&feeds.helm_repositories),
            repositories.clone(),
            Indexes,
        );
        tasks.follow(&feeds.helm_repositories);
        let running = self.sources(context, reconciler, &repositories);
        tasks.run(&feeds.helm_repositories, repositories, running);
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
        tasks.follow(&feeds.helm_charts);
        let (origin, git) = (
            Arc::clone(&feeds.helm_repositories),
            Arc::clone(&self.git_repositories),
        );
        let running = self.sources(context, reconciler, &charts);
        tasks.run(&feeds.helm_charts, charts, async move {
            origin.complete().await;
            git.complete().await;
            running.await;
        });
    }

    /// Starts what reconciles images and buckets.
    fn start_files(&self, tasks: &mut Tasks<'_>) {
        let (feeds, context) = (&self.feeds, tasks.context);
        let (images, buckets) = (Queue::default(), Queue::default());
        let reconciler = OciRepositories::new(
            Arc::clone(context),
            Arc::clone(&feeds.oci_repositories),
            images.clone(),
            Images,
        );
        tasks.follow(&feeds.oci_repositories);
        let running = self.sources(context, reconciler, &images);
        tasks.run(&feeds.oci_repositories, images, running);
        let reconciler = Buckets::new(
            Arc::clone(context),
            Arc::clone(&feeds.buckets),
            buckets.clone(),
            Objects,
        );
        tasks.follow(&feeds.buckets);
        let running = self.sources(context, reconciler, &buckets);
        tasks.run(&feeds.buckets, buckets, running);
    }

    fn start_generators(&self, tasks: &mut Tasks<'_>) {
        let feeds = &self.feeds;
        let origins = artifact_generator::Origins {
            git: Self::all_sources(&self.git_repositories, tasks),
            oci: Self::all_sources(&feeds.oci_repositories, tasks),
            buckets: Self::all_sources(&feeds.buckets, tasks),
            charts: Self::all_sources(&feeds.helm_charts, tasks),
            external: tasks.all_of::<ExternalArtifact>(),
        };
        let queue = Queue::default();
        let reconciler = artifact_generator::reconciler(
            Arc::clone(tasks.context),
            Arc::clone(&feeds.generators),
            origins,
            queue.clone(),
        );
        tasks.follow(&feeds.generators);
        let running = self.sources(tasks.context, reconciler, &queue);
        tasks.run(&feeds.generators, queue, running);
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

impl Tasks<'_> {
    /// Follows all objects of a kind that this process reconciles.
    fn follow<K: Kind + Send + Sync + 'static>(&mut self, feed: &Arc<Feed<K>>) {
        let labels = self.context.settings.restrictions(K::KIND).selector.clone();
        self.watch(Arc::clone(feed), labels);
    }

    /// All objects of a kind, whatever their labels say about whose they are.
    fn all_of<K: Kind + Send + Sync + 'static>(&mut self) -> Arc<Feed<K>> {
        let all: Arc<Feed<K>> = Arc::default();
        self.watch(Arc::clone(&all), None);
        all
    }

    fn watch<K: Kind + Send + Sync + 'static>(&mut self, feed: Arc<Feed<K>>, labels: Option<String>) {
        let select = Select {
            namespace: self.context.settings.namespace.clone(),
            labels,
            ..Select::default()
        };
        let watch = self.context.cluster.watch(&resource_of::<K>(), &select);
        self.watches.spawn(async move { feed.follow(watch).await });
    }

    /// Lets a reconciler run once all objects of its kind are known.
    fn run<K: Kind + Send + Sync + 'static>(
        &mut self,
        feed: &Arc<Feed<K>>,
        queue: Queue<Key>,
        running: impl Future<Output = ()> + Send + 'static,
    ) {
        let feed = Arc::clone(feed);
        self.queues.push(queue);
        self.runners.spawn(async move {
            feed.complete().await;
            running.await;
        });
    }
}

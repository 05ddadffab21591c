//! HelmChart: comes to a chart from a repository as it is there, or packs one from a folder of a GitRepository or Bucket.

mod build;
mod dependencies;

use std::sync::{Arc, Mutex, PoisonError};

use fluvial_api::source::{HelmChartStatus, HelmRepositoryType, ReconcileStrategy};
use fluvial_api::{Bucket, GitRepository, HelmChart, HelmRepository, Resource, meta};
use fluvial_ports::{self as ports, ChartRequest, Content};
use fluvial_tree::Tree;
use rustc_hash::FxHashMap;

use crate::context::Context;
use crate::feed::Feed;
use crate::helm_repository::access;
use crate::links::Links;
use crate::queue::{Queue, Reasons};
use crate::source::port_artifact;
use crate::source::step::{Failure, Part, Stored, Verified, told};
use crate::source::{Obtain, SourceReconciler, artifact_name, collect, intact, source_id, verification};
use crate::{Key, SourceId};
use build::{Built, Recipe};

/// Reconciles HelmCharts.
pub type HelmCharts = SourceReconciler<HelmChart, Packages>;

/// The feeds of the sources that charts come from.
#[derive(Clone)]
pub struct Origins {
    /// Chart repositories.
    pub repositories: Arc<Feed<HelmRepository>>,
    /// Git repositories.
    pub git: Arc<Feed<GitRepository>>,
    /// Buckets.
    pub buckets: Arc<Feed<Bucket>>,
}

/// Comes to charts.
pub struct Packages {
    origins: Origins,
    /// Which version of a repository an artifact was made of, where it has another.
    made_of: Mutex<FxHashMap<Key, (String, String)>>,
}

/// A reconciler of HelmCharts, which a change of their source wakes.
pub fn reconciler(
    context: Arc<Context>,
    feed: Arc<Feed<HelmChart>>,
    origins: Origins,
    queue: Queue<Key>,
) -> HelmCharts {
    let links: Arc<Links<SourceId>> = Arc::default();
    {
        let links = Arc::clone(&links);
        feed.listen(move |transition| {
            let targets = transition.new.as_deref().map(|chart| vec![source_of(chart)]);
            links.set(&transition.key, targets.unwrap_or_default());
        });
    }
    // The spec of a repository counts too: one of type `oci` has nothing else.
    wake(&origins.repositories, &links, &queue, |repository| {
        (repository.metadata.generation, repository.status.artifact.clone())
    });
    wake(&origins.git, &links, &queue, |git| {
        (0, git.status.artifact.clone())
    });
    wake(&origins.buckets, &links, &queue, |bucket| {
        (0, bucket.status.artifact.clone())
    });
    let packages = Packages {
        origins,
        made_of: Mutex::default(),
    };
    SourceReconciler::new(context, feed, queue, packages)
}

/// Wakes charts when what matters of their source changes.
fn wake<K: Resource>(
    sources: &Feed<K>,
    links: &Arc<Links<SourceId>>,
    queue: &Queue<Key>,
    view: impl Fn(&K) -> (i64, Option<meta::Artifact>) + Send + Sync + 'static,
) {
    let (links, queue) = (Arc::clone(links), queue.clone());
    sources.listen(move |transition| {
        let old = transition.old.as_deref().map(&view);
        let new = transition.new.as_deref().map(&view);
        if new.is_some() && old != new {
            for chart in links.referrers(&source_id::<K>(&transition.key)) {
                queue.add(chart, Reasons::SOURCE);
            }
        }
    });
}

fn source_of(chart: &HelmChart) -> SourceId {
    let reference = &chart.spec.source_ref;
    SourceId {
        kind: reference.kind.as_str().into(),
        key: Key::new(&chart.metadata.namespace, &reference.name),
    }
}

/// A chart as it was come to, and what the status says of it.
struct Come {
    built: Built,
    /// Revision of the source's artifact.
    source_revision: Option<String>,
    rewritten: Option<String>,
    verified: Verified,
}

/// What a run came to.
enum Outcome {
    /// The artifact is as it should be.
    Same { verified: Verified },
    /// Another chart, or the same made anew.
    Fresh(Box<Come>),
}

impl Obtain<HelmChart> for Packages {
    type Found = Stored<HelmChartStatus>;

    fn doing(&self, object: &HelmChart) -> String {
        format!("building chart '{}'", object.spec.chart)
    }

    async fn obtain(&self, context: &Context, key: &Key, object: &HelmChart) -> Result<Self::Found, Failure> {
        let known = intact(context, object).await.filter(|_| {
            // Another generation is made anew, whatever its version.
            object.status.observed_generation == object.metadata.generation
        });
        let source = source_of(object);
        let outcome = match &*source.kind {
            "HelmRepository" => self.pull(context, key, object, known.as_ref()).await?,
            "GitRepository" | "Bucket" => self.pack(context, object, &source, known.as_ref()).await?,
            other => {
                return Err(Failure::stalled(
                    "SourceUnavailable",
                    format!(
                        "failed to get source: unsupported source kind '{other}'; use HelmRepository, GitRepository or Bucket"
                    ),
                ));
            }
        };
        match (outcome, known) {
            (Outcome::Same { verified }, Some(artifact)) => {
                let revision = self.source_revision(object);
                Ok(same(object, artifact, revision, verified))
            }
            (Outcome::Same { .. }, None) => Err(Failure::fetch("Failed", "the artifact has gone meanwhile")),
            (Outcome::Fresh(come), _) => self.store(context, key, *come).await,
        }
    }

    fn forget(&self, _context: &Context, key: &Key) {
        self.made_of
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

/// The status when nothing has changed.
fn same(
    object: &HelmChart,
    artifact: ports::Artifact,
    source_revision: Option<String>,
    verified: Verified,
) -> Stored<HelmChartStatus> {
    let ready = crate::condition::get(&object.status.conditions, "ArtifactInStorage");
    let (reason, message) = match ready {
        Some(condition) => (condition.reason.as_str(), condition.message.clone()),
        None => (
            "ChartPullSucceeded",
            build::summary("pulled", object, &artifact.revision),
        ),
    };
    let reason = match reason {
        "ChartPackageSucceeded" => "ChartPackageSucceeded",
        _ => "ChartPullSucceeded",
    };
    Stored {
        artifact,
        metadata: Default::default(),
        observed: Box::new(|status| status.observed_source_artifact_revision = source_revision),
        reason,
        event: (reason, message.clone()),
        message,
        verified,
    }
}

impl Packages {
    /// The chart's repository object.
    fn repository(&self, namespace: &str, name: &str) -> Result<Arc<HelmRepository>, Failure> {
        let key = Key::new(namespace, name);
        self.origins
            .repositories
            .store()
            .get(&key)
            .ok_or_else(|| absent("HelmRepository", &key))
    }

    /// The artifact of the chart's source.
    fn artifact(&self, source: &SourceId) -> Result<meta::Artifact, Failure> {
        let Origins {
            git,
            buckets,
            repositories,
        } = &self.origins;
        let artifact = match &*source.kind {
            "GitRepository" => git
                .store()
                .get(&source.key)
                .map(|git| git.status.artifact.clone()),
            "Bucket" => buckets
                .store()
                .get(&source.key)
                .map(|bucket| bucket.status.artifact.clone()),
            _ => repositories
                .store()
                .get(&source.key)
                .map(|repository| repository.status.artifact.clone()),
        };
        artifact
            .ok_or_else(|| absent(&source.kind, &source.key))?
            .ok_or_else(|| {
                let text = format!(
                    "no artifact available for {} source '{}'",
                    source.kind, source.key.name
                );
                Failure::new_waiting(Part::Fetch, "NoSourceArtifact", text)
            })
    }

    fn source_revision(&self, object: &HelmChart) -> Option<String> {
        let artifact = self.artifact(&source_of(object)).ok()?;
        Some(artifact.revision)
    }

    async fn pull(
        &self,
        context: &Context,
        key: &Key,
        object: &HelmChart,
        known: Option<&ports::Artifact>,
    ) -> Result<Outcome, Failure> {
        let spec = &object.spec;
        let repository = self.repository(&object.metadata.namespace, &spec.source_ref.name)?;
        let index = match repository.spec.r#type {
            HelmRepositoryType::Oci => None,
            HelmRepositoryType::Default => Some(self.artifact(&source_of(object))?.revision),
        };
        let last_version = known.and_then(|known| self.version_behind(key, object, &known.revision));
        let namespace = &object.metadata.namespace;
        let verify = spec.verify.as_ref().map(Into::into);
        let verify = verification::wanted(context, namespace, verify, "ChartVerificationError").await?;
        let asked = verify.is_some();
        let request = ChartRequest {
            repository: repository.spec.url.clone(),
            chart: spec.chart.clone(),
            version: spec.version.clone(),
            index: index.clone(),
            access: access(context, &repository).await?,
            verify,
            last_version,
        };
        let found = context.sources.chart(request).await?;
        let verified = verification::verified(asked, found.verified);
        let Some(archive) = found.archive else {
            return Ok(Outcome::Same { verified });
        };
        let recipe = Recipe {
            values_files: spec.values_files.clone(),
            ignore_missing: spec.ignore_missing_values_files,
            version_metadata: self::version_metadata(object, None),
        };
        let plain = found.version;
        let built = aside(context, move || build::pulled(archive, &recipe)).await?;
        if built.version != plain {
            let mut made_of = self.made_of.lock().unwrap_or_else(PoisonError::into_inner);
            made_of.insert(key.clone(), (built.version.clone(), plain));
        }
        Ok(Outcome::Fresh(Box::new(Come {
            built,
            source_revision: index,
            rewritten: found.rewritten,
            verified,
        })))
    }

    /// The version in the repository that an artifact was made of.
    fn version_behind(&self, key: &Key, object: &HelmChart, revision: &str) -> Option<String> {
        if object.spec.values_files.is_empty() {
            return Some(revision.to_owned());
        }
        let made_of = self.made_of.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, plain) = made_of.get(key)?;
        (made == revision).then(|| plain.clone())
    }

    async fn pack(
        &self,
        context: &Context,
        object: &HelmChart,
        source: &SourceId,
        known: Option<&ports::Artifact>,
    ) -> Result<Outcome, Failure> {
        if object.spec.verify.is_some() {
            return Err(Failure::stalled(
                "ChartVerificationError",
                "spec.verify is for charts of OCI repositories; remove it, or verify the GitRepository",
            ));
        }
        let artifact = self.artifact(source)?;
        let tree = tree_of(context, source, &artifact).await?;
        let recipe = Recipe {
            values_files: object.spec.values_files.clone(),
            ignore_missing: object.spec.ignore_missing_values_files,
            version_metadata: version_metadata(object, Some((source, &artifact.revision))),
        };
        let (chart, files) = (object.spec.chart.clone(), tree.clone());
        let mut started = aside(context, move || build::start(&files, &chart, &recipe)).await?;
        if known.is_some_and(|known| known.revision == started.version) {
            return Ok(Outcome::Same {
                verified: Verified::Unasked,
            });
        }
        let resolved = dependencies::resolve(self, context, object, &tree, &mut started).await?;
        let built = aside(context, move || started.finish(resolved)).await?;
        Ok(Outcome::Fresh(Box::new(Come {
            built,
            source_revision: Some(artifact.revision),
            rewritten: None,
            verified: Verified::Unasked,
        })))
    }

    async fn store(
        &self,
        context: &Context,
        key: &Key,
        come: Come,
    ) -> Result<Stored<HelmChartStatus>, Failure> {
        let Come {
            built,
            source_revision,
            rewritten,
            verified,
        } = come;
        let name = artifact_name::<HelmChart>(key, format!("{}-{}.tgz", built.name, built.version));
        let content = Content::Bytes(built.data);
        let artifact = context
            .artifacts
            .put_content(&name, &built.version, &content)
            .await?;
        collect(context, &artifact).await;
        let (chart, values_files) = (built.name, built.values_files);
        let reason = if built.packaged {
            "ChartPackageSucceeded"
        } else {
            "ChartPullSucceeded"
        };
        let message = told(built.summary, rewritten.as_deref());
        Ok(Stored {
            artifact,
            metadata: Default::default(),
            observed: Box::new(|status| {
                status.observed_chart_name = Some(chart);
                status.observed_source_artifact_revision = source_revision;
                status.observed_values_files = values_files;
            }),
            reason,
            event: (reason, message.clone()),
            message,
            verified,
        })
    }
}

/// The build metadata that a chart's version gets: short revision of its source, and generation of its values.
fn version_metadata(object: &HelmChart, source: Option<(&SourceId, &str)>) -> String {
    let mut parts = Vec::new();
    if let Some((_, revision)) = source
        && object.spec.reconcile_strategy == ReconcileStrategy::Revision
    {
        let id = revision.rsplit([':', '/']).next().unwrap_or_default();
        parts.push(id.chars().take(12).collect::<String>());
    }
    if !object.spec.values_files.is_empty() {
        parts.push(object.metadata.generation.to_string());
    }
    parts.join(".")
}

/// The files of an artifact: held in this process, or read from where it is stored.
pub(crate) async fn tree_of(
    context: &Context,
    source: &SourceId,
    artifact: &meta::Artifact,
) -> Result<Tree, Failure> {
    if let Some(held) = context
        .revisions
        .exactly(source, &artifact.revision, &artifact.digest)
    {
        return Ok(held.tree.clone());
    }
    let loaded = context.artifacts.load(&port_artifact(artifact)).await;
    loaded.map_err(|error| {
        let text = format!("artifact of '{source}' cannot be read: {error}");
        Failure::fetch("SourceUnavailable", text)
    })
}

fn absent(kind: &str, key: &Key) -> Failure {
    Failure::fetch(
        "SourceUnavailable",
        format!("failed to get source: {kind} '{key}' not found; create it or correct spec.sourceRef"),
    )
}

/// Packing and unpacking, away from the threads that must not wait.
pub(crate) async fn aside<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match context.aside.run(work).await {
        Ok(result) => result,
        Err(error) => Err(Failure::fetch(
            "Failed",
            format!("the work was broken off: {error}"),
        )),
    }
}

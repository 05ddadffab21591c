//! ArtifactGenerator: ExternalArtifacts made of parts of other sources. Their revisions say what is in them, so that who
//! builds from one wakes only when that part has changed.

mod archive;
pub mod copy;
mod outputs;
pub mod step;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use fluvial_api::extensions::{GeneratedArtifact, OutputArtifact};
use fluvial_api::{ArtifactGenerator, Bucket, GitRepository, HelmChart, OCIRepository, Resource as _, meta};
use fluvial_ports::{self as ports, ArtifactName, Target};
use fluvial_tree::{Digest, Tree};
use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::context::Context;
use crate::feed::Feed;
use crate::helm_chart::{aside, tree_of};
use crate::links::Links;
use crate::metrics::ResourceFacts;
use crate::queue::{Queue, Reasons, Work};
use crate::recorder::About;
use crate::revisions::Held;
use crate::runner::{Reconcile, Requeue, Slot};
use crate::source::source_id;
use crate::source::step::{Failure, Moment};
use crate::writer::Writer;
use crate::{Key, SourceId, condition};
use outputs::Output;
use step::Done;

/// Name under which events are reported, as dashboards know it.
const CONTROLLER: &str = "source-watcher";
/// Finalizer of generators.
const FINALIZER: &str = "source.extensions.fluxcd.io/finalizer";
/// Annotation of an artifact with the revision of its own source.
const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";

/// The feeds of the sources that artifacts are made of.
#[derive(Clone)]
pub struct Origins {
    /// Git repositories.
    pub git: Arc<Feed<GitRepository>>,
    /// OCI repositories.
    pub oci: Arc<Feed<OCIRepository>>,
    /// Buckets.
    pub buckets: Arc<Feed<Bucket>>,
    /// Charts.
    pub charts: Arc<Feed<HelmChart>>,
}

/// Reconciles ArtifactGenerators.
pub struct ArtifactGenerators {
    context: Arc<Context>,
    feed: Arc<Feed<ArtifactGenerator>>,
    origins: Origins,
    writer: Writer<ArtifactGenerator>,
    queue: Queue<Key>,
    failures: Mutex<FxHashMap<Key, u32>>,
}

/// A source with its artifact and files.
struct Input {
    artifact: meta::Artifact,
    tree: Tree,
}

impl ArtifactGenerators {
    /// A reconciler whose queue is filled by `feed` and by its sources.
    pub fn new(
        context: Arc<Context>,
        feed: Arc<Feed<ArtifactGenerator>>,
        origins: Origins,
        queue: Queue<Key>,
    ) -> Self {
        let links: Arc<Links<SourceId>> = Arc::default();
        {
            let (links, wake) = (Arc::clone(&links), queue.clone());
            feed.listen(move |transition| {
                let (old, new) = (transition.old.as_deref(), transition.new.as_deref());
                links.set(&transition.key, new.map(sources_of).unwrap_or_default());
                let mut reasons =
                    crate::wake::own(old.map(|old| &old.metadata), new.map(|new| &new.metadata));
                if old.map(step::is_disabled) != new.map(step::is_disabled) {
                    reasons = reasons.with(Reasons::SPEC);
                }
                if !reasons.is_empty() {
                    wake.add(transition.key.clone(), reasons);
                }
            });
        }
        wake(&origins.git, &links, &queue, |git| git.status.artifact.as_ref());
        wake(&origins.oci, &links, &queue, |oci| oci.status.artifact.as_ref());
        wake(&origins.buckets, &links, &queue, |of| of.status.artifact.as_ref());
        wake(&origins.charts, &links, &queue, |of| of.status.artifact.as_ref());
        let writer = Writer::new(
            Arc::clone(&context.cluster),
            Arc::clone(&feed),
            Arc::clone(&context.metrics),
            "gotk-source-watcher",
        )
        .with_finalizer(FINALIZER);
        Self {
            context,
            feed,
            origins,
            writer,
            queue,
            failures: Mutex::default(),
        }
    }

    async fn run(&self, key: &Key) -> Requeue {
        let Some(mut generator) = self.feed.store().get(key) else {
            self.context.metrics.forget(ArtifactGenerator::KIND, key);
            self.queue.forget(key);
            return Requeue::Never;
        };
        if generator.metadata.is_deleting() {
            return self.delete(key, &generator).await;
        }
        if step::is_disabled(&generator) {
            return Requeue::Never;
        }
        match self.writer.hold(&generator).await {
            Ok(Some(held)) => generator = held,
            Ok(None) => return Requeue::Never,
            Err(error) => return self.unwritten(key, &error),
        }
        let outcome = self.generate(&generator).await;
        if let Some(newest) = self.feed.store().get(key) {
            Arc::make_mut(&mut generator).status = newest.status.clone();
        }
        let failures = self.count_failures(key, outcome.is_err());
        let moment = Moment {
            settings: &self.context.settings,
            now: self.context.clock.now(),
            random: self.context.clock.random(),
        };
        let decision = match outcome {
            Ok(done) => step::succeeded(&generator, done, moment),
            Err(failure) => step::failed(&generator, &failure, failures, moment),
        };
        let written = match self.writer.status(&generator, &decision.status).await {
            Ok(Some(written)) => written,
            Ok(None) => return Requeue::Now,
            Err(error) => return self.unwritten(key, &error),
        };
        for notice in decision.notices {
            let about = About {
                api_version: &ArtifactGenerator::api_version(),
                kind: ArtifactGenerator::KIND,
                metadata: &written.metadata,
                controller: CONTROLLER,
            };
            let recorder = &self.context.recorder;
            recorder.send(recorder.event(&about, notice.severity, &notice.reason, &notice.message));
        }
        let conditions = &written.status.conditions;
        let facts = ResourceFacts {
            ready: condition::get(conditions, condition::READY)
                .map_or("Unknown", |ready| ready.status.as_str()),
            suspended: false,
            revision: written
                .status
                .observed_sources_digest
                .as_deref()
                .unwrap_or_default(),
            source: "",
        };
        self.context
            .metrics
            .show(ArtifactGenerator::KIND, key, conditions, &facts);
        decision.requeue
    }

    /// Counts a run; says how many failed before it.
    fn count_failures(&self, key: &Key, failed: bool) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failed {
            let count = failures.entry(key.clone()).or_default();
            *count += 1;
            *count - 1
        } else {
            failures.remove(key);
            0
        }
    }

    fn unwritten(&self, key: &Key, error: &ports::ClusterError) -> Requeue {
        tracing::warn!(kind = ArtifactGenerator::KIND, %key, %error, "the object could not be written; it is tried again");
        let failures = self.count_failures(key, true);
        Requeue::After(self.context.settings.backoff.after(failures + 1))
    }

    /// The artifact of a source.
    async fn artifact(&self, source: &SourceId) -> Result<meta::Artifact, Failure> {
        let Origins {
            git,
            oci,
            buckets,
            charts,
        } = &self.origins;
        let key = &source.key;
        let found = match &*source.kind {
            "GitRepository" => git.store().get(key).map(|object| object.status.artifact.clone()),
            "OCIRepository" => oci.store().get(key).map(|object| object.status.artifact.clone()),
            "Bucket" => buckets
                .store()
                .get(key)
                .map(|object| object.status.artifact.clone()),
            "HelmChart" => charts
                .store()
                .get(key)
                .map(|object| object.status.artifact.clone()),
            "ExternalArtifact" => self.external(key).await?,
            other => {
                return Err(Failure::stalled(
                    "ValidationFailed",
                    format!(
                        "source kind '{other}' is not supported; use GitRepository, OCIRepository, Bucket, HelmChart or ExternalArtifact"
                    ),
                ));
            }
        };
        let waiting = |text: String| Failure::new_waiting("SourceFetchFailed", text);
        found
            .ok_or_else(|| {
                waiting(format!(
                    "source '{source}' not found; create it or correct spec.sources"
                ))
            })?
            .ok_or_else(|| waiting(format!("source '{source}' has no artifact yet")))
    }

    async fn external(&self, key: &Key) -> Result<Option<Option<meta::Artifact>>, Failure> {
        let resource = outputs::resource();
        let target = Target {
            resource: &resource,
            namespace: &key.namespace,
            name: &key.name,
        };
        let read = |error: String| Failure::fetch("SourceFetchFailed", error);
        let found = self.context.cluster.get(target).await;
        let Some(object) =
            found.map_err(|error| read(format!("ExternalArtifact '{key}' cannot be read: {error}")))?
        else {
            return Ok(None);
        };
        match object.pointer("/status/artifact") {
            None | Some(Value::Null) => Ok(Some(None)),
            Some(artifact) => serde_json::from_value(artifact.clone())
                .map(|artifact| Some(Some(artifact)))
                .map_err(|error| read(format!("status.artifact of ExternalArtifact '{key}': {error}"))),
        }
    }

    async fn inputs(&self, generator: &ArtifactGenerator) -> Result<BTreeMap<String, Input>, Failure> {
        let mut inputs = BTreeMap::new();
        for (alias, source) in generator.spec.sources.iter().zip(sources_of(generator)) {
            let foreign = *source.key.namespace != *generator.metadata.namespace;
            if foreign && self.context.settings.sources.no_cross_namespace_refs {
                return Err(Failure::stalled(
                    "AccessDenied",
                    format!(
                        "source '{source}' is in another namespace, which this process is told to refuse"
                    ),
                ));
            }
            let artifact = self.artifact(&source).await?;
            let tree = tree_of(&self.context, &source, &artifact).await?;
            if inputs
                .insert(alias.alias.clone(), Input { artifact, tree })
                .is_some()
            {
                return Err(Failure::stalled(
                    "ValidationFailed",
                    format!("two sources have the alias '{}'", alias.alias),
                ));
            }
        }
        Ok(inputs)
    }

    /// Makes what is to be made; nothing is written if neither the sources nor the spec have changed.
    async fn generate(&self, generator: &ArtifactGenerator) -> Result<Done, Failure> {
        let inputs = self.inputs(generator).await?;
        let mut text = String::new();
        for (alias, input) in &inputs {
            let artifact = &input.artifact;
            text.push_str(&format!("{alias} {} {}\n", artifact.revision, artifact.digest));
        }
        let sources_digest = Digest::of(text.as_bytes()).to_string();
        if step::is_current(generator, &sources_digest) && self.is_stored(generator).await {
            return Ok(Done {
                inventory: generator.status.inventory.clone(),
                sources_digest,
            });
        }
        let trees: copy::Sources = inputs
            .iter()
            .map(|(alias, input)| (alias.clone(), input.tree.clone()))
            .collect();
        let spec = generator.spec.clone();
        let made = aside(move || {
            let failed = |text: String| Failure::new_build("BuildFailed", text);
            let expanded =
                copy::expand(spec.path_pattern.as_deref(), &spec.artifacts, &trees).map_err(failed)?;
            let assembled = expanded.into_iter().map(|(artifact, labels)| {
                let tree = copy::assemble(&artifact, &trees)?;
                Ok((artifact, labels, tree))
            });
            assembled.collect::<Result<Vec<_>, _>>().map_err(failed)
        })
        .await?;
        let mut inventory = Vec::new();
        for (artifact, labels, tree) in made {
            inventory.push(self.put(generator, &artifact, labels, &tree, &inputs).await?);
        }
        for gone in &generator.status.inventory {
            if !inventory.iter().any(|made| made.name == gone.name) {
                outputs::remove(&self.context, &gone.namespace, &gone.name).await?;
            }
        }
        Ok(Done {
            inventory,
            sources_digest,
        })
    }

    /// Whether all artifacts of the inventory are in the store as they were made.
    async fn is_stored(&self, generator: &ArtifactGenerator) -> bool {
        for made in &generator.status.inventory {
            let source = outputs::source(&made.namespace, &made.name);
            let path = format!(
                "externalartifact/{}/{}/{}",
                made.namespace, made.name, made.filename
            );
            let artifact = ports::Artifact {
                path,
                digest: made.digest.clone(),
                ..ports::Artifact::default()
            };
            if self.context.revisions.get(&source).is_none()
                || !self.context.artifacts.verify(&artifact).await
            {
                return false;
            }
        }
        true
    }

    /// Stores one artifact and writes its object.
    async fn put(
        &self,
        generator: &ArtifactGenerator,
        output: &OutputArtifact,
        labels: BTreeMap<String, String>,
        tree: &Tree,
        inputs: &BTreeMap<String, Input>,
    ) -> Result<GeneratedArtifact, Failure> {
        let namespace = &generator.metadata.namespace;
        let of = |reference: &Option<String>, field: &str| match reference.as_deref() {
            None | Some("") => Ok(None),
            Some(reference) => inputs
                .get(reference.trim_start_matches('@'))
                .map(|input| Some(&input.artifact))
                .ok_or_else(|| {
                    let text = format!(
                        "{field} '{reference}' of artifact '{}' names no source",
                        output.name
                    );
                    Failure::stalled("ValidationFailed", text)
                }),
        };
        let pinned = of(&output.revision, "revision")?;
        let origin = of(&output.origin_revision, "originRevision")?;
        let file = format!("{}.tar.gz", tree.digest().to_hex());
        let name = ArtifactName {
            kind: "ExternalArtifact".to_owned(),
            namespace: namespace.clone(),
            name: output.name.clone(),
            file: file.clone(),
        };
        let mut artifact = self.context.artifacts.put(&name, "", tree).await?;
        artifact.revision = match pinned {
            Some(pinned) => pinned.revision.clone(),
            None => format!("latest@{}", artifact.digest),
        };
        let metadata = origin.map(|origin| {
            let revision = origin.metadata.get(ORIGIN_REVISION).unwrap_or(&origin.revision);
            BTreeMap::from([(ORIGIN_REVISION.to_owned(), revision.clone())])
        });
        let held = Held {
            revision: artifact.revision.clone(),
            digest: artifact.digest.clone(),
            tree: tree.clone(),
        };
        self.context
            .revisions
            .put(outputs::source(namespace, &output.name), held);
        let made = GeneratedArtifact {
            name: output.name.clone(),
            namespace: namespace.clone(),
            digest: artifact.digest.clone(),
            filename: file,
        };
        crate::source::collect(&self.context, &artifact).await;
        let output = Output {
            name: &output.name,
            artifact: &artifact,
            metadata: metadata.unwrap_or_default(),
            labels,
        };
        outputs::write(&self.context, generator, &output).await?;
        Ok(made)
    }

    async fn delete(&self, key: &Key, generator: &Arc<ArtifactGenerator>) -> Requeue {
        for made in &generator.status.inventory {
            if let Err(failure) = outputs::remove(&self.context, &made.namespace, &made.name).await {
                tracing::warn!(%key, error = %failure.message, "an artifact of a deleted generator could not be removed");
                let failures = self.count_failures(key, true);
                return Requeue::After(self.context.settings.backoff.after(failures + 1));
            }
        }
        match self.writer.release(generator).await {
            Ok(()) => Requeue::Never,
            Err(error) => self.unwritten(key, &error),
        }
    }
}

impl Reconcile for ArtifactGenerators {
    const KIND: &'static str = ArtifactGenerator::KIND;

    fn reconcile(
        self: Arc<Self>,
        work: &mut Work<Key>,
        _slot: &mut Slot,
    ) -> impl Future<Output = Requeue> + Send {
        let key = work.key().clone();
        async move { self.run(&key).await }
    }
}

/// The sources of a generator, in order.
fn sources_of(generator: &ArtifactGenerator) -> Vec<SourceId> {
    let own = &generator.metadata.namespace;
    let sources = generator.spec.sources.iter();
    sources
        .map(|source| SourceId {
            kind: source.kind.as_str().into(),
            key: Key::new(source.namespace.as_ref().unwrap_or(own), &source.name),
        })
        .collect()
}

/// Wakes generators when the artifact of one of their sources changes.
fn wake<K: fluvial_api::Resource>(
    sources: &Feed<K>,
    links: &Arc<Links<SourceId>>,
    queue: &Queue<Key>,
    artifact: impl Fn(&K) -> Option<&meta::Artifact> + Send + Sync + 'static,
) {
    let (links, queue) = (Arc::clone(links), queue.clone());
    sources.listen(move |transition| {
        let old = transition.old.as_deref().and_then(&artifact);
        let new = transition.new.as_deref().and_then(&artifact);
        if new.is_some() && old != new {
            for generator in links.referrers(&source_id::<K>(&transition.key)) {
                queue.add(generator, Reasons::SOURCE);
            }
        }
    });
}

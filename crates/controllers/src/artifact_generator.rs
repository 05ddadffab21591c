//! ArtifactGenerator: ExternalArtifacts made of parts of other sources. Their revisions say what is in them, so that who
//! builds from one wakes only when that part has changed.

mod archive;
pub mod copy;
mod outputs;
pub mod step;

use std::collections::BTreeMap;
use std::sync::Arc;

use fluvial_api::extensions::{GeneratedArtifact, OutputArtifact};
use fluvial_api::{
    ArtifactGenerator, Bucket, ExternalArtifact, GitRepository, HelmChart, OCIRepository, meta,
};
use fluvial_ports::{self as ports, ArtifactName, Target};
use fluvial_tree::{Digest, Tree};
use serde_json::Value;

use crate::context::Context;
use crate::feed::Feed;
use crate::helm_chart::{aside, tree_of};
use crate::links::Links;
use crate::queue::{Queue, Reasons};
use crate::revisions::Held;
use crate::source::step::{Failure, Part};
use crate::source::{Obtain, SourceReconciler, source_id};
use crate::{Key, SourceId};
use outputs::Output;
use step::Done;

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
    /// What other generators make, and other programs.
    pub external: Arc<Feed<ExternalArtifact>>,
}

/// Reconciles ArtifactGenerators.
pub type ArtifactGenerators = SourceReconciler<ArtifactGenerator, Generators>;

/// Comes to artifacts made of others.
pub struct Generators {
    origins: Origins,
}

/// A source with its artifact and files.
struct Input {
    artifact: meta::Artifact,
    tree: Tree,
}

/// A reconciler of ArtifactGenerators, which a change of one of their sources wakes.
pub fn reconciler(
    context: Arc<Context>,
    feed: Arc<Feed<ArtifactGenerator>>,
    origins: Origins,
    queue: Queue<Key>,
) -> ArtifactGenerators {
    let links: Arc<Links<SourceId>> = Arc::default();
    {
        let links = Arc::clone(&links);
        feed.listen(move |transition| {
            let new = transition.new.as_deref();
            links.set(&transition.key, new.map(sources_of).unwrap_or_default());
        });
    }
    wake(&origins.git, &links, &queue, |git| git.status.artifact.as_ref());
    wake(&origins.oci, &links, &queue, |oci| oci.status.artifact.as_ref());
    wake(&origins.buckets, &links, &queue, |of| of.status.artifact.as_ref());
    wake(&origins.charts, &links, &queue, |of| of.status.artifact.as_ref());
    wake(&origins.external, &links, &queue, |of| {
        of.status.artifact.as_ref()
    });
    SourceReconciler::new(context, feed, queue, Generators { origins })
}

impl Obtain<ArtifactGenerator> for Generators {
    type Found = Done;

    fn doing(&self, _object: &ArtifactGenerator) -> String {
        "generating artifacts".to_owned()
    }

    /// Makes what is to be made; nothing is written if neither the sources nor the spec have changed.
    async fn obtain(
        &self,
        context: &Context,
        _key: &Key,
        generator: &ArtifactGenerator,
    ) -> Result<Done, Failure> {
        let inputs = self.inputs(context, generator).await?;
        let mut text = String::new();
        for (alias, input) in &inputs {
            let artifact = &input.artifact;
            text.push_str(&format!("{alias} {} {}\n", artifact.revision, artifact.digest));
        }
        let sources_digest = Digest::of(text.as_bytes()).to_string();
        if step::is_current(generator, &sources_digest) && is_stored(context, generator).await {
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
        let made = aside(context, move || {
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
            inventory.push(put(context, generator, &artifact, labels, tree, &inputs).await?);
        }
        for gone in &generator.status.inventory {
            if !inventory.iter().any(|made| made.name == gone.name) {
                outputs::remove(context, &gone.namespace, &gone.name).await?;
            }
        }
        Ok(Done {
            inventory,
            sources_digest,
        })
    }

    async fn clean_up(
        &self,
        context: &Context,
        _key: &Key,
        generator: &ArtifactGenerator,
    ) -> Result<(), Failure> {
        for made in &generator.status.inventory {
            outputs::remove(context, &made.namespace, &made.name).await?;
        }
        Ok(())
    }
}

impl Generators {
    /// The artifact of a source.
    async fn artifact(&self, context: &Context, source: &SourceId) -> Result<meta::Artifact, Failure> {
        let Origins {
            git,
            oci,
            buckets,
            charts,
            ..
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
            "ExternalArtifact" => external(context, key).await?,
            other => {
                return Err(Failure::stalled(
                    "ValidationFailed",
                    format!(
                        "source kind '{other}' is not supported; use GitRepository, OCIRepository, Bucket, HelmChart or ExternalArtifact"
                    ),
                ));
            }
        };
        let waiting = |text: String| Failure::new_waiting(Part::Fetch, "SourceFetchFailed", text);
        found
            .ok_or_else(|| {
                waiting(format!(
                    "source '{source}' not found; create it or correct spec.sources"
                ))
            })?
            .ok_or_else(|| waiting(format!("source '{source}' has no artifact yet")))
    }

    async fn inputs(
        &self,
        context: &Context,
        generator: &ArtifactGenerator,
    ) -> Result<BTreeMap<String, Input>, Failure> {
        let mut inputs = BTreeMap::new();
        for (alias, source) in generator.spec.sources.iter().zip(sources_of(generator)) {
            let foreign = *source.key.namespace != *generator.metadata.namespace;
            if foreign && context.settings.sources.no_cross_namespace_refs {
                return Err(Failure::stalled(
                    "AccessDenied",
                    format!(
                        "source '{source}' is in another namespace, which this process is told to refuse"
                    ),
                ));
            }
            let artifact = self.artifact(context, &source).await?;
            let tree = tree_of(context, &source, &artifact).await;
            let tree = tree.map_err(|failure| Failure {
                reason: "SourceFetchFailed".to_owned(),
                ..failure
            })?;
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
}

async fn external(context: &Context, key: &Key) -> Result<Option<Option<meta::Artifact>>, Failure> {
    let resource = outputs::resource();
    let target = Target {
        resource: &resource,
        namespace: &key.namespace,
        name: &key.name,
    };
    let read = |error: String| Failure::fetch("SourceFetchFailed", error);
    let found = context.cluster.get(target).await;
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

/// Whether all artifacts of the inventory are in the store as they were made.
async fn is_stored(context: &Context, generator: &ArtifactGenerator) -> bool {
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
        if context.revisions.get(&source).is_none() || !context.artifacts.verify(&artifact).await {
            return false;
        }
    }
    true
}

/// Stores one artifact and writes its object.
async fn put(
    context: &Context,
    generator: &ArtifactGenerator,
    output: &OutputArtifact,
    labels: BTreeMap<String, String>,
    tree: Tree,
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
    let mut artifact = context.artifacts.put(&name, "", &tree).await?;
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
        tree,
    };
    context
        .revisions
        .put(outputs::source(namespace, &output.name), held);
    let made = GeneratedArtifact {
        name: output.name.clone(),
        namespace: namespace.clone(),
        digest: artifact.digest.clone(),
        filename: file,
    };
    crate::source::collect(context, &artifact).await;
    let output = Output {
        name: &output.name,
        artifact: &artifact,
        metadata: metadata.unwrap_or_default(),
        labels,
    };
    outputs::write(context, generator, &output).await?;
    Ok(made)
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

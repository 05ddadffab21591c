//! What a run starts from: the source's artifact and files, variables, and what others of the same source want.

use std::sync::Arc;

use fluvial_api::meta::Artifact;
use fluvial_api::{GitRepository, Kustomization, Resource as Kind};
use fluvial_delivery::substitute::{Reference, Substitution};
use fluvial_kustomize::{FileError, RemoteResolver, RepoSpec};
use fluvial_object::ObjectId;
use fluvial_ports::{ClusterError, FetchRequest, Fetched, Resource, Select, Sources, Target};
use fluvial_tree::{Digest, Tree};
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::Kustomizations;
use super::claims::{Builds, Wishes, owner};
use super::keys::Keys;
use super::manifest::{self, Built, Recipe};
use super::step::{self, BUILD_FAILED};
use super::wakes::source_of;
use crate::context::Component;
use crate::deliverer::failure::{ARTIFACT_FAILED, Failure, not_found};
use crate::remote::{self, Place};
use crate::revisions::Held;
use crate::source::port_artifact;
use crate::writer::resource_of;
use crate::{Key, SourceId};

/// Annotation of an artifact with the revision of its own source.
const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";

/// A source with an artifact.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Which source.
    pub(crate) id: SourceId,
    /// Its artifact.
    pub(crate) artifact: Artifact,
}

impl Source {
    /// Revision of what the artifact was made from.
    pub(crate) fn origin_revision(&self) -> Option<String> {
        self.artifact.metadata.get(ORIGIN_REVISION).cloned()
    }
}

/// Tells whether collected wishes are still those of the same Kustomizations at the same revision.
pub(crate) type Fingerprint = Digest;

impl Kustomizations {
    /// The source that a Kustomization names, with its artifact.
    pub(super) async fn source(&self, object: &Kustomization) -> Result<Source, Failure> {
        let id = source_of(object);
        let artifact = if *id.kind == *<GitRepository as Kind>::KIND {
            let found = self.git.store().get(&id.key);
            found.ok_or_else(|| absent(&id))?.status.artifact.clone()
        } else {
            self.foreign_artifact(&id).await?
        };
        let wait = fluvial_api::Duration(self.context.settings.requeue_dependency);
        let artifact = artifact.ok_or_else(|| {
            Failure::waiting(
                ARTIFACT_FAILED,
                format!("Source artifact not found, retrying in {wait}"),
            )
        })?;
        Ok(Source { id, artifact })
    }

    /// The artifact of a source that somebody else reconciles.
    async fn foreign_artifact(&self, id: &SourceId) -> Result<Option<Artifact>, Failure> {
        let plural = match &*id.kind {
            "OCIRepository" => "ocirepositories",
            "Bucket" => "buckets",
            "ExternalArtifact" => "externalartifacts",
            other => {
                return Err(Failure::stalled(
                    ARTIFACT_FAILED,
                    format!(
                        "source kind '{other}' is not supported; use GitRepository, OCIRepository, Bucket or ExternalArtifact"
                    ),
                ));
            }
        };
        let resource = Resource {
            group: "source.toolkit.fluxcd.io".to_owned(),
            version: "v1".to_owned(),
            kind: id.kind.to_string(),
            plural: plural.to_owned(),
            namespaced: true,
        };
        let target = Target {
            resource: &resource,
            namespace: &id.key.namespace,
            name: &id.key.name,
        };
        let failed = |text: String| Failure::retry(ARTIFACT_FAILED, text);
        let found = self
            .context
            .cluster
            .get(target)
            .await
            .map_err(|error| failed(format!("source '{id}' cannot be read: {error}")))?
            .ok_or_else(|| absent(id))?;
        match found.pointer("/status/artifact") {
            None | Some(Value::Null) => Ok(None),
            Some(artifact) => serde_json::from_value(artifact.clone())
                .map(Some)
                .map_err(|error| {
                    failed(format!(
                        "status.artifact of source '{id}' cannot be read: {error}"
                    ))
                }),
        }
    }

    /// The files of an artifact: held in this process, or read from where it is stored.
    pub(super) async fn tree(&self, source: &Source) -> Result<Tree, Failure> {
        let Source { id, artifact } = source;
        let revisions = &self.context.revisions;
        if let Some(held) = revisions.exactly(id, &artifact.revision, &artifact.digest) {
            return Ok(held.tree.clone());
        }
        let loaded = self.context.artifacts.load(&port_artifact(artifact)).await;
        if let Ok(tree) = &loaded
            && !self.context.settings.components.contains(&Component::Sources)
        {
            // Nobody else in this process will hold it for the others that build from it.
            let held = Held {
                revision: artifact.revision.clone(),
                digest: artifact.digest.clone(),
                tree: tree.clone(),
            };
            revisions.put(id.clone(), held);
        }
        loaded.map_err(|error| {
            let wait = fluvial_api::Duration(self.context.settings.requeue_dependency);
            if error.missing {
                let text = format!("Source is not ready, artifact not found, retrying in {wait}: {error}");
                return Failure::waiting(ARTIFACT_FAILED, text);
            }
            Failure::retry(
                ARTIFACT_FAILED,
                format!("artifact of '{id}' cannot be read: {error}"),
            )
        })
    }

    /// The variables of a Kustomization.
    pub(super) async fn variables(&self, object: &Kustomization) -> Result<Substitution, Failure> {
        let Some(post_build) = &object.spec.post_build else {
            return Ok(Substitution::default());
        };
        let failed = |text: String| Failure::retry(BUILD_FAILED, text);
        let post_build = serde_json::to_value(post_build)
            .map_err(|error| failed(format!("spec.postBuild cannot be read: {error}")))?;
        let mut found: Vec<(Reference, Option<Value>)> = Vec::new();
        for reference in fluvial_delivery::substitute::references(&post_build) {
            let resource = Resource::core(&reference.kind);
            let target = Target {
                resource: &resource,
                namespace: &object.metadata.namespace,
                name: &reference.name,
            };
            let source = self.context.cluster.get(target).await.map_err(|error| {
                failed(format!(
                    "substitute from '{}/{}' error: {error}",
                    reference.kind, reference.name
                ))
            })?;
            found.push((reference, source));
        }
        let lookup = |reference: &Reference| {
            let found = found.iter().find(|(known, _)| known == reference);
            found.and_then(|(_, source)| source.as_ref())
        };
        Substitution::from_post_build(&post_build, self.context.settings.strict_substitution, &lookup)
            .map_err(|error| {
                failed(format!(
                    "post build failed for '{}': {error}",
                    object.metadata.name
                ))
            })
    }

    /// Builds on a thread that may block.
    pub(super) async fn build(
        &self,
        object: &Arc<Kustomization>,
        tree: &Tree,
        revision: &str,
        substitution: Substitution,
        keys: Option<&Keys>,
    ) -> Result<Built, Failure> {
        let recipe = Recipe {
            object: Arc::clone(object),
            substitution: Arc::new(substitution),
            decryptor: keys.map(|keys| Arc::clone(&keys.decryptor)),
            schemas: self.schemas.clone(),
        };
        let (tree, revision) = (tree.clone(), revision.to_owned());
        let remote = (!self.context.settings.no_remote_bases).then(|| Remote {
            sources: Arc::clone(&self.context.sources),
            runtime: tokio::runtime::Handle::current(),
        });
        let task = self.context.aside.run(move || {
            let remote = remote.as_ref().map(|remote| remote as &dyn RemoteResolver);
            manifest::make(&tree, &revision, &recipe, remote)
        });
        let built = match task.await {
            Ok(built) => built,
            // The process is ending: nothing may be concluded from that.
            Err(error) if error.is_cancelled() => std::future::pending().await,
            Err(_panic) => Err(Failure::retry(
                BUILD_FAILED,
                "the build crashed; this is a bug, please report it with the files of this revision",
            )),
        };
        self.context
            .metrics
            .built(if built.is_ok() { "built" } else { "failed" });
        built
    }

    /// What all Kustomizations want, as far as this process has heard; those of a source also by what they build from
    /// its newest revision.
    pub(super) async fn wishes(&self, place: &Place, source: Option<(&Source, &Tree)>) -> Wishes {
        self.wishes_of(self.feed.store().all(), place, source).await
    }

    /// What all Kustomizations want, as the server has them right now.
    pub(super) async fn newest_wishes(
        &self,
        place: &Place,
        source: Option<(&Source, &Tree)>,
    ) -> Result<Wishes, ClusterError> {
        let select = Select {
            namespace: self.context.settings.namespace.clone(),
            ..Select::default()
        };
        let resource = resource_of::<Kustomization>();
        let listed = self.context.cluster.list(&resource, &select).await?;
        // What cannot be read has never been applied by us.
        let users = listed.iter().flat_map(Kustomization::from_value).map(Arc::new);
        Ok(self.wishes_of(users.collect(), place, source).await)
    }

    async fn wishes_of(
        &self,
        mut users: Vec<Arc<Kustomization>>,
        place: &Place,
        source: Option<(&Source, &Tree)>,
    ) -> Wishes {
        users.retain(|user| !user.metadata.is_deleting());
        let recorded = users
            .iter()
            .filter(|user| remote_place(user) == *place)
            .map(|user| (owner(&Key::of(&user.metadata)), recorded(user)))
            .collect();
        let builds = match source {
            Some((source, tree)) => self.builds(source, tree, users).await,
            None => Arc::default(),
        };
        Wishes {
            place: place.clone(),
            builds,
            recorded,
        }
    }

    /// What the Kustomizations of a source build.
    async fn builds(&self, source: &Source, tree: &Tree, mut users: Vec<Arc<Kustomization>>) -> Arc<Builds> {
        users.retain(|user| source_of(user) == source.id);
        users.sort_by(|one, other| one.metadata.uid.cmp(&other.metadata.uid));
        let fingerprint = fingerprint(source, &users);
        let mut all = self.builds.lock().await;
        if let Some((known, builds)) = all.get(&source.id)
            && *known == fingerprint
        {
            return Arc::clone(builds);
        }
        let builds = Arc::new(self.collect(source, tree, users).await);
        all.insert(source.id.clone(), (fingerprint, Arc::clone(&builds)));
        builds
    }

    async fn collect(&self, source: &Source, tree: &Tree, mut open: Vec<Arc<Kustomization>>) -> Builds {
        let mut builds = Builds::new(tree.clone());
        // A child in its parent's build counts besides the one in the cluster: it may have another spec.
        let mut asked: FxHashMap<Key, Vec<Arc<Kustomization>>> = FxHashMap::default();
        while let Some(user) = open.pop() {
            let key = Key::of(&user.metadata);
            let known = asked.entry(key.clone()).or_default();
            if known.iter().any(|other| other.spec == user.spec) {
                continue;
            }
            known.push(Arc::clone(&user));
            let ingredients = match self.variables(&user).await {
                Ok(variables) => self.keys(&user).await.map(|keys| (variables, keys)),
                Err(failure) => Err(failure),
            };
            let built = match ingredients {
                Ok((variables, keys)) => {
                    self.build(&user, tree, &source.artifact.revision, variables, keys.as_ref())
                        .await
                }
                Err(failure) => Err(failure),
            };
            match built {
                Ok(built) => {
                    let nested = builds.add(&key, remote_place(&user), &built, &source.id);
                    open.extend(nested.into_iter().map(Arc::new));
                }
                Err(_) => builds.unknown(&key, remote_place(&user)),
            }
        }
        builds
    }
}

/// Where a Kustomization's objects live.
pub(super) fn remote_place(object: &Kustomization) -> Place {
    remote::place(&object.metadata.namespace, object.spec.kube_config.as_ref())
}

/// What a Kustomization has on record. What cannot be read was never written by us.
fn recorded(object: &Kustomization) -> Vec<ObjectId> {
    step::inventory_of(&object.status)
        .map(|inventory| inventory.ids().cloned().collect())
        .unwrap_or_default()
}

/// Fetches remote bases by git, from a thread that may block.
struct Remote {
    sources: Arc<dyn Sources>,
    runtime: tokio::runtime::Handle,
}

impl RemoteResolver for Remote {
    fn repository(&self, spec: &RepoSpec) -> Result<Tree, String> {
        let reference = match spec.reference.as_str() {
            "" => fluvial_ports::Reference::default(),
            commit if commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                fluvial_ports::Reference {
                    commit: Some(commit.to_owned()),
                    ..Default::default()
                }
            }
            name => fluvial_ports::Reference {
                name: Some(name.to_owned()),
                ..Default::default()
            },
        };
        // A bare name is a branch or a tag.
        let tries = match &reference.name {
            Some(name) if !name.starts_with("refs/") => ["heads", "tags"]
                .map(|kind| fluvial_ports::Reference {
                    name: Some(format!("refs/{kind}/{name}")),
                    ..Default::default()
                })
                .to_vec(),
            _ => vec![reference],
        };
        let mut last = String::new();
        for reference in tries {
            let request = FetchRequest {
                url: spec.clone_url(),
                reference,
                recurse_submodules: spec.submodules,
                timeout: spec.timeout,
                ..FetchRequest::default()
            };
            match self.runtime.block_on(self.sources.fetch(request)) {
                Ok(Fetched::Changed(revision)) => return Ok(revision.tree),
                Ok(Fetched::Unchanged) => "nothing was fetched".clone_into(&mut last),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }

    fn file(&self, url: &str) -> Result<Vec<u8>, FileError> {
        Err(FileError::Failed(format!(
            "single files are not downloaded ({url}); use a repository, or copy the file into this one"
        )))
    }
}

fn absent(id: &SourceId) -> Failure {
    Failure::waiting(ARTIFACT_FAILED, not_found(id))
}

fn fingerprint(source: &Source, users: &[Arc<Kustomization>]) -> Fingerprint {
    let mut text = format!("{}\n{}\n", source.artifact.revision, source.artifact.digest);
    for user in users {
        let metadata = &user.metadata;
        text.push_str(&format!("{} {}\n", metadata.uid, metadata.generation));
    }
    Digest::of(text.as_bytes())
}

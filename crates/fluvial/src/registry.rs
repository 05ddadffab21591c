//! Registries for the commands on artifacts.

use std::collections::BTreeMap;

use fluvial_cli::{Address, Facts, Pulled, Registry};
use fluvial_ports::{Access, BoxFuture, ImageReference, ImageRequest, Layer};
use fluvial_source::artifact;
use fluvial_source::mirrors::Mirrors;
use fluvial_source::oci::{NewArtifact, OciSource};
use fluvial_source::{SourceError, ignore};
use fluvial_tree::Tree;

/// Registries, asked in this process.
pub(crate) struct Registries {
    oci: OciSource,
}

impl Registries {
    pub(crate) fn new(oci: OciSource) -> Self {
        Registries { oci }
    }
}

fn text(error: SourceError) -> String {
    error.message
}

impl Registry for Registries {
    fn without(&self, files: &Tree, patterns: &str) -> Tree {
        ignore::without(files, patterns)
    }

    fn pack(&self, files: &Tree) -> Vec<u8> {
        artifact::pack_readable(files).data.to_vec()
    }

    fn push<'a>(
        &'a self,
        address: &'a Address,
        files: &'a Tree,
        annotations: &'a BTreeMap<String, String>,
        access: &'a Access,
    ) -> BoxFuture<'a, Result<String, String>> {
        Box::pin(async move {
            let artifact = NewArtifact {
                content: artifact::pack_readable(files),
                annotations: annotations.clone(),
            };
            let pushed = self
                .oci
                .push(&address.url(), address.reference(), &artifact, access)
                .await;
            pushed.map_err(text)
        })
    }

    fn pull<'a>(&'a self, address: &'a Address, access: &'a Access) -> BoxFuture<'a, Result<Pulled, String>> {
        Box::pin(async move {
            let reference = address.reference().to_owned();
            let reference = if reference.contains(':') {
                ImageReference {
                    digest: Some(reference),
                    ..ImageReference::default()
                }
            } else {
                ImageReference {
                    tag: Some(reference),
                    ..ImageReference::default()
                }
            };
            let request = ImageRequest {
                url: address.url(),
                reference,
                access: access.clone(),
                ..ImageRequest::default()
            };
            let found = self
                .oci
                .image(&request, None, &Mirrors::default())
                .await
                .map_err(text)?;
            let digest = found.revision.rsplit('@').next().unwrap_or_default().to_owned();
            match found.layer {
                Some(Layer::Files(files)) => Ok(Pulled {
                    digest,
                    annotations: found.annotations,
                    files,
                }),
                _ => Err(format!("the artifact '{digest}' has no files")),
            }
        })
    }

    fn tags<'a>(
        &'a self,
        address: &'a Address,
        access: &'a Access,
    ) -> BoxFuture<'a, Result<Vec<String>, String>> {
        Box::pin(async move { self.oci.tags(&address.url(), access).await.map_err(text) })
    }

    fn describe<'a>(
        &'a self,
        address: &'a Address,
        tags: &'a [String],
        access: &'a Access,
    ) -> BoxFuture<'a, Result<Vec<Facts>, String>> {
        Box::pin(async move {
            self.oci
                .describe(&address.url(), tags, access)
                .await
                .map_err(text)
        })
    }

    fn tag<'a>(
        &'a self,
        address: &'a Address,
        tag: &'a str,
        access: &'a Access,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let done = self
                .oci
                .tag(&address.url(), address.reference(), tag, access)
                .await;
            done.map_err(text)
        })
    }
}

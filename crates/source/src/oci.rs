//! OCI registries: which image a reference means, its manifest, its layers. Every answer is checked against its digest.

mod client;
mod manifest;
mod push;
mod signatures;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvial_object::semver::{Constraint, Version};
use fluvial_ports::{
    Access, ChartFound, ChartRequest, ImageFound, ImageReference, ImageRequest, Layer, Provider, Verdict,
};
use fluvial_verify::sigstore::TrustedRoot;
use regex::Regex;

use crate::artifact;
use crate::aside::aside;
use crate::credentials::cloud::{Ask, Clouds, ServiceAccount};
use crate::error::{SourceError, reason};
use crate::git::redact;
use crate::helm::{CHART_PULL_ERROR, HelmSource, INVALID_CHART_REFERENCE};
use crate::http::HttpClients;
use crate::limits::Limits;
use crate::mirrors::Mirrors;
use crate::web;
pub use push::NewArtifact;

use client::Repository;
use manifest::{Descriptor, Manifest};
use signatures::Passed;

/// Reason of failed pulls.
pub const OCI_ARTIFACT_PULL_FAILED: &str = "OCIArtifactPullFailed";
/// Reason of layers that cannot be used.
pub const OCI_LAYER_OPERATION_FAILED: &str = "OCIArtifactLayerOperationFailed";
/// Reason of charts without a trusted signature.
const CHART_VERIFICATION_ERROR: &str = "ChartVerificationError";
/// A chart's archive.
const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// Most bytes of a layer.
const LARGEST_LAYER: u64 = 1 << 30;
/// Most bytes of a chart.
const LARGEST_CHART: u64 = 10 << 20;

/// OCI registries. Clones are the same.
#[derive(Clone, Debug)]
pub struct OciSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clients: HttpClients,
    clouds: Clouds,
    environment: BTreeMap<String, String>,
    helm: HelmSource,
    limits: Limits,
    /// What signatures of identities are verified against where the object names nothing.
    root: Option<TrustedRoot>,
}

/// The image that a reference means.
struct Resolved {
    /// Tag, unless a digest was asked for.
    tag: Option<String>,
    digest: String,
    manifest: Option<Manifest>,
}

impl Resolved {
    fn revision(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{tag}@{}", self.digest),
            None => self.digest.clone(),
        }
    }
}

fn pull_failed(text: impl Into<String>) -> SourceError {
    SourceError::retry(OCI_ARTIFACT_PULL_FAILED, text)
}

fn layer_failed(text: impl Into<String>) -> SourceError {
    SourceError::waiting(OCI_LAYER_OPERATION_FAILED, text)
}

/// The folder of this machine that stands for a URL.
fn mirrored(url: &str, mirrors: &Mirrors) -> (String, Option<PathBuf>, Option<String>) {
    match mirrors.rewrite(url) {
        None => (url.to_owned(), None, None),
        Some(rewritten) => {
            let told = Some(redact(&rewritten.url));
            let local = match rewritten.url.strip_prefix("file://") {
                Some(path) => Some(PathBuf::from(path)),
                None => (!rewritten.url.contains("://")).then(|| PathBuf::from(&rewritten.url)),
            };
            (rewritten.url, local, told)
        }
    }
}

impl OciSource {
    /// Registries; `environment` is the program's, which says who it is in a cloud.
    #[must_use]
    pub fn new(environment: BTreeMap<String, String>, helm: HelmSource, clouds: Clouds) -> Self {
        OciSource(Arc::new(Inner {
            clients: HttpClients::default(),
            clouds,
            environment,
            helm,
            limits: Limits::default(),
            root: None,
        }))
    }

    /// The same, with a Sigstore installation that is trusted where an object names none (`trusted_root.json`).
    ///
    /// # Errors
    /// If it cannot be read, or this is in use already.
    pub fn trusting(mut self, root: &[u8]) -> Result<Self, SourceError> {
        let refuse = |what: String| SourceError::stalled(reason::VERIFICATION_ERROR, what);
        let root = TrustedRoot::parse(root).map_err(|error| refuse(error.to_string()))?;
        let inner = Arc::get_mut(&mut self.0);
        inner
            .ok_or_else(|| refuse("a trusted root is given before the first use".to_owned()))?
            .root = Some(root);
        Ok(self)
    }

    /// The wanted layer of the image that a reference means now.
    ///
    /// # Errors
    /// With Flux's reason: address, credentials, reference, layer, signature, limits.
    pub async fn image(
        &self,
        request: &ImageRequest,
        account: Option<&ServiceAccount>,
        mirrors: &Mirrors,
    ) -> Result<ImageFound, SourceError> {
        let (url, local, rewritten) = mirrored(&request.url, mirrors);
        if let Some(folder) = local {
            let (this, request) = (self.clone(), request.clone());
            return aside(OCI_ARTIFACT_PULL_FAILED, move || {
                this.folder_image(&folder, &request, rewritten.as_deref())
            })
            .await;
        }
        let repository = self.repository(&url, &request.access, account).await?;
        let resolved = self
            .resolve(&repository, &request.reference, &request.media_type)
            .await?;
        let mut found = ImageFound {
            revision: resolved.revision(),
            layer: None,
            annotations: BTreeMap::new(),
            rewritten,
            verified: None,
        };
        if request.last_revision.as_deref() == Some(&found.revision) {
            return Ok(found);
        }
        if let Some(wanted) = &request.verify {
            let root = self.0.root.as_ref();
            let check =
                signatures::verify(&repository, &found.revision, &resolved.digest, wanted, root).await;
            found.verified = Some(match check {
                Ok(Passed::Yes) => {
                    Verdict::Verified(format!("verified signature of revision {}", found.revision))
                }
                Ok(Passed::Ignored) => Verdict::Ignored,
                Err(why) => return Err(SourceError::retry(reason::VERIFICATION_ERROR, why)),
            });
        }
        let manifest = match resolved.manifest {
            Some(manifest) => manifest,
            None => repository.manifest(&resolved.digest).await?.1,
        };
        let manifest = repository.image(manifest).await?;
        let layer = wanted(&manifest.layers, &request.media_type)?;
        let data = repository.blob(layer, LARGEST_LAYER).await?;
        found.annotations = manifest.annotations;
        let data: Arc<[u8]> = data.into();
        found.layer = Some(if request.copy {
            Layer::Copy(data)
        } else {
            let limits = self.0.limits;
            let unpacked = aside(OCI_ARTIFACT_PULL_FAILED, move || {
                artifact::unpack(&data[..], limits)
            })
            .await;
            Layer::Files(unpacked.map_err(|error| {
                layer_failed(format!(
                    "failed to extract layer contents from artifact: {}",
                    error.message
                ))
            })?)
        });
        Ok(found)
    }

    /// A chart of a registry.
    ///
    /// # Errors
    /// With Flux's reason: no such version, or it cannot be pulled.
    pub async fn chart(&self, request: &ChartRequest, mirrors: &Mirrors) -> Result<ChartFound, SourceError> {
        let url = format!("{}/{}", request.repository.trim_end_matches('/'), request.chart);
        let (target, local, rewritten) = mirrored(&url, mirrors);
        let invalid = |why: &dyn std::fmt::Display| {
            SourceError::stalled(
                INVALID_CHART_REFERENCE,
                format!("invalid chart reference: failed to get chart version for remote reference: {why}"),
            )
        };
        let mut found = ChartFound {
            name: request.chart.rsplit('/').next().unwrap_or_default().to_owned(),
            version: String::new(),
            archive: None,
            rewritten,
            verified: None,
        };
        if let Some(folder) = local {
            let (this, mut request) = (self.clone(), request.clone());
            request.chart = found.name;
            return aside(OCI_ARTIFACT_PULL_FAILED, move || {
                this.0.helm.folder_chart(&folder, &request)
            })
            .await;
        }
        let opened = self.repository(&target, &request.access, None).await;
        let repository = opened.map_err(|error| chart_failed("failed to reach the registry", error))?;
        // Anything else is a range, `1` and `1.2` too.
        let exact = request.version.strip_prefix('v').unwrap_or(&request.version);
        found.version = if Version::parse_strict(exact).is_ok() {
            request.version.clone()
        } else {
            let tags = repository.tags().await.map_err(|error| {
                chart_failed(
                    &format!(
                        "failed to get chart version for remote reference: could not get tags for \"{}\"",
                        request.chart
                    ),
                    error,
                )
            })?;
            let versions = tags.iter().map(|tag| tag.replace('_', "+"));
            let wanted = if request.version.is_empty() {
                "*"
            } else {
                &request.version
            };
            let constraint = Constraint::parse(wanted).map_err(|error| invalid(&error))?;
            best(versions, &constraint).ok_or_else(|| {
                invalid(&format!(
                    "could not locate a version matching provided version string {wanted} in {}",
                    redact(&target)
                ))
            })?
        };
        if request.last_version.as_deref() == Some(&found.version) {
            return Ok(found);
        }
        let pull = |error| chart_failed("failed to download chart for remote reference", error);
        let tag = found.version.replace('+', "_");
        let (digest, manifest) = repository.manifest(&tag).await.map_err(pull)?;
        if let Some(wanted) = &request.verify {
            let (root, shown) = (self.0.root.as_ref(), format!("{tag}@{digest}"));
            found.verified = Some(
                match signatures::verify(&repository, &shown, &digest, wanted, root).await {
                    Ok(Passed::Yes) => {
                        Verdict::Verified(format!("verified signature of version {}", found.version))
                    }
                    Ok(Passed::Ignored) => Verdict::Ignored,
                    Err(why) => {
                        return Err(SourceError::retry(
                            CHART_VERIFICATION_ERROR,
                            format!("chart verification error: {why}"),
                        ));
                    }
                },
            );
        }
        let layer = wanted(&manifest.layers, CHART_LAYER).map_err(pull)?;
        let data = repository.blob(layer, LARGEST_CHART).await.map_err(pull)?;
        found.archive = Some(data.into());
        Ok(found)
    }

    /// The tags of a repository.
    ///
    /// # Errors
    /// If the registry refuses.
    pub async fn tags(&self, url: &str, access: &Access) -> Result<Vec<String>, SourceError> {
        self.repository(url, access, None).await?.tags().await
    }

    async fn repository(
        &self,
        url: &str,
        access: &Access,
        account: Option<&ServiceAccount>,
    ) -> Result<Repository, SourceError> {
        self.opened(url, access, account, false).await
    }

    async fn opened(
        &self,
        url: &str,
        access: &Access,
        account: Option<&ServiceAccount>,
        write: bool,
    ) -> Result<Repository, SourceError> {
        let settings = web::settings(access)?;
        let cloud = match access.provider {
            Provider::Generic => None,
            Provider::Aws => Some("aws"),
            Provider::Azure => Some("azure"),
            Provider::Gcp => Some("gcp"),
        };
        let place = client::Place::parse(url)?;
        let login = match cloud {
            Some(provider) => {
                let ask = Ask {
                    account,
                    environment: &self.0.environment,
                    clients: &self.0.clients,
                    settings: &settings,
                    deadline: web::deadline(access),
                };
                let basic = self
                    .0
                    .clouds
                    .registry(provider, &access.object, &ask, &place.host)
                    .await?;
                Some(client::Login::Basic(basic))
            }
            None => client::login(access, &place)?,
        };
        Repository::open(&self.0.clients, place, login, settings, access, write).await
    }

    async fn resolve(
        &self,
        repository: &Repository,
        reference: &ImageReference,
        media_type: &str,
    ) -> Result<Resolved, SourceError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(digest) = given(&reference.digest) {
            let (digest, manifest) = repository.manifest(&digest).await?;
            return Ok(Resolved {
                tag: None,
                digest,
                manifest: Some(manifest),
            });
        }
        let tag = match given(&reference.semver) {
            Some(range) => {
                let filter = given(&reference.semver_filter);
                newest_tag(
                    &repository.tags().await?,
                    &range,
                    filter.as_deref(),
                    media_type == CHART_LAYER,
                )?
            }
            None => given(&reference.tag).unwrap_or_else(|| "latest".to_owned()),
        };
        if let Some(digest) = repository.head(&tag).await {
            return Ok(Resolved {
                tag: Some(tag),
                digest,
                manifest: None,
            });
        }
        let (digest, manifest) = repository.manifest(&tag).await?;
        Ok(Resolved {
            tag: Some(tag),
            digest,
            manifest: Some(manifest),
        })
    }

    /// A folder of this machine in place of a repository: a chart, charts beside each other, or any files.
    fn folder_image(
        &self,
        folder: &Path,
        request: &ImageRequest,
        rewritten: Option<&str>,
    ) -> Result<ImageFound, SourceError> {
        let reference = &request.reference;
        let tag = reference.tag.clone().filter(|tag| !tag.is_empty());
        let mut name = folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut charts = self.0.helm.folder_versions(folder, &name)?;
        if charts.is_empty() {
            // The whole address may stand for a folder of charts, not only what comes before the chart's name.
            request
                .url
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .clone_into(&mut name);
            charts = self.0.helm.folder_versions(folder, &name)?;
        }
        let found = |revision: String, layer| ImageFound {
            layer: (request.last_revision.as_deref() != Some(&revision)).then_some(layer),
            revision,
            annotations: BTreeMap::new(),
            rewritten: rewritten.map(str::to_owned),
            verified: None,
        };
        if charts.is_empty() && request.media_type == CHART_LAYER {
            return Err(pull_failed(format!(
                "there is no chart '{name}' in the mirror '{}'",
                folder.display()
            )));
        }
        if charts.is_empty() {
            let tree = crate::folder::read(folder, self.0.limits)?;
            let tag = tag.unwrap_or_else(|| "latest".to_owned());
            let revision = format!("{tag}@{}", tree.digest());
            return Ok(found(revision, Layer::Files(tree)));
        }
        let versions: Vec<String> = charts
            .iter()
            .filter_map(|(row, _)| Some(row.get("version")?.as_str()?.to_owned()))
            .collect();
        let version = match (reference.semver.as_deref().filter(|range| !range.is_empty()), tag) {
            (Some(range), _) => newest_tag(&versions, range, reference.semver_filter.as_deref(), true)?,
            (None, Some(tag)) => tag.replace('_', "+"),
            (None, None) => newest_tag(&versions, "*", None, true)?,
        };
        let (_, path) = charts
            .iter()
            .find(|(row, _)| row.get("version").and_then(|value| value.as_str()) == Some(&version))
            .ok_or_else(|| {
                let all = versions.join(", ");
                pull_failed(format!(
                    "mirror '{}' has chart '{name}' as {all}, not as {version}",
                    folder.display()
                ))
            })?;
        let data = self.0.helm.folder_archive(path)?;
        let revision = format!(
            "{}@{}",
            version.replace('+', "_"),
            fluvial_tree::Digest::of(&data)
        );
        let layer = if request.copy {
            Layer::Copy(data)
        } else {
            Layer::Files(artifact::unpack(&data[..], self.0.limits)?)
        };
        Ok(found(revision, layer))
    }
}

/// A failure on the way to a chart; refused credentials stay what they are.
fn chart_failed(what: &str, error: SourceError) -> SourceError {
    if error.reason == reason::AUTHENTICATION_FAILED {
        return error;
    }
    let text = format!("chart pull error: {what}: {}", error.message);
    SourceError::retry(CHART_PULL_ERROR, text)
}

/// The layer of a media type; the first one if none is asked for.
fn wanted<'a>(layers: &'a [Descriptor], media_type: &str) -> Result<&'a Descriptor, SourceError> {
    if media_type.is_empty() {
        return layers
            .first()
            .ok_or_else(|| layer_failed("no layers found in artifact"));
    }
    layers
        .iter()
        .find(|layer| layer.media_type == media_type)
        .ok_or_else(|| {
            let there: Vec<&str> = layers.iter().map(|layer| layer.media_type.as_str()).collect();
            layer_failed(format!(
                "failed to find layer with media type '{media_type}' in artifact; it has {}",
                there.join(", ")
            ))
        })
}

/// The newest version within a range, as it was spelled.
fn best(versions: impl Iterator<Item = String>, constraint: &Constraint) -> Option<String> {
    versions
        .filter_map(|text| Some((Version::parse(&text).ok()?, text)))
        .filter(|(version, _)| constraint.matches(version))
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, text)| text)
}

fn newest_tag(
    tags: &[String],
    range: &str,
    filter: Option<&str>,
    charts: bool,
) -> Result<String, SourceError> {
    let constraint = Constraint::parse(range).map_err(|error| {
        SourceError::stalled(
            reason::URL_INVALID,
            format!("semver '{range}' parse error: {error}"),
        )
    })?;
    let filter = match filter.filter(|filter| !filter.is_empty()) {
        Some(filter) => Some(Regex::new(filter).map_err(|error| {
            SourceError::stalled(
                reason::URL_INVALID,
                format!("semver filter '{filter}' parse error: {error}"),
            )
        })?),
        None => None,
    };
    let fitting = tags
        .iter()
        .filter(|tag| filter.as_ref().is_none_or(|filter| filter.is_match(tag)));
    let spelled = fitting.map(|tag| {
        if charts {
            tag.replace('_', "+")
        } else {
            tag.clone()
        }
    });
    let found = best(spelled, &constraint);
    let found = found.ok_or_else(|| pull_failed(format!("no match found for semver: {range}")))?;
    Ok(if charts { found.replace('+', "_") } else { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_tag_of_a_range_passes_the_filter() {
        let tags: Vec<String> = ["latest", "6.1.0", "v6.3.0", "6.4.0-rc.1", "6.2.0_build", "7.0.0"]
            .map(str::to_owned)
            .to_vec();
        assert_eq!(newest_tag(&tags, "6.x", None, false).unwrap(), "v6.3.0");
        assert_eq!(newest_tag(&tags, "6.x", Some("^6"), false).unwrap(), "6.1.0");
        assert_eq!(newest_tag(&tags, "~6.2", None, true).unwrap(), "6.2.0_build");
        assert_eq!(
            newest_tag(&tags, ">=6.4.0-0 <7", Some("rc"), false).unwrap(),
            "6.4.0-rc.1"
        );
        let error = newest_tag(&tags, "^9", None, false).unwrap_err();
        assert_eq!(error.message, "no match found for semver: ^9");
        assert!(newest_tag(&tags, "*", Some("("), false).is_err());
    }
}

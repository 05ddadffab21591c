//! Chart repositories: their indexes, kept once for all who use them, and the charts in them. A repository is a server or
//! a folder of this machine.

mod cache;
mod folder;
mod index;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvial_helm::{ChartVersion, LoadLimits, newest};
use fluvial_ports::{Access, ChartFound, ChartRequest, Content, IndexFound, IndexRequest};
use reqwest::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{StatusCode, Url};
use sha2::{Digest as _, Sha256};

use crate::aside::aside;
use crate::error::SourceError;
use crate::git::redact;
use crate::http::{HttpClients, HttpSession};
use crate::mirrors::Mirrors;
use crate::web;
use cache::{Cache, Held, Known};

/// Reason of failures that have none of their own.
const FAILED: &str = "Failed";
/// The reference to a chart means nothing.
pub const INVALID_CHART_REFERENCE: &str = "InvalidChartReference";
/// A chart could not be downloaded.
pub const CHART_PULL_ERROR: &str = "ChartPullError";
/// The index is broken.
pub const INDEXATION_FAILED: &str = "IndexationFailed";

/// How large indexes and charts may be; the defaults are Flux's.
#[derive(Clone, Copy, Debug)]
pub struct HelmLimits {
    /// Bytes of an index.
    pub index: u64,
    /// Bytes of a chart's archive.
    pub chart: u64,
    /// What an archive may unpack to.
    pub load: LoadLimits,
}

impl Default for HelmLimits {
    fn default() -> Self {
        HelmLimits {
            index: 50 << 20,
            chart: 10 << 20,
            load: LoadLimits::default(),
        }
    }
}

/// Chart repositories. Clones are the same.
#[derive(Clone, Debug)]
pub struct HelmSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cache: Cache,
    clients: HttpClients,
    seen: folder::Seen,
    limits: HelmLimits,
}

/// Where a repository is.
enum Place {
    Server(Url),
    Folder(PathBuf),
}

/// A repository's place, and what is said of it.
struct Located {
    place: Place,
    rewritten: Option<String>,
}

fn locate(url: &str, mirrors: &Mirrors) -> Result<Located, SourceError> {
    let rewrite = mirrors.rewrite(url);
    let target = rewrite.as_ref().map_or(url, |rewritten| rewritten.url.as_str());
    let rewritten = rewrite.as_ref().map(|rewritten| redact(&rewritten.url));
    if rewritten.is_some()
        && let Some(path) = folder::path_of(target)
    {
        return Ok(Located {
            place: Place::Folder(path),
            rewritten,
        });
    }
    let place = Place::Server(server(target)?);
    Ok(Located { place, rewritten })
}

fn server(url: &str) -> Result<Url, SourceError> {
    let invalid = |why: &str| {
        SourceError::stalled(
            "URLInvalid",
            format!("invalid Helm repository URL '{}': {why}", redact(url)),
        )
    };
    let parsed = Url::parse(url).map_err(|error| invalid(&error.to_string()))?;
    match parsed.scheme() {
        "http" | "https" if parsed.has_host() => Ok(parsed),
        scheme => Err(invalid(&format!(
            "scheme '{scheme}' is not supported; write http:// or https://, or oci:// with spec.type: oci"
        ))),
    }
}

/// A path below a repository's URL, whose query stays.
fn below(url: &Url, path: &str) -> Url {
    let mut url = url.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/{path}"));
    url
}

/// A server that is none: nothing has its origin.
fn nowhere() -> Url {
    Url::parse("https://fluvial.invalid").expect("this is a URL")
}

/// An index as it is stored: JSON, with what is no chart left out and newest versions first; and how many versions
/// there are in it.
///
/// # Errors
/// If it is no index.
pub fn normalise_index(index: &[u8]) -> Result<(usize, Vec<u8>), String> {
    let (table, json) = index::normalise(std::io::Cursor::new(index), || Ok(Vec::new()))
        .map_err(|error| error.to_string())?;
    Ok((table.versions, json))
}

impl HelmSource {
    /// Repositories whose indexes and charts are kept below `cache`.
    #[must_use]
    pub fn new(cache: impl Into<PathBuf>, limits: HelmLimits) -> Self {
        HelmSource(Arc::new(Inner {
            cache: Cache::new(cache.into()),
            clients: HttpClients::default(),
            seen: folder::Seen::default(),
            limits,
        }))
    }

    /// The present index of a repository.
    ///
    /// # Errors
    /// With Flux's reason: the address, the server, its answer, or the index itself.
    pub async fn index(&self, request: &IndexRequest, mirrors: &Mirrors) -> Result<IndexFound, SourceError> {
        let located = locate(&request.url, mirrors)?;
        let held = match &located.place {
            Place::Folder(path) => self.folder_index(path).await?,
            Place::Server(url) => {
                let session = web::session(&self.0.clients, url, &request.access)?;
                self.server_index(url, &session).await?
            }
        };
        Ok(IndexFound {
            unchanged: request.last_revision.as_deref() == Some(&held.revision),
            revision: held.revision.clone(),
            content: Content::File(held.file.clone()),
            size: held.size,
            rewritten: located.rewritten,
        })
    }

    async fn folder_index(&self, path: &Path) -> Result<Arc<Held>, SourceError> {
        let (this, path) = (self.clone(), path.to_owned());
        aside(FAILED, move || {
            let charts = folder::charts(&path, &this.0.seen, this.0.limits.load)?;
            this.0.cache.of_charts(charts)
        })
        .await
    }

    async fn server_index(&self, url: &Url, session: &HttpSession) -> Result<Arc<Held>, SourceError> {
        let cache = &self.0.cache;
        let slot = cache.slot(url.as_str());
        let mut slot = slot.lock().await;
        let known = cache.known(url.as_str(), &mut slot);
        let held = known.as_ref().and_then(|known| cache.held(&known.revision));
        let mut headers = HeaderMap::new();
        if let (Some(known), Some(_)) = (&known, &held) {
            for (name, value) in [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.modified)] {
                if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
                    headers.insert(name, value);
                }
            }
        }
        let target = below(url, "index.yaml");
        let what = format!(
            "failed to fetch Helm repository index: failed to fetch {}",
            redact(target.as_str())
        );
        let response = session
            .get(&target, &headers)
            .await
            .map_err(|error| error.explain(&what, FAILED, session.signed_in()))?;
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(held) = held
        {
            return Ok(held);
        }
        let header = |name| {
            let value: Option<&HeaderValue> = response.headers().get(name);
            value.and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let (etag, modified) = (header(ETAG), header(LAST_MODIFIED));
        let pending = cache.pending()?;
        let taken = web::to_file(session, response, &pending, self.0.limits.index).await;
        let (revision, size) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                cache.discard(&pending);
                return Err(error.explain(&what, FAILED, session.signed_in()));
            }
        };
        let this = self.clone();
        let (digest, file) = (revision.clone(), pending.clone());
        let held = aside(FAILED, move || {
            let held = this.0.cache.take_in(&file, &digest, size);
            this.0.cache.discard(&file);
            held
        })
        .await?;
        cache.remember(
            url.as_str(),
            &mut slot,
            &Known {
                revision,
                etag,
                modified,
            },
        );
        Ok(held)
    }

    /// A chart of a repository that has an index.
    ///
    /// # Errors
    /// With Flux's reason: no such chart or version, or what the index leads to cannot be had.
    pub async fn chart(&self, request: &ChartRequest, mirrors: &Mirrors) -> Result<ChartFound, SourceError> {
        if request.repository.starts_with("oci://") {
            return Err(SourceError::stalled(
                "URLInvalid",
                "a registry has no index; set spec.type: oci on the HelmRepository",
            ));
        }
        let located = locate(&request.repository, mirrors)?;
        let session = match &located.place {
            Place::Server(url) => web::session(&self.0.clients, url, &request.access)?,
            // Charts that a folder's index leads to by address are asked for with nobody's credentials.
            Place::Folder(_) => {
                let nobody = Access {
                    timeout: request.access.timeout,
                    ..Access::default()
                };
                web::session(&self.0.clients, &nowhere(), &nobody)?
            }
        };
        let held = match request
            .index
            .as_deref()
            .and_then(|revision| self.0.cache.held(revision))
        {
            Some(held) => held,
            None => match &located.place {
                Place::Folder(path) => self.folder_index(path).await?,
                Place::Server(url) => self.server_index(url, &session).await?,
            },
        };
        let invalid = |why: &dyn std::fmt::Display| {
            SourceError::stalled(
                INVALID_CHART_REFERENCE,
                format!("invalid chart reference: failed to get chart version for remote reference: {why}"),
            )
        };
        let versions = self.versions(&held, &request.chart).await?.ok_or_else(|| {
            invalid(&format!(
                "no chart name found: '{}' is not in the index; correct spec.chart",
                request.chart
            ))
        })?;
        let version = newest(&request.chart, &versions, &request.version).map_err(|error| invalid(&error))?;
        if request.verify.is_some() {
            return Err(SourceError::stalled(
                "ChartVerificationError",
                "chart verification error: signatures are verified for charts of OCI registries only; remove spec.verify",
            ));
        }
        let mut found = ChartFound {
            name: version.metadata.name.clone(),
            version: version.metadata.version.clone(),
            archive: None,
            rewritten: located.rewritten.clone(),
            verified: None,
        };
        if request.last_version.as_deref() != Some(&found.version) {
            let archive = self.archive(&located.place, version, &session, mirrors).await?;
            found.archive = Some(archive);
        }
        Ok(found)
    }

    /// A chart of a folder that stands for a registry.
    pub(crate) fn folder_chart(
        &self,
        folder: &Path,
        request: &ChartRequest,
    ) -> Result<ChartFound, SourceError> {
        let invalid = |why: &dyn std::fmt::Display| {
            SourceError::stalled(
                INVALID_CHART_REFERENCE,
                format!("invalid chart reference: failed to get chart version for remote reference: {why}"),
            )
        };
        let versions = self.folder_versions(folder, &request.chart)?;
        let rows: Vec<ChartVersion> = versions
            .iter()
            .filter_map(|(row, _)| ChartVersion::from_json(row))
            .collect();
        if rows.is_empty() {
            let (chart, folder) = (&request.chart, folder.display());
            return Err(invalid(&format!("no chart '{chart}' in the mirror '{folder}'")));
        }
        let version = newest(&request.chart, &rows, &request.version).map_err(|error| invalid(&error))?;
        let version = version.metadata.version.clone();
        let mut found = ChartFound {
            name: request.chart.clone(),
            version,
            archive: None,
            rewritten: Some(folder.display().to_string()),
            verified: None,
        };
        if request.last_version.as_deref() == Some(&found.version) {
            return Ok(found);
        }
        let of_version = |(row, _): &&(serde_json::Value, PathBuf)| row["version"] == *found.version;
        if let Some((_, path)) = versions.iter().find(of_version) {
            found.archive = Some(folder::archive(path, self.0.limits.load)?);
        }
        Ok(found)
    }

    async fn versions(
        &self,
        held: &Arc<Held>,
        chart: &str,
    ) -> Result<Option<Vec<ChartVersion>>, SourceError> {
        let (held, chart) = (Arc::clone(held), chart.to_owned());
        aside(FAILED, move || held.versions(&chart)).await
    }

    /// The archive of a version, checked against the index's digest.
    async fn archive(
        &self,
        place: &Place,
        version: &ChartVersion,
        session: &HttpSession,
        mirrors: &Mirrors,
    ) -> Result<Arc<[u8]>, SourceError> {
        let failed = |why: String| {
            let (name, version) = (&version.metadata.name, &version.metadata.version);
            SourceError::retry(
                CHART_PULL_ERROR,
                format!("chart pull error: failed to download chart '{name}' {version}: {why}"),
            )
        };
        if version.urls.is_empty() {
            return Err(failed("the index names no URL for it".to_owned()));
        }
        let digest = version.digest.trim_start_matches("sha256:");
        if let Some(data) = self.0.cache.archive(digest) {
            return Ok(data);
        }
        let mut last = String::new();
        for url in &version.urls {
            let data = match self.one(place, url, session, mirrors).await {
                Ok(data) => data,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let actual = crate::hex(&Sha256::digest(&data));
            if digest.is_empty() {
                return Ok(data);
            }
            if actual.eq_ignore_ascii_case(digest) {
                self.0.cache.keep_archive(digest, &data);
                return Ok(data);
            }
            last = format!(
                "the archive has digest {actual}, the index says {digest}; the archive was replaced or damaged, or the index is old"
            );
        }
        Err(failed(last))
    }

    /// An archive from one of its URLs.
    async fn one(
        &self,
        place: &Place,
        url: &str,
        session: &HttpSession,
        mirrors: &Mirrors,
    ) -> Result<Arc<[u8]>, String> {
        let limits = self.0.limits;
        let local = |path: PathBuf| async move {
            let mut load = limits.load;
            load.total = load.total.min(limits.chart);
            aside(FAILED, move || folder::archive(&path, load))
                .await
                .map_err(|error| error.message)
        };
        let absolute = match (Url::parse(url), place) {
            (Ok(absolute), _) => absolute,
            (Err(_), Place::Folder(folder)) => {
                let inside =
                    fluvial_tree::TreePath::parse(url).map_err(|error| format!("'{url}': {error}"))?;
                return local(folder.join(inside.as_str())).await;
            }
            (Err(_), Place::Server(base)) => {
                let mut base = base.clone();
                if !base.path().ends_with('/') {
                    base.set_path(&format!("{}/", base.path()));
                }
                let query = base.query().map(str::to_owned);
                let mut joined = base.join(url).map_err(|error| format!("'{url}': {error}"))?;
                if joined.query().is_none() {
                    joined.set_query(query.as_deref());
                }
                joined
            }
        };
        let target = match mirrors.rewrite(absolute.as_str()) {
            Some(rewritten) => match folder::path_of(&rewritten.url) {
                Some(path) => return local(path).await,
                None => {
                    Url::parse(&rewritten.url).map_err(|error| format!("'{}': {error}", rewritten.url))?
                }
            },
            None => absolute,
        };
        if !matches!(target.scheme(), "http" | "https") {
            return Err(format!(
                "the index leads to '{}', which is neither http nor https",
                redact(target.as_str())
            ));
        }
        let what = format!("failed to fetch {}", redact(target.as_str()));
        let explained = |error: crate::http::HttpError| {
            let elsewhere = match place {
                Place::Server(base) => base.origin() != target.origin(),
                Place::Folder(_) => false,
            };
            let message = error
                .explain(&what, CHART_PULL_ERROR, session.signed_in())
                .message;
            if error.is_refusal() && elsewhere {
                return format!(
                    "{message}; it is another server than the repository's, which credentials go to only with spec.passCredentials"
                );
            }
            message
        };
        let response = session.get(&target, &HeaderMap::new()).await.map_err(explained)?;
        let data = session.read(response, limits.chart).await.map_err(explained)?;
        Ok(data.into())
    }

    /// The charts of a name in a folder, as an OCI registry would have them: rows with their archives' places. A path that
    /// leads to a chart, or nowhere, means what lies beside it.
    pub(crate) fn folder_versions(
        &self,
        folder: &Path,
        name: &str,
    ) -> Result<Vec<(serde_json::Value, PathBuf)>, SourceError> {
        let whole = folder.is_dir() && !folder::is_chart(folder);
        let folder = match folder.parent() {
            Some(parent) if !whole => parent,
            _ => folder,
        };
        let charts = folder::charts(folder, &self.0.seen, self.0.limits.load)?;
        let of_name = charts.into_iter().filter(|chart| chart.name == name);
        Ok(of_name
            .filter_map(|chart| {
                let url = chart.row.get("urls")?.get(0)?.as_str()?;
                let path = if url == "." {
                    folder.to_owned()
                } else {
                    folder.join(url)
                };
                Some((chart.row, path))
            })
            .collect())
    }

    /// A packed chart of this machine.
    pub(crate) fn folder_archive(&self, path: &Path) -> Result<Arc<[u8]>, SourceError> {
        folder::archive(path, self.0.limits.load)
    }
}

//! Charts that lie elsewhere: in a chart repository or in a registry.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fluvial_helm::{Chart, Dependency, LoadLimits};
use fluvial_kustomize::FileError;
use fluvial_ports::{Access, ChartRequest, SecretData, Sources};

use super::input;
use crate::disk::Unread;
use crate::environment::{Failure, Outside, Session, SourceOptions};

/// How long a server may take for one chart.
const PATIENCE: Duration = Duration::from_secs(300);

/// Options that say where a chart comes from.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Place {
    /// Take the chart from the chart repository at this URL
    #[arg(long, value_name = "URL")]
    repo: Option<String>,
    /// Version, or range of versions, of a chart that is fetched; the newest if absent
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Let pre-releases count, if no version is given
    #[arg(long)]
    devel: bool,
    /// User name for the repository or registry
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Password for the repository or registry
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Give the credentials to other hosts too, if the index leads there
    #[arg(long)]
    pass_credentials: bool,
    /// Speak HTTP with a registry
    #[arg(long)]
    plain_http: bool,
    /// Trust the certificates in this file
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Certificate to show to the server
    #[arg(long, value_name = "FILE")]
    cert_file: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Rewrites of source URLs: a list of {from: URL prefix, to: path or URL}
    #[arg(long, value_name = "FILE")]
    mirrors: Option<PathBuf>,
}

impl Place {
    /// Whether the chart of this name is one of this machine.
    pub(crate) fn is_here(&self, folder: &Path, name: &str) -> bool {
        let elsewhere = name.starts_with("oci://") || is_address(name);
        self.repo.is_none() && (!elsewhere || folder.join(name).exists())
    }

    /// The chart of this name: a folder or file of this machine, or what a repository or registry has. With `unread`
    /// definitions are read when they are asked for.
    pub(crate) async fn chart(
        &self,
        session: &Session<'_>,
        name: &str,
        unread: Option<&Unread>,
    ) -> Result<Arc<Chart>, Failure> {
        let folder = &session.env.folder;
        if self.repo.is_some() && name.starts_with("oci://") {
            return Err(Failure::new(
                "--repo and oci:// do not go together: a registry is named with the chart",
            ));
        }
        if self.is_here(folder, name) {
            return input::load_with(folder, name, unread).map_err(Failure::new);
        }
        if self.repo.is_none() && is_address(name) {
            let data = file(Arc::clone(&session.env.outside), name).await;
            let chart = data.and_then(|data| {
                Chart::from_archive(&data, LoadLimits::default())
                    .map_err(|error| format!("chart {name}: {error}"))
            });
            return chart.map_err(Failure::new);
        }
        let request = match &self.repo {
            Some(repo) => self.request(folder, repo, name, None)?,
            None => {
                let (repository, chart) = name.trim_end_matches('/').rsplit_once('/').unwrap_or((name, ""));
                let (chart, tag) = match chart.split_once(':') {
                    Some((chart, tag)) => (chart, Some(tag)),
                    None => (chart, None),
                };
                if chart.contains('@') {
                    return Err(Failure::new(format!(
                        "{name}: charts are fetched by version, not by digest; name it with --version"
                    )));
                }
                self.request(folder, repository, chart, tag)?
            }
        };
        let sources = self.sources(session)?;
        fetch(sources.as_ref(), request).await.map_err(Failure::new)
    }

    /// Adds the dependencies that a chart lacks.
    pub(crate) async fn dependencies(
        &self,
        session: &Session<'_>,
        name: &str,
        chart: Arc<Chart>,
    ) -> Result<Arc<Chart>, Failure> {
        if chart.check_dependencies().is_ok() {
            return Ok(chart);
        }
        let own = session.env.folder.join(name);
        let mut all = chart.dependencies.clone();
        for dependency in &chart.metadata.dependencies {
            if !all.iter().any(|there| there.name() == dependency.name) {
                all.push(self.dependency(session, &own, dependency).await?);
            }
        }
        Ok(chart.with_dependencies(all))
    }

    async fn dependency(
        &self,
        session: &Session<'_>,
        own: &Path,
        dependency: &Dependency,
    ) -> Result<Arc<Chart>, Failure> {
        let Dependency {
            name,
            repository,
            version,
            ..
        } = dependency;
        if let Some(path) = repository.strip_prefix("file://") {
            let path = own.join(path);
            return input::load(Path::new("/"), &path.display().to_string()).map_err(Failure::new);
        }
        if !repository.contains("://") {
            return Err(Failure::new(format!(
                "--dependency-update: {name} comes from {}; names of repositories that helm repo add gave are not \
                 known here: write its URL into Chart.yaml",
                if repository.is_empty() {
                    "nowhere"
                } else {
                    repository
                }
            )));
        }
        let mut request = self.request(&session.env.folder, repository, name, Some(version))?;
        if self.repo.as_ref() != Some(repository) {
            // What was said of the chart's own repository is not for others to know.
            request.access.credentials = None;
        }
        let sources = self.sources(session)?;
        let fetched = fetch(sources.as_ref(), request).await;
        fetched.map_err(|error| Failure::new(format!("--dependency-update: {name}: {error}")))
    }

    fn sources(&self, session: &Session<'_>) -> Result<Arc<dyn Sources>, Failure> {
        let options = SourceOptions {
            mirrors: self.mirrors.clone(),
            ..SourceOptions::default()
        };
        session.env.outside.sources(&options).map_err(Failure::new)
    }

    fn request(
        &self,
        folder: &Path,
        repository: &str,
        chart: &str,
        version: Option<&str>,
    ) -> Result<ChartRequest, Failure> {
        let version = match version.or(self.version.as_deref()) {
            Some(version) => version.to_owned(),
            None => newest_of(self.devel),
        };
        let read = |secret: &mut SecretData, key: &str, file: &Option<PathBuf>| match file {
            None => Ok(()),
            Some(path) => match std::fs::read(folder.join(path)) {
                Ok(data) => {
                    secret.insert(key.to_owned(), data);
                    Ok(())
                }
                Err(error) => Err(Failure::new(format!("{}: {error}", path.display()))),
            },
        };
        let mut certificates = SecretData::new();
        read(&mut certificates, "ca.crt", &self.ca_file)?;
        read(&mut certificates, "tls.crt", &self.cert_file)?;
        read(&mut certificates, "tls.key", &self.key_file)?;
        let credentials = self.username.as_ref().map(|name| {
            let password = self.password.clone().unwrap_or_default();
            let entries = [("username", name.clone()), ("password", password)];
            entries
                .map(|(key, value)| (key.to_owned(), value.into_bytes()))
                .into()
        });
        Ok(ChartRequest {
            repository: repository.to_owned(),
            chart: chart.to_owned(),
            version,
            index: None,
            access: Access {
                credentials,
                certificates: (!certificates.is_empty()).then_some(certificates),
                pass_credentials: self.pass_credentials,
                insecure: self.plain_http,
                timeout: PATIENCE,
                ..Access::default()
            },
            verify: None,
            last_version: None,
        })
    }
}

/// Whether a name is the address of a file.
pub(crate) fn is_address(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

/// The content behind an address.
pub(crate) async fn file(outside: Arc<dyn Outside>, url: &str) -> Result<Vec<u8>, String> {
    let remotes = outside.remotes();
    let (asked, told) = (url.to_owned(), url);
    let fetched = tokio::task::spawn_blocking(move || remotes.file(&asked)).await;
    fetched
        .map_err(|error| error.to_string())?
        .map_err(|error| match error {
            FileError::Status(status) => format!("failed to fetch {told} : {status}"),
            FileError::Failed(problem) => problem,
        })
}

/// The range that stands for the newest version.
fn newest_of(devel: bool) -> String {
    if devel { ">0.0.0-0" } else { "*" }.to_owned()
}

/// What a build asks for by repository, name and version.
pub(crate) fn plain_request(repository: &str, chart: &str, version: &str, devel: bool) -> ChartRequest {
    ChartRequest {
        repository: repository.to_owned(),
        chart: chart.to_owned(),
        version: if version.is_empty() {
            newest_of(devel)
        } else {
            version.to_owned()
        },
        index: None,
        access: Access {
            timeout: PATIENCE,
            ..Access::default()
        },
        verify: None,
        last_version: None,
    }
}

/// Fetches a chart and reads it.
pub(crate) async fn fetch(sources: &dyn Sources, request: ChartRequest) -> Result<Arc<Chart>, String> {
    let (chart, repository) = (request.chart.clone(), request.repository.clone());
    let named = |error: String| format!("chart {chart} of {repository}: {error}");
    let found = sources
        .chart(request)
        .await
        .map_err(|error| named(error.message))?;
    let archive = found
        .archive
        .ok_or_else(|| named("the repository gave no archive".to_owned()))?;
    Chart::from_archive(&archive, LoadLimits::default()).map_err(|error| named(error.to_string()))
}

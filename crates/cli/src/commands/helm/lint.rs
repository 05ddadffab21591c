//! `helm lint`: Helm's own rules, and what the real API would refuse, with file and line.

use std::path::Path;
use std::sync::Arc;

use fluvial_helm::{
    Capabilities, Finding, LintRequest, NoCluster, Provenance, Release, RenderRequest, Rendered, Severity,
    Values,
};

use super::cluster::{self, Refusal};
use super::input::{self, ValueOptions};
use crate::charts;
use crate::environment::{Failure, Outcome, Outside, ServerOptions, Session};

/// Options of `helm lint`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Folders or .tgz files of charts
    #[arg(value_name = "CHART", default_value = ".")]
    charts: Vec<String>,
    #[command(flatten)]
    values: ValueOptions,
    /// Fail for warnings too
    #[arg(long)]
    strict: bool,
    /// Look at the charts below too
    #[arg(long)]
    with_subcharts: bool,
    /// Print warnings and errors only
    #[arg(long)]
    quiet: bool,
    /// Hold values against no schema
    #[arg(long)]
    skip_schema_validation: bool,
    /// Kubernetes version that is linted for
    #[arg(long, value_name = "VERSION")]
    kube_version: Option<String>,
    /// Do not try the objects against the API
    #[arg(long)]
    skip_api: bool,
    #[command(flatten)]
    idle: super::idle::Idle,
}

/// Looks at charts and prints what was found.
pub(crate) async fn lint(session: &mut Session<'_>, options: &Options, namespace: Option<String>) -> Outcome {
    let namespace = namespace.unwrap_or_else(|| "default".to_owned());
    let given = options.values.given(session).await?;
    let folder = session.env.folder.clone();
    let values = options.values.read(&folder, &given).map_err(Failure::new)?;
    let capabilities = input::capabilities(options.kube_version.as_deref(), &[]).map_err(Failure::new)?;
    let least = if options.strict {
        Severity::Warning
    } else {
        Severity::Error
    };
    let charts = with_subcharts(&folder, options);
    let (mut failed, mut odd) = (0, false);
    for chart in &charts {
        let job = Job {
            folder: folder.clone(),
            chart: chart.clone(),
            values: values.clone(),
            capabilities: capabilities.clone(),
            namespace: namespace.clone(),
            skip_schema: options.skip_schema_validation,
            outside: session.env.outside.clone(),
        };
        let found = tokio::task::spawn_blocking(move || job.run()).await?;
        let mut text = format!("==> Linting {chart}\n");
        let (mut findings, rendered) = match found {
            Ok(found) => found,
            Err(error) => {
                (failed, odd) = (failed + 1, true);
                text.push_str(&format!("Error {error}\n\n"));
                session.print(&text)?;
                continue;
            }
        };
        if let Some(rendered) = rendered.filter(|_| !options.skip_api) {
            findings.extend(refused(session, &rendered, &namespace).await?);
        }
        if findings.iter().any(|finding| finding.severity >= least) {
            failed += 1;
        }
        let shown: Vec<&Finding> = findings
            .iter()
            .filter(|finding| !options.quiet || finding.severity > Severity::Info)
            .collect();
        odd |= findings.iter().any(|finding| finding.severity > Severity::Info);
        if shown.is_empty() && options.quiet {
            continue;
        }
        for finding in shown {
            text.push_str(&format!("{finding}\n"));
        }
        text.push('\n');
        session.print(&text)?;
    }
    let summary = format!("{} chart(s) linted, {failed} chart(s) failed", charts.len());
    if failed > 0 {
        return Err(Failure::new(summary));
    }
    if options.quiet && !odd {
        return Ok(());
    }
    session.print(&(summary + "\n"))
}

/// The charts that are named, then those below them: each `Chart.yaml` and each archive that any folder in
/// `charts/` holds.
fn with_subcharts(folder: &Path, options: &Options) -> Vec<String> {
    let mut all = options.charts.clone();
    if options.with_subcharts {
        for chart in &options.charts {
            let own = folder.join(chart);
            let named = Path::new(chart.trim_start_matches("./"));
            walk(&own.join("charts"), 0, &mut |path| {
                let below = path.strip_prefix(&own).unwrap_or(path);
                let path = if chart == "." {
                    below.to_owned()
                } else {
                    named.join(below)
                };
                all.push(path.display().to_string());
            });
        }
    }
    all
}

/// All charts below a folder, by name; links are not followed.
fn walk(folder: &Path, depth: usize, found: &mut dyn FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name == "Chart.yaml" {
            found(folder);
        } else if name.ends_with(".tgz") || name.ends_with(".tar.gz") {
            found(&path);
        }
        if depth < 64 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, depth + 1, found);
        }
    }
}

struct Job {
    folder: std::path::PathBuf,
    chart: String,
    values: Values,
    capabilities: Capabilities,
    namespace: String,
    skip_schema: bool,
    outside: Arc<dyn Outside>,
}

impl Job {
    /// Findings, and what the chart renders to if it does.
    fn run(&self) -> Result<(Vec<Finding>, Option<Rendered>), String> {
        let (tree, at, path) = match self.folder.join(&self.chart).exists() {
            true => input::files(&self.folder, &self.chart, None),
            false => Err(format!(
                "stat {}/Chart.yaml: no such file or directory",
                self.chart.trim_end_matches('/')
            )),
        }
        .map_err(|error| format!("unable to check Chart.yaml file in chart: {error}"))?;
        let ambient = || charts::ambient(self.outside.as_ref());
        let findings = if path.is_dir() {
            fluvial_helm::lint(LintRequest {
                tree: &tree,
                path: &at,
                folder: &path.display().to_string(),
                values: &self.values,
                namespace: &self.namespace,
                capabilities: &self.capabilities,
                skip_schema: self.skip_schema,
                ambient: ambient()?,
            })
            .map_err(|error| error.to_string())?
        } else {
            self.lint_archive(&tree, &at)?
        };
        let release = Release {
            name: "test-release".to_owned(),
            namespace: self.namespace.clone(),
            revision: 1,
            is_upgrade: false,
        };
        let rendered = fluvial_helm::Chart::load(&tree, &at).ok().and_then(|chart| {
            fluvial_helm::render(RenderRequest {
                chart: &chart,
                values: &self.values,
                release: &release,
                capabilities: &self.capabilities,
                lookup: Arc::new(NoCluster),
                ambient: ambient().ok()?,
                options: fluvial_helm::Options {
                    lint: true,
                    skip_schema: self.skip_schema,
                    provenance: true,
                    ..fluvial_helm::Options::default()
                },
            })
            .ok()
        });
        Ok((findings, rendered))
    }

    /// An archive is linted as the folder that it would unpack to.
    fn lint_archive(
        &self,
        tree: &fluvial_tree::Tree,
        at: &fluvial_tree::TreePath,
    ) -> Result<Vec<Finding>, String> {
        let data = tree.file(at).map_err(|error| error.to_string())?;
        let files = fluvial_helm::unpack_with(data.data(), fluvial_helm::LoadLimits::default())
            .map_err(|error| error.to_string())?;
        let mut builder = fluvial_tree::TreeBuilder::default();
        for file in files {
            builder
                .file(&file.name, fluvial_tree::File::new(file.shared(), false))
                .map_err(|error| error.to_string())?;
        }
        fluvial_helm::lint(LintRequest {
            tree: &builder.build(),
            path: &fluvial_tree::TreePath::root(),
            folder: &self.chart,
            values: &self.values,
            namespace: &self.namespace,
            capabilities: &self.capabilities,
            skip_schema: self.skip_schema,
            ambient: charts::ambient(self.outside.as_ref())?,
        })
        .map_err(|error| error.to_string())
    }
}

/// Tries the objects against an API server in this process, which is empty and forgets them.
async fn refused(
    session: &Session<'_>,
    rendered: &Rendered,
    namespace: &str,
) -> Result<Vec<Finding>, Failure> {
    let server = session
        .env
        .outside
        .api_server(&ServerOptions::default())
        .await
        .map_err(Failure::new)?;
    cluster::prepare(&server.cluster, rendered, namespace).await;
    let refusals = cluster::refusals(&server.cluster, rendered, namespace).await;
    (server.stop)().await;
    let refusals = refusals.map_err(|error| Failure::new(error.message))?;
    Ok(refusals
        .iter()
        // Of kinds that are not built in and do not come with the chart, nothing can be said.
        .filter(|refusal| !refusal.unknown)
        .map(|refusal| finding(refusal, rendered.provenance.as_ref()))
        .collect())
}

fn finding(refusal: &Refusal, provenance: Option<&Provenance>) -> Finding {
    let place = place(refusal, provenance);
    let Refusal { object, reason, .. } = refusal;
    let field = if refusal.field.is_empty() || reason.contains(&refusal.field) {
        String::new()
    } else {
        format!("{}: ", refusal.field)
    };
    Finding {
        severity: Severity::Error,
        path: place,
        message: format!("{object}: the API refuses it: {field}{reason}"),
    }
}

/// The file and line that wrote the field, or the object's first line.
pub(crate) fn place(refusal: &Refusal, provenance: Option<&Provenance>) -> String {
    let parts: Vec<String> = super::explain::parts(&refusal.field);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    // Where the field itself is missing, what should hold it stands for it.
    let line = (0..=parts.len())
        .rev()
        .find_map(|keep| fluvial_helm::line_of(&refusal.text, &parts[..keep]))
        .unwrap_or(1);
    let origins = provenance
        .map(|provenance| provenance.origins(&refusal.source, refusal.line + line - 1))
        .unwrap_or_default();
    match origins.last() {
        Some(origin) => format!("{}:{}", origin.file, origin.line),
        None => refusal.source.clone(),
    }
}

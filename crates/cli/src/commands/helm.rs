//! Helm's own commands for charts of this machine, of repositories and of registries.

mod cluster;
mod explain;
pub(crate) mod fetch;
mod idle;
pub(crate) mod input;
pub(crate) mod lint;
pub(crate) mod show;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fluvial_helm::{
    Capabilities, Chart, Layer, Lookup, NoCluster, Output, Release, RenderRequest, Rendered, Values,
};
use fluvial_template::sprig::Ambient;

use self::input::{Given, ValueOptions};
use crate::charts;
use crate::disk::Unread;
use crate::environment::{self, Failure, Outcome, Session};

/// Options of `helm template`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Name of the release (may be left out), and the chart: a folder, a .tgz file or its address, a name in --repo, or oci://…
    #[arg(value_name = "NAME CHART", required = true, num_args = 1..=2)]
    words: Vec<String>,
    /// Make the name of the release by a template
    #[arg(long, value_name = "TEMPLATE")]
    name_template: Option<String>,
    /// Make a name of the release from the chart's and the time
    #[arg(short, long)]
    generate_name: bool,
    #[command(flatten)]
    values: ValueOptions,
    /// Print custom resource definitions of crds/ too
    #[arg(long)]
    include_crds: bool,
    /// Print no hooks
    #[arg(long)]
    no_hooks: bool,
    /// Print no tests
    #[arg(long)]
    skip_tests: bool,
    /// Render as for an upgrade: Release.IsUpgrade in place of Release.IsInstall
    #[arg(long)]
    is_upgrade: bool,
    /// Hold values against no schema
    #[arg(long)]
    skip_schema_validation: bool,
    /// Kubernetes version for Capabilities.KubeVersion
    #[arg(long, value_name = "VERSION")]
    kube_version: Option<String>,
    /// More versions for Capabilities.APIVersions
    #[arg(short, long, value_name = "VERSIONS", value_delimiter = ',')]
    api_versions: Vec<String>,
    /// Only what these templates made; patterns may be given
    #[arg(short, long, value_name = "TEMPLATE")]
    show_only: Vec<String>,
    /// Write files below this folder, one for each template, instead of printing
    #[arg(long, value_name = "FOLDER")]
    output_dir: Option<PathBuf>,
    /// Put the release's name into the path of written files
    #[arg(long)]
    release_name: bool,
    /// Let lookup ask the cluster, and the cluster say which objects it would refuse
    #[arg(long)]
    validate: bool,
    /// With "server" lookup asks the cluster, and each object's kind has to be one that it serves
    #[arg(long, value_name = "HOW", num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    dry_run: Option<String>,
    /// Say which statements and values made an object instead of printing: KIND/NAME, or KIND/NAME:FIELD
    #[arg(long, value_name = "OBJECT")]
    explain: Option<String>,
    /// Let getHostByName resolve names
    #[arg(long)]
    enable_dns: bool,
    /// Take dependencies that charts/ lacks from where Chart.yaml says: repositories, registries, folders (file://)
    #[arg(long)]
    dependency_update: bool,
    #[command(flatten)]
    from: fetch::Place,
    #[command(flatten)]
    refused: Refused,
}

/// Options of Helm that need what is not done here, or make no difference here.
#[derive(Clone, Debug, Default, clap::Args)]
struct Refused {
    /// Refused: programs are not run
    #[arg(long, hide = true, value_name = "NAME")]
    post_renderer: Option<String>,
    /// Only --post-renderer minds
    #[arg(long, hide = true, value_name = "ARGUMENT")]
    post_renderer_args: Vec<String>,
    /// Refused: signatures are not looked at
    #[arg(long, hide = true)]
    verify: bool,
    /// Only an installation minds
    #[arg(long, hide = true)]
    skip_crds: bool,
    /// Notes are not printed
    #[arg(long, hide = true)]
    render_subchart_notes: bool,
    /// Notes are not printed
    #[arg(long, hide = true)]
    hide_notes: bool,
    /// Only an installation minds
    #[arg(long, hide = true)]
    disable_openapi_validation: bool,
    /// Only an installation minds
    #[arg(long, hide = true, value_name = "TEXT")]
    description: Option<String>,
    /// Only an installation minds
    #[arg(long, hide = true)]
    replace: bool,
    /// Only an installation minds
    #[arg(long, hide = true)]
    create_namespace: bool,
    /// Only an installation minds
    #[arg(long, hide = true, value_name = "HOW", num_args = 0..=1, default_missing_value = "", require_equals = true)]
    wait: Option<String>,
    /// Only an installation minds
    #[arg(long, hide = true)]
    wait_for_jobs: bool,
    /// Only an installation minds
    #[arg(long, hide = true, alias = "atomic")]
    rollback_on_failure: bool,
    /// Only an installation minds
    #[arg(long, hide = true)]
    take_ownership: bool,
    /// Only an installation minds
    #[arg(short, long, hide = true, value_name = "LABELS")]
    labels: Vec<String>,
    /// Only an installation minds
    #[arg(long, hide = true)]
    force_conflicts: bool,
    /// Only an installation minds
    #[arg(long, hide = true)]
    force_replace: bool,
    /// Only an installation minds
    #[arg(long, hide = true)]
    server_side: bool,
    /// Only --verify minds
    #[arg(long, hide = true, value_name = "FILE")]
    keyring: Option<PathBuf>,
    #[command(flatten)]
    idle: idle::Idle,
}

impl Refused {
    /// Why an option that was given cannot be followed; `insecure` is one that all commands take.
    fn check(&self, insecure: bool) -> Result<(), Failure> {
        let refusal = if insecure {
            "--insecure-skip-tls-verify: a chart from whoever answers could be anything; trust the server with --ca-file"
        } else if self.post_renderer.is_some() {
            "--post-renderer: no programs and plugins are run; put the output through one with a pipe"
        } else if self.verify {
            "--verify: signatures are not looked at here; helm verify does"
        } else {
            return Ok(());
        };
        Err(Failure::new(refusal))
    }
}

/// Renders and prints.
pub(crate) async fn template(
    session: &mut Session<'_>,
    options: &Options,
    namespace: Option<String>,
) -> Outcome {
    options.refused.check(session.global.connection.insecure)?;
    let server = match options.dry_run.as_deref() {
        None | Some("client" | "none" | "true" | "false") => false,
        Some("server") => true,
        Some(other) => {
            return Err(Failure::new(format!("--dry-run={other}: it is client or server")));
        }
    };
    let capabilities =
        input::capabilities(options.kube_version.as_deref(), &options.api_versions).map_err(Failure::new)?;
    let (name, chart) = named(session, options)?;
    let given = options.values.given(session).await?;
    let (values, layers) = values(options, &session.env.folder, &given).map_err(Failure::new)?;
    let unread = Unread::default();
    // A cluster is asked about definitions too.
    let prints_them = options.include_crds || options.validate || server;
    let later = (!prints_them).then_some(&unread);
    if options.from.is_here(&session.env.folder, &chart) {
        check_kind(&session.env.folder.join(&chart)).map_err(Failure::new)?;
    }
    let mut loaded = options.from.chart(session, &chart, later).await?;
    if options.dependency_update {
        loaded = options.from.dependencies(session, &chart, loaded).await?;
    }
    let cluster = match options.validate || server {
        true => Some(session.cluster().await?),
        false => None,
    };
    let lookup: Arc<dyn Lookup> = match &cluster {
        Some(cluster) => Arc::new(cluster::Live {
            cluster: Arc::clone(cluster),
            runtime: tokio::runtime::Handle::current(),
        }),
        None => Arc::new(NoCluster),
    };
    let job = Job {
        chart: loaded,
        values,
        layers,
        capabilities,
        release: Release {
            name,
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
            revision: 1,
            is_upgrade: options.is_upgrade,
        },
        options: options.clone(),
        lookup,
        unread,
        provenance: options.explain.is_some() || cluster.is_some(),
    };
    let namespace = job.release.namespace.clone();
    let outside = session.env.outside.clone();
    let resolves = options.enable_dns;
    let run = move || {
        let ambient = match resolves {
            true => charts::resolving(outside),
            false => charts::ambient(outside.as_ref()),
        };
        let mut warnings = Vec::new();
        let made = ambient.and_then(|ambient| job.run(ambient, &mut warnings));
        (warnings, made)
    };
    let (warnings, made) = match cluster.is_some() || resolves {
        true => tokio::task::spawn_blocking(run).await?,
        // Nothing waits for anything: a thread would only cost its start.
        false => run(),
    };
    for warning in warnings {
        let _ = writeln!(session.env.err, "{warning}");
    }
    let made = made.map_err(Failure::new)?;
    if let Some(cluster) = &cluster {
        let mut refusals = cluster::refusals(cluster, &made.rendered, &namespace).await?;
        // Helm's own dry run only wants to know each kind.
        refusals.retain(|refusal| options.validate || refusal.unknown);
        if !refusals.is_empty() {
            return Err(Failure::new(listed(&refusals, &made.rendered)));
        }
    }
    write_files(session, options, &made.files)?;
    match &made.text {
        Some(text) => session.print(text),
        None => {
            let pieces = made.rendered.printed(&made.output);
            session.print_all(&pieces.map_err(|error| Failure::new(error.to_string()))?)
        }
    }?;
    // The process ends here: to free a large chart piece by piece would be work for nothing.
    std::mem::forget(made);
    Ok(())
}

/// The same for a chart of this machine, at once; nothing if it is none, or a cluster is asked, and nothing is printed then.
pub(crate) fn template_here(
    session: &mut Session<'_>,
    options: &Options,
    namespace: Option<String>,
) -> Option<Outcome> {
    let chart = options.words.last()?;
    let asks_nobody = !options.validate
        && !options.dependency_update
        && !options.enable_dns
        && options.values.are_here()
        && options.dry_run.as_deref() != Some("server")
        && options.from.is_here(&session.env.folder, chart);
    if !asks_nobody {
        return None;
    }
    // Nothing on this way waits for anything.
    let mut context = Context::from_waker(Waker::noop());
    match pin!(template(session, options, namespace)).poll(&mut context) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// Helm tells charts of its two formats apart first, by a file that has to be there.
fn check_kind(path: &Path) -> Result<(), String> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let file = path.join("Chart.yaml");
    match path.is_dir() && !file.exists() {
        true => Err(format!(
            "unable to detect chart at {0}: open {0}: no such file or directory",
            file.display()
        )),
        false => Ok(()),
    }
}

/// The name of the release, and the chart's path.
fn named(session: &Session<'_>, options: &Options) -> Result<(String, String), Failure> {
    let (name, chart) = match options.words.as_slice() {
        [chart] => (None, chart.clone()),
        [name, chart] => (Some(name.clone()), chart.clone()),
        _ => return Err(Failure::new("name a chart: a folder or a .tgz file")),
    };
    let name = match (name, &options.name_template, options.generate_name) {
        (Some(_), Some(_), _) => {
            return Err(Failure::new("cannot set --name-template and also specify a name"));
        }
        (Some(_), None, true) => {
            return Err(Failure::new("cannot set --generate-name and also specify a name"));
        }
        (None, Some(template), _) => {
            charts::named(template, session.env.outside.as_ref()).map_err(Failure::new)?
        }
        (Some(name), None, false) => name,
        (None, None, false) => "release-name".to_owned(),
        (None, None, true) => {
            let base = chart.trim_end_matches('/').rsplit('/').next().unwrap_or("chart");
            let base = base.split(':').next().unwrap_or(base);
            let base = base.strip_suffix(".tgz").unwrap_or(base);
            let base = if matches!(base, "." | "") { "chart" } else { base };
            format!("{base}-{}", session.env.clock.now().as_second())
        }
    };
    Ok((name, chart))
}

/// Refused objects, for people.
fn listed(refusals: &[cluster::Refusal], rendered: &Rendered) -> String {
    let mut text = format!("the cluster refuses {} of the objects:", refusals.len());
    for refusal in refusals {
        let place = lint::place(refusal, rendered.provenance.as_ref());
        // Writing into a String cannot fail.
        let _ = write!(text, "\n  {place}: {}: {}", refusal.object, refusal.reason);
    }
    text
}

/// A file that is written, and what one manifest adds to it.
type Piece = (String, String);

/// What came of a rendering.
struct Made {
    /// What is printed, if it is not the rendering.
    text: Option<String>,
    files: Vec<Piece>,
    rendered: Rendered,
    output: Output,
    /// Lives as long as the rest, see the end of [`template`].
    _chart: Arc<Chart>,
}

/// A rendering, apart from the runtime.
struct Job {
    chart: Arc<Chart>,
    values: Values,
    /// For explanations: where the values come from.
    layers: Vec<Layer>,
    capabilities: Capabilities,
    release: Release,
    options: Options,
    lookup: Arc<dyn Lookup>,
    unread: Unread,
    provenance: bool,
}

impl Job {
    fn run(&self, ambient: Box<dyn Ambient>, warnings: &mut Vec<String>) -> Result<Made, String> {
        let options = &self.options;
        let chart = Arc::clone(&self.chart);
        chart.check_installable().map_err(|error| error.to_string())?;
        let rendered = fluvial_helm::render(RenderRequest {
            chart: &chart,
            values: &self.values,
            release: &self.release,
            capabilities: &self.capabilities,
            lookup: Arc::clone(&self.lookup),
            ambient,
            options: fluvial_helm::Options {
                skip_schema: options.skip_schema_validation,
                provenance: self.provenance,
                threads: environment::threads(),
                ..fluvial_helm::Options::default()
            },
        });
        self.unread.check()?;
        let mut rendered = match rendered {
            Ok(rendered) => rendered,
            Err(failure) => {
                *warnings = failure.warnings;
                return Err(failure.error.to_string());
            }
        };
        *warnings = std::mem::take(&mut rendered.warnings);
        let output = Output {
            include_crds: options.include_crds,
            no_hooks: options.no_hooks,
            skip_tests: options.skip_tests,
            show_only: options.show_only.clone(),
        };
        let (text, files) = match (&options.explain, &options.output_dir) {
            (Some(wanted), _) => (Some(explain::explain(&rendered, wanted, &self.layers)?), vec![]),
            (None, Some(_)) => (Some("\n".to_owned()), pieces(&rendered, &output)?),
            (None, None) => (None, vec![]),
        };
        Ok(Made {
            text,
            files,
            rendered,
            output,
            _chart: chart,
        })
    }
}

/// The values, and for explanations each layer of them.
fn values(options: &Options, folder: &Path, given: &Given) -> Result<(Values, Vec<Layer>), String> {
    let layers = match options.explain {
        Some(_) => options.values.layers(folder, given)?,
        None => vec![],
    };
    Ok((options.values.read(folder, given)?, layers))
}

/// What is written where with `--output-dir`.
fn pieces(rendered: &Rendered, output: &Output) -> Result<Vec<Piece>, String> {
    let piece = |path: &str, text: &str| (path.to_owned(), format!("---\n# Source: {path}\n{text}\n"));
    let mut files = Vec::new();
    if output.include_crds {
        files.extend(rendered.crds.iter().map(|crd| piece(&crd.path, &crd.content())));
    }
    files.extend(
        rendered
            .manifests
            .iter()
            .map(|manifest| piece(&manifest.source, &manifest.content)),
    );
    if !output.no_hooks {
        let hooks = rendered
            .hooks
            .iter()
            .filter(|hook| !output.skip_tests || !hook.is_test());
        files.extend(hooks.map(|hook| piece(&hook.path, &hook.manifest)));
    }
    if !output.show_only.is_empty() {
        return Err("--show-only and --output-dir do not go together".to_owned());
    }
    Ok(files)
}

/// Writes files below the folder of `--output-dir` and says which.
fn write_files(session: &mut Session<'_>, options: &Options, files: &[Piece]) -> Outcome {
    let Some(target) = &options.output_dir else {
        return Ok(());
    };
    let mut shown = target.clone();
    if options.release_name {
        shown = shown.join(named(session, options)?.0);
    }
    let mut begun = BTreeSet::new();
    for (name, text) in files {
        let path = session.env.folder.join(&shown).join(name);
        let fail = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        // The first piece replaces what an earlier call wrote, others are added.
        let first = begun.insert(name);
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .write(first)
            .truncate(first)
            .append(!first)
            .open(&path)
            .map_err(fail)?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(fail)?;
        session.print(&format!("wrote {}\n", shown.join(name).display()))?;
    }
    Ok(())
}

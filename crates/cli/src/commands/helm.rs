//! `helm template`: Helm's own command for charts that lie on this machine.

use std::path::Path;
use std::sync::Arc;

use fluvial_helm::{Capabilities, Chart, KubeVersion, NoCluster, Output, Release, RenderRequest, Values};
use fluvial_template::sprig::Ambient;

use crate::charts;
use crate::disk::{self, Reader};
use crate::environment::{Failure, Outcome, Session};

/// Options of `helm template`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Name of the release (may be left out), and the chart: a folder or a .tgz file
    #[arg(value_name = "NAME CHART", required = true, num_args = 1..=2)]
    words: Vec<String>,
    /// Make the name of the release by a template
    #[arg(long, value_name = "TEMPLATE")]
    name_template: Option<String>,
    /// Files of values, or - for standard input; later ones win
    #[arg(short = 'f', long, value_name = "FILE", value_delimiter = ',')]
    values: Vec<String>,
    /// Values as PATH=JSON, or a JSON object
    #[arg(long, value_name = "VALUES")]
    set_json: Vec<String>,
    /// Values as PATH=VALUE,PATH=VALUE
    #[arg(long, value_name = "VALUES")]
    set: Vec<String>,
    /// As --set, where all values are strings
    #[arg(long, value_name = "VALUES")]
    set_string: Vec<String>,
    /// As --set, where values are files that hold them
    #[arg(long, value_name = "VALUES")]
    set_file: Vec<String>,
    /// One string as PATH=TEXT, taken as it is
    #[arg(long, value_name = "VALUE")]
    set_literal: Vec<String>,
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
}

/// Renders and prints.
pub(crate) async fn template(
    session: &mut Session<'_>,
    options: &Options,
    namespace: Option<String>,
) -> Outcome {
    let (name, chart) = match options.words.as_slice() {
        [chart] => (None, chart.clone()),
        [name, chart] => (Some(name.clone()), chart.clone()),
        _ => return Err(Failure::new("name a chart: a folder or a .tgz file")),
    };
    let name = match (name, &options.name_template) {
        (Some(_), Some(_)) => return Err(Failure::new("name the release or give --name-template, not both")),
        (None, Some(template)) => Some(charts::named(template).map_err(Failure::new)?),
        (name, None) => name,
    };
    let mut input = String::new();
    if options.values.iter().any(|file| file == "-") {
        std::io::Read::read_to_string(&mut session.env.input, &mut input)?;
    }
    let release = Release {
        name: name.unwrap_or_else(|| "release-name".to_owned()),
        namespace: namespace.unwrap_or_else(|| "default".to_owned()),
        revision: 1,
        is_upgrade: options.is_upgrade,
    };
    let (folder, chosen) = (session.env.folder.clone(), options.clone());
    let outside = session.env.outside.clone();
    let (warnings, text) = tokio::task::spawn_blocking(move || {
        let made = load(&folder, &chart)
            .and_then(|chart| Ok((chart, values(&folder, &chosen, &input)?)))
            .and_then(|(chart, values)| Ok((chart, values, charts::ambient(outside.as_ref())?)));
        match made {
            Ok((chart, values, ambient)) => rendered(&chart, &values, &release, &chosen, ambient),
            Err(error) => (vec![], Err(error)),
        }
    })
    .await?;
    for warning in warnings {
        let _ = writeln!(session.env.err, "{warning}");
    }
    session.print(&text.map_err(Failure::new)?)
}

/// Warnings, and what is to be printed.
fn rendered(
    chart: &Arc<Chart>,
    values: &Values,
    release: &Release,
    options: &Options,
    ambient: Box<dyn Ambient>,
) -> (Vec<String>, Result<String, String>) {
    let mut capabilities = Capabilities::default();
    if let Some(version) = &options.kube_version {
        match KubeVersion::parse(version) {
            Ok(version) => capabilities.kube_version = version,
            Err(error) => return (vec![], Err(format!("invalid kube version '{version}': {error}"))),
        }
    }
    capabilities.add_api_versions(options.api_versions.iter().cloned());
    if let Err(error) = chart.check_installable() {
        return (vec![], Err(error.to_string()));
    }
    let rendered = fluvial_helm::render(RenderRequest {
        chart,
        values,
        release,
        capabilities: &capabilities,
        lookup: Arc::new(NoCluster),
        ambient,
        options: fluvial_helm::Options {
            skip_schema: options.skip_schema_validation,
            ..fluvial_helm::Options::default()
        },
    });
    let output = Output {
        include_crds: options.include_crds,
        no_hooks: options.no_hooks,
        skip_tests: options.skip_tests,
        show_only: options.show_only.clone(),
    };
    match rendered {
        Ok(rendered) => {
            let text = rendered.template(&output).map_err(|error| error.to_string());
            (rendered.warnings, text)
        }
        Err(failure) => (failure.warnings, Err(failure.error.to_string())),
    }
}

/// Reads a chart.
pub(crate) fn load(folder: &Path, name: &str) -> Result<Arc<Chart>, String> {
    let path = folder.join(name);
    if !path.exists() {
        let help = if name.contains("://") {
            "; charts are not fetched here: get it with helm pull, and name its file"
        } else {
            "; a chart is a folder or a .tgz file"
        };
        return Err(format!("chart {name} does not exist{help}"));
    }
    let fail = |error: &dyn std::fmt::Display| format!("chart {name}: {error}");
    let path = std::fs::canonicalize(&path).map_err(|error| fail(&error))?;
    let mut reader = Reader::default();
    if path.is_dir() {
        if !path.join("Chart.yaml").is_file() {
            return Err(fail(&"Chart.yaml file is missing"));
        }
        reader.folder(&path)?;
    } else {
        reader.file(&path)?;
    }
    Chart::load(&reader.tree(), &disk::tree_path(&path)?).map_err(|error| fail(&error))
}

/// The values of the command line, in Helm's order.
fn values(folder: &Path, options: &Options, input: &str) -> Result<Values, String> {
    let read = |name: &str| {
        if name == "-" {
            return Ok(input.to_owned());
        }
        std::fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"))
    };
    let mut values = Values::new();
    for file in &options.values {
        let layer =
            Values::from_yaml(&read(file)?).map_err(|error| format!("failed to parse {file}: {error}"))?;
        values.merge(layer);
    }
    let set = |values: &mut Values| {
        options
            .set_json
            .iter()
            .try_for_each(|text| values.set_json(text))?;
        options.set.iter().try_for_each(|text| values.set(text))?;
        options
            .set_string
            .iter()
            .try_for_each(|text| values.set_string(text))?;
        options
            .set_file
            .iter()
            .try_for_each(|text| values.set_file(text, &read))?;
        options
            .set_literal
            .iter()
            .try_for_each(|text| values.set_literal(text))
    };
    set(&mut values).map_err(|error: fluvial_helm::Error| error.to_string())?;
    Ok(values)
}

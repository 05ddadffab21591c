//! `helm show`: what is in a chart, as it stands there.

use std::fmt::Write as _;
use std::path::PathBuf;

use fluvial_helm::Chart;
use fluvial_object::jsonpath::{self, Template};

use super::{fetch, idle};
use crate::environment::{Failure, Outcome, Session};

/// Options of `helm show`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// The chart: a folder, a .tgz file or its address, a name in --repo, or oci://…
    #[arg(value_name = "CHART")]
    chart: String,
    #[command(flatten)]
    from: fetch::Place,
    /// Refused: signatures are not looked at
    #[arg(long, hide = true)]
    verify: bool,
    /// Only --verify minds
    #[arg(long, hide = true, value_name = "FILE")]
    keyring: Option<PathBuf>,
    #[command(flatten)]
    idle: idle::Idle,
}

/// The further option of `helm show values`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ValuesOptions {
    /// Only what this JSONPath template makes of the values
    #[arg(long, value_name = "TEMPLATE")]
    jsonpath: Option<String>,
}

/// Prints parts of a chart: `chart`, `values`, `readme`, `crds`, or `all`.
pub(crate) async fn show(
    session: &mut Session<'_>,
    options: &Options,
    what: &str,
    template: Option<&ValuesOptions>,
) -> Outcome {
    if options.verify {
        return Err(Failure::new(
            "--verify: signatures are not looked at here; helm verify does",
        ));
    }
    let chart = options.from.chart(session, &options.chart, None).await?;
    let template = template.and_then(|options| options.jsonpath.as_deref());
    let shown = match template {
        Some(template) => chosen(&chart, template).map_err(Failure::new)?,
        None => text(&chart, what),
    };
    session.print(&shown)
}

/// What a template makes of a chart's values.
fn chosen(chart: &Chart, template: &str) -> Result<String, String> {
    if chart.values_text.is_none() {
        return Ok(String::new());
    }
    let parsed =
        Template::parse(template).map_err(|error| format!("error parsing jsonpath {template}: {error}"))?;
    let numbers = jsonpath::Options::default();
    parsed
        .execute(&chart.values, numbers)
        .map_err(|error| error.to_string())
}

fn text(chart: &Chart, what: &str) -> String {
    let all = what == "all";
    let wants = |part: &str| all || what == part;
    let mut out = String::new();
    let line = |out: &mut String| {
        if all {
            out.push_str("---\n");
        }
    };
    if wants("chart") {
        out.push_str(&fluvial_yaml::json_to_yaml(&chart.metadata.to_json()));
        out.push('\n');
    }
    if wants("values")
        && let Some(values) = &chart.values_text
    {
        line(&mut out);
        out.push_str(&values.text());
        out.push('\n');
    }
    if wants("readme")
        && let Some(readme) = chart.files.iter().find(|file| is_readme(&file.name))
    {
        line(&mut out);
        out.push_str(&readme.text());
        out.push('\n');
    }
    if wants("crds") {
        crds(chart, &mut out);
    }
    out
}

/// The definitions of the chart and of those below it.
fn crds(chart: &Chart, out: &mut String) {
    for file in chart.crd_files() {
        let text = file.text();
        let separator = if text.starts_with("---") { "" } else { "---\n" };
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{separator}{text}");
    }
    for child in &chart.dependencies {
        crds(child, out);
    }
}

fn is_readme(name: &str) -> bool {
    ["readme.md", "readme.txt", "readme"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

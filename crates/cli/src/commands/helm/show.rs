//! `helm show`: what is in a chart, as it stands there.

use std::fmt::Write as _;

use fluvial_helm::Chart;

use super::input;
use crate::environment::{Failure, Outcome, Session};

/// Options of `helm show`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// The chart: a folder or a .tgz file
    #[arg(value_name = "CHART")]
    chart: String,
}

/// Prints parts of a chart: `chart`, `values`, `readme`, `crds`, or `all`.
pub(crate) fn show(session: &mut Session<'_>, options: &Options, what: &str) -> Outcome {
    let chart = input::load(&session.env.folder, &options.chart).map_err(Failure::new)?;
    session.print(&text(&chart, what))
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

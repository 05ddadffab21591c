//! What is odd or wrong about a chart, as `helm lint` tells it: one finding a rule and place, in the
//! order of Helm's rules. What a cluster would refuse of the objects is for callers that have one.

mod metadata;
mod objects;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use fluvial_template::sprig::Ambient;
use fluvial_tree::{Tree, TreePath};
use serde_json::Value as Json;

use crate::capabilities::Capabilities;
use crate::chart::Chart;
use crate::error::{Error, Stage};
use crate::functions::NoCluster;
use crate::render::{Options, Release, RenderRequest, render_files};
use crate::schema;
use crate::values::{Coalesce, Values, yaml_to_json};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Odd.
    Warning,
    /// Wrong.
    Error,
}

/// Something that is odd or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// File or folder, from the chart's own.
    pub path: String,
    /// What it is.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Info => "INFO",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
        };
        write!(f, "[{severity}] {}: {}", self.path, self.message)
    }
}

/// What to look at, and how.
pub struct LintRequest<'r> {
    /// The files.
    pub tree: &'r Tree,
    /// The chart's folder among them.
    pub path: &'r TreePath,
    /// The folder as findings name it.
    pub folder: &'r str,
    /// The user's values.
    pub values: &'r Values,
    /// The namespace of the release that is tried.
    pub namespace: &'r str,
    /// The cluster that it is tried for.
    pub capabilities: &'r Capabilities,
    /// Values are not held against the chart's schemas.
    pub skip_schema: bool,
    /// Clock and randomness.
    pub ambient: Box<dyn Ambient>,
}

type Fields = serde_json::Map<String, Json>;

/// The release that a chart is tried as.
const RELEASE: &str = "test-release";

/// Findings, as they come up.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, path: &str, message: impl Into<String>) {
        self.0.push(Finding {
            severity,
            path: path.to_owned(),
            message: message.into(),
        });
    }
}

/// Looks a chart over.
///
/// # Errors
/// If there is no `Chart.yaml`: then it is no chart.
pub fn lint(request: LintRequest<'_>) -> Result<Vec<Finding>, Error> {
    let LintRequest {
        tree, path, folder, ..
    } = request;
    let file = |name: &str| path.join(name).ok().and_then(|path| tree.file(&path).ok());
    let Some(metadata) = file("Chart.yaml") else {
        return Err(Error::load(format!(
            "unable to check Chart.yaml file in chart: stat {folder}/Chart.yaml: no such file or directory"
        )));
    };
    let text = |data: &[u8]| String::from_utf8_lossy(data).into_owned();
    let mut findings = Findings::default();
    metadata::check(&text(metadata.data()), &mut findings);
    let chart = Chart::load(tree, path);
    let mut met = None;
    match file("values.yaml") {
        Some(values) => {
            met = check_values(&text(values.data()), chart.as_ref().ok(), &request, &mut findings)
        }
        None => findings.add(Severity::Info, "values.yaml", "file does not exist"),
    }
    let request = LintRequest {
        values: met.as_ref().unwrap_or(request.values),
        ..request
    };
    let broken = chart.as_ref().err().cloned();
    if file("templates").is_some() {
        findings.add(Severity::Error, "templates/", "not a directory");
    } else if path.join("templates").is_ok_and(|path| tree.is_folder(&path)) {
        match &chart {
            Ok(chart) => check_templates(chart, request, &mut findings),
            Err(error) => findings.add(Severity::Error, "templates/", error.to_string()),
        }
    } else {
        findings.add(Severity::Warning, "templates/", "directory does not exist");
    }
    match chart {
        Ok(chart) => {
            check_dependencies(&chart, folder, &mut findings);
            match file("crds") {
                Some(_) => findings.add(Severity::Error, "crds/", "not a directory"),
                None => objects::check_crds(&chart, &mut findings),
            }
        }
        Err(_) => {
            let error = broken.map(|error| error.to_string()).unwrap_or_default();
            findings.add(Severity::Error, "", format!("unable to load chart\n\t{error}"));
            if path.join("crds").is_ok_and(|path| tree.is_folder(&path)) {
                findings.add(Severity::Error, "crds/", error);
            }
        }
    }
    Ok(findings.0)
}

/// Holds the values against the schema, and gives what the user's are after that.
fn check_values(
    text: &str,
    chart: Option<&Arc<Chart>>,
    request: &LintRequest<'_>,
    findings: &mut Findings,
) -> Option<Values> {
    const FILE: &str = "values.yaml";
    let own = yaml_to_json(text).and_then(|json| {
        if json.is_null() || json.is_object() {
            Values::from_json(&json).map_err(|error| error.to_string())
        } else {
            Err(crate::metadata::mismatch(&json, "", "common.Values"))
        }
    });
    let own = match own {
        Ok(values) => values,
        Err(error) => {
            findings.add(Severity::Error, FILE, format!("unable to parse YAML: {error}"));
            return None;
        }
    };
    // A null of the user's takes away what the chart has.
    let values = request.values.to_map();
    let how = Coalesce {
        merge: false,
        warnings: &RefCell::default(),
    };
    how.tables(&values, &own.to_map(), "");
    if let Some(chart) = chart.filter(|_| !request.skip_schema)
        && let Err(problem) = schema::own(chart, &values)
    {
        findings.add(Severity::Error, FILE, problem);
    }
    // The reference changes the user's tables at that: what is rendered has the defaults there already, and none of the
    // nulls that took one away.
    let mut met = request.values.clone();
    for (key, value) in &mut met.0 {
        if let (Json::Object(table), Some(Json::Object(defaults))) = (value, own.0.get(key)) {
            fill(table, defaults);
        }
    }
    Some(met)
}

/// Puts a chart's values below those of a table; a null there takes one away.
fn fill(table: &mut Fields, defaults: &Fields) {
    for (key, default) in defaults {
        match (table.get_mut(key), default) {
            (None, default) => {
                table.insert(key.clone(), default.clone());
            }
            (Some(Json::Null), default) if !default.is_null() => {
                table.remove(key);
            }
            (Some(Json::Object(table)), Json::Object(defaults)) => fill(table, defaults),
            _ => {}
        }
    }
}

fn check_templates(chart: &Arc<Chart>, request: LintRequest<'_>, findings: &mut Findings) {
    let release = Release {
        name: RELEASE.to_owned(),
        namespace: request.namespace.to_owned(),
        revision: 1,
        is_upgrade: false,
    };
    let rendered = render_files(RenderRequest {
        chart,
        values: request.values,
        release: &release,
        capabilities: request.capabilities,
        lookup: Arc::new(NoCluster),
        ambient: request.ambient,
        options: Options {
            lint: true,
            skip_schema: request.skip_schema,
            ..Options::default()
        },
    });
    let files = match rendered {
        Ok(files) => files,
        // How values and dependencies come together is not looked at here.
        Err(error) if error.stage == Stage::Values => return,
        Err(error) => {
            let message = error.to_string();
            let end = if error.stage == Stage::Schema && message.ends_with('\n') {
                "\n"
            } else {
                ""
            };
            return findings.add(Severity::Error, "templates/", message.trim_end().to_owned() + end);
        }
    };
    for template in &chart.templates {
        let name = &*template.name;
        let base = name.rsplit('/').next().unwrap_or_default();
        let extension = base.rfind('.').map_or("", |dot| &base[dot..]);
        if !matches!(extension, ".yaml" | ".yml" | ".tpl" | ".txt") {
            findings.add(
                Severity::Error,
                name,
                format!(
                    "file extension '{extension}' not valid. Valid extensions are .yaml, .yml, .tpl, or .txt"
                ),
            );
        }
        if !matches!(extension, ".yaml" | ".yml") {
            continue;
        }
        let text = files
            .get(&format!("{}/{name}", chart.name()))
            .map_or("", String::as_str);
        if text.trim().is_empty() {
            continue;
        }
        if let Err(problem) = objects::check(name, text, request.capabilities, findings) {
            return findings.add(Severity::Error, name, problem);
        }
    }
}

fn check_dependencies(chart: &Chart, folder: &str, findings: &mut Findings) {
    let declared = &chart.metadata.dependencies;
    let mut missing: Vec<&str> = chart
        .dependencies
        .iter()
        .map(|present| present.name())
        .filter(|name| !declared.iter().any(|dependency| dependency.name == **name))
        .collect();
    missing.sort_unstable();
    if !missing.is_empty() {
        findings.add(
            Severity::Error,
            folder,
            format!(
                "chart metadata is missing these dependencies: {}",
                missing.join(",")
            ),
        );
    }
    let absent: Vec<&str> = declared
        .iter()
        .map(|dependency| dependency.name.as_str())
        .filter(|name| !chart.dependencies.iter().any(|present| present.name() == *name))
        .collect();
    if !absent.is_empty() {
        findings.add(
            Severity::Warning,
            folder,
            format!(
                "chart directory is missing these dependencies: {}",
                absent.join(",")
            ),
        );
    }
}

#[cfg(test)]
mod tests;

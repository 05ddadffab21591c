//! Rendering a release: from a chart and values to manifests, hooks, CRDs and notes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use fluvial_template::sprig::Ambient;
use fluvial_template::{Limits, Map, Value};
use regex::Regex;
use serde_json::Value as Json;

use crate::capabilities::Capabilities;
use crate::chart::Chart;
use crate::dependencies::{self, Member, compatible, full_path};
use crate::engine::{self, Mode, Top};
use crate::error::{Error, Stage};
use crate::functions::Lookup;
use crate::ignore::Glob;
use crate::manifest::{self, Hook, Manifest};
use crate::schema;
use crate::values::{Coalesce, Values, put};

/// The release that a chart is rendered for.
#[derive(Clone, Debug)]
pub struct Release {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Number of the revision, from 1.
    pub revision: i64,
    /// Whether an older revision is there.
    pub is_upgrade: bool,
}

/// What may be asked of a rendering.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Missing keys are errors.
    pub strict: bool,
    /// `required` and `fail` give nothing instead of failing.
    pub lint: bool,
    /// Values are not held against the charts' schemas.
    pub skip_schema: bool,
    /// The notes of dependencies count too.
    pub sub_notes: bool,
    /// Bounds of the templates.
    pub limits: Limits,
}

/// What to render, for whom, and with which view of the world.
pub struct RenderRequest<'r> {
    /// The chart.
    pub chart: &'r Arc<Chart>,
    /// The user's values.
    pub values: &'r Values,
    /// The release.
    pub release: &'r Release,
    /// The cluster.
    pub capabilities: &'r Capabilities,
    /// What `lookup` asks.
    pub lookup: Arc<dyn Lookup>,
    /// Clock and randomness.
    pub ambient: Box<dyn Ambient>,
    /// Choices.
    pub options: Options,
}

/// A file of a chart's `crds/`.
#[derive(Clone, Debug)]
pub struct Crd {
    /// Path with the charts above it.
    pub path: String,
    /// Its text.
    pub content: String,
}

/// A rendered release.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// Manifests in install order.
    pub manifests: Vec<Manifest>,
    /// Hooks in install order.
    pub hooks: Vec<Hook>,
    /// Files of `crds/`, the chart's own first.
    pub crds: Vec<Crd>,
    /// The notes for the user.
    pub notes: String,
    /// What is odd without being wrong.
    pub warnings: Vec<String>,
    /// What the templates got as `.Values`.
    pub values: Json,
    /// The charts that took part, by full path, the release's own first.
    pub charts: Vec<String>,
}

/// A failed rendering, with what there is to show of it.
#[derive(Clone, Debug)]
pub struct RenderFailure {
    /// Why.
    pub error: Error,
    /// What is odd without being wrong.
    pub warnings: Vec<String>,
}

impl std::fmt::Display for RenderFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for RenderFailure {}

/// Renders a release.
///
/// # Errors
/// Values that do not fit, a cluster too old, templates that fail, or output that is no manifest.
pub fn render(request: RenderRequest<'_>) -> Result<Rendered, RenderFailure> {
    let warnings = RefCell::new(Vec::new());
    match render_with(request, &warnings) {
        Ok(mut rendered) => {
            rendered.warnings = warnings.into_inner();
            Ok(rendered)
        }
        Err(error) => Err(RenderFailure {
            error,
            warnings: warnings.into_inner(),
        }),
    }
}

/// The rendered text of every template by its name, before it is read as manifests.
///
/// # Errors
/// As [`render`], apart from the manifests.
pub fn render_files(request: RenderRequest<'_>) -> Result<BTreeMap<String, String>, Error> {
    let warnings = RefCell::new(Vec::new());
    let (root, top) = prepare(&request, &warnings)?;
    execute(request, &root, &top)
}

fn prepare(request: &RenderRequest<'_>, warnings: &RefCell<Vec<String>>) -> Result<(Member, Top), Error> {
    check_name(&request.release.name)?;
    let user = request.values.to_map();
    let root = dependencies::resolve(request.chart, &user, warnings)?;
    let how = Coalesce {
        merge: false,
        warnings,
    };
    let values = how.chart(&root, &user)?;
    if !request.options.skip_schema {
        schema::validate(&root, &values)?;
    }
    let release = request.release;
    let about = Map::default();
    put(&about, "Name", release.name.as_str().into());
    put(&about, "Namespace", release.namespace.as_str().into());
    put(&about, "IsUpgrade", release.is_upgrade.into());
    put(&about, "IsInstall", (!release.is_upgrade).into());
    put(&about, "Revision", Value::int(release.revision));
    put(&about, "Service", "Helm".into());
    let top = Top {
        values,
        release: about.into(),
        capabilities: request.capabilities.value(),
    };
    Ok((root, top))
}

fn execute(request: RenderRequest<'_>, root: &Member, top: &Top) -> Result<BTreeMap<String, String>, Error> {
    let wanted = &request.chart.metadata.kube_version;
    let cluster = request.capabilities.kube_version.normalized();
    if !wanted.is_empty() && !compatible(wanted, cluster) {
        return Err(Error::new(
            Stage::Version,
            format!("chart requires kubeVersion: {wanted} which is incompatible with Kubernetes {cluster}"),
        ));
    }
    let mode = Mode {
        strict: request.options.strict,
        lint: request.options.lint,
        limits: request.options.limits,
        lookup: request.lookup,
        ambient: request.ambient,
    };
    engine::run(root, top, mode)
}

fn render_with(request: RenderRequest<'_>, warnings: &RefCell<Vec<String>>) -> Result<Rendered, Error> {
    let (root, top) = prepare(&request, warnings)?;
    let values = Value::Map(top.values.clone()).to_json();
    let sub_notes = request.options.sub_notes;
    let mut files = execute(request, &root, &top)?;
    let own_notes = format!("{}/templates/NOTES.txt", root.name);
    let mut notes = String::new();
    files.retain(|name, text| {
        if !name.ends_with("NOTES.txt") {
            return true;
        }
        if sub_notes || *name == own_notes {
            if !notes.is_empty() {
                notes.push('\n');
            }
            notes.push_str(text);
        }
        false
    });
    let (manifests, hooks) = manifest::sort(&files)?;
    let (mut crds, mut charts) = (Vec::new(), Vec::new());
    gather_crds(&root, None, &mut crds, &mut charts);
    Ok(Rendered {
        manifests,
        hooks,
        crds,
        notes,
        warnings: Vec::new(),
        values,
        charts,
    })
}

/// The definitions in the `crds/` folders of a chart and of those below it that take part with these values.
///
/// # Errors
/// If dependencies cannot be resolved.
pub fn crds(chart: &Arc<Chart>, values: &Json) -> Result<Vec<Crd>, Error> {
    let warnings = RefCell::new(Vec::new());
    let user = Values::from_json(values)?.to_map();
    let root = dependencies::resolve(chart, &user, &warnings)?;
    let (mut crds, mut charts) = (Vec::new(), Vec::new());
    gather_crds(&root, None, &mut crds, &mut charts);
    Ok(crds)
}

fn gather_crds(member: &Member, parent: Option<&str>, out: &mut Vec<Crd>, charts: &mut Vec<String>) {
    let path = full_path(parent, &member.name);
    charts.push(path.to_string());
    let is_manifest = |name: &str| {
        let (_, extension) = name.rsplit_once('.').unwrap_or_default();
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    };
    let files = member.chart.files.iter();
    out.extend(
        files
            .filter(|file| file.name.starts_with("crds/") && is_manifest(&file.name))
            .map(|file| Crd {
                path: format!("{path}/{}", file.name),
                content: file.text().into_owned(),
            }),
    );
    for child in &member.children {
        gather_crds(child, Some(&path), out, charts);
    }
}

/// Whether a name can be a release's.
///
/// # Errors
/// Says what a name must look like.
pub fn check_name(name: &str) -> Result<(), Error> {
    const PATTERN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(PATTERN).ok());
    let refuse = |what: String| Err(Error::new(Stage::Request, what));
    if name.is_empty() {
        return refuse("release name check failed: no name provided".to_owned());
    }
    if name.len() > 53 || !NAME.as_ref().is_some_and(|pattern| pattern.is_match(name)) {
        return refuse(format!(
            "release name check failed: release name {}: invalid release name, must match regex {PATTERN} and \
             the length must not be longer than 53",
            fluvial_template::quote(name)
        ));
    }
    Ok(())
}

/// What of a release `helm template` prints.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// The files of `crds/` too.
    pub include_crds: bool,
    /// No hooks.
    pub no_hooks: bool,
    /// No tests.
    pub skip_tests: bool,
    /// Only what these templates made; patterns may be given.
    pub show_only: Vec<String>,
}

impl Rendered {
    /// The release's manifest as Helm stores it.
    #[must_use]
    pub fn manifest(&self, include_crds: bool) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        for crd in self.crds.iter().filter(|_| include_crds) {
            let _ = write!(out, "---\n# Source: {}\n{}\n", crd.path, crd.content);
        }
        for manifest in &self.manifests {
            let _ = write!(out, "---\n# Source: {}\n{}\n", manifest.source, manifest.content);
        }
        out
    }

    /// What `helm template` prints.
    ///
    /// # Errors
    /// If a template that is to be shown made nothing.
    pub fn template(&self, output: &Output) -> Result<String, Error> {
        let mut out = self.manifest(output.include_crds).trim().to_owned();
        out.push('\n');
        for hook in self.hooks.iter().filter(|_| !output.no_hooks) {
            if output.skip_tests && hook.is_test() {
                continue;
            }
            let _ = write!(out, "---\n# Source: {}\n{}\n", hook.path, hook.manifest);
        }
        if output.show_only.is_empty() {
            return Ok(out);
        }
        let documents = manifest::split(&out);
        let mut shown = String::new();
        for wanted in &output.show_only {
            let glob = Glob::new(wanted).ok();
            let mut missing = true;
            for document in &documents {
                let Some(name) = source_of(document) else { continue };
                if glob.as_ref().is_some_and(|glob| glob.matches(name)) {
                    let _ = write!(shown, "---\n{document}\n");
                    missing = false;
                }
            }
            if missing {
                return Err(Error::new(
                    Stage::Request,
                    format!("could not find template {wanted} in chart"),
                ));
            }
        }
        Ok(shown)
    }
}

/// The template that a printed document names, without the chart's folder.
fn source_of(document: &str) -> Option<&str> {
    let line = document.split("# Source: ").nth(1)?.lines().next()?;
    line.split_once('/').map(|(_, name)| name)
}

#[cfg(test)]
mod tests;

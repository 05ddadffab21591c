//! Rendering a release: from a chart and values to manifests, hooks, CRDs and notes.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use fluvial_template::sprig::Ambient;
use fluvial_template::{Limits, Map, Value};
use serde_json::Value as Json;

use crate::capabilities::Capabilities;
use crate::chart::{Chart, ChartFile};
use crate::dependencies::{self, Member, compatible};
use crate::engine::{self, Mode, Notes, Top};
use crate::error::{Error, Stage};
use crate::functions::Lookup;
use crate::ignore::Glob;
use crate::manifest::{self, Document, Hook, Manifest};
use crate::provenance::Provenance;
use crate::record::{self, Kept, Record, Recorder};
use crate::schema;
use crate::values::{Coalesce, Values, put};

/// The release that a chart is rendered for.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Missing keys are errors.
    pub strict: bool,
    /// `required` and `fail` give nothing instead of failing.
    pub lint: bool,
    /// Values are not held against the charts' schemas.
    pub skip_schema: bool,
    /// The notes of dependencies count too.
    pub sub_notes: bool,
    /// The values are told ([`Rendered::values`]).
    pub values: bool,
    /// Where everything comes from is noted ([`Rendered::provenance`]).
    pub provenance: bool,
    /// Bounds of the templates.
    pub limits: Limits,
    /// How many threads may read large charts; 0 and 1: the caller's own only.
    pub threads: usize,
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
    pub(crate) file: ChartFile,
}

impl Crd {
    /// Its text.
    #[must_use]
    pub fn content(&self) -> Cow<'_, str> {
        self.file.text()
    }
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
    /// What the templates got as `.Values`, if it was asked for ([`Options::values`]).
    pub values: Json,
    /// The charts that took part, by full path, the release's own first.
    pub charts: Vec<String>,
    /// Where everything comes from, if it was asked for.
    pub provenance: Option<Provenance>,
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
    let result = if request.options.provenance {
        noted(request, &warnings, None).map(|(rendered, _)| rendered)
    } else {
        plain(request, &warnings)
    };
    finish(result, warnings, itself)
}

/// Renders a release and keeps what the next rendering of the same chart can take over: the output of
/// every template that read nothing which has changed since `before`. The result is the same as
/// [`render`]'s.
///
/// # Errors
/// As [`render`]; what was kept before stays good.
pub fn render_again(
    request: RenderRequest<'_>,
    before: Option<&Record>,
) -> Result<(Rendered, Record), RenderFailure> {
    let warnings = RefCell::new(Vec::new());
    let result = noted(request, &warnings, before);
    finish(result, warnings, |(rendered, _)| rendered)
}

fn itself(rendered: &mut Rendered) -> &mut Rendered {
    rendered
}

fn finish<T>(
    result: Result<T, Error>,
    warnings: RefCell<Vec<String>>,
    rendered: impl Fn(&mut T) -> &mut Rendered,
) -> Result<T, RenderFailure> {
    let warnings = warnings.into_inner();
    match result {
        Ok(mut done) => {
            rendered(&mut done).warnings = warnings;
            Ok(done)
        }
        Err(error) => Err(RenderFailure { error, warnings }),
    }
}

/// The rendered text of every template by its name, before it is read as manifests.
///
/// # Errors
/// As [`render`], apart from the manifests.
pub fn render_files(request: RenderRequest<'_>) -> Result<BTreeMap<String, String>, Error> {
    let warnings = RefCell::new(Vec::new());
    let (root, top) = prepare(&request, &warnings)?;
    texts(request, &root, &top, None)
}

fn prepare(request: &RenderRequest<'_>, warnings: &RefCell<Vec<String>>) -> Result<(Member, Top), Error> {
    check_name(&request.release.name)?;
    let user = request.values.to_map();
    let root = dependencies::resolve(request.chart, &user, warnings)
        .map_err(|error| error.context("chart dependencies processing failed"))?;
    let how = Coalesce {
        merge: false,
        warnings,
    };
    let mut values = how.chart(&root, &user)?;
    if request.options.lint {
        // Helm's linter does it twice: a null that took a default away is gone then, and the default is back.
        values = how.chart(&root, &values)?;
    }
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

fn execute(
    request: RenderRequest<'_>,
    root: &Member,
    top: &Top,
    notes: Option<Notes<'_>>,
    made: &mut dyn FnMut(String, String),
) -> Result<(), Error> {
    let wanted = &request.chart.metadata.kube_version;
    let cluster = &request.capabilities.kube_version;
    if !request.options.lint && !wanted.is_empty() && !compatible(wanted, cluster.normalized()) {
        let version = &cluster.version;
        return Err(Error::new(
            Stage::Version,
            format!("chart requires kubeVersion: {wanted} which is incompatible with Kubernetes {version}"),
        ));
    }
    let mode = Mode {
        strict: request.options.strict,
        lint: request.options.lint,
        limits: request.options.limits,
        threads: request.options.threads,
        lookup: request.lookup,
        ambient: request.ambient,
    };
    engine::run(root, top, mode, notes, made)
}

/// What each template makes, by its name.
fn texts(
    request: RenderRequest<'_>,
    root: &Member,
    top: &Top,
    notes: Option<Notes<'_>>,
) -> Result<BTreeMap<String, String>, Error> {
    let mut files = BTreeMap::new();
    execute(request, root, top, notes, &mut |name, text| {
        files.insert(name, text);
    })?;
    Ok(files)
}

fn plain(request: RenderRequest<'_>, warnings: &RefCell<Vec<String>>) -> Result<Rendered, Error> {
    let threads = request.options.threads;
    let (root, top) = engine::meanwhile(request.chart, threads, || prepare(&request, warnings))?;
    let options = request.options;
    let values = match options.values {
        true => Value::Map(top.values.clone()).to_json(),
        false => Json::Null,
    };
    let mut notes = BTreeMap::new();
    let documents = manifest::read_while(options.threads, |reading| {
        execute(request, &root, &top, None, &mut |name, text| {
            if name.ends_with(NOTES) {
                notes.insert(name, text);
            } else {
                reading.add(name, text);
            }
        })
    })?;
    let texts = notes.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    Ok(assemble(&root, values, texts, documents, options))
}

/// Randomness and clock that two attempts share.
struct Shared(Rc<RefCell<Box<dyn Ambient>>>);

impl Ambient for Shared {
    fn now(&mut self) -> i128 {
        self.0.borrow_mut().now()
    }

    fn random(&mut self, buffer: &mut [u8]) {
        self.0.borrow_mut().random(buffer);
    }

    fn addresses(&mut self, host: &str) -> Option<Vec<String>> {
        self.0.borrow_mut().addresses(host)
    }
}

/// Renders with notes; `before` is used as far as it fits.
fn noted(
    request: RenderRequest<'_>,
    warnings: &RefCell<Vec<String>>,
    before: Option<&Record>,
) -> Result<(Rendered, Record), Error> {
    let ambient = Rc::new(RefCell::new(request.ambient));
    let request = || RenderRequest {
        lookup: Arc::clone(&request.lookup),
        ambient: Box::new(Shared(Rc::clone(&ambient))),
        chart: request.chart,
        values: request.values,
        release: request.release,
        capabilities: request.capabilities,
        options: request.options,
    };
    if before.is_some() {
        if let Some(done) = attempt(request(), warnings, before)? {
            return Ok(done);
        }
        // A template changes what others see, so all must run, in order.
        warnings.borrow_mut().clear();
    }
    let done = attempt(request(), warnings, None)?;
    done.ok_or_else(|| Error::new(Stage::Template, "the rendering gave nothing"))
}

/// One rendering; nothing if outputs were taken over that cannot be.
fn attempt(
    request: RenderRequest<'_>,
    warnings: &RefCell<Vec<String>>,
    before: Option<&Record>,
) -> Result<Option<(Rendered, Record)>, Error> {
    let (root, top) = prepare(&request, warnings)?;
    let values = Value::Map(top.values.clone()).to_json();
    let options = request.options;
    let mut members = String::new();
    record::fingerprint(&root, &mut members);
    let before = before.filter(|before| {
        Arc::ptr_eq(&before.chart, request.chart)
            && before.release == *request.release
            && before.capabilities == *request.capabilities
            && before.options == options
            && before.members == members
            && before.still
    });
    let mut record = Record {
        chart: Arc::clone(request.chart),
        release: request.release.clone(),
        capabilities: request.capabilities.clone(),
        options,
        members,
        values: values.clone(),
        still: true,
        templates: BTreeMap::new(),
        reused: 0,
    };
    let mut recorder = Recorder::new(&top.values);
    let notes = Notes {
        recorder: &mut recorder,
        before: before.map(|before| (before, &values)),
    };
    let files = texts(request, &root, &top, Some(notes))?;
    if before.is_some() && recorder.moved {
        return Ok(None);
    }
    record.still = !recorder.moved;
    for (name, text) in files {
        let mut documents = Vec::new();
        if !name.ends_with(NOTES) {
            manifest::read(&name, text.clone(), &mut documents)?;
        }
        let kept = Kept {
            text: text.into(),
            reads: recorder.reads.remove(&name).flatten(),
            documents: documents.into(),
        };
        record.templates.insert(name, kept);
    }
    for (name, kept) in before.iter().flat_map(|before| &before.templates) {
        if !record.templates.contains_key(name) {
            record.reused += 1;
            record.templates.insert(name.clone(), kept.clone());
        }
    }
    let texts = record
        .templates
        .iter()
        .map(|(name, kept)| (name.as_str(), &*kept.text));
    let documents = record
        .templates
        .values()
        .flat_map(|kept| kept.documents.iter().cloned());
    let mut rendered = assemble(&root, values, texts, documents.collect(), options);
    if options.provenance {
        rendered.provenance = Some(Provenance::new(recorder.runs, &root));
    }
    Ok(Some((rendered, record)))
}

/// The name of the files that are for people.
const NOTES: &str = "NOTES.txt";

fn assemble<'t>(
    root: &Member,
    values: Json,
    texts: impl Iterator<Item = (&'t str, &'t str)>,
    documents: Vec<Document>,
    options: Options,
) -> Rendered {
    let own_notes = format!("{}/templates/{NOTES}", root.name);
    let mut notes = String::new();
    for (name, text) in texts {
        if name.ends_with(NOTES) && (options.sub_notes || *name == own_notes) {
            if !notes.is_empty() {
                notes.push('\n');
            }
            notes.push_str(&fluvial_template::bytes::lossy(text.to_owned()));
        }
    }
    let (manifests, hooks) = manifest::sort(documents);
    let (mut crds, mut charts) = (Vec::new(), Vec::new());
    gather_crds(root, &mut crds, &mut charts);
    Rendered {
        manifests,
        hooks,
        crds,
        notes,
        warnings: Vec::new(),
        values,
        charts,
        provenance: None,
    }
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
    gather_crds(&root, &mut crds, &mut charts);
    Ok(crds)
}

fn gather_crds(member: &Member, out: &mut Vec<Crd>, charts: &mut Vec<String>) {
    let path = &member.path;
    charts.push(path.to_string());
    out.extend(member.chart.crd_files().map(|file| Crd {
        path: format!("{path}/{}", file.name),
        file: file.clone(),
    }));
    for child in &member.children {
        gather_crds(child, out, charts);
    }
}

/// Whether a name can be a release's.
///
/// # Errors
/// Says what a name must look like.
pub fn check_name(name: &str) -> Result<(), Error> {
    const PATTERN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    let refuse = |what: String| Err(Error::new(Stage::Request, what));
    if name.is_empty() {
        return refuse("release name check failed: no name provided".to_owned());
    }
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = name.split('.').all(|label| {
        label.bytes().next().is_some_and(is_inner)
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte == b'-' || is_inner(byte))
    });
    if name.len() > 53 || !fits {
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
        joined(&self.stored(include_crds))
    }

    /// The pieces of the release's manifest.
    fn stored(&self, include_crds: bool) -> Vec<Cow<'_, str>> {
        let crds = self.crds.iter().filter(|_| include_crds);
        let crds = crds.flat_map(|crd| document(&crd.path, crd.content()));
        let manifests = self.manifests.iter();
        let manifests =
            manifests.flat_map(|manifest| document(&manifest.source, manifest.content.as_str().into()));
        crds.chain(manifests).collect()
    }

    /// What `helm template` prints, in pieces that are to be written one after the other: nothing large is
    /// copied for them.
    ///
    /// # Errors
    /// If a template that is to be shown made nothing.
    pub fn printed(&self, output: &Output) -> Result<Vec<Cow<'_, str>>, Error> {
        let mut pieces = self.stored(output.include_crds);
        // As Helm does, the manifest is trimmed as a whole.
        while let Some(last) = pieces.pop() {
            let kept = last.trim_end().len();
            if kept > 0 {
                pieces.push(match last {
                    Cow::Borrowed(text) => Cow::Borrowed(&text[..kept]),
                    Cow::Owned(text) => Cow::Owned(text[..kept].to_owned()),
                });
                break;
            }
        }
        pieces.push("\n".into());
        for hook in self.hooks.iter().filter(|_| !output.no_hooks) {
            if !output.skip_tests || !hook.is_test() {
                pieces.extend(document(&hook.path, hook.manifest.as_str().into()));
            }
        }
        if output.show_only.is_empty() {
            return Ok(pieces);
        }
        Ok(vec![shown(&joined(&pieces), &output.show_only)?.into()])
    }

    /// What `helm template` prints.
    ///
    /// # Errors
    /// If a template that is to be shown made nothing.
    pub fn template(&self, output: &Output) -> Result<String, Error> {
        Ok(joined(&self.printed(output)?))
    }
}

/// A document as it is stored and printed.
fn document<'d>(source: &'d str, text: Cow<'d, str>) -> [Cow<'d, str>; 5] {
    [
        "---\n# Source: ".into(),
        source.into(),
        "\n".into(),
        text,
        "\n".into(),
    ]
}

fn joined(pieces: &[Cow<'_, str>]) -> String {
    let mut out = String::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
    out.extend(pieces.iter().map(|piece| &**piece));
    out
}

/// The documents of what is printed that certain templates made.
fn shown(out: &str, wanted: &[String]) -> Result<String, Error> {
    let documents = manifest::split(out);
    let mut shown = String::new();
    for wanted in wanted {
        let glob = Glob::new(wanted);
        let mut missing = true;
        for document in &documents {
            let Some(name) = source_of(document) else { continue };
            if glob.matches(name).unwrap_or(false) {
                // Writing into a String cannot fail.
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

/// The template that a printed document names, without the chart's folder.
fn source_of(document: &str) -> Option<&str> {
    let line = document.split("# Source: ").nth(1)?.lines().next()?;
    line.split_once('/').map(|(_, name)| name)
}

#[cfg(test)]
mod tests;

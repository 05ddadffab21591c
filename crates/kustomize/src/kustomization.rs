//! The kustomization file: all of its fields, read as YAML 1.1, old spellings brought to new ones.

pub(crate) mod read;

use std::cell::RefCell;
use std::collections::BTreeMap;

use fluvial_yaml::Mode;

use crate::error::{Error, Result};
use crate::generators::helm::{HelmChart, HelmGlobals};
use crate::generators::{GeneratorOptions, MapGenerator, MapKind};
use crate::loader::{Loaded, Loader};
use crate::nodes::is_nil_or_empty;
use crate::session::Session;
use crate::transformers::images::Image;
use crate::transformers::labels::Label;
use crate::transformers::patch::Patch;
use crate::transformers::replacements::Replacement;
use crate::transformers::replicas::Replica;
use crate::transformers::sort_order::SortOrder;
use crate::transformers::vars::Variable;
use read::{Reader, Text};

/// The names that a kustomization file may have.
pub const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

const KUSTOMIZATION: (&str, &str) = ("Kustomization", "kustomize.config.k8s.io/v1beta1");
const COMPONENT: (&str, &str) = ("Component", "kustomize.config.k8s.io/v1alpha1");

/// Every field, in the file's spelling.
const FIELDS: [&str; 34] = [
    "apiVersion",
    "kind",
    "metadata",
    "openapi",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "patchesStrategicMerge",
    "patchesJson6902",
    "patches",
    "images",
    "imageTags",
    "replacements",
    "replicas",
    "vars",
    "sortOptions",
    "resources",
    "components",
    "crds",
    "bases",
    "configMapGenerator",
    "secretGenerator",
    "helmGlobals",
    "helmCharts",
    "helmChartInflationGenerator",
    "generatorOptions",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "buildMetadata",
];

/// An entry of `replacements`: the text of one, or a file with some.
#[derive(Clone, Debug)]
pub(crate) enum ReplacementEntry {
    Inline(Box<Replacement>),
    File(Text),
}

/// A kustomization.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kustomization {
    /// Name of the file in its folder.
    pub(crate) file_name: String,
    pub(crate) component: bool,
    pub(crate) openapi: BTreeMap<String, String>,
    pub(crate) name_prefix: Text,
    pub(crate) name_suffix: Text,
    pub(crate) namespace: Text,
    pub(crate) common_labels: BTreeMap<String, Text>,
    pub(crate) labels: Vec<Label>,
    pub(crate) common_annotations: BTreeMap<String, Text>,
    pub(crate) patches_strategic_merge: Vec<Text>,
    pub(crate) patches_json6902: Vec<Patch>,
    pub(crate) patches: Vec<Patch>,
    pub(crate) images: Vec<Image>,
    pub(crate) replacements: Vec<ReplacementEntry>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) sort_order: Option<SortOrder>,
    pub(crate) resources: Vec<Text>,
    pub(crate) components: Vec<Text>,
    pub(crate) crds: Vec<Text>,
    pub(crate) config_maps: Vec<MapGenerator>,
    pub(crate) secrets: Vec<MapGenerator>,
    pub(crate) helm_globals: Option<HelmGlobals>,
    pub(crate) helm_charts: Vec<HelmChart>,
    pub(crate) generator_options: Option<GeneratorOptions>,
    pub(crate) configurations: Vec<Text>,
    pub(crate) generators: Vec<Text>,
    pub(crate) transformers: Vec<Text>,
    pub(crate) validators: Vec<Text>,
    pub(crate) build_metadata: Vec<String>,
}

impl Kustomization {
    /// Loads the kustomization file of a folder.
    pub(crate) fn load(session: &Session<'_>, loader: &Loader) -> Result<Self> {
        let (name, loaded) = find_file(session, loader)?;
        let file = session.add_file(&loaded.name);
        let text = loaded.text()?;
        let node = crate::parse::first_document(session, text, file)?;
        let node = node
            .filter(|node| !is_nil_or_empty(node))
            .ok_or_else(|| Error::new(format!("{name} is empty")).at(&loaded.name, 0))?;
        let unknown = RefCell::default();
        let mut reader = Reader::new(&node, &loaded.name, Mode::Json)?;
        if session.options.lenient_root && loader.is_first() {
            reader = reader.forgiving(&unknown);
        }
        reader
            .only(&FIELDS)
            .map_err(|error| error.within("invalid Kustomization"))?;
        let mut kustomization = Self::read(&reader)?;
        name.clone_into(&mut kustomization.file_name);
        refuse_empty(&reader, name)?;
        for error in unknown.take() {
            session.warn(format!("{error}: the field has no effect"), Some(&loaded.name));
        }
        warn_of_old_fields(session, &reader);
        Ok(kustomization)
    }

    fn read(reader: &Reader<'_>) -> Result<Self> {
        let component = check_kind(reader)?;
        let mut kustomization = Kustomization {
            component,
            openapi: reader.string_map("openapi")?,
            name_prefix: reader.located("namePrefix")?,
            name_suffix: reader.located("nameSuffix")?,
            namespace: reader.located("namespace")?,
            common_labels: reader.located_map("commonLabels")?,
            labels: reader.list("labels", |label| Label::read(&label))?,
            common_annotations: reader.located_map("commonAnnotations")?,
            patches_strategic_merge: reader.texts("patchesStrategicMerge")?,
            patches_json6902: reader.list("patchesJson6902", |patch| Patch::read(&patch))?,
            patches: reader.list("patches", |patch| Patch::read(&patch))?,
            images: reader.list("images", |image| Image::read(&image))?,
            replacements: reader.list("replacements", |entry| read_replacement(&entry))?,
            replicas: reader.list("replicas", |replica| Replica::read(&replica))?,
            variables: reader.list("vars", |variable| Variable::read(&variable))?,
            sort_order: reader
                .object("sortOptions")?
                .map(|options| SortOrder::read(&options))
                .transpose()?,
            resources: reader.texts("resources")?,
            components: reader.texts("components")?,
            crds: reader.texts("crds")?,
            configurations: reader.texts("configurations")?,
            generators: reader.texts("generators")?,
            transformers: reader.texts("transformers")?,
            validators: reader.texts("validators")?,
            build_metadata: reader.strings("buildMetadata")?,
            ..Kustomization::default()
        };
        kustomization.resources.extend(reader.texts("bases")?);
        kustomization
            .images
            .extend(reader.list("imageTags", |image| Image::read(&image))?);
        kustomization.read_generators(reader)?;
        check_metadata(reader)?;
        Ok(kustomization)
    }

    fn read_generators(&mut self, reader: &Reader<'_>) -> Result<()> {
        self.config_maps = reader.list("configMapGenerator", |entry| {
            MapGenerator::read(&entry, MapKind::ConfigMap)
        })?;
        self.secrets = reader.list("secretGenerator", |entry| {
            MapGenerator::read(&entry, MapKind::Secret)
        })?;
        self.generator_options = reader
            .object("generatorOptions")?
            .map(|options| GeneratorOptions::read(&options))
            .transpose()?;
        self.helm_globals = reader
            .object("helmGlobals")?
            .map(|globals| HelmGlobals::read(&globals))
            .transpose()?;
        self.helm_charts = reader.list("helmCharts", |chart| HelmChart::read(&chart))?;
        for (chart, globals) in
            reader.list("helmChartInflationGenerator", |chart| HelmChart::read_old(&chart))?
        {
            self.helm_charts.push(chart);
            if self.helm_globals.is_none() && !globals.chart_home.is_empty() {
                self.helm_globals = Some(globals);
            }
        }
        Ok(())
    }

    /// Whether `buildMetadata` asks for something.
    pub(crate) fn wants(&self, option: &str) -> bool {
        self.build_metadata.iter().any(|one| one == option)
    }
}

/// The one kustomization file of a folder.
fn find_file(session: &Session<'_>, loader: &Loader) -> Result<(&'static str, Loaded)> {
    let mut found = None;
    for name in FILE_NAMES {
        if let Ok(loaded) = loader.load(session, name) {
            if found.is_some() {
                return Err(Error::new(format!(
                    "Found multiple kustomization files under: {}",
                    loader.root_name()
                )));
            }
            found = Some((name, loaded));
        }
    }
    found.ok_or_else(|| {
        Error::new(format!(
            "unable to find one of 'kustomization.yaml', 'kustomization.yml' or 'Kustomization' in directory '{}'",
            loader.root_name()
        ))
    })
}

/// Fails if nothing is said but what kind of file it is.
fn refuse_empty(reader: &Reader<'_>, name: &str) -> Result<()> {
    let says_something = |field: &str| {
        !matches!(field, "apiVersion" | "kind")
            && reader.get(field).is_some_and(|value| value.as_text() != Some(""))
    };
    if FIELDS.into_iter().any(says_something) {
        return Ok(());
    }
    Err(reader.error(format!("{name} is empty; list what to build under 'resources'")))
}

/// Whether it is a component; fails if it is neither that nor a kustomization.
fn check_kind(reader: &Reader<'_>) -> Result<bool> {
    let kind = reader.string("kind")?;
    let component = kind == COMPONENT.0;
    if !component && !kind.is_empty() && kind != KUSTOMIZATION.0 {
        return Err(reader.error(format!("kind should be {} or {}", KUSTOMIZATION.0, COMPONENT.0)));
    }
    let (kind, wanted) = if component { COMPONENT } else { KUSTOMIZATION };
    let api_version = reader.string("apiVersion")?;
    if !api_version.is_empty() && api_version != wanted {
        return Err(reader.error(format!("apiVersion for {kind} should be {wanted}")));
    }
    Ok(component)
}

/// The metadata of a kustomization do nothing, but are no place for other things.
fn check_metadata(reader: &Reader<'_>) -> Result<()> {
    let Some(metadata) = reader.object("metadata")? else {
        return Ok(());
    };
    metadata.only(&["name", "namespace", "labels", "annotations"])?;
    metadata.string("name")?;
    metadata.string("namespace")?;
    metadata.string_map("labels")?;
    metadata.string_map("annotations")?;
    Ok(())
}

fn read_replacement(reader: &Reader<'_>) -> Result<ReplacementEntry> {
    reader.only(&["path", "source", "sourceValue", "targets"])?;
    let path = reader.located("path")?;
    if path.text.is_empty() {
        return Ok(ReplacementEntry::Inline(Box::new(Replacement::read(reader)?)));
    }
    if reader.has("source") || reader.has("targets") {
        return Err(reader.error("cannot specify both path and inline replacement"));
    }
    Ok(ReplacementEntry::File(path))
}

/// What kustomize prints of fields that it wants to be rid of.
fn warn_of_old_fields(session: &Session<'_>, reader: &Reader<'_>) {
    const FIX: &str = "Run 'kustomize edit fix' to update your Kustomization automatically.";
    let old = [
        ("commonLabels", "labels", ""),
        ("bases", "resources", ""),
        ("imageTags", "images", ""),
        ("patchesJson6902", "patches", ""),
        ("patchesStrategicMerge", "patches", ""),
        ("vars", "replacements", "[EXPERIMENTAL] "),
    ];
    for (field, instead, mark) in old {
        if reader.has(field) {
            session.warn(
                format!("# Warning: '{field}' is deprecated. Please use '{instead}' instead. {mark}{FIX}"),
                Some(reader.file()),
            );
        }
    }
}

//! One kustomization: its resources, generators, components and transformers, in their order.

use std::rc::Rc;
use std::sync::Arc;

use fluvial_tree::{Tree, TreePath};

use crate::config::{self, TransformerConfig};
use crate::error::{Error, Result, Within};
use crate::facts::SchemaSet;
use crate::kustomization::Kustomization;
use crate::kustomization::read::{Reader, Text};
use crate::loader::{LoadFailure, Loader};
use crate::plugins;
use crate::provenance::Trace;
use crate::remote::RepoSpec;
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::session::Session;
use crate::transformers;
use crate::transformers::hash::HashTransformer;
use crate::transformers::name_reference::NameReferenceTransformer;
use crate::transformers::vars::{self, Variables};

/// Resources with the rules that later steps need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accumulator {
    pub(crate) map: ResMap,
    pub(crate) config: Arc<TransformerConfig>,
    pub(crate) variables: Variables,
}

/// A kustomization in its folder.
pub(crate) struct Target<'s, 'a> {
    session: &'s Session<'a>,
    loader: Rc<Loader>,
    pub(crate) kustomization: Kustomization,
    /// The namespace of its charts: its own, or that of the nearest one above.
    chart_namespace: String,
    /// What is recorded of it, if anything is to be.
    trace: Option<Trace>,
}

impl<'s, 'a> Target<'s, 'a> {
    /// Loads the kustomization to build.
    pub(crate) fn root(session: &'s Session<'a>, tree: &Tree, path: &TreePath) -> Result<Self> {
        let loader = Rc::new(Loader::new(session, tree, path)?);
        let kustomization = Kustomization::load(session, &loader)?;
        choose_schema(session, &loader, &kustomization)?;
        let trace = (!kustomization.build_metadata.is_empty()).then(Trace::default);
        Ok(Target {
            session,
            loader,
            chart_namespace: kustomization.namespace.text.clone(),
            kustomization,
            trace,
        })
    }

    /// Builds everything, names and variables resolved.
    pub(crate) fn build(&self) -> Result<ResMap> {
        let session = self.session;
        let mut all = self.accumulate(Accumulator::default())?;
        transformers::run_one("HashTransformer", &HashTransformer, &mut all.map, session)?;
        let config = Arc::clone(&all.config);
        let references = NameReferenceTransformer { config: &config };
        transformers::run_one("NameReferenceTransformer", &references, &mut all.map, session)?;
        if !all.variables.is_empty() {
            let variables = all.variables.into_list();
            vars::resolve(&mut all.map, &variables, &config.var_reference, session)?;
        }
        drop_local(&mut all.map)?;
        Ok(all.map)
    }

    /// Runs the kustomization over what is there already: nothing, or, for a component, all that
    /// its parent has.
    fn accumulate(&self, mut all: Accumulator) -> Result<Accumulator> {
        self.add_resources(&mut all, &self.kustomization.resources)
            .within(|| "accumulating resources".to_owned())?;
        config::merge(&mut all.config, &self.configuration()?)?;
        let crds = config::crds::load(self.session, &self.loader, &self.kustomization.crds)?;
        config::merge(&mut all.config, &Arc::new(crds))?;
        self.generate(&mut all)?;
        for component in &self.kustomization.components {
            all = self
                .add_component(all, component)
                .map_err(|error| self.session.at(error, component.pos))
                .within(|| "accumulating components".to_owned())?;
        }
        self.transform(&mut all)?;
        self.validate(&mut all)?;
        vars::bind(&mut all.map, &self.kustomization.variables)?;
        all.variables
            .add(&self.kustomization.variables)
            .within(|| "merging vars".to_owned())?;
        Ok(all)
    }

    /// The built-in field lists with those of `configurations:`.
    fn configuration(&self) -> Result<Arc<TransformerConfig>> {
        if self.kustomization.configurations.is_empty() {
            return Ok(config::built_in());
        }
        let mut own = Arc::default();
        for path in &self.kustomization.configurations {
            let read = || {
                let loaded = self.loader.load(self.session, &path.text).map_err(Error::from)?;
                let file = self.session.add_file(&loaded.name);
                // No key may stand twice here.
                fluvial_yaml::yaml_to_json(loaded.text()?, true)
                    .map_err(|error| Error::new(error.message).at(&loaded.name, error.pos.line))?;
                let document = crate::parse::first_document(self.session, loaded.text()?, file)?;
                document.as_ref().map_or_else(
                    || Ok(TransformerConfig::default()),
                    |node| {
                        let reader = Reader::new(node, &loaded.name, fluvial_yaml::Mode::Json)?;
                        TransformerConfig::read(&reader)
                    },
                )
            };
            let added = read()
                .map_err(|error| self.session.at(error, path.pos))
                .within(|| format!("loading configuration '{}'", path.text))?;
            config::merge(&mut own, &Arc::new(added))?;
        }
        // A field of one's own counts for nothing where a built-in one of the same kinds has its path.
        let mut merged = config::built_in();
        config::merge(&mut merged, &own)?;
        Ok(merged)
    }

    fn add_resources(&self, all: &mut Accumulator, paths: &[Text]) -> Result<()> {
        for path in paths {
            self.add_resource(all, path)
                .map_err(|error| self.session.at(error, path.pos))?;
        }
        Ok(())
    }

    /// Adds a file, or else another kustomization.
    fn add_resource(&self, all: &mut Accumulator, path: &Text) -> Result<()> {
        let not_a_file = match self.load_file(path) {
            Ok(resources) => {
                return resources
                    .into_iter()
                    .try_for_each(|resource| all.map.append(resource))
                    .within(|| format!("merging resources from '{}'", path.text));
            }
            Err(LoadFailure::Http(error)) => return Err(error),
            Err(LoadFailure::Other(error)) => error,
        };
        let step = || format!("accumulating resources from '{}'", path.text);
        // If it can be nothing else, what is wrong with the file is the mistake.
        let elsewhere = RepoSpec::parse(&path.text).is_ok();
        if not_a_file.location().is_some()
            || (!elsewhere && self.loader.folder(self.session, &path.text).is_none())
        {
            return Err(not_a_file.within(step()));
        }
        let loader = self.loader.enter(self.session, &path.text).within(step)?;
        let target = self.child(loader, &path.text).within(step)?;
        if target.kustomization.component {
            return Err(Error::new(format!(
                "expected kind != 'Component' for path '{}'",
                target.loader.root_name()
            )));
        }
        let name = target.loader.root_name();
        let sub = target
            .accumulate(Accumulator::default())
            .within(|| format!("recursed accumulation of path '{name}'"))?;
        add_all(all, sub).within(|| format!("recursed merging from path '{name}'"))
    }

    fn load_file(&self, path: &Text) -> std::result::Result<Vec<Resource>, LoadFailure> {
        let loaded = self.loader.load(self.session, &path.text)?;
        let read = || {
            let file = self.session.add_file(&loaded.name);
            let mut resources = crate::parse::resources(self.session, loaded.text()?, file)?;
            if let Some(trace) = &self.trace {
                let trace = Arc::new(trace.append(&path.text));
                for resource in &mut resources {
                    resource.trace = Some(Arc::clone(&trace));
                }
            }
            Ok(resources)
        };
        read().map_err(|error: Error| LoadFailure::Other(error.at(&loaded.name, 0)))
    }

    /// Another kustomization that this one names.
    fn child(&self, loader: Rc<Loader>, path: &str) -> Result<Target<'s, 'a>> {
        let mut kustomization = Kustomization::load(self.session, &loader)
            .within(|| format!("couldn't make target for path '{}'", loader.root_name()))?;
        kustomization
            .build_metadata
            .clone_from(&self.kustomization.build_metadata);
        choose_schema(self.session, &loader, &kustomization)?;
        let own = [&kustomization.namespace.text, &self.chart_namespace]
            .into_iter()
            .find(|namespace| !namespace.is_empty());
        Ok(Target {
            session: self.session,
            loader,
            chart_namespace: own.cloned().unwrap_or_default(),
            kustomization,
            trace: self.trace.as_ref().map(|trace| trace.append(path)),
        })
    }

    fn add_component(&self, all: Accumulator, path: &Text) -> Result<Accumulator> {
        let loader = self.loader.enter(self.session, &path.text)?;
        let target = self.child(loader, &path.text)?;
        let name = target.loader.root_name();
        if !target.kustomization.component {
            return Err(Error::new(format!(
                "expected kind 'Component' for path '{name}' but got 'Kustomization'"
            )));
        }
        let sub = target
            .accumulate(all)
            .within(|| format!("recursed accumulation of path '{name}'"))?;
        let mut all = Accumulator::default();
        add_all(&mut all, sub)?;
        Ok(all)
    }

    /// What is recorded of a generator or transformer that one of the fields configures.
    fn trace_of(&self, kind: &str) -> Option<Arc<Trace>> {
        let trace = self.trace.as_ref()?;
        Some(Arc::new(trace.built_in(&self.kustomization.file_name, kind)))
    }

    fn generate(&self, all: &mut Accumulator) -> Result<()> {
        let kustomization = &self.kustomization;
        let global = kustomization.generator_options.as_ref();
        for (kind, generators) in [
            ("ConfigMapGenerator", &kustomization.config_maps),
            ("SecretGenerator", &kustomization.secrets),
        ] {
            for generator in generators {
                let resource = generator.generate(self.session, &self.loader, global)?;
                self.absorb(all, vec![resource], self.trace_of(kind).as_ref())
                    .map_err(|error| self.session.at(error, generator.pos))?;
            }
        }
        for chart in &kustomization.helm_charts {
            let globals = kustomization.helm_globals.as_ref();
            let resources = chart.generate(self.session, &self.loader, globals, &self.chart_namespace)?;
            self.absorb(
                all,
                resources,
                self.trace_of("HelmChartInflationGenerator").as_ref(),
            )?;
        }
        if !kustomization.generators.is_empty() {
            let configs = self
                .configured(&kustomization.generators)
                .within(|| "loading generator plugins".to_owned())?;
            for config in &configs {
                let resources = plugins::generate(config, self.session, &self.loader)
                    .map_err(|error| self.session.about(error, &config.node))
                    .within(|| format!("plugin {} fails configuration", config.id()))?;
                self.absorb(all, resources, Trace::configured(config).as_ref())
                    .map_err(|error| self.session.about(error, &config.node))?;
            }
        }
        Ok(())
    }

    fn absorb(
        &self,
        all: &mut Accumulator,
        mut resources: Vec<Resource>,
        trace: Option<&Arc<Trace>>,
    ) -> Result<()> {
        for resource in &mut resources {
            if resource.trace.is_none() {
                resource.trace = trace.map(Arc::clone);
            }
        }
        all.map
            .absorb(resources)
            .within(|| "merging from generator".to_owned())
    }

    fn transform(&self, all: &mut Accumulator) -> Result<()> {
        let mut steps = transformers::of_kustomization(
            &self.kustomization,
            &all.config,
            self.session,
            &self.loader,
            &|kind| self.trace_of(kind),
        )?;
        steps.extend(self.configured_steps(&self.kustomization.transformers)?);
        transformers::run(&steps, &mut all.map, self.session)
    }

    /// The transformers that objects configure.
    fn configured_steps(&self, paths: &[Text]) -> Result<Vec<transformers::Step>> {
        let mut steps = Vec::new();
        if paths.is_empty() {
            return Ok(steps);
        }
        for config in &self.configured(paths)? {
            let transformers = plugins::transformers(config, self.session, &self.loader)
                .map_err(|error| self.session.about(error, &config.node))
                .within(|| format!("plugin {} fails configuration", config.id()))?;
            // What one object configures is recorded once, after the last of it.
            let last = transformers.len().saturating_sub(1);
            let numbered = transformers.into_iter().enumerate();
            steps.extend(numbered.map(|(index, transformer)| transformers::Step {
                name: "a configured transformer",
                transformer,
                trace: Trace::configured(config).filter(|_| index == last),
            }));
        }
        Ok(steps)
    }

    /// Objects that configure generators or transformers: inline, in files, or made by another
    /// kustomization.
    fn configured(&self, entries: &[Text]) -> Result<Vec<Resource>> {
        let mut all = Accumulator::default();
        let mut paths = Vec::new();
        for entry in entries {
            match crate::parse::resources(self.session, &entry.text, entry.pos.file) {
                Ok(inline) => {
                    for mut resource in inline {
                        resource.node.pos = entry.pos;
                        resource.trace = self
                            .trace
                            .as_ref()
                            .map(|trace| Arc::new(trace.append(&self.kustomization.file_name)));
                        all.map.append(resource)?;
                    }
                }
                Err(_) => paths.push(entry.clone()),
            }
        }
        self.add_resources(&mut all, &paths)?;
        Ok(all.map.into_resources())
    }

    /// Validators are transformers that must not change anything.
    fn validate(&self, all: &mut Accumulator) -> Result<()> {
        const LABEL: &str = "validated-by";
        for mut step in self.configured_steps(&self.kustomization.validators)? {
            // It is no transformer that counts.
            step.trace = None;
            let mut validated = all.map.clone();
            transformers::run(&[step], &mut validated, self.session)?;
            let plain = |resource: &Resource| {
                let mut node = resource.node.clone();
                if let Some(labels) = node.get_mut("metadata").and_then(|node| node.get_mut("labels")) {
                    crate::nodes::remove(labels, LABEL);
                }
                node
            };
            let (before, after) = (all.map.resources(), validated.resources());
            let differ = |before: &Resource, after: &Resource| {
                before.records() != after.records() || plain(before) != plain(after)
            };
            let changed = before
                .iter()
                .zip(after)
                .position(|(before, after)| differ(before, after));
            if before.len() != after.len() || changed.is_some() {
                let changed = changed.and_then(|at| all.map.resources().get(at));
                return Err(Error::new(match changed {
                    Some(resource) => format!(
                        "validator shouldn't modify the resource map: it changes {}",
                        resource.id()
                    ),
                    None => {
                        "validator shouldn't modify the resource map: it adds or removes resources".to_owned()
                    }
                }));
            }
            all.map = validated;
        }
        Ok(())
    }
}

fn add_all(all: &mut Accumulator, other: Accumulator) -> Result<()> {
    all.map.append_all(other.map)?;
    config::merge(&mut all.config, &other.config)?;
    all.variables.add(&other.variables.into_list())
}

/// Takes the schema that a kustomization brings, if none was chosen before.
fn choose_schema(session: &Session<'_>, loader: &Loader, kustomization: &Kustomization) -> Result<()> {
    let path = kustomization.openapi.get("path").filter(|path| !path.is_empty());
    let version = kustomization
        .openapi
        .get("version")
        .filter(|version| !version.is_empty());
    let text = match path {
        None => None,
        Some(path) => Some(
            loader
                .load(session, path)
                .map_err(Error::from)
                .within(|| format!("loading openapi schema '{path}'"))?,
        ),
    };
    if session.schema_chosen() {
        return Ok(());
    }
    match (text, version) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) => Err(Error::new(
            "builtin version and custom schema provided, cannot use both",
        )),
        (None, Some(version)) if version.trim_start_matches('v') == "1.21.2" => {
            session.choose_schema(None);
            Ok(())
        }
        (None, Some(_)) => Err(Error::new("the specified OpenAPI version is not built in")),
        (Some(loaded), None) => {
            // Where resources were loaded before, the built-in schema is in use already and stays.
            let read = if session.options.keep_built_in_schema || session.has_resources() {
                SchemaSet::with_openapi
            } else {
                SchemaSet::from_openapi
            };
            let schemas = fluvial_yaml::yaml_to_json(loaded.text()?, false)
                .map_err(|error| error.to_string())
                .and_then(|document| read(&document))
                .map_err(|error| Error::new(error).at(&loaded.name, 0))?;
            session.choose_schema(Some(schemas));
            Ok(())
        }
    }
}

/// Drops objects that are only there for the build.
fn drop_local(map: &mut ResMap) -> Result<()> {
    const LOCAL: &str = "config.kubernetes.io/local-config";
    for resource in map.resources() {
        if resource.kind().is_empty() || (resource.name().is_empty() && !resource.kind().ends_with("List")) {
            return Err(Error::new(format!(
                "missing kind or metadata.name in object {}",
                resource.id()
            )));
        }
    }
    let local = |resource: &Resource| {
        resource
            .annotations()
            .iter()
            .any(|(key, value)| *key == LOCAL && *value != "false")
    };
    if map.resources().iter().any(local) {
        map.resources_mut().retain(|resource| !local(resource));
    }
    Ok(())
}

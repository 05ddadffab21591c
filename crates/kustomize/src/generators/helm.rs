//! `helmCharts`: charts rendered by the engine that the caller supplies.

use fluvial_yaml::Pos;
use serde_json::{Map, Value};

use crate::error::{Error, Result, Within};
use crate::kustomization::read::{Reader, Text};
use crate::loader::Loader;
use crate::remote::ChartRequest;
use crate::resource::Resource;
use crate::session::Session;

/// `helmGlobals`
#[derive(Clone, Debug, Default)]
pub(crate) struct HelmGlobals {
    pub(crate) chart_home: String,
}

impl HelmGlobals {
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        reader.only(&["chartHome", "configHome"])?;
        Ok(HelmGlobals {
            chart_home: reader.string("chartHome")?,
        })
    }
}

/// How inline values and the values file combine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ValuesMerge {
    /// Inline values win.
    #[default]
    Override,
    /// The file wins.
    Merge,
    /// Only inline values count.
    Replace,
}

/// An entry of `helmCharts`.
#[derive(Clone, Debug, Default)]
pub(crate) struct HelmChart {
    request: ChartRequest,
    values_file: Text,
    additional_values_files: Vec<Text>,
    values_inline: Option<Value>,
    values_merge: ValuesMerge,
    chart_home: String,
    pos: Pos,
}

const FIELDS: [&str; 20] = [
    "name",
    "version",
    "repo",
    "releaseName",
    "namespace",
    "additionalValuesFiles",
    "valuesFile",
    "valuesInline",
    "valuesMerge",
    "includeCRDs",
    "skipHooks",
    "apiVersions",
    "kubeVersion",
    "nameTemplate",
    "skipTests",
    "debug",
    "devel",
    "chartHome",
    "configHome",
    "kubeApiVersions",
];

impl HelmChart {
    /// Reads an entry of a kustomization.
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        reader.only(&FIELDS[..17])?;
        Self::read_fields(reader)
    }

    /// Reads the fields, whatever else is there.
    pub(crate) fn read_fields(reader: &Reader<'_>) -> Result<Self> {
        let values_merge = match &*reader.string("valuesMerge")? {
            "" | "override" => ValuesMerge::Override,
            "merge" => ValuesMerge::Merge,
            "replace" => ValuesMerge::Replace,
            other => {
                return Err(reader.error(format!(
                    "valuesMerge must be one of override, merge and replace, not '{other}'"
                )));
            }
        };
        let request = ChartRequest {
            name: reader.string("name")?,
            repository: reader.string("repo")?,
            version: reader.string("version")?,
            devel: reader.boolean("devel")?,
            local: None,
            release_name: reader.string("releaseName")?,
            name_template: reader.string("nameTemplate")?,
            namespace: reader.string("namespace")?,
            values: Vec::new(),
            kube_version: reader.string("kubeVersion")?,
            api_versions: reader.strings("apiVersions")?,
            include_crds: reader.boolean("includeCRDs")?,
            skip_hooks: reader.boolean("skipHooks")?,
            skip_tests: reader.boolean("skipTests")?,
        };
        if request.name.is_empty() {
            return Err(reader.error("chart name cannot be empty"));
        }
        Ok(HelmChart {
            request,
            values_file: reader.located("valuesFile")?,
            additional_values_files: reader.texts("additionalValuesFiles")?,
            values_inline: reader.value("valuesInline")?,
            values_merge,
            chart_home: reader.string("chartHome")?,
            pos: reader.pos(),
        })
    }

    /// Reads an entry of the old `helmChartInflationGenerator`, whose names differ.
    pub(crate) fn read_old(reader: &Reader<'_>) -> Result<(Self, HelmGlobals)> {
        let request = ChartRequest {
            name: reader.string("chartName")?,
            repository: reader.string("chartRepoUrl")?,
            version: reader.string("chartVersion")?,
            release_name: reader.string("releaseName")?,
            namespace: reader.string("releaseNamespace")?,
            ..ChartRequest::default()
        };
        if request.name.is_empty() {
            return Err(reader.error("chart name cannot be empty"));
        }
        let chart_home = reader.string("chartHome")?;
        let chart = HelmChart {
            request,
            values_file: reader.located("values")?,
            pos: reader.pos(),
            ..HelmChart::default()
        };
        Ok((chart, HelmGlobals { chart_home }))
    }

    /// Renders the chart.
    pub(crate) fn generate(
        &self,
        session: &Session<'_>,
        loader: &Loader,
        globals: Option<&HelmGlobals>,
    ) -> Result<Vec<Resource>> {
        self.render(session, loader, globals)
            .within(|| format!("rendering chart '{}'", self.request.name))
            .map_err(|error| session.at(error, self.pos))
    }

    fn render(
        &self,
        session: &Session<'_>,
        loader: &Loader,
        globals: Option<&HelmGlobals>,
    ) -> Result<Vec<Resource>> {
        if !session.options.helm {
            return Err(Error::new(
                "helmCharts are not enabled; use --enable-helm to allow them",
            ));
        }
        let mut request = self.request.clone();
        let home = [
            &self.chart_home,
            globals.map_or(&self.chart_home, |one| &one.chart_home),
        ]
        .into_iter()
        .find(|home| !home.is_empty())
        .map_or("charts", String::as_str);
        let folder = if request.version.is_empty() || request.repository.is_empty() {
            format!("{home}/{}", request.name)
        } else {
            format!("{home}/{}-{}/{}", request.name, request.version, request.name)
        };
        request.local = loader
            .folder(session, &folder)
            .or_else(|| loader.folder(session, &format!("{home}/{}", request.name)));
        if request.local.is_none() && request.repository.is_empty() {
            return Err(Error::new(format!(
                "no repo specified for pull, no chart found at '{folder}'"
            )));
        }
        if request.kube_version.is_empty() {
            request
                .kube_version
                .clone_from(&session.options.helm_kube_version);
        }
        request
            .api_versions
            .extend(session.options.helm_api_versions.iter().cloned());
        request.values = self.values(session, loader, &request)?;
        let text = session
            .charts
            .render(loader.tree(), &request)
            .map_err(Error::new)?;
        let file = session.add_file(&format!("chart {}", request.name));
        crate::parse::resources(session, &text, file)
    }

    /// The values in order, later ones win.
    fn values(&self, session: &Session<'_>, loader: &Loader, request: &ChartRequest) -> Result<Vec<Value>> {
        let load = |path: &Text| {
            let loaded = loader
                .load(session, &path.text)
                .map_err(Error::from)
                .map_err(|error| session.at(error, path.pos))?;
            fluvial_yaml::yaml_to_json(loaded.text()?, false)
                .map_err(|error| Error::new(error.to_string()).at(&loaded.name, error.pos.line))
        };
        let file = |request: &ChartRequest| {
            if self.values_file.text.is_empty() {
                session
                    .charts
                    .default_values(loader.tree(), request)
                    .map_err(Error::new)
            } else {
                load(&self.values_file)
            }
        };
        let mut list = Vec::new();
        match (&self.values_inline, self.values_merge) {
            (None, _) => {
                if !self.values_file.text.is_empty() {
                    list.push(load(&self.values_file)?);
                }
            }
            (Some(inline), ValuesMerge::Replace) => list.push(inline.clone()),
            (Some(inline), ValuesMerge::Override) => list.push(overlay(file(request)?, inline)),
            (Some(inline), ValuesMerge::Merge) => list.push(overlay(inline.clone(), &file(request)?)),
        }
        for path in &self.additional_values_files {
            list.push(load(path)?);
        }
        Ok(list)
    }
}

/// Lays values over others, mapping by mapping.
fn overlay(below: Value, above: &Value) -> Value {
    match (below, above) {
        (Value::Object(mut map), Value::Object(above)) => {
            for (key, value) in above {
                let merged = match map.remove(key) {
                    Some(known) => overlay(known, value),
                    None => value.clone(),
                };
                map.insert(key.clone(), merged);
            }
            Value::Object(map)
        }
        (Value::Null, Value::Null) => Value::Object(Map::new()),
        (below, Value::Null) => below,
        (_, above) => above.clone(),
    }
}

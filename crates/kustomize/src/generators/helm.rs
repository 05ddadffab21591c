//! `helmCharts`: charts rendered by the engine that the caller supplies.

use fluvial_yaml::{Mode, Node, Pos};
use serde_json::Value;

use crate::error::{Error, Result, Within};
use crate::kustomization::read::{Reader, Text};
use crate::kyaml::merge2::{self, MergeOptions};
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

impl ValuesMerge {
    fn read(reader: &Reader<'_>) -> Result<Self> {
        match &*reader.string("valuesMerge")? {
            "" | "override" => Ok(ValuesMerge::Override),
            "merge" => Ok(ValuesMerge::Merge),
            "replace" => Ok(ValuesMerge::Replace),
            other => Err(reader.error(format!(
                "valuesMerge must be one of override, merge and replace, not '{other}'"
            ))),
        }
    }
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
            values_merge: ValuesMerge::read(reader)?,
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
            // `releaseNamespace` has no successor; the reference drops it, too.
            ..ChartRequest::default()
        };
        if request.name.is_empty() {
            return Err(reader.error("chart name cannot be empty"));
        }
        let chart_home = reader.string("chartHome")?;
        let chart = HelmChart {
            request,
            values_file: reader.located("values")?,
            values_inline: reader.value("valuesLocal")?,
            values_merge: ValuesMerge::read(reader)?,
            pos: reader.pos(),
            ..HelmChart::default()
        };
        Ok((chart, HelmGlobals { chart_home }))
    }

    /// Renders the chart, in a namespace unless it names its own.
    pub(crate) fn generate(
        &self,
        session: &Session<'_>,
        loader: &Loader,
        globals: Option<&HelmGlobals>,
        namespace: &str,
    ) -> Result<Vec<Resource>> {
        self.render(session, loader, globals, namespace)
            .within(|| format!("rendering chart '{}'", self.request.name))
            .map_err(|error| session.at(error, self.pos))
    }

    fn render(
        &self,
        session: &Session<'_>,
        loader: &Loader,
        globals: Option<&HelmGlobals>,
        namespace: &str,
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
        request.local = loader.folder(session, &folder);
        if request.local.is_none() && request.repository.is_empty() {
            return Err(Error::new(format!(
                "no repo specified for pull, no chart found at '{folder}'"
            )));
        }
        if request.namespace.is_empty() {
            namespace.clone_into(&mut request.namespace);
        }
        if request.kube_version.is_empty() {
            request
                .kube_version
                .clone_from(&session.options.helm_kube_version);
        }
        // As with the version, what the chart says takes the place of what the command line says.
        if request.api_versions.is_empty() {
            request
                .api_versions
                .clone_from(&session.options.helm_api_versions);
        }
        if !(request.release_name.is_empty() || request.name_template.is_empty()) {
            return Err(Error::new(
                "cannot set nameTemplate and also specify a name: leave out releaseName",
            ));
        }
        request.values = self.values(session, loader, &request, &folder)?;
        // What the engine reads of the chart's folder is not known here.
        session.read_remote();
        let text = session
            .charts
            .render(loader.tree(), &request)
            .map_err(Error::new)?;
        let file = session.add_file(&format!("chart {}", request.name));
        let mut resources = crate::parse::resources(session, &text, file)?;
        for resource in &mut resources {
            resource.from_chart = true;
        }
        Ok(resources)
    }

    /// The values in order, later ones win.
    fn values(
        &self,
        session: &Session<'_>,
        loader: &Loader,
        request: &ChartRequest,
        folder: &str,
    ) -> Result<Vec<Value>> {
        // A chart in the tree must have its values where files may be read.
        let default = Text {
            text: format!("{folder}/values.yaml"),
            pos: self.pos,
        };
        let file = || match (self.values_file.text.is_empty(), &request.local) {
            (true, None) => {
                let values = session.charts.default_values(loader.tree(), request);
                let values = values.map(|values| Node::from_json(&values));
                values.map(Some).map_err(Error::new)
            }
            (true, Some(_)) => load(session, loader, &default),
            (false, _) => load(session, loader, &self.values_file),
        };
        let inline = self
            .values_inline
            .as_ref()
            .filter(|values| values.as_object().is_none_or(|values| !values.is_empty()));
        let mut list = Vec::new();
        match (inline.map(Node::from_json), self.values_merge) {
            (None, _) => list.push(file_value(file()?)?),
            (Some(inline), ValuesMerge::Replace) => list.push(to_value(&inline)?),
            (Some(inline), ValuesMerge::Override) => list.push(overlay(something(file()?)?, &inline)?),
            (Some(inline), ValuesMerge::Merge) => list.push(overlay(inline, &something(file()?)?)?),
        }
        for path in &self.additional_values_files {
            list.push(file_value(load(session, loader, path)?)?);
        }
        Ok(list)
    }
}

/// The values of a file that are merged: there has to be something.
fn something(values: Option<Node>) -> Result<Node> {
    values.ok_or_else(|| {
        Error::new("could not parse values file: there is nothing in it to merge valuesInline with")
    })
}

/// The first document of a values file.
fn load(session: &Session<'_>, loader: &Loader, path: &Text) -> Result<Option<Node>> {
    let loaded = loader
        .load(session, &path.text)
        .map_err(Error::from)
        .map_err(|error| session.at(error, path.pos))?;
    let file = session.add_file(&loaded.name);
    let documents = crate::parse::documents(session, loaded.text()?, file)?;
    Ok(documents.into_iter().next())
}

fn file_value(values: Option<Node>) -> Result<Value> {
    values.map_or_else(
        || Ok(Value::Object(serde_json::Map::new())),
        |values| to_value(&values),
    )
}

fn to_value(values: &Node) -> Result<Value> {
    values
        .to_json(Mode::Json)
        .map_err(|error| Error::new(error.to_string()))
}

/// Lays values over others as a strategic merge does: mapping by mapping, null removes.
fn overlay(below: Node, above: &Node) -> Result<Value> {
    let merged = merge2::merge(above, Some(below), None, &MergeOptions::default())
        .map_err(|error| Error::new(error.message))?;
    // Merged values are no file any more: keys and values are what the merge read them as, `y` a text.
    merged.map_or_else(
        || Ok(Value::Object(serde_json::Map::new())),
        |mut values| {
            spell_keys(&mut values);
            values
                .to_json(Mode::Kyaml)
                .map_err(|error| Error::new(error.to_string()))
        },
    )
}

/// Makes texts of all keys.
fn spell_keys(node: &mut Node) {
    for item in node.items_mut().into_iter().flatten() {
        spell_keys(item);
    }
    for entry in node.entries_mut().into_iter().flatten() {
        if let Some(text) = entry.key.as_text() {
            entry.key = Node::text(text);
        }
        spell_keys(&mut entry.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Option<Node> {
        let options = fluvial_yaml::ReadOptions::default();
        fluvial_yaml::parse_documents(text, &options)
            .unwrap()
            .into_iter()
            .next()
    }

    #[test]
    fn merged_values_keep_keys_that_are_words_elsewhere() {
        let inline = Node::from_json(&serde_json::json!({"n": {"y": 1}, "gone": null}));
        let merged = overlay(values("n: {y: 2, on: 3}\ngone: {off: 1}\n").unwrap(), &inline).unwrap();
        assert_eq!(merged, serde_json::json!({"n": {"y": 1, "on": 3}}));
    }

    #[test]
    fn there_is_nothing_to_merge_with_an_empty_file() {
        assert!(something(values("# nothing\n")).is_err());
        assert_eq!(file_value(values("")).unwrap(), serde_json::json!({}));
    }
}

//! Making a chart's archive: values files in place of default values, another version, dependencies put in. Pure.

use std::sync::Arc;

use fluvial_api::HelmChart;
use fluvial_helm::{LoadLimits, Package, merge_values};
use fluvial_ports::SourceErrorClass;
use fluvial_tree::{Tree, TreePath};

use crate::source::step::{Failure, Part};

/// What is changed in a chart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recipe {
    /// Files that take the place of the default values.
    pub(crate) values_files: Vec<String>,
    /// Whether absent ones are no error.
    pub(crate) ignore_missing: bool,
    /// Build metadata of the version; none if empty.
    pub(crate) version_metadata: String,
}

/// A chart as it is stored.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) data: Arc<[u8]>,
    /// Values files that it was made with.
    pub(crate) values_files: Vec<String>,
    /// Whether it was packed here.
    pub(crate) packaged: bool,
    /// For people.
    pub(crate) summary: String,
}

/// A chart of a tree, before its dependencies are put in.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) package: Package,
    /// Where it is in the tree.
    pub(crate) path: TreePath,
    /// Version that it will have.
    pub(crate) version: String,
    values_files: Vec<String>,
    /// The archive in the tree, if nothing is changed in it.
    as_it_is: Option<Arc<[u8]>>,
}

fn stalled(reason: &str, text: String) -> Failure {
    Failure::new(Part::Build, SourceErrorClass::Stalled, reason, text)
}

fn reference(text: &str) -> Failure {
    Failure::stalled(
        "InvalidChartReference",
        format!("invalid chart reference: {text}"),
    )
}

fn values_error(text: &dyn std::fmt::Display) -> Failure {
    stalled("ValuesFilesError", format!("values files merge error: {text}"))
}

fn package_error(text: &dyn std::fmt::Display) -> Failure {
    let text = format!("chart package error: {text}");
    Failure::new(Part::Build, SourceErrorClass::Retry, "ChartPackageError", text)
}

/// Changes version and values; the values files that were used.
fn change(
    package: &mut Package,
    recipe: &Recipe,
    file: impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<Vec<String>, Failure> {
    if !recipe.version_metadata.is_empty() {
        package
            .set_version_metadata(&recipe.version_metadata)
            .map_err(|error| {
                stalled(
                    "MetadataPatchError",
                    format!("chart metadata patch error: {error}"),
                )
            })?;
    }
    let mut found = Vec::new();
    for name in &recipe.values_files {
        match file(name).map_err(|error| values_error(&error))? {
            Some(text) => found.push((name.clone(), text)),
            None if recipe.ignore_missing => {}
            None => {
                return Err(values_error(&format!(
                    "no values file found at path '{name}'; correct spec.valuesFiles, or set spec.ignoreMissingValuesFiles"
                )));
            }
        }
    }
    if !found.is_empty() {
        let files = found.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let values = merge_values(files).map_err(|error| values_error(&error))?;
        package.set_values(&values);
    }
    Ok(found.into_iter().map(|(name, _)| name).collect())
}

/// An archive of a repository; packed anew if the recipe says so.
pub(crate) fn pulled(archive: Arc<[u8]>, recipe: &Recipe) -> Result<Built, Failure> {
    let broken = |error: fluvial_helm::Error| {
        Failure::fetch(
            "ChartPullError",
            format!("chart pull error: failed to load the chart's archive: {error}"),
        )
    };
    let mut package = Package::from_archive(&archive, LoadLimits::default()).map_err(broken)?;
    let packaged = !recipe.values_files.is_empty() || !recipe.version_metadata.is_empty();
    let mut values_files = Vec::new();
    let mut data = archive;
    if packaged {
        let chart = package.clone();
        values_files = change(&mut package, recipe, |name| {
            let path = TreePath::parse(name).map_err(|error| format!("'{name}': {error}"))?;
            Ok(chart.file(path.as_str()).map(|file| file.text().into_owned()))
        })?;
        data = package.pack().map_err(|error| package_error(&error))?.into();
    }
    let metadata = package.metadata();
    let action = if packaged { "packaged" } else { "pulled" };
    Ok(Built {
        summary: told(action, &metadata.name, &metadata.version, &values_files, 0),
        name: metadata.name.clone(),
        version: metadata.version.clone(),
        data,
        values_files,
        packaged,
    })
}

/// Begins with a chart of a tree, a folder or an archive.
pub(crate) fn start(tree: &Tree, chart: &str, recipe: &Recipe) -> Result<Started, Failure> {
    let path =
        TreePath::parse(chart).map_err(|error| reference(&format!("spec.chart '{chart}': {error}")))?;
    let archive = tree.file(&path).ok().map(|file| file.shared());
    let mut package = Package::from_tree(tree, &path, LoadLimits::default()).map_err(|error| {
        reference(&format!(
            "spec.chart '{chart}' is no chart in the source: {error}"
        ))
    })?;
    let values_files = change(&mut package, recipe, |name| {
        let path = TreePath::parse(name).map_err(|error| format!("'{name}': {error}"))?;
        match tree.file(&path) {
            Ok(file) => Ok(Some(String::from_utf8_lossy(file.data()).into_owned())),
            Err(_) => Ok(None),
        }
    })?;
    let unchanged = recipe.values_files.is_empty() && recipe.version_metadata.is_empty();
    Ok(Started {
        version: package.metadata().version.clone(),
        package,
        path,
        values_files,
        as_it_is: archive.filter(|_| unchanged),
    })
}

impl Started {
    /// Packs it; so many dependencies were put in.
    pub(crate) fn finish(self, resolved: usize) -> Result<Built, Failure> {
        let metadata = self.package.metadata();
        let (name, version) = (metadata.name.clone(), metadata.version.clone());
        let as_it_is = self.as_it_is.filter(|_| resolved == 0);
        let packaged = as_it_is.is_none();
        let data = match as_it_is {
            Some(data) => data,
            None => self.package.pack().map_err(|error| package_error(&error))?.into(),
        };
        let action = if packaged { "packaged" } else { "pulled" };
        Ok(Built {
            summary: told(action, &name, &version, &self.values_files, resolved),
            name,
            version,
            data,
            values_files: self.values_files,
            packaged,
        })
    }
}

fn told(action: &str, name: &str, version: &str, values_files: &[String], resolved: usize) -> String {
    let mut text = format!("{action} '{name}' chart with version '{version}'");
    if !values_files.is_empty() {
        text.push_str(&format!(" and merged values files [{}]", values_files.join(" ")));
    }
    if resolved > 0 {
        text.push_str(&format!(" and resolved {resolved} dependencies before packaging"));
    }
    text
}

/// What is said of an artifact whose making is not remembered.
pub(crate) fn summary(action: &str, object: &HelmChart, version: &str) -> String {
    let name = object
        .status
        .observed_chart_name
        .as_deref()
        .unwrap_or(&object.spec.chart);
    told(action, name, version, &object.status.observed_values_files, 0)
}

#[cfg(test)]
mod tests {
    use fluvial_helm::Chart;
    use fluvial_tree::{File, TreeBuilder};

    use super::*;

    fn tree() -> Tree {
        let mut tree = TreeBuilder::default();
        for (path, text) in [
            (
                "charts/web/Chart.yaml",
                "apiVersion: v2\nname: web\nversion: 1.0.0\n",
            ),
            ("charts/web/values.yaml", "replicas: 1\n"),
            ("charts/web/templates/x.yaml", "kind: ConfigMap\n"),
            ("envs/prod.yaml", "replicas: 3\n"),
        ] {
            tree.file(path, File::new(text.as_bytes(), false)).unwrap();
        }
        tree.build()
    }

    #[test]
    fn a_folder_is_packed_with_values_of_the_source_s_root() {
        let recipe = Recipe {
            values_files: vec!["charts/web/values.yaml".to_owned(), "envs/prod.yaml".to_owned()],
            version_metadata: "0123456789ab.2".to_owned(),
            ..Recipe::default()
        };
        let built = start(&tree(), "./charts/web", &recipe)
            .unwrap()
            .finish(0)
            .unwrap();
        assert_eq!(
            built.summary,
            "packaged 'web' chart with version '1.0.0+0123456789ab.2' and merged values files [charts/web/values.yaml envs/prod.yaml]"
        );
        let chart = Chart::from_archive(&built.data, LoadLimits::default()).unwrap();
        assert_eq!(chart.values["replicas"], 3.0);

        let again = pulled(built.data, &Recipe::default()).unwrap();
        assert!(!again.packaged);
        assert_eq!(
            again.summary,
            "pulled 'web' chart with version '1.0.0+0123456789ab.2'"
        );
    }

    #[test]
    fn missing_charts_and_values_are_named() {
        let error = start(&tree(), "charts/nope", &Recipe::default()).unwrap_err();
        assert_eq!(
            (error.reason.as_str(), error.class),
            ("InvalidChartReference", SourceErrorClass::Stalled)
        );
        let mut recipe = Recipe {
            values_files: vec!["envs/test.yaml".to_owned()],
            ..Recipe::default()
        };
        let error = start(&tree(), "charts/web", &recipe).unwrap_err();
        assert!(
            error.reason == "ValuesFilesError" && error.message.contains("'envs/test.yaml'"),
            "{error:?}"
        );
        recipe.ignore_missing = true;
        let built = start(&tree(), "charts/web", &recipe).unwrap().finish(0).unwrap();
        assert!(built.values_files.is_empty());
        recipe.values_files = vec!["../../etc/passwd".to_owned()];
        assert!(start(&tree(), "charts/web", &recipe).is_err());
    }
}

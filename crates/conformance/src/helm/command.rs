//! The part of helm's command line that the corpora use, run in memory.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use fluvial_helm::{Capabilities, Chart, KubeVersion, Options, Output, Release, Rendered, Values, render};
use fluvial_tree::{Tree, TreePath};

use super::request;

/// A parsed command.
#[derive(Debug, Default)]
pub struct Command {
    /// `template` or `install`.
    pub(super) verb: String,
    pub(super) name: String,
    pub(super) chart: String,
    namespace: String,
    kube_version: Option<String>,
    api_versions: Vec<String>,
    files: Vec<String>,
    set: Vec<String>,
    set_string: Vec<String>,
    set_json: Vec<String>,
    set_file: Vec<String>,
    set_literal: Vec<String>,
    is_upgrade: bool,
    skip_schema: bool,
    pub(super) output: Output,
    pub(super) values: RefCell<Values>,
}

impl Command {
    /// Reads the words after `helm`.
    ///
    /// # Errors
    /// If a flag is not known here.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut command = Command {
            namespace: "default".to_owned(),
            ..Command::default()
        };
        let mut plain = Vec::new();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                plain.push(word.clone());
                continue;
            }
            let (flag, given) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let mut value = || {
                let value = given.clone().or_else(|| words.next().cloned());
                value.ok_or_else(|| format!("flag needs an argument: {flag}"))
            };
            match flag {
                "-f" | "--values" => command.files.push(value()?),
                "--set" => command.set.push(value()?),
                "--set-string" => command.set_string.push(value()?),
                "--set-json" => command.set_json.push(value()?),
                "--set-file" => command.set_file.push(value()?),
                "--set-literal" => command.set_literal.push(value()?),
                "-n" | "--namespace" => command.namespace = value()?,
                "--kube-version" => command.kube_version = Some(value()?),
                "-a" | "--api-versions" => {
                    let versions = value()?;
                    command
                        .api_versions
                        .extend(versions.split(',').map(str::to_owned));
                }
                "--include-crds" => command.output.include_crds = true,
                // Only an installation minds.
                "--skip-crds" => {}
                "--is-upgrade" => command.is_upgrade = true,
                "--no-hooks" => command.output.no_hooks = true,
                "--skip-tests" => command.output.skip_tests = true,
                "--skip-schema-validation" => command.skip_schema = true,
                "-s" | "--show-only" => command.output.show_only.push(value()?),
                "--name-template" => command.name = value()?,
                "--dry-run" => {}
                "-o" | "--description" => {
                    value()?;
                }
                _ => return Err(format!("unknown flag: {flag}")),
            }
        }
        command.chart = plain.pop().unwrap_or_default();
        let mut plain = plain.into_iter();
        command.verb = plain.next().unwrap_or_default();
        if command.name.is_empty() {
            command.name = plain.next().unwrap_or_else(|| "release-name".to_owned());
        }
        Ok(command)
    }

    fn read_values(&self, read: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<Values, String> {
        let text = |error: fluvial_helm::Error| error.to_string();
        let mut values = Values::new();
        for file in &self.files {
            let data = read(file)?;
            let read = Values::from_yaml(&String::from_utf8_lossy(&data));
            values.merge(read.map_err(|error| format!("failed to parse {file}: {error}"))?);
        }
        for set in &self.set_json {
            values.set_json(set).map_err(text)?;
        }
        for set in &self.set {
            values.set(set).map_err(text)?;
        }
        for set in &self.set_string {
            values.set_string(set).map_err(text)?;
        }
        let file = |name: &str| read(name).map(|data| String::from_utf8_lossy(&data).into_owned());
        for set in &self.set_file {
            values.set_file(set, &file).map_err(text)?;
        }
        for set in &self.set_literal {
            values.set_literal(set).map_err(text)?;
        }
        Ok(values)
    }

    /// Renders the chart of a tree; the error is what helm prints after `Error: `.
    pub(super) fn run(
        &self,
        chart: Result<Arc<Chart>, String>,
        read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Rendered, String> {
        let mut capabilities = Capabilities::default();
        if let Some(version) = &self.kube_version {
            capabilities.kube_version = KubeVersion::parse(version)
                .map_err(|error| format!("invalid kube version '{version}': {error}"))?;
        }
        capabilities.add_api_versions(self.api_versions.iter().cloned());
        let values = self.read_values(read)?;
        self.values.replace(values.clone());
        let chart = chart?;
        chart.check_installable().map_err(|error| error.to_string())?;
        let release = Release {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            revision: 1,
            is_upgrade: self.is_upgrade,
        };
        let options = Options {
            skip_schema: self.skip_schema,
            ..Options::default()
        };
        let rendered = render(request(&chart, &values, &release, &capabilities, options));
        rendered.map_err(|failure| failure.to_string())
    }

    /// The chart that is named.
    #[must_use]
    pub fn chart(&self) -> &str {
        &self.chart
    }

    /// The values files that are named.
    #[must_use]
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// What `helm template` prints.
    ///
    /// # Errors
    /// What Helm prints after `Error: `.
    pub fn template(
        &self,
        chart: Result<Arc<Chart>, String>,
        read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<String, String> {
        let rendered = self.run(chart, read)?;
        rendered.template(&self.output).map_err(|error| error.to_string())
    }
}

/// Loads the chart at a path of a tree.
///
/// # Errors
/// If it is no chart, or a broken one.
pub fn load(tree: &Tree, path: &str) -> Result<Arc<Chart>, String> {
    let path = TreePath::parse(path).map_err(|error| error.to_string())?;
    Chart::load(tree, &path).map_err(|error| error.to_string())
}

/// Reads files below a folder.
pub(super) fn reader(root: &Path) -> impl Fn(&str) -> Result<Vec<u8>, String> {
    let root = root.to_owned();
    move |name| std::fs::read(root.join(name)).map_err(|_| format!("open {name}: no such file or directory"))
}

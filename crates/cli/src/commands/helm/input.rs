//! What the commands about charts read: charts of this machine, and values from files and options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluvial_helm::{Capabilities, Chart, KubeVersion, Layer, Values};
use fluvial_tree::{Tree, TreePath};

use super::fetch;
use crate::disk::{Reader, Unread};
use crate::environment::{Failure, Session};

/// What values come from besides files of this machine.
#[derive(Default)]
pub(crate) struct Given {
    /// Standard input.
    input: String,
    /// What was fetched, by address.
    fetched: BTreeMap<String, String>,
}

/// Options that set values.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ValueOptions {
    /// Files of values, addresses of such (http:// or https://), or - for standard input; later ones win
    #[arg(short = 'f', long, value_name = "FILE", value_delimiter = ',')]
    values: Vec<String>,
    /// Values as PATH=JSON, or a JSON object
    #[arg(long, value_name = "VALUES")]
    set_json: Vec<String>,
    /// Values as PATH=VALUE,PATH=VALUE
    #[arg(long, value_name = "VALUES")]
    set: Vec<String>,
    /// As --set, where all values are strings
    #[arg(long, value_name = "VALUES")]
    set_string: Vec<String>,
    /// As --set, where values are files that hold them
    #[arg(long, value_name = "VALUES")]
    set_file: Vec<String>,
    /// One string as PATH=TEXT, taken as it is
    #[arg(long, value_name = "VALUE")]
    set_literal: Vec<String>,
}

impl ValueOptions {
    /// What does not lie in files of this machine.
    pub(crate) async fn given(&self, session: &mut Session<'_>) -> Result<Given, Failure> {
        let mut given = Given::default();
        if self.values.iter().any(|file| file == "-") {
            std::io::Read::read_to_string(&mut session.env.input, &mut given.input)?;
        }
        for url in self.addresses() {
            let outside = Arc::clone(&session.env.outside);
            let data = fetch::file(outside, url).await.map_err(Failure::new)?;
            let text = String::from_utf8_lossy(&data).into_owned();
            given.fetched.insert(url.to_owned(), text);
        }
        Ok(given)
    }

    /// Whether all values lie in files or come from standard input.
    pub(crate) fn are_here(&self) -> bool {
        self.addresses().next().is_none()
    }

    /// The addresses that values are to be fetched from.
    fn addresses(&self) -> impl Iterator<Item = &str> {
        let pairs = self.set_file.iter().flat_map(|pairs| pairs.split(','));
        let set = pairs.filter_map(|pair| Some(pair.split_once('=')?.1));
        let files = self.values.iter().map(String::as_str);
        files.chain(set).filter(|name| fetch::is_address(name))
    }

    /// The values, in Helm's order.
    pub(crate) fn read(&self, folder: &Path, given: &Given) -> Result<Values, String> {
        let mut values = Values::new();
        for layer in self.files(folder, given)? {
            values.merge(layer.values);
        }
        self.apply(&mut values, folder, given, &mut |_, _| ())?;
        Ok(values)
    }

    /// The values one by one: each file, each option.
    pub(crate) fn layers(&self, folder: &Path, given: &Given) -> Result<Vec<Layer>, String> {
        let mut layers = self.files(folder, given)?;
        let mut alone = Values::new();
        self.apply(&mut alone, folder, given, &mut |name, values| {
            layers.push(Layer {
                name,
                values: std::mem::take(values),
                text: None,
            });
        })?;
        Ok(layers)
    }

    fn files(&self, folder: &Path, given: &Given) -> Result<Vec<Layer>, String> {
        self.values
            .iter()
            .map(|file| {
                let text = text_of(folder, file, given)?;
                let values =
                    Values::from_yaml(&text).map_err(|error| format!("failed to parse {file}: {error}"))?;
                Ok(Layer {
                    name: if file == "-" {
                        "standard input".to_owned()
                    } else {
                        file.clone()
                    },
                    values,
                    text: Some(text),
                })
            })
            .collect()
    }

    /// Sets what the options say; `after` is told of each.
    fn apply(
        &self,
        values: &mut Values,
        folder: &Path,
        given: &Given,
        after: &mut dyn FnMut(String, &mut Values),
    ) -> Result<(), String> {
        let read = |name: &str| text_of(folder, name, given);
        let mut each =
            |flag: &str, texts: &[String], set: &dyn Fn(&mut Values, &str) -> Result<(), String>| {
                texts.iter().try_for_each(|text| {
                    set(values, text)?;
                    after(format!("{flag} {text}"), values);
                    Ok::<(), String>(())
                })
            };
        let told = |error: fluvial_helm::Error| error.to_string();
        each("--set-json", &self.set_json, &|values, text| {
            values.set_json(text).map_err(told)
        })?;
        each("--set", &self.set, &|values, text| values.set(text).map_err(told))?;
        each("--set-string", &self.set_string, &|values, text| {
            values.set_string(text).map_err(told)
        })?;
        each("--set-file", &self.set_file, &|values, text| {
            values.set_file(text, &read).map_err(told)
        })?;
        each("--set-literal", &self.set_literal, &|values, text| {
            values.set_literal(text).map_err(told)
        })
    }
}

fn text_of(folder: &Path, name: &str, given: &Given) -> Result<String, String> {
    if name == "-" {
        return Ok(given.input.clone());
    }
    if let Some(text) = given.fetched.get(name) {
        return Ok(text.clone());
    }
    std::fs::read_to_string(folder.join(name)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("open {name}: no such file or directory"),
        _ => format!("{name}: {error}"),
    })
}

/// What templates are told of the cluster by options.
pub(crate) fn capabilities(
    kube_version: Option<&str>,
    api_versions: &[String],
) -> Result<Capabilities, String> {
    let mut capabilities = Capabilities::default();
    if let Some(version) = kube_version {
        capabilities.kube_version = KubeVersion::parse(version)
            .map_err(|error| format!("invalid kube version '{version}': {error}"))?;
    }
    capabilities.add_api_versions(api_versions.iter().cloned());
    Ok(capabilities)
}

/// The files of a chart of this machine: a tree, the chart's path in it, and where it lies. With `unread` definitions are
/// read when they are asked for.
pub(crate) fn files(
    folder: &Path,
    name: &str,
    unread: Option<&Unread>,
) -> Result<(Tree, TreePath, PathBuf), String> {
    let path = folder.join(name);
    if !path.exists() {
        return Err(format!(
            "chart {name} does not exist; a chart is a folder or a .tgz file; charts are fetched from a repository with \
             --repo URL NAME, or from a registry as oci://…"
        ));
    }
    let fail = |error: &dyn std::fmt::Display| format!("chart {name}: {error}");
    let path = std::fs::canonicalize(&path).map_err(|error| fail(&error))?;
    let is_folder = path.is_dir();
    let root = if is_folder {
        Some(path.as_path())
    } else {
        path.parent()
    };
    let mut reader = Reader::below(root.unwrap_or(&path)).definitions_later(unread);
    if is_folder {
        reader.plain_folder(&path)?;
    } else {
        reader.file(&path)?;
    }
    let at = reader.place(&path)?;
    Ok((reader.tree(), at, path))
}

/// Reads a chart.
pub(crate) fn load(folder: &Path, name: &str) -> Result<Arc<Chart>, String> {
    load_with(folder, name, None)
}

/// As [`load`]; with `unread` definitions are read when they are asked for, and it has to be checked afterwards.
pub(crate) fn load_with(folder: &Path, name: &str, unread: Option<&Unread>) -> Result<Arc<Chart>, String> {
    let (tree, at, path) = files(folder, name, unread)?;
    let fail = |error: &dyn std::fmt::Display| format!("chart {name}: {error}");
    if path.is_dir() && !path.join("Chart.yaml").is_file() {
        return Err(fail(&"Chart.yaml file is missing"));
    }
    Chart::load(&tree, &at).map_err(|error| fail(&error))
}

//! `kustomize build`: kustomize's own command, its flags and its output.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fluvial_kustomize::{
    Build, BuildRequest, FileError, LoadRestrictor, NoRemote, Options as BuildOptions, RemoteResolver,
    Reorder, RepoSpec, Resource,
};
use fluvial_object::ObjectExt;
use fluvial_tree::{Tree, TreePath};
use serde_json::Value;

use crate::charts::Charts;
use crate::disk::{self, Reader};
use crate::environment::{self, Failure, Outcome, Session};
use crate::render;

/// Which files a kustomization may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Restrictor {
    /// Files in or below its own folder.
    #[default]
    #[value(name = "LoadRestrictionsRootOnly")]
    RootOnly,
    /// All files.
    #[value(name = "LoadRestrictionsNone")]
    None,
}

/// The order of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Order {
    /// As loaded.
    None,
    /// What others need comes first.
    #[default]
    Legacy,
}

/// Options of `kustomize build`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Folder with a kustomization, or the address of a repository
    #[arg(value_name = "DIR", default_value = ".")]
    directory: String,
    /// Which files may be read
    #[arg(long, value_name = "WHICH", default_value = "LoadRestrictionsRootOnly")]
    load_restrictor: Restrictor,
    /// Order of the output, where no sortOptions say it; legacy if not given
    #[arg(long, value_name = "ORDER")]
    reorder: Option<Order>,
    /// Write to this file, or one file an object if it is a folder
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Render helmCharts, in this process; charts that are not there are fetched from their repository
    #[arg(long)]
    enable_helm: bool,
    /// Kubernetes version for charts
    #[arg(long, value_name = "VERSION")]
    helm_kube_version: Option<String>,
    /// API versions for charts
    #[arg(long, value_name = "VERSIONS", value_delimiter = ',')]
    helm_api_versions: Vec<String>,
    /// Label every object with app.kubernetes.io/managed-by
    #[arg(long)]
    enable_managedby_label: bool,
    /// Say where fields were set instead of printing objects: KIND/NAME, or KIND/NAME:FIELD
    #[arg(long, value_name = "OBJECT")]
    explain: Option<String>,
    #[command(flatten)]
    idle: Idle,
}

/// Flags of kustomize that are about programs it runs. None are run here, so they change nothing: what asks for such a
/// program (exec, Starlark and container functions) is refused where it stands.
#[derive(Clone, Debug, Default, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are switches of a command line"
)]
struct Idle {
    #[arg(long, hide = true)]
    as_current_user: bool,
    #[arg(long, hide = true)]
    enable_alpha_plugins: bool,
    #[arg(long, hide = true)]
    enable_exec: bool,
    #[arg(long, hide = true)]
    enable_star: bool,
    #[arg(long, hide = true)]
    network: bool,
    #[arg(long, hide = true, value_name = "NAME")]
    network_name: Option<String>,
    #[arg(long, hide = true, value_name = "MOUNT")]
    mount: Vec<String>,
    #[arg(short, long, hide = true, value_name = "VARIABLE")]
    env: Vec<String>,
    #[arg(long, hide = true, value_name = "COMMAND")]
    helm_command: Option<String>,
    #[arg(long, hide = true)]
    helm_debug: bool,
    #[arg(long, hide = true)]
    stack_trace: bool,
}

impl Options {
    /// Refuses what no folder can be.
    fn check(&self) -> Outcome {
        if self.directory.is_empty() {
            return Err(Failure::new(
                "must build at directory: directory path cannot be empty",
            ));
        }
        Ok(())
    }

    /// What kustomize says of flags that it will not have for ever.
    fn deprecated(&self) -> Vec<&'static str> {
        let mut texts = Vec::new();
        if self.reorder.is_some() {
            texts.push(
                "Flag --reorder has been deprecated, use the new 'sortOptions' field in kustomization.yaml instead.",
            );
        }
        if self.enable_managedby_label {
            texts.push(
                "Flag --enable-managedby-label has been deprecated, The flag `enable-managedby-label` has been \
                 deprecated. Use the `managedByLabel` option in the `buildMetadata` field instead.",
            );
        }
        texts
    }

    fn build(&self) -> BuildOptions {
        BuildOptions {
            load_restrictor: match self.load_restrictor {
                Restrictor::RootOnly => LoadRestrictor::RootOnly,
                Restrictor::None => LoadRestrictor::None,
            },
            reorder: match self.reorder.unwrap_or_default() {
                Order::None => Reorder::None,
                Order::Legacy => Reorder::Legacy,
            },
            helm: self.enable_helm,
            helm_kube_version: self.helm_kube_version.clone().unwrap_or_default(),
            helm_api_versions: self.helm_api_versions.clone(),
            managed_by_label: self.enable_managedby_label,
            forget_reads: true,
            ..BuildOptions::cli()
        }
    }
}

/// Builds and prints.
pub(crate) async fn build(session: &mut Session<'_>, options: &Options) -> Outcome {
    options.check()?;
    let remotes = session.env.outside.remotes();
    let charts = Charts::new(session.env.outside.clone());
    let (folder, chosen) = (session.env.folder.clone(), options.clone());
    let output = tokio::task::spawn_blocking(move || {
        let world = World {
            remotes: remotes.as_ref(),
            charts: &charts,
            absent: None,
        };
        made(&folder, &chosen, &world)
    })
    .await?;
    print(session, options, output)
}

/// The same for what lies on this machine, at once; nothing if it does not, and nothing is printed then.
pub(crate) fn build_here(session: &mut Session<'_>, options: &Options) -> Option<Outcome> {
    if let Err(refusal) = options.check() {
        return Some(Err(refusal));
    }
    let (remotes, charts) = (Absent::default(), Charts::of_files(session.env.outside.clone()));
    let world = World {
        remotes: &remotes,
        charts: &charts,
        absent: Some(&remotes),
    };
    let output = made(&session.env.folder, options, &world);
    (!world.lacks()).then(|| print(session, options, output))
}

fn print(session: &mut Session<'_>, options: &Options, output: Result<Output, String>) -> Outcome {
    for text in options.deprecated() {
        let _ = writeln!(session.env.err, "{text}");
    }
    let output = output.map_err(|error| Failure::new(render::localise(&error, &session.env.folder)))?;
    for warning in &output.warnings {
        let _ = writeln!(session.env.err, "{warning}");
    }
    match (&options.output, &options.explain) {
        (Some(path), None) => {
            let path = session.env.folder.join(path);
            for (name, text) in &output.files {
                write(
                    &if name.is_empty() {
                        path.clone()
                    } else {
                        path.join(name)
                    },
                    text,
                )?;
            }
            Ok(())
        }
        _ => output.files.iter().try_for_each(|(_, text)| session.print(text)),
    }
}

/// Nothing is fetched; whether something was to be is remembered.
#[derive(Default)]
struct Absent {
    missed: AtomicBool,
}

impl RemoteResolver for Absent {
    fn repository(&self, spec: &RepoSpec) -> Result<Tree, String> {
        self.missed.store(true, Ordering::Relaxed);
        NoRemote.repository(spec)
    }

    fn file(&self, url: &str) -> Result<Vec<u8>, FileError> {
        self.missed.store(true, Ordering::Relaxed);
        NoRemote.file(url)
    }
}

/// What builds take from outside of the folder.
struct World<'a> {
    remotes: &'a (dyn RemoteResolver + Send + Sync),
    charts: &'a Charts,
    /// Where nothing is fetched: who remembers that something was to be.
    absent: Option<&'a Absent>,
}

impl World<'_> {
    /// Whether something was to be fetched and nobody was there.
    fn lacks(&self) -> bool {
        let absent = self
            .absent
            .is_some_and(|absent| absent.missed.load(Ordering::Relaxed));
        absent || self.charts.missed()
    }
}

/// What is written where.
struct Output {
    warnings: Vec<String>,
    /// Files by name below the output; no name: the output itself.
    files: Vec<(String, String)>,
}

fn made(folder: &Path, options: &Options, world: &World<'_>) -> Result<Output, String> {
    let (mut build, threads) = make(folder, &options.directory, &options.build(), world)?;
    let is_folder = |path: &PathBuf| folder.join(path).is_dir();
    let files = match (&options.explain, &options.output) {
        (Some(wanted), _) => vec![(String::new(), render::localise(&explain(&build, wanted)?, folder))],
        (None, Some(path)) if is_folder(path) => each(&build)?,
        _ => vec![(
            String::new(),
            build.to_yaml(threads).map_err(|error| error.to_string())?,
        )],
    };
    let warnings = std::mem::take(&mut build.warnings);
    // The process ends with this command; giving back each node before would be a tenth of its work.
    std::mem::forget(build);
    Ok(Output {
        warnings: warnings.into_iter().map(|warning| warning.message).collect(),
        files,
    })
}

/// A build, and how many threads it is worth.
fn make(
    folder: &Path,
    directory: &str,
    options: &BuildOptions,
    world: &World<'_>,
) -> Result<(Build, usize), String> {
    let path = folder.join(directory);
    if !path.exists()
        && let Ok(spec) = RepoSpec::parse(directory)
    {
        let tree = world.remotes.repository(&spec)?;
        let path = TreePath::parse(&spec.path).map_err(|error| format!("{directory}: {error}"))?;
        let options = BuildOptions {
            threads: environment::threads(),
            ..options.clone()
        };
        return run(&tree, &path, &options, world);
    }
    if !path.is_dir() {
        let what = if path.exists() {
            "is no folder"
        } else {
            "does not exist"
        };
        return Err(format!("{}: {what}", path.display()));
    }
    let path = std::fs::canonicalize(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut reader = Reader::default();
    reader.kustomization(&path)?;
    let at = disk::tree_path(&path)?;
    let options = BuildOptions {
        root_path: Some("/".to_owned()),
        threads: environment::threads_for(reader.bytes()),
        ..options.clone()
    };
    run(&reader.tree(), &at, &options, world).or_else(|error| {
        if world.lacks() {
            return Err(error);
        }
        // Perhaps something was needed that no text names; then it is in the folder.
        let mut reader = Reader::default();
        match reader.folder(&path) {
            Ok(()) => run(&reader.tree(), &at, &options, world),
            Err(_) => Err(error),
        }
    })
}

fn run(
    tree: &Tree,
    path: &TreePath,
    options: &BuildOptions,
    world: &World<'_>,
) -> Result<(Build, usize), String> {
    let build = fluvial_kustomize::build(&BuildRequest {
        tree,
        path,
        options,
        remote: world.remotes,
        charts: world.charts,
    });
    let build = build.map_err(|error| error.to_string())?;
    Ok((build, options.threads))
}

fn write(path: &Path, text: &str) -> Outcome {
    std::fs::write(path, text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

/// One file an object, named by kind and name, with the namespace in front where there are several.
fn each(build: &Build) -> Result<Vec<(String, String)>, String> {
    let namespaces: std::collections::BTreeSet<String> =
        build.resources.iter().filter_map(namespace_of).collect();
    let several = namespaces.len() > 1;
    let mut files = Vec::with_capacity(build.resources.len());
    for resource in &build.resources {
        let object = resource.to_json().map_err(|error| error.to_string())?;
        let namespace = namespace_of(resource).filter(|_| several);
        let name = file_name(&object, &namespace.unwrap_or_default());
        files.push((name, fluvial_yaml::json_to_yaml(&object)));
    }
    Ok(files)
}

/// The namespace that an object is in: `default` if it names none, and none if its kind has none.
fn namespace_of(resource: &Resource) -> Option<String> {
    let id = resource.id();
    (!id.cluster_scoped).then(|| id.effective_namespace().to_owned())
}

fn file_name(object: &Value, namespace: &str) -> String {
    let version = object.api_version().replace('/', "_");
    let mut parts = vec![version.as_str(), object.kind(), object.name()];
    if !namespace.is_empty() {
        parts.insert(0, namespace);
    }
    let name = parts.join("_").to_lowercase();
    // A name that is no file name must not lead elsewhere.
    format!("{}.yaml", name.replace(['/', '\\'], "_"))
}

/// The places of the fields of one object.
fn explain(build: &Build, wanted: &str) -> Result<String, String> {
    let (object, path) = wanted.split_once(':').unwrap_or((wanted, ""));
    let found: Vec<&Resource> = build
        .resources
        .iter()
        .filter(|resource| {
            resource
                .to_json()
                .is_ok_and(|value| format!("{}/{}", value.kind(), value.name()).eq_ignore_ascii_case(object))
        })
        .collect();
    if found.is_empty() {
        let ids: Vec<String> = build
            .resources
            .iter()
            .filter_map(|resource| resource.to_json().ok())
            .map(|value| format!("{}/{}", value.kind(), value.name()))
            .take(20)
            .collect();
        return Err(format!(
            "{object} is not in the output; there are {}",
            ids.join(", ")
        ));
    }
    let mut text = String::new();
    for resource in found {
        for line in fluvial_kustomize::explain(build, resource).lines() {
            let field = line.split(": ").next().unwrap_or_default();
            let below = field.strip_prefix(path);
            if below.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with(['.', '['])) {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    if text.is_empty() {
        return Err(format!("{object} has no field {path}"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn file_names_hold_what_tells_objects_apart() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
                            "metadata": {"name": "Web", "namespace": "a"}});
        assert_eq!(file_name(&object, ""), "apps_v1_deployment_web.yaml");
        assert_eq!(file_name(&object, "a"), "a_apps_v1_deployment_web.yaml");
        let odd = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "../a"}});
        assert_eq!(file_name(&odd, ""), "v1_x_.._a.yaml");
    }

    #[test]
    fn paths_lead_from_the_working_folder() {
        let folder = Path::new("/srv/repo/overlays/prod");
        for (message, want) in [
            ("srv/repo/overlays/prod/a.yaml:3: x", "a.yaml:3: x"),
            (
                "in 'srv/repo/base/a.yaml' or srv/repo",
                "in '../../base/a.yaml' or ../..",
            ),
            ("directory 'srv/repo/overlays/prod'", "directory '.'"),
            ("/srv/repo/base/a.yaml and srv", "/srv/repo/base/a.yaml and srv"),
        ] {
            assert_eq!(render::localise(message, folder), want);
        }
        let deep = Path::new("/srv/a/b/c/d/e/f");
        assert_eq!(render::localise("srv/x.yaml:1", deep), "/srv/x.yaml:1");
    }
}

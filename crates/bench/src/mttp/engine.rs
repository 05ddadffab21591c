//! What makes owners ready on a cluster: `fluvial serve`, or Flux's own controllers beside it for the same work.

use std::path::Path;
use std::process::Command;

use super::Made;
use crate::Failure;
use crate::git::server;
use crate::programs::{Running, free_port, spawn, write};

/// What makes the owners ready.
#[derive(Clone, Copy)]
pub(super) enum Engine<'t> {
    /// `fluvial serve` of this program.
    Fluvial(&'t str),
    /// Flux's controllers, in a folder.
    Flux(&'t Path),
}

/// Where the repository is said to be; a mirror knows better.
const SOURCE: &str = "https://git.example.com/fleet";
/// How many owners Flux works at; Fluvial decides that by itself.
const WORKERS: &str = "20";

/// Starts the programs, by name; and the URL under which they find the repository.
pub(super) fn start(
    engine: Engine<'_>,
    made: Made,
    fleet: &Path,
    kubeconfig: &Path,
    work: &Path,
) -> Result<(Vec<(&'static str, Running)>, String), Failure> {
    match engine {
        Engine::Fluvial(program) => {
            let mirrors = work.join("mirrors.yaml");
            let to = fleet.display();
            write(&mirrors, &format!("- from: {SOURCE}\n  to: {to}\n"))?;
            let mut command = Command::new(program);
            command
                .args(["serve", "--log-level", "warn", "--kubeconfig"])
                .arg(kubeconfig)
                .arg("--mirrors")
                .arg(mirrors)
                .arg("--data")
                .arg(work.join("serve"));
            let running = spawn(&mut command, &work.join("serve.log"))?;
            Ok((vec![("fluvial", running)], SOURCE.to_owned()))
        }
        Engine::Flux(folder) => {
            let owners = match made {
                Made::Kustomizations => "kustomize-controller",
                Made::HelmReleases => "helm-controller",
            };
            let artifacts = format!("127.0.0.1:{}", free_port()?);
            let sources = [
                "--storage-path",
                &work.join("artifacts").display().to_string(),
                "--storage-addr",
                &artifacts,
                "--storage-adv-addr",
                &artifacts,
            ]
            .map(str::to_owned);
            std::fs::create_dir_all(&sources[1]).map_err(|error| error.to_string())?;
            let controller = |name: &'static str, more: &[String]| -> Result<_, Failure> {
                let program = folder.join(name);
                if !program.is_file() {
                    return Err(format!("there is no {name} of Flux in {}", folder.display()));
                }
                let mut command = Command::new(program);
                for flag in ["--metrics-addr", "--health-addr"] {
                    command.args([flag, &format!("127.0.0.1:{}", free_port()?)]);
                }
                command
                    .args(["--log-level", "error", "--concurrent", WORKERS])
                    .args(more)
                    .env("RUNTIME_NAMESPACE", super::kube::NAMESPACE)
                    .env("KUBECONFIG", kubeconfig);
                Ok((name, spawn(&mut command, &work.join(format!("{name}.log")))?))
            };
            let running = vec![
                controller("source-controller", &sources)?,
                controller(owners, &[])?,
            ];
            let root = fleet.parent().unwrap_or(fleet);
            let name = fleet
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            Ok((running, format!("{}/{name}/.git", server::start(root)?)))
        }
    }
}

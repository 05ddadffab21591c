//! The released programs that ours is measured beside and compared with, built from the modules
//! pinned under `conformance/peers`. They need Go; nothing else of the project does.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the named peers, or all, into `target/peers`.
pub(crate) fn build(root: &Path, names: &[String]) -> Result<(), Vec<String>> {
    let modules = root.join("conformance/peers");
    let entries =
        std::fs::read_dir(&modules).map_err(|error| vec![format!("{}: {error}", modules.display())])?;
    let mut all: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    all.sort();
    let name_of = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let known: Vec<String> = all.iter().map(|path| name_of(path)).collect();
    if let Some(odd) = names.iter().find(|name| !known.contains(name)) {
        return Err(vec![format!(
            "no peer is named {odd}; there are {}",
            known.join(", ")
        )]);
    }
    let mut problems = Vec::new();
    for module in all
        .iter()
        .filter(|path| names.is_empty() || names.contains(&name_of(path)))
    {
        if let Err(problem) = build_one(root, module, &name_of(module)) {
            problems.push(problem);
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

/// The package that a module pins with its one `tool` line.
fn tool(module: &Path) -> Result<String, String> {
    let file = module.join("go.mod");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("tool "))
        .map(|package| package.trim().to_owned())
        .ok_or_else(|| format!("{} has no line `tool PACKAGE`", file.display()))
}

fn build_one(root: &Path, module: &Path, name: &str) -> Result<(), String> {
    let target = root.join("target/peers").join(name);
    let status = Command::new("go")
        .args(["build", "-o"])
        .arg(&target)
        .arg(tool(module)?)
        .current_dir(module)
        .status()
        .map_err(|error| format!("cannot run go, which builds the peers: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("peer {name} does not build"))
    }
}

/// Builds the program, the peer and the benchmarks, then runs one of them.
pub(crate) fn bench(root: &Path, arguments: &[String]) -> Result<(), Vec<String>> {
    let (verb, rest) = arguments
        .split_first()
        .ok_or_else(|| vec!["bench what? kustomize, helm, index, git, sources or mttp".to_owned()])?;
    let cargo = |words: &[&str]| -> Result<(), Vec<String>> {
        let status = Command::new(env!("CARGO")).args(words).current_dir(root).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(vec![format!("cargo {} failed", words.join(" "))]),
            Err(error) => Err(vec![error.to_string()]),
        }
    };
    cargo(&["build", "--release", "--package", "fluvial"])?;
    cargo(&["build", "--profile", "fast", "--package", "fluvial-bench"])?;
    let mut command = Command::new(root.join("target/fast/fluvial-bench"));
    command
        .arg(verb)
        .arg("--ours")
        .arg(root.join("target/release/fluvial"));
    let peer = if verb == "index" { "helm" } else { verb };
    if root.join("conformance/peers").join(peer).is_dir() {
        build(root, &[peer.to_owned()])?;
        command.arg("--peer").arg(root.join("target/peers").join(peer));
    }
    let status = command.args(rest).current_dir(root).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(vec![format!("the benchmark {verb} failed")]),
        Err(error) => Err(vec![error.to_string()]),
    }
}

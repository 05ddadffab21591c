//! The released programs that ours is measured beside and compared with, built from the modules
//! pinned under `conformance/peers`. They need Go; nothing else of the project does.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One program of one module.
#[derive(Debug, PartialEq, Eq)]
struct Peer {
    /// What it is called in `target/peers`.
    name: String,
    /// The folder of `conformance/peers` that pins it.
    module: PathBuf,
    /// What `go build` is given.
    package: String,
    /// What the linker is told.
    link: String,
}

/// Builds the named peers, or all, into `target/peers`. A name is that of a program, or of a folder.
pub(crate) fn build(root: &Path, names: &[String]) -> Result<(), Vec<String>> {
    let all = all(root).map_err(|problem| vec![problem])?;
    if let Some(odd) = names
        .iter()
        .find(|name| !all.iter().any(|peer| peer.is_called(name)))
    {
        let known: Vec<&str> = all.iter().map(|peer| peer.name.as_str()).collect();
        return Err(vec![format!(
            "no peer is named {odd}; there are {}",
            known.join(", ")
        )]);
    }
    let problems: Vec<String> = all
        .iter()
        .filter(|peer| names.is_empty() || names.iter().any(|name| peer.is_called(name)))
        .filter_map(|peer| build_one(root, peer).err())
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

impl Peer {
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.module.ends_with(name)
    }
}

/// All peers, by module.
fn all(root: &Path) -> Result<Vec<Peer>, String> {
    let modules = root.join("conformance/peers");
    let entries = std::fs::read_dir(&modules).map_err(|error| format!("{}: {error}", modules.display()))?;
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    let mut peers = Vec::new();
    for folder in folders {
        let file = folder.join("go.mod");
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let own = folder.join("main.go").is_file();
        let packages = if own { vec![".".to_owned()] } else { tools(&text) };
        if packages.is_empty() {
            return Err(format!(
                "{} has neither a line `tool PACKAGE` nor a main.go beside it",
                file.display()
            ));
        }
        for package in packages {
            let folder_name = folder.file_name().unwrap_or_default().to_string_lossy();
            peers.push(Peer {
                name: if own {
                    folder_name.into_owned()
                } else {
                    program(&package)
                },
                link: link(&package, &text),
                module: folder.clone(),
                package,
            });
        }
    }
    Ok(peers)
}

/// The packages that a module pins with `tool` lines, alone or in a block.
fn tools(text: &str) -> Vec<String> {
    let mut packages = Vec::new();
    let mut block = false;
    for line in text.lines().map(str::trim) {
        match line {
            "tool (" => block = true,
            ")" => block = false,
            _ if block => packages.push(line.to_owned()),
            _ => packages.extend(
                line.strip_prefix("tool ")
                    .map(|package| package.trim().to_owned()),
            ),
        }
    }
    packages
}

/// What a package's program is called: its last word that is not a major version.
fn program(package: &str) -> String {
    let is_major = |word: &&str| {
        word.strip_prefix('v')
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    package
        .rsplit('/')
        .find(|word| !is_major(word))
        .unwrap_or(package)
        .to_owned()
}

/// Programs of Kubernetes learn their version when they are linked, and charts ask for it.
fn link(package: &str, text: &str) -> String {
    let version = text
        .lines()
        .find_map(|line| {
            line.trim()
                .trim_start_matches("require ")
                .strip_prefix("k8s.io/kubernetes ")?
                // A comment may follow.
                .split_whitespace()
                .next()
        })
        .filter(|_| package.starts_with("k8s.io/kubernetes/"));
    let Some(version) = version else {
        return "-s -w".to_owned();
    };
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    let set = "-X k8s.io/component-base/version.git";
    format!("-s -w {set}Version={version} {set}Major={major} {set}Minor={minor}")
}

fn build_one(root: &Path, peer: &Peer) -> Result<(), String> {
    let status = Command::new("go")
        .args(["build", "-buildvcs=false", "-ldflags", &peer.link, "-o"])
        .arg(root.join("target/peers").join(&peer.name))
        .arg(&peer.package)
        .current_dir(&peer.module)
        .status()
        .map_err(|error| format!("cannot run go, which builds the peers: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("peer {} does not build", peer.name))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_read_alone_and_in_a_block() {
        assert_eq!(
            tools("module m\n\ntool example.com/cmd/one\n"),
            ["example.com/cmd/one"]
        );
        let block = "tool (\n\texample.com/cmd/one\n\texample.com/two/v5\n)\nrequire (\n\tx v1\n)\n";
        assert_eq!(tools(block), ["example.com/cmd/one", "example.com/two/v5"]);
        assert_eq!(program("example.com/two/v5"), "two");
    }

    #[test]
    fn programs_of_kubernetes_are_told_their_version() {
        let text = "require (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n";
        let told = link("k8s.io/kubernetes/cmd/kubectl", text);
        assert!(told.ends_with("gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"), "{told}");
        assert_eq!(link("helm.sh/helm/v4/cmd/helm", text), "-s -w");
    }

    #[test]
    fn every_pinned_module_has_a_program_of_its_own_name() {
        let peers = all(&crate::root()).unwrap();
        let mut names: Vec<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), peers.len());
        for name in ["etcd", "helm", "kube-apiserver", "kubectl", "kustomize", "sops"] {
            assert!(names.contains(&name), "{name}");
        }
    }
}

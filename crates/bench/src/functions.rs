//! Which of its functions the program runs, for the linker: what runs is laid side by side then. Otherwise each of them
//! brings the pages around it into memory, and a process maps most of a program of which it runs a sixth.
//!
//! Names come from valgrind's callgrind, which sees every call; the work is a start, builds, renderings and small fleets,
//! in that order, so that what all need comes first and a short command maps little of the rest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::mttp::{Made, once};
use crate::{Failure, flag, helm, kustomize};

/// Owners of a fleet: each way through the controllers is taken by the first of them.
const OWNERS: u64 = 30;

/// Runs the work and writes the names.
pub(crate) fn run(words: &[String]) -> Result<Value, Failure> {
    let ours =
        flag(words, "--ours").ok_or("--ours PROGRAM is missing: a build of fluvial with its symbols")?;
    let ours = std::fs::canonicalize(ours).map_err(|error| format!("{ours}: {error}"))?;
    let into = flag(words, "--into").ok_or("--into FILE is missing: where the names go")?;
    let shared = PathBuf::from(flag(words, "--shared").unwrap_or("../shared"));
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let ours = ours.display().to_string();

    let mut known = BTreeSet::new();
    let mut text = String::new();
    let mut counts = vec![];
    for (name, jobs) in phases(&ours, &shared, work.path())? {
        let mut found = BTreeSet::new();
        for job in &jobs {
            found.extend(called(job, work.path())?);
        }
        let new: Vec<&String> = found.difference(&known).collect();
        for name in &new {
            text.push_str(name);
            text.push('\n');
        }
        counts.push(json!({"work": name, "commands": jobs.len(), "functions": new.len()}));
        known.extend(found);
    }
    std::fs::write(into, text).map_err(|error| format!("{into}: {error}"))?;
    Ok(counts.into())
}

/// A command, and where it runs.
struct Job {
    words: Vec<String>,
    folder: PathBuf,
}

fn phases(ours: &str, shared: &Path, work: &Path) -> Result<Vec<(&'static str, Vec<Job>)>, Failure> {
    let job = |words: &[&str], folder: &Path| Job {
        words: std::iter::once(ours)
            .chain(words.iter().copied())
            .map(str::to_owned)
            .collect(),
        folder: folder.to_owned(),
    };
    let builds = kustomize::largest(shared, &work.join("builds"))?;
    let builds = builds.iter().map(|input| {
        let folder = input.folder.display().to_string();
        job(&["kustomize", "build", &folder], work)
    });
    let corpus = shared.join("corpus/helm");
    let charts = helm::largest(&corpus)?;
    let charts = charts.iter().map(|chart| {
        let words: Vec<&str> = chart.words.iter().map(String::as_str).collect();
        job(&[&["helm"], &words[..]].concat(), &corpus)
    });
    let fleet = |made: Made| -> Result<Vec<Job>, Failure> {
        let folder = work.join(made.names().2);
        crate::mttp::repository(&folder, made, OWNERS, None)?;
        Ok(vec![Job {
            words: once(ours, &folder),
            folder: work.to_owned(),
        }])
    };
    Ok(vec![
        (
            "start",
            vec![job(&["--version"], work), job(&["kustomize", "--help"], work)],
        ),
        ("kustomize build", builds.collect()),
        ("helm template", charts.collect()),
        ("Kustomizations", fleet(Made::Kustomizations)?),
        ("HelmReleases", fleet(Made::HelmReleases)?),
    ])
}

/// The functions of the program that a command calls.
fn called(job: &Job, work: &Path) -> Result<BTreeSet<String>, Failure> {
    let out = work.join("calls");
    let status = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--demangle=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .args(&job.words)
        .current_dir(&job.folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("valgrind, which watches the program: {error}"))?;
    if !status.success() {
        return Err(format!("{} failed", job.words.join(" ")));
    }
    let text = std::fs::read(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    Ok(names(&String::from_utf8_lossy(&text)))
}

/// The functions that a profile names, where each is spelt out once: as a caller or as one that is called.
fn names(profile: &str) -> BTreeSet<String> {
    let spelt = profile.lines().filter_map(|line| {
        let line = line.strip_prefix('c').unwrap_or(line);
        let (_, name) = line.strip_prefix("fn=(")?.split_once(") ")?;
        // A function that calls itself is counted by depth.
        Some(name.split('\'').next().unwrap_or(name))
    });
    // What has other signs is no function of ours but a place of the loader's; what has no name is known by its address.
    let is_name = |name: &&str| {
        let mut bytes = name.bytes();
        !name.starts_with("0x") && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.$".contains(&byte))
    };
    spelt.filter(is_name).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_once_however_they_are_met() {
        let profile = "fn=(1) _ZN1a17h1E\n1 2\ncfn=(2) _ZN1b17h2E'2\ncalls=1 0\ncob=(3) libc.so\nfn=(5) 0x0000000000001050\nfn=(4) (below main)\nfn=(1)\n";
        let names: Vec<String> = names(profile).into_iter().collect();
        assert_eq!(names, ["_ZN1a17h1E", "_ZN1b17h2E"]);
    }
}

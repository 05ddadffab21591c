//! Which of its functions the program runs, for the linker: what runs is laid side by side then. Otherwise each of them
//! brings the pages around it into memory, and a process maps most of a program of which it runs a sixth.
//!
//! Names come from valgrind's callgrind, which sees every call; the work is a start, builds, renderings, small fleets and
//! a control plane that is asked, in that order, so that what all need comes first and a short command maps little of the rest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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
    // Names that the list had and the program no longer runs, or runs under another name: how stale it was.
    let old = std::fs::read_to_string(into).unwrap_or_default();
    let stale = old.lines().filter(|name| !known.contains(*name)).count();
    std::fs::write(into, text).map_err(|error| format!("{into}: {error}"))?;
    Ok(
        json!({"work": counts, "functions": known.len(), "before": old.lines().count(), "stale_before": stale}),
    )
}

/// How long the program may take, watched, until it answers what it is asked.
const PATIENCE: Duration = Duration::from_secs(300);

/// A command, and where it runs. One that stays is asked by others, and ended then.
struct Job {
    words: Vec<String>,
    folder: PathBuf,
    asked: Vec<Vec<String>>,
}

fn phases(ours: &str, shared: &Path, work: &Path) -> Result<Vec<(&'static str, Vec<Job>)>, Failure> {
    let line = |words: &[&str]| -> Vec<String> {
        let words = words.iter().copied();
        std::iter::once(ours).chain(words).map(str::to_owned).collect()
    };
    let job = |words: &[&str], folder: &Path| Job {
        words: line(words),
        folder: folder.to_owned(),
        asked: vec![],
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
            asked: vec![],
        }])
    };
    // A control plane that keeps its objects on disk, and stays to be looked at.
    let folder = work.join("stays");
    crate::mttp::repository(&folder, Made::HelmReleases, OWNERS, None)?;
    let (folder, data) = (
        folder.display().to_string(),
        work.join("data").display().to_string(),
    );
    let access = work.join("kubeconfig").display().to_string();
    let up = [
        "up",
        &folder,
        "--path",
        "clusters/bench",
        "--data",
        &data,
        "--kubeconfig-out",
        &access,
    ];
    let look = |words: &[&str]| line(&[words, &["--kubeconfig", &access]].concat());
    let stays = Job {
        asked: vec![
            look(&["get", "all", "--all-namespaces"]),
            look(&["reconcile", "kustomization", "flux-system", "--with-source"]),
            look(&["events", "--all-namespaces"]),
            look(&["export", "helmrelease", "--all"]),
            look(&["tree", "kustomization", "flux-system"]),
        ],
        ..job(&up, work)
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
        ("a control plane that is asked", vec![stays]),
    ])
}

/// The functions of the program that a command calls.
fn called(job: &Job, work: &Path) -> Result<BTreeSet<String>, Failure> {
    let out = work.join("calls");
    let mut watched = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--demangle=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .args(&job.words)
        .current_dir(&job.folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("valgrind, which watches the program: {error}"))?;
    let asked = job.asked.iter().try_for_each(|words| ask(words));
    if !job.asked.is_empty() {
        let pid = i32::try_from(watched.id()).map_err(|error| error.to_string())?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(|error| error.to_string())?;
    }
    let status = watched.wait().map_err(|error| error.to_string())?;
    asked?;
    if job.asked.is_empty() && !status.success() {
        return Err(format!("{} failed", job.words.join(" ")));
    }
    let text = std::fs::read(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    Ok(names(&String::from_utf8_lossy(&text)))
}

/// Asks until there is an answer: what is asked may not be there yet.
fn ask(words: &[String]) -> Result<(), Failure> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let answer = Command::new(&words[0])
            .args(&words[1..])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if answer.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Err(format!("{} has no answer", words.join(" ")))
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

//! A large repository over HTTP: fetching and packing it here beside `git clone --depth 1` and `tar`, from the same server;
//! then what a look without a change and a changed file cost, and what many repositories that are held cost in memory.

pub(crate) mod server;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use fluvial_source::git::{Fetched, GitReference, GitRequest, GitSource};
use fluvial_source::limits::Limits;
use fluvial_source::{artifact, ignore};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use crate::measure::{Cost, measure, median, medians};
use crate::{Failure, flag};

/// Files that one commit changes.
const CHANGED: usize = 5;

fn text(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}

fn number(words: &[String], name: &str, default: usize) -> Result<usize, Failure> {
    flag(words, name).map_or(Ok(default), |value| {
        value.parse().map_err(|_| format!("{name} needs a number"))
    })
}

/// Runs the comparison.
pub(crate) fn run(words: &[String]) -> Result<Value, Failure> {
    let (files, commits) = (
        number(words, "--files", 20_000)?,
        number(words, "--commits", 2_000)?,
    );
    let rounds = number(words, "--rounds", 5)?;
    let work = tempfile::tempdir().map_err(text)?;
    let repository = work.path().join("repository.git");
    make(&repository, files, commits)?;
    let server = server::start(work.path())?;
    let url = format!("{server}/repository.git");
    let own = std::env::current_exe().map_err(text)?.display().to_string();
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let folder = |name: &str| work.path().join(format!("{name}-{round}")).display().to_string();
        ours.push(measure(&[
            own.clone(),
            "git-fetch".to_owned(),
            url.clone(),
            folder("ours"),
        ])?);
        let clone = folder("clone");
        let script = format!(
            "git clone -q --depth 1 '{url}' '{clone}' && tar czf '{clone}.tar.gz' --exclude=.git -C '{clone}' ."
        );
        peers.push(measure(&["sh".to_owned(), "-c".to_owned(), script])?);
    }
    let (ours, peer) = (medians(&ours), medians(&peers));
    Ok(json!({
        "files": files, "commits": commits, "rounds": rounds,
        "ours": ours.json(), "peer": peer.json(),
        "wall_ratio": peer.wall / ours.wall,
        "cpu_ratio": peer.cpu / ours.cpu,
        "peak_ratio": peer.peak / ours.peak,
        "again": again(&work.path().join("again"), &repository, &url, rounds)?,
    }))
}

fn git(folder: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start git: {error}"))?;
    if !output.status.success() {
        let problem = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("git {arguments:?} failed: {problem}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The repository: all files in the first commit, a few changes in each other one.
fn make(repository: &Path, files: usize, commits: usize) -> Result<(), Failure> {
    std::fs::create_dir_all(repository).map_err(text)?;
    git(repository, &["init", "-q", "--bare", "-b", "main"])?;
    let mut stream = String::new();
    for commit in 0..commits {
        let message = format!("change {commit}");
        // Writing into a String cannot fail.
        let _ = write!(
            stream,
            "commit refs/heads/main\ncommitter A <a@example.com> {} +0000\ndata {}\n{message}\n",
            1_700_000_000 + commit,
            message.len()
        );
        let changed: Vec<usize> = if commit == 0 {
            (0..files).collect()
        } else {
            (0..CHANGED)
                .map(|nth| (commit * 37 + nth * 101) % files.max(1))
                .collect()
        };
        for file in changed {
            let body = format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-{file}\n  namespace: team-{}\ndata:\n  \
                 revision: \"{commit}\"\n  text: some text that stands for what a setting says, number {file}\n",
                file % 50
            );
            let _ = write!(
                stream,
                "M 644 inline apps/team-{}/app-{}/config-{file}.yaml\ndata {}\n{body}\n",
                file % 50,
                file / 50 % 40,
                body.len()
            );
        }
    }
    feed(repository, &stream)?;
    git(repository, &["gc", "-q"])?;
    Ok(())
}

/// Hands commits to git.
fn feed(repository: &Path, stream: &str) -> Result<(), Failure> {
    let mut import = Command::new("git")
        .args(["fast-import", "--quiet", "--date-format=raw-permissive"])
        .current_dir(repository)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(text)?;
    if let Some(input) = &mut import.stdin {
        input.write_all(stream.as_bytes()).map_err(text)?;
    }
    drop(import.stdin.take());
    let status = import.wait().map_err(text)?;
    if status.success() {
        Ok(())
    } else {
        Err("git fast-import failed".to_owned())
    }
}

/// One more commit with one changed file.
fn change(repository: &Path, nth: usize) -> Result<(), Failure> {
    let body = format!("changed: {nth}\n");
    feed(
        repository,
        &format!(
            "commit refs/heads/main\ncommitter A <a@example.com> {} +0000\ndata 1\nx\nfrom refs/heads/main^0\n\
             M 644 inline apps/team-1/app-0/config-1.yaml\ndata {}\n{body}\n",
            1_800_000_000 + nth,
            body.len()
        ),
    )
}

/// What a controller does with a repository, up to the stored artifact.
struct Controller {
    source: GitSource,
    store: artifact::Store,
    request: GitRequest,
    runtime: tokio::runtime::Runtime,
}

impl Controller {
    fn new(folder: &Path, url: &str) -> Result<Self, Failure> {
        Ok(Controller {
            source: GitSource::new(folder.join("cache"), Limits::default()),
            store: artifact::Store::open(folder.join("store")).map_err(text)?,
            request: GitRequest {
                url: url.to_owned(),
                reference: GitReference::branch("main"),
                ..GitRequest::default()
            },
            runtime: runtime()?,
        })
    }

    /// Whether there was something new.
    fn look(&mut self) -> Result<bool, Failure> {
        let _inside = self.runtime.enter();
        let Fetched::Changed(revision) = self.source.fetch_blocking(&self.request).map_err(text)? else {
            return Ok(false);
        };
        let packed = artifact::pack(&ignore::filter(&revision.tree, None));
        let owner = artifact::Owner {
            kind: "GitRepository".to_owned(),
            namespace: "flux-system".to_owned(),
            name: "fleet".to_owned(),
        };
        let file = artifact::git_file_name(&revision.revision);
        self.store.put(&owner, &file, &packed).map_err(text)?;
        self.request.last_revision = Some(revision.revision);
        Ok(true)
    }
}

/// The inner half: one process that fetches and stores once.
pub(crate) fn fetch(words: &[String]) -> Result<Value, Failure> {
    let [url, folder] = words else {
        return Err("git-fetch needs a URL and a folder".to_owned());
    };
    let found = Controller::new(Path::new(folder), url)?.look()?;
    Ok(json!({ "found": found }))
}

/// Looks without a change, and with one changed file, in one process.
fn again(folder: &Path, repository: &Path, url: &str, rounds: usize) -> Result<Value, Failure> {
    let mut controller = Controller::new(folder, url)?;
    controller.look()?;
    let (mut same, mut changed) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        same.push(timed(|| controller.look())?);
        change(repository, round)?;
        changed.push(timed(|| controller.look())?);
    }
    let peak = getrusage(UsageWho::RUSAGE_SELF).map_err(text)?.max_rss();
    let wall = |costs: &[Cost]| median(costs.iter().map(|cost| cost.wall * 1e3).collect());
    let cpu = |costs: &[Cost]| median(costs.iter().map(|cost| cost.cpu * 1e3).collect());
    Ok(json!({
        "unchanged_wall_ms": wall(&same), "unchanged_cpu_ms": cpu(&same),
        "one_file_wall_ms": wall(&changed), "one_file_cpu_ms": cpu(&changed),
        "peak_kib": peak,
    }))
}

fn timed(run: impl FnOnce() -> Result<bool, Failure>) -> Result<Cost, Failure> {
    let (before, start) = (cpu()?, Instant::now());
    run()?;
    Ok(Cost {
        wall: start.elapsed().as_secs_f64(),
        cpu: cpu()? - before,
        peak: 0.0,
    })
}

/// Processor seconds of this process. The server's Git programs are processes of their own.
fn cpu() -> Result<f64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).map_err(text)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// What drives the requests of a fetch, which is asked for outside of it.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().map_err(text)
}

/// Many repositories, fetched, stored and held by one process.
pub(crate) fn sources(words: &[String]) -> Result<Value, Failure> {
    let n = number(words, "--n", 200)?;
    let work = tempfile::tempdir().map_err(text)?;
    for nth in 0..n {
        make(&work.path().join(format!("r-{nth}.git")), 40, 5)?;
    }
    let server = server::start(work.path())?;
    let own = std::env::current_exe().map_err(text)?;
    let output = Command::new(own)
        .args(["sources-held", &server, &n.to_string()])
        .arg(work.path().join("ours"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(text)?;
    serde_json::from_slice(&output.stdout).map_err(text)
}

/// The inner half: one process that fetches all, keeps them, looks at each again, and says what it holds.
pub(crate) fn held(words: &[String]) -> Result<Value, Failure> {
    let [url, n, folder] = words else {
        return Err("sources-held needs a URL, a number and a folder".to_owned());
    };
    let n: usize = n.parse().map_err(text)?;
    let runtime = runtime()?;
    let _inside = runtime.enter();
    let before = resident()?;
    let folder = Path::new(folder);
    let source = GitSource::new(folder.join("cache"), Limits::default());
    let store = artifact::Store::open(folder.join("store")).map_err(text)?;
    let (mut files, mut trees) = (0, Vec::new());
    for nth in 0..n {
        let mut request = GitRequest {
            url: format!("{url}/r-{nth}.git"),
            reference: GitReference::branch("main"),
            ..GitRequest::default()
        };
        let Fetched::Changed(revision) = source.fetch_blocking(&request).map_err(text)? else {
            return Err("a first fetch found nothing".to_owned());
        };
        let tree = ignore::filter(&revision.tree, None);
        let owner = artifact::Owner {
            kind: "GitRepository".to_owned(),
            namespace: "flux-system".to_owned(),
            name: format!("r-{nth}"),
        };
        let file = artifact::git_file_name(&revision.revision);
        store.put(&owner, &file, &artifact::pack(&tree)).map_err(text)?;
        files += tree.len();
        request.last_revision = Some(revision.revision);
        trees.push((request, tree));
    }
    for (request, _) in &trees {
        source.fetch_blocking(request).map_err(text)?;
    }
    let peak = getrusage(UsageWho::RUSAGE_SELF).map_err(text)?.max_rss();
    Ok(json!({
        "sources": trees.len(), "entries": files,
        "resident_before_kib": before, "resident_kib": resident()?, "peak_kib": peak,
    }))
}

/// Resident memory of this process in KiB.
fn resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(text)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| "the system does not tell what memory is resident".to_owned())
}

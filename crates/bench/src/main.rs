//! `fluvial-bench`: figures as JSON. Whole programs run beside their peers in the same run, in turn,
//! because only ratios mean something on a shared machine; engines run in process.

mod apiserver;
mod functions;
mod git;
mod helm;
mod index;
mod inputs;
mod kustomize;
mod measure;
mod mttp;
mod programs;

use std::process::ExitCode;

const HELP: &str = "\
fluvial-bench apiserver --ours PROGRAM [--peers FOLDER] [--seconds 5] [--objects 10000] [--watchers 1000] [--rounds 5]
    some minutes: the API server beside kube-apiserver and etcd of a folder: start, memory at rest, server-side applies with 1 and 16
    clients, a large list, one change for many watchers. `--ours-url URL`, `--peer-url URL` and `--token TOKEN` measure
    servers that run already
fluvial-bench kustomize --ours PROGRAM [--peer PROGRAM] [--rounds N] [--shared FOLDER]
    `kustomize build` of the largest inputs, whole processes in turn; and the engine in process
fluvial-bench mttp --ours PROGRAM [--kind kustomization|helmrelease] [--n 1000] [--rounds 3] [--quiet SECONDS]
    a repository of N Kustomizations or HelmReleases: from the start of `up` to everything Ready, peak memory, and what
    the program writes in the quiet time after it (300 s)
fluvial-bench mttp --server kube --ours PROGRAM [--peers FOLDER] [--kind …] [--n 1000] [--quiet SECONDS]
                   [--manager-qps N] [--flux FOLDER]
    the same owners created on kube-apiserver and etcd (from target/peers) beside `fluvial serve`: time to all Ready,
    processor time and peak memory of each program, and the writes in the API server's audit log; with `--flux`
    beside Flux's controllers of a folder (source-controller, and helm- or kustomize-controller)
fluvial-bench git [--files 20000] [--commits 2000] [--rounds 5]
    a large repository over HTTP: fetch and pack beside `git clone --depth 1` and tar; then a look without
    a change, and one with one changed file
fluvial-bench sources [--n 200]
    N Git repositories over HTTP, fetched, stored and held by one process: its memory before and after
fluvial-bench index [--megabytes 40] [--rounds 3] [--peer PROGRAM]
    a large index of a chart repository over HTTP, beside `helm repo update`
fluvial-bench helm --ours PROGRAM [--peer PROGRAM] [--rounds N] [--shared FOLDER]
    `helm template` of the largest charts, whole processes in turn; the engine in process; a fleet
fluvial-bench helm-warm [--rounds N] [--shared FOLDER]
    the largest charts in process, for a profiler
fluvial-bench helm-fleet [--threads N] [--shared FOLDER]
    a hundred releases of one chart in this process
fluvial-bench functions --ours PROGRAM --into FILE [--shared FOLDER]
    what the program calls at a start, in builds, renderings and small fleets (needs valgrind): for the linker

fluvial-measure COMMAND…
    one process: wall seconds, processor seconds, peak resident KiB";

// The program's own allocator, so that figures in process are its figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A failure, for people.
pub(crate) type Failure = String;

/// The value after a flag.
pub(crate) fn flag<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == name)?;
    words.get(at + 1).map(String::as_str)
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for terminals"
)]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first().map(|(verb, rest)| (verb.as_str(), rest)) {
        Some(("kustomize", rest)) => kustomize::run(rest),
        Some(("apiserver", rest)) => apiserver::run(rest),
        Some(("functions", rest)) => functions::run(rest),
        Some(("git", rest)) => git::run(rest),
        Some(("git-fetch", rest)) => git::fetch(rest),
        Some(("sources", rest)) => git::sources(rest),
        Some(("sources-held", rest)) => git::held(rest),
        Some(("index", rest)) => index::run(rest),
        Some(("index-fetch", rest)) => index::fetch(rest),
        Some(("mttp", rest)) => mttp::run(rest),
        Some(("helm", rest)) => helm::run(rest),
        Some(("helm-warm", rest)) => helm::repeat(rest),
        Some(("helm-fleet", rest)) => helm::fleet(rest),
        _ => Err(HELP.to_owned()),
    };
    match result {
        Ok(figures) => {
            println!("{figures:#}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

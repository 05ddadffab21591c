//! `kustomize build`: whole processes beside the released program, and the engine in process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use fluvial_kustomize::{BuildRequest, NoCharts, NoRemote, Options};
use fluvial_tree::{Tree, TreePath};
use serde_json::{Value, json};

use crate::inputs::{self, Input};
use crate::measure::{Cost, measure, median, medians};
use crate::{Failure, flag};

/// How many of the largest inputs are timed.
const LARGEST: usize = 10;
const DOCUMENTS: usize = 4_000;
const OVERLAYS: usize = 300;

/// Runs the comparison.
pub(crate) fn run(words: &[String]) -> Result<Value, Failure> {
    let ours = flag(words, "--ours").ok_or("--ours PROGRAM is missing: a release build of fluvial")?;
    let peer = flag(words, "--peer");
    let rounds: usize = flag(words, "--rounds")
        .unwrap_or("11")
        .parse()
        .map_err(|_| "--rounds needs a number")?;
    let shared = PathBuf::from(flag(words, "--shared").unwrap_or("../shared"));
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;

    let mut rows = Vec::new();
    for input in &largest(&shared, work.path())? {
        rows.push(side_by_side(input, ours, peer, rounds)?);
    }
    // The released program takes minutes for this one: its name references cost objects times objects.
    let many = inputs::many_documents(&work.path().join("many"), DOCUMENTS)?;
    let many = side_by_side(&many, ours, peer, 1)?;
    let ratio = |name: &str| {
        let values: Vec<f64> = rows.iter().filter_map(|row| row[name].as_f64()).collect();
        (!values.is_empty()).then(|| median(values))
    };
    Ok(json!({
        "rounds": rounds,
        "median_wall_ratio": ratio("wall_ratio"),
        "median_peak_ratio": ratio("peak_ratio"),
        "processes": rows,
        "many_documents": many,
        "in_process": in_process(work.path())?,
    }))
}

/// The inputs with the longest output that our engine and the released program both build.
pub(crate) fn largest(shared: &Path, work: &Path) -> Result<Vec<Input>, Failure> {
    let mut all = Vec::new();
    if shared.join("corpus/kustomize/index.jsonl").exists() {
        all.extend(inputs::corpus(shared, work)?);
        all.extend(inputs::fleets(shared));
    }
    let mut sized: Vec<(usize, Input)> = all
        .into_iter()
        .filter_map(|input| {
            let tree = read(&input.folder).ok()?;
            let length = build(&tree, &TreePath::root()).ok()?;
            Some((length, input))
        })
        .collect();
    sized.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name)));
    Ok(sized.into_iter().take(LARGEST).map(|(_, input)| input).collect())
}

fn read(folder: &Path) -> Result<Tree, Failure> {
    fluvial_source::folder::read(folder, fluvial_source::limits::Limits::default())
        .map_err(|error| error.to_string())
}

/// The length of a build's output in bytes.
fn build(tree: &Tree, path: &TreePath) -> Result<usize, Failure> {
    let options = Options::default();
    let request = BuildRequest {
        tree,
        path,
        options: &options,
        remote: &NoRemote,
        charts: &NoCharts,
    };
    let built = fluvial_kustomize::build(&request).map_err(|error| error.to_string())?;
    Ok(built.to_yaml(1).map_err(|error| error.to_string())?.len())
}

/// Both programs in turn, so that a busy moment of the machine meets both.
fn side_by_side(input: &Input, ours: &str, peer: Option<&str>, rounds: usize) -> Result<Value, Failure> {
    let folder = input.folder.display().to_string();
    let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let own = command(&[ours, "kustomize", "build", &folder]);
    let other = peer.map(|peer| command(&[peer, "build", &folder]));
    let (mut own_costs, mut other_costs): (Vec<Cost>, Vec<Cost>) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        own_costs.push(measure(&own)?);
        if let Some(other) = &other {
            other_costs.push(measure(other)?);
        }
    }
    let own = medians(&own_costs);
    let mut row = json!({ "input": input.name, "ours": own.json() });
    if other.is_some() {
        let other = medians(&other_costs);
        row["peer"] = other.json();
        row["wall_ratio"] = json!(other.wall / own.wall);
        row["cpu_ratio"] = json!(other.cpu / own.cpu);
        row["peak_ratio"] = json!(other.peak / own.peak);
    }
    Ok(row)
}

/// The engine without a process around it: objects a second, one thread and all.
fn in_process(work: &Path) -> Result<Value, Failure> {
    let many = read(&work.join("many"))?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        build(&many, &TreePath::root())?;
        times.push(start.elapsed().as_secs_f64());
    }
    let one = median(times);

    let folder = work.join("overlays");
    let count = inputs::overlays(&folder, OVERLAYS)?.len();
    let tree = read(&folder)?;
    let paths: Vec<TreePath> = (0..count)
        .map(|number| TreePath::parse(&format!("overlay-{number}")).map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let single = all_overlays(&tree, &paths, 1)?;
    let parallel = all_overlays(&tree, &paths, threads)?;
    Ok(json!({
        "documents": DOCUMENTS,
        "documents_ms": one * 1e3,
        "objects_per_second": DOCUMENTS as f64 / one,
        "overlays": OVERLAYS,
        "overlays_one_thread_ms": single * 1e3,
        "threads": threads,
        "overlays_all_threads_ms": parallel * 1e3,
    }))
}

/// Seconds for all overlays of one tree on so many threads.
fn all_overlays(tree: &Tree, paths: &[TreePath], threads: usize) -> Result<f64, Failure> {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let results: Vec<Result<(), Failure>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                        build(tree, path)?;
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|_| Err("a worker ended early".to_owned()))
            })
            .collect()
    });
    results.into_iter().collect::<Result<(), _>>()?;
    Ok(start.elapsed().as_secs_f64())
}

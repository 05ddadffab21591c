//! `helm template`: whole processes beside the released program, and the engine in process with a
//! chart that is loaded already, as the controllers use it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use fluvial_conformance::helm::command::{Command, load};
use fluvial_conformance::json_lines;
use fluvial_conformance::txtar::Archive;
use fluvial_helm::Chart;
use serde_json::{Value, json};

use crate::measure::{Cost, measure_in, median, medians};
use crate::{Failure, flag};

/// How many of the largest charts are timed.
const LARGEST: usize = 10;
/// Releases of the fleet.
const FLEET: usize = 100;

/// One call of helm in the corpus' folder.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    name: String,
    pub(crate) words: Vec<String>,
}

/// Runs the comparison.
pub(crate) fn run(words: &[String]) -> Result<Value, Failure> {
    let ours = flag(words, "--ours").ok_or("--ours PROGRAM is missing: a release build of fluvial")?;
    let peer = flag(words, "--peer");
    let rounds: usize = flag(words, "--rounds")
        .unwrap_or("11")
        .parse()
        .map_err(|_| "--rounds needs a number")?;
    let shared = PathBuf::from(flag(words, "--shared").unwrap_or("../shared"));
    let corpus = std::fs::canonicalize(shared.join("corpus/helm")).map_err(|error| error.to_string())?;
    let absolute = |program: &str| {
        std::fs::canonicalize(program)
            .map(|path| path.display().to_string())
            .map_err(|error| format!("{program}: {error}"))
    };
    let ours = absolute(ours)?;
    let peer = peer.map(absolute).transpose()?;

    let mut rows = Vec::new();
    for job in largest(&corpus)? {
        rows.push(side_by_side(&job, &corpus, &ours, peer.as_deref(), rounds)?);
    }
    let ratio = |name: &str| {
        let values: Vec<f64> = rows.iter().filter_map(|row| row[name].as_f64()).collect();
        (!values.is_empty()).then(|| median(values))
    };
    Ok(json!({
        "rounds": rounds,
        "median_wall_ratio": ratio("wall_ratio"),
        "median_peak_ratio": ratio("peak_ratio"),
        "median_warm_ratio": ratio("warm_ratio"),
        "charts": rows,
        "fleet": fleet_of(&corpus, peer.as_deref())?,
    }))
}

/// For each of the charts with the most bytes in its files, the case with the longest output.
pub(crate) fn largest(corpus: &Path) -> Result<Vec<Job>, Failure> {
    let mut best: BTreeMap<String, (u64, Job)> = BTreeMap::new();
    for case in json_lines(&corpus.join("index.jsonl")) {
        let (name, chart) = (text(&case, "name"), text(&case, "chart"));
        if case["outcome"] != "ok" || case["group"] != "charts" {
            continue;
        }
        let file = corpus.join("cases").join(format!("{name}.yaml"));
        let Ok(head) = std::fs::read_to_string(&file) else {
            continue;
        };
        let case_file = fluvial_yaml::yaml_to_json(&head, false).map_err(|error| error.to_string())?;
        let list = |key: &str| -> Vec<String> {
            let items = case_file[key].as_array().into_iter().flatten();
            items
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        let bytes = case["bytes"].as_u64().unwrap_or(0);
        let job = Job {
            name: name.to_owned(),
            words: list("argv"),
        };
        let entry = best
            .entry(chart.to_owned())
            .or_insert_with(|| (bytes, job.clone()));
        if entry.0 < bytes {
            *entry = (bytes, job);
        }
    }
    let mut sized: Vec<(u64, Job)> = best
        .into_iter()
        .map(|(chart, (_, job))| (size_of(&corpus.join(chart)), job))
        .collect();
    sized.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name)));
    Ok(sized.into_iter().take(LARGEST).map(|(_, job)| job).collect())
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Bytes of all files below a folder.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size_of(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

fn chart_in(folder: &Path) -> Result<Arc<Chart>, Failure> {
    let tree = fluvial_source::folder::read(folder, fluvial_source::limits::Limits::default())
        .map_err(|error| error.to_string())?;
    load(&tree, "")
}

/// The program, ours and the peer's in turn; and the engine with a warm chart.
fn side_by_side(
    job: &Job,
    corpus: &Path,
    ours: &str,
    peer: Option<&str>,
    rounds: usize,
) -> Result<Value, Failure> {
    let with = |program: &str, before: &[&str]| -> Vec<String> {
        let before = before.iter().map(|word| (*word).to_owned());
        std::iter::once(program.to_owned())
            .chain(before)
            .chain(job.words.iter().cloned())
            .collect()
    };
    let own = with(ours, &["helm"]);
    let other = peer.map(|peer| with(peer, &[]));
    let (mut own_costs, mut other_costs): (Vec<Cost>, Vec<Cost>) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        own_costs.push(measure_in(&own, corpus)?);
        if let Some(other) = &other {
            other_costs.push(measure_in(other, corpus)?);
        }
    }
    let warm = warm(job, corpus, rounds)?;
    let own = medians(&own_costs);
    let mut row = json!({ "case": job.name, "ours": own.json(), "warm_ms": warm * 1e3 });
    if other.is_some() {
        let other = medians(&other_costs);
        row["peer"] = other.json();
        row["wall_ratio"] = json!(other.wall / own.wall);
        row["cpu_ratio"] = json!(other.cpu / own.cpu);
        row["peak_ratio"] = json!(other.peak / own.peak);
        row["warm_ratio"] = json!(other.wall / warm);
    }
    Ok(row)
}

/// Seconds of one rendering with a chart and files that are in memory.
fn warm(job: &Job, corpus: &Path, rounds: usize) -> Result<f64, Failure> {
    let command = Command::parse(&job.words)?;
    let chart = chart_in(&corpus.join(command.chart()))?;
    let files: BTreeMap<String, Vec<u8>> = command
        .files()
        .iter()
        .filter_map(|name| Some((name.clone(), std::fs::read(corpus.join(name)).ok()?)))
        .collect();
    let read = |name: &str| {
        files
            .get(name)
            .cloned()
            .ok_or_else(|| format!("{name} is not there"))
    };
    command.template(Ok(Arc::clone(&chart)), &read)?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        command.template(Ok(Arc::clone(&chart)), &read)?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(median(times))
}

/// A release of app-template: its arguments and the text of its values.
struct Release {
    words: Vec<String>,
    values: Vec<u8>,
}

/// Releases that people run, repeated until there are enough.
fn releases(corpus: &Path) -> Result<Vec<Release>, Failure> {
    let mut found = Vec::new();
    for case in json_lines(&corpus.join("index.jsonl")) {
        if case["group"] != "app-template-in-the-field" || case["outcome"] != "ok" {
            continue;
        }
        let file = corpus.join("unit").join(format!("{}.txtar", text(&case, "name")));
        let Ok(data) = std::fs::read(&file) else { continue };
        let archive = Archive::parse(&data);
        let words: Vec<String> = serde_json::from_str(archive.value("args").unwrap_or("[]"))
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let values = archive.section("values.yaml").unwrap_or_default().to_vec();
        found.push((words, values));
    }
    let count = found.len();
    if count == 0 {
        return Err("the corpus holds no releases of app-template".to_owned());
    }
    (0..FLEET)
        .map(|number| {
            let (words, values) = found[number % count].clone();
            Ok(Release { words, values })
        })
        .collect()
}

/// Where the chart of the fleet lies in the corpus.
const APP_TEMPLATE: &str = "charts/bjw-s-labs/app-template";

/// A whole process that renders the fleet: reads the chart once, then every release.
pub(crate) fn fleet(words: &[String]) -> Result<Value, Failure> {
    let shared = PathBuf::from(flag(words, "--shared").unwrap_or("../shared"));
    let corpus = shared.join("corpus/helm");
    let all = releases(&corpus)?;
    let threads = match flag(words, "--threads") {
        Some(count) => count.parse().map_err(|_| "--threads needs a number")?,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let start = Instant::now();
    let chart = chart_in(&corpus.join(APP_TEMPLATE))?;
    let loaded = start.elapsed().as_secs_f64();
    let next = AtomicUsize::new(0);
    let bytes = AtomicUsize::new(0);
    let work = || -> Result<(), Failure> {
        while let Some(release) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let read = |_: &str| Ok(release.values.clone());
            let text = Command::parse(&release.words)?.template(Ok(Arc::clone(&chart)), &read)?;
            bytes.fetch_add(text.len(), Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|_| Err("a worker ended early".to_owned()))
            })
            .collect::<Result<Vec<()>, Failure>>()
    })?;
    Ok(json!({
        "releases": all.len(),
        "threads": threads,
        "chart_ms": loaded * 1e3,
        "all_ms": start.elapsed().as_secs_f64() * 1e3,
        "bytes": bytes.into_inner(),
    }))
}

/// The fleet in one process of ours, and in a process for each release of the peer.
fn fleet_of(corpus: &Path, peer: Option<&str>) -> Result<Value, Failure> {
    let shared = corpus
        .parent()
        .and_then(Path::parent)
        .ok_or("the corpus has no folder above it")?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut figures = json!({ "releases": FLEET });
    for (name, threads) in [("one_thread", Some("1")), ("all_threads", None)] {
        let mut command = vec![
            own.display().to_string(),
            "helm-fleet".to_owned(),
            "--shared".to_owned(),
            shared.display().to_string(),
        ];
        command.extend(
            threads
                .into_iter()
                .flat_map(|count| ["--threads".to_owned(), count.to_owned()]),
        );
        let costs: Vec<Cost> = (0..5)
            .map(|_| measure_in(&command, corpus))
            .collect::<Result<_, _>>()?;
        figures[name] = medians(&costs).json();
    }
    let Some(peer) = peer else { return Ok(figures) };
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let chart = corpus.join(APP_TEMPLATE).display().to_string();
    let (mut wall, mut cpu, mut peak) = (0.0, 0.0, 0.0_f64);
    for (number, release) in releases(corpus)?.into_iter().enumerate() {
        let values = work
            .path()
            .join(format!("values-{number}.yaml"))
            .display()
            .to_string();
        std::fs::write(&values, &release.values).map_err(|error| error.to_string())?;
        let words = release.words.into_iter().map(|word| match word.as_str() {
            "{chart}" => chart.clone(),
            "values.yaml" => values.clone(),
            _ => word,
        });
        let command: Vec<String> = std::iter::once(peer.to_owned()).chain(words).collect();
        let cost = measure_in(&command, corpus)?;
        wall += cost.wall;
        cpu += cost.cpu;
        peak = peak.max(cost.peak);
    }
    figures["peer"] = Cost { wall, cpu, peak }.json();
    for name in ["one_thread", "all_threads"] {
        let own = figures[name]["wall_ms"].as_f64().unwrap_or(f64::NAN);
        figures[format!("{name}_wall_ratio")] = json!(wall * 1e3 / own);
    }
    Ok(figures)
}

/// The fleet and the largest charts again and again, for a profiler.
pub(crate) fn repeat(words: &[String]) -> Result<Value, Failure> {
    let shared = PathBuf::from(flag(words, "--shared").unwrap_or("../shared"));
    let corpus = shared.join("corpus/helm");
    let rounds: usize = flag(words, "--rounds")
        .unwrap_or("20")
        .parse()
        .map_err(|_| "--rounds needs a number")?;
    let mut rows = Vec::new();
    for job in largest(&corpus)? {
        let seconds = warm(&job, &corpus, rounds)?;
        rows.push(json!({ "case": job.name, "warm_ms": seconds * 1e3 }));
    }
    Ok(json!(rows))
}

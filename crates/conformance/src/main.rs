//! `fluvial-conformance [SUITE…] [--failures] [--case TEXT] [--update-counts]`: see the library.

use std::path::PathBuf;
use std::process::ExitCode;

use fluvial_conformance::{Counts, Deviations, judge, shared_folder, suites};

struct Arguments {
    suites: Vec<String>,
    failures: bool,
    case: Option<String>,
    update_counts: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments {
        suites: vec![],
        failures: false,
        case: None,
        update_counts: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--failures" => arguments.failures = true,
            "--update-counts" => arguments.update_counts = true,
            "--case" => arguments.case = Some(words.next().ok_or("--case needs a text")?),
            flag if flag.starts_with('-') => return Err(format!("unknown flag {flag}")),
            _ => arguments.suites.push(word),
        }
    }
    Ok(arguments)
}

fn read_json<T: serde::de::DeserializeOwned + Default>(path: &std::path::Path) -> Result<T, String> {
    match std::fs::read(path) {
        Ok(data) => serde_json::from_slice(&data).map_err(|error| format!("{}: {error}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[expect(clippy::print_stdout, reason = "the report is this program's output")]
fn run() -> Result<bool, String> {
    let arguments = arguments()?;
    let checkout = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let shared = shared_folder(&checkout);
    let deviations: Deviations = read_json(&checkout.join("conformance/deviations.json"))?;
    let counts_file = checkout.join("conformance/counts.json");
    let mut counts: Counts = read_json(&counts_file)?;
    let mut good = true;
    for suite in suites() {
        let wanted = arguments.suites.is_empty()
            || arguments.suites.iter().any(|name| {
                suite.name == name
                    || suite
                        .name
                        .strip_prefix(name.as_str())
                        .is_some_and(|rest| rest.starts_with('/'))
            });
        if !wanted {
            continue;
        }
        if !shared.join(suite.needs).exists() {
            println!(
                "{:<28} skipped: {} is not on this machine",
                suite.name, suite.needs
            );
            continue;
        }
        let mut cases = (suite.run)(&shared);
        if let Some(text) = &arguments.case {
            cases.retain(|case| case.name.contains(text));
        }
        let report = judge(suite.name, cases, &deviations);
        println!(
            "{:<28} {:>5} passed {:>4} deviating {:>4} failed",
            suite.name,
            report.passed,
            report.deviating,
            report.failed.len()
        );
        if arguments.failures {
            for (name, difference) in &report.failed {
                println!("  {name}: {difference}");
            }
        }
        if arguments.case.is_some() {
            continue;
        }
        for name in &report.stale {
            println!(
                "  {name}: named as a deviation, but it passes or is gone; mend conformance/deviations.json"
            );
            good = false;
        }
        let floor = counts.get(suite.name).copied().unwrap_or(0);
        if report.passed < floor {
            println!("  fell from {floor} to {}", report.passed);
            good = false;
        }
        counts.insert(suite.name.to_owned(), report.passed.max(floor));
    }
    if arguments.update_counts {
        let text = serde_json::to_string_pretty(&counts).map_err(|error| error.to_string())? + "\n";
        std::fs::write(&counts_file, text).map_err(|error| error.to_string())?;
    }
    Ok(good)
}

#[expect(clippy::print_stderr, reason = "the report is this program's output")]
fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

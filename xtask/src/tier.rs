//! The tests that need other people's programs, run with those that are there. What is left out is named at the end.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// The tiers: a name, and the module of the program's tests that tells its stories.
const TIERS: [(&str, &str); 3] = [
    ("peers", "peers::"),
    ("cluster", "cluster::"),
    ("counterparts", "counterparts::"),
];

/// Runs the named tiers, or all, against a debug build of the program.
#[expect(clippy::print_stdout, reason = "a program for terminals")]
pub(crate) fn run(root: &Path, names: &[String]) -> Result<(), Vec<String>> {
    if let Some(odd) = names
        .iter()
        .find(|name| !TIERS.iter().any(|(tier, _)| tier == name))
    {
        return Err(vec![format!(
            "no tier is named {odd}; there are peers, cluster and counterparts"
        )]);
    }
    let mut left_out = Vec::new();
    let mut failed = Vec::new();
    for (name, stories) in TIERS
        .iter()
        .filter(|(tier, _)| names.is_empty() || names.iter().any(|name| name == tier))
    {
        match stories_of(root, stories, &mut left_out) {
            Ok(true) => {}
            Ok(false) => failed.push(format!("the {name} tier failed")),
            Err(error) => failed.push(error.to_string()),
        }
    }
    for line in left_out {
        println!("{line}");
    }
    if failed.is_empty() { Ok(()) } else { Err(failed) }
}

/// Whether all went well; the stories that were left out go into `left_out`.
#[expect(clippy::print_stderr, reason = "a program for terminals")]
fn stories_of(root: &Path, stories: &str, left_out: &mut Vec<String>) -> std::io::Result<bool> {
    let mut child = Command::new(env!("CARGO"))
        .args(["test", "--package", "fluvial", "--test", "it", "--"])
        // One cluster at a time: a story's waits are for its own work.
        .args(["--ignored", "--nocapture", "--test-threads=1", stories])
        .env("FLUVIAL_PEERS", root.join("target/peers"))
        .current_dir(root)
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(lines) = child.stderr.take() {
        for line in BufReader::new(lines).lines() {
            let line = line?;
            if line.starts_with("skipped: ") {
                left_out.push(line);
            } else {
                eprintln!("{line}");
            }
        }
    }
    Ok(child.wait()?.success())
}

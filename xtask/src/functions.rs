//! The list of functions that the program runs, for the linker (`crates/fluvial/build.rs`).

use std::path::Path;
use std::process::Command;

/// Builds the program with its symbols, and lets the benchmarks watch what it calls; valgrind must be there.
pub(crate) fn write(root: &Path) -> Result<(), Vec<String>> {
    let run = |program: &Path, words: &[&str]| -> Result<(), Vec<String>> {
        match Command::new(program).args(words).current_dir(root).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(vec![format!("{} {} failed", program.display(), words.join(" "))]),
            Err(error) => Err(vec![format!("{}: {error}", program.display())]),
        }
    };
    let cargo = Path::new(env!("CARGO"));
    let build = "rustc --release --locked --package fluvial --bin fluvial -- -C strip=none";
    run(cargo, &build.split(' ').collect::<Vec<_>>())?;
    run(
        cargo,
        &[
            "build",
            "--profile",
            "fast",
            "--locked",
            "--package",
            "fluvial-bench",
        ],
    )?;
    run(
        &root.join("target/fast/fluvial-bench"),
        &[
            "functions",
            "--ours",
            "target/release/fluvial",
            "--into",
            "crates/fluvial/functions.txt",
        ],
    )
}

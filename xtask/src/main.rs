//! Repository chores: `cargo xtask tidy | conformance | codegen | functions | peers | tier | bench`.

mod codegen;
mod codegen_kustomize;
mod codegen_schema;
mod functions;
mod peers;
mod tidy;
mod tier;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo xtask tidy                          check layers, sizes, module docs, lint tables and the code map
cargo xtask conformance [SUITE…] [FLAGS]  run the recorded corpora (--failures, --case TEXT, --update-counts)
cargo xtask codegen [NAME] [--check]      write generated files again, or check that they are current
cargo xtask functions                     list the functions that the program runs, for the linker (needs valgrind)
cargo xtask peers [NAME…]                 build the released programs pinned under conformance/peers (needs Go)
cargo xtask tier [peers|cluster|counterparts]
                                          run the tests that need those programs, with the ones that are there
cargo xtask bench NAME [FLAGS]            figures as JSON, beside the peer of that name where there is one";

/// The checkout's root folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

#[expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for terminals"
)]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first().map(|(verb, rest)| (verb.as_str(), rest)) {
        Some(("tidy", _)) => tidy::check(&root()).map(|figures| println!("{figures}")),
        Some(("conformance", rest)) => conformance(rest),
        Some(("codegen", rest)) => codegen::run(&root(), rest),
        Some(("functions", _)) => functions::write(&root()),
        Some(("peers", rest)) => peers::build(&root(), rest),
        Some(("tier", rest)) => tier::run(&root(), rest),
        Some(("bench", rest)) => peers::bench(&root(), rest),
        _ => Err(vec![HELP.to_owned()]),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The corpora run optimised: ten thousand cases are minutes otherwise.
fn conformance(arguments: &[String]) -> Result<(), Vec<String>> {
    let status = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--profile",
            "fast",
            "--package",
            "fluvial-conformance",
            "--",
        ])
        .args(arguments)
        .current_dir(root())
        .status()
        .map_err(|error| vec![format!("cargo does not start: {error}")])?;
    if status.success() {
        Ok(())
    } else {
        Err(vec!["the corpora show differences without a name".to_owned()])
    }
}

//! Generated files: each is written by one function here and checked in, so that building needs no
//! generator. `--check` compares instead of writing.

use std::path::{Path, PathBuf};

/// A generated file: its name on the command line, and the function that makes path and content.
struct Generator {
    name: &'static str,
    make: fn(root: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, String>,
}

fn generators() -> Vec<Generator> {
    vec![
        Generator {
            name: "schema",
            make: crate::codegen_schema::make,
        },
        Generator {
            name: "kustomize-schema",
            make: crate::codegen_kustomize::make,
        },
    ]
}

/// Runs one generator, or all.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<(), Vec<String>> {
    let check = arguments.iter().any(|word| word == "--check");
    let name = arguments.iter().find(|word| !word.starts_with("--"));
    let mut problems = Vec::new();
    let mut found = false;
    for generator in generators() {
        if name.is_some_and(|name| name != generator.name) {
            continue;
        }
        found = true;
        match (generator.make)(root) {
            Err(error) => problems.push(format!("{}: {error}", generator.name)),
            Ok(files) => {
                for (path, content) in files {
                    if let Err(problem) = settle(&root.join(&path), &content, check) {
                        problems.push(format!("{}: {}: {problem}", generator.name, path.display()));
                    }
                }
            }
        }
    }
    if let Some(name) = name.filter(|_| !found) {
        problems.push(format!("no generator is called {name}"));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn settle(path: &Path, content: &[u8], check: bool) -> Result<(), String> {
    if std::fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    if check {
        return Err("is not current; run `cargo xtask codegen`".to_owned());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    std::fs::write(path, content).map_err(|error| error.to_string())
}

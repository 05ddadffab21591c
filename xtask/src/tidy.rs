//! What must stay true of the repository's shape, as one list of problems: layer direction, no I/O
//! in the core's dependency trees, size budget, module docs, lint tables, the code map.

mod layers;
mod size;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Checks everything; the text says the figures that the budget is about.
pub(crate) fn check(root: &Path) -> Result<String, Vec<String>> {
    let mut problems = Vec::new();
    let mut figures = String::new();
    match layers::members(root) {
        Ok(members) => {
            problems.extend(layers::check(&members));
            problems.extend(code_map(root, &members.names()));
            problems.extend(lint_tables(&members.manifests()));
        }
        Err(problem) => problems.push(problem),
    }
    let files = sources(root);
    for path in &files {
        match std::fs::read_to_string(path) {
            Ok(text) => problems.extend(file_rules(root, path, &text)),
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    match size::measure(root, &files) {
        Ok(measured) => {
            problems.extend(measured.problems());
            figures = measured.to_string();
        }
        Err(problem) => problems.push(problem),
    }
    problems.extend(links(root));
    if problems.is_empty() {
        Ok(figures)
    } else {
        Err(problems)
    }
}

/// All Rust files of the workspace's own crates.
fn sources(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = ["crates", "xtask"]
        .iter()
        .flat_map(|folder| walkdir::WalkDir::new(root.join(folder)))
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| !path.components().any(|part| part.as_os_str() == "target"))
        .collect();
    files.sort();
    files
}

/// Whether a file holds tests only.
fn is_test(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.contains("/tests/") || text.ends_with("/tests.rs") || text.contains("/benches/")
}

/// Rules for one file's text: it opens with why it exists, and silences no lint without a reason.
fn file_rules(root: &Path, path: &Path, text: &str) -> Vec<String> {
    let name = path.strip_prefix(root).unwrap_or(path).display();
    let mut problems = Vec::new();
    if !is_test(path) && !text.starts_with("//!") {
        problems.push(format!("{name}: opens without `//!` saying why it exists"));
    }
    // Written in two parts so that this file does not find itself.
    let silencers = [concat!("#[", "allow("), concat!("#![", "allow(")];
    for (number, line) in text.lines().enumerate() {
        if silencers
            .iter()
            .any(|silencer| line.trim_start().starts_with(silencer))
        {
            problems.push(format!("{name}:{}: use #[expect(lint, reason = …)]", number + 1));
        }
    }
    problems
}

/// `ARCHITECTURE.md` describes exactly the crates that are there.
fn code_map(root: &Path, names: &BTreeSet<String>) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(root.join("ARCHITECTURE.md")) else {
        return vec!["ARCHITECTURE.md is missing".to_owned()];
    };
    let described: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect();
    let missing = names
        .difference(&described)
        .map(|name| format!("ARCHITECTURE.md: no section for crate `{name}`"));
    let gone = described
        .difference(names)
        .map(|name| format!("ARCHITECTURE.md: `{name}` is no crate here"));
    missing.chain(gone).collect()
}

/// Every member inherits the one lint table.
fn lint_tables(manifests: &[PathBuf]) -> Vec<String> {
    manifests
        .iter()
        .filter(|path| {
            !std::fs::read_to_string(path).is_ok_and(|text| text.contains("[lints]\nworkspace = true"))
        })
        .map(|path| format!("{}: lacks `[lints] workspace = true`", path.display()))
        .collect()
}

/// Relative links in the root's and docs' pages lead somewhere.
fn links(root: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let pages = walkdir::WalkDir::new(root)
        .max_depth(4)
        .into_iter()
        .filter_entry(|entry| {
            !matches!(
                entry.file_name().to_str(),
                Some("target" | ".git" | "corpus" | "node_modules")
            )
        })
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    for page in pages {
        let Ok(text) = std::fs::read_to_string(&page) else {
            continue;
        };
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            if !page.parent().unwrap_or(root).join(target).exists() {
                let page = page.strip_prefix(root).unwrap_or(&page).display().to_string();
                problems.push(format!("{page}: link to '{target}' leads nowhere"));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        if let Err(problems) = check(&crate::root()) {
            panic!("{} problems:\n{}", problems.len(), problems.join("\n"));
        }
    }

    #[test]
    fn a_file_without_a_reason_to_exist_is_named() {
        let problems = file_rules(Path::new("/r"), Path::new("/r/crates/a/src/x.rs"), "fn f() {}\n");
        assert_eq!(
            problems,
            ["crates/a/src/x.rs: opens without `//!` saying why it exists"]
        );
    }

    #[test]
    fn a_silenced_lint_is_named_with_its_line() {
        let text = format!("//! x\n{}dead_code)]\nfn f() {{}}\n", concat!("#[", "allow("));
        let problems = file_rules(Path::new("/r"), Path::new("/r/a.rs"), &text);
        assert_eq!(problems, ["a.rs:2: use #[expect(lint, reason = …)]"]);
    }
}

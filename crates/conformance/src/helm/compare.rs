//! How the corpus says that an output equals the reference's.

use regex::Regex;

use crate::{Case, first_difference};

/// The ways of comparison.
pub(super) struct Comparison {
    pub(super) how: String,
    pub(super) mask: Vec<String>,
}

impl Comparison {
    /// A case's outcome; the wanted text is an output or, `Err`, an error.
    pub(super) fn judge(&self, name: &str, want: Result<&str, &str>, got: &Result<String, String>) -> Case {
        let outcome = match (want, got) {
            (Ok(want), Ok(got)) => self.same(want, got),
            (Err(want), Err(got)) => self.same(trim_error(want), trim_error(got)),
            (Ok(_), Err(error)) => Err(format!("fails: {error}")),
            (Err(want), Ok(_)) => Err(format!("must fail: {want}")),
        };
        Case {
            name: name.to_owned(),
            outcome,
        }
    }

    fn same(&self, want: &str, got: &str) -> Result<(), String> {
        let (want, got) = match self.how.as_str() {
            "masked" => (self.masked(want), self.masked(got)),
            "unordered-documents" => (documents(want), documents(got)),
            "sorted-lines" => (sorted_lines(want), sorted_lines(got)),
            _ => (want.to_owned(), got.to_owned()),
        };
        if want == got {
            Ok(())
        } else {
            Err(first_difference(&want, &got))
        }
    }

    fn masked(&self, text: &str) -> String {
        let masks: Vec<Regex> = self
            .mask
            .iter()
            .filter_map(|mask| Regex::new(mask).ok())
            .collect();
        let lines = text.split('\n').map(|line| {
            if masks.iter().any(|mask| mask.is_match(line)) {
                "MASKED"
            } else {
                line
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn trim_error(text: &str) -> &str {
    let text = text.trim_end();
    text.strip_suffix("Use --debug flag to render out invalid YAML")
        .unwrap_or(text)
        .trim_end()
}

fn documents(text: &str) -> String {
    let mut documents: Vec<String> = vec![String::new()];
    for line in text.lines() {
        if line == "---" {
            documents.push(String::new());
        } else if let Some(last) = documents.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    let mut documents: Vec<&str> = documents.iter().map(|document| document.trim()).collect();
    documents.sort_unstable();
    documents.join("\n---\n")
}

fn sorted_lines(text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(sorted_names).collect();
    lines.sort();
    lines.join("\n")
}

/// Sorts the quoted names that a line lists.
fn sorted_names(line: &str) -> String {
    for mark in ["additional properties ", "missing properties "] {
        if let Some((before, names)) = line.split_once(mark) {
            let colon = names.starts_with(':');
            let names = names.trim_start_matches(':').trim();
            let (names, after) = match names.split_once(" not allowed") {
                Some((names, _)) => (names, " not allowed"),
                None => (names, ""),
            };
            let mut names: Vec<&str> = names.split(", ").collect();
            names.sort_unstable();
            let colon = if colon { ": " } else { "" };
            return format!("{before}{mark}{colon}{}{after}", names.join(", "));
        }
    }
    line.to_owned()
}

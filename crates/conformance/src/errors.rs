//! What the errors of failed builds tell, against what kustomize's tell.
//!
//! Texts need not be equal. But what kustomize names at the end of its chain of causes (a file, an
//! object, a field, a value) must be named here too.

use std::path::Path;

use crate::kustomize::failed_builds;
use crate::{Case, Suite};

/// The suites of this module.
#[must_use]
pub fn suites() -> Vec<Suite> {
    vec![Suite {
        name: "kustomize/errors",
        needs: "corpus/kustomize",
        run: errors,
    }]
}

fn errors(shared: &Path) -> Vec<Case> {
    failed_builds(shared)
        .into_iter()
        .map(|(name, want, got)| {
            let got = got.err().unwrap_or_else(|| "no error at all".to_owned());
            let missing: Vec<String> = named(&want)
                .into_iter()
                .filter(|word| !got.contains(word.as_str()))
                .collect();
            let outcome = if missing.is_empty() {
                Ok(())
            } else {
                Err(format!("{missing:?} missing\n  want {want:?}\n  got  {got:?}"))
            };
            Case { name, outcome }
        })
        .collect()
}

/// What the last cause of an error names: quoted words, identities, unknown fields.
fn named(error: &str) -> Vec<String> {
    let cause = without_values(last_cause(error));
    let mut words: Vec<String> = Vec::new();
    for quote in ['\'', '"', '`'] {
        let parts: Vec<&str> = cause.split(quote).collect();
        if parts.len() % 2 == 1 {
            words.extend(parts.iter().skip(1).step_by(2).map(|word| (*word).to_owned()));
        }
    }
    let is_id = |word: &&str| word.contains("/") && word.contains(".[no");
    words.extend(cause.split([' ', ';']).filter(is_id).map(str::to_owned));
    words
        .into_iter()
        .map(|word| word.trim_start_matches('/').trim_end_matches(':').to_owned())
        // No user writes this behavior: it is the missing one.
        .filter(|word| word != "unspecified")
        // Folders of a clone have another name each time.
        .filter(|word| !word.is_empty() && !word.contains([' ', '\n', '@']))
        .collect()
}

/// An error without the steps that led to it.
fn last_cause(error: &str) -> &str {
    // What a node holds is shown by its place here.
    let error = error.split("node contents:").next().unwrap_or(error);
    // A folder that cannot be a file, and the other way round, says nothing of the cause.
    let error = error.split("': must build at directory").next().unwrap_or(error);
    error.rsplit("': ").next().unwrap_or(error)
}

/// A text without what stands in braces: Go prints whole values there.
fn without_values(text: &str) -> String {
    let mut depth = 0_u32;
    text.chars()
        .filter(|c| {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect()
}

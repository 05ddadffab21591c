//! Runs the recorded corpora against the engines.
//!
//! A suite is one module and one line in [`suites`]. It turns corpus files into [`Case`]s; this
//! frame counts them, holds them against the named deviations in `conformance/deviations.json`
//! and against the counts in `conformance/counts.json`, which may not fall.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub mod api;
pub mod cli;
pub mod delivery;
pub mod errors;
pub mod fleets;
pub mod helm;
pub mod kustomize;
pub mod kyaml;
pub mod merge;
pub mod object;
pub mod schema;
pub mod sops;
pub mod source;
pub mod template;
pub mod txtar;
pub mod yaml;

/// One case of a corpus and what came of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name, unique in its suite.
    pub name: String,
    /// `Err` says how the result differs from the reference's.
    pub outcome: Result<(), String>,
}

impl Case {
    /// A case that passes if both sides are equal; else the difference is kept, shortened.
    pub fn compare(name: impl Into<String>, want: &str, got: &str) -> Self {
        let outcome = if want == got {
            Ok(())
        } else {
            Err(first_difference(want, got))
        };
        Case {
            name: name.into(),
            outcome,
        }
    }
}

/// The first lines in which two texts differ.
#[must_use]
pub fn first_difference(want: &str, got: &str) -> String {
    let (mut want_lines, mut got_lines) = (want.split('\n'), got.split('\n'));
    let mut line = 1;
    loop {
        match (want_lines.next(), got_lines.next()) {
            (Some(want), Some(got)) if want == got => line += 1,
            (None, None) => return "equal".to_owned(),
            (want, got) => {
                let show =
                    |text: Option<&str>| text.map_or("end of text".to_owned(), |text| format!("{text:?}"));
                return format!("line {line}: want {}, got {}", show(want), show(got));
            }
        }
    }
}

/// A part of the corpora with the engine that is to pass it.
pub struct Suite {
    /// Name: `cargo xtask conformance NAME` runs all suites whose name is or begins with `NAME`.
    pub name: &'static str,
    /// Folder or file below the shared folder that must be there.
    pub needs: &'static str,
    /// Runs every case; the argument is the shared folder.
    pub run: fn(&Path) -> Vec<Case>,
}

/// All suites.
#[must_use]
pub fn suites() -> Vec<Suite> {
    let mut suites = Vec::new();
    suites.extend(api::suites());
    suites.extend(cli::suites());
    suites.extend(delivery::suites());
    suites.extend(errors::suites());
    suites.extend(fleets::suites());
    suites.extend(helm::suites());
    suites.extend(kustomize::suites());
    suites.extend(kyaml::suites());
    suites.extend(merge::suites());
    suites.extend(object::suites());
    suites.extend(schema::suites());
    suites.extend(sops::suites());
    suites.extend(source::suites());
    suites.extend(template::suites());
    suites.extend(yaml::suites());
    suites
}

/// Cases that differ on purpose: suite → case → reason.
pub type Deviations = BTreeMap<String, BTreeMap<String, String>>;

/// What may not fall: suite → passed cases.
pub type Counts = BTreeMap<String, usize>;

/// What came of one suite.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Suite.
    pub suite: String,
    /// Cases that equal the reference.
    pub passed: usize,
    /// Cases that differ for a named reason.
    pub deviating: usize,
    /// Cases that differ without one, with the difference.
    pub failed: Vec<(String, String)>,
    /// Named deviations that pass after all, or that no case has: the list must be mended.
    pub stale: Vec<String>,
}

/// Holds a suite's cases against the deviations.
#[must_use]
pub fn judge(suite: &str, cases: Vec<Case>, deviations: &Deviations) -> Report {
    let empty = BTreeMap::new();
    let named = deviations.get(suite).unwrap_or(&empty);
    let mut unseen: Vec<&String> = named.keys().collect();
    let mut report = Report {
        suite: suite.to_owned(),
        ..Report::default()
    };
    for case in cases {
        let deviation = named.get(&case.name);
        unseen.retain(|name| **name != case.name);
        match (case.outcome, deviation) {
            (Ok(()), None) => report.passed += 1,
            (Ok(()), Some(_)) => {
                report.passed += 1;
                report.stale.push(case.name);
            }
            (Err(_), Some(_)) => report.deviating += 1,
            (Err(difference), None) => report.failed.push((case.name, difference)),
        }
    }
    report.stale.extend(unseen.into_iter().cloned());
    report
}

/// The values of a file with one JSON value a line; nothing if there is no such file.
#[must_use]
pub fn json_lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The folder with the corpora: `$FLUVIAL_SHARED`, or `shared` beside the checkout.
#[must_use]
pub fn shared_folder(checkout: &Path) -> PathBuf {
    std::env::var_os("FLUVIAL_SHARED").map_or_else(|| checkout.join("../shared"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_counted_apart_and_stale_ones_are_named() {
        let case = |name: &str, ok: bool| Case {
            name: name.to_owned(),
            outcome: if ok { Ok(()) } else { Err("differs".to_owned()) },
        };
        let deviations: Deviations = [(
            "s".to_owned(),
            [("b", "why"), ("c", "why"), ("gone", "why")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
        )]
        .into();
        let cases = vec![
            case("a", true),
            case("b", false),
            case("c", true),
            case("d", false),
        ];
        let report = judge("s", cases, &deviations);
        assert_eq!((report.passed, report.deviating), (2, 1));
        assert_eq!(report.failed, [("d".to_owned(), "differs".to_owned())]);
        assert_eq!(report.stale, ["c", "gone"]);
    }

    #[test]
    fn the_first_difference_names_its_line() {
        assert_eq!(first_difference("a\nb", "a\nc"), r#"line 2: want "b", got "c""#);
        assert_eq!(
            first_difference("a", "a\n"),
            r#"line 2: want end of text, got """#
        );
    }
}

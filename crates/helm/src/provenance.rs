//! Where a rendered release comes from: which statement of which template wrote a line, which values
//! that statement read, and who set those values.

use std::collections::BTreeMap;
use std::sync::Arc;

use fluvial_template::{Read, Run};
use fluvial_yaml::{Node, ReadOptions};
use serde_json::Value as Json;

use crate::chart::Chart;
use crate::dependencies::Member;
use crate::values::{GLOBAL, Values};

/// A layer of the user's values: a file, or an option of the command line.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// What people know it by: `prod.yaml`, `--set replicas=3`.
    pub name: String,
    /// What it sets.
    pub values: Values,
    /// The text of a file, for lines.
    pub text: Option<String>,
}

/// Who set a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// A file with its line, or an option.
    pub place: String,
    /// What it sets there.
    pub value: Json,
}

/// A statement of a template that took part in writing a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: usize,
    /// The action; empty for plain text.
    pub action: String,
    /// The values that it read.
    pub reads: Vec<Read>,
    /// The conditions and loops around it in its template, the outermost first.
    pub conditions: Vec<Origin>,
}

/// The origin of everything in a rendered release.
#[derive(Clone, Debug)]
pub struct Provenance {
    runs: Arc<BTreeMap<String, Run>>,
    charts: Arc<[(Vec<String>, Arc<Chart>)]>,
}

impl Provenance {
    pub(crate) fn new(runs: BTreeMap<String, Run>, root: &Member) -> Self {
        let mut charts = Vec::new();
        gather(root, &mut Vec::new(), &mut charts);
        Provenance {
            runs: Arc::new(runs),
            charts: charts.into(),
        }
    }

    /// The statements that wrote a line (from 0) of a template's output, outer ones first: an action,
    /// then what the templates that it included did.
    #[must_use]
    pub fn origins(&self, template: &str, line: usize) -> Vec<Origin> {
        let Some(run) = self.runs.get(template) else {
            return Vec::new();
        };
        run.line(line)
            .filter_map(|(step, offset)| origin(run, step, offset, true))
            .collect()
    }

    /// Every value that was read to make some lines of a template's output.
    #[must_use]
    pub fn reads(&self, template: &str, lines: std::ops::Range<usize>) -> Vec<Read> {
        let Some(run) = self.runs.get(template) else {
            return Vec::new();
        };
        let steps: std::collections::BTreeSet<usize> = lines
            .flat_map(|line| run.line(line))
            .flat_map(|(step, _)| around(run, step))
            .collect();
        let mut reads: Vec<Read> = steps.into_iter().flat_map(|step| run.reads_of(step)).collect();
        reads.sort();
        reads.dedup();
        reads
    }

    /// Who sets the value at a path, the winner first; `layers` are the user's, the last of them wins.
    #[must_use]
    pub fn sources(&self, path: &[&str], layers: &[Layer]) -> Vec<Source> {
        let mut found = Vec::new();
        // A chart's globals come from those of the charts above it.
        for path in seen_as(path) {
            for layer in layers.iter().rev() {
                let lines = layer.text.as_deref();
                found.extend(source(&layer.name, layer.values.get(&path), lines, &path));
            }
            for (prefix, chart) in self.charts.iter() {
                let Some(rest) = below(&path, prefix) else {
                    continue;
                };
                let name = if prefix.is_empty() {
                    "values.yaml".to_owned()
                } else {
                    format!("values.yaml of {}", prefix.join("."))
                };
                let text = chart.values_text.as_ref().map(|file| file.text());
                found.extend(source(&name, get(&chart.values, rest), text.as_deref(), rest));
            }
        }
        found
    }
}

fn gather(member: &Member, prefix: &mut Vec<String>, out: &mut Vec<(Vec<String>, Arc<Chart>)>) {
    out.push((prefix.clone(), Arc::clone(&member.chart)));
    for child in &member.children {
        prefix.push(child.name.clone());
        gather(child, prefix, out);
        prefix.pop();
    }
}

/// A step and all conditions around it.
fn around(run: &Run, step: usize) -> Vec<usize> {
    let mut all = vec![step];
    let mut here = run.step(step).and_then(|step| step.within);
    while let Some(step) = here {
        all.push(step);
        here = run.step(step).and_then(|step| step.within);
    }
    all
}

fn origin(run: &Run, index: usize, offset: usize, deep: bool) -> Option<Origin> {
    let step = run.step(index)?;
    let mut conditions = Vec::new();
    if deep {
        let outer = around(run, index);
        conditions.extend(
            outer[1..]
                .iter()
                .rev()
                .filter_map(|step| origin(run, *step, 0, false)),
        );
    }
    Some(Origin {
        file: step.file.to_string(),
        line: step.line + offset,
        action: step.action,
        reads: run.reads_of(index),
        conditions,
    })
}

/// The paths under which a value of this path may be set: for globals, those of each chart above.
fn seen_as<'p>(path: &[&'p str]) -> Vec<Vec<&'p str>> {
    match path.iter().position(|part| *part == GLOBAL) {
        Some(at) => (0..=at)
            .map(|keep| path[..keep].iter().chain(&path[at..]).copied().collect())
            .collect(),
        None => vec![path.to_vec()],
    }
}

fn below<'a, 'p>(path: &'a [&'p str], prefix: &[String]) -> Option<&'a [&'p str]> {
    let (head, rest) = path.split_at_checked(prefix.len())?;
    head.iter().zip(prefix).all(|(a, b)| a == b).then_some(rest)
}

fn get<'v>(values: &'v Json, path: &[&str]) -> Option<&'v Json> {
    path.iter()
        .try_fold(values, |here, key| here.as_object()?.get(*key))
}

fn source(name: &str, value: Option<&Json>, text: Option<&str>, path: &[&str]) -> Option<Source> {
    let value = value?;
    let line = text.and_then(|text| line_of(text, path));
    Some(Source {
        place: line.map_or_else(|| name.to_owned(), |line| in_line(name, line)),
        value: value.clone(),
    })
}

/// `values.yaml:3`, or `values.yaml:3 of redis`.
fn in_line(name: &str, line: usize) -> String {
    match name.split_once(" of ") {
        Some((file, chart)) => format!("{file}:{line} of {chart}"),
        None => format!("{name}:{line}"),
    }
}

/// The line (from 1) of a YAML text in which a path is set.
#[must_use]
pub fn line_of(text: &str, path: &[&str]) -> Option<usize> {
    place_of(text, path).map(|(line, _)| line)
}

/// The line and the column (from 1) of a YAML text in which a path is set.
#[must_use]
pub fn place_of(text: &str, path: &[&str]) -> Option<(usize, usize)> {
    let documents = fluvial_yaml::parse_documents(text, &ReadOptions::default()).ok()?;
    documents.iter().rev().find_map(|node| place_in(node, path))
}

/// As [`line_of`], in a document that has been parsed.
#[must_use]
pub fn line_in(node: &Node, path: &[&str]) -> Option<usize> {
    place_in(node, path).map(|(line, _)| line)
}

fn place_in(node: &Node, path: &[&str]) -> Option<(usize, usize)> {
    let mut here = node;
    let mut place = None;
    for part in path {
        match part.parse::<usize>().ok().filter(|_| here.items().is_some()) {
            Some(index) => {
                here = here.items()?.get(index)?;
                place = Some(here.pos);
            }
            None => {
                let entry = here
                    .entries()?
                    .iter()
                    .find(|entry| entry.key.as_text() == Some(*part))?;
                place = Some(entry.key.pos);
                here = &entry.value;
            }
        }
    }
    let number = |number| usize::try_from(number).unwrap_or(usize::MAX);
    place.map(|place| (number(place.line), number(place.column)))
}

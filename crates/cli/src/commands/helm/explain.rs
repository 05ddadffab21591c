//! `helm template --explain`: which statement wrote a field, which values it read, and who set those.

use std::fmt::Write as _;

use fluvial_helm::{Layer, Origin, Provenance, Rendered};
use fluvial_object::ObjectExt;
use serde_json::Value;

/// More values than these are not listed one by one.
const MOST_VALUES: usize = 60;

/// The steps of a field's path: `spec.containers[0].image`, `metadata.annotations["a.b/c"]`.
pub(crate) fn parts(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '.' | '[' => {
                if !part.is_empty() {
                    parts.push(std::mem::take(&mut part));
                }
                if c == '[' {
                    let inside: String = chars.by_ref().take_while(|c| *c != ']').collect();
                    parts.push(inside.trim_matches('"').to_owned());
                }
            }
            c => part.push(c),
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Explains `KIND/NAME` or `KIND/NAME:FIELD`.
pub(crate) fn explain(rendered: &Rendered, wanted: &str, layers: &[Layer]) -> Result<String, String> {
    let provenance = rendered
        .provenance
        .as_ref()
        .ok_or("nothing was noted of this rendering")?;
    let all = || {
        rendered
            .manifests
            .iter()
            .map(|manifest| {
                (
                    manifest.source.as_str(),
                    manifest.line,
                    manifest.content.as_str(),
                    manifest.object(),
                )
            })
            .chain(rendered.hooks.iter().map(|hook| {
                (
                    hook.path.as_str(),
                    hook.line,
                    hook.manifest.as_str(),
                    hook.object(),
                )
            }))
    };
    let name = |value: &Value| format!("{}/{}", value.kind(), value.name());
    let (mut out, mut seen, mut names) = (String::new(), false, Vec::new());
    let (object, field) = divided(wanted, |object| {
        all().any(|(.., value)| name(value).eq_ignore_ascii_case(object))
    });
    for (source, line, text, value) in all().filter(|(.., value)| value.is_object()) {
        if !name(value).eq_ignore_ascii_case(object) {
            names.push(name(value));
            continue;
        }
        seen = true;
        let found = Found {
            provenance,
            layers,
            source,
            line,
            text,
            value,
        };
        if field.is_empty() {
            found.whole(&name(value), &mut out);
        } else {
            found.field(&name(value), field, &mut out);
        }
    }
    if !seen {
        names.truncate(20);
        return Err(format!(
            "{object} is not in the output; there are {}",
            names.join(", ")
        ));
    }
    if out.is_empty() {
        return Err(format!("{object} has no field {field}"));
    }
    Ok(out)
}

/// The object and the field that are meant: names of roles hold colons too, and the longest name of an object wins.
fn divided(wanted: &str, is_there: impl Fn(&str) -> bool) -> (&str, &str) {
    if is_there(wanted) {
        return (wanted, "");
    }
    wanted
        .rmatch_indices(':')
        .map(|(at, _)| (&wanted[..at], &wanted[at + 1..]))
        .find(|(object, _)| is_there(object))
        .or_else(|| wanted.split_once(':'))
        .unwrap_or((wanted, ""))
}

/// An object of the output.
struct Found<'r> {
    provenance: &'r Provenance,
    layers: &'r [Layer],
    source: &'r str,
    line: usize,
    text: &'r str,
    value: &'r Value,
}

// Writing into a String cannot fail.
impl Found<'_> {
    /// Where the object begins and every value that was read to make it.
    fn whole(&self, name: &str, out: &mut String) {
        let place = self.origins(0).pop().map_or_else(
            || self.source.to_owned(),
            |origin| format!("{}:{}", origin.file, origin.line),
        );
        let _ = writeln!(out, "{name}: {place}");
        let lines = self.line..self.line + self.text.lines().count();
        let reads = self.provenance.reads(self.source, lines);
        let paths = reads.iter().map(|read| {
            let parts: Vec<&str> = read.path.iter().map(|part| &**part).collect();
            parts
        });
        self.values(paths.collect(), "  ", out);
    }

    /// A field and all below it, a line for each place that wrote one.
    fn field(&self, name: &str, field: &str, out: &mut String) {
        let steps = parts(field);
        let value = steps.iter().try_fold(self.value, |here, part| match here {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            other => other.get(part),
        });
        let Some(value) = value else { return };
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let Some((line, column)) = fluvial_helm::place_of(self.text, &steps) else {
            return;
        };
        let is_item = steps.last().is_some_and(|last| last.parse::<usize>().is_ok());
        let height = self.height(line, column - usize::from(is_item));
        let shown = shortened(value);
        let _ = writeln!(out, "{name}:{field} = {shown}");
        for line in line..line + height {
            let origins = self.origins(line - 1);
            let own: Vec<&Origin> = origins
                .iter()
                .filter(|origin| !origin.action.is_empty())
                .collect();
            let Some(innermost) = own.last().copied().or(origins.last()) else {
                continue;
            };
            // Actions side by side wrote the line together; others lead to them.
            let here = |origin: &Origin| origin.file == innermost.file && origin.line == innermost.line;
            if innermost.action.is_empty() {
                self.statement(innermost, out);
            }
            for action in own.iter().filter(|action| here(action)) {
                self.statement(action, out);
            }
            for outer in own.iter().rev().filter(|outer| !here(outer)) {
                let _ = writeln!(out, "    through {}:{} {}", outer.file, outer.line, outer.action);
            }
            for condition in &innermost.conditions {
                let _ = writeln!(
                    out,
                    "    within {}:{} {}",
                    condition.file, condition.line, condition.action
                );
                self.values(paths(condition), "      ", out);
            }
        }
    }

    /// How many lines a field in a column (from 1) takes: those that follow and are indented deeper, or are items at its
    /// own depth.
    fn height(&self, line: usize, column: usize) -> usize {
        let depth = |text: &str| text.len() - text.trim_start().len() + 1;
        let mut lines = self.text.lines().skip(line - 1);
        // A key behind a dash has no items beside it: they would be those that it stands in.
        let own_line = lines.next().is_some_and(|text| depth(text) == column);
        let deeper = |text: &&str| {
            text.trim().is_empty()
                || depth(text) > column
                || (own_line && depth(text) == column && text.trim_start().starts_with("- "))
        };
        // A long field is told by its first lines.
        1 + lines.take_while(deeper).take(40).count()
    }

    fn statement(&self, origin: &Origin, out: &mut String) {
        let what = if origin.action.is_empty() {
            "written there as it is"
        } else {
            &origin.action
        };
        let line = format!("  {}:{} {what}\n", origin.file, origin.line);
        if out.contains(&line) {
            return;
        }
        out.push_str(&line);
        self.values(paths(origin), "    ", out);
    }

    /// Values and who set them; tables only where nothing in them was read.
    fn values(&self, mut paths: Vec<Vec<&str>>, indent: &str, out: &mut String) {
        paths.sort();
        paths.dedup();
        let leaves: Vec<&Vec<&str>> = paths
            .iter()
            .filter(|path| {
                !path.is_empty()
                    && !paths
                        .iter()
                        .any(|other| other.len() > path.len() && other.starts_with(path))
            })
            .collect();
        for path in leaves.iter().take(MOST_VALUES) {
            let name = path.join(".");
            let sources = self.provenance.sources(path, self.layers);
            match sources.split_first() {
                None => {
                    let _ = writeln!(out, "{indent}{name} is not set");
                }
                Some((winner, others)) => {
                    let _ = write!(
                        out,
                        "{indent}{name} = {} from {}",
                        shortened(&winner.value),
                        winner.place
                    );
                    for other in others {
                        let _ = write!(out, ", over {} from {}", shortened(&other.value), other.place);
                    }
                    out.push('\n');
                }
            }
        }
        if leaves.len() > MOST_VALUES {
            let _ = writeln!(out, "{indent}and {} more", leaves.len() - MOST_VALUES);
        }
    }

    fn origins(&self, line: usize) -> Vec<Origin> {
        self.provenance.origins(self.source, self.line + line)
    }
}

fn paths(origin: &Origin) -> Vec<Vec<&str>> {
    origin
        .reads
        .iter()
        .map(|read| read.path.iter().map(|part| &**part).collect())
        .collect()
}

/// A value in one line.
fn shortened(value: &Value) -> String {
    let text = match value {
        // Values of files are floats; people wrote integers.
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    };
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_fields_are_cut_at_dots_and_brackets() {
        assert_eq!(
            parts("spec.containers[0].image"),
            ["spec", "containers", "0", "image"]
        );
        assert_eq!(
            parts("metadata.annotations[\"a.b/c\"]"),
            ["metadata", "annotations", "a.b/c"]
        );
        assert_eq!(parts(""), Vec::<String>::new());
    }
}

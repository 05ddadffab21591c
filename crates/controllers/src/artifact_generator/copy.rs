//! Putting a tree together from parts of others: copy operations, patterns, folders that become variables. Pure.

use std::collections::BTreeMap;

use fluvial_api::extensions::{CopyOperation, CopyStrategy, OutputArtifact};
use fluvial_tree::{Entry, File, Tree, TreeBuilder, TreePath};
use regex::Regex;
use serde_json::Value;

/// Most artifacts of one generator.
const MOST: usize = 1000;

/// The files of each source by its alias.
pub type Sources = BTreeMap<String, Tree>;

/// Takes `@alias/path` apart.
fn at<'a>(text: &'a str, field: &str) -> Result<(&'a str, &'a str), String> {
    let rest = text
        .strip_prefix('@')
        .ok_or_else(|| format!("{field} '{text}' does not begin with '@'"))?;
    let (alias, path) = rest.split_once('/').unwrap_or((rest, ""));
    if alias.is_empty() {
        return Err(format!("{field} '{text}' names nothing after '@'"));
    }
    Ok((alias, path))
}

/// Makes an artifact's tree.
///
/// # Errors
/// If an operation names what is not there, or leads out.
pub fn assemble(artifact: &OutputArtifact, sources: &Sources) -> Result<Tree, String> {
    let mut builder = TreeBuilder::default();
    for (number, operation) in artifact.copy.iter().enumerate() {
        let done = copy(&mut builder, operation, sources);
        builder = done.map_err(|error| format!("artifact '{}', copy[{number}]: {error}", artifact.name))?;
    }
    Ok(builder.build())
}

fn copy(
    builder: &mut TreeBuilder,
    operation: &CopyOperation,
    sources: &Sources,
) -> Result<TreeBuilder, String> {
    let (alias, from) = at(&operation.from, "from")?;
    let source = sources.get(alias).ok_or_else(|| {
        let known: Vec<&str> = sources.keys().map(String::as_str).collect();
        format!(
            "there is no source with alias '{alias}'; spec.sources has {}",
            known.join(", ")
        )
    })?;
    let (target, to) = at(&operation.to, "to")?;
    if target != "artifact" {
        return Err(format!("to '{}' does not begin with '@artifact/'", operation.to));
    }
    let excluded: Vec<Regex> = operation
        .exclude
        .iter()
        .map(|pattern| glob(pattern))
        .collect::<Result<_, _>>()?;
    let pairs = matches(source, from, to)?;
    let mut made = std::mem::take(builder).build();
    let mut out = made.to_builder();
    let mut count = 0;
    for (path, target, file) in pairs {
        let relative = path.as_str();
        let name = path.name().unwrap_or_default();
        if excluded
            .iter()
            .any(|pattern| pattern.is_match(relative) || pattern.is_match(name))
        {
            continue;
        }
        count += 1;
        match operation.strategy {
            CopyStrategy::Overwrite => put(&mut out, &target, file.clone())?,
            CopyStrategy::Merge => {
                // What an earlier file of this operation put there counts too.
                made = out.build();
                out = made.to_builder();
                let merged = merge(&made, &target, file)?;
                put(&mut out, &target, merged)?;
            }
            CopyStrategy::Extract => extract(&mut out, &target, relative, file)?,
        }
    }
    if count == 0 && operation.exclude.is_empty() {
        return Err(format!("nothing in the source matches '{}'", operation.from));
    }
    Ok(out)
}

fn put(out: &mut TreeBuilder, target: &str, file: File) -> Result<(), String> {
    let placed = out.file(target, file).map(|_| ());
    placed.map_err(|error| format!("'{target}': {error}"))
}

/// The files that `from` means, each with where it goes: as `cp -r` does it, and for patterns below what comes before the
/// pattern.
fn matches<'t>(
    source: &'t Tree,
    from: &str,
    to: &str,
) -> Result<Vec<(&'t TreePath, String, &'t File)>, String> {
    let path_of = |text: &str| TreePath::parse(text).map_err(|error| format!("'{text}': {error}"));
    let into_folder = to.is_empty() || to.ends_with('/');
    let to = path_of(to)?;
    let below = |relative: &str| {
        to.join(relative)
            .map(|path| path.to_string())
            .map_err(|error| error.to_string())
    };
    let mut pairs = Vec::new();
    if !from.contains(['*', '?', '[', '{']) {
        let path = path_of(from)?;
        if let Ok(file) = source.file(&path) {
            let name = path.name().unwrap_or_default();
            let target = if into_folder { below(name)? } else { to.to_string() };
            let key = source
                .iter()
                .find(|(known, _)| **known == path)
                .map(|(known, _)| known);
            return Ok(key.into_iter().map(|key| (key, target.clone(), file)).collect());
        }
        if !source.is_folder(&path) {
            return Err(format!("the source has no '{from}'"));
        }
        let inside = from.is_empty() || from.ends_with('/') || !into_folder;
        for (found, entry) in source.iter().filter(|(found, _)| found.starts_with(&path)) {
            let Entry::File(file) = entry else { continue };
            let relative = found.strip_prefix(&path).unwrap_or_default();
            let target = match path.name() {
                Some(name) if !inside => below(&format!("{name}/{relative}"))?,
                _ => below(relative)?,
            };
            pairs.push((found, target, file));
        }
        return Ok(pairs);
    }
    let fixed = from
        .split('/')
        .take_while(|part| !part.contains(['*', '?', '[', '{']));
    let base = path_of(&fixed.collect::<Vec<_>>().join("/"))?;
    let pattern = glob(from)?;
    for (found, entry) in source.iter() {
        let Entry::File(file) = entry else { continue };
        // A folder that matches is copied with all that is in it.
        let mut here = Some(found.clone());
        let mut hit = false;
        while let Some(path) = here {
            if path.is_root() {
                break;
            }
            hit |= pattern.is_match(path.as_str());
            here = path.parent();
        }
        if hit && found.starts_with(&base) {
            pairs.push((found, below(found.strip_prefix(&base).unwrap_or_default())?, file));
        }
    }
    Ok(pairs)
}

/// YAML laid over YAML: tables are merged, all else is replaced.
fn merge(made: &Tree, target: &str, file: &File) -> Result<File, String> {
    let path = TreePath::parse(target).map_err(|error| format!("'{target}': {error}"))?;
    let is_yaml = target.ends_with(".yaml") || target.ends_with(".yml");
    let Ok(before) = made.file(&path) else {
        return Ok(file.clone());
    };
    if !is_yaml {
        return Ok(file.clone());
    }
    let read = |file: &File| {
        let text = String::from_utf8_lossy(file.data()).into_owned();
        fluvial_yaml::yaml_to_json(&text, false)
            .map_err(|error| format!("'{target}' cannot be merged: {error}"))
    };
    let (mut below, over) = (read(before)?, read(file)?);
    lay(&mut below, over);
    Ok(File::new(fluvial_yaml::json_to_yaml(&below).into_bytes(), false))
}

fn lay(below: &mut Value, over: Value) {
    match (below, over) {
        (Value::Object(below), Value::Object(over)) => {
            for (key, value) in over {
                match below.get_mut(&key) {
                    Some(known) => lay(known, value),
                    None => {
                        below.insert(key, value);
                    }
                }
            }
        }
        (_, Value::Null) => {}
        (below, over) => *below = over,
    }
}

/// Unpacks a tarball into the folder where it would have gone.
fn extract(out: &mut TreeBuilder, target: &str, from: &str, file: &File) -> Result<(), String> {
    if !from.ends_with(".tar.gz") && !from.ends_with(".tgz") {
        return Err(format!(
            "'{from}' is no .tar.gz or .tgz, which strategy Extract asks for"
        ));
    }
    let folder = target.rsplit_once('/').map_or("", |(folder, _)| folder);
    let files = super::archive::unpack(file.data()).map_err(|error| format!("'{from}': {error}"))?;
    for (name, file) in files {
        let place = if folder.is_empty() {
            name
        } else {
            format!("{folder}/{name}")
        };
        put(out, &place, file)?;
    }
    Ok(())
}

/// A pattern as a regular expression: `*` and `?` stay within a folder, `**` does not, `[…]` and `{a,b}` choose.
fn glob(pattern: &str) -> Result<Regex, String> {
    let mut text = String::from("^");
    let mut rest = pattern.trim_start_matches("./");
    let mut open = 0;
    while let Some(sign) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("**/") {
            text.push_str("(?:.*/)?");
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("**") {
            text.push_str(".*");
            rest = after;
            continue;
        }
        let mut width = sign.len_utf8();
        match sign {
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '{' => {
                open += 1;
                text.push_str("(?:");
            }
            '}' if open > 0 => {
                open -= 1;
                text.push(')');
            }
            ',' if open > 0 => text.push('|'),
            '[' => match rest.find(']') {
                Some(end) => {
                    let inner = &rest[1..end];
                    let (not, inner) = match inner.strip_prefix(['!', '^']) {
                        Some(inner) => ("^", inner),
                        None => ("", inner),
                    };
                    let escaped = inner
                        .replace('\\', "\\\\")
                        .replace('[', "\\[")
                        .replace('&', "\\&");
                    text.push_str(&format!("[{not}{escaped}]"));
                    width = end + 1;
                }
                None => text.push_str("\\["),
            },
            other => text.push_str(&regex::escape(&other.to_string())),
        }
        rest = &rest[width..];
    }
    text.push('$');
    Regex::new(&text).map_err(|error| format!("pattern '{pattern}': {error}"))
}

/// An artifact to make, and what the folders of the path pattern say about it.
pub type Expanded = (OutputArtifact, BTreeMap<String, String>);

/// The artifacts that a spec means: each once, or each once for every folder that the path pattern matches.
///
/// # Errors
/// If the pattern is broken, matches too much, or two artifacts get one name.
pub fn expand(
    pattern: Option<&str>,
    artifacts: &[OutputArtifact],
    sources: &Sources,
) -> Result<Vec<Expanded>, String> {
    let mut all = Vec::new();
    match pattern.filter(|pattern| !pattern.is_empty()) {
        None => all.extend(
            artifacts
                .iter()
                .map(|artifact| (artifact.clone(), BTreeMap::new())),
        ),
        Some(pattern) => {
            for captures in folders(pattern, sources)? {
                let labels: BTreeMap<String, String> = captures
                    .iter()
                    .map(|(name, value)| (name.to_lowercase(), value.clone()))
                    .collect();
                for artifact in artifacts {
                    all.push((filled(artifact, &captures), labels.clone()));
                }
            }
        }
    }
    if all.len() > MOST {
        return Err(format!(
            "the generator makes more than {MOST} artifacts; narrow spec.pathPattern"
        ));
    }
    let mut names: Vec<&str> = all.iter().map(|(artifact, _)| artifact.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two artifacts have the name '{}'", twice[0]));
    }
    Ok(all)
}

fn filled(artifact: &OutputArtifact, captures: &BTreeMap<String, String>) -> OutputArtifact {
    let fill = |text: &str| {
        captures.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
    };
    let mut artifact = artifact.clone();
    artifact.name = fill(&artifact.name).to_lowercase().replace(['_', '/'], "-");
    for operation in &mut artifact.copy {
        operation.from = fill(&operation.from);
        operation.to = fill(&operation.to);
        for exclude in &mut operation.exclude {
            *exclude = fill(exclude);
        }
    }
    artifact
}

/// The folders that a path pattern matches, each as its captures.
fn folders(pattern: &str, sources: &Sources) -> Result<Vec<BTreeMap<String, String>>, String> {
    let (alias, path) = at(pattern, "pathPattern")?;
    let tree = sources
        .get(alias)
        .ok_or_else(|| format!("pathPattern '{pattern}': there is no source with alias '{alias}'"))?;
    let wanted: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut found = Vec::new();
    for (folder, entry) in tree.iter() {
        if !matches!(entry, Entry::Folder) {
            continue;
        }
        let parts: Vec<&str> = folder.parts().collect();
        if parts.len() != wanted.len() {
            continue;
        }
        let mut captures = BTreeMap::new();
        let fits = wanted.iter().zip(&parts).all(|(wanted, part)| {
            let name = wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            match name {
                Some(name) => {
                    captures.insert(name.to_owned(), (*part).to_owned());
                    true
                }
                None => *wanted == "*" || wanted == part,
            }
        });
        if fits {
            found.push(captures);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = TreeBuilder::default();
        for (path, text) in files {
            tree.file(path, File::new(text.as_bytes(), false)).unwrap();
        }
        tree.build()
    }

    fn sources() -> Sources {
        let repo = tree(&[
            ("apps/base/web/a.yaml", "a"),
            ("apps/base/web/b.txt", "b"),
            ("apps/prod/k.yaml", "k"),
            ("values.yaml", "x: {a: 1, b: 2}\nl: [1]\n"),
            ("over.yaml", "x: {b: 3}\nl: [2]\n"),
        ]);
        Sources::from([("repo".to_owned(), repo)])
    }

    fn made(operations: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let artifact = output("x", operations);
        let tree = assemble(&artifact, &sources())?;
        let files = tree.iter().filter(|(_, entry)| matches!(entry, Entry::File(_)));
        Ok(files.map(|(path, _)| path.to_string()).collect())
    }

    fn output(name: &str, operations: &[(&str, &str)]) -> OutputArtifact {
        let copy = operations.iter().map(|(from, to)| CopyOperation {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            ..CopyOperation::default()
        });
        OutputArtifact {
            name: name.to_owned(),
            copy: copy.collect(),
            ..OutputArtifact::default()
        }
    }

    #[test]
    fn files_folders_and_patterns_go_where_cp_would_put_them() {
        for (from, to, want) in [
            (
                "@repo/apps/base/**",
                "@artifact/base/",
                vec!["base/web/a.yaml", "base/web/b.txt"],
            ),
            ("@repo/apps/base/**/*.yaml", "@artifact/", vec!["web/a.yaml"]),
            ("@repo/apps/base/*", "@artifact/", vec!["web/a.yaml", "web/b.txt"]),
            (
                "@repo/apps/base",
                "@artifact/",
                vec!["base/web/a.yaml", "base/web/b.txt"],
            ),
            ("@repo/apps/base/", "@artifact/", vec!["web/a.yaml", "web/b.txt"]),
            ("@repo/apps/prod", "@artifact/p", vec!["p/k.yaml"]),
            ("@repo/values.yaml", "@artifact/", vec!["values.yaml"]),
            ("@repo/values.yaml", "@artifact/v/x.yaml", vec!["v/x.yaml"]),
            (
                "@repo/{values,over}.yaml",
                "@artifact/c/",
                vec!["c/over.yaml", "c/values.yaml"],
            ),
        ] {
            assert_eq!(made(&[(from, to)]).unwrap(), want, "{from} to {to}");
        }
        for (from, to, want) in [
            ("repo/x", "@artifact/", "does not begin"),
            ("@other/x", "@artifact/", "alias 'other'"),
            ("@repo/none", "@artifact/", "has no 'none'"),
            ("@repo/none/*", "@artifact/", "nothing in the source matches"),
            ("@repo/values.yaml", "@artifact/../../etc/x", ".."),
            ("@repo/../x", "@artifact/", ".."),
            ("@repo/values.yaml", "@elsewhere/", "@artifact/"),
        ] {
            let error = made(&[(from, to)]).unwrap_err();
            assert!(error.contains(want), "{from} to {to}: {error}");
        }
    }

    #[test]
    fn yaml_is_merged_and_excluded_files_stay_out() {
        let mut artifact = output(
            "x",
            &[
                ("@repo/values.yaml", "@artifact/"),
                ("@repo/over.yaml", "@artifact/values.yaml"),
            ],
        );
        artifact.copy[1].strategy = CopyStrategy::Merge;
        let tree = assemble(&artifact, &sources()).unwrap();
        let file = tree.file(&TreePath::parse("values.yaml").unwrap()).unwrap();
        assert_eq!(
            String::from_utf8_lossy(file.data()),
            "l:\n- 2\nx:\n  a: 1\n  b: 3\n"
        );
        let mut artifact = output("x", &[("@repo/apps/**", "@artifact/")]);
        artifact.copy[0].exclude = vec!["*.txt".to_owned(), "apps/prod/**".to_owned()];
        let tree = assemble(&artifact, &sources()).unwrap();
        assert_eq!(
            tree.iter()
                .filter(|(_, entry)| matches!(entry, Entry::File(_)))
                .count(),
            1
        );
    }

    #[test]
    fn folders_become_artifacts() {
        let artifacts = [output("app-{app}", &[("@repo/apps/{app}/**", "@artifact/")])];
        let all = expand(Some("@repo/apps/{app}"), &artifacts, &sources()).unwrap();
        let names: Vec<&str> = all.iter().map(|(artifact, _)| artifact.name.as_str()).collect();
        assert_eq!(names, ["app-base", "app-prod"]);
        assert_eq!(all[1].1["app"], "prod");
        let same = [output("x", &[]), output("x", &[])];
        assert!(expand(None, &same, &sources()).unwrap_err().contains("'x'"));
    }
}

//! `migrate`: brings manifests, or what a cluster has stored, to the newest version of each kind.

use std::path::{Path, PathBuf};

use fluvial_api::kinds::{self, KINDS, KindInfo};
use fluvial_ports::{Cluster, ErrorKind, Patch, PatchKind, Select, Target};
use serde_json::{Value, json};

use super::create::go_words;
use super::delete::agrees;
use super::suspend::MANAGER;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns;
use crate::state::{self, field};

/// Options of `migrate`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Folder or file with manifests [default: what the cluster has stored]
    #[arg(short = 'f', long, value_name = "PATH")]
    path: Option<String>,
    /// Endings of files to look at
    #[arg(
        short,
        long,
        value_name = "ENDINGS",
        value_delimiter = ',',
        default_value = ".yaml,.yml"
    )]
    extensions: Vec<String>,
    /// Minor version of Flux to migrate to [default: the newest]
    #[arg(short = 'v', long, value_name = "VERSION", value_parser = minor)]
    version: Option<u32>,
    /// Change nothing; say what would change
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short = 'y', long)]
    yes: bool,
}

/// Minor versions of Flux 2 whose kinds are known here.
const MINORS: std::ops::RangeInclusive<u32> = 3..=9;

fn minor(text: &str) -> Result<u32, String> {
    let number = text
        .trim_start_matches('v')
        .strip_prefix("2.")
        .and_then(|minor| minor.parse().ok());
    number.filter(|minor| MINORS.contains(minor)).ok_or_else(|| {
        format!(
            "version {text} is not supported, must be one of: {}",
            MINORS
                .map(|minor| format!("2.{minor}"))
                .collect::<Vec<_>>()
                .join(", ")
        )
    })
}

/// The newest version of a kind in a minor version of Flux.
fn newest(info: &KindInfo, minor: u32) -> &'static str {
    match info.kind {
        "ImageRepository" | "ImagePolicy" | "ImageUpdateAutomation" if minor < 7 => "v1beta2",
        "OCIRepository" if minor < 6 => "v1beta2",
        "Bucket" if minor < 5 => "v1beta2",
        _ => info.version,
    }
}

/// Migrates.
pub(crate) async fn run(session: &mut Session<'_>, options: &Options) -> Outcome {
    session.action("starting migration of custom resources");
    match &options.path {
        Some(path) => files(session, path, options),
        None => cluster(session, options).await,
    }
}

/// A line of a file that names an old version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// Counted from zero.
    line: usize,
    kind: String,
    old: String,
    new: &'static str,
    /// `group/version` as it is written.
    written: String,
}

fn files(session: &mut Session<'_>, path: &str, options: &Options) -> Outcome {
    let root = session.env.folder.join(path);
    let failed = |error: &std::io::Error| {
        Failure::new(format!(
            "failed to stat path {path}: openat {path}: {}",
            go_words(error)
        ))
    };
    let facts = std::fs::metadata(&root).map_err(|error| failed(&error))?;
    let mut paths = vec![];
    if facts.is_dir() {
        list(&root, Path::new(path), options, &mut paths)?;
    } else {
        paths.push((root.clone(), PathBuf::from(path)));
    }
    let mut changes = vec![];
    for (file, shown) in paths {
        let shown = shown.display().to_string();
        let text = std::fs::read_to_string(&file)
            .map_err(|error| Failure::new(format!("failed to read {shown}: {}", go_words(&error))))?;
        let (found, odd) = scan(&text, options.version.unwrap_or(*MINORS.end()));
        for (line, version) in odd {
            session.warning(&format!(
                "{shown}:{}: unexpected GroupVersion string: {version}",
                line + 1
            ));
        }
        for one in &found {
            let Found {
                line, kind, old, new, ..
            } = one;
            session.addition(&format!("{shown}:{}: {kind} {old} -> {new}", line + 1));
        }
        if !found.is_empty() {
            changes.push((file, shown, rewritten(&text, &found)));
        }
    }
    if options.dry_run {
        session.success("dry-run mode enabled, no changes will be made");
        return Ok(());
    }
    if changes.is_empty() {
        session.success("no custom resources found that require migration");
        return Ok(());
    }
    if !options.yes
        && !agrees(
            session,
            "Are you sure you want to proceed with the above upgrades?",
        )?
    {
        return Err(Failure::new("migration cancelled"));
    }
    for (file, shown, text) in changes {
        std::fs::write(&file, text)
            .map_err(|error| Failure::new(format!("failed to write {shown}: {}", go_words(&error))))?;
        session.success(&format!("file {shown} migrated successfully"));
    }
    session.success("custom resources migrated successfully");
    Ok(())
}

/// Files below a folder, in the order of their names.
fn list(
    folder: &Path,
    shown: &Path,
    options: &Options,
    paths: &mut Vec<(PathBuf, PathBuf)>,
) -> Result<(), Failure> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, shown) = (entry.path(), shown.join(entry.file_name()));
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        // A link's target is found where it stands, if it is inside at all.
        if kind.is_dir() && name != ".git" {
            list(&path, &shown, options, paths)?;
        } else if kind.is_file()
            && options
                .extensions
                .iter()
                .any(|ending| name.ends_with(ending.as_str()))
        {
            paths.push((path, shown));
        }
    }
    Ok(())
}

/// A key with its value on a line, and where the key begins; comments and quotes aside.
fn pair<'a>(line: &'a str, key: &str) -> Option<(usize, &'a str)> {
    let at = line.find(key)?;
    if !line[..at].chars().all(|c| c == ' ' || c == '-') {
        return None;
    }
    let value = line[at + key.len()..].strip_prefix(':')?;
    let value = value.strip_prefix(' ').unwrap_or(value);
    let value = value.split(" #").next().unwrap_or_default().trim();
    Some((at, value.trim_matches(['"', '\''])))
}

/// Old versions of our kinds in a file, and versions of our groups that are none.
fn scan(text: &str, minor: u32) -> (Vec<Found>, Vec<(usize, String)>) {
    let lines: Vec<&str> = text.lines().collect();
    let (mut found, mut odd) = (vec![], vec![]);
    for (number, line) in lines.iter().enumerate() {
        let Some((column, written)) = pair(line, "apiVersion") else {
            continue;
        };
        let mut parts = written.split('/');
        let group = parts.next().unwrap_or_default();
        if !KINDS.iter().any(|info| info.group == group) {
            continue;
        }
        let (Some(version), None) = (parts.next(), parts.next()) else {
            odd.push((number, written.to_owned()));
            continue;
        };
        // The kind stands beside it, almost always on the next line.
        let beside = [number.wrapping_add(1), number.wrapping_sub(1)];
        let kind = beside.iter().find_map(|number| {
            let (at, kind) = pair(lines.get(*number)?, "kind")?;
            (at == column).then_some(kind)
        });
        let Some(info) = kind.and_then(kinds::kind).filter(|info| info.group == group) else {
            continue;
        };
        let new = newest(info, minor);
        if info.old_versions.contains(&version) && version != new && is_older(version, new) {
            found.push(Found {
                line: number,
                kind: info.kind.to_owned(),
                old: version.to_owned(),
                new,
                written: written.to_owned(),
            });
        }
    }
    (found, odd)
}

/// Whether one version of an API comes before another: v1beta1, v1beta2, v1, v2beta1, v2.
fn is_older(one: &str, other: &str) -> bool {
    let key = |version: &str| {
        let version = version.trim_start_matches('v');
        let end = version
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(version.len());
        let (major, rest) = version.split_at(end);
        let stage = match rest.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "alpha" => 0,
            "beta" => 1,
            _ => 2,
        };
        let minor = rest
            .trim_start_matches(|c: char| !c.is_ascii_digit())
            .parse::<u32>();
        (major.parse::<u32>().unwrap_or(0), stage, minor.unwrap_or(0))
    };
    key(one) < key(other)
}

/// The file with newer versions, and nothing else changed.
fn rewritten(text: &str, found: &[Found]) -> String {
    let mut new = String::with_capacity(text.len());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        match found.iter().find(|found| found.line == number) {
            Some(found) => {
                let group = found.written.split('/').next().unwrap_or_default();
                new.push_str(&line.replacen(&found.written, &format!("{group}/{}", found.new), 1));
            }
            None => new.push_str(line),
        }
    }
    new
}

/// Writes every object anew whose definition has stored an older version, and says so in the definition.
async fn cluster(session: &mut Session<'_>, options: &Options) -> Outcome {
    let cluster = session.cluster().await?;
    let definition = cluster
        .resource("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        .await?;
    let mut count = 0;
    for noun in nouns::NOUNS {
        let info = noun.info();
        let name = format!("{}.{}", info.plural, info.group);
        let target = Target {
            resource: &definition,
            namespace: "",
            name: &name,
        };
        let Some(found) = cluster.get(target).await? else {
            continue;
        };
        let stored: Vec<&str> = field(&found, &["status", "storedVersions"])
            .and_then(Value::as_array)
            .map(|versions| versions.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        if stored.is_empty() || stored == [info.version] {
            continue;
        }
        count += 1;
        if options.dry_run {
            session.addition(&format!("{name}: {} -> {}", stored.join(", "), info.version));
            continue;
        }
        let resource = noun.resource();
        for object in cluster.list(&resource, &Select::default()).await? {
            let (namespace, object) = (state::namespace(&object), state::name(&object));
            let target = Target {
                resource: &resource,
                namespace,
                name: object,
            };
            touch(cluster.as_ref(), target).await?;
            session.success(&format!(
                "{}/{namespace}/{object} migrated to version {}",
                info.kind, info.version
            ));
        }
        let body = json!({"status": {"storedVersions": [info.version]}});
        let patch = Patch {
            kind: PatchKind::Merge,
            subresource: Some("status"),
            manager: MANAGER,
            body: &body,
            dry_run: false,
        };
        cluster.patch(target, patch).await?;
        session.success(&format!("{name} migrated to storage version {}", info.version));
    }
    match (count, options.dry_run) {
        (0, _) => session.success("no custom resources found that require migration"),
        (_, true) => session.success("dry-run mode enabled, no changes will be made"),
        _ => session.success("custom resources migrated successfully"),
    }
    Ok(())
}

/// Writes an object as it is: the server stores it in its newest version.
async fn touch(cluster: &dyn Cluster, target: Target<'_>) -> Result<(), Failure> {
    let body = json!({});
    let patch = Patch {
        kind: PatchKind::Merge,
        subresource: None,
        manager: MANAGER,
        body: &body,
        dry_run: false,
    };
    match cluster.patch(target, patch).await {
        Ok(_) => Ok(()),
        // It went in between.
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_versions_of_our_kinds_are_found_and_only_they_change() {
        let text = "# no change\r\napiVersion: helm.toolkit.fluxcd.io/v2beta1 # old\r\nkind: HelmRelease\r\n---\n\
                    kind: Kustomization\napiVersion: \"kustomize.toolkit.fluxcd.io/v1beta2\"\n---\n\
                    apiVersion: v1\nkind: Secret\n---\n- apiVersion: image.toolkit.fluxcd.io/v1beta1\n  kind: ImagePolicy\n\
                    ---\napiVersion: source.toolkit.fluxcd.io/v1/v1\nkind: Bucket\n";
        let (found, odd) = scan(text, 6);
        let lines: Vec<_> = found
            .iter()
            .map(|found| (found.line, found.old.as_str(), found.new))
            .collect();
        assert_eq!(
            lines,
            [
                (1, "v2beta1", "v2"),
                (5, "v1beta2", "v1"),
                (10, "v1beta1", "v1beta2")
            ]
        );
        assert_eq!(odd, [(13, "source.toolkit.fluxcd.io/v1/v1".to_owned())]);
        let new = rewritten(text, &found);
        assert!(
            new.starts_with("# no change\r\napiVersion: helm.toolkit.fluxcd.io/v2 # old\r\nkind:"),
            "{new}"
        );
        assert!(
            new.contains("apiVersion: \"kustomize.toolkit.fluxcd.io/v1\"\n"),
            "{new}"
        );
        assert_eq!(new.lines().count(), text.lines().count());
        assert!(is_older("v1beta2", "v1") && is_older("v1", "v2beta1") && !is_older("v1", "v1beta2"));
    }
}

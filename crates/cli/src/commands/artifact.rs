//! `build`, `push`, `pull`, `list`, `tag` and `diff` of artifacts in registries.

mod files;
mod login;

use std::collections::BTreeMap;

use clap::Args as _;
use clap::Command;
use fluvial_object::semver::{Constraint, Version};
use fluvial_tree::Tree;
use regex::Regex;
use serde::Serialize;

use crate::environment::{Failure, LogOptions, Outcome, Session};
use crate::output::{Format, write_value};
use crate::registry::Address;
use crate::table;

use login::Login;

/// Annotations that Flux reads.
const CREATED: &str = "org.opencontainers.image.created";
const SOURCE: &str = "org.opencontainers.image.source";
const REVISION: &str = "org.opencontainers.image.revision";
/// What is left out where nothing else is said.
const IGNORED: &str =
    ".git/,.gitignore,.gitmodules,.gitattributes,*.jpg,*.jpeg,*.gif,*.png,*.wmv,*.flv,*.tar.gz,*.zip";

/// Which files become an artifact.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Content {
    /// Patterns of what is left out, in the format of .gitignore
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', default_value = IGNORED, hide_default_value = true)]
    ignore_paths: Vec<String>,
    /// Take the files that symbolic links lead to, wherever they are; else links are left out
    #[arg(long)]
    resolve_symlinks: bool,
}

/// Options of `build artifact`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Build {
    /// Folder or file with manifests; - for standard input
    #[arg(
        short,
        long,
        value_name = "PATH",
        default_value = "",
        hide_default_value = true
    )]
    path: String,
    /// Where the tarball is written
    #[arg(short, long, value_name = "FILE", default_value = "artifact.tgz")]
    output: String,
    #[command(flatten)]
    content: Content,
}

/// Options of `push artifact`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Push {
    /// oci://HOST/REPOSITORY:TAG
    #[arg(value_name = "URL")]
    name: Option<String>,
    /// Folder or file with manifests; - for standard input
    #[arg(
        short = 'f',
        long,
        value_name = "PATH",
        default_value = "",
        hide_default_value = true
    )]
    path: String,
    /// Where the files come from, such as the URL of a Git repository
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    source: String,
    /// Their revision, as BRANCH@sha1:COMMIT
    #[arg(long, value_name = "REVISION", default_value = "", hide_default_value = true)]
    revision: String,
    /// More annotations of the artifact, as KEY=VALUE
    #[arg(short, long, value_name = "KEY=VALUE")]
    annotations: Vec<String>,
    #[command(flatten)]
    content: Content,
    /// More patterns of what is left out, after those of --ignore-paths
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    add_ignore_paths: Vec<String>,
    /// Print the artifact's address and digest as a value
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    output: String,
    /// Give 1970-01-01T00:00:00Z as the time of creation, so that equal files have equal digests
    #[arg(long)]
    reproducible: bool,
    #[command(flatten)]
    login: Login,
    /// Allow plain HTTP
    #[arg(long)]
    insecure_registry: bool,
    /// Tell what is done
    #[arg(long)]
    debug: bool,
}

/// Options of `pull artifact`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Pull {
    /// oci://HOST/REPOSITORY:TAG
    #[arg(value_name = "URL")]
    name: Option<String>,
    /// Folder for the files
    #[arg(
        short,
        long,
        value_name = "DIR",
        default_value = "",
        hide_default_value = true
    )]
    output: String,
    #[command(flatten)]
    login: Login,
    /// Allow plain HTTP
    #[arg(long)]
    insecure_registry: bool,
}

/// Options of `list artifacts`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct List {
    /// oci://HOST/REPOSITORY
    #[arg(value_name = "URL")]
    name: Option<String>,
    /// Only tags within a range of versions
    #[arg(long, value_name = "RANGE")]
    filter_semver: Option<String>,
    /// Only tags that a regular expression matches
    #[arg(long, value_name = "REGEX")]
    filter_regex: Option<String>,
    #[command(flatten)]
    login: Login,
    /// Allow plain HTTP
    #[arg(long)]
    insecure_registry: bool,
}

/// Options of `tag artifact`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Tag {
    /// oci://HOST/REPOSITORY:TAG
    #[arg(value_name = "URL")]
    name: Option<String>,
    /// New tag
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tag: Vec<String>,
    #[command(flatten)]
    login: Login,
}

/// Options of `diff artifact`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Diff {
    /// oci://HOST/REPOSITORY:TAG
    #[arg(value_name = "URL")]
    name: Option<String>,
    /// Folder or file with manifests
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    path: String,
    /// Patterns of what is left out, in the format of .gitignore
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', default_value = IGNORED, hide_default_value = true)]
    ignore_paths: Vec<String>,
    #[command(flatten)]
    login: Login,
    /// Allow plain HTTP
    #[arg(long)]
    insecure_registry: bool,
}

/// `artifact` below a verb.
pub(crate) fn below<T: clap::Args>(verb: Command, about: &'static str, example: &'static str) -> Command {
    verb.subcommand(
        T::augment_args(Command::new("artifact"))
            .about(about)
            .after_help(format!("Examples:\n  {example}")),
    )
}

/// `list`, whose artifacts are many.
pub(crate) fn list_command(verb: Command) -> Command {
    verb.subcommand(
        List::augment_args(Command::new("artifacts"))
            .visible_alias("artifact")
            .about("Tags of a repository, with what they mean")
            .after_help("Examples:\n  fluvial list artifacts oci://ghcr.io/org/manifests/app"),
    )
}

fn address(name: Option<&str>, what: &str) -> Result<Address, Failure> {
    let name = name.ok_or_else(|| Failure::new(format!("{what} is required")))?;
    Address::parse(name).map_err(Failure::new)
}

fn invalid_path(path: &str) -> Failure {
    Failure::new(format!("invalid path {path:?}"))
}

/// The files at a path, without what is to be left out.
fn content(
    session: &mut Session<'_>,
    path: &str,
    patterns: &[&[String]],
    resolve: bool,
) -> Result<Tree, Failure> {
    let files = if path == "-" {
        files::from_input(session)?
    } else {
        let place = session.env.folder.join(path);
        if !place.exists() {
            return Err(Failure::new(format!(
                "invalid path '{path}', must point to an existing directory or file"
            )));
        }
        files::read(&place, resolve).map_err(Failure::new)?
    };
    let registry = session.env.outside.registry().map_err(Failure::new)?;
    let lines: Vec<&str> = patterns.iter().copied().flatten().map(String::as_str).collect();
    Ok(registry.without(&files, &lines.join("\n")))
}

/// Writes the tarball that `push` would store.
pub(crate) fn build(session: &mut Session<'_>, options: &Build) -> Outcome {
    if options.path.is_empty() {
        return Err(invalid_path(""));
    }
    let files = content(
        session,
        &options.path,
        &[options.content.ignore_paths.as_slice()],
        options.content.resolve_symlinks,
    )?;
    session.action(&format!("building artifact from {}", options.path));
    let data = session.env.outside.registry().map_err(Failure::new)?.pack(&files);
    let place = session.env.folder.join(&options.output);
    std::fs::write(&place, data).map_err(|error| {
        Failure::new(format!(
            "building artifact failed, error: {}: {error}",
            options.output
        ))
    })?;
    session.success(&format!("artifact created at {}", options.output));
    Ok(())
}

/// What `push -o` prints, in this order.
#[derive(Serialize)]
struct Pushed<'a> {
    url: String,
    repository: &'a str,
    tag: &'a str,
    digest: &'a str,
}

/// Stores files as an artifact.
pub(crate) async fn push(session: &mut Session<'_>, options: &Push) -> Outcome {
    let name = options.name.as_deref();
    let name = name.ok_or_else(|| Failure::new("artifact URL is required"))?;
    for (value, flag) in [(&options.source, "source"), (&options.revision, "revision")] {
        if value.is_empty() {
            return Err(Failure::new(format!("--{flag} is required")));
        }
    }
    if options.path.is_empty() {
        return Err(invalid_path(""));
    }
    let format = match options.output.as_str() {
        "" => None,
        "json" => Some(Format::Json),
        "yaml" => Some(Format::Yaml),
        other => {
            return Err(Failure::new(format!(
                "invalid output format '{other}', must be one of: json, yaml"
            )));
        }
    };
    let address = address(Some(name), "artifact URL")?;
    if address.reference().contains(':') {
        return Err(Failure::new(
            "an artifact is pushed under a tag, not under a digest",
        ));
    }
    let patterns: [&[String]; 2] = [&options.content.ignore_paths, &options.add_ignore_paths];
    let files = content(
        session,
        &options.path,
        &patterns,
        options.content.resolve_symlinks,
    )?;
    let annotations = annotations(session, options)?;
    let access = options
        .login
        .access(session, &address, options.insecure_registry)?;
    if options.debug {
        let level = "debug".to_owned();
        session
            .env
            .outside
            .log(&LogOptions { level, json: false })
            .map_err(Failure::new)?;
    }
    if format.is_none() {
        session.action(&format!(
            "pushing artifact to {}:{}",
            address.repository,
            address.reference()
        ));
    }
    let registry = session.env.outside.registry().map_err(Failure::new)?;
    let pushed = registry.push(&address, &files, &annotations, &access).await;
    let digest = pushed.map_err(|error| Failure::new(format!("pushing artifact failed: {error}")))?;
    let whole = format!("{}@{digest}", address.repository);
    let Some(format) = format else {
        session.success(&format!("artifact successfully pushed to {whole}"));
        return Ok(());
    };
    let told = Pushed {
        url: format!("oci://{whole}"),
        repository: &address.repository,
        tag: address.reference(),
        digest: &digest,
    };
    match format {
        Format::Json => session.print(&(serde_json::to_string_pretty(&told)? + "\n")),
        Format::Yaml => write_value(session, &serde_json::to_value(&told)?, format),
    }
}

fn annotations(session: &Session<'_>, options: &Push) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    for text in &options.annotations {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| {
                Failure::new(format!(
                    "invalid annotation {text}, must be in the format key=value"
                ))
            })?;
        all.insert(key.to_owned(), value.to_owned());
    }
    let created = if options.reproducible {
        "1970-01-01T00:00:00Z".to_owned()
    } else {
        let now = session.env.clock.now();
        now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    all.insert(CREATED.to_owned(), created);
    all.insert(SOURCE.to_owned(), options.source.clone());
    all.insert(REVISION.to_owned(), options.revision.clone());
    Ok(all)
}

/// Writes the files of an artifact into a folder.
pub(crate) async fn pull(session: &mut Session<'_>, options: &Pull) -> Outcome {
    let name = options.name.as_deref();
    let name = name.ok_or_else(|| Failure::new("artifact URL is required"))?;
    let output = &options.output;
    if output.is_empty() {
        return Err(Failure::new(format!("invalid output path {output:?}")));
    }
    let folder = session.env.folder.join(output);
    if !folder.exists() {
        return Err(Failure::new(format!(
            "invalid output path {output:?}: stat {output}: no such file or directory"
        )));
    }
    if !folder.is_dir() {
        return Err(Failure::new(format!(
            "invalid output path {output:?}: it is no folder"
        )));
    }
    let address = address(Some(name), "artifact URL")?;
    let access = options
        .login
        .access(session, &address, options.insecure_registry)?;
    let shown = name.trim_start_matches("oci://");
    session.action(&format!("pulling artifact from {shown}"));
    let registry = session.env.outside.registry().map_err(Failure::new)?;
    let pulled = registry.pull(&address, &access).await.map_err(Failure::new)?;
    files::write(&pulled.files, &folder).map_err(Failure::new)?;
    let told = |key: &str| pulled.annotations.get(key).cloned().unwrap_or_default();
    session.success(&format!("source {}", told(SOURCE)));
    session.success(&format!("revision {}", told(REVISION)));
    session.success(&format!("digest {}@{}", address.repository, pulled.digest));
    session.success(&format!("artifact content extracted to {output}"));
    Ok(())
}

/// Shows the tags of a repository.
pub(crate) async fn list(session: &mut Session<'_>, options: &List) -> Outcome {
    let address = address(options.name.as_deref(), "artifact repository URL")?;
    let range = options.filter_semver.as_deref().filter(|range| !range.is_empty());
    let range = range.map(Constraint::parse).transpose()?;
    let regex = options.filter_regex.as_deref().filter(|regex| !regex.is_empty());
    let regex = regex.map(Regex::new).transpose()?;
    let access = options
        .login
        .access(session, &address, options.insecure_registry)?;
    let registry = session.env.outside.registry().map_err(Failure::new)?;
    let mut tags = registry.tags(&address, &access).await.map_err(Failure::new)?;
    tags.retain(|tag| {
        let version = || Version::parse(tag).ok();
        !belongs_to_another(tag)
            && regex.as_ref().is_none_or(|regex| regex.is_match(tag))
            && range
                .as_ref()
                .is_none_or(|range| version().is_some_and(|version| range.matches(&version)))
    });
    tags.sort_unstable_by(|a, b| b.cmp(a));
    let facts = registry
        .describe(&address, &tags, &access)
        .await
        .map_err(Failure::new)?;
    let rows: Vec<Vec<String>> = tags
        .iter()
        .zip(facts)
        .map(|(tag, (digest, annotations))| {
            let told = |key: &str| annotations.get(key).cloned().unwrap_or_default();
            vec![
                format!("{}:{tag}", address.repository),
                digest,
                told(SOURCE),
                told(REVISION),
            ]
        })
        .collect();
    session.print(&table::render(
        &["artifact", "digest", "source", "revision"],
        &rows,
    ))
}

/// Whether a tag stands for the signatures or referrers of another artifact.
fn belongs_to_another(tag: &str) -> bool {
    let digest = tag.strip_prefix("sha256-").and_then(|rest| rest.get(..64));
    digest.is_some_and(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Gives an artifact more tags.
pub(crate) async fn tag(session: &mut Session<'_>, options: &Tag) -> Outcome {
    let name = options.name.as_deref();
    let name = name.ok_or_else(|| Failure::new("artifact name is required"))?;
    if options.tag.is_empty() {
        return Err(Failure::new("--tag is required"));
    }
    let address = address(Some(name), "artifact name")?;
    let access = options.login.access(session, &address, false)?;
    session.action("tagging artifact");
    let registry = session.env.outside.registry().map_err(Failure::new)?;
    for tag in &options.tag {
        let done = registry.tag(&address, tag, &access).await;
        done.map_err(|error| Failure::new(format!("tagging artifact failed: {error}")))?;
        session.success(&format!("artifact tagged as {}:{tag}", address.repository));
    }
    Ok(())
}

/// Compares an artifact with files.
pub(crate) async fn diff(session: &mut Session<'_>, options: &Diff) -> Outcome {
    let name = options.name.as_deref();
    let name = name.ok_or_else(|| Failure::new("artifact URL is required"))?;
    if options.path.is_empty() {
        return Err(invalid_path(""));
    }
    let address = address(Some(name), "artifact URL")?;
    let here = content(session, &options.path, &[options.ignore_paths.as_slice()], false)?;
    let access = options
        .login
        .access(session, &address, options.insecure_registry)?;
    let registry = session.env.outside.registry().map_err(Failure::new)?;
    let there = registry
        .pull(&address, &access)
        .await
        .map_err(Failure::new)?
        .files;
    let differences = files::differences(&here, &there);
    if differences.is_empty() {
        session.success("no changes detected");
        return Ok(());
    }
    session.print(&differences.join(""))?;
    Err(Failure::new(
        "the remote artifact contents differs from the local one",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_takes_an_address() {
        for command in [
            below::<Push>(Command::new("push"), "", ""),
            below::<Pull>(Command::new("pull"), "", ""),
            below::<Tag>(Command::new("tag"), "", ""),
            below::<Diff>(Command::new("diff"), "", ""),
        ] {
            let artifact = command.get_subcommands().next().unwrap();
            assert!(
                artifact
                    .get_arguments()
                    .any(|argument| argument.get_id() == "name")
            );
        }
    }

    #[test]
    fn tags_of_signatures_are_told_from_others() {
        let digest = "a".repeat(64);
        assert!(
            belongs_to_another(&format!("sha256-{digest}.sig"))
                && belongs_to_another(&format!("sha256-{digest}"))
        );
        assert!(!belongs_to_another("sha256-short") && !belongs_to_another("1.0.0"));
    }
}

//! `create image`: what image automation works with.

use clap::{ArgMatches, Args, Command};
use serde_json::{Value, json};

use super::{Call, Spec, Story, demand, given, named, parse};
use crate::command;
use crate::environment::{Failure, Outcome};
use crate::nouns::Noun;

/// Options of `create image repository`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Repository {
    /// Name of the image, without tag
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Secret with credentials
    #[arg(long, value_name = "NAME")]
    secret_ref: Option<String>,
    /// Secret with certificates
    #[arg(long, value_name = "NAME")]
    cert_ref: Option<String>,
    /// How long a scan may take
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    scan_timeout: Option<String>,
}

/// Options of `create image policy`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Policy {
    /// Name of the ImageRepository
    #[arg(long, value_name = "NAME")]
    image_ref: Option<String>,
    /// Newest tag in a range of versions
    #[arg(long, value_name = "RANGE")]
    select_semver: Option<String>,
    /// Last (asc) or first (desc) tag of the alphabet
    #[arg(long, value_name = "ORDER")]
    select_alpha: Option<String>,
    /// Largest (asc) or smallest (desc) number
    #[arg(long, value_name = "ORDER")]
    select_numeric: Option<String>,
    /// Only tags that match this regular expression
    #[arg(long, value_name = "REGEX")]
    filter_regex: Option<String>,
    /// What of a tag is compared, by groups of the regular expression
    #[arg(long, value_name = "PATTERN")]
    filter_extract: Option<String>,
    /// When the digest is looked up: Always, IfNotPresent or Never
    #[arg(long, value_name = "POLICY")]
    reflect_digest: Option<String>,
    /// How often the digest is looked up, for Always
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    interval: Option<String>,
}

/// Options of `create image update`.
#[derive(Clone, Debug, Default, clap::Args)]
struct Update {
    /// Name of the GitRepository
    #[arg(long, value_name = "NAME")]
    git_repo_ref: Option<String>,
    /// Namespace of the GitRepository
    #[arg(long, value_name = "NAMESPACE")]
    git_repo_namespace: Option<String>,
    /// Folder whose files are updated
    #[arg(long, value_name = "PATH")]
    git_repo_path: Option<String>,
    /// Branch that is read
    #[arg(long, value_name = "NAME")]
    checkout_branch: Option<String>,
    /// Branch that is written [default: the one that is read]
    #[arg(long, value_name = "NAME")]
    push_branch: Option<String>,
    /// Template of commit messages
    #[arg(long, value_name = "TEMPLATE")]
    commit_template: Option<String>,
    /// Author of commits
    #[arg(long, value_name = "NAME")]
    author_name: Option<String>,
    /// The author's address
    #[arg(long, value_name = "EMAIL")]
    author_email: Option<String>,
    /// Secret with the key that signs commits
    #[arg(long, value_name = "NAME")]
    signing_key_secret: Option<String>,
    /// Kind of that key: gpg or ssh
    #[arg(long, value_name = "TYPE")]
    signing_key_type: Option<String>,
}

/// The subcommands.
pub(super) fn command() -> Command {
    Command::new("image")
        .about("Create or update what image automation works with")
        .subcommand(named(
            Repository::augment_args(Command::new("repository")),
            "Create or update an ImageRepository",
        ))
        .subcommand(named(
            Policy::augment_args(Command::new("policy")),
            "Create or update an ImagePolicy",
        ))
        .subcommand(named(
            Update::augment_args(Command::new("update")),
            "Create or update an ImageUpdateAutomation",
        ))
}

/// Creates one of them.
pub(super) async fn run(call: &mut Call<'_, '_>, kind: &str, matches: &ArgMatches) -> Outcome {
    match kind {
        "repository" => repository(call, &command::options(matches)).await,
        "policy" => policy(call, &command::options(matches)).await,
        _ => update(call, &command::options(matches)).await,
    }
}

fn completed(noun: &Noun, _: &Value) -> Vec<String> {
    vec![format!("{} reconciliation completed", noun.kind)]
}

fn story(kind: &'static str) -> Story {
    Story {
        generated: kind,
        applied: kind,
        created: kind,
        end: completed,
    }
}

async fn repository(call: &mut Call<'_, '_>, options: &Repository) -> Outcome {
    let image = options.image.as_deref().unwrap_or_default();
    demand(!image.is_empty(), "an image repository (--image) is required")?;
    if let Some(why) = parse::wrong_repository(image) {
        return Err(Failure::new(format!("unable to parse image value: {why}")));
    }
    let mut spec = Spec::default();
    spec.put("image", image)
        .put("interval", call.interval.clone())
        .text("timeout", options.scan_timeout.as_deref())
        .name("secretRef", options.secret_ref.as_deref())
        .name("certSecretRef", options.cert_ref.as_deref());
    call.finish("ImageRepository", spec.value(), story("ImageRepository"))
        .await
}

async fn policy(call: &mut Call<'_, '_>, options: &Policy) -> Outcome {
    demand(
        given(options.image_ref.as_ref()),
        "the name of an ImageRepository in the namespace is required (--image-ref)",
    )?;
    let mut spec = Spec::default();
    spec.name("imageRepositoryRef", options.image_ref.as_deref())
        .put("policy", choice(options)?);
    let regex = options.filter_regex.as_deref().unwrap_or_default();
    let extract = options.filter_extract.as_deref().unwrap_or_default();
    if !regex.is_empty() {
        let groups = groups(regex)?;
        let mut filter = Spec::default();
        filter.put("pattern", regex);
        if !extract.is_empty() {
            known_groups(extract, &groups)?;
            filter.put("extract", extract);
        }
        spec.put("filterTags", filter.value());
    } else {
        demand(
            extract.is_empty(),
            "cannot specify --filter-extract without specifying --filter-regex",
        )?;
    }
    if let Some(reflect) = &options.reflect_digest {
        if !["Always", "IfNotPresent", "Never"].contains(&reflect.as_str()) {
            return Err(Failure::new(format!(
                "invalid digest reflection policy '{reflect}', must be one of: Never, IfNotPresent, Always"
            )));
        }
        spec.put("digestReflectionPolicy", reflect.as_str());
    }
    if let Some(interval) = options.interval.as_deref().filter(|interval| *interval != "0s") {
        demand(
            options.reflect_digest.as_deref() == Some("Always"),
            "the --interval flag can only be used with the 'Always' digest reflection policy, use \
             --reflect-digest=Always",
        )?;
        spec.put("interval", interval);
    }
    call.finish("ImagePolicy", spec.value(), story("ImagePolicy"))
        .await
}

/// How a tag is chosen.
fn choice(options: &Policy) -> Result<Value, Failure> {
    let order = |order: &str, flag: &str| match order {
        "asc" | "desc" => Ok(json!({"order": order})),
        _ => Err(Failure::new(format!("{flag} must be one of [\"asc\", \"desc\"]"))),
    };
    let some = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    match (
        some(&options.select_semver),
        some(&options.select_alpha),
        some(&options.select_numeric),
    ) {
        // flux asks for none of them then, and so does the object.
        (Some(_), Some(_), _) => Ok(json!({})),
        (Some(range), ..) => Ok(json!({"semver": {"range": range}})),
        (_, Some(alpha), _) => Ok(json!({"alphabetical": order(&alpha, "--select-alpha")?})),
        (_, _, Some(numeric)) => Ok(json!({"numerical": order(&numeric, "--select-numeric")?})),
        _ => Err(Failure::new(
            "a policy must be provided with either --select-semver or --select-alpha",
        )),
    }
}

/// Names and numbers of a regular expression's groups.
fn groups(regex: &str) -> Result<Vec<String>, Failure> {
    let regex =
        regex::Regex::new(regex).map_err(|_| Failure::new("--filter-regex is an invalid regex pattern"))?;
    let names = regex.capture_names().enumerate();
    Ok(names
        .flat_map(|(number, name)| std::iter::once(number.to_string()).chain(name.map(str::to_owned)))
        .collect())
}

/// Whether all groups that a pattern names (`$name`, `${name}`) exist.
fn known_groups(pattern: &str, groups: &[String]) -> Result<(), Failure> {
    let mut rest = pattern;
    while let Some((_, after)) = rest.split_once('$') {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let (name, tail) = match after.strip_prefix('{') {
            Some(inner) => inner
                .split_once('}')
                .ok_or_else(|| Failure::new("--filter-extract is malformed"))?,
            None => after.split_at(after.find(|c| !is_word(c)).unwrap_or(after.len())),
        };
        rest = match after.strip_prefix('$') {
            // Two of them stand for one.
            Some(rest) => rest,
            None if name.is_empty() || !name.chars().all(is_word) => {
                return Err(Failure::new("--filter-extract is malformed"));
            }
            None if !groups.iter().any(|group| group == name) => {
                return Err(Failure::new(format!(
                    "capture group ${name} used in --filter-extract not found in --filter-regex"
                )));
            }
            None => tail,
        };
    }
    Ok(())
}

async fn update(call: &mut Call<'_, '_>, options: &Update) -> Outcome {
    demand(
        given(options.git_repo_ref.as_ref()),
        "a reference to a GitRepository is required (--git-repo-ref)",
    )?;
    demand(
        given(options.checkout_branch.as_ref()),
        "the Git repository branch is required (--checkout-branch)",
    )?;
    demand(
        given(options.author_name.as_ref()),
        "the author name is required (--author-name)",
    )?;
    demand(
        given(options.author_email.as_ref()),
        "the author email is required (--author-email)",
    )?;
    if let Some(kind) = options
        .signing_key_type
        .as_deref()
        .filter(|kind| !kind.is_empty())
    {
        demand(
            given(options.signing_key_secret.as_ref()),
            "--signing-key-type requires --signing-key-secret",
        )?;
        demand(
            ["gpg", "ssh"].contains(&kind),
            "--signing-key-type must be one of: gpg, ssh",
        )?;
    }
    let mut commit = Spec::default();
    commit
        .put(
            "author",
            json!({"name": options.author_name, "email": options.author_email}),
        )
        .text("messageTemplate", options.commit_template.as_deref());
    if given(options.signing_key_secret.as_ref()) {
        let mut key = Spec::default();
        key.name("secretRef", options.signing_key_secret.as_deref())
            .text("type", options.signing_key_type.as_deref());
        commit.put("signingKey", key.value());
    }
    let mut git = Spec::default();
    git.put("checkout", json!({"ref": {"branch": options.checkout_branch}}))
        .put("commit", commit.value());
    if given(options.push_branch.as_ref()) {
        git.put("push", json!({"branch": options.push_branch}));
    }
    let mut source = Spec::default();
    source
        .put("kind", "GitRepository")
        .text("name", options.git_repo_ref.as_deref())
        .text("namespace", options.git_repo_namespace.as_deref());
    let mut spec = Spec::default();
    spec.put("interval", call.interval.clone())
        .put("sourceRef", source.value())
        .put("git", git.value());
    if given(options.git_repo_path.as_ref()) {
        spec.put(
            "update",
            json!({"path": options.git_repo_path, "strategy": "Setters"}),
        );
    }
    call.finish(
        "ImageUpdateAutomation",
        spec.value(),
        story("ImageUpdateAutomation"),
    )
    .await
}

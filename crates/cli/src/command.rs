//! The command line: verbs by kinds, made from the table of kinds, in flux's words.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use clap_complete::Shell;

use crate::commands::{
    artifact, build, check, create, debug, delete, diff, envsubst, events, export, get, install, logs,
    migrate, reconcile, release, serve, stats, suspend, trace, tree, uninstall, up, why,
};
use crate::global;
use crate::nouns::{NOUNS, Noun, Verb};

/// What follows the list of options of the whole.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed, or the command line cannot be understood; the reason is on standard error

`get` and `reconcile` fail for an absent object; `suspend` and `resume` say so and go on.
`up --once` exits 1 when something failed and nothing has moved for five seconds, or when `--timeout` is over before all is
ready; the first causes are on standard error. `diff` exits 1 for a difference, and 2 if that cannot be said.";

/// A command whose options and subcommands are made only when it is the one called: all of them are
/// half a megabyte.
macro_rules! lazy {
    ($name:expr, $about:expr, $rest:expr) => {
        Command::new($name).about($about).defer(|command| {
            let about = command.get_about().cloned();
            ($rest)(command).about(about.unwrap_or_default())
        })
    };
}

mod files;

pub(crate) use files::of_files;

/// The command line that some words need: each command of it gets its own copy of the options that all have, half a
/// megabyte if it is more than the one that is called.
pub(crate) fn called(version: &'static str, words: &[String]) -> Command {
    let whole = root(version);
    let called = words.get(1).filter(|word| *word != COMPLETION);
    match called.and_then(|word| whole.find_subcommand(word)) {
        Some(command) => program(version, global::arguments()).subcommand(command.clone()),
        None => whole,
    }
}

/// It shows all commands.
const COMPLETION: &str = "completion";

/// The program without its commands.
fn program(version: &'static str, options: Vec<Arg>) -> Command {
    Command::new("fluvial")
        .version(version)
        .about("GitOps in one binary")
        .after_long_help(EXIT_CODES)
        .disable_help_subcommand(true)
        // As with flux, the last one counts.
        .args_override_self(true)
        .args(options)
}

/// The whole command line.
pub(crate) fn root(version: &'static str) -> Command {
    let root = program(version, global::arguments()).subcommand(
        lazy!(
            "up",
            "Run a cluster in this process that follows a repository",
            up::Options::augment_args
        )
        .after_help(
            "Examples:\n  fluvial up ./fleet --path clusters/demo\n  fluvial up --once --dirty\n  \
                     fluvial up https://example.com/fleet.git --branch main",
        ),
    );
    let root = on_clusters(root)
        .subcommand(
            lazy!(
                "why",
                "Say why objects are not ready: all first causes, with file and line",
                why::Options::augment_args
            )
            .after_help(
                "Examples:\n  fluvial why\n  fluvial why ks/apps\n  fluvial why deployment web -n shop",
            ),
        )
        .subcommand(lazy!("build", "Show what would be applied", build_command))
        .subcommand(lazy!("diff", "Show what an apply would change", diff_command))
        .subcommand(lazy!("push", "Store files in a registry", |verb| artifact::below::<artifact::Push>(
            verb,
            "Store a folder, a file or standard input as an artifact",
            "fluvial push artifact oci://ghcr.io/org/manifests/app:$(git rev-parse --short HEAD) --path=./manifests \\\n    \
             --source=\"$(git config --get remote.origin.url)\" \\\n    \
             --revision=\"$(git branch --show-current)@sha1:$(git rev-parse HEAD)\""
        )))
        .subcommand(lazy!("pull", "Fetch files from a registry", |verb| artifact::below::<artifact::Pull>(
            verb,
            "Write the files of an artifact into a folder",
            "fluvial pull artifact oci://ghcr.io/org/manifests/app:v0.0.1 --output=./manifests"
        )))
        .subcommand(lazy!("list", "Show what is in a registry", artifact::list_command))
        .subcommand(lazy!("tag", "Name what is in a registry", |verb| artifact::below::<artifact::Tag>(
            verb,
            "Give an artifact more tags",
            "fluvial tag artifact oci://ghcr.io/org/manifests/app:v0.0.1 --tag=latest"
        )))
        .subcommand(files::kustomize())
        .subcommand(files::helm())
        .subcommand(
            lazy!(
                "envsubst",
                "Substitute variables of the environment in standard input",
                envsubst::Options::augment_args
            )
            .after_help("Examples:\n  fluvial envsubst --strict < manifest.yaml"),
        );
    with_objects(root)
}

/// The commands that make a cluster ready, work on it, and leave it.
fn on_clusters(root: Command) -> Command {
    root.subcommand(
        lazy!(
            "install",
            "Make a cluster ready for serve: the definitions of all kinds, and a namespace",
            install::Options::augment_args
        )
        .after_help("Examples:\n  fluvial install\n  fluvial install --export > fluvial.yaml"),
    )
    .subcommand(
        lazy!(
            "check",
            "Say whether a cluster can be worked on, and whether somebody does",
            check::Options::augment_args
        )
        .after_help("Examples:\n  fluvial check --pre\n  fluvial check"),
    )
    .subcommand(
        lazy!(
            "uninstall",
            "Take the controllers and the definitions of all kinds off a cluster; what they delivered stays",
            uninstall::Options::augment_args
        )
        .after_help(
            "Examples:\n  fluvial uninstall --dry-run\n  fluvial uninstall --keep-namespace --silent",
        ),
    )
    .subcommand(
        lazy!(
            "serve",
            "Run the controllers against a cluster",
            serve::Serve::augment_args
        )
        .after_help("Examples:\n  fluvial serve --kubeconfig ./kubeconfig --data /var/lib/fluvial"),
    )
    .subcommand(
        lazy!(
            "apiserver",
            "Run the API server alone",
            serve::ApiServer::augment_args
        )
        .after_help("Examples:\n  fluvial apiserver --listen 127.0.0.1:6443 --data ./cluster"),
    )
}

/// The commands on objects of a cluster, and those on the program itself.
fn with_objects(root: Command) -> Command {
    root
        .subcommand(
            lazy!("get", "Show objects and how they are", get_command).after_help(
                "Examples:\n  fluvial get all -A\n  fluvial get ks --status-selector ready=false\n  fluvial get hr -o json",
            ),
        )
        .subcommand(
            lazy!("reconcile", "Reconcile an object now, and wait for it", |verb| by_kind(reconcile::Options::augment_args(verb), Some(Verb::Reconcile)))
                .after_help("Examples:\n  fluvial reconcile ks apps --with-source\n  fluvial reconcile source git flux-system")
        )
        .subcommand(
            lazy!("suspend", "Let objects rest", |verb| by_kind(suspend::Options::augment_args(verb), Some(Verb::Suspend)))
                .after_help("Examples:\n  fluvial suspend ks apps infra\n  fluvial suspend hr --all")
        )
        .subcommand(
            lazy!("resume", "Wake objects, and wait for them", |verb| by_kind(suspend::Options::augment_args(verb), Some(Verb::Suspend)))
                .after_help("Examples:\n  fluvial resume ks apps\n  fluvial resume source git --all")
        )
        .subcommand(
            lazy!("export", "Print objects as manifests", |verb| by_kind(export::Options::augment_args(verb), None))
                .after_help("Examples:\n  fluvial export ks --all > kustomizations.yaml\n  fluvial export source git flux-system --with-credentials")
        )
        .subcommand(
            lazy!("create", "Create or update objects", create::command)
                .after_help(
                    "Examples:\n  fluvial create source git fleet --url=https://example.com/fleet --branch=main\n  \
                     fluvial create ks apps --source=fleet --path=./apps --prune --export > apps.yaml\n  \
                     fluvial create hr web --source=HelmRepository/web --chart=web --values=web.yaml",
                ),
        )
        .subcommand(
            lazy!("delete", "Delete an object", |verb| by_kind(delete::Options::augment_args(verb), Some(Verb::Suspend)))
                .after_help("Examples:\n  fluvial delete ks apps\n  fluvial delete source git fleet --silent")
        )
        .subcommand(
            lazy!("debug", "Show what an object is made with, and what became of it", debug_command).after_help(
                "Examples:\n  fluvial debug hr web --show-values\n  fluvial debug ks apps --show-vars\n  \
                 fluvial debug ks apps --show-history",
            ),
        )
        .subcommand(
            lazy!("trace", "Say who delivers an object, and from which source", trace::Options::augment_args)
                .after_help("Examples:\n  fluvial trace deployment web -n shop\n  fluvial trace cm/web svc/web -n shop"),
        )
        .subcommand(
            lazy!("migrate", "Bring manifests, or what a cluster has stored, to the newest versions", migrate::Options::augment_args)
                .after_help("Examples:\n  fluvial migrate --path=. --dry-run\n  fluvial migrate"),
        )
        .subcommand(
            lazy!("tree", "Draw what an object made, and what that made", tree_command)
                .after_help("Examples:\n  fluvial tree ks flux-system --compact\n  fluvial tree ks apps -o json"),
        )
        .subcommand(
            lazy!("stats", "Count what runs, fails and rests", stats::Options::augment_args)
                .after_help("Examples:\n  fluvial stats -A"),
        )
        .subcommand(
            lazy!("events", "Show what happened to objects", events::Options::augment_args)
                .after_help("Examples:\n  fluvial events -A\n  fluvial events --for kustomization/apps --types Warning"),
        )
        .subcommand(
            lazy!("logs", "Show what controllers tell that run in Pods", logs::Options::augment_args)
                .after_help("Examples:\n  fluvial logs --kind Kustomization --name apps\n  fluvial logs -A --level error --since 1h\n  fluvial logs --follow"),
        )
        .subcommand(
            Command::new("completion")
                .about("Print a completion script")
                .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell)))
                .after_help("Examples:\n  fluvial completion bash > /etc/bash_completion.d/fluvial"),
        )
        .subcommand(
            Command::new("version")
                .about("Print the version of this binary")
                .arg(
                    Arg::new("output")
                        .short('o')
                        .long("output")
                        .value_name("FORMAT")
                        .value_parser(clap::builder::EnumValueParser::<crate::output::Format>::new())
                        .help("Print a value instead of a line"),
                )
                .arg(Arg::new("client").long("client").action(clap::ArgAction::SetTrue).help(
                    "Only of this binary, which is always so",
                )),
        )
}

fn build_command(command: Command) -> Command {
    command
        .subcommand(
            build::Options::augment_args(Command::new("kustomization"))
                .visible_alias("ks")
                .about("Build one Kustomization from a folder")
                .after_help(
                    "Examples:\n  fluvial build kustomization apps --path ./apps\n  \
                     fluvial build ks apps --path ./apps --kustomization-file apps.yaml --dry-run",
                ),
        )
        .subcommand(
            lazy!(
                "helmrelease",
                "Render one HelmRelease with all values that it takes",
                release::Options::augment_args
            )
            .visible_alias("hr")
            .after_help(
                "Examples:\n  fluvial build helmrelease web\n  \
                     fluvial build hr web --chart ./charts/web --helmrelease-file web.yaml --dry-run",
            ),
        )
        .subcommand(
            lazy!(
                "dir",
                "Build all Kustomizations of a cluster's folder, without a cluster",
                build::Whole::augment_args
            )
            .after_help("Examples:\n  fluvial build dir ./fleet --path clusters/demo --only apps"),
        )
        .subcommand(
            artifact::Build::augment_args(Command::new("artifact"))
                .about("Write the tarball that push would store")
                .after_help("Examples:\n  fluvial build artifact --path=./manifests --output=./artifact.tgz"),
        )
}

fn get_command(command: Command) -> Command {
    let all = |about: &'static str| Command::new("all").about(about);
    let name = || Arg::new("name").num_args(0..).value_name("NAME");
    let mut get = get::Options::augment_args(command).subcommand(all("Every kind"));
    for (group, plural) in [
        ("source", "sources"),
        ("image", "images"),
        ("artifact", "artifacts"),
    ] {
        let mut command = Command::new(plural)
            .visible_alias(group)
            .about(format!("Kinds of {plural}"));
        if group != "artifact" {
            command = command.subcommand(all("Every kind of the group"));
        }
        for noun in NOUNS.iter().filter(|noun| noun.group == group) {
            command = command.subcommand(get_noun(noun).arg(name()));
        }
        get = get.subcommand(command);
    }
    for noun in NOUNS.iter().filter(|noun| noun.group.is_empty()) {
        get = get.subcommand(get_noun(noun).arg(name()));
    }
    get
}

fn get_noun(noun: &Noun) -> Command {
    let mut command = Command::new(noun.plural)
        .visible_aliases(noun.aliases.iter().copied())
        .about(format!("{} objects", noun.kind));
    if noun.name != noun.plural {
        command = command.visible_alias(noun.name);
    }
    command
}

/// A verb with a subcommand for each kind that takes it.
fn by_kind(mut verb: Command, wanted: Option<Verb>) -> Command {
    let takes = |noun: &&Noun| wanted.is_none_or(|verb| noun.verbs.contains(&verb));
    let leaf = |noun: &Noun| {
        Command::new(noun.name)
            .visible_aliases(noun.aliases.iter().copied())
            .about(format!("{} objects", noun.kind))
            .arg(Arg::new("name").num_args(0..).value_name("NAME"))
    };
    for group in ["source", "image", "artifact"] {
        let mut command = Command::new(group).about(format!("Kinds of {group}s"));
        for noun in NOUNS.iter().filter(takes).filter(|noun| noun.group == group) {
            command = command.subcommand(leaf(noun));
        }
        if command.has_subcommands() {
            verb = verb.subcommand(command);
        }
    }
    for noun in NOUNS.iter().filter(takes).filter(|noun| noun.group.is_empty()) {
        verb = verb.subcommand(leaf(noun));
    }
    verb
}

fn diff_command(diff: Command) -> Command {
    diff.subcommand(
        diff::Trial::augment_args(Command::new("kustomization"))
            .visible_alias("ks")
            .about("What the apply of a Kustomization from a folder would change; exit code 1 for a change, 2 for an error")
            .after_help("Examples:\n  fluvial diff kustomization apps --path ./apps"),
    )
    .subcommand(
        release::Options::augment_args(Command::new("helmrelease"))
            .visible_alias("hr")
            .about("What the upgrade of a HelmRelease would change; exit code 1 for a change, 2 for an error")
            .after_help("Examples:\n  fluvial diff helmrelease web --chart ./charts/web"),
    )
    .subcommand(
        artifact::Diff::augment_args(Command::new("artifact"))
            .about("Which files differ from those of an artifact; exit code 1 for a difference")
            .after_help("Examples:\n  fluvial diff artifact oci://ghcr.io/org/manifests/app:v0.0.1 --path=./manifests"),
    )
}

fn debug_command(debug: Command) -> Command {
    debug
        .subcommand(
            debug::Kustomization::augment_args(Command::new("kustomization"))
                .visible_alias("ks")
                .about("Status, history or variables of a Kustomization"),
        )
        .subcommand(
            debug::Release::augment_args(Command::new("helmrelease"))
                .visible_alias("hr")
                .about("Status, history or values of a HelmRelease"),
        )
}

fn tree_command(mut command: Command) -> Command {
    let leaf = |noun: &Noun| {
        tree::Options::augment_args(Command::new(noun.name))
            .visible_aliases(noun.aliases.iter().copied())
            .about(format!("What a {} made", noun.kind))
            .arg(Arg::new("name").num_args(1).value_name("NAME"))
    };
    for noun in NOUNS {
        command = match noun.kind {
            "Kustomization" | "HelmRelease" => command.subcommand(leaf(noun)),
            "ArtifactGenerator" => command.subcommand(
                Command::new("artifact")
                    .about("Kinds of artifacts")
                    .subcommand(leaf(noun)),
            ),
            _ => command,
        };
    }
    command
}

/// Options of one call.
pub(crate) fn options<T: FromArgMatches + Default>(matches: &ArgMatches) -> T {
    T::from_arg_matches(matches).unwrap_or_default()
}

/// The innermost subcommand: its words, and its matches.
pub(crate) fn innermost(matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let (mut words, mut matches) = (vec![], matches);
    while let Some((word, inner)) = matches.subcommand() {
        words.push(word);
        matches = inner;
    }
    (words, matches)
}

/// The innermost command that arguments reach, and whether one more word follows that it does not know.
pub(crate) fn reached<'a>(root: &'a mut Command, arguments: &[String]) -> (&'a mut Command, bool) {
    let mut command = root;
    let mut words = arguments.iter().filter(|word| !word.starts_with('-'));
    loop {
        let Some(word) = words.next() else {
            return (command, false);
        };
        if command.find_subcommand(word).is_none() {
            return (command, true);
        }
        command = command.find_subcommand_mut(word).expect("it was found just now");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        root("0").debug_assert();
    }

    #[test]
    fn a_command_that_is_called_brings_no_others_along() {
        let commands = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            called("0", &words).get_subcommands().count()
        };
        assert_eq!(commands(&["fluvial", "get", "kustomizations"]), 1);
        let all = root("0").get_subcommands().count();
        for words in [
            &["fluvial"][..],
            &["fluvial", "--help"],
            &["fluvial", "gte"],
            &["fluvial", "-n", "default", "get"],
            &["fluvial", "completion", "bash"],
        ] {
            assert_eq!(commands(words), all, "{words:?}");
        }
    }
}

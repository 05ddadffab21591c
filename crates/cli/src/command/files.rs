//! The commands that may need nothing but files, and the line that is just large enough for one of them: to build the whole
//! one would take longer than what most of them do.

use clap::{Args, Command};

use super::program;
use crate::commands::{helm, kustomize};
use crate::global;

/// The command line of one of the commands that may need nothing but files, with what the words say of the options that all
/// commands take. It is good for words that it understands; what is wrong with others, the whole one says.
pub(crate) fn of_files(version: &'static str, words: &[String]) -> Option<Command> {
    let command = match words.get(1)?.as_str() {
        "kustomize" => self::kustomize(),
        "helm" => self::helm(),
        "--version" | "-V" => return Some(program(version, vec![])),
        _ => return None,
    };
    Some(program(version, global::mentioned(words)).subcommand(command))
}

/// What kustomize does.
pub(super) fn kustomize() -> Command {
    lazy!("kustomize", "What kustomize does", kustomize_command)
}

/// What Helm does.
pub(super) fn helm() -> Command {
    lazy!("helm", "What Helm does", helm_command)
}

fn kustomize_command(command: Command) -> Command {
    command.subcommand(
        lazy!(
            "build",
            "Build a kustomization, with kustomize's flags and output",
            kustomize::Options::augment_args
        )
        .after_help(
            "Examples:\n  fluvial kustomize build overlays/prod\n  \
                         fluvial kustomize build overlays/prod --explain Deployment/web:spec.replicas",
        ),
    )
}

fn helm_command(command: Command) -> Command {
    command
        .subcommand(
            lazy!(
                "template",
                "Render a chart of this machine, a repository or a registry, with Helm's flags and output",
                helm::Options::augment_args
            )
            .after_help(
                "Examples:\n  fluvial helm template shop ./charts/shop -f prod.yaml --set replicas=3\n  \
                         fluvial helm template shop shop-1.2.0.tgz -n apps --show-only templates/web.yaml\n  \
                         fluvial helm template shop shop --repo https://charts.example.com --version 1.x\n  \
                         fluvial helm template shop ./charts/shop -f prod.yaml --explain Deployment/shop:spec.replicas\n\n\
                         Helm's files of repositories and logins are not read (--repository-config, --registry-config change nothing):\n\
                         the repository is --repo URL, logins are --username and --password.",
            ),
        )
        .subcommand(
            lazy!(
                "lint",
                "Look for what is odd or wrong in charts, and for objects that the Kubernetes API would refuse",
                helm::lint::Options::augment_args
            )
            .after_help("Examples:\n  fluvial helm lint ./charts/shop -f prod.yaml --strict"),
        )
        .subcommand(lazy!("show", "Print what is in a chart", show_command).visible_alias("inspect"))
}

/// The parts of `helm show`.
fn show_command(command: Command) -> Command {
    let part = |name: &'static str, about: &'static str| {
        helm::show::Options::augment_args(Command::new(name)).about(about)
    };
    command
        .subcommand(part("all", "Everything below"))
        .subcommand(part("chart", "Chart.yaml, as it is understood"))
        .subcommand(helm::show::ValuesOptions::augment_args(part(
            "values",
            "values.yaml, as it stands",
        )))
        .subcommand(part("readme", "The file for readers"))
        .subcommand(part(
            "crds",
            "The custom resource definitions, those of dependencies too",
        ))
        .after_help(
            "Examples:\n  fluvial helm show values shop-1.2.0.tgz > my-values.yaml\n  \
                     fluvial helm show chart shop --repo https://charts.example.com --version 1.x",
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::innermost;

    #[test]
    fn a_command_of_files_has_the_options_that_are_mentioned() {
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        let options = |line: &str| -> Vec<String> {
            let command = of_files("0", &words(line)).unwrap();
            let names = command.get_arguments().map(|argument| argument.get_id().as_str());
            names.map(str::to_owned).collect()
        };
        assert!(options("fluvial kustomize build --enable-helm x").is_empty());
        assert_eq!(
            options("fluvial helm template -nx a b --as=y"),
            ["namespace", "as"]
        );
        assert!(of_files("0", &words("fluvial get all")).is_none());
        let mut command = of_files("0", &words("fluvial helm template a b --context c -n d")).unwrap();
        let matches = command.try_get_matches_from_mut(words("fluvial helm template a b --context c -n d"));
        let matches = matches.unwrap();
        let (reached, inner) = innermost(&matches);
        assert_eq!(reached, ["helm", "template"]);
        let value = |name: &str| inner.get_one::<String>(name).map(String::as_str);
        assert_eq!((value("context"), value("namespace")), (Some("c"), Some("d")));
    }
}

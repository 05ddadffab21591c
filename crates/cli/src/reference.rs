//! The reference of all commands as Markdown, made from the command line itself.

use clap::Command;

use crate::command;

/// The text of `docs/cli.md`.
#[must_use]
pub fn reference() -> String {
    let mut root = command::root("0");
    root.build();
    let mut text = String::from(
        "# Commands\n\nMade from the command line itself; a test holds it against the program.\n\n\
         All commands take `-n`, `--kubeconfig`, `--context`, `--as` and `--timeout`, and flux's other flags for the way to\n\
         the cluster (`fluvial --help` lists them): `--server`, `--token`, `--as-group`, `--ns-follows-kube-context`, and so on.\n",
    );
    text.push_str(&format!("\n{}\n", command::EXIT_CODES));
    for child in root.get_subcommands() {
        section(child, "fluvial", &mut text);
    }
    text
}

/// One command and those below it.
fn section(command: &Command, before: &str, text: &mut String) {
    let name = format!("{before} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    text.push_str(&format!("\n## `{name}`\n\n{about}.\n"));
    let rows: Vec<String> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && !argument.is_global_set())
        .filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
        .map(row)
        .collect();
    if !rows.is_empty() {
        text.push_str("\n| argument | what |\n|---|---|\n");
        rows.iter().for_each(|row| text.push_str(row));
    }
    if let Some(help) = command.get_after_help() {
        text.push_str(&format!("\n```text\n{help}\n```\n"));
    }
    for child in command.get_subcommands() {
        let leaf = !child.has_subcommands() && child.get_after_help().is_none();
        if leaf && command.get_subcommands().count() > 4 {
            continue;
        }
        section(child, &name, text);
    }
    let kinds: Vec<String> = command
        .get_subcommands()
        .filter(|child| !child.has_subcommands() && child.get_after_help().is_none())
        .map(|child| format!("`{}`", child.get_name()))
        .collect();
    if kinds.len() > 4 {
        text.push_str(&format!("\nKinds: {}.\n", kinds.join(", ")));
    }
}

fn row(argument: &clap::Arg) -> String {
    let mut name = match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, None) => String::new(),
    };
    let value = argument
        .get_value_names()
        .and_then(|names| names.first())
        .map(ToString::to_string);
    if let Some(value) = value.filter(|_| argument.get_action().takes_values()) {
        name = format!("{name} {value}").trim_start().to_owned();
    }
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    format!("| `{name}` | {} |\n", help.replace('|', "\\|").replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_reference_is_that_of_the_program() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        if std::env::var_os("FLUVIAL_UPDATE").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == reference(),
            "docs/cli.md is out of date: FLUVIAL_UPDATE=1 cargo test -p fluvial-cli reference"
        );
    }
}

//! The commands as functions; the only crate that prints.

mod age;
mod bootstrap;
mod charts;
mod command;
mod commands;
mod difference;
mod disk;
mod environment;
mod global;
mod nouns;
mod output;
mod reference;
mod registry;
mod render;
mod screen;
mod state;
mod table;
mod view;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap_complete::Shell;

use commands::{
    artifact, build, check, create, debug, delete, diff, envsubst, events, export, get, helm, install,
    kustomize, logs, migrate, reconcile, release, serve, stats, suspend, trace, tree, uninstall, up, why,
};
pub use environment::{
    ControllerOptions, Controllers, Environment, LocalRepository, LogOptions, Outside, Rewrite, Server,
    ServerOptions, SourceOptions, SshKey, SshLogin, Stop,
};
use environment::{Failure, Outcome, Session};
pub use fluvial_ports::Connection;
use nouns::{NOUNS, Noun};
pub use reference::reference;
pub use registry::{Address, Facts, Pulled, Registry};

/// Runs one command line (without the program's name); gives the exit code.
pub async fn run(arguments: &[String], env: &mut Environment) -> u8 {
    let outcome = parse_and_run(arguments, env).await;
    code(outcome, env)
}

/// The exit code of an outcome; of a failure it tells.
fn code(outcome: Outcome, env: &mut Environment) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            if !failure.message.is_empty() {
                // There is nowhere left to say that this failed.
                let _ = writeln!(env.err, "✗ {}", failure.message);
            }
            failure.code
        }
    }
}

/// Runs one command line if it needs nothing but files and the clock: without a runtime, connections and other threads, whose
/// start would take longer than many a build. Nothing if it needs more, or is not understood; nothing was done then, and
/// [`run`] does or says it.
pub fn run_here(arguments: &[String], env: &mut Environment) -> Option<u8> {
    let words: Vec<String> = std::iter::once("fluvial".to_owned())
        .chain(arguments.iter().cloned())
        .collect();
    let mut line = command::of_files(env.version, &words)?;
    let matches = match line.try_get_matches_from_mut(&words) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayVersion => {
            let outcome = explain(&error, arguments, &mut line, env);
            return Some(code(outcome, env));
        }
        Err(_) => return None,
    };
    if global::follows_context(&matches, env) {
        return None;
    }
    let global = global::read_here(&matches, env).ok()?;
    let (words, inner) = command::innermost(&matches);
    let session = &mut Session { env, global };
    let outcome = match words[..] {
        ["kustomize", "build"] => kustomize::build_here(session, &command::options(inner))?,
        ["helm", "template"] => {
            let namespace = inner.try_get_one::<String>("namespace").ok().flatten().cloned();
            helm::template_here(session, &command::options(inner), namespace)?
        }
        _ => return None,
    };
    Some(code(outcome, env))
}

async fn parse_and_run(arguments: &[String], env: &mut Environment) -> Outcome {
    let mut words = vec!["fluvial".to_owned()];
    match arguments.split_first() {
        // `help COMMAND` is `COMMAND --help`.
        Some((first, rest)) if first == "help" => {
            words.extend_from_slice(rest);
            words.push("--help".to_owned());
        }
        _ => words.extend_from_slice(arguments),
    }
    let mut root = command::called(env.version, &words);
    let matches = loop {
        let error = match root.try_get_matches_from_mut(&words) {
            Ok(matches) => break matches,
            Err(error) => error,
        };
        if !plain_switch(&error, &mut words)? {
            return explain(&error, arguments, &mut root, env);
        }
    };
    let global = global::read(&matches, env).await?;
    dispatch(&matches, &mut root, Session { env, global }).await
}

/// Switches may be written as `--switch=true` and `--switch=false`, as with flux; whether this was one, and is none now.
fn plain_switch(error: &clap::Error, words: &mut Vec<String>) -> Result<bool, Failure> {
    let (ErrorKind::TooManyValues, Some(name), Some(value)) = (
        error.kind(),
        detail(error, ContextKind::InvalidArg),
        detail(error, ContextKind::InvalidValue),
    ) else {
        return Ok(false);
    };
    let written = format!("{name}={value}");
    let Some(at) = words.iter().position(|word| *word == written) else {
        return Ok(false);
    };
    match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => words[at] = name,
        "0" | "f" | "F" | "false" | "FALSE" | "False" => {
            words.remove(at);
        }
        _ => {
            return Err(Failure::new(format!(
                "invalid argument {value:?} for {name:?} flag: strconv.ParseBool: parsing {value:?}: invalid syntax"
            )));
        }
    }
    Ok(true)
}

/// A text that goes with an error of the command line.
fn detail(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// What is wrong with a command line, in flux's words where it has some.
fn wrong(error: &clap::Error) -> String {
    let name = detail(error, ContextKind::InvalidArg);
    // `--interval <DURATION>` and `-i, --interval <DURATION>` are one flag.
    let flag = name
        .as_deref()
        .and_then(|name| name.split(' ').find(|word| word.starts_with("--")));
    let flag = flag.map(|flag| flag.trim_end_matches(','));
    let value = detail(error, ContextKind::InvalidValue).unwrap_or_default();
    let source = std::error::Error::source(error).map(ToString::to_string);
    match (error.kind(), flag, source) {
        (ErrorKind::ValueValidation, Some(flag), Some(why)) => {
            return format!("invalid argument {value:?} for {flag:?} flag: {why}");
        }
        (ErrorKind::UnknownArgument, Some(flag), _) => {
            let near = match error.get(ContextKind::SuggestedArg) {
                Some(ContextValue::String(near)) => format!("; did you mean {near}?"),
                _ => String::new(),
            };
            let flag = flag.split('=').next().unwrap_or(flag);
            return format!("unknown flag: {flag}{near}");
        }
        (ErrorKind::UnknownArgument, None, _) => {
            let short = name.as_deref().and_then(|name| name.strip_prefix('-'));
            if let Some(letter) = short.and_then(|short| short.chars().next()) {
                return format!(
                    "unknown shorthand flag: {letter:?} in -{}",
                    short.unwrap_or_default()
                );
            }
        }
        _ => {}
    }
    let text = error.to_string();
    text.trim_start_matches("error: ").trim_end().to_owned()
}

/// Commands of flux that this program has not, with what there is in their place.
const ELSEWHERE: [(&str, &str); 3] = [
    (
        "bootstrap",
        "`fluvial install` makes a cluster ready, `fluvial create source git` and `fluvial create kustomization` (with \
         --export for the repository) let it follow one; `fluvial up` runs what flux has bootstrapped",
    ),
    ("plugin", "there are no plugins"),
    (
        "trigger",
        "webhooks are received by Flux's notification-controller; `fluvial reconcile` asks for a run",
    ),
];

/// Help and versions are no failures; a group asked for something that it does not have prints its help, as flux does.
fn explain(
    error: &clap::Error,
    arguments: &[String],
    root: &mut clap::Command,
    env: &mut Environment,
) -> Outcome {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            env.out.write_all(error.to_string().as_bytes())?;
            return Ok(());
        }
        ErrorKind::InvalidSubcommand => {
            let name = root.get_name().to_owned();
            let (command, _) = command::reached(root, arguments);
            if command.get_name() != name {
                env.out
                    .write_all(command.render_long_help().to_string().as_bytes())?;
                return Ok(());
            }
            let asked = detail(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            if let Some((_, instead)) = ELSEWHERE.iter().find(|(name, _)| *name == asked) {
                return Err(Failure::new(format!("fluvial has no '{asked}': {instead}")));
            }
        }
        _ => {}
    }
    Err(Failure::new(wrong(error)))
}

async fn dispatch(matches: &ArgMatches, root: &mut clap::Command, mut session: Session<'_>) -> Outcome {
    let session = &mut session;
    let (words, inner) = command::innermost(matches);
    let names: Vec<String> = inner
        .try_get_many::<String>("name")
        .ok()
        .flatten()
        .map(|names| names.cloned().collect())
        .unwrap_or_default();
    let name = names.first().map(String::as_str);
    match words[..] {
        ["get", "all"] => get::run(session, &get::members(None), true, None, &command::options(inner)).await,
        ["get", group, "all"] => {
            let group = group.trim_end_matches('s');
            get::run(
                session,
                &get::members(Some(group)),
                true,
                None,
                &command::options(inner),
            )
            .await
        }
        ["build", "kustomization"] => build::kustomization(session, &command::options(inner)).await,
        ["build", "dir"] => build::whole(session, &command::options(inner)).await,
        ["kustomize", "build"] => kustomize::build(session, &command::options(inner)).await,
        ["helm", "template"] => {
            // Helm's own default is not that of the commands of Flux.
            let namespace = inner.get_one::<String>("namespace").cloned();
            helm::template(session, &command::options(inner), namespace).await
        }
        ["helm", "lint"] => {
            let namespace = inner.get_one::<String>("namespace").cloned();
            helm::lint::lint(session, &command::options(inner), namespace).await
        }
        ["helm", "show", what] => {
            let template = (what == "values").then(|| command::options(inner));
            helm::show::show(session, &command::options(inner), what, template.as_ref()).await
        }
        ["envsubst"] => envsubst::run(session, command::options(inner)),
        ["create", ref rest @ ..] if is_leaf(root, &words) => create::run(session, rest, inner).await,
        ["debug", "kustomization"] => debug::kustomization(session, &command::options(inner)).await,
        ["debug", "helmrelease"] => debug::release(session, &command::options(inner)).await,
        ["build", "helmrelease"] => release::build(session, &command::options(inner)).await,
        ["diff", "helmrelease"] => release::compare(session, &command::options(inner)).await,
        ["diff", "kustomization"] => diff::kustomization(session, &command::options(inner)).await,
        ["build", "artifact"] => artifact::build(session, &command::options(inner)),
        ["push", "artifact"] => artifact::push(session, &command::options(inner)).await,
        ["pull", "artifact"] => artifact::pull(session, &command::options(inner)).await,
        ["list", "artifacts"] => artifact::list(session, &command::options(inner)).await,
        ["tag", "artifact"] => artifact::tag(session, &command::options(inner)).await,
        ["diff", "artifact"] => artifact::diff(session, &command::options(inner)).await,
        ["trace"] => trace::run(session, &command::options(inner)).await,
        ["migrate"] => migrate::run(session, &command::options(inner)).await,
        ["why"] => why::run(session, &command::options(inner)).await,
        ["up"] => up::run(session, &command::options(inner)).await,
        ["check"] => check::run(session, &command::options(inner)).await,
        ["logs"] => logs::run(session, &command::options(inner)).await,
        ["uninstall"] => uninstall::run(session, &command::options(inner)).await,
        ["install"] => install::run(session, &command::options(inner)).await,
        ["serve"] => serve::serve(session, &command::options(inner)).await,
        ["apiserver"] => serve::api_server(session, &command::options(inner)).await,
        ["stats"] => stats::run(session, &command::options(inner)).await,
        ["events"] => events::run(session, &command::options(inner)).await,
        ["version"] => match inner.get_one::<output::Format>("output") {
            Some(format) => {
                let value = serde_json::json!({"fluvial": format!("v{}", session.env.version)});
                output::write_value(session, &value, *format)
            }
            None => session.print(&format!("fluvial: v{}\n", session.env.version)),
        },
        ["completion"] => {
            let shell = *inner.get_one::<Shell>("shell").expect("clap demands a shell");
            let mut script = vec![];
            clap_complete::generate(shell, root, "fluvial", &mut script);
            Ok(session.env.out.write_all(&script)?)
        }
        [verb, ref rest @ ..] => match find(rest) {
            Some(noun) => match verb {
                "get" => get::run(session, &[noun], false, name, &command::options(inner)).await,
                "delete" => delete::run(session, noun, name, &command::options(inner)).await,
                "suspend" => suspend::suspend(session, noun, &names, &command::options(inner)).await,
                "resume" => suspend::resume(session, noun, &names, &command::options(inner)).await,
                "export" => export::run(session, noun, name, &command::options(inner)).await,
                "reconcile" => reconcile::run(session, noun, name, &command::options(inner)).await,
                _ => {
                    let name =
                        name.ok_or_else(|| Failure::new(format!("{} name is required", noun.human)))?;
                    tree::run(session, noun, name, &command::options(inner)).await
                }
            },
            None => help(session, root, &words),
        },
        [] => help(session, root, &[]),
    }
}

/// Whether these words lead to a command, not to a group of them. Matches cannot tell: a release build of clap
/// answers for arguments that a command does not have, too.
fn is_leaf(root: &clap::Command, words: &[&str]) -> bool {
    let mut words = words.iter();
    let reached = words.try_fold(root, |command, word| command.find_subcommand(word));
    reached.is_some_and(|command| !command.has_subcommands())
}

/// The row that the words after a verb name.
fn find(words: &[&str]) -> Option<&'static Noun> {
    let (group, word) = match words {
        [word] => ("", word),
        [group, word] => (group.trim_end_matches('s'), word),
        _ => return None,
    };
    NOUNS
        .iter()
        .find(|noun| noun.group == group && (noun.name == *word || noun.plural == *word))
}

fn help(session: &mut Session<'_>, root: &mut clap::Command, words: &[&str]) -> Outcome {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let (command, _) = command::reached(root, &words);
    let text = command.render_long_help().to_string();
    session.print(&text)
}

#[cfg(test)]
mod tests;

//! `delete`: takes an object off the cluster.

use std::io::Read as _;

use fluvial_ports::{Delete, Target};

use super::not_found;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns::Noun;

/// Options of `delete`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Do not ask
    #[arg(short, long, global = true)]
    pub silent: bool,
}

/// Deletes one object.
pub(crate) async fn run(
    session: &mut Session<'_>,
    noun: &'static Noun,
    name: Option<&str>,
    options: &Options,
) -> Outcome {
    let name = name.ok_or_else(|| Failure::new(format!("{} name is required", noun.human)))?;
    let namespace = session.global.namespace.clone();
    let cluster = session.cluster().await?;
    let resource = noun.resource();
    let target = Target {
        resource: &resource,
        namespace: &namespace,
        name,
    };
    if cluster.get(target).await?.is_none() {
        return Err(not_found(noun, name));
    }
    if !options.silent
        && !agrees(
            session,
            &format!("Are you sure you want to delete this {}", noun.human),
        )?
    {
        return Err(Failure::new("aborting"));
    }
    session.action(&format!(
        "deleting {} {name} in {namespace} namespace",
        noun.human
    ));
    cluster.delete(target, Delete::default()).await?;
    session.success(&format!("{} deleted", noun.human));
    Ok(())
}

/// Asks, and takes a line that begins with y for a yes.
pub(crate) fn agrees(session: &mut Session<'_>, question: &str) -> Result<bool, Failure> {
    // On standard error: standard output is data.
    write!(session.env.err, "{question} [y/N] ")?;
    session.env.err.flush()?;
    let mut answer = String::new();
    let mut byte = [0];
    while answer.len() < 64 && session.env.input.read(&mut byte)? == 1 && byte[0] != b'\n' {
        answer.push(char::from(byte[0]));
    }
    Ok(answer.trim_start().starts_with(['y', 'Y']))
}

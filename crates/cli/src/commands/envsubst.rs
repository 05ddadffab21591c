//! `envsubst`: variables of the environment in standard input, by the rules of post-build substitution.

use std::io::Read;

use fluvial_delivery::envsubst::expand;

use crate::environment::{Failure, Outcome, Session};

/// Options of `envsubst`.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Fail for a variable without a value and a default
    #[arg(long)]
    strict: bool,
}

/// Substitutes line by line.
pub(crate) fn run(session: &mut Session<'_>, options: Options) -> Outcome {
    let mut data = Vec::new();
    session.env.input.read_to_end(&mut data)?;
    let input = String::from_utf8_lossy(&data).into_owned();
    for line in input.lines() {
        let value_of = |name: &str| session.env.variables.get(name).map(String::as_str);
        let mut expanded = expand(line, &value_of, options.strict)
            .map_err(|located| Failure::new(located.error.to_string()))?;
        expanded.push(b'\n');
        session.env.out.write_all(&expanded)?;
    }
    Ok(session.env.out.flush()?)
}

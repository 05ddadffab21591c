//! `why`: one chain from an object that is not well to the first cause, with the file and line in Git.

mod look;
mod places;

use serde_json::{Value, json};

use self::look::{Found, Looker};
use self::places::Places;
use crate::environment::{Failure, Outcome, Session};
use crate::output::{Format, write_value};

/// Longer chains are circles, or nobody reads them.
const LONGEST: usize = 32;

/// Options of `why`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Object as KIND/NAME or KIND NAME; all that is not ready if none is named
    #[arg(value_name = "OBJECT", num_args = 0..=2)]
    object: Vec<String>,
    /// Print a value instead of lines
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
}

/// One object on the way to the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// `Kind/namespace/name`.
    pub id: String,
    /// Whether it is as it should be.
    pub well: bool,
    /// How it is, in a word.
    pub state: String,
    /// What there is to say.
    pub message: String,
    /// `file:line` in its source.
    pub place: Option<String>,
    /// Which source and revision the place is in.
    pub source: Option<String>,
}

impl Step {
    fn value(&self) -> Value {
        json!({"object": self.id, "ready": self.well, "state": self.state, "message": self.message,
               "place": self.place, "source": self.source})
    }
}

/// Explains one object, or all that are not ready.
pub(crate) async fn run(session: &mut Session<'_>, options: &Options) -> Outcome {
    let cluster = session.cluster().await?;
    let now = session.env.clock.now();
    let looker = Looker::new(cluster.as_ref(), &session.global.namespace, now);
    let mut places = Places::default();
    let starts = match options.object.as_slice() {
        [] => looker.unready().await?,
        [one] => {
            let (kind, name) = one
                .split_once('/')
                .ok_or_else(|| Failure::new(format!("{one}: expected KIND/NAME or KIND NAME")))?;
            vec![looker.find(kind, name).await?]
        }
        [kind, name, ..] => vec![looker.find(kind, name).await?],
    };
    let outside = std::sync::Arc::clone(&session.env.outside);
    let mut chains = vec![];
    for start in starts {
        let mut chain = vec![];
        let mut next = Some(start);
        while let Some(found) = next.take() {
            let (mut step, cause) = looker.judge(&found).await?;
            if chain.iter().any(|before: &Step| before.id == step.id) {
                step.message = format!("{}; it waits for itself: break the circle", step.message);
                chain.push(step);
                break;
            }
            let (place, owner) = places.of(&looker, outside.as_ref(), &found).await;
            if let Some(place) = place {
                step.place = Some(place.place);
                step.source = Some(place.source);
            }
            let well = step.well;
            chain.push(step);
            if chain.len() >= LONGEST {
                break;
            }
            // What is absent is explained by who would make it.
            next = match (cause, &found) {
                (Some(cause), _) => Some(cause),
                (None, Found::Absent { .. }) if !well => owner,
                _ => None,
            };
        }
        chains.push(chain);
    }
    print(session, &chains, options)
}

fn print(session: &mut Session<'_>, chains: &[Vec<Step>], options: &Options) -> Outcome {
    if let Some(format) = options.output {
        let all: Vec<Value> = chains
            .iter()
            .map(|chain| {
                json!({"steps": chain.iter().map(Step::value).collect::<Vec<_>>(),
                                "cause": chain.last().map(Step::value)})
            })
            .collect();
        let value = match (options.object.is_empty(), all.first()) {
            (false, Some(one)) => one.clone(),
            _ => json!({"items": all}),
        };
        return write_value(session, &value, format);
    }
    if chains.is_empty() {
        return session.print("everything is ready\n");
    }
    let mut text = String::new();
    if options.object.is_empty() {
        text.push_str(&causes(chains));
    } else {
        chains.iter().for_each(|chain| draw(chain, &mut text));
    }
    session.print(&text)
}

/// One chain, each cause below what it causes.
fn draw(chain: &[Step], text: &mut String) {
    for (depth, step) in chain.iter().enumerate() {
        let (indent, arm) = match depth {
            0 => (String::new(), ""),
            _ => ("  ".repeat(depth - 1), "└ "),
        };
        let sign = if step.well { "✔" } else { "✗" };
        text.push_str(&format!("{indent}{arm}{sign} {} {}", step.id, step.state));
        if !step.message.is_empty() {
            text.push_str(&format!(": {}", step.message));
        }
        text.push('\n');
        if let Some(place) = &step.place {
            let below = "  ".repeat(depth + 1);
            let source = step.source.as_deref().unwrap_or_default();
            text.push_str(&format!("{below}{place} ({source})\n"));
        }
    }
}

/// First causes, each with the chain that leads to it and how many others it holds up.
fn causes(chains: &[Vec<Step>]) -> String {
    let mut text = String::new();
    let mut told: Vec<&str> = vec![];
    for chain in chains {
        let Some(cause) = chain.last() else { continue };
        if told.contains(&cause.id.as_str()) {
            continue;
        }
        told.push(&cause.id);
        let same: Vec<&Vec<Step>> = chains
            .iter()
            .filter(|other| other.last().is_some_and(|last| last.id == cause.id))
            .collect();
        // The longest chain shows the others as its parts.
        if let Some(longest) = same.iter().max_by_key(|chain| chain.len()) {
            draw(longest, &mut text);
            let others: Vec<&str> = same
                .iter()
                .filter_map(|chain| chain.first())
                .filter(|first| !longest.iter().any(|step| step.id == first.id))
                .map(|first| first.id.as_str())
                .collect();
            if !others.is_empty() {
                text.push_str(&format!("  the same holds up {}\n", others.join(", ")));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &str, place: Option<&str>) -> Step {
        Step {
            id: id.to_owned(),
            well: false,
            state: "failed".to_owned(),
            message: "m".to_owned(),
            place: place.map(str::to_owned),
            source: place.map(|_| "GitRepository/a/b at main".to_owned()),
        }
    }

    #[test]
    fn causes_stand_below_what_they_cause_and_are_told_once() {
        let chains = [
            vec![step("K/b", None), step("D/x", Some("x.yaml:3"))],
            vec![step("K/a", None), step("K/b", None), step("D/x", None)],
            vec![step("K/c", None), step("D/x", None)],
        ];
        let mut text = String::new();
        draw(&chains[0], &mut text);
        assert_eq!(
            text,
            "✗ K/b failed: m\n└ ✗ D/x failed: m\n    x.yaml:3 (GitRepository/a/b at main)\n"
        );
        assert_eq!(
            causes(&chains),
            "✗ K/a failed: m\n└ ✗ K/b failed: m\n  └ ✗ D/x failed: m\n  the same holds up K/c\n"
        );
    }
}

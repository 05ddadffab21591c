//! `why`: from an object that is not well to all first causes, each with the file and line in Git.

mod graph;
pub(crate) mod look;
pub(crate) mod places;
mod words;

use std::collections::VecDeque;

use fluvial_ports::Cluster;
use serde_json::{Value, json};

use self::graph::Graph;
use self::look::{Found, Looker};
use self::places::Places;
use crate::environment::{Failure, Outcome, Session};
use crate::output::{Format, write_value};

/// More objects than anybody reads of; what is left out is said.
const MOST: usize = 5_000;

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

/// Explains one object, or all that are not ready.
pub(crate) async fn run(session: &mut Session<'_>, options: &Options) -> Outcome {
    let cluster = session.cluster().await?;
    let now = session.env.clock.now();
    let looker = Looker::new(cluster.as_ref(), &session.global.namespace, now);
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
    let roots: Vec<String> = starts.iter().map(Found::id).collect();
    let outside = std::sync::Arc::clone(&session.env.outside);
    let graph = gather(&looker, outside.as_ref(), starts).await?;
    print(session, &graph, &roots, options)
}

/// Judges objects, what is behind them, and so on.
async fn gather(
    looker: &Looker<'_>,
    outside: &dyn crate::Outside,
    starts: Vec<Found>,
) -> Result<Graph, Failure> {
    let mut places = Places::default();
    let mut graph = Graph::default();
    let mut queue: VecDeque<(Found, Option<String>)> =
        starts.into_iter().map(|found| (found, None)).collect();
    while let Some((found, asker)) = queue.pop_front() {
        let id = found.id();
        if graph.holds(&id) {
            continue;
        }
        if graph.len() >= MOST {
            graph.is_cut = true;
            break;
        }
        let (mut step, mut causes) = looker.judge(&found).await?;
        let (place, owner) = places.of(looker, outside, &found, asker.as_deref()).await;
        if let Some(place) = place {
            step.place = Some(place.place);
            step.source = Some(place.source);
        }
        if let (Found::Absent { .. }, Some(owner)) = (&found, owner) {
            // What is absent is explained by who would make it, unless that is who misses it.
            if asker.as_ref() != Some(&owner.id()) {
                causes.push(owner);
            }
        }
        graph.add(step, causes.iter().map(Found::id).collect());
        queue.extend(causes.into_iter().map(|cause| (cause, Some(id.clone()))));
    }
    Ok(graph)
}

fn print(session: &mut Session<'_>, graph: &Graph, roots: &[String], options: &Options) -> Outcome {
    let whole = options.object.is_empty();
    let tops = if whole { graph.tops(roots) } else { roots.to_vec() };
    let firsts = graph.firsts(&tops);
    if let Some(format) = options.output {
        let firsts: Vec<Value> = firsts.iter().map(|step| step.value()).collect();
        let mut items = graph.values(&tops);
        let mut value = if whole {
            json!({"items": items})
        } else {
            items.swap_remove(0)
        };
        value["firstCauses"] = firsts.into();
        return write_value(session, &value, format);
    }
    if roots.is_empty() {
        return session.print("everything is ready\n");
    }
    let text = drawn(graph, roots, &tops, whole, session.colours());
    session.print(&text)
}

/// The tree of causes, and how many there are.
fn drawn(graph: &Graph, roots: &[String], tops: &[String], whole: bool, colours: bool) -> String {
    let firsts = graph.firsts(tops);
    let mut text = graph.draw(tops, colours);
    if whole || firsts.len() > 1 {
        let held = roots
            .iter()
            .filter(|id| !firsts.iter().any(|first| first.id == **id))
            .count();
        text.push_str(&summary(firsts.len(), held));
    }
    if graph.is_cut {
        text.push_str(&format!(
            "only the first {MOST} objects were looked at; name one of those above to go on\n"
        ));
    }
    text
}

/// All first causes of what is not ready on a cluster, for people.
pub(crate) async fn causes(session: &Session<'_>, cluster: &dyn Cluster) -> Result<String, Failure> {
    let now = session.env.clock.now();
    let looker = Looker::new(cluster, &session.global.namespace, now);
    let starts = looker.unready().await?;
    let roots: Vec<String> = starts.iter().map(Found::id).collect();
    if roots.is_empty() {
        return Ok(String::new());
    }
    let graph = gather(&looker, session.env.outside.as_ref(), starts).await?;
    Ok(drawn(
        &graph,
        &roots,
        &graph.tops(&roots),
        true,
        session.colours(),
    ))
}

/// `2 first causes; 5 objects wait for them`.
fn summary(causes: usize, held: usize) -> String {
    let (causes, them) = match causes {
        1 => ("1 first cause".to_owned(), "it"),
        count => (format!("{count} first causes"), "them"),
    };
    match held {
        0 => format!("\n{causes}\n"),
        1 => format!("\n{causes}; 1 object waits for {them}\n"),
        held => format!("\n{causes}; {held} objects wait for {them}\n"),
    }
}

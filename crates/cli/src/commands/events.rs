//! `events`: what happened to objects of Flux kinds, newest last.

use fluvial_ports::{Cluster, Resource, Select, Target, Watched};
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::not_found;
use crate::age::ago;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns;
use crate::output::{Format, write_value};
use crate::state::{field, text};
use crate::table;

/// Options of `events`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Show the events of all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only events of this object and its source, as KIND/NAME, or of all objects of a KIND.
    #[arg(long = "for", value_name = "KIND/NAME")]
    pub object: Option<String>,
    /// Only events of these types.
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    pub types: Vec<String>,
    /// Stay, and print what happens.
    #[arg(short = 'w', long)]
    pub watch: bool,
    /// Print the events instead of a table.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// An object that events are about, or all of a kind in a namespace or in all.
#[derive(Debug, PartialEq, Eq)]
struct About {
    kind: String,
    namespace: Option<String>,
    name: Option<String>,
}

impl About {
    fn object(kind: &str, namespace: &str, name: &str) -> Self {
        About {
            kind: kind.to_owned(),
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
        }
    }

    fn includes(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let is = |own: &Option<String>, other| own.as_deref().is_none_or(|own| own == other);
        self.kind == kind && is(&self.namespace, namespace) && is(&self.name, name)
    }
}

fn resource() -> Resource {
    Resource::core("Event")
}

/// Prints events.
pub(crate) async fn run(session: &mut Session<'_>, options: &Options) -> Outcome {
    if let Some(word) = options
        .types
        .iter()
        .find(|word| !word.eq_ignore_ascii_case("Normal") && !word.eq_ignore_ascii_case("Warning"))
    {
        return Err(Failure::new(format!("type '{word}' is not Normal or Warning")));
    }
    let cluster = session.cluster().await?;
    let about = match &options.object {
        Some(word) => Some(objects(cluster.as_ref(), word, &session.global.namespace, options).await?),
        None => None,
    };
    let is_wanted = |event: &Value| is_wanted(event, about.as_deref(), &options.types);
    // A source may live elsewhere.
    let elsewhere = |about: &About| about.namespace.as_ref() != Some(&session.global.namespace);
    let namespaces = options.all_namespaces || about.iter().flatten().any(elsewhere);
    let select = Select {
        namespace: (!options.all_namespaces && about.is_none()).then(|| session.global.namespace.clone()),
        ..Select::default()
    };
    let mut events = cluster.list(&resource(), &select).await?;
    events.retain(is_wanted);
    events.sort_by(|a, b| last_seen(a).cmp(last_seen(b)));
    if let Some(format) = options.output {
        return write_value(
            session,
            &json!({"apiVersion": "v1", "kind": "List", "items": events}),
            format,
        );
    }
    if events.is_empty() && !options.watch {
        session.failure(&match options.all_namespaces {
            true => "No events found.".to_owned(),
            false => format!("No events found in {} namespace.", session.global.namespace),
        });
        return Ok(());
    }
    let now = session.env.clock.now();
    let rows: Vec<Vec<String>> = events.iter().map(|event| row(event, now, namespaces)).collect();
    let mut header = vec!["Last seen", "Type", "Reason", "Object", "Message"];
    if namespaces {
        header.insert(0, "Namespace");
    }
    session.print(&table::render(&header, &rows))?;
    if options.watch {
        let seen = events
            .iter()
            .filter_map(|event| text(event, &["metadata", "resourceVersion"]));
        let seen = seen
            .filter_map(|version| version.parse().ok())
            .max()
            .unwrap_or(0_u64);
        follow(session, cluster.as_ref(), &select, (&is_wanted, seen), namespaces).await?;
    }
    Ok(())
}

async fn follow(
    session: &mut Session<'_>,
    cluster: &dyn Cluster,
    select: &Select,
    (is_wanted, seen): (&(dyn Fn(&Value) -> bool + Sync), u64),
    namespaces: bool,
) -> Outcome {
    let mut events = cluster.watch(&resource(), select);
    let outside = session.env.outside.clone();
    let mut interrupted = outside.interrupted();
    loop {
        let event = tokio::select! {
            () = &mut interrupted => return Ok(()),
            event = events.next() => event,
        };
        match event {
            Some(Watched::Applied(event)) => {
                let version =
                    text(&event, &["metadata", "resourceVersion"]).and_then(|text| text.parse().ok());
                if is_wanted(&event) && version.is_none_or(|version: u64| version > seen) {
                    let row = row(&event, session.env.clock.now(), namespaces);
                    session.print(&table::render(&[], &[row]))?;
                }
            }
            Some(Watched::Failed(error)) => session.warning(&error.message),
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

/// The object that a word means, and its source; or all objects of a kind.
async fn objects(
    cluster: &dyn Cluster,
    word: &str,
    namespace: &str,
    options: &Options,
) -> Result<Vec<About>, Failure> {
    let (kind, name) = word.split_once('/').unwrap_or((word, ""));
    if kind.is_empty() {
        return Err(Failure::new("--for selector must be of format <kind>[/<name>]"));
    }
    let noun = nouns::of_word(kind)
        .ok_or_else(|| Failure::new(format!("'{kind}' is not a recognized Flux kind")))?;
    if name.is_empty() {
        return Ok(vec![About {
            kind: noun.kind.to_owned(),
            namespace: (!options.all_namespaces).then(|| namespace.to_owned()),
            name: None,
        }]);
    }
    let resource = noun.resource();
    let target = Target {
        resource: &resource,
        namespace,
        name,
    };
    let object = cluster.get(target).await?.ok_or_else(|| not_found(noun, name))?;
    let mut about = vec![About::object(noun.kind, namespace, name)];
    let source = super::get::source(&object);
    if let [kind, namespace, name] = source.split('/').collect::<Vec<_>>()[..] {
        about.push(About::object(kind, namespace, name));
    }
    if let Some((namespace, name)) =
        text(&object, &["status", "helmChart"]).and_then(|chart| chart.split_once('/'))
    {
        about.push(About::object("HelmChart", namespace, name));
    }
    Ok(about)
}

fn is_wanted(event: &Value, about: Option<&[About]>, types: &[String]) -> bool {
    let part = |name| text(event, &["involvedObject", name]).unwrap_or_default();
    let is_type = types.is_empty()
        || text(event, &["type"])
            .is_some_and(|found| types.iter().any(|wanted| wanted.eq_ignore_ascii_case(found)));
    is_type
        && match about {
            Some(about) => about
                .iter()
                .any(|about| about.includes(part("kind"), part("namespace"), part("name"))),
            None => nouns::of_kind(part("kind"))
                .is_some_and(|noun| part("apiVersion").split('/').next() == Some(noun.info().group)),
        }
}

/// When an event was seen last (RFC 3339), whatever form it has.
pub(crate) fn last_seen(event: &Value) -> &str {
    [
        &["series", "lastObservedTime"][..],
        &["lastTimestamp"],
        &["eventTime"],
        &["firstTimestamp"],
    ]
    .into_iter()
    .find_map(|path| text(event, path))
    .unwrap_or_default()
}

fn row(event: &Value, now: Timestamp, namespaces: bool) -> Vec<String> {
    let part = |path: &[&str]| text(event, path).unwrap_or_default().to_owned();
    let since = |time: &str| {
        time.parse()
            .map_or_else(|_| "<unknown>".to_owned(), |time| ago(now, time))
    };
    let count = field(event, &["count"]).or_else(|| field(event, &["series", "count"]));
    let mut seen = since(last_seen(event));
    if let Some(count) = count.and_then(Value::as_i64).filter(|count| *count > 1) {
        let first = text(event, &["firstTimestamp"]).or_else(|| text(event, &["eventTime"]));
        seen = format!("{seen} (x{count} over {})", since(first.unwrap_or_default()));
    }
    let object = format!(
        "{}/{}",
        part(&["involvedObject", "kind"]),
        part(&["involvedObject", "name"])
    );
    let message = part(&["message"]);
    let mut row = vec![
        seen,
        part(&["type"]),
        part(&["reason"]),
        object,
        message.trim_end().to_owned(),
    ];
    if namespaces {
        row.insert(0, part(&["metadata", "namespace"]));
    }
    row
}

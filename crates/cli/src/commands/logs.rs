//! `logs`: what controllers tell that run in Pods, merged, and only what is about some objects.

use std::time::Duration;

use fluvial_ports::{Cluster, Lines, PodLog, Resource, Select, Target};
use futures::stream::SelectAll;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde_json::Value;

use crate::environment::{Failure, Outcome, Session};
use crate::nouns;
use crate::state::{self, field, text};

/// Options of `logs`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Only what is about objects of this kind
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only what is about objects of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only entries of this level: debug, info, warn or error
    #[arg(long, value_name = "LEVEL", value_parser = ["debug", "info", "warn", "error"])]
    level: Option<String>,
    /// Stay, and print what comes
    #[arg(short, long)]
    follow: bool,
    /// So many lines from the end of each log
    #[arg(long, value_name = "LINES")]
    tail: Option<u64>,
    /// Only what is not older than this: 5s, 2m, 3h
    #[arg(long, value_name = "DURATION", value_parser = fluvial_object::duration::parse_std, conflicts_with = "since_time")]
    since: Option<Duration>,
    /// Only what came after this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since_time: Option<Timestamp>,
    /// Where the controllers run
    #[arg(long, value_name = "NAMESPACE", default_value = "flux-system")]
    flux_namespace: String,
    /// What is about objects of all namespaces, or of none
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

/// The Pods of controllers.
const PODS: &str = "app.kubernetes.io/part-of in (flux,fluvial)";

/// One entry of a log.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    time: String,
    level: String,
    kind: String,
    namespace: String,
    name: String,
    message: String,
}

/// Prints logs.
pub(crate) async fn run(session: &mut Session<'_>, options: &Options) -> Outcome {
    let cluster = session.cluster().await?;
    let logs = open(session, cluster.as_ref(), options).await?;
    let namespace = session.global.namespace.clone();
    let about = |line: &str| entry(line).filter(|entry| is_wanted(entry, &namespace, options));
    if options.follow {
        let outside = session.env.outside.clone();
        let mut interrupted = outside.interrupted();
        let mut all: SelectAll<Lines> = logs.into_iter().collect();
        loop {
            let line = tokio::select! {
                () = &mut interrupted => return Ok(()),
                line = all.next() => line,
            };
            match line {
                Some(line) => {
                    if let Some(entry) = about(&line?) {
                        session.print(&shown(&entry))?;
                    }
                }
                None => return Ok(()),
            }
        }
    }
    let mut entries = vec![];
    for log in logs {
        let lines: Vec<String> = log.try_collect().await?;
        entries.extend(lines.iter().filter_map(|line| about(line)));
    }
    entries.sort_by(|a, b| a.time.cmp(&b.time));
    let lines: Vec<String> = entries.iter().map(shown).collect();
    session.print_all(&lines)
}

/// The logs of all controllers.
async fn open(
    session: &Session<'_>,
    cluster: &dyn Cluster,
    options: &Options,
) -> Result<Vec<Lines>, Failure> {
    let resource = Resource::core("Pod");
    let namespace = options.flux_namespace.as_str();
    let select = Select {
        namespace: Some(namespace.to_owned()),
        labels: Some(PODS.to_owned()),
        ..Select::default()
    };
    let pods = cluster.list(&resource, &select).await?;
    if pods.is_empty() {
        return Err(Failure::new(format!(
            "no Pods of controllers are in namespace {namespace} (label {PODS}); `fluvial up` and `fluvial serve` on \
             a machine tell what they do where they were started"
        )));
    }
    let since = options
        .since_time
        .map(|time| session.env.clock.now().duration_since(time))
        .and_then(|age| Duration::try_from(age).ok());
    let since = options.since.or(since).map(|age| age.as_secs().max(1));
    let mut logs = vec![];
    for pod in &pods {
        let part = PodLog {
            container: container(pod),
            follow: options.follow,
            tail: options.tail,
            since_seconds: since,
        };
        let target = Target {
            resource: &resource,
            namespace,
            name: state::name(pod),
        };
        let log = cluster
            .log(target, &part)
            .await
            .map_err(|error| Failure::new(format!("{}: {error}", state::id(pod))))?;
        logs.push(log);
    }
    Ok(logs)
}

/// The container of a controller among those that were put beside it.
fn container(pod: &Value) -> Option<String> {
    let containers = field(pod, &["spec", "containers"])?.as_array()?;
    let names: Vec<&str> = containers
        .iter()
        .filter_map(|container| text(container, &["name"]))
        .collect();
    let own = names.iter().find(|name| ["manager", "fluvial"].contains(name));
    own.or(names.first()).map(|name| (*name).to_owned())
}

/// Reads a line of a controller of Flux, or of `fluvial serve --log-encoding json`.
fn entry(line: &str) -> Option<Entry> {
    let value: Value = serde_json::from_str(line).ok()?;
    let ours = value.get("fields");
    let word = |keys: &[&str]| {
        let found = keys
            .iter()
            .find_map(|key| text(ours.unwrap_or(&value), &[key]).or_else(|| text(&value, &[key])));
        found.unwrap_or_default().to_owned()
    };
    let mut message = word(&["message", "msg"]);
    let error = word(&["error"]);
    if !error.is_empty() {
        message = format!("{message} {error}");
    }
    let key = word(&["key"]);
    let (namespace, name) = match key.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (word(&["namespace"]), word(&["name"])),
    };
    Some(Entry {
        time: word(&["timestamp", "ts"]),
        level: word(&["level"]).to_lowercase(),
        kind: word(&["kind", "controllerKind"]),
        namespace,
        name,
        message,
    })
}

fn is_wanted(entry: &Entry, namespace: &str, options: &Options) -> bool {
    let same_kind = |wanted: &str| {
        // Both the kind and its words on the command line.
        let known = nouns::of_word(wanted).map_or(wanted, |noun| noun.kind);
        known.eq_ignore_ascii_case(&entry.kind)
    };
    (options.all_namespaces || entry.namespace == namespace)
        && options.kind.as_deref().is_none_or(same_kind)
        && options.name.as_ref().is_none_or(|name| *name == entry.name)
        && options.level.as_ref().is_none_or(|level| *level == entry.level)
}

fn shown(entry: &Entry) -> String {
    let Entry {
        time,
        level,
        kind,
        namespace,
        name,
        message,
    } = entry;
    let object = match (kind.as_str(), name.as_str()) {
        ("", "") => String::new(),
        (_, "") => format!("{kind} "),
        _ => format!("{kind}/{name}.{namespace} "),
    };
    format!("{time} {level} {object}- {}\n", message.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLUX: &str = r#"{"level":"info","ts":"2026-01-02T03:04:05.678Z","msg":"no change","controllerKind":"GitRepository","name":"fleet","namespace":"flux-system","reconcileID":"1"}"#;
    const OURS: &str = r#"{"timestamp":"2026-01-02T03:04:06Z","level":"WARN","fields":{"message":"the run failed","kind":"HelmRelease","key":"shop/web","error":"no chart"},"target":"fluvial_controllers"}"#;

    #[test]
    fn lines_of_both_programs_are_read_alike() {
        let lines = [FLUX, OURS].map(|line| shown(&entry(line).unwrap()));
        assert_eq!(
            lines.concat(),
            "2026-01-02T03:04:05.678Z info GitRepository/fleet.flux-system - no change\n\
             2026-01-02T03:04:06Z warn HelmRelease/web.shop - the run failed no chart\n"
        );
        assert_eq!(entry("not JSON"), None);
    }

    #[test]
    fn entries_are_chosen_by_namespace_kind_name_and_level() {
        let (flux, ours) = (entry(FLUX).unwrap(), entry(OURS).unwrap());
        let wanted = |entry: &Entry, options: Options| is_wanted(entry, "shop", &options);
        assert!(!wanted(&flux, Options::default()) && wanted(&ours, Options::default()));
        let all = Options {
            all_namespaces: true,
            kind: Some("hr".to_owned()),
            ..Options::default()
        };
        assert!(!wanted(&flux, all.clone()) && wanted(&ours, all.clone()));
        let other = Options {
            level: Some("error".to_owned()),
            ..all
        };
        assert!(!wanted(&ours, other));
    }
}

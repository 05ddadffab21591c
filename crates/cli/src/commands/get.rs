//! `get`: tables of objects with their state, as flux shapes them; or the objects themselves.

use fluvial_ports::{Cluster, ErrorKind, Select, Watched};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::environment::{Failure, Outcome, Session};
use crate::nouns::{NOUNS, Noun};
use crate::output::{Format, write_value};
use crate::state::{self, condition, field, is_static, is_suspended, shorten_digests, text};
use crate::table;

/// Options of `get`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// List the objects of all namespaces.
    #[arg(short = 'A', long, global = true)]
    pub all_namespaces: bool,
    /// Only objects whose labels match.
    #[arg(short = 'l', long = "label-selector", global = true, value_name = "SELECTOR")]
    pub labels: Option<String>,
    /// Leave the header out.
    #[arg(long, global = true)]
    pub no_header: bool,
    /// Only objects with this condition, such as ready=false or ready!=true.
    #[arg(long, global = true, value_name = "CONDITION")]
    pub status_selector: Option<String>,
    /// Stay, and print what changes.
    #[arg(short = 'w', long, global = true)]
    pub watch: bool,
    /// Print the objects instead of a table.
    #[arg(short = 'o', long, global = true, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Show where each object takes its manifests from (kustomizations and helmreleases).
    #[arg(long, global = true)]
    pub show_source: bool,
}

/// A condition to select by.
struct StatusSelector {
    condition: String,
    status: String,
    negated: bool,
}

impl StatusSelector {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (condition, status, negated) = if let Some((condition, status)) = text.split_once("!=") {
            (condition, status, true)
        } else if let Some((condition, status)) = text.split_once('=') {
            (condition, status, false)
        } else {
            return Err(Failure::new(format!(
                "expected status selector in type=status or type!=status format, but found: {text}"
            )));
        };
        Ok(StatusSelector {
            condition: condition.to_owned(),
            status: status.to_owned(),
            negated,
        })
    }

    fn matches(&self, object: &Value) -> bool {
        let conditions = field(object, &["status", "conditions"]).and_then(Value::as_array);
        let found = conditions.into_iter().flatten().any(|condition| {
            text(condition, &["type"]).is_some_and(|kind| kind.eq_ignore_ascii_case(&self.condition))
                && text(condition, &["status"])
                    .is_some_and(|status| status.eq_ignore_ascii_case(&self.status))
        });
        found != self.negated
    }
}

/// `get` for one kind or several; several are shown as blocks.
pub(crate) async fn run(
    session: &mut Session<'_>,
    nouns: &[&'static Noun],
    is_group: bool,
    name: Option<&str>,
    options: &Options,
) -> Outcome {
    let selector = options
        .status_selector
        .as_deref()
        .map(StatusSelector::parse)
        .transpose()?;
    let cluster = session.cluster().await?;
    let mut objects = vec![];
    for noun in nouns {
        match list(cluster.as_ref(), noun, &session.global.namespace, name, options).await {
            Ok(found) => objects.push((*noun, found)),
            // Not every cluster has every kind.
            Err(error) if is_group && matches!(error.kind, ErrorKind::NoKind | ErrorKind::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !is_group && objects.iter().all(|(_, found)| found.is_empty()) && options.output.is_none() {
        return Err(none_found(nouns, name, &session.global.namespace, options));
    }
    for (_, found) in &mut objects {
        found.retain(|object| selector.as_ref().is_none_or(|selector| selector.matches(object)));
    }
    if let Some(format) = options.output {
        let all: Vec<Value> = objects.into_iter().flat_map(|(_, found)| found).collect();
        return print_objects(session, all, name, format);
    }
    for (noun, found) in &objects {
        if found.is_empty() {
            continue;
        }
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|object| row(noun, object, is_group, options))
            .collect();
        let header = if options.no_header {
            vec![]
        } else {
            header(noun, options)
        };
        session.print(&table::render(&header, &rows))?;
        if is_group {
            session.print("\n")?;
        }
    }
    if options.watch {
        watch(
            session,
            cluster.as_ref(),
            &objects,
            is_group,
            name,
            (&selector, options),
        )
        .await?;
    }
    Ok(())
}

async fn list(
    cluster: &dyn Cluster,
    noun: &Noun,
    namespace: &str,
    name: Option<&str>,
    options: &Options,
) -> Result<Vec<Value>, fluvial_ports::ClusterError> {
    let mut found = cluster
        .list(&noun.resource(), &select(namespace, name, options))
        .await?;
    found.sort_by(|a, b| (state::namespace(a), state::name(a)).cmp(&(state::namespace(b), state::name(b))));
    Ok(found)
}

fn select(namespace: &str, name: Option<&str>, options: &Options) -> Select {
    Select {
        namespace: (!options.all_namespaces).then(|| namespace.to_owned()),
        labels: options.labels.clone(),
        fields: name.map(|name| format!("metadata.name={name}")),
        ..Select::default()
    }
}

fn none_found(nouns: &[&'static Noun], name: Option<&str>, namespace: &str, options: &Options) -> Failure {
    let kind = nouns.first().map_or("", |noun| noun.kind);
    let place = if options.all_namespaces {
        "any".to_owned()
    } else {
        format!("{namespace:?}")
    };
    Failure::new(match name {
        Some(name) => format!("{kind} object '{name}' not found in {place} namespace"),
        None => format!("no {kind} objects found in {place} namespace"),
    })
}

fn print_objects(
    session: &mut Session<'_>,
    mut all: Vec<Value>,
    name: Option<&str>,
    format: Format,
) -> Outcome {
    for object in &mut all {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
    match (name, all.len()) {
        (Some(name), 0) => Err(Failure::new(format!("no object is called '{name}'"))),
        (Some(_), 1) => write_value(session, &all[0], format),
        _ => write_value(
            session,
            &json!({"apiVersion": "v1", "kind": "List", "items": all}),
            format,
        ),
    }
}

/// Prints each later change of the listed kinds as a row.
async fn watch(
    session: &mut Session<'_>,
    cluster: &dyn Cluster,
    objects: &[(&'static Noun, Vec<Value>)],
    is_group: bool,
    name: Option<&str>,
    (selector, options): (&Option<StatusSelector>, &Options),
) -> Outcome {
    let mut known: std::collections::BTreeMap<String, Vec<String>> = objects
        .iter()
        .flat_map(|(noun, found)| {
            found
                .iter()
                .map(|object| (state::id(object), row(noun, object, is_group, options)))
        })
        .collect();
    let streams = objects.iter().map(|(noun, _)| {
        let noun = *noun;
        cluster
            .watch(
                &noun.resource(),
                &select(&session.global.namespace, name, options),
            )
            .map(move |event| (noun, event))
    });
    let mut events = futures::stream::select_all(streams);
    let outside = session.env.outside.clone();
    let mut interrupted = outside.interrupted();
    loop {
        let (noun, event) = tokio::select! {
            () = &mut interrupted => return Ok(()),
            event = events.next() => match event {
                Some(event) => event,
                None => return Ok(()),
            },
        };
        match event {
            Watched::Applied(object) => {
                let now = row(noun, &object, is_group, options);
                let wanted = selector.as_ref().is_none_or(|selector| selector.matches(&object));
                if wanted && known.insert(state::id(&object), now.clone()).as_ref() != Some(&now) {
                    session.print(&table::render(&[], &[now]))?;
                }
            }
            Watched::Deleted(object) => {
                known.remove(&state::id(&object));
            }
            Watched::Failed(error) => session.warning(&error.message),
            Watched::Restarted | Watched::Ready => {}
        }
    }
}

fn header(noun: &Noun, options: &Options) -> Vec<&'static str> {
    let mut header = vec!["Name"];
    if options.all_namespaces {
        header.insert(0, "Namespace");
    }
    header.extend_from_slice(match noun.kind {
        "Kustomization" | "HelmRelease" if options.show_source => &["Source", "Revision", "Suspended"][..],
        "ExternalArtifact" => &["Revision", "Source"],
        "ImageRepository" => &["Last scan", "Suspended"],
        "ImagePolicy" => &["Image", "Tag"],
        "ImageUpdateAutomation" => &["Last run", "Suspended"],
        "Alert" | "Receiver" | "ArtifactGenerator" => &["Suspended"],
        "Provider" => &[],
        _ => &["Revision", "Suspended"],
    });
    header.extend(["Ready", "Message"]);
    header
}

fn row(noun: &Noun, object: &Value, with_kind: bool, options: &Options) -> Vec<String> {
    let mut row = vec![];
    if options.all_namespaces {
        row.push(state::namespace(object).to_owned());
    }
    row.push(if with_kind {
        format!("{}/{}", noun.kind.to_lowercase(), state::name(object))
    } else {
        state::name(object).to_owned()
    });
    let status = |path: &[&str]| {
        let value = object.get("status").and_then(|status| text(status, path));
        shorten_digests(value.unwrap_or_default())
    };
    let suspended = || if is_suspended(object) { "True" } else { "False" }.to_owned();
    match noun.kind {
        "Kustomization" | "HelmRelease" => {
            if options.show_source {
                row.push(source(object));
            }
            let revision = if noun.kind == "HelmRelease" {
                shorten_digests(state::release_revision(object))
            } else {
                status(&["lastAppliedRevision"])
            };
            row.extend([revision, suspended()]);
        }
        "ExternalArtifact" => row.extend([status(&["artifact", "revision"]), external_source(object)]),
        "ImageRepository" => row.extend([status(&["lastScanResult", "scanTime"]), suspended()]),
        "ImagePolicy" => row.extend([status(&["latestRef", "name"]), status(&["latestRef", "tag"])]),
        "ImageUpdateAutomation" => row.extend([status(&["lastAutomationRunTime"]), suspended()]),
        "Alert" | "Receiver" | "ArtifactGenerator" => row.push(suspended()),
        "Provider" => {}
        _ => row.extend([status(&["artifact", "revision"]), suspended()]),
    }
    row.extend(readiness(noun, object));
    row
}

/// The last two columns.
fn readiness(noun: &Noun, object: &Value) -> [String; 2] {
    if is_static(object) {
        let what = if noun.kind == "HelmRepository" {
            "Helm repository"
        } else {
            noun.kind
        };
        return ["True".to_owned(), format!("{what} is Ready")];
    }
    match condition(object, "Ready") {
        Some(ready) => [
            text(ready, &["status"]).unwrap_or_default().to_owned(),
            shorten_digests(text(ready, &["message"]).unwrap_or_default()),
        ],
        None => ["False".to_owned(), "waiting to be reconciled".to_owned()],
    }
}

/// Where a Kustomization or HelmRelease takes its manifests from.
pub(crate) fn source(object: &Value) -> String {
    let reference = [
        &["spec", "sourceRef"][..],
        &["spec", "chartRef"],
        &["spec", "chart", "spec", "sourceRef"],
    ]
    .into_iter()
    .find_map(|path| field(object, path));
    let Some(reference) = reference else {
        return String::new();
    };
    format!(
        "{}/{}/{}",
        text(reference, &["kind"]).unwrap_or_default(),
        text(reference, &["namespace"]).unwrap_or_else(|| state::namespace(object)),
        text(reference, &["name"]).unwrap_or_default()
    )
}

fn external_source(object: &Value) -> String {
    let part = |name| text(object, &["spec", "sourceRef", name]).unwrap_or_default();
    if part("kind").is_empty() {
        return String::new();
    }
    format!("{}/{}/{}", part("kind"), part("namespace"), part("name"))
}

/// The kinds behind `get all` and `get GROUP all`.
#[must_use]
pub(crate) fn members(group: Option<&str>) -> Vec<&'static Noun> {
    NOUNS
        .iter()
        .filter(|noun| group.map_or(noun.group != "artifact", |group| noun.group == group))
        .collect()
}

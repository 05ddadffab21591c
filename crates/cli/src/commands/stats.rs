//! `stats`: how many objects of each kind run, fail or rest.

use fluvial_ports::{ErrorKind, Select};
use serde_json::{Value, json};

use crate::environment::{Outcome, Session};
use crate::nouns;
use crate::output::{Format, write_value};
use crate::state::{condition, field, is_suspended, text};
use crate::table;

/// Options of `stats`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Count the objects of all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Print values instead of a table.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

const ORDER: [&str; 13] = [
    "GitRepository",
    "OCIRepository",
    "HelmRepository",
    "HelmChart",
    "Bucket",
    "Kustomization",
    "HelmRelease",
    "Alert",
    "Provider",
    "Receiver",
    "ImageUpdateAutomation",
    "ImagePolicy",
    "ImageRepository",
];

/// Counts.
pub(crate) async fn run(session: &mut Session<'_>, options: &Options) -> Outcome {
    let cluster = session.cluster().await?;
    let select = Select {
        namespace: (!options.all_namespaces).then(|| session.global.namespace.clone()),
        ..Select::default()
    };
    let (mut rows, mut values) = (vec![], vec![]);
    for noun in ORDER.iter().filter_map(|kind| nouns::of_kind(kind)) {
        let objects = match cluster.list(&noun.resource(), &select).await {
            Err(error) if matches!(error.kind, ErrorKind::NoKind | ErrorKind::NotFound) => continue,
            objects => objects?,
        };
        let suspended = objects.iter().filter(|object| is_suspended(object)).count();
        let is_failing = |object: &&Value| {
            condition(object, "Ready").and_then(|ready| text(ready, &["status"])) == Some("False")
        };
        let failing = objects.iter().filter(is_failing).count();
        let size: u64 = objects
            .iter()
            .filter_map(|object| field(object, &["status", "artifact", "size"])?.as_u64())
            .sum();
        let running = objects.len() - suspended;
        values.push(json!({
            "kind": noun.kind, "running": running, "failing": failing, "suspended": suspended, "storage": size,
        }));
        rows.push(vec![
            noun.kind.to_owned(),
            running.to_string(),
            failing.to_string(),
            suspended.to_string(),
            human_size(size),
        ]);
    }
    match options.output {
        Some(format) => write_value(session, &Value::Array(values), format),
        None => session.print(&table::render(
            &["Reconcilers", "Running", "Failing", "Suspended", "Storage"],
            &rows,
        )),
    }
}

/// Bytes in the largest unit that leaves at least one.
fn human_size(bytes: u64) -> String {
    match bytes {
        0 => "-".to_owned(),
        1..1024 => format!("{bytes} B"),
        _ => {
            let mut unit = 1024_u64;
            let mut names = ["KiB", "MiB", "GiB", "TiB", "PiB"].into_iter();
            let mut name = names.next().unwrap_or_default();
            while bytes / unit >= 1024 {
                let Some(next) = names.next() else { break };
                (unit, name) = (unit * 1024, next);
            }
            // Rounded to the nearest tenth.
            let tenths = bytes.saturating_mul(10).saturating_add(unit / 2) / unit;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        for (bytes, shown) in [
            (0, "-"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (3 << 20, "3.0 MiB"),
        ] {
            assert_eq!(human_size(bytes), shown);
        }
    }
}

//! `status.history`: what was built and applied, newest first.

use serde_json::{Map, Value, json};

/// Entries kept at most.
const MAX_ENTRIES: usize = 5;

/// One run, as it goes into the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// Digest of what was built (`sha256:…`).
    pub digest: &'a str,
    /// Its outcome: the reason of the `Ready` condition.
    pub status: &'a str,
    /// When it ended (RFC 3339).
    pub time: &'a str,
    /// How long it took, as Go writes durations.
    pub duration: &'a str,
    /// Revision of the source.
    pub revision: &'a str,
    /// Revision of the source's origin, or empty.
    pub origin_revision: &'a str,
}

/// The history with a run put in: runs of one digest and status share an entry, which moves to the front.
#[must_use]
pub fn record(history: &Value, run: &Run<'_>) -> Value {
    let mut entries: Vec<Value> = history.as_array().cloned().unwrap_or_default();
    let known = entries
        .iter()
        .position(|entry| entry["digest"] == run.digest && entry["lastReconciledStatus"] == run.status);
    let mut entry = match known {
        Some(position) => entries.remove(position),
        None => json!({"digest": run.digest, "firstReconciled": run.time, "totalReconciliations": 0}),
    };
    let mut metadata = Map::new();
    metadata.insert("revision".to_owned(), run.revision.into());
    if !run.origin_revision.is_empty() {
        metadata.insert("originRevision".to_owned(), run.origin_revision.into());
    }
    let total = entry["totalReconciliations"].as_i64().unwrap_or_default();
    entry["lastReconciled"] = run.time.into();
    entry["lastReconciledDuration"] = run.duration.into();
    entry["lastReconciledStatus"] = run.status.into();
    entry["totalReconciliations"] = total.saturating_add(1).into();
    entry["metadata"] = Value::Object(metadata);
    entries.insert(0, entry);
    entries.truncate(MAX_ENTRIES);
    Value::Array(entries)
}

/// The digest of built manifests: what was built says what was tried.
#[must_use]
pub fn digest(manifests: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::digest(manifests);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<'a>(digest: &'a str, status: &'a str, time: &'a str) -> Run<'a> {
        Run {
            digest,
            status,
            time,
            duration: "1s",
            revision: "main@sha1:a",
            origin_revision: "",
        }
    }

    #[test]
    fn runs_of_one_digest_and_status_share_an_entry() {
        let mut history = Value::Null;
        for (digest, status, time) in [
            ("a", "ok", "1"),
            ("b", "ok", "2"),
            ("b", "bad", "3"),
            ("a", "ok", "4"),
        ] {
            history = record(&history, &run(digest, status, time));
        }
        let shown: Vec<String> = history
            .as_array()
            .into_iter()
            .flatten()
            .map(|e| {
                format!(
                    "{} {} {}-{} x{}",
                    e["digest"],
                    e["lastReconciledStatus"],
                    e["firstReconciled"],
                    e["lastReconciled"],
                    e["totalReconciliations"]
                )
                .replace('"', "")
            })
            .collect();
        assert_eq!(shown, ["a ok 1-4 x2", "b bad 3-3 x1", "b ok 2-2 x1"]);
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut history = Value::Null;
        for digest in ["a", "b", "c", "d", "e", "f"] {
            history = record(&history, &run(digest, "ok", "t"));
        }
        let digests: Vec<_> = history
            .as_array()
            .into_iter()
            .flatten()
            .map(|e| e["digest"].clone())
            .collect();
        assert_eq!(digests, ["f", "e", "d", "c", "b"]);
    }

    #[test]
    fn digests_are_sha256() {
        assert_eq!(
            digest(b""),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}

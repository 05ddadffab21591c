//! From rendered texts to manifests and hooks: splitting, reading heads, install order.

mod head;

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use fluvial_parallel::WORTH;
use serde_json::Value as Json;

use crate::error::{Error, Stage};
use crate::values::yaml_to_json;
use head::Head;

/// A document of the release.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The template that made it.
    pub source: String,
    /// The line of the template's output at which it begins, from 0.
    pub line: usize,
    /// Its text.
    pub content: String,
    /// Its `kind`.
    pub kind: String,
    pub(crate) object: OnceLock<Json>,
}

impl Manifest {
    /// The document as JSON, read when it is first asked for.
    #[must_use]
    pub fn object(&self) -> &Json {
        object_of(&self.object, &self.content)
    }
}

/// A document that has been found to be one.
fn object_of<'o>(object: &'o OnceLock<Json>, text: &str) -> &'o Json {
    object.get_or_init(|| yaml_to_json(text).unwrap_or_default())
}

/// A document that is applied at certain moments, not kept as part of the release.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The object's name.
    pub name: String,
    /// The object's kind.
    pub kind: String,
    /// The template that made it.
    pub path: String,
    /// The line of the template's output at which it begins, from 0.
    pub line: usize,
    /// Its text.
    pub manifest: String,
    /// `pre-install`, `test`, and so on.
    pub events: Vec<String>,
    /// Lighter hooks of an event run first.
    pub weight: i64,
    /// When it is deleted again.
    pub delete_policies: Vec<String>,
    /// When its pods' logs are shown.
    pub output_log_policies: Vec<String>,
    pub(crate) object: OnceLock<Json>,
}

impl Hook {
    /// The document as JSON, read when it is first asked for.
    #[must_use]
    pub fn object(&self) -> &Json {
        object_of(&self.object, &self.manifest)
    }

    /// Whether it is a test.
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.events.iter().any(|event| event == "test")
    }
}

const EVENTS: [&str; 9] = [
    "pre-install",
    "post-install",
    "pre-delete",
    "post-delete",
    "pre-upgrade",
    "post-upgrade",
    "pre-rollback",
    "post-rollback",
    "test",
];

/// Kinds in the order in which they are installed.
const INSTALL_ORDER: [&str; 38] = [
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// Where a kind stands; unknown ones come last, by name.
pub(crate) fn rank(kind: &str) -> (usize, &str) {
    match INSTALL_ORDER.iter().position(|known| *known == kind) {
        Some(rank) => (rank, ""),
        None => (INSTALL_ORDER.len(), kind),
    }
}

/// The documents of a text. They are told apart by `---` at the beginning of a line and what space follows
/// it, not by YAML's rules.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let text = text.trim_start();
    let mut documents = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let (end, next) = match separator(text, start) {
            Some(at) => (at, text.len() - text[at + 3..].trim_start().len()),
            None => (text.len(), text.len()),
        };
        let document = text[start..end].trim_start();
        if !document.is_empty() {
            documents.push(document);
        }
        start = next;
    }
    documents
}

/// The first place from `start` on where a line of a text begins with `---`.
fn separator(text: &str, start: usize) -> Option<usize> {
    let begins_line = start == 0 || text.as_bytes()[start - 1] == b'\n';
    if begins_line && text[start..].starts_with("---") {
        return Some(start);
    }
    memchr::memmem::find(&text.as_bytes()[start..], b"\n---").map(|at| start + at + 1)
}

/// A document of a template's output.
#[derive(Clone, Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    Hook(Hook),
}

/// Adds the documents of what a template made.
pub(crate) fn read(path: &str, text: String, documents: &mut Vec<Document>) -> Result<(), Error> {
    let heads = heads(path, &text)?;
    add(path, text, heads, documents);
    Ok(())
}

/// Texts that are read while the next ones are made.
#[derive(Default)]
struct Texts {
    waiting: VecDeque<(String, String)>,
    read: Vec<(String, Result<Vec<Document>, Error>)>,
    /// No more will come.
    complete: bool,
}

#[derive(Default)]
struct Queue {
    texts: Mutex<Texts>,
    changed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self) {
        self.lock().complete = true;
        self.changed.notify_all();
    }

    /// Reads until everything is read.
    fn work(&self) {
        let mut texts = self.lock();
        loop {
            if let Some((path, text)) = texts.waiting.pop_front() {
                drop(texts);
                let mut documents = Vec::new();
                let result = read(&path, text, &mut documents).map(|()| documents);
                texts = self.lock();
                texts.read.push((path, result));
            } else if texts.complete {
                return;
            } else {
                texts = self.changed.wait(texts).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Takes what templates make.
pub(crate) struct Reading<'s, 'q> {
    scope: &'s Scope<'s, 'q>,
    queue: &'q Queue,
    threads: usize,
    size: usize,
    workers: Vec<ScopedJoinHandle<'s, ()>>,
}

impl Reading<'_, '_> {
    /// Another text; once they are many, other threads begin to read.
    pub(crate) fn add(&mut self, path: String, text: String) {
        self.size += text.len();
        self.queue.lock().waiting.push_back((path, text));
        self.queue.changed.notify_one();
        if self.size > WORTH && self.workers.len() + 1 < self.threads {
            let queue = self.queue;
            self.workers.push(self.scope.spawn(move || queue.work()));
        }
    }
}

/// The documents of what templates make, in the order of the templates' names.
pub(crate) fn read_while(
    threads: usize,
    make: impl FnOnce(&mut Reading<'_, '_>) -> Result<(), Error>,
) -> Result<Vec<Document>, Error> {
    let queue = Queue::default();
    let made = std::thread::scope(|scope| {
        let mut reading = Reading {
            scope,
            queue: &queue,
            threads,
            size: 0,
            workers: Vec::new(),
        };
        // Whoever waits has to be told, whatever happens.
        let told = Told(&queue);
        let made = make(&mut reading);
        drop(told);
        if made.is_ok() {
            queue.work();
        }
        for worker in reading.workers {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        made
    });
    made?;
    let mut read = queue
        .texts
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .read;
    read.sort_by(|a, b| a.0.cmp(&b.0));
    let mut documents = Vec::with_capacity(read.len());
    for (_, result) in read {
        documents.extend(result?);
    }
    Ok(documents)
}

/// Says that no more texts come.
struct Told<'q>(&'q Queue);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.complete();
    }
}

fn heads(path: &str, text: &str) -> Result<Vec<Head>, Error> {
    let wrong = |error| Error::new(Stage::Manifest, format!("YAML parse error on {path}: {error}"));
    let documents = split(text).into_iter();
    documents
        .map(|document| head::read(document).map_err(wrong))
        .collect()
}

/// Adds the documents of a text whose heads have been read.
fn add(path: &str, text: String, heads: Vec<Head>, documents: &mut Vec<Document>) {
    let found = split(&text);
    if let [only] = found.as_slice() {
        let (start, end) = (place(&text, only), only.len());
        let line = lines(&text[..start]);
        // A text that holds one document becomes it.
        let mut text = text;
        text.truncate(start + end);
        text.drain(..start);
        documents.extend(
            heads
                .into_iter()
                .filter_map(|head| made(path, line, head, std::mem::take(&mut text))),
        );
        return;
    }
    let (mut line, mut counted) = (0, 0);
    for (document, head) in found.into_iter().zip(heads) {
        let start = place(&text, document);
        line += lines(&text[counted..start]);
        counted = start;
        documents.extend(made(path, line, head, document.to_owned()));
    }
}

/// Where a part of a text begins.
fn place(text: &str, part: &str) -> usize {
    part.as_ptr().addr() - text.as_ptr().addr()
}

fn lines(text: &str) -> usize {
    memchr::memchr_iter(b'\n', text.as_bytes()).count()
}

/// A document that runs or is kept; nothing for a hook of unknown events.
fn made(path: &str, line: usize, head: Head, text: String) -> Option<Document> {
    let Some(events) = head.annotation("helm.sh/hook") else {
        return Some(Document::Manifest(Manifest {
            source: path.to_owned(),
            line,
            content: text,
            kind: head.kind,
            object: head.object,
        }));
    };
    Some(Document::Hook(Hook {
        events: read_events(events)?,
        weight: head
            .annotation("helm.sh/hook-weight")
            .and_then(|weight| weight.parse().ok())
            .unwrap_or(0),
        delete_policies: head.policies("helm.sh/hook-delete-policy"),
        output_log_policies: head.policies("helm.sh/hook-output-log-policy"),
        path: path.to_owned(),
        line,
        manifest: text,
        name: head.name,
        kind: head.kind,
        object: head.object,
    }))
}

/// Manifests and hooks of a release, each in install order.
pub(crate) fn sort(documents: impl IntoIterator<Item = Document>) -> (Vec<Manifest>, Vec<Hook>) {
    let (mut manifests, mut hooks) = (Vec::new(), Vec::new());
    for document in documents {
        match document {
            Document::Manifest(manifest) => manifests.push(manifest),
            Document::Hook(hook) => hooks.push(hook),
        }
    }
    manifests.sort_by(|a, b| rank(&a.kind).cmp(&rank(&b.kind)));
    hooks.sort_by(|a, b| rank(&a.kind).cmp(&rank(&b.kind)));
    (manifests, hooks)
}

/// The events of a hook; none if one of them is unknown: such a hook never runs.
fn read_events(text: &str) -> Option<Vec<String>> {
    text.split(',')
        .map(|event| {
            let event = event.trim().to_lowercase();
            let event = if event == "test-success" {
                "test".to_owned()
            } else {
                event
            };
            EVENTS.contains(&event.as_str()).then_some(event)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_apart_by_lines_that_begin_with_dashes() {
        for (text, expected) in [
            ("a\n---\nb\n", &["a\n", "b\n"][..]),
            ("---\n---\n\n---\na", &["a"]),
            ("--- ---\na", &["---\na"]),
            ("------\na", &["---\na"]),
            (" ---\na\n --- b\n---c", &["a\n --- b\n", "c"]),
            ("a---\n", &["a---\n"]),
            ("", &[]),
            ("\n \n", &[]),
            ("---", &[]),
            ("a\n--- # x\nb", &["a\n", "# x\nb"]),
        ] {
            assert_eq!(split(text), expected, "{text:?}");
        }
    }
}

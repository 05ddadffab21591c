//! What a rendering keeps so that the next one of the same chart can do less: each template's output
//! with what it read. A template whose reads have not changed gives the same output again.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fluvial_template::sprig::Ambient;
use fluvial_template::{Depth, Guard, Map, Read, Run, Trace};
use serde_json::Value as Json;

use crate::capabilities::Capabilities;
use crate::chart::Chart;
use crate::dependencies::Member;
use crate::functions::Lookup;
use crate::manifest::Document;
use crate::render::{Options, Release};

/// A rendering, kept for the next one. See [`render_again`](crate::render_again).
#[derive(Clone, Debug)]
pub struct Record {
    pub(crate) chart: Arc<Chart>,
    pub(crate) release: Release,
    pub(crate) capabilities: Capabilities,
    pub(crate) options: Options,
    /// Which charts took part, and what is left of their declarations.
    pub(crate) members: String,
    pub(crate) values: Json,
    /// No template changed what others see.
    pub(crate) still: bool,
    pub(crate) templates: BTreeMap<String, Kept>,
    pub(crate) reused: usize,
}

/// What is kept of one template.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) text: Arc<str>,
    /// None: it may have read anything, or asked the clock, randomness or the cluster.
    pub(crate) reads: Option<Arc<[Read]>>,
    pub(crate) documents: Arc<[Document]>,
}

impl Record {
    /// How many templates of the rendering were taken over from the one before.
    #[must_use]
    pub fn reused(&self) -> usize {
        self.reused
    }

    /// How many templates there are.
    #[must_use]
    pub fn templates(&self) -> usize {
        self.templates.len()
    }

    /// What a template gives again with other values, if that is certain.
    pub(crate) fn again(&self, template: &str, values: &Json) -> Option<&Kept> {
        let kept = self.templates.get(template)?;
        let reads = kept.reads.as_deref()?;
        reads
            .iter()
            .all(|read| same(read, &self.values, values))
            .then_some(kept)
    }
}

/// A text that tells sets of charts apart.
pub(crate) fn fingerprint(member: &Member, out: &mut String) {
    out.push_str(&member.name);
    out.push('(');
    for dependency in &member.declared {
        out.push_str(&dependency.name);
        out.push(',');
    }
    for child in &member.children {
        fingerprint(child, out);
    }
    out.push(')');
}

fn at<'v>(values: &'v Json, path: &[Arc<str>]) -> Option<&'v Json> {
    path.iter()
        .try_fold(values, |here, key| here.as_object()?.get(&**key))
}

/// Whether a look at other values shows the same.
fn same(read: &Read, old: &Json, new: &Json) -> bool {
    let (old, new) = (at(old, &read.path), at(new, &read.path));
    match (old, new, read.depth) {
        (None, None, _) => true,
        (Some(Json::Object(_)), Some(Json::Object(_)), Depth::Entry) => true,
        (Some(Json::Object(old)), Some(Json::Object(new)), Depth::Emptiness) => {
            old.is_empty() == new.is_empty()
        }
        (Some(Json::Object(old)), Some(Json::Object(new)), Depth::Shallow) => {
            old.len() == new.len()
                && old.iter().zip(new).all(|((key, old), (other, new))| {
                    key == other && (old.is_object() && new.is_object() || old == new)
                })
        }
        (Some(old), Some(new), _) => old == new,
        _ => false,
    }
}

/// Notes one rendering while it runs.
pub(crate) struct Recorder {
    pub(crate) trace: Trace,
    pub(crate) guard: Guard,
    pub(crate) runs: BTreeMap<String, Run>,
    /// Templates whose output may be taken over, with what they read.
    pub(crate) reads: BTreeMap<String, Option<Arc<[Read]>>>,
    /// Whether a template changed what others see.
    pub(crate) moved: bool,
    asked: Asked,
}

/// Whether the outside was asked.
#[derive(Clone, Default)]
struct Asked {
    ambient: Rc<Cell<bool>>,
    lookup: Arc<AtomicBool>,
}

impl Recorder {
    pub(crate) fn new(values: &Map) -> Self {
        let mut trace = Trace::new();
        trace.watch(values, "");
        Recorder {
            trace,
            guard: Guard::default(),
            runs: BTreeMap::new(),
            reads: BTreeMap::new(),
            moved: false,
            asked: Asked::default(),
        }
    }

    /// A clock and randomness of which it is noted whether they were asked.
    pub(crate) fn ambient(&self, inner: Box<dyn Ambient>) -> Box<dyn Ambient> {
        Box::new(NotedAmbient {
            inner,
            asked: Rc::clone(&self.asked.ambient),
        })
    }

    /// A cluster of which it is noted whether it was asked.
    pub(crate) fn lookup(&self, inner: Arc<dyn Lookup>) -> Arc<dyn Lookup> {
        Arc::new(NotedLookup {
            inner,
            asked: Arc::clone(&self.asked.lookup),
        })
    }

    /// A template is about to run.
    pub(crate) fn begin(&mut self) {
        self.asked.ambient.set(false);
        self.asked.lookup.store(false, Ordering::Relaxed);
    }

    /// A template has run.
    pub(crate) fn end(&mut self, name: &str) {
        let run = self.trace.take();
        self.moved |= self.guard.changed();
        let asked = self.asked.ambient.get() || self.asked.lookup.load(Ordering::Relaxed);
        let reads = run.reads().filter(|_| !asked).map(Arc::from);
        self.reads.insert(name.to_owned(), reads);
        self.runs.insert(name.to_owned(), run);
    }
}

struct NotedAmbient {
    inner: Box<dyn Ambient>,
    asked: Rc<Cell<bool>>,
}

impl Ambient for NotedAmbient {
    fn now(&mut self) -> i128 {
        self.asked.set(true);
        self.inner.now()
    }

    fn random(&mut self, buffer: &mut [u8]) {
        self.asked.set(true);
        self.inner.random(buffer);
    }

    fn addresses(&mut self, host: &str) -> Option<Vec<String>> {
        self.asked.set(true);
        self.inner.addresses(host)
    }
}

struct NotedLookup {
    inner: Arc<dyn Lookup>,
    asked: Arc<AtomicBool>,
}

impl Lookup for NotedLookup {
    fn lookup(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Result<Json, String> {
        self.asked.store(true, Ordering::Relaxed);
        self.inner.lookup(api_version, kind, namespace, name)
    }
}

//! Runs a release's templates: order, data of each chart, and Helm's shape of errors.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use fluvial_parallel::{WORTH, each};
use fluvial_template::sprig::{Ambient, Host};
use fluvial_template::{ExecError, Functions, Limits, Map, MissingKey, Parsed, Set, Value};

use crate::chart::Chart;
use crate::dependencies::{Member, full_path};
use crate::error::{Error, Stage};
use crate::files::Files;
use crate::functions::{self, FAIL_END, FAIL_START, Lookup, RunState};
use crate::metadata::chart_value;
use crate::objects::Table;
use crate::record::{Record, Recorder};
use crate::values::put;

/// How templates run.
pub(crate) struct Mode {
    pub(crate) strict: bool,
    pub(crate) lint: bool,
    pub(crate) limits: Limits,
    pub(crate) threads: usize,
    pub(crate) lookup: Arc<dyn Lookup>,
    pub(crate) ambient: Box<dyn Ambient>,
}

/// What all charts of a release share.
pub(crate) struct Top {
    pub(crate) values: Map,
    pub(crate) release: Value,
    pub(crate) capabilities: Value,
}

struct Template {
    parsed: Parsed,
    data: Map,
    base: Rc<str>,
}

static FUNCTIONS: LazyLock<Arc<Functions>> = LazyLock::new(|| Arc::new(functions::all()));

/// What is to be noted of a run, and what is there of an earlier one.
pub(crate) struct Notes<'n> {
    pub(crate) recorder: &'n mut Recorder,
    /// The rendering before and the values of this one, if outputs may be taken over.
    pub(crate) before: Option<(&'n Record, &'n serde_json::Value)>,
}

/// Runs every template of the release; `made` gets its full name and its text. Those that are taken over are left out.
pub(crate) fn run(
    root: &Member,
    top: &Top,
    mut mode: Mode,
    mut notes: Option<Notes<'_>>,
    made: &mut dyn FnMut(String, String),
) -> Result<(), Error> {
    let mut sources = Vec::new();
    let mut unlink = Unlink(vec![top.values.clone()]);
    gather(root, None, top, &root.chart, &mut sources, &mut unlink)?;
    // Charts of the same name overwrite each other's templates, the later one wins.
    let sources: BTreeMap<String, Source> = sources
        .into_iter()
        .map(|source| (source.name.clone(), source))
        .collect();
    let mut sources: Vec<Source> = sources.into_values().collect();
    // Deeper files first, later names first: what stands higher up overrides definitions below. Of several that do
    // not parse, the first of this order is named.
    sources.sort_by_cached_key(|source| {
        std::cmp::Reverse((source.name.matches('/').count(), source.name.clone()))
    });
    read_ahead(&sources, mode.threads);
    let mut templates: BTreeMap<String, Template> = BTreeMap::new();
    let mut order: Vec<String> = Vec::with_capacity(sources.len());
    for source in sources {
        let name = source.name.clone();
        templates.insert(name.clone(), source.template()?);
        order.push(name);
    }
    let mut set = Set::new(Arc::clone(&FUNCTIONS));
    set.set_patterns(Arc::clone(&root.chart.parsed.patterns));
    set.set_missing_key(if mode.strict {
        MissingKey::Error
    } else {
        MissingKey::Zero
    });
    for name in &order {
        set.add_parsed(&templates[name].parsed);
    }
    let set = Arc::new(set);
    if let Some(notes) = &mut notes {
        unlink.0.iter().for_each(|map| notes.recorder.guard.add(map));
        mode.ambient = notes.recorder.ambient(mode.ambient);
        mode.lookup = notes.recorder.lookup(mode.lookup);
    }
    let mut host = Host {
        ambient: mode.ambient,
        state: Box::new(RunState::new(Arc::clone(&set), mode.lookup, mode.lint)),
    };
    let mut left = mode.limits.output;
    for name in &order {
        if name.rsplit('/').next().is_some_and(|base| base.starts_with('_')) {
            continue;
        }
        if let Some((record, values)) = notes.as_ref().and_then(|notes| notes.before)
            && let Some(kept) = record.again(name, values)
        {
            left = left.saturating_sub(kept.text.len());
            continue;
        }
        let template = &templates[name];
        let about = Map::default();
        put(&about, "Name", name.as_str().into());
        put(&about, "BasePath", Value::Str(Rc::clone(&template.base)));
        let mark = || put(&template.data, "Template", Table::value(about));
        match &mut notes {
            Some(notes) => notes.recorder.guard.accept(&template.data, mark),
            None => mark(),
        }
        let limits = Limits {
            output: left,
            ..mode.limits
        };
        let data = Table::value(template.data.clone());
        let out = match &mut notes {
            None => set.execute_raw(name, &data, limits, &mut host),
            Some(Notes { recorder, .. }) => {
                recorder.begin();
                let out = set.execute_traced(name, &data, limits, &mut host, &mut recorder.trace);
                recorder.end(name);
                out
            }
        };
        let out = out.map_err(|error| Error::new(Stage::Template, reformat(name, &error)))?;
        left = left.saturating_sub(out.len());
        let out = if out.contains("<no value>") {
            out.replace("<no value>", "")
        } else {
            out
        };
        made(name.clone(), out);
    }
    Ok(())
}

/// Empties the tables of a run when it ends: templates tie them into each other, and nobody would
/// free such a knot.
struct Unlink(Vec<Map>);

impl Drop for Unlink {
    fn drop(&mut self) {
        for map in &self.0 {
            let entries = std::mem::take(&mut *map.borrow_mut());
            drop(entries);
        }
    }
}

struct Source {
    name: String,
    text: Arc<[u8]>,
    data: Map,
    base: Rc<str>,
    cache: Arc<Chart>,
}

/// Parses the templates of a chart that have not been parsed, a large one's by several threads. Charts often hold the
/// same library several times: equal texts are parsed once.
fn read_ahead(sources: &[Source], threads: usize) {
    let Some(cache) = sources.first().map(|source| &source.cache.parsed) else {
        return;
    };
    let is_missing = |index: &usize| cache.get(&sources[*index].name).is_none();
    let missing: Vec<usize> = (0..sources.len()).filter(is_missing).collect();
    if missing.is_empty() {
        return;
    }
    let equal = earlier_equals(sources.iter().map(|source| &*source.text));
    let (copies, firsts): (Vec<usize>, Vec<usize>) =
        missing.into_iter().partition(|index| equal[*index].is_some());
    let size: usize = firsts.iter().map(|index| sources[*index].text.len()).sum();
    let texts: Vec<(&str, &[u8])> = firsts
        .iter()
        .map(|index| (&*sources[*index].name, &*sources[*index].text))
        .collect();
    let threads = if size > WORTH { threads } else { 1 };
    let parsed = each(&texts, threads, |(name, text)| parse(name, text).ok());
    for ((name, _), parsed) in texts.iter().zip(parsed) {
        // What does not parse says so when its turn comes.
        if let Some(parsed) = parsed {
            cache.put(name, parsed);
        }
    }
    for index in copies {
        let name = &sources[index].name;
        let first = equal[index].and_then(|first| cache.get(&sources[first].name));
        // What cannot be taken over is parsed when its turn comes.
        if let Some(parsed) = first.and_then(|first| first.again(name)) {
            cache.put(name, parsed);
        }
    }
}

/// For each text the first one, if that is an earlier one, that is equal to it.
fn earlier_equals<'t>(texts: impl Iterator<Item = &'t [u8]>) -> Vec<Option<usize>> {
    let mut known: BTreeMap<(usize, &[u8]), usize> = BTreeMap::new();
    let mut first = |(index, text): (usize, &'t [u8])| {
        let first = *known.entry((text.len(), text)).or_insert(index);
        (first < index).then_some(first)
    };
    texts.enumerate().map(&mut first).collect()
}

/// Runs what has to be done before templates are needed, while another thread begins to parse those of a large chart.
/// Which of them take part is not known yet: only those whose charts have no other name are named right, and the thread
/// stops as soon as it is known.
pub(crate) fn meanwhile<T>(chart: &Arc<Chart>, threads: usize, run: impl FnOnce() -> T) -> T {
    let mut texts = Vec::new();
    if threads > 1 && chart.parsed.is_empty() {
        texts_of(chart, None, &mut texts);
    }
    let size: usize = texts.iter().map(|(_, text)| text.len()).sum();
    if size <= WORTH {
        return run();
    }
    let known = AtomicBool::new(false);
    let work = || {
        let equal = earlier_equals(texts.iter().map(|(_, text)| *text));
        for ((name, text), _) in texts.iter().zip(equal).filter(|(_, equal)| equal.is_none()) {
            if known.load(Ordering::Relaxed) {
                return;
            }
            if let Ok(parsed) = parse(name, text) {
                chart.parsed.put(name, parsed);
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let done = run();
        known.store(true, Ordering::Relaxed);
        other.join().unwrap_or_else(|panic| resume_unwind(panic));
        done
    })
}

/// The templates of a chart and of those below it by the names that they have without aliases.
fn texts_of<'c>(chart: &'c Chart, parent: Option<&str>, texts: &mut Vec<(String, &'c [u8])>) {
    let path = full_path(parent, chart.name());
    let templates = chart.templates.iter();
    texts.extend(templates.map(|file| (format!("{path}/{}", file.name), file.data())));
    for child in &chart.dependencies {
        texts_of(child, Some(&path), texts);
    }
}

fn parse(name: &str, text: &[u8]) -> Result<Parsed, Error> {
    FUNCTIONS
        .parse(name, &fluvial_template::bytes::from_bytes(text))
        .map_err(|error| {
            let text = error.to_string();
            Error::new(Stage::Template, clean_parse_error(name, &text))
        })
}

impl Source {
    fn template(self) -> Result<Template, Error> {
        let parsed = match self.cache.parsed.get(&self.name) {
            Some(parsed) => parsed,
            None => {
                let parsed = parse(&self.name, &self.text)?;
                self.cache.parsed.put(&self.name, parsed.clone());
                parsed
            }
        };
        Ok(Template {
            parsed,
            data: self.data,
            base: self.base,
        })
    }
}

/// The data of a chart and its dependencies, and the templates that get it.
fn gather(
    member: &Member,
    parent_values: Option<&Map>,
    top: &Top,
    cache: &Arc<Chart>,
    sources: &mut Vec<Source>,
    unlink: &mut Unlink,
) -> Result<Map, Error> {
    let path = &member.path;
    let values = match parent_values {
        None => top.values.clone(),
        Some(parent) => match parent.get(&member.name) {
            Some(Value::Map(map)) => map,
            _ => Map::default(),
        },
    };
    let subcharts = Map::default();
    let data = Map::default();
    unlink.0.extend([data.clone(), subcharts.clone(), values.clone()]);
    let chart = chart_value(
        &member.chart.metadata,
        &member.name,
        &member.declared,
        parent_values.is_none(),
    );
    put(&data, "Chart", chart.into());
    put(&data, "Files", Files::of(&member.chart));
    put(&data, "Release", top.release.clone());
    put(&data, "Capabilities", top.capabilities.clone());
    put(&data, "Values", Table::value(values.clone()));
    put(&data, "Subcharts", subcharts.clone().into());
    for child in &member.children {
        let inner = gather(child, Some(&values), top, cache, sources, unlink)?;
        put(&subcharts, &child.name, inner.into());
    }
    let base: Rc<str> = format!("{path}/templates").into();
    for file in &member.chart.templates {
        let last = file.name.rsplit('/').next().unwrap_or_default();
        if member.chart.metadata.is_library() && !last.starts_with('_') {
            continue;
        }
        sources.push(Source {
            name: format!("{path}/{}", file.name),
            text: file.shared(),
            data: data.clone(),
            base: Rc::clone(&base),
            cache: Arc::clone(cache),
        });
    }
    Ok(data)
}

fn clean_parse_error(name: &str, text: &str) -> String {
    let parts: Vec<&str> = text.split(": ").collect();
    match parts.as_slice() {
        [_, location, .., last] => format!("parse error at ({location}): {last}"),
        [_, location] => format!("parse error at ({location}): {location}"),
        _ => format!("parse error in ({name}): {text}"),
    }
}

/// One step of a failed run as Helm prints it.
#[derive(PartialEq, Eq)]
struct Trace {
    location: String,
    executed: String,
    message: String,
}

/// Helm's form of a template's failure: one line for what a chart says itself or a function
/// reports, several where all steps are the template language's own.
fn reformat(file: &str, error: &ExecError) -> String {
    let text = error.to_string();
    let parts: Vec<&str> = text.splitn(3, ": ").collect();
    let [_, location, rest] = parts.as_slice() else {
        return format!("execution error in ({file}): {text}");
    };
    if let Some(asked) = marked(rest) {
        return format!("execution error at ({location}): {asked}");
    }
    let mut traces: Vec<Trace> = Vec::new();
    let mut current = Some(error);
    while let Some(step) = current {
        let Some(trace) = trace(&step.to_string()) else {
            return text;
        };
        if traces.last() != Some(&trace) {
            traces.push(trace);
        }
        current = step.source.as_deref();
        if current.is_none()
            && let Some(inner) = called_error(&step.message)
        {
            match trace_of_missing(inner) {
                Some(trace) => traces.push(trace),
                None => return text,
            }
        }
    }
    let mut out = String::new();
    for trace in traces {
        if !trace.location.is_empty() {
            out.push_str(&trace.location);
            out.push_str("\n  ");
        }
        if !trace.executed.is_empty() {
            out.push_str(&trace.executed);
            out.push_str("\n    ");
        }
        if !trace.message.is_empty() {
            out.push_str(&trace.message);
            out.push('\n');
        }
    }
    out.trim().to_owned()
}

/// What a function reported, if the failure is a call's.
fn called_error(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("error calling ")?;
    rest.split_once(": ").map(|(_, inner)| inner)
}

fn trace_of_missing(text: &str) -> Option<Trace> {
    text.starts_with("template: no template ").then(|| Trace {
        location: String::new(),
        executed: String::new(),
        message: text.to_owned(),
    })
}

/// The text between the marks of `fail` and `required`.
fn marked(text: &str) -> Option<&str> {
    let start = text.find(FAIL_START)? + FAIL_START.len();
    let end = text.rfind(FAIL_END).filter(|end| *end >= start)?;
    Some(&text[start..end])
}

/// Takes a failure's text apart.
fn trace(text: &str) -> Option<Trace> {
    let rest = text.strip_prefix("template: ")?.trim();
    let cut = |message: &str| match message.find(" template:") {
        Some(at) => message[..at].to_owned(),
        None => message.to_owned(),
    };
    if rest.starts_with("no template ") {
        return Some(Trace {
            location: String::new(),
            executed: String::new(),
            message: text.to_owned(),
        });
    }
    if let Some((location, after)) = rest.split_once(": executing ") {
        let after = after.strip_prefix('"')?;
        let (function, after) = after.split_once('"')?;
        let (place, message) = after.strip_prefix(" at <")?.split_once(">: ")?;
        return Some(Trace {
            location: location.to_owned(),
            executed: format!("executing \"{function}\" at <{place}>:"),
            message: cut(message),
        });
    }
    let (location, message) = rest.rsplit_once(": ")?;
    Some(Trace {
        location: location.to_owned(),
        executed: String::new(),
        message: cut(message),
    })
}

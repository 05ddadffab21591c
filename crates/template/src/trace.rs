//! What a run read of the values that were made known to it, and which action wrote which line.
//!
//! Recorded on request only ([`Set::execute_traced`](crate::Set::execute_traced)). Maps are known by
//! identity: whoever prepares the data [watches](Trace::watch) its maps under their paths, and every
//! look at one of them is noted. A map that a function may have read as a whole counts as read as a
//! whole, so that what was not noted was not read.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::ast::SourceText;
use crate::value::{Map, Value};

/// Looks that are kept; a run that looks more often counts as having read everything.
const MOST_TOUCHES: usize = 4_000_000;
/// Statements that are kept; what later ones write has no known origin.
const MOST_STEPS: usize = 1_000_000;
/// Lines that are looked through for one that was taken over.
const FARTHEST: usize = 200;
/// Maps inside of each other that a whole reading follows.
const DEEPEST: usize = 200;

/// What a function reads of the maps that are its arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// Everything in them.
    #[default]
    Whole,
    /// Keys, and what is no map.
    Shallow,
    /// Whether they are empty.
    Emptiness,
    /// The entry of the first one that the other arguments name, step by step.
    Entry,
    /// The entry of the last one that the arguments before it, but for one, name step by step.
    EntryOfLast,
    /// Nothing: it hands them on.
    Nothing,
}

/// How much of a value was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Depth {
    /// Whether there is something, and what, unless it is a map.
    Entry,
    /// Whether the map is empty.
    Emptiness,
    /// The map's keys, and those values that are no maps.
    Shallow,
    /// All of it.
    Whole,
}

/// A look at a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// Where the value is; no part: the root.
    pub path: Vec<Arc<str>>,
    /// How much of it was read.
    pub depth: Depth,
}

/// A statement that wrote something, or decided whether others would.
#[derive(Clone, Debug)]
pub struct Step {
    /// The template that it is part of.
    pub template: Arc<str>,
    /// The file that it stands in.
    pub file: Arc<str>,
    /// Its line, from 1.
    pub line: usize,
    /// The action as Go prints it; empty for plain text.
    pub action: String,
    /// The condition or loop around it, as an index into the steps.
    pub within: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Touch {
    place: u32,
    /// An index into the keys; none: the map itself.
    key: Option<u32>,
    depth: Depth,
}

struct Place {
    /// Kept alive, so that nothing else gets its address.
    _map: Map,
    /// Where it hangs: in which other place, under which key. Charts share maps, so there may be several.
    at: Hung,
}

/// A part of a text's line: the step that wrote it, and how many lines below the step's first it stands.
pub(crate) type Part = (u32, u32);

struct Known {
    /// Keeps the text alive, so that nothing else gets its address.
    _text: Rc<str>,
    lines: Rc<Vec<Vec<Part>>>,
}

pub(crate) struct StepData {
    pub(crate) template: Arc<str>,
    pub(crate) source: Arc<SourceText>,
    pub(crate) pos: usize,
    pub(crate) action: Option<String>,
    pub(crate) within: Option<u32>,
    /// Touches by number: from, to.
    pub(crate) reads: (u32, u32),
}

/// Records runs; see the module.
#[derive(Default)]
pub struct Trace {
    known: FxHashMap<usize, u32>,
    places: Vec<Place>,
    /// The places' own places, as records share them.
    hung: Option<Arc<[Hung]>>,
    keys: Arc<Vec<Arc<str>>>,
    key_numbers: FxHashMap<Rc<str>, u32>,
    touches: Vec<Touch>,
    /// Where the last statement began.
    fence: usize,
    overflow: bool,
    steps: Vec<StepData>,
    texts: FxHashMap<usize, Known>,
    /// The lines of the text that a nested run has just given.
    pending: Option<(usize, Rc<Vec<Vec<Part>>>)>,
    lines: Vec<Vec<Part>>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} maps, {} looks", self.places.len(), self.touches.len())
    }
}

fn address(text: &Rc<str>) -> usize {
    Rc::as_ptr(text).cast::<u8>().addr()
}

impl Trace {
    /// A record of nothing.
    #[must_use]
    pub fn new() -> Self {
        Trace::default()
    }

    /// Notes looks at a map, and at the maps in it, from now on; `under` names the map's own place.
    pub fn watch(&mut self, map: &Map, under: &str) {
        self.hung = None;
        self.place(map, None, under.into(), 0);
    }

    fn place(&mut self, map: &Map, parent: Option<u32>, key: Arc<str>, depth: usize) {
        if depth > DEEPEST {
            self.overflow = true;
            return;
        }
        if let Some(number) = self.known.get(&map.address()) {
            if let Some(place) = self.places.get_mut(*number as usize) {
                place.at.push((parent, key));
            }
            return;
        }
        let number = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.known.insert(map.address(), number);
        self.places.push(Place {
            _map: map.clone(),
            at: vec![(parent, key)],
        });
        for (key, value) in map.borrow().iter() {
            if let Value::Map(inner) = value {
                self.place(inner, Some(number), Arc::from(&**key), depth + 1);
            }
        }
    }

    /// What the last run read and wrote; the next run begins anew.
    pub fn take(&mut self) -> Run {
        let log = Log {
            touches: std::mem::take(&mut self.touches),
            keys: Arc::clone(&self.keys),
            places: Arc::clone(
                self.hung
                    .get_or_insert_with(|| self.places.iter().map(|place| place.at.clone()).collect()),
            ),
            overflow: self.overflow,
        };
        self.texts.clear();
        self.fence = 0;
        self.pending = None;
        Run {
            log,
            steps: std::mem::take(&mut self.steps),
            lines: std::mem::take(&mut self.lines),
        }
    }

    pub(crate) fn mark(&mut self) -> u32 {
        self.fence = self.touches.len();
        u32::try_from(self.touches.len()).unwrap_or(u32::MAX)
    }

    fn touch(&mut self, touch: Touch) {
        // The same look twice in a row is one, but for each statement its own.
        if self.touches.len() > self.fence && self.touches.last() == Some(&touch) {
            return;
        }
        if self.touches.len() >= MOST_TOUCHES {
            self.overflow = true;
            return;
        }
        self.touches.push(touch);
    }

    /// Notes again what was noted before: a variable that was set by it is read.
    pub(crate) fn again(&mut self, (from, to): (u32, u32)) {
        for index in from..to {
            if let Some(touch) = self.touches.get(index as usize).copied() {
                self.touch(touch);
            }
        }
    }

    /// A key of a map was looked up.
    pub(crate) fn entry(&mut self, map: &Map, key: &str) {
        let Some(place) = self.known.get(&map.address()).copied() else {
            return;
        };
        let key = match self.key_numbers.get(key) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
                Arc::make_mut(&mut self.keys).push(key.into());
                self.key_numbers.insert(key.into(), number);
                number
            }
        };
        self.touch(Touch {
            place,
            key: Some(key),
            depth: Depth::Entry,
        });
    }

    /// A value was looked at.
    pub(crate) fn value(&mut self, value: &Value, depth: Depth) {
        self.value_within(value, depth, &mut FxHashSet::default(), 0);
    }

    fn value_within(&mut self, value: &Value, depth: Depth, seen: &mut FxHashSet<usize>, level: usize) {
        let map = match value {
            Value::Map(map) => map.clone(),
            Value::Object(object) => match object.as_map() {
                Some(map) => map,
                None => return,
            },
            Value::List(list) if depth == Depth::Whole && level <= DEEPEST => {
                for item in list.items() {
                    if matches!(item, Value::Map(_) | Value::List(_) | Value::Object(_)) {
                        self.value_within(item, depth, seen, level + 1);
                    }
                }
                return;
            }
            _ => return,
        };
        if let Some(place) = self.known.get(&map.address()).copied() {
            self.touch(Touch {
                place,
                key: None,
                depth,
            });
            // What templates have put into it since is theirs; what was there is below its path.
            return;
        }
        if depth != Depth::Whole || !seen.insert(map.address()) {
            return;
        }
        if level > DEEPEST {
            self.overflow = true;
            return;
        }
        for item in map.borrow().values() {
            if matches!(item, Value::Map(_) | Value::List(_) | Value::Object(_)) {
                self.value_within(item, depth, seen, level + 1);
            }
        }
    }

    /// The arguments of a function were read.
    pub(crate) fn arguments(&mut self, reads: Reads, values: &[Value]) {
        match reads {
            Reads::Nothing => {}
            Reads::Whole => values.iter().for_each(|value| self.value(value, Depth::Whole)),
            Reads::Shallow => values.iter().for_each(|value| self.value(value, Depth::Shallow)),
            Reads::Emptiness => values
                .iter()
                .for_each(|value| self.value(value, Depth::Emptiness)),
            Reads::Entry => {
                if let Some((map, keys)) = values.split_first() {
                    self.steps_into(map, keys);
                }
            }
            Reads::EntryOfLast => {
                if let [keys @ .., _, map] = values {
                    self.steps_into(map, keys);
                }
            }
        }
    }

    /// Keys were looked up one after the other, each in what the one before gave.
    fn steps_into(&mut self, map: &Value, keys: &[Value]) {
        let mut here = map.clone();
        for key in keys {
            let map = match &here {
                Value::Map(map) => map.clone(),
                Value::Object(object) => match object.as_map() {
                    Some(map) => map,
                    None => return,
                },
                _ => return,
            };
            let Some(key) = key.as_str() else { return };
            self.entry(&map, key);
            let Some(next) = map.get(key) else { return };
            here = next;
        }
    }

    pub(crate) fn step(&mut self, step: StepData) -> Option<u32> {
        if self.steps.len() >= MOST_STEPS {
            return None;
        }
        let number = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        self.steps.push(step);
        Some(number)
    }

    /// A nested run has ended with a text of these lines.
    pub(crate) fn gave(&mut self, length: usize, lines: Vec<Vec<Part>>) {
        self.pending = Some((length, Rc::new(lines)));
    }

    /// The whole run has ended.
    pub(crate) fn ended(&mut self, lines: Vec<Vec<Part>>) {
        self.lines = lines;
    }

    /// The lines of a text that templates made.
    pub(crate) fn lines_of(&self, text: &Rc<str>) -> Option<Rc<Vec<Vec<Part>>>> {
        let known = self.texts.get(&address(text))?;
        Some(Rc::clone(&known.lines))
    }

    /// A function has made a text out of others: lines that are the same but for space around them
    /// keep their origin.
    pub(crate) fn made(&mut self, result: &Value, arguments: &[Value]) {
        let pending = self.pending.take();
        let Value::Str(text) = result else { return };
        let lines = match pending {
            Some((length, lines)) if length == text.len() => Some(lines),
            _ => arguments.iter().find_map(|argument| match argument {
                Value::Str(from) if Rc::ptr_eq(from, text) => self.lines_of(from),
                Value::Str(from) => self
                    .lines_of(from)
                    .map(|lines| Rc::new(carried(from, &lines, text))),
                _ => None,
            }),
        };
        if let Some(lines) = lines {
            self.texts.insert(
                address(text),
                Known {
                    _text: Rc::clone(text),
                    lines,
                },
            );
        }
    }
}

/// The origins of a text's lines for a text that was made of it.
fn carried(from: &str, lines: &[Vec<Part>], to: &str) -> Vec<Vec<Part>> {
    let mut old = from.split('\n').map(str::trim).zip(lines).peekable();
    let mut new = Vec::new();
    for line in to.split('\n') {
        let line = line.trim();
        if line.is_empty() {
            new.push(Vec::new());
            continue;
        }
        // Lines may have been dropped, not made up.
        let mut ahead = old.clone();
        match ahead.by_ref().take(FARTHEST).find(|(text, _)| *text == line) {
            Some((_, parts)) => {
                new.push(parts.clone());
                old = ahead;
            }
            None => new.push(Vec::new()),
        }
    }
    new
}

/// The lines of a text while it is written.
#[derive(Default)]
pub(crate) struct Lines(Vec<Vec<Part>>);

impl Lines {
    /// A text is written by a step; `inner` says more of its lines.
    pub(crate) fn wrote(&mut self, text: &str, step: u32, source_lines: bool, inner: Option<&[Vec<Part>]>) {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 || self.0.is_empty() {
                self.0.push(Vec::new());
            }
            let Some(last) = self.0.last_mut().filter(|_| !line.is_empty()) else {
                continue;
            };
            let offset = if source_lines {
                u32::try_from(index).unwrap_or(0)
            } else {
                0
            };
            last.push((step, offset));
            if let Some(parts) = inner.and_then(|inner| inner.get(index)) {
                last.extend(parts);
            }
        }
    }

    pub(crate) fn into_inner(self) -> Vec<Vec<Part>> {
        self.0
    }
}

type Hung = Vec<(Option<u32>, Arc<str>)>;

struct Log {
    touches: Vec<Touch>,
    keys: Arc<Vec<Arc<str>>>,
    places: Arc<[Hung]>,
    overflow: bool,
}

/// What one run read and wrote.
pub struct Run {
    log: Log,
    steps: Vec<StepData>,
    lines: Vec<Vec<Part>>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} steps, {} lines", self.steps.len(), self.lines.len())
    }
}

impl Run {
    /// Everything that was read. `None`: too much to keep, so anything may have been read.
    #[must_use]
    pub fn reads(&self) -> Option<Vec<Read>> {
        let end = u32::try_from(self.log.touches.len()).unwrap_or(u32::MAX);
        (!self.log.overflow).then(|| self.log.between((0, end)))
    }

    /// How many statements wrote something or decided about it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing was written or decided.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// A statement.
    #[must_use]
    pub fn step(&self, index: usize) -> Option<Step> {
        let step = self.steps.get(index)?;
        let (line, _) = step.source.position(step.pos);
        Some(Step {
            template: Arc::clone(&step.template),
            file: Arc::clone(&step.source.name),
            line,
            action: step.action.clone().unwrap_or_default(),
            within: step.within.map(|within| within as usize),
        })
    }

    /// What a statement read, nested templates included.
    #[must_use]
    pub fn reads_of(&self, index: usize) -> Vec<Read> {
        self.steps
            .get(index)
            .map(|step| self.log.between(step.reads))
            .unwrap_or_default()
    }

    /// The statements that wrote a line of the output (from 0), outer ones first: each with how many
    /// lines below its own first line in the source the text stands.
    pub fn line(&self, line: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let parts = self.lines.get(line).into_iter().flatten();
        parts.map(|(step, offset)| (*step as usize, *offset as usize))
    }
}

impl Log {
    fn between(&self, (from, to): (u32, u32)) -> Vec<Read> {
        let touches: BTreeSet<Touch> = (from..to)
            .filter_map(|index| self.touches.get(index as usize).copied())
            .collect();
        let mut reads = BTreeSet::new();
        for touch in touches {
            for mut path in self.paths(touch.place, 0) {
                path.extend(touch.key.and_then(|key| self.keys.get(key as usize)).cloned());
                reads.insert(Read {
                    path,
                    depth: touch.depth,
                });
            }
        }
        reads.into_iter().collect()
    }

    /// All paths of a place.
    fn paths(&self, place: u32, depth: usize) -> Vec<Vec<Arc<str>>> {
        let mut paths = Vec::new();
        if depth > DEEPEST {
            return paths;
        }
        for (parent, key) in self.places.get(place as usize).into_iter().flatten() {
            match parent {
                None if key.is_empty() => paths.push(Vec::new()),
                None => paths.push(vec![Arc::clone(key)]),
                Some(parent) => {
                    for mut path in self.paths(*parent, depth + 1) {
                        path.push(Arc::clone(key));
                        paths.push(path);
                    }
                }
            }
        }
        paths
    }
}

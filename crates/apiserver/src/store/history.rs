//! What happened to the objects of a collection: the newest events as they are, older ones packed. Objects differ
//! little from one write to the next, so that packed events take a small part of what the objects did.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use super::{Change, Event, Expired, LabelHint, Stored};

/// Most events that are remembered.
const EVENTS: usize = 16_384;
/// Newest events that keep the line that watchers are sent: most of these are only just behind.
const LINES: usize = 64;
/// Objects of the events that are kept as they are.
const RECENT_BYTES: usize = 256 << 10;
/// Events that are kept as they are whatever their size.
const RECENT_FLOOR: usize = 16;
/// Objects of the events that are packed together.
const BLOCK_BYTES: usize = 64 << 10;
/// All that is packed; the oldest goes when it is more.
const PACKED_BYTES: usize = 3 << 20;
/// What it may be unpacked: some objects shrink to nothing.
const UNPACKED_BYTES: usize = 48 << 20;
/// Unpacked at a time for somebody who is far behind.
const PORTION: usize = 1 << 20;

/// Events of a collection in order.
#[derive(Debug, Default)]
pub(super) struct History {
    recent: VecDeque<Arc<Event>>,
    recent_bytes: usize,
    packed: VecDeque<Block>,
    packed_bytes: usize,
    unpacked_bytes: usize,
    packed_events: usize,
    /// Events up to this version are forgotten.
    compacted: u64,
}

/// Events that are packed together.
#[derive(Debug)]
struct Block {
    /// Version of the newest.
    last: u64,
    count: usize,
    /// Size of its events before they were packed.
    size: usize,
    data: Box<[u8]>,
}

impl History {
    /// Nothing is known up to a version.
    pub(super) fn after(compacted: u64) -> Self {
        History {
            compacted,
            ..Self::default()
        }
    }

    /// Adds the newest event; gives the older ones that are packed for it.
    pub(super) fn record(&mut self, event: Arc<Event>) -> Vec<Arc<Event>> {
        self.recent_bytes += weight(&event);
        self.recent.push_back(event);
        if let Some(older) = self.recent.len().checked_sub(LINES + 1) {
            self.recent[older].forget_line();
        }
        let mut packed = Vec::new();
        while self.recent_bytes > RECENT_BYTES && self.recent.len() > RECENT_FLOOR {
            packed.append(&mut self.pack());
        }
        while self.packed_events + self.recent.len() > EVENTS
            || self.packed_bytes > PACKED_BYTES
            || self.unpacked_bytes > UNPACKED_BYTES
        {
            self.forget_oldest();
        }
        packed
    }

    fn forget_oldest(&mut self) {
        match self.packed.pop_front() {
            Some(block) => {
                self.packed_bytes -= block.data.len();
                self.unpacked_bytes -= block.size;
                self.packed_events -= block.count;
                self.compacted = block.last;
            }
            None => {
                if let Some(event) = self.recent.pop_front() {
                    self.recent_bytes -= weight(&event);
                    self.compacted = event.version();
                }
            }
        }
    }

    /// Packs the oldest of the events that are not.
    fn pack(&mut self) -> Vec<Arc<Event>> {
        let mut events = Vec::new();
        let mut bytes = 0;
        while bytes < BLOCK_BYTES
            && self.recent.len() > RECENT_FLOOR
            && let Some(event) = self.recent.pop_front()
        {
            bytes += weight(&event);
            events.push(event);
        }
        self.recent_bytes -= bytes;
        if let Some(block) = Block::of(&events) {
            self.packed_bytes += block.data.len();
            self.unpacked_bytes += block.size;
            self.packed_events += block.count;
            self.packed.push_back(block);
        }
        events
    }

    fn known_since(&self, version: u64) -> Result<(), Expired> {
        if version < self.compacted {
            return Err(Expired {
                oldest: self.compacted,
            });
        }
        Ok(())
    }

    /// Events after a version, at most `limit`; fewer when they are large. None are left when there are none.
    pub(super) fn after_version(&self, version: u64, limit: usize) -> Result<Vec<Arc<Event>>, Expired> {
        self.known_since(version)?;
        let mut found = Vec::new();
        let mut size = 0;
        let start = self.packed.partition_point(|block| block.last <= version);
        for block in self.packed.range(start..) {
            let events = block.events().into_iter();
            found.extend(events.filter(|event| event.version() > version));
            size += block.size;
            if found.len() >= limit || size >= PORTION {
                found.truncate(limit);
                return Ok(found);
            }
        }
        let start = self.recent.partition_point(|event| event.version() <= version);
        found.extend(self.recent.range(start..).take(limit).cloned());
        found.truncate(limit);
        Ok(found)
    }

    /// Makes of the objects now those at an earlier version, where `concerns` says that a key is meant.
    pub(super) fn undo(
        &self,
        objects: &mut BTreeMap<Arc<str>, Arc<Stored>>,
        version: u64,
        concerns: impl Fn(&str) -> bool,
    ) -> Result<(), Expired> {
        self.known_since(version)?;
        let mut back = |event: &Event| {
            let key = &event.object.key;
            if event.version() > version && concerns(key) {
                match &event.previous {
                    Some(previous) => objects.insert(key.clone(), previous.clone()),
                    None => objects.remove(key),
                };
            }
        };
        let newer = self.recent.iter().rev();
        newer
            .take_while(|event| event.version() > version)
            .for_each(|event| back(event));
        let blocks = self.packed.iter().rev();
        for block in blocks.take_while(|block| block.last > version) {
            block.events().iter().rev().for_each(|event| back(event));
        }
        Ok(())
    }

    /// Forgets everything up to a version, as a compaction does.
    pub(super) fn compact(&mut self, version: u64) {
        *self = History::after(version);
    }
}

fn weight(event: &Event) -> usize {
    event.object.text.size() + 256
}

/// What an object was before, in a block.
mod before {
    pub(super) const NOTHING: u8 = 0;
    /// The object of an event of the same block.
    pub(super) const IN_BLOCK: u8 = 1;
    pub(super) const WHOLE: u8 = 2;
}

impl Block {
    fn of(events: &[Arc<Event>]) -> Option<Self> {
        let last = events.last()?.version();
        let mut text = Vec::with_capacity(2 * BLOCK_BYTES);
        for (at, event) in events.iter().enumerate() {
            text.put_u8(match event.change {
                Change::Added => 0,
                Change::Modified => 1,
                Change::Deleted => 2,
            });
            put_text(&mut text, event.object.key.as_bytes());
            put_state(&mut text, &event.object);
            let Some(previous) = &event.previous else {
                text.put_u8(before::NOTHING);
                continue;
            };
            let same = |other: &Arc<Event>| Arc::ptr_eq(&other.object, previous);
            match events[..at].iter().position(same).map(u32::try_from) {
                Some(Ok(position)) => {
                    text.put_u8(before::IN_BLOCK);
                    text.put_u32(position);
                }
                _ => {
                    text.put_u8(before::WHOLE);
                    put_state(&mut text, previous);
                }
            }
        }
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        let written = encoder.write_all(&text).and_then(|()| encoder.finish());
        Some(Block {
            last,
            count: events.len(),
            size: text.len(),
            data: written
                .expect("memory can always be written to")
                .into_boxed_slice(),
        })
    }

    fn events(&self) -> Vec<Arc<Event>> {
        let mut text = Vec::new();
        DeflateDecoder::new(&*self.data)
            .read_to_end(&mut text)
            .expect("it was packed by this process");
        let mut text = Bytes::from(text);
        let mut events: Vec<Arc<Event>> = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let change = match text.get_u8() {
                0 => Change::Added,
                1 => Change::Modified,
                _ => Change::Deleted,
            };
            let key: Arc<str> = take_text(&mut text).into();
            let object = Arc::new(take_state(&mut text, &key));
            let previous = match text.get_u8() {
                before::NOTHING => None,
                before::IN_BLOCK => Some(events[text.get_u32() as usize].object.clone()),
                _ => Some(Arc::new(take_state(&mut text, &key))),
            };
            events.push(Arc::new(Event::new(change, object, previous)));
        }
        events
    }
}

fn put_text(text: &mut Vec<u8>, part: &[u8]) {
    // No object comes near this size: requests are bounded.
    text.put_u32(u32::try_from(part.len()).expect("objects are small"));
    text.put_slice(part);
}

fn put_state(text: &mut Vec<u8>, stored: &Stored) {
    text.put_u64(stored.version);
    put_text(text, stored.form.as_deref().unwrap_or_default().as_bytes());
    put_text(text, &stored.json());
}

fn take_bytes(text: &mut Bytes) -> Bytes {
    let length = text.get_u32() as usize;
    text.split_to(length)
}

fn take_text(text: &mut Bytes) -> String {
    String::from_utf8_lossy(&take_bytes(text)).into_owned()
}

fn take_state(text: &mut Bytes, key: &Arc<str>) -> Stored {
    let version = text.get_u64();
    let form = take_text(text);
    Stored {
        key: key.clone(),
        version,
        form: (!form.is_empty()).then(|| form.into()),
        // Its own copy: one that is kept must not keep the whole block.
        text: Bytes::copy_from_slice(&take_bytes(text)).into(),
        labels: LabelHint::UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Collection, Expect, Refused, Store};
    use super::*;

    /// Writes like a fleet that comes to life; gives the state after each write.
    fn written(store: &Store, things: &Collection, count: u64) -> Vec<(u64, BTreeMap<String, u64>)> {
        let mut now: BTreeMap<String, u64> = BTreeMap::new();
        let mut states = vec![(store.version(), now.clone())];
        for number in 0..count {
            let key = format!("n/{}", number * 7 % 97);
            let mut object =
                json!({"metadata": {"name": key}, "status": {"text": "x".repeat(2_000), "number": number}});
            let result: Result<_, Refused> = match now.get(&key) {
                None => store.put(things, &key, Expect::Absent, &mut object),
                Some(version) if number % 5 == 0 => store.remove(things, &key, *version, &mut object),
                Some(version) => store.put(things, &key, Expect::Version(*version), &mut object),
            };
            let version = result.unwrap().version;
            match now.contains_key(&key) && number % 5 == 0 {
                true => now.remove(&key),
                false => now.insert(key, version),
            };
            states.push((version, now.clone()));
        }
        states
    }

    #[test]
    fn what_is_packed_is_told_as_it_happened() {
        let (store, mut notices) = Store::in_memory();
        let things = store.collection("things");
        let states = written(&store, &things, 2_000);
        assert!(things.read().history.packed.len() > 20, "most are packed");
        let mut position = states[0].0;
        let mut told = 0;
        while let Some(event) = things.events_after(position, 1).unwrap().pop() {
            let happened = notices.try_recv().unwrap().event;
            let seen = |event: &Event| {
                let state = |stored: &Arc<Stored>| (stored.version, stored.key.clone(), stored.json());
                (
                    event.change,
                    state(&event.object),
                    event.previous.as_ref().map(state),
                )
            };
            assert_eq!(seen(&event), seen(&happened));
            position = event.version();
            told += 1;
        }
        assert_eq!(told, 2_000);
        let many = things.events_after(states[100].0, 150).unwrap();
        assert_eq!((many.len(), many[149].version()), (150, states[250].0));
    }

    #[test]
    fn every_remembered_version_can_be_listed() {
        let (store, _notices) = Store::in_memory();
        let things = store.collection("things");
        for (version, state) in written(&store, &things, 1_000).into_iter().step_by(9) {
            let found = things.snapshot(&store, "n/", None, Some(version)).unwrap();
            let found: BTreeMap<String, u64> = found
                .objects
                .iter()
                .map(|object| (object.key.to_string(), object.version))
                .collect();
            assert_eq!(found, state, "at {version}");
        }
    }

    #[test]
    fn the_oldest_is_forgotten_and_that_is_said() {
        let (store, _notices) = Store::in_memory();
        let things = store.collection("things");
        let states = written(&store, &things, EVENTS as u64 + 500);
        let oldest = things.events_after(states[1].0, 1).unwrap_err().oldest;
        assert!(things.events_after(oldest, 1).is_ok());
        assert!(things.snapshot(&store, "", None, Some(oldest - 1)).is_err());
        let history = &things.read().history;
        assert!(history.packed_events + history.recent.len() <= EVENTS);
        assert!(history.recent_bytes <= RECENT_BYTES && history.packed_bytes <= PACKED_BYTES);
    }

    #[test]
    fn only_the_newest_keep_their_lines() {
        let (store, _notices) = Store::in_memory();
        let things = store.collection("things");
        written(&store, &things, 1);
        let event = things.events_after(0, 1).unwrap().remove(0);
        let line = event.line("v1", || Bytes::from_static(b"x")).unwrap();
        assert_eq!(event.line("v1", Bytes::new).unwrap(), line);
        assert!(event.line("v2", Bytes::new).is_none());
        for number in 0..LINES {
            let other = format!("o/{number}");
            let mut object = json!({"metadata": {}});
            store.put(&things, &other, Expect::Absent, &mut object).unwrap();
        }
        assert_eq!(event.line("v1", Bytes::new).unwrap(), Bytes::new());
    }
}

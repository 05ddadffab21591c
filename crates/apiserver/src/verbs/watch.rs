//! Watches: the events of a collection as they happen.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::sync::watch as signal;
use tokio::time::{Instant, Sleep};

use super::{Reply, read, show};
use crate::admission::webhooks::Calls;
use crate::api::Api;
use crate::convert::webhook;
use crate::http::negotiate::{Format, Shape};
use crate::http::shape::Shaper;
use crate::kinds::Kind;
use crate::request::Request;
use crate::select::Selection;
use crate::status::{Failure, Outcome};
use crate::store::{Change, Collection, Event, Stored};

/// Events sent in one piece.
const BATCH: usize = 256;
/// How often a quiet watch that asked for it is told the version it has reached.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch that ends says which version it has reached so long before.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// An open watch.
pub struct Watch {
    api: Arc<Api>,
    kind: Arc<Kind>,
    collection: Arc<Collection>,
    selection: Selection,
    prefix: String,
    shaper: Shaper,
    /// Everything up to here has been sent.
    position: u64,
    initial: std::vec::IntoIter<Arc<Stored>>,
    /// A bookmark that ends the initial events is due.
    initial_end: bool,
    bookmarks: bool,
    deadline: Instant,
    next_bookmark: Instant,
    changed: signal::Receiver<()>,
    /// One for all waits: to make one for each costs more than to look at it.
    timer: Pin<Box<Sleep>>,
    ended: bool,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Watch")
            .field("kind", &self.kind.plural)
            .finish_non_exhaustive()
    }
}

/// Refuses options of a watch that do not go together.
fn check_initial(initial: bool, matching: &str, token: &str) -> Outcome<()> {
    use fluvial_schema::{ErrorKind, FieldError};
    let field = "resourceVersionMatch";
    let mut errors = vec![];
    if initial && matching != "NotOlderThan" {
        let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::plain(ErrorKind::Forbidden, field, detail));
        if !matching.is_empty() {
            let detail = "supported values: \"NotOlderThan\"";
            errors.push(FieldError::new(
                ErrorKind::NotSupported,
                field,
                matching.into(),
                detail,
            ));
        }
    }
    if !token.is_empty() {
        let detail = "resourceVersionMatch is forbidden when continue is provided";
        errors.push(FieldError::plain(ErrorKind::Forbidden, field, detail));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::invalid("meta.k8s.io", "ListOptions", "", &errors))
    }
}

/// A way to match versions, where no initial events are asked for.
fn stray_match(matching: &str) -> Failure {
    use fluvial_schema::{ErrorKind, FieldError};
    let field = "resourceVersionMatch";
    let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
    let mut errors = vec![FieldError::plain(ErrorKind::Forbidden, field, detail)];
    if matching != "NotOlderThan" {
        let detail = "supported values: \"NotOlderThan\"";
        let error = FieldError::new(ErrorKind::NotSupported, field, matching.into(), detail);
        errors.push(error);
    }
    Failure::invalid("meta.k8s.io", "ListOptions", "", &errors)
}

/// Opens a watch.
///
/// # Errors
/// The options cannot be read.
pub fn open(api: &Arc<Api>, request: &Request) -> Outcome<Reply> {
    let selection = Selection::read(request)?;
    let seconds = read::number(request, "timeoutSeconds")?;
    if request.accept.format == Format::Yaml {
        return Err(Failure::new(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json;stream=watch, \
             application/vnd.kubernetes.protobuf;stream=watch",
        ));
    }
    let shaper = Shaper::new(request.kind.clone(), &request.accept.shape, &request.query)?;
    let text = request.query.text("resourceVersion");
    let initial = request.query.get("sendInitialEvents");
    let matching = request.query.text("resourceVersionMatch");
    check_initial(initial.is_some(), matching, request.query.text("continue"))?;
    if initial.is_none() && !matching.is_empty() {
        return Err(stray_match(matching));
    }
    let version: u64 = match text {
        "" => 0,
        text => text.parse().map_err(|_| {
            Failure::unclassified(format!(
                "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": {}",
                read::unreadable(text)
            ))
        })?,
    };
    let collection = api.store.collection(&request.kind.collection);
    let prefix = read::prefix(request);
    // A watch that is over before it began has nothing to tell.
    let over = seconds.is_some_and(|seconds| seconds < 0);
    let wants_initial = !over && initial.map_or(version == 0, |flag| flag == "true");
    let mut position = if version == 0 {
        api.store.version()
    } else {
        version
    };
    let mut objects = vec![];
    // Subscribed before the snapshot, so that no change falls between.
    let changed = collection.subscribe();
    if wants_initial {
        if version > api.store.version() {
            let failure = read::too_large(version, api.store.version());
            return Err(failure);
        }
        if let Ok(snapshot) = collection.snapshot(&api.store, &prefix, None, None) {
            position = snapshot.version;
            objects = snapshot.objects;
            objects = webhook::stored(api, &request.calls, &request.kind, objects, false)?;
            objects.retain(|stored| selection.matches(&request.kind, stored));
        }
    }
    let seconds = seconds.filter(|seconds| *seconds != 0).unwrap_or_else(|| {
        // Spread between half an hour and an hour, so that clients do not come back all at once.
        1_800 + i64::try_from(api.store.version() * 7_919 % 1_800).unwrap_or(0)
    });
    let now = Instant::now();
    let deadline = now + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let watch = Watch {
        api: api.clone(),
        kind: request.kind.clone(),
        collection,
        selection,
        prefix,
        shaper,
        position,
        initial: objects.into_iter(),
        initial_end: initial == Some("true") && request.query.flag("allowWatchBookmarks"),
        bookmarks: request.query.flag("allowWatchBookmarks"),
        deadline,
        next_bookmark: bookmark_after(now, deadline),
        changed,
        timer: Box::pin(tokio::time::sleep_until(deadline)),
        ended: false,
    };
    Ok(Reply::Watch(Box::new(watch)))
}

/// When the next bookmark is due.
fn bookmark_after(now: Instant, deadline: Instant) -> Instant {
    let last = deadline.checked_sub(LAST_BOOKMARK).unwrap_or(now);
    let next = now + BOOKMARK_EVERY;
    if last > now { next.min(last) } else { next }
}

/// Text of some events: that of a single one is shared, not copied.
#[derive(Default)]
struct Text {
    only: Option<Bytes>,
    own: BytesMut,
}

impl Text {
    /// To write to.
    fn own(&mut self) -> &mut BytesMut {
        if let Some(only) = self.only.take() {
            self.own.put_slice(&only);
        }
        &mut self.own
    }

    fn push(&mut self, line: Bytes) {
        if self.only.is_none() && self.own.is_empty() {
            self.only = Some(line);
        } else {
            self.own().put_slice(&line);
        }
    }

    fn finish(&mut self) -> Option<Bytes> {
        let own = std::mem::take(&mut self.own);
        self.only
            .take()
            .or_else(|| (!own.is_empty()).then(|| own.freeze()))
    }
}

impl Watch {
    fn plain(&self, change: &str, stored: &Stored, out: &mut BytesMut) {
        out.put_slice(b"{\"type\":\"");
        out.put_slice(change.as_bytes());
        out.put_slice(b"\",\"object\":");
        out.put_slice(self.kind.head().as_bytes());
        out.put_slice(&stored.json()[1..]);
        out.put_slice(b"}\n");
    }

    fn line(&mut self, change: &str, stored: &Stored, out: &mut BytesMut) {
        if self.shaper.shape == Shape::Object && !crate::convert::differs(&self.kind) {
            self.plain(change, stored, out);
            return;
        }
        let object = self.shaper.event(show(&self.kind, stored), &self.api);
        self.value(change, &object, out);
    }

    fn value(&self, change: &str, object: &Value, out: &mut BytesMut) {
        let line = json!({"type": change, "object": object});
        out.put_slice(line.to_string().as_bytes());
        out.put_u8(b'\n');
    }

    fn bookmark(&mut self, end_of_initial: bool, out: &mut BytesMut) {
        let mut object = json!({"metadata": {"resourceVersion": self.position.to_string()}});
        if end_of_initial {
            object["metadata"]["annotations"]["k8s.io/initial-events-end"] = "true".into();
        }
        self.kind.stamp(&mut object);
        let object = self.shaper.bookmark(object, &self.api);
        self.value("BOOKMARK", &object, out);
    }

    /// What a watcher of a selection sees of an event.
    fn seen(&self, event: &Event) -> Option<(Change, Arc<Stored>)> {
        if !event.object.key.starts_with(&self.prefix) {
            return None;
        }
        if self.selection.is_everything() {
            return Some((event.change, event.object.clone()));
        }
        let now = event.change != Change::Deleted && self.selection.matches(&self.kind, &event.object);
        let before = event
            .previous
            .as_ref()
            .is_some_and(|old| self.selection.matches(&self.kind, old));
        let change = match (before, now) {
            (false, false) => return None,
            (false, true) => Change::Added,
            (true, true) => Change::Modified,
            (true, false) => Change::Deleted,
        };
        if change == Change::Deleted && event.change != Change::Deleted {
            // It left the selection: its last selected state, at the version of the change.
            let previous = event.previous.as_ref()?;
            let mut value = previous.value();
            value["metadata"]["resourceVersion"] = event.version().to_string().into();
            let json = serde_json::to_vec(&value).unwrap_or_default();
            let key = previous.key.clone();
            return Some((
                change,
                Arc::new(Stored {
                    key,
                    version: event.version(),
                    text: json.into(),
                    form: previous.form.clone(),
                    labels: previous.labels,
                }),
            ));
        }
        Some((change, event.object.clone()))
    }

    /// The events in the version that is watched.
    async fn converted(&self, events: Vec<Arc<Event>>) -> Outcome<Vec<Arc<Event>>> {
        if self
            .kind
            .custom
            .as_ref()
            .is_none_or(|own| own.conversion.is_none())
        {
            return Ok(events);
        }
        let seen = events
            .iter()
            .flat_map(|event| [Some(&event.object), event.previous.as_ref()])
            .flatten()
            .filter(|stored| stored.key.starts_with(&self.prefix));
        let seen: Vec<Arc<Stored>> = seen.cloned().collect();
        let calls = Calls::enabled();
        let seen = loop {
            match webhook::stored(&self.api, &calls, &self.kind, seen.clone(), false) {
                Ok(seen) => break seen,
                Err(failure) => match calls.pending() {
                    Some((key, call)) => calls.answered(key, call.send().await),
                    None => return Err(failure),
                },
            }
        };
        let seen: BTreeMap<u64, Arc<Stored>> =
            seen.into_iter().map(|stored| (stored.version, stored)).collect();
        let of = |stored: &Arc<Stored>| seen.get(&stored.version).unwrap_or(stored).clone();
        let events = events.iter().map(|event| {
            let previous = event.previous.as_ref().map(of);
            Arc::new(Event::new(event.change, of(&event.object), previous))
        });
        Ok(events.collect())
    }

    /// The text of an event that is seen as it is, which is the same for all plain watchers: it is made once.
    fn shared(&self, event: &Event) -> Option<Bytes> {
        if self.shaper.shape != Shape::Object || crate::convert::differs(&self.kind) {
            return None;
        }
        event.line(&self.kind.api_version(), || {
            let mut out = BytesMut::with_capacity(event.object.text.size() + 128);
            self.plain(event.change.as_str(), &event.object, &mut out);
            out.freeze()
        })
    }

    fn whole_line(&mut self, event: &Event, out: &mut Text) {
        let Some((change, object)) = self.seen(event) else {
            return;
        };
        if change == event.change
            && Arc::ptr_eq(&object, &event.object)
            && let Some(line) = self.shared(event)
        {
            out.push(line);
            return;
        }
        self.line(change.as_str(), &object, out.own());
    }

    /// The pieces of text until the watch is over.
    pub fn pieces(self: Box<Self>) -> impl Stream<Item = Bytes> + Send {
        stream::unfold(self, async |mut watch| Some((watch.next_kept().await?, watch)))
    }

    /// The next piece of text once all that it tells is on disk: a client that goes on from an event after a crash
    /// would otherwise know of writes that nobody else ever sees.
    async fn next_kept(&mut self) -> Option<Bytes> {
        let piece = self.next().await?;
        self.api.store.settled().await.ok()?;
        Some(piece)
    }

    /// The next piece of text, or None when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut out = BytesMut::new();
        loop {
            let mut count = 0;
            while count < BATCH
                && let Some(stored) = self.initial.next()
            {
                self.line("ADDED", &stored, &mut out);
                count += 1;
            }
            if count > 0 {
                return Some(out.freeze());
            }
            if self.initial_end {
                self.initial_end = false;
                self.bookmark(true, &mut out);
                return Some(out.freeze());
            }
            self.changed.mark_unchanged();
            // A writer has the collection while its version is made: what is not seen below comes after this one.
            let reached = self.api.store.version();
            match self.collection.events_after(self.position, BATCH) {
                Err(expired) => {
                    self.ended = true;
                    let text = format!("too old resource version: {} ({})", self.position, expired.oldest);
                    self.value("ERROR", &Failure::expired(text).to_value(), &mut out);
                    return Some(out.freeze());
                }
                Ok(events) if !events.is_empty() => {
                    let events = match self.converted(events).await {
                        Ok(events) => events,
                        Err(failure) => {
                            self.ended = true;
                            self.value("ERROR", &failure.to_value(), &mut out);
                            return Some(out.freeze());
                        }
                    };
                    let mut text = Text::default();
                    for event in &events {
                        self.position = event.version();
                        self.whole_line(event, &mut text);
                    }
                    if let Some(text) = text.finish() {
                        return Some(text);
                    }
                }
                Ok(_) => {
                    let until = if self.bookmarks {
                        self.deadline.min(self.next_bookmark)
                    } else {
                        self.deadline
                    };
                    if self.timer.deadline() != until {
                        self.timer.as_mut().reset(until);
                    }
                    let woken = tokio::select! {
                        biased;
                        changed = self.changed.changed() => Some(changed),
                        () = &mut self.timer => None,
                    };
                    match woken {
                        Some(Ok(())) => {}
                        Some(Err(_)) => return None,
                        None if Instant::now() >= self.deadline => return None,
                        None => {
                            self.next_bookmark = bookmark_after(Instant::now(), self.deadline);
                            self.position = self.position.max(reached);
                            self.bookmark(false, &mut out);
                            return Some(out.freeze());
                        }
                    }
                }
            }
        }
    }
}

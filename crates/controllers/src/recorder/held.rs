//! What a run says on its way is held for a moment: mostly the run's end comes right after it, and one Event says both.

use std::collections::VecDeque;
use std::time::Duration;

use fluvial_ports::{Event, Severity};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::MESSAGE_LIMIT;
use crate::condition::PROGRESSING;

/// How long the end of a run is waited for.
const MOMENT: Duration = Duration::from_secs(1);

/// Events that wait for the end of their run, by the uid of their object.
#[derive(Default)]
pub(super) struct Held {
    events: FxHashMap<String, Event>,
    order: VecDeque<(Instant, String)>,
}

impl Held {
    /// Takes an event, and gives those that are to be written now.
    pub(super) fn take(&mut self, event: Event, now: Instant) -> Vec<Event> {
        let mut ready = Vec::new();
        let mut event = event;
        if let Some(before) = self.events.remove(&event.uid) {
            match joined(before, event) {
                Ok(one) => event = one,
                Err(pair) => {
                    let [before, after] = *pair;
                    ready.push(before);
                    event = after;
                }
            }
        }
        if event.reason == PROGRESSING && event.severity == Severity::Info {
            self.order.push_back((now + MOMENT, event.uid.clone()));
            self.events.insert(event.uid.clone(), event);
        } else {
            ready.push(event);
        }
        ready
    }

    /// When the first of them has waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.order.front().map(|(due, _)| *due)
    }

    /// Those that have waited long enough.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Event> {
        let mut ready = Vec::new();
        while let Some((_, uid)) = self.order.pop_front_if(|(due, _)| *due <= now) {
            ready.extend(self.events.remove(&uid));
        }
        ready
    }

    /// All of them.
    pub(super) fn all(&mut self) -> Vec<Event> {
        self.order.clear();
        self.events.drain().map(|(_, event)| event).collect()
    }
}

/// Both in one, if they are of one kind and an Event has room for them.
fn joined(before: Event, mut after: Event) -> Result<Event, Box<[Event; 2]>> {
    let fits = before.message.len() + after.message.len() < MESSAGE_LIMIT;
    if before.severity != after.severity || before.controller != after.controller || !fits {
        return Err(Box::new([before, after]));
    }
    after.message = format!("{}\n{}", before.message, after.message);
    for (name, value) in before.metadata {
        after.metadata.entry(name).or_insert(value);
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(uid: &str, reason: &str, message: &str) -> Event {
        Event {
            api_version: "kustomize.toolkit.fluxcd.io/v1".to_owned(),
            kind: "Kustomization".to_owned(),
            namespace: "ns".to_owned(),
            name: "apps".to_owned(),
            uid: uid.to_owned(),
            resource_version: "1".to_owned(),
            severity: Severity::Info,
            reason: reason.to_owned(),
            message: message.to_owned(),
            metadata: std::collections::BTreeMap::new(),
            time: jiff::Timestamp::UNIX_EPOCH,
            controller: "kustomize-controller",
        }
    }

    fn texts(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.message.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_run_did_and_how_it_ended_is_one_event() {
        let mut held = Held::default();
        let now = Instant::now();
        assert!(
            held.take(event("1", PROGRESSING, "ConfigMap/a created"), now)
                .is_empty()
        );
        assert_eq!(
            texts(&held.take(event("2", "Succeeded", "other"), now)),
            ["other"]
        );
        let end = held.take(event("1", "Succeeded", "finished"), now);
        assert_eq!(texts(&end), ["ConfigMap/a created\nfinished"]);
        assert_eq!(end[0].reason, "Succeeded");
        assert!(held.expired(now + MOMENT).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_run_is_heard_of_before_its_end_and_an_error_stays_alone() {
        let mut held = Held::default();
        let now = Instant::now();
        assert!(held.take(event("1", PROGRESSING, "created"), now).is_empty());
        assert!(held.expired(now).is_empty());
        assert_eq!(held.due(), Some(now + MOMENT));
        assert_eq!(texts(&held.expired(now + MOMENT)), ["created"]);
        assert!(held.take(event("1", PROGRESSING, "more"), now).is_empty());
        let mut failed = event("1", "HealthCheckFailed", "failed");
        failed.severity = Severity::Error;
        assert_eq!(texts(&held.take(failed, now)), ["more", "failed"]);
        assert!(held.take(event("1", PROGRESSING, "last"), now).is_empty());
        assert_eq!(texts(&held.all()), ["last"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_room_together_comes_one_after_the_other() {
        let mut held = Held::default();
        let now = Instant::now();
        let long = "x".repeat(MESSAGE_LIMIT);
        assert!(held.take(event("1", PROGRESSING, &long), now).is_empty());
        assert_eq!(
            texts(&held.take(event("1", "Succeeded", "finished"), now)),
            [&long, "finished"]
        );
    }
}

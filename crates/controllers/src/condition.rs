//! Conditions as Flux keeps them: `Ready` always, `Reconciling` and `Stalled` only while they are true.

use fluvial_api::Condition;
use fluvial_object::time;
use jiff::Timestamp;

/// `Ready`.
pub const READY: &str = "Ready";
/// `Reconciling`.
pub const RECONCILING: &str = "Reconciling";
/// `Stalled`.
pub const STALLED: &str = "Stalled";
/// `Healthy`.
pub const HEALTHY: &str = "Healthy";

/// Reason while work is going on.
pub const PROGRESSING: &str = "Progressing";
/// Reason after a failure that will be tried again.
pub const PROGRESSING_WITH_RETRY: &str = "ProgressingWithRetry";
/// Reason of success for sources.
pub const SUCCEEDED: &str = "Succeeded";

/// A list of conditions being changed at one moment for one generation.
pub struct Conditions<'a> {
    list: &'a mut Vec<Condition>,
    generation: i64,
    now: Timestamp,
}

impl<'a> Conditions<'a> {
    /// Opens a list for changes.
    pub fn of(list: &'a mut Vec<Condition>, generation: i64, now: Timestamp) -> Self {
        Self {
            list,
            generation,
            now,
        }
    }

    /// Sets a condition. Its transition time moves when anything but the generation changes.
    pub fn set(&mut self, kind: &str, status: &str, reason: &str, message: &str) -> &mut Self {
        let message = shorten(message);
        if let Some(found) = self.list.iter_mut().find(|condition| condition.r#type == kind) {
            found.observed_generation = self.generation;
            if found.status != status || found.reason != reason || found.message != message {
                status.clone_into(&mut found.status);
                reason.clone_into(&mut found.reason);
                found.message = message.into_owned();
                found.last_transition_time = time::format(self.now);
            }
            return self;
        }
        self.list.push(Condition {
            r#type: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.into_owned(),
            last_transition_time: time::format(self.now),
            observed_generation: self.generation,
        });
        self.list.sort_by(|a, b| {
            rank(&a.r#type)
                .cmp(&rank(&b.r#type))
                .then_with(|| a.r#type.cmp(&b.r#type))
        });
        self
    }

    /// Sets a condition to True.
    pub fn yes(&mut self, kind: &str, reason: &str, message: &str) -> &mut Self {
        self.set(kind, "True", reason, message)
    }

    /// Sets a condition to False.
    pub fn no(&mut self, kind: &str, reason: &str, message: &str) -> &mut Self {
        self.set(kind, "False", reason, message)
    }

    /// Sets a condition to Unknown.
    pub fn unknown(&mut self, kind: &str, reason: &str, message: &str) -> &mut Self {
        self.set(kind, "Unknown", reason, message)
    }

    /// Removes a condition.
    pub fn remove(&mut self, kind: &str) -> &mut Self {
        self.list.retain(|condition| condition.r#type != kind);
        self
    }

    /// Work is going on.
    pub fn progressing(&mut self, message: &str) -> &mut Self {
        self.remove(STALLED)
            .yes(RECONCILING, PROGRESSING, message)
            .unknown(READY, PROGRESSING, message)
    }

    /// It failed and is tried again.
    pub fn retrying(&mut self, reason: &str, message: &str) -> &mut Self {
        self.remove(STALLED)
            .yes(RECONCILING, PROGRESSING_WITH_RETRY, message)
            .no(READY, reason, message)
    }

    /// It failed for good: the spec has to change.
    pub fn stalled(&mut self, reason: &str, message: &str) -> &mut Self {
        self.remove(RECONCILING)
            .yes(STALLED, reason, message)
            .no(READY, reason, message)
    }

    /// All is well.
    pub fn ready(&mut self, reason: &str, message: &str) -> &mut Self {
        self.remove(RECONCILING)
            .remove(STALLED)
            .yes(READY, reason, message)
    }
}

/// A condition of a list.
pub fn get<'a>(list: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    list.iter().find(|condition| condition.r#type == kind)
}

/// Whether a condition is there and True.
pub fn is_true(list: &[Condition], kind: &str) -> bool {
    get(list, kind).is_some_and(|condition| condition.status == "True")
}

fn rank(kind: &str) -> u8 {
    match kind {
        RECONCILING => 0,
        STALLED => 1,
        READY => 2,
        _ => 3,
    }
}

/// The API allows 32768 bytes in a message.
fn shorten(message: &str) -> std::borrow::Cow<'_, str> {
    const LIMIT: usize = 20_000;
    if message.len() <= LIMIT {
        return message.into();
    }
    let end = message.floor_char_boundary(LIMIT);
    format!("{}… ({} more bytes)", &message[..end], message.len() - end).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_condition_that_stays_keeps_its_time() {
        let mut list = Vec::new();
        Conditions::of(&mut list, 1, at(10)).ready("Succeeded", "ok");
        Conditions::of(&mut list, 2, at(20)).ready("Succeeded", "ok");
        let ready = get(&list, READY).unwrap();
        assert_eq!(
            (ready.last_transition_time.as_str(), ready.observed_generation),
            ("1970-01-01T00:00:10Z", 2)
        );
        Conditions::of(&mut list, 2, at(30)).ready("Succeeded", "other");
        assert_eq!(
            get(&list, READY).unwrap().last_transition_time,
            "1970-01-01T00:00:30Z"
        );
    }

    #[test]
    fn abnormal_conditions_exist_only_while_true() {
        let mut list = Vec::new();
        let kinds = |list: &[Condition]| list.iter().map(|c| c.r#type.clone()).collect::<Vec<_>>();
        Conditions::of(&mut list, 1, at(1))
            .unknown(HEALTHY, PROGRESSING, "x")
            .progressing("working");
        assert_eq!(kinds(&list), ["Reconciling", "Ready", "Healthy"]);
        Conditions::of(&mut list, 1, at(1)).stalled("InvalidPath", "no such folder");
        assert_eq!(kinds(&list), ["Stalled", "Ready", "Healthy"]);
        Conditions::of(&mut list, 1, at(1))
            .ready(SUCCEEDED, "done")
            .remove(HEALTHY);
        assert_eq!(kinds(&list), ["Ready"]);
    }

    #[test]
    fn endless_messages_are_cut() {
        let mut list = Vec::new();
        Conditions::of(&mut list, 1, at(1)).retrying("BuildFailed", &"é".repeat(30_000));
        assert!(get(&list, READY).unwrap().message.len() < 20_100);
    }
}

//! Follows the objects of all Flux kinds, shows them, and decides with `--once` when there is an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use fluvial_ports::{Cluster, Select, Watched};
use futures::StreamExt;
use futures::stream::SelectAll;
use tokio::time::Instant;

use crate::commands::why;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns::NOUNS;
use crate::screen::{self, Canvas, Screen};
use crate::state;
use crate::view::{Fare, Item, View, view};

/// Changes that come together are drawn together.
const TOGETHER: Duration = Duration::from_millis(40);
/// Ages on the screen move on.
const TICK: Duration = Duration::from_secs(1);
/// A failure that nothing has moved for so long is an answer.
const QUIET: Duration = Duration::from_secs(5);
/// A fleet that is ready may have just begun to make more of itself.
const SETTLE: Duration = Duration::from_millis(300);

/// What is known of the cluster.
#[derive(Default)]
struct Known {
    /// Objects by kind and id.
    objects: BTreeMap<usize, BTreeMap<String, Item>>,
    /// Those that a list under way has not shown again.
    unseen: BTreeMap<usize, Vec<String>>,
}

impl Known {
    fn take(&mut self, kind: usize, event: Watched, handled: &[&str]) {
        let objects = self.objects.entry(kind).or_default();
        match event {
            Watched::Restarted => {
                self.unseen.insert(kind, objects.keys().cloned().collect());
            }
            Watched::Applied(object) => {
                let item = Item::of(&object, handled);
                let id = item.id().to_owned();
                if let Some(unseen) = self.unseen.get_mut(&kind) {
                    unseen.retain(|other| *other != id);
                }
                objects.insert(id, item);
            }
            Watched::Deleted(object) => {
                objects.remove(&state::id(&object));
            }
            Watched::Ready => {
                for id in self.unseen.remove(&kind).unwrap_or_default() {
                    objects.remove(&id);
                }
            }
            // The watch tries again by itself.
            Watched::Failed(_) => {}
        }
    }

    fn view(&self) -> View {
        view(self.objects.values().flat_map(BTreeMap::values))
    }
}

/// Shows the fleet until the process is told to end, or until there is an answer if `once`.
pub(super) async fn follow(
    session: &mut Session<'_>,
    cluster: &dyn Cluster,
    handled: &[&str],
    once: bool,
) -> Outcome {
    let mut events: SelectAll<_> = NOUNS
        .iter()
        .enumerate()
        .map(|(kind, noun)| {
            cluster
                .watch(&noun.resource(), &Select::default())
                .map(move |event| (kind, event))
        })
        .collect();
    let outside = std::sync::Arc::clone(&session.env.outside);
    let mut interrupted = std::pin::pin!(outside.interrupted());
    let mut shower = Shower::new(session);
    let (mut known, mut last) = (Known::default(), View::default());
    let deadline = Instant::now() + session.global.timeout;
    let mut moved = Instant::now();
    loop {
        let now = Instant::now();
        if once && let Some(outcome) = answer(session, &last, now - moved, now >= deadline) {
            if outcome.is_err() {
                explain(session, cluster, &last).await;
            }
            return outcome;
        }
        let pause = if once {
            pause(&last, moved, deadline, now)
        } else {
            TICK
        };
        tokio::select! {
            () = &mut interrupted => return Ok(()),
            Some((kind, event)) = events.next() => {
                known.take(kind, event, handled);
                // Whatever else is there already, or comes within the blink of an eye, belongs to the same frame.
                let end = Instant::now() + TOGETHER;
                while let Ok(Some((kind, event))) = tokio::time::timeout_at(end, events.next()).await {
                    known.take(kind, event, handled);
                }
                let next = known.view();
                if next != last {
                    moved = Instant::now();
                    shower.show(session, &last, &next)?;
                    last = next;
                }
            }
            () = tokio::time::sleep(pause.min(TICK)) => shower.tick(session, &last)?,
        }
    }
}

/// How long nothing needs to be decided.
fn pause(view: &View, moved: Instant, deadline: Instant, now: Instant) -> Duration {
    let quiet = if view.is_ready() { SETTLE } else { QUIET };
    let next = if view.is_moving() {
        deadline
    } else {
        deadline.min(moved + quiet)
    };
    next.saturating_duration_since(now).max(Duration::from_millis(5))
}

/// What there is to say of a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Ready,
    /// Something failed or waits, and nothing moves that could change it.
    NotReady,
    /// Work goes on, but not any longer.
    TimeIsUp,
}

/// The answer, if the time for one has come.
fn decide(view: &View, quiet: Duration, late: bool) -> Option<Answer> {
    if view.is_ready() && quiet >= SETTLE {
        return Some(Answer::Ready);
    }
    if !view.is_moving() && quiet >= QUIET {
        return Some(Answer::NotReady);
    }
    late.then_some(Answer::TimeIsUp)
}

/// What `--once` answers, if the time for it has come.
fn answer(session: &mut Session<'_>, view: &View, quiet: Duration, late: bool) -> Option<Outcome> {
    let why = match decide(view, quiet, late)? {
        Answer::Ready => {
            for row in view.rows.iter().filter(|row| row.fare == Fare::Idle) {
                session.warning(&format!("{}: {}", row.id, row.text));
            }
            session.success(&format!("all is ready: {}", view.summary()));
            return Some(Ok(()));
        }
        Answer::NotReady => "not all is ready".to_owned(),
        Answer::TimeIsUp => format!("not all is ready after {:?} (--timeout)", session.global.timeout),
    };
    Some(Err(Failure::new(format!("{why}: {}", view.summary()))))
}

/// Says what stands in the way: the first causes, each with its file and line.
async fn explain(session: &mut Session<'_>, cluster: &dyn Cluster, view: &View) {
    match why::causes(session, cluster).await {
        Ok(text) if !text.is_empty() => session.remark(&text),
        // The rows say less, but they are at hand.
        _ => {
            for row in &view.rows {
                match row.fare {
                    Fare::Failed | Fare::Working => session.failure(&format!("{}: {}", row.id, row.text)),
                    Fare::Waiting => session.waiting(&format!("{}: {}", row.id, row.text)),
                    Fare::Ready | Fare::Suspended | Fare::Idle => {}
                }
            }
        }
    }
}

/// The screen, or lines where there is none.
struct Shower {
    canvas: Canvas,
    screen: Option<Screen>,
}

impl Shower {
    fn new(session: &Session<'_>) -> Self {
        let mut shower = Shower {
            canvas: Canvas::default(),
            screen: None,
        };
        shower.measure(session);
        shower
    }

    fn measure(&mut self, session: &Session<'_>) {
        let variable = |name: &str| session.env.variables.get(name).map(String::as_str);
        let dumb = variable("TERM") == Some("dumb");
        let size = session.env.outside.terminal().filter(|_| !dumb);
        self.screen = size.map(|size| Screen {
            size,
            colours: variable("NO_COLOR").unwrap_or_default().is_empty(),
        });
    }

    fn show(&mut self, session: &mut Session<'_>, before: &View, view: &View) -> Outcome {
        self.measure(session);
        match self.screen {
            Some(screen) => {
                let lines = screen::lines(view, screen, session.env.clock.now());
                session.print(&self.canvas.frame(&lines))
            }
            None => screen::changes(before, view)
                .iter()
                .try_for_each(|line| session.print(&format!("{line}\n"))),
        }
    }

    /// Moves the ages on.
    fn tick(&mut self, session: &mut Session<'_>, view: &View) -> Outcome {
        if self.screen.is_some() && !view.rows.is_empty() {
            return self.show(session, view, view);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Row;

    fn fleet(fares: &[(Fare, &str)]) -> View {
        let row = |(at, (fare, text)): (usize, &(Fare, &str))| Row {
            depth: usize::from(at > 0),
            id: format!("Kustomization/ns/k{at}"),
            fare: *fare,
            text: (*text).to_owned(),
            since: None,
            maker: None,
        };
        View {
            rows: fares.iter().enumerate().map(row).collect(),
        }
    }

    #[test]
    fn once_ends_when_all_is_ready_or_nothing_can_change_or_time_is_up() {
        let (short, long) = (Duration::from_millis(100), Duration::from_secs(6));
        let ready = fleet(&[(Fare::Ready, ""), (Fare::Suspended, "")]);
        assert_eq!(decide(&ready, short, false), None, "it may make more of itself");
        assert_eq!(decide(&ready, SETTLE, false), Some(Answer::Ready));

        // A failure is tried again for ever: once nobody else moves, it is the answer.
        let failed = fleet(&[
            (Fare::Ready, ""),
            (Fare::Failed, "no chart"),
            (Fare::Waiting, "waits"),
        ]);
        assert_eq!(decide(&failed, short, false), None);
        assert_eq!(decide(&failed, long, false), Some(Answer::NotReady));

        // Whoever waits for the health of a failure moves nothing.
        let checks = "Running health checks for revision main with a timeout of 10m";
        let held = fleet(&[(Fare::Working, checks), (Fare::Failed, "no chart")]);
        assert_eq!(decide(&held, long, false), Some(Answer::NotReady));

        // Pods that a quota keeps away could come any time, until the time is over that was given.
        let working = fleet(&[
            (Fare::Working, checks),
            (Fare::Working, "Running 'install' action"),
        ]);
        assert_eq!(decide(&working, long, false), None);
        assert_eq!(decide(&working, long, true), Some(Answer::TimeIsUp));
        assert_eq!(decide(&View::default(), long, true), Some(Answer::TimeIsUp));
    }
}

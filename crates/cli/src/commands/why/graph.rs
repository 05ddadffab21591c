//! What holds up what: objects with their causes, drawn as a tree in which each object is explained once. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::screen::paint;
use crate::view::Fare;

/// One object on the way to a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// `Kind/namespace/name`.
    pub id: String,
    /// How it fares.
    pub fare: Fare,
    /// How it is, in a word.
    pub state: String,
    /// What there is to say.
    pub message: String,
    /// `file:line` in its source.
    pub place: Option<String>,
    /// Which source and revision the place is in.
    pub source: Option<String>,
}

impl Step {
    /// Whether it is as it should be.
    pub(crate) fn is_well(&self) -> bool {
        self.fare == Fare::Ready
    }

    /// As a value, without what is behind it.
    pub(crate) fn value(&self) -> Value {
        json!({"object": self.id, "ready": self.is_well(), "state": self.state, "message": self.message,
               "place": self.place, "source": self.source})
    }
}

/// Objects with what is behind them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    nodes: BTreeMap<String, (Step, Vec<String>)>,
    /// Whether there was more than could be looked at.
    pub is_cut: bool,
}

impl Graph {
    /// Puts an object in, with the ids of what is behind it.
    pub(crate) fn add(&mut self, step: Step, causes: Vec<String>) {
        self.nodes.insert(step.id.clone(), (step, causes));
    }

    /// Whether an object is in.
    pub(crate) fn holds(&self, id: &str) -> bool {
        self.nodes.contains_key(id)
    }

    /// How many objects are in.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Those of some objects that no other one of them leads to; and one of each circle that would be lost with them.
    pub(crate) fn tops(&self, ids: &[String]) -> Vec<String> {
        let below: BTreeSet<&String> = self.nodes.values().flat_map(|(_, causes)| causes).collect();
        let mut tops: Vec<String> = ids.iter().filter(|id| !below.contains(id)).cloned().collect();
        let mut reached = BTreeSet::new();
        for top in &tops {
            self.reach(top, &mut reached);
        }
        // What is left hangs on circles: whoever leads to the most of it stands above the rest.
        let mut left: Vec<(usize, &String)> = ids
            .iter()
            .filter(|id| !reached.contains(*id))
            .map(|id| {
                let mut below = BTreeSet::new();
                self.reach(id, &mut below);
                (below.len(), id)
            })
            .collect();
        left.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        for (_, id) in left {
            if !reached.contains(id) {
                self.reach(id, &mut reached);
                tops.push(id.clone());
            }
        }
        tops
    }

    fn reach(&self, id: &str, reached: &mut BTreeSet<String>) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if reached.insert(id.to_owned())
                && let Some((_, causes)) = self.nodes.get(id)
            {
                open.extend(causes.iter().map(String::as_str));
            }
        }
    }

    /// The first causes of some objects, each once: what is not well and has nothing behind it that is not well either,
    /// or closes a circle.
    pub(crate) fn firsts(&self, tops: &[String]) -> Vec<&Step> {
        let mut firsts: Vec<&Step> = vec![];
        self.walk(tops, &mut |visit| {
            let ends = match visit.how {
                How::Whole => !visit.step.is_well() && visit.causes.iter().all(|id| self.is_well(id)),
                How::Circle => true,
                How::Above => false,
            };
            if ends && !firsts.iter().any(|first| first.id == visit.step.id) {
                firsts.push(visit.step);
            }
        });
        firsts
    }

    fn is_well(&self, id: &str) -> bool {
        self.nodes.get(id).is_some_and(|(step, _)| step.is_well())
    }

    /// Goes through the trees below some objects, each object's causes in their order.
    fn walk<'a>(&'a self, tops: &[String], see: &mut dyn FnMut(&Visit<'a, '_>)) {
        let mut told = BTreeSet::new();
        for (top, _) in tops.iter().filter_map(|top| self.nodes.get_key_value(top)) {
            // Objects still to be seen, with how deep they stand and whether they are the last of their siblings.
            let mut open: Vec<(&str, Vec<bool>)> = vec![(top, vec![])];
            let mut path: Vec<&str> = vec![];
            while let Some((id, lasts)) = open.pop() {
                path.truncate(lasts.len());
                let Some((step, causes)) = self.nodes.get(id) else {
                    continue;
                };
                let how = if path.contains(&id) {
                    How::Circle
                } else if told.insert(id) || causes.is_empty() {
                    How::Whole
                } else {
                    How::Above
                };
                see(&Visit {
                    step,
                    causes,
                    lasts: &lasts,
                    how,
                });
                if how != How::Whole {
                    continue;
                }
                path.push(id);
                for (position, cause) in causes.iter().enumerate().rev() {
                    let mut below = lasts.clone();
                    below.push(position + 1 == causes.len());
                    open.push((cause, below));
                }
            }
        }
    }

    /// The trees as text, each cause below what it causes.
    pub(crate) fn draw(&self, tops: &[String], colours: bool) -> String {
        let mut text = String::new();
        let mut source: Option<&str> = None;
        self.walk(tops, &mut |visit| {
            let (arm, below) = visit.arms();
            let step = visit.step;
            let faint = |words: &str| paint(colours, Fare::Idle, words);
            let sign = if step.is_well() { "✔" } else { "✗" };
            text.push_str(&format!(
                "{}{} {} ",
                faint(&arm),
                paint(colours, step.fare, sign),
                step.id
            ));
            match visit.how {
                How::Whole => {}
                How::Circle => {
                    text.push_str("waits for itself: break the circle\n");
                    return;
                }
                How::Above => {
                    text.push_str(&format!("{} {}\n", step.state, faint("(see above)")));
                    return;
                }
            }
            text.push_str(&step.state);
            // What is behind an object says more than the rest of its message.
            let mut lines = step.message.lines();
            if let Some(first) = lines.next() {
                text.push_str(&format!(": {first}"));
            }
            if !visit.causes.is_empty() && step.message.contains('\n') {
                text.push_str(" …");
            }
            text.push('\n');
            for line in lines.filter(|_| visit.causes.is_empty()) {
                text.push_str(&format!("{}{line}\n", faint(&below)));
            }
            if let Some(place) = &step.place {
                text.push_str(&faint(&below));
                text.push_str(&paint(colours, Fare::Working, place));
                if step.source.as_deref() != source {
                    source = step.source.as_deref();
                    text.push_str(&format!(" ({})", source.unwrap_or_default()));
                }
                text.push('\n');
            }
        });
        text
    }

    /// The trees as values: each object with its `causes`, those that were told before with `repeated` in their place.
    pub(crate) fn values(&self, tops: &[String]) -> Vec<Value> {
        // The values on the way to the last one that was seen.
        let mut open: Vec<Value> = vec![];
        let mut done = vec![];
        self.walk(tops, &mut |visit| {
            fold(&mut open, visit.lasts.len(), &mut done);
            let mut value = visit.step.value();
            match visit.how {
                How::Whole => value["causes"] = json!([]),
                How::Circle => value["circle"] = true.into(),
                How::Above => value["repeated"] = true.into(),
            }
            open.push(value);
        });
        fold(&mut open, 0, &mut done);
        done
    }
}

/// Puts values into those above them until so many are left.
fn fold(open: &mut Vec<Value>, depth: usize, done: &mut Vec<Value>) {
    while open.len() > depth {
        let Some(value) = open.pop() else { return };
        match open.last_mut().and_then(|above| above["causes"].as_array_mut()) {
            Some(causes) => causes.push(value),
            None => done.push(value),
        }
    }
}

/// How an object is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// With all that is behind it.
    Whole,
    /// It stands on the way to itself.
    Circle,
    /// It was told before.
    Above,
}

struct Visit<'a, 'v> {
    step: &'a Step,
    causes: &'a [String],
    /// Whether each object on the way is the last of its siblings.
    lasts: &'v [bool],
    how: How,
}

impl Visit<'_, '_> {
    /// What stands in front of an object's line, and of the lines below it.
    fn arms(&self) -> (String, String) {
        let (mut arm, mut below) = (String::new(), String::new());
        for (position, last) in self.lasts.iter().enumerate() {
            let here = position + 1 == self.lasts.len();
            arm.push_str(match (here, last) {
                (true, true) => "└ ",
                (true, false) => "├ ",
                (false, true) => "  ",
                (false, false) => "│ ",
            });
            below.push_str(if *last { "  " } else { "│ " });
        }
        below.push_str(if self.causes.is_empty() { "    " } else { "│   " });
        (arm, below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(nodes: &[(&str, &[&str])]) -> Graph {
        let mut graph = Graph::default();
        for (id, causes) in nodes {
            let step = Step {
                id: (*id).to_owned(),
                fare: Fare::Failed,
                state: "failed".to_owned(),
                message: "m".to_owned(),
                place: id
                    .starts_with('H')
                    .then(|| format!("{}.yaml:3", id.to_lowercase())),
                source: id.starts_with('H').then(|| "G at main".to_owned()),
            };
            graph.add(step, causes.iter().map(|cause| (*cause).to_owned()).collect());
        }
        graph
    }

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn firsts(graph: &Graph, tops: &[String]) -> Vec<String> {
        graph.firsts(tops).iter().map(|step| step.id.clone()).collect()
    }

    #[test]
    fn all_causes_stand_below_what_they_cause() {
        let graph = graph(&[
            ("Apps", &["Infra"]),
            ("Infra", &["H1", "H2", "H3"]),
            ("H1", &[]),
            ("H2", &["P"]),
            ("H3", &[]),
            ("P", &[]),
        ]);
        assert_eq!(
            graph.draw(&ids(&["Apps"]), false),
            "✗ Apps failed: m\n\
             └ ✗ Infra failed: m\n\
             \x20 ├ ✗ H1 failed: m\n\
             \x20 │     h1.yaml:3 (G at main)\n\
             \x20 ├ ✗ H2 failed: m\n\
             \x20 │ │   h2.yaml:3\n\
             \x20 │ └ ✗ P failed: m\n\
             \x20 └ ✗ H3 failed: m\n\
             \x20       h3.yaml:3\n"
        );
        assert_eq!(firsts(&graph, &ids(&["Apps"])), ["H1", "P", "H3"]);
        let value = &graph.values(&ids(&["Apps"]))[0];
        assert_eq!(value["causes"][0]["causes"][2]["place"], "h3.yaml:3");
        assert_eq!(value["causes"][0]["causes"][1]["causes"][0]["object"], "P");
    }

    #[test]
    fn what_was_explained_is_not_explained_again() {
        let graph = graph(&[("A", &["C"]), ("B", &["C"]), ("C", &["D"]), ("D", &[])]);
        let tops = graph.tops(&ids(&["A", "B", "C", "D"]));
        assert_eq!(tops, ["A", "B"]);
        assert_eq!(
            graph.draw(&tops, false),
            "✗ A failed: m\n└ ✗ C failed: m\n  └ ✗ D failed: m\n✗ B failed: m\n└ ✗ C failed (see above)\n"
        );
        assert_eq!(firsts(&graph, &tops), ["D"]);
        assert_eq!(graph.values(&tops)[1]["causes"][0]["repeated"], true);
    }

    #[test]
    fn a_circle_is_shown_and_ends() {
        let graph = graph(&[("A", &["B"]), ("B", &["A", "C"]), ("C", &[])]);
        let tops = graph.tops(&ids(&["C", "A", "B"]));
        assert_eq!(tops, ["A"]);
        assert_eq!(
            graph.draw(&tops, false),
            "✗ A failed: m\n└ ✗ B failed: m\n  ├ ✗ A waits for itself: break the circle\n  └ ✗ C failed: m\n"
        );
        assert_eq!(firsts(&graph, &tops), ["A", "C"]);
        assert_eq!(graph.values(&tops)[0]["causes"][0]["causes"][0]["circle"], true);
    }
}

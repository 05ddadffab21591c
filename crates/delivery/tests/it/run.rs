//! One run of one Kustomization, as an interpreter of the plan: each call of [`Run::step`] makes one write at most,
//! so that a run can be killed, or another one can come in between, at every point.

use std::collections::{BTreeSet, VecDeque};

use fluvial_delivery::control::Owner;
use fluvial_delivery::ignore::IgnoreRules;
use fluvial_delivery::inventory::{Entry, Inventory};
use fluvial_delivery::plan::apply::{self, Ask, Step};
use fluvial_delivery::plan::leave::{Leave, leave};
use fluvial_delivery::plan::prune::{self, Deleted, Fate, Plan, Release, Seen};
use fluvial_delivery::plan::{Claims, intent};
use fluvial_delivery::stage::stages;
use fluvial_object::{ObjectExt, ObjectId};
use rustc_hash::FxHashSet;
use serde_json::{Value, json};

use crate::fleet::Revision;
use crate::world::{World, kustomization_id, owner_of_id};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Going,
    Done,
    Failed,
}

/// How many runs a Kustomization that is deleted waits for others to take over what it has: its timeout.
const PATIENCE: u64 = 6;

enum Write {
    Apply(Value),
    Replace { id: ObjectId, uid: String },
}

enum Phase {
    Intent,
    Apply,
    Prune,
    Delete,
    Finish,
}

pub(crate) struct Run {
    pub(crate) owner: Owner,
    revision: usize,
    phase: Phase,
    finalizing: bool,
    patient: bool,
    prune: bool,
    recorded: Inventory,
    wanted: Inventory,
    stages: VecDeque<Vec<Value>>,
    writes: VecDeque<Write>,
    applied: FxHashSet<String>,
    plan: Plan,
    deletions: VecDeque<Entry>,
    looks: usize,
    failed: BTreeSet<ObjectId>,
}

/// What to make of a Kustomization as it is now.
pub(crate) enum Start {
    /// Nothing to do, or nothing that can be done.
    Idle,
    Run(Box<Run>),
}

pub(crate) fn inventory_of(kustomization: &Value) -> Inventory {
    Inventory::from_value(&kustomization["status"]["inventory"]).expect("we wrote it")
}

impl Run {
    pub(crate) fn start(owner: &Owner, world: &mut World, history: &[Revision], newest: usize) -> Start {
        let Some(object) = world.objects.get(&kustomization_id(owner)) else {
            return Start::Idle;
        };
        let recorded = inventory_of(object);
        let policy = object["spec"]["deletionPolicy"].as_str().unwrap_or_default();
        let policy = policy.parse().expect("a known policy");
        let mut prune = object["spec"]["prune"] == true;
        let finalizing = object.deletion_timestamp().is_some();
        let patient = object["status"]["waited"].as_u64().unwrap_or_default() < PATIENCE;
        let revision = &history[newest];
        let mut desired = Vec::new();
        if finalizing {
            if leave(policy, prune, false, &recorded) == Leave::LetGo {
                for id in recorded.ids() {
                    if let Some(live) = world.objects.get(id).filter(|live| owner.owns(live)) {
                        world.released.insert(live.uid().to_owned());
                    }
                }
                world.finalized(owner);
                return Start::Idle;
            }
            prune = true;
        } else {
            match revision.builds.get(owner) {
                Some(build) if !revision.broken.contains(owner) => {
                    desired = build.values().cloned().collect();
                }
                _ => return Start::Idle,
            }
        }
        for object in &mut desired {
            owner.label(object);
        }
        let staged = stages(
            desired.into_iter().map(|object| (object.id(), object)).collect(),
            &[],
            |(id, _)| id,
        );
        let in_order = || staged.iter().flat_map(|(_, items)| items);
        let wanted: Inventory = in_order().map(|(_, object)| Entry::of(object)).collect();
        let staged: VecDeque<Vec<Value>> = staged
            .iter()
            .map(|(_, items)| items.iter().map(|(_, object)| object.clone()).collect())
            .collect();
        Start::Run(Box::new(Run {
            owner: owner.clone(),
            revision: newest,
            phase: if finalizing { Phase::Prune } else { Phase::Intent },
            finalizing,
            patient,
            prune,
            recorded,
            wanted,
            stages: staged,
            writes: VecDeque::new(),
            applied: FxHashSet::default(),
            plan: Plan::default(),
            deletions: VecDeque::new(),
            looks: 0,
            failed: BTreeSet::new(),
        }))
    }

    /// Goes on to just after the next write or decision, or to the end.
    pub(crate) fn step(&mut self, world: &mut World, history: &[Revision]) -> Outcome {
        let before = world.writes;
        loop {
            let decides = matches!(self.phase, Phase::Prune);
            let outcome = self.advance(world, history);
            if outcome != Outcome::Going || world.writes != before || decides {
                return outcome;
            }
        }
    }

    fn advance(&mut self, world: &mut World, history: &[Revision]) -> Outcome {
        match self.phase {
            Phase::Intent => {
                if let Some(intent) = intent(&self.recorded, &self.wanted) {
                    let mut status = self.status(world);
                    status["inventory"] = intent.to_value();
                    world.set_status(&kustomization_id(&self.owner), &status);
                    self.recorded = intent;
                }
                self.phase = Phase::Apply;
                Outcome::Going
            }
            Phase::Apply => self.apply(world),
            Phase::Prune => {
                self.decide(world, history);
                self.phase = Phase::Delete;
                Outcome::Going
            }
            Phase::Delete => self.delete(world, history),
            Phase::Finish => self.finish(world),
        }
    }

    fn status(&self, world: &World) -> Value {
        let object = world.objects.get(&kustomization_id(&self.owner));
        object
            .and_then(|object| object.get("status"))
            .cloned()
            .unwrap_or_default()
    }

    fn apply(&mut self, world: &mut World) -> Outcome {
        if let Some(write) = self.writes.pop_front() {
            let answer = match write {
                Write::Apply(object) => {
                    let answer = world.apply(&object);
                    if let (Ok(()), Some(live)) = (&answer, world.objects.get(&object.id())) {
                        self.applied.insert(live.uid().to_owned());
                    }
                    answer
                }
                Write::Replace { id, uid } => match world.delete(&id, &uid, None, &self.owner, self.revision)
                {
                    Err(refusal) if refusal.is_not_found() => Ok(()),
                    answer => answer,
                },
            };
            return if answer.is_ok() {
                Outcome::Going
            } else {
                Outcome::Failed
            };
        }
        let Some(stage) = self.stages.pop_front() else {
            self.phase = Phase::Prune;
            return Outcome::Going;
        };
        let ignore = IgnoreRules::default();
        let rules = apply::Rules {
            manager: "kustomize-controller",
            force: false,
            taken_over: &[],
            ignore: &ignore,
        };
        let decisions = stage.into_iter().map(|object| {
            let live = world.objects.get(&object.id());
            let decision = match apply::ask(&object, live, &rules) {
                Ask::Skip(skip) => Ok(Step::Skip(skip)),
                Ask::Send(sent) => {
                    let answer = world.dry_run(&sent);
                    match answer {
                        Ok(answer) => apply::decide(&object, live, Ok(&answer), &rules),
                        Err(refusal) => apply::decide(&object, live, Err(refusal), &rules),
                    }
                }
            };
            (object, decision)
        });
        let Ok(steps) = apply::stage(decisions) else {
            return Outcome::Failed;
        };
        for (object, step) in steps {
            match step {
                Step::Skip(_) => {}
                Step::Keep => {
                    if let Some(live) = world.objects.get(&object.id()) {
                        self.applied.insert(live.uid().to_owned());
                    }
                }
                Step::Apply { .. } => self.writes.push_back(Write::Apply(object)),
                Step::Recreate { uid } => {
                    self.writes.push_back(Write::Replace { id: object.id(), uid });
                    self.writes.push_back(Write::Apply(object));
                }
            }
        }
        Outcome::Going
    }

    /// Asks everybody what they want at this revision.
    fn claims(&self, candidates: &[Entry], world: &World, history: &[Revision]) -> Claims {
        let revision = &history[self.revision];
        let mut claims = Claims::about(candidates);
        if !self.finalizing {
            claims.want(&self.owner, self.wanted.ids());
        }
        for (other, build) in revision.builds.iter().filter(|(other, _)| **other != self.owner) {
            if revision.broken.contains(other) {
                let files = serde_json::to_string(&build.values().collect::<Vec<_>>()).expect("JSON");
                claims.unsure(other, |text| files.contains(text));
            } else {
                claims.want(other, build.keys());
            }
        }
        // What others have on record counts until they are through with this revision.
        for (id, object) in &world.objects {
            if let Some(other) = owner_of_id(id)
                && other != self.owner
                && object.deletion_timestamp().is_none()
                && object["status"]["applied"] != json!(self.revision)
            {
                claims.want(&other, inventory_of(object).ids());
            }
        }
        claims
    }

    fn decide(&mut self, world: &mut World, history: &[Revision]) {
        let candidates = self.recorded.without(&self.wanted);
        let claims = self.claims(&candidates, world, history);
        let plan = prune::plan(
            candidates,
            |entry| seen(world, &entry.id),
            &prune::Rules {
                owner: &self.owner,
                prune: self.prune,
                claims: &claims,
                applied: &self.applied,
                patient: self.patient,
            },
        );
        for (entry, fate) in &plan.fates {
            if let Fate::Release(
                Release::Kept(_) | Release::Shelters(_) | Release::PruneOff | Release::GivenUp(_),
            ) = fate
                && let Some(live) = world.objects.get(&entry.id)
            {
                world.released.insert(live.uid().to_owned());
            }
        }
        self.deletions = plan.deletions().map(|(entry, _)| entry.clone()).collect();
        self.plan = plan;
    }

    fn delete(&mut self, world: &mut World, history: &[Revision]) -> Outcome {
        let Some(entry) = self.deletions.front().cloned() else {
            self.phase = Phase::Finish;
            return Outcome::Going;
        };
        let fate = self.plan.fates.iter().find(|(other, _)| *other == entry);
        let Some((_, Fate::Delete(deletion))) = fate else {
            self.deletions.pop_front();
            return Outcome::Going;
        };
        let mut deletion = deletion.clone();
        if deletion.takes_along {
            match self.look_again(&entry, world, history) {
                Fate::Delete(again) => deletion = again,
                _ => return Outcome::Going,
            }
        }
        let answer = world.delete(
            &entry.id,
            &deletion.uid,
            Some(&deletion.resource_version),
            &self.owner,
            self.revision,
        );
        match prune::after_delete(answer) {
            Deleted::Done => {
                self.deletions.pop_front();
                self.looks = 0;
            }
            Deleted::LookAgain if self.looks < prune::MAX_LOOKS => {
                self.looks += 1;
                self.look_again(&entry, world, history);
            }
            Deleted::LookAgain | Deleted::Failed(_) => {
                self.failed.insert(entry.id.clone());
                self.deletions.pop_front();
                self.looks = 0;
            }
        }
        Outcome::Going
    }

    fn look_again(&mut self, entry: &Entry, world: &World, history: &[Revision]) -> Fate {
        let candidates: Vec<Entry> = self.plan.fates.iter().map(|(entry, _)| entry.clone()).collect();
        let claims = self.claims(&candidates, world, history);
        let rules = prune::Rules {
            owner: &self.owner,
            prune: self.prune,
            claims: &claims,
            applied: &self.applied,
            patient: self.patient,
        };
        let fate = prune::decide(entry, seen(world, &entry.id), &rules);
        self.plan.replace(&entry.id, fate.clone());
        fate
    }

    fn finish(&mut self, world: &mut World) -> Outcome {
        let inventory = self.plan.inventory(&self.wanted, |id| self.failed.contains(id));
        let gone = |id: &ObjectId| !world.objects.contains_key(id);
        let ended = inventory.is_empty() && self.plan.deletions().all(|(entry, _)| gone(&entry.id));
        if self.finalizing && ended {
            world.finalized(&self.owner);
            return Outcome::Done;
        }
        let mut status = json!({"inventory": inventory.to_value()});
        if self.finalizing {
            let waited = self.status(world)["waited"].as_u64().unwrap_or_default();
            status["waited"] = json!(waited + 1);
        } else {
            status["applied"] = json!(self.revision);
        }
        world.set_status(&kustomization_id(&self.owner), &status);
        if self.failed.is_empty() {
            Outcome::Done
        } else {
            Outcome::Failed
        }
    }
}

fn seen<'w>(world: &'w World, id: &ObjectId) -> Seen<'w> {
    world.objects.get(id).map_or(Seen::Absent, Seen::There)
}

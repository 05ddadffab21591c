//! Random histories, carried out by runs that come in between one another, fail and are killed.

use std::collections::BTreeMap;

use fluvial_delivery::control::{self, Owner};
use fluvial_object::{ObjectExt, ObjectId};
use serde_json::json;

use crate::fleet::{self, Play, Revision};
use crate::random::Random;
use crate::run::{Outcome, Run, Start, inventory_of};
use crate::world::{KUSTOMIZE, World, kustomization_id, owner_of_id};

/// What can go wrong on the way, in percent of all steps.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// All runs are killed.
    kill: usize,
    /// One run fails.
    fail: usize,
    /// Someone else writes an object.
    touch: usize,
}

struct Chaos {
    seed: u64,
    random: Random,
    world: World,
    history: Vec<Revision>,
    newest: usize,
    runs: BTreeMap<Owner, Box<Run>>,
}

impl Chaos {
    fn new(seed: u64, play: Play) -> Self {
        let mut random = Random::new(seed);
        let count = 2 + random.below(5);
        let history = fleet::history(&mut random, count, play);
        let mut world = World::default();
        let root = fleet::root();
        let object = json!({"apiVersion": format!("{KUSTOMIZE}/v1"), "kind": "Kustomization",
            "metadata": {"name": root.name, "namespace": root.namespace, "uid": "root", "resourceVersion": "0"},
            "spec": {"prune": true}});
        world.objects.insert(kustomization_id(&root), object);
        let mine = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "namespace": "user", "uid": "mine"}});
        world.objects.insert(mine.id(), mine);
        Chaos {
            seed,
            random,
            world,
            history,
            newest: 0,
            runs: BTreeMap::new(),
        }
    }

    fn owners(&self) -> Vec<Owner> {
        self.world.objects.keys().filter_map(owner_of_id).collect()
    }

    fn begin(&mut self, owner: &Owner) {
        if !self.runs.contains_key(owner)
            && let Start::Run(run) = Run::start(owner, &mut self.world, &self.history, self.newest)
        {
            self.runs.insert(owner.clone(), run);
        }
    }

    fn go_on(&mut self, owner: &Owner) {
        if let Some(run) = self.runs.get_mut(owner)
            && run.step(&mut self.world, &self.history) != Outcome::Going
        {
            self.runs.remove(owner);
        }
    }

    /// Steps in random order, with everything that can happen.
    fn storm(&mut self, trouble: Trouble) {
        let steps = 60 + self.random.below(120);
        // One is slow: others overtake it between any two of its writes.
        let slow = Owner::new("flux-system", *self.random.pick(&["a", "b", "c", "d"]));
        for step in 0..steps {
            if self.random.chance(100 * self.history.len() / steps) && self.newest + 1 < self.history.len() {
                self.newest += 1;
            }
            if self.random.chance(trouble.kill) {
                self.runs.clear();
            }
            let owners = self.owners();
            let owner = self.random.pick(&owners).clone();
            if self.random.chance(trouble.fail) {
                self.runs.remove(&owner);
            }
            if self.random.chance(trouble.touch) {
                let ids: Vec<ObjectId> = self.world.objects.keys().cloned().collect();
                let id = self.random.pick(&ids).clone();
                self.world.touch(&id);
            }
            if owner == slow && self.random.chance(80) {
                continue;
            }
            self.begin(&owner);
            self.go_on(&owner);
            self.check_destroyed(step);
        }
    }

    /// Runs everything at the last revision until nothing is written any more.
    fn calm(&mut self) {
        self.newest = self.history.len() - 1;
        self.runs.clear();
        for _ in 0..100 {
            let before = self.world.writes;
            let mut owners = self.owners();
            while !owners.is_empty() {
                let owner = owners.swap_remove(self.random.below(owners.len()));
                self.begin(&owner);
                while self.runs.contains_key(&owner) {
                    self.go_on(&owner);
                }
                self.check_destroyed(usize::MAX);
            }
            if self.world.writes == before {
                return;
            }
        }
        unreachable!("seed {}: it does not come to rest", self.seed);
    }

    /// Nothing foreign, nothing that asks to be kept, and nothing that is wanted was destroyed.
    fn check_destroyed(&mut self, step: usize) {
        let seed = self.seed;
        for destroyed in std::mem::take(&mut self.world.destroyed) {
            let what = format!(
                "seed {seed}, step {step}: {} destroyed {} at revision {} (cascade: {})",
                destroyed.by, destroyed.id, destroyed.revision, destroyed.cascade
            );
            assert!(
                destroyed.recreate || destroyed.cascade || destroyed.by.owns(&destroyed.object),
                "{what}, which is not its own"
            );
            // What went off the record earlier cannot be known to be in a namespace.
            assert!(
                destroyed.recreate || destroyed.cascade || control::keep(&destroyed.object).is_none(),
                "{what}, which asks to be kept"
            );
            let revision = &self.history[destroyed.revision];
            // A Kustomization that is deleted by hand takes its own objects along, even if it comes back.
            let deleting = |owner: &Owner| {
                let object = self.world.objects.get(&kustomization_id(owner));
                object.is_none_or(|object| object.deletion_timestamp().is_some())
            };
            let wanted = revision.builds.iter().any(|(owner, build)| {
                build.contains_key(&destroyed.id) && !(*owner == destroyed.by && deleting(owner))
            });
            assert!(destroyed.recreate || !wanted, "{what}, which is wanted");
            // What another has put there, and is not about to delete itself.
            if let Some(other) = Owner::of(&destroyed.object).filter(|other| *other != destroyed.by) {
                let holder = self.world.objects.get(&kustomization_id(&other));
                let has = holder.is_some_and(|holder| {
                    holder.deletion_timestamp().is_none()
                        && holder["status"]["applied"] != json!(destroyed.revision)
                        && inventory_of(holder).contains(&destroyed.id)
                });
                assert!(destroyed.recreate || !has, "{what}, which {other} has");
            }
        }
    }

    /// All that is wanted is there, and owned by who wants it; what is not wanted is not there.
    fn check_end(&self) {
        let seed = self.seed;
        let last = &self.history[self.newest];
        for (owner, build) in &last.builds {
            for (id, wanted) in build {
                let live = self.world.objects.get(id);
                let live = live.unwrap_or_else(|| unreachable!("seed {seed}: {id} of {owner} is missing"));
                assert!(owner.owns(live), "seed {seed}: {id} is not owned by {owner}");
                assert_eq!(live["data"], wanted["data"], "seed {seed}: {id} is not as in Git");
                assert_eq!(
                    live["frozen"], wanted["frozen"],
                    "seed {seed}: {id} is not as in Git"
                );
            }
        }
        for (id, live) in &self.world.objects {
            let expected = last.wants(id)
                || *id == kustomization_id(&fleet::root())
                || live.uid() == "mine"
                || self.world.released.contains(live.uid());
            assert!(expected, "seed {seed}: {id} is orphaned: {live}");
        }
        assert!(
            self.world.objects.values().any(|live| live.uid() == "mine"),
            "seed {seed}: the user's object is gone"
        );
    }
}

fn play(seeds: std::ops::Range<u64>, play: Play, trouble: Trouble) {
    for seed in seeds {
        let mut chaos = Chaos::new(seed, play);
        chaos.storm(trouble);
        chaos.calm();
        chaos.check_end();
    }
}

const CALM: Trouble = Trouble {
    kill: 0,
    fail: 0,
    touch: 0,
};
const MOVES: Play = Play {
    owners_change: false,
    policies: false,
    broken: false,
};
const OWNERS: Play = Play {
    owners_change: true,
    ..MOVES
};
const BROKEN: Play = Play {
    broken: true,
    ..OWNERS
};
const POLICIES: Play = Play {
    policies: true,
    ..BROKEN
};
const KILLS: Trouble = Trouble { kill: 10, ..CALM };
const ALL: Trouble = Trouble {
    kill: 4,
    fail: 8,
    touch: 30,
};

#[test]
fn objects_move_between_owners_without_being_deleted() {
    play(0..80, MOVES, CALM);
}

#[test]
fn runs_may_be_killed_at_every_step() {
    play(10_000..10_080, OWNERS, KILLS);
}

#[test]
fn failures_races_and_broken_builds_cost_nothing() {
    play(20_000..20_080, BROKEN, ALL);
}

#[test]
fn what_is_left_behind_is_only_what_a_policy_leaves() {
    play(30_000..30_080, POLICIES, ALL);
}

#[test]
#[ignore = "minutes: for changes of the plan"]
fn many_more_histories() {
    play(100_000..103_000, MOVES, ALL);
    play(200_000..203_000, OWNERS, KILLS);
    play(300_000..306_000, BROKEN, ALL);
    play(400_000..406_000, POLICIES, ALL);
}

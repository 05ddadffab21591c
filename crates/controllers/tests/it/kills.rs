//! Killed at any moment of a rollout that applies, prunes and moves objects, the next life ends where it should:
//! nothing orphaned, nothing deleted that was to stay.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kustomizations::config;
use crate::world::{World, git_repository, ks, kustomization};

const OBJECTS: u32 = 12;
const OWNERS: u32 = 3;

/// Small deterministic numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        u32::try_from((self.0 >> 33) % u64::from(sides)).expect("fits")
    }
}

/// Which owner each object has; some have none.
type State = BTreeMap<u32, u32>;

fn next(dice: &mut Dice) -> State {
    (0..OBJECTS)
        .filter_map(|object| {
            let owner = dice.roll(OWNERS + 1);
            (owner < OWNERS).then_some((object, owner))
        })
        .collect()
}

fn commit(world: &World, state: &State, round: u32) -> String {
    let mut files: Vec<(String, String)> = (0..OWNERS)
        .map(|owner| {
            let path = format!("k{owner}/base.yaml");
            (path, config(&format!("base-{owner}"), &format!("r{round}")))
        })
        .collect();
    for (object, owner) in state {
        let path = format!("k{owner}/o{object}.yaml");
        files.push((path, config(&format!("object-{object}"), &format!("r{round}"))));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    world.commit(&files)
}

/// UIDs and owners of the moving objects.
async fn objects(world: &World) -> BTreeMap<u32, (String, String)> {
    let text = |object: &Value, pointer: &str| {
        let found = object.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    world
        .list("v1", "ConfigMap")
        .await
        .iter()
        .filter_map(|object| {
            let name = text(object, "/metadata/name");
            let number = name.strip_prefix("object-")?.parse().ok()?;
            let owner = text(object, "/metadata/labels/kustomize.toolkit.fluxcd.io~1name");
            Some((number, (text(object, "/metadata/uid"), owner)))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_any_moment_neither_orphan_nor_delete() {
    let rounds: u32 = std::env::var("KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(8);
    let mut dice = Dice(7);
    let mut world = World::new().await;
    world.stop().await;
    let mut state = next(&mut dice);
    commit(&world, &state, 0);
    world.create(git_repository("fleet")).await;
    for owner in 0..OWNERS {
        let name = format!("k{owner}");
        let spec = json!({"path": name, "retryInterval": "100ms"});
        world.create(kustomization(&name, spec)).await;
    }
    world.start_apart();
    for round in 1..=rounds {
        let before = objects(&world).await;
        let old = std::mem::replace(&mut state, next(&mut dice));
        let revision = commit(&world, &state, round);
        tokio::time::sleep(Duration::from_millis(u64::from(dice.roll(120)))).await;
        world.kill();
        world.start_apart();
        for owner in 0..OWNERS {
            world.applied(&ks(&format!("k{owner}")), &revision).await;
        }
        let expected: BTreeMap<u32, String> = state
            .iter()
            .map(|(object, owner)| (*object, format!("k{owner}")))
            .collect();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let after = loop {
            let after = objects(&world).await;
            let owners: BTreeMap<u32, String> = after
                .iter()
                .map(|(object, (_, owner))| (*object, owner.clone()))
                .collect();
            if owners == expected {
                break after;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "round {round}: {owners:?} instead of {expected:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        for (object, (uid, _)) in &before {
            if old.contains_key(object) && state.contains_key(object) {
                assert_eq!(
                    after.get(object).map(|(uid, _)| uid),
                    Some(uid),
                    "round {round}: object-{object} was deleted on its way"
                );
            }
        }
    }
    world.kill();
}

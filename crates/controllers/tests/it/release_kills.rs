//! A process that dies at any write of an installation, an upgrade, a rollback or an uninstallation: the next one ends
//! where the first was going. With `$KILLS` set every write of every phase is tried, otherwise every fourth; done and not
//! done, with its answer and without.

use std::time::Duration;

use serde_json::{Value, json};

use crate::helm_releases::{hr, release, serve, states, stored};
use crate::world::{World, condition};

/// More writes than any phase has.
const MOST: usize = 40;

#[derive(Debug, Clone, Copy)]
enum Phase {
    Install,
    Upgrade,
    Rollback,
    Uninstall,
}

async fn config(world: &World, name: &str) -> Option<Value> {
    world.get("v1", "ConfigMap", "default", name).await
}

/// Asks for what a phase does.
async fn ask(world: &World, phase: Phase) {
    let of = hr("web");
    let values = |size: u32, outcome: &str| json!({"size": size, "web": format!("v{size}"), "outcome": outcome, "extra": size == 1});
    match phase {
        Phase::Install => {
            let spec = json!({"values": values(1, "healthy"), "timeout": "1s",
                "upgrade": {"remediation": {"retries": 0, "remediateLastFailure": true}}});
            world.create(release("web", spec)).await;
        }
        Phase::Upgrade => {
            let spec = json!({"values": values(2, "healthy")});
            world.patch(&of, json!({"spec": spec})).await;
        }
        Phase::Rollback => {
            // What crashes fails at once, if it is rolled out anew.
            let spec = json!({"values": values(3, "fail")});
            world.patch(&of, json!({"spec": spec})).await;
        }
        Phase::Uninstall => world.delete(&of).await,
    }
}

/// Waits until a phase has ended as it should, and checks all that is left of it.
async fn settled(world: &World, phase: Phase, what: &str) {
    let of = hr("web");
    if matches!(phase, Phase::Uninstall) {
        world.gone(&of).await;
        assert!(stored(world, "web").await.is_empty(), "{what}: versions are left");
        for name in ["web-config", "web-extra"] {
            assert!(config(world, name).await.is_none(), "{what}: {name} is left");
        }
        return;
    }
    let generation = match phase {
        Phase::Install => 1,
        Phase::Upgrade => 2,
        _ => 3,
    };
    let (kind, wanted) = match phase {
        Phase::Rollback => ("Stalled", "False"),
        _ => ("Ready", "True"),
    };
    let object = world
        .until(&of, &format!("{what}: settled"), |object| {
            object.is_some_and(|object| {
                let state = |kind: &str| condition(object, kind).map(|found| found["status"].clone());
                object["status"]["observedGeneration"] == generation
                    && state("Ready") == Some(json!(wanted))
                    && (kind == "Ready" || state("Stalled") == Some(json!("True")))
            })
        })
        .await
        .unwrap();
    let size = match phase {
        Phase::Install => "1",
        _ => "2",
    };
    let versions = stored(world, "web").await;
    let states = states(&versions);
    let text = format!("{what}: {states:?} {}", object["status"]);
    assert_eq!(
        states.iter().filter(|(_, state)| *state == "deployed").count(),
        1,
        "{text}"
    );
    assert_eq!(states.last().map(|(_, state)| *state), Some("deployed"), "{text}");
    let found = config(world, "web-config").await.expect(&text);
    assert_eq!(found["data"]["size"], size, "{text}");
    assert_eq!(
        config(world, "web-extra").await.is_some(),
        matches!(phase, Phase::Install),
        "{text}"
    );
}

async fn life(phases: &[Phase], last: Phase, lost: bool) -> usize {
    let mut kills = 0;
    let step = if std::env::var_os("KILLS").is_some() { 1 } else { 4 };
    for count in (usize::from(lost)..MOST).step_by(step) {
        let mut world = World::new().await;
        world.stop().await;
        serve(&world).await;
        world.start_apart();
        for phase in phases {
            ask(&world, *phase).await;
            settled(&world, *phase, "before").await;
        }
        world.end.after(count, lost);
        ask(&world, last).await;
        // Silence: either everything is done, or the process hangs at the write that is its last.
        let mut seen = world.writes();
        loop {
            tokio::time::sleep(Duration::from_millis(150)).await;
            let now = world.writes();
            if now == seen {
                break;
            }
            seen = now;
        }
        world.kill();
        let left = world.end.never().unwrap_or_default();
        world.start_apart();
        kills += 1;
        let what = format!("{last:?} killed after {count} writes (lost: {lost})");
        settled(&world, last, &what).await;
        world.kill();
        if left > 0 {
            return kills;
        }
    }
    panic!("{last:?} has no end");
}

async fn lives(phases: &[Phase], last: Phase) {
    let kills = life(phases, last, false).await + life(phases, last, true).await;
    assert!(kills > 3, "{last:?} has more writes than that");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_may_die_at_any_write() {
    lives(&[], Phase::Install).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_may_die_at_any_write() {
    lives(&[Phase::Install], Phase::Upgrade).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_may_die_at_any_write() {
    lives(&[Phase::Install, Phase::Upgrade], Phase::Rollback).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninstallation_may_die_at_any_write() {
    lives(&[Phase::Install, Phase::Upgrade], Phase::Uninstall).await;
}

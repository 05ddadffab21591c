//! Killed at any moment, the program ends up where it was going: nothing is orphaned, nothing wrongly deleted.

use std::time::Duration;

use crate::fleet::{Fleet, eventually, head};

/// Moves objects between owners, removes some and adds some.
fn change(fleet: &Fleet, round: usize) {
    let teas = "apps/base/kiosk/teas.yaml";
    let list = "apps/base/kiosk/kustomization.yaml";
    let tea = |name: &str| {
        format!(
            "apiVersion: shop.example.com/v1\nkind: Tea\nmetadata:\n  name: {name}\nspec:\n  origin: Nilgiri\n"
        )
    };
    if round.is_multiple_of(2) {
        // The tea moves from the kiosk to the orders, and another one comes.
        fleet.write("apps/base/orders/moved.yaml", &tea("wanderer"));
        fleet.edit(
            "apps/base/orders/kustomization.yaml",
            "  - service.yaml\n",
            "  - service.yaml\n  - moved.yaml\n",
        );
        fleet.write(teas, &tea(&format!("round-{round}")));
    } else {
        fleet.remove("apps/base/orders/moved.yaml");
        fleet.edit("apps/base/orders/kustomization.yaml", "  - moved.yaml\n", "");
        fleet.write(
            teas,
            &format!("{}---\n{}", tea("wanderer"), tea(&format!("round-{round}"))),
        );
    }
    assert!(fleet.repository().join(list).is_file());
    fleet.commit(&format!("round {round}"));
}

fn kill(times: usize) {
    let fleet = Fleet::new();
    let data = fleet.beside("data");
    let data = data.to_string_lossy();
    let mut up = fleet.up(&["--data", &data]);
    eventually("the fleet", || up.is_ready(6, &head(&fleet)));
    for round in 0..times {
        change(&fleet, round);
        // From before the commit is seen to after all of it is applied.
        let pause = (round * 7919 + 13) % 600;
        std::thread::sleep(Duration::from_millis(pause as u64));
        up.kill();
        up = fleet.up(&["--data", &data]);
        eventually("the fleet after a kill", || up.is_ready(6, &head(&fleet)));
        let wanted = [
            format!("shop_round-{round}_shop.example.com_Tea"),
            "shop_wanderer_shop.example.com_Tea".to_owned(),
        ];
        // The former owner keeps a record of what moves until the new owner has taken it over.
        let what = format!("the right owners in round {round}, killed after {pause} ms");
        eventually(&what, || {
            let owned = up.owned();
            owned.iter().filter(|id| id.ends_with("_Tea")).eq(&wanted)
        });
        for name in ["wanderer", &format!("round-{round}")] {
            assert!(
                up.serves_tea(name),
                "round {round}: {name} is gone, killed after {pause} ms"
            );
        }
        if round > 0 {
            let before = format!("round-{}", round - 1);
            assert!(
                !up.serves_tea(&before),
                "round {round}: {before} is orphaned, killed after {pause} ms"
            );
        }
    }
}

#[test]
fn a_few_kills_during_rollouts_lose_nothing() {
    kill(3);
}

/// `FLUVIAL_KILLS=50 cargo test -p fluvial --test it -- --ignored kills`
#[test]
#[ignore = "takes minutes; the number of kills is $FLUVIAL_KILLS"]
fn many_kills_during_rollouts_lose_nothing() {
    let times = std::env::var("FLUVIAL_KILLS")
        .ok()
        .and_then(|text| text.parse().ok());
    kill(times.unwrap_or(50));
}

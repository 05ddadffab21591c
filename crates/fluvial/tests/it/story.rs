//! A day with the example fleet.

use crate::fleet::{Fleet, eventually, head};

#[test]
fn a_commit_is_applied_pruned_and_explained() {
    let fleet = Fleet::new();
    let up = fleet.up(&[]);
    eventually("the fleet", || up.is_ready(6, &head(&fleet)));

    // A tea is taken off the menu, and its object goes.
    let is_there = |name: &str| up.owned().iter().any(|id| id.contains(name));
    assert!(is_there("_assam_"));
    fleet.edit(
        "apps/base/kiosk/teas.yaml",
        "---\napiVersion: shop.example.com/v1\nkind: Tea\nmetadata:\n  name: assam\nspec:\n  origin: Brahmaputra valley\n  minutes: 4\n",
        "",
    );
    fleet.commit("no more assam");
    eventually("the removal", || up.is_ready(6, &head(&fleet)));
    assert!(!is_there("_assam_"), "{:?}", up.owned());

    // A mistake stops what depends on it, and `why` leads to the file.
    fleet.edit("apps/base/orders/service.yaml", "port: 80\n", "port: many\n");
    fleet.commit("a mistake");
    eventually("the failure", || up.text(&["why", "ks", "orders"]).contains("✗"));
    eventually("the explanation", || {
        up.text(&["why", "ks", "kiosk"])
            .contains("Kustomization/flux-system/orders")
    });
    let why = up.text(&["why", "ks", "kiosk"]);
    assert!(why.contains("Kustomization/flux-system/kiosk waits"), "{why}");
    assert!(
        why.contains("service.yaml") || why.contains("Service/shop/orders"),
        "{why}"
    );

    // It is mended.
    fleet.edit("apps/base/orders/service.yaml", "port: many\n", "port: 8080\n");
    fleet.commit("mended");
    eventually("the recovery", || up.is_ready(6, &head(&fleet)));
    assert_eq!(up.text(&["why"]), "everything is ready\n");
}

#[test]
fn once_ends_when_everything_is_ready() {
    let fleet = Fleet::new();
    let mut up = fleet.up(&["--once"]);
    let mut code = None;
    eventually("the end", || {
        code = up.exit_code();
        code.is_some()
    });
    assert_eq!(code, Some(0));
}

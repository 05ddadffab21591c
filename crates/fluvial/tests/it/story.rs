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
    // The release of this repository's own chart follows every commit, and nobody waits for it.
    eventually("that nothing is left", || {
        up.text(&["why"]) == "everything is ready\n"
    });
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

#[test]
fn what_was_brought_stays_when_the_program_leaves() {
    let fleet = Fleet::new();
    let up = fleet.up(&[]);
    eventually("the fleet", || up.is_ready(6, &head(&fleet)));
    let said = |arguments: &[&str]| {
        let done = up.run(arguments);
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        (done.status.code(), text)
    };
    eventually("everything looked at", || said(&["check"]).0 == Some(0));
    let (_, text) = said(&["check"]);
    assert!(
        text.contains("✔ kustomizations.kustomize.toolkit.fluxcd.io/v1\n"),
        "{text}"
    );

    let (code, text) = said(&["uninstall", "--dry-run"]);
    assert_eq!(code, Some(0), "{text}");
    for line in [
        "✔ HelmRelease/flux-system/samovar let go of (dry run)",
        "✔ Namespace/flux-system deleted (dry run)",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(up.is_ready(6, &head(&fleet)));
    // Nobody is there to say yes.
    assert_eq!(said(&["uninstall"]).0, Some(1));
    assert!(up.is_ready(6, &head(&fleet)));

    let (code, text) = said(&["uninstall", "--silent"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = said(&["check"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("is not defined; `fluvial install` defines it"),
        "{text}"
    );
    assert_eq!(said(&["check", "--pre"]).0, Some(0));
    // The controllers of `up` run on: they must not take it for a reason to delete.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(up.serves_tea("sencha"));
    for name in ["orders", "kiosk", "samovar"] {
        let text = up.text(&["why", "deployment", name, "-n", "shop"]);
        assert!(text.contains("is well"), "{name}: {text}");
    }
}

//! Dependencies of one kind and of both.

use serde_json::json;

use super::*;

/// `K/name` is a Kustomization, `H/name` a HelmRelease; so are the names in `depends_on`, where a kind is only said
/// where it has to be.
fn object(name: &str, depends_on: &[&str], status: &Value) -> Found {
    let (kind, name) = name.split_once('/').unwrap();
    let depends_on: Vec<_> = depends_on
        .iter()
        .map(|other| match other.split_once('/').unwrap() {
            (other, name) if other == kind => json!({"name": name}),
            ("K", name) => json!({"kind": "Kustomization", "name": name}),
            (_, name) => json!({"kind": "HelmRelease", "name": name}),
        })
        .collect();
    let mut value = json!({
        "metadata": {"name": name, "namespace": "ns", "generation": 1},
        "spec": {"interval": "1m", "dependsOn": depends_on},
        "status": status,
    });
    if kind == "K" {
        value["apiVersion"] = json!("kustomize.toolkit.fluxcd.io/v1");
        value["kind"] = json!("Kustomization");
        value["spec"]["prune"] = json!(true);
        value["spec"]["sourceRef"] = json!({"kind": "GitRepository", "name": "fleet"});
        return Found::Kustomization(Arc::new(Kustomization::from_value(&value).unwrap()));
    }
    value["apiVersion"] = json!("helm.toolkit.fluxcd.io/v2");
    value["kind"] = json!("HelmRelease");
    Found::HelmRelease(Arc::new(HelmRelease::from_value(&value).unwrap()))
}

fn node(name: &str) -> Node {
    let (kind, name) = name.split_once('/').unwrap();
    let kind = if kind == "K" {
        DependencyKind::Kustomization
    } else {
        DependencyKind::HelmRelease
    };
    Node {
        kind,
        key: Key::new("ns", name),
    }
}

fn verdict(objects: &[Found], name: &str) -> Result<(), Failure> {
    let find = |wanted: &Node| {
        let is = |found: &&Found| match found {
            Found::Kustomization(found) => Node::of(&**found) == *wanted,
            Found::HelmRelease(found) => Node::of(&**found) == *wanted,
        };
        objects.iter().find(is).cloned()
    };
    let never = |_: &str, _: &Found| Ok(());
    match find(&node(name)).unwrap() {
        Found::Kustomization(object) => check(&*object, find, false, &[], never),
        Found::HelmRelease(object) => check(&*object, find, false, &[], never),
    }
}

fn status(ready: &str, generation: i64) -> Value {
    json!({"observedGeneration": generation,
        "conditions": [{"type": "Ready", "status": ready, "reason": "x", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
}

#[test]
fn a_dependency_counts_when_ready_for_its_spec_whatever_its_kind() {
    for (dependent, dependency, called) in [
        ("K/apps", "K/infra", "ns/infra"),
        ("K/apps", "H/infra", "HelmRelease/ns/infra"),
        ("H/apps", "H/infra", "ns/infra"),
        ("H/apps", "K/infra", "Kustomization/ns/infra"),
    ] {
        let apps = object(dependent, &[dependency], &json!({}));
        let with = |status: Value| verdict(&[apps.clone(), object(dependency, &[], &status)], dependent);
        assert_eq!(with(status("True", 1)), Ok(()));
        let waits = format!("dependency '{called}' is not ready");
        assert_eq!(with(status("True", 0)).unwrap_err().message, waits);
        assert_eq!(with(status("False", 1)).unwrap_err().message, waits);
        let absent = verdict(std::slice::from_ref(&apps), dependent).unwrap_err();
        assert!(absent.message.contains(&format!("'{called}'")) && absent.message.contains("not found"));
        // One of the other kind with that name is somebody else.
        let (kind, name) = dependency.split_once('/').unwrap();
        let other = format!("{}/{name}", if kind == "K" { "H" } else { "K" });
        let wrong = [apps.clone(), object(&other, &[], &status("True", 1))];
        assert!(
            verdict(&wrong, dependent)
                .unwrap_err()
                .message
                .contains("not found")
        );
    }
}

#[test]
fn a_cycle_is_named_whole_and_across_kinds() {
    let objects = [
        object("K/a", &["K/b"], &json!({})),
        object("K/b", &["K/x", "K/c"], &json!({})),
        object("K/c", &["K/a"], &json!({})),
        object("K/d", &["K/a"], &json!({})),
    ];
    let failure = verdict(&objects, "K/a").unwrap_err();
    assert_eq!(failure.reason, DEPENDENCY_CYCLE);
    assert!(
        failure.message.contains("ns/a -> ns/b -> ns/c -> ns/a"),
        "{}",
        failure.message
    );
    // One that merely hangs on a cycle waits.
    assert_eq!(verdict(&objects, "K/d").unwrap_err().reason, DEPENDENCY_NOT_READY);
    let mixed = [
        object("K/a", &["H/a"], &json!({})),
        object("H/a", &["H/b"], &json!({})),
        object("H/b", &["K/a"], &json!({})),
    ];
    let failure = verdict(&mixed, "H/b").unwrap_err();
    assert!(
        failure
            .message
            .contains("HelmRelease/ns/b -> Kustomization/ns/a -> HelmRelease/ns/a -> HelmRelease/ns/b"),
        "{}",
        failure.message
    );
}

#[test]
fn what_is_depended_on_comes_first() {
    let objects: Vec<Arc<Kustomization>> = [
        object("K/a", &["K/c", "K/elsewhere", "H/b"], &json!({})),
        object("K/b", &["K/a"], &json!({})),
        object("K/c", &[], &json!({})),
        object("K/y", &["K/z"], &json!({})),
        object("K/z", &["K/y"], &json!({})),
    ]
    .into_iter()
    .filter_map(|found| match found {
        Found::Kustomization(found) => Some(found),
        Found::HelmRelease(_) => None,
    })
    .collect();
    let order: Vec<String> = in_order(&objects)
        .iter()
        .map(|key| key.name.to_string())
        .collect();
    assert_eq!(order, ["c", "a", "b", "y", "z"]);
}

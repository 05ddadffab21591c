//! Every mistake that a repository can hold, all at once: each gets one message that says what and where, and costs
//! nothing else anything.

use serde_json::Value;

use crate::fleet::{Fleet, Up, eventually};

/// A Kustomization of a folder.
fn kustomization(name: &str, path: &str, more: &str) -> String {
    format!(
        "---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata:\n  name: {name}\n  namespace: \
         flux-system\nspec:\n  interval: 10m\n  retryInterval: 1s\n  prune: true\n  path: {path}\n  sourceRef:\n    kind: \
         GitRepository\n    name: flux-system\n{more}"
    )
}

fn config_map(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: default\ndata:\n  key: value\n"
    )
}

fn resources(names: &[&str]) -> String {
    let mut text =
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n".to_owned();
    names
        .iter()
        .for_each(|name| text.push_str(&format!("- {name}\n")));
    text
}

const GADGET: &str =
    "apiVersion: example.com/v1\nkind: Gadget\nmetadata:\n  name: one\n  namespace: default\n";
const GADGETS: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: gadgets.example.com
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets, singular: gadget}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object}}
";

/// The Ready condition's message of a Kustomization that is not ready; empty if it is, or is not there.
fn complaint(up: &Up, name: &str) -> String {
    let all = up.kustomizations();
    let object = all.iter().find(|object| object["metadata"]["name"] == name);
    let conditions = object.and_then(|object| object["status"]["conditions"].as_array());
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready" && condition["status"] != "True")
        .and_then(|condition| condition["message"].as_str())
        .unwrap_or_default()
        .to_owned()
}

fn ready(up: &Up, name: &str) -> bool {
    let is_true = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    up.kustomizations().iter().any(|object| {
        object["metadata"]["name"] == name
            && object["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(is_true))
    })
}

#[test]
fn every_mistake_is_named_with_its_place_and_costs_nobody_else_anything() {
    let fleet = Fleet::new();
    let cases: [(&str, &[&str]); 8] = [
        ("broken", &["mistakes/broken/a.yaml"]),
        ("absent", &["'mistakes/absent' is not in the source", "mistakes/"]),
        (
            "one",
            &[
                "spec.dependsOn leads back to the object itself",
                "one -> flux-system/two",
            ],
        ),
        ("climbs", &["../../../outside"]),
        ("absolute", &["/etc/hostname"]),
        ("linked", &["linked"]),
        (
            "refused",
            &["ConfigMap/default/refused (mistakes/refused/a.yaml:1)", "Invalid"],
        ),
        ("unknown", &["Gadget", "example.com/v1"]),
    ];
    let mut all = String::new();
    for (name, _) in cases {
        let more = if name == "one" {
            "  dependsOn: [{name: two}]\n"
        } else {
            ""
        };
        all.push_str(&kustomization(name, &format!("./mistakes/{name}"), more));
    }
    all.push_str(&kustomization(
        "two",
        "./mistakes/one",
        "  dependsOn: [{name: one}]\n",
    ));
    all.push_str(&kustomization("good", "./mistakes/good", ""));
    fleet.write("clusters/demo/mistakes.yaml", &all);
    fleet.write(
        "mistakes/broken/a.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a\n",
    );
    fleet.write("mistakes/one/a.yaml", &config_map("one"));
    fleet.write(
        "mistakes/climbs/kustomization.yaml",
        &resources(&["../../../outside"]),
    );
    fleet.write(
        "mistakes/absolute/kustomization.yaml",
        &resources(&["/etc/hostname"]),
    );
    fleet.write("mistakes/linked/kustomization.yaml", &resources(&["secret.yaml"]));
    std::os::unix::fs::symlink(
        "/etc/hostname",
        fleet.repository().join("mistakes/linked/secret.yaml"),
    )
    .unwrap();
    fleet.write(
        "mistakes/refused/a.yaml",
        &config_map("refused").replace("key:", "no key:"),
    );
    fleet.write("mistakes/unknown/gadget.yaml", GADGET);
    fleet.write("mistakes/good/a.yaml", &config_map("good"));
    fleet.commit("mistakes");
    let up = fleet.up(&[]);
    eventually("what is right", || ready(&up, "good") && ready(&up, "kiosk"));
    for (name, parts) in cases {
        let mut said = String::new();
        let mut holds = || {
            said = complaint(&up, name);
            parts.iter().all(|part| said.contains(part))
        };
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !holds() {
            assert!(
                std::time::Instant::now() < end,
                "{name}: wanted {parts:?}, got: {}",
                complaint(&up, name)
            );
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        assert!(!said.contains("panicked"), "{said}");
    }
    // `why` tells all of them at once, each once.
    let why = up.text(&["why"]);
    for (name, _) in cases {
        assert!(
            why.contains(&format!("Kustomization/flux-system/{name} ")),
            "{name}: {why}"
        );
    }
    assert!(why.contains("waits for itself: break the circle"), "{why}");
    assert!(!why.contains("Kustomization/flux-system/good"), "{why}");

    // The kind that was unknown comes to be, and what waited for it is applied without another commit to its folder.
    fleet.write("mistakes/good/gadgets.yaml", GADGETS);
    fleet.commit("the kind");
    eventually("the object of the new kind", || ready(&up, "unknown"));
}

#[test]
fn a_source_that_cannot_be_had_is_named_and_what_it_gave_stays() {
    let fleet = Fleet::new();
    let other = Fleet::new();
    other.write("there/a.yaml", &config_map("there"));
    other.commit("there");
    let lost = "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
    let source = |name: &str, url: &str, reference: &str| {
        format!(
            "---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata:\n  name: {name}\n  namespace: \
             flux-system\nspec:\n  interval: 1s\n  url: {url}\n  ref: {{{reference}}}\n"
        )
    };
    let url = "https://example.invalid/other.git";
    let mirrors = fleet.beside("mirrors.yaml");
    let mirror = format!("- from: {url}\n  to: {}\n", other.repository().display());
    std::fs::write(&mirrors, mirror).unwrap();
    let mut all = source("vanishing", url, "branch: main");
    all.push_str(&source(
        "forgotten",
        url,
        &format!("branch: main, commit: {lost}"),
    ));
    all.push_str(
        &kustomization("there", "./there", "").replace("    name: flux-system\n", "    name: vanishing\n"),
    );
    fleet.write("clusters/demo/sources.yaml", &all);
    fleet.commit("sources");
    let up = fleet.up(&["--mirrors", &mirrors.to_string_lossy()]);
    let said = |name: &str| up.text(&["get", "sources", "git", name]);
    eventually("the other repository", || ready(&up, "there"));
    // A revision that was force-pushed away is one that the repository does not have.
    eventually("the complaint of a lost revision", || {
        said("forgotten").contains("has no commit 'deadbeef' of branch 'main'")
    });
    std::fs::rename(other.repository(), other.beside("gone")).unwrap();
    let gone = format!("repository '{}' does not exist", other.repository().display());
    eventually("the complaint of a lost repository", || {
        said("vanishing").contains(&gone)
    });
    // What was applied from it is still there, and so is everything else.
    assert!(
        up.owned().iter().any(|id| id == "default_there__ConfigMap"),
        "{:?}",
        up.owned()
    );
    eventually("everything else", || ready(&up, "kiosk"));
    std::fs::rename(other.beside("gone"), other.repository()).unwrap();
    eventually("its return", || !said("vanishing").contains("does not exist"));
}

//! Kustomizations and HelmReleases that wait for one another.

use serde_json::json;

use crate::helm_releases::{hr, ready, release, serve, serve_as};
use crate::kustomizations::config;
use crate::world::{World, condition, git_repository, ks, kustomization, message};

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_waits_for_the_other_and_goes_on_the_moment_it_is_ready() {
    let mut world = World::new().await;
    world.commit(&[
        ("first/a.yaml", &config("a", "one")),
        ("last/b.yaml", &config("b", "one")),
    ]);
    world.create(git_repository("fleet")).await;
    let on = |kind: &str, name: &str| json!([{"kind": kind, "name": name}]);
    let spec = json!({"path": "last", "dependsOn": on("HelmRelease", "web")});
    world.create(kustomization("last", spec)).await;
    let waiting = world
        .condition(&ks("last"), "Ready", "False", "DependencyNotReady")
        .await;
    assert_eq!(
        message(&waiting),
        "dependency 'HelmRelease/default/web' not found: helmreleases.helm.toolkit.fluxcd.io \"web\" not found"
    );
    serve(&world).await;
    let spec = json!({"dependsOn": on("Kustomization", "first")});
    world.create(release("web", spec)).await;
    let waiting = world
        .condition(&hr("web"), "Ready", "False", "DependencyNotReady")
        .await;
    assert_eq!(
        message(&waiting),
        "unable to get 'Kustomization/default/first' dependency: kustomizations.kustomize.toolkit.fluxcd.io \"first\" not found"
    );
    // Both look again by themselves only after half a minute.
    let started = std::time::Instant::now();
    world
        .create(kustomization("first", json!({"path": "first"})))
        .await;
    ready(&world, "web", "InstallSucceeded").await;
    world
        .condition(&ks("last"), "Ready", "True", "ReconciliationSucceeded")
        .await;
    assert!(
        started.elapsed().as_secs() < 10,
        "they were not woken: {:?}",
        started.elapsed()
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_over_both_kinds_stalls_with_its_whole_way() {
    let mut world = World::new().await;
    world.commit(&[("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    let spec = json!({"dependsOn": [{"kind": "HelmRelease", "name": "web"}]});
    world.create(kustomization("apps", spec)).await;
    serve(&world).await;
    let spec = json!({"dependsOn": [{"kind": "Kustomization", "name": "apps"}]});
    world.create(release("web", spec)).await;
    for (of, way) in [
        (
            hr("web"),
            "HelmRelease/default/web -> Kustomization/default/apps -> HelmRelease/default/web",
        ),
        (
            ks("apps"),
            "Kustomization/default/apps -> HelmRelease/default/web -> Kustomization/default/apps",
        ),
    ] {
        let stalled = world.condition(&of, "Stalled", "True", "DependencyCycle").await;
        assert!(message(&stalled).contains(way), "{}", message(&stalled));
    }
    // Taken apart, both go on.
    world
        .patch(&hr("web"), json!({"spec": {"dependsOn": null}}))
        .await;
    world
        .condition(&ks("apps"), "Ready", "True", "ReconciliationSucceeded")
        .await;
    world.stop().await;
}

const CRD: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: things.example.org
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Thing, plural: things, singular: thing, listKind: ThingList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        x-kubernetes-preserve-unknown-fields: true
";
const THING: &str = "apiVersion: example.org/v1
kind: Thing
metadata:
  name: one
  namespace: default
";

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_resource_is_applied_the_moment_a_release_brings_its_definition() {
    for place in ["crds/thing.yaml", "templates/thing.yaml"] {
        let mut world = World::new().await;
        world.commit(&[("thing.yaml", THING)]);
        world.create(git_repository("fleet")).await;
        // Nothing but the definition wakes it.
        world
            .create(kustomization("apps", json!({"retryInterval": "1h"})))
            .await;
        let waiting = world
            .condition(&ks("apps"), "Ready", "False", "DependencyNotReady")
            .await;
        assert!(
            message(&waiting).contains("Thing") && message(&waiting).contains("example.org/v1"),
            "{}",
            message(&waiting)
        );
        let chart = "apiVersion: v2\nname: things\nversion: 1.0.0\n";
        serve_as(
            &world,
            "app",
            &[("things/Chart.yaml", chart), (&format!("things/{place}"), CRD)],
        )
        .await;
        let started = std::time::Instant::now();
        world.create(release("things", json!({}))).await;
        let applied = world
            .condition(&ks("apps"), "Ready", "True", "ReconciliationSucceeded")
            .await;
        assert!(condition(&applied, "Stalled").is_none());
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
        ready(&world, "things", "InstallSucceeded").await;
        world.stop().await;
    }
}

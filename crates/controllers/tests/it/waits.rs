//! Stories of waiting: for health, for kinds, for variables.

use serde_json::{Value, json};

use crate::helm_releases::serve_as;
use crate::kustomizations::{config, config_map};
use crate::world::{World, condition, git_repository, ks, kustomization, message};

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: default
spec:
  replicas: 1
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: example.org/web:1
";

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: things.example.org
spec:
  group: example.org
  names: {kind: Thing, plural: things, singular: thing, listKind: ThingList}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        x-kubernetes-preserve-unknown-fields: true
";

const THING: &str = "apiVersion: example.org/v1
kind: Thing
metadata: {name: one, namespace: default}
spec: {size: 1}
";

fn thing() -> [&'static str; 4] {
    ["example.org/v1", "Thing", "default", "one"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_waited_for() {
    let mut world = World::new().await;
    let first = world.commit(&[("web.yaml", DEPLOYMENT)]);
    world.create(git_repository("fleet")).await;
    world.create(kustomization("apps", json!({"wait": true}))).await;
    let web = ["apps/v1", "Deployment", "default", "web"];
    world.until(&web, "there", |object| object.is_some()).await;
    let up = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
        "conditions": [{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]});
    world.patch_status(&web, json!({"status": up})).await;
    let ready = world.applied(&ks("apps"), &first).await;
    let healthy = condition(&ready, "Healthy").expect("checked");
    assert_eq!(
        (&healthy["status"], &healthy["reason"]),
        (&json!("True"), &json!("Succeeded"))
    );
    world.stop().await;
}

/// Sets the status of the Thing.
async fn set_status(world: &World, status: Value) {
    world.patch_status(&thing(), json!({"status": status})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_come_first_and_health_is_seen_without_polling() {
    let mut world = World::new().await;
    let first = world.commit(&[("crd.yaml", DEFINITION), ("thing.yaml", THING)]);
    world.create(git_repository("fleet")).await;
    let exprs = json!([{"apiVersion": "example.org/v1", "kind": "Thing",
        "current": "has(status.phase) && status.phase == 'Up'", "failed": "has(status.phase) && status.phase == 'Down'"}]);
    world
        .create(kustomization(
            "apps",
            json!({"wait": true, "healthCheckExprs": exprs}),
        ))
        .await;
    let of = ks("apps");
    let waiting = world.condition(&of, "Healthy", "Unknown", "Progressing").await;
    for kind in ["Healthy", "Reconciling"] {
        let text = condition(&waiting, kind).expect("there")["message"].clone();
        let begin = "Running health checks for revision main@sha1:";
        assert!(
            text.as_str().is_some_and(|text| text.starts_with(begin)),
            "{text}"
        );
    }
    assert_eq!(message(&waiting), "Reconciliation in progress");
    set_status(&world, json!({"phase": "Up"})).await;
    world.applied(&of, &first).await;

    // It goes down in the next revision, which says so at once, and comes back without a new revision.
    set_status(&world, json!({"phase": "Down"})).await;
    let second = world.commit(&[
        ("crd.yaml", DEFINITION),
        ("thing.yaml", &THING.replace("size: 1", "size: 2")),
    ]);
    let failed = world.condition(&of, "Ready", "False", "HealthCheckFailed").await;
    assert!(
        message(&failed)
            .contains("failed early due to stalled resources: [Thing/default/one status: 'Failed']"),
        "{failed}"
    );
    assert_eq!(failed["status"]["lastAppliedRevision"], first.as_str());
    assert_eq!(failed["status"]["lastAttemptedRevision"], second.as_str());
    set_status(&world, json!({"phase": "Up"})).await;
    world.applied(&of, &second).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_revision_ends_a_wait() {
    let mut world = World::new().await;
    world.commit(&[("crd.yaml", DEFINITION), ("thing.yaml", THING)]);
    world.create(git_repository("fleet")).await;
    let exprs = json!([{"apiVersion": "example.org/v1", "kind": "Thing", "current": "spec.size == 2"}]);
    world
        .create(kustomization(
            "apps",
            json!({"wait": true, "healthCheckExprs": exprs}),
        ))
        .await;
    let of = ks("apps");
    world.condition(&of, "Healthy", "Unknown", "Progressing").await;
    let second = world.commit(&[
        ("crd.yaml", DEFINITION),
        ("thing.yaml", &THING.replace("size: 1", "size: 2")),
    ]);
    world.applied(&of, &second).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_others_can_be_waited_for() {
    let mut world = World::new().await;
    world.commit(&[("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    let checks = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "namespace": "default"}]);
    world
        .create(kustomization("apps", json!({"healthChecks": checks})))
        .await;
    let of = ks("apps");
    world.condition(&of, "Healthy", "Unknown", "Progressing").await;
    world
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other", "namespace": "default"}}))
        .await;
    let ready = world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;
    assert!(condition(&ready, "Healthy").is_some_and(|healthy| healthy["status"] == "True"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kind_is_applied_as_soon_as_it_is_served() {
    let mut world = World::new().await;
    world.commit(&[("thing.yaml", THING), ("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    world.create(kustomization("apps", json!({}))).await;
    let of = ks("apps");
    let waiting = world.condition(&of, "Ready", "False", "DependencyNotReady").await;
    let text = message(&waiting);
    assert!(
        text.starts_with("1 of 2 objects applied, waiting for the definitions of the others:\n")
            && text
                .contains("Thing/default/one (thing.yaml:1) dry-run failed: no matches for kind \"Thing\""),
        "{text}"
    );
    assert!(world.get("v1", "ConfigMap", "default", "a").await.is_some());
    // What nobody wants any more stays as long as something waits that may come in its place.
    world.commit(&[("thing.yaml", THING), ("b.yaml", &config("b", "one"))]);
    world
        .until(&config_map("b"), "there", |object| object.is_some())
        .await;
    world.quiet().await;
    assert!(world.get("v1", "ConfigMap", "default", "a").await.is_some());
    let still = world.get(of[0], of[1], of[2], of[3]).await.expect("there");
    let entries = still["status"]["inventory"]["entries"].as_array().map(Vec::len);
    assert_eq!(entries, Some(3), "{still}");
    let first = world.commit(&[("thing.yaml", THING), ("b.yaml", &config("b", "two"))]);
    let definition = fluvial_yaml::yaml_to_json(DEFINITION, true).expect("valid");
    world.create(definition).await;
    world.applied(&of, &first).await;
    assert!(
        world
            .get("example.org/v1", "Thing", "default", "one")
            .await
            .is_some()
    );
    world.gone(&config_map("a")).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_misspelt_is_an_error_and_nothing_is_applied() {
    let mut world = World::new().await;
    let set = "apiVersion: apps/v1\nkind: DeamonSet\nmetadata: {name: one, namespace: default}\n";
    world.commit(&[("set.yaml", set), ("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    world.create(kustomization("apps", json!({}))).await;
    let failed = world
        .condition(&ks("apps"), "Ready", "False", "ReconciliationFailed")
        .await;
    assert!(
        message(&failed).contains("no matches for kind \"DeamonSet\""),
        "{failed}"
    );
    assert!(world.get("v1", "ConfigMap", "default", "a").await.is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_wait_for_the_release_beside_them_that_brings_their_definition() {
    let mut world = World::new().await;
    let files = [
        ("Chart.yaml", "apiVersion: v2\nname: things\nversion: 1.0.0\n"),
        ("crds/things.yaml", DEFINITION),
    ];
    serve_as(&world, "things", &files).await;
    let release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n\
                   metadata: {name: things, namespace: default}\n\
                   spec: {interval: 1h, suspend: true, chartRef: {kind: ExternalArtifact, name: things}}\n";
    let files = |release: &str| {
        world.commit(&[
            ("release.yaml", release),
            ("thing.yaml", THING),
            ("a.yaml", &config("a", "one")),
        ])
    };
    files(release);
    world.create(git_repository("fleet")).await;
    world
        .create(kustomization("apps", json!({"wait": true, "prune": true})))
        .await;
    let of = ks("apps");
    let waiting = world.condition(&of, "Ready", "False", "DependencyNotReady").await;
    assert!(
        message(&waiting).starts_with("2 of 3 objects applied, waiting"),
        "{waiting}"
    );
    assert!(world.get("v1", "ConfigMap", "default", "a").await.is_some());
    let second = files(&release.replace(" suspend: true,", ""));
    world.applied(&of, &second).await;
    assert!(
        world
            .get("example.org/v1", "Thing", "default", "one")
            .await
            .is_some()
    );
    // Everything has gone the way of an ordinary delivery: what leaves is deleted.
    let third = world.commit(&[("release.yaml", &release.replace(" suspend: true,", ""))]);
    world.applied(&of, &third).await;
    world.gone(&thing()).await;
    world.gone(&config_map("a")).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_come_from_config_maps_and_a_change_is_applied_at_once() {
    let mut world = World::new().await;
    world.commit(&[("a.yaml", &config("a", "${greeting} ${name:=world}"))]);
    world.create(git_repository("fleet")).await;
    let post_build =
        json!({"substitute": {"name": "fleet"}, "substituteFrom": [{"kind": "ConfigMap", "name": "vars"}]});
    world
        .create(kustomization("apps", json!({"postBuild": post_build})))
        .await;
    let of = ks("apps");
    let failed = world.condition(&of, "Ready", "False", "BuildFailed").await;
    assert!(message(&failed).contains("'ConfigMap/vars'"), "{failed}");
    let vars = |value: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vars", "namespace": "default"},
            "data": {"greeting": value}})
    };
    world.create(vars("hello")).await;
    let says = |text: &'static str| {
        move |object: Option<&Value>| object.is_some_and(|object| object["data"]["key"] == text)
    };
    world.until(&config_map("a"), "hello", says("hello fleet")).await;
    world.patch(&config_map("vars"), vars("goodbye")).await;
    world
        .until(&config_map("a"), "goodbye", says("goodbye fleet"))
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_made_needs_force() {
    let mut world = World::new().await;
    let immutable = |value: &str| format!("{}immutable: true\n", config("a", value));
    world.commit(&[("a.yaml", &immutable("one"))]);
    world.create(git_repository("fleet")).await;
    world.create(kustomization("apps", json!({}))).await;
    let of = ks("apps");
    world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;
    let second = world.commit(&[("a.yaml", &immutable("two"))]);
    let failed = world
        .condition(&of, "Ready", "False", "ReconciliationFailed")
        .await;
    assert!(message(&failed).contains("immutable"), "{failed}");
    world.patch(&of, json!({"spec": {"force": true}})).await;
    world.applied(&of, &second).await;
    let a = world.get("v1", "ConfigMap", "default", "a").await.expect("there");
    assert_eq!(a["data"]["key"], "two");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_not_come_back_is_not_deleted_even_by_force() {
    let mut world = World::new().await;
    let immutable = |value: &str| format!("{}immutable: true\n", config("a", value));
    let first = world.commit(&[("a.yaml", &immutable("one"))]);
    world.create(git_repository("fleet")).await;
    world.create(kustomization("apps", json!({"force": true}))).await;
    let of = ks("apps");
    world.applied(&of, &first).await;
    let before = world.get("v1", "ConfigMap", "default", "a").await.expect("there");
    world.commit(&[("a.yaml", &immutable("two").replace("key:", "no key:"))]);
    let failed = world
        .condition(&of, "Ready", "False", "ReconciliationFailed")
        .await;
    assert!(message(&failed).contains("no key"), "{failed}");
    let kept = world.get("v1", "ConfigMap", "default", "a").await.expect("kept");
    assert_eq!(kept["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(kept["data"]["key"], "one");
    let third = world.commit(&[("a.yaml", &immutable("three"))]);
    world.applied(&of, &third).await;
    let anew = world.get("v1", "ConfigMap", "default", "a").await.expect("there");
    assert_ne!(anew["metadata"]["uid"], before["metadata"]["uid"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_supported_yet_stalls_and_says_so() {
    let mut world = World::new().await;
    world
        .create(kustomization(
            "secret",
            json!({"decryption": {"provider": "sops", "serviceAccountName": "keys"}}),
        ))
        .await;
    world
        .create(kustomization(
            "expr",
            json!({"dependsOn": [{"name": "x", "readyExpr": "self.("}]}),
        ))
        .await;
    for (name, reason) in [
        ("secret", "FeatureGateDisabled"),
        ("expr", "InvalidCELExpression"),
    ] {
        let stalled = world.condition(&ks(name), "Stalled", "True", reason).await;
        assert_eq!(stalled["status"]["observedGeneration"], 1, "{name}");
    }
    world.stop().await;
}

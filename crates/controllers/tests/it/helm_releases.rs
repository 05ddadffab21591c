//! Stories of HelmReleases: installed, upgraded, drifted, failed, remediated, gone.

use fluvial_controllers::ports::{ArtifactName, Artifacts};
use fluvial_helm::release::{Stored, read_object};
use serde_json::{Value, json};

use crate::fakes::tree;
use crate::world::{World, condition, message};

const CHART: &str = "apiVersion: v2\nname: app\nversion: 1.0.0\nappVersion: '7'\n";
const CONFIG: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-config
data:
  size: {{ .Values.size | quote }}
{{- if .Values.extra }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-extra
{{- end }}
{{- if .Values.kept }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-kept
  annotations:
    helm.sh/resource-policy: keep
{{- end }}
";
const WEB: &str = "{{ if .Values.web }}apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-web
  annotations:
    simulator.fluvial.dev/outcome: {{ .Values.outcome }}
spec:
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: example.org/web:{{ .Values.web }}
{{ end }}";
const JOB: &str = "{{ if .Values.job }}apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-job
  annotations:
    helm.sh/hook: {{ .Values.job }}
    simulator.fluvial.dev/outcome: {{ .Values.outcome }}
    simulator.fluvial.dev/delay: {{ .Values.delay }}
spec:
  {{- with .Values.ttl }}
  ttlSecondsAfterFinished: {{ . | int }}
  {{- end }}
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: job
        image: example.org/job
{{ end }}";
const TEST: &str = "{{ if .Values.tested }}apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-test
  annotations:
    helm.sh/hook: test
spec:
  restartPolicy: Never
  containers:
  - name: test
    image: example.org/test
{{ end }}";
const SCHEMA: &str = r#"{"type": "object", "properties": {"size": {"type": "integer"}}}"#;

/// What a HelmRelease is called.
pub fn hr(name: &str) -> [&str; 4] {
    ["helm.toolkit.fluxcd.io/v2", "HelmRelease", "default", name]
}

fn config(name: &str) -> [&str; 4] {
    ["v1", "ConfigMap", "default", name]
}

/// Puts the chart where HelmReleases find it.
pub async fn serve(world: &World) {
    serve_as(
        world,
        "app",
        &[
            ("app/Chart.yaml", CHART),
            ("app/values.yaml", "size: 1\noutcome: healthy\ndelay: 0s\n"),
            ("app/values.schema.json", SCHEMA),
            ("app/templates/config.yaml", CONFIG),
            ("app/templates/web.yaml", WEB),
            ("app/templates/job.yaml", JOB),
            ("app/templates/test.yaml", TEST),
        ],
    )
    .await;
}

/// Puts a chart of these files where HelmReleases find it by `name`.
pub async fn serve_as(world: &World, name: &str, files: &[(&str, &str)]) {
    let artifact_name = ArtifactName {
        kind: "ExternalArtifact".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        file: format!("{name}.tgz"),
    };
    let files = tree(files);
    let artifact = world.fakes.shelf.put(&artifact_name, "x", &files).await.unwrap();
    let of = ["source.toolkit.fluxcd.io/v1", "ExternalArtifact", "default", name];
    if world.get(of[0], of[1], of[2], of[3]).await.is_none() {
        world
            .create(json!({"apiVersion": of[0], "kind": of[1],
                "metadata": {"name": name, "namespace": "default"}, "spec": {}}))
            .await;
    }
    let status = json!({
        "artifact": {"path": artifact.path, "url": artifact.url, "revision": format!("latest@{}", artifact.digest),
            "digest": artifact.digest, "lastUpdateTime": "2026-01-01T00:00:00Z", "size": artifact.size},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    world.patch_status(&of, json!({"status": status})).await;
}

/// A HelmRelease of that chart, with changes to its spec.
pub fn release(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"interval": "1h", "chartRef": {"kind": "ExternalArtifact", "name": "app"}},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

pub async fn ready(world: &World, name: &str, reason: &str) -> Value {
    world.condition(&hr(name), "Ready", "True", reason).await
}

/// The stored versions of a release, oldest first.
pub async fn stored(world: &World, name: &str) -> Vec<Stored> {
    let mut all: Vec<Stored> = world
        .list("v1", "Secret")
        .await
        .iter()
        .filter(|secret| {
            secret["metadata"]["labels"]["name"] == name && secret["type"] == "helm.sh/release.v1"
        })
        .map(|secret| read_object(secret).unwrap())
        .collect();
    all.sort_by_key(|release| release.version);
    all
}

pub fn states(versions: &[Stored]) -> Vec<(i64, &str)> {
    versions
        .iter()
        .map(|release| (release.version, release.info.status.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_installed_upgraded_and_gone_without_a_trace() {
    let mut world = World::new().await;
    serve(&world).await;
    world
        .create(release("web", json!({"values": {"extra": true, "kept": true}})))
        .await;
    let installed = ready(&world, "web", "InstallSucceeded").await;
    let status = &installed["status"];
    let version = status["history"][0]["chartVersion"].as_str().unwrap();
    assert!(version.starts_with("1.0.0+"), "{version}");
    assert_eq!(
        message(&installed),
        format!("Helm install succeeded for release default/web.v1 with chart app@{version}")
    );
    assert_eq!(status["history"][0]["status"], "deployed");
    assert_eq!(status["history"][0]["action"], "install");
    assert_eq!(status["inventory"]["entries"].as_array().unwrap().len(), 3);
    assert_eq!(status["observedGeneration"], 1);
    let config_map = world
        .get("v1", "ConfigMap", "default", "web-config")
        .await
        .unwrap();
    assert_eq!(config_map["data"]["size"], "1");
    let labels = &config_map["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/managed-by"], "Helm");
    assert_eq!(labels["helm.toolkit.fluxcd.io/name"], "web");
    assert_eq!(
        config_map["metadata"]["annotations"]["meta.helm.sh/release-name"],
        "web"
    );
    let versions = stored(&world, "web").await;
    assert_eq!(states(&versions), [(1, "deployed")]);
    assert!(versions[0].is_server_side());
    assert!(
        versions[0]
            .manifest
            .starts_with("---\n# Source: app/templates/config.yaml\napiVersion: v1\n")
    );

    // Nothing has changed: nothing is written but that the request was seen.
    world.quiet().await;
    let writes = world.writes();
    world.request(&hr("web"), "one").await;
    world.quiet().await;
    assert_eq!(world.writes() - writes, 1);

    world
        .patch(
            &hr("web"),
            json!({"spec": {"values": {"size": 2, "extra": false, "kept": false}}}),
        )
        .await;
    let upgraded = ready(&world, "web", "UpgradeSucceeded").await;
    assert_eq!(upgraded["status"]["history"][0]["version"], 2);
    assert_eq!(upgraded["status"]["history"][1]["status"], "superseded");
    assert_eq!(
        states(&stored(&world, "web").await),
        [(1, "superseded"), (2, "deployed")]
    );
    let config_map = world
        .get("v1", "ConfigMap", "default", "web-config")
        .await
        .unwrap();
    assert_eq!(config_map["data"]["size"], "2");
    assert!(
        world
            .get("v1", "ConfigMap", "default", "web-extra")
            .await
            .is_none()
    );
    assert!(
        world
            .get("v1", "ConfigMap", "default", "web-kept")
            .await
            .is_some()
    );

    world.delete(&hr("web")).await;
    world.gone(&hr("web")).await;
    assert!(
        world
            .get("v1", "ConfigMap", "default", "web-config")
            .await
            .is_none()
    );
    assert!(stored(&world, "web").await.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_fails_the_installation() {
    let mut world = World::new().await;
    serve(&world).await;
    let values = json!({"job": "pre-install", "outcome": "fail"});
    world.create(release("web", json!({"values": values}))).await;
    let stalled = world
        .condition(&hr("web"), "Stalled", "True", "RetriesExceeded")
        .await;
    assert_eq!(
        condition(&stalled, "Stalled").unwrap()["message"],
        "Failed to install after 1 attempt(s)"
    );
    let ready = condition(&stalled, "Ready").unwrap();
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("False"), &json!("InstallFailed"))
    );
    assert!(
        message(&stalled).contains("failed pre-install"),
        "{}",
        message(&stalled)
    );
    assert_eq!(states(&stored(&world, "web").await), [(1, "failed")]);
    assert!(
        world
            .get("v1", "ConfigMap", "default", "web-config")
            .await
            .is_none()
    );

    // Another spec is another chance: an upgrade.
    world
        .patch(&hr("web"), json!({"spec": {"values": {"job": null}}}))
        .await;
    world
        .condition(&hr("web"), "Ready", "True", "UpgradeSucceeded")
        .await;
    assert_eq!(
        states(&stored(&world, "web").await),
        [(1, "failed"), (2, "deployed")]
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_removes_itself_before_anybody_looks_is_not_waited_for_in_vain() {
    let mut world = World::new().await;
    serve(&world).await;
    for (name, outcome) in [("well", "healthy"), ("ill", "fail")] {
        let values = json!({"job": "pre-install", "outcome": outcome, "ttl": "0"});
        world.create(release(name, json!({"values": values}))).await;
    }
    ready(&world, "well", "InstallSucceeded").await;
    // How it ended is known all the same.
    let stalled = world
        .condition(&hr("ill"), "Stalled", "True", "RetriesExceeded")
        .await;
    let text = message(&stalled);
    assert!(text.contains("failed pre-install"), "{text}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_never_gets_ready_is_rolled_back() {
    let mut world = World::new().await;
    serve(&world).await;
    let spec = json!({"timeout": "1s", "values": {"size": 1}, "upgrade": {"remediation": {"retries": 0, "remediateLastFailure": true}}});
    world.create(release("web", spec)).await;
    ready(&world, "web", "InstallSucceeded").await;
    world
        .patch(
            &hr("web"),
            json!({"spec": {"values": {"size": 2, "web": "v1", "outcome": "pending"}}}),
        )
        .await;
    let stalled = world
        .condition(&hr("web"), "Stalled", "True", "RetriesExceeded")
        .await;
    let ready = condition(&stalled, "Ready").unwrap();
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("False"), &json!("RollbackSucceeded"))
    );
    let released = condition(&stalled, "Released").unwrap();
    assert!(
        released["message"]
            .as_str()
            .unwrap()
            .contains("timeout waiting for: [Deployment/default/web-web status: 'InProgress']"),
        "{released}"
    );
    assert_eq!(
        states(&stored(&world, "web").await),
        [(1, "superseded"), (2, "failed"), (3, "deployed")]
    );
    let config_map = world
        .get("v1", "ConfigMap", "default", "web-config")
        .await
        .unwrap();
    assert_eq!(config_map["data"]["size"], "1");
    assert!(
        world
            .get("apps/v1", "Deployment", "default", "web-web")
            .await
            .is_none()
    );

    // Somebody asks to forget the failures, and the workload starts this time.
    world
        .patch(&hr("web"), json!({"spec": {"values": {"size": 3, "web": null}}}))
        .await;
    world
        .condition(&hr("web"), "Ready", "True", "UpgradeSucceeded")
        .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_installation_is_uninstalled_and_tried_again() {
    let mut world = World::new().await;
    serve(&world).await;
    let spec = json!({"timeout": "1s", "values": {"web": "v1", "outcome": "pending"}, "install": {"remediation": {"retries": 1}}});
    world.create(release("web", spec)).await;
    let stalled = world
        .condition(&hr("web"), "Stalled", "True", "RetriesExceeded")
        .await;
    assert_eq!(
        condition(&stalled, "Stalled").unwrap()["message"],
        "Failed to install after 2 attempt(s)"
    );
    assert_eq!(stalled["status"]["installFailures"], 2);
    world.delete(&hr("web")).await;
    world.gone(&hr("web")).await;
    assert!(
        world
            .get("apps/v1", "Deployment", "default", "web-web")
            .await
            .is_none()
    );
    assert!(stored(&world, "web").await.is_empty());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_fit_store_nothing() {
    let mut world = World::new().await;
    serve(&world).await;
    world
        .create(release("web", json!({"values": {"size": "big"}})))
        .await;
    let failed = world
        .condition(&hr("web"), "Ready", "False", "InstallFailed")
        .await;
    assert!(
        message(&failed).contains("values don't meet the specifications"),
        "{}",
        message(&failed)
    );
    assert!(stored(&world, "web").await.is_empty());
    world
        .patch(
            &hr("web"),
            json!({"spec": {"install": {"disableSchemaValidation": true}}}),
        )
        .await;
    ready(&world, "web", "InstallSucceeded").await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_values_are_waited_for() {
    let mut world = World::new().await;
    serve(&world).await;
    let spec = json!({"valuesFrom": [{"kind": "ConfigMap", "name": "settings"}]});
    world.create(release("web", spec)).await;
    let failed = world.condition(&hr("web"), "Ready", "False", "ValuesError").await;
    assert_eq!(
        message(&failed),
        "could not resolve ConfigMap chart values reference 'default/settings' with key 'values.yaml': \
         configmaps \"settings\" not found"
    );
    world
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"},
            "data": {"values.yaml": "size: 5"}}))
        .await;
    ready(&world, "web", "InstallSucceeded").await;
    world
        .patch(&config("settings"), json!({"data": {"values.yaml": "size: 6"}}))
        .await;
    ready(&world, "web", "UpgradeSucceeded").await;
    let config_map = world
        .get("v1", "ConfigMap", "default", "web-config")
        .await
        .unwrap();
    assert_eq!(config_map["data"]["size"], "6");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_left_told_or_corrected() {
    let mut world = World::new().await;
    serve(&world).await;
    for (name, mode) in [("off", "disabled"), ("told", "warn"), ("kept", "enabled")] {
        let spec = json!({"driftDetection": {"mode": mode}, "values": {"extra": true}});
        world.create(release(name, spec)).await;
        ready(&world, name, "InstallSucceeded").await;
        world
            .patch(
                &config(&format!("{name}-config")),
                json!({"data": {"size": "9"}, "metadata": {"labels": {"mine": "x"}}}),
            )
            .await;
        world.delete(&config(&format!("{name}-extra"))).await;
        world.request(&hr(name), "look").await;
        let size = world
            .get("v1", "ConfigMap", "default", &format!("{name}-config"))
            .await
            .unwrap();
        let extra = world
            .get("v1", "ConfigMap", "default", &format!("{name}-extra"))
            .await;
        let object = world
            .get("helm.toolkit.fluxcd.io/v2", "HelmRelease", "default", name)
            .await
            .unwrap();
        let drifted = condition(&object, "Drifted").map(|drifted| drifted["reason"].clone());
        match mode {
            "disabled" => {
                assert_eq!((size["data"]["size"].as_str(), drifted), (Some("9"), None));
                assert!(extra.is_none());
            }
            "warn" => {
                assert_eq!(size["data"]["size"], "9");
                assert!(extra.is_none());
                assert_eq!(drifted, Some(json!("DriftDetected")));
            }
            _ => {
                assert_eq!(
                    (&size["data"]["size"], &size["metadata"]["labels"]["mine"]),
                    (&json!("1"), &json!("x"))
                );
                assert!(extra.is_some());
                assert_eq!(drifted, Some(json!("DriftCorrected")));
            }
        }
        assert_eq!(stored(&world, name).await.len(), 1);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_run_after_an_installation() {
    let mut world = World::new().await;
    serve(&world).await;
    let spec = json!({"test": {"enable": true}, "values": {"tested": true}});
    world.create(release("web", spec)).await;
    let tested = ready(&world, "web", "TestSucceeded").await;
    assert!(
        message(&tested).ends_with("1 test hook completed successfully"),
        "{}",
        message(&tested)
    );
    assert_eq!(
        tested["status"]["history"][0]["testHooks"]["web-test"]["phase"],
        "Succeeded"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_come_first_and_renderers_last() {
    let mut world = World::new().await;
    serve(&world).await;
    let patch = "- op: add\n  path: /data/patched\n  value: 'yes'\n";
    let spec = json!({
        "dependsOn": [{"name": "base"}],
        "commonMetadata": {"annotations": {"team": "a"}},
        "postRenderers": [{"kustomize": {"patches": [{"target": {"kind": "ConfigMap"}, "patch": patch}]}}],
    });
    world.create(release("web", spec)).await;
    let waiting = world
        .condition(&hr("web"), "Ready", "False", "DependencyNotReady")
        .await;
    assert!(
        message(&waiting).contains("'default/base'"),
        "{}",
        message(&waiting)
    );
    world.create(release("base", json!({}))).await;
    ready(&world, "web", "InstallSucceeded").await;
    let config_map = world
        .get("v1", "ConfigMap", "default", "web-config")
        .await
        .unwrap();
    assert_eq!(config_map["data"], json!({"size": "1", "patched": "yes"}));
    assert_eq!(config_map["metadata"]["annotations"]["team"], "a");
    // Other metadata is one upgrade, not one after the other.
    world
        .patch(
            &hr("web"),
            json!({"spec": {"commonMetadata": {"annotations": {"team": "b"}}}}),
        )
        .await;
    ready(&world, "web", "UpgradeSucceeded").await;
    world.quiet().await;
    assert_eq!(stored(&world, "web").await.len(), 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_helm_chart_comes_and_goes_with_the_release() {
    let mut world = World::new().await;
    let mut object = release("web", json!({}));
    object["spec"]["chartRef"] = Value::Null;
    object["spec"]["chart"] = json!({"spec": {"chart": "app", "version": "1.x", "sourceRef": {"kind": "HelmRepository", "name": "charts"}}});
    world.create(object).await;
    let chart = [
        "source.toolkit.fluxcd.io/v1",
        "HelmChart",
        "default",
        "default-web",
    ];
    let found = world
        .until(&chart, "there", |object| object.is_some())
        .await
        .unwrap();
    assert_eq!(found["spec"]["version"], "1.x");
    world
        .condition(&hr("web"), "Ready", "False", "SourceNotReady")
        .await;
    world
        .patch(
            &hr("web"),
            json!({"spec": {"chart": {"spec": {"version": "2.x"}}}}),
        )
        .await;
    world
        .until(&chart, "at 2.x", |object| {
            object.is_some_and(|object| object["spec"]["version"] == "2.x")
        })
        .await;
    world.delete(&hr("web")).await;
    world.gone(&hr("web")).await;
    assert!(
        world
            .get(
                "source.toolkit.fluxcd.io/v1",
                "HelmChart",
                "default",
                "default-web"
            )
            .await
            .is_none_or(|chart| chart["metadata"]["deletionTimestamp"].is_string())
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_was_cut_off_is_taken_up() {
    let mut world = World::new().await;
    serve(&world).await;
    world.stop().await;
    for round in 0..6_u64 {
        world.start_apart();
        let name = format!("web{round}");
        let job = if round % 2 == 0 {
            "pre-install,pre-upgrade"
        } else {
            ""
        };
        let values = json!({"job": job, "delay": "100ms"});
        world.create(release(&name, json!({"values": values}))).await;
        let of = hr(&name);
        world
            .until(&of, "begun", |object| {
                object.is_some_and(|object| object["status"]["conditions"].is_array())
            })
            .await;
        tokio::time::sleep(std::time::Duration::from_millis(round * 15)).await;
        world.kill();
        world.start_apart();
        world
            .until(&of, "ready", |object| {
                object
                    .and_then(|object| condition(object, "Ready"))
                    .is_some_and(|ready| ready["status"] == "True")
            })
            .await;
        let versions = stored(&world, &name).await;
        let deployed = versions
            .iter()
            .filter(|one| one.info.status.as_str() == "deployed")
            .count();
        assert_eq!(deployed, 1, "{:?}", states(&versions));
        assert!(versions.iter().all(|one| !one.info.status.is_pending()));
        world.delete(&of).await;
        world.gone(&of).await;
        assert!(stored(&world, &name).await.is_empty());
        assert!(
            world
                .get("v1", "ConfigMap", "default", &format!("{name}-config"))
                .await
                .is_none()
        );
        world.kill();
    }
}

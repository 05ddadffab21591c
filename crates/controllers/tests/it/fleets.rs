//! Every HelmRelease of the public fleets whose chart is at hand, through its whole life on an embedded API server:
//! installed, upgraded to other values, rolled back after a failure, uninstalled without a trace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fluvial_controllers::ports::{ArtifactName, Artifacts};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::fakes::unpack;
use crate::world::{World, condition, message};

/// The corpora, where they are beside the repository.
fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fleets");
    folder.is_dir().then_some(folder)
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// One release of a fleet.
struct Case {
    name: String,
    chart: PathBuf,
    version: String,
    spec: Value,
    kinds: BTreeSet<(String, String)>,
    namespaces: BTreeSet<String>,
    accounts: BTreeSet<(String, String)>,
}

/// The cases of all fleets; releases of several clusters with one chart and the same values count once.
fn cases(fleets: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut seen = BTreeSet::new();
    let mut folders: Vec<PathBuf> = std::fs::read_dir(fleets)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    for folder in folders {
        let list = folder.join("helmreleases.json");
        if !list.is_file() {
            continue;
        }
        for entry in read(&list).as_array().unwrap() {
            let render = &entry["render"];
            let Some(chart) = render["chart"].as_str() else {
                continue;
            };
            let skips = render["schemaError"].is_string() || render["schemaNeedsNetwork"].is_boolean();
            let key = format!("{chart} {} {}", entry["values"], entry["name"]);
            if !seen.insert(key) {
                continue;
            }
            // Addresses of services are of the cluster's own range.
            let mut values = entry["values"].clone();
            if let Some(service) = values.pointer_mut("/service").and_then(Value::as_object_mut) {
                service.remove("clusterIP");
                service.remove("clusterIPs");
            }
            let expected = folder.join(render["expected"].as_str().unwrap_or_default());
            let text = std::fs::read_to_string(&expected).unwrap_or_default();
            cases.push(Case {
                name: format!(
                    "{} {}/{}",
                    folder.file_name().unwrap().to_string_lossy(),
                    entry["namespace"].as_str().unwrap(),
                    entry["name"].as_str().unwrap()
                ),
                chart: fleets.join("charts").join(chart),
                version: render["chartVersion"].as_str().unwrap_or_default().to_owned(),
                spec: json!({
                    "interval": "1h",
                    "timeout": "2m",
                    "releaseName": entry["releaseName"],
                    "targetNamespace": entry["releaseNamespace"],
                    "chartRef": {"kind": "ExternalArtifact", "name": "chart"},
                    "values": values,
                    // Objects of some charts have finalizers that only a controller takes off.
                    "uninstall": {"disableWait": true},
                    "install": {"disableSchemaValidation": skips, "crds": "Skip"},
                    "upgrade": {"disableSchemaValidation": skips, "crds": "Skip",
                        "remediation": {"retries": 0, "remediateLastFailure": true}},
                }),
                kinds: kinds(&text),
                namespaces: namespaces(&text)
                    .into_iter()
                    .chain(entry["releaseNamespace"].as_str().map(str::to_owned))
                    .collect(),
                accounts: accounts(&text, entry["releaseNamespace"].as_str().unwrap_or_default()),
            });
        }
    }
    cases
}

/// Kinds that documents are of, with their API versions.
fn kinds(text: &str) -> BTreeSet<(String, String)> {
    fluvial_helm::release::objects_of(text)
        .unwrap_or_default()
        .iter()
        .filter_map(|one| {
            let version = one.object["apiVersion"].as_str()?;
            Some((version.to_owned(), one.object["kind"].as_str()?.to_owned()))
        })
        .collect()
}

/// Namespaces that documents are in.
fn namespaces(text: &str) -> BTreeSet<String> {
    fluvial_helm::release::objects_of(text)
        .unwrap_or_default()
        .iter()
        .filter_map(|one| Some(one.object["metadata"]["namespace"].as_str()?.to_owned()))
        .collect()
}

/// Service accounts that pods run as, and that are not among the documents: the fleet has them from elsewhere.
fn accounts(text: &str, namespace: &str) -> BTreeSet<(String, String)> {
    let objects = fluvial_helm::release::objects_of(text).unwrap_or_default();
    let named = |object: &Value, name: &str| {
        let own = object["metadata"]["namespace"].as_str().unwrap_or(namespace);
        (own.to_owned(), name.to_owned())
    };
    let mut wanted = BTreeSet::new();
    let mut there = BTreeSet::new();
    for one in &objects {
        let object = &one.object;
        if object["kind"] == "ServiceAccount" {
            there.insert(named(
                object,
                object["metadata"]["name"].as_str().unwrap_or_default(),
            ));
        }
        for place in [
            "/spec",
            "/spec/template/spec",
            "/spec/jobTemplate/spec/template/spec",
        ] {
            let name = object
                .pointer(place)
                .and_then(|pod| pod["serviceAccountName"].as_str());
            if let Some(name) = name.filter(|name| *name != "default") {
                wanted.insert(named(object, name));
            }
        }
    }
    wanted.difference(&there).cloned().collect()
}

/// A definition that takes anything, for a kind that the fleet has from elsewhere.
fn definition(api_version: &str, kind: &str) -> Option<Value> {
    let (group, version) = api_version.split_once('/')?;
    let plural = format!("{}s", kind.to_lowercase());
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")},
            "versions": [{"name": version, "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    }))
}

async fn serve(world: &World, case: &Case) {
    let files = unpack(std::fs::File::open(&case.chart).unwrap());
    let name = ArtifactName {
        kind: "ExternalArtifact".to_owned(),
        namespace: "default".to_owned(),
        name: "chart".to_owned(),
        file: "chart.tgz".to_owned(),
    };
    let artifact = world.fakes.shelf.put(&name, "x", &files).await.unwrap();
    world
        .create(
            json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact",
            "metadata": {"name": "chart", "namespace": "default"}, "spec": {}}),
        )
        .await;
    let of = [
        "source.toolkit.fluxcd.io/v1",
        "ExternalArtifact",
        "default",
        "chart",
    ];
    let status = json!({
        "artifact": {"path": artifact.path, "url": artifact.url, "revision": format!("latest@{}", artifact.digest),
            "digest": artifact.digest, "lastUpdateTime": "2026-01-01T00:00:00Z", "size": artifact.size},
    });
    world.patch_status(&of, json!({"status": status})).await;
}

/// What is in the cluster besides what it always has: kinds and names of objects that carry the release's labels.
async fn left(world: &World, kinds: &BTreeSet<(String, String)>) -> Vec<String> {
    let mut found = Vec::new();
    for (version, kind) in kinds {
        for object in world.list(version, kind).await {
            let labels = &object["metadata"]["labels"];
            let annotations = &object["metadata"]["annotations"];
            // Hooks are no part of a release: without a policy that says otherwise they stay, as with Helm.
            let kept =
                annotations["helm.sh/resource-policy"] == "keep" || annotations["helm.sh/hook"].is_string();
            if labels["helm.toolkit.fluxcd.io/name"].is_string()
                && !kept
                && object["metadata"]["deletionTimestamp"].is_null()
            {
                found.push(format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap()));
            }
        }
    }
    found
}

/// Longer than a debug build on a busy machine needs for the largest chart.
const LONG: std::time::Duration = std::time::Duration::from_mins(4);

/// Waits until the retries are used up, and what was left of them is done.
async fn given_up(world: &World) -> Result<Value, String> {
    let of = ["helm.toolkit.fluxcd.io/v2", "HelmRelease", "default", "release"];
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let object = world.get(of[0], of[1], of[2], of[3]).await.ok_or("it is gone")?;
        if condition(&object, "Stalled").is_some_and(|stalled| stalled["reason"] == "RetriesExceeded") {
            return Ok(object);
        }
        if tokio::time::Instant::now() > deadline {
            return Err(format!("it does not give up: {}", message(&object)));
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn outcome(world: &World, generation: i64) -> Result<Value, String> {
    let of = ["helm.toolkit.fluxcd.io/v2", "HelmRelease", "default", "release"];
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        let object = world.get(of[0], of[1], of[2], of[3]).await.ok_or("it is gone")?;
        let seen = object["status"]["observedGeneration"] == generation;
        let ready = condition(&object, "Ready");
        if seen && ready.is_some_and(|ready| ready["status"] == "True") {
            return Ok(object);
        }
        let failed = object["status"]["failures"].as_i64().unwrap_or_default() > 0;
        let ended = ready.is_some_and(|ready| ready["status"] == "False");
        if (failed && ended && condition(&object, "Stalled").is_some())
            || tokio::time::Instant::now() > deadline
            || (failed && ended && message(&object).contains("resource mapping not found"))
        {
            return Err(message(&object).to_owned());
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Why workloads have no pods.
async fn pods_refused(world: &World) -> String {
    let mut all = String::new();
    for set in world.list("apps/v1", "ReplicaSet").await {
        let failure = set["status"]["conditions"][0]["message"].as_str();
        if let Some(failure) = failure {
            all.push_str("; ");
            all.push_str(failure);
        }
    }
    all
}

async fn live(case: &Case) -> Result<(), String> {
    let of = ["helm.toolkit.fluxcd.io/v2", "HelmRelease", "default", "release"];
    let mut world = World::new().await;
    for (version, kind) in &case.kinds {
        if world.cluster.resource(version, kind).await.is_err()
            && let Some(definition) = definition(version, kind)
        {
            world.create(definition).await;
        }
    }
    for name in &case.namespaces {
        if world.get("v1", "Namespace", "", name).await.is_none() {
            world
                .create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
                .await;
        }
    }
    for (namespace, name) in &case.accounts {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace}});
        world.create(account).await;
    }
    serve(&world, case).await;
    world
        .create(
            json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "release", "namespace": "default"}, "spec": case.spec}),
        )
        .await;
    let step = |step: &'static str| move |error: String| format!("{step}: {error}");
    let installed = match outcome(&world, 1).await {
        Ok(installed) => installed,
        Err(error) => return Err(format!("install: {error}{}", pods_refused(&world).await)),
    };
    if !installed["status"]["history"][0]["chartVersion"]
        .as_str()
        .unwrap_or_default()
        .starts_with(&case.version)
    {
        return Err("another chart was installed".to_owned());
    }
    let labels =
        json!({"spec": {"commonMetadata": {"labels": {"round": "two"}}, "values": {"fluvialRound": null}}});
    world.patch(&of, labels).await;
    outcome(&world, 2).await.map_err(step("upgrade"))?;
    // What the server refuses is a failure half-way.
    let broken = json!({"spec": {"commonMetadata": {"labels": {"round": "not/a/label/value!"}}}});
    world.patch(&of, broken).await;
    let rolled = given_up(&world).await.map_err(step("rollback"))?;
    let reason = condition(&rolled, "Ready").map(|ready| ready["reason"].clone());
    if reason != Some(json!("RollbackSucceeded")) {
        return Err(format!("rollback: {}", message(&rolled)));
    }
    world.delete(&of).await;
    world.gone(&of).await;
    let left = left(&world, &case.kinds).await;
    world.stop().await;
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("left behind: {}", left.join(", ")))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fleets_are_installed_upgraded_rolled_back_and_gone() {
    let Some(fleets) = shared() else {
        eprintln!("skipped: the corpora are not beside the repository");
        return;
    };
    // All of them take minutes: without being asked for, every eighth is tried.
    let only = std::env::var("FLEET_RELEASES").ok();
    let chosen: Vec<Case> = cases(&fleets)
        .into_iter()
        .enumerate()
        .filter(|(number, case)| match only.as_deref() {
            None => number % 8 == 0,
            Some("all") => true,
            Some(part) => case.name.contains(part),
        })
        .map(|(_, case)| case)
        .collect();
    let count = chosen.len();
    let failed: Vec<String> = futures::stream::iter(chosen)
        .map(|case| async move {
            let started = std::time::Instant::now();
            let result = live(&case).await;
            let text = match &result {
                Ok(()) => "lived and went".to_owned(),
                Err(error) => error.chars().take(400).collect(),
            };
            eprintln!("{} ({:?}): {text}", case.name, started.elapsed());
            result.is_err().then_some(case.name)
        })
        .buffer_unordered(3)
        .filter_map(|failed| async { failed })
        .collect()
        .await;
    eprintln!("{} of {count} releases lived and went", count - failed.len());
    assert!(failed.is_empty(), "{failed:?}");
}

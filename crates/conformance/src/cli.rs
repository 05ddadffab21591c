//! The command line against flux's recorded output: each case runs in the process, against an API server in the process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fluvial_apiserver::api::Features;
use fluvial_apiserver::{ApiServer, Config, User};
use fluvial_cli::Environment;
use fluvial_cluster::Client;
use fluvial_ports::{Apply, Clock, Cluster, Patch, PatchKind, Select, Target};
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::txtar::Archive;
use crate::{Case, Suite, first_difference};

mod outside;

use outside::World;

/// Revision that the recorded controllers report.
const REVISION: &str = "main@sha1:5394cb7f48332b2de7c17dd8b8384bbc84b7e738";
/// How often they look.
const CONTROLLERS: Duration = Duration::from_millis(50);

/// One suite for each group of commands that stands.
#[must_use]
pub fn suites() -> Vec<Suite> {
    macro_rules! groups {
        ($($group:literal),*) => {
            vec![$(Suite {
                name: concat!("cli/", $group),
                needs: concat!("corpus/cli/", $group),
                run: |shared| group(shared, $group),
            }),*]
        };
    }
    let mut suites = groups!(
        "build-kustomization",
        "artifact-args",
        "create",
        "create-alert",
        "create-alert-provider",
        "create-helmrelease",
        "create-image-policy",
        "create-image-repository",
        "create-image-update",
        "create-kustomization",
        "create-misc",
        "create-receiver",
        "create-secret-git",
        "create-secret-githubapp",
        "create-secret-helm",
        "create-secret-notation",
        "create-secret-oci",
        "create-secret-proxy",
        "create-secret-receiver",
        "create-secret-tls",
        "create-source-bucket",
        "create-source-chart",
        "create-source-git",
        "create-source-helm",
        "create-source-oci",
        "create-tenant",
        "delete",
        "diff-kustomization",
        "envsubst",
        "export",
        "get",
        "help",
        "inspect",
        "install-args",
        "migrate",
        "reconcile",
        "resume",
        "suspend",
        "trace",
        "tree",
        "upstream"
    );
    suites.push(Suite {
        name: "api/definitions",
        needs: "corpus/api/crds/flux",
        run: definitions,
    });
    suites
}

/// Commands of groups that stand only in part.
fn stands(arguments: &[String]) -> bool {
    !matches!(arguments.first().map(String::as_str), Some("check"))
}

fn group(shared: &Path, name: &str) -> Vec<Case> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(shared.join("corpus/cli").join(name))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return vec![failed("runtime", error.to_string())],
    };
    // A command line stays on the thread that it began on.
    let together = tokio::task::LocalSet::new();
    together.block_on(&runtime, async {
        let gate = Arc::new(tokio::sync::Semaphore::new(8));
        let mut running = vec![];
        for file in &files {
            let Ok(data) = std::fs::read(file) else { continue };
            let archive = Archive::parse(&data);
            let arguments: Vec<String> = archive
                .value("args")
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default();
            if !stands(&arguments) {
                continue;
            }
            let gate = Arc::clone(&gate);
            let task = tokio::task::spawn_local(async move {
                let _turn = gate.acquire_owned().await;
                run(&archive, &arguments).await
            });
            let name = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            running.push((name, task));
        }
        let mut cases = vec![];
        for (name, task) in running {
            let outcome = task.await.unwrap_or_else(|error| Err(error.to_string()));
            cases.push(Case { name, outcome });
        }
        cases
    })
}

fn failed(name: &str, why: String) -> Case {
    Case {
        name: name.to_owned(),
        outcome: Err(why),
    }
}

/// The system's clock: waits of the commands are real.
pub(crate) struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn random(&self) -> f64 {
        0.5
    }

    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(4);
    }
}

/// A writer whose text can be read afterwards.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl std::io::Write for Sink {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn run(archive: &Archive, arguments: &[String]) -> Result<(), String> {
    let objects = match archive.text("cluster/objects.yaml") {
        Some(text) => Some(documents(&text)?),
        None => None,
    };
    let client = match &objects {
        Some(objects) => Some(cluster(objects).await?),
        None => None,
    };
    let before = match &client {
        Some(client) => everything(client.as_ref()).await?,
        None => BTreeMap::new(),
    };
    let controllers = archive
        .value("controllers")
        .zip(client.clone())
        .map(|(mode, client)| {
            let ready = mode == "ready";
            tokio::spawn(async move {
                loop {
                    answer(client.as_ref(), ready).await;
                    tokio::time::sleep(CONTROLLERS).await;
                }
            })
        });
    let work = tempfile::tempdir().map_err(|error| error.to_string())?;
    let folder = work.path().canonicalize().map_err(|error| error.to_string())?;
    unpack(archive, &folder)?;
    let (out, err) = (Sink::default(), Sink::default());
    let mut environment = Environment {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        variables: archive
            .value("env")
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default(),
        input: Box::new(std::io::Cursor::new(
            archive.section("stdin").unwrap_or_default().to_vec(),
        )),
        folder: folder.clone(),
        version: "2.9.4",
        clock: Arc::new(Now),
        outside: Arc::new(World {
            client: client.clone(),
        }),
    };
    let code = fluvial_cli::run(arguments, &mut environment).await;
    if let Some(controllers) = controllers {
        controllers.abort();
    }
    let wanted: u8 = archive
        .value("exit")
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let here = folder.to_string_lossy();
    let (out, err) = (
        out.text().replace(&*here, "$WORK"),
        err.text().replace(&*here, "$WORK"),
    );
    for (what, got) in [("stdout", &out), ("stderr", &err)] {
        let want = archive.text(what).unwrap_or_default();
        if what == "stdout" && want.contains("\nUsage:\n  flux") {
            helps(&want, got, arguments)?;
            continue;
        }
        if !same(&want, got) {
            return Err(format!("{what}: {}", first_difference(&want, got)));
        }
    }
    if code != wanted {
        return Err(format!("exit: want {wanted}, got {code}"));
    }
    for (name, want) in &archive.sections {
        let Some(path) = name.strip_prefix("out/") else {
            continue;
        };
        let got = std::fs::read(folder.join(path)).map_err(|error| format!("{path}: {error}"))?;
        let (want, got) = (String::from_utf8_lossy(want), String::from_utf8_lossy(&got));
        if want != got {
            return Err(format!("{path}: {}", first_difference(&want, &got)));
        }
    }
    match client {
        Some(client) => compare_changes(archive, &before, &everything(client.as_ref()).await?),
        None => Ok(()),
    }
}

/// A help text's wording is its own; the commands and options that it names are those of the reference, and more.
fn helps(want: &str, got: &str, arguments: &[String]) -> Result<(), String> {
    let names =
        |text: &str, of: fn(&str) -> Option<String>| -> Vec<String> { text.lines().filter_map(of).collect() };
    let ours: Vec<&str> = got.split(|c: char| !(c.is_alphanumeric() || c == '-')).collect();
    let mut missing = vec![];
    if let Some((_, rest)) = want.split_once("Available Commands:\n") {
        let list = rest.split("\n\n").next().unwrap_or_default();
        let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
        missing.extend(names(list, first));
    }
    // Options of the whole belong to the help of the root.
    let local = want.split("Global Flags:").next().unwrap_or_default();
    if let (Some((_, list)), true) = (local.split_once("\nFlags:\n"), arguments.len() > 1) {
        let flag = |line: &str| {
            let word = line.split_whitespace().find(|word| word.starts_with("--"))?;
            Some(word.to_owned())
        };
        missing.extend(names(list, flag));
    }
    missing.retain(|name| name != "help" && !ours.contains(&name.as_str()));
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("help: nothing is said of {}", missing.join(", "))),
    }
}

/// Puts the files of a case into its folder.
fn unpack(archive: &Archive, folder: &Path) -> Result<(), String> {
    for (name, data) in &archive.sections {
        let Some(path) = name.strip_prefix("in/") else {
            continue;
        };
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| error.to_string())?;
        std::fs::write(&path, data).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Equal, where the reference's placeholders stand for any time.
fn same(want: &str, got: &str) -> bool {
    let (want, got): (Vec<&str>, Vec<&str>) = (want.split('\n').collect(), got.split('\n').collect());
    want.len() == got.len()
        && want
            .iter()
            .zip(&got)
            .all(|(want, got)| match want.split_once("$time") {
                Some((head, tail)) => got.starts_with(head) && got.ends_with(tail),
                None => want == got,
            })
}

fn documents(text: &str) -> Result<Vec<Value>, String> {
    fluvial_yaml::split_documents(text)
        .map_err(|error| error.to_string())?
        .iter()
        .map(|document| fluvial_yaml::yaml_to_json(document, false).map_err(|error| error.to_string()))
        .filter(|document| !matches!(document, Ok(Value::Null)))
        .collect()
}

/// A server with the definitions and a case's objects, their status included.
async fn cluster(objects: &[Value]) -> Result<Arc<dyn Cluster>, String> {
    let server = ApiServer::new(Config {
        features: Features {
            controllers: false,
            workloads: false,
        },
        ..Config::default()
    })
    .map_err(|error| error.to_string())?;
    let service = server.service().map_request(|mut request: http::Request<_>| {
        request.extensions_mut().insert(User::admin());
        request
    });
    let client: Arc<dyn Cluster> = Arc::new(Client::from_service(service));
    for object in fluvial_api::definitions().iter().chain(objects) {
        put(client.as_ref(), object)
            .await
            .map_err(|error| format!("{}: {error}", object["metadata"]["name"]))?;
    }
    Ok(client)
}

async fn put(client: &dyn Cluster, object: &Value) -> Result<(), String> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let mut looked = client.resource(text("/apiVersion"), text("/kind")).await;
    for _ in 0..100 {
        if looked.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        looked = client.resource(text("/apiVersion"), text("/kind")).await;
    }
    let resource = looked.map_err(|error| error.message)?;
    let target = Target {
        resource: &resource,
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    };
    let mut applied = object.clone();
    if let Some(fields) = applied.as_object_mut() {
        fields.remove("status");
    }
    let how = Apply {
        manager: "kustomize-controller",
        force: true,
        dry_run: false,
    };
    client
        .apply(target, &applied, how)
        .await
        .map_err(|error| error.message)?;
    if let Some(status) = object
        .get("status")
        .filter(|_| text("/kind") != "CustomResourceDefinition")
    {
        set_status(client, target, &json!({"status": status})).await?;
    }
    Ok(())
}

async fn set_status(client: &dyn Cluster, target: Target<'_>, body: &Value) -> Result<(), String> {
    let patch = Patch {
        kind: PatchKind::Merge,
        subresource: Some("status"),
        manager: "kustomize-controller",
        body,
        dry_run: false,
    };
    match client.patch(target, patch).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.message),
    }
}

/// Objects that commands may change, by `Kind namespace/name`, without status and the server's own fields.
async fn everything(client: &dyn Cluster) -> Result<BTreeMap<String, Value>, String> {
    let mut all = BTreeMap::new();
    let mut kinds: Vec<(String, &str)> = fluvial_api::kinds::KINDS
        .iter()
        .map(|info| (info.api_version(), info.kind))
        .collect();
    kinds.push(("v1".to_owned(), "Secret"));
    kinds.push(("v1".to_owned(), "ServiceAccount"));
    kinds.push(("rbac.authorization.k8s.io/v1".to_owned(), "RoleBinding"));
    for (version, kind) in kinds {
        let resource = client
            .resource(&version, kind)
            .await
            .map_err(|error| error.message)?;
        let objects = client
            .list(&resource, &Select::default())
            .await
            .map_err(|error| error.message)?;
        for mut object in objects {
            let metadata = &object["metadata"];
            let name = metadata["name"].as_str().unwrap_or_default();
            let id = format!(
                "{kind} {}/{name}",
                metadata["namespace"].as_str().unwrap_or_default()
            );
            if let Some(fields) = object.as_object_mut() {
                fields.remove("status");
            }
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.retain(|field, _| {
                    matches!(
                        field.as_str(),
                        "name" | "namespace" | "labels" | "annotations" | "finalizers"
                    )
                });
            }
            all.insert(id, object);
        }
    }
    Ok(all)
}

fn compare_changes(
    archive: &Archive,
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
) -> Result<(), String> {
    let Some(wanted) = archive.text("cluster/changed.yaml") else {
        return Ok(());
    };
    let mut wanted = documents(&wanted)?;
    let mut changed: Vec<Value> = after
        .iter()
        .filter(|(id, object)| before.get(*id) != Some(object))
        .map(|(_, object)| object.clone())
        .collect();
    for object in wanted.iter_mut().chain(&mut changed) {
        blank_times(object);
    }
    let id = |object: &Value| {
        let metadata = &object["metadata"];
        format!(
            "{}/{}/{}",
            object["kind"], metadata["namespace"], metadata["name"]
        )
    };
    wanted.sort_by_key(id);
    changed.sort_by_key(id);
    if wanted != changed {
        let show = |objects: &[Value]| {
            objects
                .iter()
                .map(fluvial_yaml::json_to_yaml)
                .collect::<Vec<_>>()
                .join("---\n")
        };
        return Err(format!(
            "changed.yaml: {}",
            first_difference(&show(&wanted), &show(&changed))
        ));
    }
    let gone: Vec<&str> = before
        .keys()
        .filter(|id| !after.contains_key(*id))
        .map(String::as_str)
        .collect();
    let wanted = archive.text("cluster/deleted.txt").unwrap_or_default();
    let wanted: Vec<&str> = wanted.lines().collect();
    if gone == wanted {
        Ok(())
    } else {
        Err(format!("deleted.txt: want {wanted:?}, got {gone:?}"))
    }
}

/// Times of the run are any time.
fn blank_times(value: &mut Value) {
    match value {
        Value::String(text) if text == "$time" || text.parse::<Timestamp>().is_ok() => {
            *text = "$time".to_owned();
        }
        Value::Array(items) => items.iter_mut().for_each(blank_times),
        Value::Object(fields) => fields.values_mut().for_each(blank_times),
        _ => {}
    }
}

/// What the recorded controllers did: whoever asks or has changed gets a status.
async fn answer(client: &dyn Cluster, ready: bool) {
    for info in fluvial_api::kinds::KINDS {
        let Ok(resource) = client.resource(&info.api_version(), info.kind).await else {
            continue;
        };
        for object in client
            .list(&resource, &Select::default())
            .await
            .unwrap_or_default()
        {
            let asked = &object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
            let generation = &object["metadata"]["generation"];
            let status = &object["status"];
            let observed = &status["observedGeneration"];
            let is_static = matches!(info.kind, "Alert" | "Provider");
            let stale = observed != generation && (!is_static || !observed.is_null());
            if (asked.is_null() || asked == &status["lastHandledReconcileAt"]) && !stale {
                continue;
            }
            let body = json!({"status": answered(info.kind, asked, generation, ready)});
            let target = Target {
                resource: &resource,
                namespace: object["metadata"]["namespace"].as_str().unwrap_or_default(),
                name: object["metadata"]["name"].as_str().unwrap_or_default(),
            };
            // It may have gone in between; the next round sees.
            let _ = set_status(client, target, &body).await;
        }
    }
}

fn answered(kind: &str, asked: &Value, generation: &Value, ready: bool) -> Value {
    let (status, reason, message) = if ready {
        ("True", "ReconciliationSucceeded", "stored artifact")
    } else {
        ("False", "ReconciliationFailed", "something went wrong")
    };
    let mut value = json!({
        "observedGeneration": generation,
        "conditions": [{
            "type": "Ready", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2024-05-02T10:00:00Z", "observedGeneration": generation,
        }],
    });
    if !asked.is_null() {
        value["lastHandledReconcileAt"] = asked.clone();
    }
    match kind {
        "GitRepository" | "OCIRepository" | "HelmRepository" | "HelmChart" | "Bucket" => {
            value["artifact"] = json!({
                "revision": REVISION, "path": "p/x.tar.gz", "url": "http://x/p/x.tar.gz",
                "digest": format!("sha256:{}", "b".repeat(64)), "lastUpdateTime": "2024-05-02T10:00:00Z",
            });
        }
        "Kustomization" => {
            value["lastAppliedRevision"] = REVISION.into();
            value["lastAttemptedRevision"] = REVISION.into();
        }
        "HelmRelease" => value["lastAttemptedRevision"] = "6.5.0".into(),
        "Receiver" => {
            value["webhookPath"] =
                "/hook/bed6d00b5555b1603e1f59b94d7fdbca58089cb5663633fb83f2815dc626d92b".into();
        }
        _ => {}
    }
    value
}

/// Our definitions against those that Flux publishes, descriptions aside.
fn definitions(shared: &Path) -> Vec<Case> {
    let folder = shared.join("corpus/api/crds/flux");
    let entries = std::fs::read_dir(&folder).map(|entries| entries.flatten().collect::<Vec<_>>());
    let mut wanted: BTreeMap<String, Value> = BTreeMap::new();
    for entry in entries.unwrap_or_default() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for document in documents(&text).unwrap_or_default() {
            wanted.insert(
                document["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                document,
            );
        }
    }
    let mut cases = vec![];
    for ours in fluvial_api::published() {
        let name = ours["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let theirs = wanted.remove(&name).unwrap_or_default();
        let show = |definition: &Value| {
            let mut spec = definition["spec"].clone();
            undescribed(&mut spec);
            fluvial_yaml::json_to_yaml(&spec)
        };
        cases.push(Case::compare(name, &show(&theirs), &show(&ours)));
    }
    cases.extend(
        wanted
            .into_keys()
            .map(|name| failed(&name, "we have no such definition".to_owned())),
    );
    cases
}

/// Takes descriptions out of a schema; a field that is called so stays.
fn undescribed(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("description").is_some_and(Value::is_string) {
                fields.remove("description");
            }
            fields.values_mut().for_each(undescribed);
        }
        Value::Array(items) => items.iter_mut().for_each(undescribed),
        _ => {}
    }
}

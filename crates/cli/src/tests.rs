//! Commands against a cluster in memory.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use fluvial_ports::{
    Apply, BoxFuture, BoxStream, Clock, Cluster, ClusterError, Delete, ErrorKind, KindChange, Patch,
    Resource, Select, Sources, Target, Watched,
};
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    Connection, ControllerOptions, Controllers, Environment, LocalRepository, LogOptions, Outside, Server,
    ServerOptions, SourceOptions, run, state,
};

mod artifacts;
mod charts;
mod flags;
mod helm;
mod pods;
mod why;

const REVISION: &str = "main@sha1:5394cb7f48332b2de7c17dd8b8384bbc84b7e738";

/// Objects in memory; with `answers`, each request to reconcile is answered at the next watch.
#[derive(Clone, Default)]
struct Memory {
    objects: Arc<Mutex<Vec<Value>>>,
    answers: bool,
    /// What every artifact holds.
    tree: Option<fluvial_tree::Tree>,
    /// Artifacts of registries.
    shelf: Option<Arc<artifacts::Shelf>>,
    /// Charts of repositories and registries, as address and archive.
    charts: BTreeMap<String, Arc<[u8]>>,
    /// What containers tell, by Pod and name.
    logs: BTreeMap<String, Vec<String>>,
    /// How it was last connected to.
    connected: Arc<Mutex<Connection>>,
}

/// Gives charts and nothing else.
struct Charts(BTreeMap<String, Arc<[u8]>>);

impl Sources for Charts {
    fn fetch(
        &self,
        _: fluvial_ports::FetchRequest,
    ) -> BoxFuture<'_, Result<fluvial_ports::Fetched, fluvial_ports::SourceError>> {
        unreachable!("no test fetches revisions")
    }

    fn filter(
        &self,
        tree: &fluvial_tree::Tree,
        _: Option<&str>,
    ) -> Result<fluvial_tree::Tree, fluvial_ports::SourceError> {
        Ok(tree.clone())
    }

    fn changes(&self, _: &str) -> Option<BoxStream<'static, ()>> {
        None
    }

    fn chart(
        &self,
        request: fluvial_ports::ChartRequest,
    ) -> BoxFuture<'_, Result<fluvial_ports::ChartFound, fluvial_ports::SourceError>> {
        let address = format!("{}/{} {}", request.repository, request.chart, request.version);
        let found = self.0.get(&address).cloned();
        async move {
            match found {
                Some(archive) => Ok(fluvial_ports::ChartFound {
                    name: request.chart,
                    version: request.version,
                    archive: Some(archive),
                    rewritten: None,
                    verified: None,
                }),
                None => Err(fluvial_ports::SourceError {
                    class: fluvial_ports::SourceErrorClass::Stalled,
                    reason: "InvalidChartReference".to_owned(),
                    message: format!("no chart at {address}"),
                }),
            }
        }
        .boxed()
    }
}

impl Memory {
    fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let objects = self.objects.lock().unwrap();
        let is_it = |object: &&Value| {
            state::kind(object) == kind
                && state::namespace(object) == namespace
                && state::name(object) == name
        };
        objects.iter().find(is_it).cloned()
    }

    fn answer(&self) {
        for object in self.objects.lock().unwrap().iter_mut() {
            let token = object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"].clone();
            object["status"]["observedGeneration"] = object["metadata"]["generation"].clone();
            object["status"]["lastAppliedRevision"] = REVISION.into();
            object["status"]["conditions"] = json!([{"type": "Ready", "status": "True", "message": "ok"}]);
            if !token.is_null() {
                object["status"]["lastHandledReconcileAt"] = token;
            }
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn refuse<T>() -> Result<T, ClusterError> {
    Err(ClusterError::new(ErrorKind::Other, "not in this test"))
}

impl Cluster for Memory {
    fn acting_as(&self, _user: &str) -> Arc<dyn Cluster> {
        Arc::new(self.clone())
    }

    fn resource<'a>(
        &'a self,
        api_version: &'a str,
        kind: &'a str,
    ) -> BoxFuture<'a, Result<Arc<Resource>, ClusterError>> {
        let flux = fluvial_api::kinds::kind(kind).map(crate::nouns::resource);
        let known = flux.or_else(|| (api_version == "v1").then(|| Resource::core(kind)));
        async { known.map(Arc::new).map_or_else(refuse, Ok) }.boxed()
    }

    fn kind_changes(&self) -> BoxStream<'static, KindChange> {
        futures::stream::pending().boxed()
    }

    fn get<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<Option<Value>, ClusterError>> {
        let found = self.find(&target.resource.kind, target.namespace, target.name);
        async { Ok(found) }.boxed()
    }

    fn list<'a>(
        &'a self,
        resource: &'a Resource,
        select: &'a Select,
    ) -> BoxFuture<'a, Result<Vec<Value>, ClusterError>> {
        let mut objects = self.objects.lock().unwrap().clone();
        objects.retain(|object| {
            let is = |field: &str| {
                let (path, value) = field.split_once('=').unwrap_or_default();
                let path: Vec<&str> = path.split('.').collect();
                state::text(object, &path) == Some(value)
            };
            state::kind(object) == resource.kind
                && select
                    .namespace
                    .as_ref()
                    .is_none_or(|namespace| namespace == state::namespace(object))
                && select
                    .fields
                    .as_ref()
                    .is_none_or(|fields| fields.split(',').all(is))
        });
        async { Ok(objects) }.boxed()
    }

    fn watch(&self, resource: &Resource, select: &Select) -> BoxStream<'static, Watched> {
        if self.answers {
            self.answer();
        }
        let objects = self.list(resource, select).now_or_never().unwrap().unwrap();
        let first = objects.into_iter().map(Watched::Applied);
        futures::stream::iter(first)
            .chain(futures::stream::pending())
            .boxed()
    }

    fn apply<'a>(
        &'a self,
        _: Target<'a>,
        _: &'a Value,
        _: Apply<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>> {
        async { refuse() }.boxed()
    }

    fn patch<'a>(
        &'a self,
        target: Target<'a>,
        patch: Patch<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>> {
        let mut objects = self.objects.lock().unwrap();
        let object = objects
            .iter_mut()
            .find(|object| state::kind(object) == target.resource.kind && state::name(object) == target.name)
            .unwrap();
        let before = object["spec"].clone();
        merge(object, patch.body);
        if object["spec"] != before {
            object["metadata"]["generation"] =
                (object["metadata"]["generation"].as_i64().unwrap() + 1).into();
        }
        let object = object.clone();
        async { Ok(object) }.boxed()
    }

    fn create<'a>(
        &'a self,
        _: Target<'a>,
        _: &'a Value,
        _: fluvial_ports::Create<'a>,
    ) -> BoxFuture<'a, Result<Value, ClusterError>> {
        async { refuse() }.boxed()
    }

    fn log<'a>(
        &'a self,
        pod: Target<'a>,
        part: &'a fluvial_ports::PodLog,
    ) -> BoxFuture<'a, Result<fluvial_ports::Lines, ClusterError>> {
        let of = format!("{}/{}", pod.name, part.container.as_deref().unwrap_or_default());
        let lines = self.logs.get(&of).cloned().unwrap_or_default();
        let last = part
            .tail
            .map_or(usize::MAX, |tail| usize::try_from(tail).unwrap());
        let first = lines.len().saturating_sub(last);
        let lines = futures::stream::iter(lines.into_iter().skip(first).map(Ok)).boxed();
        async { Ok(lines) }.boxed()
    }

    fn delete<'a>(&'a self, _: Target<'a>, _: Delete<'a>) -> BoxFuture<'a, Result<bool, ClusterError>> {
        async { refuse() }.boxed()
    }
}

impl Outside for Memory {
    fn connect<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<Arc<dyn Cluster>, String>> {
        *self.connected.lock().unwrap() = connection.clone();
        let cluster: Arc<dyn Cluster> = Arc::new(self.clone());
        async { Ok(cluster) }.boxed()
    }

    fn namespace<'a>(&'a self, connection: &'a Connection) -> BoxFuture<'a, Result<String, String>> {
        let context = connection.context.clone().unwrap_or_default();
        async move { Ok(format!("of-{context}")) }.boxed()
    }

    fn log(&self, _: &LogOptions) -> Result<(), String> {
        Ok(())
    }

    fn api_server<'a>(&'a self, _: &'a ServerOptions) -> BoxFuture<'a, Result<Server, String>> {
        let server = Server {
            cluster: Arc::new(self.clone()),
            url: "https://127.0.0.1:1".to_owned(),
            kubeconfig: "/tmp/kubeconfig".into(),
            stop: Box::new(|| async {}.boxed()),
        };
        async { Ok(server) }.boxed()
    }

    fn sources(&self, _: &SourceOptions) -> Result<Arc<dyn Sources>, String> {
        Ok(Arc::new(Charts(self.charts.clone())))
    }

    fn controllers<'a>(
        &'a self,
        _: Arc<dyn Cluster>,
        _: Arc<dyn Sources>,
        _: &'a ControllerOptions,
    ) -> BoxFuture<'a, Result<Controllers, String>> {
        async { Err("not in this test".to_owned()) }.boxed()
    }

    fn repository(&self, path: &std::path::Path) -> Result<LocalRepository, String> {
        Err(format!("no repository at {}", path.display()))
    }

    fn remotes(&self) -> Arc<dyn fluvial_kustomize::RemoteResolver + Send + Sync> {
        Arc::new(fluvial_kustomize::NoRemote)
    }

    fn ambient(&self) -> Option<Box<dyn fluvial_template::sprig::Ambient>> {
        Some(Box::new(Still))
    }

    fn addresses(&self, _: &str) -> Vec<String> {
        vec!["192.0.2.1".to_owned()]
    }

    fn artifact<'a>(
        &'a self,
        artifact: &'a fluvial_ports::Artifact,
    ) -> BoxFuture<'a, Result<fluvial_tree::Tree, String>> {
        Box::pin(async {
            let none = || format!("{} is not in these cases", artifact.url);
            self.tree.clone().ok_or_else(none)
        })
    }

    fn ssh_login<'a>(
        &'a self,
        url: &'a str,
        key: &'a crate::SshKey,
    ) -> BoxFuture<'a, Result<crate::SshLogin, String>> {
        let private = match key {
            crate::SshKey::Ed25519 => "new ed25519".to_owned(),
            crate::SshKey::Ecdsa(bits) => format!("new ecdsa {bits}"),
            crate::SshKey::Rsa(bits) => format!("new rsa {bits}"),
            crate::SshKey::Given { private, .. } => private.clone(),
        };
        let login = crate::SshLogin {
            public: format!("public half of {private}\n"),
            private,
            known_hosts: format!("key of {url}\n"),
        };
        async { Ok(login) }.boxed()
    }

    fn registry(&self) -> Result<Arc<dyn crate::Registry>, String> {
        match &self.shelf {
            Some(shelf) => Ok(Arc::<artifacts::Shelf>::clone(shelf)),
            None => Err("not in this test".to_owned()),
        }
    }

    fn terminal(&self) -> Option<(u16, u16)> {
        None
    }

    fn interrupted(&self) -> BoxFuture<'_, ()> {
        futures::future::ready(()).boxed()
    }
}

struct Still;

impl fluvial_template::sprig::Ambient for Still {
    fn now(&mut self) -> i128 {
        0
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(4);
    }
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        "2024-05-01T10:00:00Z".parse().unwrap()
    }

    fn random(&self) -> f64 {
        0.5
    }

    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(4);
    }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// An environment that prints into sinks, and the words of a line.
fn called(memory: &Memory, line: &str, out: &Sink, err: &Sink) -> (Environment, Vec<String>) {
    let env = Environment {
        out: Box::new(out.clone()),
        err: Box::new(err.clone()),
        variables: BTreeMap::new(),
        folder: std::path::PathBuf::from("/"),
        input: Box::new(std::io::empty()),
        version: "0.1.0",
        clock: Arc::new(Still),
        outside: Arc::new(memory.clone()),
    };
    (env, line.split_whitespace().map(str::to_owned).collect())
}

/// What a command line does that needs nothing but files, away from any runtime.
fn here(memory: &Memory, line: &str) -> (Option<u8>, String, String) {
    let (out, err) = (Sink::default(), Sink::default());
    let (mut env, words) = called(memory, line, &out, &err);
    let code = std::thread::scope(|scope| scope.spawn(|| crate::run_here(&words, &mut env)).join().unwrap());
    (code, out.text(), err.text())
}

/// Runs a command line; gives exit code, data and progress. Without a runtime it does the same, or nothing.
async fn fluvial(memory: &Memory, line: &str) -> (u8, String, String) {
    let alone = here(memory, line);
    let (out, err) = (Sink::default(), Sink::default());
    let (mut env, words) = called(memory, line, &out, &err);
    let code = run(&words, &mut env).await;
    match alone.0 {
        Some(_) => assert_eq!(alone, (Some(code), out.text(), err.text()), "{line}"),
        None => assert_eq!(alone, (None, String::new(), String::new()), "{line}"),
    }
    (code, out.text(), err.text())
}

fn kustomization(name: &str, suspend: bool, ids: &[&str]) -> Value {
    let entries: Vec<Value> = ids.iter().map(|id| json!({"id": id, "v": "v1"})).collect();
    let mut object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": name, "namespace": "flux-system", "generation": 1},
        "spec": {"sourceRef": {"kind": "GitRepository", "name": "fleet"}},
        "status": {
            "observedGeneration": 1, "lastAppliedRevision": REVISION, "inventory": {"entries": entries},
            "conditions": [{"type": "Ready", "status": "True", "message": format!("Applied revision: {REVISION}")}],
        },
    });
    if suspend {
        object["spec"]["suspend"] = true.into();
    }
    object
}

fn fleet(answers: bool) -> Memory {
    let apps = "flux-system_apps_kustomize.toolkit.fluxcd.io_Kustomization";
    let objects = vec![
        kustomization("root", false, &[apps, "_web__Namespace"]),
        kustomization("apps", false, &["web_web_apps_Deployment"]),
        kustomization("paused", true, &[]),
        json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Provider",
               "metadata": {"name": "slack", "namespace": "other"}, "spec": {"type": "slack"}}),
    ];
    Memory {
        objects: Arc::new(Mutex::new(objects)),
        answers,
        ..Memory::default()
    }
}

#[tokio::test]
async fn get_prints_tables_with_short_digests() {
    let (code, out, _) = fluvial(&fleet(false), "get ks paused --show-source").await;
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "NAME  \tSOURCE                         \tREVISION          \tSUSPENDED\tREADY\tMESSAGE                              \n\
         paused\tGitRepository/flux-system/fleet\tmain@sha1:5394cb7f\tTrue     \tTrue \tApplied revision: main@sha1:5394cb7f\t\n"
    );
}

#[tokio::test]
async fn get_all_shows_a_block_for_each_kind_that_has_objects() {
    let (code, out, _) = fluvial(&fleet(false), "get all -A --status-selector ready!=true").await;
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "NAMESPACE\tNAME          \tREADY\tMESSAGE           \nother    \tprovider/slack\tTrue \tProvider is Ready\t\n\n"
    );
}

#[tokio::test]
async fn absent_objects_and_odd_words_are_named() {
    let memory = fleet(false);
    let (code, _, err) = fluvial(&memory, "get ks nope").await;
    assert_eq!(
        (code, err.as_str()),
        (
            1,
            "✗ Kustomization object 'nope' not found in \"flux-system\" namespace\n"
        )
    );
    let (code, _, err) = fluvial(&memory, "get ks -A --status-selector ready").await;
    assert_eq!(code, 1);
    assert!(
        err.starts_with("✗ expected status selector in type=status"),
        "{err}"
    );
    let (code, out, _) = fluvial(&memory, "get nope").await;
    assert_eq!(code, 0);
    assert!(out.contains("Usage: "), "{out}");
    let (code, _, err) = fluvial(&memory, "nope").await;
    assert_eq!(code, 1);
    assert!(err.starts_with("✗ unrecognized subcommand 'nope'"), "{err}");
}

#[tokio::test]
async fn get_prints_objects_on_request() {
    let (_, out, _) = fluvial(&fleet(false), "get ks apps -o json").await;
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["metadata"]["name"], "apps");
    let (_, out, _) = fluvial(&fleet(false), "get all -A -o json").await;
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["items"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn tree_follows_kustomizations() {
    let (_, out, _) = fluvial(&fleet(false), "tree ks root").await;
    assert_eq!(
        out,
        "Kustomization/flux-system/root\n├── Kustomization/flux-system/apps\n│   └── Deployment/web/web\n└── Namespace/web\n\n"
    );
    let (_, out, _) = fluvial(&fleet(false), "tree ks root --compact").await;
    assert_eq!(
        out,
        "Kustomization/flux-system/root\n└── Kustomization/flux-system/apps\n\n"
    );
}

#[tokio::test]
async fn suspend_rests_an_object_and_goes_on_after_an_absent_one() {
    let memory = fleet(false);
    let (code, _, err) = fluvial(&memory, "suspend ks nope apps").await;
    assert_eq!(code, 0);
    assert_eq!(
        err,
        "✗ Kustomization nope not found in flux-system namespace\n\
         ► suspending kustomization apps in flux-system namespace\n✔ kustomization suspended\n"
    );
    assert_eq!(
        memory.find("Kustomization", "flux-system", "apps").unwrap()["spec"]["suspend"],
        true
    );
}

#[tokio::test]
async fn resume_waits_for_the_new_generation() {
    let memory = fleet(true);
    let (code, _, err) = fluvial(&memory, "resume ks paused").await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        err,
        format!(
            "► resuming kustomization paused in flux-system namespace\n✔ kustomization resumed\n\
             ◎ waiting for Kustomization reconciliation\n✔ Kustomization paused reconciliation completed\n\
             ✔ applied revision {REVISION}\n"
        )
    );
    assert!(
        memory.find("Kustomization", "flux-system", "paused").unwrap()["spec"]
            .get("suspend")
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn reconcile_waits_until_its_request_is_handled_or_time_is_up() {
    let (code, _, err) = fluvial(&fleet(true), "reconcile ks apps").await;
    assert_eq!(code, 0, "{err}");
    assert!(
        err.ends_with(&format!("✔ applied revision {REVISION}\n")),
        "{err}"
    );
    let (code, _, err) = fluvial(&fleet(false), "reconcile ks apps --timeout=3s").await;
    assert_eq!(code, 1);
    assert!(err.ends_with("✗ context deadline exceeded\n"), "{err}");
    let (code, _, err) = fluvial(&fleet(true), "reconcile ks paused").await;
    assert_eq!((code, err.as_str()), (1, "✗ resource is suspended\n"));
}

#[tokio::test]
async fn stats_count_and_events_say_when_there_are_none() {
    let (_, out, _) = fluvial(&fleet(false), "stats -A").await;
    assert!(
        out.contains("Kustomization        \t2      \t0      \t1        \t-      \t"),
        "{out}"
    );
    let (code, _, err) = fluvial(&fleet(false), "events").await;
    assert_eq!(
        (code, err.as_str()),
        (0, "✗ No events found in flux-system namespace.\n")
    );
}

#[tokio::test]
async fn the_api_server_names_its_kubeconfig_and_runs_until_it_is_told_to_end() {
    let (code, out, err) = fluvial(&fleet(false), "apiserver").await;
    assert_eq!((code, out.as_str()), (0, "export KUBECONFIG=/tmp/kubeconfig\n"));
    assert!(err.contains("listens at https://127.0.0.1:1"), "{err}");
}

#[tokio::test]
async fn up_refuses_what_is_no_repository() {
    let (code, _, err) = fluvial(&fleet(false), "up ./nowhere").await;
    assert_eq!((code, err.as_str()), (1, "✗ no repository at ./nowhere\n"));
}

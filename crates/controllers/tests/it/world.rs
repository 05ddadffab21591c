//! An API server in memory with the definitions, and controllers that may be stopped and started again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluvial_apiserver::{ApiServer, User};
use fluvial_cluster::Client;
use fluvial_controllers::ports::{Cluster, Delete, NoEvents, Patch, PatchKind, Resource, Select, Target};
use fluvial_controllers::{Config, Handle, Ports};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::fakes::{Fakes, Wall};
use crate::tap::{End, Happening, Tap};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster with controllers.
pub struct World {
    pub cluster: Arc<dyn Cluster>,
    pub fakes: Fakes,
    /// What happens next in the cluster of the controllers.
    pub next: Arc<Mutex<Option<Happening>>>,
    /// When the writes of the controllers end.
    pub end: Arc<End>,
    server: ApiServer,
    handle: Option<Handle>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// A client of the server as its administrator.
pub fn client(server: &ApiServer) -> Client {
    let service = server
        .service()
        .map_request(|mut request: http::Request<fluvial_cluster::Body>| {
            request.extensions_mut().insert(User::admin());
            request
        });
    Client::from_service(service)
}

impl World {
    /// A server with definitions and running controllers.
    pub async fn new() -> Self {
        if std::env::var_os("RUST_LOG").is_some() {
            let _ = tracing_subscriber::fmt()
                .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
                .with_test_writer()
                .try_init();
        }
        let server = ApiServer::new(fluvial_apiserver::Config::default()).expect("a server in memory starts");
        let cluster: Arc<dyn Cluster> = Arc::new(client(&server));
        let mut world = Self {
            cluster,
            fakes: Fakes::default(),
            next: Arc::default(),
            end: Arc::default(),
            server,
            handle: None,
            runtime: None,
        };
        for definition in fluvial_api::definitions() {
            world.create(definition).await;
        }
        world.start();
        world
    }

    /// Starts controllers.
    pub fn start(&mut self) {
        let ports = Ports {
            cluster: Arc::new(Tap {
                inner: Arc::new(client(&self.server)),
                next: Arc::clone(&self.next),
                end: Arc::clone(&self.end),
            }),
            sources: self.fakes.repositories.clone(),
            artifacts: self.fakes.shelf.clone(),
            decryption: Arc::new(fluvial_secrets::Sops::default()),
            remotes: self.fakes.remotes.clone(),
            events: Arc::new(NoEvents),
            clock: Arc::new(Wall),
            aside: fluvial_controllers::Aside::default(),
        };
        self.handle = Some(fluvial_controllers::run(Config::default(), ports));
    }

    /// Stops the controllers.
    pub async fn stop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.stop();
            handle.ended().await;
        }
    }

    /// Ends the controllers in the middle of whatever they do.
    pub fn kill(&mut self) {
        self.handle = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Starts controllers on threads of their own, which can be killed.
    pub fn start_apart(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime can be started");
        let entered = runtime.enter();
        self.start();
        drop(entered);
        self.runtime = Some(runtime);
    }

    /// The running controllers.
    pub fn controllers(&self) -> &Handle {
        self.handle.as_ref().expect("they run")
    }

    async fn kind(&self, api_version: &str, kind: &str) -> Arc<Resource> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.cluster.resource(api_version, kind).await {
                Ok(resource) => return resource,
                Err(error) if tokio::time::Instant::now() > deadline => {
                    panic!("{api_version} {kind}: {error}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Creates an object.
    pub async fn create(&self, object: Value) -> Value {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let resource = self.kind(text("/apiVersion"), text("/kind")).await;
        let target = Target {
            resource: &resource,
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        };
        self.cluster
            .create(
                target,
                &object,
                fluvial_controllers::ports::Create {
                    manager: "test",
                    dry_run: false,
                },
            )
            .await
            .unwrap_or_else(|error| panic!("{} {}: {error}", text("/kind"), text("/metadata/name")))
    }

    /// Reads an object.
    pub async fn get(&self, api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let resource = self.kind(api_version, kind).await;
        let target = Target {
            resource: &resource,
            namespace,
            name,
        };
        self.cluster.get(target).await.expect("the server answers")
    }

    /// Changes an object by a merge patch.
    pub async fn patch(&self, of: &[&str; 4], body: Value) -> Value {
        self.change(of, None, body).await
    }

    /// Changes the status of an object by a merge patch.
    pub async fn patch_status(&self, of: &[&str; 4], body: Value) -> Value {
        self.change(of, Some("status"), body).await
    }

    async fn change(&self, of: &[&str; 4], subresource: Option<&str>, body: Value) -> Value {
        let resource = self.kind(of[0], of[1]).await;
        let target = Target {
            resource: &resource,
            namespace: of[2],
            name: of[3],
        };
        let patch = Patch {
            kind: PatchKind::Merge,
            subresource,
            manager: "test",
            body: &body,
            dry_run: false,
        };
        self.cluster.patch(target, patch).await.expect("the patch fits")
    }

    /// Deletes an object.
    pub async fn delete(&self, of: &[&str; 4]) {
        let resource = self.kind(of[0], of[1]).await;
        let target = Target {
            resource: &resource,
            namespace: of[2],
            name: of[3],
        };
        self.cluster
            .delete(target, Delete::default())
            .await
            .expect("it can be deleted");
    }

    /// Objects of a kind.
    pub async fn list(&self, api_version: &str, kind: &str) -> Vec<Value> {
        let resource = self.kind(api_version, kind).await;
        self.cluster
            .list(&resource, &Select::default())
            .await
            .expect("the server answers")
    }

    /// Waits until an object is as wanted.
    pub async fn until(
        &self,
        of: &[&str; 4],
        what: &str,
        wanted: impl Fn(Option<&Value>) -> bool,
    ) -> Option<Value> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let object = self.get(of[0], of[1], of[2], of[3]).await;
            if wanted(object.as_ref()) {
                return object;
            }
            if tokio::time::Instant::now() > deadline {
                let text = object.map(|object| serde_json::to_string_pretty(&object).expect("JSON"));
                panic!(
                    "{of:?} is not {what}: {}",
                    text.unwrap_or_else(|| "absent".to_owned())
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until an object is gone.
    pub async fn gone(&self, of: &[&str; 4]) {
        self.until(of, "gone", |object| object.is_none()).await;
    }

    /// Commits files to the repository `fleet`; gives the revision.
    pub fn commit(&self, files: &[(&str, &str)]) -> String {
        self.fakes
            .repositories
            .commit(&url("fleet"), crate::fakes::tree(files))
    }

    /// Asks for a run, and waits until it was done.
    pub async fn request(&self, of: &[&str; 4], token: &str) -> Value {
        let annotations = json!({"reconcile.fluxcd.io/requestedAt": token});
        self.patch(of, json!({"metadata": {"annotations": annotations}}))
            .await;
        self.until(of, "at the request", |object| {
            object.is_some_and(|object| object["status"]["lastHandledReconcileAt"] == token)
        })
        .await
        .expect("it is there")
    }

    /// How much the controllers have written since they started, events aside.
    pub fn writes(&self) -> u64 {
        let metrics = &self.controllers().metrics;
        ["object", "status", "finalizer", "release"]
            .iter()
            .map(|what| metrics.writes(what))
            .sum()
    }

    /// Waits until the controllers have nothing to do.
    pub async fn quiet(&self) {
        let controllers = self.controllers();
        controllers.git_repositories.complete().await;
        controllers.kustomizations.complete().await;
        controllers.helm_releases.complete().await;
        let mut last = u64::MAX;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = self.writes();
            if now == last {
                return;
            }
            last = now;
        }
    }

    /// Waits until a Kustomization is ready at a revision.
    pub async fn applied(&self, of: &[&str; 4], revision: &str) -> Value {
        self.until(of, &format!("ready at {revision}"), |object| {
            object.is_some_and(|object| {
                object["status"]["lastAppliedRevision"] == revision
                    && condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
            })
        })
        .await
        .expect("it is there")
    }

    /// Waits for a condition.
    pub async fn condition(&self, of: &[&str; 4], kind: &str, status: &str, reason: &str) -> Value {
        let what = format!("{kind}={status} ({reason})");
        self.until(of, &what, |object| {
            object
                .and_then(|object| condition(object, kind))
                .is_some_and(|found| found["status"] == status && found["reason"] == reason)
        })
        .await
        .expect("it is there")
    }
}

/// A condition of an object.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object
        .pointer("/status/conditions")?
        .as_array()?
        .iter()
        .find(|found| found["type"] == kind)
}

/// What an object's Ready condition says.
pub fn message(object: &Value) -> &str {
    condition(object, "Ready")
        .and_then(|ready| ready["message"].as_str())
        .unwrap_or_default()
}

/// A Kustomization of the repository `fleet`, with changes to its spec.
pub fn kustomization(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"interval": "1h", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "fleet"}},
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

/// What a Kustomization is called.
pub fn ks(name: &str) -> [&str; 4] {
    ["kustomize.toolkit.fluxcd.io/v1", "Kustomization", "default", name]
}

/// A GitRepository.
pub fn git_repository(name: &str) -> Value {
    json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"url": format!("https://git.test/{name}"), "interval": "1h"},
    })
}

/// What a GitRepository is called.
pub fn repository(name: &str) -> [&str; 4] {
    ["source.toolkit.fluxcd.io/v1", "GitRepository", "default", name]
}

/// Its URL.
pub fn url(name: &str) -> String {
    format!("https://git.test/{name}")
}

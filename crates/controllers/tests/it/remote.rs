//! Kustomizations for other clusters: what they hold is applied, kept and deleted there.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fluvial_apiserver::ApiServer;
use fluvial_controllers::ports::{Cluster, Resource, Target};
use serde_json::{Value, json};

use crate::helm_releases::{hr, ready, release, serve, stored};
use crate::kustomizations::{config, config_map};
use crate::world::{World, client, condition, git_repository, ks, kustomization, message};

/// Another cluster, and its ConfigMaps.
pub struct Other(Arc<dyn Cluster>);

impl Other {
    pub fn new(world: &World, kubeconfig: &str) -> Self {
        let server = ApiServer::new(fluvial_apiserver::Config::default()).expect("a server in memory starts");
        let cluster: Arc<dyn Cluster> = Arc::new(client(&server));
        let known = &world.fakes.remotes.0;
        known
            .lock()
            .unwrap()
            .insert(kubeconfig.as_bytes().to_vec(), Arc::clone(&cluster));
        Self(cluster)
    }

    pub async fn config_map(&self, name: &str) -> Option<Value> {
        self.get("ConfigMap", name).await
    }

    async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let resource: Arc<Resource> = self.0.resource("v1", kind).await.expect("served");
        let target = Target {
            resource: &resource,
            namespace: "default",
            name,
        };
        self.0.get(target).await.expect("the server answers")
    }
}

fn kubeconfig(name: &str, key: &str, content: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
        "data": {key: STANDARD.encode(content)}})
}

fn far(name: &str, secret: &str) -> Value {
    kustomization(name, json!({"kubeConfig": {"secretRef": {"name": secret}}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_go_to_the_cluster_that_the_kubeconfig_names_and_are_deleted_there() {
    let mut world = World::new().await;
    let other = Other::new(&world, "other");
    world.create(kubeconfig("far", "value.yaml", "other")).await;
    world.commit(&[("a.yaml", &config("a", "one")), ("b.yaml", &config("b", "one"))]);
    world.create(git_repository("fleet")).await;
    world.create(far("apps", "far")).await;
    let of = ks("apps");
    world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;
    assert_eq!(
        other.config_map("a").await.expect("applied there")["data"]["key"],
        "one"
    );
    assert!(world.get("v1", "ConfigMap", "default", "a").await.is_none());

    // Here somebody wants the same names, which is nothing to the other cluster.
    world.create(kustomization("here", json!({}))).await;
    world
        .condition(&ks("here"), "Ready", "True", "ReconciliationSucceeded")
        .await;
    world.delete(&of).await;
    world.gone(&of).await;
    assert!(other.config_map("a").await.is_none() && other.config_map("b").await.is_none());
    assert!(world.get("v1", "ConfigMap", "default", "a").await.is_some());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_the_source_leaves_the_other_cluster_and_its_health_counts() {
    let mut world = World::new().await;
    let other = Other::new(&world, "other");
    world.create(kubeconfig("far", "value", "other")).await;
    world.commit(&[("a.yaml", &config("a", "one")), ("b.yaml", &config("b", "one"))]);
    world.create(git_repository("fleet")).await;
    let spec = json!({"kubeConfig": {"secretRef": {"name": "far"}},         "healthChecks": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "b", "namespace": "default"}]});
    world.create(kustomization("apps", spec)).await;
    let of = ks("apps");
    world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;
    world.commit(&[("a.yaml", &config("a", "two"))]);
    // What must be healthy is looked for in the other cluster, and is there no more.
    let waiting = world.condition(&of, "Ready", "Unknown", "Progressing").await;
    let doing = condition(&waiting, "Reconciling").expect("there");
    let text = doing["message"].as_str().unwrap_or_default();
    assert!(text.starts_with("Running health checks"), "{waiting}");
    assert!(other.config_map("b").await.is_none());
    assert_eq!(other.config_map("a").await.expect("there")["data"]["key"], "two");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_kubeconfig_a_kustomization_waits_and_can_still_be_deleted() {
    let mut world = World::new().await;
    world.commit(&[("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    world.create(far("apps", "far")).await;
    let of = ks("apps");
    let failed = world
        .condition(&of, "Ready", "False", "ReconciliationFailed")
        .await;
    assert_eq!(
        message(&failed),
        "failed to build kube client: unable to read KubeConfig secret 'default/far' error: secrets \"far\" not found"
    );
    let other = Other::new(&world, "other");
    world.create(kubeconfig("far", "config", "other")).await;
    world
        .until(&of, "failed at the key", |object| {
            object.is_some_and(|object| {
                message(object).ends_with(
                    "KubeConfig secret 'default/far' does not contain a 'value' nor 'value.yaml' key with data",
                )
            })
        })
        .await;
    let entry = json!({"data": {"value": STANDARD.encode("other")}});
    world.patch(&["v1", "Secret", "default", "far"], entry).await;
    world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;
    assert!(other.config_map("a").await.is_some());
    // Nobody can reach the other cluster any more: its objects stay, and the Kustomization goes.
    world.delete(&["v1", "Secret", "default", "far"]).await;
    world.delete(&of).await;
    world.gone(&of).await;
    assert!(other.config_map("a").await.is_some());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_trusts_our_tokens_is_reached_with_one() {
    let mut world = World::new().await;
    let other = Other::new(&world, "https://far.example true");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "far", "namespace": "default"},
        "data": {"provider": "generic", "address": "https://far.example", "serviceAccountName": "default"}});
    world.create(map).await;
    world.commit(&[("a.yaml", &config("a", "one"))]);
    world.create(git_repository("fleet")).await;
    world
        .create(kustomization(
            "apps",
            json!({"kubeConfig": {"configMapRef": {"name": "far"}}}),
        ))
        .await;
    let of = ks("apps");
    world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;
    assert!(other.config_map("a").await.is_some());
    let aws = json!({"data": {"provider": "aws", "cluster": "arn:aws:eks:eu-west-1:1:cluster/a"}});
    world.patch(&config_map("far"), aws).await;
    let failed = world
        .condition(&of, "Ready", "False", "ReconciliationFailed")
        .await;
    assert!(
        message(&failed).contains("provider 'aws' is not supported"),
        "{failed}"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_and_its_versions_live_in_the_cluster_that_the_kubeconfig_names() {
    let mut world = World::new().await;
    let other = Other::new(&world, "other");
    serve(&world).await;
    // Values come from here, where the HelmRelease is.
    let values = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"},
        "data": {"values.yaml": "size: 5"}});
    world.create(values).await;
    let spec = json!({"kubeConfig": {"secretRef": {"name": "far"}}, "driftDetection": {"mode": "enabled"},
        "valuesFrom": [{"kind": "ConfigMap", "name": "settings"}]});
    world.create(release("web", spec)).await;
    let of = hr("web");
    let failed = world.condition(&of, "Ready", "False", "RESTClientError").await;
    assert_eq!(
        message(&failed),
        "unable to read KubeConfig secret 'default/far' error: secrets \"far\" not found"
    );
    world.create(kubeconfig("far", "value", "other")).await;
    ready(&world, "web", "InstallSucceeded").await;
    assert_eq!(
        other.config_map("web-config").await.expect("applied there")["data"]["size"],
        "5"
    );
    assert!(other.get("Secret", "sh.helm.release.v1.web.v1").await.is_some());
    assert!(
        world
            .get("v1", "ConfigMap", "default", "web-config")
            .await
            .is_none()
    );
    assert!(stored(&world, "web").await.is_empty());

    world
        .patch(
            &config_map("settings"),
            json!({"data": {"values.yaml": "size: 6"}}),
        )
        .await;
    ready(&world, "web", "UpgradeSucceeded").await;
    assert_eq!(
        other.config_map("web-config").await.expect("there")["data"]["size"],
        "6"
    );

    world.delete(&of).await;
    world.gone(&of).await;
    assert!(other.config_map("web-config").await.is_none());
    assert!(other.get("Secret", "sh.helm.release.v1.web.v1").await.is_none());
    assert!(other.get("Secret", "sh.helm.release.v1.web.v2").await.is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_cluster_nobody_can_reach_any_more_is_left_there() {
    let mut world = World::new().await;
    let other = Other::new(&world, "https://far.example true");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "far", "namespace": "default"},
        "data": {"provider": "generic", "address": "https://far.example", "serviceAccountName": "default"}});
    world.create(map).await;
    serve(&world).await;
    let spec = json!({"kubeConfig": {"configMapRef": {"name": "far"}}});
    world.create(release("web", spec)).await;
    ready(&world, "web", "InstallSucceeded").await;
    assert!(other.config_map("web-config").await.is_some());
    world.delete(&config_map("far")).await;
    world.delete(&hr("web")).await;
    world.gone(&hr("web")).await;
    assert!(other.config_map("web-config").await.is_some());
    assert!(other.get("Secret", "sh.helm.release.v1.web.v1").await.is_some());
    world.stop().await;
}

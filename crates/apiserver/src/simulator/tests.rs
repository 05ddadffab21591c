//! The simulator as its users see it: objects go in, statuses come out.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{ApiServer, Config, User};

struct Cluster(ApiServer);

impl Cluster {
    fn start() -> Self {
        Cluster(ApiServer::new(Config::default()).unwrap())
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let kind = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        request
            .extensions_mut()
            .insert(User::new("admin", &["system:masters"]));
        let response = self.0.service().oneshot(request).await.unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    async fn create(&self, path: &str, body: Value) {
        let made = self.call("POST", path, body).await;
        assert!(made["metadata"]["uid"].is_string(), "{made}");
    }

    /// Waits until an object is as wanted.
    async fn wait(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..300 {
            last = self.call("GET", path, json!({})).await;
            if wanted(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} never became what it should: {last:#}");
    }
}

fn workload(kind: &str, name: &str, annotations: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "annotations": annotations},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "example.com/main:1", "ports": [{"containerPort": 8080}]}]}}}})
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let list = object["status"]["conditions"].as_array();
    list.into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind)
        .map_or("", |condition| condition["reason"].as_str().unwrap_or(""))
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn path(collection: &str, name: &str) -> String {
    format!("{collection}/{name}")
}

#[tokio::test]
async fn a_deployment_runs_rolls_over_and_is_found_by_its_service() {
    let cluster = Cluster::start();
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    cluster
        .create("/api/v1/namespaces/default/services", service)
        .await;
    cluster
        .create(DEPLOYMENTS, workload("Deployment", "web", &json!({})))
        .await;
    let complete = |object: &Value| {
        object["status"]["availableReplicas"] == 3
            && object["status"]["updatedReplicas"] == 3
            && object["status"]["replicas"] == 3
            && object["status"]["observedGeneration"] == object["metadata"]["generation"]
    };
    let web = path(DEPLOYMENTS, "web");
    let found = cluster.wait(&web, complete).await;
    assert_eq!(condition(&found, "Progressing"), "NewReplicaSetAvailable");
    assert_eq!(
        found["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    let endpoints = "/api/v1/namespaces/default/endpoints/web";
    cluster
        .wait(endpoints, |object| {
            let ready = &object["subsets"][0];
            ready["addresses"].as_array().is_some_and(|list| list.len() == 3)
                && ready["ports"][0]["port"] == 8080
        })
        .await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example.com/main:2"}]}}}});
    cluster.call("PATCH", &web, image).await;
    let found = cluster.wait(&web, complete).await;
    assert_eq!(
        found["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    let pods = cluster
        .wait("/api/v1/namespaces/default/pods", |list| {
            list["items"].as_array().is_some_and(|items| items.len() == 3)
        })
        .await;
    let images = pods["items"].as_array().unwrap().iter();
    assert!(
        images
            .map(|pod| &pod["spec"]["containers"][0]["image"])
            .all(|image| image == "example.com/main:2")
    );
}

#[tokio::test]
async fn nothing_is_written_once_all_is_as_wished() {
    let cluster = Cluster::start();
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        let mut object = workload(kind, "it", &json!({}));
        object["spec"]["template"]["metadata"]["labels"]["kind"] = kind.into();
        object["spec"]["selector"]["matchLabels"]["kind"] = kind.into();
        if kind == "DaemonSet" {
            object["spec"].as_object_mut().unwrap().remove("replicas");
        }
        let plural = format!("{}s", kind.to_lowercase());
        cluster
            .create(&format!("/apis/apps/v1/namespaces/default/{plural}"), object)
            .await;
        let field = if kind == "DaemonSet" {
            "numberReady"
        } else {
            "readyReplicas"
        };
        let wanted = if kind == "DaemonSet" { 1 } else { 3 };
        cluster
            .wait(
                &format!("/apis/apps/v1/namespaces/default/{plural}/it"),
                |object| object["status"][field] == wanted,
            )
            .await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = cluster.0.api().store.version();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(cluster.0.api().store.version(), before);
}

#[tokio::test]
async fn a_failure_is_rehearsed_and_mended_by_annotation() {
    let cluster = Cluster::start();
    let script = json!({super::OUTCOME: "fail"});
    cluster
        .create(DEPLOYMENTS, workload("Deployment", "web", &script))
        .await;
    let web = path(DEPLOYMENTS, "web");
    let found = cluster
        .wait(&web, |object| {
            condition(object, "Progressing") == "ProgressDeadlineExceeded"
        })
        .await;
    assert_eq!(condition(&found, "Available"), "MinimumReplicasUnavailable");
    let mended = json!({"metadata": {"annotations": {super::OUTCOME: null}}});
    cluster.call("PATCH", &web, mended).await;
    cluster
        .wait(&web, |object| {
            condition(object, "Progressing") == "NewReplicaSetAvailable"
        })
        .await;
}

#[tokio::test]
async fn what_is_delayed_comes_later() {
    let cluster = Cluster::start();
    let script = json!({super::DELAY: "2s"});
    cluster
        .create(DEPLOYMENTS, workload("Deployment", "web", &script))
        .await;
    let web = path(DEPLOYMENTS, "web");
    let found = cluster
        .wait(&web, |object| {
            condition(object, "Progressing") == "ReplicaSetUpdated"
        })
        .await;
    assert!(found["status"]["readyReplicas"].is_null());
    cluster
        .wait(&web, |object| object["status"]["readyReplicas"] == 3)
        .await;
}

#[tokio::test]
async fn a_stateful_set_has_numbered_pods_with_bound_claims() {
    let cluster = Cluster::start();
    let mut object = workload("StatefulSet", "db", &json!({}));
    object["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    cluster
        .create("/apis/apps/v1/namespaces/default/statefulsets", object)
        .await;
    cluster
        .wait("/apis/apps/v1/namespaces/default/statefulsets/db", |object| {
            object["status"]["readyReplicas"] == 3
                && object["status"]["currentRevision"] == object["status"]["updateRevision"]
        })
        .await;
    let claim = "/api/v1/namespaces/default/persistentvolumeclaims/data-db-2";
    let claim = cluster
        .wait(claim, |object| object["status"]["phase"] == "Bound")
        .await;
    let volume = format!(
        "/api/v1/persistentvolumes/{}",
        claim["spec"]["volumeName"].as_str().unwrap()
    );
    cluster
        .call(
            "DELETE",
            "/apis/apps/v1/namespaces/default/statefulsets/db",
            json!({}),
        )
        .await;
    cluster
        .call(
            "DELETE",
            "/api/v1/namespaces/default/persistentvolumeclaims/data-db-2",
            json!({}),
        )
        .await;
    cluster.wait(&volume, |object| object["code"] == 404).await;
}

#[tokio::test]
async fn jobs_end_well_or_as_told() {
    let cluster = Cluster::start();
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    for (name, outcome, wanted) in [
        ("good", "healthy", "CompletionsReached"),
        ("bad", "fail", "BackoffLimitExceeded"),
    ] {
        let job = json!({"metadata": {"name": name, "annotations": {super::OUTCOME: outcome}}, "spec": {"completions": 3,
            "parallelism": 2, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}}});
        cluster.create(jobs, job).await;
        let kind = if name == "good" { "Complete" } else { "Failed" };
        let job = cluster
            .wait(&path(jobs, name), |object| condition(object, kind) == wanted)
            .await;
        assert!(job["status"]["active"].is_null());
    }
}

#[tokio::test]
async fn budgets_and_autoscalers_follow_their_pods() {
    let cluster = Cluster::start();
    cluster
        .create(DEPLOYMENTS, workload("Deployment", "web", &json!({})))
        .await;
    let budget = json!({"metadata": {"name": "web"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    cluster.create(budgets, budget).await;
    let scaler = json!({"metadata": {"name": "web"}, "spec": {"minReplicas": 5, "maxReplicas": 9,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    let scalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    cluster.create(scalers, scaler).await;
    cluster
        .wait(&path(budgets, "web"), |object| {
            object["status"]["expectedPods"] == 5 && object["status"]["disruptionsAllowed"] == 1
        })
        .await;
    let scaler = cluster
        .wait(&path(scalers, "web"), |object| {
            object["status"]["currentReplicas"] == 5
        })
        .await;
    assert_eq!(condition(&scaler, "ScalingActive"), "ValidMetricFound");
}

#[tokio::test]
async fn a_namespace_with_workloads_is_emptied() {
    let cluster = Cluster::start();
    cluster
        .create("/api/v1/namespaces", json!({"metadata": {"name": "gone"}}))
        .await;
    let deployments = "/apis/apps/v1/namespaces/gone/deployments";
    cluster
        .create(deployments, workload("Deployment", "web", &json!({})))
        .await;
    cluster
        .wait(&path(deployments, "web"), |object| {
            object["status"]["readyReplicas"] == 3
        })
        .await;
    cluster.call("DELETE", "/api/v1/namespaces/gone", json!({})).await;
    cluster
        .wait("/api/v1/namespaces/gone", |object| object["code"] == 404)
        .await;
    let pods = cluster
        .call("GET", "/api/v1/namespaces/gone/pods", json!({}))
        .await;
    assert_eq!(pods["items"], json!([]));
}

#[tokio::test]
async fn a_pod_whose_init_container_goes_on_beside_the_others_is_ready() {
    let cluster = Cluster::start();
    let mut web = workload("Deployment", "web", &json!({}));
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "failureThreshold": 3,
        "initialDelaySeconds": 0, "periodSeconds": 10, "timeoutSeconds": 5});
    web["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "beside", "image": "example.com/beside:1",
        "restartPolicy": "Always", "livenessProbe": probe, "readinessProbe": probe}]);
    cluster.create(DEPLOYMENTS, web).await;
    let ready = |object: &Value| object["status"]["availableReplicas"] == 3;
    cluster.wait(&path(DEPLOYMENTS, "web"), ready).await;
    let pods = cluster
        .call("GET", "/api/v1/namespaces/default/pods", json!({}))
        .await;
    for pod in pods["items"].as_array().unwrap() {
        let beside = &pod["status"]["initContainerStatuses"][0];
        assert_eq!(
            (&beside["ready"], &beside["started"]),
            (&json!(true), &json!(true)),
            "{pod:#}"
        );
        assert!(beside["state"]["running"].is_object(), "{pod:#}");
    }
}

#[tokio::test]
async fn pods_that_a_quota_refuses_are_tried_again_without_a_rush() {
    let cluster = Cluster::start();
    let quota = json!({"metadata": {"name": "tenant"}, "spec": {"hard": {"requests.cpu": "4"}}});
    cluster
        .create("/api/v1/namespaces/default/resourcequotas", quota)
        .await;
    cluster
        .create(DEPLOYMENTS, workload("Deployment", "web", &json!({})))
        .await;
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let refused = |list: &Value| condition(&list["items"][0], "ReplicaFailure") == "FailedCreate";
    let version = |list: &Value| list["items"][0]["metadata"]["resourceVersion"].clone();
    cluster.wait(sets, refused).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = cluster.call("GET", sets, json!({})).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = cluster.call("GET", sets, json!({})).await;
    assert_eq!(version(&before), version(&after), "{after:#}");
}

#[tokio::test]
async fn a_stateful_set_whose_pods_are_refused_says_so_in_one_event() {
    let cluster = Cluster::start();
    let quota = json!({"metadata": {"name": "tenant"}, "spec": {"hard": {"pods": "1"}}});
    cluster
        .create("/api/v1/namespaces/default/resourcequotas", quota)
        .await;
    let sets = "/apis/apps/v1/namespaces/default/statefulsets";
    cluster
        .create(sets, workload("StatefulSet", "db", &json!({})))
        .await;
    let events =
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind=StatefulSet,reason=FailedCreate";
    // It is tried again, and counted.
    let list = cluster
        .wait(events, |list| {
            list["items"][0]["count"].as_i64().is_some_and(|count| count > 1)
        })
        .await;
    let event = &list["items"][0];
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list:#}");
    assert_eq!(
        (
            &event["type"],
            &event["involvedObject"]["name"],
            &event["source"]["component"]
        ),
        (&json!("Warning"), &json!("db"), &json!("statefulset-controller"))
    );
    let message = event["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "create Pod db-1 in StatefulSet db failed error: pods \"db-1\" is forbidden: exceeded quota: tenant"
        ),
        "{message}"
    );
    let set = cluster.call("GET", &path(sets, "db"), json!({})).await;
    assert_eq!(set["status"]["replicas"], 1, "{set:#}");
}

//! What goes together: the end of a job, the growth of a claim, addresses and the rest of a service, and what a policy
//! may be asked.

use serde_json::{Value, json};

use crate::hooks::Cluster;

const NS: &str = "/api/v1/namespaces/default";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

async fn patched(cluster: &Cluster, path: &str, patch: Value) -> (u16, String) {
    let (status, answer) = crate::neighbours::merged(cluster, path, patch).await;
    (status, answer["message"].as_str().unwrap_or("").to_owned())
}

fn job() -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"completions": 3, "parallelism": 3,
        "completionMode": "Indexed", "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}})
}

#[tokio::test]
async fn a_job_ends_with_all_that_goes_with_it() {
    let cluster = Cluster::start();
    cluster.create(JOBS, job()).await;
    let path = format!("{JOBS}/j/status");
    let done = json!({"type": "Complete", "status": "True"});
    let (status, why) = patched(&cluster, &path, json!({"status": {"conditions": [done]}})).await;
    let want = "Job.batch \"j\" is invalid: [status.completionTime: Required value: completionTime is required for \
                Complete jobs, status.conditions: Invalid value: cannot set Complete=True condition without the \
                SuccessCriteriaMet=true condition, status.startTime: Required value: startTime is required for finished job]";
    assert_eq!((status, why.as_str()), (422, want));
    let begun = json!({"status": {"startTime": "2026-01-01T00:00:00Z", "succeeded": 2}});
    assert_eq!(patched(&cluster, &path, begun).await.0, 200);
    let back = json!({"status": {"startTime": "2026-01-02T00:00:00Z", "succeeded": 1}});
    let (status, why) = patched(&cluster, &path, back).await;
    assert_eq!(status, 422);
    assert!(why.contains("cannot decrease the succeeded counter"), "{why}");
    assert!(why.contains("immutable for unsuspended job once set"), "{why}");
    let met = json!({"type": "SuccessCriteriaMet", "status": "True"});
    let end = json!({"status": {"completionTime": "2026-01-01T00:00:01Z", "conditions": [met, done]}});
    assert_eq!(patched(&cluster, &path, end).await, (200, String::new()));
}

#[tokio::test]
async fn completions_move_with_parallelism() {
    let cluster = Cluster::start();
    cluster.create(JOBS, job()).await;
    let path = format!("{JOBS}/j");
    let (status, why) = patched(&cluster, &path, json!({"spec": {"completions": 4}})).await;
    assert_eq!(status, 422);
    assert!(
        why.ends_with("can only be modified in tandem with spec.parallelism"),
        "{why}"
    );
    let both = json!({"spec": {"completions": 4, "parallelism": 4}});
    assert_eq!(patched(&cluster, &path, both).await.0, 200);
}

#[tokio::test]
async fn a_bound_claim_grows_where_its_class_lets_it() {
    let cluster = Cluster::start();
    for (name, grows) in [("fixed", false), ("growing", true)] {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": "example.com/disk", "allowVolumeExpansion": grows});
        cluster
            .create("/apis/storage.k8s.io/v1/storageclasses", class)
            .await;
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": name, "volumeName": "v",
            "resources": {"requests": {"storage": "1Gi"}}}});
        cluster
            .create(&format!("{NS}/persistentvolumeclaims"), claim)
            .await;
        let path = format!("{NS}/persistentvolumeclaims/{name}");
        let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        assert_eq!(patched(&cluster, &format!("{path}/status"), bound).await.0, 200);
        let more = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        let (status, why) = patched(&cluster, &path, more).await;
        assert_eq!(status, if grows { 200 } else { 403 }, "{why}");
    }
}

#[tokio::test]
async fn services_are_refused_for_their_address_first() {
    let cluster = Cluster::start();
    let path = format!("{NS}/services?dryRun=All");
    let service =
        |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    for (spec, want) in [
        (
            json!({"clusterIP": "x"}),
            "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address",
        ),
        (json!({"clusterIP": "1.2.3.4"}), "failed to allocate IP 1.2.3.4"),
        (json!({"type": "NodePort"}), "spec.ports: Required value"),
    ] {
        let (status, _, answer) = cluster.send("POST", &path, &service(spec)).await;
        let why = answer["message"].as_str().unwrap();
        assert_eq!(status, 422, "{why}");
        assert!(why.contains(want), "{why}");
        assert_eq!(
            answer["details"]["causes"].as_array().map(Vec::len),
            Some(1),
            "{why}"
        );
    }
    // Who names an object that is not there by its UID means another.
    let named = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "uid": "u"}, "spec": {"ports": [{"port": 80}]}});
    let (status, _, answer) = cluster.send("PUT", &format!("{NS}/services/s"), &named).await;
    let why = answer["message"].as_str().unwrap();
    assert_eq!(status, 409, "{why}");
    assert!(
        why.contains("UID in precondition: u, UID in object meta: "),
        "{why}"
    );
}

#[tokio::test]
async fn what_nobody_applied_is_owned_but_for_parts_that_are_always_there() {
    let cluster = Cluster::start();
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    cluster.create(path, deployment.clone()).await;
    let nobody = json!({"metadata": {"managedFields": [{}]}});
    assert_eq!(patched(&cluster, &format!("{path}/d"), nobody).await.0, 200);
    let (status, _, applied) = cluster
        .send("PATCH", &format!("{path}/d?fieldManager=m"), &deployment)
        .await;
    assert_eq!(status, 200, "{applied}");
    let managers = applied["metadata"]["managedFields"].as_array().unwrap();
    let first = managers
        .iter()
        .find(|own| own["manager"] == "before-first-apply")
        .unwrap();
    let spec = &first["fieldsV1"]["f:spec"];
    assert!(spec["f:strategy"]["f:type"].is_object(), "{first}");
    assert!(spec["f:strategy"]["."].is_null(), "{first}");
    assert!(spec["f:template"]["f:metadata"]["."].is_null(), "{first}");
}

#[tokio::test]
async fn a_condition_is_no_field_of_any_kind() {
    let cluster = Cluster::start();
    let hooks = |condition: &str, resources: Value| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "h"}, "webhooks": [{"name": "a.example.com", "admissionReviewVersions": ["v1"],
            "sideEffects": "None", "clientConfig": {"url": "https://127.0.0.1:9/"},
            "matchConditions": [{"name": "m", "expression": condition}],
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": resources}]}]})
    };
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations?dryRun=All";
    for (hooks, want) in [
        (
            hooks("object.spec.x", json!(["pods"])),
            Some("must evaluate to bool but got dyn"),
        ),
        (
            hooks("has(object.spec) ? object.spec.x : false", json!(["pods"])),
            Some("must evaluate to bool but got dyn"),
        ),
        (hooks("object.spec.x == 1", json!(["pods", "pods/status"])), None),
        (
            hooks("true", json!(["*", "pods"])),
            Some("if '*' is present, must not specify other resources without subresources"),
        ),
        (
            hooks("true", json!(["pods/*", "pods/status"])),
            Some("if 'pods/*' is present, must not specify pods/status"),
        ),
    ] {
        let (status, _, answer) = cluster.send("POST", path, &hooks).await;
        let why = answer["message"].as_str().unwrap_or("");
        assert_eq!(status, if want.is_some() { 422 } else { 201 }, "{answer}");
        assert!(why.ends_with(want.unwrap_or("")), "{why}");
    }
}

#[tokio::test]
async fn a_message_asks_nobody_what_is_allowed() {
    let cluster = Cluster::start();
    let asks = "authorizer.path('/').check('get').allowed()";
    let policy = |condition: &str, message: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "p"}, "spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                    "operations": ["CREATE"], "resources": ["configmaps"]}]},
                "variables": [{"name": "who", "expression": "request.userInfo.username"}],
                "validations": [{"expression": condition, "messageExpression": message}]}})
    };
    let path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies?dryRun=All";
    let answer = cluster
        .send("POST", path, &policy(asks, "variables.who + ' may not'"))
        .await;
    assert_eq!(answer.0, 201, "{}", answer.2);
    let (status, _, answer) = cluster
        .send("POST", path, &policy(asks, &format!("string({asks})")))
        .await;
    assert_eq!(status, 422, "{answer}");
    let why = answer["message"].as_str().unwrap();
    assert!(why.contains("messageExpression"), "{why}");
    assert!(why.contains("undeclared reference to 'authorizer'"), "{why}");
}

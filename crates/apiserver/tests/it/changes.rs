//! Changes of built-in kinds: what they count as, what they drop, and what is refused in the words of a real server.

use base64::Engine as _;
use fluvial_apiserver::User;
use serde_json::{Value, json};

use crate::answers::asked;
use crate::hooks::{Cluster, webhook};

const NS: &str = "/api/v1/namespaces/default";

/// Sends a patch of a type; the status and the answer.
async fn patch(cluster: &Cluster, form: &str, path: &str, body: Value) -> (u16, Value) {
    let form = format!("application/{form}-patch+json");
    let headers = [("content-type", form.as_str())];
    asked(cluster, User::admin(), ("PATCH", path), &headers, &body).await
}

async fn merged(cluster: &Cluster, path: &str, body: Value) -> (u16, Value) {
    patch(cluster, "merge", path, body).await
}

fn text(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or("")
}

async fn with_account() -> Cluster {
    let cluster = Cluster::start();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    cluster.create(&format!("{NS}/serviceaccounts"), account).await;
    cluster
}

fn pod(name: &str, container: &Value) -> Value {
    let mut own = json!({"name": "c", "image": "i"});
    for (key, value) in container.as_object().into_iter().flatten() {
        own[key.as_str()] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [own], "automountServiceAccountToken": false}})
}

#[tokio::test]
async fn a_change_is_shown_from_the_first_differing_line_and_tolerations_that_come_back_are_none() {
    let cluster = with_account().await;
    cluster.create(&format!("{NS}/pods"), pod("p", &json!({}))).await;
    let path = format!("{NS}/pods/p");
    let command = json!([{"op": "add", "path": "/spec/containers/0/command", "value": ["a"]}]);
    let (status, answer) = patch(&cluster, "json", &path, command).await;
    assert_eq!(status, 422);
    let wanted = "   \"Image\": \"i\",\n-   \"Command\": null,\n+   \"Command\": [\n+    \"a\"\n+   ],\n    \"Args\": null,\n";
    assert!(text(&answer).contains(wanted), "{}", text(&answer));
    // Admission gives back the tolerations that every pod has: nothing was wished for.
    let (status, answer) = merged(&cluster, &path, json!({"spec": {"tolerations": []}})).await;
    assert_eq!(
        (status, &answer["metadata"]["generation"]),
        (200, &json!(1)),
        "{answer}"
    );
}

/// Doubles what is wished for.
fn double(review: &Value) -> Value {
    let request = &review["request"];
    let patch = json!([{"op": "add", "path": "/spec/replicas", "value": 4}]);
    let patch = base64::engine::general_purpose::STANDARD.encode(patch.to_string());
    json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"],
        "response": {"uid": request["uid"], "allowed": true, "patch": patch, "patchType": "JSONPatch"}})
}

#[tokio::test]
async fn what_a_webhook_undoes_is_no_newer_generation() {
    let cluster = with_account().await;
    let apps = "/apis/apps/v1/namespaces/default/deployments";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    cluster.create(apps, deployment).await;
    let (url, bundle) = webhook(double).await;
    let hook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "h"}, "webhooks": [{"name": "h.example.com", "admissionReviewVersions": ["v1"],
            "sideEffects": "None", "clientConfig": {"url": url, "caBundle": bundle},
            "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"],
                "resources": ["deployments"]}]}]});
    let hooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    assert_eq!(cluster.create(hooks, hook).await.0, 201);
    let path = format!("{apps}/d");
    let (_, answer) = merged(&cluster, &path, json!({"spec": {"replicas": 2}})).await;
    assert_eq!(
        (&answer["spec"]["replicas"], &answer["metadata"]["generation"]),
        (&json!(4), &json!(1))
    );
    let (_, answer) = merged(&cluster, &path, json!({"spec": {"paused": true}})).await;
    assert_eq!(answer["metadata"]["generation"], 2);
}

#[tokio::test]
async fn services_lose_what_belonged_to_their_old_type() {
    let cluster = with_account().await;
    let services = format!("{NS}/services");
    let service = |name: &str, mut spec: Value| {
        spec["ports"] = json!([{"port": 80}]);
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
    };
    let balanced = json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/l"});
    cluster.create(&services, service("s", balanced)).await;
    let path = format!("{services}/s");
    let (_, answer) = merged(
        &cluster,
        &path,
        json!({"spec": {"loadBalancerClass": "example.com/m"}}),
    )
    .await;
    assert!(
        text(&answer)
            .ends_with("spec.loadBalancerClass: Invalid value: \"example.com/m\": may not change once set"),
        "{answer}"
    );
    let (status, answer) = merged(&cluster, &path, json!({"spec": {"type": "ClusterIP"}})).await;
    assert_eq!(status, 200, "{answer}");
    let spec = &answer["spec"];
    for field in [
        "loadBalancerClass",
        "allocateLoadBalancerNodePorts",
        "externalTrafficPolicy",
    ] {
        assert!(spec[field].is_null(), "{field}: {spec}");
    }
    assert!(spec["ports"][0]["nodePort"].is_null(), "{spec}");
    for (spec, wanted) in [
        (
            json!({"ipFamilies": ["IPv6"]}),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
        (
            json!({"clusterIP": "fd00::1"}),
            "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
        ),
        (
            json!({"ipFamilies": ["IPv4", "IPv6"]}),
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
        ),
    ] {
        let (_, _, answer) = cluster.create(&services, service("f", spec)).await;
        assert!(text(&answer).ends_with(wanted), "{answer}");
    }
}

#[tokio::test]
async fn statuses_and_resizes_are_checked() {
    let cluster = with_account().await;
    let resources = json!({"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}});
    for (name, container) in [("plain", json!({})), ("sized", resources)] {
        cluster.create(&format!("{NS}/pods"), pod(name, &container)).await;
    }
    let resize = |name: &str| format!("{NS}/pods/{name}/resize");
    let sized = |part: &str, value: Value| json!({"spec": {"containers": [{"name": "c", "resources": {part: {"cpu": value}}}]}});
    let (_, answer) = patch(
        &cluster,
        "strategic-merge",
        &resize("plain"),
        sized("requests", json!("1")),
    )
    .await;
    let wanted = "spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of resizing";
    assert!(text(&answer).ends_with(wanted), "{answer}");
    let (_, answer) = patch(
        &cluster,
        "strategic-merge",
        &resize("sized"),
        sized("limits", Value::Null),
    )
    .await;
    let wanted = "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed";
    assert!(text(&answer).ends_with(wanted), "{answer}");
    let status = format!("{NS}/pods/plain/status");
    let (_, answer) = merged(&cluster, &status, json!({"status": {"podIP": "x"}})).await;
    assert!(
        text(&answer).contains("status.podIPs[0]: Invalid value: \"x\": must be a valid IP address"),
        "{answer}"
    );
    let (status, answer) = merged(&cluster, &status, json!({"status": {"podIP": "10.1.1.1"}})).await;
    assert_eq!(
        (status, &answer["status"]["podIPs"]),
        (200, &json!([{"ip": "10.1.1.1"}]))
    );
}

#[tokio::test]
async fn what_is_kept_for_life_is_told_before_the_rest() {
    let cluster = with_account().await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass", "metadata": {"name": "c"},
        "driverName": "d.example.com", "parameters": {"a": "b"}});
    let classes = "/apis/storage.k8s.io/v1/volumeattributesclasses";
    assert_eq!(cluster.create(classes, class).await.0, 201);
    let (_, answer) = merged(&cluster, &format!("{classes}/c"), json!({"parameters": null})).await;
    assert!(
        text(&answer).ends_with(
            "[parameters: Forbidden: updates to parameters are forbidden., parameters: Required value: must contain at least one key/value pair]"
        ),
        "{answer}"
    );
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}});
    cluster
        .create(&format!("{NS}/persistentvolumeclaims"), claim)
        .await;
    let path = format!("{NS}/persistentvolumeclaims/c");
    let smaller = json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}});
    let (_, answer) = merged(&cluster, &path, smaller).await;
    let wanted = "-   \"storage\": \"2Gi\"\n+   \"storage\": \"1Gi\"\n   }\n  },\n";
    assert!(text(&answer).contains(wanted), "{}", text(&answer));
}

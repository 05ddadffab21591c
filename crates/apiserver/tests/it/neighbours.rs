//! What lies beside the usual requests: scales and who owns them, versions once served, forms that an answer cannot have,
//! and texts of refusals.

use std::io::Read as _;

use fluvial_apiserver::User;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::answers::asked;
use crate::hooks::Cluster;

const NS: &str = "/api/v1/namespaces/default";
const APPS: &str = "/apis/apps/v1/namespaces/default";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

async fn typed(cluster: &Cluster, form: &str, path: &str, body: &Value) -> (u16, Value) {
    let headers = [("content-type", form)];
    asked(cluster, User::admin(), ("PATCH", path), &headers, body).await
}

pub(crate) async fn merged(cluster: &Cluster, path: &str, body: Value) -> (u16, Value) {
    typed(cluster, "application/merge-patch+json", path, &body).await
}

async fn get(cluster: &Cluster, path: &str, accept: &str) -> (u16, Value) {
    let headers = [("accept", accept)];
    asked(cluster, User::admin(), ("GET", path), &headers, &Value::Null).await
}

fn text(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or("")
}

fn deployment(replicas: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[tokio::test]
async fn who_scales_owns_the_number_until_it_is_applied_by_force() {
    let cluster = Cluster::start();
    let applied = format!("{APPS}/deployments/d?fieldManager=m");
    let (status, _, made) = cluster.send("PATCH", &applied, &deployment(&json!(1))).await;
    assert_eq!(status, 201, "{made}");
    let scale = format!("{APPS}/deployments/d/scale");
    let (status, scaled) = merged(
        &cluster,
        &format!("{scale}?fieldManager=hpa"),
        json!({"spec": {"replicas": 4}}),
    )
    .await;
    assert_eq!(
        (status, &scaled["spec"]),
        (200, &json!({"replicas": 4})),
        "{scaled}"
    );
    let (status, _, refused) = cluster.send("PATCH", &applied, &deployment(&json!(2))).await;
    let conflict = "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas";
    assert_eq!((status, text(&refused)), (409, conflict));
    // An applied scale is told of conflicts in the version of scales.
    let own = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 5}});
    let (status, _, refused) = cluster
        .send("PATCH", &format!("{scale}?fieldManager=other"), &own)
        .await;
    let conflict = "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using autoscaling/v1: .spec.replicas";
    assert_eq!((status, text(&refused)), (409, conflict));
    let forced = format!("{applied}&force=true");
    let (status, _, taken) = cluster.send("PATCH", &forced, &deployment(&json!(2))).await;
    assert_eq!(status, 200, "{taken}");
    let managers = taken["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().all(|entry| entry["manager"] != "hpa"), "{taken}");
}

#[tokio::test]
async fn scales_are_read_as_any_object_is() {
    let cluster = Cluster::start();
    cluster
        .create(&format!("{APPS}/deployments"), deployment(&json!(1)))
        .await;
    let scale = format!("{APPS}/deployments/d/scale");
    let (status, answer) = merged(&cluster, &scale, json!({"spec": {"replicas": "x"}})).await;
    assert_eq!(status, 422);
    let why = "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32";
    assert!(text(&answer).ends_with(why), "{answer}");
    // Who scales to nothing leaves the number to nobody.
    let count = async || {
        let object = get(&cluster, &format!("{APPS}/deployments/d"), "application/json")
            .await
            .1;
        object["metadata"]["managedFields"].as_array().map_or(0, Vec::len)
    };
    merged(&cluster, &scale, json!({"spec": {"replicas": 3}})).await;
    assert_eq!(count().await, 2);
    let nothing =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {}});
    let (status, _, scaled) = cluster.send("PUT", &scale, &nothing).await;
    assert_eq!((status, &scaled["spec"]), (200, &json!({})));
    assert_eq!(count().await, 1);
    let old = json!({"apiVersion": "extensions/v1beta1", "kind": "Scale", "metadata": {"name": "d"}});
    let (status, _, answer) = cluster.send("PUT", &scale, &old).await;
    let why = "the API version in the data (extensions/v1beta1) does not match the expected API version (autoscaling/v1)";
    assert_eq!((status, text(&answer)), (400, why));
    let (status, shown) = get(&cluster, &scale, TABLE).await;
    assert_eq!((status, &shown["kind"]), (200, &json!("Table")));
}

#[tokio::test]
async fn bodies_of_other_versions_and_kinds_are_told_apart() {
    let cluster = Cluster::start();
    let maps = format!("{NS}/configmaps");
    let deployments = format!("{APPS}/deployments");
    for (path, version, kind, why) in [
        (
            &deployments,
            "apps/v1beta2",
            "Deployment",
            "the API version in the data (apps/v1beta2) does not match the expected API version (apps/v1)",
        ),
        (
            &deployments,
            "apps/v1beta3",
            "Deployment",
            "Deployment in version \"v1beta3\" cannot be handled as a Deployment: no kind \"Deployment\" is registered for version \
             \"apps/v1beta3\" in scheme \"pkg/runtime/scheme.go:111\"",
        ),
        (
            &deployments,
            "foo/v1",
            "Status",
            "Status in version \"v1\" cannot be handled as a Deployment: converting (v1.Status) to (apps.Deployment): unknown \
             conversion",
        ),
        (
            &maps,
            "v1",
            "ConfigMapList",
            "ConfigMapList in version \"v1\" cannot be handled as a ConfigMap: converting (v1.ConfigMapList) to (core.ConfigMap): \
             unknown conversion",
        ),
    ] {
        let body = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}});
        let (status, _, answer) = cluster.create(path, body).await;
        assert_eq!((status, text(&answer)), (400, why));
    }
    let (status, answer) = get(&cluster, &format!("{maps}/a%25b"), "application/json").await;
    assert_eq!(
        (status, text(&answer)),
        (400, "Name parameter invalid: \"a%b\": may not contain '%'")
    );
}

#[tokio::test]
async fn what_has_no_table_is_not_shown_as_one() {
    let cluster = Cluster::start();
    let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let body = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let only = [("accept", TABLE), ("content-type", "application/json")];
    let (status, _) = asked(&cluster, User::admin(), ("POST", review), &only, &body).await;
    assert_eq!(status, 406);
    let either = format!("{TABLE},application/json");
    let either = [("accept", either.as_str()), ("content-type", "application/json")];
    let (status, answer) = asked(&cluster, User::admin(), ("POST", review), &either, &body).await;
    assert_eq!((status, &answer["status"]["allowed"]), (201, &json!(true)));
    // What is only asked has no name, and nothing lies below a status.
    for path in [
        format!("{review}/x"),
        format!("{APPS}/deployments/d/status/status"),
    ] {
        assert_eq!(get(&cluster, &path, "application/json").await.0, 404, "{path}");
    }
    // What cannot be done at all cannot be done in any form.
    let (status, _) = get(&cluster, review, TABLE).await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_that() {
    let cluster = Cluster::start();
    let maps = format!("{NS}/configmaps");
    for name in ["a", "b"] {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"k": "x".repeat(100_000)}});
        assert_eq!(cluster.create(&maps, map).await.0, 201);
    }
    for (path, encoding, packed) in [
        (maps.clone(), "br, gzip", true),
        (maps.clone(), "br", false),
        (format!("{maps}/a"), "gzip", false),
    ] {
        let mut request = http::Request::builder()
            .uri(path.as_str())
            .header("accept-encoding", encoding);
        request = request.header("accept", "application/json");
        let mut request = request.body(Full::new(bytes::Bytes::new())).unwrap();
        request.extensions_mut().insert(User::admin());
        let Ok(response) = cluster.0.service().oneshot(request).await;
        let shown = response
            .headers()
            .get("content-encoding")
            .is_some_and(|value| value == "gzip");
        assert_eq!(shown, packed, "{path} {encoding}");
        let Ok(body) = response.into_body().collect().await;
        let body = body.to_bytes();
        let mut text = String::new();
        if packed {
            flate2::read::GzDecoder::new(&body[..])
                .read_to_string(&mut text)
                .unwrap();
        } else {
            text = String::from_utf8(body.to_vec()).unwrap();
        }
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value["metadata"]["resourceVersion"].is_string());
    }
}

#[tokio::test]
async fn names_that_a_definition_may_have_are_one() {
    let cluster = Cluster::start();
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "string"}}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com", "generateName": "g-"}, "spec": {"group": "example.com",
        "scope": "Namespaced", "names": {"plural": "widgets", "kind": "widget!"}, "versions": [version]}});
    let (status, _, answer) = cluster
        .create(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            definition,
        )
        .await;
    assert_eq!(status, 422);
    let fields: Vec<&str> = answer["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|cause| cause["field"].as_str())
        .collect();
    assert_eq!(fields.first(), Some(&"metadata.generateName"), "{answer}");
    // What all versions say comes after the names.
    let place = |wanted: &str| fields.iter().position(|field| field.starts_with(wanted));
    assert!(
        place("spec.names.kind") < place("spec.validation.openAPIV3Schema"),
        "{answer}"
    );
}

#[tokio::test]
async fn some_statuses_come_without_labels() {
    let cluster = Cluster::start();
    let path = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
    let level = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": "own", "labels": {"a": "b"}}, "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}});
    assert_eq!(cluster.create(path, level).await.0, 201);
    let change = json!({"metadata": {"labels": {"c": "d"}, "annotations": {"e": "f"}}});
    let (status, level) = merged(&cluster, &format!("{path}/own/status"), change).await;
    assert_eq!(
        (status, &level["metadata"]["labels"]),
        (200, &json!({"a": "b"})),
        "{level}"
    );
    assert!(level["metadata"]["annotations"].is_null(), "{level}");
}

#[tokio::test]
async fn a_rehearsed_service_takes_no_address_from_another() {
    let cluster = Cluster::start();
    let service = |name: &str, spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec});
    let services = format!("{NS}/services");
    let own =
        json!({"clusterIP": "10.0.0.77", "type": "NodePort", "ports": [{"port": 80, "nodePort": 31_999}]});
    let (status, _, made) = cluster.create(&services, service("a", own.clone())).await;
    assert_eq!(status, 201, "{made}");
    let rehearsed = format!("{services}?dryRun=All");
    let same = json!({"clusterIP": "10.0.0.77", "ports": [{"port": 80}]});
    let (status, _, answer) = cluster.create(&rehearsed, service("b", same.clone())).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(cluster.create(&services, service("b", same)).await.0, 422);
    let same = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 31_999}]});
    let (_, _, answer) = cluster.create(&rehearsed, service("b", same)).await;
    let why = "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: 31999: provided port is already allocated";
    assert_eq!(text(&answer), why);
    // The place that is told is the reference's.
    let mut other = service("a", own);
    other["metadata"]["uid"] = "11111111-1111-4111-8111-111111111111".into();
    let (status, _, answer) = cluster.send("PUT", &format!("{services}/a"), &other).await;
    assert_eq!(status, 409);
    assert!(
        text(&answer).contains("Key: /registry/services/specs/default/a, "),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_made_typed_again_is_refused_by_its_type() {
    let cluster = Cluster::start();
    cluster
        .create(&format!("{APPS}/deployments"), deployment(&json!(1)))
        .await;
    let path = format!("{APPS}/deployments/d");
    let strategic = "application/strategic-merge-patch+json";
    let (_, answer) = typed(
        &cluster,
        strategic,
        &path,
        &json!({"spec": {"strategy": {"type": 7}}}),
    )
    .await;
    let why = "cannot convert int64 to v1.DeploymentStrategyType";
    assert!(text(&answer).ends_with(why), "{answer}");
    let patch = json!({"spec": {"template": {"spec": {"containers": ["x"]}}}});
    let (_, answer) = typed(&cluster, strategic, &path, &patch).await;
    assert!(
        text(&answer).starts_with("list element types are not identical: [[map["),
        "{answer}"
    );
    assert!(text(&answer).ends_with("]] [x]]"), "{answer}");
    let (status, _, answer) = cluster
        .send(
            "PATCH",
            &format!("{path}?fieldManager=m&force=true"),
            &deployment(&json!(1.5)),
        )
        .await;
    let why = "failed to convert new object (/d; apps/v1, Kind=Deployment) to proper version: unable to convert unstructured \
               object to apps/v1, Kind=Deployment: cannot convert float64 to int32";
    assert_eq!((status, text(&answer)), (500, why));
}

//! Answers of the server beyond refusals of single fields: warnings, acting as others, admission, controllers.

use fluvial_apiserver::User;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::hooks::Cluster;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1";

/// Sends a request as somebody, with headers; its status and body.
pub(crate) async fn asked(
    cluster: &Cluster,
    user: User,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &Value,
) -> (u16, Value) {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request
        .body(Full::new(bytes::Bytes::from(body.to_string())))
        .unwrap();
    request.extensions_mut().insert(user);
    let Ok(response) = cluster.0.service().oneshot(request).await;
    let status = response.status().as_u16();
    let Ok(body) = response.into_body().collect().await;
    (
        status,
        serde_json::from_slice(&body.to_bytes()).unwrap_or_default(),
    )
}

/// Reads until an answer is as wanted; the last one if it never is.
async fn seen(cluster: &Cluster, path: &str, wanted: fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..500 {
        last = cluster.send("GET", path, &Value::Null).await.2;
        if wanted(&last) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    last
}

fn template(spec: &Value) -> Value {
    let mut whole = json!({"containers": [{"name": "c", "image": "i"}]});
    for (field, value) in spec.as_object().unwrap() {
        whole[field.as_str()] = value.clone();
    }
    json!({"metadata": {"labels": {"a": "b"}}, "spec": whole})
}

fn workload(version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn what_is_doubtful_is_warned_of() {
    let cluster = Cluster::start();
    let selector = json!({"matchLabels": {"a": "b"}});
    let deployment = |spec: Value| {
        let spec = json!({"selector": selector, "template": template(&spec)});
        (
            "/apis/apps/v1/namespaces/default/deployments",
            workload("apps/v1", "Deployment", "a.b", &spec),
        )
    };
    let service = |spec: Value| {
        (
            "/api/v1/namespaces/default/services",
            workload("v1", "Service", "s", &spec),
        )
    };
    let dotted = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS \
                  label is recommended: [must not contain dots]";
    let cases: Vec<((&str, Value), Vec<&str>)> = vec![
        (
            deployment(json!({"hostAliases": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}]})),
            vec![
                dotted,
                "spec.template.spec.hostAliases[1].ip: duplicate ip \\\"1.2.3.4\\\"",
            ],
        ),
        (
            deployment(
                json!({"volumes": [{"name": "v", "configMap": {"name": "m", "items": [
                {"key": "a", "path": "x"}, {"key": "b", "path": "x/y"}]}}]}),
            ),
            vec![
                dotted,
                "volume \\\"v\\\" (ConfigMap \\\"m\\\"): overlapping paths: \\\"x/y\\\" with \\\"x\\\"",
            ],
        ),
        (
            service(
                json!({"ports": [{"port": 80}], "externalIPs": ["1.2.3.4"], "trafficDistribution": "PreferClose"}),
            ),
            vec![
                "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
                "spec.trafficDistribution: \\\"PreferClose\\\" is deprecated; use \\\"PreferSameZone\\\"",
            ],
        ),
        (
            (
                "/apis/storage.k8s.io/v1/csidrivers",
                workload(
                    "storage.k8s.io/v1",
                    "CSIDriver",
                    "d",
                    &json!({"tokenRequests": [{"audience": "a"}]}),
                ),
            ),
            vec![
                "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent \
                 possible logging of tokens in volume attributes",
            ],
        ),
        (
            (
                "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
                workload(
                    "networking.k8s.io/v1",
                    "NetworkPolicy",
                    "n",
                    &json!({"podSelector": {},
                    "egress": [{"to": [{"ipBlock": {"cidr": "10.1.2.3/8"}}]}]}),
                ),
            ),
            vec![
                "spec.egress[0].to[0].ipBlock.cidr: CIDR value \\\"10.1.2.3/8\\\" is ambiguous in this context (should be \
                 \\\"10.0.0.0/8\\\" or \\\"10.1.2.3/32\\\"?)",
            ],
        ),
    ];
    for ((path, object), wanted) in cases {
        let (status, warnings, answer) = cluster.send("POST", &format!("{path}?dryRun=All"), &object).await;
        assert_eq!(status, 201, "{answer}");
        let wanted: Vec<String> = wanted.iter().map(|text| format!("299 - \"{text}\"")).collect();
        assert_eq!(warnings, wanted, "{object}");
    }
}

#[tokio::test]
async fn people_are_impersonated_for_what_is_allowed_as_them_only() {
    let cluster = Cluster::start();
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"},
        "rules": [
            {"verbs": ["impersonate:user-info"], "apiGroups": ["authentication.k8s.io"], "resources": ["users"],
                "resourceNames": ["jane"]},
            {"verbs": ["impersonate-on:user-info:list"], "apiGroups": [""], "resources": ["configmaps"]}]});
    cluster.create(&format!("{RBAC}/clusterroles"), role).await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "b"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}]});
    cluster
        .create(&format!("{RBAC}/clusterrolebindings"), binding)
        .await;
    let message = async |path: &str, name: &str| {
        let headers = [("impersonate-user", name)];
        let request = ("GET", path);
        asked(&cluster, User::new("bob", &[]), request, &headers, &Value::Null)
            .await
            .1["message"]
            .clone()
    };
    let maps = "/api/v1/namespaces/default/configmaps";
    // Jane herself may not list them.
    assert_eq!(
        message(maps, "jane").await,
        "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \"\" in the namespace \
         \"default\""
    );
    assert_eq!(
        message("/api/v1/namespaces/default/pods", "jane").await,
        "pods is forbidden: User \"bob\" cannot impersonate-on:user-info:list resource \"pods\" in API group \"\" in the \
         namespace \"default\""
    );
    assert_eq!(
        message(maps, "joe").await,
        "users.authentication.k8s.io \"joe\" is forbidden: User \"bob\" cannot impersonate:user-info resource \"users\" in \
         API group \"authentication.k8s.io\" at the cluster scope"
    );
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews");
    let headers = [
        ("impersonate-user", "system:node:n"),
        ("content-type", "application/json"),
    ];
    let (_, answer) = asked(&cluster, User::admin(), path, &headers, &review).await;
    assert_eq!(
        answer["status"]["userInfo"]["groups"],
        json!(["system:nodes", "system:authenticated"])
    );
}

#[tokio::test]
async fn denials_of_policies_name_the_new_object() {
    let cluster = Cluster::start();
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": [""],
            "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]},
            "matchConditions": [{"name": "m", "expression": "object.metadata.name != 'odd' || object.nope.x == 1"}],
            "validations": [{"expression": "!('bad' in object.data)", "message": "no bad", "reason": "Forbidden"}]}});
    cluster
        .create(&format!("{POLICIES}/validatingadmissionpolicies"), policy)
        .await;
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    cluster
        .create(&format!("{POLICIES}/validatingadmissionpolicybindings"), binding)
        .await;
    for (name, wanted) in [
        (
            "m",
            "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no bad",
        ),
        (
            "odd",
            "configmaps \"odd\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: expression \
             'object.metadata.name != 'odd' || object.nope.x == 1' resulted in error: no such key: nope",
        ),
    ] {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"bad": "1"}});
        let (_, _, answer) = cluster.create("/api/v1/namespaces/default/configmaps", map).await;
        assert_eq!(answer["message"], wanted);
    }
}

#[tokio::test]
async fn priority_classes_have_one_default_and_the_system_keeps_its_own() {
    let cluster = Cluster::start();
    let path = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1,
            "globalDefault": true})
    };
    assert_eq!(cluster.create(path, class("one")).await.0, 201);
    let (_, _, answer) = cluster.create(path, class("two")).await;
    let wanted = "priorityclasses.scheduling.k8s.io \"two\" is forbidden: PriorityClass one is already marked as default. \
                  Only one default can exist";
    assert_eq!(answer["message"], wanted);
    let system = format!("{path}/system-node-critical");
    let (_, _, answer) = cluster.send("DELETE", &system, &json!({})).await;
    let wanted = "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system priority class \
                  and cannot be deleted";
    assert_eq!(answer["message"], wanted);
}

#[tokio::test]
async fn aggregated_rules_belong_to_the_controller_and_token_secrets_are_filled() {
    let cluster = Cluster::start();
    let top = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "top"},
        "rules": [], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"up": "yes"}}]}});
    let (_, _, made) = cluster.create(&format!("{RBAC}/clusterroles"), top).await;
    let owned = &made["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!((&made["rules"], &owned["f:rules"]), (&Value::Null, &json!({})));
    let part = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "part", "labels": {"up": "yes"}},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
    cluster.create(&format!("{RBAC}/clusterroles"), part).await;
    let path = format!("{RBAC}/clusterroles/top");
    let top = seen(&cluster, &path, |role| role["rules"].is_array()).await;
    let owners: Vec<String> = top["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| !entry["fieldsV1"]["f:rules"].is_null())
        .map(|entry| format!("{} {}", entry["manager"], entry["operation"]))
        .collect();
    assert_eq!(owners, ["\"clusterrole-aggregation-controller\" \"Apply\""]);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}});
    cluster
        .create("/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "sa"}}});
    cluster.create(secrets, secret).await;
    let filled = seen(&cluster, &format!("{secrets}/t"), |secret| {
        secret["data"].is_object()
    })
    .await;
    let keys: Vec<&String> = filled["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ca.crt", "namespace", "token"]);
    let account = "/api/v1/namespaces/default/serviceaccounts/sa";
    cluster.send("DELETE", account, &json!({})).await;
    let gone = seen(&cluster, &format!("{secrets}/t"), |secret| secret["code"] == 404).await;
    assert_eq!(gone["reason"], "NotFound");
}

#[tokio::test]
async fn certificates_are_requested_decided_and_signed_by_the_rules() {
    use base64::Engine as _;
    let cluster = Cluster::start();
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let pem = "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n";
    let request = base64::engine::general_purpose::STANDARD.encode(pem);
    let of = |name: &str, signer: &str, usages: Value| {
        workload(
            "certificates.k8s.io/v1",
            "CertificateSigningRequest",
            name,
            &json!({"request": request, "signerName": signer, "usages": usages}),
        )
    };
    let (_, _, answer) = cluster
        .create(
            path,
            of("x", "kubernetes.io/legacy-unknown", json!(["signing", "signing"])),
        )
        .await;
    let wanted = "CertificateSigningRequest.certificates.k8s.io \"x\" is invalid: [spec.usages[1]: Duplicate value: \
                  \"signing\", spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is \
                  not allowed via this API version]";
    assert_eq!(answer["message"], wanted);
    let (status, _, mut made) = cluster
        .create(path, of("x", "example.com/s", json!(["signing"])))
        .await;
    assert_eq!(status, 201, "{made}");
    made["status"] = json!({"conditions": [{"type": "Approved", "status": "False"}, {"type": "Denied", "status": "True"}]});
    let (_, _, answer) = cluster.send("PUT", &format!("{path}/x/approval"), &made).await;
    let wanted = "CertificateSigningRequest.certificates.k8s.io \"x\" is invalid: [status.conditions[0].status: Unsupported \
                  value: \"False\": supported values: \"True\", status.conditions: Invalid value: \"Denied\": Approved and \
                  Denied conditions are mutually exclusive]";
    assert_eq!(answer["message"], wanted);
}

#[tokio::test]
async fn ports_of_one_number_share_a_node_port_and_scales_have_tables() {
    let cluster = Cluster::start();
    let service = workload(
        "v1",
        "Service",
        "s",
        &json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80, "protocol": "UDP"}]}),
    );
    let (_, _, made) = cluster
        .create("/api/v1/namespaces/default/services", service)
        .await;
    let ports = &made["spec"]["ports"];
    assert!(ports[0]["nodePort"].is_number());
    assert_eq!(ports[0]["nodePort"], ports[1]["nodePort"]);
    let spec =
        json!({"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template(&json!({}))});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    cluster
        .create(path, workload("apps/v1", "Deployment", "d", &spec))
        .await;
    let scale = format!("{path}/d/scale");
    let headers = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let (_, table) = asked(&cluster, User::admin(), ("GET", &scale), &headers, &Value::Null).await;
    let names: Vec<&Value> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| &column["name"])
        .collect();
    assert_eq!(names, ["Name", "Desired", "Available", "Age"]);
    assert_eq!(
        table["rows"][0]["cells"].as_array().unwrap()[..3],
        [json!("d"), json!(2), json!(0)]
    );
}

#[tokio::test]
async fn what_is_not_kept_is_no_newer_generation() {
    let cluster = Cluster::start();
    let volume =
        json!({"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"name": "b", "path": "p"}}]}});
    let mut spec = json!({"replicas": 1, "selector": {"matchLabels": {"a": "b"}},
        "template": template(&json!({"volumes": [volume]}))});
    let path = "/apis/apps/v1/namespaces/default/statefulsets/d";
    let headers = [("content-type", "application/apply-patch+yaml")];
    let apply = |spec: &Value| workload("apps/v1", "StatefulSet", "d", spec);
    let by = format!("{path}?fieldManager=one");
    let (status, made) = asked(&cluster, User::admin(), ("PATCH", &by), &headers, &apply(&spec)).await;
    assert_eq!(
        (status, &made["metadata"]["generation"]),
        (201, &json!(1)),
        "{made}"
    );
    let sources = &made["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"];
    assert_eq!(*sources, json!([{}]));
    let by = format!("{path}?fieldManager=two&force=true");
    let (status, same) = asked(&cluster, User::admin(), ("PATCH", &by), &headers, &apply(&spec)).await;
    assert_eq!(
        (status, &same["metadata"]["generation"]),
        (200, &json!(1)),
        "{same}"
    );
    spec["replicas"] = 2.into();
    let (status, other) = asked(&cluster, User::admin(), ("PATCH", &by), &headers, &apply(&spec)).await;
    assert_eq!(
        (status, &other["metadata"]["generation"]),
        (200, &json!(2)),
        "{other}"
    );
}

#[tokio::test]
async fn formats_that_nobody_checks_are_warned_of() {
    let cluster = Cluster::start();
    let properties = json!({
        "a": {"type": "integer", "format": "int32"},
        "b": {"type": "string", "format": "int32"},
        "c": {"type": "number", "format": "email"},
        "d": {"type": "string", "format": "date-time"},
        "e": {"type": "array", "format": "uri", "items": {"type": "string", "format": "items"}},
        "f": {"type": "string", "allOf": [{"format": "all"}], "not": {"format": "not"}},
    });
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}}]}});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All";
    let (status, mut warnings, answer) = cluster.send("POST", path, &definition).await;
    assert_eq!(status, 201, "{answer}");
    warnings.sort_unstable();
    let wanted = ["all", "email", "int32", "items", "not", "uri"]
        .map(|format| format!("299 - \"unrecognized format \\\"{format}\\\"\""));
    assert_eq!(warnings, wanted);
}

//! What built-in kinds refuse, in the words of a real server: a case for each subject, and nothing for what is good.

use serde_json::{Value, json};

use crate::hooks::Cluster;

/// Creates an object and returns what is said of it without its head; nothing if it is taken.
async fn said(cluster: &Cluster, path: &str, object: &Value) -> String {
    let (status, _, answer) = cluster
        .create(&format!("{path}?dryRun=All"), object.clone())
        .await;
    if status == 201 {
        return String::new();
    }
    let message = answer["message"].as_str().unwrap();
    message
        .split_once(": ")
        .map_or(message, |(_, rest)| rest)
        .to_owned()
}

fn pod(extra: &Value, container: &Value) -> Value {
    let mut spec =
        json!({"containers": [{"name": "c", "image": "i"}], "automountServiceAccountToken": false});
    merge(&mut spec, extra);
    merge(&mut spec["containers"][0], container);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
}

fn merge(object: &mut Value, with: &Value) {
    for (key, value) in with.as_object().into_iter().flatten() {
        object[key.as_str()] = value.clone();
    }
}

#[tokio::test]
async fn pods_are_checked_down_to_their_smallest_parts() {
    let cluster = Cluster::start();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    cluster
        .create("/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    let none = json!({});
    let cases = [
        (
            json!({"hostNetwork": true}),
            json!({"ports": [{"containerPort": 80, "hostPort": 81}]}),
            "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
        ),
        (
            none.clone(),
            json!({"ports": [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]}),
            "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//5\"",
        ),
        (
            none.clone(),
            json!({"envFrom": [{}]}),
            "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
        ),
        (
            none.clone(),
            json!({"livenessProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}}),
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            none.clone(),
            json!({"lifecycle": {"postStart": {}}}),
            "spec.containers[0].lifecycle.postStart: Required value: must specify a handler type",
        ),
        (
            none.clone(),
            json!({"resources": {"requests": {"example.com/gpu": "1"}}}),
            "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
        (
            json!({"volumes": [{"name": "v", "nfs": {"server": "", "path": "rel"}}]}),
            none.clone(),
            "[spec.volumes[0].nfs.server: Required value, spec.volumes[0].nfs.path: Invalid value: \"rel\": must be an \
             absolute path]",
        ),
        (
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": []}}}}),
            none.clone(),
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: \
             must have at least one node selector term",
        ),
        (
            json!({"priority": 5}),
            none.clone(),
            "the integer value of priority (5) must not be provided in pod spec; \
             priority admission controller computed 0 from the given PriorityClass name",
        ),
        (
            json!({"runtimeClassName": "gone"}),
            none.clone(),
            "pod rejected: RuntimeClass \"gone\" not found",
        ),
        (
            json!({"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
            "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a.b"]}]}),
            json!({"securityContext": {"runAsUser": 5}, "resources": {"limits": {"cpu": "1", "example.com/gpu": 2}},
                "startupProbe": {"httpGet": {"port": "web"}}, "env": [{"name": "A", "valueFrom":
                    {"fieldRef": {"fieldPath": "metadata.labels['a.b/c']"}}}]}),
            "",
        ),
    ];
    for (extra, container, want) in cases {
        let object = pod(&extra, &container);
        let said = said(&cluster, "/api/v1/namespaces/default/pods", &object).await;
        assert_eq!(said, want, "{object}");
    }
}

#[tokio::test]
async fn other_kinds_are_checked_as_a_real_server_does() {
    let cluster = Cluster::start();
    let place = |group: &str, plural: &str| format!("/apis/{group}/namespaces/default/{plural}");
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let ends = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"});
    let cases = [
        (
            place("apps/v1", "statefulsets"),
            "StatefulSet",
            json!({"serviceName": "x", "selector": {"matchLabels":
            {"a": "b"}}, "template": template, "updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}),
            "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":1,\"MaxUnavailable\":null}: only allowed for \
             updateStrategy 'RollingUpdate'",
        ),
        (
            place("batch/v1", "jobs"),
            "Job",
            json!({"template": ends, "podFailurePolicy": {"rules": [{"action": "FailJob",
            "onExitCodes": {"operator": "In", "values": [2, 1]}}]}}),
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1]: must be ordered",
        ),
        (
            place("autoscaling/v2", "horizontalpodautoscalers"),
            "HorizontalPodAutoscaler",
            json!({"scaleTargetRef": target, "maxReplicas": 3, "minReplicas": 5}),
            "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
        ),
        (
            place("autoscaling/v1", "horizontalpodautoscalers"),
            "HorizontalPodAutoscaler",
            json!({"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}),
            "",
        ),
        (
            place("policy/v1", "poddisruptionbudgets"),
            "PodDisruptionBudget",
            json!({"minAvailable": "101%"}),
            "spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%",
        ),
        (
            "/api/v1/namespaces/default/services".to_owned(),
            "Service",
            json!({"ports": [{"port": 80}], "loadBalancerSourceRanges": ["1.2.3.4/8"]}),
            "[spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer', \
             spec.LoadBalancerSourceRanges[0]: Invalid value: \"1.2.3.4/8\": must not have bits set beyond the prefix \
             length]",
        ),
        (
            "/api/v1/namespaces/default/resourcequotas".to_owned(),
            "ResourceQuota",
            json!({"hard": {"pods": "1"}, "scopes": ["Terminating", "NotTerminating"]}),
            "spec.scopes: Invalid value: [\"Terminating\",\"NotTerminating\"]: conflicting scopes",
        ),
    ];
    for (path, kind, spec, want) in cases {
        let version = path.trim_start_matches("/apis/").trim_start_matches("/api/");
        let version = version.split("/namespaces").next().unwrap();
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
        let said = said(&cluster, &path, &object).await;
        assert_eq!(said, want, "{object}");
    }
}

#[tokio::test]
async fn types_are_named_as_in_go_and_volumes_of_makers_need_their_fields() {
    let cluster = Cluster::start();
    let service =
        |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    let template = |spec: Value| json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "t"}, "template": {"spec": spec}});
    let one = json!([{"name": "c", "image": "i"}]);
    let cases = [
        (
            "services",
            service(json!({"ports": [{"port": 80, "protocol": 7}]})),
            "json: cannot unmarshal number into Go struct field ServicePort.spec.ports.protocol of type v1.Protocol",
        ),
        (
            "services",
            service(json!({"ports": [{"port": 80, "targetPort": 1.5}]})),
            "json: cannot unmarshal number 1.5 into Go struct field ServicePort.spec.ports.targetPort of type int32",
        ),
        (
            "services",
            service(json!({"ports": [{"port": 80}], "clusterIPs": ["10.0.0.9"]})),
            "spec.clusterIPs: Invalid value: [\"10.0.0.9\"]: must be empty when `clusterIP` is not specified",
        ),
        (
            "podtemplates",
            template(
                json!({"containers": one, "volumes": [{"name": "v", "iscsi": {"lun": 0}}], "restartPolicy": "Never"}),
            ),
            "[template.spec.volumes[0].iscsi.targetPortal: Required value, template.spec.volumes[0].iscsi.iqn: Required value]",
        ),
        (
            "podtemplates",
            template(json!({"containers": one, "volumes": [{"name": "v", "hostPath": {"path": 7}}]})),
            "json: cannot unmarshal number into Go struct field HostPathVolumeSource.template.spec.volumes.VolumeSource.hostPath.path \
             of type string",
        ),
        (
            "podtemplates",
            template(
                json!({"containers": one, "ephemeralContainers": [{"name": "e", "image": "i", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]}),
            ),
            "[template.spec.ephemeralContainers[0].lifecycle: Forbidden: cannot be set for an Ephemeral Container, \
             template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template]",
        ),
    ];
    for (kind, object, wanted) in cases {
        let path = format!("/api/v1/namespaces/default/{kind}");
        let said = said(&cluster, &path, &object).await;
        assert!(said.ends_with(wanted), "{said}\n{wanted}");
    }
}

#[tokio::test]
async fn balancers_that_stay_local_get_a_port_for_health() {
    let cluster = Cluster::start();
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    let (status, _, answer) = cluster
        .create("/api/v1/namespaces/default/services", object)
        .await;
    assert_eq!(status, 201, "{answer}");
    let port = answer["spec"]["healthCheckNodePort"].as_i64();
    assert!(
        port.is_some_and(|port| (30_000..=32_767).contains(&port)),
        "{answer}"
    );
    assert_ne!(port, answer["spec"]["ports"][0]["nodePort"].as_i64());
}

#[tokio::test]
async fn jobs_quotas_and_sets_are_told_what_does_not_go_together() {
    let cluster = Cluster::start();
    let job = |spec: Value| {
        let mut whole = json!({"template": {"spec": {"containers": [{"name": "c", "image": "i"}],
            "restartPolicy": "Never"}}});
        merge(&mut whole, &spec);
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": whole})
    };
    let set = |kind: &str, more: Value| {
        let mut spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}});
        merge(&mut spec, &more);
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec})
    };
    let quota = |spec: Value| json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "x"}, "spec": spec});
    let (jobs, apps) = (
        "/apis/batch/v1/namespaces/default/jobs",
        "/apis/apps/v1/namespaces/default",
    );
    let cases = [
        (
            jobs.to_owned(),
            job(
                json!({"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 1, "maxFailedIndexes": 3}),
            ),
            "spec.maxFailedIndexes: Invalid value: 3: must be less than or equal to completions",
        ),
        (
            jobs.to_owned(),
            job(json!({"managedBy": ""})),
            "spec.managedBy: Required value",
        ),
        (
            jobs.to_owned(),
            job(json!({"manualSelector": true})),
            "[spec.selector: Required value, spec.template.metadata.labels: Invalid value: null: `selector` does not match \
             template `labels`]",
        ),
        (
            format!("{apps}/daemonsets"),
            set(
                "DaemonSet",
                json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "x"}}}),
            ),
            "[spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"x\": a valid percent string must be a numeric \
             string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%'), \
             spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0]",
        ),
        (
            format!("{apps}/replicasets"),
            set(
                "ReplicaSet",
                json!({"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"activeDeadlineSeconds": 5,
                "containers": [{"name": "c", "image": "i"}]}}}),
            ),
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ),
        (
            "/api/v1/namespaces/default/resourcequotas".to_owned(),
            quota(
                json!({"hard": {"pods": "1", "secrets": "2"}, "scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}),
            ),
            "spec.scopeSelector.matchExpressions: Invalid value: {\"MatchExpressions\":[{\"ScopeName\":\"PriorityClass\",\
             \"Operator\":\"In\",\"Values\":[\"high\"]}]}: unsupported scope applied to resource",
        ),
    ];
    for (path, object, wanted) in cases {
        assert_eq!(said(&cluster, &path, &object).await, wanted, "{object}");
    }
}

#[tokio::test]
async fn definitions_are_told_of_sets_metadata_and_warnings() {
    let cluster = Cluster::start();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = |property: Value, version: Value| {
        let mut own = json!({"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": property}}});
        merge(&mut own, &version);
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"}, "versions": [own]}})
    };
    let none = json!({});
    let text = json!({"type": "string"});
    let cases = [
        (
            json!({"a": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "nullable": true}}}),
            none.clone(),
            "spec.validation.openAPIV3Schema.properties[a].items.nullable: Forbidden: cannot be nullable when \
             x-kubernetes-list-type is set",
        ),
        (
            json!({"metadata": {"type": "object", "description": "d"}}),
            none.clone(),
            "spec.validation.openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than name and \
             generateName, but metadata is implicitly specified",
        ),
        (
            json!({"a": {"type": "object", "anyOf": [{"properties": {"x": text}}]}}),
            none.clone(),
            "spec.validation.openAPIV3Schema.properties[a].anyOf[0].properties[x].type: Forbidden: must be empty to be \
             structural",
        ),
        (
            json!({"a": {"type": "object", "properties": {"x": text}, "default": {"y": 1}}}),
            none,
            "spec.validation.openAPIV3Schema.properties[a].default: Invalid value: {\"y\":1}: must not have unknown fields",
        ),
        (
            json!({"a": text}),
            json!({"selectableFields": [{"jsonPath": ".a[0]"}]}),
            "spec.selectableFields[0].jsonPath: Invalid value: \".a[0]\": is an invalid path: array notation is not allowed",
        ),
        (
            json!({"a": text}),
            json!({"deprecated": true, "deprecationWarning": "a\nb"}),
            "spec.versions[0].deprecationWarning: Invalid value: \"a\\nb\": must only contain printable UTF-8 characters; \
             non-printable character found at index 1",
        ),
    ];
    for (property, version, wanted) in cases {
        let said = said(&cluster, path, &definition(property, version)).await;
        assert!(said.ends_with(wanted), "{said}\n{wanted}");
    }
}

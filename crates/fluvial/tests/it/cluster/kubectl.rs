//! A day with kubectl.

use std::path::Path;

use super::server::Ours;
use super::{Tool, holds, peers};

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: menu, namespace: shop}
data: {tea: assam}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'registry.example.com/web:1', ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

const TEA: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: teas.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {plural: teas, singular: tea, kind: Tea, shortNames: [t], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns:
    - {name: Origin, type: string, jsonPath: .spec.origin}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What is in the pot.
            required: [origin]
            properties:
              origin: {type: string}
              minutes: {type: integer, minimum: 1, default: 3}
";

fn tea(minutes: &str) -> String {
    format!(
        "apiVersion: shop.example.com/v1\nkind: Tea\nmetadata: {{name: assam, namespace: shop}}\n\
         spec: {{origin: India, minutes: {minutes}}}\n"
    )
}

fn applies(kubectl: &Tool) {
    let made = kubectl.given("apply -f -", SHOP);
    holds(
        &made,
        &[
            "namespace/shop created",
            "configmap/menu created",
            "deployment.apps/web created",
            "service/web created",
        ],
    );
    let again = kubectl.given("apply -f -", SHOP);
    assert_eq!(again.matches(" unchanged").count(), 4, "{again}");
    holds(
        &kubectl.says("rollout status deployment/web -n shop --timeout=60s"),
        &["successfully rolled out"],
    );
    holds(
        &kubectl.says("wait deployment/web -n shop --for=condition=Available --timeout=60s"),
        &["deployment.apps/web condition met"],
    );
    // A difference is told by the exit code too.
    assert_eq!(kubectl.given("diff -f -", SHOP), "");
    let more = SHOP.replace("replicas: 2", "replicas: 3");
    holds(
        &kubectl.refuses("diff -f -", &more),
        &["-  replicas: 2", "+  replicas: 3"],
    );

    // From client-side to server-side apply, and a quarrel about a field.
    holds(
        &kubectl.given("apply --server-side -f -", &more),
        &[
            "deployment.apps/web serverside-applied",
            "configmap/menu serverside-applied",
        ],
    );
    holds(
        &kubectl.refuses("apply -f -", &SHOP.replace("replicas: 2", "replicas: two")),
        &["replicas"],
    );
    holds(
        &kubectl.refuses("apply -f -", &SHOP.replace("replicas: 2", "replica: 2")),
        &["unknown field \"spec.replica\""],
    );
    let other =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: menu, namespace: shop}\ndata: {tea: sencha}\n";
    let conflict = kubectl.refuses("apply --server-side --field-manager=waiter -f -", other);
    holds(
        &conflict,
        &[
            "Apply failed with 1 conflict",
            "conflict with \"kubectl\"",
            ".data.tea",
        ],
    );
    kubectl.given(
        "apply --server-side --force-conflicts --field-manager=waiter -f -",
        other,
    );
    let menu = kubectl.json("get configmap menu -n shop -o json --show-managed-fields");
    assert_eq!(menu["data"]["tea"], "sencha");
    let managers = menu["metadata"]["managedFields"].to_string();
    holds(&managers, &["waiter", "f:tea"]);
}

fn shows(kubectl: &Tool) {
    let wide = kubectl.says("get deployment web -n shop -o wide");
    let head: Vec<&str> = wide.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        head,
        [
            "NAME",
            "READY",
            "UP-TO-DATE",
            "AVAILABLE",
            "AGE",
            "CONTAINERS",
            "IMAGES",
            "SELECTOR"
        ]
    );
    holds(&wide, &["registry.example.com/web:1", "app=web"]);
    holds(
        &kubectl.says("get pods -n shop -o wide"),
        &["NOMINATED NODE", "Running", "1/1"],
    );
    holds(
        &kubectl.says("get all -n shop"),
        &[
            "deployment.apps/web",
            "replicaset.apps/web-",
            "pod/web-",
            "service/web",
        ],
    );
    let described = kubectl.says("describe deployment web -n shop");
    holds(
        &described,
        &[
            "Replicas:",
            "3 desired | 3 updated",
            "registry.example.com/web:1",
            "Available",
        ],
    );
    holds(
        &kubectl.says("describe pods -n shop"),
        &["Status:", "Running", "Controlled By:  ReplicaSet/web-"],
    );
    holds(
        &kubectl.says("describe service web -n shop"),
        &["Selector:", "app=web", "Endpoints:"],
    );
    holds(
        &kubectl.says("explain deployment.spec.replicas"),
        &["KIND:       Deployment", "FIELD: replicas <integer>"],
    );
    holds(
        &kubectl.says("explain pod.spec --recursive"),
        &["containers", "imagePullPolicy"],
    );
    let resources = kubectl.says("api-resources");
    holds(
        &resources,
        &[
            "deployments",
            "deploy",
            "apps/v1",
            "customresourcedefinitions",
            "serviceaccounts",
        ],
    );
    holds(
        &kubectl.says("api-versions"),
        &["apps/v1", "batch/v1", "rbac.authorization.k8s.io/v1"],
    );
    holds(&kubectl.says("version"), &["Server Version: v1.36"]);
    holds(&kubectl.says("get --raw /readyz"), &["ok"]);
    let names = kubectl.says("get services,configmaps -n shop --sort-by=.metadata.name -o name");
    assert_eq!(names, "configmap/kube-root-ca.crt\nconfigmap/menu\nservice/web\n");
    holds(
        &kubectl.says("get pods -n shop -l app=web --field-selector status.phase=Running -o name"),
        &["pod/web-"],
    );
    assert_eq!(
        kubectl.says("get cm menu -n shop -o jsonpath={.data.tea}"),
        "sencha"
    );
    kubectl.says("get events -n shop --chunk-size=1");
    holds(
        &kubectl.refuses("get deployment none -n shop", ""),
        &["Error from server (NotFound): deployments.apps \"none\" not found"],
    );
}

fn changes(kubectl: &Tool) {
    kubectl.says("patch configmap menu -n shop --type=merge -p {\"data\":{\"milk\":\"oat\"}}");
    kubectl.says("patch configmap menu -n shop --type=json -p [{\"op\":\"remove\",\"path\":\"/data/milk\"}]");
    kubectl.says("patch deployment web -n shop -p {\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"web\",\"env\":[{\"name\":\"A\",\"value\":\"b\"}]}]}}}}");
    let web = kubectl.json("get deployment web -n shop -o json");
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (container["image"].as_str(), container["env"][0]["value"].as_str()),
        (Some("registry.example.com/web:1"), Some("b"))
    );
    kubectl.says("scale deployment web -n shop --replicas=1");
    kubectl.says("wait deployment/web -n shop --for=jsonpath={.status.readyReplicas}=1 --timeout=60s");
    kubectl.says("set image deployment/web -n shop web=registry.example.com/web:2");
    kubectl.says("rollout status deployment/web -n shop --timeout=60s");
    holds(
        &kubectl.says("rollout history deployment/web -n shop"),
        &["REVISION"],
    );
    kubectl.says("rollout undo deployment/web -n shop");
    kubectl.says("rollout restart deployment/web -n shop");
    kubectl.says("rollout status deployment/web -n shop --timeout=60s");
    assert_eq!(
        kubectl.says("get deployment web -n shop -o jsonpath={.spec.template.spec.containers[0].image}"),
        "registry.example.com/web:1"
    );
    kubectl.says("label configmap menu -n shop season=autumn");
    kubectl.says("annotate configmap menu -n shop note=warm");
    kubectl.says("create configmap more -n shop --from-literal=a=b");
    kubectl.says("create secret generic key -n shop --from-literal=password=assam");
    kubectl.says("create job once -n shop --image=registry.example.com/job:1");
    kubectl.says("wait job/once -n shop --for=condition=complete --timeout=60s");
    kubectl.says("expose deployment web -n shop --name=again --port=80");
    kubectl.says("autoscale deployment web -n shop --min=1 --max=3 --cpu-percent=80");
}

fn asks(kubectl: &Tool) {
    assert_eq!(kubectl.says("auth can-i create deployments -n shop"), "yes\n");
    let account = "--as=system:serviceaccount:shop:default";
    holds(
        &kubectl.refuses(&format!("auth can-i list secrets -n shop {account}"), ""),
        &["no"],
    );
    kubectl.says("create role reader -n shop --verb=get,list --resource=secrets");
    kubectl.says("create rolebinding readers -n shop --role=reader --serviceaccount=shop:default");
    assert_eq!(
        kubectl.says(&format!("auth can-i list secrets -n shop {account}")),
        "yes\n"
    );
    holds(
        &kubectl.says(&format!("auth can-i --list -n shop {account}")),
        &["secrets", "[get list]"],
    );
    holds(&kubectl.says("auth whoami"), &["system:masters"]);
    let token = kubectl.says("create token default -n shop");
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    // The administrator's certificate would be more than the token.
    let server = kubectl.says("config view --minify -o jsonpath={.clusters[0].cluster.server}");
    let of_account = format!(
        "--kubeconfig=/dev/null --insecure-skip-tls-verify --server={server} --token={}",
        token.trim()
    );
    holds(
        &kubectl.says(&format!("get secret key -n shop -o name {of_account}")),
        &["secret/key"],
    );
    let refused = kubectl.refuses(&format!("get configmaps -n shop {of_account}"), "");
    holds(
        &refused,
        &[
            "User \"system:serviceaccount:shop:default\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"shop\"",
        ],
    );
}

fn defines(kubectl: &Tool) {
    holds(
        &kubectl.given("apply -f -", TEA),
        &["teas.shop.example.com created"],
    );
    kubectl.says("wait crd/teas.shop.example.com --for=condition=Established --timeout=30s");
    let refused = kubectl.refuses("apply -f -", &tea("0"));
    holds(
        &refused,
        &["spec.minutes", "should be greater than or equal to 1"],
    );
    kubectl.given("apply -f -", &tea("4"));
    holds(&kubectl.given("apply -f -", &tea("5")), &["assam configured"]);
    let columns = kubectl.says("get teas -n shop");
    holds(&columns, &["NAME", "ORIGIN", "assam", "India"]);
    holds(
        &kubectl.says("explain tea.spec"),
        &["What is in the pot.", "minutes\t<integer>"],
    );
    kubectl.says("patch tea assam -n shop --subresource=status --type=merge -p {\"status\":{}}");
    holds(&kubectl.says("get all -n shop"), &["tea.shop.example.com/assam"]);
    kubectl.says("delete crd teas.shop.example.com --timeout=60s");
    kubectl.refuses("get teas -n shop", "");
}

fn removes(kubectl: &Tool) {
    kubectl.says("delete job once -n shop --cascade=foreground --timeout=60s");
    kubectl.says("delete deployment web -n shop --timeout=60s");
    kubectl.says("wait pods -n shop -l app=web --for=delete --timeout=60s");
    kubectl.says("delete namespace shop --timeout=60s");
    holds(&kubectl.refuses("get namespace shop", ""), &["NotFound"]);
}

fn day(program: &Path, durable: bool) {
    let work = tempfile::tempdir().unwrap();
    let server = Ours::start(work.path(), durable);
    let kubectl = Tool::new(program, &server.kubeconfig(), work.path());
    for part in [applies, shows, changes, asks, defines, removes] {
        part(&kubectl);
    }
}

#[test]
#[ignore = "needs kubectl: cargo xtask tier cluster"]
fn kubectl_is_at_home_on_a_server_in_memory() {
    let Some([kubectl]) = peers("kubectl on a server in memory", ["kubectl"]) else {
        return;
    };
    day(&kubectl, false);
}

#[test]
#[ignore = "needs kubectl: cargo xtask tier cluster"]
fn kubectl_is_at_home_on_a_durable_server() {
    let Some([kubectl]) = peers("kubectl on a durable server", ["kubectl"]) else {
        return;
    };
    day(&kubectl, true);
}

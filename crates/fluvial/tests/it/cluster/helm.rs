//! helm's own life of a release, on Fluvial's API server.

use std::path::{Path, PathBuf};

use super::server::Ours;
use super::{Tool, holds, peers};

/// Files of a small chart with every kind of thing that a release goes through.
const CHART: [(&str, &str); 8] = [
    (
        "Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.0.0\nappVersion: '7'\nkubeVersion: '>=1.30.0-0'\n",
    ),
    ("values.yaml", "replicas: 1\nkey: one\nfails: false\n"),
    (
        "templates/config.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\ndata: {key: '{{ .Values.key }}'}\n",
    ),
    (
        "templates/deployment.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: '{{ .Release.Name }}'}\nspec:\n  replicas: {{ .Values.replicas }}\n  \
         selector: {matchLabels: {app: '{{ .Release.Name }}'}}\n  template:\n    metadata:\n      labels: {app: '{{ .Release.Name }}'}\n    \
         spec:\n      containers: [{name: web, image: 'registry.example.com/web:{{ .Chart.AppVersion }}'}]\n",
    ),
    (
        "templates/service.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: '{{ .Release.Name }}'}\n\
         spec: {selector: {app: '{{ .Release.Name }}'}, ports: [{port: 80}]}\n",
    ),
    (
        "templates/hook.yaml",
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: '{{ .Release.Name }}-before'\n  annotations:\n    \
         helm.sh/hook: pre-install,pre-upgrade\n    helm.sh/hook-delete-policy: before-hook-creation\n    \
         {{- if .Values.fails }}\n    simulator.fluvial.dev/outcome: fail\n    {{- end }}\n\
         spec:\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      \
         containers: [{name: job, image: registry.example.com/job:1}]\n",
    ),
    (
        "templates/test.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: '{{ .Release.Name }}-test'\n  annotations: {helm.sh/hook: test}\n\
         spec:\n  restartPolicy: Never\n  containers: [{name: test, image: registry.example.com/test:1}]\n",
    ),
    ("templates/NOTES.txt", "{{ .Release.Name }} is served.\n"),
];

/// Writes the chart below a folder.
pub(crate) fn chart(folder: &Path) -> PathBuf {
    let chart = folder.join("charts/web");
    for (file, text) in CHART {
        let path = chart.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    chart
}

fn life(kubectl: &Tool, helm: &Tool) {
    let installed = helm.says("install web charts/web -n shop --create-namespace --wait --timeout 60s");
    holds(&installed, &["STATUS: deployed", "REVISION: 1", "web is served."]);
    holds(&kubectl.says("get deployment web -n shop"), &["1/1"]);
    holds(&kubectl.says("get job web-before -n shop"), &["Complete"]);
    let list = helm.json("list -n shop -o json");
    assert_eq!(
        (list[0]["name"].as_str(), list[0]["status"].as_str()),
        (Some("web"), Some("deployed"))
    );

    let upgraded = helm.says("upgrade web charts/web -n shop --set replicas=2,key=two --wait --timeout 60s");
    holds(&upgraded, &["REVISION: 2"]);
    assert_eq!(
        kubectl.says("get configmap web -n shop -o jsonpath={.data.key}"),
        "two"
    );
    holds(&helm.says("get values web -n shop"), &["key: two", "replicas: 2"]);
    holds(
        &helm.says("get manifest web -n shop"),
        &["kind: Deployment", "replicas: 2"],
    );
    holds(&helm.says("get hooks web -n shop"), &["web-before", "web-test"]);
    holds(&helm.says("get metadata web -n shop"), &["VERSION: 1.0.0"]);
    holds(&helm.says("status web -n shop"), &["STATUS: deployed"]);

    // What fails is said, and rolled back where that is asked for.
    let failed = helm.refuses(
        "upgrade web charts/web -n shop --set fails=true --wait --timeout 20s",
        "",
    );
    holds(&failed, &["UPGRADE FAILED"]);
    let failed = helm.refuses(
        "upgrade web charts/web -n shop --set replicas=many --rollback-on-failure --timeout 20s",
        "",
    );
    holds(
        &failed,
        &["has been rolled back", ".spec.replicas: expected numeric"],
    );
    holds(
        &helm.says("rollback web 1 -n shop --wait --timeout 60s"),
        &["Rollback was a success"],
    );
    assert_eq!(
        kubectl.says("get configmap web -n shop -o jsonpath={.data.key}"),
        "one"
    );
    let history = helm.says("history web -n shop");
    holds(&history, &["superseded", "failed", "Rollback to 1", "deployed"]);
    holds(
        &helm.says("upgrade --install web charts/web -n shop --reuse-values --wait --timeout 60s"),
        &["deployed"],
    );

    holds(
        &helm.says("test web -n shop --timeout 60s"),
        &["Phase:", "Succeeded"],
    );
    // Two hands at the same release.
    holds(
        &helm.refuses("install web charts/web -n shop", ""),
        &["cannot reuse a name that is still in use"],
    );

    holds(
        &helm.says("uninstall web -n shop --wait --timeout 60s"),
        &["release \"web\" uninstalled"],
    );
    assert_eq!(helm.json("list -n shop -o json").as_array().unwrap().len(), 0);
    holds(&kubectl.refuses("get deployment web -n shop", ""), &["NotFound"]);
    assert_eq!(kubectl.says("get secrets -n shop -o name"), "");
}

#[test]
#[ignore = "needs helm and kubectl: cargo xtask tier cluster"]
fn helm_installs_upgrades_rolls_back_tests_and_uninstalls() {
    let Some([helm, kubectl]) = peers("helm on our API server", ["helm", "kubectl"]) else {
        return;
    };
    for durable in [false, true] {
        let work = tempfile::tempdir().unwrap();
        chart(work.path());
        let server = Ours::start(work.path(), durable);
        life(
            &Tool::new(&kubectl, &server.kubeconfig(), work.path()),
            &Tool::new(&helm, &server.kubeconfig(), work.path()),
        );
    }
}

//! Killed in any phase of an installation, an upgrade, a rollback or an uninstallation, the program ends up where it was
//! going: no version is left pending, no object left behind, no release stuck.

use std::time::Duration;

use fluvial_cluster::Client;
use fluvial_ports::{Cluster, Connection, Resource, Select};
use serde_json::Value;

use crate::fleet::{Fleet, Up, eventually};

const RELEASE: &str = "clusters/demo/release.yaml";
const CHART: &[(&str, &str)] = &[
    (
        "clusters/demo/other.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: other\n  namespace: default\n",
    ),
    (
        "charts/app/Chart.yaml",
        "apiVersion: v2\nname: app\nversion: 1.0.0\n",
    ),
    ("charts/app/values.yaml", "size: 1\noutcome: healthy\n"),
    (
        "charts/app/templates/app.yaml",
        "apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-config
data:
  size: {{ .Values.size | quote }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}-web
  annotations:
    simulator.fluvial.dev/outcome: {{ .Values.outcome }}
    simulator.fluvial.dev/delay: 200ms
spec:
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
      annotations: {size: {{ .Values.size | quote }}}
    spec:
      containers:
      - name: web
        image: example.org/web
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-size-{{ .Values.size }}
",
    ),
    (
        "charts/app/templates/jobs.yaml",
        "{{- range list \"pre\" \"post\" }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $.Release.Name }}-{{ . }}
  annotations:
    helm.sh/hook: {{ . }}-install,{{ . }}-upgrade,{{ . }}-rollback,{{ . }}-delete
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
    simulator.fluvial.dev/delay: 150ms
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: job
        image: example.org/job
{{- end }}
",
    ),
];

fn release(size: usize, outcome: &str) -> String {
    format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: app
  namespace: default
spec:
  interval: 1h
  timeout: 30s
  releaseName: app
  chart:
    spec:
      chart: ./charts/app
      sourceRef: {{kind: GitRepository, name: flux-system, namespace: flux-system}}
  install: {{remediation: {{retries: 3}}}}
  upgrade: {{remediation: {{retries: 0, remediateLastFailure: true}}}}
  values: {{size: {size}, outcome: {outcome}}}
"
    )
}

/// What is done when the kill comes.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Install,
    Upgrade,
    Rollback,
    Uninstall,
}

/// Looks into the cluster.
struct Eyes(tokio::runtime::Runtime);

impl Eyes {
    fn list(&self, up: &Up, api_version: &str, kind: &str) -> Option<Vec<Value>> {
        let credentials = Connection {
            kubeconfig: Some(up.kubeconfig().to_owned()),
            ..Connection::default()
        };
        self.0.block_on(async {
            let client = Client::connect(&credentials).await.ok()?;
            let resource: std::sync::Arc<Resource> = client.resource(api_version, kind).await.ok()?;
            let select = Select {
                namespace: Some("default".to_owned()),
                ..Select::default()
            };
            client.list(&resource, &select).await.ok()
        })
    }

    fn names(&self, up: &Up, api_version: &str, kind: &str) -> Option<Vec<String>> {
        let found = self.list(up, api_version, kind)?;
        let names = found
            .iter()
            .filter_map(|object| object["metadata"]["name"].as_str());
        let mut names: Vec<String> = names
            .filter(|name| name.starts_with("app-"))
            .map(str::to_owned)
            .collect();
        names.sort();
        Some(names)
    }

    /// Versions and states of what is stored, oldest first.
    fn versions(&self, up: &Up) -> Option<Vec<(i64, String)>> {
        let found = self.list(up, "v1", "Secret")?;
        let mut versions: Vec<(i64, String)> = found
            .iter()
            .filter(|secret| secret["type"] == "helm.sh/release.v1")
            .filter_map(|secret| {
                let labels = &secret["metadata"]["labels"];
                let version = labels["version"].as_str()?.parse().ok()?;
                Some((version, labels["status"].as_str()?.to_owned()))
            })
            .collect();
        versions.sort();
        Some(versions)
    }

    fn object(&self, up: &Up) -> Option<Option<Value>> {
        let found = self.list(up, "helm.toolkit.fluxcd.io/v2", "HelmRelease")?;
        Some(
            found
                .into_iter()
                .find(|object| object["metadata"]["name"] == "app"),
        )
    }

    /// Whether all is as it should be after a phase that was to end at `size`.
    fn is_settled(&self, up: &Up, phase: Phase, size: usize) -> Option<bool> {
        let (object, versions) = (self.object(up)?, self.versions(up)?);
        let (configs, workloads) = (
            self.names(up, "v1", "ConfigMap")?,
            self.names(up, "apps/v1", "Deployment")?,
        );
        if matches!(phase, Phase::Uninstall) {
            let jobs = self.names(up, "batch/v1", "Job")?;
            let nothing = configs.is_empty() && workloads.is_empty() && jobs.is_empty();
            return Some(object.is_none() && versions.is_empty() && nothing);
        }
        let Some(object) = object else { return Some(false) };
        let is = |kind: &str, state: &str| {
            let conditions = object["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|condition| condition["type"] == kind && condition["status"] == state)
        };
        let ended = match phase {
            Phase::Rollback => is("Ready", "False") && is("Stalled", "True"),
            _ => is("Ready", "True"),
        };
        let seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let deployed = versions.iter().filter(|(_, state)| state == "deployed").count() == 1
            && versions.last().is_some_and(|(_, state)| state == "deployed");
        let wanted = ["app-config".to_owned(), format!("app-size-{size}")];
        Some(ended && seen && deployed && configs == wanted && workloads == ["app-web"])
    }
}

fn kill(times: usize) {
    let fleet = Fleet::of(CHART);
    let data = fleet.beside("data");
    let data = data.to_string_lossy();
    let more = ["--data", &*data];
    let eyes = Eyes(tokio::runtime::Runtime::new().unwrap());
    let mut up = fleet.up(&more);
    eventually("the fleet", || up.is_ready(1, &crate::fleet::head(&fleet)));
    let mut size = 1;
    for round in 0..times {
        // Each phase takes this long, more or less: a kill comes at any moment of it, or a bit later.
        let (phase, length) = match round % 4 {
            0 => (Phase::Install, 2500),
            1 => (Phase::Upgrade, 2500),
            2 => (Phase::Rollback, 3500),
            _ => (Phase::Uninstall, 1800),
        };
        match phase {
            Phase::Install => fleet.write(RELEASE, &release(size, "healthy")),
            Phase::Upgrade => {
                size += 1;
                fleet.write(RELEASE, &release(size, "healthy"));
            }
            Phase::Rollback => fleet.write(RELEASE, &release(size + 1000, "fail")),
            Phase::Uninstall => fleet.remove(RELEASE),
        }
        fleet.commit(&format!("round {round}"));
        let pause = (round * 7919 + 131) % length;
        std::thread::sleep(Duration::from_millis(pause as u64));
        up.kill();
        up = fleet.up(&more);
        let what = format!("{phase:?} in round {round}, killed after {pause} ms,");
        let end = std::time::Instant::now() + Duration::from_secs(90);
        while eyes.is_settled(&up, phase, size) != Some(true) {
            assert!(
                std::time::Instant::now() < end,
                "{what} did not end as it should: {:?}, {:?}, {:?}",
                eyes.versions(&up),
                eyes.names(&up, "v1", "ConfigMap"),
                eyes.object(&up)
                    .flatten()
                    .map(|object| object["status"].to_string())
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!(
            "{what} ended as it should: {:?}",
            eyes.versions(&up).unwrap_or_default()
        );
    }
}

#[test]
fn a_few_kills_of_releases_leave_none_stuck() {
    kill(4);
}

/// `FLUVIAL_KILLS=100 cargo test -p fluvial --test it -- --ignored kill`
#[test]
#[ignore = "takes minutes; the number of kills is $FLUVIAL_KILLS"]
fn many_kills_of_releases_leave_none_stuck() {
    let times = std::env::var("FLUVIAL_KILLS")
        .ok()
        .and_then(|text| text.parse().ok());
    kill(times.unwrap_or(100));
}

//! `create kustomization` and `create helmrelease`.

use serde_json::{Map, Value, json};

use super::{Call, Spec, Story, demand, given, parse};
use crate::commands::wait;
use crate::environment::{Failure, Outcome};
use crate::nouns::Noun;
use crate::state;

/// Options of `create kustomization`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Kustomization {
    /// Source as [KIND/]NAME[.NAMESPACE]: OCIRepository, GitRepository or Bucket
    #[arg(long, value_name = "SOURCE", value_parser = kustomization_source)]
    source: Option<String>,
    /// Folder in the source
    #[arg(long, value_name = "PATH", default_value = "./", value_parser = inner_path)]
    path: String,
    /// Delete what leaves the source
    #[arg(long)]
    prune: bool,
    /// Wait until everything that is applied is healthy
    #[arg(long)]
    wait: bool,
    /// Workloads to wait for: KIND/NAME.NAMESPACE
    #[arg(long, value_name = "OBJECTS", value_delimiter = ',')]
    health_check: Vec<String>,
    /// How long to wait for health
    #[arg(long, value_name = "DURATION", default_value = "2m0s", value_parser = parse::duration)]
    health_check_timeout: String,
    /// Kustomizations to wait for first: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    depends_on: Vec<String>,
    /// Account that applies
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// How files are decrypted
    #[arg(long, value_name = "PROVIDER", value_parser = decryption)]
    decryption_provider: Option<String>,
    /// Secret with the keys for that
    #[arg(long, value_name = "NAME")]
    decryption_secret: Option<String>,
    /// Secret with the kubeconfig of another cluster
    #[arg(long, value_name = "NAME")]
    kubeconfig_secret_ref: Option<String>,
    /// Namespace for all objects
    #[arg(long, value_name = "NAMESPACE")]
    target_namespace: Option<String>,
    /// How long to wait after a failure
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    retry_interval: Option<String>,
}

/// Options of `create helmrelease`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct HelmRelease {
    /// Source of the chart as KIND/NAME[.NAMESPACE]: HelmRepository, GitRepository or Bucket
    #[arg(long, value_name = "SOURCE", value_parser = chart_source)]
    source: Option<String>,
    /// Name of the chart, or its path in the source
    #[arg(long, value_name = "CHART")]
    chart: Option<String>,
    /// Version, or a range of versions
    #[arg(long, value_name = "RANGE")]
    chart_version: Option<String>,
    /// Object that holds the chart as KIND/NAME[.NAMESPACE]: OCIRepository or HelmChart
    #[arg(long, value_name = "OBJECT")]
    chart_ref: Option<String>,
    /// How often the chart is looked up
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    chart_interval: Option<String>,
    /// What makes a new chart: ChartVersion or Revision
    #[arg(long, value_name = "STRATEGY", default_value = "ChartVersion")]
    reconcile_strategy: String,
    /// Name of the release [default: as the chart's object]
    #[arg(long, value_name = "NAME")]
    release_name: Option<String>,
    /// Namespace to install into
    #[arg(long, value_name = "NAMESPACE")]
    target_namespace: Option<String>,
    /// Namespace for the release's records
    #[arg(long, value_name = "NAMESPACE")]
    storage_namespace: Option<String>,
    /// Make that namespace if there is none
    #[arg(long)]
    create_target_namespace: bool,
    /// HelmReleases to wait for first: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    depends_on: Vec<String>,
    /// Files of values; later ones win
    #[arg(long, value_name = "FILES", value_delimiter = ',')]
    values: Vec<String>,
    /// Objects with values: Secret/NAME or ConfigMap/NAME
    #[arg(long, value_name = "OBJECTS", value_delimiter = ',')]
    values_from: Vec<String>,
    /// Account that installs
    #[arg(long, value_name = "NAME")]
    service_account: Option<String>,
    /// What an upgrade does with definitions: Skip, Create or CreateReplace
    #[arg(long, value_name = "POLICY", value_parser = crds)]
    crds: Option<String>,
    /// Secret with the kubeconfig of another cluster
    #[arg(long, value_name = "NAME")]
    kubeconfig_secret_ref: Option<String>,
}

fn kustomization_source(text: &str) -> Result<String, String> {
    let kinds = ["OCIRepository", "GitRepository", "Bucket"];
    parse::source(text, &kinds, Some("GitRepository"), true).map(written)
}

fn chart_source(text: &str) -> Result<String, String> {
    parse::source(text, &["HelmRepository", "GitRepository", "Bucket"], None, true).map(written)
}

fn written(named: parse::Named) -> String {
    let parse::Named {
        kind,
        name,
        namespace,
    } = named;
    format!("{kind}/{name}.{namespace}")
}

fn inner_path(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("no path given".to_owned());
    }
    Ok(parse::inner_path(text))
}

fn decryption(text: &str) -> Result<String, String> {
    parse::one_of(text, &["sops"], "decryption provider")
}

fn crds(text: &str) -> Result<String, String> {
    parse::one_of(text, &["Skip", "Create", "CreateReplace"], "CRD policy")
}

/// A source as an object names it.
fn source_ref(written: Option<&str>) -> Value {
    let named = parse::reference(written.unwrap_or_default());
    let mut source = Spec::default();
    source
        .text("kind", Some(&named.kind))
        .put("name", named.name)
        .text("namespace", Some(&named.namespace));
    source.value()
}

fn ready(noun: &Noun, object: &Value) -> Vec<String> {
    vec![
        format!("{} {} is ready", noun.kind, state::name(object)),
        wait::success_message(noun, object),
    ]
}

fn story(kind: &'static str) -> Story {
    Story {
        generated: kind,
        applied: kind,
        created: kind,
        end: ready,
    }
}

/// Creates a Kustomization.
pub(super) async fn kustomization(call: &mut Call<'_, '_>, options: &Kustomization) -> Outcome {
    demand(given(options.source.as_ref()), "source is required")?;
    let mut spec = Spec::default();
    spec.put("interval", call.interval.clone())
        .put("path", options.path.clone())
        .put("prune", options.prune)
        .put("sourceRef", source_ref(options.source.as_deref()))
        .text("targetNamespace", options.target_namespace.as_deref())
        .text("serviceAccountName", options.service_account.as_deref())
        .text("retryInterval", options.retry_interval.as_deref());
    if !options.depends_on.is_empty() {
        let list: Vec<Value> = options
            .depends_on
            .iter()
            .map(|name| parse::dependency(name))
            .collect();
        spec.put("dependsOn", list);
    }
    if given(options.kubeconfig_secret_ref.as_ref()) {
        spec.put(
            "kubeConfig",
            json!({"secretRef": {"name": options.kubeconfig_secret_ref}}),
        );
    }
    if !options.health_check.is_empty() && !options.wait {
        let checks: Vec<Value> = options
            .health_check
            .iter()
            .map(|check| health_check(check))
            .collect::<Result<_, _>>()?;
        spec.put("healthChecks", checks)
            .put("timeout", options.health_check_timeout.clone());
    }
    if options.wait {
        spec.put("wait", true)
            .put("timeout", options.health_check_timeout.clone());
    }
    if let Some(provider) = &options.decryption_provider {
        let mut decryption = Spec::default();
        decryption
            .put("provider", provider.as_str())
            .name("secretRef", options.decryption_secret.as_deref());
        spec.put("decryption", decryption.value());
    }
    call.finish("Kustomization", spec.value(), story("Kustomization"))
        .await
}

fn health_check(text: &str) -> Result<Value, Failure> {
    let wrong = || {
        Failure::new(format!(
            "invalid health check '{text}' must be in the format 'kind/name.namespace'"
        ))
    };
    let parts: Vec<&str> = text.split('/').collect();
    let [kind, name] = parts[..] else {
        return Err(wrong());
    };
    if !["HelmRelease", "Deployment", "DaemonSet", "StatefulSet"].contains(&kind) {
        return Err(Failure::new(format!(
            "invalid health check kind '{kind}' can be HelmRelease, Deployment, DaemonSet or StatefulSet"
        )));
    }
    let parts: Vec<&str> = name.split('.').collect();
    let [name, namespace] = parts[..] else {
        return Err(wrong());
    };
    let mut check = json!({"kind": kind, "name": name, "namespace": namespace});
    if kind == "HelmRelease" {
        check["apiVersion"] = "helm.toolkit.fluxcd.io/v2".into();
    }
    Ok(check)
}

/// Creates a HelmRelease.
pub(super) async fn helm_release(call: &mut Call<'_, '_>, options: &HelmRelease) -> Outcome {
    let (chart, chart_ref) = (given(options.chart.as_ref()), given(options.chart_ref.as_ref()));
    demand(chart || chart_ref, "chart or chart-ref is required")?;
    demand(
        !(chart && chart_ref),
        "cannot use --chart in combination with --chart-ref",
    )?;
    let strategy = options.reconcile_strategy.as_str();
    if !["Revision", "ChartVersion"].contains(&strategy) {
        return Err(Failure::new(format!(
            "'{strategy}' is an invalid reconcile strategy(valid: Revision, ChartVersion)"
        )));
    }
    let mut spec = Spec::default();
    spec.put("interval", call.interval.clone())
        .text("releaseName", options.release_name.as_deref())
        .text("targetNamespace", options.target_namespace.as_deref())
        .text("storageNamespace", options.storage_namespace.as_deref())
        .text("serviceAccountName", options.service_account.as_deref());
    if !options.depends_on.is_empty() {
        let list: Vec<Value> = options
            .depends_on
            .iter()
            .map(|name| parse::dependency(name))
            .collect();
        spec.put("dependsOn", list);
    }
    if chart {
        let mut template = Spec::default();
        template
            .text("chart", options.chart.as_deref())
            .text("version", options.chart_version.as_deref())
            .put("reconcileStrategy", strategy)
            .put("sourceRef", source_ref(options.source.as_deref()))
            .text(
                "interval",
                options
                    .chart_interval
                    .as_deref()
                    .filter(|interval| *interval != "0s"),
            );
        spec.put("chart", json!({"spec": template.value()}));
    } else {
        let named = parse::reference(options.chart_ref.as_deref().unwrap_or_default());
        if !["OCIRepository", "HelmChart"].contains(&named.kind.as_str()) {
            return Err(Failure::new(format!(
                "chart reference kind '{}' is not supported, must be one of: OCIRepository, HelmChart",
                named.kind
            )));
        }
        spec.put("chartRef", source_ref(options.chart_ref.as_deref()));
    }
    if given(options.kubeconfig_secret_ref.as_ref()) {
        spec.put(
            "kubeConfig",
            json!({"secretRef": {"name": options.kubeconfig_secret_ref}}),
        );
    }
    let mut install = Spec::default();
    install.flag("createNamespace", options.create_target_namespace);
    if let Some(crds) = &options.crds {
        install.put("crds", "Create");
        spec.put("upgrade", json!({"crds": crds}));
    }
    if !install.0.is_empty() {
        spec.put("install", install.value());
    }
    let values = values(call, &options.values)?;
    if !options.values.is_empty() {
        spec.put("values", values);
    }
    if !options.values_from.is_empty() {
        let list: Vec<Value> = options
            .values_from
            .iter()
            .map(|text| values_from(text))
            .collect::<Result<_, _>>()?;
        spec.put("valuesFrom", list);
    }
    call.finish("HelmRelease", spec.value(), story("HelmRelease"))
        .await
}

/// Files of values, one merged over the other.
fn values(call: &Call<'_, '_>, files: &[String]) -> Result<Value, Failure> {
    let mut all = Value::Object(Map::new());
    for file in files {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(format!("reading values from {file} failed: {error}"))
        };
        let data = call.file(file).map_err(|error| failed(&error))?;
        let text = String::from_utf8(data).map_err(|_| failed(&"it is no UTF-8"))?;
        let values = fluvial_yaml::yaml_to_json(&text, false).map_err(|error| {
            Failure::new(format!("converting values to JSON from {file} failed: {error}"))
        })?;
        match values {
            Value::Object(_) => merge(&mut all, values),
            Value::Null => {}
            _ => {
                return Err(Failure::new(format!(
                    "unmarshaling values from {file} failed: the file must hold a map"
                )));
            }
        }
    }
    Ok(all)
}

fn merge(target: &mut Value, other: Value) {
    match (target, other) {
        (Value::Object(target), Value::Object(other)) => {
            for (key, value) in other {
                match target.get_mut(&key) {
                    Some(inner) if inner.is_object() && value.is_object() => merge(inner, value),
                    _ => {
                        target.insert(key, value);
                    }
                }
            }
        }
        (target, other) => *target = other,
    }
}

fn values_from(text: &str) -> Result<Value, Failure> {
    let named = parse::kind_and_name(text);
    if named.kind.is_empty() {
        return Err(Failure::new(format!(
            "invalid Kubernetes object reference '{text}', must be in format <kind>/<name>"
        )));
    }
    let kinds = ["Secret", "ConfigMap"];
    let Some(kind) = kinds.iter().find(|kind| kind.eq_ignore_ascii_case(&named.kind)) else {
        return Err(Failure::new(format!(
            "reference kind '{}' is not supported, must be one of: {}",
            named.kind,
            kinds.join(", ")
        )));
    };
    Ok(json!({"kind": kind, "name": named.name}))
}

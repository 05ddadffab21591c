//! The arguments of Flux's controllers, as far as they bind what objects may do: read from Deployments that a repository
//! holds (and patches), or from the command line of `serve`, and turned into the settings of this process.

use std::collections::{BTreeMap, BTreeSet};

use fluvial_controllers::{Restrictions, Settings};
use fluvial_object::ObjectExt;
use serde_json::Value;

/// Who reconciles Kustomizations.
const KUSTOMIZE: &str = "kustomize-controller";
/// Who reconciles HelmReleases.
const HELM: &str = "helm-controller";
/// Who reconciles sources.
const SOURCE: &str = "source-controller";
/// Who makes artifacts of artifacts.
const WATCHER: &str = "source-watcher";

/// Arguments that say how a process runs, and nothing about what objects may do.
const HARMLESS: [&str; 34] = [
    "artifact-digest-algo",
    "artifact-retention-records",
    "artifact-retention-ttl",
    "concurrent",
    "concurrent-ssa",
    "enable-leader-election",
    "events-addr",
    "graceful-shutdown-timeout",
    "health-addr",
    "helm-cache-max-size",
    "helm-cache-purge-interval",
    "helm-cache-ttl",
    "helm-chart-file-max-size",
    "helm-chart-max-size",
    "helm-index-max-size",
    "http-retry",
    "interval-jitter-percentage",
    "kube-api-burst",
    "kube-api-qps",
    "leader-election-lease-duration",
    "leader-election-release-on-cancel",
    "leader-election-renew-deadline",
    "leader-election-retry-period",
    "log-encoding",
    "log-level",
    "max-retry-delay",
    "metrics-addr",
    "min-retry-delay",
    "oom-watch-interval",
    "oom-watch-memory-threshold",
    "requeue-dependency",
    "storage-addr",
    "storage-adv-addr",
    "storage-path",
];
/// Arguments that are a switch, so that the next word is no value of theirs.
const SWITCHES: [&str; 4] = [
    "enable-leader-election",
    "no-cross-namespace-refs",
    "no-remote-bases",
    "watch-all-namespaces",
];

/// What a repository's Deployments ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The settings that follow.
    pub settings: Settings,
    /// The arguments that count, each with the controllers that have it.
    pub honoured: Vec<String>,
    /// What cannot be taken over, and why.
    pub remarks: Vec<String>,
}

/// Arguments by name, of one Deployment.
type Arguments = BTreeMap<String, String>;

/// Reads the Deployments among some objects.
pub(crate) fn asked<'o>(objects: impl Iterator<Item = &'o Value>) -> Asked {
    let mut deployments: BTreeMap<&'static str, Vec<Arguments>> = BTreeMap::new();
    for object in objects.filter(|object| object.kind() == "Deployment" && object.group() == "apps") {
        if let Some(controller) = controller(object) {
            deployments.entry(controller).or_default().push(arguments(object));
        }
    }
    let mut asked = Asked::default();
    for (controller, all) in &deployments {
        asked.take(controller, all);
    }
    asked.say(&deployments);
    asked
}

/// Which of Flux's controllers a Deployment runs: by its name, or that with something behind it, as shards have.
fn controller(object: &Value) -> Option<&'static str> {
    let name = object.name();
    [KUSTOMIZE, HELM, SOURCE, WATCHER].into_iter().find(|controller| {
        name.strip_prefix(controller)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    })
}

fn arguments(object: &Value) -> Arguments {
    let words: Vec<&str> = object
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|container| container["args"].as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut arguments = Arguments::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let Some(word) = word.strip_prefix("--") else {
            continue;
        };
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None if SWITCHES.contains(&word) => (word, "true".to_owned()),
            None => {
                let next = words.next_if(|next| !next.starts_with("--"));
                (word, next.unwrap_or("true").to_owned())
            }
        };
        // Feature gates add up; of all others the last one counts.
        match arguments.get_mut(name) {
            Some(gates) if name == "feature-gates" => {
                gates.push(',');
                gates.push_str(&value);
            }
            _ => {
                arguments.insert(name.to_owned(), value);
            }
        }
    }
    arguments
}

fn is_on(arguments: &Arguments, name: &str) -> bool {
    arguments
        .get(name)
        .is_some_and(|value| matches!(value.as_str(), "true" | "1" | "t" | "T" | "TRUE" | "True"))
}

fn filled(arguments: &Arguments, name: &str) -> Option<String> {
    arguments.get(name).filter(|value| !value.is_empty()).cloned()
}

/// A feature gate, if the arguments set it.
fn gate(arguments: &Arguments, name: &str) -> Option<bool> {
    let gates = arguments.get("feature-gates")?;
    gates
        .split(',')
        .filter_map(|gate| gate.split_once('='))
        .filter(|(gate, _)| gate.trim() == name)
        .map(|(_, value)| value.trim() == "true")
        .next_back()
}

/// The value that all Deployments of a controller have; nothing if they differ.
fn common<T: PartialEq>(all: &[Arguments], read: impl Fn(&Arguments) -> T) -> Option<T> {
    let mut values = all.iter().map(read);
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

impl Asked {
    /// Takes over what the Deployments of one controller say.
    fn take(&mut self, controller: &str, all: &[Arguments]) {
        let selector = common(all, |arguments| filled(arguments, "watch-label-selector"));
        if selector.is_none() {
            self.remarks.push(format!(
                "the repository divides the work of {controller} among {} Deployments by --watch-label-selector; here one process does all of it",
                all.len()
            ));
        }
        let restrictions = Restrictions {
            selector: selector.flatten(),
            no_cross_namespace_refs: all.iter().any(|one| is_on(one, "no-cross-namespace-refs")),
            default_service_account: all.iter().find_map(|one| filled(one, "default-service-account")),
        };
        let settings = &mut self.settings;
        match controller {
            KUSTOMIZE => {
                settings.kustomizations = restrictions;
                settings.no_remote_bases = all.iter().any(|one| is_on(one, "no-remote-bases"));
                settings.config_selector =
                    common(all, |one| filled(one, "watch-configs-label-selector")).flatten();
                if let Some(strict) = all
                    .iter()
                    .find_map(|one| gate(one, "StrictPostBuildSubstitutions"))
                {
                    settings.strict_substitution = strict;
                }
                settings.additive_ready_expr = all
                    .iter()
                    .any(|one| gate(one, "AdditiveCELDependencyCheck") == Some(true));
                let secret = all.iter().find_map(|one| filled(one, "sops-age-secret"));
                settings.sops_age_secret = secret.map(|name| ("flux-system".to_owned(), name));
            }
            HELM => {
                settings.releases = restrictions;
                let is_on = |name: &str| all.iter().any(|one| gate(one, name) == Some(true));
                settings.only_retry = is_on("DefaultToRetryOnFailure");
                settings.versions_with_digest = !is_on("DisableChartDigestTracking");
            }
            SOURCE => settings.sources.selector = restrictions.selector,
            _ => settings.sources.no_cross_namespace_refs = restrictions.no_cross_namespace_refs,
        }
        // A process that looks at one namespace only looks at its own.
        if all.iter().any(|one| {
            one.get("watch-all-namespaces")
                .is_some_and(|value| value == "false")
        }) {
            settings.namespace = Some("flux-system".to_owned());
        }
    }

    /// Says what counts and what does not.
    fn say(&mut self, deployments: &BTreeMap<&'static str, Vec<Arguments>>) {
        let mut shown: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
        for (controller, all) in deployments {
            for (name, value) in all.iter().flatten() {
                if !HARMLESS.contains(&name.as_str()) {
                    shown
                        .entry((name.clone(), value.clone()))
                        .or_default()
                        .insert(controller);
                }
            }
        }
        for ((name, value), controllers) in shown {
            // Flux's own manifests say so of every controller.
            if name == "watch-all-namespaces" && value == "true" {
                continue;
            }
            let controllers = controllers.into_iter().collect::<Vec<_>>().join(", ");
            let text = format!("--{name}={value} ({controllers})");
            if self.counts(&name, &value) {
                self.honoured.push(text);
            } else {
                self.remarks.push(format!(
                    "the repository starts Flux with {text}, which has no meaning here"
                ));
            }
        }
    }

    /// Whether an argument has become a setting.
    fn counts(&self, name: &str, value: &str) -> bool {
        let settings = &self.settings;
        let of_all = [&settings.kustomizations, &settings.releases, &settings.sources];
        match name {
            "no-cross-namespace-refs" | "no-remote-bases" | "watch-all-namespaces" | "sops-age-secret" => {
                true
            }
            "default-service-account" => !value.is_empty(),
            "watch-label-selector" => of_all.iter().any(|one| one.selector.as_deref() == Some(value)),
            "watch-configs-label-selector" => settings.config_selector.as_deref() == Some(value),
            "feature-gates" => value.split(',').all(|gate| {
                let name = gate.split('=').next().unwrap_or_default().trim();
                matches!(
                    name,
                    "StrictPostBuildSubstitutions"
                        | "AdditiveCELDependencyCheck"
                        | "DefaultToRetryOnFailure"
                        | "DisableChartDigestTracking"
                )
            }),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(name: &str, arguments: &[&str]) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "flux-system"},
            "spec": {"template": {"spec": {"containers": [{"name": "manager", "args": arguments}]}}}})
    }

    #[test]
    fn each_controller_binds_its_own_kinds() {
        let objects = [
            deployment(
                KUSTOMIZE,
                &[
                    "--watch-all-namespaces=true",
                    "--log-level=info",
                    "--no-cross-namespace-refs",
                    "--no-remote-bases=true",
                    "--default-service-account",
                    "default",
                ],
            ),
            deployment(
                HELM,
                &["--watch-all-namespaces=true", "--no-cross-namespace-refs=false"],
            ),
        ];
        let asked = asked(objects.iter());
        let settings = &asked.settings;
        assert!(settings.kustomizations.no_cross_namespace_refs && settings.no_remote_bases);
        assert_eq!(
            settings.kustomizations.default_service_account.as_deref(),
            Some("default")
        );
        assert_eq!(settings.releases, Restrictions::default());
        assert_eq!(settings.namespace, None);
        assert_eq!(
            asked.honoured,
            [
                "--default-service-account=default (kustomize-controller)",
                "--no-cross-namespace-refs=false (helm-controller)",
                "--no-cross-namespace-refs=true (kustomize-controller)",
                "--no-remote-bases=true (kustomize-controller)",
            ]
        );
        assert_eq!(asked.remarks, Vec::<String>::new());
    }

    #[test]
    fn selectors_count_unless_they_divide_the_work() {
        let one = [deployment(SOURCE, &["--watch-label-selector=tier=one"])];
        assert_eq!(
            asked(one.iter()).settings.sources.selector.as_deref(),
            Some("tier=one")
        );
        let shards = [
            deployment(SOURCE, &["--watch-label-selector=!shard"]),
            deployment(
                "source-controller-shard1",
                &["--watch-label-selector=shard=shard1"],
            ),
        ];
        let asked = asked(shards.iter());
        assert_eq!(asked.settings.sources.selector, None);
        assert!(
            asked.remarks[0].contains("divides the work of source-controller"),
            "{:?}",
            asked.remarks
        );
    }

    #[test]
    fn gates_and_one_namespace_count_and_the_unknown_is_told() {
        let objects = [deployment(
            KUSTOMIZE,
            &[
                "--watch-all-namespaces=false",
                "--feature-gates=StrictPostBuildSubstitutions=false",
                "--feature-gates=AdditiveCELDependencyCheck=true",
                "--override-manager=somebody",
            ],
        )];
        let gates = "--feature-gates=DefaultToRetryOnFailure=true,DisableChartDigestTracking=true";
        let releases = asked([deployment(HELM, &[gates])].iter());
        assert!(releases.settings.only_retry && !releases.settings.versions_with_digest);
        assert_eq!(releases.honoured.len(), 1, "{:?}", releases.honoured);
        let asked = asked(objects.iter());
        assert_eq!(asked.settings.namespace.as_deref(), Some("flux-system"));
        assert!(!asked.settings.strict_substitution && asked.settings.additive_ready_expr);
        assert_eq!(asked.honoured.len(), 2, "{:?}", asked.honoured);
        assert_eq!(
            asked.remarks,
            [
                "the repository starts Flux with --override-manager=somebody (kustomize-controller), which has no meaning here"
            ]
        );
    }
}

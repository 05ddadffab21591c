//! The canonical order of fields and style of values.

use std::cmp::Ordering;
use std::sync::OnceLock;

use fluvial_yaml::{Node, NodeData, ScalarStyle, is_yaml_1_1_non_string};
use rustc_hash::FxHashMap;

use super::{Error, is_null};
use crate::facts::{Scalar, SchemaRef, schema_for};

/// The order of fields that are known; those that are not come behind them by name.
const FIELDS: &str = "name generateName namespace clusterName apiVersion kind metadata type labels annotations \
    spec status stringData data binaryData parallelism completions activeDeadlineSeconds backoffLimit replicas \
    selector manualSelector template ttlSecondsAfterFinished volumeClaimTemplates service serviceName \
    podManagementPolicy updateStrategy strategy minReadySeconds revision revisionHistoryLimit paused \
    progressDeadlineSeconds restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy \
    serviceAccountName serviceAccount automountServiceAccountToken nodeName hostNetwork hostPID hostIPC \
    shareProcessNamespace hostname subdomain schedulerName priorityClassName priority runtimeClassName \
    enableServiceLinks nodeSelector hostAliases initContainers containers volumes securityContext \
    imagePullSecrets affinity tolerations dnsConfig readinessGates image command args workingDir ports envFrom \
    env resources volumeMounts volumeDevices livenessProbe readinessProbe lifecycle terminationMessagePath \
    terminationMessagePolicy imagePullPolicy securityContext stdin stdinOnce tty clusterIP externalIPs \
    loadBalancerIP loadBalancerSourceRanges externalName externalTrafficPolicy sessionAffinity protocol port \
    targetPort hostPort containerPort hostIP readOnly mountPath subPath subPathExpr mountPropagation value \
    valueFrom fieldRef resourceFieldRef configMapKeyRef secretKeyRef prefix configMapRef secretRef";

/// Kinds and versions whose lists are sorted.
const SORTED_KINDS: [&str; 7] = [
    "CronJob",
    "DaemonSet",
    "Deployment",
    "Job",
    "ReplicaSet",
    "StatefulSet",
    "ValidatingWebhookConfiguration",
];
const SORTED_VERSIONS: [&str; 8] = [
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "batch/v1",
    "batch/v1beta1",
    "extensions/v1beta1",
    "v1",
    "admissionregistration.k8s.io/v1",
];

/// A field's place. A name that stands twice in the list has its last place.
fn place(name: &str) -> Option<usize> {
    static PLACES: OnceLock<FxHashMap<&str, usize>> = OnceLock::new();
    let places = PLACES.get_or_init(|| {
        let names = FIELDS.split_whitespace().enumerate();
        names.map(|(at, name)| (name, at)).collect()
    });
    places.get(name).copied()
}

/// Brings the fields of an object into their canonical order, and sorts its containers. With
/// `use_schema`, values are quoted as their type asks for. Objects without `apiVersion` or `kind`,
/// and those whose annotation `config.kubernetes.io/formatting` is `none`, stay as they are.
///
/// # Errors
/// The annotation has a value that is not known.
pub fn format(node: &mut Node, use_schema: bool) -> Result<(), Error> {
    let strategy = node
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .and_then(|annotations| annotations.get("config.kubernetes.io/formatting"));
    match strategy.and_then(Node::as_text) {
        None | Some("standard") => {}
        Some("none") => return Ok(()),
        Some(other) => {
            return Err(Error {
                pos: strategy.map_or(fluvial_yaml::Pos::NONE, |node| node.pos),
                message: format!("formatting annotation has illegal value {other}"),
            });
        }
    }
    let text = |key: &str| node.get(key).and_then(Node::as_text).map(str::to_owned);
    let (Some(version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        return Ok(());
    };
    let schema = if use_schema {
        schema_for(&version, &kind)
    } else {
        None
    };
    let formatter = Formatter {
        sorts: SORTED_KINDS.contains(&kind.as_str()) && SORTED_VERSIONS.contains(&version.as_str()),
    };
    formatter.node(node, &mut Vec::new(), schema.as_ref());
    Ok(())
}

struct Formatter {
    sorts: bool,
}

impl Formatter {
    fn node(&self, node: &mut Node, path: &mut Vec<String>, schema: Option<&SchemaRef>) {
        if let Some(scalar) = schema.and_then(SchemaRef::scalar) {
            quote_by_type(node, scalar);
        }
        let sorted_by = self.sorted_by(path);
        match &mut node.data {
            NodeData::Mapping { entries, .. } => {
                entries.sort_by(|a, b| {
                    by_place(
                        a.key.as_text().unwrap_or_default(),
                        b.key.as_text().unwrap_or_default(),
                    )
                });
                for entry in entries {
                    let name = entry.key.as_text().unwrap_or_default();
                    let child = schema.and_then(|schema| schema.field(name));
                    path.push(name.to_owned());
                    self.node(&mut entry.value, path, child.as_ref());
                    path.pop();
                }
            }
            NodeData::Sequence { items, .. } => {
                if let Some(field) = sorted_by {
                    items.sort_by(|a, b| sort_value(a, field).cmp(sort_value(b, field)));
                }
                let child = schema.and_then(SchemaRef::items);
                for item in items {
                    self.node(item, path, child.as_ref());
                }
            }
            _ => {}
        }
    }

    /// The field that a list's items are sorted by; an empty name stands for the items themselves.
    fn sorted_by(&self, path: &[String]) -> Option<&'static str> {
        if !self.sorts {
            return None;
        }
        if path == ["spec", "template", "spec", "containers"] {
            Some("name")
        } else if path == ["webhooks", "rules", "operations"] {
            Some("")
        } else {
            None
        }
    }
}

fn sort_value<'n>(item: &'n Node, field: &str) -> &'n str {
    if field.is_empty() {
        return item.as_text().unwrap_or_default();
    }
    item.get(field).and_then(Node::as_text).unwrap_or_default()
}

fn by_place(a: &str, b: &str) -> Ordering {
    match (place(a), place(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Quotes a string that YAML 1.1 would read as something else; takes the quotes off a number or
/// boolean.
fn quote_by_type(node: &mut Node, scalar: Scalar) {
    let null = is_null(node);
    let NodeData::Scalar { text, style } = &mut node.data else {
        return;
    };
    if !is_yaml_1_1_non_string(text) {
        return;
    }
    let quoted = matches!(*style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
    let tag = match scalar {
        Scalar::String => {
            if !quoted && !null {
                *style = ScalarStyle::DoubleQuoted;
            }
            "!!str"
        }
        Scalar::IntOrString => return,
        Scalar::Boolean | Scalar::Integer | Scalar::Number => {
            if quoted {
                *style = ScalarStyle::Plain;
            }
            match scalar {
                Scalar::Boolean => "!!bool",
                Scalar::Integer => "!!int",
                _ => "!!float",
            }
        }
    };
    if null {
        *style = ScalarStyle::Plain;
    } else {
        node.set_tag(Some(tag.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &str, use_schema: bool) -> String {
        let options = fluvial_yaml::ReadOptions::default();
        let mut node = fluvial_yaml::parse_first(text, &options).unwrap().unwrap();
        format(&mut node, use_schema).unwrap();
        fluvial_yaml::emit(&node, &fluvial_yaml::EmitOptions::default())
    }

    #[test]
    fn known_fields_come_first_and_containers_by_name() {
        let text = "zeta: 1\nspec:\n  template:\n    spec:\n      containers:\n      - image: x\n        name: b\n      - name: a\n\
                    kind: Deployment\nalpha: 1\napiVersion: apps/v1\n";
        assert_eq!(
            formatted(text, false),
            "apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:\n      containers:\n      - name: a\n      \
             - name: b\n        image: x\nalpha: 1\nzeta: 1\n"
        );
    }

    #[test]
    fn the_schema_decides_on_quotes() {
        let text = "apiVersion: v1\nkind: Service\nmetadata:\n  labels:\n    a: on\nspec:\n  ports:\n  - port: \"80\"\n";
        let want = "apiVersion: v1\nkind: Service\nmetadata:\n  labels:\n    a: \"on\"\nspec:\n  ports:\n  - port: 80\n";
        assert_eq!(formatted(text, true), want);
    }
}

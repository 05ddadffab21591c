//! Tables: the columns of each kind and what stands in them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::Kind;

mod cells;

const AGE_TEXT: &str = "When the object was made.";

/// A column: name, type, and whether only a wide table shows it.
type Column = (&'static str, &'static str, bool);

const S: &str = "string";
const I: &str = "integer";
const B: &str = "boolean";
const WORKLOAD: [Column; 3] = [
    ("Containers", S, true),
    ("Images", S, true),
    ("Selector", S, true),
];

fn workload(columns: &[Column], rest: usize) -> Vec<Column> {
    let mut all = columns.to_vec();
    all.extend(&WORKLOAD[..rest]);
    all
}

/// The columns of a built-in kind after its name; None if it has no own ones.
fn columns(kind: &Kind) -> Option<Vec<Column>> {
    let age: Column = ("Age", S, false);
    Some(match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => vec![
            ("Ready", S, false),
            ("Status", S, false),
            ("Restarts", S, false),
            age,
            ("IP", S, true),
            ("Node", S, true),
            ("Nominated Node", S, true),
            ("Readiness Gates", S, true),
        ],
        ("", "Service") => vec![
            ("Type", S, false),
            ("Cluster-IP", S, false),
            ("External-IP", S, false),
            ("Port(s)", S, false),
            age,
            ("Selector", S, true),
        ],
        ("", "Secret") => vec![("Type", S, false), ("Data", S, false), age],
        ("", "ConfigMap") => vec![("Data", S, false), age],
        ("", "Namespace") => vec![("Status", S, false), age],
        ("", "ServiceAccount") => vec![age],
        ("", "Endpoints") => vec![("Endpoints", S, false), age],
        ("", "ResourceQuota") => vec![("Request", S, false), ("Limit", S, false), age],
        ("", "Node") => vec![
            ("Status", S, false),
            ("Roles", S, false),
            age,
            ("Version", S, false),
            ("Internal-IP", S, true),
            ("External-IP", S, true),
            ("OS-Image", S, true),
            ("Kernel-Version", S, true),
            ("Container-Runtime", S, true),
        ],
        ("", "PersistentVolumeClaim") => vec![
            ("Status", S, false),
            ("Volume", S, false),
            ("Capacity", S, false),
            ("Access Modes", S, false),
            ("StorageClass", S, false),
            ("VolumeAttributesClass", S, false),
            age,
            ("VolumeMode", S, true),
        ],
        ("", "PersistentVolume") => vec![
            ("Capacity", S, false),
            ("Access Modes", S, false),
            ("Reclaim Policy", S, false),
            ("Status", S, false),
            ("Claim", S, false),
            ("StorageClass", S, false),
            ("VolumeAttributesClass", S, false),
            ("Reason", S, false),
            age,
            ("VolumeMode", S, true),
        ],
        ("", "Event") | ("events.k8s.io", "Event") => {
            return Some(vec![
                ("Last Seen", S, false),
                ("Type", S, false),
                ("Reason", S, false),
                ("Object", S, false),
                ("Subobject", S, true),
                ("Source", S, true),
                ("Message", S, false),
                ("First Seen", S, true),
                ("Count", S, true),
                ("Name", S, true),
            ]);
        }
        ("apps", "Deployment") => workload(
            &[
                ("Ready", S, false),
                ("Up-to-date", S, false),
                ("Available", S, false),
                age,
            ],
            3,
        ),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => workload(
            &[
                ("Desired", I, false),
                ("Current", I, false),
                ("Ready", I, false),
                age,
            ],
            3,
        ),
        ("apps", "StatefulSet") => workload(&[("Ready", S, false), age], 2),
        ("apps", "DaemonSet") => workload(
            &[
                ("Desired", I, false),
                ("Current", I, false),
                ("Ready", I, false),
                ("Up-to-date", I, false),
                ("Available", I, false),
                ("Node Selector", S, false),
                age,
            ],
            3,
        ),
        ("apps", "ControllerRevision") => vec![("Controller", S, false), ("Revision", S, false), age],
        ("batch", "Job") => workload(
            &[
                ("Status", S, false),
                ("Completions", S, false),
                ("Duration", S, false),
                age,
            ],
            3,
        ),
        ("batch", "CronJob") => workload(
            &[
                ("Schedule", S, false),
                ("Timezone", S, false),
                ("Suspend", B, false),
                ("Active", I, false),
                ("Last Schedule", S, false),
                age,
            ],
            3,
        ),
        ("autoscaling", _) => vec![
            ("Reference", S, false),
            ("Targets", S, false),
            ("MinPods", S, false),
            ("MaxPods", S, false),
            ("Replicas", S, false),
            age,
        ],
        ("networking.k8s.io", "Ingress") => {
            vec![
                ("Class", S, false),
                ("Hosts", S, false),
                ("Address", S, false),
                ("Ports", S, false),
                age,
            ]
        }
        ("networking.k8s.io", "IngressClass") => {
            vec![("Controller", S, false), ("Parameters", S, false), age]
        }
        ("networking.k8s.io", "NetworkPolicy") => vec![("Pod-Selector", S, false), age],
        ("policy", "PodDisruptionBudget") => vec![
            ("Min Available", S, false),
            ("Max Unavailable", S, false),
            ("Allowed Disruptions", I, false),
            age,
        ],
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => vec![
            ("Role", S, false),
            age,
            ("Users", S, true),
            ("Groups", S, true),
            ("ServiceAccounts", S, true),
        ],
        _ => return more_columns(kind),
    })
}

fn more_columns(kind: &Kind) -> Option<Vec<Column>> {
    let age: Column = ("Age", S, false);
    Some(match (kind.group.as_str(), kind.kind.as_str()) {
        ("storage.k8s.io", "StorageClass") => vec![
            ("Provisioner", S, false),
            ("ReclaimPolicy", S, false),
            ("VolumeBindingMode", S, false),
            ("AllowVolumeExpansion", S, false),
            age,
        ],
        ("storage.k8s.io", "CSIDriver") => vec![
            ("AttachRequired", B, false),
            ("PodInfoOnMount", B, false),
            ("StorageCapacity", B, false),
            ("TokenRequests", S, false),
            ("RequiresRepublish", B, false),
            ("Modes", S, false),
            age,
        ],
        ("scheduling.k8s.io", "PriorityClass") => vec![
            ("Value", I, false),
            ("Global-Default", B, false),
            age,
            ("PreemptionPolicy", S, false),
        ],
        ("certificates.k8s.io", "CertificateSigningRequest") => vec![
            age,
            ("SignerName", S, false),
            ("Requestor", S, false),
            ("RequestedDuration", S, false),
            ("Condition", S, false),
        ],
        ("node.k8s.io", "RuntimeClass") => vec![("Handler", S, false), age],
        ("coordination.k8s.io", "Lease") => vec![("Holder", S, false), age],
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => {
            vec![("Webhooks", I, false), age]
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            vec![("Validations", I, false), ("ParamKind", S, false), age]
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            vec![("Mutations", I, false), ("ParamKind", S, false), age]
        }
        ("admissionregistration.k8s.io", _) => vec![("PolicyName", S, false), ("ParamRef", S, false), age],
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => vec![
            ("Type", S, false),
            ("NominalConcurrencyShares", S, false),
            ("Queues", S, false),
            ("HandSize", S, false),
            ("QueueLengthLimit", S, false),
            age,
        ],
        ("discovery.k8s.io", "EndpointSlice") => {
            vec![
                ("AddressType", S, false),
                ("Ports", S, false),
                ("Endpoints", S, false),
                age,
            ]
        }
        _ => return None,
    })
}

fn definition(name: &str, kind: &str, format: &str, text: &str, wide: bool) -> Value {
    json!({"name": name, "type": kind, "format": format, "description": text, "priority": i32::from(wide)})
}

/// The table's columns.
#[must_use]
pub fn definitions(kind: &Kind) -> Value {
    let name = definition(
        "Name",
        S,
        "name",
        "Name of the object, unique in its namespace.",
        false,
    );
    if let Some(custom) = &kind.custom {
        let mut all = vec![name];
        for column in &custom.columns {
            let text = if column.description.is_empty() {
                format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    column.path
                )
            } else {
                column.description.clone()
            };
            let mut definition = definition(&column.name, &column.kind, &column.format, &text, false);
            definition["priority"] = column.priority.into();
            all.push(definition);
        }
        if custom.columns.is_empty() {
            all.push(definition("Age", "date", "", AGE_TEXT, false));
        }
        return all.into();
    }
    let Some(columns) = columns(kind) else {
        let made = definition("Created At", "date", "", AGE_TEXT, false);
        return json!([name, made]);
    };
    let event = kind.kind == "Event";
    let mut all = if event { vec![] } else { vec![name] };
    for (name, base, wide) in columns {
        let format = if name == "Name" { "name" } else { "" };
        all.push(definition(name, base, format, "", wide));
    }
    all.into()
}

/// The cells of an object's row.
#[must_use]
pub fn cells(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = object["metadata"]["name"].clone();
    let age = age(&object["metadata"]["creationTimestamp"], now);
    if let Some(custom) = &kind.custom {
        let mut cells = vec![name];
        cells.extend(
            custom
                .columns
                .iter()
                .map(|column| custom_cell(column, object, now)),
        );
        if custom.columns.is_empty() {
            cells.push(age.into());
        }
        return cells;
    }
    if columns(kind).is_none() {
        return vec![name, object["metadata"]["creationTimestamp"].clone()];
    }
    cells::of(kind, object, &name, &age, now)
}

fn custom_cell(column: &crate::crd::Column, object: &Value, now: Timestamp) -> Value {
    let found = column
        .template
        .find(object, fluvial_object::jsonpath::Options::default())
        .unwrap_or_default();
    let Some(first) = found.iter().flatten().next() else {
        return Value::Null;
    };
    match (column.kind.as_str(), first) {
        ("integer", Value::Number(number)) => number.as_i64().map_or(Value::Null, Value::from),
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => first.clone(),
        ("string", Value::String(text)) => text.clone().into(),
        ("string", Value::Null) => Value::Null,
        ("string", other) => other.to_string().into(),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(_) => age(first, now).into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

/// How long ago a time was, as tables show it.
#[must_use]
pub fn age(time: &Value, now: Timestamp) -> String {
    match time.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(time) => human(now.as_second() - time.as_second()),
        None => "<unknown>".to_owned(),
    }
}

/// A span of seconds in one or two units.
#[must_use]
pub fn human(seconds: i64) -> String {
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{unit}")
        } else {
            format!("{big}{unit}{small}{small_unit}")
        }
    };
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    if seconds < 0 {
        return "0s".to_owned();
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

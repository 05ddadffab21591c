//! Tables: the columns of each kind and what stands in them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::Kind;

mod cells;

const AGE_TEXT: &str = "When the object was made.";

const S: &str = "string";

/// Whether there are tables of a kind, or of a subresource of it.
#[must_use]
pub fn is_shown(kind: &Kind, subresource: &str) -> bool {
    match subresource {
        "" => kind.can("get") || kind.can("list"),
        "approval"
        | "binding"
        | "ephemeralcontainers"
        | "eviction"
        | "finalize"
        | "log"
        | "resize"
        | "token" => false,
        "status" => {
            !matches!(
                kind.kind.as_str(),
                "CustomResourceDefinition" | "APIService" | "ResourceClaim"
            ) || kind.custom.is_some()
        }
        _ => true,
    }
}

/// Columns of a kind after its name. `*` before a name: shown in wide tables only; `#`: an integer;
/// `?`: a boolean; `@`: a name.
fn columns(kind: &Kind) -> Option<&'static str> {
    Some(match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => "Ready,Status,Restarts,Age,*IP,*Node,*Nominated Node,*Readiness Gates",
        ("", "Service") => "Type,Cluster-IP,External-IP,Port(s),Age,*Selector",
        ("", "Secret") => "Type,Data,Age",
        ("", "ConfigMap") => "Data,Age",
        ("", "Namespace") => "Status,Age",
        ("", "ServiceAccount") => "Age",
        ("", "Endpoints") => "Endpoints,Age",
        ("", "ResourceQuota") => "Request,Limit,Age",
        ("", "Node") => {
            "Status,Roles,Age,Version,*Internal-IP,*External-IP,*OS-Image,*Kernel-Version,*Container-Runtime"
        }
        ("", "PersistentVolumeClaim") => {
            "Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age,*VolumeMode"
        }
        ("", "PersistentVolume") => {
            "Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,VolumeAttributesClass,Reason,Age,*VolumeMode"
        }
        ("" | "events.k8s.io", "Event") => {
            "Last Seen,Type,Reason,Object,*Subobject,*Source,Message,*First Seen,*Count,*Name"
        }
        ("apps", "Deployment") => "Ready,Up-to-date,Available,Age,*Containers,*Images,*Selector",
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            "#Desired,#Current,#Ready,Age,*Containers,*Images,*Selector"
        }
        ("apps", "StatefulSet") => "Ready,Age,*Containers,*Images",
        ("apps", "DaemonSet") => {
            "#Desired,#Current,#Ready,#Up-to-date,#Available,Node Selector,Age,*Containers,*Images,*Selector"
        }
        ("apps", "ControllerRevision") => "Controller,Revision,Age",
        ("batch", "Job") => "Status,Completions,Duration,Age,*Containers,*Images,*Selector",
        ("batch", "CronJob") => {
            "Schedule,Timezone,?Suspend,#Active,Last Schedule,Age,*Containers,*Images,*Selector"
        }
        ("autoscaling", "Scale") => "#Desired,#Available,Age",
        ("autoscaling", _) => "Reference,Targets,MinPods,MaxPods,Replicas,Age",
        ("networking.k8s.io", "Ingress") => "Class,Hosts,Address,Ports,Age",
        ("networking.k8s.io", "IngressClass") => "Controller,Parameters,Age",
        ("networking.k8s.io", "NetworkPolicy") => "Pod-Selector,Age",
        ("policy", "PodDisruptionBudget") => "Min Available,Max Unavailable,#Allowed Disruptions,Age",
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            "Role,Age,*Users,*Groups,*ServiceAccounts"
        }
        ("storage.k8s.io", "StorageClass") => {
            "Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age"
        }
        ("storage.k8s.io", "CSIDriver") => {
            "?AttachRequired,?PodInfoOnMount,?StorageCapacity,TokenRequests,?RequiresRepublish,Modes,Age"
        }
        ("scheduling.k8s.io", "PriorityClass") => "#Value,?Global-Default,Age,PreemptionPolicy",
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            "Age,SignerName,Requestor,RequestedDuration,Condition"
        }
        ("", "PodTemplate") => "Containers,Images,Pod Labels",
        ("networking.k8s.io", "ServiceCIDR") => "CIDRs,Age",
        // Its rows have a cell more than there are columns.
        ("networking.k8s.io", "IPAddress") => "ParentRef",
        ("storage.k8s.io", "CSINode") => "#Drivers,Age",
        ("storage.k8s.io", "VolumeAttachment") => "@Attacher,PV,Node,?Attached,Age",
        ("storage.k8s.io", "VolumeAttributesClass") => "DriverName,Age",
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => {
            "PriorityLevel,MatchingPrecedence,DistinguisherMethod,Age,MissingPL"
        }
        ("apiregistration.k8s.io", "APIService") => "Service,Available,Age",
        ("resource.k8s.io", "ResourceClaim") => "State,Age",
        ("resource.k8s.io", "ResourceSlice") => "Node,Driver,Pool,Age",
        ("resource.k8s.io", "DeviceClass" | "ResourceClaimTemplate") => "Age",
        ("node.k8s.io", "RuntimeClass") => "Handler,Age",
        ("coordination.k8s.io", "Lease") => "Holder,Age",
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => "#Webhooks,Age",
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => "#Validations,ParamKind,Age",
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => "#Mutations,ParamKind,Age",
        ("admissionregistration.k8s.io", _) => "PolicyName,ParamRef,Age",
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
            "Type,NominalConcurrencyShares,Queues,HandSize,QueueLengthLimit,Age"
        }
        ("discovery.k8s.io", "EndpointSlice") => "AddressType,Ports,Endpoints,Age",
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
            let text = Some(&column.description).filter(|text| !text.is_empty()).cloned();
            let text = text.unwrap_or_else(|| {
                format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    column.path
                )
            });
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
    if kind.kind == "Scale" {
        all[0]["format"] = "".into();
    }
    for column in columns.split(',') {
        let name = column.trim_start_matches(['*', '#', '?', '@']);
        let base = match column.as_bytes().first() {
            Some(b'#') => "integer",
            Some(b'?') => "boolean",
            _ => S,
        };
        let format = if name == "Name" || column.starts_with('@') {
            "name"
        } else {
            ""
        };
        all.push(definition(name, base, format, "", column.starts_with('*')));
    }
    all.into()
}

/// Whether the kind has columns of its own: a table of one without them has no rows rather than an empty list.
#[must_use]
pub fn has_columns(kind: &Kind) -> bool {
    kind.custom.is_some() || columns(kind).is_some()
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

pub use cells::conditions;

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

//! What pods and containers may do on their machine.

use std::collections::BTreeSet;

use fluvial_schema::ErrorKind;
use serde_json::Value;

use super::super::common::{Errors, duplicate, forbidden, go_struct, invalid, items, one_of, required, text};
use super::volumes::descending;

fn ids(context: &Value, fields: &[&str], path: &str, errors: &mut Errors) {
    for field in fields {
        id(&context[*field], format!("{path}.{field}"), errors);
    }
}

fn id(value: &Value, path: String, errors: &mut Errors) {
    if let Some(id) = value.as_i64()
        && !(0..=2_147_483_647).contains(&id)
    {
        errors.push(invalid(path, id, "must be between 0 and 2147483647, inclusive"));
    }
}

/// A struct of Go as errors show it: the fields in their order, each under its own name.
fn go(value: &Value, fields: &[(&str, &str)]) -> String {
    if value.is_null() {
        return "null".to_owned();
    }
    let nested: &[(&str, &[(&str, &str)])] = &[
        ("capabilities", &[("Add", "add"), ("Drop", "drop")]),
        (
            "seLinuxOptions",
            &[
                ("User", "user"),
                ("Role", "role"),
                ("Type", "type"),
                ("Level", "level"),
            ],
        ),
        (
            "seccompProfile",
            &[("Type", "type"), ("LocalhostProfile", "localhostProfile")],
        ),
        (
            "appArmorProfile",
            &[("Type", "type"), ("LocalhostProfile", "localhostProfile")],
        ),
    ];
    let shown: Vec<String> = fields
        .iter()
        .map(|(name, field)| {
            let inner = nested.iter().find(|(own, _)| own == field);
            let text = match (inner, &value[*field]) {
                (_, Value::Null) => "null".to_owned(),
                (Some((_, fields)), found) => go(found, fields),
                (None, found) => found.to_string(),
            };
            format!("\"{name}\":{text}")
        })
        .collect();
    format!("{{{}}}", shown.join(","))
}

const CONTEXT: &[(&str, &str)] = &[
    ("Capabilities", "capabilities"),
    ("Privileged", "privileged"),
    ("SELinuxOptions", "seLinuxOptions"),
    ("WindowsOptions", "windowsOptions"),
    ("RunAsUser", "runAsUser"),
    ("RunAsGroup", "runAsGroup"),
    ("RunAsNonRoot", "runAsNonRoot"),
    ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem"),
    ("AllowPrivilegeEscalation", "allowPrivilegeEscalation"),
    ("ProcMount", "procMount"),
    ("SeccompProfile", "seccompProfile"),
    ("AppArmorProfile", "appArmorProfile"),
];

/// A profile of seccomp or AppArmor.
fn profile(context: &Value, field: &str, what: &str, path: &str, errors: &mut Errors) {
    let profile = &context[field];
    if profile.is_null() {
        return;
    }
    let path = format!("{path}.{field}");
    let kind = text(profile, "type");
    if kind.is_empty() {
        let detail = format!("type is required when {field} is set");
        errors.push(required(format!("{path}.type"), &detail));
    }
    let kinds = ["Localhost", "RuntimeDefault", "Unconfined"];
    if !kind.is_empty() {
        one_of(&profile["type"], &kinds, format!("{path}.type"), errors);
    }
    let local = &profile["localhostProfile"];
    let at = format!("{path}.localhostProfile");
    if kind == "Localhost" {
        match local.as_str() {
            None => {
                let detail = format!("must be set when {what} type is Localhost");
                errors.push(required(at, &detail));
            }
            Some(file) => descending(file, &at, errors),
        }
    } else if !local.is_null() && (what != "AppArmor" || !kind.is_empty()) {
        let shown = go(
            profile,
            &[("Type", "type"), ("LocalhostProfile", "localhostProfile")],
        );
        let detail = format!("can only be set when {what} type is Localhost");
        errors.push(go_struct(ErrorKind::Invalid, at, &shown, &detail));
    }
}

/// The security context of a container.
pub(super) fn container(context: &Value, host_users: bool, path: &str, errors: &mut Errors) {
    if context.is_null() {
        return;
    }
    ids(context, &["runAsUser", "runAsGroup"], path, errors);
    let proc = format!("{path}.procMount");
    one_of(
        &context["procMount"],
        &["Default", "Unmasked"],
        proc.clone(),
        errors,
    );
    if context["procMount"] == "Unmasked" && host_users {
        let detail = "`hostUsers` must be false to use `Unmasked`";
        errors.push(invalid(proc, "Unmasked", detail));
    }
    profile(context, "seccompProfile", "seccomp", path, errors);
    if context["allowPrivilegeEscalation"] == false {
        let shown = go(context, CONTEXT);
        let mut refuse = |what: &str| {
            let detail = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
            errors.push(go_struct(ErrorKind::Invalid, path, &shown, &detail));
        };
        if context["privileged"] == true {
            refuse("`privileged` to true");
        }
        let added = context["capabilities"]["add"].as_array();
        if added
            .into_iter()
            .flatten()
            .any(|capability| capability == "CAP_SYS_ADMIN")
        {
            refuse("`capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    profile(context, "appArmorProfile", "AppArmor", path, errors);
}

/// Whether a text is a kernel parameter's name.
fn is_sysctl(name: &str) -> bool {
    let low = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|byte| low(*byte))
            && bytes.last().is_some_and(|byte| low(*byte))
            && bytes.iter().all(|byte| low(*byte) || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split(['.', '/']).all(part)
}

/// Parameters of the kernel that each space of processes has for itself.
const IPC_SYSCTLS: &[&str] = &["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];

fn sysctls(spec: &Value, path: &str, errors: &mut Errors) {
    let context = &spec["securityContext"];
    let mut seen = BTreeSet::new();
    for (index, sysctl) in items(context, "sysctls") {
        let path = format!("{path}.sysctls[{index}].name");
        let name = text(sysctl, "name");
        if name.is_empty() {
            errors.push(required(path.clone(), ""));
        } else if !is_sysctl(name) {
            let detail = "must have at most 253 characters and match regex \
                          ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(invalid(path.clone(), name, detail));
        } else if !seen.insert(name) {
            errors.push(duplicate(path.clone(), name));
        }
        let name = name.replace('/', ".");
        let space = if name.starts_with("net.") {
            "hostNetwork"
        } else if IPC_SYSCTLS.iter().any(|head| name.starts_with(head)) {
            "hostIPC"
        } else {
            continue;
        };
        if spec[space] == true {
            let detail = format!("may not be specified when '{space}' is true");
            errors.push(invalid(path, text(sysctl, "name"), detail));
        }
    }
}

/// The security context of a pod, and what it shares with its machine.
pub(super) fn pod(spec: &Value, path: &str, errors: &mut Errors) {
    let context = &spec["securityContext"];
    let own = format!("{path}.securityContext");
    ids(context, &["fsGroup", "runAsUser", "runAsGroup"], &own, errors);
    for (index, group) in items(context, "supplementalGroups") {
        id(group, format!("{own}.supplementalGroups[{index}]"), errors);
    }
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(invalid(format!("{own}.shareProcessNamespace"), true, detail));
    }
    sysctls(spec, &own, errors);
    for (field, allowed) in [
        ("fsGroupChangePolicy", &["Always", "OnRootMismatch"][..]),
        ("supplementalGroupsPolicy", &["Merge", "Strict"]),
        // The other way is known but not switched on.
        ("seLinuxChangePolicy", &["Recursive"]),
    ] {
        one_of(&context[field], allowed, format!("{own}.{field}"), errors);
    }
    profile(context, "seccompProfile", "seccomp", &own, errors);
    profile(context, "appArmorProfile", "AppArmor", &own, errors);
}

/// A pod with users of its own shares nothing of the machine's.
pub(super) fn host_users(spec: &Value, path: &str, errors: &mut Errors) {
    if spec["hostUsers"] != false {
        return;
    }
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[field] == true {
            errors.push(forbidden(format!("{path}.{field}"), "when `hostUsers` is false"));
        }
    }
}

/// What the operating system of a pod rules out.
pub(super) fn os(spec: &Value, path: &str, errors: &mut Errors) {
    let os = &spec["os"];
    if os.is_null() {
        return;
    }
    match text(os, "name") {
        "" => errors.push(required(format!("{path}.os.name"), "")),
        "linux" => {
            if !spec["securityContext"]["windowsOptions"].is_null() {
                let detail = "windows options cannot be set for a linux pod";
                errors.push(forbidden(
                    format!("{path}.securityContext.windowsOptions"),
                    detail,
                ));
            }
        }
        "windows" => {
            let detail = "cannot be set for a windows pod";
            for field in ["hostPID", "hostIPC", "hostNetwork"] {
                if spec[field] == true && field != "hostNetwork" {
                    errors.push(forbidden(format!("{path}.{field}"), detail));
                }
            }
            let context = &spec["securityContext"];
            for field in [
                "seLinuxOptions",
                "seccompProfile",
                "fsGroup",
                "fsGroupChangePolicy",
                "sysctls",
                "runAsUser",
                "runAsGroup",
                "supplementalGroups",
            ] {
                if !context[field].is_null() {
                    errors.push(forbidden(format!("{path}.securityContext.{field}"), detail));
                }
            }
        }
        _ => {
            let allowed = &["linux", "windows"];
            let error =
                fluvial_schema::FieldError::not_supported(format!("{path}.os"), os["name"].clone(), allowed);
            errors.push(error);
        }
    }
}

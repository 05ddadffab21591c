//! The single rules of the Pod Security standards.

use std::collections::BTreeSet;

use serde_json::Value;

/// A rule that a pod does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The rule.
    pub(super) reason: &'static str,
    /// What does not keep it.
    pub(super) detail: String,
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

/// All containers of a pod, whenever they run.
fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|field| list(spec, field))
}

fn name(container: &Value) -> &str {
    container["name"].as_str().unwrap_or("")
}

fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

fn quoted<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let all: Vec<String> = names
        .into_iter()
        .map(|name| format!("\"{}\"", name.as_ref()))
        .collect();
    all.join(", ")
}

/// `container "a"` or `containers "a", "b"`.
fn named(names: &[&str]) -> String {
    format!(
        "{} {}",
        plural("container", "containers", names.len()),
        quoted(names)
    )
}

fn which(spec: &Value, bad: impl Fn(&Value) -> bool) -> Vec<&str> {
    containers(spec)
        .filter(|container| bad(container))
        .map(name)
        .collect()
}

fn found(reason: &'static str, detail: String) -> Option<Finding> {
    Some(Finding { reason, detail })
}

fn is_windows(spec: &Value) -> bool {
    spec["os"]["name"] == "windows"
}

/// Whether nothing of what the rules look at differs.
pub(super) fn same(old_meta: &Value, old: &Value, new_meta: &Value, new: &Value) -> bool {
    let armor = |meta: &Value| -> Vec<(String, Value)> {
        meta["annotations"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| key.starts_with(ARMOR))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let plain = |spec: &Value| {
        let mut spec = spec.clone();
        for field in ["initContainers", "containers", "ephemeralContainers"] {
            let all = spec.get_mut(field).and_then(Value::as_array_mut);
            for container in all.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.remove("image");
            }
        }
        if let Some(map) = spec.as_object_mut() {
            for field in [
                "activeDeadlineSeconds",
                "tolerations",
                "schedulingGates",
                "nodeName",
            ] {
                map.remove(field);
            }
        }
        spec
    };
    armor(old_meta) == armor(new_meta) && plain(old) == plain(new)
}

/// The rules that a pod does not keep, in the order in which they are reported.
pub(super) fn all(meta: &Value, spec: &Value, restricted: bool) -> Vec<Finding> {
    let baseline: [(bool, fn(&Value, &Value) -> Option<Finding>); 12] = [
        (true, app_armor),
        (!restricted, capabilities),
        (true, host_namespaces),
        (!restricted, host_path),
        (true, host_ports),
        (true, probe_hosts),
        (true, privileged),
        (true, proc_mount),
        (true, selinux),
        (!restricted, seccomp),
        (true, sysctls),
        (true, windows),
    ];
    let strict: [fn(&Value, &Value) -> Option<Finding>; 6] = [
        escalation,
        dropped_capabilities,
        volumes,
        non_root,
        root_user,
        strict_seccomp,
    ];
    let mut findings: Vec<Finding> = baseline
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .filter_map(|(_, check)| check(meta, spec))
        .collect();
    if restricted {
        findings.extend(strict.into_iter().filter_map(|check| check(meta, spec)));
    }
    findings
}

const ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

fn app_armor(meta: &Value, spec: &Value) -> Option<Finding> {
    let mut bad = vec![];
    if spec["securityContext"]["appArmorProfile"]["type"] == "Unconfined" {
        bad.push("pod must not set AppArmor profile type to \"Unconfined\"".to_owned());
    }
    let own = which(spec, |container| {
        container["securityContext"]["appArmorProfile"]["type"] == "Unconfined"
    });
    if !own.is_empty() {
        bad.push(format!(
            "{} must not set AppArmor profile type to \"Unconfined\"",
            named(&own)
        ));
    }
    let annotated: Vec<String> = meta["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(ARMOR))
        .filter_map(|(key, value)| value.as_str().map(|value| (key, value)))
        .filter(|(_, value)| {
            !value.is_empty() && *value != "runtime/default" && !value.starts_with("localhost/")
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    if !annotated.is_empty() {
        let what = plural("annotation", "annotations", annotated.len());
        bad.push(format!("{what} {}", annotated.join(", ")));
    }
    if bad.is_empty() {
        return None;
    }
    let reason = plural(
        "forbidden AppArmor profile",
        "forbidden AppArmor profiles",
        bad.len(),
    );
    found(reason, bad.join("; "))
}

const DEFAULT_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Capabilities added beyond those allowed, and by whom.
fn added<'a>(spec: &'a Value, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let mut all = BTreeSet::new();
    let mut who = vec![];
    for container in containers(spec) {
        let own: Vec<&str> = list(&container["securityContext"]["capabilities"], "add")
            .filter_map(Value::as_str)
            .filter(|own| !allowed.contains(own))
            .collect();
        if !own.is_empty() {
            who.push(name(container));
            all.extend(own);
        }
    }
    (who, all)
}

fn capabilities(_: &Value, spec: &Value) -> Option<Finding> {
    let (who, all) = added(spec, DEFAULT_CAPABILITIES);
    if who.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not include {} in securityContext.capabilities.add",
        named(&who),
        quoted(all)
    );
    found("non-default capabilities", detail)
}

fn host_namespaces(_: &Value, spec: &Value) -> Option<Finding> {
    let set: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| spec[field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    if set.is_empty() {
        return None;
    }
    found("host namespaces", set.join(", "))
}

fn host_path(_: &Value, spec: &Value) -> Option<Finding> {
    let bad: Vec<&str> = list(spec, "volumes")
        .filter(|volume| volume["hostPath"].is_object())
        .map(name)
        .collect();
    if bad.is_empty() {
        return None;
    }
    let what = plural("volume", "volumes", bad.len());
    found("hostPath volumes", format!("{what} {}", quoted(bad)))
}

fn host_ports(_: &Value, spec: &Value) -> Option<Finding> {
    let mut who = vec![];
    let mut ports = BTreeSet::new();
    for container in containers(spec) {
        let own: Vec<i64> = list(container, "ports")
            .filter_map(|port| port["hostPort"].as_i64())
            .filter(|port| *port != 0)
            .collect();
        if !own.is_empty() {
            who.push(name(container));
            ports.extend(own.iter().map(i64::to_string));
        }
    }
    if who.is_empty() {
        return None;
    }
    let all: Vec<String> = ports.into_iter().collect();
    let detail = format!(
        "{} {} {} {}",
        named(&who),
        plural("uses", "use", who.len()),
        plural("hostPort", "hostPorts", all.len()),
        all.join(", ")
    );
    found("hostPort", detail)
}

fn probe_hosts(_: &Value, spec: &Value) -> Option<Finding> {
    let aims = |handler: &Value| {
        ["httpGet", "tcpSocket"].into_iter().any(|kind| {
            handler[kind]["host"]
                .as_str()
                .is_some_and(|host| !host.is_empty())
        })
    };
    let bad = which(spec, |container| {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"];
        let hooks = ["postStart", "preStop"];
        probes.iter().any(|probe| aims(&container[probe]))
            || hooks.iter().any(|hook| aims(&container["lifecycle"][hook]))
    });
    if bad.is_empty() {
        return None;
    }
    found(
        "probe or lifecycle host",
        format!("{} must not set probe or lifecycle handler host", named(&bad)),
    )
}

fn privileged(_: &Value, spec: &Value) -> Option<Finding> {
    let bad = which(spec, |container| {
        container["securityContext"]["privileged"] == true
    });
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.privileged=true", named(&bad));
    found("privileged", detail)
}

fn proc_mount(_: &Value, spec: &Value) -> Option<Finding> {
    // A pod in a user namespace of its own may see all of /proc.
    if spec["hostUsers"] == false {
        return None;
    }
    let own = |container: &Value| {
        let mount = container["securityContext"]["procMount"].as_str();
        mount.filter(|mount| *mount != "Default").map(str::to_owned)
    };
    let bad = which(spec, |container| own(container).is_some());
    if bad.is_empty() {
        return None;
    }
    let kinds: BTreeSet<String> = containers(spec).filter_map(own).collect();
    let detail = format!(
        "{} must not set securityContext.procMount to {}",
        named(&bad),
        quoted(kinds)
    );
    found("procMount", detail)
}

fn selinux(_: &Value, spec: &Value) -> Option<Finding> {
    const TYPES: &[&str] = &[
        "",
        "container_t",
        "container_init_t",
        "container_kvm_t",
        "container_engine_t",
    ];
    let mut types = BTreeSet::new();
    let (mut user, mut role) = (false, false);
    let mut look = |context: &Value| {
        let options = &context["seLinuxOptions"];
        let text = |field: &str| options[field].as_str().unwrap_or("");
        let mut bad = false;
        if !TYPES.contains(&text("type")) {
            types.insert(text("type").to_owned());
            bad = true;
        }
        if !text("user").is_empty() {
            (user, bad) = (true, true);
        }
        if !text("role").is_empty() {
            (role, bad) = (true, true);
        }
        bad
    };
    let mut who = vec![];
    if look(&spec["securityContext"]) {
        who.push("pod".to_owned());
    }
    let own: Vec<&str> = containers(spec)
        .filter(|container| look(&container["securityContext"]))
        .map(name)
        .collect();
    if !own.is_empty() {
        who.push(named(&own));
    }
    if who.is_empty() {
        return None;
    }
    let mut what = vec![];
    if !types.is_empty() {
        let kind = plural("type", "types", types.len());
        what.push(format!("{kind} {}", quoted(types)));
    }
    if user {
        what.push("user may not be set".to_owned());
    }
    if role {
        what.push("role may not be set".to_owned());
    }
    let detail = format!(
        "{} set forbidden securityContext.seLinuxOptions: {}",
        who.join(" and "),
        what.join("; ")
    );
    found("seLinuxOptions", detail)
}

/// Who takes seccomp away, as a text.
fn unconfined(spec: &Value) -> Option<String> {
    let open = |context: &Value| context["seccompProfile"]["type"] == "Unconfined";
    let mut who = vec![];
    if open(&spec["securityContext"]) {
        who.push("pod".to_owned());
    }
    let own = which(spec, |container| open(&container["securityContext"]));
    if !own.is_empty() {
        who.push(named(&own));
    }
    (!who.is_empty()).then(|| {
        format!(
            "{} must not set securityContext.seccompProfile.type to \"Unconfined\"",
            who.join(" and ")
        )
    })
}

fn seccomp(_: &Value, spec: &Value) -> Option<Finding> {
    found("seccompProfile", unconfined(spec)?)
}

fn sysctls(_: &Value, spec: &Value) -> Option<Finding> {
    const SAFE: &[&str] = &[
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    ];
    let bad: Vec<&str> = list(&spec["securityContext"], "sysctls")
        .map(name)
        .filter(|name| !SAFE.contains(name))
        .collect();
    if bad.is_empty() {
        return None;
    }
    found("forbidden sysctls", bad.join(", "))
}

fn windows(_: &Value, spec: &Value) -> Option<Finding> {
    let host = |context: &Value| context["windowsOptions"]["hostProcess"] == true;
    let mut who = vec![];
    if host(&spec["securityContext"]) {
        who.push("pod".to_owned());
    }
    let own = which(spec, |container| host(&container["securityContext"]));
    if !own.is_empty() {
        who.push(named(&own));
    }
    if who.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not set securityContext.windowsOptions.hostProcess=true",
        who.join(" and ")
    );
    found("hostProcess", detail)
}

fn escalation(_: &Value, spec: &Value) -> Option<Finding> {
    if is_windows(spec) {
        return None;
    }
    let bad = which(spec, |container| {
        container["securityContext"]["allowPrivilegeEscalation"] != false
    });
    if bad.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must set securityContext.allowPrivilegeEscalation=false",
        named(&bad)
    );
    found("allowPrivilegeEscalation != false", detail)
}

fn dropped_capabilities(_: &Value, spec: &Value) -> Option<Finding> {
    if is_windows(spec) {
        return None;
    }
    let mut details = vec![];
    let keeps = which(spec, |container| {
        !list(&container["securityContext"]["capabilities"], "drop").any(|own| own == "ALL")
    });
    if !keeps.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            named(&keeps)
        ));
    }
    let (who, all) = added(spec, &["NET_BIND_SERVICE"]);
    if !who.is_empty() {
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            named(&who),
            quoted(all)
        ));
    }
    if details.is_empty() {
        return None;
    }
    found("unrestricted capabilities", details.join("; "))
}

fn volumes(_: &Value, spec: &Value) -> Option<Finding> {
    const ALLOWED: &[&str] = &[
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let mut bad = vec![];
    let mut kinds = BTreeSet::new();
    for volume in list(spec, "volumes") {
        let source = volume
            .as_object()
            .into_iter()
            .flatten()
            .find(|(key, value)| *key != "name" && value.is_object());
        if let Some((kind, _)) = source.filter(|(kind, _)| !ALLOWED.contains(&kind.as_str())) {
            bad.push(name(volume));
            kinds.insert(kind.as_str());
        }
    }
    if bad.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} restricted volume {} {}",
        plural("volume", "volumes", bad.len()),
        quoted(&bad),
        plural("uses", "use", bad.len()),
        plural("type", "types", kinds.len()),
        quoted(&kinds)
    );
    found("restricted volume types", detail)
}

fn non_root(_: &Value, spec: &Value) -> Option<Finding> {
    // In a user namespace of its own root is nobody outside.
    if spec["hostUsers"] == false {
        return None;
    }
    let own = |context: &Value| context["runAsNonRoot"].as_bool();
    let pod = own(&spec["securityContext"]);
    let mut details = vec![];
    if pod == Some(false) {
        details.push("pod must not set securityContext.runAsNonRoot=false".to_owned());
    }
    let explicit = which(spec, |container| {
        own(&container["securityContext"]) == Some(false)
    });
    if !explicit.is_empty() {
        details.push(format!(
            "{} must not set securityContext.runAsNonRoot=false",
            named(&explicit)
        ));
    }
    let implicit = which(spec, |container| own(&container["securityContext"]).is_none());
    if details.is_empty() && pod.is_none() && !implicit.is_empty() {
        details.push(format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            named(&implicit)
        ));
    }
    if details.is_empty() {
        return None;
    }
    found("runAsNonRoot != true", details.join("; "))
}

fn root_user(_: &Value, spec: &Value) -> Option<Finding> {
    if spec["hostUsers"] == false {
        return None;
    }
    let root = |context: &Value| context["runAsUser"] == 0;
    let mut who = vec![];
    if root(&spec["securityContext"]) {
        who.push("pod".to_owned());
    }
    let own = which(spec, |container| root(&container["securityContext"]));
    if !own.is_empty() {
        who.push(named(&own));
    }
    if who.is_empty() {
        return None;
    }
    found(
        "runAsUser=0",
        format!("{} must not set runAsUser=0", who.join(" and ")),
    )
}

fn strict_seccomp(_: &Value, spec: &Value) -> Option<Finding> {
    if is_windows(spec) {
        return None;
    }
    let mut details: Vec<String> = unconfined(spec).into_iter().collect();
    let kind = |context: &Value| context["seccompProfile"]["type"].as_str().map(str::to_owned);
    if kind(&spec["securityContext"]).is_none() {
        let open = which(spec, |container| kind(&container["securityContext"]).is_none());
        if !open.is_empty() {
            details.push(format!(
                "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
                named(&open)
            ));
        }
    }
    if details.is_empty() {
        return None;
    }
    found("seccompProfile", details.join("; "))
}

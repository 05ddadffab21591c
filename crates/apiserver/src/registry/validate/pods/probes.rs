//! Probes and hooks of containers.

use serde_json::Value;

use super::super::common::{
    Errors, forbidden, invalid, is_empty, items, not_negative, one_of, port, required, text,
};
use crate::names;

const HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc", "sleep"];

fn port_or_name(value: &Value, path: &str, errors: &mut Errors) {
    match value.as_str() {
        Some(name) => {
            let complaints = names::port_name(name);
            errors.extend(complaints.into_iter().map(|detail| invalid(path, name, detail)));
        }
        None => port(value, path, errors),
    }
}

fn http(action: &Value, path: &str, errors: &mut Errors) {
    if text(action, "path").is_empty() {
        errors.push(required(format!("{path}.path"), ""));
    }
    port_or_name(&action["port"], &format!("{path}.port"), errors);
    one_of(
        &action["scheme"],
        &["HTTP", "HTTPS"],
        format!("{path}.scheme"),
        errors,
    );
    for (_, header) in items(action, "httpHeaders") {
        let name = text(header, "name");
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || !name.bytes().all(good) {
            let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', \
                          regex used for validation is '[-A-Za-z0-9]+')";
            errors.push(invalid(format!("{path}.httpHeaders"), name, detail));
        }
    }
}

/// What a probe or a hook does: exactly one thing.
fn handler(value: &Value, grace: i64, path: &str, errors: &mut Errors) {
    let mut found = 0;
    for name in HANDLERS {
        let action = &value[*name];
        if action.is_null() {
            continue;
        }
        let path = format!("{path}.{name}");
        found += 1;
        if found > 1 {
            errors.push(forbidden(path, "may not specify more than 1 handler type"));
            continue;
        }
        match *name {
            "exec" if is_empty(&action["command"]) => {
                errors.push(required(format!("{path}.command"), ""));
            }
            "exec" => {}
            "httpGet" => http(action, &path, errors),
            "tcpSocket" => port_or_name(&action["port"], &format!("{path}.port"), errors),
            "grpc" => port(&action["port"], &format!("{path}.port"), errors),
            _ => {
                let seconds = action["seconds"].as_i64().unwrap_or(0);
                if !(0..=grace).contains(&seconds) {
                    let detail =
                        format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                    errors.push(invalid(path, seconds, detail));
                }
            }
        }
    }
    if found == 0 {
        errors.push(required(path, "must specify a handler type"));
    }
}

/// What happens when a container starts and stops.
pub(super) fn lifecycle(container: &Value, grace: i64, path: &str, errors: &mut Errors) {
    for hook in ["postStart", "preStop"] {
        let value = &container["lifecycle"][hook];
        if !value.is_null() {
            handler(value, grace, &format!("{path}.lifecycle.{hook}"), errors);
        }
    }
}

/// The probes of a container.
pub(super) fn probes(container: &Value, grace: i64, path: &str, errors: &mut Errors) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = &container[name];
        if probe.is_null() {
            continue;
        }
        let path = format!("{path}.{name}");
        handler(probe, grace, &path, errors);
        for field in [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ] {
            not_negative(probe, field, &path, errors);
        }
        let seconds = &probe["terminationGracePeriodSeconds"];
        let at = || format!("{path}.terminationGracePeriodSeconds");
        if seconds.as_i64().is_some_and(|seconds| seconds <= 0) {
            errors.push(invalid(at(), seconds.clone(), "must be greater than 0"));
        }
        if name == "readinessProbe" {
            if !seconds.is_null() {
                errors.push(invalid(
                    at(),
                    seconds.clone(),
                    "must not be set for readinessProbes",
                ));
            }
        } else if probe["successThreshold"].as_i64().is_some_and(|times| times != 1) {
            let times = probe["successThreshold"].clone();
            errors.push(invalid(format!("{path}.successThreshold"), times, "must be 1"));
        }
    }
}

//! Subresources that lead to what runs: logs, exec, attach, port forwarding, proxies. There is no kubelet here, so they
//! answer what a real server answers while the other end cannot be reached.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::super::{Reply, show};
use crate::api::Api;
use crate::request::Request;
use crate::status::{Failure, Outcome};

/// Whether a subresource leads out of the API server.
#[must_use]
pub fn is(subresource: &str) -> bool {
    matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy")
}

/// Opens the connection.
///
/// # Errors
/// The object is missing, or nobody answers at the other end.
pub fn open(api: &Api, request: &Request) -> Outcome<Reply> {
    if request.target.subresource != "log" && request.query.get("dryRun").is_some() {
        return Err(Failure::bad_request("dryRun is not supported"));
    }
    let stored = api.store.collection(&request.kind.collection).get(&request.key());
    let stored = stored.ok_or_else(|| request.not_found())?;
    let object = show(&request.kind, &stored);
    match (request.kind.kind.as_str(), request.target.subresource.as_str()) {
        ("Pod", "log") => {
            log_options(request)?;
            node(api, &object)?;
            log(request, &object)
        }
        ("Pod", _) => {
            if matches!(request.target.subresource.as_str(), "exec" | "attach") {
                container(request, &object)?;
            }
            host(request, &object)?;
            if request.target.subresource != "proxy" {
                node(api, &object)?;
            }
            Err(unreachable(request))
        }
        ("Service", _) => {
            let why = format!("no endpoints available for service \"{}\"", request.target.name);
            Err(Failure::new(503, "ServiceUnavailable", why))
        }
        _ => Err(unreachable(request)),
    }
}

fn unreachable(request: &Request) -> Failure {
    let why = format!(
        "error dialing backend: no kubelet runs for {} \"{}\"",
        request.kind.plural, request.target.name
    );
    Failure::internal(why)
}

fn host(request: &Request, pod: &Value) -> Outcome<()> {
    if pod["spec"]["nodeName"].as_str().unwrap_or("").is_empty() {
        let why = format!("pod {} does not have a host assigned", request.target.name);
        return Err(Failure::bad_request(why));
    }
    Ok(())
}

/// The node that a pod is said to be on may not be there; real servers say that in these words.
fn node(api: &Api, pod: &Value) -> Outcome<()> {
    let name = pod["spec"]["nodeName"].as_str().unwrap_or("");
    if name.is_empty() || api.store.collection("nodes").get(name).is_some() {
        return Ok(());
    }
    Err(Failure::not_found("", "pods", name))
}

/// The container meant: the one named, or the only one.
fn container(request: &Request, pod: &Value) -> Outcome<String> {
    let names = |field: &str| -> Vec<String> {
        let list = pod["spec"][field].as_array().into_iter().flatten();
        list.filter_map(|item| item["name"].as_str().map(str::to_owned))
            .collect()
    };
    let asked = request.query.text("container");
    let (main, init) = (names("containers"), names("initContainers"));
    if !asked.is_empty() {
        let known = main
            .iter()
            .chain(&init)
            .chain(&names("ephemeralContainers"))
            .any(|name| name == asked);
        if !known {
            let why = format!("container {asked} is not valid for pod {}", request.target.name);
            return Err(Failure::bad_request(why));
        }
        return Ok(asked.to_owned());
    }
    let pointed = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    if let Some(name) = pointed.filter(|name| main.iter().any(|own| own == name)) {
        return Ok(name.to_owned());
    }
    if let [one] = main.as_slice() {
        return Ok(one.clone());
    }
    let mut why = format!(
        "a container name must be specified for pod {}, choose one of: [{}]",
        request.target.name,
        main.join(" ")
    );
    if !init.is_empty() {
        why.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
    }
    Err(Failure::bad_request(why))
}

/// What is asked of a log must be numbers and times that mean something.
fn log_options(request: &Request) -> Outcome<()> {
    let mut errors = vec![];
    for (field, least) in [("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)] {
        let asked = request.query.text(field);
        if asked.is_empty() {
            continue;
        }
        let Ok(number) = asked.parse::<i64>() else {
            let why = format!("strconv.ParseInt: parsing {asked:?}: invalid syntax");
            return Err(Failure::bad_request(why));
        };
        if number < least {
            let detail = if least == 0 {
                "must be greater than or equal to 0"
            } else {
                "must be greater than 0"
            };
            errors.push(FieldError::new(ErrorKind::Invalid, field, number.into(), detail));
        }
    }
    let both = !request.query.text("sinceSeconds").is_empty() && !request.query.text("sinceTime").is_empty();
    if both {
        let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::plain(ErrorKind::Forbidden, "[]", detail));
    }
    if !request.query.text("stream").is_empty() {
        errors.push(FieldError::plain(
            ErrorKind::Forbidden,
            "stream",
            "may not be specified",
        ));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid(
        "",
        "PodLogOptions",
        &request.target.name,
        &errors,
    ))
}

/// Nothing runs, so nothing was written: the log of a pod on a node is empty, and one without a node has none.
fn log(request: &Request, pod: &Value) -> Outcome<Reply> {
    container(request, pod)?;
    let placed = !pod["spec"]["nodeName"].as_str().unwrap_or("").is_empty();
    Ok(Reply::Text(if placed { 200 } else { 204 }, String::new()))
}

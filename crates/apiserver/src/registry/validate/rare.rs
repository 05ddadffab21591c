//! Kinds that few write by hand: addresses, what storage drivers say, flow control, certificates, devices.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use crate::kinds::Kind;
use crate::names;

use super::common::{self, invalid, is_empty, required, text};

type Errors = Vec<FieldError>;

/// Errors of an object; false if its kind is none of these.
pub(super) fn validate(kind: &Kind, object: &Value, errors: &mut Errors) -> bool {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("networking.k8s.io", "ServiceCIDR") => service_range(object, errors),
        ("networking.k8s.io", "IPAddress") => address(object, errors),
        ("storage.k8s.io", "CSIStorageCapacity") => {
            common::named(
                text(object, "storageClassName"),
                names::subdomain,
                "storageClassName",
                errors,
            );
        }
        ("storage.k8s.io", "VolumeAttachment") => attachment(&object["spec"], errors),
        ("storage.k8s.io", "VolumeAttributesClass") => attributes(object, errors),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => super::flows::schema(object, errors),
        ("flowcontrol.apiserver.k8s.io", _) => super::flows::level(object, errors),
        ("certificates.k8s.io", "CertificateSigningRequest") => signing(&object["spec"], errors),
        ("resource.k8s.io", "ResourceSlice") => slice(&object["spec"], errors),
        _ => return false,
    }
    true
}

fn service_range(object: &Value, errors: &mut Errors) {
    let list = object["spec"]["cidrs"].as_array().map_or(&[][..], Vec::as_slice);
    let field = "spec.cidrs";
    if list.is_empty() {
        errors.push(required(field, "at least one CIDR required"));
        return;
    }
    if list.len() > 2 {
        let shown = FieldError::new(
            ErrorKind::Invalid,
            field,
            object["spec"].clone(),
            "may only hold up to 2 values",
        );
        errors.push(shown);
        return;
    }
    let of = |text: &str| {
        text.split('/')
            .next()
            .and_then(|text| text.parse::<std::net::IpAddr>().ok())
    };
    let families: Vec<_> = list
        .iter()
        .filter_map(|cidr| of(cidr.as_str().unwrap_or("")))
        .collect();
    if let [first, second] = families[..]
        && first.is_ipv4() == second.is_ipv4()
    {
        let detail =
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96";
        errors.push(invalid(field, object["spec"].clone(), detail));
    }
    for (index, cidr) in list.iter().enumerate() {
        let cidr = cidr.as_str().unwrap_or("");
        let parsed = of(cidr).zip(cidr.split_once('/').and_then(|(_, bits)| bits.parse::<u8>().ok()));
        let fits = parsed.is_some_and(|(address, bits)| bits <= if address.is_ipv4() { 32 } else { 128 });
        if !fits {
            let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(invalid(format!("{field}[{index}]"), cidr, detail));
        }
    }
}

fn address(object: &Value, errors: &mut Errors) {
    let parent = &object["spec"]["parentRef"];
    let field = |name: &str| format!("spec.parentRef.{name}");
    if !parent.is_object() {
        errors.push(required("spec.parentRef", ""));
        return;
    }
    if text(parent, "resource").is_empty() {
        errors.push(required(field("resource"), ""));
    } else {
        common::named(
            text(parent, "resource"),
            names::segment,
            &field("resource"),
            errors,
        );
    }
    if text(parent, "name").is_empty() {
        errors.push(required(field("name"), ""));
    } else {
        common::named(text(parent, "name"), names::segment, &field("name"), errors);
    }
    if !text(parent, "group").is_empty() {
        common::named(text(parent, "group"), names::subdomain, &field("group"), errors);
    }
    if !text(parent, "namespace").is_empty() {
        common::named(
            text(parent, "namespace"),
            names::segment,
            &field("namespace"),
            errors,
        );
    }
}

fn attachment(spec: &Value, errors: &mut Errors) {
    if text(spec, "attacher").is_empty() {
        errors.push(required("spec.attacher", ""));
    }
    let source = &spec["source"];
    let (inline, named) = (
        source["inlineVolumeSpec"].is_object(),
        source["persistentVolumeName"].is_string(),
    );
    match (inline, named) {
        (false, false) => {
            let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            errors.push(required("spec.source", detail));
        }
        (true, true) => {
            let detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            errors.push(common::forbidden("spec.source", detail));
        }
        (false, true) if text(source, "persistentVolumeName").is_empty() => {
            errors.push(required(
                "spec.source.persistentVolumeName",
                "must specify non empty persistentVolumeName",
            ));
        }
        _ => {}
    }
    common::named(text(spec, "nodeName"), names::subdomain, "spec.nodeName", errors);
    let attacher = text(spec, "attacher");
    if !attacher.is_empty() {
        let complaints = names::subdomain(&attacher.to_lowercase());
        let complaints = complaints.into_iter();
        errors.extend(complaints.map(|detail| invalid("spec.attacher", attacher, detail)));
    }
    if let Some(volume) = source["persistentVolumeName"].as_str() {
        common::named(
            volume,
            names::subdomain,
            "spec.source.persistentVolumeName",
            errors,
        );
    }
}

fn attributes(object: &Value, errors: &mut Errors) {
    let driver = text(object, "driverName");
    if driver.is_empty() {
        errors.push(required("driverName", ""));
    } else if driver.len() > 63 {
        errors.push(FieldError::plain(
            ErrorKind::TooLong,
            "driverName",
            "may not be more than 63 bytes",
        ));
    } else {
        common::named(&driver.to_lowercase(), names::subdomain, "driverName", errors);
    }
    if is_empty(&object["parameters"]) {
        errors.push(required("parameters", "must contain at least one key/value pair"));
    }
}

/// What keys may be certified for.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Conditions and certificate of a request for one: who decides may add conditions, who signs the certificate.
pub(super) fn signed(new: &Value, old: &Value, subresource: &str, errors: &mut Errors) {
    let path = "status.conditions";
    let of = |object: &Value, kind: &str| -> Vec<Value> {
        let all = common::items(&object["status"], "conditions").map(|(_, own)| own.clone());
        all.filter(|own| own["type"] == kind).collect()
    };
    let mut seen: Vec<&str> = vec![];
    for (index, condition) in common::items(&new["status"], "conditions") {
        let at = format!("{path}[{index}]");
        let kind = text(condition, "type");
        if kind.is_empty() {
            errors.push(required(format!("{at}.type"), ""));
        }
        let final_one = matches!(kind, "Approved" | "Denied" | "Failed");
        let allowed: &[&str] = if final_one {
            &["True"]
        } else {
            &["False", "True", "Unknown"]
        };
        if text(condition, "status").is_empty() {
            errors.push(required(format!("{at}.status"), ""));
        } else {
            common::one_of(&condition["status"], allowed, format!("{at}.status"), errors);
        }
        let other = if kind == "Approved" { "Denied" } else { "Approved" };
        if matches!(kind, "Approved" | "Denied") && seen.contains(&other) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(invalid(path, kind, detail));
        }
        if seen.contains(&kind) {
            errors.push(common::duplicate(format!("{at}.type"), kind));
        }
        seen.push(kind);
    }
    certificate(new, errors);
    for kind in ["Approved", "Denied", "Failed"] {
        if of(new, kind).len() < of(old, kind).len() {
            let detail = format!("updates may not remove a condition of type {kind:?}");
            errors.push(common::forbidden(path, detail));
        }
    }
    for kind in ["Approved", "Denied"]
        .iter()
        .filter(|_| subresource != "approval")
    {
        if of(new, kind).len() > of(old, kind).len() {
            let detail = format!("updates may not add a condition of type {kind:?}");
            errors.push(common::forbidden(path, detail));
        }
    }
    let (now, before) = (
        text(&new["status"], "certificate"),
        text(&old["status"], "certificate"),
    );
    if now != before {
        let detail = if subresource != "status" {
            "updates may not set certificate content"
        } else if before.is_empty() {
            return;
        } else {
            "updates may not modify existing certificate content"
        };
        errors.push(common::forbidden("status.certificate", detail));
    }
}

/// What was signed has to be certificates.
fn certificate(object: &Value, errors: &mut Errors) {
    use base64::Engine as _;
    let text = text(&object["status"], "certificate");
    if text.is_empty() {
        return;
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_default();
    let pem = String::from_utf8_lossy(&bytes);
    let mut kinds = pem
        .split("-----BEGIN ")
        .skip(1)
        .filter_map(|rest| rest.split_once("-----").map(|(kind, _)| kind));
    let detail = match kinds.find(|kind| *kind != "CERTIFICATE") {
        Some(other) => format!("only CERTIFICATE PEM blocks are allowed, found {other:?}"),
        None if !pem.contains("-----BEGIN CERTIFICATE-----") => {
            "must contain at least one CERTIFICATE PEM block".to_owned()
        }
        None => return,
    };
    errors.push(invalid("status.certificate", "<certificate data>", detail));
}

fn signing(spec: &Value, errors: &mut Errors) {
    use base64::Engine as _;
    let request = text(spec, "request");
    let pem = base64::engine::general_purpose::STANDARD
        .decode(request)
        .unwrap_or_default();
    let pem = String::from_utf8_lossy(&pem);
    if !pem.contains("-----BEGIN CERTIFICATE REQUEST-----") {
        let shown = Some(request)
            .filter(|text| !text.is_empty())
            .map_or(Value::Null, Value::from);
        errors.push(invalid(
            "spec.request",
            shown,
            "PEM block type must be CERTIFICATE REQUEST",
        ));
    }
    if is_empty(&spec["usages"]) {
        errors.push(required("spec.usages", ""));
    }
    for (index, usage) in common::items(spec, "usages") {
        let path = format!("spec.usages[{index}]");
        common::one_of(usage, USAGES, path, errors);
    }
    let mut seen = std::collections::BTreeSet::new();
    for (index, usage) in common::items(spec, "usages") {
        let usage = usage.as_str().unwrap_or("");
        if !seen.insert(usage) {
            errors.push(common::duplicate(format!("spec.usages[{index}]"), usage));
        }
    }
    let signer = text(spec, "signerName");
    if signer == "kubernetes.io/legacy-unknown" {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.push(invalid("spec.signerName", signer, detail));
    } else if signer.is_empty() {
        errors.push(required("spec.signerName", ""));
    } else if !signer.contains('/') {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(invalid("spec.signerName", signer, detail));
    }
    if let Some(seconds) = spec["expirationSeconds"]
        .as_i64()
        .filter(|seconds| *seconds < 600)
    {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(invalid("spec.expirationSeconds", seconds, detail));
    }
}

fn slice(spec: &Value, errors: &mut Errors) {
    let driver = text(spec, "driver");
    if driver.is_empty() {
        errors.push(required("spec.driver", ""));
    } else {
        common::named(&driver.to_lowercase(), names::subdomain, "spec.driver", errors);
    }
    let pool = &spec["pool"];
    if text(pool, "name").is_empty() {
        errors.push(required("spec.pool.name", ""));
    }
    let number = |field: &str| pool[field].as_i64().unwrap_or(0);
    if number("resourceSliceCount") <= 0 {
        let shown = number("resourceSliceCount");
        errors.push(invalid(
            "spec.pool.resourceSliceCount",
            shown,
            "must be greater than zero",
        ));
    }
    if number("generation") < 0 {
        let shown = number("generation");
        errors.push(invalid(
            "spec.pool.generation",
            shown,
            "must be greater than or equal to zero",
        ));
    }
    let given = |field: &str| !is_empty(&spec[field]) && spec[field] != false;
    let places = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
    let count = places.iter().filter(|place| given(place)).count();
    let detail =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    if count == 0 {
        errors.push(required("spec", detail));
    }
}

/// The name of a runtime's handler.
pub(super) fn handler(object: &Value, errors: &mut Errors) {
    match text(object, "handler") {
        "" => errors.push(required("handler", "")),
        own => common::named(own, names::label, "handler", errors),
    }
}

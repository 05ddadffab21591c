//! From bytes to an object of the kind that the path names.

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::{Map, Value};

use crate::api::{Api, meta};
use crate::http::body::{self, Decoded, Places};
use crate::http::negotiate;
use crate::kinds::Kind;
use crate::registry::defaults;
use crate::request::{FieldValidation, Request};
use crate::status::{Failure, Outcome};
use crate::typed;

const SCHEME: &str = "pkg/runtime/scheme.go:111";
const HEAD: &str = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
                    \"json:\\\"kind,omitempty\\\"\" }";

/// What decoding complained about without failing.
#[derive(Debug, Default)]
pub struct Complaints {
    /// Fields that were there twice.
    pub duplicates: Vec<String>,
    /// Fields that the kind does not have.
    pub unknown: Vec<String>,
    /// Both as texts, in the order of the body.
    ordered: Vec<String>,
    /// The object is not read from text but made from values: wrong ones are told in other words.
    pub restored: bool,
}

/// Complaints of YAML and of JSON patches are whole sentences.
fn is_sentence(path: &str) -> bool {
    is_yaml(path) || path.starts_with("json patch ")
}

fn is_yaml(path: &str) -> bool {
    path.starts_with("line ") && path.contains(": ")
}

impl Complaints {
    /// Of fields that were there twice.
    #[must_use]
    pub fn of_duplicates(duplicates: Vec<String>) -> Self {
        Complaints {
            duplicates,
            ..Complaints::default()
        }
    }

    /// The complaints as texts.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        if !self.ordered.is_empty() {
            return self.ordered.clone();
        }
        let duplicates = self.duplicates.iter().map(|path| {
            if is_sentence(path) {
                path.clone()
            } else {
                format!("duplicate field \"{path}\"")
            }
        });
        let unknown = self
            .unknown
            .iter()
            .map(|path| format!("unknown field \"{path}\""));
        duplicates.chain(unknown).collect()
    }

    /// Brings the complaints about a JSON text into its order. What is in an unknown field is not looked at, nor is how
    /// often that is there.
    fn order_by(&mut self, text: &[u8]) {
        if self.duplicates.is_empty() && self.unknown.len() < 2 {
            return;
        }
        let places = Places::of(text);
        let skipped = |path: &str| {
            self.unknown.iter().any(|unknown| {
                let rest = path.strip_prefix(unknown.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            })
        };
        let duplicates = self.duplicates.iter().filter(|path| !skipped(path));
        let mut all: Vec<(usize, String)> = duplicates
            .map(|path| (places.again(path), format!("duplicate field \"{path}\"")))
            .collect();
        let unknown = self.unknown.iter();
        all.extend(unknown.map(|path| (places.first(path), format!("unknown field \"{path}\""))));
        all.sort();
        self.ordered = all.into_iter().map(|(_, text)| text).collect();
    }

    /// Warns, or gives the text of the error if decoding is strict.
    #[must_use]
    pub fn report(&self, request: &Request) -> Option<String> {
        let mut texts = self.texts();
        if texts.is_empty() || request.validation == FieldValidation::Ignore {
            return None;
        }
        if request.validation == FieldValidation::Strict {
            if let Some(first) = texts.first_mut().filter(|text| is_yaml(text)) {
                *first = format!("yaml: unmarshal errors:\n  {first}");
            }
            return Some(format!("strict decoding error: {}", texts.join(", ")));
        }
        for text in texts {
            request.warn(text);
        }
        None
    }
}

fn cannot_handle(kind: &str, version: &str, as_kind: &str, why: &str) -> Failure {
    Failure::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {as_kind}: {why}"
    ))
}

/// Reads the body as an object of the request's kind; defaults are filled in.
///
/// # Errors
/// It is none.
pub fn object(api: &Api, request: &Request) -> Outcome<Value> {
    let format = negotiate::body_format(request.content_type.as_deref())?;
    if matches!(format, negotiate::BodyFormat::Protobuf) && request.body.starts_with(b"k8s\0") {
        return Err(Failure::unsupported_body());
    }
    let kind = expected(request);
    let decoded = body::read(&request.body, format, kind.custom.is_none()).map_err(|error| {
        let what = if matches!(format, negotiate::BodyFormat::Protobuf) || error.starts_with("yaml: ") {
            error
        } else {
            format!("couldn't get version/kind; json parse error: {error}")
        };
        unrecognized(&kind.kind, &what, &request.body)
    })?;
    let Decoded {
        mut value,
        duplicates,
    } = decoded;
    check_kind(api, &kind, &mut value, &request.body)?;
    let mut complaints = Complaints::of_duplicates(duplicates);
    typed(api, &kind, &mut value, &mut complaints)
        .map_err(|error| cannot_handle(&kind.kind, &kind.version, &kind.kind, &error))?;
    if kind.custom.is_none() && matches!(format, negotiate::BodyFormat::Json) {
        complaints.order_by(&request.body);
    }
    if let Some(error) = complaints.report(request) {
        return Err(cannot_handle(&kind.kind, &kind.version, &kind.kind, &error));
    }
    Ok(value)
}

/// The kind of the body: the resource's own unless a subresource has another.
fn expected(request: &Request) -> Kind {
    let own = &request.kind;
    let mut kind = Kind {
        group: own.group.clone(),
        version: own.version.clone(),
        kind: own.kind.clone(),
        namespaced: own.namespaced,
        custom: own.custom.clone(),
        ..Kind::default()
    };
    if let Some(sub) = own.subresource(&request.target.subresource)
        && sub.kind != own.kind
    {
        kind.kind.clone_from(&sub.kind);
        kind.custom = None;
        if !sub.version.is_empty() {
            kind.group.clone_from(&sub.group);
            kind.version.clone_from(&sub.version);
        }
    }
    kind
}

/// What is said of a body that is no object.
#[must_use]
pub fn unrecognized(kind: &str, what: &str, bytes: &[u8]) -> Failure {
    Failure::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {what} ({})",
        body::excerpt(bytes)
    ))
}

/// What is wrong with an object as the built-in kind that it says to be; nothing if it is none, or right.
pub(super) fn misread(api: &Api, version: &str, name: &str, value: &Value) -> Option<String> {
    let kind = api.kinds().find_kind(version, name)?;
    typed(api, &kind, &mut value.clone(), &mut Complaints::default()).err()
}

fn check_kind(api: &Api, kind: &Kind, value: &mut Value, bytes: &[u8]) -> Outcome<()> {
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    let wrong = |text: String| {
        let what = format!("couldn't get version/kind; json parse error: json: cannot unmarshal {text}");
        unrecognized(&kind.kind, &what, bytes)
    };
    let Some(map) = value.as_object() else {
        return Err(wrong(format!(
            "{} into Go value of type {HEAD}",
            json_name(value)
        )));
    };
    for field in ["apiVersion", "kind"] {
        let found = map
            .get(field)
            .filter(|found| !found.is_null() && !found.is_string());
        if let Some(found) = found {
            return Err(wrong(format!(
                "{} into Go struct field .{field} of type string",
                json_name(found)
            )));
        }
    }
    let text = |field: &str| map.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    let (version, name) = (text("apiVersion"), text("kind"));
    let (_, short) =
        body::group_version(&version).map_err(|failure| unrecognized(&kind.kind, &failure.message, bytes))?;
    if kind.custom.is_some() && name.is_empty() {
        let text = String::from_utf8_lossy(bytes);
        let why = format!("Object 'Kind' is missing in '{text}'");
        return Err(unrecognized(&kind.kind, &why, bytes));
    }
    let (given, own) = (
        if version.is_empty() && kind.custom.is_none() {
            kind.api_version()
        } else {
            version.clone()
        },
        kind.api_version(),
    );
    let given_kind = if name.is_empty() { kind.kind.clone() } else { name };
    if given != own || given_kind != kind.kind {
        if kind.custom.is_some() {
            if given == own {
                return Err(other_kind(kind, value, &given_kind));
            }
            return Err(other_version(&given, &own));
        }
        let known = registered(api, kind, &given, &given_kind);
        if known && given_kind == kind.kind {
            return Err(other_version(&given, &own));
        }
        let why = if let Some(wrong) = misread(api, &given, &given_kind, value) {
            wrong
        } else if known {
            let package = |group: &str| {
                group
                    .split('.')
                    .next()
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
            };
            let to = package(&kind.group).unwrap_or_else(|| "core".to_owned());
            format!(
                "converting ({}.{given_kind}) to ({to}.{}): unknown conversion",
                if UNVERSIONED.contains(&given_kind.as_str()) {
                    "v1"
                } else {
                    short
                },
                kind.kind
            )
        } else {
            format!("no kind \"{given_kind}\" is registered for version \"{given}\" in scheme \"{SCHEME}\"")
        };
        return Err(cannot_handle(&given_kind, short, &kind.kind, &why));
    }
    value["apiVersion"] = own.into();
    value["kind"] = given_kind.into();
    Ok(())
}

/// Kinds that bodies can be read as whatever version they say.
const UNVERSIONED: [&str; 5] = [
    "Status",
    "APIVersions",
    "APIGroup",
    "APIGroupList",
    "APIResourceList",
];

/// Whether bodies can be read as a kind, be it served, once served, a list or none of the resources. Definitions and
/// registrations are read by servers of their own, which know no others' kinds.
fn registered(api: &Api, own: &Kind, version: &str, kind: &str) -> bool {
    if UNVERSIONED.contains(&kind) {
        return true;
    }
    let (group, short) = version.split_once('/').unwrap_or(("", version));
    let apart = matches!(
        own.group.as_str(),
        "apiextensions.k8s.io" | "apiregistration.k8s.io"
    );
    if apart && group != own.group {
        return false;
    }
    let mut others = include_str!("../../data/former.txt")
        .lines()
        .map(|line| line.split(' '));
    if others.any(|mut words| words.next() == Some(version) && words.any(|own| own == kind)) {
        return true;
    }
    let kinds = api.kinds();
    let served = |kind: &str| {
        let found = kinds.by_kind(group, short, kind);
        found.is_some_and(|found| found.custom.is_none())
    };
    let about = matches!(
        kind,
        "CreateOptions"
            | "DeleteOptions"
            | "GetOptions"
            | "ListOptions"
            | "PatchOptions"
            | "UpdateOptions"
            | "WatchEvent"
    );
    let builtin = || {
        let group = kinds.group(group).unwrap_or_default();
        let mut of_version = group.iter().filter(|(own, _)| own == short);
        of_version.any(|(_, kinds)| kinds.iter().any(|kind| kind.custom.is_none()))
    };
    served(kind) || kind.strip_suffix("List").is_some_and(served) || (about && builtin())
}

/// A body in a version that its path is not about.
fn other_version(given: &str, own: &str) -> Failure {
    Failure::bad_request(format!(
        "the API version in the data ({given}) does not match the expected API version ({own})"
    ))
}

/// A custom resource that says it is another kind.
fn other_kind(kind: &Kind, object: &Value, given: &str) -> Failure {
    let detail = format!("must be {}", kind.kind);
    let error = FieldError::new(ErrorKind::Invalid, "kind", given.into(), detail);
    Failure::invalid(&kind.group, given, meta(object, "name"), &[error])
}

pub(super) fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Makes a value what the kind's type can hold and fills in its defaults.
///
/// # Errors
/// The text of a value of a wrong type.
pub fn typed(api: &Api, kind: &Kind, value: &mut Value, complaints: &mut Complaints) -> Result<(), String> {
    if let Some(custom) = &kind.custom {
        if let Some(meta) = api
            .schemas
            .definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
        {
            let findings = typed::normalise(&mut value["metadata"], meta.view());
            complaints.unknown.extend(
                findings
                    .unknown
                    .into_iter()
                    .map(|path| format!("metadata.{path}")),
            );
            if let Some(mismatch) = findings.mismatch {
                return Err(mismatch);
            }
        }
        whole_numbers(value);
        if let Some(schema) = &custom.schema {
            complaints.unknown.extend(schema.prune(value));
            schema.default(value);
        }
        return Ok(());
    }
    if let Some(types) = kind.types(&api.schemas) {
        // An empty list of managers says something: that all are forgotten.
        let forgets = value["metadata"]["managedFields"]
            .as_array()
            .is_some_and(Vec::is_empty);
        let emptied = defaults::emptied(kind, value);
        let findings = typed::normalise(value, types.view());
        complaints.unknown.extend(findings.unknown);
        if let Some(mismatch) = findings.mismatch {
            return Err(findings
                .restored
                .filter(|_| complaints.restored)
                .unwrap_or(mismatch));
        }
        check_moments(kind, value)?;
        check_data(kind, value).map_err(|why| match complaints.restored {
            true => format!("error decoding from json: {why}"),
            false => why,
        })?;
        defaults::apply(kind, value);
        if !kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
            strip_nulls(value);
        }
        types.default(value);
        defaults::nulls(kind, value);
        for path in emptied {
            if let Some(shown) = value.pointer_mut(path) {
                *shown = Value::Array(vec![]);
            }
        }
        if forgets {
            value["metadata"]["managedFields"] = Value::Array(vec![]);
        }
    }
    Ok(())
}

/// Numbers are whole if they can be, and no more exact than floating point beyond 64 bits.
fn whole_numbers(value: &mut Value) {
    /// From here on Go writes exponents.
    const LARGE: f64 = 1e21;
    match value {
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Number(number) if !number.is_i64() => {
            let Some(float) = number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && float.abs() < LARGE)
            else {
                return;
            };
            let text = if float == 0.0 {
                "0".to_owned()
            } else {
                float.to_string()
            };
            if let Ok(whole) = text.parse::<i64>() {
                *value = whole.into();
            } else if let Ok(whole) = text.parse::<u64>() {
                *value = whole.into();
            }
        }
        _ => {}
    }
}

/// Looking into absent fields leaves nulls behind, which no typed object has.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, item| !item.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Times with fractions, which few kinds have.
fn check_moments(kind: &Kind, value: &Value) -> Result<(), String> {
    let moments: &[&Value] = match kind.kind.as_str() {
        "Lease" => &[&value["spec"]["acquireTime"], &value["spec"]["renewTime"]],
        "Event" => &[&value["eventTime"], &value["series"]["lastObservedTime"]],
        _ => return Ok(()),
    };
    for text in moments.iter().filter_map(|moment| moment.as_str()) {
        if text.parse::<jiff::Timestamp>().is_err() {
            return Err(format!(
                "parsing time {text:?} as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse {text:?} as \"2006\""
            ));
        }
    }
    Ok(())
}

/// Bytes are base64 text.
fn check_data(kind: &Kind, value: &Value) -> Result<(), String> {
    let field = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Secret") => "data",
        ("", "ConfigMap") => "binaryData",
        _ => return Ok(()),
    };
    for text in value[field]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, item)| item.as_str())
    {
        if let Err(at) = base64_error(text) {
            return Err(format!("illegal base64 data at input byte {at}"));
        }
    }
    Ok(())
}

/// The first byte that base64 cannot have, as Go counts it.
fn base64_error(text: &str) -> Result<(), usize> {
    use base64::Engine as _;
    if base64::engine::general_purpose::STANDARD.decode(text).is_ok() {
        return Ok(());
    }
    let bad = text
        .bytes()
        .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')));
    Err(bad.unwrap_or(text.len() / 4 * 4))
}

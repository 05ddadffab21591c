//! Patches: JSON, merge, strategic merge and server-side apply.

use fluvial_merge::managed::{ApplyError, ApplyRequest};
use fluvial_merge::{json_patch, merge_patch, strategic};
use fluvial_schema::{ErrorKind, FieldError};
use serde_json::{Value, json};

use super::{Reply, create, decode, update};
use crate::api::{Api, meta};
use crate::crd::ownership;
use crate::http::{body, negotiate};
use crate::kinds::Kind;
use crate::registry::prepare;
use crate::request::Request;
use crate::status::{Failure, Outcome};
use crate::store::Stored;
use shown::Shown;
pub(super) use shown::in_order;

mod shown;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Merge,
    Strategic,
}

/// PATCH of an object.
///
/// # Errors
/// The patch cannot be read or used, or its result is refused.
pub fn patch(api: &Api, request: &mut Request) -> Outcome<Reply> {
    if is_apply(request) {
        request.read_options("PatchOptions", true)?;
        return apply(api, request);
    }
    let patch = Patch::read(request)?;
    let manager = request.manager();
    update::change(api, request, &mut |live| {
        let mut new = patch.made(api, request, &request.kind, live)?;
        update::named(request, &mut new)?;
        if !prepare::in_time(request) {
            prepare::update(api, request, &mut new, live);
        }
        Ok(create::own(api, request, Some(live), new, &manager))
    })
}

/// Whether a patch is a server-side apply.
pub(super) fn is_apply(request: &Request) -> bool {
    negotiate::media_type(request.content_type.as_deref()) == "application/apply-patch+yaml"
}

/// A patch that says what to do.
pub(super) struct Patch {
    form: Form,
    decoded: body::Decoded,
}

impl Patch {
    /// Reads the patch of a request and its options.
    ///
    /// # Errors
    /// It is none of its form.
    pub(super) fn read(request: &mut Request) -> Outcome<Patch> {
        let form = match negotiate::media_type(request.content_type.as_deref()).as_str() {
            "application/json-patch+json" => Form::Json,
            "application/merge-patch+json" => Form::Merge,
            "application/strategic-merge-patch+json" if request.kind.custom.is_none() => Form::Strategic,
            _ if request.kind.custom.is_some() => {
                let why = "the body of the request was in an unknown format - accepted media types include: \
                           application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                return Err(Failure::new(415, "UnsupportedMediaType", why));
            }
            _ => {
                let failure = Failure::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
                return Err(failure.with_details(json!({})));
            }
        };
        request.read_options("PatchOptions", false)?;
        let mut decoded = body::json(&request.body).map_err(|error| match form {
            Form::Json | Form::Merge => Failure::bad_request(format!("error decoding patch: {error}")),
            Form::Strategic => Failure::bad_request(error),
        })?;
        check_shape(form, &decoded.value)?;
        if decoded.value.is_null() && form != Form::Merge {
            decoded.value = if form == Form::Json { json!([]) } else { json!({}) };
        }
        if form == Form::Json {
            decoded.duplicates = json_patch_complaints(&decoded);
        }
        Ok(Patch { form, decoded })
    }

    /// What the patch makes of an object of a kind.
    ///
    /// # Errors
    /// It does not fit, or the result is none of the kind.
    pub(super) fn made(&self, api: &Api, request: &Request, kind: &Kind, live: &Value) -> Outcome<Value> {
        let mut new = live.clone();
        let patch = &self.decoded.value;
        match self.form {
            Form::Json => json_patch::apply(&mut new, patch).map_err(|error| json_failure(&error))?,
            Form::Merge => merge_patch::apply(&mut new, patch)
                .map_err(|error| Failure::bad_request(error.to_string()))?,
            Form::Strategic => {
                let types = kind.types(&api.schemas);
                new = strategic::apply(new, patch, types.as_ref())
                    .map_err(|error| strategic_failure(&error))?;
                // The result is read as the kind, whatever it says it is.
                for field in ["apiVersion", "kind"] {
                    new[field] = live[field].clone();
                }
            }
        }
        let mut complaints = decode::Complaints::of_duplicates(self.decoded.duplicates.clone());
        complaints.restored = self.form == Form::Strategic;
        let shown = Shown {
            form: self.form,
            patch,
            kind: kind
                .custom
                .is_none()
                .then(|| format!("{}.{}", kind.api_version(), kind.kind)),
        };
        retyped(api, request, kind, new, &mut complaints, &shown)
    }
}

/// A patch of the wrong shape altogether.
fn check_shape(form: Form, patch: &Value) -> Outcome<()> {
    let (good, wanted) = match form {
        Form::Json => (patch.is_array() || patch.is_null(), "[]handlers.jsonPatchOp"),
        Form::Merge => (patch.is_object() || patch.is_null(), "map[string]interface {}"),
        Form::Strategic if !patch.is_object() && !patch.is_null() => {
            let shown = decode::json_name(patch);
            return Err(Failure::bad_request(format!(
                "json: cannot unmarshal {shown} into Go value of type map[string]interface {{}}"
            )));
        }
        _ => return Ok(()),
    };
    let odd = patch
        .as_array()
        .into_iter()
        .flatten()
        .find(|item| !item.is_object() && !item.is_null());
    if let Some(odd) = odd.filter(|_| form == Form::Json) {
        let shown = decode::json_name(odd);
        return Err(Failure::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {shown} into Go value of type handlers.jsonPatchOp"
        )));
    }
    if good {
        return Ok(());
    }
    let shown = decode::json_name(patch);
    Err(Failure::bad_request(format!(
        "error decoding patch: json: cannot unmarshal {shown} into Go value of type {wanted}"
    )))
}

/// A JSON patch that does not fit is the client's error in different ways.
fn json_failure(error: &fluvial_merge::PatchError) -> Failure {
    let text = error.to_string();
    let missing = text.ends_with("missing value");
    if !missing && (text.contains("cannot unmarshal") || text.contains("decod")) {
        return Failure::bad_request(text);
    }
    Failure::new(
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
    )
    .with_details(json!({}))
}

/// What the server does not know by name counts as its own error, a directive that is not known too.
fn strategic_failure(error: &fluvial_merge::PatchError) -> Failure {
    let text = error.to_string();
    // These the server knows by name; what else the library says it passes on.
    let known = [
        "invalid JSON document",
        "invalid patch format of",
        "lists of lists are not supported",
    ];
    if known.iter().any(|start| text.starts_with(start)) {
        return Failure::bad_request(text);
    }
    Failure::unclassified(text)
}

/// What strict decoding says of the operations themselves.
fn json_patch_complaints(decoded: &body::Decoded) -> Vec<String> {
    let operations = decoded.value.as_array().into_iter().flatten().enumerate();
    let unknown = operations.flat_map(|(index, operation)| {
        let fields = operation.as_object().into_iter().flatten();
        let odd = fields.filter(|(name, _)| !matches!(name.as_str(), "op" | "path" | "from" | "value"));
        odd.map(move |(name, _)| format!("json patch unknown field \"[{index}].{name}\""))
    });
    let twice = decoded
        .duplicates
        .iter()
        .filter(|path| path.matches('.').count() == 1);
    let twice = twice.map(|path| format!("json patch duplicate field \"{path}\""));
    unknown.chain(twice).collect()
}

/// Makes a patched object one of the kind's type again.
fn retyped(
    api: &Api,
    request: &Request,
    kind: &Kind,
    mut new: Value,
    complaints: &mut decode::Complaints,
    shown: &Shown<'_>,
) -> Outcome<Value> {
    let wrong = |new: &Value, why: String| {
        let error = FieldError::new(ErrorKind::Invalid, "patch", shown.text(new).into(), why);
        Failure::invalid("", "", "", &[error])
    };
    let own = kind.api_version();
    if kind.custom.is_none() {
        for (field, value) in [("apiVersion", &own), ("kind", &kind.kind)] {
            if new[field].is_null() {
                new[field] = value.as_str().into();
            }
        }
    }
    let (version, name) = (
        new["apiVersion"].as_str().unwrap_or(""),
        new["kind"].as_str().unwrap_or(""),
    );
    if version != own || name != kind.kind {
        let (group, short) = version.split_once('/').unwrap_or(("", version));
        let why = if version != kind.api_version()
            && api.kinds().version(group, short).is_none()
            && !version.is_empty()
        {
            format!(
                "no kind \"{name}\" is registered for version \"{version}\" in scheme \"pkg/runtime/scheme.go:111\""
            )
        } else if kind.custom.is_some()
            || api.kinds().any_version("", name).is_none()
            || version != kind.api_version()
        {
            format!(
                "no kind \"{name}\" is registered for version \"{version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
            )
        } else if let Some(wrong) = decode::misread(api, version, name, &new) {
            wrong
        } else {
            format!(
                "converting ({version}.{name}) to (core.{}): unknown conversion",
                kind.kind
            )
        };
        return Err(wrong(&new, why));
    }
    if new["metadata"].is_null() {
        new["metadata"] = json!({});
    }
    let before = new.clone();
    decode::typed(api, kind, &mut new, complaints).map_err(|why| wrong(&before, why))?;
    match complaints.report(request) {
        Some(error) => Err(wrong(&before, error)),
        None => Ok(new),
    }
}

pub(super) fn apply_failure(error: ApplyError) -> Failure {
    match error {
        ApplyError::Conflict { message, conflicts } => {
            let causes: Vec<Value> = conflicts
                .iter()
                .map(|conflict| {
                    json!({"reason": "FieldManagerConflict", "message": conflict.message, "field": conflict.field})
                })
                .collect();
            Failure::new(409, "Conflict", message).with_details(json!({"causes": causes}))
        }
        ApplyError::BadRequest(message) => Failure::bad_request(message),
        ApplyError::Typed(message) => Failure::unclassified(message),
    }
}

/// Why what was applied is no object of its kind after all.
pub(super) fn unconverted(object: &Value, kind: &Kind, why: &str) -> Failure {
    let version = match kind.group.as_str() {
        "" => format!("/{}", kind.version),
        _ => kind.api_version(),
    };
    let name = &kind.kind;
    // An object of a version that is not the one worked with has been converted before, and is not named.
    if crate::convert::differs(kind) {
        return Failure::unclassified(format!(
            "failed to convert new object: unable to convert unstructured object to {version}, Kind={name}: {why}"
        ));
    }
    let id = format!(
        "{}/{}; {version}, Kind={name}",
        meta(object, "namespace"),
        meta(object, "name")
    );
    Failure::unclassified(format!(
        "failed to convert new object ({id}) to proper version: unable to convert unstructured object to {version}, \
         Kind={name}: {why}"
    ))
}

/// Reads what is applied as an object of a kind.
///
/// # Errors
/// It is none, or has what may not be applied.
pub(super) fn applied(request: &Request, kind: &Kind) -> Outcome<Value> {
    let decoded = body::yaml(&request.body).map_err(|error| {
        Failure::bad_request(format!(
            "error decoding YAML: error converting YAML to JSON: {error}"
        ))
    })?;
    let applied = decoded.value;
    if !applied.is_object() && !applied.is_null() {
        return Err(Failure::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value \
             of type map[string]interface {{}}",
            decode::json_name(&applied)
        )));
    }
    let (version, name) = (
        applied["apiVersion"].as_str().unwrap_or(""),
        applied["kind"].as_str().unwrap_or(""),
    );
    if version != kind.api_version() || name != kind.kind {
        let shown = match version.split_once('/') {
            Some((group, short)) => format!("{group}/{short}"),
            None => format!("/{version}"),
        };
        return Err(Failure::bad_request(format!(
            "invalid object type: {shown}, Kind={name}"
        )));
    }
    let complaints = decode::Complaints::of_duplicates(decoded.duplicates);
    if let Some(why) = complaints.report(request) {
        let why = why.replace(
            "strict decoding error: ",
            "error strict decoding YAML: error converting YAML to JSON: ",
        );
        return Err(Failure::bad_request(why));
    }
    if !applied["metadata"]["managedFields"].is_null() {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    Ok(applied)
}

/// Server-side apply.
fn apply(api: &Api, request: &Request) -> Outcome<Reply> {
    let kind = &request.kind;
    let applied = applied(request, kind)?;
    let live = api.store.collection(&kind.collection).get(&request.key());
    if live.is_none() && !request.target.subresource.is_empty() {
        return Err(request.not_found());
    }
    check_applied(request, &applied)?;
    let Some(stored) = live else {
        return apply_new(api, request, &applied);
    };
    if !crate::convert::is_outdated(kind, &stored) {
        let seen = crate::convert::webhook::one(api, &request.calls, kind, stored, false)?;
        if leaves_alone(api, request, &applied, &seen)? {
            return Ok(Reply::Stored(200, seen));
        }
    }
    let result = update::change(api, request, &mut |live| {
        let mut new = merged(api, request, Some(live), &applied)?;
        update::named(request, &mut new)?;
        Ok(new)
    });
    match result {
        // It was deleted meanwhile.
        Err(failure) if failure.code == 404 && request.target.subresource.is_empty() => {
            apply_new(api, request, &applied)
        }
        other => other,
    }
}

/// Whether an apply changes nothing, which is the usual case and needs no new object. Where policies may have a say, the
/// long way is taken.
fn leaves_alone(api: &Api, request: &Request, applied: &Value, stored: &Stored) -> Outcome<bool> {
    let kind = &request.kind;
    let meta = &applied["metadata"];
    if !meta["resourceVersion"].is_null() || !meta["uid"].is_null() || crate::admission::has_policies(api) {
        return Ok(false);
    }
    let live = super::show(kind, stored);
    let types = kind.types(&api.schemas);
    let fields = prepare::reset_fields(kind, &request.target.subresource);
    let unchanged = fluvial_merge::managed::unchanged(&ApplyRequest {
        types: types.as_ref(),
        live: Some(&live),
        empty: None,
        applied,
        manager: request.query.text("fieldManager"),
        subresource: &request.target.subresource,
        api_version: &kind.api_version(),
        time: "",
        force: request.query.flag("force"),
        reset_fields: &fields,
    });
    if unchanged && ownership::misfit(kind, &live, &[&live]).is_some() {
        return Ok(false);
    }
    if unchanged && request.target.subresource.is_empty() {
        crate::registry::warnings::warn(request, kind, &live, &live);
        crate::admission::pod_security::validate(api, request, &live, Some(&live))?;
    }
    Ok(unchanged)
}

/// Whether what is applied may have the name and the namespace of the path, if it has any.
pub(super) fn check_applied(request: &Request, applied: &Value) -> Outcome<()> {
    let name = meta(applied, "name");
    if !name.is_empty() && name != request.target.name {
        let why = format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            request.target.name
        );
        return Err(Failure::bad_request(why));
    }
    // The patch is recorded as it was sent, which need not name its namespace.
    create::place(request, &mut applied.clone())
}

fn apply_new(api: &Api, request: &Request, applied: &Value) -> Outcome<Reply> {
    let kind = &request.kind;
    let uid = meta(applied, "uid");
    if !uid.is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        return Err(Failure::conflict(
            &kind.group,
            &kind.plural,
            &request.target.name,
            &why,
        ));
    }
    create::authorize(api, request)?;
    let mut object = merged(api, request, None, applied)?;
    if meta(&object, "name").is_empty() {
        return Err(update::nameless(request));
    }
    // There was no version that it could have meant.
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("resourceVersion");
    }
    create::insert(api, request, object)
}

fn merged(api: &Api, request: &Request, live: Option<&Value>, applied: &Value) -> Outcome<Value> {
    let kind = &request.kind;
    let types = kind.types(&api.schemas);
    let fields = prepare::reset_fields(kind, &request.target.subresource);
    if let Some(why) = live.and_then(|live| ownership::misfit(kind, live, &[live])) {
        return Err(apply_failure(ApplyError::Typed(why)));
    }
    let unowned = live.is_some_and(|live| {
        live["metadata"]["managedFields"]
            .as_array()
            .is_none_or(Vec::is_empty)
    });
    let empty = match (&types, unowned && kind.custom.is_none()) {
        (Some(types), true) => Some(create::nothing(kind, types)),
        _ => None,
    };
    let mut new = fluvial_merge::managed::apply(&ApplyRequest {
        types: types.as_ref(),
        live,
        empty: empty.as_ref(),
        applied,
        manager: request.query.text("fieldManager"),
        subresource: &request.target.subresource,
        api_version: &kind.api_version(),
        time: &api.now(),
        force: request.query.flag("force"),
        reset_fields: &fields,
    })
    .map_err(apply_failure)?;
    let mut complaints = decode::Complaints::default();
    complaints.restored = true;
    decode::typed(api, kind, &mut new, &mut complaints).map_err(|why| unconverted(applied, kind, &why))?;
    create::place(request, &mut new)?;
    Ok(new)
}

//! Reading one object or a list.

use base64::Engine as _;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};

use super::{Reply, show};
use crate::api::Api;
use crate::convert::webhook;
use crate::request::Request;
use crate::select::Selection;
use crate::status::{Failure, Outcome};

/// As Go reads it: what is left over in the last bits does not matter.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// GET of an object.
///
/// # Errors
/// There is none, or it cannot be converted.
pub fn get(api: &Api, request: &Request) -> Outcome<Reply> {
    let kind = &request.kind;
    if let Err(why) = parsed_version(request.query.text("resourceVersion")) {
        return Err(Failure::unclassified(why));
    }
    let stored = api.store.collection(&kind.collection).get(&request.key());
    let stored = stored.ok_or_else(|| request.not_found())?;
    let stored = webhook::one(api, &request.calls, kind, stored, true)?;
    if crate::convert::differs(kind) {
        return Ok(Reply::Value(200, show(kind, &stored)));
    }
    Ok(Reply::Stored(200, stored))
}

fn check_version(text: &str) -> Outcome<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let version = parsed_version(text);
    version
        .map(Some)
        .map_err(|why| Failure::bad_request(format!("invalid resource version: {why}")))
}

/// The number of a version; nothing is the newest one.
fn parsed_version(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        format!(
            "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": {}",
            unreadable(text)
        )
    })
}

/// Why a text is no number: only digits are one that is too large.
pub(super) fn unreadable(text: &str) -> &'static str {
    match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        true => "value out of range",
        false => "invalid syntax",
    }
}

/// Where a page ends: version and last key. Version -1 goes on with whatever is there by then.
fn continue_token(version: i64, key: &str) -> String {
    BASE64.encode(json!({"v": "meta.k8s.io/v1", "rv": version, "start": format!("{key}\u{0}")}).to_string())
}

fn read_token(token: &str) -> Outcome<(Option<u64>, String)> {
    let wrong = |why: String| {
        Failure::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let bytes = BASE64.decode(token).map_err(|_| {
        let strange = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let at = token.as_bytes().iter().position(strange);
        // A last character alone is no byte.
        let end = token.len() - usize::from(token.len() % 4 == 1);
        wrong(format!("illegal base64 data at input byte {}", at.unwrap_or(end)))
    })?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| match bytes.first() {
        Some(byte) if matches!(*byte, 0x80..=0xa0 | 0xad) => wrong(format!(
            "invalid character '\\u{byte:04x}' looking for beginning of value"
        )),
        Some(byte) => wrong(format!(
            "invalid character '{}' looking for beginning of value",
            char::from(*byte)
        )),
        None => wrong("unexpected end of JSON input".to_owned()),
    })?;
    let start = value["start"]
        .as_str()
        .unwrap_or("")
        .trim_end_matches('\u{0}')
        .to_owned();
    if value["v"] != "meta.k8s.io/v1" {
        let version = value["v"].as_str().unwrap_or("");
        return Err(wrong(format!(
            "server does not recognize this encoded version {version}"
        )));
    }
    let version = value["rv"].as_i64().unwrap_or(0);
    if version == 0 {
        return Err(wrong(
            "incorrect encoded start resourceVersion (version meta.k8s.io/v1)".to_owned(),
        ));
    }
    if start.is_empty() {
        return Err(wrong("encoded start key empty".to_owned()));
    }
    Ok((u64::try_from(version).ok(), start))
}

/// A number of the query.
///
/// # Errors
/// It is none.
pub fn number(request: &Request, name: &str) -> Outcome<Option<i64>> {
    match request.query.text(name) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            let why = unreadable(text.strip_prefix(['-', '+']).unwrap_or(text));
            Failure::bad_request(format!("strconv.ParseInt: parsing \"{text}\": {why}"))
        }),
    }
}

/// Refuses combinations of list options that have no meaning.
fn check_list_options(request: &Request) -> Outcome<()> {
    use fluvial_schema::{ErrorKind, FieldError};
    let matching = request.query.text("resourceVersionMatch");
    let version = request.query.text("resourceVersion");
    let mut errors = vec![];
    let forbid = |detail: &str| FieldError::plain(ErrorKind::Forbidden, "resourceVersionMatch", detail);
    if !matching.is_empty() {
        if version.is_empty() {
            errors.push(forbid(
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !request.query.text("continue").is_empty() {
            errors.push(forbid(
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            let detail = "supported values: \"Exact\", \"NotOlderThan\", \"\"";
            errors.push(FieldError::new(
                ErrorKind::NotSupported,
                "resourceVersionMatch",
                matching.into(),
                detail,
            ));
        }
        if matching == "Exact" && version == "0" {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(FieldError::plain(
                ErrorKind::Forbidden,
                "resourceVersionMatch",
                detail,
            ));
        }
    }
    if request.query.get("sendInitialEvents").is_some() {
        let detail = "sendInitialEvents is forbidden for list";
        errors.push(FieldError::plain(
            ErrorKind::Forbidden,
            "sendInitialEvents",
            detail,
        ));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::invalid("meta.k8s.io", "ListOptions", "", &errors))
    }
}

/// 504 for a version that is not there yet.
#[must_use]
pub fn too_large(version: u64, current: u64) -> Failure {
    let message = format!("Timeout: Too large resource version: {version}, current: {current}");
    Failure::new(504, "Timeout", message)
        .with_details(json!({"causes": [{"reason": "ResourceVersionTooLarge",
        "message": "Too large resource version"}], "retryAfterSeconds": 1}))
}

/// The prefix of the keys that a request is about.
#[must_use]
pub fn prefix(request: &Request) -> String {
    if request.kind.namespaced && !request.target.namespace.is_empty() {
        format!("{}/", request.target.namespace)
    } else {
        String::new()
    }
}

/// GET of a collection.
///
/// # Errors
/// The options cannot be read or the version is gone.
pub fn list(api: &Api, request: &Request) -> Outcome<Reply> {
    let kind = &request.kind;
    let selection = Selection::read(request)?;
    number(request, "timeoutSeconds")?;
    let limit = usize::try_from(number(request, "limit")?.unwrap_or(0)).unwrap_or(0);
    check_list_options(request)?;
    let version = check_version(request.query.text("resourceVersion"))?;
    let token = request.query.text("continue");
    let collection = api.store.collection(&kind.collection);
    let (at, after) = if token.is_empty() {
        let current = api.store.version();
        if let Some(version) = version.filter(|version| *version > current) {
            return Err(too_large(version, current));
        }
        // Who wants pages of a version means that version.
        let matching = request.query.text("resourceVersionMatch");
        let exact = matching == "Exact" || (matching.is_empty() && limit > 0);
        (version.filter(|version| exact && *version > 0), None)
    } else {
        let (version, start) = read_token(token)?;
        if !matches!(request.query.text("resourceVersion"), "" | "0") {
            return Err(Failure::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        (version, Some(start))
    };
    let snapshot = collection.snapshot(&api.store, &prefix(request), after.as_deref(), at).map_err(|_| {
        if let Some(after) = &after {
            let text = "The provided continue parameter is too old to display a consistent list result. You can \
                        start a new list without the continue parameter, or use the continue token in this response \
                        to retrieve the remainder of the results. Continuing with the provided token results in an \
                        inconsistent list - objects that were created, modified, or deleted between the time the \
                        first chunk was returned and now may show up in the list.";
            Failure::expired(text).with_continue(continue_token(-1, after))
        } else {
            Failure::expired("The resourceVersion for the provided list is too old.".to_owned())
        }
    })?;
    let mut objects = snapshot.objects;
    let end = objects.last().map(|last| last.key.clone());
    if !selection.is_everything() {
        objects = webhook::stored(api, &request.calls, kind, objects, false)?;
        objects.retain(|stored| selection.matches(kind, stored));
    }
    let (mut next, mut remaining) = (None, None);
    // Any version from there on will do: such a list is whole.
    let whole = version == Some(0) && token.is_empty();
    // Who looks for the end of what is selected has to go on: others may follow.
    let full = limit > 0
        && objects
            .get(limit - 1)
            .is_some_and(|last| Some(&last.key) != end.as_ref());
    // One object is no page of a list.
    let one = selection.is_one() && (!kind.namespaced || !request.target.namespace.is_empty());
    if full && !whole && !one {
        let left = objects.len() - limit;
        objects.truncate(limit);
        next = objects
            .last()
            .map(|last| continue_token(i64::try_from(snapshot.version).unwrap_or(-1), &last.key));
        remaining = selection.is_everything().then_some(left);
    }
    let objects = webhook::stored(api, &request.calls, kind, objects, false)?;
    Ok(Reply::List {
        version: snapshot.version,
        next,
        remaining,
        objects,
    })
}

//! What others need to check the tokens of service accounts: who issues them, and the keys.

use http::request::Parts;
use serde_json::json;

use super::header;
use super::response::Answer;
use crate::api::Api;
use crate::auth::signer::{ALGORITHM, ISSUER};
use crate::status::Failure;

const KEYS: &str = "application/jwk-set+json";

/// The answer to a path, if it is one of these.
#[must_use]
pub fn answer(api: &Api, path: &str, parts: &Parts) -> Option<Answer> {
    let (value, media) = match path.strip_suffix('/').unwrap_or(path) {
        "/.well-known/openid-configuration" => {
            let host =
                header(&parts.headers, "host").or_else(|| parts.uri.authority().map(|own| own.as_str()));
            let base = host.map_or_else(|| ISSUER.to_owned(), |host| format!("https://{host}"));
            let value = json!({"issuer": ISSUER, "jwks_uri": format!("{base}/openid/v1/jwks"),
                "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM]});
            (value, "application/json")
        }
        "/openid/v1/jwks" => (api.signer.keys(), KEYS),
        _ => return None,
    };
    if !accepts(header(&parts.headers, "accept"), media) {
        let text = format!("406: Not Acceptable\n\nAvailable representations: {media}");
        let refused = Failure::new(406, "NotAcceptable", text).with_details(json!({}));
        return Some(Answer::json(406, &refused.to_value()));
    }
    let answer = Answer::bytes(200, value.to_string(), media);
    Some(answer.with_header("cache-control", "public, max-age=3600"))
}

fn accepts(wanted: Option<&str>, media: &str) -> bool {
    let wanted = wanted.filter(|wanted| !wanted.is_empty()).unwrap_or("*/*");
    wanted.split(',').any(|one| {
        let one = one.split(';').next().unwrap_or_default().trim();
        one == media || matches!(one, "*/*" | "application/*")
    })
}

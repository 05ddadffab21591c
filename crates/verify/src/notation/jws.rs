//! Envelopes as JSON Web Signatures.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::envelope::{Envelope, Format, PAYLOAD, Signed, is_authority, understood};
use crate::{Refusal, base64, refuse};

#[derive(Deserialize)]
struct Document {
    payload: String,
    protected: String,
    header: Header,
    signature: String,
}

#[derive(Deserialize)]
struct Header {
    x5c: Vec<String>,
    #[serde(rename = "io.cncf.notary.timestampSignature")]
    timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Protected {
    alg: String,
    cty: String,
    #[serde(default)]
    crit: Vec<String>,
    #[serde(rename = "io.cncf.notary.signingScheme")]
    scheme: String,
    #[serde(rename = "io.cncf.notary.authenticSigningTime")]
    authentic_time: Option<jiff::Timestamp>,
    #[serde(rename = "io.cncf.notary.expiry")]
    expiry: Option<jiff::Timestamp>,
    #[serde(rename = "io.cncf.notary.verificationPlugin")]
    plugin: Option<String>,
}

fn url_safe(text: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Refusal::new("a part of it is not base64url"))
}

/// Takes an envelope apart.
pub(super) fn read(data: &[u8]) -> Result<Envelope, Refusal> {
    let broken = |error: serde_json::Error| Refusal::new(format!("it cannot be read: {error}"));
    let document: Document = serde_json::from_slice(data).map_err(broken)?;
    let protected: Protected = serde_json::from_slice(&url_safe(&document.protected)?).map_err(broken)?;
    if protected.cty != PAYLOAD {
        return refuse(format!("its content is '{}', not '{PAYLOAD}'", protected.cty));
    }
    understood(protected.crit.iter().map(String::as_str))?;
    let second = |time: Option<jiff::Timestamp>| time.map(jiff::Timestamp::as_second);
    Ok(Envelope {
        format: Format::Jws(protected.alg),
        message: format!("{}.{}", document.protected, document.payload).into_bytes(),
        signature: url_safe(&document.signature)?,
        chain: document
            .header
            .x5c
            .iter()
            .map(|one| base64(one))
            .collect::<Result<_, _>>()?,
        timestamp: document.header.timestamp.as_deref().map(base64).transpose()?,
        signed: Signed {
            payload: url_safe(&document.payload)?,
            authority: is_authority(&protected.scheme)?,
            time: second(protected.authentic_time),
            expiry: second(protected.expiry),
            plugin: protected.plugin,
        },
    })
}

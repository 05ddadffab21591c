//! What both kinds of envelopes have.

use serde::Deserialize;

use crate::{Refusal, refuse};

/// What is signed in every envelope.
pub(super) const PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";
/// How certificates of an authority that vouches for the time are told.
const SIGNING_AUTHORITY: &str = "notary.x509.signingAuthority";
const X509: &str = "notary.x509";

/// Names of attributes that are understood.
pub(super) const SCHEME: &str = "io.cncf.notary.signingScheme";
pub(super) const TIME: &str = "io.cncf.notary.signingTime";
pub(super) const AUTHENTIC_TIME: &str = "io.cncf.notary.authenticSigningTime";
pub(super) const EXPIRY: &str = "io.cncf.notary.expiry";
pub(super) const PLUGIN: &str = "io.cncf.notary.verificationPlugin";
pub(super) const PLUGIN_VERSION: &str = "io.cncf.notary.verificationPluginMinVersion";
pub(super) const TIMESTAMP: &str = "io.cncf.notary.timestampSignature";

/// How it is written, and its algorithm.
pub(super) enum Format {
    Jws(String),
    Cose(i64),
}

/// An envelope, taken apart.
pub(super) struct Envelope {
    pub(super) format: Format,
    /// What the signature is made over.
    pub(super) message: Vec<u8>,
    pub(super) signature: Vec<u8>,
    /// The signer's certificate first.
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) timestamp: Option<Vec<u8>>,
    pub(super) signed: Signed,
}

/// What is signed.
pub(super) struct Signed {
    pub(super) payload: Vec<u8>,
    /// Whether an authority vouches for the time.
    pub(super) authority: bool,
    /// When, in seconds since 1970; only an authority's word counts.
    pub(super) time: Option<i64>,
    pub(super) expiry: Option<i64>,
    pub(super) plugin: Option<String>,
}

/// The artifact that a payload names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
}

impl Signed {
    pub(super) fn target(&self) -> Result<Target, Refusal> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Payload {
            target_artifact: Target,
        }
        serde_json::from_slice(&self.payload)
            .map(|payload: Payload| payload.target_artifact)
            .map_err(|error| Refusal::new(format!("the signed payload cannot be read: {error}")))
    }
}

/// Whether a scheme's certificates are of an authority that vouches for the time.
pub(super) fn is_authority(scheme: &str) -> Result<bool, Refusal> {
    match scheme {
        X509 => Ok(false),
        SIGNING_AUTHORITY => Ok(true),
        other => refuse(format!("its signing scheme '{other}' is not known")),
    }
}

/// Attributes that an envelope calls critical must be known.
pub(super) fn understood<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let known = [SCHEME, TIME, AUTHENTIC_TIME, EXPIRY, PLUGIN, PLUGIN_VERSION];
    match names.find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => refuse(format!("its critical attribute '{name}' is not known")),
    }
}

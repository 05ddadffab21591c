//! The layout of cosign 2: a small payload that names the image, its signature and proofs in annotations.

use serde::Deserialize;

use super::entry::{Artifact, Entry};
use super::{Signer, Trust, by_key, certificate};
use crate::{Refusal, base64, pem, refuse, timestamp};

/// A payload and its layer's annotations.
#[derive(Clone, Debug, Default)]
pub struct Signature {
    /// What is signed.
    pub payload: Vec<u8>,
    /// `dev.cosignproject.cosign/signature`.
    pub signature: String,
    /// `dev.sigstore.cosign/certificate`.
    pub certificate: Option<String>,
    /// `dev.sigstore.cosign/chain`.
    pub chain: Option<String>,
    /// `dev.sigstore.cosign/bundle`: the entry of a transparency log.
    pub bundle: Option<String>,
    /// `dev.sigstore.cosign/rfc3161timestamp`.
    pub timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LogBundle {
    signed_entry_timestamp: String,
    payload: LogPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogPayload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Timestamp {
    #[serde(rename = "SignedRFC3161Timestamp")]
    signed: String,
}

/// The image that a payload names.
fn claimed(payload: &[u8]) -> Result<String, Refusal> {
    #[derive(Deserialize)]
    struct Payload {
        critical: Critical,
    }
    #[derive(Deserialize)]
    struct Critical {
        image: Image,
        #[serde(rename = "type")]
        kind: String,
    }
    #[derive(Deserialize)]
    struct Image {
        #[serde(rename = "docker-manifest-digest")]
        digest: String,
    }
    let payload: Payload = serde_json::from_slice(payload)
        .map_err(|error| Refusal::new(format!("the signed payload cannot be read: {error}")))?;
    if payload.critical.kind != "cosign container image signature" {
        return refuse(format!(
            "the signed payload is a '{}', not a signature of an image",
            payload.critical.kind
        ));
    }
    Ok(payload.critical.image.digest)
}

impl Signature {
    pub(super) fn verify(&self, digest: &str, trust: &Trust<'_>) -> Result<Signer, Refusal> {
        let signature = base64(&self.signature).map_err(|error| error.of("the signature cannot be read"))?;
        let signer = match trust {
            Trust::Keys(keys) => by_key(keys, &self.payload, &signature)?,
            Trust::Certificates { root, identities } => {
                let Some(text) = &self.certificate else {
                    return refuse(
                        "the signature comes without a certificate, so it was made with a key; name the key in spec.verify.secretRef",
                    );
                };
                let leaf = pem::certificates(text.as_bytes())?;
                let Some(leaf) = leaf.first() else {
                    return refuse("the signature's certificate is empty");
                };
                certificate::made(leaf, &self.payload, &signature)?;
                let chain = self.chain.as_deref().unwrap_or_default();
                let between = pem::certificates(chain.as_bytes())?;
                let artifact = Artifact::Payload {
                    data: &self.payload,
                    signature: &signature,
                    certificate: leaf,
                };
                let mut times = Vec::new();
                match self.entry()? {
                    Some(entry) => times.extend(entry.verify(&artifact, root)?),
                    None if root.has_logs() => return refuse(NOT_LOGGED),
                    None => {}
                }
                if let Some(token) = self.timestamp()? {
                    times.push(timestamp::verify(&token, &signature, root.timestamps())?);
                }
                certificate::verify(leaf, &between, &signed_at(times)?, root, identities)?
            }
        };
        let claimed = claimed(&self.payload)?;
        if claimed != digest {
            return refuse(format!("the signature is of image '{claimed}', not of this one"));
        }
        Ok(signer)
    }

    fn entry(&self) -> Result<Option<Entry>, Refusal> {
        let Some(text) = &self.bundle else {
            return Ok(None);
        };
        let bundle: LogBundle = serde_json::from_str(text)
            .map_err(|error| Refusal::new(format!("the log's entry cannot be read: {error}")))?;
        let what = |error: Refusal| error.of("the log's entry cannot be read");
        Ok(Some(Entry {
            log: from_hex(&bundle.payload.log_id)?,
            index: bundle.payload.log_index,
            time: bundle.payload.integrated_time,
            body: base64(&bundle.payload.body).map_err(what)?,
            promise: Some(base64(&bundle.signed_entry_timestamp).map_err(what)?),
            proof: None,
        }))
    }

    fn timestamp(&self) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(text) = &self.timestamp else {
            return Ok(None);
        };
        let timestamp: Timestamp = serde_json::from_str(text)
            .map_err(|error| Refusal::new(format!("the timestamp cannot be read: {error}")))?;
        base64(&timestamp.signed)
            .map(Some)
            .map_err(|error| error.of("the timestamp cannot be read"))
    }
}

/// What is said of signatures that no log has.
pub(super) const NOT_LOGGED: &str =
    "the signature is in no transparency log; sign with a log, or trust a root without tlogs";

/// When something was signed, as others say.
pub(super) fn signed_at(times: Vec<i64>) -> Result<Vec<i64>, Refusal> {
    if times.is_empty() {
        return refuse(
            "nothing proves when it was signed: there is neither a log's entry with its promise nor a timestamp",
        );
    }
    Ok(times)
}

fn from_hex(text: &str) -> Result<Vec<u8>, Refusal> {
    let digits = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    digits
        .collect::<Option<Vec<u8>>>()
        .filter(|_| text.len().is_multiple_of(2))
        .ok_or_else(|| Refusal::new("the log's id is not hexadecimal"))
}

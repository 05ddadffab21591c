//! Bundles: a signed statement about the image with everything that proves it, in one JSON document (cosign 3).

use serde::Deserialize;

use super::entry::{Artifact, Entry, Proof};
use super::root::TrustedRoot;
use super::simple::{NOT_LOGGED, signed_at};
use super::{Signer, Trust, by_key, certificate};
use crate::{Refusal, base64, refuse, timestamp};

/// What a statement is in.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// Most entries and timestamps that are looked at.
const MOST: usize = 32;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<Raw>,
    x509_certificate_chain: Option<Chain>,
    #[serde(default)]
    tlog_entries: Vec<LogEntry>,
    #[serde(default)]
    timestamp_verification_data: Option<Timestamps>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    raw_bytes: String,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<Raw>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Timestamps {
    rfc3161_timestamps: Vec<SignedTimestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignedTimestamp {
    signed_timestamp: String,
}

/// A number that protobuf's JSON writes as a text.
#[derive(Clone, Copy, Default)]
struct Number(i64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let number = match &value {
            serde_json::Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        };
        number
            .map(Number)
            .ok_or_else(|| serde::de::Error::custom("a number is wanted"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogEntry {
    #[serde(default)]
    log_index: Number,
    log_id: LogId,
    #[serde(default)]
    integrated_time: Number,
    inclusion_promise: Option<Promise>,
    inclusion_proof: Option<InclusionProof>,
    canonicalized_body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogId {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Promise {
    signed_entry_timestamp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InclusionProof {
    #[serde(default)]
    log_index: Number,
    root_hash: String,
    tree_size: Number,
    #[serde(default)]
    hashes: Vec<String>,
    checkpoint: Checkpoint,
}

#[derive(Deserialize)]
struct Checkpoint {
    envelope: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(default)]
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: std::collections::BTreeMap<String, String>,
}

/// Whether a bundle is a trusted statement about the image with this digest.
pub(super) fn verify(data: &[u8], digest: &str, trust: &Trust<'_>) -> Result<Signer, Refusal> {
    read(data, digest, trust).map_err(|error| error.of("the signature's bundle"))
}

fn read(data: &[u8], digest: &str, trust: &Trust<'_>) -> Result<Signer, Refusal> {
    let bundle: Bundle =
        serde_json::from_slice(data).map_err(|error| Refusal::new(format!("it cannot be read: {error}")))?;
    if !bundle
        .media_type
        .starts_with("application/vnd.dev.sigstore.bundle")
    {
        return refuse(format!("its mediaType is '{}'", bundle.media_type));
    }
    let Some(envelope) = &bundle.dsse_envelope else {
        return refuse("it has no dsseEnvelope; signatures of images have one");
    };
    let payload = base64(&envelope.payload)?;
    let [signature] = envelope.signatures.as_slice() else {
        return refuse("its envelope has not exactly one signature");
    };
    let signature = base64(&signature.sig)?;
    let message = to_sign(&envelope.payload_type, &payload);
    let material = &bundle.verification_material;
    let signer = match trust {
        Trust::Keys(keys) => by_key(keys, &message, &signature)?,
        Trust::Certificates { root, identities } => {
            let (leaf, between) = material.certificates()?;
            certificate::made(&leaf, &message, &signature)?;
            let artifact = Artifact::Envelope {
                data: &payload,
                signature: &signature,
                certificate: &leaf,
            };
            let times = material.times(&artifact, &signature, root)?;
            certificate::verify(&leaf, &between, &times, root, identities)?
        }
    };
    about(&envelope.payload_type, &payload, digest)?;
    Ok(signer)
}

/// Whether a payload is a statement about the image.
fn about(kind: &str, payload: &[u8], digest: &str) -> Result<(), Refusal> {
    if kind != STATEMENT {
        return refuse(format!("its payload is '{kind}', not '{STATEMENT}'"));
    }
    let statement: Statement = serde_json::from_slice(payload)
        .map_err(|error| Refusal::new(format!("its statement cannot be read: {error}")))?;
    if !statement.kind.starts_with("https://in-toto.io/Statement/v") {
        return refuse(format!("its statement is of type '{}'", statement.kind));
    }
    let (algorithm, value) = digest.split_once(':').unwrap_or(("sha256", digest));
    let named = |subject: &Subject| subject.digest.get(algorithm).is_some_and(|named| named == value);
    if statement.subject.iter().any(named) {
        return Ok(());
    }
    refuse("its statement is about another image")
}

/// What an envelope's signature is made over (DSSE).
fn to_sign(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut all = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    all.extend_from_slice(payload);
    all
}

impl Material {
    /// The signer's certificate and those that came with it.
    fn certificates(&self) -> Result<(Vec<u8>, Vec<Vec<u8>>), Refusal> {
        if let Some(one) = &self.certificate {
            return Ok((base64(&one.raw_bytes)?, Vec::new()));
        }
        let chain = self.x509_certificate_chain.iter();
        let all = chain.flat_map(|chain| &chain.certificates);
        let mut all = all
            .map(|one| base64(&one.raw_bytes))
            .collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() {
            return refuse(
                "it was signed with a key, not with a certificate; name the key in spec.verify.secretRef",
            );
        }
        let leaf = all.remove(0);
        Ok((leaf, all))
    }

    /// When it was signed, as logs and timestamp servers say.
    fn times(
        &self,
        artifact: &Artifact<'_>,
        signature: &[u8],
        root: &TrustedRoot,
    ) -> Result<Vec<i64>, Refusal> {
        let stamps = self.timestamp_verification_data.as_ref();
        let stamps = stamps.map_or(&[][..], |data| &data.rfc3161_timestamps);
        if self.tlog_entries.len() > MOST || stamps.len() > MOST {
            return refuse(format!("it has more than {MOST} entries or timestamps"));
        }
        if self.tlog_entries.is_empty() && root.has_logs() {
            return refuse(NOT_LOGGED);
        }
        let mut times = Vec::new();
        for entry in &self.tlog_entries {
            times.extend(entry.read()?.verify(artifact, root)?);
        }
        for stamp in stamps {
            let token = base64(&stamp.signed_timestamp)?;
            times.push(timestamp::verify(&token, signature, root.timestamps())?);
        }
        signed_at(times)
    }
}

impl LogEntry {
    fn read(&self) -> Result<Entry, Refusal> {
        let natural = |number: Number| {
            u64::try_from(number.0).map_err(|_| Refusal::new("a number of the log's proof is negative"))
        };
        let promise = self.inclusion_promise.as_ref();
        let proof = match &self.inclusion_proof {
            None => None,
            Some(proof) if proof.hashes.len() > 64 => {
                return refuse("the log's proof has more than 64 hashes");
            }
            Some(proof) => Some(Proof {
                index: natural(proof.log_index)?,
                size: natural(proof.tree_size)?,
                root: base64(&proof.root_hash)?,
                hashes: proof
                    .hashes
                    .iter()
                    .map(|hash| base64(hash))
                    .collect::<Result<_, _>>()?,
                checkpoint: proof.checkpoint.envelope.clone(),
            }),
        };
        Ok(Entry {
            log: base64(&self.log_id.key_id)?,
            index: self.log_index.0,
            time: self.integrated_time.0,
            body: base64(&self.canonicalized_body)?,
            promise: promise
                .map(|one| base64(&one.signed_entry_timestamp))
                .transpose()?,
            proof,
        })
    }
}

//! Notation: signatures of the Notary project, judged by a trust policy and the certificates that an operator gave.

mod cbor;
mod cose;
mod envelope;
mod jws;
mod policy;

pub use policy::TrustPolicy;

use envelope::{Envelope, Format, Signed};
use policy::{Action, Rule};

use crate::sigstore::{Authority, Period};
use crate::x509::{CODE_SIGNING, Certificate};
use crate::{Refusal, pem, refuse, timestamp};

/// Most signatures of an artifact that are looked at.
pub const MOST_SIGNATURES: usize = 3;

/// The artifact that must be signed, as its manifest is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// `HOST/REPOSITORY`.
    pub repository: String,
    /// Media type of the manifest.
    pub media_type: String,
    /// Digest of the manifest.
    pub digest: String,
    /// Bytes of the manifest.
    pub size: u64,
}

/// An envelope as a registry holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Media type of the envelope.
    pub media_type: String,
    /// The envelope.
    pub data: Vec<u8>,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A trusted signature was found.
    Verified,
    /// The policy lets artifacts pass whose signer is not trusted, which says nothing about them.
    Ignored,
}

/// Certificates that signers may come from.
#[derive(Clone, Debug, Default)]
pub struct TrustStore(Vec<Vec<u8>>);

impl TrustStore {
    /// Adds the certificates of a file: PEM, or one in DER.
    ///
    /// # Errors
    /// If it holds none, or one that cannot be read.
    pub fn add(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let found = if data.starts_with(&[0x30]) {
            vec![data.to_vec()]
        } else {
            pem::certificates(data)?
        };
        if found.is_empty() {
            return refuse("it holds no certificate");
        }
        for der in &found {
            Certificate::parse(der)?;
        }
        self.0.extend(found);
        Ok(())
    }

    /// The same certificates as timestamp servers: stores have names, but only one is given here.
    fn servers(&self) -> Vec<Authority> {
        let alone = |der: &Vec<u8>| Authority {
            chain: vec![der.clone()],
            valid: Period::default(),
        };
        self.0.iter().map(alone).collect()
    }

    fn has(&self, der: &[u8]) -> bool {
        self.0.iter().any(|trusted| trusted == der)
    }
}

/// Whether the signatures of an artifact satisfy a policy at a time (seconds since 1970).
///
/// # Errors
/// If none does: why, of each.
pub fn verify(
    artifact: &Artifact,
    found: &[Signature],
    policy: &TrustPolicy,
    store: &TrustStore,
    now: i64,
) -> Result<Outcome, Refusal> {
    let rule = policy.rule(&artifact.repository)?;
    if rule.is_skip() {
        return Ok(Outcome::Ignored);
    }
    if found.is_empty() {
        return refuse(format!(
            "no signature is associated with '{}@{}'; sign the artifact with notation sign",
            artifact.repository, artifact.digest
        ));
    }
    let mut reasons: Vec<String> = Vec::new();
    for signature in found.iter().take(MOST_SIGNATURES) {
        match one(artifact, signature, rule, store, now) {
            Ok(outcome) => return Ok(outcome),
            Err(error) => {
                let text = error.to_string();
                if !reasons.contains(&text) {
                    reasons.push(text);
                }
            }
        }
    }
    refuse(format!(
        "signature verification failed for all the signatures: {}",
        reasons.join("; ")
    ))
}

fn one(
    artifact: &Artifact,
    signature: &Signature,
    rule: &Rule,
    store: &TrustStore,
    now: i64,
) -> Result<Outcome, Refusal> {
    let envelope = match signature.media_type.as_str() {
        "application/jose+json" => jws::read(&signature.data),
        "application/cose" => cose::read(&signature.data),
        other => return refuse(format!("an envelope of type '{other}' is not known")),
    };
    let envelope = envelope.map_err(|error| error.of("the envelope"))?;
    let signed = integrity(&envelope)?;
    let target = signed.target()?;
    if (target.digest.as_str(), target.media_type.as_str(), target.size)
        != (
            artifact.digest.as_str(),
            artifact.media_type.as_str(),
            artifact.size,
        )
    {
        return refuse(format!(
            "the signature is of artifact '{}', not of this one",
            target.digest
        ));
    }
    if let Some(plugin) = &signed.plugin {
        return refuse(format!(
            "the signature wants to be verified by plugin '{plugin}'; plugins are not run"
        ));
    }
    let mut outcome = Outcome::Verified;
    if let Err(error) = authentic(&envelope, rule, store) {
        match rule.authenticity {
            Action::Enforce => return Err(error),
            Action::Log | Action::Skip => outcome = Outcome::Ignored,
        }
    }
    if rule.timestamp == Action::Enforce {
        valid(&envelope, rule, store, now)?;
    }
    if rule.expiry == Action::Enforce && envelope.signed.expiry.is_some_and(|expiry| expiry < now) {
        return refuse("the signature has expired");
    }
    if rule.revocation == Action::Enforce {
        not_revoked(&envelope)?;
    }
    Ok(outcome)
}

/// Whether the envelope's signature is of its first certificate, and the chain is one.
fn integrity(envelope: &Envelope) -> Result<&Signed, Refusal> {
    let chain = parsed(&envelope.chain)?;
    let Some((leaf, above)) = chain.split_first() else {
        return refuse("the envelope has no certificates");
    };
    let key = leaf.public_key()?;
    let scheme = envelope.scheme(&key)?;
    if !key.signed(scheme, &envelope.message, &envelope.signature) {
        return refuse("the envelope's signature is not of its certificate");
    }
    signing_leaf(leaf, above.is_empty())?;
    for (at, pair) in chain.windows(2).enumerate() {
        let [child, parent] = pair else { continue };
        if child.issuer != parent.subject || !child.is_signed_by(parent) {
            return refuse(format!(
                "certificate {at} of the chain is not issued by the next one"
            ));
        }
        match parent.authority()? {
            Some(most) if at <= most && parent.may_sign_certificates() => {}
            _ => {
                return refuse(format!(
                    "certificate {} of the chain is no authority for the one below",
                    at + 1
                ));
            }
        }
    }
    let last = above.last().unwrap_or(leaf);
    if last.issuer != last.subject || !last.is_signed_by(last) {
        return refuse("the certificate chain does not end with a root");
    }
    Ok(&envelope.signed)
}

fn parsed(chain: &[Vec<u8>]) -> Result<Vec<Certificate<'_>>, Refusal> {
    if chain.len() > 10 {
        return refuse("the certificate chain has more than 10 certificates");
    }
    chain.iter().map(|der| Certificate::parse(der)).collect()
}

/// What a certificate must be for to sign.
fn signing_leaf(leaf: &Certificate<'_>, alone: bool) -> Result<(), Refusal> {
    if !alone && leaf.authority()?.is_some() {
        return refuse("the signer's certificate is an authority");
    }
    if !leaf.may_sign() {
        return refuse("the signer's certificate may not make signatures (keyUsage)");
    }
    if let Some(purposes) = leaf.purposes()?
        && !purposes.contains(&CODE_SIGNING)
    {
        return refuse("the signer's certificate is not for signing code (extendedKeyUsage)");
    }
    let known: [&[u8]; 4] = [
        &[0x55, 0x1d, 0x0f],
        &[0x55, 0x1d, 0x11],
        &[0x55, 0x1d, 0x13],
        &[0x55, 0x1d, 0x25],
    ];
    if leaf
        .extensions
        .iter()
        .any(|extension| extension.critical && !known.contains(&extension.id))
    {
        return refuse("the signer's certificate has a critical extension that is not known");
    }
    Ok(())
}

/// Whether the chain holds a trusted certificate, and the signer is one that the policy names.
fn authentic(envelope: &Envelope, rule: &Rule, store: &TrustStore) -> Result<(), Refusal> {
    if !rule.has_store(envelope.signed.authority) {
        let kind = if envelope.signed.authority {
            "signingAuthority"
        } else {
            "ca"
        };
        return refuse(format!(
            "the trust policy names no trust store of type '{kind}', which signed this"
        ));
    }
    if !envelope.chain.iter().any(|der| store.has(der)) {
        return refuse(
            "the signer's certificate chain does not contain any trusted certificate; add its root as NAME.crt or NAME.pem to the secret",
        );
    }
    let Some(leaf) = envelope.chain.first() else {
        return refuse("the envelope has no certificates");
    };
    rule.accepts(Certificate::parse(leaf)?.subject)
}

/// Whether the certificates were valid when it was signed, as far as that is proved.
fn valid(envelope: &Envelope, rule: &Rule, store: &TrustStore, now: i64) -> Result<(), Refusal> {
    let chain = parsed(&envelope.chain)?;
    let over = chain.iter().any(|certificate| certificate.end < now);
    let time = if envelope.signed.authority {
        envelope
            .signed
            .time
            .ok_or_else(|| Refusal::new("the signature does not say when it was made"))?
    } else if rule.has_servers && (over || !rule.after_expiry) {
        let Some(token) = &envelope.timestamp else {
            return refuse("the trust policy wants a timestamp, and the signature has none");
        };
        timestamp::verify(token, &envelope.signature, &store.servers())?
    } else {
        now
    };
    for certificate in chain {
        if time < certificate.begin {
            return refuse("a certificate of the signer's chain is not valid yet");
        }
        if time > certificate.end {
            return refuse("a certificate of the signer's chain has expired");
        }
    }
    Ok(())
}

fn not_revoked(envelope: &Envelope) -> Result<(), Refusal> {
    // The root is trusted by decision, not by its issuer's word.
    let below = envelope.chain.len().saturating_sub(1);
    for certificate in parsed(&envelope.chain)?.iter().take(below) {
        if certificate.is_revocable() {
            return refuse(
                "whether the signer's certificate was revoked cannot be asked here; set signatureVerification.override.revocation \
                 to log or skip in trustpolicy.json to take it nevertheless",
            );
        }
    }
    Ok(())
}

impl Envelope {
    /// How the signature was made, if the algorithm that is named is the one of the key.
    fn scheme(&self, key: &crate::PublicKey) -> Result<crate::key::Scheme, Refusal> {
        use crate::key::{Hash, Kind, Scheme};
        let (name, number, scheme) = match (key.kind(), key.bits()) {
            (Kind::P256, _) => ("ES256", -7, Scheme::EcdsaFixed(Hash::Sha256)),
            (Kind::P384, _) => ("ES384", -35, Scheme::EcdsaFixed(Hash::Sha384)),
            (Kind::P521, _) => ("ES512", -36, Scheme::EcdsaFixed(Hash::Sha512)),
            (Kind::Rsa, 2048) => ("PS256", -37, Scheme::Pss(Hash::Sha256)),
            (Kind::Rsa, 3072) => ("PS384", -38, Scheme::Pss(Hash::Sha384)),
            (Kind::Rsa, 4096) => ("PS512", -39, Scheme::Pss(Hash::Sha512)),
            _ => return refuse("the signer's key is of a kind that Notation does not know"),
        };
        let right = match &self.format {
            Format::Jws(algorithm) => algorithm == name,
            Format::Cose(algorithm) => *algorithm == number,
        };
        if right {
            return Ok(scheme);
        }
        refuse(format!(
            "the envelope's algorithm is not {name}, which belongs to its key"
        ))
    }
}

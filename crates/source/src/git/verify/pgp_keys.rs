//! OpenPGP: key rings, and detached signatures of a key or of one of its signing subkeys.

use pgp::composed::{Deserializable as _, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails as _, Timestamp, VerifyingKey};

/// Most keys of one ring.
const MAX_KEYS: usize = 1000;

/// All keys of all rings.
#[derive(Debug, Default)]
pub(super) struct PgpKeys(Vec<SignedPublicKey>);

/// The id as Git's tools show it.
fn id_of(key: &SignedPublicKey) -> String {
    key.primary_key.legacy_key_id().to_string().to_uppercase()
}

impl PgpKeys {
    /// Adds the keys of an armoured or binary ring.
    pub(super) fn add(&mut self, ring: &[u8]) -> Result<(), String> {
        let invalid = |error: pgp::errors::Error| {
            format!("it is no OpenPGP public key ({error}); export it with gpg --armor --export")
        };
        let text = ring.trim_ascii();
        // An armoured ring may consist of several blocks, one after the other.
        let mut blocks = Vec::new();
        if text.starts_with(b"-----BEGIN") {
            let text = String::from_utf8_lossy(text);
            for block in text.split_inclusive("-----END PGP PUBLIC KEY BLOCK-----") {
                if !block.trim().is_empty() {
                    let (keys, _) =
                        SignedPublicKey::from_armor_many(block.trim().as_bytes()).map_err(invalid)?;
                    blocks.extend(keys.take(MAX_KEYS));
                }
            }
        } else {
            blocks.extend(
                SignedPublicKey::from_bytes_many(ring)
                    .map_err(invalid)?
                    .take(MAX_KEYS),
            );
        }
        if blocks.is_empty() {
            return Err("it holds no key".to_owned());
        }
        for key in blocks {
            self.0.push(key.map_err(invalid)?);
        }
        Ok(())
    }

    /// The id of the key that signed.
    pub(super) fn verify(&self, armored: &[u8], payload: &[u8]) -> Result<String, String> {
        let (signature, _) = DetachedSignature::from_armor_single(armored)
            .map_err(|error| format!("the OpenPGP signature cannot be read: {error}"))?;
        let signature = &signature.signature;
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err("the OpenPGP signature is not one of a document".to_owned());
        }
        let now = Timestamp::now();
        let mut reason = None;
        for key in &self.0 {
            match signed_by(key, signature, payload, now) {
                Ok(true) => return Ok(id_of(key)),
                Ok(false) => {}
                Err(what) => reason = Some(format!("key '{}' {what}", id_of(key))),
            }
        }
        Err(reason.unwrap_or_else(|| {
            let ids: Vec<String> = signature
                .issuer_key_id()
                .iter()
                .map(|id| id.to_string().to_uppercase())
                .chain(signature.issuer_fingerprint().iter().map(ToString::to_string))
                .take(1)
                .collect();
            format!(
                "it is by none of the given keys (signed by {}, given are {}); add the signer's public key to the secret",
                ids.first().map_or("an unnamed key", String::as_str),
                self.0.iter().take(10).map(id_of).collect::<Vec<_>>().join(", ")
            )
        }))
    }
}

/// Whether the key or one of its subkeys signed; an error if it did, but the key is not to be trusted.
fn signed_by(
    key: &SignedPublicKey,
    signature: &Signature,
    payload: &[u8],
    now: Timestamp,
) -> Result<bool, String> {
    let primary = &key.primary_key;
    if may_be_by(signature, primary) && signature.verify(primary, payload).is_ok() {
        primary_is_good(key, now)?;
        signature_is_good(signature, now)?;
        return Ok(true);
    }
    for subkey in &key.public_subkeys {
        if may_be_by(signature, &subkey.key) && signature.verify(&subkey.key, payload).is_ok() {
            primary_is_good(key, now)?;
            subkey_is_good(key, subkey, now)?;
            signature_is_good(signature, now)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the signature names this key, or none.
fn may_be_by(signature: &Signature, key: &impl VerifyingKey) -> bool {
    let ids = signature.issuer_key_id();
    ids.is_empty() || ids.contains(&&key.legacy_key_id())
}

fn expired(since: Timestamp, lifetime: Option<u32>, now: Timestamp) -> bool {
    // A lifetime of nothing means for ever.
    lifetime
        .is_some_and(|lifetime| lifetime != 0 && since.as_secs().saturating_add(lifetime) <= now.as_secs())
}

fn signature_is_good(signature: &Signature, now: Timestamp) -> Result<(), String> {
    let Some(made) = signature.created() else {
        return Err("made a signature without a date".to_owned());
    };
    if expired(
        made,
        signature.signature_expiration_time().map(|time| time.as_secs()),
        now,
    ) {
        return Err("made a signature that has expired".to_owned());
    }
    Ok(())
}

/// The key's own newest statement about itself that is valid.
fn newest<'a>(
    signatures: impl Iterator<Item = &'a Signature>,
    valid: impl Fn(&Signature) -> bool,
) -> Option<&'a Signature> {
    signatures
        .filter(|signature| valid(signature))
        .max_by_key(|signature| signature.created().map_or(0, Timestamp::as_secs))
}

fn primary_is_good(key: &SignedPublicKey, now: Timestamp) -> Result<(), String> {
    let primary = &key.primary_key;
    let revoked = key
        .details
        .revocation_signatures
        .iter()
        .any(|signature| signature.verify_key(primary).is_ok());
    if revoked {
        return Err("is revoked".to_owned());
    }
    let direct = newest(key.details.direct_signatures.iter(), |signature| {
        signature.verify_key(primary).is_ok()
    });
    let user = key
        .details
        .users
        .iter()
        .filter_map(|user| {
            newest(user.signatures.iter(), |signature| {
                signature.is_certification()
                    && signature
                        .verify_certification(primary, pgp::types::Tag::UserId, &user.id)
                        .is_ok()
            })
        })
        .max_by_key(|signature| signature.created().map_or(0, Timestamp::as_secs));
    let (Some(statement), lifetime) = (
        user.or(direct),
        user.and_then(Signature::key_expiration_time)
            .or_else(|| direct.and_then(Signature::key_expiration_time)),
    ) else {
        return Err("has no valid signature of its own".to_owned());
    };
    let _ = statement;
    if expired(primary.created_at(), lifetime.map(|time| time.as_secs()), now) {
        return Err("has expired; extend it, export it again and update the secret".to_owned());
    }
    Ok(())
}

fn subkey_is_good(key: &SignedPublicKey, subkey: &SignedPublicSubKey, now: Timestamp) -> Result<(), String> {
    let primary = &key.primary_key;
    let bound = |signature: &Signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok();
    let of_type = |kind| {
        subkey
            .signatures
            .iter()
            .filter(move |signature| signature.typ() == Some(kind))
    };
    if of_type(SignatureType::SubkeyRevocation).any(bound) {
        return Err("has revoked the subkey that signed".to_owned());
    }
    let binding = newest(of_type(SignatureType::SubkeyBinding), bound)
        .ok_or_else(|| "does not stand for the subkey that signed".to_owned())?;
    let signs = binding.key_flags().sign()
        && binding
            .embedded_signature()
            .is_some_and(|back| back.verify_primary_key_binding(&subkey.key, primary).is_ok());
    if !signs {
        return Err("does not let the subkey sign".to_owned());
    }
    let lifetime = binding.key_expiration_time().map(|time| time.as_secs());
    if expired(subkey.key.created_at(), lifetime, now) {
        return Err(
            "signed with a subkey that has expired; extend it, export the key and update the secret"
                .to_owned(),
        );
    }
    Ok(())
}

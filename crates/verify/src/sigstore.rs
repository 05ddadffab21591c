//! Sigstore: signatures as cosign makes them, with keys or with short-lived certificates of an identity.
//! Both layouts are read: payloads with annotations (cosign 2), and bundles (cosign 3).

mod bundle;
mod certificate;
mod entry;
mod root;
mod simple;

use regex::Regex;

pub use root::TrustedRoot;
pub(crate) use root::{Authority, Period};
pub use simple::Signature;

use crate::{PublicKey, Refusal, refuse};

/// What a registry holds beside an image.
#[derive(Clone, Debug)]
pub enum Material {
    /// A payload and the annotations of its layer.
    Simple(Signature),
    /// A Sigstore bundle.
    Bundle(Vec<u8>),
}

/// A signer that is accepted: regular expressions for who vouches, and for whom.
#[derive(Clone, Debug)]
pub struct Identity {
    issuer: Regex,
    subject: Regex,
}

impl Identity {
    /// Reads both expressions.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn new(issuer: &str, subject: &str) -> Result<Self, Refusal> {
        let read = |text: &str, what: &str| {
            Regex::new(text)
                .map_err(|error| Refusal::new(format!("malformed {what} in identity: {text}: {error}")))
        };
        Ok(Identity {
            issuer: read(issuer, "issuer")?,
            subject: read(subject, "subject")?,
        })
    }
}

/// Whose signatures count.
#[derive(Clone, Debug)]
pub enum Trust<'a> {
    /// Those of keys, by name.
    Keys(&'a [(String, PublicKey)]),
    /// Those of certificates that a trusted authority gave to one of the identities; to anybody, if there are none.
    Certificates {
        /// Authorities and logs.
        root: &'a TrustedRoot,
        /// Accepted signers.
        identities: &'a [Identity],
    },
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer(pub String);

/// Whether one of these signatures of the image with this digest (`sha256:…`) counts; who made it.
///
/// # Errors
/// If none does: why, of each.
pub fn verify(digest: &str, found: &[Material], trust: &Trust<'_>) -> Result<Signer, Refusal> {
    if found.is_empty() {
        return refuse("no signatures found; sign the artifact with cosign sign");
    }
    let mut reasons: Vec<String> = Vec::new();
    for material in found {
        let result = match material {
            Material::Simple(signature) => signature.verify(digest, trust),
            Material::Bundle(data) => bundle::verify(data, digest, trust),
        };
        match result {
            Ok(signer) => return Ok(signer),
            Err(error) => {
                let text = error.to_string();
                if !reasons.contains(&text) {
                    reasons.push(text);
                }
            }
        }
    }
    refuse(reasons.join("; "))
}

/// Which of some keys made a signature.
fn by_key(keys: &[(String, PublicKey)], message: &[u8], signature: &[u8]) -> Result<Signer, Refusal> {
    keys.iter()
        .find(|(_, key)| key.signed_somehow(message, signature))
        .map(|(name, _)| Signer(format!("key '{name}'")))
        .ok_or_else(|| Refusal::new("the signature is of none of the trusted keys"))
}

//! Tokens that an owner of a key writes itself (RS256), to be exchanged for a service's.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;

use super::refuse;
use crate::error::SourceError;

/// A signed token. `what` names the key (PEM, in either form) for messages.
pub(crate) fn rs256(
    mut header: Value,
    claims: &Value,
    key: &[u8],
    what: &str,
) -> Result<String, SourceError> {
    header["alg"] = "RS256".into();
    header["typ"] = "JWT".into();
    let body = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let key = key_pair(key, what)?;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        body.as_bytes(),
        &mut signature,
    )
    .map_err(|_| refuse(format!("{what} cannot sign")))?;
    Ok(format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// The key of a PEM text, in either of the two forms that services and OpenSSL write.
fn key_pair(pem: &[u8], what: &str) -> Result<RsaKeyPair, SourceError> {
    let invalid = || refuse(format!("{what} is no RSA key in PEM; download the key again"));
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|_| invalid())?;
        let key = match kind {
            SectionKind::RsaPrivateKey => PrivateKeyDer::from(PrivatePkcs1KeyDer::from(der)),
            SectionKind::PrivateKey => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der)),
            _ => continue,
        };
        return match &key {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            other => RsaKeyPair::from_pkcs8(other.secret_der()),
        }
        .map_err(|_| invalid());
    }
    Err(invalid())
}

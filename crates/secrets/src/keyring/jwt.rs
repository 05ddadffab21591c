//! Signed statements about oneself (JWT, RS256) that clouds take for a token.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value as Json;
use zeroize::Zeroizing;

/// The content of the first PEM block with one of these labels.
pub(super) fn pem(text: &str, labels: &[&str]) -> Option<Zeroizing<Vec<u8>>> {
    labels.iter().find_map(|label| {
        let rest = text.split_once(&format!("-----BEGIN {label}-----"))?.1;
        let body = rest.split_once(&format!("-----END {label}-----"))?.0;
        let compact: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
        STANDARD.decode(compact.as_str()).ok().map(Zeroizing::new)
    })
}

/// Signs a statement with a PEM key.
pub(super) fn sign(header: &Json, claims: &Json, key: &str) -> Result<String, String> {
    let pair = match pem(key, &["PRIVATE KEY"]) {
        Some(der) => KeyPair::from_pkcs8(&der),
        None => {
            let der = pem(key, &["RSA PRIVATE KEY"]).ok_or("the private key is no PEM block")?;
            KeyPair::from_der(&der)
        }
    };
    let pair = pair.map_err(|_| "the private key is no RSA key")?;
    let part = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .map_err(|_| "the private key cannot sign")?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

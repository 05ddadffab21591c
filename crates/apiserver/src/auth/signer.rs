//! Service accounts' tokens: JSON web tokens that anybody can check with the key that this server publishes.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rustc_hash::FxHashSet;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Issuer of the tokens and their default audience.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// How the tokens are signed.
pub const ALGORITHM: &str = "ES256";

/// This many tokens are known to be good without another look at their signature.
const REMEMBERED: usize = 1024;

/// No key for signing tokens could be made.
#[derive(Debug, thiserror::Error)]
#[error("no key for the tokens of service accounts could be made")]
pub struct KeyError;

/// Signs and checks the tokens of service accounts under a key of this server.
#[derive(Debug)]
pub struct Signer {
    secret: [u8; 32],
    pair: EcdsaKeyPair,
    id: String,
    good: Mutex<FxHashSet<[u8; 32]>>,
}

/// The key whose secret number follows from a secret, the same each time.
fn pair_of(secret: &[u8; 32]) -> Option<EcdsaKeyPair> {
    // RFC 5915: version 1, the number, and the curve P-256.
    const HEAD: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    const TAIL: [u8; 12] = [
        0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    ];
    // One number in four billions is too large for the curve.
    (0_u8..8).find_map(|attempt| {
        let number = Sha256::new()
            .chain_update("signature")
            .chain_update([attempt])
            .chain_update(secret)
            .finalize();
        let der = [&HEAD[..], &number, &TAIL].concat();
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).ok()
    })
}

impl Signer {
    /// A signer with a secret.
    ///
    /// # Errors
    /// No key comes of it.
    pub fn new(secret: [u8; 32]) -> Result<Self, KeyError> {
        // What stands before the point of a public key on P-256 in its usual form (RFC 5480).
        const INFO: [u8; 26] = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let pair = pair_of(&secret).ok_or(KeyError)?;
        let digest = Sha256::new().chain_update(INFO).chain_update(pair.public_key());
        Ok(Signer {
            secret,
            id: BASE64.encode(digest.finalize()),
            pair,
            good: Mutex::default(),
        })
    }

    /// The public key, as a set of JSON web keys.
    #[must_use]
    pub fn keys(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        // The first byte says that both coordinates follow.
        let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
        json!({"keys": [{"use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": ALGORITHM,
            "x": BASE64.encode(x), "y": BASE64.encode(y)}]})
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn sign(&self, claims: &Value) -> Result<String, KeyError> {
        let head = BASE64.encode(json!({"alg": ALGORITHM, "kid": self.id}).to_string());
        let body = format!("{head}.{}", BASE64.encode(claims.to_string()));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), body.as_bytes())
            .map_err(|_| KeyError)?;
        Ok(format!("{body}.{}", BASE64.encode(signature)))
    }

    /// The claims of a token that this signer made.
    ///
    /// # Errors
    /// What is wrong with one that says it was made here; nothing if it is no such token.
    pub fn claims(&self, token: &str) -> Result<Value, Option<&'static str>> {
        let claims = self.checked(token);
        claims.ok_or_else(|| self.forgery(token))
    }

    /// What is wrong with a token that is not good.
    fn forgery(&self, token: &str) -> Option<&'static str> {
        let mut parts = token.split('.');
        let mut part = || serde_json::from_slice::<Value>(&BASE64.decode(parts.next()?).ok()?).ok();
        let (head, claims) = (part()?, part()?);
        if claims["iss"] != ISSUER {
            return None;
        }
        Some(match head["kid"] == *self.id {
            true => "go-jose/go-jose: error in cryptographic primitive",
            false => "invalid signature, no keys found",
        })
    }

    fn checked(&self, token: &str) -> Option<Value> {
        let (body, signature) = token.rsplit_once('.')?;
        let (head, claims) = body.split_once('.')?;
        let digest: [u8; 32] = Sha256::digest(token).into();
        let good = || self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if !good().contains(&digest) {
            let signature = BASE64.decode(signature).ok()?;
            let head: Value = serde_json::from_slice(&BASE64.decode(head).ok()?).ok()?;
            let signed = match head["alg"].as_str() {
                Some(ALGORITHM) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key())
                    .verify(body.as_bytes(), &signature)
                    .is_ok(),
                // Those that are kept in Secrets since an earlier release.
                Some("HS256") => same(&self.mac(body.as_bytes()), &signature),
                _ => false,
            };
            if !signed {
                return None;
            }
            let mut good = good();
            if good.len() >= REMEMBERED {
                good.clear();
            }
            good.insert(digest);
        }
        serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
    }

    // HMAC (RFC 2104) over SHA-256.
    fn mac(&self, text: &[u8]) -> [u8; 32] {
        let mut inner = [0x36_u8; 64];
        let mut outer = [0x5c_u8; 64];
        for (index, byte) in self.secret.iter().enumerate() {
            inner[index] ^= byte;
            outer[index] ^= byte;
        }
        let first = Sha256::new().chain_update(inner).chain_update(text).finalize();
        Sha256::new()
            .chain_update(outer)
            .chain_update(first)
            .finalize()
            .into()
    }
}

/// Whether two codes are equal: compared in full, whatever differs, so that time tells nothing about the key.
fn same(want: &[u8; 32], given: &[u8]) -> bool {
    let seen = want
        .iter()
        .zip(given)
        .fold(given.len() ^ 32, |seen, (a, b)| seen | usize::from(a ^ b));
    seen == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_token_is_not_accepted() {
        let signer = Signer::new([7; 32]).unwrap();
        let token = signer.sign(&json!({"sub": "x"})).unwrap();
        for _ in 0..2 {
            assert_eq!(signer.claims(&token).unwrap()["sub"], "x");
            assert!(signer.claims(&token.replacen('.', ".A", 1)).is_err());
        }
        assert!(Signer::new([8; 32]).unwrap().claims(&token).is_err());
        assert_eq!(Signer::new([7; 32]).unwrap().claims(&token).unwrap()["sub"], "x");
    }

    #[test]
    fn who_has_the_published_key_can_check_a_token() {
        let signer = Signer::new([7; 32]).unwrap();
        let token = signer.sign(&json!({"sub": "x"})).unwrap();
        let keys = signer.keys();
        let key = &keys["keys"][0];
        let part = |name: &str| BASE64.decode(key[name].as_str().unwrap()).unwrap();
        let point = [&[4][..], &part("x"), &part("y")].concat();
        let (body, signature) = token.rsplit_once('.').unwrap();
        let head: Value =
            serde_json::from_slice(&BASE64.decode(body.split('.').next().unwrap()).unwrap()).unwrap();
        assert_eq!(head, json!({"alg": "ES256", "kid": key["kid"]}));
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(body.as_bytes(), &BASE64.decode(signature).unwrap())
            .unwrap();
    }

    #[test]
    fn a_token_of_an_earlier_release_is_still_good() {
        let signer = Signer::new([7; 32]).unwrap();
        let part = |value: Value| BASE64.encode(value.to_string());
        let body = format!(
            "{}.{}",
            part(json!({"alg": "HS256", "typ": "JWT"})),
            part(json!({"sub": "x"}))
        );
        let token = |code: &[u8]| format!("{body}.{}", BASE64.encode(code));
        let code = signer.mac(body.as_bytes());
        assert_eq!(signer.claims(&token(&code)).unwrap()["sub"], "x");
        assert!(signer.claims(&token(&[0; 32])).is_err());
        assert!(signer.claims(&token(&code[..31])).is_err());
    }
}

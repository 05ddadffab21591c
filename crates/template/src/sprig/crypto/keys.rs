//! Private keys: made, read, written, and used to sign.

use p256::ecdsa::signature::Signer as _;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _, EncodeRsaPublicKey as _};
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::signature::SignatureEncoding as _;
use rsa::{RsaPrivateKey, RsaPublicKey};
use sha2::Sha256;

use super::{der, primes};
use crate::sprig::Ambient;

/// Limbs of each prime of a key of 2048 bits.
const RSA_LIMBS: usize = 16;

/// A key that can sign certificates.
pub(super) enum Key {
    Rsa(Box<RsaPrivateKey>),
    Ec(p256::SecretKey),
}

impl Key {
    pub(super) fn generate(ambient: &mut dyn Ambient) -> Result<Key, String> {
        let key = primes::key::<RSA_LIMBS>(ambient);
        Ok(Key::Rsa(Box::new(key.map_err(|error| {
            format!("error generating rsa key: {error}")
        })?)))
    }

    pub(super) fn from_pem(text: &str) -> Result<Key, String> {
        let (label, data) = der::from_pem(text).ok_or("no PEM data in input")?;
        let rsa = |key: RsaPrivateKey| Key::Rsa(Box::new(key));
        match label.as_str() {
            "PRIVATE KEY" => RsaPrivateKey::from_pkcs8_der(&data)
                .map(rsa)
                .or_else(|_| p256::SecretKey::from_pkcs8_der(&data).map(Key::Ec))
                .map_err(|error| format!("decoding PEM as PKCS#8: {error}")),
            "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_der(&data)
                .map(rsa)
                .map_err(|error| format!("parsing RSA private key from PEM: {error}")),
            "EC PRIVATE KEY" => p256::SecretKey::from_sec1_der(&data)
                .map(Key::Ec)
                .map_err(|error| format!("parsing EC private key from PEM: {error}")),
            label => match label.strip_suffix(" PRIVATE KEY") {
                Some(kind) => Err(format!("invalid private key type {kind}")),
                None => Err(format!("no private key data in PEM block of type {label}")),
            },
        }
    }

    pub(super) fn to_pem(&self) -> Result<String, String> {
        match self {
            Key::Rsa(key) => {
                let der = key.to_pkcs1_der().map_err(|error| error.to_string())?;
                Ok(der::to_pem("RSA PRIVATE KEY", der.as_bytes()))
            }
            Key::Ec(key) => {
                let der = key.to_sec1_der().map_err(|error| error.to_string())?;
                Ok(der::to_pem("EC PRIVATE KEY", &der))
            }
        }
    }

    /// The public key with its algorithm, and the bits that identify it.
    pub(super) fn public(&self) -> Result<(Vec<u8>, Vec<u8>), String> {
        const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let (algorithm, bits) = match self {
            Key::Rsa(key) => {
                let public = RsaPublicKey::from(key.as_ref());
                let bits = public.to_pkcs1_der().map_err(|error| error.to_string())?;
                let algorithm = der::sequence(&[&der::element(der::OID, RSA), &[5, 0]]);
                (algorithm, bits.as_bytes().to_vec())
            }
            Key::Ec(key) => {
                let bits = key.public_key().to_sec1_bytes().to_vec();
                let parts = [der::element(der::OID, EC), der::element(der::OID, P256)];
                (der::sequence(&[&parts[0], &parts[1]]), bits)
            }
        };
        Ok((der::sequence(&[&algorithm, &der::bits(&bits)]), bits))
    }

    /// The signature's algorithm.
    pub(super) fn algorithm(&self) -> Vec<u8> {
        const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
        const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        match self {
            Key::Rsa(_) => der::sequence(&[&der::element(der::OID, RSA_SHA256), &[5, 0]]),
            Key::Ec(_) => der::sequence(&[&der::element(der::OID, ECDSA_SHA256)]),
        }
    }

    pub(super) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Key::Rsa(key) => {
                let signer = SigningKey::<Sha256>::new((**key).clone());
                let signature = signer.try_sign(data).map_err(|error| error.to_string())?;
                Ok(signature.to_bytes().to_vec())
            }
            Key::Ec(key) => {
                let signer = p256::ecdsa::SigningKey::from(key);
                let signature: p256::ecdsa::Signature =
                    signer.try_sign(data).map_err(|error| error.to_string())?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
        }
    }
}

/// A P-256 key: draws until a number below the curve's order comes up.
fn generate_ec(ambient: &mut dyn Ambient) -> p256::SecretKey {
    loop {
        let mut bytes = [0; 32];
        ambient.random(&mut bytes);
        if let Ok(key) = p256::SecretKey::from_slice(&bytes) {
            return key;
        }
    }
}

/// What `genPrivateKey` gives; problems are told in its place.
pub(super) fn generate_pem(ambient: &mut dyn Ambient, kind: &str) -> String {
    let made = match kind {
        "" | "rsa" => {
            let key = if kind.is_empty() {
                primes::key::<RSA_LIMBS>(ambient)
            } else {
                primes::key::<{ 2 * RSA_LIMBS }>(ambient)
            };
            key.and_then(|key| Key::Rsa(Box::new(key)).to_pem())
        }
        "ecdsa" => Key::Ec(generate_ec(ambient)).to_pem(),
        "ed25519" => {
            // PKCS#8 around the seed alone.
            let mut data = vec![
                0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
                0x20,
            ];
            let mut seed = [0; 32];
            ambient.random(&mut seed);
            data.extend_from_slice(&seed);
            Ok(der::to_pem("PRIVATE KEY", &data))
        }
        "dsa" => Err("keys of type dsa are not made here: use rsa, ecdsa or ed25519".to_owned()),
        other => return format!("Unknown type {other}"),
    };
    made.unwrap_or_else(|error| format!("failed to generate private key: {error}"))
}

//! Public keys and the ways they sign: ECDSA on the NIST curves, RSA with both paddings, Ed25519.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use crate::der::{INTEGER, OID, Reader, SEQUENCE};
use crate::{Refusal, pem, refuse};

const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A digest that signatures are made over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) fn of(self, data: &[u8]) -> Vec<u8> {
        use sha2::Digest as _;
        match self {
            Hash::Sha256 => sha2::Sha256::digest(data).to_vec(),
            Hash::Sha384 => sha2::Sha384::digest(data).to_vec(),
            Hash::Sha512 => sha2::Sha512::digest(data).to_vec(),
        }
    }
}

/// How a signature was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Ecdsa(Hash),
    /// ECDSA with both numbers beside each other, as JOSE and COSE write it.
    EcdsaFixed(Hash),
    Pkcs1(Hash),
    Pss(Hash),
    Ed25519,
}

/// Kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    /// SubjectPublicKeyInfo.
    der: Vec<u8>,
    /// Bits of an RSA modulus.
    bits: usize,
}

impl PublicKey {
    /// Reads a key as `cosign generate-key-pair` writes it: PEM, a bare key or the one of a certificate.
    ///
    /// # Errors
    /// If it is none, or of a kind that is not known here.
    pub fn from_pem(text: &[u8]) -> Result<Self, Refusal> {
        let blocks = pem::blocks(text)?;
        let Some(block) = blocks.first() else {
            return refuse("it holds no PEM block; write the public key as -----BEGIN PUBLIC KEY-----");
        };
        match block.label.as_str() {
            "PUBLIC KEY" => Self::from_spki(&block.data),
            "CERTIFICATE" => Self::from_spki(crate::x509::Certificate::parse(&block.data)?.key),
            "RSA PUBLIC KEY" => Self::rsa(block.data.clone(), &block.data),
            other if other.contains("PRIVATE KEY") => {
                refuse("it is a private key; the public one belongs here, and nobody else may have the other")
            }
            other => refuse(format!("its PEM block is '{other}', which is no public key")),
        }
    }

    /// Reads a SubjectPublicKeyInfo.
    pub(crate) fn from_spki(der: &[u8]) -> Result<Self, Refusal> {
        let mut outer = Reader::new(der).enter(SEQUENCE)?;
        let mut algorithm = outer.enter(SEQUENCE)?;
        let bits = outer.next()?.bits()?;
        let kind = match algorithm.take(OID)?.content {
            EC => match algorithm.take(OID)?.content {
                P256 => Kind::P256,
                P384 => Kind::P384,
                P521 => Kind::P521,
                _ => return refuse("its elliptic curve is not one of P-256, P-384 and P-521"),
            },
            RSA => return Self::rsa(der.to_vec(), bits),
            ED25519 => Kind::Ed25519,
            _ => return refuse("it is no key for ECDSA, RSA or Ed25519"),
        };
        Ok(PublicKey {
            kind,
            der: der.to_vec(),
            bits: 0,
        })
    }

    fn rsa(der: Vec<u8>, key: &[u8]) -> Result<Self, Refusal> {
        let modulus = Reader::new(key).enter(SEQUENCE)?.take(INTEGER)?.content;
        let digits = modulus.iter().skip_while(|byte| **byte == 0);
        let bits = digits.count() * 8;
        if !(2048..=8192).contains(&bits) {
            return refuse(format!("its RSA key has {bits} bits; 2048 to 8192 are taken"));
        }
        Ok(PublicKey {
            kind: Kind::Rsa,
            der,
            bits,
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn bits(&self) -> usize {
        self.bits
    }

    /// Whether a signature of one scheme is this key's.
    pub(crate) fn signed(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        let Some(algorithm) = algorithm(self.kind, scheme) else {
            return false;
        };
        UnparsedPublicKey::new(algorithm, &self.der)
            .verify(message, signature)
            .is_ok()
    }

    /// Whether a signature is this key's in any of the schemes that Sigstore's tools sign with.
    pub(crate) fn signed_somehow(&self, message: &[u8], signature: &[u8]) -> bool {
        let hashes = [Hash::Sha256, Hash::Sha384, Hash::Sha512];
        let schemes: Vec<Scheme> = match self.kind {
            Kind::Ed25519 => vec![Scheme::Ed25519],
            Kind::Rsa => hashes
                .into_iter()
                .flat_map(|hash| [Scheme::Pkcs1(hash), Scheme::Pss(hash)])
                .collect(),
            _ => hashes.into_iter().map(Scheme::Ecdsa).collect(),
        };
        schemes
            .into_iter()
            .any(|scheme| self.signed(scheme, message, signature))
    }
}

fn algorithm(kind: Kind, scheme: Scheme) -> Option<&'static dyn VerificationAlgorithm> {
    use Hash::{Sha256, Sha384, Sha512};
    Some(match (kind, scheme) {
        (Kind::P256, Scheme::Ecdsa(Sha256)) => &signature::ECDSA_P256_SHA256_ASN1,
        (Kind::P256, Scheme::Ecdsa(Sha384)) => &signature::ECDSA_P256_SHA384_ASN1,
        (Kind::P256, Scheme::Ecdsa(Sha512)) => &signature::ECDSA_P256_SHA512_ASN1,
        (Kind::P384, Scheme::Ecdsa(Sha256)) => &signature::ECDSA_P384_SHA256_ASN1,
        (Kind::P384, Scheme::Ecdsa(Sha384)) => &signature::ECDSA_P384_SHA384_ASN1,
        (Kind::P384, Scheme::Ecdsa(Sha512)) => &signature::ECDSA_P384_SHA512_ASN1,
        (Kind::P521, Scheme::Ecdsa(Sha256)) => &signature::ECDSA_P521_SHA256_ASN1,
        (Kind::P521, Scheme::Ecdsa(Sha384)) => &signature::ECDSA_P521_SHA384_ASN1,
        (Kind::P521, Scheme::Ecdsa(Sha512)) => &signature::ECDSA_P521_SHA512_ASN1,
        (Kind::P256, Scheme::EcdsaFixed(Sha256)) => &signature::ECDSA_P256_SHA256_FIXED,
        (Kind::P384, Scheme::EcdsaFixed(Sha384)) => &signature::ECDSA_P384_SHA384_FIXED,
        (Kind::P521, Scheme::EcdsaFixed(Sha512)) => &signature::ECDSA_P521_SHA512_FIXED,
        (Kind::Rsa, Scheme::Pkcs1(Sha256)) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (Kind::Rsa, Scheme::Pkcs1(Sha384)) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (Kind::Rsa, Scheme::Pkcs1(Sha512)) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (Kind::Rsa, Scheme::Pss(Sha256)) => &signature::RSA_PSS_2048_8192_SHA256,
        (Kind::Rsa, Scheme::Pss(Sha384)) => &signature::RSA_PSS_2048_8192_SHA384,
        (Kind::Rsa, Scheme::Pss(Sha512)) => &signature::RSA_PSS_2048_8192_SHA512,
        (Kind::Ed25519, Scheme::Ed25519) => &signature::ED25519,
        _ => return None,
    })
}

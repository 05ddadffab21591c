//! Timestamps of RFC 3161: a server's word that a signature was there at a time.

use crate::der::{INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET, Value, value};
use crate::key::{Hash, Kind, PublicKey, Scheme};
use crate::sigstore::Authority;
use crate::x509::{Certificate, TIME_STAMPING, digest, leads_to};
use crate::{Refusal, refuse};

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TIMESTAMP: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];

/// The parts of a token.
struct Token<'a> {
    /// The statement about time.
    info: &'a [u8],
    certificates: Vec<&'a [u8]>,
    /// Who signed: issuer and serial number, if it is said so.
    issuer: Option<(&'a [u8], &'a [u8])>,
    hash: Hash,
    attributes: Value<'a>,
    signature: &'a [u8],
}

/// When a trusted server saw a signature. `token` is a server's answer or the token in it.
pub(crate) fn verify(token: &[u8], signature: &[u8], servers: &[Authority]) -> Result<i64, Refusal> {
    read(token, signature, servers).map_err(|error| error.of("the timestamp"))
}

fn read(token: &[u8], signature: &[u8], servers: &[Authority]) -> Result<i64, Refusal> {
    let token = parse(bare(token)?)?;
    let time = stamped(token.info, signature)?;
    attested(&token)?;
    // The signed attributes are a field of their parent where they stand, and a set where they are signed.
    let message = value(SET, token.attributes.content);
    let mut why = Refusal::new("no trusted timestamp server was valid at its time");
    for server in servers.iter().filter(|server| server.valid.holds(time)) {
        let Some((root, between)) = server.chain.split_last() else {
            continue;
        };
        let mut between = between.to_vec();
        between.extend(token.certificates.iter().map(|one| one.to_vec()));
        // The server's own certificate may be in the token, or known already.
        let signer = between
            .iter()
            .chain([root])
            .find(|der| token.is_of(der, &message));
        let Some(signer) = signer else {
            why = Refusal::new("it is not signed by a trusted server");
            continue;
        };
        match leads_to(signer, &between, std::slice::from_ref(root), TIME_STAMPING, time) {
            Ok(()) => return Ok(time),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// The token in an answer.
fn bare(data: &[u8]) -> Result<&[u8], Refusal> {
    let mut parts = Reader::new(data).enter(SEQUENCE)?;
    let first = parts.next()?;
    if first.tag == OID {
        return Ok(data);
    }
    // 0 and 1: granted.
    match first.inside().take(INTEGER)?.content {
        [0 | 1] => Ok(parts.take(SEQUENCE)?.raw),
        _ => refuse("the server did not grant it"),
    }
}

fn parse(data: &[u8]) -> Result<Token<'_>, Refusal> {
    let mut outer = Reader::new(data).enter(SEQUENCE)?;
    if outer.take(OID)?.content != SIGNED_DATA {
        return refuse("it is no signed data");
    }
    let mut signed = outer.enter(0xa0)?.enter(SEQUENCE)?;
    signed.take(INTEGER)?;
    signed.take(SET)?;
    let mut content = signed.enter(SEQUENCE)?;
    if content.take(OID)?.content != TIMESTAMP {
        return refuse("what is signed is no statement about time");
    }
    let info = content.enter(0xa0)?.take(OCTET_STRING)?.content;
    let mut certificates = Vec::new();
    if let Some(set) = signed.optional(0xa0)? {
        let mut set = set.inside();
        while !set.is_empty() {
            let one = set.next()?;
            if one.tag == SEQUENCE {
                certificates.push(one.raw);
            }
        }
    }
    signed.optional(0xa1)?;
    let mut signers = signed.enter(SET)?;
    let mut signer = signers.enter(SEQUENCE)?;
    if !signers.is_empty() {
        return refuse("it has several signers");
    }
    signer.take(INTEGER)?;
    let who = signer.next()?;
    let issuer = if who.tag == SEQUENCE {
        let mut parts = who.inside();
        Some((parts.take(SEQUENCE)?.raw, parts.take(INTEGER)?.content))
    } else {
        None
    };
    let hash = digest(signer.take(SEQUENCE)?).ok_or_else(|| Refusal::new("its digest is not of SHA-2"))?;
    let attributes = signer.take(0xa0)?;
    signer.take(SEQUENCE)?;
    Ok(Token {
        info,
        certificates,
        issuer,
        hash,
        attributes,
        signature: signer.take(OCTET_STRING)?.content,
    })
}

/// The time that the statement names, if it is about this signature.
fn stamped(info: &[u8], signature: &[u8]) -> Result<i64, Refusal> {
    let mut info = Reader::new(info).enter(SEQUENCE)?;
    info.take(INTEGER)?;
    info.take(OID)?;
    let mut imprint = info.enter(SEQUENCE)?;
    let hash = digest(imprint.take(SEQUENCE)?).ok_or_else(|| Refusal::new("its imprint is not of SHA-2"))?;
    if imprint.take(OCTET_STRING)?.content != hash.of(signature) {
        return refuse("it is of another signature");
    }
    info.take(INTEGER)?;
    info.next()?.time()
}

/// Whether the signed attributes are those of this statement.
fn attested(token: &Token<'_>) -> Result<(), Refusal> {
    let (mut kind, mut sum) = (false, false);
    let mut attributes = token.attributes.inside();
    while !attributes.is_empty() {
        let mut one = attributes.enter(SEQUENCE)?;
        let id = one.take(OID)?.content;
        let mut values = one.enter(SET)?;
        match id {
            CONTENT_TYPE => kind = values.take(OID)?.content == TIMESTAMP,
            MESSAGE_DIGEST => sum = values.take(OCTET_STRING)?.content == token.hash.of(token.info),
            _ => {}
        }
    }
    if kind && sum {
        return Ok(());
    }
    refuse("its signed attributes are of another statement")
}

impl Token<'_> {
    fn is_of(&self, der: &[u8], message: &[u8]) -> bool {
        let Ok(certificate) = Certificate::parse(der) else {
            return false;
        };
        let named = self
            .issuer
            .is_none_or(|(issuer, serial)| issuer == certificate.issuer && serial == certificate.serial);
        let Ok(key) = certificate.public_key() else {
            return false;
        };
        named && key.signed(scheme(&key, self.hash), message, self.signature)
    }
}

fn scheme(key: &PublicKey, hash: Hash) -> Scheme {
    match key.kind() {
        Kind::Rsa => Scheme::Pkcs1(hash),
        Kind::Ed25519 => Scheme::Ed25519,
        _ => Scheme::Ecdsa(hash),
    }
}

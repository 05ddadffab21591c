//! X.509 certificates: the fields that decide about trust, and paths to an authority.

use std::time::Duration;

use pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::der::{
    BOOLEAN, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, UTC_TIME, Value, value,
};
use crate::key::{Hash, PublicKey, Scheme};
use crate::{Refusal, refuse};

const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const REVOCATION_LISTS: &[u8] = &[0x55, 0x1d, 0x1f];
const AUTHORITY_ACCESS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01];
/// What certificates of signers are for.
pub(crate) const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
/// What certificates of timestamp servers are for.
pub(crate) const TIME_STAMPING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
/// `otherName` with a user name, as Fulcio writes it.
const USER_NAME: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x07];

/// An extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) content: &'a [u8],
    pub(crate) critical: bool,
    raw: &'a [u8],
}

/// A certificate, its parts as they are written.
#[derive(Clone, Debug)]
pub(crate) struct Certificate<'a> {
    /// What is signed.
    signed: Value<'a>,
    pub(crate) serial: &'a [u8],
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    pub(crate) begin: i64,
    pub(crate) end: i64,
    /// SubjectPublicKeyInfo.
    pub(crate) key: &'a [u8],
    pub(crate) extensions: Vec<Extension<'a>>,
    algorithm: Value<'a>,
    signature: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Refusal> {
        Self::read(der).map_err(|error| error.of("the certificate cannot be read"))
    }

    fn read(der: &'a [u8]) -> Result<Self, Refusal> {
        let mut outside = Reader::new(der);
        let mut outer = outside.enter(SEQUENCE)?;
        let signed = outer.take(SEQUENCE)?;
        let algorithm = outer.take(SEQUENCE)?;
        let signature = outer.next()?.bits()?;
        if !outside.is_empty() || !outer.is_empty() {
            return refuse("something follows its end");
        }
        let mut inner = signed.inside();
        inner.optional(0xa0)?;
        let serial = inner.take(INTEGER)?.content;
        if inner.take(SEQUENCE)?.raw != algorithm.raw {
            return refuse("it names two signature algorithms");
        }
        let issuer = inner.take(SEQUENCE)?.raw;
        let mut validity = inner.enter(SEQUENCE)?;
        let mut time = || {
            let value = validity.next()?;
            match value.tag {
                UTC_TIME | GENERALIZED_TIME => value.time(),
                _ => refuse("its validity is no time"),
            }
        };
        let (begin, end) = (time()?, time()?);
        let subject = inner.take(SEQUENCE)?.raw;
        let key = inner.take(SEQUENCE)?.raw;
        let mut extensions = Vec::new();
        while !inner.is_empty() {
            let value = inner.next()?;
            if value.tag != 0xa3 {
                continue;
            }
            let mut list = value.inside().enter(SEQUENCE)?;
            while !list.is_empty() {
                let one = list.take(SEQUENCE)?;
                let mut parts = one.inside();
                let id = parts.take(OID)?.content;
                let critical = parts.optional(BOOLEAN)?.is_some_and(|value| value.content != [0]);
                let content = parts.take(OCTET_STRING)?.content;
                extensions.push(Extension {
                    id,
                    content,
                    critical,
                    raw: one.raw,
                });
            }
        }
        Ok(Certificate {
            signed,
            serial,
            issuer,
            subject,
            begin,
            end,
            key,
            extensions,
            algorithm,
            signature,
        })
    }

    pub(crate) fn extension(&self, id: &[u8]) -> Option<&'a [u8]> {
        let found = self.extensions.iter().find(|extension| extension.id == id);
        found.map(|extension| extension.content)
    }

    pub(crate) fn public_key(&self) -> Result<PublicKey, Refusal> {
        PublicKey::from_spki(self.key)
    }

    /// The part that is signed, without one extension: what a transparency log saw before it answered.
    pub(crate) fn signed_without(&self, id: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut content = Vec::new();
        let mut inner = self.signed.inside();
        while !inner.is_empty() {
            let part = inner.next()?;
            if part.tag != 0xa3 {
                content.extend_from_slice(part.raw);
                continue;
            }
            let kept = self.extensions.iter().filter(|extension| extension.id != id);
            let list = kept.flat_map(|extension| extension.raw).copied();
            let list: Vec<u8> = list.collect();
            content.extend_from_slice(&value(0xa3, &value(SEQUENCE, &list)));
        }
        Ok(value(SEQUENCE, &content))
    }

    /// Whether the holder of `issuer` signed this.
    pub(crate) fn is_signed_by(&self, issuer: &Certificate<'_>) -> bool {
        let scheme = signature_scheme(self.algorithm);
        let key = issuer.public_key();
        match (scheme, key) {
            (Some(scheme), Ok(key)) => key.signed(scheme, self.signed.raw, self.signature),
            _ => false,
        }
    }

    /// Whether it may vouch for others, and for how many in a row.
    pub(crate) fn authority(&self) -> Result<Option<usize>, Refusal> {
        let Some(content) = self.extension(BASIC_CONSTRAINTS) else {
            return Ok(None);
        };
        let mut parts = Reader::new(content).enter(SEQUENCE)?;
        if parts.optional(BOOLEAN)?.is_none_or(|value| value.content == [0]) {
            return Ok(None);
        }
        let most = match parts.optional(INTEGER)? {
            Some(number) => match number.content {
                [one] => usize::from(*one),
                _ => return refuse("its path length is no small number"),
            },
            None => usize::MAX,
        };
        Ok(Some(most))
    }

    /// Whether its key may be used for the purpose of this bit; true if it says nothing.
    fn may(&self, bit: u8) -> bool {
        let Some(content) = self.extension(KEY_USAGE) else {
            return true;
        };
        let bits = Reader::new(content).next();
        bits.ok()
            .and_then(|value| value.content.get(1).copied())
            .is_some_and(|bits| bits & (0x80 >> bit) != 0)
    }

    pub(crate) fn may_sign(&self) -> bool {
        self.may(0)
    }

    pub(crate) fn may_sign_certificates(&self) -> bool {
        self.may(5)
    }

    /// Its purposes; nothing if it names none.
    pub(crate) fn purposes(&self) -> Result<Option<Vec<&'a [u8]>>, Refusal> {
        let Some(content) = self.extension(EXTENDED_KEY_USAGE) else {
            return Ok(None);
        };
        let mut all = Vec::new();
        let mut list = Reader::new(content).enter(SEQUENCE)?;
        while !list.is_empty() {
            all.push(list.take(OID)?.content);
        }
        Ok(Some(all))
    }

    /// Whether it names where to ask if it was revoked.
    pub(crate) fn is_revocable(&self) -> bool {
        self.extension(REVOCATION_LISTS).is_some() || self.extension(AUTHORITY_ACCESS).is_some()
    }

    /// Whom it is for: mail addresses, URIs, DNS names and user names.
    pub(crate) fn names(&self) -> Result<Vec<String>, Refusal> {
        let mut all = Vec::new();
        let Some(content) = self.extension(ALTERNATIVE_NAMES) else {
            return Ok(all);
        };
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec())
                .map_err(|_| Refusal::new("a name in the certificate is no text"))
        };
        let mut list = Reader::new(content).enter(SEQUENCE)?;
        while !list.is_empty() {
            let name = list.next()?;
            match name.tag {
                // Mail address, DNS name, URI.
                0x81 | 0x82 | 0x86 => all.push(text(name.content)?),
                0xa0 => {
                    let mut other = name.inside();
                    if other.take(OID)?.content == USER_NAME {
                        all.push(text(other.enter(0xa0)?.next()?.content)?);
                    }
                }
                _ => {}
            }
        }
        Ok(all)
    }
}

fn signature_scheme(algorithm: Value<'_>) -> Option<Scheme> {
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    let mut parts = algorithm.inside();
    let id = parts.take(OID).ok()?.content;
    if id == [0x2b, 0x65, 0x70] {
        return Some(Scheme::Ed25519);
    }
    if let Some(last) = id.strip_prefix(ECDSA) {
        return Some(Scheme::Ecdsa(match last {
            [2] => Hash::Sha256,
            [3] => Hash::Sha384,
            [4] => Hash::Sha512,
            _ => return None,
        }));
    }
    match id.strip_prefix(RSA)? {
        [11] => Some(Scheme::Pkcs1(Hash::Sha256)),
        [12] => Some(Scheme::Pkcs1(Hash::Sha384)),
        [13] => Some(Scheme::Pkcs1(Hash::Sha512)),
        [10] => pss_hash(parts.next().ok()?).map(Scheme::Pss),
        _ => None,
    }
}

/// The digest of RSASSA-PSS parameters.
fn pss_hash(parameters: Value<'_>) -> Option<Hash> {
    let hash = parameters.inside().optional(0xa0).ok()??;
    digest(hash.inside().take(SEQUENCE).ok()?)
}

/// The digest that an algorithm identifier names.
pub(crate) fn digest(algorithm: Value<'_>) -> Option<Hash> {
    let id = algorithm.inside().take(OID).ok()?.content;
    match id.strip_prefix(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02])? {
        [1] => Some(Hash::Sha256),
        [2] => Some(Hash::Sha384),
        [3] => Some(Hash::Sha512),
        _ => None,
    }
}

/// Whether a certificate is for a purpose and leads to one of some authorities, all of it at one time.
pub(crate) fn leads_to(
    leaf: &[u8],
    between: &[Vec<u8>],
    roots: &[Vec<u8>],
    purpose: &'static [u8],
    time: i64,
) -> Result<(), Refusal> {
    let unusable = |error: webpki::Error| Refusal::new(format!("{error:?}"));
    // Authorities on the way may leave it open what they are for; the signer's own certificate may not.
    if !Certificate::parse(leaf)?
        .purposes()?
        .is_some_and(|purposes| purposes.contains(&purpose))
    {
        return refuse("the signer's certificate is not for this purpose (extendedKeyUsage)");
    }
    let leaf = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&leaf)
        .map_err(|error| unusable(error).of("the signer's certificate cannot be used"))?;
    let roots: Vec<CertificateDer<'_>> = roots
        .iter()
        .map(|root| CertificateDer::from(root.as_slice()))
        .collect();
    let anchors: Result<Vec<_>, _> = roots.iter().map(webpki::anchor_from_trusted_cert).collect();
    let anchors = anchors.map_err(|error| unusable(error).of("a trusted authority cannot be used"))?;
    let between: Vec<CertificateDer<'_>> = between
        .iter()
        .map(|one| CertificateDer::from(one.as_slice()))
        .collect();
    let seconds = u64::try_from(time).map_err(|_| Refusal::new("the time of signing is before 1970"))?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let path = leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        &between,
        time,
        KeyUsage::required_if_present(purpose),
        None,
        None,
    );
    match path {
        Ok(_) => Ok(()),
        Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }) => {
            refuse("the signer's certificate was not valid at the time of signing")
        }
        Err(webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey) => {
            refuse("the signer's certificate does not lead to a trusted authority")
        }
        Err(error) => Err(unusable(error).of("the signer's certificate is not trusted")),
    }
}

//! Certificates of identities: from a trusted authority, seen by a certificate log, for an accepted signer.

use super::root::{Log, TrustedRoot};
use super::{Identity, Signer};
use crate::der::{OCTET_STRING, Reader};
use crate::x509::{CODE_SIGNING, Certificate, leads_to};
use crate::{Refusal, refuse, sha256};

/// Who vouched for the identity, as an encoded text.
const ISSUER: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x08];
/// The same, as bare bytes; older.
const ISSUER_BARE: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x01];
/// Promises of certificate logs.
const PROMISES: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02];

/// Whether a certificate's key made a signature.
pub(super) fn made(leaf: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Refusal> {
    let key = Certificate::parse(leaf)?.public_key()?;
    if key.signed_somehow(message, signature) {
        return Ok(());
    }
    refuse("the signature is not of the certificate that comes with it")
}

/// Whether a certificate is trusted for signing at all the times that were proved, and its signer accepted.
pub(super) fn verify(
    leaf: &[u8],
    between: &[Vec<u8>],
    times: &[i64],
    root: &TrustedRoot,
    identities: &[Identity],
) -> Result<Signer, Refusal> {
    let certificate = Certificate::parse(leaf)?;
    for time in times {
        authorised(leaf, between, *time, root)?;
    }
    logged(&certificate, between, root)?;
    let issuer = issuer(&certificate)?;
    let subjects = certificate.names()?;
    let shown = format!("subject '{}' of issuer '{issuer}'", subjects.join("', '"));
    let accepted = |identity: &Identity| {
        identity.issuer.is_match(&issuer) && subjects.iter().any(|subject| identity.subject.is_match(subject))
    };
    if !identities.is_empty() && !identities.iter().any(accepted) {
        return refuse(format!(
            "none of the expected identities matched what was in the certificate: it is for {shown}"
        ));
    }
    Ok(Signer(shown))
}

fn authorised(leaf: &[u8], between: &[Vec<u8>], time: i64, root: &TrustedRoot) -> Result<(), Refusal> {
    let mut why = None;
    for authority in root.authorities() {
        if !authority.valid.holds(time) {
            continue;
        }
        let Some((anchor, chain)) = authority.chain.split_last() else {
            continue;
        };
        let mut all = between.to_vec();
        all.extend_from_slice(chain);
        match leads_to(leaf, &all, std::slice::from_ref(anchor), CODE_SIGNING, time) {
            Ok(()) => return Ok(()),
            Err(error) => why = Some(error),
        }
    }
    Err(why.unwrap_or_else(|| Refusal::new("no trusted authority was valid at the time of signing")))
}

fn issuer(certificate: &Certificate<'_>) -> Result<String, Refusal> {
    let bytes = match certificate.extension(ISSUER) {
        Some(content) => Reader::new(content).next()?.content,
        None => certificate.extension(ISSUER_BARE).unwrap_or_default(),
    };
    String::from_utf8(bytes.to_vec()).map_err(|_| Refusal::new("the issuer in the certificate is no text"))
}

/// Whether a certificate log that is trusted promised to show the certificate; no matter if none is trusted.
fn logged(certificate: &Certificate<'_>, between: &[Vec<u8>], root: &TrustedRoot) -> Result<(), Refusal> {
    let logs = root.certificate_logs();
    if logs.is_empty() {
        return Ok(());
    }
    let Some(content) = certificate.extension(PROMISES) else {
        return refuse("the certificate has no promise of a certificate log");
    };
    let signed = certificate.signed_without(PROMISES)?;
    let chains = root.authorities().iter().flat_map(|authority| &authority.chain);
    let issuers: Vec<[u8; 32]> = chains
        .chain(between)
        .filter_map(|der| Certificate::parse(der).ok())
        .filter(|issuer| issuer.subject == certificate.issuer && certificate.is_signed_by(issuer))
        .map(|issuer| sha256(issuer.key))
        .collect();
    let list = Reader::new(content).take(OCTET_STRING)?.content;
    for promise in promises(list).ok_or_else(|| Refusal::new("the promises of certificate logs break off"))? {
        let good = |log: &Log| {
            log.id == promise.log
                && log.valid.holds(promise.milliseconds.div_euclid(1000))
                && issuers.iter().any(|issuer| {
                    let message = promise.message(issuer, &signed);
                    log.key.signed_somehow(&message, promise.signature)
                })
        };
        if logs.iter().any(good) {
            return Ok(());
        }
    }
    refuse("no trusted certificate log has promised to show the certificate")
}

/// A signed certificate timestamp of RFC 6962.
struct Promise<'a> {
    log: &'a [u8],
    milliseconds: i64,
    extensions: &'a [u8],
    signature: &'a [u8],
}

impl Promise<'_> {
    /// What the log signed.
    fn message(&self, issuer: &[u8; 32], signed: &[u8]) -> Vec<u8> {
        let length = u32::try_from(signed.len()).unwrap_or(u32::MAX).to_be_bytes();
        let more = u16::try_from(self.extensions.len()).unwrap_or(u16::MAX);
        let mut all = vec![0, 0];
        all.extend_from_slice(&self.milliseconds.to_be_bytes());
        all.extend_from_slice(&[0, 1]);
        all.extend_from_slice(issuer);
        all.extend_from_slice(length.get(1..).unwrap_or_default());
        all.extend_from_slice(signed);
        all.extend_from_slice(&more.to_be_bytes());
        all.extend_from_slice(self.extensions);
        all
    }
}

fn split(data: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    data.split_at_checked(at)
}

/// What follows its length of two bytes, and the rest.
fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = split(data, 2)?;
    let length = u16::from_be_bytes(length.try_into().ok()?);
    split(rest, usize::from(length))
}

fn promises(list: &[u8]) -> Option<Vec<Promise<'_>>> {
    let (mut list, _) = counted(list)?;
    let mut all = Vec::new();
    while !list.is_empty() {
        let (one, rest) = counted(list)?;
        list = rest;
        let (version, one) = split(one, 1)?;
        if version != [0] {
            continue;
        }
        let (log, one) = split(one, 32)?;
        let (time, one) = split(one, 8)?;
        let (extensions, one) = counted(one)?;
        // Two bytes name the algorithms, which follow from the log's key.
        let (_, one) = split(one, 2)?;
        let (signature, _) = counted(one)?;
        all.push(Promise {
            log,
            milliseconds: i64::from_be_bytes(time.try_into().ok()?),
            extensions,
            signature,
        });
    }
    Some(all)
}

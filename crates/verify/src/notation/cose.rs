//! Envelopes as COSE_Sign1.

use super::cbor::{self, Value};
use super::envelope::{
    AUTHENTIC_TIME, EXPIRY, Envelope, Format, PAYLOAD, PLUGIN, SCHEME, Signed, TIMESTAMP, is_authority,
    understood,
};
use crate::{Refusal, refuse};

/// Tag of COSE_Sign1.
const SIGN1: u64 = 18;
/// Header with the certificate chain.
const CHAIN: i64 = 33;

/// Takes an envelope apart.
pub(super) fn read(data: &[u8]) -> Result<Envelope, Refusal> {
    let Value::Tagged(SIGN1, inner) = cbor::read(data)? else {
        return refuse("it is no COSE_Sign1");
    };
    let parts = match *inner {
        Value::List(parts) => parts,
        _ => Vec::new(),
    };
    let [
        Value::Bytes(protected),
        bare,
        Value::Bytes(payload),
        Value::Bytes(signature),
    ] = parts.as_slice()
    else {
        return refuse("it is no COSE_Sign1 with its payload");
    };
    let header = cbor::read(protected)?;
    let Some(Value::Integer(algorithm)) = header.at(1) else {
        return refuse("it names no algorithm");
    };
    if header.at(3).and_then(Value::text) != Some(PAYLOAD) {
        return refuse(format!("its content is not '{PAYLOAD}'"));
    }
    if let Some(critical) = header.at(2) {
        let Value::List(names) = critical else {
            return refuse("its list of critical attributes is none");
        };
        // The algorithm, the list itself and the content's type are known by number.
        let named = names.iter().filter(|name| !matches!(name, Value::Integer(1..=3)));
        understood(named.map(|name| name.text().unwrap_or("(a number)")))?;
    }
    let scheme = header.named(SCHEME).and_then(Value::text);
    let chain = match bare.at(CHAIN) {
        Some(Value::Bytes(one)) => vec![one.clone()],
        Some(Value::List(list)) => {
            let all = list.iter().map(|one| one.bytes().map(<[u8]>::to_vec));
            all.collect::<Option<Vec<_>>>().unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let time = |name| match header.named(name) {
        None => Ok(None),
        Some(value) => match value.time() {
            Some(time) => Ok(Some(time)),
            None => refuse(format!("its attribute '{name}' is no time")),
        },
    };
    Ok(Envelope {
        format: Format::Cose(*algorithm),
        message: to_sign(protected, payload),
        signature: signature.clone(),
        chain,
        timestamp: bare.named(TIMESTAMP).and_then(Value::bytes).map(<[u8]>::to_vec),
        signed: Signed {
            payload: payload.clone(),
            authority: is_authority(scheme.unwrap_or_default())?,
            time: time(AUTHENTIC_TIME)?,
            expiry: time(EXPIRY)?,
            plugin: header.named(PLUGIN).and_then(Value::text).map(str::to_owned),
        },
    })
}

/// `["Signature1", protected, h'', payload]`.
fn to_sign(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut all = vec![0x84, 0x6a];
    all.extend_from_slice(b"Signature1");
    all.extend(cbor::bytes(protected));
    all.push(0x40);
    all.extend(cbor::bytes(payload));
    all
}

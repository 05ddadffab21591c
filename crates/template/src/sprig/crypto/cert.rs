//! X.509 certificates: authorities, and certificates signed by them or by themselves.

use std::any::Any;
use std::net::IpAddr;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use super::super::clock::Time;
use super::keys::Key;
use super::{INT, days_at, der};
use crate::exec::Scope;
use crate::function::{Function, FunctionError, FunctionResult, Functions, Params, Type};
use crate::print::go_value;
use crate::sprig::encoding::decode_base64_bytes;
use crate::sprig::{Ambient, ambient, text_at};
use crate::value::{Element, Object, Underlying, Value};

const CERTIFICATE: &str = "sprig.certificate";
const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x25];
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];
const SUBJECT_KEY_ID: [u8; 3] = [0x55, 0x1d, 0x0e];
const AUTHORITY_KEY_ID: [u8; 3] = [0x55, 0x1d, 0x23];
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];

pub(super) fn register(functions: &mut Functions) {
    let list = Type::List(Element::Any);
    let issued = [Type::Str, list, list, INT, Type::Object(CERTIFICATE), Type::Str];
    functions.insert(
        "genCA",
        Function::new(Params::fixed(&[Type::Str, INT]), |scope, v| {
            authority(scope, v, None)
        }),
    );
    functions.insert(
        "genCAWithKey",
        Function::new(Params::fixed(&[Type::Str, INT, Type::Str]), |scope, v| {
            authority(scope, v, Some(2))
        }),
    );
    functions.insert(
        "genSelfSignedCert",
        Function::new(Params::fixed(&issued[..4]), |scope, v| {
            issue(scope, v, false, None)
        }),
    );
    functions.insert(
        "genSelfSignedCertWithKey",
        Function::new(
            Params::fixed(&[Type::Str, list, list, INT, Type::Str]),
            |scope, v| issue(scope, v, false, Some(4)),
        ),
    );
    functions.insert(
        "genSignedCert",
        Function::new(Params::fixed(&issued[..5]), |scope, v| {
            issue(scope, v, true, None)
        }),
    );
    functions.insert(
        "genSignedCertWithKey",
        Function::new(Params::fixed(&issued), |scope, v| issue(scope, v, true, Some(5))),
    );
    functions.pure("buildCustomCert", Params::fixed(&[Type::Str, Type::Str]), custom);
}

/// A certificate with its key, both as PEM.
struct Certificate {
    cert: String,
    key: String,
}

impl Object for Certificate {
    fn type_name(&self) -> String {
        CERTIFICATE.to_owned()
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Cert" => Some(self.cert.as_str().into()),
            "Key" => Some(self.key.as_str().into()),
            _ => None,
        }
    }

    fn underlying(&self) -> Underlying {
        Underlying::Struct {
            pointer: false,
            fields: vec![
                ("Cert", self.cert.as_str().into()),
                ("Key", self.key.as_str().into()),
            ],
        }
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"Cert": self.cert, "Key": self.key})
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What a certificate says.
struct Draft<'d> {
    name: &'d str,
    days: i64,
    is_authority: bool,
    alternatives: Vec<Vec<u8>>,
}

/// Who signs: the subject, its key, and the key's identifier.
struct Issuer<'i> {
    subject: Vec<u8>,
    key: &'i Key,
    key_id: Option<Vec<u8>>,
}

fn own_key(scope: &mut Scope<'_, '_>, values: &[Value], at: Option<usize>) -> Result<Key, FunctionError> {
    match at {
        Some(index) => {
            Ok(Key::from_pem(text_at(values, index))
                .map_err(|error| format!("parsing private key: {error}"))?)
        }
        None => Ok(Key::generate(ambient(scope)?)?),
    }
}

fn authority(scope: &mut Scope<'_, '_>, values: &[Value], key_at: Option<usize>) -> FunctionResult {
    let key = own_key(scope, values, key_at)?;
    let draft = Draft {
        name: text_at(values, 0),
        days: days_at(values, 1),
        is_authority: true,
        alternatives: Vec::new(),
    };
    let issuer = Issuer {
        subject: subject(draft.name),
        key: &key,
        key_id: None,
    };
    let cert = write(ambient(scope)?, &draft, &key, &issuer)?;
    finished(&cert, &key)
}

fn finished(cert: &[u8], key: &Key) -> FunctionResult {
    Ok(Value::Object(Rc::new(Certificate {
        cert: der::to_pem("CERTIFICATE", cert),
        key: key.to_pem()?,
    })))
}

fn issue(scope: &mut Scope<'_, '_>, values: &[Value], signed: bool, key_at: Option<usize>) -> FunctionResult {
    let key = own_key(scope, values, key_at)?;
    let draft = Draft {
        name: text_at(values, 0),
        days: days_at(values, 3),
        is_authority: false,
        alternatives: alternatives(values)?,
    };
    if !signed {
        let issuer = Issuer {
            subject: subject(draft.name),
            key: &key,
            key_id: None,
        };
        let cert = write(ambient(scope)?, &draft, &key, &issuer)?;
        return finished(&cert, &key);
    }
    let authority = match values.get(4) {
        Some(Value::Object(object)) => object.as_any().downcast_ref::<Certificate>(),
        _ => None,
    };
    let authority = authority.ok_or("unable to decode certificate")?;
    let (_, data) = der::from_pem(&authority.cert).ok_or("unable to decode certificate")?;
    let (subject, key_id) = read_certificate(&data)
        .ok_or("error parsing certificate: decodedSignerCert.Bytes: x509: malformed certificate")?;
    let signer =
        Key::from_pem(&authority.key).map_err(|error| format!("error parsing private key: {error}"))?;
    let issuer = Issuer {
        subject,
        key: &signer,
        key_id,
    };
    let cert = write(ambient(scope)?, &draft, &key, &issuer)?;
    finished(&cert, &key)
}

fn custom(values: &[Value]) -> FunctionResult {
    let decoded = |index: usize, what: &str| {
        decode_base64_bytes(text_at(values, index))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|_| format!("unable to decode base64 {what}"))
    };
    let cert = decoded(0, "certificate")?;
    let key = decoded(1, "private key")?;
    let (_, data) = der::from_pem(&cert).ok_or("unable to decode certificate")?;
    read_certificate(&data)
        .ok_or("error parsing certificate: decodedCert.Bytes: x509: malformed certificate")?;
    Key::from_pem(&key).map_err(|error| format!("error parsing private key: {error}"))?;
    Ok(Value::Object(Rc::new(Certificate { cert, key })))
}

/// Names and addresses besides the common name, each as an element.
fn alternatives(values: &[Value]) -> Result<Vec<Vec<u8>>, String> {
    let items = |index: usize| match values.get(index) {
        Some(Value::List(list)) => list.items().to_vec(),
        _ => Vec::new(),
    };
    let mut names = Vec::new();
    for name in items(2) {
        let Some(name) = name.as_str() else {
            return Err(format!(
                "error processing alternate dns name: {} is not a string",
                go_value(&name)
            ));
        };
        names.push(der::element(0x82, name.as_bytes()));
    }
    for address in items(1) {
        let Some(text) = address.as_str() else {
            return Err(format!(
                "error parsing ip: {} is not a string",
                go_value(&address)
            ));
        };
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => names.push(der::element(0x87, &address.octets())),
            Ok(IpAddr::V6(address)) => names.push(der::element(0x87, &address.octets())),
            Err(_) => return Err(format!("error parsing ip: {text}")),
        }
    }
    Ok(names)
}

fn subject(name: &str) -> Vec<u8> {
    if name.is_empty() {
        return der::sequence(&[]);
    }
    let printable = |c: char| c.is_ascii_alphanumeric() || " '()+,-./:=?*&".contains(c);
    let tag = if name.chars().all(printable) { 0x13 } else { 0x0c };
    let pair = der::sequence(&[
        &der::element(der::OID, &[0x55, 0x04, 0x03]),
        &der::element(tag, name.as_bytes()),
    ]);
    der::sequence(&[&der::element(der::SET, &pair)])
}

fn moment(time: &Time) -> Vec<u8> {
    if (1950..2050).contains(&time.civil().year) {
        der::element(0x17, time.format("060102150405Z").as_bytes())
    } else {
        der::element(0x18, time.format("20060102150405Z").as_bytes())
    }
}

fn extension(id: &[u8], critical: bool, content: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    der::sequence(&[
        &der::element(der::OID, id),
        flag,
        &der::element(der::OCTET_STRING, content),
    ])
}

fn write(
    ambient: &mut dyn Ambient,
    draft: &Draft<'_>,
    key: &Key,
    issuer: &Issuer<'_>,
) -> Result<Vec<u8>, String> {
    let mut serial = [0; 16];
    ambient.random(&mut serial);
    let start = Time::from_nanos(ambient.now());
    let end = Time::from_unix(start.seconds.saturating_add(draft.days.saturating_mul(86_400)));
    let (public, bits) = key.public()?;
    let usage: &[u8] = if draft.is_authority {
        &[3, 2, 2, 0xa4]
    } else {
        &[3, 2, 5, 0xa0]
    };
    let purpose = |last: u8| der::element(der::OID, &[0x2b, 6, 1, 5, 5, 7, 3, last]);
    let constraints: &[u8] = if draft.is_authority {
        &[0x30, 3, 1, 1, 0xff]
    } else {
        &[0x30, 0]
    };
    let mut extensions = vec![
        extension(&KEY_USAGE, true, usage),
        extension(
            &EXTENDED_KEY_USAGE,
            false,
            &der::sequence(&[&purpose(1), &purpose(2)]),
        ),
        extension(&BASIC_CONSTRAINTS, true, constraints),
    ];
    if draft.is_authority {
        let id = der::element(der::OCTET_STRING, &Sha256::digest(&bits)[..20]);
        extensions.push(extension(&SUBJECT_KEY_ID, false, &id));
    }
    if let Some(id) = &issuer.key_id {
        let id = der::sequence(&[&der::element(0x80, id)]);
        extensions.push(extension(&AUTHORITY_KEY_ID, false, &id));
    }
    if !draft.alternatives.is_empty() {
        let names = der::element(der::SEQUENCE, &draft.alternatives.concat());
        extensions.push(extension(&ALTERNATIVE_NAMES, draft.name.is_empty(), &names));
    }
    let algorithm = issuer.key.algorithm();
    let body = der::sequence(&[
        &[0xa0, 3, 2, 1, 2],
        &der::unsigned(&serial),
        &algorithm,
        &issuer.subject,
        &der::sequence(&[&moment(&start), &moment(&end)]),
        &subject(draft.name),
        &public,
        &der::element(0xa3, &der::element(der::SEQUENCE, &extensions.concat())),
    ]);
    let signature = issuer.key.sign(&body)?;
    Ok(der::sequence(&[&body, &algorithm, &der::bits(&signature)]))
}

/// The subject and the key identifier of a certificate.
fn read_certificate(data: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let (_, content, _, _) = der::read(data).filter(|(tag, ..)| *tag == der::SEQUENCE)?;
    let (_, mut body, _, _) = der::read(content).filter(|(tag, ..)| *tag == der::SEQUENCE)?;
    let mut fields = Vec::new();
    while !body.is_empty() {
        let (tag, content, whole, rest) = der::read(body)?;
        fields.push((tag, content, whole));
        body = rest;
    }
    // The version stands first unless it is the oldest one.
    let first = usize::from(fields.first()?.0 == 0xa0);
    let subject = fields.get(first + 4)?.2.to_vec();
    let extensions = fields.iter().find(|(tag, ..)| *tag == 0xa3);
    let mut key_id = None;
    if let Some((_, content, _)) = extensions {
        let (_, mut list, _, _) = der::read(content)?;
        while !list.is_empty() {
            let (_, parts, _, rest) = der::read(list)?;
            let (_, id, _, after) = der::read(parts)?;
            if id == SUBJECT_KEY_ID {
                let (_, content, _, _) = der::read(after)?;
                key_id = der::read(content).map(|(_, id, _, _)| id.to_vec());
            }
            list = rest;
        }
    }
    Some((subject, key_id))
}

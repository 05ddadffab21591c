//! What signers, authorities, logs and timestamp servers do.

use base64::Engine as _;
use fluvial_verify::sigstore::Signature;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber, SigningKey, date_time_ymd,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) const ISSUER: &str = "https://token.actions.example.org";
pub(crate) const SUBJECT: &str = "https://github.com/org/repo/.github/workflows/release.yaml@refs/tags/v1";
/// 2024-06-02.
pub(crate) const SIGNED_AT: i64 = 1_717_286_400;

pub(crate) fn b64(data: impl AsRef<[u8]>) -> String {
    base64::engine::general_purpose::STANDARD.encode(data)
}

pub(crate) fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha256(data: &[u8]) -> Vec<u8> {
    Sha256::digest(data).to_vec()
}

pub(crate) fn digest(text: &str) -> String {
    format!("sha256:{}", hex(&sha256(text.as_bytes())))
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

pub(crate) fn sign(key: &KeyPair, message: &[u8]) -> Vec<u8> {
    SigningKey::sign(key, message).unwrap()
}

pub(crate) fn public_der(key: &KeyPair) -> Vec<u8> {
    let pem = key.public_key_pem();
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

/// DER.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut all = vec![tag];
    match content.len() {
        length @ 0..=127 => all.push(length as u8),
        length @ 128..=255 => all.extend([0x81, length as u8]),
        length => all.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    all.extend(content);
    all
}

/// The first value in a value.
fn first_inside(der: &[u8]) -> &[u8] {
    let header = |der: &[u8]| match der[1] {
        0x81 => (3, usize::from(der[2])),
        0x82 => (4, usize::from(der[2]) << 8 | usize::from(der[3])),
        short => (2, usize::from(short)),
    };
    let inner = &der[header(der).0..];
    let (start, length) = header(inner);
    &inner[..start + length]
}

pub(crate) fn payload(digest: &str) -> Vec<u8> {
    json!({"critical": {"identity": {"docker-reference": ""}, "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature"}, "optional": null})
    .to_string()
    .into_bytes()
}

/// What an envelope's signature is made over.
pub(crate) fn to_sign(payload: &[u8]) -> Vec<u8> {
    let kind = "application/vnd.in-toto+json";
    let mut all = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    all.extend(payload);
    all
}

pub(crate) fn statement(digest: &str) -> Vec<u8> {
    let value = digest.strip_prefix("sha256:").unwrap();
    json!({"_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": value}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {}})
    .to_string()
    .into_bytes()
}

/// A bundle with what is to be in its material.
pub(crate) fn bundle(payload: &[u8], signature: &[u8], material: &Value) -> Value {
    json!({"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": material,
        "dsseEnvelope": {"payload": b64(payload), "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": b64(signature)}]}})
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

/// A Sigstore installation.
pub(crate) struct Installation {
    root: Vec<u8>,
    between: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) log: KeyPair,
    certificate_log: KeyPair,
    server: KeyPair,
    server_certificate: Vec<u8>,
    pub(crate) server_root: Vec<u8>,
}

/// A signer with a certificate.
pub(crate) struct Signer {
    pub(crate) key: KeyPair,
    pub(crate) certificate: Vec<u8>,
    pub(crate) pem: String,
}

impl Installation {
    pub(crate) fn new() -> Self {
        let root_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let root = authority_params("root").self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(authority_params("root"), root_key);
        let between_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let between = authority_params("between")
            .signed_by(&between_key, &root_issuer)
            .unwrap();
        let server_root_key = key();
        let server_root = authority_params("time").self_signed(&server_root_key).unwrap();
        let mut params = authority_params("clock");
        params.is_ca = IsCa::NoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::TimeStamping];
        params.serial_number = Some(SerialNumber::from(vec![7]));
        let server = key();
        let server_issuer = Issuer::new(authority_params("time"), server_root_key);
        let certificate = params.signed_by(&server, &server_issuer).unwrap();
        Installation {
            root: root.der().to_vec(),
            between: between.der().to_vec(),
            issuer: Issuer::new(authority_params("between"), between_key),
            log: key(),
            certificate_log: key(),
            server,
            server_certificate: certificate.der().to_vec(),
            server_root: server_root.der().to_vec(),
        }
    }

    /// `trusted_root.json` with these parts.
    pub(crate) fn trusted_root(&self, logs: bool, servers: bool) -> Value {
        let raw = |der: &[u8]| json!({"rawBytes": b64(der)});
        let log = |key: &KeyPair| {
            let der = public_der(key);
            json!({"publicKey": {"rawBytes": b64(&der), "validFor": {"start": "2021-01-01T00:00:00Z"}},
                "logId": {"keyId": b64(sha256(&der))}})
        };
        let mut document = json!({"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "ctlogs": [log(&self.certificate_log)],
            "certificateAuthorities": [{"certChain": {"certificates": [raw(&self.between), raw(&self.root)]},
                "validFor": {"start": "2021-01-01T00:00:00Z"}}]});
        if logs {
            document["tlogs"] = json!([log(&self.log)]);
        }
        if servers {
            document["timestampAuthorities"] = json!([{"certChain": {"certificates": [raw(&self.server_certificate), raw(&self.server_root)]}}]);
        }
        document
    }

    /// A certificate for the usual identity, valid on the first days of June 2024; with a log's promise.
    pub(crate) fn signer(&self) -> Signer {
        self.signer_with(true)
    }

    pub(crate) fn signer_with(&self, promised: bool) -> Signer {
        let key = key();
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(vec![1, 2, 3]));
        params.not_before = date_time_ymd(2024, 6, 1);
        params.not_after = date_time_ymd(2024, 6, 3);
        params.subject_alt_names = vec![SanType::URI(SUBJECT.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let issuer =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, 8], tlv(0x0c, ISSUER.as_bytes()));
        params.custom_extensions = vec![issuer];
        let mut certificate = params.signed_by(&key, &self.issuer).unwrap();
        if promised {
            let promise = self.promise(first_inside(certificate.der()));
            let oid = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
            let extension = CustomExtension::from_oid_content(&oid, tlv(4, &promise));
            params.custom_extensions.push(extension);
            certificate = params.signed_by(&key, &self.issuer).unwrap();
        }
        Signer {
            key,
            certificate: certificate.der().to_vec(),
            pem: certificate.pem(),
        }
    }

    /// The certificate log's list with one promise.
    fn promise(&self, signed: &[u8]) -> Vec<u8> {
        let time = (SIGNED_AT as u64 * 1000).to_be_bytes();
        let mut message = vec![0, 0];
        message.extend(time);
        message.extend([0, 1]);
        message.extend(sha256(&public_der(self.issuer.key())));
        message.extend(&(signed.len() as u32).to_be_bytes()[1..]);
        message.extend(signed);
        message.extend([0, 0]);
        let signature = sign(&self.certificate_log, &message);
        let mut one = vec![0];
        one.extend(sha256(&public_der(&self.certificate_log)));
        one.extend(time);
        one.extend([0, 0, 4, 3]);
        one.extend((signature.len() as u16).to_be_bytes());
        one.extend(signature);
        let mut list = ((one.len() + 2) as u16).to_be_bytes().to_vec();
        list.extend((one.len() as u16).to_be_bytes());
        list.extend(one);
        list
    }

    fn log_id(&self) -> Vec<u8> {
        sha256(&public_der(&self.log))
    }

    /// The log's promise for a body.
    fn set(&self, body: &[u8]) -> Vec<u8> {
        let message = json!({"body": b64(body), "integratedTime": SIGNED_AT, "logID": hex(&self.log_id()), "logIndex": 5});
        sign(&self.log, message.to_string().as_bytes())
    }

    /// A signature of cosign 2 with an entry in the log.
    pub(crate) fn simple(&self, signer: &Signer, digest: &str) -> Signature {
        let payload = payload(digest);
        let signature = sign(&signer.key, &payload);
        let body = json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hex(&sha256(&payload))}},
            "signature": {"content": b64(&signature), "publicKey": {"content": b64(&signer.pem)}}}})
        .to_string();
        let entry = json!({"SignedEntryTimestamp": b64(self.set(body.as_bytes())), "Payload": {"body": b64(&body),
            "integratedTime": SIGNED_AT, "logIndex": 5, "logID": hex(&self.log_id())}});
        Signature {
            payload,
            signature: b64(&signature),
            certificate: Some(signer.pem.clone()),
            bundle: Some(entry.to_string()),
            ..Signature::default()
        }
    }

    /// A bundle of cosign 3. The log may promise, prove, or both.
    pub(crate) fn bundle(&self, signer: &Signer, digest: &str, promised: bool) -> Value {
        let payload = statement(digest);
        let signature = sign(&signer.key, &to_sign(&payload));
        let body = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "payloadHash": {"algorithm": "sha256", "value": hex(&sha256(&payload))},
            "signatures": [{"signature": b64(&signature), "verifier": b64(&signer.pem)}]}});
        let entry = self.entry(&body, promised);
        let material = json!({"certificate": {"rawBytes": b64(&signer.certificate)}, "tlogEntries": [entry]});
        bundle(&payload, &signature, &material)
    }

    /// A bundle whose entry is of a log of the second version, which knows no time; a timestamp server does.
    pub(crate) fn second_bundle(&self, signer: &Signer, digest: &str) -> Value {
        let payload = statement(digest);
        let signature = sign(&signer.key, &to_sign(&payload));
        let verifier = json!({"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": {"rawBytes": b64(&signer.certificate)}});
        let body = json!({"apiVersion": "0.0.2", "kind": "dsse", "spec": {"dsseV002": {
            "payloadHash": {"algorithm": "SHA2_256", "digest": b64(sha256(&payload))},
            "signatures": [{"content": b64(&signature), "verifier": verifier}]}}});
        let stamp = b64(self.timestamp(&signature, "20240602120000Z"));
        let material = json!({"certificate": {"rawBytes": b64(&signer.certificate)},
            "tlogEntries": [self.entry(&body, false)],
            "timestampVerificationData": {"rfc3161Timestamps": [{"signedTimestamp": stamp}]}});
        bundle(&payload, &signature, &material)
    }

    /// The log's entry with its proof, and its promise if wanted.
    fn entry(&self, body: &Value, promised: bool) -> Value {
        let body = body.to_string().into_bytes();
        let mut leaf = vec![0];
        leaf.extend(&body);
        let root = b64(sha256(&leaf));
        let note = format!("log.example.org\n1\n{root}\n");
        let mut mark = self.log_id()[..4].to_vec();
        mark.extend(sign(&self.log, note.as_bytes()));
        let mut entry = json!({"logIndex": "5", "logId": {"keyId": b64(self.log_id())}, "canonicalizedBody": b64(&body),
            "inclusionProof": {"logIndex": "0", "treeSize": "1", "rootHash": root, "hashes": [],
                "checkpoint": {"envelope": format!("{note}\n\u{2014} log.example.org {}\n", b64(mark))}}});
        if promised {
            entry["integratedTime"] = json!(SIGNED_AT.to_string());
            entry["inclusionPromise"] = json!({"signedEntryTimestamp": b64(self.set(&body))});
        }
        entry
    }

    /// A timestamp server's answer about a signature.
    pub(crate) fn timestamp(&self, signature: &[u8], time: &str) -> Vec<u8> {
        let token = self.token(signature, time, &[]);
        tlv(0x30, &[tlv(0x30, &tlv(2, &[0])), token].concat())
    }

    /// The token of such an answer, with the server's certificate in it.
    pub(crate) fn full_token(&self, signature: &[u8], time: &str) -> Vec<u8> {
        self.token(signature, time, &tlv(0xa0, &self.server_certificate))
    }

    fn token(&self, signature: &[u8], time: &str, certificates: &[u8]) -> Vec<u8> {
        let sha = tlv(0x30, &tlv(6, &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1]));
        let oid = |last: &[u8]| {
            let mut id = vec![0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01];
            id.extend(last);
            tlv(6, &id)
        };
        let join = |parts: &[&[u8]]| parts.concat();
        let imprint = tlv(0x30, &join(&[&sha, &tlv(4, &sha256(signature))]));
        let policy = tlv(6, &[0x2a, 3]);
        let stamp = tlv(0x18, time.as_bytes());
        let info = tlv(
            0x30,
            &join(&[&tlv(2, &[1]), &policy, &imprint, &tlv(2, &[9]), &stamp]),
        );
        let kind = oid(&[9, 16, 1, 4]);
        let attributes = join(&[
            &tlv(0x30, &join(&[&oid(&[9, 3]), &tlv(0x31, &kind)])),
            &tlv(0x30, &join(&[&oid(&[9, 4]), &tlv(0x31, &tlv(4, &sha256(&info)))])),
        ]);
        let mark = sign(&self.server, &tlv(0x31, &attributes));
        // The name of the server's authority, as its own certificate writes it.
        let name = tlv(
            0x30,
            &tlv(
                0x31,
                &tlv(0x30, &join(&[&tlv(6, &[0x55, 4, 3]), &tlv(0x0c, b"time")])),
            ),
        );
        let who = tlv(0x30, &join(&[&name, &tlv(2, &[7])]));
        let ecdsa = tlv(0x30, &tlv(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
        let signer = tlv(
            0x30,
            &join(&[
                &tlv(2, &[1]),
                &who,
                &sha,
                &tlv(0xa0, &attributes),
                &ecdsa,
                &tlv(4, &mark),
            ]),
        );
        let content = tlv(0x30, &join(&[&kind, &tlv(0xa0, &tlv(4, &info))]));
        let data = tlv(
            0x30,
            &join(&[
                &tlv(2, &[3]),
                &tlv(0x31, &sha),
                &content,
                certificates,
                &tlv(0x31, &signer),
            ]),
        );
        tlv(0x30, &join(&[&oid(&[7, 2]), &tlv(0xa0, &data)]))
    }
}

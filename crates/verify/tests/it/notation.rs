//! Signatures of Notation in both kinds of envelopes.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fluvial_verify::notation::{Artifact, Outcome, Signature, TrustPolicy, TrustStore, verify};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde_json::{Value, json};

use crate::support::*;

/// 2024-06-02, when everything is valid.
const NOW: i64 = SIGNED_AT;

struct Signer {
    key: KeyPair,
    chain: Vec<Vec<u8>>,
    root: String,
}

fn signer(change: impl Fn(&mut CertificateParams)) -> Signer {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "notation root");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.not_before = date_time_ymd(2020, 1, 1);
    authority.not_after = date_time_ymd(2040, 1, 1);
    let root = CertifiedIssuer::self_signed(authority, key()).unwrap();
    let mut params = CertificateParams::default();
    for (kind, value) in [
        (DnType::CountryName, "DE"),
        (DnType::StateOrProvinceName, "Berlin"),
        (DnType::OrganizationName, "Example, Inc."),
        (DnType::CommonName, "release"),
    ] {
        params.distinguished_name.push(kind, value);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2025, 1, 1);
    change(&mut params);
    let key = key();
    let leaf = params.signed_by(&key, &root).unwrap();
    Signer {
        key,
        chain: vec![leaf.der().to_vec(), root.der().to_vec()],
        root: root.pem(),
    }
}

fn artifact() -> Artifact {
    Artifact {
        repository: "ghcr.io/org/app".to_owned(),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        digest: digest("image"),
        size: 42,
    }
}

fn payload(digest: &str) -> Vec<u8> {
    json!({"targetArtifact": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 42}})
        .to_string()
        .into_bytes()
}

impl Signer {
    fn fixed(&self, message: &[u8]) -> Vec<u8> {
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.key.serialize_der()).unwrap();
        key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }

    fn jws(&self, digest: &str, more: &Value) -> Value {
        let mut protected = json!({"alg": "ES256", "cty": "application/vnd.cncf.notary.payload.v1+json",
            "crit": ["io.cncf.notary.signingScheme"], "io.cncf.notary.signingScheme": "notary.x509",
            "io.cncf.notary.signingTime": "2024-06-01T00:00:00Z"});
        for (name, value) in more.as_object().unwrap() {
            protected[name] = value.clone();
        }
        let protected = URL_SAFE_NO_PAD.encode(protected.to_string());
        let payload = URL_SAFE_NO_PAD.encode(payload(digest));
        let signature = self.fixed(format!("{protected}.{payload}").as_bytes());
        let chain: Vec<String> = self.chain.iter().map(b64).collect();
        json!({"payload": payload, "protected": protected, "header": {"x5c": chain, "io.cncf.notary.signingAgent": "test"},
            "signature": URL_SAFE_NO_PAD.encode(signature)})
    }

    fn cose(&self, digest: &str) -> Vec<u8> {
        let bytes = |data: &[u8]| {
            let mut all = vec![0x59];
            all.extend((data.len() as u16).to_be_bytes());
            all.extend(data);
            all
        };
        let text = |text: &str| {
            let mut all = vec![0x78, text.len() as u8];
            all.extend(text.as_bytes());
            all
        };
        let scheme = "io.cncf.notary.signingScheme";
        let mut protected = vec![0xa5, 1, 0x26, 2, 0x81];
        protected.extend(text(scheme));
        protected.push(3);
        protected.extend(text("application/vnd.cncf.notary.payload.v1+json"));
        protected.extend(text(scheme));
        protected.extend(text("notary.x509"));
        protected.extend(text("io.cncf.notary.signingTime"));
        protected.extend([0xc1, 0x1a, 0x66, 0x5a, 0x5e, 0x00]);
        let payload = payload(digest);
        let mut message = vec![0x84, 0x6a];
        message.extend(b"Signature1");
        // The shortest way to write lengths is the one that is signed.
        let short = |data: &[u8]| {
            let mut all = if data.len() < 256 {
                vec![0x58, data.len() as u8]
            } else {
                Vec::new()
            };
            if all.is_empty() {
                return bytes(data);
            }
            all.extend(data);
            all
        };
        message.extend(short(&protected));
        message.push(0x40);
        message.extend(short(&payload));
        let mut all = vec![0xd2, 0x84];
        all.extend(short(&protected));
        all.extend([0xa1, 0x18, 33, 0x82]);
        all.extend(bytes(&self.chain[0]));
        all.extend(bytes(&self.chain[1]));
        all.extend(short(&payload));
        all.extend(short(&self.fixed(&message)));
        all
    }
}

fn policy(level: &str, identity: &str) -> TrustPolicy {
    let document = json!({"version": "1.0", "trustPolicies": [{"name": "all", "registryScopes": ["*"],
        "signatureVerification": {"level": level}, "trustStores": ["ca:any"], "trustedIdentities": [identity]}]});
    TrustPolicy::parse(document.to_string().as_bytes()).unwrap()
}

fn store(pem: &str) -> TrustStore {
    let mut store = TrustStore::default();
    store.add(pem.as_bytes()).unwrap();
    store
}

fn jws(envelope: &Value) -> Signature {
    Signature {
        media_type: "application/jose+json".to_owned(),
        data: envelope.to_string().into_bytes(),
    }
}

fn judge(signature: &Signature, level: &str, root: &str, now: i64) -> Result<Outcome, String> {
    let found = std::slice::from_ref(signature);
    verify(&artifact(), found, &policy(level, "*"), &store(root), now).map_err(|error| error.to_string())
}

#[test]
fn both_envelopes_count() {
    let signer = signer(|_| {});
    let cose = Signature {
        media_type: "application/cose".to_owned(),
        data: signer.cose(&digest("image")),
    };
    for signature in [jws(&signer.jws(&digest("image"), &json!({}))), cose] {
        for level in ["strict", "permissive", "audit"] {
            assert_eq!(judge(&signature, level, &signer.root, NOW), Ok(Outcome::Verified));
        }
        assert_eq!(judge(&signature, "skip", &signer.root, NOW), Ok(Outcome::Ignored));
    }
    let elsewhere = Signature {
        media_type: "application/cose".to_owned(),
        data: signer.cose(&digest("another")),
    };
    assert!(
        judge(&elsewhere, "audit", &signer.root, NOW)
            .unwrap_err()
            .contains("not of this one")
    );
}

#[test]
fn signers_must_be_those_of_the_policy() {
    let signer = signer(|_| {});
    let found = [jws(&signer.jws(&digest("image"), &json!({})))];
    let store = store(&signer.root);
    let named = "x509.subject: C=DE, ST=Berlin, O=Example\\, Inc.";
    verify(&artifact(), &found, &policy("strict", named), &store, NOW).unwrap();
    let other = policy("strict", "x509.subject: C=DE, ST=Berlin, O=Example");
    let error = verify(&artifact(), &found, &other, &store, NOW)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("trustedIdentities") && error.contains("O=Example, Inc."),
        "{error}"
    );
    let none = verify(&artifact(), &[], &policy("strict", "*"), &store, NOW)
        .unwrap_err()
        .to_string();
    assert!(none.contains("no signature is associated"), "{none}");
}

#[test]
fn other_roots_are_not_trusted() {
    let (signer, other) = (signer(|_| {}), signer(|_| {}));
    let signature = jws(&signer.jws(&digest("image"), &json!({})));
    let error = judge(&signature, "strict", &other.root, NOW).unwrap_err();
    assert!(
        error.contains("does not contain any trusted certificate"),
        "{error}"
    );
    // A policy that only looks on does not call it verified.
    assert_eq!(judge(&signature, "audit", &other.root, NOW), Ok(Outcome::Ignored));
}

#[test]
fn what_was_changed_is_refused_at_every_level() {
    let signer = signer(|_| {});
    let good = signer.jws(&digest("image"), &json!({}));
    let mut forged = good.clone();
    forged["payload"] = json!(URL_SAFE_NO_PAD.encode(payload(&digest("another"))));
    let mut mixed = good.clone();
    mixed["header"]["x5c"][0] = json!(b64(&self::signer(|_| {}).chain[0]));
    let mut rootless = good;
    rootless["header"]["x5c"] = json!([b64(&signer.chain[0])]);
    for (envelope, want) in [
        (forged, "not of its certificate"),
        (mixed, "not of its certificate"),
        (rootless, "does not end with a root"),
        (signer.jws(&digest("another"), &json!({})), "not of this one"),
        (
            signer.jws(&digest("image"), &json!({"alg": "PS256"})),
            "algorithm is not ES256",
        ),
        (
            signer.jws(&digest("image"), &json!({"crit": ["x"]})),
            "'x' is not known",
        ),
        (
            signer.jws(
                &digest("image"),
                &json!({"io.cncf.notary.verificationPlugin": "p"}),
            ),
            "plugin 'p'",
        ),
    ] {
        let error = judge(&jws(&envelope), "audit", &signer.root, NOW).unwrap_err();
        assert!(error.contains(want), "{want}: {error}");
    }
}

#[test]
fn certificates_and_signatures_expire() {
    let signer = signer(|_| {});
    let good = jws(&signer.jws(&digest("image"), &json!({})));
    let year = 366 * 24 * 3600;
    assert!(
        judge(&good, "strict", &signer.root, NOW + year)
            .unwrap_err()
            .contains("has expired")
    );
    assert!(
        judge(&good, "strict", &signer.root, NOW - year)
            .unwrap_err()
            .contains("not valid yet")
    );
    judge(&good, "permissive", &signer.root, NOW + year).unwrap();
    let brief = jws(&signer.jws(
        &digest("image"),
        &json!({"io.cncf.notary.expiry": "2024-06-01T12:00:00Z"}),
    ));
    let error = judge(&brief, "strict", &signer.root, NOW).unwrap_err();
    assert!(error.contains("the signature has expired"), "{error}");
}

#[test]
fn timestamps_outlive_certificates() {
    let (signer, installation) = (signer(|_| {}), Installation::new());
    let later = NOW + 366 * 24 * 3600;
    let plain = signer.jws(&digest("image"), &json!({}));
    let mark = URL_SAFE_NO_PAD
        .decode(plain["signature"].as_str().unwrap())
        .unwrap();
    let document = json!({"version": "1.0", "trustPolicies": [{"name": "all", "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"}, "trustStores": ["ca:any", "tsa:any"], "trustedIdentities": ["*"]}]});
    let policy = TrustPolicy::parse(document.to_string().as_bytes()).unwrap();
    let mut trusted = store(&signer.root);
    trusted.add(&installation.server_root).unwrap();
    let judge = |envelope: &Value, trusted: &TrustStore| {
        let found = [jws(envelope)];
        verify(&artifact(), &found, &policy, trusted, later).map_err(|error| error.to_string())
    };
    let stamped = |token: Vec<u8>| {
        let mut envelope = plain.clone();
        envelope["header"]["io.cncf.notary.timestampSignature"] = b64(token).into();
        envelope
    };
    let good = stamped(installation.full_token(&mark, "20240602120000Z"));
    judge(&good, &trusted).unwrap();
    for (envelope, words) in [
        (plain.clone(), "wants a timestamp"),
        (
            stamped(installation.full_token(&mark, "20250301120000Z")),
            "has expired",
        ),
        (
            stamped(installation.full_token(b"other", "20240602120000Z")),
            "of another signature",
        ),
        (
            stamped(Installation::new().full_token(&mark, "20240602120000Z")),
            "the timestamp",
        ),
        (stamped(b"0".to_vec()), "the timestamp"),
    ] {
        let error = judge(&envelope, &trusted).unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
    }
    // A server that nobody trusts proves nothing.
    assert!(judge(&good, &store(&signer.root)).is_err());
}

#[test]
fn certificates_must_be_for_signing() {
    let server = signer(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let authority = signer(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let listed = signer(|params| {
        params.crl_distribution_points = vec![rcgen::CrlDistributionPoint {
            uris: vec!["http://crl.example.org".to_owned()],
        }];
    });
    for (signer, want) in [
        (server, "not for signing code"),
        (authority, "is an authority"),
        (listed, "override.revocation"),
    ] {
        let signature = jws(&signer.jws(&digest("image"), &json!({})));
        let error = judge(&signature, "strict", &signer.root, NOW).unwrap_err();
        assert!(error.contains(want), "{want}: {error}");
    }
}

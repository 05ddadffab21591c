//! Signatures that are made with keys.

use fluvial_verify::PublicKey;
use fluvial_verify::sigstore::{Material, Signature, Trust, verify};
use rcgen::KeyPair;
use serde_json::json;

use crate::support::*;

fn simple(key: &KeyPair, digest: &str) -> Material {
    let payload = payload(digest);
    let signature = b64(sign(key, &payload));
    Material::Simple(Signature {
        payload,
        signature,
        ..Signature::default()
    })
}

fn trusted(keys: &[&KeyPair]) -> Vec<(String, PublicKey)> {
    let read = keys.iter().enumerate().map(|(index, key)| {
        let key = PublicKey::from_pem(key.public_key_pem().as_bytes()).unwrap();
        (format!("{index}.pub"), key)
    });
    read.collect()
}

fn refused(found: &[Material], keys: &[(String, PublicKey)]) -> String {
    verify(&digest("image"), found, &Trust::Keys(keys))
        .unwrap_err()
        .to_string()
}

#[test]
fn every_kind_of_key_signs_in_both_layouts() {
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let mut keys: Vec<KeyPair> = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ECDSA_P521_SHA256,
        &rcgen::PKCS_ED25519,
    ]
    .map(|algorithm| KeyPair::generate_for(algorithm).unwrap())
    .into();
    keys.push(rsa);
    for key in &keys {
        let other = self::key();
        let trust = trusted(&[&other, key]);
        let signer = verify(
            &digest("image"),
            &[simple(key, &digest("image"))],
            &Trust::Keys(&trust),
        )
        .unwrap();
        assert_eq!(signer.0, "key '1.pub'");
        let payload = statement(&digest("image"));
        let signature = sign(key, &to_sign(&payload));
        let bundle = bundle(&payload, &signature, &json!({"publicKey": {"hint": "x"}}));
        let bundle = Material::Bundle(bundle.to_string().into_bytes());
        verify(&digest("image"), &[bundle], &Trust::Keys(&trust)).unwrap();
    }
}

#[test]
fn forged_signatures_and_those_of_others_are_refused() {
    let (key, other) = (key(), key());
    let trust = trusted(&[&key]);
    assert!(refused(&[], &trust).contains("no signatures found"));
    let foreign = simple(&other, &digest("image"));
    assert!(refused(&[foreign], &trust).contains("none of the trusted keys"));
    let elsewhere = simple(&key, &digest("another"));
    assert!(refused(&[elsewhere], &trust).contains("not of this one"));
    // A good signature, under a payload that was changed afterwards.
    let Material::Simple(mut forged) = simple(&key, &digest("another")) else {
        panic!("simple")
    };
    forged.payload = payload(&digest("image"));
    assert!(refused(&[Material::Simple(forged)], &trust).contains("none of the trusted keys"));
    // What is signed is a signature of something else than an image.
    let other_kind = String::from_utf8(payload(&digest("image")))
        .unwrap()
        .replace("cosign container", "my");
    let signature = Material::Simple(Signature {
        signature: b64(sign(&key, other_kind.as_bytes())),
        payload: other_kind.into_bytes(),
        ..Signature::default()
    });
    assert!(refused(&[signature], &trust).contains("'my image signature'"));
    let statement = statement(&digest("another"));
    let bundle = bundle(&statement, &sign(&key, &to_sign(&statement)), &json!({}));
    let bundle = Material::Bundle(bundle.to_string().into_bytes());
    assert!(refused(std::slice::from_ref(&bundle), &trust).contains("about another image"));
    assert!(refused(&[Material::Bundle(b"{}".to_vec())], &trust).contains("cannot be read"));
    // One good one among bad ones is enough.
    let found = [
        bundle,
        simple(&other, &digest("image")),
        simple(&key, &digest("image")),
    ];
    verify(&digest("image"), &found, &Trust::Keys(&trust)).unwrap();
}

#[test]
fn texts_that_are_no_public_keys_say_what_they_are() {
    for (text, want) in [
        ("", "no PEM block"),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "it is a private key",
        ),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n", "has no end"),
        (
            "-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----\n",
            "not base64",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n",
            "breaks off",
        ),
        ("-----BEGIN OTHER-----\nMAA=\n-----END OTHER-----\n", "'OTHER'"),
    ] {
        let error = PublicKey::from_pem(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
    let k256 = "-----BEGIN PUBLIC KEY-----\nMFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEeNP2r4tdBv0u6RtCCdkV7Nq4dFqbmE4t\n\
        8D4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n-----END PUBLIC KEY-----\n";
    assert!(PublicKey::from_pem(k256.as_bytes()).is_err());
}

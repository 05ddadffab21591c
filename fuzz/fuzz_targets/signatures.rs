//! Any bytes as what a registry holds beside an image: reading ends, and nothing of it is ever trusted.

#![no_main]

use fluvial_verify::PublicKey;
use fluvial_verify::notation::{self, Artifact, TrustPolicy, TrustStore};
use fluvial_verify::sigstore::{self, Material, Signature, Trust, TrustedRoot};

/// A key that nobody has.
const KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
const POLICY: &str = r#"{"version":"1.0","trustPolicies":[{"name":"a","registryScopes":["*"],
    "signatureVerification":{"level":"strict"},"trustStores":["ca:a"],"trustedIdentities":["*"]}]}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let digest = format!("sha256:{}", "0".repeat(64));
    let _ = TrustedRoot::parse(data);
    let _ = PublicKey::from_pem(data);
    let mut store = TrustStore::default();
    let _ = store.add(data);
    let _ = TrustPolicy::parse(data);
    let keys = [("a".to_owned(), PublicKey::from_pem(KEY.as_bytes()).expect("this is a key"))];
    let simple = Signature {
        payload: data.to_vec(),
        signature: "AAAA".to_owned(),
        ..Signature::default()
    };
    let found = [Material::Bundle(data.to_vec()), Material::Simple(simple)];
    assert!(sigstore::verify(&digest, &found, &Trust::Keys(&keys)).is_err());
    let policy = TrustPolicy::parse(POLICY.as_bytes()).expect("this is a policy");
    let artifact = Artifact {
        repository: "a.b/c".to_owned(),
        media_type: "x".to_owned(),
        digest,
        size: 1,
    };
    for media_type in ["application/jose+json", "application/cose"] {
        let signature = notation::Signature {
            media_type: media_type.to_owned(),
            data: data.to_vec(),
        };
        assert!(notation::verify(&artifact, &[signature], &policy, &store, 0).is_err());
    }
});

//! Signatures of identities: certificates, logs and timestamps of an installation made for each test.

use fluvial_verify::Refusal;
use fluvial_verify::sigstore::{Identity, Material, Signature, Signer, Trust, TrustedRoot, verify};
use serde_json::{Value, json};

use crate::support::{self, *};

struct Case {
    installation: Installation,
    signer: support::Signer,
    digest: String,
}

impl Case {
    fn new() -> Self {
        let installation = Installation::new();
        let signer = installation.signer();
        Case {
            installation,
            signer,
            digest: digest("image"),
        }
    }

    fn judge(&self, found: Material, root: &Value, identity: (&str, &str)) -> Result<Signer, Refusal> {
        let root = TrustedRoot::parse(root.to_string().as_bytes())?;
        let identities = [Identity::new(identity.0, identity.1)?];
        let trust = Trust::Certificates {
            root: &root,
            identities: &identities,
        };
        verify(&self.digest, &[found], &trust)
    }

    fn good(&self, found: Material) -> Signer {
        self.judge(found, &self.installation.trusted_root(true, false), GOOD)
            .unwrap()
    }

    fn bad(&self, found: Material) -> String {
        let root = self.installation.trusted_root(true, false);
        self.judge(found, &root, GOOD).unwrap_err().to_string()
    }

    fn simple(&self) -> Signature {
        self.installation.simple(&self.signer, &self.digest)
    }
}

const GOOD: (&str, &str) = (r"^https://token\.actions\.", r"^https://github\.com/org/repo/.*$");

fn packed(bundle: &Value) -> Material {
    Material::Bundle(bundle.to_string().into_bytes())
}

#[test]
fn identities_count_in_both_layouts() {
    let case = Case::new();
    let signer = case.good(Material::Simple(case.simple()));
    assert!(
        signer.0.contains(SUBJECT) && signer.0.contains(ISSUER),
        "{signer:?}"
    );
    case.good(packed(&case.installation.bundle(
        &case.signer,
        &case.digest,
        true,
    )));
    // Nobody in particular is asked for.
    let root =
        TrustedRoot::parse(case.installation.trusted_root(true, false).to_string().as_bytes()).unwrap();
    let trust = Trust::Certificates {
        root: &root,
        identities: &[],
    };
    verify(&case.digest, &[Material::Simple(case.simple())], &trust).unwrap();
}

#[test]
fn other_identities_are_refused() {
    let case = Case::new();
    let root = case.installation.trusted_root(true, false);
    for identity in [("^https://accounts", ".*"), (".*", "^https://github.com/other/")] {
        let error = case
            .judge(Material::Simple(case.simple()), &root, identity)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("none of the expected identities") && error.contains(SUBJECT),
            "{error}"
        );
    }
    assert!(
        Identity::new("(", "")
            .unwrap_err()
            .to_string()
            .contains("malformed issuer")
    );
}

#[test]
fn other_installations_are_not_trusted() {
    let (case, other) = (Case::new(), Case::new());
    let theirs = other.installation.trusted_root(true, false);
    let error = case
        .judge(Material::Simple(case.simple()), &theirs, GOOD)
        .unwrap_err()
        .to_string();
    assert!(error.contains("not in the trusted root"), "{error}");
    // Their authority, our log.
    let mut mixed = case.installation.trusted_root(true, false);
    mixed["certificateAuthorities"] = theirs["certificateAuthorities"].clone();
    let error = case
        .judge(Material::Simple(case.simple()), &mixed, GOOD)
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not lead to a trusted authority"), "{error}");
    // Our authority and log, their certificate log.
    let mut mixed = case.installation.trusted_root(true, false);
    mixed["ctlogs"] = theirs["ctlogs"].clone();
    let error = case
        .judge(Material::Simple(case.simple()), &mixed, GOOD)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no trusted certificate log"), "{error}");
    mixed["ctlogs"] = json!([]);
    case.judge(Material::Simple(case.simple()), &mixed, GOOD).unwrap();
}

#[test]
fn certificates_count_while_they_and_their_authority_are_valid() {
    let mut case = Case::new();
    let mut root = case.installation.trusted_root(true, false);
    root["certificateAuthorities"][0]["validFor"] =
        json!({"start": "2021-01-01T00:00:00Z", "end": "2023-01-01T00:00:00Z"});
    let error = case
        .judge(Material::Simple(case.simple()), &root, GOOD)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no trusted authority was valid"), "{error}");
    let mut root = case.installation.trusted_root(true, false);
    root["tlogs"][0]["publicKey"]["validFor"] = json!({"start": "2025-01-01T00:00:00Z"});
    let error = case
        .judge(Material::Simple(case.simple()), &root, GOOD)
        .unwrap_err()
        .to_string();
    assert!(error.contains("key was not valid"), "{error}");
    // Signed with a certificate that no certificate log has seen.
    case.signer = case.installation.signer_with(false);
    assert!(
        case.bad(Material::Simple(case.simple()))
            .contains("no promise of a certificate log")
    );
}

#[test]
fn what_was_changed_is_refused() {
    let case = Case::new();
    let mut forged = case.simple();
    forged.payload = payload(&digest("another"));
    assert!(
        case.bad(Material::Simple(forged))
            .contains("not of the certificate")
    );
    let another = case.installation.simple(&case.signer, &digest("another"));
    assert!(case.bad(Material::Simple(another)).contains("not of this one"));
    // A time later than the log's, so that the log's promise does not fit.
    let mut later = case.simple();
    let text = later.bundle.take().unwrap();
    later.bundle = Some(text.replace(&SIGNED_AT.to_string(), &(SIGNED_AT + 60).to_string()));
    assert!(case.bad(Material::Simple(later)).contains("promise"));
    // The entry of another signature.
    let mut other = case.simple();
    other.bundle = case
        .installation
        .simple(&case.installation.signer(), &case.digest)
        .bundle;
    assert!(case.bad(Material::Simple(other)).contains("of another signature"));
    let mut bare = case.simple();
    bare.bundle = None;
    assert!(case.bad(Material::Simple(bare)).contains("no transparency log"));
    let mut keyed = case.simple();
    keyed.certificate = None;
    assert!(case.bad(Material::Simple(keyed)).contains("name the key"));
}

#[test]
fn proofs_of_bundles_must_hold() {
    let case = Case::new();
    let good = case.installation.bundle(&case.signer, &case.digest, true);
    let entry = "/verificationMaterial/tlogEntries/0";
    let changed = |pointer: &str, value: Value| {
        let mut bundle = good.clone();
        *bundle.pointer_mut(&format!("{entry}/{pointer}")).unwrap() = value;
        case.bad(packed(&bundle))
    };
    assert!(changed("inclusionProof/rootHash", json!(b64([1; 32]))).contains("does not lead to its root"));
    assert!(changed("inclusionProof/treeSize", json!("2")).contains("does not lead to its root"));
    assert!(changed("inclusionProof/logIndex", json!("-1")).contains("negative"));
    let proof = good
        .pointer(&format!("{entry}/inclusionProof/checkpoint/envelope"))
        .unwrap();
    let text = proof.as_str().unwrap();
    let other_size = changed(
        "inclusionProof/checkpoint/envelope",
        json!(text.replacen("\n1\n", "\n2\n", 1)),
    );
    assert!(other_size.contains("another tree"), "{other_size}");
    let other_log = json!(text.replacen("log.example", "log.exemple", 1));
    assert!(changed("inclusionProof/checkpoint/envelope", other_log).contains("not signed by the log"));
    assert!(changed("inclusionProof/hashes", json!(vec!["AAAA"; 65])).contains("more than 64"));
    // Proved, but at no time that anybody vouches for.
    let timeless = case.installation.bundle(&case.signer, &case.digest, false);
    assert!(case.bad(packed(&timeless)).contains("nothing proves when"));
    let mut keyed = good.clone();
    keyed["verificationMaterial"]["certificate"] = Value::Null;
    assert!(case.bad(packed(&keyed)).contains("signed with a key"));
}

#[test]
fn entries_of_logs_of_the_second_version_count_with_a_timestamp() {
    let case = Case::new();
    let root = case.installation.trusted_root(true, true);
    let good = case.installation.second_bundle(&case.signer, &case.digest);
    case.judge(packed(&good), &root, GOOD).unwrap();
    let mut timeless = good.clone();
    timeless["verificationMaterial"]["timestampVerificationData"] = Value::Null;
    let error = case
        .judge(packed(&timeless), &root, GOOD)
        .unwrap_err()
        .to_string();
    assert!(error.contains("nothing proves when"), "{error}");
    let other = case.installation.signer();
    let other = case.installation.second_bundle(&other, &case.digest);
    let mut mixed = good;
    mixed["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"].clone();
    let error = case.judge(packed(&mixed), &root, GOOD).unwrap_err().to_string();
    assert!(error.contains("of another signature"), "{error}");
}

#[test]
fn timestamps_prove_the_time() {
    let case = Case::new();
    let root = case.installation.trusted_root(true, true);
    let mut bundle = case.installation.bundle(&case.signer, &case.digest, false);
    let signature = bundle["dsseEnvelope"]["signatures"][0]["sig"]
        .as_str()
        .unwrap()
        .to_owned();
    let signature = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD
            .decode(signature)
            .unwrap()
    };
    let mut stamped = |stamp: Vec<u8>| {
        bundle["verificationMaterial"]["timestampVerificationData"] =
            json!({"rfc3161Timestamps": [{"signedTimestamp": b64(stamp)}]});
        case.judge(packed(&bundle), &root, GOOD)
            .map_err(|error| error.to_string())
    };
    stamped(case.installation.timestamp(&signature, "20240602120000Z")).unwrap();
    let late = stamped(case.installation.timestamp(&signature, "20250602120000Z")).unwrap_err();
    assert!(late.contains("not valid at the time of signing"), "{late}");
    let other = stamped(case.installation.timestamp(b"other", "20240602120000Z")).unwrap_err();
    assert!(other.contains("of another signature"), "{other}");
    let foreign = Installation::new().timestamp(&signature, "20240602120000Z");
    let foreign = stamped(foreign).unwrap_err();
    assert!(foreign.contains("not signed by a trusted server"), "{foreign}");
    let mut cut = case.installation.timestamp(&signature, "20240602120000Z");
    cut.truncate(40);
    assert!(stamped(cut).is_err());
    // Timestamps alone do where no log is trusted.
    let mut signature = case.simple();
    signature.bundle = None;
    let raw = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD
            .decode(&signature.signature)
            .unwrap()
    };
    let stamp = b64(case.installation.timestamp(&raw, "20240602120000.5Z"));
    signature.timestamp = Some(json!({"SignedRFC3161Timestamp": stamp}).to_string());
    let root = case.installation.trusted_root(false, true);
    case.judge(Material::Simple(signature), &root, GOOD).unwrap();
}

#[test]
fn trusted_roots_that_are_none_say_why() {
    let case = Case::new();
    let good = case.installation.trusted_root(true, true);
    for (pointer, value, want) in [
        ("/mediaType", json!("application/json"), "mediaType"),
        ("/certificateAuthorities", json!([]), "certificateAuthorities"),
        (
            "/certificateAuthorities/0/certChain/certificates",
            json!([]),
            "no certificates",
        ),
        ("/tlogs/0/publicKey/rawBytes", json!("?"), "tlogs[0]"),
    ] {
        let mut root = good.clone();
        *root.pointer_mut(pointer).unwrap() = value;
        let error = TrustedRoot::parse(root.to_string().as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(want), "{error}");
    }
    let timeless = TrustedRoot::parse(
        case.installation
            .trusted_root(false, false)
            .to_string()
            .as_bytes(),
    );
    assert!(timeless.unwrap_err().to_string().contains("no time of signing"));
}

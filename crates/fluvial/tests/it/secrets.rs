//! A secret in a repository, for those who have the key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::fleet::{Fleet, Up, eventually, head};
use crate::made::{self, Owner};

/// What the Kustomization of this name says of itself.
fn ready(up: &Up, name: &str) -> Value {
    let all = up.kustomizations();
    let found = all.into_iter().find(|object| object["metadata"]["name"] == name);
    let conditions = found
        .map(|object| object["status"]["conditions"].clone())
        .unwrap_or_default();
    let ready = conditions
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready")
        .cloned();
    ready.unwrap_or_default()
}

fn keys(owner: &Owner) -> String {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sops-age", "namespace": "flux-system"},
        "data": {"demo.agekey": STANDARD.encode(owner.key_file())}});
    fluvial_yaml::json_to_yaml(&secret)
}

#[test]
fn an_encrypted_secret_lives_with_the_right_key_and_stays_untouched_with_a_wrong_one() {
    let owner = Owner::new();
    let plain = |password: &str| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "till", "namespace": "shop"},
            "stringData": {"password": password}});
        made::yaml(&secret, &["stringData"], &owner)
    };
    let vault = json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "vault", "namespace": "flux-system"},
        "spec": {"interval": "10m", "retryInterval": "1s", "path": "./vault", "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
            "decryption": {"provider": "sops", "secretRef": {"name": "sops-age"}}}});
    let fleet = Fleet::new();
    fleet.write("vault/till.yaml", &plain("assam"));
    // A test's fleet brings its own key; nobody else's should.
    fleet.write("clusters/demo/keys.yaml", &keys(&owner));
    fleet.write("clusters/demo/vault.yaml", &fluvial_yaml::json_to_yaml(&vault));
    fleet.commit("a secret");
    let up = fleet.up(&[]);
    eventually("the secret", || up.is_ready(7, &head(&fleet)));
    assert!(
        up.owned().iter().any(|id| id == "shop_till__Secret"),
        "{:?}",
        up.owned()
    );

    // Another key comes, and with it a new password that it does not open.
    fleet.write("clusters/demo/keys.yaml", &keys(&Owner::new()));
    fleet.write("vault/till.yaml", &plain("darjeeling"));
    fleet.commit("another key");
    eventually("the refusal", || {
        let ready = ready(&up, "vault");
        ready["reason"] == "BuildFailed"
            && ready["message"]
                .as_str()
                .is_some_and(|text| text.contains("no identity matched any of the recipients"))
    });
    assert!(
        up.owned().iter().any(|id| id == "shop_till__Secret"),
        "nothing is pruned"
    );
    let text = ready(&up, "vault").to_string();
    assert!(
        !text.contains("AGE-SECRET-KEY") && !text.contains("darjeeling"),
        "{text}"
    );

    fleet.write("clusters/demo/keys.yaml", &keys(&owner));
    fleet.commit("the right key");
    eventually("the recovery", || up.is_ready(7, &head(&fleet)));
}

#[test]
fn builds_mask_what_is_encrypted_unless_they_are_given_the_key() {
    let owner = Owner::new();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "till", "namespace": "shop"},
        "stringData": {"password": "assam"}});
    let fleet = Fleet::new();
    fleet.write("vault/till.yaml", &made::yaml(&secret, &["stringData"], &owner));
    fleet.write("till.agekey", &owner.key_file());
    let vault = json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "vault", "namespace": "flux-system"},
        "spec": {"interval": "10m", "path": "./vault", "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": "flux-system"}, "decryption": {"provider": "sops"}}});
    fleet.write("vault.yaml", &fluvial_yaml::json_to_yaml(&vault));
    let build = |more: &[&str]| {
        let arguments = [
            "build",
            "ks",
            "vault",
            "--dry-run",
            "--kustomization-file",
            "vault.yaml",
            "--path",
            "vault",
        ];
        fleet.run(&[&arguments, more].concat())
    };
    let masked = build(&[]);
    assert!(
        masked.contains("**SOPS**") && !masked.contains("assam"),
        "{masked}"
    );
    let plain = build(&["--decrypt-with", "till.agekey"]);
    assert!(
        plain.contains("password: assam") && !plain.contains("sops:"),
        "{plain}"
    );
    fleet.write("other.agekey", &Owner::new().key_file());
    let refused = build(&["--decrypt-with", "other.agekey"]);
    assert!(refused.contains("decryption failed for 'till'"), "{refused}");
}

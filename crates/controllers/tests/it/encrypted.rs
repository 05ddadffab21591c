//! Encrypted repositories become live Secrets, and nothing is applied or deleted without the right key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kustomizations::{config, config_map, resources};
use crate::made::{self, Maker, Owner};
use crate::world::{World, git_repository, ks, kustomization, message};

fn secret(name: &str, password: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
        "stringData": {"password": password}})
}

fn encrypted(name: &str, password: &str, owner: &Owner) -> String {
    made::yaml(&secret(name, password), &["data", "stringData"], owner)
}

/// The Secret with a key, as people make it.
fn keys(name: &str, owner: &Owner) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
        "data": {"identity.agekey": STANDARD.encode(owner.key_file())}})
}

fn decrypting(name: &str) -> Value {
    kustomization(
        name,
        json!({"decryption": {"provider": "sops", "secretRef": {"name": "sops-age"}}}),
    )
}

async fn entry(world: &World, name: &str, key: &str) -> Option<String> {
    let secret = world.get("v1", "Secret", "default", name).await?;
    let data = STANDARD.decode(secret["data"][key].as_str()?).expect("base64");
    Some(String::from_utf8(data).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_secret_becomes_a_live_one_and_stays_quiet() {
    let mut world = World::new().await;
    let owner = Owner::new();
    world.create(keys("sops-age", &owner)).await;
    world.commit(&[
        ("a.yaml", &encrypted("a", "p@ss", &owner)),
        ("b.yaml", &config("b", "one")),
    ]);
    world.create(git_repository("fleet")).await;
    world.create(decrypting("apps")).await;
    let of = ks("apps");
    world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;
    assert_eq!(entry(&world, "a", "password").await.as_deref(), Some("p@ss"));
    let live = world.get("v1", "Secret", "default", "a").await.expect("applied");
    assert_eq!(live.get("sops"), None);

    world.quiet().await;
    let writes = world.writes();
    world.request(&of, "one").await;
    assert_eq!(world.writes() - writes, 1, "the token alone is written");

    let second = world.commit(&[
        ("a.yaml", &encrypted("a", "other", &owner)),
        ("b.yaml", &config("b", "one")),
    ]);
    world.applied(&of, &second).await;
    assert_eq!(entry(&world, "a", "password").await.as_deref(), Some("other"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_wrong_key_nothing_is_applied_or_pruned_until_the_right_one_is_there() {
    let mut world = World::new().await;
    let (owner, stranger) = (Owner::new(), Owner::new());
    world.create(keys("sops-age", &owner)).await;
    world.commit(&[
        ("a.yaml", &encrypted("a", "one", &owner)),
        ("b.yaml", &config("b", "one")),
    ]);
    world.create(git_repository("fleet")).await;
    world.create(decrypting("apps")).await;
    let of = ks("apps");
    world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;

    // The key is another one now, and the next revision drops `b` and adds `c`.
    let data = json!({"data": keys("sops-age", &stranger)["data"]});
    world.patch(&["v1", "Secret", "default", "sops-age"], data).await;
    let second = world.commit(&[
        ("a.yaml", &encrypted("a", "two", &owner)),
        ("c.yaml", &config("c", "one")),
    ]);
    let failed = world.condition(&of, "Ready", "False", "BuildFailed").await;
    let text = message(&failed);
    assert!(
        text.starts_with("decryption failed for 'a': failed to decrypt and format 'default/a' Secret data: cannot get sops data key: "),
        "{text}"
    );
    assert!(
        text.contains("no identity matched any of the recipients") && !text.contains("AGE-SECRET"),
        "{text}"
    );
    assert_eq!(entry(&world, "a", "password").await.as_deref(), Some("one"));
    assert!(world.get("v1", "ConfigMap", "default", "b").await.is_some());
    assert!(world.get("v1", "ConfigMap", "default", "c").await.is_none());

    // The change of the Secret is enough to go on.
    let data = json!({"data": keys("sops-age", &owner)["data"]});
    world.patch(&["v1", "Secret", "default", "sops-age"], data).await;
    world.applied(&of, &second).await;
    assert_eq!(entry(&world, "a", "password").await.as_deref(), Some("two"));
    world.gone(&config_map("b")).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_malformed_keys_and_tampered_files_are_named() {
    let mut world = World::new().await;
    let owner = Owner::new();
    world.commit(&[("a.yaml", &encrypted("a", "one", &owner))]);
    world.create(git_repository("fleet")).await;
    world.create(decrypting("apps")).await;
    let of = ks("apps");
    let failed = world.condition(&of, "Ready", "False", "BuildFailed").await;
    assert_eq!(message(&failed), "secrets \"sops-age\" not found");

    let mut bad = keys("sops-age", &owner);
    bad["data"]["identity.agekey"] = STANDARD.encode("AGE-SECRET-KEY-1NONE").into();
    world.create(bad).await;
    let says = |text: &'static str| {
        move |object: Option<&Value>| object.is_some_and(|object| message(object).contains(text))
    };
    world
        .until(
            &of,
            "failed at the key",
            says("failed to import 'identity.agekey' data from sops decryption Secret 'default/sops-age': line 1: malformed"),
        )
        .await;
    let data = json!({"data": keys("sops-age", &owner)["data"]});
    world.patch(&["v1", "Secret", "default", "sops-age"], data).await;
    world
        .condition(&of, "Ready", "True", "ReconciliationSucceeded")
        .await;

    // A value at another place than it was encrypted for.
    world.commit(&[(
        "a.yaml",
        &encrypted("a", "one", &owner).replace("password:", "user:"),
    )]);
    world
        .until(&of, "failed at the value", says("(at 'stringData.user')"))
        .await;
    assert_eq!(entry(&world, "a", "password").await.as_deref(), Some("one"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_generators_and_patches_are_decrypted_before_the_build() {
    let mut world = World::new().await;
    let owner = Owner::new();
    world.create(keys("sops-age", &owner)).await;
    let env = Maker::new("env", &[]).dotenv(&[("TOKEN", "t0ken")], &owner);
    let mut maker = Maker::new("file", &[]);
    let file = maker.object(
        &json!({"data": "line\n"}),
        json!({"age": [owner.wrap(&maker.data_key)]}),
    );
    let file = serde_json::to_string_pretty(&file).expect("JSON");
    let patch = made::yaml(
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"key": "patched"}}),
        &["data"],
        &owner,
    );
    let generators = "resources: [b.yaml, c.yaml]\nnamespace: default\ngeneratorOptions: {disableNameSuffixHash: true}\n\
        secretGenerator:\n- name: made\n  envs: [made.env]\n  files: [made.bin]\npatches:\n- path: patch.yaml\n";
    // An entry that is encrypted by itself, in a Secret that is not.
    let inner = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c", "namespace": "default"},
        "data": {"inner.env": STANDARD.encode(&env)}});
    let revision = world.commit(&[
        ("kustomization.yaml", generators),
        ("made.env", &env),
        ("made.bin", &file),
        ("b.yaml", &config("b", "one")),
        ("c.yaml", &inner.to_string()),
        ("patch.yaml", &patch),
    ]);
    world.create(git_repository("fleet")).await;
    world.create(decrypting("apps")).await;
    world.applied(&ks("apps"), &revision).await;
    assert_eq!(entry(&world, "made", "TOKEN").await.as_deref(), Some("t0ken"));
    assert_eq!(entry(&world, "made", "made.bin").await.as_deref(), Some("line\n"));
    assert_eq!(
        entry(&world, "c", "inner.env").await.as_deref(),
        Some("TOKEN=t0ken\n")
    );
    let b = world
        .get("v1", "ConfigMap", "default", "b")
        .await
        .expect("applied");
    assert_eq!(b["data"]["key"], "patched");

    let tampered = env.replace("TOKEN=", "TOKEM=");
    world.commit(&[
        (
            "kustomization.yaml",
            &format!(
                "{}secretGenerator:\n- name: made\n  envs: [made.env]\n",
                resources(&[])
            ),
        ),
        ("made.env", &tampered),
    ]);
    let failed = world
        .condition(&ks("apps"), "Ready", "False", "BuildFailed")
        .await;
    let text = message(&failed);
    assert!(
        text.starts_with("error decrypting sources: made.env: error decrypting sops tree"),
        "{text}"
    );
    assert!(
        entry(&world, "made", "TOKEN").await.is_some(),
        "nothing is deleted"
    );
    world.stop().await;
}

//! Files that age and PGP keys open.

use std::collections::BTreeMap;

use fluvial_secrets::{DataKey, Error, File, Format, Integrity, Keyring};
use serde_json::{Value, json};

use crate::made::{self, Maker, Owner};

fn keyring(owners: &[&Owner]) -> Keyring {
    let entries: BTreeMap<String, Vec<u8>> = owners
        .iter()
        .enumerate()
        .map(|(number, owner)| (format!("{number}.agekey"), owner.key_file().into_bytes()))
        .collect();
    Keyring::of(&entries).unwrap()
}

fn secret() -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "stringData": {"password": "p@ss", "port": 5432, "on": true, "none": null, "empty": "", "list": ["a", "b"]}})
}

async fn yaml(text: &str, keyring: &Keyring) -> Result<String, Error> {
    let plain = keyring
        .decrypt(text.as_bytes(), Format::Yaml, Format::Yaml, Integrity::Checked)
        .await;
    plain.map(|plain| String::from_utf8(plain).unwrap())
}

#[tokio::test]
async fn a_file_opens_with_any_of_its_keys() {
    let (one, other) = (Owner::new(), Owner::new());
    let mut maker = Maker::new("seed", &[]);
    let keys = json!({"age": [one.wrap(&maker.data_key), other.wrap(&maker.data_key)], "kms": null});
    let text = fluvial_yaml::json_to_yaml(&maker.object(&secret(), keys));
    for keyring in [keyring(&[&one]), keyring(&[&Owner::new(), &other])] {
        let plain = yaml(&text, &keyring).await.unwrap();
        let plain = fluvial_yaml::yaml_to_json(&plain, true).unwrap();
        assert_eq!(plain, secret());
    }
}

#[tokio::test]
async fn no_key_and_another_key_are_told_apart_and_nothing_secret_is_said() {
    let owner = Owner::new();
    let text = made::yaml(&secret(), &["stringData"], &owner);
    let Err(Error::DataKey { report, transient }) = yaml(&text, &keyring(&[])).await else {
        panic!("it must not open")
    };
    assert!(
        report.contains("no age identity is at hand") && !transient,
        "{report}"
    );
    assert!(
        report.contains("Group 0: FAILED") && report.contains(&owner.recipient()),
        "{report}"
    );
    let stranger = Owner::new();
    let keyring = keyring(&[&stranger]);
    let error = yaml(&text, &keyring).await.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot get sops data key: Failed to get the data key"),
        "{error}"
    );
    assert!(
        error.contains("no identity matched any of the recipients"),
        "{error}"
    );
    let shown = format!("{error} {keyring:?}");
    assert!(
        !shown.contains("AGE-SECRET-KEY") && !shown.contains("p@ss"),
        "{shown}"
    );
}

#[tokio::test]
async fn tampering_is_an_error_and_is_seen_by_value_or_by_the_code_over_all() {
    let owner = Owner::new();
    let keyring = keyring(&[&owner]);
    let text = made::yaml(&secret(), &["stringData"], &owner);
    let moved = text.replace("password:", "passwort:");
    let error = yaml(&moved, &keyring).await.unwrap_err();
    assert!(
        matches!(&error, Error::Tree(text) if text.contains("stringData.passwort")),
        "{error}"
    );
    let renamed = text.replace("name: s\n", "name: t\n");
    assert!(matches!(yaml(&renamed, &keyring).await, Err(Error::Integrity(_))));
    let values = keyring
        .decrypt(renamed.as_bytes(), Format::Yaml, Format::Yaml, Integrity::Values)
        .await;
    assert!(
        values.is_ok(),
        "what is not encrypted may be changed where the code is not asked for"
    );
    let plain = text.replace("port: ENC", "port: XNC");
    let error = yaml(&plain, &keyring).await.unwrap_err().to_string();
    assert!(
        error.contains("does not match sops' data format") && !error.contains("XNC"),
        "{error}"
    );
}

#[tokio::test]
async fn groups_are_put_together_from_as_many_as_are_needed() {
    // A line through the key's bytes, at the points 1, 2 and 3.
    let owners = [Owner::new(), Owner::new(), Owner::new()];
    let mut maker = Maker::new("seed", &[]);
    let part = |point: u8| {
        let mut part: Vec<u8> = maker
            .data_key
            .iter()
            .map(|byte| byte ^ times(0x53, point))
            .collect();
        part.push(point);
        part
    };
    let groups: Vec<Value> = (1..)
        .zip(&owners)
        .map(|(point, owner)| json!({"age": [owner.wrap(&part(point))], "hc_vault": []}))
        .collect();
    let keys = json!({"key_groups": groups, "shamir_threshold": 2});
    let text = fluvial_yaml::json_to_yaml(&maker.object(&secret(), keys));
    assert!(yaml(&text, &keyring(&[&owners[0], &owners[2]])).await.is_ok());
    assert!(yaml(&text, &keyring(&[&owners[2], &owners[1]])).await.is_ok());
    let error = yaml(&text, &keyring(&[&owners[1]]))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("1 of the 2 groups that are needed"), "{error}");
}

/// Multiplication in the field that parts are made in.
fn times(a: u8, b: u8) -> u8 {
    let mut product = 0_u16;
    for bit in 0..8 {
        if b >> bit & 1 == 1 {
            product ^= u16::from(a) << bit;
        }
    }
    for bit in (8..16).rev() {
        if product >> bit & 1 == 1 {
            product ^= 0x11B << (bit - 8);
        }
    }
    u8::try_from(product).unwrap()
}

#[tokio::test]
async fn dotenv_json_and_binary_files_are_read() {
    let owner = Owner::new();
    let keyring = keyring(&[&owner]);
    let text = Maker::new("env", &[]).dotenv(&[("A", "1"), ("B", "x=y")], &owner);
    let plain = keyring
        .decrypt(
            text.as_bytes(),
            Format::Dotenv,
            Format::Dotenv,
            Integrity::Checked,
        )
        .await;
    assert_eq!(plain.unwrap(), b"A=1\nB=x=y\n");
    let mut maker = Maker::new("binary", &[]);
    let keys = json!({"age": [owner.wrap(&maker.data_key)]});
    let text = maker.object(&json!({"data": "any\nthing"}), keys).to_string();
    for (output, want) in [
        (Format::Binary, "any\nthing"),
        (Format::Json, "{\n\t\"data\": \"any\\nthing\"\n}\n"),
        (Format::Yaml, "data: |-\n    any\n    thing\n"),
        (Format::Dotenv, "data=any\\nthing\n"),
    ] {
        let plain = keyring
            .decrypt(text.as_bytes(), Format::Binary, output, Integrity::Checked)
            .await;
        assert_eq!(String::from_utf8(plain.unwrap()).unwrap(), want);
    }
    let ini = keyring
        .decrypt(text.as_bytes(), Format::Json, Format::Ini, Integrity::Checked)
        .await;
    assert!(matches!(ini, Err(Error::Emit { .. })));
}

#[tokio::test]
async fn texts_that_are_not_encrypted_say_so() {
    let keyring = keyring(&[]);
    for (text, format) in [
        ("a: 1\n", Format::Yaml),
        ("{}", Format::Json),
        ("A=1\n", Format::Dotenv),
        ("[a]\nb = 1\n", Format::Ini),
    ] {
        let error = keyring
            .decrypt(text.as_bytes(), format, format, Integrity::Checked)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("sops metadata not found"), "{error}");
    }
}

#[test]
fn keys_that_cannot_be_used_are_named_without_being_shown() {
    let protected =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    for (entry, value, says) in [
        (
            "a.agekey",
            "AGE-SECRET-KEY-1HIDDEN\n",
            "line 1: malformed secret key",
        ),
        ("a.agekey", "# nothing\n", "no secret keys found"),
        ("a.agekey", "AGE-PLUGIN-YUBIKEY-1HIDDEN\n", "plugins are programs"),
        ("a.agekey", "AGE-SECRET-KEY-PQ-1HIDDEN\n", "post-quantum"),
        ("a.agekey", protected, "SSH key"),
        ("a.asc", "HIDDEN", "no private OpenPGP key"),
        ("sops.gcp-kms", "HIDDEN", "no JSON"),
        (
            "sops.gcp-kms",
            r#"{"type":"external_account"}"#,
            "external_account",
        ),
        ("sops.azure-kv", "tenantId: t\n", "requires a 'clientId'"),
        (
            "sops.aws-kms",
            "aws_access_key_id: HIDDEN\n",
            "aws_secret_access_key",
        ),
    ] {
        let entries = [(entry.to_owned(), value.as_bytes().to_vec())].into();
        let error = Keyring::of(&entries).unwrap_err();
        assert_eq!(error.entry, entry);
        assert!(error.message.contains(says), "{entry}: {}", error.message);
        assert!(!error.message.contains("HIDDEN"), "{}", error.message);
    }
    let other = [("README".to_owned(), b"not a key".to_vec())].into();
    assert!(Keyring::of(&other).is_ok());
}

#[test]
fn whatever_is_changed_in_a_file_nothing_panics() {
    let owner = Owner::new();
    let key = || DataKey::new(Maker::new("a seed", &[]).data_key.to_vec().into());
    let plain = json!({"a_unencrypted": {"b": [1, 2.5, true, null, "x"]}, "c": {"d": "e"}});
    let mut maker = Maker::new("a seed", &["c"]);
    let keys = json!({"age": [owner.wrap(&maker.data_key)]});
    let object = maker.object(&plain, keys);
    let env = Maker::new("a seed", &[]).dotenv(&[("A", "1")], &owner);
    let ini = "[a]\nb = 1 ; c\nd = \"\"\"x\ny\"\"\"\n[sops]\nage__list_0__map_enc = x\nversion = 3.9.0\nlastmodified = 2026-01-01T00:00:00Z\nmac = ENC[AES256_GCM,data:aa==,iv:aa==,tag:aa==,type:str]\n";
    for (text, format) in [
        (fluvial_yaml::json_to_yaml(&object), Format::Yaml),
        (object.to_string(), Format::Json),
        (env, Format::Dotenv),
        (ini.to_owned(), Format::Ini),
    ] {
        let bytes = text.as_bytes();
        for at in (0..bytes.len()).step_by(17) {
            for change in [b'\n', b' ', b'[', b':', b'"', b'_', 0xFF] {
                let mut changed = bytes.to_vec();
                changed[at] = change;
                for cut in [changed.as_slice(), &changed[..at]] {
                    for output in [Format::Yaml, Format::Ini] {
                        if let Ok(file) = File::read(cut, format) {
                            let _ = file.decrypt(&key(), output, Integrity::Values);
                        }
                    }
                }
            }
        }
    }
}

//! SOPS files: what the program `sops` encrypted, and what it made of them again.

use std::collections::BTreeMap;
use std::path::Path;

use fluvial_secrets::{Format, Integrity, Keyring};
use serde::Deserialize;

use crate::{Case, Suite};

#[derive(Deserialize)]
struct Vector {
    name: String,
    format: String,
    encrypted: String,
    identities: Vec<String>,
    want: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Keys {
    keys: BTreeMap<String, Key>,
}

#[derive(Deserialize)]
struct Key {
    kind: String,
    secret: String,
}

/// The suites of this module.
#[must_use]
pub fn suites() -> Vec<Suite> {
    vec![Suite {
        name: "sops",
        needs: "corpus/vectors/sops.jsonl",
        run,
    }]
}

fn run(shared: &Path) -> Vec<Case> {
    let folder = shared.join("corpus/vectors");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let keys: Keys = match serde_json::from_str(&read("sops-keys.json")) {
        Ok(keys) => keys,
        Err(error) => {
            return vec![Case {
                name: "sops-keys.json".to_owned(),
                outcome: Err(error.to_string()),
            }];
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return Vec::new(),
    };
    let lines = read("sops.jsonl");
    let vectors = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Vector>(line).ok());
    vectors
        .map(|vector| runtime.block_on(case(&vector, &keys)))
        .collect()
}

async fn case(vector: &Vector, keys: &Keys) -> Case {
    let got = decrypt(vector, keys).await;
    let outcome = match (&vector.want, &vector.error, got) {
        (Some(want), _, Ok(got)) => return Case::compare(&vector.name, want, &String::from_utf8_lossy(&got)),
        (None, Some(_), Err(_)) => Ok(()),
        (None, Some(error), Ok(_)) => Err(format!("must fail: {error}")),
        (_, _, Err(error)) => Err(error),
        (None, None, Ok(_)) => Err("the case wants nothing".to_owned()),
    };
    Case {
        name: vector.name.clone(),
        outcome,
    }
}

async fn decrypt(vector: &Vector, keys: &Keys) -> Result<Vec<u8>, String> {
    let format = match vector.format.as_str() {
        "yaml" => Format::Yaml,
        "json" => Format::Json,
        "dotenv" => Format::Dotenv,
        "ini" => Format::Ini,
        "binary" => Format::Binary,
        other => return Err(format!("format {other}")),
    };
    let mut entries = BTreeMap::new();
    for name in &vector.identities {
        let key = keys.keys.get(name).ok_or_else(|| format!("no key {name}"))?;
        let extension = if key.kind == "age" { "agekey" } else { "asc" };
        entries.insert(format!("{name}.{extension}"), key.secret.clone().into_bytes());
    }
    let keyring = Keyring::of(&entries).map_err(|error| format!("{}: {error}", error.entry))?;
    let plain = keyring
        .decrypt(vector.encrypted.as_bytes(), format, format, Integrity::Checked)
        .await;
    plain.map_err(|error| error.to_string())
}

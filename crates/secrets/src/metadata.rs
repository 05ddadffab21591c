//! What an encrypted file says about itself: which keys open it, which of its values are encrypted, and its code.

use std::collections::BTreeMap;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value as Json;

/// Where the metadata stand in files that have fields.
pub(crate) const FIELD: &str = "sops";
/// What is left alone when a file does not say.
const DEFAULT_SUFFIX: &str = "_unencrypted";
/// How many keys a file may name.
const KEYS: usize = 1000;

/// A key that a file's data key, or a part of it, is encrypted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MasterKey {
    Age {
        recipient: String,
        encrypted: String,
    },
    Pgp {
        fingerprint: String,
        encrypted: String,
    },
    Aws {
        arn: String,
        role: String,
        context: BTreeMap<String, String>,
        encrypted: String,
    },
    Gcp {
        resource: String,
        encrypted: String,
    },
    Azure {
        vault: String,
        name: String,
        version: String,
        encrypted: String,
    },
    Vault {
        address: String,
        engine: String,
        name: String,
        encrypted: String,
    },
}

impl MasterKey {
    /// What people know it by.
    pub(crate) fn name(&self) -> String {
        match self {
            MasterKey::Age { recipient, .. } => recipient.clone(),
            MasterKey::Pgp { fingerprint, .. } => fingerprint.clone(),
            MasterKey::Aws { arn, role, .. } if role.is_empty() => arn.clone(),
            MasterKey::Aws { arn, role, .. } => format!("{arn}+{role}"),
            MasterKey::Gcp { resource, .. } => resource.clone(),
            MasterKey::Azure {
                vault, name, version, ..
            } => format!("{}/keys/{name}/{version}", vault.trim_end_matches('/')),
            MasterKey::Vault {
                address,
                engine,
                name,
                ..
            } => format!("{}/v1/{engine}/keys/{name}", address.trim_end_matches('/')),
        }
    }

    /// Keys that are at hand are tried before those behind a network.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, MasterKey::Age { .. } | MasterKey::Pgp { .. })
    }
}

/// Which values are encrypted.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    AllBut(Suffix),
    Only(Suffix),
    AllButPath(Regex),
    OnlyPath(Regex),
    AllButCommented(Regex),
    OnlyCommented(Regex),
}

/// How the names of such fields end.
pub(crate) type Suffix = String;

impl Rule {
    /// Whether a leaf is encrypted. `comments` are those above it, by branch; of a comment its own is the last one.
    pub(crate) fn covers(&self, path: &[String], comments: &[Vec<String>], is_comment: bool) -> bool {
        let matches = |regex: &Regex| path.iter().any(|part| regex.is_match(part.as_bytes()));
        match self {
            Rule::AllBut(suffix) => !path.iter().any(|part| part.ends_with(suffix.as_str())),
            Rule::Only(suffix) => path.iter().any(|part| part.ends_with(suffix.as_str())),
            Rule::AllButPath(regex) => !matches(regex),
            Rule::OnlyPath(regex) => matches(regex),
            Rule::AllButCommented(regex) => !comments
                .iter()
                .flatten()
                .any(|text| regex.is_match(text.as_bytes())),
            Rule::OnlyCommented(regex) => {
                // The comment that asks for encryption is itself readable.
                let mut above: Vec<&String> = comments.iter().flatten().collect();
                if is_comment {
                    above.pop();
                }
                above.iter().any(|text| regex.is_match(text.as_bytes()))
            }
        }
    }
}

/// The metadata of a file.
#[derive(Debug, Clone)]
pub(crate) struct Metadata {
    pub(crate) groups: Vec<Vec<MasterKey>>,
    /// How many groups it takes.
    pub(crate) threshold: usize,
    pub(crate) rule: Rule,
    /// The code over all values, encrypted.
    pub(crate) mac: String,
    pub(crate) only_encrypted: bool,
    /// The place that the code was encrypted for.
    pub(crate) last_modified: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Stored {
    shamir_threshold: Option<usize>,
    key_groups: Option<Vec<Group>>,
    #[serde(flatten)]
    own: Group,
    lastmodified: String,
    mac: Option<String>,
    unencrypted_suffix: Option<String>,
    encrypted_suffix: Option<String>,
    unencrypted_regex: Option<String>,
    encrypted_regex: Option<String>,
    unencrypted_comment_regex: Option<String>,
    encrypted_comment_regex: Option<String>,
    mac_only_encrypted: Option<bool>,
    version: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Group {
    pgp: Option<Vec<Key>>,
    kms: Option<Vec<Key>>,
    gcp_kms: Option<Vec<Key>>,
    azure_kv: Option<Vec<Key>>,
    hc_vault: Option<Vec<Key>>,
    age: Option<Vec<Key>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Key {
    enc: String,
    fp: String,
    recipient: String,
    arn: String,
    role: Option<String>,
    context: Option<BTreeMap<String, Option<String>>>,
    resource_id: String,
    vault_url: String,
    name: String,
    version: String,
    vault_address: String,
    engine_path: String,
    key_name: String,
}

impl Group {
    fn keys(self) -> Vec<MasterKey> {
        let mut keys = Vec::new();
        keys.extend(self.kms.into_iter().flatten().map(|key| {
            MasterKey::Aws {
                arn: key.arn,
                role: key.role.unwrap_or_default(),
                context: key
                    .context
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name, value.unwrap_or_default()))
                    .collect(),
                encrypted: key.enc,
            }
        }));
        keys.extend(self.gcp_kms.into_iter().flatten().map(|key| MasterKey::Gcp {
            resource: key.resource_id,
            encrypted: key.enc,
        }));
        keys.extend(self.azure_kv.into_iter().flatten().map(|key| MasterKey::Azure {
            vault: key.vault_url,
            name: key.name,
            version: key.version,
            encrypted: key.enc,
        }));
        keys.extend(self.hc_vault.into_iter().flatten().map(|key| MasterKey::Vault {
            address: key.vault_address,
            engine: key.engine_path,
            name: key.key_name,
            encrypted: key.enc,
        }));
        keys.extend(self.pgp.into_iter().flatten().map(|key| MasterKey::Pgp {
            fingerprint: key.fp,
            encrypted: key.enc,
        }));
        keys.extend(self.age.into_iter().flatten().map(|key| MasterKey::Age {
            recipient: key.recipient,
            encrypted: key.enc,
        }));
        keys
    }
}

impl Metadata {
    /// Reads the metadata that a format has found.
    pub(crate) fn read(json: Json) -> Result<Self, String> {
        let stored: Stored =
            serde_json::from_value(json).map_err(|error| format!("the metadata cannot be read: {error}"))?;
        if stored.version.is_empty() {
            return Err("the metadata name no version of sops".to_owned());
        }
        let own = stored.own.keys();
        let groups: Vec<Vec<MasterKey>> = if own.is_empty() {
            let groups = stored.key_groups.into_iter().flatten();
            groups.map(Group::keys).collect()
        } else {
            vec![own]
        };
        if groups.is_empty() {
            return Err("No keys found in file".to_owned());
        }
        if groups.iter().map(Vec::len).sum::<usize>() > KEYS || groups.len() > 255 {
            return Err(format!("the file names more than {KEYS} keys or 255 groups"));
        }
        let threshold = stored.shamir_threshold.filter(|threshold| *threshold > 0);
        let rules = [
            stored.unencrypted_suffix.map(|text| (text, 0)),
            stored.encrypted_suffix.map(|text| (text, 1)),
            stored.unencrypted_regex.map(|text| (text, 2)),
            stored.encrypted_regex.map(|text| (text, 3)),
            stored.unencrypted_comment_regex.map(|text| (text, 4)),
            stored.encrypted_comment_regex.map(|text| (text, 5)),
        ];
        Ok(Self {
            threshold: threshold.unwrap_or(groups.len()),
            groups,
            rule: rule(rules.into_iter().flatten().filter(|(text, _)| !text.is_empty()))?,
            mac: stored.mac.unwrap_or_default(),
            only_encrypted: stored.mac_only_encrypted.unwrap_or_default(),
            last_modified: moment(&stored.lastmodified)?,
        })
    }
}

fn rule(mut rules: impl Iterator<Item = (String, u8)>) -> Result<Rule, String> {
    let Some((text, which)) = rules.next() else {
        return Ok(Rule::AllBut(DEFAULT_SUFFIX.to_owned()));
    };
    if rules.next().is_some() {
        return Err(
            "Cannot use more than one of encrypted_suffix, unencrypted_suffix, encrypted_regex, \
             unencrypted_regex, encrypted_comment_regex or unencrypted_comment_regex in the same file"
                .to_owned(),
        );
    }
    let regex = || {
        RegexBuilder::new(&text)
            .size_limit(1 << 20)
            .build()
            .map_err(|error| format!("the pattern of what is encrypted, '{text}', cannot be read: {error}"))
    };
    Ok(match which {
        0 => Rule::AllBut(text),
        1 => Rule::Only(text),
        2 => Rule::AllButPath(regex()?),
        3 => Rule::OnlyPath(regex()?),
        4 => Rule::AllButCommented(regex()?),
        _ => Rule::OnlyCommented(regex()?),
    })
}

/// A moment to the second, as it was when the code was encrypted.
fn moment(text: &str) -> Result<String, String> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    parsed.map_err(|error| format!("lastmodified cannot be read: {error}"))?;
    let Some((seconds, rest)) = text.split_once('.') else {
        return Ok(text.to_owned());
    };
    let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    Ok(format!("{seconds}{zone}"))
}

/// Metadata from names that say where in them each value belongs (`age__list_0__map_enc`), as formats without
/// nesting keep them.
pub(crate) fn unflatten(flat: impl Iterator<Item = (String, String)>) -> Result<Json, String> {
    let mut root = Json::Object(serde_json::Map::new());
    for (name, value) in flat {
        let value = value.replace("\\n", "\n");
        let value = match name.as_str() {
            "mac_only_encrypted" => Json::Bool(value == "true"),
            "shamir_threshold" => Json::from(
                value
                    .parse::<usize>()
                    .map_err(|error| format!("shamir_threshold is not an integer: {error}"))?,
            ),
            _ => Json::String(value),
        };
        place(&mut root, &name, value)
            .ok_or_else(|| format!("the metadata's name '{name}' does not fit the others"))?;
    }
    Ok(root)
}

fn place(root: &mut Json, name: &str, value: Json) -> Option<()> {
    const MAP: &str = "__map_";
    const LIST: &str = "__list_";
    let mut current = root;
    let mut rest = name;
    let mut in_list = false;
    loop {
        let map = rest.find(MAP);
        let list = rest.find(LIST);
        let end = map.into_iter().chain(list).min().unwrap_or(rest.len());
        let (part, tail) = rest.split_at(end);
        if current.is_null() {
            *current = if in_list {
                Json::Array(Vec::new())
            } else {
                Json::Object(serde_json::Map::new())
            };
        }
        current = if in_list {
            let position: usize = part.parse().ok()?;
            let items = current.as_array_mut()?;
            // No more than there are keys.
            if position >= KEYS {
                return None;
            }
            if items.len() <= position {
                items.resize(position + 1, Json::Null);
            }
            items.get_mut(position)?
        } else {
            current.as_object_mut()?.entry(part).or_insert(Json::Null)
        };
        if tail.is_empty() {
            *current = value;
            return Some(());
        }
        in_list = tail.starts_with(LIST);
        rest = &tail[if in_list { LIST.len() } else { MAP.len() }..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_names_become_lists_and_maps() {
        let flat = [
            ("age__list_1__map_enc", "b"),
            ("age__list_0__map_enc", "a\\nc"),
            ("age__list_0__map_recipient", "r"),
            ("mac_only_encrypted", "true"),
            ("shamir_threshold", "2"),
        ];
        let json = unflatten(
            flat.map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter(),
        );
        let want = serde_json::json!({"age": [{"enc": "a\nc", "recipient": "r"}, {"enc": "b"}],
            "mac_only_encrypted": true, "shamir_threshold": 2});
        assert_eq!(json.unwrap(), want);
    }

    #[test]
    fn flat_names_that_contradict_each_other_are_refused() {
        for names in [["a", "a__map_b"], ["a__list_0", "a__map_b"]] {
            let flat = names.map(|name| (name.to_owned(), "x".to_owned()));
            assert!(unflatten(flat.into_iter()).is_err(), "{names:?}");
        }
        let far = [("a__list_99999999".to_owned(), String::new())];
        assert!(unflatten(far.into_iter()).is_err());
    }

    #[test]
    fn two_rules_are_refused() {
        let json = serde_json::json!({"version": "3.9.0", "lastmodified": "2026-01-01T00:00:00Z",
            "age": [{"recipient": "age1", "enc": "x"}], "encrypted_regex": "a", "encrypted_suffix": "b"});
        let error = Metadata::read(json).unwrap_err();
        assert!(error.starts_with("Cannot use more than one of"), "{error}");
    }
}

//! Encrypts what tests need encrypted, in the way the format describes it. Keys and nonces are digests of a seed: these
//! files protect nothing.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

/// When all of it was encrypted.
const WHEN: &str = "2026-01-01T00:00:00Z";

/// A key of a test's own.
pub(crate) struct Owner {
    pub(crate) identity: age::x25519::Identity,
}

impl Owner {
    pub(crate) fn new() -> Self {
        Self {
            identity: age::x25519::Identity::generate(),
        }
    }

    pub(crate) fn recipient(&self) -> String {
        self.identity.to_public().to_string()
    }

    /// The content of an identity file.
    pub(crate) fn key_file(&self) -> String {
        use age::secrecy::ExposeSecret as _;
        format!(
            "# made for a test\n{}\n",
            self.identity.to_string().expose_secret()
        )
    }

    /// A key group's entry with a data key.
    pub(crate) fn wrap(&self, data_key: &[u8]) -> Value {
        let armored = age::encrypt_and_armor(&self.identity.to_public(), data_key).expect("age encrypts");
        json!({"recipient": self.recipient(), "enc": armored})
    }
}

/// Encrypts values of one file.
pub(crate) struct Maker {
    pub(crate) data_key: [u8; 32],
    nonce: u32,
    hash: Sha512,
    /// Only fields below these names are encrypted; all without any.
    only: Vec<&'static str>,
}

impl Maker {
    pub(crate) fn new(seed: &str, only: &[&'static str]) -> Self {
        Self {
            data_key: Sha256::digest(seed).into(),
            nonce: 0,
            hash: Sha512::new(),
            only: only.to_vec(),
        }
    }

    fn seal(&mut self, plain: &[u8], place: &str, kind: &str) -> String {
        self.nonce += 1;
        let nonce = Sha256::digest(format!("{:?} {}", self.data_key, self.nonce));
        let cipher = AesGcm::<Aes256, U32>::new_from_slice(&self.data_key).expect("32 bytes");
        let mut data = plain.to_vec();
        let tag = cipher
            .encrypt_inout_detached(
                &Nonce::<U32>::try_from(nonce.as_slice()).expect("32 bytes"),
                place.as_bytes(),
                data.as_mut_slice().into(),
            )
            .expect("it encrypts");
        format!(
            "ENC[AES256_GCM,data:{},iv:{},tag:{},type:{kind}]",
            STANDARD.encode(data),
            STANDARD.encode(nonce),
            STANDARD.encode(tag)
        )
    }

    fn value(&mut self, value: &Value, path: &mut Vec<String>) -> Value {
        match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(key, value)| {
                    path.push(key.clone());
                    let sealed = self.value(value, path);
                    path.pop();
                    (key.clone(), sealed)
                })
                .collect(),
            Value::Array(items) => items.iter().map(|item| self.value(item, path)).collect(),
            Value::Null => Value::Null,
            leaf => {
                let (text, kind) = match leaf {
                    Value::Bool(true) => ("True".to_owned(), "bool"),
                    Value::Bool(false) => ("False".to_owned(), "bool"),
                    Value::Number(number) => (number.to_string(), "int"),
                    other => (other.as_str().unwrap_or_default().to_owned(), "str"),
                };
                self.hash.update(&text);
                let covered =
                    self.only.is_empty() || path.iter().any(|part| self.only.contains(&part.as_str()));
                if !covered || text.is_empty() {
                    return leaf.clone();
                }
                self.seal(text.as_bytes(), &(path.join(":") + ":"), kind).into()
            }
        }
    }

    /// The code over what has been encrypted so far.
    pub(crate) fn mac(&mut self) -> String {
        let digest = std::mem::take(&mut self.hash).finalize();
        let text: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        self.seal(text.as_bytes(), WHEN, "str")
    }

    /// A file's values, and its metadata with these keys.
    pub(crate) fn object(&mut self, plain: &Value, keys: Value) -> Value {
        let mut sealed = self.value(plain, &mut Vec::new());
        let mut metadata = keys;
        metadata["lastmodified"] = WHEN.into();
        metadata["mac"] = self.mac().into();
        metadata["version"] = "3.13.2".into();
        if !self.only.is_empty() {
            metadata["encrypted_regex"] = format!("^({})$", self.only.join("|")).into();
        }
        sealed["sops"] = metadata;
        sealed
    }

    /// The lines of a dotenv file.
    pub(crate) fn dotenv(&mut self, lines: &[(&str, &str)], owner: &Owner) -> String {
        let mut text = String::new();
        for (name, value) in lines {
            let sealed = self.value(&json!(value), &mut vec![(*name).to_owned()]);
            text.push_str(&format!("{name}={}\n", sealed.as_str().unwrap_or_default()));
        }
        let entry = owner.wrap(&self.data_key);
        let enc = entry["enc"].as_str().unwrap_or_default().replace('\n', "\\n");
        let mac = self.mac();
        text.push_str(&format!(
            "sops_age__list_0__map_enc={enc}\nsops_age__list_0__map_recipient={}\n",
            owner.recipient()
        ));
        text.push_str(&format!(
            "sops_lastmodified={WHEN}\nsops_mac={mac}\nsops_version=3.13.2\n"
        ));
        text
    }
}

/// A YAML file for one owner, of which only some fields are encrypted.
pub(crate) fn yaml(plain: &Value, only: &[&'static str], owner: &Owner) -> String {
    let mut maker = Maker::new("a seed", only);
    let keys = json!({"age": [owner.wrap(&maker.data_key)]});
    fluvial_yaml::json_to_yaml(&maker.object(plain, keys))
}

//! OpenPGP secret keys without passphrases.

use std::io::Read as _;

use pgp::composed::{Deserializable as _, Message, SignedSecretKey};
use pgp::types::Password;

use super::{Part, Refused};

/// How much an encrypted data key, or a part of it, may hold.
const LIMIT: u64 = 1024;
/// Packets that may be wrapped in each other.
const NESTING: usize = 8;
/// Keys of one file.
const KEYS: usize = 200;

/// Secret keys in the order in which they came.
#[derive(Default)]
pub(super) struct Keys(Vec<SignedSecretKey>);

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads armored keys, one or several in one block or in many. Public keys among them are left alone.
    pub(super) fn import(&mut self, data: &[u8]) -> Result<(), String> {
        const BEGIN: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";
        const END: &str = "-----END PGP PRIVATE KEY BLOCK-----";
        let before = self.0.len();
        if let Ok(text) = std::str::from_utf8(data) {
            let mut rest = text;
            while let Some(at) = rest.find(BEGIN) {
                let block = &rest[at..];
                let end = block
                    .find(END)
                    .map_or(block.len(), |end| (end + END.len() + 1).min(block.len()));
                let (keys, _headers) =
                    SignedSecretKey::from_armor_many(&block.as_bytes()[..end]).map_err(unreadable)?;
                self.add(keys)?;
                rest = &block[end..];
            }
        } else {
            self.add(SignedSecretKey::from_bytes_many(data).map_err(unreadable)?)?;
        }
        if self.0.len() == before {
            return Err(
                "no private OpenPGP key found; export it with 'gpg --export-secret-keys --armor'".to_owned(),
            );
        }
        Ok(())
    }

    fn add(
        &mut self,
        keys: impl Iterator<Item = pgp::errors::Result<SignedSecretKey>>,
    ) -> Result<(), String> {
        for key in keys {
            if self.0.len() >= KEYS {
                return Err(format!("more than {KEYS} OpenPGP keys"));
            }
            self.0.push(key.map_err(unreadable)?);
        }
        Ok(())
    }

    pub(super) fn open(&self, fingerprint: &str, encrypted: &str) -> Result<Part, Refused> {
        if self.0.is_empty() {
            return Err("no OpenPGP key is at hand: the keys' Secret has no entry '*.asc'".into());
        }
        let (message, _headers) = Message::from_armor(encrypted.trim().as_bytes())
            .map_err(|error| format!("the encrypted data key is no OpenPGP message: {error}"))?;
        let password = Password::empty();
        let mut message = message
            .decrypt_with_keys(vec![&password], self.0.iter().collect())
            .map_err(|error| self.refused(fingerprint, &error))?;
        for _ in 0..NESTING {
            if !message.is_compressed() {
                break;
            }
            message = message.decompress().map_err(|error| unopened(&error))?;
        }
        let mut plain = Part::default();
        message
            .take(LIMIT)
            .read_to_end(&mut plain)
            .map_err(|error| unopened(&error))?;
        Ok(plain)
    }

    fn refused(&self, fingerprint: &str, error: &pgp::errors::Error) -> String {
        let locked = self.0.iter().any(|key| {
            key.primary_key.secret_params().is_encrypted()
                || key
                    .secret_subkeys
                    .iter()
                    .any(|subkey| subkey.key.secret_params().is_encrypted())
        });
        if locked {
            return format!(
                "a private key is protected by a passphrase, which nobody could type here; export one without ({error})"
            );
        }
        match error {
            pgp::errors::Error::MissingKey => format!(
                "no private key for {fingerprint} is at hand ({} tried)",
                self.0.len()
            ),
            other => unopened(other),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn unreadable(error: pgp::errors::Error) -> String {
    format!("the OpenPGP key cannot be read: {error}")
}

fn unopened(error: &dyn std::fmt::Display) -> String {
    format!("failed to decrypt the data key with OpenPGP: {error}")
}

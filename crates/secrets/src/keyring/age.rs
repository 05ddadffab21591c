//! age: X25519 identities, and SSH keys used as such.

use std::io::Read as _;
use std::str::FromStr as _;

use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor, Identity};

use super::{Part, Refused};

/// How much an encrypted data key, or a part of it, may hold.
const LIMIT: u64 = 1024;

/// Identities in the order in which they came.
#[derive(Default)]
pub(super) struct Identities(Vec<Box<dyn Identity + Send + Sync>>);

impl Identities {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads a file of identities: one a line, or an SSH private key.
    pub(super) fn import(&mut self, data: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(data).map_err(|_| "an age identity file is text")?;
        let mut found = false;
        let mut lines = (1..).zip(text.lines());
        while let Some((number, line)) = lines.next() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.starts_with("-----BEGIN ") {
                self.import_ssh(line, &mut lines)?;
            } else if line.starts_with("AGE-PLUGIN-") {
                return Err(format!(
                    "line {number}: age plugins are programs, and none is run here; use a native identity \
                     (AGE-SECRET-KEY-1…) or a key service"
                ));
            } else if line.starts_with("AGE-SECRET-KEY-PQ-") {
                return Err(format!(
                    "line {number}: post-quantum identities are not supported; use a native identity \
                     (AGE-SECRET-KEY-1…)"
                ));
            } else {
                let identity = age::x25519::Identity::from_str(line)
                    .map_err(|error| format!("line {number}: malformed secret key: {error}"))?;
                self.0.push(Box::new(identity));
            }
            found = true;
        }
        if found {
            Ok(())
        } else {
            Err("no secret keys found".to_owned())
        }
    }

    fn import_ssh<'t>(
        &mut self,
        first: &str,
        lines: &mut impl Iterator<Item = (usize, &'t str)>,
    ) -> Result<(), String> {
        let mut pem = zeroize::Zeroizing::new(format!("{first}\n"));
        for (_, line) in lines {
            pem.push_str(line.trim());
            pem.push('\n');
            if line.starts_with("-----END ") {
                break;
            }
        }
        let identity = age::ssh::Identity::from_buffer(pem.as_bytes(), None)
            .map_err(|error| format!("the SSH key cannot be read: {error}"))?;
        match &identity {
            age::ssh::Identity::Unencrypted(_) => {
                self.0.push(Box::new(identity));
                Ok(())
            }
            age::ssh::Identity::Encrypted(_) => Err(
                "the SSH key is protected by a passphrase, which nobody could type here; use a copy without"
                    .to_owned(),
            ),
            age::ssh::Identity::Unsupported(_) => {
                Err("age can use SSH keys of the types ssh-ed25519 and ssh-rsa only".to_owned())
            }
        }
    }

    pub(super) fn open(&self, encrypted: &str) -> Result<Part, Refused> {
        if self.0.is_empty() {
            return Err("no age identity is at hand: the keys' Secret has no entry '*.agekey'".into());
        }
        let refused = |error: DecryptError| match error {
            DecryptError::NoMatchingKeys => format!(
                "no identity matched any of the recipients ({} tried)",
                self.0.len()
            ),
            other => format!("failed to decrypt the data key with age: {other}"),
        };
        let decryptor =
            Decryptor::new_buffered(ArmoredReader::new(encrypted.trim().as_bytes())).map_err(refused)?;
        let identities = self.0.iter().map(|identity| {
            let identity: &dyn Identity = &**identity;
            identity
        });
        let reader = decryptor.decrypt(identities).map_err(refused)?;
        let mut plain = Part::default();
        reader
            .take(LIMIT)
            .read_to_end(&mut plain)
            .map_err(|error| format!("failed to decrypt the data key with age: {error}"))?;
        Ok(plain)
    }
}

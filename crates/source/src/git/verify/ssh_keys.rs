//! SSH keys as signers: lines of an allowed signers file, or plain public keys.

use russh::keys::ssh_key::SshSig;
use russh::keys::{HashAlg, PublicKey};

/// Most lines of a file.
const MAX_LINES: usize = 1000;
/// What Git's signatures are for.
const NAMESPACE: &str = "git";

/// The keys that may sign.
#[derive(Debug, Default)]
pub(super) struct SshKeys(Vec<Signer>);

#[derive(Debug)]
struct Signer {
    key: PublicKey,
    namespaces: Option<Vec<String>>,
    after: Option<u64>,
    before: Option<u64>,
}

impl SshKeys {
    /// Adds the keys of a file.
    pub(super) fn add(&mut self, file: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(file).map_err(|_| "it is no text".to_owned())?;
        let mut count = 0;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            count += 1;
            if count > MAX_LINES {
                return Err(format!("it has more than {MAX_LINES} lines"));
            }
            let signer = signer(line).map_err(|what| format!("line {}: {what}", number + 1))?;
            self.0.push(signer);
        }
        if count == 0 {
            return Err("it holds no key".to_owned());
        }
        Ok(())
    }

    /// The fingerprint of the key that signed; `time` is when the object says that it was made.
    pub(super) fn verify(&self, armored: &[u8], payload: &[u8], time: u64) -> Result<String, String> {
        let signature = SshSig::from_pem(armored.trim_ascii())
            .map_err(|error| format!("the SSH signature cannot be read: {error}"))?;
        if signature.namespace() != NAMESPACE {
            return Err(format!(
                "the SSH signature is for '{}', not for Git",
                signature.namespace()
            ));
        }
        let by = signature.public_key().fingerprint(HashAlg::Sha256);
        let mut reason = None;
        for signer in &self.0 {
            if signer.key.key_data() != signature.public_key() {
                continue;
            }
            if signer.key.verify(NAMESPACE, payload, &signature).is_err() {
                return Err(format!("the SSH signature of key '{by}' does not fit the object"));
            }
            match signer.allows(time) {
                Ok(()) => return Ok(by.to_string()),
                Err(what) => reason = Some(what),
            }
        }
        Err(match reason {
            Some(what) => format!("key '{by}' {what}"),
            None => format!(
                "it is by key '{by}', which is none of the {} given; add it to the secret",
                self.0.len()
            ),
        })
    }
}

impl Signer {
    fn allows(&self, time: u64) -> Result<(), &'static str> {
        let for_git = self
            .namespaces
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == NAMESPACE || name == "*"));
        if !for_git {
            return Err("is not allowed to sign for Git (namespaces)");
        }
        if self.after.is_some_and(|after| time < after) {
            return Err("was not valid yet when this was signed (valid-after)");
        }
        if self.before.is_some_and(|before| time >= before) {
            return Err("was not valid any more when this was signed (valid-before)");
        }
        Ok(())
    }
}

/// `[principals [options]] kind key [comment]`.
fn signer(line: &str) -> Result<Signer, String> {
    let signer = |key: &str| {
        PublicKey::from_openssh(key)
            .map(|key| Signer {
                key,
                namespaces: None,
                after: None,
                before: None,
            })
            .map_err(|error| format!("the key cannot be read: {error}"))
    };
    if is_kind(line.split_ascii_whitespace().next().unwrap_or_default()) {
        return signer(line);
    }
    let fields = fields(line);
    let at = fields
        .iter()
        .position(|field| is_kind(field))
        .ok_or("it has no key of a known kind; write it as PRINCIPALS [OPTIONS] ssh-ed25519 KEY")?;
    if at > 2 || fields.len() < at + 2 {
        return Err("it is not PRINCIPALS [OPTIONS] KIND KEY".to_owned());
    }
    let mut found = signer(&format!("{} {}", fields[at], fields[at + 1]))?;
    if at == 2 {
        for option in split_unquoted(&fields[1]) {
            let (name, value) = option.split_once('=').unwrap_or((option.as_str(), ""));
            let value = value.trim_matches('"');
            match name.to_ascii_lowercase().as_str() {
                "namespaces" => found.namespaces = Some(value.split(',').map(str::to_owned).collect()),
                "valid-after" => found.after = Some(time(value)?),
                "valid-before" => found.before = Some(time(value)?),
                "cert-authority" => {
                    return Err("certificate authorities are not supported; name the keys".to_owned());
                }
                other => return Err(format!("option '{other}' is unknown")),
            }
        }
    }
    Ok(found)
}

fn is_kind(field: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-"]
        .iter()
        .any(|prefix| field.starts_with(prefix))
}

/// Fields between blanks that are not inside quotes.
fn fields(line: &str) -> Vec<String> {
    cut(line, |letter| letter.is_ascii_whitespace())
}

fn split_unquoted(options: &str) -> Vec<String> {
    cut(options, |letter| letter == ',')
}

fn cut(text: &str, at: impl Fn(char) -> bool) -> Vec<String> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    for letter in text.chars() {
        if letter == '"' {
            quoted = !quoted;
        }
        if at(letter) && !quoted {
            if !part.is_empty() {
                parts.push(std::mem::take(&mut part));
            }
        } else {
            part.push(letter);
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// `YYYYMMDD[HHMM[SS]][Z]`; without the `Z` it would be local time, which here is UTC.
fn time(text: &str) -> Result<u64, String> {
    let invalid = || format!("time '{text}' is not YYYYMMDD or YYYYMMDDHHMM[SS]");
    let digits = text.strip_suffix('Z').unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || ![8, 12, 14].contains(&digits.len()) {
        return Err(invalid());
    }
    let number = |from: usize, to: usize| {
        digits
            .get(from..to)
            .map_or(0, |part| part.parse::<i8>().unwrap_or(-1))
    };
    let year = digits[..4].parse::<i16>().map_err(|_| invalid())?;
    let time = jiff::civil::DateTime::new(
        year,
        number(4, 6),
        number(6, 8),
        number(8, 10),
        number(10, 12),
        number(12, 14),
        0,
    )
    .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
    .map_err(|_| invalid())?;
    u64::try_from(time.timestamp().as_second()).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn lines_are_allowed_signers_or_plain_keys() {
        let read = |text: &str| {
            let mut keys = SshKeys::default();
            keys.add(text.as_bytes()).map(|()| keys)
        };
        assert!(read(&format!("{KEY} me@example.com\n")).is_ok());
        assert!(read(&format!("me@example.com,you@* {KEY}")).is_ok());
        let keys = read(&format!(
            "* namespaces=\"file,git\",valid-after=\"20260101Z\",valid-before=\"202601020304\" {KEY}"
        ))
        .unwrap();
        assert_eq!(keys.0[0].allows(1_767_225_600), Ok(()));
        assert!(keys.0[0].allows(1_767_225_599).is_err());
        assert!(keys.0[0].allows(1_767_323_040).is_err());
        let other = read(&format!("* namespaces=\"file\" {KEY}")).unwrap();
        assert!(other.0[0].allows(0).is_err());
        for wrong in [
            "",
            "# only a comment",
            "me ssh-ed25519 AAAA",
            "nothing",
            &format!("me cert-authority {KEY}"),
            &format!("me strange {KEY}"),
            &format!("me valid-after=\"20261301\" {KEY}"),
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

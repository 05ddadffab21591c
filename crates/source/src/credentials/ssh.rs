//! What an ssh server wants, and which key a server must have: `known_hosts` as OpenSSH writes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;

use super::{Secret, SecretData, refuse, secret, text};
use crate::error::SourceError;

/// Most lines of `known_hosts` that are read.
const MAX_LINES: usize = 10_000;
/// Port that names without one mean.
const DEFAULT_PORT: u16 = 22;

/// What an ssh server wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SshIdentity {
    /// Private key, PEM or OpenSSH.
    pub identity: Secret,
    /// Passphrase of the key.
    pub passphrase: Option<Secret>,
    /// Lines of `known_hosts`.
    pub known_hosts: String,
}

impl SshIdentity {
    /// Reads `identity`, `known_hosts` and `password` (the key's passphrase); none if there is no identity.
    ///
    /// # Errors
    /// If there is a key but no known host.
    pub fn from_secret(data: &SecretData) -> Result<Option<Self>, SourceError> {
        let Some(identity) = data.get("identity") else {
            return Ok(None);
        };
        let known_hosts = text(data, "known_hosts")
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| {
                refuse(
                    "the secret has 'identity' without 'known_hosts'; add the server's host keys (ssh-keyscan)",
                )
            })?;
        Ok(Some(SshIdentity {
            identity: Secret::new(identity.clone()),
            passphrase: secret(data, "password").filter(|secret| !secret.expose().is_empty()),
            known_hosts,
        }))
    }
}

/// Whether a server's key is the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeyCheck {
    /// It is listed for the host.
    Known,
    /// The host is listed with these kinds of keys, and this is none of the keys.
    Other(Vec<String>),
    /// The host is not listed.
    Unknown,
    /// The key is listed as revoked.
    Revoked,
    /// The host is listed with a certificate authority only, which is not supported.
    OnlyAuthority,
}

/// One line of `known_hosts`.
#[derive(Clone, Debug)]
struct Line {
    marker: Marker,
    hosts: Hosts,
    kind: String,
    key: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Authority,
    Revoked,
}

#[derive(Clone, Debug)]
enum Hosts {
    Patterns(Vec<String>),
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

/// The keys that servers have.
#[derive(Clone, Debug, Default)]
pub struct HostKeys(Vec<Line>);

impl HostKeys {
    /// Reads `known_hosts`.
    ///
    /// # Errors
    /// If a line is none, with its number.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if lines.len() >= MAX_LINES {
                return Err(refuse(format!("known_hosts has more than {MAX_LINES} lines")));
            }
            lines.push(parse_line(line).map_err(|what| {
                refuse(format!(
                    "line {} of known_hosts: {what}; write it as ssh-keyscan prints it",
                    number + 1
                ))
            })?);
        }
        Ok(HostKeys(lines))
    }

    /// Whether `key` (as on the wire) of this kind is one of the host's.
    #[must_use]
    pub fn check(&self, host: &str, port: u16, kind: &str, key: &[u8]) -> HostKeyCheck {
        let names = Names::new(host, port);
        let mut kinds = Vec::new();
        let (mut known, mut authority) = (false, false);
        for line in self.0.iter().filter(|line| names.match_line(line)) {
            match line.marker {
                Marker::Revoked if line.key == key => return HostKeyCheck::Revoked,
                Marker::Revoked => {}
                Marker::Authority => authority = true,
                Marker::None => {
                    known |= line.kind == kind && line.key == key;
                    if !kinds.contains(&line.kind) {
                        kinds.push(line.kind.clone());
                    }
                }
            }
        }
        if known {
            HostKeyCheck::Known
        } else if !kinds.is_empty() {
            HostKeyCheck::Other(kinds)
        } else if authority {
            HostKeyCheck::OnlyAuthority
        } else {
            HostKeyCheck::Unknown
        }
    }

    /// The kinds of keys that are listed for a host: the server is asked for one of these.
    #[must_use]
    pub fn kinds(&self, host: &str, port: u16) -> Vec<&str> {
        let names = Names::new(host, port);
        let mut kinds = Vec::new();
        for line in &self.0 {
            if line.marker == Marker::None && !kinds.contains(&line.kind.as_str()) && names.match_line(line) {
                kinds.push(line.kind.as_str());
            }
        }
        kinds
    }
}

fn parse_line(line: &str) -> Result<Line, &'static str> {
    let mut fields = line.split_ascii_whitespace();
    let mut first = fields.next().unwrap_or_default();
    let marker = match first {
        "@cert-authority" => Marker::Authority,
        "@revoked" => Marker::Revoked,
        other if other.starts_with('@') => return Err("the marker is neither @cert-authority nor @revoked"),
        _ => Marker::None,
    };
    if marker != Marker::None {
        first = fields.next().unwrap_or_default();
    }
    let (Some(kind), Some(key)) = (fields.next(), fields.next()) else {
        return Err("it does not consist of hosts, kind and key");
    };
    let key = STANDARD.decode(key).map_err(|_| "the key is not base64")?;
    let named = key
        .split_at_checked(4)
        .and_then(|(length, rest)| rest.get(..u32::from_be_bytes(length.try_into().ok()?) as usize));
    if named != Some(kind.as_bytes()) {
        return Err("the key is not of the kind that the line says");
    }
    let hosts = match first.strip_prefix("|1|") {
        Some(hashed) => {
            let (salt, hash) = hashed.split_once('|').ok_or("the hashed host has no salt")?;
            let decode = |text| STANDARD.decode(text).map_err(|_| "the hashed host is not base64");
            Hosts::Hashed {
                salt: decode(salt)?,
                hash: decode(hash)?,
            }
        }
        None if first.starts_with('|') => return Err("the host is hashed in an unknown way"),
        None => Hosts::Patterns(first.split(',').map(str::to_ascii_lowercase).collect()),
    };
    Ok(Line {
        marker,
        hosts,
        kind: kind.to_owned(),
        key,
    })
}

/// How a host is written in the file.
struct Names(String);

impl Names {
    fn new(host: &str, port: u16) -> Self {
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        Names(if port == DEFAULT_PORT {
            host
        } else {
            format!("[{host}]:{port}")
        })
    }

    fn match_line(&self, line: &Line) -> bool {
        match &line.hosts {
            Hosts::Hashed { salt, hash } => {
                // A key of any length makes an HMAC.
                Hmac::<Sha1>::new_from_slice(salt)
                    .is_ok_and(|mac| mac.chain_update(self.0.as_bytes()).verify_slice(hash).is_ok())
            }
            Hosts::Patterns(patterns) => {
                let mut found = false;
                for pattern in patterns {
                    match pattern.strip_prefix('!') {
                        Some(excluded) if wildcard(excluded, &self.0) => return false,
                        Some(_) => {}
                        None => found |= wildcard(&default_port_dropped(pattern), &self.0),
                    }
                }
                found
            }
        }
    }
}

/// `[host]:22` means `host`.
fn default_port_dropped(pattern: &str) -> String {
    pattern
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix("]:22"))
        .unwrap_or(pattern)
        .to_owned()
}

/// Whether a pattern with `*` and `?` fits the whole text; in linear space and at most quadratic time.
fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else {
                    return false;
                };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::super::tests::data;
    use super::*;

    const KIND: &str = "ssh-ed25519";

    fn key(n: u8) -> Vec<u8> {
        let mut key = vec![0, 0, 0, 11];
        key.extend_from_slice(KIND.as_bytes());
        key.extend_from_slice(&[0, 0, 0, 1, n]);
        key
    }

    fn line(hosts: &str, n: u8) -> String {
        format!("{hosts} {KIND} {} comment\n", STANDARD.encode(key(n)))
    }

    fn check(text: &str, host: &str, port: u16, n: u8) -> HostKeyCheck {
        HostKeys::parse(text).unwrap().check(host, port, KIND, &key(n))
    }

    #[test]
    fn hosts_are_found_by_name_port_and_pattern() {
        let text = [
            line("git.example.com,10.0.0.1", 1),
            line("[git.example.com]:2222", 2),
            line("*.corp.example.com,!bad.corp.example.com", 3),
            "# a comment\n\n".to_owned(),
        ]
        .concat();
        assert_eq!(check(&text, "GIT.example.com", 22, 1), HostKeyCheck::Known);
        assert_eq!(check(&text, "10.0.0.1", 22, 1), HostKeyCheck::Known);
        assert_eq!(
            check(&text, "git.example.com", 2222, 1),
            HostKeyCheck::Other(vec![KIND.to_owned()])
        );
        assert_eq!(check(&text, "git.example.com", 2222, 2), HostKeyCheck::Known);
        assert_eq!(check(&text, "git.example.com", 23, 2), HostKeyCheck::Unknown);
        assert_eq!(check(&text, "a.corp.example.com", 22, 3), HostKeyCheck::Known);
        assert_eq!(check(&text, "bad.corp.example.com", 22, 3), HostKeyCheck::Unknown);
        assert_eq!(check(&line("[h]:22", 1), "h", 22, 1), HostKeyCheck::Known);
    }

    #[test]
    fn hashed_hosts_are_found() {
        let hash = |name: &str| {
            let salt = b"01234567890123456789";
            let mac = Hmac::<Sha1>::new_from_slice(salt).unwrap();
            let hash = mac.chain_update(name.as_bytes()).finalize().into_bytes();
            format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hash))
        };
        let text = [
            line(&hash("example.com"), 1),
            line(&hash("[example.com]:2222"), 2),
        ]
        .concat();
        assert_eq!(check(&text, "example.com", 22, 1), HostKeyCheck::Known);
        assert_eq!(check(&text, "example.com", 2222, 2), HostKeyCheck::Known);
        assert_eq!(check(&text, "example.org", 22, 1), HostKeyCheck::Unknown);
    }

    #[test]
    fn revoked_keys_and_lone_authorities_are_told_apart() {
        let text = [line("@revoked *", 1), line("h", 1), line("@cert-authority ca", 2)].concat();
        assert_eq!(check(&text, "h", 22, 1), HostKeyCheck::Revoked);
        assert_eq!(check(&text, "ca", 22, 2), HostKeyCheck::OnlyAuthority);
        assert_eq!(HostKeys::parse(&text).unwrap().kinds("h", 22), [KIND]);
    }

    #[test]
    fn broken_lines_are_named() {
        for wrong in [
            "h",
            "h ssh-rsa !",
            "@x h ssh-ed25519 AAAA",
            "|2|a|b ssh-ed25519 AAAA",
            "h ssh-rsa AAAA",
        ] {
            let error = HostKeys::parse(&format!("# first\n{wrong}\n")).unwrap_err();
            assert!(error.message.contains("line 2"), "{error}");
        }
        assert!(SshIdentity::from_secret(&data(&[("identity", "k")])).is_err());
        assert!(wildcard("a*b*c", "a1b2b3c") && !wildcard("a*b", "abc") && wildcard("??", "ab"));
    }
}

//! Static bearer tokens, in kube-apiserver's file format, and service accounts' tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::User;

/// Tokens of a file: `token,user,uid[,"group1,group2"]` lines.
#[derive(Clone, Debug, Default)]
pub struct StaticTokens(FxHashMap<String, User>);

/// A line of a token file that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("token file, line {line}: {message}")]
pub struct TokenFileError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: &'static str,
}

fn csv_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                fields.last_mut().expect("there is always a field").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().expect("there is always a field").push(other),
        }
    }
    fields
}

impl StaticTokens {
    /// Reads a token file.
    ///
    /// # Errors
    /// A line has fewer than three columns or an empty token.
    pub fn parse(text: &str) -> Result<Self, TokenFileError> {
        let mut tokens = FxHashMap::default();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let line_number = index + 1;
            let fields = csv_fields(line);
            if fields.len() < 3 {
                let message = "expected at least the columns token, user name and user uid";
                return Err(TokenFileError {
                    line: line_number,
                    message,
                });
            }
            let trimmed = |index: usize| fields.get(index).map_or("", |field| field.trim()).to_owned();
            let (token, name, uid) = (trimmed(0), trimmed(1), trimmed(2));
            if token.is_empty() {
                return Err(TokenFileError {
                    line: line_number,
                    message: "the token is empty",
                });
            }
            let groups = trimmed(3)
                .split(',')
                .map(str::trim)
                .filter(|group| !group.is_empty())
                .map(str::to_owned)
                .collect();
            tokens.insert(
                token,
                User {
                    name,
                    uid,
                    groups,
                    ..User::default()
                },
            );
        }
        Ok(StaticTokens(tokens))
    }

    /// Adds a token.
    pub fn insert(&mut self, token: impl Into<String>, user: User) {
        self.0.insert(token.into(), user);
    }

    /// Who a token belongs to.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<User> {
        self.0.get(token).cloned()
    }
}

/// Signs and checks the tokens of service accounts: JSON web tokens under a key of this server.
#[derive(Debug)]
pub struct Signer {
    key: [u8; 32],
}

/// Issuer of the tokens and their default audience.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

impl Signer {
    /// A signer with a secret key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Signer { key }
    }

    // HMAC (RFC 2104) over SHA-256: the tokens are checked only by the server that made them.
    fn mac(&self, text: &[u8]) -> [u8; 32] {
        let mut inner = [0x36_u8; 64];
        let mut outer = [0x5c_u8; 64];
        for (index, byte) in self.key.iter().enumerate() {
            inner[index] ^= byte;
            outer[index] ^= byte;
        }
        let first = Sha256::new().chain_update(inner).chain_update(text).finalize();
        Sha256::new()
            .chain_update(outer)
            .chain_update(first)
            .finalize()
            .into()
    }

    /// A token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let head = BASE64.encode(json!({"alg": "HS256", "typ": "JWT"}).to_string());
        let body = format!("{head}.{}", BASE64.encode(claims.to_string()));
        let mac = BASE64.encode(self.mac(body.as_bytes()));
        format!("{body}.{mac}")
    }

    /// The claims of a token that this signer made.
    #[must_use]
    pub fn claims(&self, token: &str) -> Option<Value> {
        let (body, mac) = token.rsplit_once('.')?;
        let mac = BASE64.decode(mac).ok()?;
        let want = self.mac(body.as_bytes());
        // Compared in full, whatever differs, so that time tells nothing about the key.
        let differs = want
            .iter()
            .zip(&mac)
            .fold(mac.len() ^ 32, |seen, (a, b)| seen | usize::from(a ^ b));
        if differs != 0 {
            return None;
        }
        let (_, claims) = body.split_once('.')?;
        serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_read_as_kube_apiserver_does() {
        let tokens = StaticTokens::parse("a-token,alice,1,\"devs, ops\"\nb,bob,2\n").unwrap();
        assert_eq!(tokens.find("a-token").unwrap().groups, ["devs", "ops"]);
        assert_eq!(tokens.find("b").unwrap().name, "bob");
        assert_eq!(StaticTokens::parse("\nx,y").unwrap_err().line, 2);
    }

    #[test]
    fn a_changed_token_is_not_accepted() {
        let signer = Signer::new([7; 32]);
        let token = signer.sign(&json!({"sub": "x"}));
        assert_eq!(signer.claims(&token).unwrap()["sub"], "x");
        assert!(signer.claims(&token.replacen('.', ".A", 1)).is_none());
        assert!(Signer::new([8; 32]).claims(&token).is_none());
    }
}

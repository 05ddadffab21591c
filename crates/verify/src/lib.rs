//! Signatures of OCI artifacts, checked: what a registry holds and what an operator trusts goes in, a verdict comes out.
//! Finding signatures in a registry is the caller's; nothing here asks a network, and the time is an argument.

pub mod notation;
pub mod sigstore;

mod der;
mod key;
mod pem;
mod timestamp;
mod x509;

use std::fmt;

pub use key::PublicKey;

/// Why signatures do not make an artifact trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Refusal(why.into())
    }

    /// The same, with what was looked at in front.
    pub(crate) fn of(self, what: impl fmt::Display) -> Self {
        Refusal(format!("{what}: {}", self.0))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

pub(crate) fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(why))
}

/// Standard base64, with or without padding, spaces and line ends left out.
pub(crate) fn base64(text: &str) -> Result<Vec<u8>, Refusal> {
    use base64::Engine as _;
    let bare: String = text
        .chars()
        .filter(|c| !c.is_ascii_whitespace() && *c != '=')
        .collect();
    base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(bare)
        .map_err(|_| Refusal::new("it is not base64"))
}

pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(data).into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

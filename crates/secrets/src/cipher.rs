//! One encrypted value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.

use aes_gcm::aead::consts::{U12, U32};
use aes_gcm::aead::{AeadInOut, KeyInit, Tag};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::value::{Comment, Value};

/// The key that a file's values are encrypted with. Wiped when dropped, never shown.
#[derive(Clone)]
pub struct DataKey(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(…)")
    }
}

impl DataKey {
    /// A key that somebody has found. One that has not 32 bytes opens nothing.
    #[must_use]
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The parts of an encrypted value.
struct Parts {
    data: Vec<u8>,
    iv: Vec<u8>,
    tag: Vec<u8>,
    kind: String,
}

/// Decrypts one value. `place` is what it was encrypted for: it fits nowhere else. Nothing decrypts to nothing.
pub(crate) fn decrypt(text: &[u8], key: &DataKey, place: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::text(""));
    }
    let parts = std::str::from_utf8(text)
        .ok()
        .and_then(split)
        .ok_or("Input string <redacted> does not match sops' data format")?;
    let plain = open(&parts, key, place)?;
    typed(plain, &parts.kind)
}

fn split(text: &str) -> Option<Parts> {
    let inner = text.strip_prefix("ENC[AES256_GCM,data:")?;
    let inner = &inner[..inner.rfind(']')?];
    let (data, rest) = inner.split_once(",iv:")?;
    let (iv, rest) = rest.split_once(",tag:")?;
    let (tag, kind) = rest.split_once(",type:")?;
    let bytes = |text: &str| STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty());
    Some(Parts {
        data: bytes(data)?,
        iv: bytes(iv)?,
        tag: bytes(tag)?,
        kind: kind.to_owned(),
    })
}

fn open(parts: &Parts, key: &DataKey, place: &str) -> Result<Vec<u8>, String> {
    let short = |_| "Could not decrypt with AES_GCM: the data key is not 32 bytes long".to_owned();
    match parts.iv.len() {
        32 => open_with(
            &AesGcm::<Aes256, U32>::new_from_slice(key.bytes()).map_err(short)?,
            parts,
            place,
        ),
        12 => open_with(
            &AesGcm::<Aes256, U12>::new_from_slice(key.bytes()).map_err(short)?,
            parts,
            place,
        ),
        other => Err(format!("Could not decrypt with AES_GCM: an iv of {other} bytes")),
    }
}

fn open_with<N>(cipher: &AesGcm<Aes256, N>, parts: &Parts, place: &str) -> Result<Vec<u8>, String>
where
    N: aes_gcm::aead::array::ArraySize,
    AesGcm<Aes256, N>: AeadInOut<NonceSize = N>,
{
    let refused = || "Could not decrypt with AES_GCM: cipher: message authentication failed".to_owned();
    let nonce = Nonce::<N>::try_from(parts.iv.as_slice()).map_err(|_| refused())?;
    let tag = Tag::<AesGcm<Aes256, N>>::try_from(parts.tag.as_slice()).map_err(|_| refused())?;
    let mut data = parts.data.clone();
    cipher
        .decrypt_inout_detached(&nonce, place.as_bytes(), data.as_mut_slice().into(), &tag)
        .map_err(|_| refused())?;
    Ok(data)
}

/// What a ciphertext says about its plain text.
fn typed(plain: Vec<u8>, kind: &str) -> Result<Value, String> {
    if kind == "str" || kind == "bytes" {
        return Ok(Value::Text(plain));
    }
    let bad = || format!("the decrypted value is no '{kind}'");
    let text = String::from_utf8(plain).map_err(|_| bad())?;
    Ok(match kind {
        "int" => Value::Int(text.parse().map_err(|_| bad())?),
        "float" => Value::Float(text.parse().map_err(|_| bad())?),
        "bool" => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Value::Bool(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Value::Bool(false),
            _ => return Err(bad()),
        },
        "time" => Value::Time(text),
        "comment" => Value::Comment(Comment { text, inline: false }),
        _ => return Err(format!("Unknown datatype: {kind}")),
    })
}

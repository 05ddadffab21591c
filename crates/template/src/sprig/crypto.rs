//! Passwords, ciphers, keys and certificates. Randomness and the clock are the run's.

mod cert;
mod der;
mod keys;
mod master;
mod primes;

use aes::Aes256;
use aes::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::encoding::decode_base64_bytes;
use super::{ambient, int_at, text_at};
use crate::exec::Scope;
use crate::function::{Function, FunctionResult, Functions, Params, Type, text};
use crate::value::{IntType, UintType, Value};

/// The cost of bcrypt hashes.
const BCRYPT_COST: u32 = 10;
const BLOCK: usize = 16;

pub(super) fn register(functions: &mut Functions) {
    let two = || Params::fixed(&[Type::Str, Type::Str]);
    functions.insert(
        "bcrypt",
        Function::new(Params::fixed(&[Type::Str]), |scope, v| {
            text(bcrypt_text(scope, text_at(v, 0))?)
        }),
    );
    functions.insert(
        "htpasswd",
        Function::new(two(), |scope, v| {
            let user = text_at(v, 0);
            if user.contains(':') {
                return text(format!("invalid username: {user}"));
            }
            text(format!("{user}:{}", bcrypt_text(scope, text_at(v, 1))?))
        }),
    );
    functions.insert("encryptAES", Function::new(two(), encrypt));
    functions.pure("decryptAES", two(), decrypt);
    let number = Type::Uint(UintType::Uint32);
    functions.pure(
        "derivePassword",
        Params::fixed(&[number, Type::Str, Type::Str, Type::Str, Type::Str]),
        |v| {
            let counter = match v.first() {
                Some(Value::Uint(counter, _)) => u32::try_from(*counter).unwrap_or(u32::MAX),
                _ => 0,
            };
            text(master::derive(
                counter,
                text_at(v, 1),
                text_at(v, 2),
                text_at(v, 3),
                text_at(v, 4),
            ))
        },
    );
    functions.insert(
        "genPrivateKey",
        Function::new(Params::fixed(&[Type::Str]), |scope, v| {
            text(keys::generate_pem(ambient(scope)?, text_at(v, 0)))
        }),
    );
    cert::register(functions);
}

fn bcrypt_text(scope: &mut Scope<'_, '_>, password: &str) -> Result<String, crate::FunctionError> {
    let mut salt = [0; 16];
    ambient(scope)?.random(&mut salt);
    if password.len() > 72 {
        return Ok(
            "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes".to_owned(),
        );
    }
    Ok(match bcrypt::hash_with_salt(password, BCRYPT_COST, salt) {
        Ok(parts) => parts.format_for_version(bcrypt::Version::TwoA),
        Err(error) => format!("failed to encrypt string with bcrypt: {error}"),
    })
}

/// The first 32 bytes of a password, filled with zeros.
fn cipher(password: &str) -> Aes256 {
    let mut key = [0; 32];
    let length = password.len().min(32);
    key[..length].copy_from_slice(&password.as_bytes()[..length]);
    Aes256::new(&key.into())
}

fn encrypt(scope: &mut Scope<'_, '_>, values: &[Value]) -> FunctionResult {
    let (password, plain) = (text_at(values, 0), text_at(values, 1));
    if plain.is_empty() {
        return text("");
    }
    let mut chain = [0; BLOCK];
    ambient(scope)?.random(&mut chain);
    let cipher = cipher(password);
    let mut content = crate::bytes::to_bytes(plain).into_owned();
    let padding = BLOCK - content.len() % BLOCK;
    content.extend(std::iter::repeat_n(u8::try_from(padding).unwrap_or(0), padding));
    let mut out = chain.to_vec();
    for part in content.chunks(BLOCK) {
        for (byte, plain) in chain.iter_mut().zip(part) {
            *byte ^= plain;
        }
        let mut block = Block::<Aes256>::from(chain);
        cipher.encrypt_block(&mut block);
        chain.copy_from_slice(&block);
        out.extend_from_slice(&chain);
    }
    text(STANDARD.encode(out))
}

fn decrypt(values: &[Value]) -> FunctionResult {
    let (password, encoded) = (text_at(values, 0), text_at(values, 1));
    if encoded.is_empty() {
        return text("");
    }
    let data = decode_base64_bytes(encoded)?;
    let Some((first, content)) = data.split_at_checked(BLOCK) else {
        return Err(format!(
            "runtime error: slice bounds out of range [:16] with capacity {}",
            data.len()
        )
        .into());
    };
    if content.len() % BLOCK != 0 {
        return Err("crypto/cipher: input not full blocks".into());
    }
    let cipher = cipher(password);
    let mut chain = first.to_vec();
    let mut out = Vec::with_capacity(content.len());
    for part in content.chunks_exact(BLOCK) {
        let mut array = [0; BLOCK];
        array.copy_from_slice(part);
        let mut block = Block::<Aes256>::from(array);
        cipher.decrypt_block(&mut block);
        out.extend(block.iter().zip(&chain).map(|(byte, chain)| byte ^ chain));
        chain.copy_from_slice(part);
    }
    let Some(padding) = out.last().map(|last| usize::from(*last)) else {
        return Err("runtime error: index out of range [-1]".into());
    };
    let Some(length) = out.len().checked_sub(padding) else {
        let over = padding - out.len();
        return Err(format!("runtime error: slice bounds out of range [:-{over}]").into());
    };
    text(crate::bytes::from_bytes(&out[..length]).into_owned())
}

/// The days that a certificate holds, at an index.
fn days_at(values: &[Value], index: usize) -> i64 {
    int_at(values, index)
}

const INT: Type = Type::Int(IntType::Int);

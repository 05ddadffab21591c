//! `NAME=value` lines. Line breaks in values are written as `\n`; metadata are lines whose names start with `sops_`.

use super::{Loaded, NO_METADATA, flat};
use crate::metadata::unflatten;
use crate::value::{Comment, Item, Value};

const PREFIX: &str = "sops_";

pub(super) fn load(data: &[u8]) -> Result<Loaded, String> {
    let mut branch = Vec::new();
    let mut metadata = Vec::new();
    for (number, line) in (1..).zip(data.split(|byte| *byte == b'\n')) {
        if line.is_empty() {
            continue;
        }
        if let Some(comment) = line.strip_prefix(b"#") {
            branch.push(Item::Comment(Comment {
                text: String::from_utf8_lossy(comment).into_owned(),
                inline: false,
            }));
            continue;
        }
        let at = line
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or_else(|| format!("invalid dotenv input in line {number}: it has no '='"))?;
        let key = String::from_utf8(line[..at].to_vec())
            .map_err(|_| format!("invalid dotenv input in line {number}: the name is no UTF-8"))?;
        let value = Value::Text(replace(&line[at + 1..], b"\\n", b"\n"));
        match key.strip_prefix(PREFIX) {
            Some(name) => metadata.push(Item::Entry {
                key: name.to_owned(),
                value,
            }),
            None => branch.push(Item::Entry { key, value }),
        }
    }
    if metadata.is_empty() {
        return Err(NO_METADATA.to_owned());
    }
    Ok(Loaded {
        metadata: unflatten(flat(&metadata))?,
        branches: vec![branch],
    })
}

pub(super) fn emit(branches: &[Vec<Item>]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for item in branches.first().into_iter().flatten() {
        match item {
            Item::Comment(comment) => {
                out.push(b'#');
                out.extend_from_slice(comment.text.as_bytes());
            }
            Item::Entry { key, value } => {
                let plain = value.plain().ok_or_else(|| {
                    format!(
                        "cannot use complex value in dotenv file: '{key}' is {}",
                        value.kind()
                    )
                })?;
                out.extend_from_slice(key.as_bytes());
                out.push(b'=');
                out.extend_from_slice(&replace(&plain, b"\n", b"\\n"));
            }
        }
        out.push(b'\n');
    }
    Ok(out)
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.first() {
        if let Some(tail) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = tail;
        } else {
            out.push(*first);
            rest = &rest[1..];
        }
    }
    out
}

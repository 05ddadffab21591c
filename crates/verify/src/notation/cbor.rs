//! As much of CBOR as envelopes are made of, with bounded depth.

use crate::{Refusal, refuse};

/// Deepest nesting.
const DEEPEST: usize = 16;
/// Most parts of one list or map.
const MOST: u64 = 1000;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Integer(i64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Tagged(u64, Box<Value>),
    /// `false`, `true`, `null` and the like.
    Simple(u64),
}

impl Value {
    /// The value under a number.
    pub(super) fn at(&self, key: i64) -> Option<&Value> {
        self.find(|name| *name == Value::Integer(key))
    }

    /// The value under a name.
    pub(super) fn named(&self, key: &str) -> Option<&Value> {
        self.find(|name| matches!(name, Value::Text(text) if text == key))
    }

    fn find(&self, test: impl Fn(&Value) -> bool) -> Option<&Value> {
        let Value::Map(pairs) = self else { return None };
        pairs.iter().find(|(name, _)| test(name)).map(|(_, value)| value)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Seconds since 1970, as tag 1 writes them.
    pub(super) fn time(&self) -> Option<i64> {
        match self {
            Value::Tagged(1, inner) => match **inner {
                Value::Integer(seconds) => Some(seconds),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Reads one value that is all of the data.
pub(super) fn read(data: &[u8]) -> Result<Value, Refusal> {
    let mut rest = data;
    let value = next(&mut rest, 0)?;
    if rest.is_empty() {
        return Ok(value);
    }
    refuse("something follows the CBOR data")
}

fn take<'a>(rest: &mut &'a [u8], count: u64) -> Result<&'a [u8], Refusal> {
    let split = usize::try_from(count)
        .ok()
        .and_then(|count| rest.split_at_checked(count));
    let Some((taken, after)) = split else {
        return refuse("CBOR data breaks off");
    };
    *rest = after;
    Ok(taken)
}

fn next(rest: &mut &[u8], depth: usize) -> Result<Value, Refusal> {
    if depth > DEEPEST {
        return refuse(format!("CBOR data is nested deeper than {DEEPEST}"));
    }
    let first = take(rest, 1)?.first().copied().unwrap_or_default();
    let argument = match first & 0x1f {
        small @ 0..=23 => u64::from(small),
        wide @ 24..=27 => take(rest, 1 << (wide - 24))?
            .iter()
            .fold(0, |number, byte| (number << 8) | u64::from(*byte)),
        _ => return refuse("CBOR data has a part of indefinite length"),
    };
    let integer = || i64::try_from(argument).map_err(|_| Refusal::new("CBOR data has too large a number"));
    let counted = || {
        if argument > MOST {
            return refuse(format!("CBOR data has more than {MOST} parts"));
        }
        Ok(argument)
    };
    Ok(match first >> 5 {
        0 => Value::Integer(integer()?),
        1 => Value::Integer(-1 - integer()?),
        2 => Value::Bytes(take(rest, argument)?.to_vec()),
        3 => {
            let bytes = take(rest, argument)?.to_vec();
            let text =
                String::from_utf8(bytes).map_err(|_| Refusal::new("CBOR data has a text that is none"))?;
            Value::Text(text)
        }
        4 => {
            let parts = 0..counted()?;
            Value::List(parts.map(|_| next(rest, depth + 1)).collect::<Result<_, _>>()?)
        }
        5 => {
            let mut pairs: Vec<(Value, Value)> = Vec::new();
            for _ in 0..counted()? {
                let name = next(rest, depth + 1)?;
                if pairs.iter().any(|(other, _)| *other == name) {
                    return refuse("CBOR data has a key twice");
                }
                pairs.push((name, next(rest, depth + 1)?));
            }
            Value::Map(pairs)
        }
        6 => Value::Tagged(argument, Box::new(next(rest, depth + 1)?)),
        _ => Value::Simple(argument),
    })
}

/// Bytes as a CBOR value.
pub(super) fn bytes(content: &[u8]) -> Vec<u8> {
    let length = content.len() as u64;
    let mut all = match length {
        0..=23 => vec![0x40 | u8::try_from(length).unwrap_or_default()],
        24..=0xff => vec![0x58, u8::try_from(length).unwrap_or_default()],
        0x100..=0xffff => {
            let mut all = vec![0x59];
            all.extend_from_slice(&u16::try_from(length).unwrap_or_default().to_be_bytes());
            all
        }
        _ => {
            let mut all = vec![0x5a];
            all.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
            all
        }
    };
    all.extend_from_slice(content);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_broken_ones_refused() {
        // {1: -7, "a": [h'0102', 1(5)]}
        let data = [0xa2, 0x01, 0x26, 0x61, 0x61, 0x82, 0x42, 1, 2, 0xc1, 0x05];
        let value = read(&data).unwrap();
        assert_eq!(value.at(1), Some(&Value::Integer(-7)));
        let Some(Value::List(list)) = value.named("a") else {
            panic!("a list")
        };
        assert_eq!((list[0].bytes(), list[1].time()), (Some(&[1, 2][..]), Some(5)));
        for length in 0..data.len() {
            assert!(read(&data[..length]).is_err());
        }
        assert!(read(&[0xa2, 1, 1, 1, 2]).is_err(), "a key twice");
        assert!(read(&[0x81; 100]).is_err(), "too deep");
        assert!(read(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(read(&[0x5f]).is_err() && read(&[1, 1]).is_err());
        for length in [0, 23, 24, 255, 256, 70_000] {
            let content = vec![3; length];
            assert_eq!(read(&bytes(&content)).unwrap(), Value::Bytes(content));
        }
    }
}

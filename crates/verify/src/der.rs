//! DER, read strictly and without copies: certificates, keys and timestamps are made of it.

use crate::{Refusal, refuse};

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// A value with its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// Tag, length and content.
    pub(crate) raw: &'a [u8],
}

/// The values that follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Reader(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value, whatever it is.
    pub(crate) fn next(&mut self) -> Result<Value<'a>, Refusal> {
        let short = || Refusal::new("DER data breaks off");
        let data = self.0;
        let (&tag, &first) = (data.first().ok_or_else(short)?, data.get(1).ok_or_else(short)?);
        if tag & 0x1f == 0x1f {
            return refuse("DER data has a tag of several bytes");
        }
        let (length, start) = if first < 0x80 {
            (usize::from(first), 2)
        } else {
            let bytes = usize::from(first & 0x7f);
            if bytes == 0 || bytes > 4 {
                return refuse("DER data has a length that is not definite or too long");
            }
            let digits = data.get(2..2 + bytes).ok_or_else(short)?;
            let length = digits
                .iter()
                .fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
            if digits.first() == Some(&0) || length < 0x80 {
                return refuse("DER data has a length that is not the shortest");
            }
            (length, 2 + bytes)
        };
        let end = start.checked_add(length).ok_or_else(short)?;
        let content = data.get(start..end).ok_or_else(short)?;
        self.0 = data.get(end..).unwrap_or_default();
        Ok(Value {
            tag,
            content,
            raw: data.get(..end).ok_or_else(short)?,
        })
    }

    /// The next value, which has this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Result<Value<'a>, Refusal> {
        let value = self.next()?;
        if value.tag == tag {
            return Ok(value);
        }
        refuse(format!(
            "DER data has tag {:#04x} where {tag:#04x} belongs",
            value.tag
        ))
    }

    /// The next value if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Value<'a>>, Refusal> {
        if self.0.first() == Some(&tag) {
            return self.next().map(Some);
        }
        Ok(None)
    }

    /// What is in the next value, which has this tag.
    pub(crate) fn enter(&mut self, tag: u8) -> Result<Reader<'a>, Refusal> {
        Ok(Reader(self.take(tag)?.content))
    }
}

impl<'a> Value<'a> {
    /// What is in it.
    pub(crate) fn inside(&self) -> Reader<'a> {
        Reader(self.content)
    }

    /// Seconds since 1970 of a time.
    pub(crate) fn time(&self) -> Result<i64, Refusal> {
        let text = std::str::from_utf8(self.content).unwrap_or_default();
        let bad = || Refusal::new(format!("'{}' is no time", text.escape_debug()));
        let (year, rest) = match self.tag {
            UTC_TIME if text.len() == 13 => {
                let (year, rest) = text.split_at_checked(2).ok_or_else(bad)?;
                let year: i16 = year.parse().map_err(|_| bad())?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME if text.len() >= 15 => {
                let (year, rest) = text.split_at_checked(4).ok_or_else(bad)?;
                (year.parse().map_err(|_| bad())?, rest)
            }
            _ => return Err(bad()),
        };
        let (digits, zone) = rest.split_at_checked(10).ok_or_else(bad)?;
        // A timestamp may have parts of a second.
        let parts = zone.strip_suffix('Z').ok_or_else(bad)?;
        let fraction = parts
            .strip_prefix('.')
            .is_some_and(|parts| parts.bytes().all(|byte| byte.is_ascii_digit()));
        if !(parts.is_empty() || fraction) {
            return Err(bad());
        }
        let two = |at: usize| -> Result<i8, Refusal> {
            digits
                .get(at..at + 2)
                .and_then(|text| text.parse().ok())
                .ok_or_else(bad)
        };
        jiff::civil::DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0)
            .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
            .map(|time| time.timestamp().as_second())
            .map_err(|_| bad())
    }

    /// The bytes of a bit string whose bits fill them.
    pub(crate) fn bits(&self) -> Result<&'a [u8], Refusal> {
        match self.content.split_first() {
            Some((0, bits)) if self.tag == BIT_STRING => Ok(bits),
            _ => refuse("DER data has no bit string of whole bytes where one belongs"),
        }
    }
}

/// A value from its content.
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut all = vec![tag];
    let length = content.len();
    if length < 0x80 {
        all.push(u8::try_from(length).unwrap_or_default());
    } else {
        let digits = length.to_be_bytes();
        let skip = digits.iter().take_while(|byte| **byte == 0).count();
        let digits = digits.get(skip..).unwrap_or_default();
        all.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
        all.extend_from_slice(digits);
    }
    all.extend_from_slice(content);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let written = value(SEQUENCE, &vec![7; length]);
            let mut reader = Reader::new(&written);
            let read = reader.take(SEQUENCE).unwrap();
            assert_eq!((read.content.len(), read.raw.len()), (length, written.len()));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn what_is_no_der_is_refused() {
        for data in [
            &[][..],
            &[0x30],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 0x05, 1, 2, 3, 4, 5],
            &[0x30, 0x82, 0, 0x80],
            &[0x30, 0x85, 1, 1, 1, 1, 1],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x3f, 0x01, 0x00],
        ] {
            assert!(Reader::new(data).next().is_err(), "{data:?}");
        }
    }

    #[test]
    fn times_are_read_in_both_forms() {
        let time = |tag, text: &[u8]| {
            let data = value(tag, text);
            Reader::new(&data).next().unwrap().time()
        };
        assert_eq!(time(UTC_TIME, b"700101000001Z"), Ok(1));
        assert_eq!(time(GENERALIZED_TIME, b"19700101000002Z"), Ok(2));
        assert_eq!(time(GENERALIZED_TIME, b"19700101000002.75Z"), Ok(2));
        assert!(time(UTC_TIME, b"701301000001Z").is_err());
        assert!(time(GENERALIZED_TIME, b"19700101000002.7+1").is_err());
    }
}

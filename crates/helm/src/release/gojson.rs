//! JSON as Go's encoder writes it: digests over it must agree with those that others took.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

/// JSON of a value in Go's form, with the line end that Go's stream encoder puts behind it.
pub(crate) fn line(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Go);
    // Writing into memory cannot fail, and what is written has text keys.
    if value.serialize(&mut serializer).is_err() {
        out.clear();
    }
    out.push(b'\n');
    out
}

/// Go escapes what could end a script in HTML, and has numbers of its own form.
struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut characters = rest[at..].chars();
            if let Some(found) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(found))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float(value).as_bytes())
    }

    fn write_i64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        CompactFormatter.write_i64(writer, value)
    }
}

/// A float as Go writes it in JSON: plain below 1e21, with an exponent above and for the very small.
pub(crate) fn float(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        return match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
            _ => text,
        };
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_gos_json() {
        let value = json!({"a": "<&>\u{2028}\"\n", "b": [1.0, 0.5, 1e21, 1e-7, -3, 12345678901234567890_u64], "c": {}});
        let text = String::from_utf8(line(&value)).unwrap();
        assert_eq!(
            text,
            "{\"a\":\"\\u003c\\u0026\\u003e\\u2028\\\"\\n\",\"b\":[1,0.5,1e+21,1e-7,-3,12345678901234567890],\"c\":{}}\n"
        );
    }
}

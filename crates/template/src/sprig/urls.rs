//! URLs taken apart and put together.

use std::collections::BTreeMap;

use crate::function::{FunctionResult, Functions, Params, Type, text};
use crate::value::{Map, Value};

use super::text_at;

pub(super) fn register(functions: &mut Functions) {
    functions.pure("urlParse", Params::fixed(&[Type::Str]), |v| parse(text_at(v, 0)));
    functions.pure("urlJoin", Params::fixed(&[Type::Map]), join);
}

/// Whether Go's `url.Parse` takes a text.
#[must_use]
pub fn is_go_url(text: &str) -> bool {
    parse(text).is_ok()
}

/// Cuts a URL as Go's `url.Parse`.
fn parse(url: &str) -> FunctionResult {
    if url.chars().any(|c| c.is_ascii_control()) {
        return Err(format!(
            "unable to parse url: parse {}: net/url: invalid control character in URL",
            crate::quote(url)
        )
        .into());
    }
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (scheme, rest) =
        scheme(rest).map_err(|error| format!("unable to parse url: parse {}: {error}", crate::quote(url)))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (mut opaque, mut host, mut userinfo, mut path) = ("", "", "", rest);
    if !scheme.is_empty() && !rest.starts_with('/') && !rest.is_empty() {
        (opaque, path) = (rest, "");
    } else if let Some(after) = rest.strip_prefix("//") {
        let (authority, tail) = after.find('/').map_or((after, ""), |slash| after.split_at(slash));
        path = tail;
        (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        check_host(host)
            .map_err(|error| format!("unable to parse url: parse {}: {error}", crate::quote(url)))?;
    } else if scheme.is_empty() && rest.split('/').next().is_some_and(|first| first.contains(':')) {
        return Err(format!(
            "unable to parse url: parse {}: first path segment in URL cannot contain colon",
            crate::quote(url)
        )
        .into());
    }
    let decoded = decode(path).map_err(|bad| {
        format!(
            "unable to parse url: parse {}: invalid URL escape {}",
            crate::quote(url),
            crate::quote(&bad)
        )
    })?;
    let hostname = if host.starts_with('[') {
        host.find(']').map_or(host, |end| &host[1..end])
    } else {
        host.rsplit_once(':').map_or(host, |(name, _)| name)
    };
    let entries: BTreeMap<_, _> = [
        (
            "fragment",
            decode(fragment).unwrap_or_else(|_| fragment.to_owned()),
        ),
        ("host", host.to_owned()),
        ("hostname", hostname.to_owned()),
        ("opaque", opaque.to_owned()),
        ("path", decoded),
        ("query", query.to_owned()),
        ("scheme", scheme.to_ascii_lowercase()),
        ("userinfo", userinfo.to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.into(), Value::from(value)))
    .collect();
    Ok(Map::new(entries).into())
}

/// What Go refuses in a host and its port.
fn check_host(host: &str) -> Result<(), String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |colon| &host[colon..])
    };
    let digits = port.strip_prefix(':');
    if !port.is_empty() && !digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("invalid port {} after host", crate::quote(port)));
    }
    for (at, _) in host.match_indices('%') {
        let code = host
            .get(at + 1..at + 3)
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        // Of ASCII only the percent sign itself is written so here.
        if code.is_none_or(|code| code < 0x80 && code != b'%') {
            let bad: String = host[at..].chars().take(3).collect();
            return Err(format!("invalid URL escape {}", crate::quote(&bad)));
        }
    }
    let fits = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c);
    match host.chars().find(|c| !fits(*c)) {
        Some(odd) => {
            let odd = crate::quote(odd.encode_utf8(&mut [0; 4]));
            Err(format!("invalid character {odd} in host name"))
        }
        None => Ok(()),
    }
}

fn scheme(url: &str) -> Result<(&str, &str), String> {
    for (index, c) in url.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if index > 0 => {}
            ':' if index == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((&url[..index], &url[index + 1..])),
            _ => break,
        }
    }
    Ok(("", url))
}

fn decode(text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = text
                .get(at + 1..at + 3)
                .and_then(|digits| u8::from_str_radix(digits, 16).ok());
            match digits {
                Some(byte) => out.push(byte),
                None => return Err(text[at..].chars().take(3).collect()),
            }
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn encode_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@'
            | b'!' | b'*' | b'\'' | b'(' | b')' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn join(values: &[Value]) -> FunctionResult {
    let Value::Map(map) = &values[0] else {
        return text("");
    };
    let field = |key: &str| -> Result<String, String> {
        match map.get(key) {
            None => Ok(String::new()),
            Some(Value::Str(text)) => Ok(text.to_string()),
            Some(other) => Err(format!(
                "unable to parse {key} key, must be of type string, but {} found",
                other.kind()
            )),
        }
    };
    let (scheme, host, path, query) = (field("scheme")?, field("host")?, field("path")?, field("query")?);
    let (opaque, fragment, userinfo) = (field("opaque")?, field("fragment")?, field("userinfo")?);
    let mut out = String::new();
    if !scheme.is_empty() {
        out.push_str(&scheme);
        out.push(':');
    }
    if opaque.is_empty() {
        if !scheme.is_empty() || !host.is_empty() || !userinfo.is_empty() {
            if !host.is_empty() || !path.is_empty() || !userinfo.is_empty() {
                out.push_str("//");
            }
            if !userinfo.is_empty() {
                out.push_str(&userinfo);
                out.push('@');
            }
            out.push_str(&host);
        }
        let path = encode_path(&path);
        if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
            out.push('/');
        }
        out.push_str(&path);
    } else {
        out.push_str(&opaque);
    }
    if !query.is_empty() {
        out.push('?');
        out.push_str(&query);
    }
    if !fragment.is_empty() {
        out.push('#');
        out.push_str(&encode_path(&fragment));
    }
    text(out)
}

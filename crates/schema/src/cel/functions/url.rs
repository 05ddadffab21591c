//! URLs as Go's `ParseRequestURI` reads them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::super::error::Error;
use super::super::library::Function;
use super::super::value::{Key, Opaque, Value};
use crate::error::quote;

type Done<'a> = Result<Value<'a>, Error>;

/// A URL in its parts.
#[derive(Clone, Debug)]
pub struct Url {
    scheme: String,
    opaque: String,
    user: Option<String>,
    host: String,
    path: String,
    query: Option<String>,
}

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "url" => |args| {
            let text = args[0].as_str().ok_or_else(Error::no_overload)?;
            let url = Url::parse(text).map_err(|error| {
                Error::new(format!("URL parse error during conversion from string: {error}"))
            })?;
            Ok(Value::Opaque(Opaque::Url(Arc::new(url))))
        },
        "isURL" => |args| {
            let text = args[0].as_str().ok_or_else(Error::no_overload)?;
            Ok(Value::Bool(Url::parse(text).is_ok()))
        },
        "getScheme" => |args| part(args, |url| url.scheme.clone()),
        "getHost" => |args| part(args, |url| url.host.clone()),
        "getHostname" => |args| part(args, |url| url.host_and_port().0.to_owned()),
        "getPort" => |args| part(args, |url| url.host_and_port().1.to_owned()),
        "getEscapedPath" => |args| part(args, |url| url.escaped_path()),
        "getQuery" => |args| {
            let mut out: BTreeMap<Key, Vec<Value<'_>>> = BTreeMap::new();
            for (key, value) in get(args)?.pairs() {
                out.entry(Key::String(key.into()))
                    .or_default()
                    .push(Value::text(value));
            }
            let out: BTreeMap<Key, Value<'_>> = out
                .into_iter()
                .map(|(key, values)| (key, Value::list(values)))
                .collect();
            Ok(out.into())
        },
        _ => return None,
    })
}

fn get(args: &[Value<'_>]) -> Result<Arc<Url>, Error> {
    match &args[0] {
        Value::Opaque(Opaque::Url(url)) => Ok(url.clone()),
        _ => Err(Error::no_overload()),
    }
}

fn part<'a>(args: &[Value<'a>], of: fn(&Url) -> String) -> Done<'a> {
    Ok(Value::text(of(&*get(args)?)))
}

impl Url {
    /// Reads an absolute URI or an absolute path.
    ///
    /// # Errors
    /// Go's text for what is wrong.
    pub fn parse(text: &str) -> Result<Url, String> {
        Url::read(text).map_err(|what| format!("parse {}: {what}", quote(text)))
    }

    fn read(text: &str) -> Result<Url, String> {
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        if text.is_empty() {
            return Err("empty url".to_owned());
        }
        let mut url = Url {
            scheme: String::new(),
            opaque: String::new(),
            user: None,
            host: String::new(),
            path: String::new(),
            query: None,
        };
        let (scheme, rest) = scheme(text)?;
        url.scheme = scheme.to_ascii_lowercase();
        let rest = match rest.split_once('?') {
            Some((rest, query)) => {
                url.query = Some(query.to_owned());
                rest
            }
            None => rest,
        };
        if !rest.starts_with('/') {
            if url.scheme.is_empty() {
                return Err("invalid URI for request".to_owned());
            }
            rest.clone_into(&mut url.opaque);
            return Ok(url);
        }
        let mut path = rest;
        if let Some(after) = rest.strip_prefix("//").filter(|_| !url.scheme.is_empty()) {
            let end = after.find('/').unwrap_or(after.len());
            path = &after[end..];
            let (user, host) = match after[..end].rsplit_once('@') {
                Some((user, host)) => (Some(user), host),
                None => (None, &after[..end]),
            };
            url.user = user.map(str::to_owned);
            url.host = host_of(host)?;
        }
        unescape(path, false)?;
        path.clone_into(&mut url.path);
        Ok(url)
    }

    fn host_and_port(&self) -> (&str, &str) {
        if let Some(rest) = self.host.strip_prefix('[')
            && let Some((name, after)) = rest.split_once(']')
        {
            return (name, after.strip_prefix(':').unwrap_or_default());
        }
        self.host.rsplit_once(':').unwrap_or((&self.host, ""))
    }

    fn escaped_path(&self) -> String {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@[]%/".contains(&byte);
        if self.path == "*" || self.path.bytes().all(valid) {
            return self.path.clone();
        }
        let plain = unescape(&self.path, false).unwrap_or_default();
        let mut out = String::new();
        for byte in plain {
            if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        out
    }

    fn pairs(&self) -> Vec<(String, String)> {
        let query = self.query.as_deref().unwrap_or_default();
        let text = |part: &str| {
            let bytes = unescape(part, true).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let parts = query
            .split('&')
            .filter(|part| !part.is_empty() && !part.contains(';'));
        parts
            .filter_map(|part| {
                let (key, value) = part.split_once('=').unwrap_or((part, ""));
                Some((text(key)?, text(value)?))
            })
            .collect()
    }
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn host_of(host: &str) -> Result<String, String> {
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let digits = port
        .strip_prefix(':')
        .map(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    if !port.is_empty() && digits != Some(true) {
        return Err(format!("invalid port {} after host", quote(port)));
    }
    let bad = host
        .chars()
        .find(|c| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_.~!$&'()*+,;=:[]<>\"%".contains(*c));
    match bad {
        Some(bad) => Err(format!(
            "invalid character {} in host name",
            quote(&bad.to_string())
        )),
        None => Ok(host.to_owned()),
    }
}

fn unescape(text: &str, query: bool) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digits = text.get(at + 1..at + 3);
                let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let end = (at + 3).min(text.len());
                out.push(code.ok_or_else(|| {
                    format!("invalid URL escape {}", quote(text.get(at..end).unwrap_or("%")))
                })?);
                at += 3;
            }
            b'+' if query => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(out)
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if !self.opaque.is_empty() {
            f.write_str(&self.opaque)?;
        } else {
            if !self.scheme.is_empty() || !self.host.is_empty() {
                f.write_str("//")?;
            }
            if let Some(user) = &self.user {
                write!(f, "{user}@")?;
            }
            f.write_str(&self.host)?;
            f.write_str(&self.escaped_path())?;
        }
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

//! Where a repository is: a local path, an http(s) server, or an ssh server.

use std::path::PathBuf;

use crate::error::{SourceError, reason};

/// A repository's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine.
    Local(PathBuf),
    /// An http or https URL, without user and password.
    Http(String),
    /// An ssh URL.
    Ssh(String),
}

impl Location {
    /// Reads a URL or path.
    ///
    /// # Errors
    /// If it is neither; the error is a stalling one.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let invalid = |what: &str| {
            SourceError::stalled(
                reason::URL_INVALID,
                format!("invalid Git URL '{}': {what}", redact(text)),
            )
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            let scp_like = text
                .split_once(':')
                .is_some_and(|(host, _)| !host.contains('/') && !host.is_empty());
            if scp_like {
                return Err(invalid(
                    "write it as ssh://user@host/path instead of user@host:path",
                ));
            }
            if text.is_empty() {
                return Err(invalid("it is empty"));
            }
            return Ok(Location::Local(PathBuf::from(text)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                if !path.starts_with('/') {
                    return Err(invalid(
                        "a file URL needs an absolute path, as in file:///srv/repo.git",
                    ));
                }
                Ok(Location::Local(PathBuf::from(percent_decode(path))))
            }
            "http" | "https" => {
                let url = reqwest::Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
                if url.host_str().is_none_or(str::is_empty) {
                    return Err(invalid("it names no host"));
                }
                Ok(Location::Http(text.trim_end_matches('/').to_owned()))
            }
            "ssh" => Ok(Location::Ssh(text.to_owned())),
            other => Err(invalid(&format!(
                "scheme '{other}' is not one of http, https, ssh, file"
            ))),
        }
    }
}

/// The URL without user, password, query and fragment, fit for messages and logs.
#[must_use]
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, p)| (a, Some(p)));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match path {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!("{scheme}://{host}"),
    }
}

/// Undoes `%xx`; what is no UTF-8 afterwards stays as it was.
pub(crate) fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = (byte == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(decoded) = hex {
            out.push(decoded);
            rest = &tail[2..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        assert_eq!(
            Location::parse("/srv/x").unwrap(),
            Location::Local("/srv/x".into())
        );
        assert_eq!(Location::parse("./x").unwrap(), Location::Local("./x".into()));
        assert_eq!(
            Location::parse("file:///srv/a%20b").unwrap(),
            Location::Local("/srv/a b".into())
        );
        assert_eq!(
            Location::parse("https://h/x.git/").unwrap(),
            Location::Http("https://h/x.git".into())
        );
        assert!(matches!(Location::parse("ssh://git@h/x"), Ok(Location::Ssh(_))));
        for wrong in ["git@github.com:o/r", "ftp://h/x", "https://", "", "file://x"] {
            let error = Location::parse(wrong).unwrap_err();
            assert_eq!(error.class, crate::error::Class::Stalled, "{wrong}");
        }
    }

    #[test]
    fn messages_hold_no_password() {
        assert_eq!(redact("https://u:p@h/x?token=1"), "https://h/x");
        assert_eq!(redact("/path"), "/path");
        let error = Location::parse("ftp://u:secret@h/x").unwrap_err();
        assert!(!error.message.contains("secret"));
    }
}

//! What names, label keys and the like may look like, with the texts of a real server.

/// A text that a message shows when a value does not fit.
pub type Complaints = Vec<String>;

const SEARCH_DOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
     '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
     start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
     alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
     validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
     alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
     '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

fn is_low(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn label_shape(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(first), Some(last)) if is_low(*first) && is_low(*last))
        && bytes.iter().all(|byte| is_low(*byte) || *byte == b'-')
}

fn qualified_shape(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(a), Some(b)) if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// `must be no more than N characters`.
#[must_use]
pub fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

/// A DNS subdomain, as most names are.
#[must_use]
pub fn subdomain(text: &str) -> Complaints {
    let mut out = vec![];
    if text.len() > 253 {
        out.push(too_long(253));
    }
    if !text.split('.').all(label_shape) {
        out.push(SUBDOMAIN.to_owned());
    }
    out
}

/// A domain that names are looked for in: a subdomain whose labels may have underscores.
#[must_use]
pub fn search_domain(text: &str) -> Complaints {
    let shaped = |label: &str| {
        let bytes = label.strip_prefix('_').unwrap_or(label).as_bytes();
        let low = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.first().is_some_and(low)
            && bytes.last().is_some_and(low)
            && bytes.iter().all(|byte| low(byte) || matches!(byte, b'-' | b'_'))
    };
    let mut out = vec![];
    if text.len() > 253 {
        out.push(too_long(253));
    }
    if !text.split('.').all(shaped) {
        out.push(SEARCH_DOMAIN.to_owned());
    }
    out
}

/// A DNS label.
#[must_use]
pub fn label(text: &str) -> Complaints {
    let mut out = vec![];
    if text.len() > 63 {
        out.push(too_long(63));
    }
    if !label_shape(text) {
        // A name that is good for other kinds has this one fault.
        let dotted = text.contains('.') && text.split('.').all(label_shape);
        out.push(if dotted {
            "must not contain dots".to_owned()
        } else {
            LABEL.to_owned()
        });
    }
    out
}

/// A DNS label that begins with a letter.
#[must_use]
pub fn label_1035(text: &str) -> Complaints {
    let mut out = vec![];
    if text.len() > 63 {
        out.push(too_long(63));
    }
    if !label_shape(text) || text.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        out.push(LABEL_1035.to_owned());
    }
    out
}

/// An internet address in its usual form.
#[must_use]
pub fn address(text: &str) -> Complaints {
    match text.parse::<std::net::IpAddr>() {
        Ok(address) if address.to_string() == text => vec![],
        Ok(address) => vec![format!("must be in canonical form (\"{address}\")")],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
    }
}

/// A segment of a path, as roles' names are.
#[must_use]
pub fn segment(text: &str) -> Complaints {
    match text {
        "." => vec!["may not be '.'".to_owned()],
        ".." => vec!["may not be '..'".to_owned()],
        _ => ['/', '%']
            .iter()
            .filter(|bad| text.contains(**bad))
            .map(|bad| format!("may not contain '{bad}'"))
            .collect(),
    }
}

/// A label key: an optional prefix and a name.
#[must_use]
pub fn qualified_name(text: &str) -> Complaints {
    let mut out = vec![];
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                out.push("prefix part must be non-empty".to_owned());
            } else {
                out.extend(
                    subdomain(prefix)
                        .into_iter()
                        .map(|text| format!("prefix part {text}")),
                );
            }
            *name
        }
        _ => {
            return vec![format!(
                "a valid label key {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 bytes".to_owned());
    }
    if !qualified_shape(name) {
        out.push(format!("name part {QUALIFIED}"));
    }
    out
}

/// A label value.
#[must_use]
pub fn label_value(text: &str) -> Complaints {
    let mut out = vec![];
    if text.len() > 63 {
        out.push("must be no more than 63 bytes".to_owned());
    }
    if !text.is_empty() && !qualified_shape(text) {
        out.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
             for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_owned(),
        );
    }
    out
}

/// A key of a ConfigMap or Secret.
#[must_use]
pub fn config_key(text: &str) -> Complaints {
    let mut out = vec![];
    if text.len() > 253 {
        out.push(too_long(253));
    }
    if text.is_empty()
        || !text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    {
        out.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
             'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    } else if text == "." {
        out.push("must not be '.'".to_owned());
    } else if text == ".." {
        out.push("must not be '..'".to_owned());
    } else if text.starts_with("..") {
        out.push("must not start with '..'".to_owned());
    }
    out
}

/// A port's name.
#[must_use]
pub fn port_name(text: &str) -> Complaints {
    let mut out = vec![];
    if text.len() > 15 {
        out.push(too_long(15));
    }
    if text.is_empty() || !text.bytes().all(|byte| is_low(byte) || byte == b'-') {
        out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        out.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        out.push("must not begin or end with a hyphen".to_owned());
    }
    out
}

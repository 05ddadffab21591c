//! Named formats of texts, such as `format.dns1123Label()`.

use std::sync::Arc;

use super::super::error::Error;
use super::super::library::Function;
use super::super::value::{Opaque, Value};
use super::url::Url;
use crate::crd::check_format;

/// A format that texts may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedFormat {
    /// A label of a domain name.
    Dns1123Label,
    /// A domain name.
    Dns1123Subdomain,
    /// A label that begins with a letter.
    Dns1035Label,
    /// A name with an optional domain before it.
    QualifiedName,
    /// The beginning of a label.
    Dns1123LabelPrefix,
    /// The beginning of a domain name.
    Dns1123SubdomainPrefix,
    /// The beginning of a label that begins with a letter.
    Dns1035LabelPrefix,
    /// The value of a label of an object.
    LabelValue,
    /// A URI.
    Uri,
    /// A UUID.
    Uuid,
    /// Base64.
    Byte,
    /// A date.
    Date,
    /// A point in time.
    DateTime,
}

use NamedFormat::{
    Byte, Date, DateTime, Dns1035Label, Dns1035LabelPrefix, Dns1123Label, Dns1123LabelPrefix,
    Dns1123Subdomain, Dns1123SubdomainPrefix, LabelValue, QualifiedName, Uri, Uuid,
};

const NAMES: [(&str, NamedFormat); 13] = [
    ("dns1123Label", Dns1123Label),
    ("dns1123Subdomain", Dns1123Subdomain),
    ("dns1035Label", Dns1035Label),
    ("qualifiedName", QualifiedName),
    ("dns1123LabelPrefix", Dns1123LabelPrefix),
    ("dns1123SubdomainPrefix", Dns1123SubdomainPrefix),
    ("dns1035LabelPrefix", Dns1035LabelPrefix),
    ("labelValue", LabelValue),
    ("uri", Uri),
    ("uuid", Uuid),
    ("byte", Byte),
    ("date", Date),
    ("datetime", DateTime),
];

pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "format.named" => |args| match &args[0] {
            Value::String(name) => {
                let found = NAMES.iter().find(|(own, _)| *own == name.as_str());
                Ok(Value::Optional(found.map(|(_, format)| Arc::new(value(*format)))))
            }
            _ => Err(Error::no_overload()),
        },
        "validate" => |args| match (&args[0], &args[1]) {
            (Value::Opaque(Opaque::Format(format)), Value::String(text)) => {
                Ok(answer(&format.check(text.as_str())))
            }
            _ => Err(Error::no_overload()),
        },
        "format.dns1123Label" => |_| Ok(value(Dns1123Label)),
        "format.dns1123Subdomain" => |_| Ok(value(Dns1123Subdomain)),
        "format.dns1035Label" => |_| Ok(value(Dns1035Label)),
        "format.qualifiedName" => |_| Ok(value(QualifiedName)),
        "format.dns1123LabelPrefix" => |_| Ok(value(Dns1123LabelPrefix)),
        "format.dns1123SubdomainPrefix" => |_| Ok(value(Dns1123SubdomainPrefix)),
        "format.dns1035LabelPrefix" => |_| Ok(value(Dns1035LabelPrefix)),
        "format.labelValue" => |_| Ok(value(LabelValue)),
        "format.uri" => |_| Ok(value(Uri)),
        "format.uuid" => |_| Ok(value(Uuid)),
        "format.byte" => |_| Ok(value(Byte)),
        "format.date" => |_| Ok(value(Date)),
        "format.datetime" => |_| Ok(value(DateTime)),
        _ => return None,
    })
}

fn value<'a>(format: NamedFormat) -> Value<'a> {
    Value::Opaque(Opaque::Format(format))
}

fn answer<'a>(errors: &[String]) -> Value<'a> {
    if errors.is_empty() {
        return Value::Optional(None);
    }
    let errors = errors.iter().map(|error| Value::text(error.as_str()));
    Value::some(Value::list(errors.collect()))
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const NAME: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn alphanumeric(byte: u8, lower: bool) -> bool {
    byte.is_ascii_digit() || byte.is_ascii_lowercase() || (!lower && byte.is_ascii_uppercase())
}

fn is_label(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| alphanumeric(*byte, true));
    let bytes = text.as_bytes();
    ends(bytes.first())
        && ends(bytes.last())
        && bytes
            .iter()
            .all(|byte| alphanumeric(*byte, true) || *byte == b'-')
}

fn is_name(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| alphanumeric(*byte, false));
    let bytes = text.as_bytes();
    ends(bytes.first())
        && ends(bytes.last())
        && bytes
            .iter()
            .all(|byte| alphanumeric(*byte, false) || b"-_.".contains(byte))
}

/// Errors of a text that may be so long and must have this form.
fn form(text: &str, max: usize, good: bool, otherwise: &str) -> Vec<String> {
    let long = (text.len() > max).then(|| format!("must be no more than {max} characters"));
    let bad = (!good).then(|| otherwise.to_owned());
    long.into_iter().chain(bad).collect()
}

/// A prefix may end in a dash, because more will follow.
fn masked(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let cut = rest.char_indices().next_back().map_or(0, |(at, _)| at);
            format!("{}a", &rest[..cut])
        }
        _ => text.to_owned(),
    }
}

impl NamedFormat {
    /// The name in expressions.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, own)| *own == self)
            .map_or("", |(name, _)| name)
    }

    /// How long the pattern of such texts is, for the price of a check.
    pub(crate) fn pattern_length(self) -> u64 {
        match self {
            Dns1123Label | Dns1123LabelPrefix => 30,
            Dns1123Subdomain | Dns1123SubdomainPrefix => 60,
            Dns1035Label | Dns1035LabelPrefix => 30,
            QualifiedName | LabelValue => 60,
            Uri | Uuid | Byte | Date | DateTime => 100,
        }
    }

    /// What is wrong with a text.
    #[must_use]
    pub fn check(self, text: &str) -> Vec<String> {
        let by = |format: &str, otherwise: &str| match check_format(format, text) {
            Some(false) => vec![otherwise.to_owned()],
            _ => Vec::new(),
        };
        match self {
            Dns1123Label => form(text, 63, is_label(text), LABEL),
            Dns1123Subdomain => form(text, 253, text.split('.').all(is_label), SUBDOMAIN),
            Dns1035Label => {
                let letter = text.starts_with(|c: char| c.is_ascii_lowercase());
                form(text, 63, letter && is_label(text), LABEL_1035)
            }
            Dns1123LabelPrefix => Dns1123Label.check(&masked(text)),
            Dns1123SubdomainPrefix => Dns1123Subdomain.check(&masked(text)),
            Dns1035LabelPrefix => Dns1035Label.check(&masked(text)),
            LabelValue => form(text, 63, text.is_empty() || is_name(text), LABEL_VALUE),
            QualifiedName => qualified(text),
            Uri => Url::parse(text).err().into_iter().collect(),
            Uuid => by("uuid", "does not match the UUID format"),
            Byte => by("byte", "invalid base64"),
            Date => by("date", "invalid date"),
            DateTime => by("date-time", "invalid datetime"),
        }
    }
}

fn qualified(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => (*name).to_owned(),
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                let wrong = Dns1123Subdomain.check(prefix);
                errors.extend(wrong.iter().map(|error| format!("prefix part {error}")));
            }
            (*name).to_owned()
        }
        _ => {
            return vec![format!(
                "a qualified name {NAME} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        errors.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_name(&name) {
        errors.push(format!("name part {NAME}"));
    }
    errors
}

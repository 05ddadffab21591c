//! The rules about `Chart.yaml`.

use std::sync::LazyLock;

use fluvial_object::semver::Version;
use fluvial_template::quote;
use fluvial_template::sprig::is_go_url;
use regex::Regex;
use serde_json::Value as Json;

use super::{Findings, Severity};
use crate::metadata::Metadata;
use crate::values::{yaml_to_json, yaml_to_json_strictly};

const FILE: &str = "Chart.yaml";

const FIELDS: [&str; 17] = [
    "name",
    "home",
    "sources",
    "version",
    "description",
    "keywords",
    "maintainers",
    "icon",
    "apiVersion",
    "condition",
    "tags",
    "appVersion",
    "deprecated",
    "annotations",
    "kubeVersion",
    "dependencies",
    "type",
];
const MAINTAINER: [&str; 3] = ["name", "email", "url"];
const DEPENDENCY: [&str; 8] = [
    "name",
    "version",
    "repository",
    "condition",
    "tags",
    "enabled",
    "import-values",
    "alias",
];

/// Runs the rules in Helm's order.
pub(super) fn check(text: &str, findings: &mut Findings) {
    let mut metadata = Metadata::default();
    let json = match yaml_to_json(text).and_then(|json| metadata.merge(&json).map(|()| json)) {
        Ok(json) => json,
        Err(error) => {
            return findings.add(Severity::Error, FILE, format!("unable to parse YAML\n\t{error}"));
        }
    };
    let strict = yaml_to_json_strictly(text).err().or_else(|| {
        let field = quote(unknown(&json)?);
        Some(format!(
            "error unmarshaling JSON: while decoding JSON: json: unknown field {field}"
        ))
    });
    if let Some(problem) = strict {
        let problem = format!("failed to strictly parse chart metadata file\n\t{problem}");
        findings.add(Severity::Warning, FILE, problem);
    }
    let mut error = |problem: Option<String>| {
        if let Some(problem) = problem {
            findings.add(Severity::Error, FILE, problem);
        }
    };
    error(name(&metadata));
    error(api_version(&metadata));
    error(not_text(&json, "version"));
    error(version(&metadata));
    error(not_text(&json, "appVersion"));
    error(maintainers(&json, &metadata));
    error(
        metadata
            .sources
            .iter()
            .find(|source| !is_url(source))
            .map(|source| format!("invalid source URL '{source}'")),
    );
    if metadata.icon.is_empty() {
        findings.add(Severity::Info, FILE, "icon is recommended");
    } else if !is_url(&metadata.icon) {
        findings.add(
            Severity::Error,
            FILE,
            format!("invalid icon URL '{}'", metadata.icon),
        );
    }
    let version = &metadata.api_version;
    if version != "v2" {
        if !metadata.kind.is_empty() {
            findings.add(
                Severity::Error,
                FILE,
                format!("chart type is not valid in apiVersion '{version}'. It is valid in apiVersion 'v2'"),
            );
        }
        if !metadata.dependencies.is_empty() {
            findings.add(
                Severity::Error,
                FILE,
                format!(
                    "dependencies are not valid in the Chart file with apiVersion '{version}'. They are valid in \
                     apiVersion 'v2'"
                ),
            );
        }
    }
    if !is_strict(&metadata.version) {
        findings.add(
            Severity::Warning,
            FILE,
            format!("version '{}' is not a valid SemVerV2", metadata.version),
        );
    }
}

/// The first field that nobody reads, in the order of the decoder.
fn unknown(json: &Json) -> Option<&str> {
    let odd = |json: &'_ Json, known: &[&str]| -> Option<String> {
        let fields = json.as_object()?;
        fields
            .keys()
            .find(|key| !known.iter().any(|known| known.eq_ignore_ascii_case(key)))
            .cloned()
    };
    let fields = json.as_object()?;
    for (key, value) in fields {
        if !FIELDS.iter().any(|known| known.eq_ignore_ascii_case(key)) {
            return Some(key);
        }
        let inner: &[&str] = match key.as_str() {
            "maintainers" => &MAINTAINER,
            "dependencies" => &DEPENDENCY,
            _ => continue,
        };
        for item in value.as_array().into_iter().flatten() {
            if let Some(name) = odd(item, inner) {
                return item
                    .as_object()?
                    .keys()
                    .find(|key| **key == name)
                    .map(String::as_str);
            }
        }
    }
    None
}

fn name(metadata: &Metadata) -> Option<String> {
    let name = &metadata.name;
    if name.is_empty() {
        return Some("name is required".to_owned());
    }
    let base = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    (base != name).then(|| format!("chart name {} is invalid", quote(name)))
}

fn api_version(metadata: &Metadata) -> Option<String> {
    match metadata.api_version.as_str() {
        "" => Some("apiVersion is required. The value must be either \"v1\" or \"v2\"".to_owned()),
        "v1" | "v2" => None,
        other => Some(format!(
            "apiVersion '{other}' is not valid. The value must be either \"v1\" or \"v2\""
        )),
    }
}

fn not_text(json: &Json, field: &str) -> Option<String> {
    let kind = match json.get(field)? {
        Json::String(_) => return None,
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(_) => "float64",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    };
    Some(format!(
        "{field} should be of type string but it's of type {kind}"
    ))
}

fn version(metadata: &Metadata) -> Option<String> {
    let version = &metadata.version;
    if version.is_empty() {
        return Some("version is required".to_owned());
    }
    match Version::parse(version) {
        Err(_) => Some(format!("version '{version}' is not a valid SemVer")),
        Ok(parsed) => {
            let least = Version::parse("0.0.0-0").ok()?;
            (parsed <= least)
                .then(|| format!("version {} is less than or equal to \"0.0.0-0\"", quote(version)))
        }
    }
}

/// Whether a version has exactly the form of SemVer 2.
fn is_strict(version: &str) -> bool {
    const PATTERN: &str = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-((0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(\+([0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*))?$";
    static STRICT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(PATTERN).ok());
    STRICT.as_ref().is_some_and(|pattern| pattern.is_match(version))
}

fn maintainers(json: &Json, metadata: &Metadata) -> Option<String> {
    if json["maintainers"]
        .as_array()
        .is_some_and(|people| people.iter().any(Json::is_null))
    {
        return Some("a maintainer entry is empty".to_owned());
    }
    metadata.maintainers.iter().find_map(|person| {
        if person.name.is_empty() {
            Some("each maintainer requires a name".to_owned())
        } else if !person.email.is_empty() && !is_address(&person.email) {
            Some(format!(
                "invalid email '{}' for maintainer '{}'",
                person.email, person.name
            ))
        } else if !person.url.is_empty() && !is_page(&person.url) {
            Some(format!(
                "invalid url '{}' for maintainer '{}'",
                person.url, person.name
            ))
        } else {
            None
        }
    })
}

/// Whether it is somebody's address: words between dots, an @, and the name of a host with a domain.
fn is_address(text: &str) -> bool {
    let odd = |c: char| !c.is_ascii() && !c.is_whitespace();
    let word = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || odd(c))
    };
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || odd(c));
    let label = |label: &str| {
        end(label.chars().next())
            && end(label.chars().next_back())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_~".contains(c) || odd(c))
    };
    let Some((user, host)) = text.rsplit_once('@') else {
        return false;
    };
    let quoted = user.len() > 1 && user.starts_with('"') && user.ends_with('"');
    let host = host.strip_suffix('.').unwrap_or(host);
    (quoted || user.split('.').all(word))
        && host.contains('.')
        && host.split('.').all(label)
        && host
            .rsplit('.')
            .next()
            .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic() || odd(c)))
}

/// Whether it is an address with a scheme.
fn is_url(text: &str) -> bool {
    let scheme = text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && !scheme.contains('/')
    });
    // What follows a # is no part of a request's address, and may hold anything.
    scheme && is_go_url(text.split('#').next().unwrap_or_default())
}

/// Whether it is the address of a page, whose scheme may be left out.
fn is_page(text: &str) -> bool {
    let bare = [
        "http://", "https://", "ws://", "wss://", "ftp://", "tcp://", "udp://",
    ]
    .iter()
    .find_map(|scheme| text.strip_prefix(scheme))
    .unwrap_or(text);
    let end = bare.find(['/', '?', '#']).unwrap_or(bare.len());
    let host = bare[..end].rsplit('@').next().unwrap_or_default();
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, port),
        _ => (host, "0"),
    };
    let named = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | '[' | ']' | ':');
    text.len() > 3
        && !text.contains(char::is_whitespace)
        && host.starts_with(|c: char| c.is_alphanumeric() || c == '[')
        && host.chars().all(named)
        && (1..=5).contains(&port.len())
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && (host.contains('.') || text.contains("://") || port != "0")
}

//! What the options of `create` hold: references, addresses, durations, paths.

/// A reference to an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

/// `KIND/NAME`; no kind if it is not so written.
pub(super) fn kind_and_name(text: &str) -> Named {
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [kind, name] => Named {
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: String::new(),
        },
        _ => Named {
            name: text.to_owned(),
            ..Named::default()
        },
    }
}

/// `KIND/NAME.NAMESPACE`, or without the namespace.
pub(super) fn reference(text: &str) -> Named {
    let mut named = kind_and_name(text);
    if let Some((name, namespace)) = named.name.rsplit_once('.') {
        (named.name, named.namespace) = (name.to_owned(), namespace.to_owned());
    }
    named
}

/// A reference of one of some kinds, in any letter case.
pub(super) fn source(
    text: &str,
    kinds: &[&str],
    default: Option<&str>,
    namespaced: bool,
) -> Result<Named, String> {
    let mut named = if namespaced {
        reference(text)
    } else {
        kind_and_name(text)
    };
    if named.kind.is_empty() {
        match default {
            Some(kind) if !text.contains('/') => kind.clone_into(&mut named.kind),
            _ => {
                return Err(format!(
                    "invalid Kubernetes object reference '{text}', must be in format <kind>/<name>"
                ));
            }
        }
    }
    let Some(kind) = kinds.iter().find(|kind| kind.eq_ignore_ascii_case(&named.kind)) else {
        return Err(format!(
            "source kind '{}' is not supported, must be one of: {}",
            named.kind,
            kinds.join(", ")
        ));
    };
    if named.name.is_empty() {
        return Err(format!("no name given for source of kind '{kind}'"));
    }
    (*kind).clone_into(&mut named.kind);
    Ok(named)
}

/// `NAMESPACE/NAME`, or a name.
pub(super) fn dependency(text: &str) -> serde_json::Value {
    match text.split_once('/') {
        Some((namespace, name)) => serde_json::json!({"name": name, "namespace": namespace}),
        None => serde_json::json!({"name": text}),
    }
}

/// A duration as Go reads it, in Go's form.
pub(super) fn duration(text: &str) -> Result<String, String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    if let Ok(duration) = rest.parse::<fluvial_api::Duration>() {
        let sign = if duration.0.is_zero() { "" } else { sign };
        return Ok(format!("{sign}{duration}"));
    }
    let unitless = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if unitless && rest != "." {
        return Err(format!("time: missing unit in duration {text:?}"));
    }
    let unit: String = rest
        .chars()
        .skip_while(|c| c.is_ascii_digit() || *c == '.')
        .take_while(|c| !c.is_ascii_digit() && *c != '.')
        .collect();
    match rest.starts_with(|c: char| c.is_ascii_digit()) && !unit.is_empty() {
        true => Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        false => Err(format!("time: invalid duration {text:?}")),
    }
}

/// A path that cannot leave the folder it is seen from, with `./` in front.
pub(super) fn inner_path(text: &str) -> String {
    let mut parts: Vec<&str> = vec![];
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("./{}", parts.join("/"))
}

/// The scheme of a URL, in Go's reading of it.
pub(super) fn scheme(url: &str) -> Result<String, String> {
    let fail = |why: &str| Err(format!("parse {url:?}: {why}"));
    if url.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return fail("net/url: invalid control character in URL");
    }
    for (at, c) in url.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return fail("missing protocol scheme"),
            ':' => return Ok(url[..at].to_lowercase()),
            _ => break,
        }
    }
    let first = url.split('/').next().unwrap_or_default();
    if first.contains(':') {
        return fail("first path segment in URL cannot contain colon");
    }
    Ok(String::new())
}

/// What is wrong with the name of an image, without tag.
pub(super) fn wrong_repository(text: &str) -> Option<String> {
    const CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789_-./";
    if text.is_empty() {
        return Some("a repository name must be specified".to_owned());
    }
    let mut repository = text;
    if let Some((host, rest)) = text.split_once('/')
        && (host.contains(['.', ':']) || host == "localhost")
    {
        repository = rest;
    }
    if !(2..=255).contains(&repository.len()) {
        return Some(format!(
            "repository must be between 2 and 255 characters in length: {repository}"
        ));
    }
    (!repository.chars().all(|c| CHARACTERS.contains(c)))
        .then(|| format!("repository can only contain the characters `{CHARACTERS}`: {repository}"))
}

/// Whether it is the reference of an image, with or without tag or digest.
pub(super) fn is_image(text: &str) -> bool {
    if let Some((base, digest)) = text.split_once('@') {
        let base = tagless(base).0;
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        return wrong_repository(base).is_none()
            && hex.len() == 64
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    let (base, tag) = tagless(text);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    wrong_repository(base).is_none()
        && tag.is_none_or(|tag| (1..=127).contains(&tag.len()) && tag.chars().all(fits))
}

fn tagless(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        // A colon before a slash belongs to the port of a host.
        Some((base, tag)) if !tag.contains('/') => (base, Some(tag)),
        _ => (text, None),
    }
}

fn is_label_part(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// What is wrong with the key of a label.
pub(super) fn wrong_label_key(key: &str) -> Option<String> {
    let name = match key.split_once('/') {
        Some((prefix, name)) => {
            if prefix.is_empty() {
                return Some("prefix part must be non-empty".to_owned());
            }
            name
        }
        None => key,
    };
    if name.is_empty() {
        return Some("name part must be non-empty".to_owned());
    }
    if name.len() > 63 {
        return Some("name part must be no more than 63 bytes".to_owned());
    }
    (!is_label_part(name)).then(|| {
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
         alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            .to_owned()
    })
}

/// What is wrong with the value of a label.
pub(super) fn wrong_label_value(value: &str) -> Option<String> {
    if value.len() > 63 {
        return Some("must be no more than 63 bytes".to_owned());
    }
    (!value.is_empty() && !is_label_part(value)).then(|| {
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
         and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
         validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            .to_owned()
    })
}

/// One word of a list, or what flux says of any other.
pub(super) fn one_of(text: &str, words: &[&str], what: &str) -> Result<String, String> {
    if words.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{what} '{text}' is not supported, must be one of: {}",
        words.join(", ")
    ))
}

/// Joins paths to leave out, one a line.
pub(super) fn lines(paths: &[String]) -> Option<String> {
    (!paths.is_empty()).then(|| paths.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let named = reference("HelmRelease/my.app.ns");
        assert_eq!(
            (named.kind.as_str(), named.name.as_str()),
            ("HelmRelease", "my.app")
        );
        assert_eq!(named.namespace, "ns");
        assert_eq!(
            source("x", &["GitRepository"], Some("GitRepository"), true)
                .unwrap()
                .kind,
            "GitRepository"
        );
        assert!(source("gitrepository/", &["GitRepository"], None, true).is_err());
    }

    #[test]
    fn paths_stay_inside() {
        for (text, path) in [
            ("/abs", "./abs"),
            ("../up", "./up"),
            ("./a/../../b", "./b"),
            ("", "./"),
        ] {
            assert_eq!(inner_path(text), path);
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(duration("-1m").unwrap(), "-1m0s");
        assert_eq!(duration("5").unwrap_err(), "time: missing unit in duration \"5\"");
        assert_eq!(
            duration("5y").unwrap_err(),
            "time: unknown unit \"y\" in duration \"5y\""
        );
        assert_eq!(duration("x").unwrap_err(), "time: invalid duration \"x\"");
    }

    #[test]
    fn images_are_checked() {
        assert!(is_image("alpine") && is_image("ghcr.io/org/app:v1") && is_image("localhost:5000/xy"));
        assert!(!is_image("localhost:5000/x") && !is_image("bad url"));
        assert!(wrong_repository("https://ghcr.io/org/app").is_none());
    }
}

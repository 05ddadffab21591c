//! Paths and queries: what a request asks for.

/// A request's query, in order, decoded.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

/// Decodes percent signs (and `+` in queries).
fn decode(text: &str, plus: bool) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        match bytes[at] {
            b'+' if plus => out.push(b' '),
            b'%' => match (
                bytes.get(at + 1).copied().and_then(hex),
                bytes.get(at + 2).copied().and_then(hex),
            ) {
                (Some(high), Some(low)) => {
                    out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether each percent sign of a path has its two digits.
#[must_use]
pub fn is_readable(path: &str) -> bool {
    let mut rest = path.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let digits = rest.get(at + 1..at + 3);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return false;
        }
        rest = &rest[at + 3..];
    }
    true
}

impl Query {
    /// Reads a query string.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Query(pairs.collect())
    }

    /// The first value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value, or nothing.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// All values of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A flag, as conversion of queries reads it: present and neither `false` nor `0`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }
}

/// What a path names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// API group; empty for the core.
    pub group: String,
    /// Version.
    pub version: String,
    /// Namespace; empty when none is named.
    pub namespace: String,
    /// Resource.
    pub resource: String,
    /// Object's name; empty for the whole collection.
    pub name: String,
    /// Subresource.
    pub subresource: String,
    /// What follows the subresource (proxies).
    pub rest: Vec<String>,
    /// The old `/watch/` form.
    pub watch: bool,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// A resource.
    Resource(Target),
    /// `/api`, `/apis`, `/api/v1`, `/apis/GROUP`, `/apis/GROUP/VERSION`: segments after the first.
    Discovery(bool, Vec<String>),
    /// Anything else.
    Other,
}

/// Splits a path.
#[must_use]
pub fn parse(path: &str) -> Path {
    let segments: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| decode(segment, false))
        .collect();
    let mut rest = segments.into_iter();
    let core = match rest.next().as_deref() {
        Some("api") => true,
        Some("apis") => false,
        _ => return Path::Other,
    };
    let rest: Vec<String> = rest.collect();
    let skip = if core { 1 } else { 2 };
    if rest.len() <= skip {
        return Path::Discovery(core, rest);
    }
    let mut target = Target::default();
    let mut rest = rest.into_iter();
    if !core {
        target.group = rest.next().unwrap_or_default();
    }
    target.version = rest.next().unwrap_or_default();
    let mut rest: std::collections::VecDeque<String> = rest.collect();
    if rest.front().is_some_and(|segment| segment == "watch") && rest.len() > 1 {
        target.watch = true;
        rest.pop_front();
    }
    if rest.front().is_some_and(|segment| segment == "namespaces") && rest.len() > 1 {
        target.namespace = rest[1].clone();
        let own = rest.len() == 2 || matches!(rest[2].as_str(), "status" | "finalize");
        if !own {
            rest.drain(..2);
        }
    }
    target.resource = rest.pop_front().unwrap_or_default();
    target.name = rest.pop_front().unwrap_or_default();
    target.subresource = rest.pop_front().unwrap_or_default();
    target.rest = rest.into();
    Path::Resource(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target {
        match parse(path) {
            Path::Resource(target) => target,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn namespaces_are_objects_and_scopes() {
        let namespace = target("/api/v1/namespaces/a");
        assert_eq!(
            (&*namespace.resource, &*namespace.name, &*namespace.namespace),
            ("namespaces", "a", "a")
        );
        let finalize = target("/api/v1/namespaces/a/finalize");
        assert_eq!(
            (&*finalize.resource, &*finalize.subresource),
            ("namespaces", "finalize")
        );
        let scale = target("/apis/apps/v1/namespaces/a/deployments/d/scale");
        assert_eq!(
            (&*scale.group, &*scale.name, &*scale.subresource),
            ("apps", "d", "scale")
        );
        assert_eq!(target("/api/v1/nodes").resource, "nodes");
        assert!(target("/api/v1/watch/namespaces/a/pods").watch);
        assert_eq!(
            parse("/apis/apps/v1"),
            Path::Discovery(false, vec!["apps".into(), "v1".into()])
        );
    }

    #[test]
    fn queries_are_decoded() {
        assert!(["/a", "/a%2Fb", "/%25"].into_iter().all(is_readable));
        assert!(!["/a%", "/a%b", "/%2", "/%zz"].into_iter().any(is_readable));
        let query = Query::parse("labelSelector=a%3Db%2Cc&x=1+2&watch&dry=0");
        assert_eq!(query.text("labelSelector"), "a=b,c");
        assert_eq!(query.text("x"), "1 2");
        assert!(query.flag("watch") && !query.flag("dry"));
    }
}

//! Names of images: which texts are any.

/// Whether a text names an image: a host perhaps, a path in lower case, then a tag or a digest.
#[must_use]
pub fn is_reference(text: &str) -> bool {
    let name = text.split('@').next().unwrap_or("");
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    let path = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" || !is_low(host) => {
            if !is_host(host) {
                return false;
            }
            path
        }
        _ => name,
    };
    // It would be taken for an identifier.
    let is_id = name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    name.len() <= 255 && !is_id && path.split('/').all(is_component) && tag.is_none_or(is_tag)
}

fn is_low(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let part = |part: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        edge(part.bytes().next()) && edge(part.bytes().last()) && part.bytes().all(inner)
    };
    name.split('.').all(part) && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Lower case letters and digits, with a dot, up to two underscores or dashes in between.
fn is_component(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = part.bytes().next().is_some_and(plain) && part.bytes().last().is_some_and(plain);
    let mut signs = part.split(|byte: char| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    ends && signs.all(|sign| matches!(sign, "" | "." | "_" | "__") || sign.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let first = tag
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    first && tag.len() <= 128 && tag.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use super::is_reference;

    #[test]
    fn only_names_in_lower_case_are_references() {
        for good in [
            "nginx",
            "a/b/c",
            "Host.io/a__b",
            "localhost:5000/x:V1",
            "x@sha256:00",
            "a--b.c:1",
        ] {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["", "Bogus_X", "-a b", "a/B", "x:", "x:-1", "a//b", "a___b"] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}

//! Slash-separated paths, as Go's `path` and (on Unix) `path/filepath`.

use crate::function::{Functions, Params, Type, text};

use super::text_at;

pub(super) fn register(functions: &mut Functions) {
    let s1 = || Params::fixed(&[Type::Str]);
    functions.pure("base", s1(), |v| text(base(text_at(v, 0))));
    functions.pure("dir", s1(), |v| text(dir(text_at(v, 0))));
    functions.pure("clean", s1(), |v| text(clean(text_at(v, 0))));
    functions.pure("ext", s1(), |v| text(ext(text_at(v, 0))));
    functions.pure("isAbs", s1(), |v| Ok(text_at(v, 0).starts_with('/').into()));
    for (name, of) in [
        ("osBase", "base"),
        ("osDir", "dir"),
        ("osClean", "clean"),
        ("osExt", "ext"),
        ("osIsAbs", "isAbs"),
    ] {
        functions.alias(name, of);
    }
}

/// `path.Base`
#[must_use]
pub(super) fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return "/";
    }
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}

fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |slash| &path[..=slash]))
}

/// `path.Clean`
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&"..") | None if !rooted => parts.push(".."),
                _ => {
                    parts.pop();
                }
            },
            name => parts.push(name),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn ext(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').map_or("", |dot| &name[dot..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_go() {
        assert_eq!(clean("/../a/./b//../c"), "/a/c");
        assert_eq!(clean("../../a"), "../../a");
        assert_eq!(clean(""), ".");
        assert_eq!(dir("a/b"), "a");
        assert_eq!(base("a/b/"), "b");
        assert_eq!(ext("a.b/c"), "");
    }
}

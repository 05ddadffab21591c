//! Paths inside a tree: relative, `/`-separated, without `.`, `..` or empty parts.

use std::fmt;

/// A path from the root of a tree. The empty path is the root itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(String);

/// Why a text is no path inside a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It begins with `/`.
    Absolute(String),
    /// Its `..` parts lead above the root.
    Escapes(String),
    /// It holds a NUL byte or a backslash, which no tree entry may have.
    Forbidden(String),
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathError::Absolute(path) => {
                write!(f, "path '{path}' is absolute; use a path relative to the root")
            }
            PathError::Escapes(path) => write!(f, "path '{path}' leads outside of the root"),
            PathError::Forbidden(path) => {
                write!(
                    f,
                    "path '{}' holds a character that no file name here may have",
                    path.escape_debug()
                )
            }
        }
    }
}

impl std::error::Error for PathError {}

impl TreePath {
    /// The root.
    #[must_use]
    pub fn root() -> Self {
        TreePath(String::new())
    }

    /// Reads and normalises a relative path; `./a//b/../c` is `a/c`.
    ///
    /// # Errors
    /// If the path is absolute, leads outside or holds a forbidden character.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        Self::root().join(text)
    }

    /// The path that `relative` names when read in this folder.
    ///
    /// # Errors
    /// As [`TreePath::parse`].
    pub fn join(&self, relative: &str) -> Result<Self, PathError> {
        if relative.starts_with('/') {
            return Err(PathError::Absolute(relative.to_owned()));
        }
        if relative.bytes().any(|byte| matches!(byte, 0 | b'\\')) {
            return Err(PathError::Forbidden(relative.to_owned()));
        }
        let mut path = String::with_capacity(self.0.len() + 1 + relative.len());
        path.push_str(&self.0);
        for part in relative.split('/') {
            match part {
                "" | "." => {}
                ".." if path.is_empty() => return Err(PathError::Escapes(relative.to_owned())),
                ".." => path.truncate(path.rfind('/').unwrap_or(0)),
                name => {
                    if !path.is_empty() {
                        path.push('/');
                    }
                    path.push_str(name);
                }
            }
        }
        Ok(TreePath(path))
    }

    /// The text, without a leading or trailing slash; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names from the root down.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// The last name; none for the root.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.parts().next_back()
    }

    /// The folder that holds this entry; none for the root.
    #[must_use]
    pub fn parent(&self) -> Option<TreePath> {
        if self.is_root() {
            return None;
        }
        Some(TreePath(
            self.0
                .rsplit_once('/')
                .map_or(String::new(), |(parent, _)| parent.to_owned()),
        ))
    }

    /// Whether this is `ancestor` or lies below it.
    #[must_use]
    pub fn starts_with(&self, ancestor: &TreePath) -> bool {
        self.strip_prefix(ancestor).is_some()
    }

    /// The rest of the path below `ancestor`; empty if they are equal.
    #[must_use]
    pub fn strip_prefix(&self, ancestor: &TreePath) -> Option<&str> {
        if ancestor.is_root() {
            return Some(&self.0);
        }
        let rest = self.0.strip_prefix(&ancestor.0)?;
        if rest.is_empty() {
            Some(rest)
        } else {
            rest.strip_prefix('/')
        }
    }
}

/// Paths are in the order of their texts.
impl std::borrow::Borrow<str> for TreePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    #[test]
    fn paths_are_normalised() {
        assert_eq!(path("./a//b/../c/").as_str(), "a/c");
        assert_eq!(path("a/..").as_str(), "");
        assert_eq!(path("a/b").join("../../c").unwrap().as_str(), "c");
        assert_eq!(path("").to_string(), ".");
    }

    #[test]
    fn paths_never_leave_the_root() {
        assert_eq!(TreePath::parse("/etc"), Err(PathError::Absolute("/etc".into())));
        assert_eq!(
            TreePath::parse("a/../../b"),
            Err(PathError::Escapes("a/../../b".into()))
        );
        assert_eq!(TreePath::parse("a\\b"), Err(PathError::Forbidden("a\\b".into())));
        assert_eq!(TreePath::parse("a\0"), Err(PathError::Forbidden("a\0".into())));
    }

    #[test]
    fn prefixes_end_at_a_slash() {
        assert!(path("a/b").starts_with(&path("a")));
        assert!(path("a").starts_with(&path("a")));
        assert!(!path("ab").starts_with(&path("a")));
        assert_eq!(path("a/b/c").strip_prefix(&path("a")), Some("b/c"));
        assert_eq!(path("a/b").parent().unwrap().as_str(), "a");
        assert_eq!(path("a").parent(), Some(TreePath::root()));
        assert_eq!(TreePath::root().parent(), None);
    }
}

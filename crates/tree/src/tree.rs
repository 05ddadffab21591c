//! The tree itself: a sorted map from path to entry behind an `Arc`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};

use crate::path::{PathError, TreePath};

/// How many symlinks one lookup may follow, as Linux has it.
const MAX_LINKS: usize = 40;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `data`.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Digest(Sha256::digest(data).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A regular file. Clones share the content.
#[derive(Clone, Debug)]
pub struct File {
    content: Content,
    /// Whether its owner may execute it.
    pub executable: bool,
    digest: Arc<OnceLock<Digest>>,
}

#[derive(Clone)]
enum Content {
    Here(Arc<[u8]>),
    Later(Arc<Later>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Here(data) => write!(f, "{} bytes", data.len()),
            Content::Later(later) => write!(f, "{} bytes, read when they are asked for", later.length),
        }
    }
}

/// What is read when somebody asks for it.
struct Later {
    length: usize,
    read: Box<dyn Fn() -> Arc<[u8]> + Send + Sync>,
    data: OnceLock<Arc<[u8]>>,
}

impl File {
    /// A file with this content.
    #[must_use]
    pub fn new(data: impl Into<Arc<[u8]>>, executable: bool) -> Self {
        File {
            content: Content::Here(data.into()),
            executable,
            digest: Arc::default(),
        }
    }

    /// A file whose content is read when it is first asked for, and then kept. That cannot fail here: whoever gives `read`
    /// has to remember a failure, and to look for one before what was made of the content is used.
    #[must_use]
    pub fn later(length: usize, read: impl Fn() -> Arc<[u8]> + Send + Sync + 'static) -> Self {
        File {
            content: Content::Later(Arc::new(Later {
                length,
                read: Box::new(read),
                data: OnceLock::new(),
            })),
            executable: false,
            digest: Arc::default(),
        }
    }

    fn content(&self) -> &Arc<[u8]> {
        match &self.content {
            Content::Here(data) => data,
            Content::Later(later) => later.data.get_or_init(&later.read),
        }
    }

    /// Bytes of the content; it is not read for that.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.content {
            Content::Here(data) => data.len(),
            Content::Later(later) => later.length,
        }
    }

    /// The content.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.content()
    }

    /// The content, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<[u8]> {
        Arc::clone(self.content())
    }

    /// The digest of the content, computed once.
    #[must_use]
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| Digest::of(self.data()))
    }
}

/// What a path leads to.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A regular file.
    File(File),
    /// A symbolic link with its target as written.
    Symlink(String),
    /// A folder; every entry's ancestors are folders of the tree.
    Folder,
}

/// Why a lookup through symlinks failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// There is nothing at this path.
    NotFound(TreePath),
    /// A symlink leads outside of the tree: the link, and its target.
    Escapes(TreePath, String),
    /// The links run in a circle, or there are too many.
    TooManyLinks(TreePath),
    /// A part of the path that is followed by more is no folder.
    NotAFolder(TreePath),
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolveError::NotFound(path) => write!(f, "'{path}' does not exist"),
            ResolveError::Escapes(path, target) => {
                write!(f, "symlink '{path}' leads outside of the root (to '{target}')")
            }
            ResolveError::TooManyLinks(path) => write!(f, "too many symlinks on the way to '{path}'"),
            ResolveError::NotAFolder(path) => write!(f, "'{path}' is not a folder"),
        }
    }
}

impl std::error::Error for ResolveError {}

#[derive(Debug, Default)]
struct Inner {
    entries: BTreeMap<TreePath, Entry>,
    digest: OnceLock<Digest>,
}

/// An immutable file tree. Clones share everything.
#[derive(Clone, Debug, Default)]
pub struct Tree(Arc<Inner>);

impl Tree {
    /// The entry at exactly this path, symlinks not followed. The root is a folder.
    #[must_use]
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        if path.is_root() {
            Some(&Entry::Folder)
        } else {
            self.0.entries.get(path)
        }
    }

    /// Follows symlinks, within the tree, in every part of the path.
    ///
    /// # Errors
    /// If nothing is there, or a link leads outside or in a circle.
    pub fn resolve(&self, path: &TreePath) -> Result<(TreePath, &Entry), ResolveError> {
        if let Some(entry) = self.plain(path) {
            return Ok((path.clone(), entry));
        }
        let mut links = 0;
        let mut here = TreePath::root();
        let mut rest: Vec<String> = path.parts().rev().map(str::to_owned).collect();
        let mut entry = &Entry::Folder;
        while let Some(name) = rest.pop() {
            if !matches!(entry, Entry::Folder) {
                return Err(ResolveError::NotAFolder(here));
            }
            if name == ".." {
                // Only a symlink's target holds these; they are read after the links before them.
                here = here
                    .parent()
                    .ok_or_else(|| ResolveError::Escapes(path.clone(), "..".to_owned()))?;
                continue;
            }
            let next = here
                .join(&name)
                .map_err(|_| ResolveError::NotFound(path.clone()))?;
            match self
                .get(&next)
                .ok_or_else(|| ResolveError::NotFound(next.clone()))?
            {
                Entry::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(ResolveError::TooManyLinks(path.clone()));
                    }
                    if target.starts_with('/') {
                        return Err(ResolveError::Escapes(next, target.clone()));
                    }
                    rest.extend(
                        target
                            .split('/')
                            .rev()
                            .filter(|part| !matches!(*part, "" | "."))
                            .map(str::to_owned),
                    );
                    let depth = here.parts().count();
                    if escapes(target, depth) {
                        return Err(ResolveError::Escapes(next, target.clone()));
                    }
                }
                found => {
                    here = next;
                    entry = found;
                }
            }
        }
        let entry = self
            .get(&here)
            .ok_or_else(|| ResolveError::NotFound(path.clone()))?;
        Ok((here, entry))
    }

    /// The entry at a path on which there are no symlinks.
    fn plain(&self, path: &TreePath) -> Option<&Entry> {
        let entry = self
            .get(path)
            .filter(|entry| !matches!(entry, Entry::Symlink(_)))?;
        let text = path.as_str();
        let mut folders = text.match_indices('/').map(|(end, _)| &text[..end]);
        folders
            .all(|folder| matches!(self.0.entries.get(folder), Some(Entry::Folder)))
            .then_some(entry)
    }

    /// The file at this path, symlinks followed.
    ///
    /// # Errors
    /// As [`Tree::resolve`]; a folder counts as not found.
    pub fn file(&self, path: &TreePath) -> Result<&File, ResolveError> {
        if let Some(Entry::File(file)) = self.plain(path) {
            return Ok(file);
        }
        match self.resolve(path)? {
            (_, Entry::File(file)) => Ok(file),
            _ => Err(ResolveError::NotFound(path.clone())),
        }
    }

    /// Whether this path leads to a folder, symlinks followed.
    #[must_use]
    pub fn is_folder(&self, path: &TreePath) -> bool {
        matches!(self.resolve(path), Ok((_, Entry::Folder)))
    }

    /// All entries in path order, folders included, the root not.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Entry)> {
        self.0.entries.iter()
    }

    /// The entries directly in a folder, sorted by name.
    pub fn children<'a>(&'a self, folder: &'a TreePath) -> impl Iterator<Item = (&'a TreePath, &'a Entry)> {
        self.below(folder)
            .filter(move |(path, _)| path.strip_prefix(folder).is_some_and(|rest| !rest.contains('/')))
    }

    /// All entries below a folder, sorted by path, the folder itself not included.
    pub fn below<'a>(&'a self, folder: &'a TreePath) -> impl Iterator<Item = (&'a TreePath, &'a Entry)> {
        // `a-b` sorts between `a` and `a/b`, so the range starts at the folder and is filtered.
        self.0
            .entries
            .range((Bound::Excluded(folder.clone()), Bound::Unbounded))
            .take_while(move |(path, _)| path.as_str().starts_with(folder.as_str()))
            .filter(move |(path, _)| path.starts_with(folder))
    }

    /// The folder as a tree of its own; files are shared.
    #[must_use]
    pub fn subtree(&self, folder: &TreePath) -> Tree {
        let mut builder = TreeBuilder::default();
        for (path, entry) in self.below(folder) {
            if let Some(rest) = path.strip_prefix(folder) {
                builder
                    .entries
                    .insert(TreePath::parse(rest).unwrap_or_default(), entry.clone());
            }
        }
        builder.build()
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.entries.is_empty()
    }

    /// A builder that starts with everything of this tree.
    #[must_use]
    pub fn to_builder(&self) -> TreeBuilder {
        TreeBuilder {
            entries: self.0.entries.clone(),
        }
    }

    /// The digest of names, kinds, modes and contents: equal trees, equal digests.
    #[must_use]
    pub fn digest(&self) -> Digest {
        *self.0.digest.get_or_init(|| {
            let mut hash = Sha256::new();
            for (path, entry) in self.iter() {
                hash.update((path.as_str().len() as u64).to_be_bytes());
                hash.update(path.as_str());
                match entry {
                    Entry::Folder => hash.update(b"d"),
                    Entry::Symlink(target) => {
                        hash.update(b"l");
                        hash.update((target.len() as u64).to_be_bytes());
                        hash.update(target);
                    }
                    Entry::File(file) => {
                        hash.update(if file.executable { b"x" } else { b"f" });
                        hash.update(file.digest().as_bytes());
                    }
                }
            }
            Digest(hash.finalize().into())
        })
    }
}

/// Whether a link's target climbs above the root from a folder this deep.
fn escapes(target: &str, depth: usize) -> bool {
    let mut depth = depth;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// Collects entries for a [`Tree`]. Later entries replace earlier ones at the same path.
#[derive(Clone, Debug, Default)]
pub struct TreeBuilder {
    entries: BTreeMap<TreePath, Entry>,
}

impl TreeBuilder {
    /// Adds a file and the folders above it.
    ///
    /// # Errors
    /// If the path is no path inside a tree, or is the root.
    pub fn file(&mut self, path: &str, file: File) -> Result<&mut Self, PathError> {
        self.insert(path, Entry::File(file))
    }

    /// Adds a symlink and the folders above it.
    ///
    /// # Errors
    /// As [`TreeBuilder::file`].
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<&mut Self, PathError> {
        self.insert(path, Entry::Symlink(target.to_owned()))
    }

    /// Adds a folder and those above it.
    ///
    /// # Errors
    /// As [`TreeBuilder::file`]; the root is accepted.
    pub fn folder(&mut self, path: &str) -> Result<&mut Self, PathError> {
        self.insert(path, Entry::Folder)
    }

    /// Removes an entry and, if it is a folder, all below it.
    pub fn remove(&mut self, path: &TreePath) -> &mut Self {
        self.entries.retain(|entry, _| !entry.starts_with(path));
        self
    }

    fn insert(&mut self, path: &str, entry: Entry) -> Result<&mut Self, PathError> {
        let path = TreePath::parse(path)?;
        if path.is_root() {
            return match entry {
                Entry::Folder => Ok(self),
                _ => Err(PathError::Forbidden(String::new())),
            };
        }
        let mut parent = path.parent();
        while let Some(folder) = parent.filter(|folder| !folder.is_root()) {
            if matches!(self.entries.get(&folder), Some(Entry::Folder)) {
                break;
            }
            self.entries.insert(folder.clone(), Entry::Folder);
            parent = folder.parent();
        }
        match (&entry, self.entries.get(&path)) {
            (Entry::Folder, Some(Entry::Folder)) => {}
            _ => {
                self.entries.insert(path, entry);
            }
        }
        Ok(self)
    }

    /// The finished tree.
    #[must_use]
    pub fn build(self) -> Tree {
        Tree(Arc::new(Inner {
            entries: self.entries,
            digest: OnceLock::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut builder = TreeBuilder::default();
        builder.file("a/b.yaml", File::new(*b"b", false)).unwrap();
        builder.file("a-b/x", File::new(*b"x", true)).unwrap();
        builder.file("a/c/d", File::new(*b"d", false)).unwrap();
        builder.symlink("a/up", "../a-b").unwrap();
        builder.symlink("a/out", "../../etc").unwrap();
        builder.symlink("loop", "loop").unwrap();
        builder.symlink("abs", "/etc").unwrap();
        builder.build()
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    #[test]
    fn a_content_is_read_once_and_only_if_it_is_asked_for() {
        let read = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&read);
        let times = move || count.load(std::sync::atomic::Ordering::Relaxed);
        let file = File::later(3, move || {
            read.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Arc::from(*b"abc")
        });
        let copy = file.clone();
        assert_eq!((file.size(), times()), (3, 0));
        assert_eq!((file.data(), copy.data(), times()), (&b"abc"[..], &b"abc"[..], 1));
        assert_eq!(copy.digest(), File::new(*b"abc", false).digest());
    }

    #[test]
    fn folders_exist_and_children_are_direct() {
        let tree = tree();
        assert!(tree.is_folder(&path("a/c")));
        let folder = path("a");
        let names: Vec<_> = tree.children(&folder).map(|(path, _)| path.as_str()).collect();
        assert_eq!(names, ["a/b.yaml", "a/c", "a/out", "a/up"]);
        let below: Vec<_> = tree.below(&folder).map(|(path, _)| path.as_str()).collect();
        assert_eq!(below, ["a/b.yaml", "a/c", "a/c/d", "a/out", "a/up"]);
    }

    #[test]
    fn symlinks_are_followed_inside_only() {
        let tree = tree();
        assert_eq!(tree.file(&path("a/up/x")).unwrap().data(), b"x");
        assert_eq!(tree.resolve(&path("a/up/x")).unwrap().0, path("a-b/x"));
        assert!(matches!(
            tree.resolve(&path("a/out/passwd")),
            Err(ResolveError::Escapes(..))
        ));
        assert!(matches!(
            tree.resolve(&path("abs")),
            Err(ResolveError::Escapes(..))
        ));
        assert!(matches!(
            tree.resolve(&path("loop")),
            Err(ResolveError::TooManyLinks(_))
        ));
        assert!(matches!(
            tree.resolve(&path("a/b.yaml/z")),
            Err(ResolveError::NotAFolder(_))
        ));
        assert!(matches!(
            tree.resolve(&path("nope")),
            Err(ResolveError::NotFound(_))
        ));
    }

    #[test]
    fn equal_trees_have_equal_digests() {
        assert_eq!(tree().digest(), tree().digest());
        let mut builder = tree().to_builder();
        builder.file("a/b.yaml", File::new(*b"b", true)).unwrap();
        assert_ne!(builder.build().digest(), tree().digest());
    }

    #[test]
    fn a_subtree_is_a_tree_of_its_own() {
        let sub = tree().subtree(&path("a"));
        assert_eq!(sub.file(&path("c/d")).unwrap().data(), b"d");
        assert!(matches!(sub.resolve(&path("up")), Err(ResolveError::Escapes(..))));
    }
}

//! From Git objects straight to a file tree, without a work tree.
//!
//! A revision keeps its folders as shared nodes named by their tree ids: the next revision takes
//! over every folder and file whose id is unchanged, so time and memory follow the change.

use std::collections::VecDeque;
use std::sync::Arc;

use fluvial_tree::{Entry, File, Tree, TreeBuilder, TreePath};
use gix::ObjectId;
use gix::objs::tree::EntryKind;
use gix::objs::{FindExt, FindHeader};
use rustc_hash::FxHashMap;

use crate::error::{SourceError, reason};
use crate::limits::{Budget, Limits};

/// Longest target of a symlink, as Linux has it.
const MAX_LINK: u64 = 4096;
/// How many revisions of a repository are kept for reuse.
const RECENT: usize = 4;
/// So many removed paths are taken out of the last tree one by one; more, and it is built anew.
const FEW_REMOVED: usize = 16;

/// The folders that are wanted; all if there are none.
pub(crate) type Sparse = Vec<TreePath>;

/// A revision's files with what is worth saying about them.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    root: Arc<Node>,
    sparse: Sparse,
    pub(crate) tree: Tree,
    pub(crate) submodules: Arc<Vec<(String, ObjectId)>>,
    pub(crate) warnings: Arc<Vec<String>>,
}

/// The last revisions of one repository.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    recent: VecDeque<Snapshot>,
}

/// One folder as its Git tree has it.
#[derive(Debug)]
struct Node {
    id: ObjectId,
    items: Vec<Item>,
    entries: usize,
    bytes: u64,
}

#[derive(Debug)]
struct Item {
    name: String,
    id: ObjectId,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Folder(Arc<Node>),
    Entry(Entry),
    Submodule,
}

impl Snapshots {
    /// The files of a Git tree.
    pub(crate) fn load(
        &mut self,
        objects: &gix::OdbHandle,
        tree: ObjectId,
        sparse: &Sparse,
        limits: Limits,
    ) -> Result<Snapshot, SourceError> {
        let known = self
            .recent
            .iter()
            .position(|snapshot| snapshot.root.id == tree && snapshot.sparse == *sparse);
        if let Some(snapshot) = known.and_then(|index| self.recent.remove(index)) {
            self.recent.push_front(snapshot.clone());
            return Ok(snapshot);
        }
        let last = self.recent.iter().find(|snapshot| snapshot.sparse == *sparse);
        let mut reader = Reader {
            objects,
            sparse,
            limits,
            budget: Budget::new(limits, reason::INVALID_GIT_OBJECT),
            warnings: Vec::new(),
            buffer: Vec::new(),
        };
        let root = reader.folder(tree, last.map(|snapshot| &snapshot.root), "")?;
        let warnings = reader.warnings;
        let mut submodules = Vec::new();
        find_submodules(&root, "", &mut submodules);
        let snapshot = Snapshot {
            tree: flatten(&root, last)?,
            root,
            sparse: sparse.clone(),
            submodules: Arc::new(submodules),
            warnings: Arc::new(warnings),
        };
        self.recent.push_front(snapshot.clone());
        self.recent.truncate(RECENT);
        Ok(snapshot)
    }
}

/// Finds a folder's items by name: in order for small ones, by a hash table for large ones.
struct Lookup<'a> {
    items: &'a [Item],
    table: FxHashMap<&'a str, usize>,
}

impl<'a> Lookup<'a> {
    fn new(items: &'a [Item]) -> Self {
        let mut table = FxHashMap::default();
        if items.len() > 16 {
            table.extend(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| (item.name.as_str(), index)),
            );
        }
        Lookup { items, table }
    }

    fn get(&self, name: &str) -> Option<&'a Item> {
        if self.table.is_empty() {
            return self.items.iter().find(|item| item.name == name);
        }
        self.table.get(name).map(|index| &self.items[*index])
    }
}

struct Reader<'a> {
    objects: &'a gix::OdbHandle,
    sparse: &'a Sparse,
    limits: Limits,
    budget: Budget,
    warnings: Vec<String>,
    buffer: Vec<u8>,
}

/// What sparse folders say of a path.
#[derive(PartialEq, Eq)]
enum Wanted {
    All,
    Part,
    No,
}

impl Reader<'_> {
    fn folder(
        &mut self,
        id: ObjectId,
        last: Option<&Arc<Node>>,
        path: &str,
    ) -> Result<Arc<Node>, SourceError> {
        if let Some(node) = last.filter(|node| node.id == id) {
            self.budget.many(path, node.entries, node.bytes)?;
            return Ok(Arc::clone(node));
        }
        self.budget.depth(path)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let listing: Vec<(EntryKind, String, ObjectId)> = {
            let tree = self
                .objects
                .find_tree(&id, &mut buffer)
                .map_err(|error| broken(path, &id, &error))?;
            tree.entries
                .iter()
                .filter_map(|entry| {
                    let name = self.name(path, entry.filename.as_ref());
                    name.map(|name| name.map(|name| (entry.mode.kind(), name, entry.oid.to_owned())))
                        .transpose()
                })
                .collect::<Result<_, _>>()?
        };
        self.buffer = buffer;
        self.collisions(path, &listing)?;
        let mut node = Node {
            id,
            items: Vec::with_capacity(listing.len()),
            entries: 0,
            bytes: 0,
        };
        let before = Lookup::new(last.map_or(&[], |node| &node.items));
        for (kind, name, id) in listing {
            let path = join(path, &name);
            let wanted = self.wanted(&path);
            if wanted == Wanted::No || (wanted == Wanted::Part && kind != EntryKind::Tree) {
                continue;
            }
            let content = self.content(kind, id, before.get(&name), &path)?;
            match &content {
                Content::Folder(folder) => {
                    node.entries += folder.entries + 1;
                    node.bytes += folder.bytes;
                }
                Content::Entry(Entry::File(file)) => {
                    node.entries += 1;
                    node.bytes += file.data().len() as u64;
                }
                Content::Entry(_) | Content::Submodule => node.entries += 1,
            }
            node.items.push(Item { name, id, content });
        }
        Ok(Arc::new(node))
    }

    fn content(
        &mut self,
        kind: EntryKind,
        id: ObjectId,
        before: Option<&Item>,
        path: &str,
    ) -> Result<Content, SourceError> {
        match kind {
            EntryKind::Tree => {
                let last = before.and_then(|item| match &item.content {
                    Content::Folder(node) => Some(node),
                    _ => None,
                });
                self.budget.entry(path, 0)?;
                Ok(Content::Folder(self.folder(id, last, path)?))
            }
            EntryKind::Commit => {
                self.budget.entry(path, 0)?;
                Ok(Content::Submodule)
            }
            EntryKind::Blob | EntryKind::BlobExecutable => {
                let executable = kind == EntryKind::BlobExecutable;
                if let Some(Item {
                    id: old,
                    content: Content::Entry(Entry::File(file)),
                    ..
                }) = before
                    && *old == id
                {
                    self.budget.entry(path, file.data().len() as u64)?;
                    let mut file = file.clone();
                    file.executable = executable;
                    return Ok(Content::Entry(Entry::File(file)));
                }
                let data = self.blob(&id, path)?;
                Ok(Content::Entry(Entry::File(File::new(data, executable))))
            }
            EntryKind::Link => {
                let target = self.blob(&id, path)?;
                if target.len() as u64 > MAX_LINK {
                    return Err(refused(path, "is a symlink with a target longer than 4096 bytes"));
                }
                let target = String::from_utf8(target)
                    .map_err(|_| refused(path, "is a symlink with a target that is no UTF-8"))?;
                Ok(Content::Entry(Entry::Symlink(target)))
            }
        }
    }

    /// A blob's content; its size is checked before it is read.
    fn blob(&mut self, id: &ObjectId, path: &str) -> Result<Vec<u8>, SourceError> {
        let header = self
            .objects
            .try_header(id)
            .map_err(|error| broken(path, id, &error))?;
        if let Some(header) = &header {
            self.budget.entry(path, header.size)?;
        }
        let mut data =
            Vec::with_capacity(header.map_or(0, |header| header.size.min(self.limits.file) as usize));
        self.objects
            .find_blob(id, &mut data)
            .map_err(|error| broken(path, id, &error))?;
        Ok(data)
    }

    /// A name that a tree may have; none if the entry is left out with a warning.
    fn name(&self, folder: &str, name: &[u8]) -> Result<Option<String>, SourceError> {
        let shown = || join(folder, &String::from_utf8_lossy(name));
        let forbidden = matches!(name, b"" | b"." | b"..")
            || name.eq_ignore_ascii_case(b".git")
            || name.eq_ignore_ascii_case(b"git~1")
            || name.contains(&b'/')
            || name.contains(&0);
        if forbidden {
            return Err(refused(
                &shown(),
                "is a name that no Git tree may hold; the repository is damaged or hostile",
            ));
        }
        match std::str::from_utf8(name) {
            Ok(name) if !name.contains('\\') => Ok(Some(name.to_owned())),
            _ => Err(refused(
                &shown(),
                "has a name with a backslash or bytes that are no UTF-8; rename it, or leave its folder out \
                 with sparseCheckout",
            )),
        }
    }

    /// Says which names differ in case only: such a source cannot be unpacked on every system. Equal names are refused:
    /// they would be two things to two readers.
    fn collisions(
        &mut self,
        folder: &str,
        listing: &[(EntryKind, String, ObjectId)],
    ) -> Result<(), SourceError> {
        let mut names: Vec<(String, &str)> = listing
            .iter()
            .map(|(_, name, _)| (name.to_lowercase(), name.as_str()))
            .collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            if pair[0].1 == pair[1].1 {
                return Err(refused(
                    &join(folder, pair[0].1),
                    "is there twice; the repository is damaged or hostile",
                ));
            }
            if pair[0].0 == pair[1].0 && self.warnings.len() < 20 {
                self.warnings.push(format!(
                    "'{}' and '{}' differ in upper and lower case only",
                    join(folder, pair[0].1),
                    pair[1].1
                ));
            }
        }
        Ok(())
    }

    fn wanted(&self, path: &str) -> Wanted {
        if self.sparse.is_empty() {
            return Wanted::All;
        }
        let under = |inner: &str, outer: &str| {
            outer.is_empty()
                || inner
                    .strip_prefix(outer)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut part = false;
        for folder in self.sparse {
            if under(path, folder.as_str()) {
                return Wanted::All;
            }
            part |= under(folder.as_str(), path);
        }
        if part { Wanted::Part } else { Wanted::No }
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

fn refused(path: &str, what: &str) -> SourceError {
    SourceError::stalled_until_new_revision(
        reason::INVALID_GIT_OBJECT,
        format!("'{}' {what}", path.escape_debug()),
    )
}

fn broken(path: &str, id: &ObjectId, error: &gix::Error) -> SourceError {
    let shown = if path.is_empty() { "the root folder" } else { path };
    SourceError::retry(
        reason::INVALID_GIT_OBJECT,
        format!("cannot read object {id} ({shown}): {error}; the repository may be damaged (git fsck)"),
    )
}

fn find_submodules(node: &Node, path: &str, found: &mut Vec<(String, ObjectId)>) {
    for item in &node.items {
        match &item.content {
            Content::Submodule => found.push((join(path, &item.name), item.id)),
            Content::Folder(folder) => find_submodules(folder, &join(path, &item.name), found),
            Content::Entry(_) => {}
        }
    }
}

/// The tree of a node; a tree that differs little from the last one is made from that one.
fn flatten(root: &Arc<Node>, last: Option<&Snapshot>) -> Result<Tree, SourceError> {
    if let Some(last) = last {
        let mut changes = Changes::default();
        changes.compare(Some(&last.root), root, "");
        if changes.removed.len() <= FEW_REMOVED {
            let mut builder = last.tree.to_builder();
            for path in &changes.removed {
                builder.remove(&tree_path(path)?);
            }
            for (path, entry) in &changes.set {
                crate::entry::insert(&mut builder, path, entry)
                    .map_err(|error| refused(path, &error.to_string()))?;
            }
            return Ok(builder.build());
        }
    }
    let mut changes = Changes::default();
    changes.compare(None, root, "");
    let mut builder = TreeBuilder::default();
    for (path, entry) in &changes.set {
        crate::entry::insert(&mut builder, path, entry).map_err(|error| refused(path, &error.to_string()))?;
    }
    Ok(builder.build())
}

fn tree_path(path: &str) -> Result<TreePath, SourceError> {
    TreePath::parse(path).map_err(|error| refused(path, &error.to_string()))
}

/// What to do to one tree to get another.
#[derive(Default)]
struct Changes {
    removed: Vec<String>,
    set: Vec<(String, Entry)>,
}

impl Changes {
    fn compare(&mut self, old: Option<&Arc<Node>>, new: &Arc<Node>, path: &str) {
        if old.is_some_and(|old| Arc::ptr_eq(old, new)) {
            return;
        }
        let old_items: &[Item] = old.map_or(&[], |node| &node.items);
        let (before, after) = (Lookup::new(old_items), Lookup::new(&new.items));
        for item in old_items {
            let now = after.get(&item.name).map(|item| &item.content);
            let stays = matches!(
                (&item.content, now),
                (
                    Content::Folder(_) | Content::Submodule,
                    Some(Content::Folder(_) | Content::Submodule)
                ) | (Content::Entry(_), Some(Content::Entry(_)))
            );
            if !stays {
                self.removed.push(join(path, &item.name));
            }
        }
        for item in &new.items {
            let path = join(path, &item.name);
            let before = before.get(&item.name);
            match &item.content {
                Content::Folder(node) => {
                    let old = before.and_then(|item| match &item.content {
                        Content::Folder(node) => Some(node),
                        _ => None,
                    });
                    if old.is_none() {
                        self.set.push((path.clone(), Entry::Folder));
                    }
                    self.compare(old, node, &path);
                }
                Content::Submodule => {
                    if let Some(Content::Folder(node)) = before.map(|item| &item.content) {
                        let names = node.items.iter().map(|item| join(&path, &item.name));
                        self.removed.extend(names);
                    }
                    self.set.push((path, Entry::Folder));
                }
                Content::Entry(entry) => {
                    let same = before.is_some_and(|before| match (&before.content, entry) {
                        (Content::Entry(Entry::File(old)), Entry::File(new)) => {
                            before.id == item.id && old.executable == new.executable
                        }
                        (Content::Entry(Entry::Symlink(old)), Entry::Symlink(new)) => old == new,
                        _ => false,
                    });
                    if !same {
                        self.set.push((path, entry.clone()));
                    }
                }
            }
        }
    }
}

//! A tree as a gzipped tarball whose bytes depend on the tree alone.

use std::cmp::Ordering;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use fluvial_tree::{Digest, Entry, Tree};
use tar::{EntryType, Header};

/// Longest name and longest prefix of a plain header.
const NAME: usize = 100;
const PREFIX: usize = 155;

/// A tarball with what a status says about it.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The compressed bytes.
    pub data: Bytes,
    /// Their digest.
    pub digest: Digest,
}

impl Packed {
    /// These bytes as they are.
    #[must_use]
    pub fn new(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        Packed {
            digest: Digest::of(&data),
            data,
        }
    }

    /// Number of compressed bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.data.len() as u64
    }
}

/// Packs folders and regular files as the source controller lays them out: the root as `.`, then a
/// lexical walk, no owners, no times, fixed modes; symlinks are left out.
#[must_use]
pub fn pack(tree: &Tree) -> Packed {
    let mut entries: Vec<_> = tree.iter().collect();
    entries.sort_unstable_by(|(a, _), (b, _)| walk_order(a.as_str(), b.as_str()));
    let gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), Compression::default());
    let data = write(gzip, &entries).expect("writing into memory does not fail");
    Packed::new(data)
}

type Gzip = flate2::write::GzEncoder<Vec<u8>>;

fn write(gzip: Gzip, entries: &[(&fluvial_tree::TreePath, &Entry)]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(gzip);
    folder(&mut archive, ".")?;
    for (path, entry) in entries {
        match entry {
            Entry::Folder => folder(&mut archive, path.as_str())?,
            Entry::File(file) => {
                let mode = if file.executable { 0o700 } else { 0o600 };
                append(&mut archive, path.as_str(), EntryType::Regular, mode, file.data())?;
            }
            Entry::Symlink(_) => {}
        }
    }
    archive.into_inner()?.finish()
}

fn folder(archive: &mut tar::Builder<Gzip>, path: &str) -> io::Result<()> {
    append(archive, path, EntryType::Directory, 0o750, &[])
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    kind: EntryType,
    mode: u32,
    data: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(data.len() as u64);
    if let Some((prefix, name)) = split(path) {
        if let Some(ustar) = header.as_ustar_mut() {
            ustar.name[..name.len()].copy_from_slice(name.as_bytes());
            ustar.prefix[..prefix.len()].copy_from_slice(prefix.as_bytes());
        }
    } else {
        archive.append_pax_extensions([("path", path.as_bytes())])?;
        let plain: Vec<u8> = path.bytes().filter(u8::is_ascii).take(NAME).collect();
        if let Some(ustar) = header.as_ustar_mut() {
            ustar.name[..plain.len()].copy_from_slice(&plain);
        }
    }
    header.set_cksum();
    archive.append(&header, data)
}

/// The path as prefix and name, if a plain header can hold it.
fn split(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME {
        return Some(("", path));
    }
    let end = path.len().min(PREFIX + 1);
    let (prefix, _) = path[..end].rsplit_once('/')?;
    let name = &path[prefix.len() + 1..];
    (!prefix.is_empty() && !name.is_empty() && name.len() <= NAME).then_some((prefix, name))
}

/// The order of a walk that goes into each folder before its next sibling: `a/b` before `a-b`.
fn walk_order(a: &str, b: &str) -> Ordering {
    let key = |byte: u8| if byte == b'/' { 0 } else { byte };
    a.bytes().map(key).cmp(b.bytes().map(key))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use fluvial_tree::{File, TreeBuilder};

    use super::*;

    fn tree() -> Tree {
        let mut builder = TreeBuilder::default();
        builder.file("a/b", File::new(*b"b", false)).unwrap();
        builder.file("a-b", File::new(*b"x", true)).unwrap();
        builder.symlink("link", "a").unwrap();
        builder.folder("empty").unwrap();
        builder
            .file(
                &format!("{}/{}", "d".repeat(120), "f".repeat(90)),
                File::new(*b"long", false),
            )
            .unwrap();
        builder
            .file(&"g".repeat(160), File::new(*b"longer", false))
            .unwrap();
        builder.file("é", File::new(*b"e", false)).unwrap();
        builder.build()
    }

    #[test]
    fn the_layout_is_the_source_controllers() {
        let packed = pack(&tree());
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed.data[..]));
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let header = entry.header();
            assert_eq!(
                (
                    header.uid().unwrap(),
                    header.gid().unwrap(),
                    header.mtime().unwrap()
                ),
                (0, 0, 0)
            );
            assert!(header.username().unwrap().is_none_or(str::is_empty));
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            seen.push((name, entry.header().mode().unwrap(), text));
        }
        let want = [
            (".".to_owned(), 0o750, ""),
            ("a".to_owned(), 0o750, ""),
            ("a/b".to_owned(), 0o600, "b"),
            ("a-b".to_owned(), 0o700, "x"),
            ("d".repeat(120), 0o750, ""),
            (format!("{}/{}", "d".repeat(120), "f".repeat(90)), 0o600, "long"),
            ("empty".to_owned(), 0o750, ""),
            ("g".repeat(160), 0o600, "longer"),
            ("é".to_owned(), 0o600, "e"),
        ];
        let want: Vec<_> = want
            .into_iter()
            .map(|(name, mode, text)| (name, mode, text.to_owned()))
            .collect();
        assert_eq!(seen, want);
    }

    #[test]
    fn equal_trees_have_equal_artifacts() {
        assert_eq!(pack(&tree()).digest, pack(&tree()).digest);
    }
}

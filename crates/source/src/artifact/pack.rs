//! A tree as a gzipped tarball whose bytes depend on the tree alone.

use std::cmp::Ordering;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use fluvial_tree::{Digest, Entry, Tree};

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

/// Permissions of what is packed.
#[derive(Clone, Copy)]
struct Modes {
    folder: u32,
    file: u32,
    executable: u32,
}

/// Packs folders and regular files as the source controller lays them out: the root as `.`, then a
/// lexical walk, no owners, no times, fixed modes; symlinks are left out.
#[must_use]
pub fn pack(tree: &Tree) -> Packed {
    let modes = Modes {
        folder: 0o750,
        file: 0o600,
        executable: 0o700,
    };
    pack_with(tree, modes)
}

/// The same with the modes that files have for all who may read them, as in what people push to registries.
#[must_use]
pub fn pack_readable(tree: &Tree) -> Packed {
    let modes = Modes {
        folder: 0o755,
        file: 0o644,
        executable: 0o755,
    };
    pack_with(tree, modes)
}

fn pack_with(tree: &Tree, modes: Modes) -> Packed {
    let mut entries: Vec<_> = tree.iter().collect();
    entries.sort_unstable_by(|(a, _), (b, _)| walk_order(a.as_str(), b.as_str()));
    let gzip = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), Compression::default());
    let data = write(gzip, &entries, modes).expect("writing into memory does not fail");
    Packed::new(data)
}

type Gzip = flate2::write::GzEncoder<Vec<u8>>;

/// Size of a block.
const BLOCK: usize = 512;

fn write(mut to: Gzip, entries: &[(&fluvial_tree::TreePath, &Entry)], modes: Modes) -> io::Result<Vec<u8>> {
    append(&mut to, ".", b'5', modes.folder, 0)?;
    for (path, entry) in entries {
        match entry {
            Entry::Folder => append(&mut to, path.as_str(), b'5', modes.folder, 0)?,
            Entry::File(file) => {
                let mode = if file.executable {
                    modes.executable
                } else {
                    modes.file
                };
                let data = file.data();
                append(&mut to, path.as_str(), b'0', mode, data.len() as u64)?;
                padded(&mut to, data)?;
            }
            Entry::Symlink(_) => {}
        }
    }
    to.write_all(&[0; 2 * BLOCK])?;
    to.finish()
}

/// Data up to the end of its last block.
fn padded(to: &mut Gzip, data: &[u8]) -> io::Result<()> {
    to.write_all(data)?;
    to.write_all(&[0; BLOCK][..data.len().next_multiple_of(BLOCK) - data.len()])
}

/// The headers of an entry. They are to the byte those of Go's `archive/tar`, whose choices the format leaves open: what a
/// plain header can hold is in one, and a path that none can hold is in an extended header before it.
fn append(to: &mut Gzip, path: &str, kind: u8, mode: u32, size: u64) -> io::Result<()> {
    let (prefix, name) = match split(path) {
        Some((prefix, name)) => (prefix, name.to_owned()),
        None => {
            let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
            let slash = if folder.is_empty() { "" } else { "/" };
            let extended = plain(&format!("{folder}{slash}PaxHeaders.0/{file}"));
            let record = record("path", path);
            let header = Header {
                kind: b'x',
                size: record.len() as u64,
                ..Header::default()
            };
            to.write_all(&header.block(extended.trim_end_matches('/'), ""))?;
            padded(to, record.as_bytes())?;
            ("", plain(path))
        }
    };
    let header = Header {
        kind,
        mode,
        size,
        devices: true,
    };
    to.write_all(&header.block(&name, prefix))
}

/// A line of an extended header, which begins with its own length.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut size = rest + rest.to_string().len();
    if rest + size.to_string().len() != size {
        size = rest + size.to_string().len();
    }
    format!("{size} {key}={value}\n")
}

/// What of a path fits into a header that readers of extended ones do not look at.
fn plain(path: &str) -> String {
    let plain: String = path.chars().filter(char::is_ascii).take(NAME).collect();
    plain
}

/// The fields of a header that differ.
#[derive(Default)]
struct Header {
    kind: u8,
    mode: u32,
    size: u64,
    /// Whether the numbers of the device are written, as zero.
    devices: bool,
}

impl Header {
    fn block(&self, name: &str, prefix: &str) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, data: &[u8]| block[at..at + data.len()].copy_from_slice(data);
        put(0, name.as_bytes());
        put(100, format!("{:07o}", self.mode).as_bytes());
        // Owner and group.
        put(108, b"0000000\x000000000");
        put(124, format!("{:011o}", self.size).as_bytes());
        // The time.
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[self.kind]);
        put(257, b"ustar\x0000");
        if self.devices {
            put(329, b"0000000\x000000000");
        }
        put(345, prefix.as_bytes());
        let sum: u32 = block.iter().copied().map(u32::from).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
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
    fn what_is_pushed_may_be_read_by_all() {
        let packed = pack_readable(&tree());
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed.data[..]));
        let mode = |entry: io::Result<tar::Entry<'_, _>>| entry.unwrap().header().mode().unwrap();
        let modes: Vec<u32> = archive.entries().unwrap().take(4).map(mode).collect();
        assert_eq!(modes, [0o755, 0o755, 0o644, 0o755]);
    }

    #[test]
    fn every_byte_is_that_of_gos_archive() {
        let mut data = Vec::new();
        flate2::read::GzDecoder::new(&pack(&tree()).data[..])
            .read_to_end(&mut data)
            .unwrap();
        // Of a program of a few lines that walks the same files with Go's archive/tar.
        assert_eq!(
            Digest::of(&data).to_string(),
            "sha256:652e9c2b4ca70e0de7a0752b64ed8b855a3b4067a275d97e4f3ed2e4c6d55204"
        );
    }

    #[test]
    fn equal_trees_have_equal_artifacts() {
        assert_eq!(pack(&tree()).digest, pack(&tree()).digest);
    }
}

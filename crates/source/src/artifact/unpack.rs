//! A tarball of someone else as a tree: nothing is trusted, everything is bounded.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use fluvial_tree::{File, Tree, TreeBuilder};
use tar::EntryType;

use crate::error::{SourceError, reason};
use crate::limits::{Budget, Limits, human};

/// What a header and its padding may cost besides the content, for each entry.
const OVERHEAD: u64 = 4096;

fn refuse(message: String) -> SourceError {
    SourceError::stalled_until_new_revision(reason::ARCHIVE_OPERATION_FAILED, message)
}

/// A reader that ends with an error after so many bytes.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            let mut probe = [0];
            return match self.inner.read(&mut probe)? {
                0 => Ok(0),
                _ => Err(io::Error::other("it unpacks to more than is allowed")),
            };
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Reads a gzipped tarball. Links are left out, as consumers of artifacts do.
///
/// # Errors
/// If it is damaged, an entry's path is absolute or leads outside, an entry is neither file, folder nor link,
/// or a limit is met.
pub fn unpack(data: impl Read, limits: Limits) -> Result<Tree, SourceError> {
    let allowed = limits
        .total
        .saturating_add(limits.entries as u64 * OVERHEAD)
        .saturating_add(1 << 20);
    let mut archive = tar::Archive::new(Bounded {
        inner: MultiGzDecoder::new(data),
        left: allowed,
    });
    let damaged = |error: io::Error| {
        refuse(format!(
            "the artifact cannot be unpacked: {error} (at most {} are allowed)",
            human(allowed)
        ))
    };
    let mut builder = TreeBuilder::default();
    let mut budget = Budget::new(limits, reason::ARCHIVE_OPERATION_FAILED);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let kind = entry.header().entry_type();
        let bytes = entry.path_bytes();
        let path = std::str::from_utf8(&bytes)
            .map_err(|_| {
                refuse(format!(
                    "entry '{}' has a name that is no UTF-8",
                    String::from_utf8_lossy(&bytes)
                ))
            })?
            .to_owned();
        let bad_path = |what: &str| refuse(format!("entry '{}' of the artifact {what}", path.escape_debug()));
        if path.starts_with('/') {
            return Err(bad_path("has an absolute path"));
        }
        if path.contains(['\\', '\0']) || path.split('/').any(|part| part == "..") {
            return Err(bad_path("has a path with '..', a backslash or NUL"));
        }
        let at_root = path.split('/').all(|part| matches!(part, "" | "."));
        budget.depth(&path)?;
        match kind {
            EntryType::XGlobalHeader | EntryType::Symlink | EntryType::Link => {}
            EntryType::Directory => {
                budget.entry(&path, 0)?;
                builder
                    .folder(&path)
                    .map_err(|error| bad_path(&format!("is refused: {error}")))?;
            }
            EntryType::Regular | EntryType::Continuous if !at_root => {
                let size = entry.size();
                budget.entry(&path, size)?;
                let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                let mut content = Vec::with_capacity(usize::try_from(size.min(1 << 20)).unwrap_or(0));
                entry.read_to_end(&mut content).map_err(damaged)?;
                if content.len() as u64 != size {
                    return Err(bad_path("is cut off"));
                }
                builder
                    .file(&path, File::new(content, executable))
                    .map_err(|error| bad_path(&format!("is refused: {error}")))?;
            }
            _ => return Err(bad_path("is neither file, folder nor link")),
        }
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use fluvial_tree::Entry;

    use super::*;
    use crate::artifact::pack;

    fn archive(name: &[u8], kind: EntryType, size: u64, data: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o600);
        header.set_size(size);
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name);
        if kind == EntryType::Symlink {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(header.as_bytes()).unwrap();
        out.write_all(data).unwrap();
        out.write_all(&vec![0; (512 - data.len() % 512) % 512]).unwrap();
        out.write_all(&[0; 1024]).unwrap();
        out.finish().unwrap()
    }

    fn fails(data: &[u8]) -> String {
        unpack(data, Limits::default()).unwrap_err().message
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut builder = TreeBuilder::default();
        builder.file("a/b", File::new(*b"b", true)).unwrap();
        builder.folder("empty").unwrap();
        let tree = builder.build();
        let back = unpack(&pack(&tree).data[..], Limits::default()).unwrap();
        assert_eq!(back.digest(), tree.digest());
    }

    #[test]
    fn hostile_paths_are_refused_and_links_left_out() {
        assert!(fails(&archive(b"/etc/x", EntryType::Regular, 1, b"x")).contains("absolute"));
        assert!(fails(&archive(b"a/../../x", EntryType::Regular, 1, b"x")).contains("'..'"));
        assert!(fails(&archive(b"a\\x", EntryType::Regular, 1, b"x")).contains("backslash"));
        assert!(fails(&archive(b"dev", EntryType::Block, 0, b"")).contains("neither"));
        let tree = unpack(
            &archive(b"link", EntryType::Symlink, 0, b"")[..],
            Limits::default(),
        )
        .unwrap();
        assert!(tree.iter().all(|(_, entry)| !matches!(entry, Entry::Symlink(_))));
    }

    #[test]
    fn bombs_end_early() {
        let limits = Limits {
            total: 1000,
            entries: 2,
            ..Limits::default()
        };
        // A size in the header that the content does not have, and content without end.
        let large = archive(b"x", EntryType::Regular, 1 << 33, b"x");
        assert!(
            unpack(&large[..], limits)
                .unwrap_err()
                .message
                .contains("more than the")
        );
        let zeros = io::repeat(0).take(1 << 26);
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(&archive_header()).unwrap();
        io::copy(&mut { zeros }, &mut out).unwrap();
        let bomb = out.finish().unwrap();
        assert!(unpack(&bomb[..], limits).is_err());
        assert!(fails(b"no gzip").contains("cannot be unpacked"));
        let cut = archive(b"x", EntryType::Regular, 600, b"short");
        assert!(unpack(&cut[..cut.len() / 2], Limits::default()).is_err());
    }

    fn archive_header() -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(EntryType::XGlobalHeader);
        header.set_size(1 << 26);
        header.set_cksum();
        header.as_bytes().to_vec()
    }
}

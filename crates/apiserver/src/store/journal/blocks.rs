//! A file whose blocks are allocated, written past the page cache where that is possible: what is written is on the
//! disk when the call returns, at the cost of the blocks alone. Elsewhere it is written and synchronised.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// What the kernel wants such writes to begin at, to be long, and to lie at in memory.
pub(super) const BLOCK: usize = 4096;
/// Room for making a piece that is larger is not kept.
const KEPT: usize = 64 << 10;

/// The open file.
#[derive(Debug)]
pub(super) struct Blocks {
    file: File,
    /// Each write is on the disk by itself.
    direct: bool,
    /// What the last block holds so far.
    tail: Vec<u8>,
    room: Vec<u8>,
}

/// The file past the page cache; an error where the system or the file's place has no such thing.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn direct(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Of Linux' binary interface, which does not change.
    const O_DSYNC: i32 = 0o10_000;
    const O_DIRECT: i32 = if cfg!(target_arch = "x86_64") {
        0o40_000
    } else {
        0o200_000
    };
    File::options()
        .write(true)
        .custom_flags(O_DIRECT | O_DSYNC)
        .open(path)
}

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn direct(_path: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Blocks {
    /// Opens a file whose length is a multiple of the block's.
    pub(super) fn open(path: &Path) -> io::Result<Blocks> {
        let (file, direct) = match direct(path) {
            Ok(file) => (file, true),
            Err(_) => (File::options().write(true).open(path)?, false),
        };
        Ok(Blocks {
            file,
            direct,
            tail: vec![],
            room: vec![],
        })
    }

    /// Writes at a place, which is 0 or where the last piece ended; it is on the disk afterwards. Behind it there are
    /// zeros up to the end of its block.
    pub(super) fn write(&mut self, path: &Path, at: usize, piece: &[u8]) -> io::Result<()> {
        self.tail.truncate(at % BLOCK);
        let start = at - self.tail.len();
        let length = (self.tail.len() + piece.len()).next_multiple_of(BLOCK);
        self.room.clear();
        self.room.resize(length + BLOCK, 0);
        let skipped = self.room.as_ptr().align_offset(BLOCK).min(BLOCK);
        let blocks = &mut self.room[skipped..skipped + length];
        let end = self.tail.len() + piece.len();
        blocks[..self.tail.len()].copy_from_slice(&self.tail);
        blocks[self.tail.len()..end].copy_from_slice(piece);

        let written = put(&mut self.file, start, blocks);
        match written {
            // The place opened such files, but cannot write them.
            Err(error) if self.direct && error.kind() == io::ErrorKind::InvalidInput => {
                self.file = File::options().write(true).open(path)?;
                self.direct = false;
                put(&mut self.file, start, blocks)?;
            }
            other => other?,
        }
        if !self.direct {
            self.file.sync_data()?;
        }
        self.tail.clear();
        self.tail.extend_from_slice(&blocks[end - end % BLOCK..end]);
        if self.room.capacity() > KEPT {
            self.room = vec![];
        }
        Ok(())
    }
}

fn put(file: &mut File, start: usize, blocks: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(start as u64))?;
    file.write_all(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other_and_a_new_beginning_forgets_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocks");
        std::fs::write(&path, vec![7; 4 * BLOCK]).unwrap();
        for plain in [false, true] {
            let mut blocks = Blocks::open(&path).unwrap();
            if plain {
                blocks.file = File::options().write(true).open(&path).unwrap();
                blocks.direct = false;
            }
            let mut want = vec![];
            for length in [10, 0, BLOCK - 10, 1, 2 * BLOCK] {
                let piece: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
                blocks.write(&path, want.len(), &piece).unwrap();
                want.extend(piece);
                assert_eq!(std::fs::read(&path).unwrap()[..want.len()], want);
            }
            blocks.write(&path, 0, b"again").unwrap();
            let mut first = b"again".to_vec();
            first.resize(BLOCK, 0);
            let held = std::fs::read(&path).unwrap();
            assert_eq!(held[..BLOCK], first);
            assert_eq!(held[BLOCK..want.len()], want[BLOCK..]);
            blocks.write(&path, 5, b"!").unwrap();
            assert_eq!(&std::fs::read(&path).unwrap()[..7], b"again!\0");
        }
    }
}

//! The log before the data file: records one after the other in blocks that were written with zeros when the log was
//! made, so that to add one changes nothing but the blocks themselves.
//!
//! A record is its length, the number of the log's turn, a checksum of what follows, and the writes. What is left of
//! an earlier turn bears another number, and a record that was cut off has another checksum: there the log ends.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes};

use super::blocks::Blocks;
use super::{JournalError, Operation};

/// Bytes of the log; few in tests, which are to see it end.
const CAPACITY: usize = if cfg!(test) { 4 << 10 } else { 4 << 20 };
/// Length, turn and checksum.
const HEAD: usize = 4 + 8 + 4;

/// What a log held.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Left {
    pub(super) operations: Vec<Operation>,
    pub(super) reserved: u64,
}

/// The open log.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Option<Blocks>,
    epoch: u64,
    end: usize,
    /// Room for making a record.
    record: Vec<u8>,
}

impl Log {
    /// The log of a folder, and what it holds of a turn; one that nobody has begun (0) has no file either.
    pub(super) fn open(folder: &Path, epoch: u64) -> Result<(Log, Left), JournalError> {
        let path = folder.join("store.log");
        let failed = |error| JournalError::Log(path.clone(), error);
        let mut held = vec![];
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => {
                let limit = CAPACITY as u64;
                file.and_then(|file| file.take(limit).read_to_end(&mut held))
                    .map_err(failed)?;
                // One that was cut off when it was made, or belonged to another data file, is made again.
                let whole = epoch != 0 && held.len() == CAPACITY;
                whole.then(|| Blocks::open(&path)).transpose().map_err(failed)?
            }
        };
        let left = read(held.into(), epoch).map_err(failed)?;
        let log = Log {
            path,
            file,
            epoch,
            end: 0,
            record: vec![],
        };
        Ok((log, left))
    }

    /// Begins again with another turn.
    pub(super) fn restart(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.end = 0;
    }

    /// Makes the file if it is missing.
    pub(super) fn prepare(&mut self) -> Result<(), JournalError> {
        if self.file.is_none() {
            let made = make(&self.path).map_err(|error| JournalError::Log(self.path.clone(), error))?;
            self.file = Some(made);
        }
        Ok(())
    }

    /// Adds writes, which are on the disk then; false if there is no room for them.
    pub(super) fn append(&mut self, batch: &[Operation], reserved: u64) -> Result<bool, JournalError> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        self.record.clear();
        write(&mut self.record, batch, reserved, self.epoch);
        if self.end + self.record.len() > CAPACITY {
            self.record = vec![];
            return Ok(false);
        }
        file.write(&self.path, self.end, &self.record)
            .map_err(|error| JournalError::Log(self.path.clone(), error))?;
        self.end += self.record.len();
        Ok(true)
    }
}

/// A log of zeros.
fn make(path: &Path) -> io::Result<Blocks> {
    let mut file = File::create(path)?;
    file.write_all(&vec![0; CAPACITY])?;
    file.sync_all()?;
    // The name is to be there after a crash, too.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Blocks::open(path)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    // Objects are smaller than a request may be, names than objects.
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}

fn write(out: &mut Vec<u8>, batch: &[Operation], reserved: u64, epoch: u64) {
    out.put_bytes(0, HEAD);
    out.put_u64_le(reserved);
    for operation in batch {
        out.put_u64_le(operation.version);
        put(out, operation.collection.as_bytes());
        put(out, operation.key.as_bytes());
        put(out, operation.form.as_deref().unwrap_or("").as_bytes());
        out.put_u8(u8::from(operation.json.is_some()));
        put(out, operation.json.as_deref().unwrap_or_default());
    }
    let length = u32::try_from(out.len() - HEAD).unwrap_or(u32::MAX);
    let sum = checksum(&out[HEAD..]);
    let mut head = &mut out[..HEAD];
    head.put_u32_le(length);
    head.put_u64_le(epoch);
    head.put_u32_le(sum);
}

/// The writes of a turn.
fn read(mut log: Bytes, epoch: u64) -> io::Result<Left> {
    let mut left = Left::default();
    while log.len() >= HEAD {
        let length = log.get_u32_le() as usize;
        let (turn, sum) = (log.get_u64_le(), log.get_u32_le());
        if turn != epoch || length == 0 || length > log.len() || checksum(&log[..length]) != sum {
            break;
        }
        let mut record = log.split_to(length);
        left.reserved = number(&mut record)?;
        while !record.is_empty() {
            left.operations.push(operation(&mut record)?);
        }
    }
    Ok(left)
}

fn short() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a record ends early")
}

fn number(record: &mut Bytes) -> io::Result<u64> {
    record.try_get_u64_le().map_err(|_| short())
}

fn bytes(record: &mut Bytes) -> io::Result<Bytes> {
    let length = record.try_get_u32_le().map_err(|_| short())? as usize;
    if length > record.len() {
        return Err(short());
    }
    Ok(record.split_to(length))
}

fn text(record: &mut Bytes) -> io::Result<Arc<str>> {
    let bytes = bytes(record)?;
    let text =
        std::str::from_utf8(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(text.into())
}

fn operation(record: &mut Bytes) -> io::Result<Operation> {
    let version = number(record)?;
    let (collection, key, form) = (text(record)?, text(record)?, text(record)?);
    let there = record.try_get_u8().map_err(|_| short())? == 1;
    // A copy: the log is not kept in memory for the sake of an object in it.
    let json = Bytes::copy_from_slice(&bytes(record)?);
    Ok(Operation {
        collection,
        key,
        version,
        json: there.then_some(json),
        form: Some(form).filter(|form| !form.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(version: u64, json: Option<&'static str>) -> Operation {
        Operation {
            collection: "things".into(),
            key: "space/a".into(),
            version,
            json: json.map(Bytes::from),
            form: Some("example.com/v1".into()).filter(|_| version.is_multiple_of(2)),
        }
    }

    #[test]
    fn a_log_gives_back_what_its_turn_wrote_up_to_a_record_that_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, left) = Log::open(folder.path(), 7).unwrap();
        assert_eq!(left, Left::default());
        assert!(!log.append(&[put(1, None)], 100).unwrap(), "there is no file yet");
        log.prepare().unwrap();
        assert!(
            log.append(&[put(1, Some("{}")), put(2, Some("{\"a\":1}"))], 100)
                .unwrap()
        );
        assert!(log.append(&[put(3, None)], 200).unwrap());
        let (mut again, left) = Log::open(folder.path(), 7).unwrap();
        assert_eq!(
            left.operations,
            [put(1, Some("{}")), put(2, Some("{\"a\":1}")), put(3, None)]
        );
        assert_eq!(left.reserved, 200);
        assert_eq!(Log::open(folder.path(), 6).unwrap().1, Left::default());

        // Another turn over the first: what is behind its end is not its own.
        again.restart(8);
        assert!(again.append(&[put(4, Some("{}"))], 300).unwrap());
        assert_eq!(
            Log::open(folder.path(), 8).unwrap().1.operations,
            [put(4, Some("{}"))]
        );

        let path = folder.path().join("store.log");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEAD + 20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Log::open(folder.path(), 8).unwrap().1, Left::default());
    }

    #[test]
    fn a_log_that_is_full_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(folder.path(), 1).unwrap();
        log.prepare().unwrap();
        let large = Operation {
            json: Some(vec![b' '; CAPACITY / 2].into()),
            ..put(1, None)
        };
        assert!(log.append(std::slice::from_ref(&large), 0).unwrap());
        assert!(!log.append(std::slice::from_ref(&large), 0).unwrap());
        log.restart(2);
        assert!(log.append(std::slice::from_ref(&large), 0).unwrap());
    }

    #[test]
    fn a_record_that_is_wrong_though_its_checksum_is_right_is_an_error_or_read() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % below
        };
        let (mut refused, mut taken) = (0, 0);
        for _ in 0..20_000 {
            let mut log = vec![];
            write(&mut log, &[put(1, Some("{}")), put(2, None)], 100, 7);
            for _ in 0..=random(4) {
                let at = HEAD + random(log.len() - HEAD);
                match random(3) {
                    0 => log[at] = u8::try_from(random(256)).unwrap(),
                    1 => log.truncate(at.max(HEAD + 1)),
                    _ => log.insert(at, 0xff),
                }
            }
            let length = u32::try_from(log.len() - HEAD).unwrap();
            let sum = checksum(&log[HEAD..]);
            log[..4].copy_from_slice(&length.to_le_bytes());
            log[12..16].copy_from_slice(&sum.to_le_bytes());
            match read(log.into(), 7) {
                Ok(left) => {
                    assert!(left.operations.len() <= 8);
                    taken += 1;
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 1_000 && taken > 1_000, "{refused} {taken}");
    }
}

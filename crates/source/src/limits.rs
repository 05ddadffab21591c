//! How large a source may be. Every reader here stops at these with a message that names the limit.

use crate::error::{SourceError, reason};

/// Bounds of one source revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest single file, in bytes.
    pub file: u64,
    /// Largest sum of all files, in bytes.
    pub total: u64,
    /// Most entries: files, links and folders.
    pub entries: usize,
    /// Deepest folder.
    pub depth: usize,
    /// Most bytes taken from the network in one fetch.
    pub download: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file: 100 << 20,
            total: 2 << 30,
            entries: 500_000,
            depth: 128,
            download: 4 << 30,
        }
    }
}

/// Counts what a reader takes in, against the limits.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    total: u64,
    entries: usize,
    reason: &'static str,
}

impl Budget {
    pub(crate) fn new(limits: Limits, reason: &'static str) -> Self {
        Budget {
            limits,
            total: 0,
            entries: 0,
            reason,
        }
    }

    /// Takes in an entry with `size` bytes of content.
    pub(crate) fn entry(&mut self, path: &str, size: u64) -> Result<(), SourceError> {
        if size > self.limits.file {
            return Err(self.refuse(format!(
                "file '{path}' has {}, more than the {} that one file may have; remove it from the \
                 source, or {}",
                human(size),
                human(self.limits.file),
                self.way_out()
            )));
        }
        self.total = self.total.saturating_add(size);
        if self.total > self.limits.total {
            return Err(self.refuse(format!(
                "the source has more than {} in all (reached at '{path}'); {}",
                human(self.limits.total),
                self.way_out()
            )));
        }
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(self.refuse(format!(
                "the source has more than {} files and folders (reached at '{path}'); {}",
                self.limits.entries,
                self.way_out()
            )));
        }
        Ok(())
    }

    /// Takes in a folder that is known to have so much below it.
    pub(crate) fn many(&mut self, path: &str, entries: usize, bytes: u64) -> Result<(), SourceError> {
        self.entries += entries;
        self.total = self.total.saturating_add(bytes);
        if entries == 0 {
            return Ok(());
        }
        self.entries -= 1;
        self.entry(path, 0)
    }

    /// Refuses a path that is nested too deeply.
    pub(crate) fn depth(&self, path: &str) -> Result<(), SourceError> {
        if path.bytes().filter(|byte| *byte == b'/').count() >= self.limits.depth {
            return Err(self.refuse(format!(
                "'{}…' is nested deeper than {} folders",
                path.chars().take(80).collect::<String>(),
                self.limits.depth
            )));
        }
        Ok(())
    }

    /// What takes less of a source of this kind.
    fn way_out(&self) -> &'static str {
        match self.reason {
            reason::BUCKET_OPERATION_FAILED => "take less with spec.prefix or spec.ignore",
            _ => "take only the folders that are needed, for Git with sparseCheckout",
        }
    }

    fn refuse(&self, message: String) -> SourceError {
        SourceError::stalled_until_new_revision(self.reason, message)
    }
}

/// A size for people: `1.5 MiB`.
pub(crate) fn human(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes / 1024;
    let mut tenths = bytes % 1024 * 10 / 1024;
    let mut unit = 0;
    while value >= 1024 && unit + 1 < UNITS.len() {
        tenths = value % 1024 * 10 / 1024;
        value /= 1024;
        unit += 1;
    }
    format!("{value}.{tenths} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(human(12), "12 bytes");
        assert_eq!(human(1536), "1.5 KiB");
        assert_eq!(human(200 << 20), "200.0 MiB");
    }

    #[test]
    fn each_limit_names_what_it_met() {
        let limits = Limits {
            file: 10,
            total: 15,
            entries: 3,
            depth: 2,
            download: 1,
        };
        let mut budget = Budget::new(limits, "X");
        assert!(
            budget
                .entry("big", 11)
                .unwrap_err()
                .message
                .contains("'big' has 11 bytes")
        );
        budget.entry("a", 10).unwrap();
        assert!(budget.entry("b", 6).unwrap_err().message.contains("in all"));
        let mut budget = Budget::new(limits, "X");
        for name in ["a", "b", "c"] {
            budget.entry(name, 0).unwrap();
        }
        assert!(budget.entry("d", 0).unwrap_err().message.contains("more than 3"));
        assert!(budget.depth("a/b").is_ok());
        assert!(budget.depth("a/b/c").is_err());
    }
}

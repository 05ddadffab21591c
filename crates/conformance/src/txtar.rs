//! The corpora's text archives: `key: value` lines, then `-- NAME --` lines, each followed by that
//! file's content.

/// A read archive. Contents are bytes: some cases hold CRLF or a byte order mark on purpose.
#[derive(Debug, Default)]
pub struct Archive {
    /// The lines before the first section; keys may repeat.
    pub head: Vec<(String, String)>,
    /// The sections in order.
    pub sections: Vec<(String, Vec<u8>)>,
}

impl Archive {
    /// Reads an archive, `no-newline: NAME` applied.
    #[must_use]
    pub fn parse(data: &[u8]) -> Self {
        let mut archive = Archive::default();
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            let name = bare
                .strip_prefix(b"-- ")
                .and_then(|rest| rest.strip_suffix(b" --"));
            if let Some(name) = name {
                archive
                    .sections
                    .push((String::from_utf8_lossy(name).into_owned(), Vec::new()));
            } else if let Some((_, content)) = archive.sections.last_mut() {
                content.extend_from_slice(line);
            } else if let Some((key, value)) = String::from_utf8_lossy(bare).split_once(':') {
                archive
                    .head
                    .push((key.trim().to_owned(), value.trim().to_owned()));
            }
        }
        let cut: Vec<String> = archive.values("no-newline").map(str::to_owned).collect();
        for (name, content) in &mut archive.sections {
            if cut.contains(name) && content.last() == Some(&b'\n') {
                content.pop();
            }
        }
        archive
    }

    /// The first value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.head
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a key.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.head
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// A section's bytes.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&[u8]> {
        self.sections
            .iter()
            .find(|(section, _)| section == name)
            .map(|(_, content)| content.as_slice())
    }

    /// A section as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.section(name)
            .map(|content| String::from_utf8_lossy(content).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_have_a_head_and_sections() {
        let archive = Archive::parse(b"name: x\nno-newline: b\n-- a --\n1\n2\n-- b --\n3\n");
        assert_eq!(archive.value("name"), Some("x"));
        assert_eq!(archive.section("a"), Some(&b"1\n2\n"[..]));
        assert_eq!(archive.section("b"), Some(&b"3"[..]));
    }
}

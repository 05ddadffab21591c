//! Tarballs among the files of a source, taken apart with bounds: nothing leads out, links are left out.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use fluvial_tree::File;

/// Most bytes that one tarball may unpack to.
const TOTAL: u64 = 256 << 20;
/// Most files in one tarball.
const FILES: usize = 50_000;

/// The files of a tarball by name.
pub(super) fn unpack(data: &[u8]) -> Result<Vec<(String, File)>, String> {
    let bad = |error: std::io::Error| format!("the archive cannot be read: {error}");
    let mut archive = tar::Archive::new(MultiGzDecoder::new(data).take(TOTAL + (FILES as u64) * 1024));
    let mut files = Vec::new();
    let mut left = TOTAL;
    for entry in archive.entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| "a name in the archive is no UTF-8".to_owned())?;
        if name.starts_with('/') || name.contains('\\') || name.split('/').any(|part| part == "..") {
            return Err(format!(
                "entry '{}' leads out of the archive",
                name.escape_debug()
            ));
        }
        let size = entry.size();
        if size > left || files.len() >= FILES {
            return Err("the archive unpacks to more than is allowed".to_owned());
        }
        left -= size;
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(bad)?;
        if (content.len() as u64) < size {
            return Err(bad(std::io::ErrorKind::UnexpectedEof.into()));
        }
        files.push((
            name.trim_start_matches("./").to_owned(),
            File::new(content, executable),
        ));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tar::EntryType;

    use super::*;

    fn archive(entries: &[(&str, EntryType, u64, &[u8])]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for (path, kind, size, data) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_size(*size);
            header.as_ustar_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            out.write_all(header.as_bytes()).unwrap();
            out.write_all(data).unwrap();
            out.write_all(&vec![0; data.len().next_multiple_of(512) - data.len()])
                .unwrap();
        }
        out.write_all(&[0; 1024]).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn nothing_leads_out_and_bombs_do_not_go_off() {
        let good = ("./a/b", EntryType::Regular, 1, b"x".as_slice());
        let links = [
            good,
            ("link", EntryType::Symlink, 0, b""),
            ("hard", EntryType::Link, 0, b""),
        ];
        let files = unpack(&archive(&links)).unwrap();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a/b"]);
        for name in ["../evil", "a/../../evil", "/etc/evil", "a\\evil"] {
            let error = unpack(&archive(&[good, (name, EntryType::Regular, 1, b"x")])).unwrap_err();
            assert!(error.contains("leads out"), "{name}: {error}");
        }
        let liar = ("liar", EntryType::Regular, 7 << 30, b"x".as_slice());
        assert!(
            unpack(&archive(&[liar]))
                .unwrap_err()
                .contains("more than is allowed")
        );
        let cut = ("cut", EntryType::Regular, 3000, b"x".as_slice());
        assert!(unpack(&archive(&[cut])).unwrap_err().contains("cannot be read"));
        assert!(unpack(b"no archive").is_err());
    }
}

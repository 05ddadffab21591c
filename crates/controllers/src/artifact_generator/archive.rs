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
        files.push((
            name.trim_start_matches("./").to_owned(),
            File::new(content, executable),
        ));
    }
    Ok(files)
}

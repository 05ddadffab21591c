//! Packed charts: gzip and tar, bounded, with Helm's rules for the names inside.

use std::io::Read;

use fluvial_tree::File;

use crate::chart::{ChartFile, LoadLimits};
use crate::error::Error;

/// The files of an archive, without the chart's own folder.
///
/// # Errors
/// If it is no archive, or larger than allowed, or its names lead elsewhere.
pub fn unpack_with(data: &[u8], limits: LoadLimits) -> Result<Vec<ChartFile>, Error> {
    if !data.starts_with(&[0x1f, 0x8b]) {
        return Err(Error::load(
            "file does not appear to be a gzipped archive; got 'application/octet-stream'",
        ));
    }
    let bad = |error: std::io::Error| Error::load(format!("chart archive cannot be read: {error}"));
    let unzipped = flate2::read::MultiGzDecoder::new(data).take(limits.total.saturating_mul(2));
    let mut archive = tar::Archive::new(unzipped);
    let mut files = Vec::new();
    let mut left = limits.total;
    for entry in archive.entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        let kind = entry.header().entry_type();
        if !kind.is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = inner_name(&path)?;
        if entry.size() > left {
            return Err(Error::load(format!(
                "decompressed chart is larger than the maximum size {}",
                limits.total
            )));
        }
        if entry.size() > limits.file {
            return Err(Error::load(format!(
                "decompressed chart file {} is larger than the maximum file size {}",
                fluvial_template::quote(&path),
                limits.file
            )));
        }
        left -= entry.size();
        if files.len() >= limits.files {
            return Err(Error::load("the chart has more files than allowed"));
        }
        let mut content = Vec::new();
        entry
            .by_ref()
            .take(limits.file + 1)
            .read_to_end(&mut content)
            .map_err(bad)?;
        if (content.len() as u64) < entry.size() {
            return Err(bad(std::io::ErrorKind::UnexpectedEof.into()));
        }
        files.push(ChartFile::new(name, File::new(content, false)));
    }
    if files.is_empty() {
        return Err(Error::load("no files in chart archive"));
    }
    Ok(files)
}

/// The path within the chart's folder; names that would lead out of it are refused.
fn inner_name(path: &str) -> Result<String, Error> {
    let path = path.replace('\\', "/");
    let Some((_, inner)) = path.split_once('/') else {
        if path == "Chart.yaml" {
            return Err(Error::load("chart yaml not in base directory"));
        }
        return Err(Error::load(
            "chart illegally contains content outside the base directory",
        ));
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in inner.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                return Err(Error::load("chart illegally references parent directory"));
            }
            part => parts.push(part),
        }
    }
    if path.starts_with('/') || parts.is_empty() {
        return Err(Error::load("chart illegally contains absolute paths"));
    }
    if parts[0].as_bytes().get(1) == Some(&b':') {
        return Err(Error::load("chart contains illegally named files"));
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// An archive with these entries: path, kind, size in the header, content.
    fn archive(entries: &[(&str, tar::EntryType, u64, &[u8])]) -> Vec<u8> {
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

    fn fails(entries: &[(&str, tar::EntryType, u64, &[u8])], limits: LoadLimits) -> String {
        unpack_with(&archive(entries), limits).unwrap_err().to_string()
    }

    #[test]
    fn names_that_lead_out_of_the_chart_are_refused_and_links_are_no_files() {
        use tar::EntryType::{Link, Regular, Symlink};
        let chart = ("tea/Chart.yaml", Regular, 1, b"x".as_slice());
        for (name, words) in [
            ("tea/../../evil", "parent directory"),
            ("tea/a/../../../evil", "parent directory"),
            ("tea\\..\\evil", "parent directory"),
            ("/etc/evil", "absolute"),
            ("tea//", "absolute"),
            ("evil", "outside the base directory"),
            ("tea/c:/evil", "illegally named"),
        ] {
            let error = fails(&[chart, (name, Regular, 1, b"x")], LoadLimits::default());
            assert!(error.contains(words), "{name}: {error}");
        }
        let links = [chart, ("tea/link", Symlink, 0, b""), ("tea/hard", Link, 0, b"")];
        let files = unpack_with(&archive(&links), LoadLimits::default()).unwrap();
        assert_eq!(files.len(), 1);
        assert!(fails(&[("tea/link", Symlink, 0, b"")], LoadLimits::default()).contains("no files"));
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        use tar::EntryType::{Regular, XGlobalHeader};
        let limits = LoadLimits {
            total: 1 << 20,
            file: 4000,
            files: 2,
            ..LoadLimits::default()
        };
        let large = [b'x'; 4001];
        let one = ("tea/a", Regular, 1, b"x".as_slice());
        for (entries, words) in [
            (
                vec![("tea/large", Regular, 4001, large.as_slice())],
                "maximum file size",
            ),
            (
                vec![("tea/liar", Regular, 7 << 30, b"x".as_slice())],
                "maximum size",
            ),
            (vec![one, one, one], "more files"),
            (
                vec![("tea/cut", Regular, 3000, b"x".as_slice())],
                "cannot be read",
            ),
        ] {
            let error = fails(&entries, limits);
            assert!(error.contains(words), "{words}: {error}");
        }
        // What is no file may not cost more either.
        let zeros = vec![0; 16 << 20];
        let bomb = ("x", XGlobalHeader, zeros.len() as u64, zeros.as_slice());
        assert!(unpack_with(&archive(&[bomb, one]), limits).is_err());
    }
}

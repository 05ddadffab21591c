//! Packed charts: gzip and tar, bounded, with Helm's rules for the names inside.

use std::io::Read;

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
        let content = match content.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) => rest.into(),
            None => content.into(),
        };
        files.push(ChartFile {
            name: name.into(),
            data: content,
        });
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

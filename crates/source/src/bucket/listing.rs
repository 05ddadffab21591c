//! What of a bucket's listing counts, and the revision that it makes.

use std::collections::BTreeMap;

use fluvial_ports::BucketRequest;
use fluvial_tree::TreePath;
use sha2::{Digest as _, Sha256};

use super::Listed;
use crate::error::{SourceError, reason};
use crate::ignore::{IGNORE_FILE, Rules};

/// What says that a key cannot be a file: another revision of the bucket may have none such.
pub(super) fn bad_key(key: &str, why: &str) -> SourceError {
    SourceError::waiting(
        reason::BUCKET_OPERATION_FAILED,
        format!("object '{key}' {why}; remove it from the bucket, or exclude it with spec.ignore"),
    )
}

/// What of a listing counts, by key; a key that cannot be a file is an error.
pub(super) fn index(
    listed: &[Listed],
    rules: Option<&Vec<u8>>,
    request: &BucketRequest,
) -> Result<BTreeMap<String, Listed>, SourceError> {
    let text = rules.map(|rules| String::from_utf8_lossy(rules));
    let rules = Rules::of_keys(text.as_deref(), request.ignore.as_deref());
    // Keys that end with a slash are what consoles make for empty folders.
    let objects: Vec<&Listed> = listed
        .iter()
        .filter(|object| !object.key.ends_with('/') && object.key != IGNORE_FILE)
        .collect();
    let paths: Vec<TreePath> = objects
        .iter()
        .map(|object| {
            let plain = object.key.split('/').filter(|part| !part.is_empty());
            TreePath::parse(&plain.collect::<Vec<_>>().join("/")).unwrap_or_default()
        })
        .collect();
    let excluded = rules.excluded(&paths);
    let mut index = BTreeMap::new();
    let mut files: BTreeMap<&TreePath, &str> = BTreeMap::new();
    for ((object, path), _) in objects
        .iter()
        .zip(&paths)
        .zip(excluded)
        .filter(|(_, excluded)| !excluded)
    {
        let key = object.key.as_str();
        if key.starts_with('/') || key.split('/').any(|part| part == ".." || part == ".") || path.is_root() {
            return Err(bad_key(key, "has a path that leads elsewhere"));
        }
        if key.split('/').any(|part| part.eq_ignore_ascii_case(".git")) {
            return Err(bad_key(key, "is part of a Git repository's own files"));
        }
        if let Some(other) = files.insert(path, key) {
            return Err(bad_key(key, &format!("has the same path as '{other}'")));
        }
        index.insert(key.to_owned(), (*object).clone());
    }
    for (path, key) in &files {
        let mut above = path.parent();
        while let Some(folder) = above.filter(|folder| !folder.is_root()) {
            if let Some(file) = files.get(&folder) {
                return Err(bad_key(key, &format!("is below '{file}', which is a file")));
            }
            above = folder.parent();
        }
    }
    Ok(index)
}

/// The digest over keys and etags.
pub(super) fn revision(index: &BTreeMap<String, Listed>) -> String {
    let mut hash = Sha256::new();
    for (key, object) in index {
        hash.update(format!("{key} {}\n", object.etag));
    }
    format!("sha256:{}", crate::hex(&hash.finalize()))
}

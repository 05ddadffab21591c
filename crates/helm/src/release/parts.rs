//! Releases that are too large for one object: their text in several. An extension of our own: `helm` sees that there
//! is a version of that number, and cannot read it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fluvial_tree::Digest;
use serde_json::{Map, Value as Json, json};

use super::store::{Driver, LIMIT, StoreError, decode, object, text_of, text_under};
use super::{Stored, storage_name};

/// What one object holds of a release at most: the rest of the limit is for its names and labels.
const PART: usize = LIMIT - 16 * 1024;
/// Parts of one release at most.
const MOST: usize = 64;
/// Key of the first object that tells of the others.
const KEY: &str = "parts";
/// Key of the text in the others.
const TEXT: &str = "part";
/// Owner label of the others: for `helm` they are none of its releases.
const OWNER: &str = "fluvial";

/// Label selector for what holds the rest of the versions of a release.
#[must_use]
pub fn parts_selector(release: &str) -> String {
    format!("name={release},owner={OWNER}")
}

/// The objects that hold a version: those with its rest, then the one that helm looks at, which tells of them. Written
/// in this order, a version is whole whenever it is there.
///
/// # Errors
/// If it is larger than all parts together may be.
pub(super) fn split(
    release: &Stored,
    text: &str,
    driver: Driver,
    namespace: &str,
    stamp: (&str, i64),
) -> Result<Vec<Json>, StoreError> {
    let chunks: Vec<&str> = text
        .as_bytes()
        .chunks(PART)
        .map(|chunk| std::str::from_utf8(chunk).expect("base64 is ASCII"))
        .collect();
    if chunks.len() > MOST {
        return Err(StoreError::new(format!(
            "release {} has {} bytes when packed, and all parts together hold {}: leave large files out of the chart with \
             .helmignore, or split the chart",
            release.name,
            text.len(),
            MOST * PART
        )));
    }
    let digest = Digest::of(text.as_bytes()).to_hex();
    let names = names(&release.name, release.version, &digest[..12], chunks.len());
    let mut objects = Vec::with_capacity(chunks.len());
    for (name, chunk) in names.iter().zip(&chunks[1..]) {
        let metadata = json!({
            "name": name, "namespace": namespace,
            "labels": {"name": release.name, "owner": OWNER, "version": release.version.to_string()},
        });
        objects.push(match driver {
            Driver::Secret => json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "fluvial.dev/release-part.v1",
                "data": {TEXT: STANDARD.encode(chunk)},
            }),
            Driver::ConfigMap => json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {TEXT: chunk},
            }),
        });
    }
    let told = format!("{}/{}", &digest[..12], chunks.len());
    let mut data = Map::new();
    data.insert("release".to_owned(), driver.value(chunks[0]));
    data.insert(KEY.to_owned(), driver.value(&told));
    objects.push(object(release, driver, namespace, stamp, (data, text)));
    Ok(objects)
}

fn names(release: &str, version: i64, digest: &str, count: usize) -> Vec<String> {
    let main = storage_name(release, version);
    (1..count).map(|part| format!("{main}.{digest}.{part}")).collect()
}

/// The names of the objects that hold the rest of the version in this one; mostly there are none.
///
/// # Errors
/// If the object tells of them in a way that cannot be understood.
pub fn parts_of(object: &Json) -> Result<Vec<String>, StoreError> {
    if object.pointer(&format!("/data/{KEY}")).is_none() {
        return Ok(Vec::new());
    }
    let told = text_under(object, KEY)?;
    let main = object
        .pointer("/metadata/name")
        .and_then(Json::as_str)
        .unwrap_or_default();
    let parts = told
        .split_once('/')
        .and_then(|(digest, count)| Some((digest, count.parse::<usize>().ok()?)))
        .filter(|(_, count)| (2..=MOST).contains(count));
    let (digest, count) = parts.ok_or_else(|| {
        StoreError::new(format!(
            "{main}: its key '{KEY}' holds '{told}', which is no DIGEST/COUNT"
        ))
    })?;
    Ok((1..count).map(|part| format!("{main}.{digest}.{part}")).collect())
}

/// Reads the release in an object and in those that hold its rest, in the order of [`parts_of`].
///
/// # Errors
/// If there is none, or a part is of something else.
pub fn read_parts(main: &Json, parts: &[Json]) -> Result<Stored, StoreError> {
    let mut text = text_of(main)?;
    for part in parts {
        text.push_str(&text_under(part, TEXT)?);
    }
    let told = text_under(main, KEY)?;
    let digest = Digest::of(text.as_bytes()).to_hex();
    if !told.starts_with(&digest[..12]) {
        return Err(StoreError::new(format!(
            "the {} parts of the release do not fit together",
            parts.len() + 1
        )));
    }
    let mut stored = decode(&text)?;
    super::store::label(&mut stored, main, &text);
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::super::{Info, Status, encode, read_object, to_objects};
    use super::*;

    /// A release that does not pack well.
    fn large() -> Stored {
        let mut noise = String::new();
        let mut state = 7_u64;
        while noise.len() < 3 << 20 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.push_str(&format!("{state:x}"));
        }
        Stored {
            name: "web".to_owned(),
            namespace: "apps".to_owned(),
            version: 3,
            manifest: noise,
            info: Info {
                status: Status::Deployed,
                ..Info::default()
            },
            made_for: "uid".to_owned(),
            ..Stored::default()
        }
    }

    #[test]
    fn what_is_too_large_is_refused_or_split_and_put_together_again() {
        let release = large();
        let error = encode(&release).unwrap_err().to_string();
        assert!(error.contains("one object holds 1048576"), "{error}");
        for driver in [Driver::Secret, Driver::ConfigMap] {
            assert!(to_objects(&release, driver, "store", ("createdAt", 17), false).is_err());
            let mut objects = to_objects(&release, driver, "store", ("createdAt", 17), true).unwrap();
            let main = objects.pop().unwrap();
            assert_eq!(main["metadata"]["name"], "sh.helm.release.v1.web.v3");
            assert_eq!(main["metadata"]["labels"]["owner"], "helm");
            let names: Vec<&str> = objects
                .iter()
                .map(|part| part["metadata"]["name"].as_str().unwrap())
                .collect();
            assert!(names.len() > 1);
            assert_eq!(parts_of(&main).unwrap(), names);
            assert!(objects.iter().all(|part| part.to_string().len() < 1_500_000));
            assert_eq!(read_parts(&main, &objects).unwrap(), release);
            assert!(read_object(&main).is_err());
            objects.swap(0, 1);
            assert!(
                read_parts(&main, &objects)
                    .unwrap_err()
                    .to_string()
                    .contains("do not fit")
            );
        }
    }

    #[test]
    fn what_fits_is_one_object_however_asked() {
        let mut release = large();
        release.manifest.truncate(1000);
        let objects = to_objects(&release, Driver::Secret, "store", ("createdAt", 17), true).unwrap();
        assert_eq!(objects.len(), 1);
        assert!(parts_of(&objects[0]).unwrap().is_empty());
        assert_eq!(read_object(&objects[0]).unwrap(), release);
    }
}

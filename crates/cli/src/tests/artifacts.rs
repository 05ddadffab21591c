//! Commands on artifacts, against a registry in memory.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use fluvial_ports::{Access, BoxFuture};
use fluvial_tree::Tree;
use serde_json::Value;

use super::{Memory, fluvial};
use crate::{Address, Facts, Pulled, Registry};

/// What is stored, by repository and tag.
#[derive(Default)]
pub(super) struct Shelf(Mutex<BTreeMap<(String, String), (BTreeMap<String, String>, Tree)>>);

fn key(address: &Address) -> (String, String) {
    (address.repository.clone(), address.reference().to_owned())
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(async { value })
}

fn digest(files: &Tree) -> String {
    format!("sha256:{}", files.digest().to_hex())
}

impl Shelf {
    fn found(&self, key: &(String, String)) -> Result<(BTreeMap<String, String>, Tree), String> {
        let stored = self.0.lock().unwrap();
        stored
            .get(key)
            .cloned()
            .ok_or_else(|| format!("{} is not there", key.1))
    }
}

impl Registry for Shelf {
    fn without(&self, files: &Tree, patterns: &str) -> Tree {
        let mut builder = files.to_builder();
        for (path, _) in files.iter() {
            if patterns
                .lines()
                .any(|line| path.as_str().ends_with(line.trim_start_matches('*')))
            {
                builder.remove(path);
            }
        }
        builder.build()
    }

    fn pack(&self, files: &Tree) -> Vec<u8> {
        digest(files).into_bytes()
    }

    fn push<'a>(
        &'a self,
        address: &'a Address,
        files: &'a Tree,
        annotations: &'a BTreeMap<String, String>,
        access: &'a Access,
    ) -> BoxFuture<'a, Result<String, String>> {
        let login = access.credentials.as_ref().map(|data| &data[".dockerconfigjson"]);
        assert!(login.is_none_or(|login| String::from_utf8_lossy(login).contains("\"password\":\"pw\"")));
        let mut stored = self.0.lock().unwrap();
        stored.insert(key(address), (annotations.clone(), files.clone()));
        ready(Ok(digest(files)))
    }

    fn pull<'a>(&'a self, address: &'a Address, _: &'a Access) -> BoxFuture<'a, Result<Pulled, String>> {
        ready(self.found(&key(address)).map(|(annotations, files)| Pulled {
            digest: digest(&files),
            annotations,
            files,
        }))
    }

    fn tags<'a>(&'a self, address: &'a Address, _: &'a Access) -> BoxFuture<'a, Result<Vec<String>, String>> {
        let stored = self.0.lock().unwrap();
        let of =
            |(repository, tag): &(String, String)| (*repository == address.repository).then(|| tag.clone());
        ready(Ok(stored.keys().filter_map(of).collect()))
    }

    fn describe<'a>(
        &'a self,
        address: &'a Address,
        tags: &'a [String],
        _: &'a Access,
    ) -> BoxFuture<'a, Result<Vec<Facts>, String>> {
        let facts = tags.iter().map(|tag| {
            let (annotations, files) = self.found(&(address.repository.clone(), tag.clone()))?;
            Ok((digest(&files), annotations))
        });
        ready(facts.collect())
    }

    fn tag<'a>(
        &'a self,
        address: &'a Address,
        tag: &'a str,
        _: &'a Access,
    ) -> BoxFuture<'a, Result<(), String>> {
        ready(self.found(&key(address)).map(|found| {
            let new = (address.repository.clone(), tag.to_owned());
            self.0.lock().unwrap().insert(new, found);
        }))
    }
}

fn memory() -> Memory {
    Memory {
        shelf: Some(Arc::default()),
        ..Memory::default()
    }
}

#[tokio::test]
async fn what_is_pushed_can_be_pulled_listed_tagged_and_compared() {
    let memory = memory();
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::create_dir_all(from.join("apps")).unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(from.join("apps/a.yaml"), "kind: A\n").unwrap();
    fs::write(from.join("logo.png"), "x").unwrap();
    let (from, to) = (from.display(), to.display());
    let push = format!(
        "push artifact oci://ghcr.io/org/app:v1 --path={from} --source=https://example.org/app --revision=main@sha1:1 \
         --creds=me:pw --annotations=a=b"
    );
    let (code, out, err) = fluvial(&memory, &push).await;
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(
        err.contains("► pushing artifact to ghcr.io/org/app:v1\n"),
        "{err}"
    );
    assert!(
        err.contains("✔ artifact successfully pushed to ghcr.io/org/app@sha256:"),
        "{err}"
    );
    let (_, out, _) = fluvial(&memory, &format!("{push} -o json --reproducible")).await;
    assert!(
        out.starts_with("{\n  \"url\": \"oci://ghcr.io/org/app@sha256:"),
        "{out}"
    );
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&told["repository"], &told["tag"]),
        (&"ghcr.io/org/app".into(), &"v1".into())
    );

    let (code, _, err) = fluvial(
        &memory,
        "tag artifact oci://ghcr.io/org/app:v1 --tag=v2 --tag=latest",
    )
    .await;
    assert_eq!(code, 0, "{err}");
    assert!(
        err.ends_with("✔ artifact tagged as ghcr.io/org/app:latest\n"),
        "{err}"
    );
    let list = "list artifacts oci://ghcr.io/org/app --filter-semver=>=1.0.0";
    let (_, out, err) = fluvial(&memory, list).await;
    let rows: Vec<&str> = out
        .lines()
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(
        rows,
        ["ARTIFACT", "ghcr.io/org/app:v2", "ghcr.io/org/app:v1"],
        "{err}"
    );

    let (code, _, err) = fluvial(
        &memory,
        &format!("pull artifact oci://ghcr.io/org/app --output={to}"),
    )
    .await;
    assert_eq!(code, 0, "{err}");
    assert!(
        err.contains("✔ source https://example.org/app\n✔ revision main@sha1:1\n✔ digest ghcr.io"),
        "{err}"
    );
    assert_eq!(
        fs::read_to_string(format!("{to}/apps/a.yaml")).unwrap(),
        "kind: A\n"
    );
    assert!(
        !fs::exists(format!("{to}/logo.png")).unwrap(),
        "pictures are left out"
    );

    let diff = format!("diff artifact oci://ghcr.io/org/app:v2 --path={from}");
    assert_eq!(
        fluvial(&memory, &diff).await,
        (0, String::new(), "✔ no changes detected\n".to_owned())
    );
    fs::write(format!("{from}/apps/a.yaml"), "kind: B\n").unwrap();
    let (code, out, err) = fluvial(&memory, &diff).await;
    assert_eq!((code, out.as_str()), (1, "~ apps/a.yaml\n"));
    assert_eq!(err, "✗ the remote artifact contents differs from the local one\n");
}

#[tokio::test]
async fn arguments_are_checked_before_a_registry_is_asked() {
    let memory = memory();
    let url = "oci://ghcr.io/org/app:v1";
    for (line, want) in [
        ("push artifact".to_owned(), "artifact URL is required"),
        (format!("push artifact {url} --path=."), "--source is required"),
        (
            format!("push artifact {url} --source=x"),
            "--revision is required",
        ),
        (
            format!("push artifact {url} --source=x --revision=y"),
            "invalid path \"\"",
        ),
        (
            format!("push artifact {url} --source=x --revision=y --path=nope"),
            "invalid path 'nope', must point to an existing directory or file",
        ),
        (
            "pull artifact ghcr.io/org/app:1 --output=.".to_owned(),
            "URL must be in format",
        ),
        (
            format!("pull artifact {url} --output=nope"),
            "invalid output path \"nope\": stat nope",
        ),
        (format!("tag artifact {url}"), "--tag is required"),
        ("list artifacts".to_owned(), "artifact repository URL is required"),
        (format!("diff artifact {url}"), "invalid path \"\""),
        ("build artifact".to_owned(), "invalid path \"\""),
        (format!("pull artifact {url} --output=tmp"), "v1 is not there"),
    ] {
        let (code, _, err) = fluvial(&memory, &line).await;
        assert_eq!(code, 1, "{line}");
        assert!(err.contains(want), "{line}: {err}");
    }
}

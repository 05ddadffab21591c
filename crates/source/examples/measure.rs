//! Times the hot paths on a repository made for it: `cargo run --profile fast --example measure -- FILES`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program for developers"
)]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use fluvial_source::git::{Fetched, GitReference, GitRequest, GitSource, Revision};
use fluvial_source::limits::Limits;
use fluvial_source::{artifact, ignore};

fn git(folder: &Path, args: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=x", "-c", "user.email=x@example.com"])
        .args(args)
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(status.success());
}

fn fetch(source: &GitSource, request: &GitRequest) -> Revision {
    match source.fetch_blocking(request).unwrap() {
        Fetched::Changed(revision) => revision,
        Fetched::Unchanged => unreachable!("no last revision was given"),
    }
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    println!("{what:<44} {:>9.3} ms", start.elapsed().as_secs_f64() * 1000.0);
    result
}

fn main() {
    let files: usize = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_000);
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path();
    git(repo, &["init", "-q", "-b", "main"]);
    for index in 0..files {
        let folder = repo.join(format!("apps/team-{}/app-{}", index % 50, index / 50 % 40));
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-{index}\ndata:\n  key: value\n"
        );
        std::fs::write(folder.join(format!("file-{index}.yaml")), text).unwrap();
    }
    std::fs::write(repo.join(".gitignore"), "x\n").unwrap();
    git(repo, &["add", "-A"]);
    git(repo, &["commit", "-q", "-m", "first"]);
    let source = GitSource::new(dir.path().join("cache"), Limits::default());
    let request = GitRequest {
        url: repo.display().to_string(),
        reference: GitReference::branch("main"),
        ..GitRequest::default()
    };
    let first = timed("first commit to tree", || fetch(&source, &request));
    timed("same commit again", || fetch(&source, &request));
    let unchanged = GitRequest {
        last_revision: Some(first.revision),
        ..request.clone()
    };
    timed("nothing changed", || source.fetch_blocking(&unchanged).unwrap());
    std::fs::write(repo.join("apps/team-1/app-0/file-1.yaml"), "changed: true\n").unwrap();
    git(repo, &["commit", "-q", "-a", "-m", "second"]);
    let second = timed("one file changed", || fetch(&source, &request));
    let kept = timed("ignore rules", || ignore::filter(&second.tree, None));
    timed("digest of all files", || kept.digest());
    let packed = timed("pack", || artifact::pack(&kept));
    println!("{} entries, {} bytes packed", kept.len(), packed.size());
    let store = artifact::Store::open(dir.path().join("store")).unwrap();
    let owner = artifact::Owner {
        kind: "GitRepository".to_owned(),
        namespace: "flux-system".to_owned(),
        name: "fleet".to_owned(),
    };
    let file = artifact::git_file_name(&second.revision);
    let stored = timed("store", || store.put(&owner, &file, &packed).unwrap());
    timed("verify", || store.verify(&stored.path, &stored.digest));
    timed("unpack", || {
        artifact::unpack(&packed.data[..], Limits::default()).unwrap()
    });
    let dirty = GitRequest {
        dirty: true,
        ..request
    };
    timed("work tree", || fetch(&source, &dirty));
}

//! Local repositories, read in process.

use fluvial_source::Class;
use fluvial_source::git::{self, Fetched, GitReference, GitRequest};
use fluvial_source::limits::Limits;

use crate::support::{TestRepo, changed, git_is_missing, source, text};

fn request(repo: &TestRepo, reference: GitReference) -> GitRequest {
    GitRequest {
        url: repo.url(),
        reference,
        ..GitRequest::default()
    }
}

#[test]
fn every_kind_of_reference_leads_to_its_commit() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let first = repo.commit(&[("a.yaml", "1")], "first\n\nbody");
    repo.git(&["tag", "v1.0.0"]);
    let second = repo.commit(&[("a.yaml", "2"), ("b/c.yaml", "c")], "second");
    repo.git(&["tag", "-a", "v1.1.0", "-m", "annotated"]);
    let third = repo.commit(&[("a.yaml", "3")], "third");
    let get = |reference| changed(source.fetch_blocking(&request(&repo, reference)).unwrap());

    let branch = get(GitReference::branch("main"));
    assert_eq!(branch.revision, format!("main@sha1:{third}"));
    assert_eq!(branch.commit.subject, "third");
    assert_eq!(branch.commit.author, "Ada <ada@example.com>");
    assert_eq!(text(&branch.tree, "a.yaml"), "3");
    assert_eq!(text(&branch.tree, "b/c.yaml"), "c");
    let tag = get(GitReference {
        tag: Some("v1.1.0".into()),
        ..GitReference::default()
    });
    assert_eq!(tag.revision, format!("v1.1.0@sha1:{second}"));
    assert!(tag.commit.tag.is_some());
    let semver = get(GitReference {
        semver: Some("<1.1.0".into()),
        ..GitReference::default()
    });
    assert_eq!(semver.revision, format!("v1.0.0@sha1:{first}"));
    assert_eq!(semver.commit.subject, "first");
    let name = get(GitReference {
        name: Some("refs/tags/v1.1.0".into()),
        ..GitReference::default()
    });
    assert_eq!(name.revision, format!("refs/tags/v1.1.0@sha1:{second}"));
    let commit = get(GitReference {
        commit: Some(first.clone()),
        ..GitReference::default()
    });
    assert_eq!(commit.revision, format!("sha1:{first}"));
    assert_eq!(text(&commit.tree, "a.yaml"), "1");
    assert_eq!(git::head_branch(&repo.path()).as_deref(), Some("main"));
}

#[test]
fn the_last_revision_is_not_read_again() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let id = repo.commit(&[("a", "1")], "first");
    let mut request = request(&repo, GitReference::branch("main"));
    for last in [format!("main@sha1:{id}"), format!("main/{id}")] {
        request.last_revision = Some(last);
        assert!(matches!(
            source.fetch_blocking(&request).unwrap(),
            Fetched::Unchanged
        ));
    }
    repo.commit(&[("a", "2")], "second");
    assert_eq!(
        text(&changed(source.fetch_blocking(&request).unwrap()).tree, "a"),
        "2"
    );
}

#[test]
fn a_change_of_every_kind_arrives_and_the_rest_is_shared() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let request = request(&repo, GitReference::branch("main"));
    repo.commit(
        &[
            ("same/x", "x"),
            ("file-to-folder", "f"),
            ("folder/y", "y"),
            ("gone/z", "z"),
            ("exe", "e"),
        ],
        "first",
    );
    let first = changed(source.fetch_blocking(&request).unwrap());
    std::fs::remove_file(repo.path().join("file-to-folder")).unwrap();
    std::fs::remove_dir_all(repo.path().join("folder")).unwrap();
    std::fs::remove_dir_all(repo.path().join("gone")).unwrap();
    repo.git(&["update-index", "--chmod=+x", "exe"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(repo.path().join("exe"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("same/x", repo.path().join("link")).unwrap();
    }
    repo.commit(
        &[("file-to-folder/inner", "i"), ("folder", "now a file")],
        "second",
    );
    let second = changed(source.fetch_blocking(&request).unwrap());
    let fresh = changed(
        crate::support::source(&tempfile::tempdir().unwrap())
            .fetch_blocking(&request)
            .unwrap(),
    );
    assert_eq!(second.tree.digest(), fresh.tree.digest());
    assert_eq!(text(&second.tree, "folder"), "now a file");
    assert_eq!(text(&second.tree, "link"), "x");
    let x = fluvial_tree::TreePath::parse("same/x").unwrap();
    assert!(std::sync::Arc::ptr_eq(
        &first.tree.file(&x).unwrap().shared(),
        &second.tree.file(&x).unwrap().shared()
    ));
    assert!(
        second
            .tree
            .file(&fluvial_tree::TreePath::parse("exe").unwrap())
            .unwrap()
            .executable
    );
}

#[test]
fn uncommitted_files_count_only_if_asked_for() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let id = repo.commit(&[("a", "1"), (".gitignore", "*.log\n")], "first");
    let mut request = request(&repo, GitReference::branch("main"));
    request.dirty = true;
    let clean = changed(source.fetch_blocking(&request).unwrap());
    assert_eq!(clean.revision, format!("main@sha1:{id}"));
    repo.write("a", "2");
    repo.write("new", "n");
    repo.write("x.log", "ignored");
    let dirty = changed(source.fetch_blocking(&request).unwrap());
    assert!(dirty.revision.starts_with(&format!("main@sha1:{id}-dirty-")));
    assert_eq!(text(&dirty.tree, "a"), "2");
    assert_eq!(text(&dirty.tree, "new"), "n");
    assert_eq!(dirty.tree.len(), 3);
    request.last_revision = Some(dirty.revision);
    assert!(matches!(
        source.fetch_blocking(&request).unwrap(),
        Fetched::Unchanged
    ));
    request.dirty = false;
    assert_eq!(
        text(&changed(source.fetch_blocking(&request).unwrap()).tree, "a"),
        "1"
    );
}

#[test]
fn sparse_checkout_takes_whole_folders_only() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    repo.commit(
        &[
            ("apps/a", "a"),
            ("apps-old/b", "b"),
            ("infra/c/d", "d"),
            ("top", "t"),
        ],
        "first",
    );
    let mut request = request(&repo, GitReference::branch("main"));
    request.sparse_checkout = vec!["./apps".into(), "infra/c/".into()];
    let tree = changed(source.fetch_blocking(&request).unwrap()).tree;
    let names: Vec<_> = tree.iter().map(|(path, _)| path.as_str().to_owned()).collect();
    assert_eq!(names, ["apps", "apps/a", "infra", "infra/c", "infra/c/d"]);
    request.sparse_checkout = vec!["nope".into()];
    let error = source.fetch_blocking(&request).unwrap_err();
    assert_eq!(error.class, Class::Stalled);
    assert!(error.message.contains("'nope' does not exist"), "{error}");
}

#[test]
fn submodules_are_filled_in() {
    if git_is_missing() {
        return;
    }
    let inner = TestRepo::new();
    inner.commit(&[("inner.yaml", "i")], "inner");
    let repo = TestRepo::new();
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    repo.commit(&[("a", "a")], "first");
    repo.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "-q",
        "add",
        &inner.url(),
        "libs/inner",
    ]);
    repo.commit(&[], "with submodule");
    let mut request = request(&repo, GitReference::branch("main"));
    let without = changed(source.fetch_blocking(&request).unwrap());
    assert!(without.warnings[0].contains("libs/inner"));
    request.recurse_submodules = true;
    let with = changed(source.fetch_blocking(&request).unwrap());
    assert_eq!(text(&with.tree, "libs/inner/inner.yaml"), "i");
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let fail = |reference| source.fetch_blocking(&request(&repo, reference)).unwrap_err();
    let empty = fail(GitReference::branch("main"));
    assert_eq!(empty.reason, "EmptyGitRepository", "{empty}");
    repo.commit(&[("a", "1")], "first");
    let branch = fail(GitReference::branch("mian"));
    assert!(branch.message.contains("did you mean 'main'?"), "{branch}");
    let semver = fail(GitReference {
        semver: Some(">=1".into()),
        ..GitReference::default()
    });
    assert!(semver.message.contains("it has no tags"), "{semver}");
    let commit = fail(GitReference {
        commit: Some("0".repeat(39) + "1"),
        ..GitReference::default()
    });
    assert!(commit.message.contains("force push"), "{commit}");
    let vanished = source
        .fetch_blocking(&GitRequest {
            url: "/nonexistent/repo".into(),
            ..GitRequest::default()
        })
        .unwrap_err();
    assert!(vanished.message.contains("does not exist"), "{vanished}");
    let ssh = source
        .fetch_blocking(&GitRequest {
            url: "ssh://git@host/repo".into(),
            ..GitRequest::default()
        })
        .unwrap_err();
    assert_eq!(ssh.reason, "AuthenticationFailed");
    assert!(ssh.message.contains("known_hosts"), "{ssh}");
}

#[test]
fn a_repository_that_vanishes_and_one_that_takes_its_place_are_noticed() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let request = request(&repo, GitReference::branch("main"));
    repo.commit(&[("a", "1")], "first");
    source.fetch_blocking(&request).unwrap();
    let moved = repo.root().join("moved");
    std::fs::rename(repo.path(), &moved).unwrap();
    let error = source.fetch_blocking(&request).unwrap_err();
    assert!(error.message.contains("does not exist"), "{error}");
    std::fs::create_dir(repo.path()).unwrap();
    repo.git(&["init", "-q", "-b", "main"]);
    repo.commit(&[("b", "2")], "another");
    assert_eq!(
        text(&changed(source.fetch_blocking(&request).unwrap()).tree, "b"),
        "2"
    );
}

#[test]
fn a_large_file_is_refused_with_its_name_and_the_way_out() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let cache = tempfile::tempdir().unwrap();
    let limits = Limits {
        file: 1000,
        ..Limits::default()
    };
    let source = git::GitSource::new(cache.path(), limits);
    repo.commit(&[("data/big.bin", &"x".repeat(2000))], "big");
    let error = source
        .fetch_blocking(&request(&repo, GitReference::branch("main")))
        .unwrap_err();
    assert!(error.message.contains("'data/big.bin' has 1.9 KiB"), "{error}");
    assert!(error.message.contains("sparseCheckout"), "{error}");
}

#[test]
fn hostile_names_are_refused_and_case_collisions_reported() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    repo.commit(&[("A/x", "1"), ("a/x", "2")], "collision");
    let main = GitReference::branch("main");
    let revision = changed(source.fetch_blocking(&request(&repo, main)).unwrap());
    assert!(
        revision.warnings[0].contains("upper and lower case"),
        "{:?}",
        revision.warnings
    );
    let blob = repo.git(&["hash-object", "-w", "a/x"]);
    let id: Vec<u8> = (0..blob.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&blob[at..at + 2], 16).unwrap())
        .collect();
    for names in [
        &["..", "x"][..],
        &[".git"],
        &[".GIT"],
        &["git~1"],
        &["a/b"],
        &["twice", "twice"],
    ] {
        let name = names.join(" and ");
        let mut tree = Vec::new();
        for name in names {
            tree.extend_from_slice(format!("100644 {name}\0").as_bytes());
            tree.extend_from_slice(&id);
        }
        std::fs::write(repo.root().join("tree"), tree).unwrap();
        let tree = repo.git(&["hash-object", "-t", "tree", "-w", "--literally", "../tree"]);
        let commit = repo.git(&["commit-tree", "-m", "hostile", &tree]);
        repo.git(&["update-ref", "refs/heads/hostile", &commit]);
        let error = source
            .fetch_blocking(&request(&repo, GitReference::branch("hostile")))
            .unwrap_err();
        assert!(error.message.contains("damaged or hostile"), "{name}: {error}");
    }
}

#[test]
fn links_in_circles_and_to_the_outside_are_only_data() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let cache = tempfile::tempdir().unwrap();
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, repo.path().join(name)).unwrap();
    link("b", "a");
    link("a", "b");
    link(".", "self");
    link("/etc/passwd", "outside");
    link("../../../etc", "up");
    repo.commit(&[("real", "1")], "links");
    let main = request(&repo, GitReference::branch("main"));
    let revision = changed(source(&cache).fetch_blocking(&main).unwrap());
    let path = |path: &str| fluvial_tree::TreePath::parse(path).unwrap();
    for circle in ["a", "b", "outside", "up/passwd", "self/a"] {
        assert!(revision.tree.file(&path(circle)).is_err(), "{circle}");
    }
    // The artifact holds no links at all.
    let packed = fluvial_source::artifact::pack(&revision.tree);
    let unpacked =
        fluvial_source::artifact::unpack(&packed.data[..], fluvial_source::limits::Limits::default())
            .unwrap();
    assert_eq!(unpacked.len(), 1);
    assert_eq!(text(&unpacked, "real"), "1");
}

#[test]
fn repositories_with_sha256_and_bare_ones_are_read() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::with_format("sha256");
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let id = repo.commit(&[("a", "1")], "first");
    let revision = changed(
        source
            .fetch_blocking(&request(&repo, GitReference::branch("main")))
            .unwrap(),
    );
    assert_eq!(revision.revision, format!("main@sha256:{id}"));
    repo.git(&["clone", "-q", "--bare", ".", "../bare.git"]);
    let bare = GitRequest {
        url: format!("file://{}/bare", repo.root().display()),
        reference: GitReference::branch("main"),
        ..GitRequest::default()
    };
    assert_eq!(
        text(&changed(source.fetch_blocking(&bare).unwrap()).tree, "a"),
        "1"
    );
}

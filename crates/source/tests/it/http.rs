//! Repositories behind smart HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use fluvial_source::git::{Credentials, Fetched, GitReference, GitRequest, GitSource};
use fluvial_source::limits::Limits;

use crate::support::{Server, TestRepo, Trick, backend_is_missing, changed, source, text};

fn basic(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn credentials(pairs: &[(&str, &str)]) -> Credentials {
    let data: BTreeMap<String, Vec<u8>> = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
        .collect();
    Credentials::from_secret(&data).unwrap()
}

#[tokio::test]
async fn every_kind_of_reference_is_fetched() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let first = repo.commit(&[("a", "1")], "first");
    repo.git(&["tag", "v1.0.0"]);
    let second = repo.commit(&[("a", "2")], "second");
    repo.git(&["tag", "-a", "v1.1.0", "-m", "annotated"]);
    let third = repo.commit(&[("a", "3")], "third");
    let server = Server::start(repo.root()).await;
    for old in [false, true] {
        server.behaviour.lock().unwrap().old = old;
        let cache = tempfile::tempdir().unwrap();
        let source = source(&cache);
        let get = async |reference: GitReference| {
            let request = GitRequest {
                url: server.url(&repo),
                reference,
                ..GitRequest::default()
            };
            let revision = changed(source.fetch(&request).await.unwrap());
            (revision.revision.clone(), text(&revision.tree, "a"))
        };
        let none = GitReference::default;
        assert_eq!(
            get(GitReference::branch("main")).await,
            (format!("main@sha1:{third}"), "3".to_owned())
        );
        let tag = GitReference {
            tag: Some("v1.1.0".into()),
            ..none()
        };
        assert_eq!(get(tag).await, (format!("v1.1.0@sha1:{second}"), "2".to_owned()));
        let semver = GitReference {
            semver: Some("<1.1".into()),
            ..none()
        };
        assert_eq!(
            get(semver).await,
            (format!("v1.0.0@sha1:{first}"), "1".to_owned())
        );
        let name = GitReference {
            name: Some("refs/tags/v1.0.0".into()),
            ..none()
        };
        assert_eq!(
            get(name).await,
            (format!("refs/tags/v1.0.0@sha1:{first}"), "1".to_owned())
        );
        let commit = GitReference {
            commit: Some(second.clone()),
            branch: Some("main".into()),
            ..none()
        };
        assert_eq!(get(commit).await, (format!("main@sha1:{second}"), "2".to_owned()));
    }
}

#[tokio::test]
async fn an_unchanged_reference_costs_one_question_and_a_change_only_the_new_objects() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1"), ("big", &"x".repeat(100_000))], "first");
    let server = Server::start(repo.root()).await;
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let mut request = GitRequest {
        url: server.url(&repo),
        reference: GitReference::branch("main"),
        ..GitRequest::default()
    };
    let first = changed(source.fetch(&request).await.unwrap());
    request.last_revision = Some(first.revision);
    let before = server.requests();
    assert!(matches!(
        source.fetch(&request).await.unwrap(),
        Fetched::Unchanged
    ));
    assert_eq!(server.requests() - before, 2, "handshake and references");
    repo.commit(&[("a", "2")], "second");
    let second = changed(source.fetch(&request).await.unwrap());
    assert_eq!(text(&second.tree, "a"), "2");
    // A force push to another history.
    repo.git(&["checkout", "-q", "--orphan", "other"]);
    let forced = repo.commit(&[("a", "3")], "rewritten");
    repo.git(&["branch", "-f", "main", &forced]);
    let third = changed(source.fetch(&request).await.unwrap());
    assert_eq!(third.revision, format!("main@sha1:{forced}"));
    assert_eq!(text(&third.tree, "a"), "3");
}

#[tokio::test]
async fn many_fetches_of_one_url_are_one() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let server = Server::start(repo.root()).await;
    server.behaviour.lock().unwrap().delay = Some(Duration::from_millis(50));
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let request = GitRequest {
        url: server.url(&repo),
        reference: GitReference::branch("main"),
        ..GitRequest::default()
    };
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (source, request) = (source.clone(), request.clone());
        tasks.spawn(async move { source.fetch(&request).await.unwrap() });
    }
    while let Some(result) = tasks.join_next().await {
        changed(result.unwrap());
    }
    assert_eq!(server.posts(), 2, "references and pack, once");
}

#[tokio::test]
async fn credentials_are_sent_and_a_refusal_is_explained() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let server = Server::start(repo.root()).await;
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let mut request = GitRequest {
        url: server.url(&repo),
        reference: GitReference::branch("main"),
        ..GitRequest::default()
    };
    server.behaviour.lock().unwrap().authorization = Some(basic("me", "right"));
    let none = source.fetch(&request).await.unwrap_err();
    assert_eq!(none.reason, "AuthenticationFailed");
    assert!(none.message.contains("spec.secretRef"), "{none}");
    request.credentials = credentials(&[("username", "me"), ("password", "wrong-one")]);
    let wrong = source.fetch(&request).await.unwrap_err();
    assert!(wrong.message.contains("refused the credentials"), "{wrong}");
    assert!(!wrong.message.contains("wrong-one"));
    request.credentials = credentials(&[("username", "me"), ("password", "right")]);
    changed(source.fetch(&request).await.unwrap());
    server.behaviour.lock().unwrap().authorization = Some("Bearer token".into());
    request.credentials = credentials(&[("bearerToken", "token")]);
    changed(source.fetch(&request).await.unwrap());
}

#[tokio::test]
async fn redirects_are_followed_and_take_no_credentials_to_another_server() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let target = Server::start(repo.root()).await;
    let server = Server::start(repo.root()).await;
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let request = GitRequest {
        url: format!("http://127.0.0.1:{}/moved", server.port),
        reference: GitReference::branch("main"),
        credentials: credentials(&[("username", "me"), ("password", "secret")]),
        ..GitRequest::default()
    };
    server.behaviour.lock().unwrap().redirect = Some(("/moved".into(), target.url(&repo)));
    let revision = changed(source.fetch(&request).await.unwrap());
    assert_eq!(text(&revision.tree, "a"), "1");
    assert!(
        target
            .behaviour
            .lock()
            .unwrap()
            .seen
            .iter()
            .all(|(.., auth)| auth.is_none())
    );
    assert!(
        server
            .behaviour
            .lock()
            .unwrap()
            .seen
            .iter()
            .any(|(.., auth)| auth.is_some())
    );
    // On the same server they go along.
    server.behaviour.lock().unwrap().redirect = Some(("/moved".into(), "/repo".into()));
    server.behaviour.lock().unwrap().authorization = Some(basic("me", "secret"));
    changed(source.fetch(&request).await.unwrap());
    // A loop ends.
    server.behaviour.lock().unwrap().redirect = Some(("/moved".into(), "/moved".into()));
    let error = source.fetch(&request).await.unwrap_err();
    assert!(error.message.contains("redirects"), "{error}");
}

#[tokio::test]
async fn failures_of_the_server_are_told_apart() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let server = Server::start(repo.root()).await;
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let mut request = GitRequest {
        url: server.url(&repo),
        reference: GitReference::branch("mian"),
        timeout: Some(Duration::from_secs(10)),
        ..GitRequest::default()
    };
    let empty = source.fetch(&request).await.unwrap_err();
    assert_eq!(empty.reason, "EmptyGitRepository", "{empty}");
    repo.commit(&[("a", "1")], "first");
    let branch = source.fetch(&request).await.unwrap_err();
    assert!(branch.message.contains("did you mean 'main'?"), "{branch}");
    request.reference = GitReference {
        commit: Some("0".repeat(39) + "1"),
        ..GitReference::default()
    };
    let commit = source.fetch(&request).await.unwrap_err();
    assert!(commit.message.contains("force push"), "{commit}");
    request.reference = GitReference {
        semver: Some(">=1".into()),
        ..GitReference::default()
    };
    let semver = source.fetch(&request).await.unwrap_err();
    assert!(semver.message.contains("it has no tags"), "{semver}");
    request.reference = GitReference::branch("main");
    request.url = format!("http://127.0.0.1:{}/nope", server.port);
    let missing = source.fetch(&request).await.unwrap_err();
    assert!(missing.message.contains("was not found (404)"), "{missing}");
    request.url = "http://127.0.0.1:1/x".into();
    let refused = source.fetch(&request).await.unwrap_err();
    assert!(refused.message.contains("nothing listens there"), "{refused}");
    server.behaviour.lock().unwrap().delay = Some(Duration::from_secs(5));
    request.url = server.url(&repo);
    request.timeout = Some(Duration::from_millis(200));
    let slow = source.fetch(&request).await.unwrap_err();
    assert!(slow.message.contains("took longer than 200ms"), "{slow}");
}

#[tokio::test]
async fn a_damaged_cache_is_fetched_anew_and_sha256_works() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::with_format("sha256");
    repo.commit(&[("a", "1")], "first");
    let server = Server::start(repo.root()).await;
    let cache = tempfile::tempdir().unwrap();
    let request = GitRequest {
        url: server.url(&repo),
        reference: GitReference::branch("main"),
        ..GitRequest::default()
    };
    let first = changed(source(&cache).fetch(&request).await.unwrap());
    assert!(first.revision.starts_with("main@sha256:"));
    for folder in std::fs::read_dir(cache.path()).unwrap() {
        std::fs::remove_dir_all(folder.unwrap().path().join("objects.git/objects")).unwrap();
    }
    let again = changed(source(&cache).fetch(&request).await.unwrap());
    assert_eq!(again.revision, first.revision);
}

#[tokio::test]
async fn forced_pushes_are_followed_and_empty_repositories_said_to_be_so() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    let server = Server::start(repo.root()).await;
    let cache = tempfile::tempdir().unwrap();
    let source = source(&cache);
    let mut request = GitRequest {
        url: server.url(&repo),
        reference: GitReference::branch("main"),
        ..GitRequest::default()
    };
    let empty = source.fetch(&request).await.unwrap_err();
    assert_eq!(empty.reason, "EmptyGitRepository", "{empty}");
    repo.commit(&[("a", "1")], "first");
    let old = repo.commit(&[("a", "2"), ("b", "2")], "second");
    let revision = changed(source.fetch(&request).await.unwrap());
    request.last_revision = Some(revision.revision);
    // History is rewritten: the old commit is not an ancestor any more, and the server forgets it.
    repo.git(&["reset", "-q", "--hard", "HEAD~1"]);
    let new = repo.commit(&[("a", "3")], "instead");
    repo.git(&["reflog", "expire", "--expire=now", "--all"]);
    repo.git(&["gc", "-q", "--prune=now"]);
    let revision = changed(source.fetch(&request).await.unwrap());
    assert_eq!(revision.commit.id, new);
    assert_eq!(text(&revision.tree, "a"), "3");
    assert_eq!(revision.tree.len(), 1);
    // A pinned commit that the server does not have is said to be gone.
    request.reference = GitReference {
        commit: Some("1".repeat(40)),
        ..GitReference::default()
    };
    let gone = source.fetch(&request).await.unwrap_err();
    assert!(gone.message.contains("force push"), "{gone}");
    assert_ne!(old, new);
}

#[tokio::test]
async fn what_does_not_end_or_breaks_off_is_refused_and_leaves_nothing_behind() {
    if backend_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let server = Server::start(repo.root()).await;
    let cache = tempfile::tempdir().unwrap();
    let limits = Limits {
        download: 3 << 20,
        ..Limits::default()
    };
    let source = GitSource::new(cache.path(), limits);
    let request = GitRequest {
        url: server.url(&repo),
        reference: GitReference::branch("main"),
        timeout: Some(Duration::from_secs(30)),
        ..GitRequest::default()
    };
    for (trick, words) in [
        (Trick::EndlessReferences, "sent more than 3.0 MiB"),
        (Trick::EndlessPack, "sent more than 3.0 MiB"),
        (Trick::EndlessProgress, "sent more than 3.0 MiB"),
        (Trick::ManyObjects, "cannot fetch"),
        (Trick::LargeObject, "cannot fetch"),
        (Trick::Cut, "broke off"),
    ] {
        server.behaviour.lock().unwrap().fetch = Some(trick);
        let error = source.fetch(&request).await.unwrap_err();
        assert_eq!(error.reason, "GitOperationFailed", "{trick:?}: {error}");
        assert!(error.message.contains(words), "{trick:?}: {error}");
    }
    let left = |folder: &std::path::Path| -> u64 {
        let mut folders = vec![folder.to_owned()];
        let mut size = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                match entry.path().is_dir() {
                    true => folders.push(entry.path()),
                    false => size += entry.metadata().unwrap().len(),
                }
            }
        }
        size
    };
    assert!(left(cache.path()) < 1 << 16, "{}", left(cache.path()));
    server.behaviour.lock().unwrap().fetch = None;
    changed(source.fetch(&request).await.unwrap());
}

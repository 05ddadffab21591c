//! GitRepositories over http and ssh.

use serde_json::{Value, json};

use super::{Row, Stage, secret, stage};
use crate::counterparts::servers::{authority, silent};
use crate::counterparts::stand::ssh::Keys;
use crate::counterparts::stand::{TlsListener, acceptor};
use crate::support::{Server, TestRepo, Trick, backend_is_missing};

const KIND: &str = "GitRepository";
const FAILED: &str = "GitOperationFailed";
const REFUSED: &str = "AuthenticationFailed";

/// What is said of a server that plays each trick, whatever it is asked over.
const TRICKS: [(&str, Trick, &[&str]); 6] = [
    ("cut", Trick::Cut, &["broke off"]),
    ("large", Trick::LargeObject, &["incomplete"]),
    ("many", Trick::ManyObjects, &["too large"]),
    (
        "endless-references",
        Trick::EndlessReferences,
        &["longer than 3s"],
    ),
    ("endless-object", Trick::EndlessPack, &["longer than 3s"]),
    ("endless-progress", Trick::EndlessProgress, &["longer than 3s"]),
];

#[test]
fn repositories_over_ssh_say_what_is_wrong() {
    let stage = stage();
    let world = &stage.world;
    let keys = Keys::new();
    let (tricky, mute) = world.runtime.block_on(async {
        let mut tricky = Vec::new();
        for (name, trick, words) in TRICKS {
            tricky.push((name, keys.serve(Some(trick)).await, words));
        }
        (tricky, keys.serve(None).await)
    });
    let mut ports: Vec<u16> = tricky.iter().map(|(_, port, _)| *port).collect();
    ports.push(mute);
    let secret_of = |name: &str, identity: &str, known: &str| {
        world.secret(name, &[("identity", identity), ("known_hosts", known)]);
    };
    let known = keys.known_hosts(&ports);
    secret_of("ssh", &keys.identity, &known);
    secret_of("stranger", &Keys::new().identity, &known);
    secret_of("other-host", &keys.identity, &Keys::new().known_hosts(&ports));
    secret_of("unknown-host", &keys.identity, &keys.known_hosts(&[1]));
    world.secret("hostless", &[("identity", &keys.identity)]);
    let at = |port: u16| json!({"url": format!("ssh://git@127.0.0.1:{port}/fleet")});
    let base = json!({"url": at(mute)["url"], "ref": {"branch": "main"}, "timeout": "3s", "secretRef": secret("ssh")});
    let by = |name: &str| json!({"secretRef": secret(name)});
    let mut rows: Vec<Row<'_>> = vec![
        (
            "stranger",
            by("stranger"),
            REFUSED,
            &["refused the key", "deploy key"],
        ),
        (
            "other-host",
            by("other-host"),
            REFUSED,
            &["not the known one", "known_hosts"],
        ),
        (
            "unknown-host",
            by("unknown-host"),
            REFUSED,
            &["unknown", "known_hosts"],
        ),
        ("hostless", by("hostless"), REFUSED, &["known_hosts"]),
        ("keyless", json!({"secretRef": null}), REFUSED, &["needs a key"]),
        (
            "no-branch",
            merged(&at(tricky[0].1), &json!({"ref": {"branch": "mian"}})),
            FAILED,
            &["mian", "main"],
        ),
        ("mute", at(mute), FAILED, &["longer than 3s"]),
        ("silent", at(silent()), FAILED, &["in time"]),
        ("nobody", at(1), FAILED, &["cannot connect"]),
    ];
    for (name, port, words) in &tricky {
        rows.push((name, at(*port), FAILED, words));
    }
    stage.fail(KIND, &base, &rows);
}

fn merged(one: &Value, other: &Value) -> Value {
    super::with(one.clone(), other)
}

/// A server of a repository, and what it shall do.
async fn serve(repository: &TestRepo, trick: Option<Trick>) -> Server {
    let server = Server::start(repository.root()).await;
    server.behaviour.lock().unwrap().fetch = trick;
    server
}

#[test]
fn repositories_over_http_become_ready_follow_and_say_what_is_wrong() {
    if backend_is_missing() {
        return;
    }
    let stage = stage();
    let Stage { world, .. } = &stage;
    let repository = TestRepo::new();
    repository.commit(&[("a.yaml", "a: 1\n")], "first");
    let trust = authority();
    world.secret("trusted", &[("ca.crt", &trust.ca)]);
    let (well, asking, away, tricky, tls) = world.runtime.block_on(async {
        let [well, asking, away] = [
            serve(&repository, None).await,
            serve(&repository, None).await,
            serve(&repository, None).await,
        ];
        let mut tricky = Vec::new();
        for (name, trick, words) in TRICKS {
            tricky.push((name, serve(&repository, Some(trick)).await, words));
        }
        (
            well,
            asking,
            away,
            tricky,
            encrypted(&trust.server, &repository).await,
        )
    });
    // Of ada, whose password is lovelace.
    asking.behaviour.lock().unwrap().authorization = Some("Basic YWRhOmxvdmVsYWNl".to_owned());
    let elsewhere = format!("http://localhost:{}/repo", asking.port);
    away.behaviour.lock().unwrap().redirect = Some(("/repo".to_owned(), elsewhere));
    let at = |server: &Server| json!({"url": server.url(&repository)});
    let by = |server: &Server, name: &str| merged(&at(server), &json!({"secretRef": secret(name)}));
    let base = json!({"url": well.url(&repository), "ref": {"branch": "main"}, "timeout": "3s"});
    let tls = json!({"url": format!("https://localhost:{}/repo", tls.port)});
    let trusting = |name: &str| merged(&tls, &json!({"secretRef": secret(name)}));
    for (name, more) in [
        ("well", json!({})),
        ("asking", by(&asking, "right")),
        ("tls", trusting("trusted")),
    ] {
        world.source(KIND, name, merged(&base, &more));
    }
    let first = world.ready(KIND, "well");
    for name in ["asking", "tls"] {
        assert_eq!(world.ready(KIND, name), first, "{name}");
    }
    let commit = json!({"ref": {"branch": "main", "commit": "2".repeat(40)}});
    let mut rows: Vec<Row<'_>> = vec![
        ("wrong", by(&asking, "wrong"), REFUSED, &["password"]),
        ("none", at(&asking), REFUSED, &["secret"]),
        ("away", by(&away, "right"), REFUSED, &[]),
        ("untrusted", tls.clone(), FAILED, &["ca.crt"]),
        ("foreign", trusting("foreign"), FAILED, &["ca.crt"]),
        (
            "no-branch",
            json!({"ref": {"branch": "mian"}}),
            FAILED,
            &["mian", "main"],
        ),
        ("no-tag", json!({"ref": {"tag": "v9"}}), FAILED, &["v9"]),
        ("no-version", json!({"ref": {"semver": ">=9"}}), FAILED, &[">=9"]),
        ("no-commit", commit, FAILED, &["2222"]),
        (
            "silent",
            json!({"url": format!("http://127.0.0.1:{}/repo", silent())}),
            FAILED,
            &["longer than 3s"],
        ),
    ];
    for (name, server, words) in &tricky {
        rows.push((name, at(server), FAILED, words));
    }
    stage.fail(KIND, &base, &rows);
    repository.commit(&[("a.yaml", "a: 2\n")], "second");
    let second = world.follows(KIND, "well", &first);
    assert_eq!(world.follows(KIND, "asking", &first), second);
    // The branch is moved to a commit that does not follow from the former.
    repository.git(&["commit", "-q", "--amend", "-m", "another second"]);
    let third = world.follows(KIND, "well", &second);
    assert_eq!(
        third,
        format!("main@sha1:{}", repository.git(&["rev-parse", "HEAD"]))
    );
}

/// A server that shows this certificate.
async fn encrypted(certificate: &(String, String), repository: &TestRepo) -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    Server::on(
        repository.root(),
        TlsListener(listener, acceptor(certificate)),
        port,
    )
}

/// Alone, because so large a file takes its time.
#[test]
fn repositories_with_a_file_that_is_too_large_say_so() {
    if backend_is_missing() {
        return;
    }
    let stage = stage();
    let repository = TestRepo::new();
    let file = std::fs::File::create(repository.path().join("large.bin")).unwrap();
    file.set_len(101 << 20).unwrap();
    repository.commit(&[], "large");
    let server = stage.world.runtime.block_on(serve(&repository, None));
    let base = json!({"url": server.url(&repository), "ref": {"branch": "main"}, "timeout": "55s"});
    let words = ["'large.bin' has 101.0 MiB", "100.0 MiB"];
    stage.fail(
        KIND,
        &base,
        &[("oversize", json!({}), "InvalidGitObject", &words)],
    );
}

//! Signatures made by the programs that people use, checked in process.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use fluvial_source::SourceError;
use fluvial_source::git::{GitReference, GitRequest, Verify, VerifyMode};
use tempfile::TempDir;

use crate::support::{TestRepo, changed, git_is_missing, source};

/// Whether a program is there; says so if not.
fn missing(program: &str) -> bool {
    let missing = Command::new(program).arg("--version").output().is_err();
    if missing {
        println!("skipped: there is no {program}");
    }
    missing
}

/// A gpg home. Its path is short, because sockets are made in it.
struct Gpg(TempDir);

impl Gpg {
    fn new() -> Self {
        Gpg(tempfile::Builder::new().prefix("g").tempdir_in("/tmp").unwrap())
    }

    fn run(&self, args: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .args([
                "--batch",
                "--quiet",
                "--no-tty",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
            ])
            .args(args)
            .env("GNUPGHOME", self.0.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "gpg {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Makes a key; its id.
    fn key(&self, user: &str, algorithm: &str, lifetime: &str) -> String {
        self.run(&["--quick-generate-key", user, algorithm, "sign", lifetime]);
        let list = String::from_utf8(self.run(&["--list-keys", "--with-colons", user])).unwrap();
        let line = list.lines().find(|line| line.starts_with("pub:")).unwrap();
        line.split(':').nth(4).unwrap().to_owned()
    }

    fn fingerprint(&self, user: &str) -> String {
        let list = String::from_utf8(self.run(&["--list-keys", "--with-colons", user])).unwrap();
        let line = list.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    fn export(&self, user: &str) -> Vec<u8> {
        self.run(&["--armor", "--export", user])
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // The agent that gpg started for this home ends with it.
        let _ = Command::new("gpgconf")
            .args(["--kill", "all"])
            .env("GNUPGHOME", self.0.path())
            .output();
    }
}

/// git that signs.
fn signing(repo: &TestRepo, home: &Path, config: &[&str], args: &[&str]) {
    let mut command = Command::new("git");
    for setting in config {
        command.args(["-c", setting]);
    }
    let output = command
        .args(args)
        .current_dir(repo.path())
        .env("GNUPGHOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.com")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.com")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn keys(pairs: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
        .collect()
}

async fn check(
    repo: &TestRepo,
    reference: GitReference,
    mode: VerifyMode,
    keys: BTreeMap<String, Vec<u8>>,
) -> Result<String, SourceError> {
    let cache = tempfile::tempdir().unwrap();
    let request = GitRequest {
        url: repo.url(),
        reference,
        verify: Some(Verify { mode, keys }),
        ..GitRequest::default()
    };
    let fetched = source(&cache).fetch(&request).await?;
    Ok(changed(fetched).verified.unwrap())
}

fn tagged(tag: &str) -> GitReference {
    GitReference {
        tag: Some(tag.to_owned()),
        ..GitReference::default()
    }
}

#[tokio::test]
async fn openpgp_signatures_of_commits_and_tags_are_checked() {
    if git_is_missing() || missing("gpg") {
        return;
    }
    for format in ["sha1", "sha256"] {
        let gpg = Gpg::new();
        let signer = gpg.key("signer", "ed25519", "0");
        let other = gpg.key("other", "rsa2048", "0");
        let repo = TestRepo::with_format(format);
        repo.commit(&[("a", "0")], "unsigned");
        repo.git(&["branch", "unsigned"]);
        let with = |key: &str| format!("user.signingKey={key}");
        signing(
            &repo,
            gpg.0.path(),
            &[&with(&signer)],
            &[
                "commit",
                "-q",
                "--allow-empty",
                "-S",
                "-m",
                "signed\n\nwith a body",
            ],
        );
        signing(
            &repo,
            gpg.0.path(),
            &[&with(&other)],
            &["tag", "-s", "v1", "-m", "one"],
        );
        repo.git(&["tag", "light"]);
        repo.git(&["tag", "-a", "plain", "-m", "not signed"]);
        let head = repo.git(&["rev-parse", "HEAD"]);
        let main = || GitReference::branch("main");
        let (a, b) = (gpg.export("signer"), gpg.export("other"));
        let both = || keys(&[("a.asc", &a), ("b", &b)]);

        let message = check(&repo, main(), VerifyMode::Head, both()).await.unwrap();
        assert_eq!(
            message,
            format!("verified signature of\n\t- commit '{head}' with key '{signer}'")
        );
        // Several blocks in one file are one ring.
        let ring = [a.clone(), b.clone()].concat();
        let message = check(
            &repo,
            tagged("v1"),
            VerifyMode::TagAndHead,
            keys(&[("ring.asc", &ring)]),
        )
        .await
        .unwrap();
        let tag = repo.git(&["rev-parse", "v1"]);
        assert!(
            message.contains(&format!("tag 'v1@{format}:{tag}' with key '{other}'\n\t- commit")),
            "{message}"
        );

        let error = check(&repo, main(), VerifyMode::Head, keys(&[("b.asc", &b)]))
            .await
            .unwrap_err();
        assert_eq!(error.reason, "InvalidCommitSignature");
        assert!(
            error.message.contains("none of the given keys") && error.message.contains(&signer),
            "{error}"
        );
        let error = check(&repo, tagged("v1"), VerifyMode::Tag, keys(&[("a.asc", &a)]))
            .await
            .unwrap_err();
        assert_eq!(error.reason, "InvalidTagSignature");
        let error = check(&repo, GitReference::branch("unsigned"), VerifyMode::Head, both())
            .await
            .unwrap_err();
        assert!(error.message.contains("not signed"), "{error}");
        for unsigned in ["light", "plain"] {
            let error = check(&repo, tagged(unsigned), VerifyMode::Tag, both())
                .await
                .unwrap_err();
            assert_eq!(error.reason, "InvalidGitObject", "{error}");
        }
        let error = check(&repo, main(), VerifyMode::TagAndHead, both())
            .await
            .unwrap_err();
        assert_eq!(error.reason, "InvalidVerificationMode");
        let error = check(&repo, main(), VerifyMode::Head, keys(&[("x.asc", b"nonsense")]))
            .await
            .unwrap_err();
        assert_eq!(error.reason, "VerificationError");
        let error = check(&repo, main(), VerifyMode::Head, keys(&[]))
            .await
            .unwrap_err();
        assert_eq!(error.reason, "VerificationError");

        forged(&repo, &tag, both()).await;
    }
}

/// The signed tag under another name, and a changed commit with the old signature, are refused.
async fn forged(repo: &TestRepo, tag: &str, keys: BTreeMap<String, Vec<u8>>) {
    repo.git(&["update-ref", "refs/tags/v2", tag]);
    let error = check(repo, tagged("v2"), VerifyMode::Tag, keys.clone())
        .await
        .unwrap_err();
    assert!(error.message.contains("is tag 'v1'"), "{error}");
    let raw = repo
        .git(&["cat-file", "commit", "HEAD"])
        .replace("with a body", "with another");
    std::fs::write(repo.path().join("forged"), raw + "\n").unwrap();
    let forged = repo.git(&["hash-object", "-t", "commit", "-w", "forged"]);
    repo.git(&["update-ref", "refs/heads/forged", &forged]);
    let error = check(repo, GitReference::branch("forged"), VerifyMode::Head, keys)
        .await
        .unwrap_err();
    assert_eq!(error.reason, "InvalidCommitSignature");
}

#[tokio::test]
async fn keys_that_are_expired_or_revoked_do_not_count_and_signing_subkeys_do() {
    if git_is_missing() || missing("gpg") {
        return;
    }
    let gpg = Gpg::new();
    let repo = TestRepo::new();
    let main = || GitReference::branch("main");
    let sign = |key: &str| {
        signing(
            &repo,
            gpg.0.path(),
            &[&format!("user.signingKey={key}")],
            &["commit", "-q", "--allow-empty", "-S", "-m", "signed"],
        );
    };
    // A primary key that only certifies, with a subkey that signs.
    gpg.run(&["--quick-generate-key", "sub", "ed25519", "cert", "0"]);
    let fingerprint = gpg.fingerprint("sub");
    gpg.run(&["--quick-add-key", &fingerprint, "ed25519", "sign", "0"]);
    sign(&fingerprint);
    let message = check(
        &repo,
        main(),
        VerifyMode::Head,
        keys(&[("k.asc", &gpg.export("sub"))]),
    )
    .await
    .unwrap();
    assert!(
        message.ends_with(&format!("with key '{}'", &fingerprint[24..])),
        "{message}"
    );

    let soon = gpg.key("soon", "ed25519", "seconds=3");
    sign(&soon);
    let ring = keys(&[("k.asc", &gpg.export("soon"))]);
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let error = check(&repo, main(), VerifyMode::Head, ring).await.unwrap_err();
    assert!(error.message.contains("has expired"), "{error}");

    let gone = gpg.key("gone", "ed25519", "0");
    sign(&gone);
    let certificate = gpg
        .0
        .path()
        .join("openpgp-revocs.d")
        .join(format!("{}.rev", gpg.fingerprint("gone")));
    // The prepared certificate is made harmless by a colon.
    let text = std::fs::read_to_string(&certificate)
        .unwrap()
        .replace(":-----BEGIN", "-----BEGIN");
    std::fs::write(&certificate, text).unwrap();
    gpg.run(&["--import", certificate.to_str().unwrap()]);
    let error = check(
        &repo,
        main(),
        VerifyMode::Head,
        keys(&[("k.asc", &gpg.export("gone"))]),
    )
    .await
    .unwrap_err();
    assert!(error.message.contains("is revoked"), "{error}");
}

#[tokio::test]
async fn ssh_signatures_are_checked() {
    if git_is_missing() || Command::new("ssh-keygen").arg("-?").output().is_err() {
        println!("skipped: there is no ssh-keygen");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, args: &[&str]| {
        let path = folder.path().join(name);
        let output = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-C", "me", "-f"])
            .arg(&path)
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success());
        std::fs::read(path.with_extension("pub")).unwrap()
    };
    let public = [
        ("ed", key("ed", &["-t", "ed25519"])),
        ("ec", key("ec", &["-t", "ecdsa"])),
        ("rsa", key("rsa", &["-t", "rsa", "-b", "2048"])),
    ];
    for (name, public_key) in &public {
        let repo = TestRepo::new();
        let config = [
            "gpg.format=ssh".to_owned(),
            format!("user.signingKey={}", folder.path().join(name).display()),
        ];
        let config: Vec<&str> = config.iter().map(String::as_str).collect();
        signing(
            &repo,
            folder.path(),
            &config,
            &["commit", "-q", "--allow-empty", "-S", "-m", "x"],
        );
        signing(&repo, folder.path(), &config, &["tag", "-s", "v1", "-m", "one"]);
        let message = check(
            &repo,
            tagged("v1"),
            VerifyMode::TagAndHead,
            keys(&[("k.sshpub", public_key)]),
        )
        .await
        .unwrap();
        assert_eq!(message.matches("with key 'SHA256:").count(), 2, "{message}");
        let signers = [b"me@example.com namespaces=\"git\" ".as_slice(), public_key].concat();
        let main = || GitReference::branch("main");
        check(&repo, main(), VerifyMode::Head, keys(&[("s.sshpub", &signers)]))
            .await
            .unwrap();
        let files = [b"me@example.com namespaces=\"file\" ".as_slice(), public_key].concat();
        let error = check(&repo, main(), VerifyMode::Head, keys(&[("s.sshpub", &files)]))
            .await
            .unwrap_err();
        assert!(error.message.contains("namespaces"), "{error}");
        let (_, other) = public.iter().find(|(other, _)| other != name).unwrap();
        let error = check(&repo, main(), VerifyMode::Head, keys(&[("o.sshpub", other)]))
            .await
            .unwrap_err();
        assert_eq!(error.reason, "InvalidCommitSignature");
    }
}

#[tokio::test]
async fn x509_signatures_are_refused_by_their_name() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "signed by an authority");
    let commit = repo.git(&["cat-file", "commit", "HEAD"]);
    let (head, message) = commit.split_once("\n\n").unwrap();
    let mark = "gpgsig -----BEGIN SIGNED MESSAGE-----\n MIIB\n -----END SIGNED MESSAGE-----";
    repo.write("commit", &format!("{head}\n{mark}\n\n{message}\n"));
    let signed = repo.git(&["hash-object", "-t", "commit", "-w", "commit"]);
    repo.git(&["update-ref", "refs/heads/main", &signed]);
    // Any key will do: it is not come to.
    let public = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me";
    let given = keys(&[("k.sshpub", public)]);
    let error = check(&repo, GitReference::branch("main"), VerifyMode::Head, given)
        .await
        .unwrap_err();
    assert_eq!(error.reason, "InvalidCommitSignature", "{error}");
    assert!(
        error.message.contains("X.509") && error.message.contains("sign with an OpenPGP or SSH key"),
        "{error}"
    );
}

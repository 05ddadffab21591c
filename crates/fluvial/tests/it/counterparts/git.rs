//! Git over OpenSSH with git-shell, and over git-http-backend behind nginx.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::World;
use super::servers::{authority, broken, free_port, nginx, program, run, silent, start};

const KIND: &str = "GitRepository";

/// A bare repository with a branch, and a work tree to push from.
struct Origin {
    bare: PathBuf,
    work: PathBuf,
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    run(Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
        .args(arguments)
        .current_dir(folder))
}

impl Origin {
    fn new(folder: &Path) -> Self {
        let origin = Origin {
            bare: folder.join("origin.git"),
            work: folder.join("work"),
        };
        git(
            folder,
            &["init", "--quiet", "--bare", "--initial-branch=main", "origin.git"],
        );
        git(folder, &["clone", "--quiet", "origin.git", "work"]);
        origin.push("one");
        origin
    }

    fn push(&self, text: &str) {
        self.commit(text, &[]);
        git(&self.work, &["push", "--quiet", "origin", "HEAD:main"]);
    }

    /// Pushes a commit that is signed with an SSH key.
    fn push_signed(&self, text: &str, key: &Path) {
        let key = format!("user.signingkey={}", key.display());
        self.commit(
            text,
            &["-c", "gpg.format=ssh", "-c", &key, "-c", "commit.gpgsign=true"],
        );
        git(&self.work, &["push", "--quiet", "origin", "HEAD:main"]);
    }

    fn commit(&self, text: &str, settings: &[&str]) {
        std::fs::write(self.work.join("config.yaml"), format!("text: {text}\n")).unwrap();
        git(&self.work, &["add", "--all"]);
        git(
            &self.work,
            &[settings, &["commit", "--quiet", "--message", text]].concat(),
        );
    }
}

fn key(folder: &Path, name: &str) -> (String, String) {
    let file = folder.join(name);
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&file));
    let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
    (std::fs::read_to_string(&file).unwrap(), public.trim().to_owned())
}

#[test]
#[ignore = "needs sshd and git-shell: cargo xtask tier counterparts"]
fn a_repository_over_ssh_becomes_ready_follows_and_says_what_is_wrong() {
    let story = "git over ssh";
    let (Some(sshd), Some(shell), Some(_)) = (
        program(story, "sshd"),
        program(story, "git-shell"),
        program(story, "ssh-keygen"),
    ) else {
        return;
    };
    let world = World::new();
    let folder = world.folder("ssh");
    let origin = Origin::new(&folder);
    let (host, host_public) = key(&folder, "host");
    let (identity, public) = key(&folder, "identity");
    let (stranger, _) = key(&folder, "stranger");
    assert!(host.contains("PRIVATE KEY"));
    std::fs::write(folder.join("authorized"), public).unwrap();
    let user = run(Command::new("id").arg("-un"));
    if user == "root" {
        // Made by the service that is not started here.
        std::fs::create_dir_all("/run/sshd").unwrap();
    }
    let port = free_port();
    let at = folder.display();
    let config = folder.join("sshd_config");
    let text = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\nPidFile {at}/pid\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\
         ForceCommand {} -c \"$SSH_ORIGINAL_COMMAND\"\n",
        shell.display()
    );
    std::fs::write(&config, text).unwrap();
    let _server = start(Command::new(sshd).args(["-D", "-f"]).arg(&config), port);

    let url = format!("ssh://{user}@127.0.0.1:{port}{}", origin.bare.display());
    let known = format!("[127.0.0.1]:{port} {host_public}");
    let other = format!("[127.0.0.1]:{port} {}", key(&folder, "other").1);
    world.secret("right", &[("identity", &identity), ("known_hosts", &known)]);
    world.secret("stranger", &[("identity", &stranger), ("known_hosts", &known)]);
    world.secret("host", &[("identity", &identity), ("known_hosts", &other)]);
    let source = |name: &str, secret: &str, branch: &str| {
        let spec = json!({"url": url, "ref": {"branch": branch}, "secretRef": {"name": secret}});
        world.source(KIND, name, spec);
    };
    source("ssh", "right", "main");
    let first = world.ready(KIND, "ssh");
    assert!(first.starts_with("main@sha1:"), "{first}");
    origin.push("two");
    let second = world.follows(KIND, "ssh", &first);
    assert_eq!(
        second,
        format!("main@sha1:{}", git(&origin.bare, &["rev-parse", "main"]))
    );

    source("ssh-stranger", "stranger", "main");
    world.fails(KIND, "ssh-stranger", "AuthenticationFailed", &["identity"]);
    source("ssh-host", "host", "main");
    world.fails(KIND, "ssh-host", "AuthenticationFailed", &["known_hosts"]);
    source("ssh-branch", "right", "mian");
    world.fails(KIND, "ssh-branch", "GitOperationFailed", &["mian", "main"]);

    // Signed commits, and by whom.
    let (_, author) = key(&folder, "author");
    world.secret("authors", &[("ada.sshpub", &author)]);
    world.secret("others", &[("eve.sshpub", &key(&folder, "eve").1)]);
    let verified = |name: &str, keys: &str| {
        let spec = json!({"url": url, "ref": {"branch": "main"}, "secretRef": {"name": "right"},
            "verify": {"mode": "HEAD", "secretRef": {"name": keys}}});
        world.source(KIND, name, spec);
    };
    verified("ssh-unsigned", "authors");
    world.fails(KIND, "ssh-unsigned", "InvalidCommitSignature", &["sign"]);
    origin.push_signed("three", &folder.join("author"));
    verified("ssh-signed", "authors");
    let signed = world.ready(KIND, "ssh-signed");
    assert_eq!(
        signed,
        format!("main@sha1:{}", git(&origin.bare, &["rev-parse", "main"]))
    );
    verified("ssh-forged", "others");
    world.fails(KIND, "ssh-forged", "InvalidCommitSignature", &[]);
}

/// Servers for Git's backend: one that asks for a user, one that asks for a client's certificate.
fn servers(folder: &Path, backend: &Path, cgi_port: u16, plain: u16, tls: u16) -> String {
    let at = folder.display();
    let backend = format!(
        "fastcgi_pass 127.0.0.1:{cgi_port};\nfastcgi_param SCRIPT_FILENAME {};\nfastcgi_param GIT_PROJECT_ROOT {at};\n\
         fastcgi_param GIT_HTTP_EXPORT_ALL 1;\nfastcgi_param PATH_INFO $uri;\nfastcgi_param QUERY_STRING $query_string;\n\
         fastcgi_param REQUEST_METHOD $request_method;\nfastcgi_param CONTENT_TYPE $content_type;\n\
         fastcgi_param CONTENT_LENGTH $content_length;\nfastcgi_param HTTP_GIT_PROTOCOL $http_git_protocol;\n\
         fastcgi_param GIT_PROTOCOL $http_git_protocol;\nfastcgi_param REMOTE_USER $remote_user;\n\
         fastcgi_param GIT_CONFIG_COUNT 1;\nfastcgi_param GIT_CONFIG_KEY_0 safe.directory;\n\
         fastcgi_param GIT_CONFIG_VALUE_0 *;\n",
        backend.display()
    );
    format!(
        "server {{\nlisten 127.0.0.1:{plain};\nlocation / {{\nauth_basic git;\nauth_basic_user_file {at}/users;\n\
         {backend}}}\nlocation /away/ {{ return 302 http://localhost:{plain}/origin.git/info/refs?$query_string; }}\n}}\n\
         server {{\nlisten 127.0.0.1:{tls} ssl;\nssl_certificate {at}/server.pem;\nssl_certificate_key {at}/server.key;\n\
         ssl_client_certificate {at}/ca.pem;\nssl_verify_client on;\nlocation / {{\n{backend}}}\n}}\n"
    )
}

#[test]
#[ignore = "needs nginx and fcgiwrap: cargo xtask tier counterparts"]
fn a_repository_over_https_becomes_ready_follows_and_says_what_is_wrong() {
    let story = "git over https";
    let (Some(program_nginx), Some(fcgiwrap), Some(backend)) = (
        program(story, "nginx"),
        program(story, "fcgiwrap"),
        program(story, "git-http-backend"),
    ) else {
        return;
    };
    let world = World::new();
    let folder = world.folder("https");
    let origin = Origin::new(&folder);
    let trust = authority();
    for (name, text) in [
        ("ca.pem", &trust.ca),
        ("server.pem", &trust.server.0),
        ("server.key", &trust.server.1),
        ("users", &"ada:{PLAIN}lovelace\n".to_owned()),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let cgi_port = free_port();
    let _cgi = start(
        Command::new(fcgiwrap).args(["-s", &format!("tcp:127.0.0.1:{cgi_port}")]),
        cgi_port,
    );
    let (plain, tls) = (free_port(), free_port());
    let servers = servers(&folder, &backend, cgi_port, plain, tls);
    let _server = nginx(&program_nginx, &folder, plain, &servers);

    let url = format!("http://127.0.0.1:{plain}/origin.git");
    world.secret("basic", &[("username", "ada"), ("password", "lovelace")]);
    world.secret("wrong", &[("username", "ada"), ("password", "byron")]);
    let source = |name: &str, url: &str, secret: Option<&str>| {
        let mut spec = json!({"url": url, "ref": {"branch": "main"}, "timeout": "5s"});
        if let Some(secret) = secret {
            spec["secretRef"]["name"] = secret.into();
        }
        world.source(KIND, name, spec);
    };
    source("basic", &url, Some("basic"));
    let first = world.ready(KIND, "basic");
    origin.push("two");
    world.follows(KIND, "basic", &first);
    source("basic-wrong", &url, Some("wrong"));
    world.fails(KIND, "basic-wrong", "AuthenticationFailed", &["password"]);
    source("basic-none", &url, None);
    world.fails(KIND, "basic-none", "AuthenticationFailed", &["secret"]);
    // Another host is asked without the credentials, and refuses.
    source(
        "basic-away",
        &format!("http://127.0.0.1:{plain}/away"),
        Some("basic"),
    );
    world.fails(KIND, "basic-away", "AuthenticationFailed", &[]);

    let url = format!("https://localhost:{tls}/origin.git");
    let (certificate, key) = (trust.client.0.as_str(), trust.client.1.as_str());
    world.secret("ca", &[("ca.crt", &trust.ca)]);
    world.secret(
        "tls",
        &[("ca.crt", &trust.ca), ("tls.crt", certificate), ("tls.key", key)],
    );
    let foreign = authority();
    world.secret(
        "foreign",
        &[
            ("ca.crt", &foreign.ca),
            ("tls.crt", certificate),
            ("tls.key", key),
        ],
    );
    source("tls", &url, Some("tls"));
    world.ready(KIND, "tls");
    source("tls-foreign", &url, Some("foreign"));
    world.fails(KIND, "tls-foreign", "GitOperationFailed", &["ca.crt"]);
    source("tls-none", &url, None);
    world.fails(KIND, "tls-none", "GitOperationFailed", &["ca.crt"]);
    source("tls-anonymous", &url, Some("ca"));
    world.fails(KIND, "tls-anonymous", "GitOperationFailed", &["400"]);

    source("silent", &format!("http://127.0.0.1:{}/x.git", silent()), None);
    world.fails(KIND, "silent", "GitOperationFailed", &["longer than 5s"]);
    let cut = broken("application/x-git-upload-pack-advertisement");
    source("broken", &format!("http://127.0.0.1:{cut}/x.git"), None);
    world.fails(KIND, "broken", "GitOperationFailed", &[]);
}

//! Repositories of every shape, and starts that cannot be: each is refused with what to do about it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fleet::{Fleet, PROGRAM, eventually, head};

fn git(arguments: &[&str], folder: &Path) {
    let done = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Exit code and all that `up --once` says of a repository.
fn once(repository: &str, more: &[&str]) -> (Option<i32>, String) {
    let done = Command::new(PROGRAM)
        .args(["up", repository, "--once", "--path", "clusters/demo"])
        .args(more)
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_repository_may_be_bare_detached_and_in_a_folder_with_spaces() {
    let fleet = Fleet::new();
    let (bare, spaced) = (fleet.beside("bare.git"), fleet.beside("a tea shop"));
    let from = fleet.repository();
    let clone = |more: &[&str], to: &Path| {
        let mut words = vec!["clone", "--quiet"];
        words.extend(more);
        let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
        words.extend([&*from, &*to]);
        git(&words, &fleet.beside(""));
    };
    clone(&["--bare"], &bare);
    clone(&[], &spaced);
    git(&["checkout", "--quiet", "--detach"], &spaced);
    for folder in [&bare, &spaced] {
        let (code, said) = once(&folder.to_string_lossy(), &[]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("all is ready: 8 ready"), "{said}");
    }
}

#[test]
fn a_data_folder_is_one_programs_until_it_ends() {
    let fleet = Fleet::new();
    let data = fleet.beside("data");
    let data = data.to_string_lossy();
    let mut up = fleet.up(&["--data", &data]);
    eventually("the fleet", || up.is_ready(6, &head(&fleet)));
    let repository = fleet.repository();
    let repository = repository.to_string_lossy();
    let (code, said) = once(&repository, &["--data", &data]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is in use by another fluvial (process "), "{said}");
    // Beside it, with a folder and a port of its own, there is room.
    let (code, said) = once(&repository, &[]);
    assert_eq!(code, Some(0), "{said}");
    up.interrupt();
    eventually("the end", || up.exit_code() == Some(0));
    let (code, said) = once(&repository, &["--data", &data]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn what_cannot_be_is_said_at_once() {
    let fleet = Fleet::new();
    let repository = fleet.repository();
    let repository = repository.to_string_lossy();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let empty = tempfile::tempdir().unwrap();
    git(&["init", "--quiet"], empty.path());
    let none = tempfile::tempdir().unwrap();
    let seed = fleet.beside("seed.yaml");
    std::fs::write(&seed, "just: text\n").unwrap();
    let seed = seed.to_string_lossy();
    let (empty, none) = (empty.path().to_string_lossy(), none.path().to_string_lossy());
    let cases: [(&str, &[&str], &str); 8] = [
        (&repository, &["--listen", &taken], "another process has it"),
        (
            &repository,
            &["--branch", "absent"],
            "has no branch 'absent': there are 'main'; choose one with --branch",
        ),
        (
            &repository,
            &["--seed", &seed],
            "an object needs apiVersion, kind and metadata.name",
        ),
        (&repository, &["--seed", "/absent.yaml"], "--seed /absent.yaml"),
        (
            &repository,
            &["--mirrors", "/absent.yaml"],
            "mirrors file /absent.yaml",
        ),
        (&empty, &[], "is empty; push a first commit"),
        (&none, &[], "is no Git repository"),
        ("git@localhost:a/b", &[], "'ssh://git@localhost/a/b' needs a key"),
    ];
    for (repository, more, wanted) in cases {
        let (code, said) = once(repository, more);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(wanted), "wanted {wanted:?}, got {said}");
        assert!(said.starts_with("✗ "), "{said}");
    }
}

#[test]
fn once_ends_with_the_causes_and_their_places() {
    let fleet = Fleet::new();
    fleet.edit("apps/base/orders/service.yaml", "port: 80\n", "port: many\n");
    fleet.edit(
        "charts/samovar/values.yaml",
        "temperature: 95",
        "temperature: 250",
    );
    fleet.commit("two mistakes");
    let repository = fleet.repository();
    let (code, said) = once(&repository.to_string_lossy(), &[]);
    assert_eq!(code, Some(1), "{said}");
    for wanted in [
        "apps/base/orders/service.yaml:",
        "apps/base/samovar/release.yaml:1",
        "at '/water/temperature'",
        "2 first causes",
        "✗ not all is ready: ",
    ] {
        assert!(said.contains(wanted), "wanted {wanted:?}, got {said}");
    }
}

#[test]
fn a_cluster_that_is_not_there_is_named() {
    let ask = |kubeconfig: &str| {
        let done = Command::new(PROGRAM)
            .args(["get", "ks"])
            .env("KUBECONFIG", kubeconfig)
            .env("HOME", "/nonexistent")
            .env_remove("KUBERNETES_SERVICE_HOST")
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(1));
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    let said = ask("");
    assert!(said.starts_with("✗ no cluster is named: "), "{said}");
    let said = ask("/absent/kubeconfig");
    assert!(
        said.contains("/absent/kubeconfig (of $KUBECONFIG): No such file"),
        "{said}"
    );
    let fleet = Fleet::new();
    let file = fleet.beside("config");
    std::fs::write(&file, "apiVersion: v1\nkind: Config\n").unwrap();
    let said = ask(&file.to_string_lossy());
    assert!(said.contains("no context is chosen"), "{said}");
    let mut up = fleet.up(&[]);
    eventually("the fleet", || up.is_ready(6, &head(&fleet)));
    up.kill();
    let said = ask(&fleet.beside("kubeconfig").to_string_lossy());
    assert!(said.contains("no answer from https://127.0.0.1:"), "{said}");
    assert!(said.contains("is the cluster running"), "{said}");
}

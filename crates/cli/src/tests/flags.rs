//! What all commands have in common: the way to the cluster, help, and what this program has not.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Memory, fluvial, kustomization};

#[tokio::test]
async fn the_way_to_the_cluster_is_told_as_with_flux() {
    let memory = Memory::default();
    let words = "get ks --server=host:6443 --token=abc --cluster c --user u --as me --as-group a --as-group b \
                 --as-uid 7 --as-user-extra x=1 --as-user-extra x=2 --certificate-authority ca.crt --tls-server-name n \
                 --client-certificate c.crt --client-key c.key --insecure-skip-tls-verify --kube-api-qps 5 --verbose";
    let (_, _, err) = fluvial(&memory, words).await;
    assert_eq!(
        err,
        "✗ no Kustomization objects found in \"flux-system\" namespace\n"
    );
    let connection = memory.connected.lock().unwrap().clone();
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    assert_eq!(
        [
            connection.server.as_deref(),
            connection.token.as_deref(),
            connection.cluster.as_deref(),
            connection.entry.as_deref(),
            connection.user.as_deref(),
            connection.uid.as_deref(),
            connection.server_name.as_deref(),
            path(&connection.authorities).as_deref(),
            path(&connection.certificate).as_deref(),
            path(&connection.key).as_deref(),
        ],
        [
            "host:6443",
            "abc",
            "c",
            "u",
            "me",
            "7",
            "n",
            "ca.crt",
            "c.crt",
            "c.key"
        ]
        .map(Some)
    );
    assert_eq!(connection.groups, ["a", "b"]);
    let extra = [("x", "1"), ("x", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(connection.extra, extra);
    assert!(connection.insecure);
    assert!(
        !format!("{connection:?}").contains("abc"),
        "a token is for no log"
    );
    // That of a receiver is another one.
    let _printed = fluvial(
        &memory,
        "create secret receiver rec --type github --hostname host --token abc",
    )
    .await;
    assert_eq!(memory.connected.lock().unwrap().token, None);
}

#[tokio::test]
async fn the_namespace_may_be_that_of_the_context() {
    let memory = Memory::default();
    let namespace = |words: &'static str| async { fluvial(&Memory::default(), words).await.2 };
    for (words, expected) in [
        ("get ks --context x --ns-follows-kube-context", "of-x"),
        ("get ks --context x --ns-follows-kube-context -n other", "other"),
        ("get ks --context x", "flux-system"),
    ] {
        let told = namespace(words).await;
        assert!(
            told.contains(&format!("{expected:?} namespace")),
            "{words}: {told}"
        );
    }
    let (_, _, err) = fluvial(&memory, "get ks --as-user-extra x").await;
    assert_eq!(err, "✗ --as-user-extra x: expected NAME=VALUE\n");
}

#[tokio::test]
async fn what_flux_has_and_this_program_has_not_is_refused_by_name() {
    let memory = Memory::default();
    for name in ["bootstrap github --owner x", "plugin list", "trigger receiver x"] {
        let (code, _, err) = fluvial(&memory, name).await;
        let first = name.split(' ').next().unwrap();
        assert_eq!(code, 1);
        assert!(err.starts_with(&format!("✗ fluvial has no '{first}': ")), "{err}");
    }
}

#[tokio::test]
async fn help_is_a_word_too() {
    let memory = Memory::default();
    let (code, out, _) = fluvial(&memory, "help reconcile source").await;
    assert_eq!(code, 0);
    assert!(out.contains("Usage: fluvial reconcile source"), "{out}");
    let (code, out, _) = fluvial(&memory, "help").await;
    assert_eq!(code, 0);
    assert!(out.contains("Usage: fluvial"), "{out}");
}

fn event(kind: &str, namespace: &str, name: &str, at: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{name}.{at}"), "namespace": namespace},
        "involvedObject": {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": kind, "namespace": namespace, "name": name},
        "type": "Normal", "reason": "Said", "message": format!("of {name}"), "lastTimestamp": format!("2024-05-01T09:59:0{at}Z"),
    })
}

#[tokio::test]
async fn events_are_those_of_an_object_and_its_source_or_of_a_kind() {
    let objects = vec![
        kustomization("apps", false, &[]),
        event("Kustomization", "flux-system", "apps", "1"),
        event("Kustomization", "flux-system", "infra", "2"),
        event("Kustomization", "other", "apps", "3"),
        event("GitRepository", "flux-system", "fleet", "4"),
    ];
    let memory = Memory {
        objects: Arc::new(Mutex::new(objects)),
        ..Memory::default()
    };
    for (words, expected) in [
        ("events --for Kustomization/apps", vec!["apps", "fleet"]),
        ("events --for Kustomization", vec!["apps", "infra"]),
        ("events --for kustomization -A", vec!["apps", "infra", "apps"]),
    ] {
        let (_, out, err) = fluvial(&memory, words).await;
        let told: Vec<&str> = out
            .lines()
            .filter_map(|line| line.split("of ").nth(1))
            .map(str::trim)
            .collect();
        assert_eq!(told, expected, "{words}: {out}{err}");
        assert_eq!(out.starts_with("NAMESPACE"), words.ends_with("-A"), "{out}");
    }
    let (_, _, err) = fluvial(&memory, "events --for Nothing/apps").await;
    assert_eq!(err, "✗ 'Nothing' is not a recognized Flux kind\n");
}

#[tokio::test]
async fn secrets_for_git_over_ssh_hold_a_key_and_that_of_the_server() {
    let memory = Memory::default();
    for (more, identity) in [
        ("", "new ecdsa 384"),
        ("--ssh-ecdsa-curve p521", "new ecdsa 521"),
        ("--ssh-key-algorithm ed25519", "new ed25519"),
        ("--ssh-key-algorithm rsa", "new rsa 2048"),
        ("--ssh-key-algorithm=rsa --ssh-rsa-bits=4096", "new rsa 4096"),
    ] {
        let words = format!("create secret git key --url=ssh://git@host/r --export {more}");
        let (code, out, err) = fluvial(&memory, &words).await;
        assert_eq!((code, err.as_str()), (0, ""));
        let secret = fluvial_yaml::yaml_to_json(&out, false).unwrap();
        assert_eq!(
            secret["stringData"],
            json!({"identity": identity, "identity.pub": format!("public half of {identity}\n"),
                "known_hosts": "key of ssh://git@host/r\n"})
        );
    }
    let (_, _, err) = fluvial(
        &memory,
        "create secret git key --url=ssh://h/r --ssh-rsa-bits=1001",
    )
    .await;
    assert!(err.contains("RSA keys have 1024 to 16384 bits"), "{err}");
    // The question is answered by nobody, so nothing is put on the cluster.
    let words = "create source git repo --url=ssh://git@host/r --branch main";
    let (code, _, err) = fluvial(&memory, words).await;
    assert_eq!(code, 1);
    assert!(
        err.starts_with(
            "✚ generating GitRepository source\n✔ collected public key from SSH server:\nkey of ssh://git@host/r\n"
        ),
        "{err}"
    );
    assert!(
        err.ends_with("Have you added the deploy key to your repository [y/N] ✗ aborting\n"),
        "{err}"
    );
}

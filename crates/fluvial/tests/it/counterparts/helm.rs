//! A Helm repository with ten thousand versions of charts behind nginx with basic authentication.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::World;
use super::servers::{broken, free_port, nginx, program, run, silent};

const KIND: &str = "HelmRepository";

/// An index of 100 charts with 100 versions each, and one more.
fn index(extra: &str, digest: &str) -> String {
    let mut text = "apiVersion: v1\nentries:\n".to_owned();
    for chart in 0..100 {
        writeln!(text, "  chart-{chart:03}:").unwrap();
        for version in (0..100).rev() {
            writeln!(
                text,
                "  - apiVersion: v2\n    name: chart-{chart:03}\n    version: 1.{version}.0\n    created: \
                 \"2026-01-01T00:00:00Z\"\n    digest: {digest}\n    description: Chart number {chart} as it was at {version}\n    \
                 urls:\n    - tea-0.1.0.tgz"
            )
            .unwrap();
        }
    }
    write!(
        text,
        "  tea:\n  - apiVersion: v2\n    name: tea\n    version: {extra}\n    digest: {digest}\n    urls:\n    - tea-{extra}.tgz\n"
    )
    .unwrap();
    text
}

#[test]
#[ignore = "needs nginx: cargo xtask tier counterparts"]
fn a_chart_repository_becomes_ready_follows_and_says_what_is_wrong() {
    let Some(program_nginx) = program("helm", "nginx") else {
        return;
    };
    let world = World::new();
    let folder = world.folder("charts");
    let publish = |version: &str| {
        let chart = folder.join("tea");
        std::fs::create_dir_all(&chart).unwrap();
        let text = format!("apiVersion: v2\nname: tea\nversion: {version}\n");
        std::fs::write(chart.join("Chart.yaml"), text).unwrap();
        let archive = format!("www/tea-{version}.tgz");
        std::fs::create_dir_all(folder.join("www")).unwrap();
        run(Command::new("tar")
            .args(["czf", &archive, "tea/Chart.yaml"])
            .current_dir(&folder));
        let data = std::fs::read(folder.join(&archive)).unwrap();
        let digest: String = Sha256::digest(&data)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        std::fs::write(folder.join("www/index.yaml"), index(version, &digest)).unwrap();
    };
    publish("0.1.0");
    std::fs::write(folder.join("users"), "ada:{PLAIN}lovelace\n").unwrap();
    let (port, at) = (free_port(), folder.display());
    let large = std::fs::File::create(folder.join("www").join("large")).unwrap();
    large.set_len(60 << 20).unwrap();
    let servers = format!(
        "server {{\nlisten 127.0.0.1:{port};\nroot {at}/www;\nlocation / {{ auth_basic charts; auth_basic_user_file \
         {at}/users; }}\nlocation /large/ {{ alias {at}/www/large; }}\nlocation /large/index.yaml {{ alias {at}/www/large; }}\n\
         location /empty/ {{ return 200 'hello'; }}\n}}\n"
    );
    let _server = nginx(&program_nginx, &folder, port, &servers);
    world.secret("right", &[("username", "ada"), ("password", "lovelace")]);
    world.secret("wrong", &[("username", "ada"), ("password", "byron")]);
    let source = |name: &str, url: &str, secret: Option<&str>| {
        let mut spec = json!({"url": url, "timeout": "5s"});
        if let Some(secret) = secret {
            spec["secretRef"]["name"] = secret.into();
        }
        world.source(KIND, name, spec);
    };
    let url = format!("http://127.0.0.1:{port}");
    source("charts", &url, Some("right"));
    let first = world.ready(KIND, "charts");
    let chart = |name: &str, chart: &str, version: &str| {
        let spec = json!({"chart": chart, "version": version, "sourceRef": {"kind": KIND, "name": "charts"}});
        world.source("HelmChart", name, spec);
    };
    chart("tea", "tea", ">=0.1.0");
    assert_eq!(world.ready("HelmChart", "tea"), "0.1.0");
    publish("0.2.0");
    world.follows(KIND, "charts", &first);
    assert_eq!(world.follows("HelmChart", "tea", "0.1.0"), "0.2.0");
    chart("tea-none", "tea", ">=9");
    world.fails("HelmChart", "tea-none", "InvalidChartReference", &[">=9"]);
    chart("coffee", "coffee", "*");
    world.fails("HelmChart", "coffee", "InvalidChartReference", &["coffee"]);

    source("charts-wrong", &url, Some("wrong"));
    world.fails(KIND, "charts-wrong", "AuthenticationFailed", &["password"]);
    source("charts-none", &url, None);
    world.fails(KIND, "charts-none", "AuthenticationFailed", &["secret"]);
    source("charts-absent", &format!("{url}/nothing"), Some("right"));
    world.fails(KIND, "charts-absent", "Failed", &["404"]);
    source("charts-large", &format!("{url}/large"), None);
    world.fails(KIND, "charts-large", "Failed", &["50.0 MiB"]);
    source("charts-empty", &format!("{url}/empty"), None);
    world.fails(KIND, "charts-empty", "IndexationFailed", &[]);
    source("charts-silent", &format!("http://127.0.0.1:{}", silent()), None);
    world.fails(KIND, "charts-silent", "Failed", &["in time"]);
    source(
        "charts-broken",
        &format!("http://127.0.0.1:{}", broken("text/yaml")),
        None,
    );
    world.fails(KIND, "charts-broken", "Failed", &[]);
}

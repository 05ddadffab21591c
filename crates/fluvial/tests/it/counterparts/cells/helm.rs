//! HelmRepositories, and the HelmCharts that come from them.

use serde_json::{Value, json};

use super::{Stage, secret, stage, with};
use crate::counterparts::stand::{chart, digest, tarball};

/// A place on this machine.
fn at(port: u16, path: &str) -> String {
    format!("http://127.0.0.1:{port}/{path}")
}

#[test]
fn chart_repositories_say_what_is_wrong() {
    let stage = stage();
    let Stage {
        world,
        content,
        ports,
    } = &stage;
    content.publish("0.1.0");
    content.put("/page/index.yaml", "<html>Welcome</html>");
    let kind = "HelmRepository";
    let base = json!({"url": at(ports.well, "charts"), "timeout": "3s"});
    world.source(kind, "charts", base.clone());
    let asking = json!({"url": at(ports.asking, "charts"), "secretRef": secret("right")});
    world.source(kind, "asking", asking);
    let tls = format!("https://localhost:{}/charts", ports.tls);
    world.source(kind, "tls", json!({"url": tls, "certSecretRef": secret("ca")}));
    for name in ["charts", "asking", "tls"] {
        world.ready(kind, name);
    }
    stage.fail(
        kind,
        &base,
        &[
            (
                "wrong",
                json!({"url": at(ports.asking, "charts"), "secretRef": secret("wrong")}),
                "AuthenticationFailed",
                &["user name and password"],
            ),
            ("untrusted", json!({"url": tls}), "Failed", &["ca.crt"]),
            (
                "foreign",
                json!({"url": tls, "certSecretRef": secret("foreign")}),
                "Failed",
                &["ca.crt"],
            ),
            (
                "absent",
                json!({"url": at(ports.well, "nowhere")}),
                "Failed",
                &["404"],
            ),
            (
                "page",
                json!({"url": at(ports.well, "page")}),
                "IndexationFailed",
                &[],
            ),
            (
                "endless",
                json!({"url": at(ports.endless, "charts"), "timeout": "50s"}),
                "Failed",
                &["50.0 MiB"],
            ),
            (
                "cut",
                json!({"url": at(ports.cut, "charts")}),
                "Failed",
                &["broke off"],
            ),
            (
                "silent",
                json!({"url": at(ports.silent, "charts")}),
                "Failed",
                &["in time", "timeout"],
            ),
        ],
    );
}

/// Repositories whose indexes are well; what they lead to is not.
fn misleading(stage: &Stage) {
    let Stage {
        world,
        content,
        ports,
    } = stage;
    for (name, port) in [
        ("chart-endless", ports.endless),
        ("chart-cut", ports.cut),
        ("chart-silent", ports.silent),
    ] {
        // Nothing else may have the same content, which is downloaded once only.
        let data = tarball(&[
            ("tea/Chart.yaml", "apiVersion: v2\nname: tea\nversion: 0.1.0\n"),
            ("tea/of", name),
        ]);
        content.put(
            &format!("/{name}/index.yaml"),
            index(&at(port, &format!("{name}/tea.tgz")), &digest(&data)[7..]),
        );
        content.put(&format!("/{name}/tea.tgz"), data);
        let timeout = if port == ports.endless { "30s" } else { "3s" };
        world.source(
            "HelmRepository",
            name,
            json!({"url": at(ports.well, name), "timeout": timeout}),
        );
    }
}

#[test]
fn charts_of_repositories_say_what_is_wrong() {
    let stage = stage();
    let Stage {
        world,
        content,
        ports,
    } = &stage;
    content.publish("0.1.0");
    content.put("/lost/index.yaml", index("gone.tgz", &"0".repeat(64)));
    content.put("/forged/index.yaml", index("tea.tgz", &"0".repeat(64)));
    content.put("/forged/tea.tgz", chart("0.1.0"));
    for (name, path) in [
        ("charts", "charts"),
        ("absent", "nowhere"),
        ("lost", "lost"),
        ("forged", "forged"),
    ] {
        let spec = json!({"url": at(ports.well, path)});
        world.source("HelmRepository", name, spec);
    }
    world.ready("HelmRepository", "charts");
    let kind = "HelmChart";
    misleading(&stage);
    let of = |repository: &str| json!({"sourceRef": {"kind": "HelmRepository", "name": repository}});
    let base = json!({"chart": "tea", "version": ">=0.1.0"});
    world.source(kind, "tea", with(base.clone(), &of("charts")));
    world.source(
        kind,
        "tea-values",
        with(
            with(base.clone(), &of("charts")),
            &json!({"valuesFiles": ["values.yaml"]}),
        ),
    );
    assert_eq!(world.ready(kind, "tea"), "0.1.0");
    assert_eq!(world.ready(kind, "tea-values"), "0.1.0+1");
    let chart_of = |repository: &str, more: &Value| with(of(repository), more);
    stage.fail(
        kind,
        &base,
        &[
            (
                "no-version",
                chart_of("charts", &json!({"version": ">=9"})),
                "InvalidChartReference",
                &[">=9"],
            ),
            (
                "no-chart",
                chart_of("charts", &json!({"chart": "coffee"})),
                "InvalidChartReference",
                &["coffee"],
            ),
            (
                "no-values",
                chart_of("charts", &json!({"valuesFiles": ["x.yaml"]})),
                "ValuesFilesError",
                &["x.yaml"],
            ),
            ("no-repository", of("nobody"), "SourceUnavailable", &["nobody"]),
            ("not-ready", of("absent"), "NoSourceArtifact", &["absent"]),
            ("lost", of("lost"), "ChartPullError", &["404", "gone.tgz"]),
            ("forged", of("forged"), "ChartPullError", &["digest"]),
            (
                "chart-endless",
                of("chart-endless"),
                "ChartPullError",
                &["10.0 MiB"],
            ),
            ("chart-cut", of("chart-cut"), "ChartPullError", &["broke off"]),
            ("chart-silent", of("chart-silent"), "ChartPullError", &["in time"]),
            (
                "unsigned",
                chart_of("charts", &json!({"verify": {"provider": "cosign"}})),
                "ChartVerificationError",
                &["OCI"],
            ),
        ],
    );
    content.publish("0.2.0");
    assert_eq!(world.follows(kind, "tea", "0.1.0"), "0.2.0");
    assert_eq!(world.follows(kind, "tea-values", "0.1.0+1"), "0.2.0+1");
}

/// An index with one version of `tea`.
fn index(url: &str, digest: &str) -> String {
    format!(
        "apiVersion: v1\nentries:\n  tea:\n  - apiVersion: v2\n    name: tea\n    version: 0.1.0\n    digest: '{digest}'\n    \
         urls: ['{url}']\n"
    )
}

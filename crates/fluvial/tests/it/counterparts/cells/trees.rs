//! HelmCharts that are packed from sources of files, and artifacts that others made.

use fluvial_cluster::Client;
use fluvial_ports::{Cluster as _, Patch, PatchKind, Target};
use serde_json::json;

use super::{Stage, stage, with};
use crate::counterparts::stand::{Content, digest, tarball};
use crate::counterparts::{NAMESPACE, resource};
use crate::support::{Server, TestRepo, backend_is_missing};

/// Files of the chart `tea`, in this version, which depends on a chart beside it and on one of a repository at this port.
fn files(version: &str, port: u16) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        (
            "charts/tea/Chart.yaml",
            format!(
                "apiVersion: v2\nname: tea\nversion: {version}\ndependencies:\n- name: cup\n  version: 1.0.0\n  \
                 repository: file://../cup\n- name: tea\n  alias: leaf\n  version: '>=0.5.0'\n  repository: \
                 http://127.0.0.1:{port}/charts/\n"
            ),
        ),
        ("charts/tea/values.yaml", text("sugar: 1\n")),
        ("charts/tea/templates/tea.yaml", text("kind: ConfigMap\n")),
        (
            "charts/cup/Chart.yaml",
            text("apiVersion: v2\nname: cup\nversion: 1.0.0\n"),
        ),
        (
            "charts/lonely/Chart.yaml",
            text(
                "apiVersion: v2\nname: lonely\nversion: 1.0.0\ndependencies:\n- name: x\n  version: 1.0.0\n  repository: file://../x\n",
            ),
        ),
        (
            "charts/foreign/Chart.yaml",
            text(
                "apiVersion: v2\nname: foreign\nversion: 1.0.0\ndependencies:\n- name: y\n  version: 1.0.0\n  \
                 repository: http://127.0.0.1:1/none\n",
            ),
        ),
        ("envs/prod.yaml", text("sugar: 3\n")),
    ]
}

fn fill(content: &Content, version: &str, port: u16) {
    for (path, text) in files(version, port) {
        content.put(&format!("/fleet/{path}"), text);
    }
}

/// What holds of charts from a source of files, whatever its kind; `change` brings version 0.2.0 of the chart.
fn charts_are_packed(stage: &Stage, kind: &str, change: impl Fn()) {
    let world = &stage.world;
    // The repository of a dependency wants a login, which is that of the HelmRepository with its address.
    stage.content.publish("0.5.0");
    let address = format!("http://127.0.0.1:{}/charts", stage.ports.asking);
    world.source(
        "HelmRepository",
        "leaves",
        json!({"url": address, "secretRef": super::secret("right")}),
    );
    world.ready("HelmRepository", "leaves");
    let of = |name: &str| json!({"sourceRef": {"kind": kind, "name": name}});
    let base = with(json!({"chart": "./charts/tea"}), &of("files"));
    let revision = world.ready(kind, "files");
    let short = |revision: &str| revision.rsplit(':').next().unwrap()[..12].to_owned();
    let more =
        json!({"reconcileStrategy": "Revision", "valuesFiles": ["charts/tea/values.yaml", "envs/prod.yaml"]});
    world.source("HelmChart", "tea", base.clone());
    world.source("HelmChart", "tea-revision", with(base.clone(), &more));
    let missing =
        json!({"valuesFiles": ["envs/test.yaml", "envs/prod.yaml"], "ignoreMissingValuesFiles": true});
    world.source("HelmChart", "tea-some-values", with(base.clone(), &missing));
    assert_eq!(world.ready("HelmChart", "tea"), "0.1.0");
    assert_eq!(world.ready("HelmChart", "tea-some-values"), "0.1.0+1");
    let observed = &world.get("HelmChart", "tea-some-values")["status"]["observedValuesFiles"];
    assert_eq!(observed, &json!(["envs/prod.yaml"]));
    let first = format!("0.1.0+{}.1", short(&revision));
    assert_eq!(world.ready("HelmChart", "tea-revision"), first);
    let status = &world.get("HelmChart", "tea-revision")["status"];
    assert_eq!(status["observedSourceArtifactRevision"], revision.as_str());
    assert_eq!(status["observedValuesFiles"], more["valuesFiles"]);
    let message = status["conditions"].to_string();
    assert!(message.contains("resolved 2 dependencies"), "{message}");
    stage.fail(
        "HelmChart",
        &base,
        &[
            (
                "no-path",
                json!({"chart": "charts/coffee"}),
                "InvalidChartReference",
                &["charts/coffee"],
            ),
            (
                "outside",
                json!({"chart": "../../etc"}),
                "InvalidChartReference",
                &["../../etc"],
            ),
            (
                "no-values",
                json!({"valuesFiles": ["envs/test.yaml"]}),
                "ValuesFilesError",
                &["envs/test.yaml"],
            ),
            (
                "missing-values-are-fine-only-if-it-says-so",
                json!({"valuesFiles": ["envs/test.yaml", "envs/prod.yaml"], "ignoreMissingValuesFiles": false}),
                "ValuesFilesError",
                &["envs/test.yaml", "ignoreMissingValuesFiles"],
            ),
            (
                "lonely",
                json!({"chart": "charts/lonely"}),
                "DependencyBuildError",
                &["../x"],
            ),
            (
                "foreign",
                json!({"chart": "charts/foreign"}),
                "DependencyBuildError",
                &["127.0.0.1:1"],
            ),
            ("no-source", of("nobody"), "SourceUnavailable", &["nobody"]),
        ],
    );
    change();
    let second = world.follows(kind, "files", &revision);
    assert_eq!(world.follows("HelmChart", "tea", "0.1.0"), "0.2.0");
    let wanted = format!("0.2.0+{}.1", short(&second));
    assert_eq!(world.follows("HelmChart", "tea-revision", &first), wanted);
}

#[test]
fn charts_of_buckets_are_packed_and_say_what_is_wrong() {
    let stage = stage();
    fill(&stage.content, "0.1.0", stage.ports.asking);
    let endpoint = format!("127.0.0.1:{}", stage.ports.well);
    let bucket = json!({"bucketName": "fleet", "endpoint": endpoint, "insecure": true});
    stage.world.source("Bucket", "files", bucket);
    charts_are_packed(&stage, "Bucket", || {
        fill(&stage.content, "0.2.0", stage.ports.asking)
    });
}

#[test]
fn charts_of_repositories_are_packed_and_say_what_is_wrong() {
    if backend_is_missing() {
        return;
    }
    let stage = stage();
    let repository = TestRepo::new();
    let commit = |version: &str| {
        let files = files(version, stage.ports.asking);
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        repository.commit(&files, version);
    };
    commit("0.1.0");
    let server = stage.world.runtime.block_on(Server::start(repository.root()));
    let git = json!({"url": server.url(&repository), "ref": {"branch": "main"}});
    stage.world.source("GitRepository", "files", git);
    charts_are_packed(&stage, "GitRepository", || commit("0.2.0"));
}

/// Says what somebody else made.
fn publish(stage: &Stage, name: &str, port: u16, data: &[u8], digest: &str) {
    let artifact = json!({"path": "theirs.tar.gz", "url": format!("http://127.0.0.1:{port}/theirs/{name}.tar.gz"),
        "revision": format!("latest@{digest}"), "digest": digest, "lastUpdateTime": "2026-01-01T00:00:00Z",
        "size": data.len()});
    stage.content.put(&format!("/theirs/{name}.tar.gz"), data);
    stage.world.apply("ExternalArtifact", name, json!({"spec": {}}));
    let resource = resource("ExternalArtifact");
    let target = Target {
        resource: &resource,
        namespace: NAMESPACE,
        name,
    };
    let ready = json!({"type": "Ready", "status": "True", "reason": "Succeeded", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let body = json!({"status": {"artifact": artifact, "conditions": [ready]}});
    let patch = Patch {
        kind: PatchKind::Merge,
        subresource: Some("status"),
        manager: "test",
        body: &body,
        dry_run: false,
    };
    let client: &Client = &stage.world.client;
    let done = stage.world.runtime.block_on(client.patch(target, patch));
    done.unwrap();
}

/// A generator that copies this artifact as it is.
fn generator(stage: &Stage, name: &str, from: &str) {
    let spec = json!({"sources": [{"alias": "up", "kind": "ExternalArtifact", "name": from}],
        "artifacts": [{"name": format!("of-{name}"), "copy": [{"from": "@up/**", "to": "@artifact/"}]}]});
    stage
        .world
        .apply("ArtifactGenerator", name, json!({"spec": spec}));
}

#[test]
fn generators_follow_artifacts_of_others_and_say_what_is_wrong_with_them() {
    let stage = stage();
    let (world, ports) = (&stage.world, &stage.ports);
    let data = tarball(&[("a.yaml", "a: 1\n")]);
    let id = digest(&data);
    let long = sha512(&data);
    let rows: [(&str, u16, &str, &[&str]); 6] = [
        ("well", ports.well, &id, &[]),
        ("long", ports.well, &long, &[]),
        ("forged", ports.well, &digest(b"other"), &["digest"]),
        ("cut", ports.cut, &id, &["broke off"]),
        ("endless", ports.endless, &id, &["more than"]),
        ("odd", ports.well, "md5:0123", &["md5"]),
    ];
    for (name, port, digest, _) in rows {
        publish(&stage, name, port, &data, digest);
        generator(&stage, name, name);
    }
    let wrong = rows.iter().filter(|row| !row.3.is_empty());
    let wrong = wrong
        .filter_map(|(name, _, _, words)| world.wrong("ArtifactGenerator", name, "SourceFetchFailed", words));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    generator(&stage, "nobody", "nobody");
    world.fails("ArtifactGenerator", "nobody", "SourceFetchFailed", &["nobody"]);

    let first = world.ready("ExternalArtifact", "of-well");
    assert_eq!(world.ready("ExternalArtifact", "of-long"), first);
    let other = tarball(&[("a.yaml", "a: 2\n")]);
    publish(&stage, "well", ports.well, &other, &digest(&other));
    world.follows("ExternalArtifact", "of-well", &first);
    // The one whose server recovers is made then.
    publish(&stage, "cut", ports.well, &data, &id);
    assert_eq!(world.ready("ExternalArtifact", "of-cut"), first);
}

fn sha512(data: &[u8]) -> String {
    use sha2::Digest as _;
    let hex: String = sha2::Sha512::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha512:{hex}")
}

//! OCIRepositories, and HelmCharts of registries.

use serde_json::{Value, json};

use super::{Stage, secret, stage, with};
use crate::counterparts::servers::silent;
use crate::counterparts::stand::{chart, digest, tarball};

const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
const FLUX_LAYER: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";

/// Keys, images and a chart for the tests of registries.
struct Images {
    first: String,
    ours: rcgen::KeyPair,
}

fn images(stage: &Stage) -> Images {
    let Stage { world, content, .. } = stage;
    let (ours, theirs) = (
        rcgen::KeyPair::generate().unwrap(),
        rcgen::KeyPair::generate().unwrap(),
    );
    world.secret("ours", &[("cosign.pub", &ours.public_key_pem())]);
    world.secret("theirs", &[("cosign.pub", &theirs.public_key_pem())]);
    world.secret("no-key", &[("cosign.key", "x")]);
    let first = content.push("config", "v1", FLUX_LAYER, &tarball(&[("a.yaml", "a: 1\n")]));
    content.sign("config", &first, &ours);
    content.push("unsigned", "v1", FLUX_LAYER, &tarball(&[("a.yaml", "a: 2\n")]));
    content.push("text", "v1", FLUX_LAYER, b"no archive");
    let lost = tarball(&[("a.yaml", "a: 3\n")]);
    content.push("lost", "v1", FLUX_LAYER, &lost);
    content.remove(&format!("/v2/lost/blobs/{}", digest(&lost)));
    let forged = tarball(&[("a.yaml", "a: 4\n")]);
    content.push("forged", "v1", FLUX_LAYER, &forged);
    content.put(
        &format!("/v2/forged/blobs/{}", digest(&forged)),
        tarball(&[("a.yaml", "a: 5\n")]),
    );
    let id = content.push("charts/tea", "0.1.0", CHART_LAYER, &chart("0.1.0"));
    content.sign("charts/tea", &id, &ours);
    content.push("charts/layerless", "0.1.0", "application/x", b"no chart");
    let lost = chart("0.9.0");
    content.push("charts/lost", "0.9.0", CHART_LAYER, &lost);
    content.remove(&format!("/v2/charts/lost/blobs/{}", digest(&lost)));
    Images { first, ours }
}

#[test]
fn images_say_what_is_wrong() {
    let stage = stage();
    let Images { first, ours } = images(&stage);
    let Stage {
        world,
        content,
        ports,
    } = &stage;
    let kind = "OCIRepository";
    let at = |port: u16, name: &str| json!({"url": format!("oci://127.0.0.1:{port}/{name}")});
    let tls = json!({"url": format!("oci://localhost:{}/config", ports.tls), "insecure": false});
    let base = with(
        at(ports.well, "config"),
        &json!({"ref": {"tag": "v1"}, "insecure": true, "timeout": "3s"}),
    );
    let cosign = |key: &str| json!({"verify": {"provider": "cosign", "secretRef": secret(key)}});
    world.source(kind, "image", with(base.clone(), &cosign("ours")));
    let asking = with(at(ports.asking, "config"), &json!({"secretRef": secret("right")}));
    world.source(kind, "image-asking", with(base.clone(), &asking));
    world.source(
        kind,
        "image-tls",
        with(with(base.clone(), &tls), &json!({"certSecretRef": secret("ca")})),
    );
    for name in ["image", "image-asking", "image-tls"] {
        assert_eq!(world.ready(kind, name), format!("v1@{first}"), "{name}");
    }
    accounts_and_single_layers(&stage, &base, &first);
    let pull = "OCIArtifactPullFailed";
    let layer = "OCIArtifactLayerOperationFailed";
    stage.fail(
        kind,
        &base,
        &[
            (
                "wrong",
                with(at(ports.asking, "config"), &json!({"secretRef": secret("wrong")})),
                "AuthenticationFailed",
                &["secret"],
            ),
            (
                "none",
                at(ports.asking, "config"),
                "AuthenticationFailed",
                &["secret"],
            ),
            ("untrusted", tls.clone(), pull, &["certSecretRef"]),
            (
                "foreign",
                with(tls, &json!({"certSecretRef": secret("foreign")})),
                pull,
                &["ca.crt"],
            ),
            ("no-tag", json!({"ref": {"tag": "v9"}}), pull, &["v9"]),
            ("no-version", json!({"ref": {"semver": ">=9"}}), pull, &[">=9"]),
            ("no-image", at(ports.well, "nothing"), pull, &["404"]),
            (
                "no-layer",
                json!({"layerSelector": {"mediaType": "application/x"}}),
                layer,
                &["application/x", FLUX_LAYER],
            ),
            ("lost", at(ports.well, "lost"), pull, &["404"]),
            ("forged", at(ports.well, "forged"), pull, &["digest"]),
            ("text", at(ports.well, "text"), layer, &["extract"]),
            (
                "signed-by-others",
                cosign("theirs"),
                "VerificationError",
                &["none of the trusted keys"],
            ),
            (
                "unsigned",
                with(at(ports.well, "unsigned"), &cosign("ours")),
                "VerificationError",
                &["no signatures found"],
            ),
            ("no-keys", cosign("no-key"), "VerificationError", &["NAME.pub"]),
            ("endless", at(ports.endless, "config"), pull, &["more than"]),
            ("cut", at(ports.cut, "config"), pull, &["broke off"]),
            ("silent", at(ports.silent, "config"), pull, &["in time"]),
        ],
    );
    let second = content.push("config", "v1", FLUX_LAYER, &tarball(&[("a.yaml", "a: 6\n")]));
    // A new revision counts once it is signed.
    assert_eq!(
        world.follows(kind, "image-asking", &format!("v1@{first}")),
        format!("v1@{second}")
    );
    world.fails(kind, "image", "VerificationError", &["no signatures found"]);
    content.sign("config", &second, &ours);
    assert_eq!(
        world.follows(kind, "image", &format!("v1@{first}")),
        format!("v1@{second}")
    );
}

/// The login of a service account's pull Secret, and a layer that is taken as it is.
fn accounts_and_single_layers(stage: &Stage, base: &Value, first: &str) {
    let Stage { world, ports, .. } = stage;
    let kind = "OCIRepository";
    let host = format!("127.0.0.1:{}", ports.asking);
    let login = json!({"auths": {&host: {"username": "ada", "password": "lovelace"}}}).to_string();
    let pull = json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": login}});
    world.apply("Secret", "pull", pull);
    world.apply(
        "ServiceAccount",
        "puller",
        json!({"imagePullSecrets": [{"name": "pull"}]}),
    );
    let asking = json!({"url": format!("oci://{host}/config"), "serviceAccountName": "puller"});
    world.source(kind, "image-account", with(base.clone(), &asking));
    assert_eq!(world.ready(kind, "image-account"), format!("v1@{first}"));
    let copy = json!({"layerSelector": {"mediaType": FLUX_LAYER, "operation": "copy"}});
    world.source(kind, "image-copy", with(base.clone(), &copy));
    assert_eq!(world.ready(kind, "image-copy"), format!("v1@{first}"));
    // The bytes of the layer are those of the artifact.
    let artifact = &world.get(kind, "image-copy")["status"]["artifact"];
    assert_eq!(artifact["digest"], digest(&tarball(&[("a.yaml", "a: 1\n")])));
    stage.fail(
        kind,
        base,
        &[(
            "nobody",
            with(asking, &json!({"serviceAccountName": "nobody"})),
            "AuthenticationFailed",
            &["nobody"],
        )],
    );
}

#[test]
fn charts_of_registries_say_what_is_wrong() {
    let stage = stage();
    let Images { ours, .. } = images(&stage);
    let Stage {
        world,
        content,
        ports,
    } = &stage;
    let registry = |name: &str, port: u16, more: Value| {
        let spec = json!({"type": "oci", "url": format!("oci://localhost:{port}/charts"), "insecure": true, "timeout": "3s"});
        world.source("HelmRepository", name, with(spec, &more));
    };
    registry("well", ports.well, json!({}));
    registry("asking", ports.asking, json!({"secretRef": secret("right")}));
    registry("wrong", ports.asking, json!({"secretRef": secret("wrong")}));
    registry(
        "tls",
        ports.tls,
        json!({"insecure": false, "certSecretRef": secret("ca")}),
    );
    registry(
        "foreign",
        ports.tls,
        json!({"insecure": false, "certSecretRef": secret("foreign")}),
    );
    registry("endless", ports.endless, json!({}));
    registry("cut", ports.cut, json!({}));
    registry("silent", ports.silent, json!({}));
    registry("dead", silent(), json!({}));
    let kind = "HelmChart";
    let of = |repository: &str| json!({"sourceRef": {"kind": "HelmRepository", "name": repository}});
    let base = json!({"chart": "tea", "version": "*"});
    let cosign = |key: &str| json!({"verify": {"provider": "cosign", "secretRef": secret(key)}});
    world.source(
        kind,
        "tea",
        with(with(base.clone(), &of("well")), &cosign("ours")),
    );
    world.source(kind, "tea-asking", with(base.clone(), &of("asking")));
    world.source(kind, "tea-tls", with(base.clone(), &of("tls")));
    for name in ["tea", "tea-asking", "tea-tls"] {
        assert_eq!(world.ready(kind, name), "0.1.0", "{name}");
    }
    let chart_of = |more: &Value| with(of("well"), more);
    stage.fail(
        kind,
        &base,
        &[
            ("wrong", of("wrong"), "AuthenticationFailed", &["secret"]),
            ("foreign", of("foreign"), "ChartPullError", &["ca.crt"]),
            (
                "no-version",
                chart_of(&json!({"version": ">=9"})),
                "InvalidChartReference",
                &[">=9"],
            ),
            (
                "no-chart",
                chart_of(&json!({"chart": "coffee"})),
                "ChartPullError",
                &["coffee", "404"],
            ),
            (
                "layerless",
                chart_of(&json!({"chart": "layerless"})),
                "ChartPullError",
                &[CHART_LAYER],
            ),
            (
                "lost",
                chart_of(&json!({"chart": "lost"})),
                "ChartPullError",
                &["404"],
            ),
            (
                "others",
                chart_of(&cosign("theirs")),
                "ChartVerificationError",
                &["none of the trusted keys"],
            ),
            ("endless", of("endless"), "ChartPullError", &["more than"]),
            ("cut", of("cut"), "ChartPullError", &["broke off"]),
            ("silent", of("silent"), "ChartPullError", &["in time"]),
            ("dead", of("dead"), "ChartPullError", &["in time"]),
        ],
    );
    let id = content.push("charts/tea", "0.2.0", CHART_LAYER, &chart("0.2.0"));
    content.sign("charts/tea", &id, &ours);
    assert_eq!(world.follows(kind, "tea", "0.1.0"), "0.2.0");
}

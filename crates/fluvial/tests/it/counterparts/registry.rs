//! docker-registry with basic authentication.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::World;
use super::servers::{broken, free_port, program, run, silent, start};

const KIND: &str = "OCIRepository";
const LAYER: &str = "application/vnd.cncf.flux.content.v1.tar+gzip";

fn digest(data: &[u8]) -> String {
    let hex: String = Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// A tar of one file, compressed by the system's own programs.
fn layer(world: &World, text: &str) -> Vec<u8> {
    let folder = world.folder("layer");
    std::fs::write(folder.join("config.yaml"), format!("text: {text}\n")).unwrap();
    run(Command::new("tar")
        .args(["czf", "../layer.tgz", "config.yaml"])
        .current_dir(&folder));
    std::fs::read(folder.with_extension("tgz")).unwrap()
}

struct Registry<'a> {
    world: &'a World,
    client: reqwest::Client,
    base: String,
}

impl Registry<'_> {
    fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Response {
        let request = request.basic_auth("ada", Some("lovelace"));
        let answer = self.world.runtime.block_on(request.send()).unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        answer
    }

    fn blob(&self, data: &[u8]) -> String {
        let answer = self.send(self.client.post(format!("{}/blobs/uploads/", self.base)));
        let place = answer.headers()["location"].to_str().unwrap();
        let join = if place.contains('?') { '&' } else { '?' };
        let place = format!("{place}{join}digest={}", digest(data));
        self.send(self.client.put(place).body(data.to_vec()));
        digest(data)
    }

    /// Pushes an image with one layer.
    fn push(&self, tag: &str, text: &str) -> String {
        let layer = layer(self.world, text);
        let config = b"{}";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.cncf.flux.config.v1+json", "digest": self.blob(config), "size": 2},
            "layers": [{"mediaType": LAYER, "digest": self.blob(&layer), "size": layer.len()}],
            "annotations": {"org.opencontainers.image.revision": format!("main@sha1:{text}")},
        })
        .to_string();
        let put = self.client.put(format!("{}/manifests/{tag}", self.base));
        let kind = "application/vnd.oci.image.manifest.v1+json";
        self.send(put.header("content-type", kind).body(manifest.clone()));
        digest(manifest.as_bytes())
    }
}

fn docker(port: u16, password: &str) -> String {
    let auth = STANDARD.encode(format!("ada:{password}"));
    json!({"auths": {format!("127.0.0.1:{port}"): {"auth": auth}}}).to_string()
}

#[test]
#[ignore = "needs docker-registry and htpasswd: cargo xtask tier counterparts"]
fn an_image_becomes_ready_follows_and_says_what_is_wrong() {
    let story = "registry";
    let (Some(program_registry), Some(htpasswd)) =
        (program(story, "docker-registry"), program(story, "htpasswd"))
    else {
        return;
    };
    let world = World::new();
    let folder = world.folder("registry");
    let users = run(Command::new(htpasswd).args(["-Bbn", "ada", "lovelace"]));
    std::fs::write(folder.join("users"), users).unwrap();
    let port = free_port();
    let at = folder.display();
    let config = folder.join("config.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {at}/data}}}}\n\
         http: {{addr: \"127.0.0.1:{port}\"}}\nauth: {{htpasswd: {{realm: test, path: {at}/users}}}}\n"
    );
    std::fs::write(&config, text).unwrap();
    let _server = start(Command::new(program_registry).arg("serve").arg(&config), port);
    let registry = Registry {
        world: &world,
        client: reqwest::Client::new(),
        base: format!("http://127.0.0.1:{port}/v2/team/config"),
    };
    let first = registry.push("v1", "one");

    for (name, password) in [("right", "lovelace"), ("wrong", "byron")] {
        let data = json!({"stringData": {".dockerconfigjson": docker(port, password)}, "type": "kubernetes.io/dockerconfigjson"});
        world.apply("Secret", name, data);
    }
    let url = format!("oci://127.0.0.1:{port}/team/config");
    let source = |name: &str, more: serde_json::Value| {
        let mut spec = json!({"url": url, "ref": {"tag": "v1"}, "insecure": true, "timeout": "5s",
            "secretRef": {"name": "right"}});
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        world.source(KIND, name, spec);
    };
    source("image", json!({}));
    assert_eq!(world.ready(KIND, "image"), format!("v1@{first}"));
    let second = registry.push("v1", "two");
    assert_eq!(
        world.follows(KIND, "image", &format!("v1@{first}")),
        format!("v1@{second}")
    );
    source("image-pinned", json!({"ref": {"digest": first}}));
    assert_eq!(world.ready(KIND, "image-pinned"), first);

    source("image-wrong", json!({"secretRef": {"name": "wrong"}}));
    world.fails(KIND, "image-wrong", "AuthenticationFailed", &["secret"]);
    source("image-none", json!({"secretRef": null}));
    world.fails(KIND, "image-none", "AuthenticationFailed", &["secret"]);
    source("image-tag", json!({"ref": {"tag": "v9"}}));
    world.fails(KIND, "image-tag", "OCIArtifactPullFailed", &["v9"]);
    source("image-range", json!({"ref": {"semver": ">=9"}}));
    world.fails(KIND, "image-range", "OCIArtifactPullFailed", &[">=9"]);
    source(
        "image-layer",
        json!({"layerSelector": {"mediaType": "application/x"}}),
    );
    world.fails(
        KIND,
        "image-layer",
        "OCIArtifactLayerOperationFailed",
        &["application/x", LAYER],
    );
    // The registry has lost the layer.
    let third = registry.push("v3", "three");
    assert_ne!(third, second);
    let lost = digest(&layer(&world, "three"));
    let hex = lost.trim_start_matches("sha256:");
    let blob = format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    std::fs::remove_file(folder.join(blob)).unwrap();
    source("image-lost", json!({"ref": {"tag": "v3"}}));
    world.fails(KIND, "image-lost", "OCIArtifactPullFailed", &[]);
    for (name, port) in [("silent", silent()), ("broken", broken("application/json"))] {
        let url = format!("oci://127.0.0.1:{port}/team/config");
        source(name, json!({"url": url, "secretRef": null}));
        world.fails(KIND, name, "OCIArtifactPullFailed", &[]);
    }
}

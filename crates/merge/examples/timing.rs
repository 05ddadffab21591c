//! Times an apply of a Deployment: `cargo run --profile fast -p fluvial-merge --example timing`.

use fluvial_merge::managed::{self, ApplyRequest};
use fluvial_schema::SchemaSet;
use serde_json::{Value, json};

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "tier": "front"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}},
                "spec": {"containers": [
                    {"name": "web", "image": image, "ports": [{"containerPort": 80}, {"containerPort": 443}],
                     "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}],
                     "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}},
                     "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
                    {"name": "side", "image": "side:1", "args": ["a", "b", "c"]}],
                 "volumes": [{"name": "v", "emptyDir": {}}]}
            }
        }
    })
}

#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]
fn main() {
    let started = std::time::Instant::now();
    let types = SchemaSet::builtin().kind("apps", "v1", "Deployment");
    println!("schemas read in {:?}", started.elapsed());
    let wanted = [deployment("web:1"), deployment("web:2")];
    let mut live: Option<Value> = None;
    for (what, changes) in [("create", false), ("no change", false), ("change", true)] {
        let rounds: u32 = if what == "create" { 1 } else { 2000 };
        let started = std::time::Instant::now();
        for round in 0..rounds {
            let applied = &wanted[if changes { (round % 2) as usize } else { 0 }];
            live = managed::apply(&ApplyRequest {
                types: types.as_ref(),
                live: live.as_ref(),
                applied,
                manager: "timing",
                subresource: "",
                api_version: "apps/v1",
                time: "2026-01-01T00:00:00Z",
                force: false,
                reset_fields: &[],
            })
            .ok();
        }
        println!("{what}: {:?} an apply", started.elapsed() / rounds);
    }
}

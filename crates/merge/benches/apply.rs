//! Times server-side applies and updates of a few thousand objects: `cargo bench -p fluvial-merge`.
//!
//! A limit on the time of one operation may be given in microseconds: `cargo bench -p fluvial-merge -- 200`
//! fails if any takes longer on average.

use fluvial_merge::managed::{self, ApplyRequest, UpdateRequest};
use fluvial_schema::{SchemaSet, TypeRef};
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

const OBJECTS: u32 = 2000;

fn apply(types: Option<&TypeRef>, live: Option<&Value>, applied: &Value, manager: &str) -> Value {
    managed::apply(&ApplyRequest {
        types,
        live,
        empty: None,
        applied,
        manager,
        subresource: "",
        api_version: "apps/v1",
        time: "2026-01-01T00:00:00Z",
        force: true,
        reset_fields: &[&["status"]],
    })
    .expect("nothing is in the way")
}

/// An update of the status, as a controller makes it.
fn update(types: Option<&TypeRef>, live: &Value, round: u32) -> Value {
    let mut updated = live.clone();
    updated["status"] = json!({"replicas": 3, "observedGeneration": round, "conditions": [
        {"type": "Available", "status": "True", "reason": "R", "message": "m"}]});
    managed::update(UpdateRequest {
        types,
        live: Some(live),
        updated,
        manager: "controller",
        subresource: "status",
        api_version: "apps/v1",
        time: "2026-01-01T00:00:00Z",
        reset_fields: &[&["spec"]],
    })
}

/// Runs one operation for each object; microseconds an operation.
#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a program that measures and prints"
)]
fn time(what: &str, mut each: impl FnMut(usize)) -> f64 {
    let started = std::time::Instant::now();
    (0..OBJECTS as usize).for_each(&mut each);
    let micros = started.elapsed().as_micros() as f64 / f64::from(OBJECTS);
    println!("{what:<28} {micros:>8.1} µs");
    micros
}

fn main() {
    let types = SchemaSet::builtin().kind("apps", "v1", "Deployment");
    let types = types.as_ref();
    let wanted = [deployment("web:1"), deployment("web:2")];
    let mut live: Vec<Value> = Vec::new();
    let mut slowest: f64 = 0.0;
    let mut run = |what: &str, each: &mut dyn FnMut(usize, &mut Vec<Value>)| {
        slowest = slowest.max(time(what, |at| each(at, &mut live)));
    };
    run("apply that creates", &mut |_, live| {
        live.push(apply(types, None, &wanted[0], "flux"));
    });
    run("update of the status", &mut |at, live| {
        live[at] = update(types, &live[at], 1);
    });
    run("apply that changes nothing", &mut |at, live| {
        live[at] = apply(types, Some(&live[at]), &wanted[0], "flux");
    });
    run("only told that it would not", &mut |at, live| {
        assert!(managed::unchanged(&ApplyRequest {
            types,
            live: Some(&live[at]),
            empty: None,
            applied: &wanted[0],
            manager: "flux",
            subresource: "",
            api_version: "apps/v1",
            time: "2026-01-01T00:00:00Z",
            force: true,
            reset_fields: &[&["status"]],
        }));
    });
    run("apply that changes an image", &mut |at, live| {
        live[at] = apply(types, Some(&live[at]), &wanted[1], "flux");
    });
    run("apply by another manager", &mut |at, live| {
        live[at] = apply(types, Some(&live[at]), &wanted[1], "other");
    });
    run("apply that removes a field", &mut |at, live| {
        let mut less = wanted[1].clone();
        less["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
        live[at] = apply(types, Some(&live[at]), &less, "flux");
    });
    let limit = std::env::args().filter_map(|arg| arg.parse::<f64>().ok()).next();
    if let Some(limit) = limit {
        assert!(slowest <= limit, "{slowest:.1} µs is more than {limit} µs");
    }
}

//! Times expressions and rules of definitions: `cargo bench -p fluvial-schema`.
//!
//! A limit on the time of one evaluation may be given in microseconds: `cargo bench -p fluvial-schema -- 20`.

use fluvial_schema::CrdSchema;
use fluvial_schema::cel::{Env, Program, Type, Value, Vars};
use serde_json::{Value as Json, json};

const ROUNDS: u32 = 20_000;

/// Microseconds a round.
#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a program that measures and prints"
)]
fn time(what: &str, mut each: impl FnMut()) -> f64 {
    let started = std::time::Instant::now();
    for _ in 0..ROUNDS {
        each();
    }
    let micros = started.elapsed().as_micros() as f64 / f64::from(ROUNDS);
    println!("{what:<32} {micros:>8.2} µs");
    micros
}

fn object() -> Json {
    json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "generation": 2},
        "spec": {"replicas": 3, "name": "web", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 443}]},
        "status": {"observedGeneration": 2, "conditions": [
            {"type": "Reconciling", "status": "False"}, {"type": "Ready", "status": "True"}]}
    })
}

fn main() {
    let object = object();
    let env = Env::flux().unchecked();
    let health = "status.observedGeneration == metadata.generation && status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')";
    time("compile a health check", || {
        Program::compile(health, &env).expect("it compiles");
    });
    let program = Program::compile(health, &env).expect("it compiles");
    let run = time("run a health check", || {
        let mut vars = Vars::default();
        for (name, value) in object.as_object().into_iter().flatten() {
            vars.set(name.as_str(), Ok(Value::json(value)));
        }
        assert_eq!(program.eval(&vars).map(|value| value.as_bool()), Ok(Some(true)));
    });
    let typed = Env::kubernetes().variable("self", Type::list(Type::map(Type::String, Type::Dyn)));
    time("compile and check a rule", || {
        Program::compile("self.all(x, self.exists_one(y, x.name == y.name))", &typed).expect("it compiles");
    });
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
        "x-kubernetes-validations": [{"rule": "self.replicas > 0 && self.name.matches('^[a-z]+$')"}],
        "properties": {
            "replicas": {"type": "integer"},
            "name": {"type": "string", "maxLength": 63, "pattern": "^[a-z]+$",
                "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed"}]},
            "ports": {"type": "array", "maxItems": 16, "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "x-kubernetes-validations": [{"rule": "self.all(x, x.port > 0)"}],
                "items": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string", "maxLength": 63}, "port": {"type": "integer"}}}}}},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let crd = CrdSchema::parse(&schema).expect("the schema is good");
    let rules = time("validate an object with rules", || {
        assert_eq!(crd.validate(&object, Some(&object)), []);
    });
    let limit = std::env::args().filter_map(|arg| arg.parse::<f64>().ok()).next();
    if let Some(limit) = limit {
        let slowest = run.max(rules);
        assert!(slowest <= limit, "{slowest:.1} µs is more than {limit} µs");
    }
}

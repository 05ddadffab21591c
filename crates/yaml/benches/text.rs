//! Reading and writing in megabytes a second: `cargo bench -p fluvial-yaml [NAME]`.
//!
//! The texts have the shapes that kustomize and Helm meet: many objects with many short scalars,
//! ConfigMaps with long literal texts, generated JSON, comments everywhere, CRD schemas.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark measures time, prints it, and may fail loudly"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use fluvial_yaml::{
    EmitOptions, Mode, ReadOptions, emit, json_to_yaml, parse_documents, split_documents, yaml_to_json,
};

fn main() {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    for (name, text) in [
        ("objects", objects(2000)),
        ("texts", texts(400)),
        ("comments", comments(1500)),
        ("flow", flow(2000)),
        ("schema", schema(60)),
    ] {
        if filter.as_deref().is_none_or(|word| name.contains(word)) {
            measure(name, &text);
        }
    }
}

/// Time that the process has spent on a processor, or, where the system does not tell, the clock's.
fn spent(start: Instant) -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|text| text.parse().ok());
    nanos.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// What one run takes, on average of many.
fn time(mut run: impl FnMut()) -> Duration {
    run();
    let start = Instant::now();
    let before = spent(start);
    let mut runs = 0;
    while spent(start).saturating_sub(before) < Duration::from_millis(400) {
        run();
        runs += 1;
    }
    spent(start).saturating_sub(before) / runs
}

fn measure(name: &str, text: &str) {
    let options = ReadOptions::default();
    let nodes = parse_documents(text, &options).unwrap();
    let values: Vec<_> = nodes
        .iter()
        .map(|node| node.to_json(Mode::Kyaml).unwrap())
        .collect();
    let documents = split_documents(text).unwrap();
    let per_second = |bytes: usize, took: Duration| bytes as f64 / 1e6 / took.as_secs_f64();
    let written: usize = nodes
        .iter()
        .map(|node| emit(node, &EmitOptions::default()).len())
        .sum();
    let sorted: usize = values.iter().map(|value| json_to_yaml(value).len()).sum();
    let parse = time(|| drop(black_box(parse_documents(text, &options))));
    let write = time(|| {
        for node in &nodes {
            black_box(emit(node, &EmitOptions::default()));
        }
    });
    let json = time(|| {
        for node in &nodes {
            drop(black_box(node.to_json(Mode::Kyaml)));
        }
    });
    let sigs = time(|| {
        for value in &values {
            black_box(json_to_yaml(value));
        }
    });
    let sigs_read = time(|| {
        for document in &documents {
            drop(black_box(yaml_to_json(document, false)));
        }
    });
    println!(
        "{name:<10} {:>6} KB  parse {:>6.1}  emit {:>6.1}  to JSON {:>6.1}  JSON to YAML {:>6.1}  YAML to JSON {:>6.1}  MB/s",
        text.len() / 1000,
        per_second(text.len(), parse),
        per_second(written, write),
        per_second(text.len(), json),
        per_second(sorted, sigs),
        per_second(text.len(), sigs_read),
    );
}

fn objects(count: usize) -> String {
    let mut text = String::new();
    for index in 0..count {
        write!(
            text,
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: service-{index}\n  namespace: team-{}\n  labels:\n    \
             app.kubernetes.io/name: service-{index}\n    app.kubernetes.io/version: \"1.{index}\"\nspec:\n  replicas: {}\n  selector:\n    \
             matchLabels:\n      app.kubernetes.io/name: service-{index}\n  template:\n    metadata:\n      labels:\n        \
             app.kubernetes.io/name: service-{index}\n    spec:\n      containers:\n      - name: main\n        image: \
             registry.example.com/team/service:{index}\n        args: [\"--port=8080\", '--name=service-{index}']\n        env:\n        \
             - name: LOG_LEVEL\n          value: info\n        - name: ENABLED\n          value: \"true\"\n        ports:\n        \
             - containerPort: 8080\n          protocol: TCP\n        resources:\n          limits:\n            cpu: 500m\n            \
             memory: 128Mi\n        livenessProbe:\n          httpGet:\n            path: /healthz\n            port: 8080\n          \
             periodSeconds: 10\n",
            index % 20,
            index % 5,
        )
        .unwrap();
    }
    text
}

fn texts(count: usize) -> String {
    let mut text = String::new();
    for index in 0..count {
        write!(text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: dashboard-{index}\ndata:\n  file.json: |\n").unwrap();
        for line in 0..60 {
            writeln!(
                text,
                "    {{\"panel\": {line}, \"title\": \"Requests a second of {index}\", \"type\": \"graph\"}},"
            )
            .unwrap();
        }
    }
    text
}

fn comments(count: usize) -> String {
    let mut text = String::new();
    for index in 0..count {
        write!(
            text,
            "---\n# The service of team {index}.\nkind: Service # core\nmetadata:\n  # Its name.\n  name: a-{index}\nspec:\n  ports:\n  \
             # Plain.\n  - port: 80 # http\n    name: http\n  # Encrypted.\n  - port: 443\n    name: https # with TLS\n  # The end.\n"
        )
        .unwrap();
    }
    text
}

fn flow(count: usize) -> String {
    let mut text = String::new();
    for index in 0..count {
        writeln!(
            text,
            "---\n{{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {{\"name\": \"s-{index}\", \"labels\": {{\"a\": \"b\"}}}}, \
             \"data\": {{\"key\": \"c29tZSB0ZXh0IHRoYXQgaXMgbG9uZyBlbm91Z2g=\", \"list\": [1, 2, 3.5, true, null, \"\\u00e9\\n\"]}}}}"
        )
        .unwrap();
    }
    text
}

fn schema(count: usize) -> String {
    let mut text = "kind: CustomResourceDefinition\nspec:\n  versions:\n  - schema:\n      openAPIV3Schema:\n        properties:\n".to_owned();
    for outer in 0..count {
        writeln!(
            text,
            "          field{outer}:\n            type: object\n            properties:"
        )
        .unwrap();
        for inner in 0..40 {
            write!(
                text,
                "              inner{inner}:\n                type: string\n                description: Describes what this field is for, which \
                 values it\n                  takes, and what happens if it is missing; that often takes\n                  several lines.\n                \
                 enum:\n                - A\n                - B\n"
            )
            .unwrap();
        }
    }
    text
}

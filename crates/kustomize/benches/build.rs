//! Builds of made-up trees, in objects a second: `cargo bench -p fluvial-kustomize [NAME]`.
//!
//! The trees have the shapes that take time in practice: many documents in few files, many
//! overlays of one base, many patches, many references.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark measures time, prints it, and may fail loudly"
)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fluvial_kustomize::{BuildRequest, NoCharts, NoRemote, Options, build};
use fluvial_tree::{File, Tree, TreeBuilder, TreePath};

struct Input {
    name: &'static str,
    tree: Tree,
    paths: Vec<String>,
}

fn main() {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    for input in [documents(4000), overlays(300), patches(1000), references(1000)] {
        if filter.as_deref().is_none_or(|word| input.name.contains(word)) {
            measure(&input);
        }
    }
}

fn measure(input: &Input) {
    let started = Instant::now();
    let (mut objects, mut bytes, mut rounds) = (0, 0, 0);
    let (mut building, mut writing) = (Duration::ZERO, Duration::ZERO);
    while rounds == 0 || started.elapsed() < Duration::from_secs(2) {
        for path in &input.paths {
            let path = TreePath::parse(path).unwrap();
            let begun = Instant::now();
            let built = build(&BuildRequest {
                tree: &input.tree,
                path: &path,
                options: &Options::cli(),
                remote: &NoRemote,
                charts: &NoCharts,
            })
            .unwrap_or_else(|error| panic!("{}: {error}", input.name));
            building += begun.elapsed();
            let begun = Instant::now();
            bytes += built.to_yaml(1).unwrap().len();
            writing += begun.elapsed();
            objects += built.resources.len();
        }
        rounds += 1;
    }
    let seconds = started.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (rate, size) = (objects as f64 / seconds, bytes as f64 / seconds / 1e6);
    println!(
        "{:<12} {:>8} objects {rate:>9.0} objects/s {size:>7.1} MB/s  build {:>7.2} ms, print {:>7.2} ms a round",
        input.name,
        objects / rounds,
        building.as_secs_f64() * 1e3 / f64::from(u32::try_from(rounds).unwrap()),
        writing.as_secs_f64() * 1e3 / f64::from(u32::try_from(rounds).unwrap()),
    );
}

fn deployment(name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  labels:\n    app: {name}\nspec:\n  \
         replicas: 2\n  selector:\n    matchLabels:\n      app: {name}\n  template:\n    metadata:\n      labels:\n        \
         app: {name}\n    spec:\n      serviceAccountName: {name}\n      containers:\n      - name: main\n        \
         image: registry.example.com/{name}:1.0\n        ports:\n        - containerPort: 8080\n          name: http\n        \
         env:\n        - name: LEVEL\n          value: info\n        - name: TOKEN\n          valueFrom:\n            \
         secretKeyRef:\n              name: {name}\n              key: token\n        resources:\n          requests:\n            \
         cpu: 100m\n            memory: 128Mi\n        volumeMounts:\n        - name: config\n          mountPath: /config\n      \
         volumes:\n      - name: config\n        configMap:\n          name: {name}\n"
    )
}

fn small(kind: &str, name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {name}\n  labels:\n    app: {name}\n  annotations:\n    \
         example.com/owner: team # who\n"
    )
}

/// Deployment, Service, ConfigMap and ServiceAccount of an application.
fn application(name: &str) -> String {
    let mut out = deployment(name);
    let service = small("Service", name);
    let _ = write!(
        out,
        "---\n{service}spec:\n  selector:\n    app: {name}\n  ports:\n  - name: http\n    port: 80\n    targetPort: http\n"
    );
    let config = small("ConfigMap", name);
    let _ = write!(
        out,
        "---\n{config}data:\n  level: info\n  application.yaml: |\n    server:\n      port: 8080\n    name: {name}\n"
    );
    let _ = write!(out, "---\n{}", small("ServiceAccount", name));
    out
}

fn tree(files: Vec<(String, String)>) -> Tree {
    let mut builder = TreeBuilder::default();
    for (path, text) in files {
        builder.file(&path, File::new(text.into_bytes(), false)).unwrap();
    }
    builder.build()
}

/// Many documents under one kustomization with the usual transformers.
fn documents(count: usize) -> Input {
    let mut files = Vec::new();
    let mut resources = String::new();
    for index in 0..count / 4 {
        let name = format!("app-{index}");
        let _ = writeln!(resources, "- {name}.yaml");
        files.push((format!("{name}.yaml"), application(&name)));
    }
    files.push((
        "kustomization.yaml".to_owned(),
        format!(
            "namespace: apps\nnamePrefix: prod-\nlabels:\n- pairs:\n    env: prod\n  includeSelectors: true\n\
             commonAnnotations:\n  team: web\nimages:\n- name: registry.example.com/app-1\n  newTag: \"2.0\"\n\
             resources:\n{resources}"
        ),
    ));
    Input {
        name: "documents",
        tree: tree(files),
        paths: vec![String::new()],
    }
}

/// Many overlays of one base, each built by itself.
fn overlays(count: usize) -> Input {
    let mut files = vec![
        ("base/app.yaml".to_owned(), application("web")),
        (
            "base/kustomization.yaml".to_owned(),
            "resources: [app.yaml]\nconfigMapGenerator:\n- name: settings\n  literals: [a=b]\n".to_owned(),
        ),
    ];
    let mut paths = Vec::new();
    for index in 0..count {
        files.push((
            format!("overlays/o{index}/kustomization.yaml"),
            format!(
                "resources: [../../base]\nnamespace: ns-{index}\nnameSuffix: \"-{index}\"\nlabels:\n- pairs: {{env: e{index}}}\n\
                 images:\n- name: registry.example.com/web\n  newTag: v{index}\nreplicas:\n- name: web\n  count: 3\n\
                 patches:\n- patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata:\n      name: web\n    \
                 spec:\n      template:\n        spec:\n          containers:\n          - name: main\n            env:\n            \
                 - name: LEVEL\n              value: debug\n"
            ),
        ));
        paths.push(format!("overlays/o{index}"));
    }
    Input {
        name: "overlays",
        tree: tree(files),
        paths,
    }
}

/// A patch for each of many objects, half of them strategic merges, half JSON patches.
fn patches(count: usize) -> Input {
    let mut resources = String::new();
    let mut list = String::new();
    for index in 0..count {
        let _ = write!(resources, "---\n{}", deployment(&format!("app-{index}")));
        if index % 2 == 0 {
            let _ = write!(
                list,
                "- patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata:\n      name: app-{index}\n    \
                 spec:\n      replicas: {index}\n"
            );
        } else {
            let _ = write!(
                list,
                "- target:\n    kind: Deployment\n    name: app-{index}\n  patch: |\n    - op: replace\n      \
                 path: /spec/replicas\n      value: {index}\n"
            );
        }
    }
    Input {
        name: "patches",
        tree: tree(vec![
            ("all.yaml".to_owned(), resources),
            (
                "kustomization.yaml".to_owned(),
                format!("resources: [all.yaml]\npatches:\n{list}"),
            ),
        ]),
        paths: vec![String::new()],
    }
}

/// Generated maps that many objects refer to, through two layers of prefixes.
fn references(count: usize) -> Input {
    let mut files = Vec::new();
    let mut generators = String::new();
    let mut resources = String::new();
    for index in 0..count {
        let _ = write!(resources, "---\n{}", deployment(&format!("app-{index}")));
        let _ = write!(
            generators,
            "- name: app-{index}\n  literals: [level=debug, index={index}]\n"
        );
    }
    files.push(("base/all.yaml".to_owned(), resources));
    files.push((
        "base/kustomization.yaml".to_owned(),
        format!("namePrefix: base-\nresources: [all.yaml]\nconfigMapGenerator:\n{generators}"),
    ));
    files.push((
        "kustomization.yaml".to_owned(),
        "namePrefix: prod-\nnamespace: prod\nresources: [base]\n".to_owned(),
    ));
    Input {
        name: "references",
        tree: tree(files),
        paths: vec![String::new()],
    }
}

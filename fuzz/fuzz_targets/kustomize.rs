//! Any tree, its files divided by lines `==== PATH`: a build ends, with resources or an error.

#![no_main]

use fluvial_kustomize::{BuildRequest, NoCharts, NoRemote, Options, build};
use fluvial_tree::{File, TreeBuilder, TreePath};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut files = TreeBuilder::default();
    let mut parts = text.split("\n==== ");
    let first = parts.next().unwrap_or_default();
    let _ = files.file("kustomization.yaml", File::new(first.as_bytes().to_vec(), false));
    for part in parts {
        let (path, content) = part.split_once('\n').unwrap_or((part, ""));
        let _ = files.file(path, File::new(content.as_bytes().to_vec(), false));
    }
    let tree = files.build();
    let Ok(path) = TreePath::parse(".") else {
        return;
    };
    let built = build(&BuildRequest {
        tree: &tree,
        path: &path,
        options: &Options::default(),
        remote: &NoRemote,
        charts: &NoCharts,
    });
    if let Ok(built) = built {
        let _ = built.to_yaml(2);
    }
});

//! Any tree as a chart, its files divided by lines `==== PATH`: it is refused, or renders or fails.

#![no_main]

use std::sync::Arc;

use fluvial_helm::{Capabilities, Chart, NoCluster, Options, Release, RenderRequest, Values, render, render_again};
use fluvial_template::Limits;
use fluvial_template::sprig::Ambient;
use fluvial_tree::{File, TreeBuilder, TreePath};

struct Still;

impl Ambient for Still {
    fn now(&mut self) -> i128 {
        1_700_000_000_000_000_000
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut files = TreeBuilder::default();
    let mut parts = text.split("\n==== ");
    let values = parts.next().unwrap_or_default();
    let head: &[u8] = b"apiVersion: v2\nname: one\nversion: 1.0.0\n";
    let _ = files.file("Chart.yaml", File::new(head, false));
    for part in parts {
        let (path, content) = part.split_once('\n').unwrap_or((part, ""));
        let _ = files.file(path, File::new(content.as_bytes().to_vec(), false));
    }
    let Ok(chart) = Chart::load(&files.build(), &TreePath::root()) else {
        return;
    };
    let values = Values::from_yaml(values).unwrap_or_default();
    let release = Release { name: "r".to_owned(), namespace: "n".to_owned(), revision: 1, is_upgrade: false };
    let limits = Limits { output: 1 << 16, steps: 20_000, depth: 50 };
    let capabilities = Capabilities::default();
    let request = || RenderRequest {
        chart: &chart,
        values: &values,
        release: &release,
        capabilities: &capabilities,
        lookup: Arc::new(NoCluster),
        ambient: Box::new(Still),
        options: Options { limits, ..Options::default() },
    };
    let plain = render(request());
    let first = render_again(request(), None);
    assert_eq!(plain.is_ok(), first.is_ok());
    if let (Ok(plain), Ok((_, record))) = (plain, first) {
        let (again, _) = render_again(request(), Some(&record)).expect("the same renders again");
        assert_eq!(plain.manifest(true), again.manifest(true));
    }
});

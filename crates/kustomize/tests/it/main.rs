//! Whole builds of small trees made here.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests may fail loudly, measure time and be told how long to run"
)]

mod fuzz;
mod hostile;
mod oddities;
mod patches;
mod places;
mod records;
mod remote;
mod value_add;
mod writes;

use fluvial_kustomize::{Build, BuildRequest, Error, NoCharts, NoRemote, Options, build};
use fluvial_tree::{File, Tree, TreeBuilder, TreePath};

fn tree<P: AsRef<str>, T: AsRef<[u8]>>(files: &[(P, T)]) -> Tree {
    let mut builder = TreeBuilder::default();
    for (path, text) in files {
        builder
            .file(path.as_ref(), File::new(text.as_ref(), false))
            .unwrap();
    }
    builder.build()
}

fn build_at(tree: &Tree, path: &str, options: &Options) -> Result<Build, Error> {
    build(&BuildRequest {
        tree,
        path: &TreePath::parse(path).unwrap(),
        options,
        remote: &NoRemote,
        charts: &NoCharts,
    })
}

fn error<P: AsRef<str>, T: AsRef<[u8]>>(files: &[(P, T)]) -> String {
    match build_at(&tree(files), "", &Options::flux()) {
        Ok(_) => panic!("this should not build"),
        Err(error) => error.to_string(),
    }
}

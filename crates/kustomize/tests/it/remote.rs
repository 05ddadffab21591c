//! What comes from elsewhere comes through ports, once, and stays where it is.

use std::sync::atomic::{AtomicUsize, Ordering};

use fluvial_kustomize::{
    Build, BuildRequest, Error, FileError, NoCharts, Options, RemoteResolver, RepoSpec, build,
};
use fluvial_tree::{Tree, TreePath};

use crate::tree;

struct Elsewhere {
    repository: Tree,
    fetched: AtomicUsize,
}

impl RemoteResolver for Elsewhere {
    fn repository(&self, spec: &RepoSpec) -> Result<Tree, String> {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        match spec.reference.as_str() {
            "gone" => Err("no such branch: gone".to_owned()),
            _ => Ok(self.repository.clone()),
        }
    }

    fn file(&self, url: &str) -> Result<Vec<u8>, FileError> {
        if url.ends_with("/map.yaml") {
            Ok(b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: far}\n".to_vec())
        } else {
            Err(FileError::Status(404))
        }
    }
}

fn built(kustomization: &str) -> (Result<Build, Error>, usize) {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n";
    let elsewhere = Elsewhere {
        repository: tree(&[
            ("a/kustomization.yaml", "resources: [m.yaml]\nnamePrefix: a-\n"),
            ("a/m.yaml", map),
            ("b/kustomization.yaml", "resources: [../a]\nnamePrefix: b-\n"),
            ("out/kustomization.yaml", "resources: [../../x]\n"),
        ]),
        fetched: AtomicUsize::new(0),
    };
    let result = build(&BuildRequest {
        tree: &tree(&[("kustomization.yaml", kustomization)]),
        path: &TreePath::root(),
        options: &Options {
            remote: true,
            ..Options::flux()
        },
        remote: &elsewhere,
        charts: &NoCharts,
    });
    (result, elsewhere.fetched.load(Ordering::Relaxed))
}

#[test]
fn a_repository_is_fetched_once_and_its_folders_see_each_other() {
    let (result, fetched) = built(
        "resources:\n- https://git.example.com/o/r.git//a?ref=v1\n- https://git.example.com/o/r.git//b?ref=v1\n",
    );
    let build = result.unwrap();
    let names: Vec<&str> = build.resources.iter().map(|one| one.name()).collect();
    assert_eq!(names, ["a-m", "b-a-m"]);
    assert_eq!(fetched, 1);
    assert!(build.reads.remote);
    let place = build.file(build.resources[0].node.pos.file);
    assert_eq!(place, Some("https://git.example.com/o/r.git//a/m.yaml"));
}

#[test]
fn what_cannot_be_fetched_is_named_with_its_line() {
    let (result, _) = built("resources:\n- https://git.example.com/o/r.git//a?ref=gone\n");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("kustomization.yaml:2"), "{error}");
    assert!(error.contains("no such branch: gone"), "{error}");
    let (result, _) = built("resources: ['https://example.com/none.yaml']\n");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
}

#[test]
fn a_remote_base_cannot_leave_its_repository() {
    let (result, _) = built("resources: ['https://git.example.com/o/r.git//out']\n");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("leads out of the tree"), "{error}");
}

#[test]
fn a_file_behind_a_url_is_a_resource() {
    let (result, _) = built("resources: ['https://example.com/map.yaml']\n");
    assert_eq!(result.unwrap().resources[0].name(), "far");
}

//! Helm: template vectors over a chart, whole charts, small behaviours, `--set`, fleets.

mod cases;
pub mod command;
mod compare;
mod fleets;
mod vectors;

use std::path::Path;
use std::sync::Arc;

use fluvial_helm::{Capabilities, NoCluster, Options, Release, RenderRequest, Values};
use fluvial_template::sprig::Ambient;
use fluvial_tree::{File, Tree, TreeBuilder};

use crate::Suite;

/// The suites of this module.
#[must_use]
pub fn suites() -> Vec<Suite> {
    let suite = |name, needs, run| Suite { name, needs, run };
    vec![
        suite(
            "template/helm",
            "corpus/vectors/gotemplate.jsonl",
            vectors::templates,
        ),
        suite("helm/cases", "corpus/helm/cases", cases::cases),
        suite("helm/charts", "corpus/helm/small", cases::small),
        suite("helm/units", "corpus/helm/unit", cases::units),
        suite("helm/set", "corpus/helm/strvals.jsonl", cases::strvals),
        suite("helm/strvals", "corpus/vectors/strvals.jsonl", vectors::set),
        suite(
            "helm/coalesce",
            "corpus/vectors/coalesce.jsonl",
            vectors::coalesce,
        ),
        suite("helm/ignore", "corpus/vectors/helmignore.jsonl", vectors::ignore),
        suite("helm/repo", "corpus/vectors/chartrepo.jsonl", vectors::repo),
        suite("fleets/helmreleases", "fleets", fleets::releases),
    ]
}

/// The reference's clock cannot be had: any time will do, since cases that show it are masked.
struct Fixed(u64);

impl Ambient for Fixed {
    fn now(&mut self) -> i128 {
        1_790_000_000_000_000_000
    }

    fn random(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *byte = self.0.to_be_bytes()[0];
        }
    }
}

fn ambient() -> Box<dyn Ambient> {
    Box::new(Fixed(7))
}

fn request<'r>(
    chart: &'r Arc<fluvial_helm::Chart>,
    values: &'r Values,
    release: &'r Release,
    capabilities: &'r Capabilities,
    options: Options,
) -> RenderRequest<'r> {
    RenderRequest {
        chart,
        values,
        release,
        capabilities,
        lookup: Arc::new(NoCluster),
        ambient: ambient(),
        options,
    }
}

/// A tree from names and contents.
fn tree<'f>(files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> Result<Tree, String> {
    let mut builder = TreeBuilder::default();
    for (name, data) in files {
        builder
            .file(name, File::new(data, false))
            .map_err(|error| error.to_string())?;
    }
    Ok(builder.build())
}

/// A tree from a folder of the corpus.
fn folder(root: &Path) -> Result<Tree, String> {
    let mut builder = TreeBuilder::default();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.map_err(|error| error.to_string())?;
        if !entry.file_type().is_file() {
            continue;
        }
        let name = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let data = std::fs::read(entry.path()).map_err(|error| error.to_string())?;
        builder
            .file(&name.to_string_lossy(), File::new(data, false))
            .map_err(|error| error.to_string())?;
    }
    Ok(builder.build())
}

//! Helm charts without Helm: loading, values, dependencies, rendering, hooks and order, as Helm 4 does
//! it, byte for byte.
//!
//! ```
//! use std::sync::Arc;
//! use fluvial_helm::{Capabilities, Chart, NoCluster, Options, Output, Release, RenderRequest, Values, render};
//! use fluvial_template::sprig::Ambient;
//! use fluvial_tree::{File, TreeBuilder, TreePath};
//!
//! /// The clock and randomness of this example.
//! struct Still;
//!
//! impl Ambient for Still {
//!     fn now(&mut self) -> i128 {
//!         0
//!     }
//!     fn random(&mut self, buffer: &mut [u8]) {
//!         buffer.fill(4);
//!     }
//! }
//!
//! let mut files = TreeBuilder::default();
//! for (name, text) in [
//!     ("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n"),
//!     ("values.yaml", "replicas: 1\n"),
//!     ("templates/web.yaml", "kind: Web\nspec:\n  replicas: {{ .Values.replicas }}\n"),
//! ] {
//!     files.file(name, File::new(text.as_bytes(), false))?;
//! }
//! let chart = Chart::load(&files.build(), &TreePath::root())?;
//! let mut values = Values::from_yaml("replicas: 2\n")?;
//! values.set("replicas=3")?;
//! let release = Release {
//!     name: "demo".to_owned(),
//!     namespace: "apps".to_owned(),
//!     revision: 1,
//!     is_upgrade: false,
//! };
//! let rendered = render(RenderRequest {
//!     chart: &chart,
//!     values: &values,
//!     release: &release,
//!     capabilities: &Capabilities::default(),
//!     lookup: Arc::new(NoCluster),
//!     ambient: Box::new(Still),
//!     options: Options::default(),
//! })?;
//! assert_eq!(
//!     rendered.template(&Output::default())?,
//!     "---\n# Source: shop/templates/web.yaml\nkind: Web\nspec:\n  replicas: 3\n"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Chart`] is immutable: load it once per digest and share it; its templates, patterns and schema are
//! prepared once. [`render_again`] takes over the output of templates that read nothing which has
//! changed. [`Options::provenance`] notes where everything comes from ([`Provenance`]). [`lint`](lint())
//! looks for what is odd.
//!
//! Read it in this order: `chart.rs` (loading), `values.rs` and `dependencies.rs` (how values and charts
//! come together), `engine.rs` (running the templates), `manifest.rs` (documents, hooks, order),
//! `render.rs` (the whole), `record.rs` and `provenance.rs` (what is noted of it).
//!
//! Invariant: pure. Charts come out of a tree or of bytes, the cluster is a port, clock and
//! randomness are arguments.

mod archive;
mod capabilities;
mod chart;
mod dependencies;
mod engine;
mod error;
mod files;
mod functions;
mod ignore;
mod inflate;
mod lint;
mod manifest;
mod metadata;
mod objects;
mod package;
mod provenance;
mod record;
pub mod release;
mod render;
mod repo;
mod schema;
mod schema_report;
mod strvals;
mod values;
mod yaml_error;

pub use archive::unpack_with;
pub use capabilities::{Capabilities, DEFAULT_KUBE_VERSION, HELM_VERSION, KubeVersion};
pub use chart::{Chart, ChartFile, LoadLimits};
pub use error::{Error, Stage};
pub use functions::{Lookup, NoCluster};
pub use ignore::{Glob, Rules};
pub use inflate::{Inflation, default_values, inflate, release_name};
pub use lint::{Finding, LintRequest, Severity, lint};
pub use manifest::{Hook, Manifest};
pub use metadata::{Dependency, ImportValues, Maintainer, Metadata};
pub use package::{Package, merge_values};
pub use provenance::{Layer, Origin, Provenance, Source, line_in, line_of, place_of};
pub use record::Record;
pub use render::{
    Crd, Options, Output, Release, RenderFailure, RenderRequest, Rendered, check_name, crds, render,
    render_again, render_files,
};
pub use repo::{ChartVersion, Index, newest, sort_versions};
pub use values::Values;

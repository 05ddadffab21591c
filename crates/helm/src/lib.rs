//! Helm charts without Helm: loading, values, dependencies, rendering, hooks and order.
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
mod manifest;
mod metadata;
mod objects;
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

pub use capabilities::{Capabilities, DEFAULT_KUBE_VERSION, HELM_VERSION, KubeVersion};
pub use chart::{Chart, ChartFile, LoadLimits};
pub use error::{Error, Stage};
pub use functions::{Lookup, NoCluster};
pub use ignore::{Glob, Rules};
pub use inflate::{Inflation, default_values, inflate, release_name};
pub use manifest::{Hook, Manifest};
pub use metadata::{Dependency, ImportValues, Maintainer, Metadata};
pub use provenance::{Layer, Origin, Provenance, Source, line_in, line_of};
pub use record::Record;
pub use render::{
    Crd, Options, Output, Release, RenderFailure, RenderRequest, Rendered, check_name, crds, render,
    render_again, render_files,
};
pub use repo::{ChartVersion, Index};
pub use values::Values;

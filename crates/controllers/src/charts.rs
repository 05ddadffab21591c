//! Charts that this process holds, read from their artifacts once and shared by all releases of them.

use std::sync::{Arc, Mutex, PoisonError};

use fluvial_api::meta::Artifact;
use fluvial_helm::{Chart, LoadLimits};
use fluvial_ports::ArtifactError;
use rustc_hash::FxHashMap;

use crate::SourceId;
use crate::context::Context;
use crate::source::port_artifact;

/// The chart of the newest artifact of each source.
#[derive(Default)]
pub struct Charts(Mutex<FxHashMap<SourceId, (String, Arc<Chart>)>>);

impl Charts {
    /// The chart of an artifact, if it is held.
    pub fn get(&self, source: &SourceId, digest: &str) -> Option<Arc<Chart>> {
        let charts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, chart) = charts.get(source)?;
        (held == digest).then(|| Arc::clone(chart))
    }

    fn put(&self, source: SourceId, digest: String, chart: Arc<Chart>) {
        let mut charts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        charts.insert(source, (digest, chart));
    }

    /// Lets go of a source.
    pub fn remove(&self, source: &SourceId) {
        let mut charts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        charts.remove(source);
    }
}

/// The chart that an artifact is: of a HelmChart, or of another source that holds a packed chart.
///
/// # Errors
/// If the artifact cannot be had, or is no chart.
pub async fn chart_of(
    context: &Context,
    source: &SourceId,
    artifact: &Artifact,
) -> Result<Arc<Chart>, ArtifactError> {
    if let Some(chart) = context.charts.get(source, &artifact.digest) {
        return Ok(chart);
    }
    let data = context.artifacts.bytes(&port_artifact(artifact)).await?;
    let broken = |error: &dyn std::fmt::Display| ArtifactError {
        reason: "ArtifactFailed".to_owned(),
        missing: false,
        message: format!(
            "artifact '{}' of {source} cannot be used: {error}",
            artifact.revision
        ),
    };
    let loaded = tokio::task::spawn_blocking(move || Chart::from_archive(&data, LoadLimits::default())).await;
    let chart = loaded
        .map_err(|error| broken(&error))?
        .map_err(|error| broken(&error))?;
    context
        .charts
        .put(source.clone(), artifact.digest.clone(), Arc::clone(&chart));
    Ok(chart)
}

//! What a HelmRelease refers to.

use fluvial_api::HelmRelease;
use fluvial_api::meta::{Condition, Dependency, DependencyKind, KubeConfig};

use super::chart::source_of;
use super::state;
use crate::SourceId;
use crate::deliverer::Deliverer;

impl Deliverer for HelmRelease {
    const DEPENDENCY: DependencyKind = DependencyKind::HelmRelease;

    fn depends_on(&self) -> &[Dependency] {
        &self.spec.depends_on
    }

    fn kube_config(&self) -> Option<&KubeConfig> {
        self.spec.kube_config.as_ref()
    }

    fn service_account(&self) -> Option<&str> {
        self.spec.service_account_name.as_deref()
    }

    fn source(&self) -> Option<SourceId> {
        source_of(self)
    }

    fn reads(&self) -> Vec<(&'static str, &str)> {
        let references = self.spec.values_from.iter();
        references
            .filter_map(|reference| match reference.kind.as_str() {
                "ConfigMap" => Some(("ConfigMap", reference.name.as_str())),
                "Secret" => Some(("Secret", reference.name.as_str())),
                _ => None,
            })
            .collect()
    }

    fn conditions(&self) -> &[Condition] {
        &self.status.conditions
    }

    fn observed_generation(&self) -> i64 {
        self.status.observed_generation
    }

    fn reached(&self) -> (Option<&str>, i64) {
        let version = state::latest(&self.status.history).map_or(0, |snapshot| snapshot.version);
        (None, version)
    }
}

//! What Kustomizations and HelmReleases have in common: objects that deliver other objects to a cluster. They wait for
//! one another, read ConfigMaps and Secrets, act as somebody, perhaps in another cluster, and fail in the same ways.

pub mod depends;
pub mod failure;
pub(crate) mod wakes;

use std::sync::Arc;

use fluvial_api::Resource as Kind;
use fluvial_api::meta::{Condition, Dependency, DependencyKind, KubeConfig};
use fluvial_ports::{Cluster, ClusterError, Resource, Target};

use crate::SourceId;
use crate::context::{Context, Settings};
use crate::remote::{self, RemoteError};

/// What the shared mechanism has to know of an object.
pub(crate) trait Deliverer: Kind + Send + Sync + 'static {
    /// Its kind in `dependsOn`.
    const DEPENDENCY: DependencyKind;

    /// `spec.dependsOn`.
    fn depends_on(&self) -> &[Dependency];
    /// `spec.kubeConfig`.
    fn kube_config(&self) -> Option<&KubeConfig>;
    /// `spec.serviceAccountName`.
    fn service_account(&self) -> Option<&str>;
    /// The source that it names.
    fn source(&self) -> Option<SourceId>;
    /// ConfigMaps and Secrets of its namespace that it reads, besides its kubeconfig: kinds and names.
    fn reads(&self) -> Vec<(&'static str, &str)>;
    /// `status.conditions`.
    fn conditions(&self) -> &[Condition];
    /// `status.observedGeneration`.
    fn observed_generation(&self) -> i64;
    /// How far it has come: another value is news for those whose expressions look at the status.
    fn reached(&self) -> (Option<&str>, i64);
}

/// The service account that an object acts as.
pub(crate) fn account<'o, T: Deliverer>(settings: &'o Settings, object: &'o T) -> Option<&'o str> {
    object
        .service_account()
        .filter(|name| !name.is_empty())
        .or(settings.restrictions(T::KIND).default_service_account.as_deref())
}

/// The cluster that the spec names, as the identity that applies for an object.
pub(crate) async fn cluster_of<T: Deliverer>(
    context: &Context,
    object: &T,
) -> Result<Arc<dyn Cluster>, RemoteError> {
    let namespace = &object.metadata().namespace;
    let cluster = remote::cluster(context, namespace, object.kube_config()).await?;
    Ok(match account(&context.settings, object) {
        Some(name) => cluster.acting_as(&format!("system:serviceaccount:{namespace}:{name}")),
        None => cluster,
    })
}

/// Whether the identity that applied still exists; without it nothing can be deleted.
pub(crate) async fn may_act<T: Deliverer>(context: &Context, object: &T) -> Result<bool, ClusterError> {
    // Whose it is in another cluster is not ours to ask.
    let here = object.kube_config().is_none();
    let Some(name) = account(&context.settings, object).filter(|_| here) else {
        return Ok(true);
    };
    let resource = Resource::core("ServiceAccount");
    let target = Target {
        resource: &resource,
        namespace: &object.metadata().namespace,
        name,
    };
    Ok(context.cluster.get(target).await?.is_some())
}

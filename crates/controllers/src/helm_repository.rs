//! HelmRepository: keeps the index of a chart repository. One of type `oci` only says where a registry is.

use fluvial_api::source::{CloudProvider, HelmRepositoryType, SourceStatus};
use fluvial_api::{Duration, HelmRepository};
use fluvial_ports::{Access, IndexRequest, Provider};

use crate::Key;
use crate::condition::SUCCEEDED;
use crate::context::Context;
use crate::source::step::{Failure, Stored, Verified, told};
use crate::source::{Obtain, SourceReconciler, artifact_name, collect, intact, secrets};

/// Reconciles HelmRepositories.
pub type HelmRepositories = SourceReconciler<HelmRepository, Indexes>;

/// Comes to indexes.
pub struct Indexes;

/// Time limit of a fetch where the spec has none.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// Who vouches, as the ports say it.
pub(crate) fn provider(provider: CloudProvider) -> Provider {
    match provider {
        CloudProvider::Generic => Provider::Generic,
        CloudProvider::Aws => Provider::Aws,
        CloudProvider::Azure => Provider::Azure,
        CloudProvider::Gcp => Provider::Gcp,
    }
}

/// The time limit of a spec.
pub(crate) fn timeout(given: Option<Duration>) -> std::time::Duration {
    given.map_or(TIMEOUT, |timeout| timeout.0)
}

/// The rights to a repository.
pub(crate) async fn access(context: &Context, repository: &HelmRepository) -> Result<Access, Failure> {
    let spec = &repository.spec;
    let namespace = &repository.metadata.namespace;
    Ok(Access {
        credentials: secrets::optional(context, namespace, spec.secret_ref.as_ref(), "spec.secretRef")
            .await?,
        certificates: secrets::optional(
            context,
            namespace,
            spec.cert_secret_ref.as_ref(),
            "spec.certSecretRef",
        )
        .await?,
        pass_credentials: spec.pass_credentials,
        insecure: spec.insecure,
        provider: provider(spec.provider),
        timeout: timeout(spec.timeout),
        ..Access::default()
    })
}

impl Obtain<HelmRepository> for Indexes {
    type Found = Stored<SourceStatus>;

    fn is_static(&self, object: &HelmRepository) -> bool {
        object.spec.r#type == HelmRepositoryType::Oci
    }

    fn doing(&self, object: &HelmRepository) -> String {
        format!("fetching the index of '{}'", object.spec.url)
    }

    async fn obtain(
        &self,
        context: &Context,
        key: &Key,
        object: &HelmRepository,
    ) -> Result<Self::Found, Failure> {
        if object.spec.provider != CloudProvider::Generic {
            return Err(Failure::stalled(
                "InvalidProviderConfiguration",
                "spec.provider is for spec.type: oci; remove it, or make the repository one of type oci",
            ));
        }
        let known = intact(context, object).await;
        let request = IndexRequest {
            url: object.spec.url.clone(),
            access: access(context, object).await?,
            last_revision: known.as_ref().map(|known| known.revision.clone()),
        };
        let found = context.sources.index(request).await?;
        let artifact = match known {
            Some(known) if found.unchanged => known,
            _ => {
                let digest = found.revision.strip_prefix("sha256:").unwrap_or(&found.revision);
                let name = artifact_name::<HelmRepository>(key, format!("index-{digest}.yaml"));
                context
                    .artifacts
                    .put_content(&name, &found.revision, &found.content)
                    .await?
            }
        };
        collect(context, &artifact).await;
        let rewritten = found.rewritten.as_deref();
        let message = format!("stored artifact: revision '{}'", artifact.revision);
        let event = format!(
            "stored fetched index of size {} from '{}'",
            human(found.size),
            object.spec.url
        );
        Ok(Stored {
            artifact,
            metadata: Default::default(),
            observed: Box::new(|_| {}),
            reason: SUCCEEDED,
            message: told(message, rewritten),
            event: ("NewArtifact", told(event, rewritten)),
            verified: Verified::Unasked,
        })
    }
}

/// A size as Go's units package prints it: four digits, powers of a thousand.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        value if value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_are_short() {
        assert_eq!(human(12), "12B");
        assert_eq!(human(40_900), "40.9kB");
        assert_eq!(human(2_343_210), "2.343MB");
    }
}

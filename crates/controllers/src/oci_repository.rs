//! OCIRepository: keeps a layer of an image, unpacked and filtered, or as it is.

use fluvial_api::OCIRepository;
use fluvial_api::source::{CloudProvider, LayerOperation, OCIRepositoryStatus};
use fluvial_ports::{self as ports, Access, Content, ImageFound, ImageReference, ImageRequest, Layer};

use crate::condition::SUCCEEDED;
use crate::context::Context;
use crate::helm_repository::{provider, timeout};
use crate::source::step::{Failure, Stored, told};
use crate::source::{
    Obtain, SourceReconciler, artifact_name, collect, counted, intact, keep_files, secrets, source_id,
    verification,
};
use crate::{Key, condition};

/// Reconciles OCIRepositories.
pub type OciRepositories = SourceReconciler<OCIRepository, Images>;

/// Comes to layers of images.
pub struct Images;

/// Annotation with the revision of what an image was made from.
const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";

impl Obtain<OCIRepository> for Images {
    type Found = Stored<OCIRepositoryStatus>;

    fn doing(&self, object: &OCIRepository) -> String {
        format!("pulling artifact from '{}'", object.spec.url)
    }

    async fn obtain(
        &self,
        context: &Context,
        key: &Key,
        object: &OCIRepository,
    ) -> Result<Self::Found, Failure> {
        let spec = &object.spec;
        let known = match settings_observed(object) {
            true => intact(context, object).await,
            false => None,
        };
        let request = request(context, object, known.as_ref()).await?;
        let asked = request.verify.is_some();
        let mut found = context.sources.image(request).await?;
        let layer = found.layer.take();
        let verified = verification::verified(asked, found.verified.take());
        let (artifact, metadata) = match (known, layer) {
            (Some(known), None) => {
                let metadata = object
                    .status
                    .artifact
                    .as_ref()
                    .map(|artifact| artifact.metadata.clone());
                (known, metadata.unwrap_or_default())
            }
            (None, None) => {
                let text = format!("the artifact of revision '{}' has gone meanwhile", found.revision);
                return Err(Failure::fetch("OCIArtifactPullFailed", text));
            }
            (_, Some(layer)) => (
                store(context, key, object, &found, layer).await?,
                found.annotations.clone(),
            ),
        };
        collect(context, &artifact).await;
        let rewritten = found.rewritten.as_deref();
        let message = format!("stored artifact for digest '{}'", artifact.revision);
        let mut event = format!(
            "stored artifact with revision '{}' from '{}'",
            artifact.revision, spec.url
        );
        if let Some(origin) = metadata.get(ORIGIN_REVISION) {
            event.push_str(&format!(", origin revision '{origin}'"));
        }
        let (ignore, selector) = (spec.ignore.clone(), spec.layer_selector.clone());
        Ok(Stored {
            artifact,
            metadata,
            observed: Box::new(move |status| {
                status.observed_ignore = ignore;
                status.observed_layer_selector = selector;
            }),
            reason: SUCCEEDED,
            message: told(message, rewritten),
            event: ("NewArtifact", told(event, rewritten)),
            verified,
        })
    }
}

/// Whether the artifact was made with the present settings, so that an unchanged revision means an unchanged artifact.
fn settings_observed(object: &OCIRepository) -> bool {
    let (spec, status) = (&object.spec, &object.status);
    let verified = condition::is_true(&status.conditions, "SourceVerified");
    status.observed_ignore == spec.ignore
        && status.observed_layer_selector == spec.layer_selector
        && (spec.verify.is_none() || (verified && status.observed_generation == object.metadata.generation))
}

async fn request(
    context: &Context,
    object: &OCIRepository,
    known: Option<&ports::Artifact>,
) -> Result<ImageRequest, Failure> {
    let spec = &object.spec;
    let namespace = &object.metadata.namespace;
    let account = spec
        .service_account_name
        .as_deref()
        .filter(|name| !name.is_empty());
    let (pull_secrets, identity) = match (account, spec.provider) {
        (Some(name), CloudProvider::Generic) => {
            (secrets::pull_secrets(context, namespace, name).await?, None)
        }
        (account, _) => (Vec::new(), secrets::account(context, namespace, account).await?),
    };
    let secret = |reference, field| secrets::optional(context, namespace, reference, field);
    let access = Access {
        credentials: secret(spec.secret_ref.as_ref(), "spec.secretRef").await?,
        certificates: secret(spec.cert_secret_ref.as_ref(), "spec.certSecretRef").await?,
        proxy: secret(spec.proxy_secret_ref.as_ref(), "spec.proxySecretRef").await?,
        pull_secrets,
        insecure: spec.insecure,
        provider: provider(spec.provider),
        object: format!("{}/{namespace}/{}", OCIRepository::KIND, object.metadata.name),
        account: identity,
        timeout: timeout(spec.timeout),
        ..Access::default()
    };
    let verify = verification::wanted(
        context,
        namespace,
        spec.verify.as_ref().map(Into::into),
        "VerificationError",
    )
    .await?;
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let reference = spec.reference.as_ref();
    let selector = spec.layer_selector.clone().unwrap_or_default();
    Ok(ImageRequest {
        url: spec.url.clone(),
        reference: ImageReference {
            digest: reference.and_then(|reference| given(&reference.digest)),
            semver: reference.and_then(|reference| given(&reference.semver)),
            semver_filter: reference.and_then(|reference| given(&reference.semver_filter)),
            tag: reference.and_then(|reference| given(&reference.tag)),
        },
        media_type: selector.media_type,
        copy: selector.operation == LayerOperation::Copy,
        access,
        verify,
        last_revision: known.map(|known| known.revision.clone()),
    })
}

/// Stores a layer; its files are held for those who build from them.
async fn store(
    context: &Context,
    key: &Key,
    object: &OCIRepository,
    found: &ImageFound,
    layer: Layer,
) -> Result<ports::Artifact, Failure> {
    let digest = found.revision.rsplit('@').next().unwrap_or_default();
    let file = format!("{digest}.tar.gz");
    match layer {
        Layer::Copy(data) => {
            let content = Content::Bytes(data);
            context.revisions.remove(&source_id::<OCIRepository>(key));
            let name = artifact_name::<OCIRepository>(key, file);
            Ok(context
                .artifacts
                .put_content(&name, &found.revision, &content)
                .await?)
        }
        Layer::Files(tree) => {
            let tree = counted(context, &tree, object.spec.ignore.as_deref())?;
            keep_files::<OCIRepository>(context, key, file, &found.revision, tree).await
        }
    }
}

//! Bucket: keeps the files of an object store's bucket.

use fluvial_api::Bucket;
use fluvial_api::source::{BucketProvider, SourceStatus};
use fluvial_ports::{Access, BucketRequest, Provider, TokenService};

use crate::Key;
use crate::condition::SUCCEEDED;
use crate::context::Context;
use crate::helm_repository::timeout;
use crate::source::step::{Failure, Stored, Verified, told};
use crate::source::{Obtain, SourceReconciler, collect, intact, keep_files, secrets};

/// Reconciles Buckets.
pub type Buckets = SourceReconciler<Bucket, Objects>;

/// Comes to the objects of buckets.
pub struct Objects;

impl Obtain<Bucket> for Objects {
    type Found = Stored<SourceStatus>;

    fn doing(&self, object: &Bucket) -> String {
        format!("fetching bucket '{}'", object.spec.bucket_name)
    }

    async fn obtain(&self, context: &Context, key: &Key, object: &Bucket) -> Result<Self::Found, Failure> {
        let spec = &object.spec;
        let known = intact(context, object).await;
        let last_revision = known.as_ref().map(|known| known.revision.clone());
        let request = request(context, object, last_revision).await?;
        let found = context.sources.bucket(request).await?;
        let (artifact, number) = match (known, found.files) {
            (Some(known), None) => (known, 0),
            (None, None) => {
                let text = format!("the artifact of revision '{}' has gone meanwhile", found.revision);
                return Err(Failure::fetch("BucketOperationFailed", text));
            }
            (_, Some(tree)) => {
                let number = tree
                    .iter()
                    .filter(|(_, entry)| matches!(entry, fluvial_tree::Entry::File(_)));
                let number = number.count();
                let digest = found.revision.strip_prefix("sha256:").unwrap_or(&found.revision);
                let file = format!("{digest}.tar.gz");
                let stored = keep_files::<Bucket>(context, key, file, &found.revision, tree).await?;
                (stored, number)
            }
        };
        collect(context, &artifact).await;
        let rewritten = found.rewritten.as_deref();
        let message = format!("stored artifact: revision '{}'", artifact.revision);
        let event = format!(
            "stored artifact with {number} fetched files from '{}' bucket",
            spec.bucket_name
        );
        let ignore = spec.ignore.clone();
        Ok(Stored {
            artifact,
            metadata: Default::default(),
            observed: Box::new(|status| status.observed_ignore = ignore),
            reason: SUCCEEDED,
            message: told(message, rewritten),
            event: ("NewArtifact", told(event, rewritten)),
            verified: Verified::Unasked,
        })
    }
}

async fn request(
    context: &Context,
    object: &Bucket,
    last_revision: Option<String>,
) -> Result<BucketRequest, Failure> {
    let (spec, namespace) = (&object.spec, &object.metadata.namespace);
    let secret = |reference, field| secrets::optional(context, namespace, reference, field);
    let sts = match &spec.sts {
        None => None,
        Some(sts) => Some(TokenService {
            provider: sts.provider.to_string(),
            endpoint: sts.endpoint.clone(),
            credentials: secret(sts.secret_ref.as_ref(), "spec.sts.secretRef").await?,
            certificates: secret(sts.cert_secret_ref.as_ref(), "spec.sts.certSecretRef").await?,
        }),
    };
    let account = spec.service_account_name.as_deref();
    let access = Access {
        credentials: secret(spec.secret_ref.as_ref(), "spec.secretRef").await?,
        certificates: secret(spec.cert_secret_ref.as_ref(), "spec.certSecretRef").await?,
        proxy: secret(spec.proxy_secret_ref.as_ref(), "spec.proxySecretRef").await?,
        insecure: spec.insecure,
        provider: match spec.provider {
            BucketProvider::Generic => Provider::Generic,
            BucketProvider::Aws => Provider::Aws,
            BucketProvider::Azure => Provider::Azure,
            BucketProvider::Gcp => Provider::Gcp,
        },
        object: format!("{}/{namespace}/{}", Bucket::KIND, object.metadata.name),
        account: secrets::account(context, namespace, account).await?,
        timeout: timeout(spec.timeout),
        ..Access::default()
    };
    Ok(BucketRequest {
        bucket: spec.bucket_name.clone(),
        endpoint: spec.endpoint.clone(),
        region: spec.region.clone(),
        prefix: spec.prefix.clone(),
        ignore: spec.ignore.clone(),
        sts,
        access,
        last_revision,
    })
}

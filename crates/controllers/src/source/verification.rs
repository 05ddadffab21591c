//! `spec.verify` of OCIRepositories and HelmCharts: what is trusted is read, and the verdict becomes a condition.

use fluvial_api::meta::LocalReference;
use fluvial_api::source::{ChartVerification, OciVerification, OidcIdentity, SignatureProvider};
use fluvial_ports::{Verdict, Verification};

use super::secrets;
use super::step::{Failure, Part, Verified};
use crate::context::Context;

/// `spec.verify` of either kind.
pub(crate) struct Spec<'a> {
    provider: SignatureProvider,
    keys: Option<&'a LocalReference>,
    identities: &'a [OidcIdentity],
    trusted_root: Option<&'a LocalReference>,
}

impl<'a> From<&'a OciVerification> for Spec<'a> {
    fn from(verify: &'a OciVerification) -> Self {
        Spec {
            provider: verify.provider,
            keys: verify.secret_ref.as_ref(),
            identities: &verify.match_oidc_identity,
            trusted_root: verify.trusted_root_secret_ref.as_ref(),
        }
    }
}

impl<'a> From<&'a ChartVerification> for Spec<'a> {
    fn from(verify: &'a ChartVerification) -> Self {
        Spec {
            provider: verify.provider,
            keys: verify.secret_ref.as_ref(),
            identities: &verify.match_oidc_identity,
            trusted_root: None,
        }
    }
}

/// What is to be verified, with the Secrets that it names. `reason` is the kind's reason for failed checks.
///
/// # Errors
/// If a Secret cannot be read.
pub(crate) async fn wanted(
    context: &Context,
    namespace: &str,
    verify: Option<Spec<'_>>,
    reason: &str,
) -> Result<Option<Verification>, Failure> {
    let Some(verify) = verify else {
        return Ok(None);
    };
    // Nothing was verified, whatever the reason.
    let unverified = |failure: Failure| Failure::new(Part::Verify, failure.class, reason, failure.message);
    let secret = |reference, field| secrets::optional(context, namespace, reference, field);
    let keys = secret(verify.keys, "spec.verify.secretRef")
        .await
        .map_err(unverified)?;
    let trusted_root = secret(verify.trusted_root, "spec.verify.trustedRootSecretRef")
        .await
        .map_err(unverified)?;
    let identities = verify.identities.iter();
    Ok(Some(Verification {
        provider: verify.provider.to_string(),
        keys,
        identities: identities
            .map(|identity| (identity.issuer.clone(), identity.subject.clone()))
            .collect(),
        trusted_root,
    }))
}

/// What the conditions say.
pub(crate) fn verified(asked: bool, verdict: Option<Verdict>) -> Verified {
    match (asked, verdict) {
        (false, _) | (true, Some(Verdict::Ignored)) => Verified::Unasked,
        (true, None) => Verified::Before,
        (true, Some(Verdict::Verified(how))) => Verified::Now(how),
    }
}

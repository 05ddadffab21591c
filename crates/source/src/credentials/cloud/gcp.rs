//! Google Cloud: access tokens for Artifact Registry and Cloud Storage.

use futures::future::BoxFuture;
use serde_json::json;

use super::{Ask, Cloud, Expiring, GitLogin, Request, ServiceAccount, percent, seconds, text_field, until};
use crate::credentials::{Basic, Secret, refuse};
use crate::error::SourceError;

/// The metadata service of virtual machines and clusters.
const METADATA: &str = "http://metadata.google.internal";
/// Where service account tokens are exchanged.
const STS: &str = "https://sts.googleapis.com";
/// Where a Google account's tokens are made on behalf of another identity.
const IAM: &str = "https://iamcredentials.googleapis.com";
/// What a token is good for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The user whose password an access token is.
const REGISTRY_USER: &str = "oauth2accesstoken";
/// The Google account that a service account may act as.
const ACCOUNT: &str = "iam.gke.io/gcp-service-account";
/// The identity provider, for clusters outside of Google Cloud.
const PROVIDER: &str = "gcp.auth.fluxcd.io/workload-identity-provider";

/// Google Cloud's endpoints; unset ones are the real ones.
#[derive(Clone, Debug, Default)]
pub struct Gcp {
    /// The metadata service.
    pub metadata: Option<String>,
    /// Where service account tokens are exchanged.
    pub sts: Option<String>,
    /// Where a Google account's tokens are made.
    pub iam: Option<String>,
}

impl Gcp {
    async fn token(&self, ask: &Ask<'_>) -> Result<Expiring<Secret>, SourceError> {
        match ask.account {
            Some(account) => self.exchanged(ask, account).await,
            None => {
                let what = "Google Cloud's metadata service";
                let path = "/computeMetadata/v1/instance/service-accounts/default/token";
                let answer: serde_json::Value = serde_json::from_str(&self.metadata(ask, path).await?)
                    .map_err(|_| refuse(format!("{what} gave an answer that is no JSON")))?;
                Ok(Expiring {
                    value: Secret::new(text_field(&answer, "access_token", what)?),
                    lifetime: seconds(answer.get("expires_in")),
                })
            }
        }
    }

    async fn metadata(&self, ask: &Ask<'_>, path: &str) -> Result<String, SourceError> {
        let base = self.metadata.as_deref().unwrap_or(METADATA);
        let request = Request::get(format!("{base}{path}")).header("metadata-flavor", "Google");
        let answer = ask.bytes("Google Cloud's metadata service", request).await?;
        Ok(String::from_utf8_lossy(&answer).trim().to_owned())
    }

    /// A service account's token, exchanged for one of Google's.
    async fn exchanged(
        &self,
        ask: &Ask<'_>,
        account: &ServiceAccount,
    ) -> Result<Expiring<Secret>, SourceError> {
        let (audience, own) = match account.annotations.get(PROVIDER) {
            Some(provider) => {
                let audience = format!("//iam.googleapis.com/{}", provider.trim_start_matches('/'));
                (audience.clone(), audience)
            }
            None => {
                let project = self
                    .metadata(ask, "/computeMetadata/v1/project/project-id")
                    .await?;
                let attribute = "/computeMetadata/v1/instance/attributes";
                let location = self
                    .metadata(ask, &format!("{attribute}/cluster-location"))
                    .await?;
                let cluster = self.metadata(ask, &format!("{attribute}/cluster-name")).await?;
                let pool = format!("{project}.svc.id.goog");
                let provider = format!(
                    "identitynamespace:{pool}:https://container.googleapis.com/v1/projects/{project}/locations/{location}/clusters/{cluster}"
                );
                (provider, pool)
            }
        };
        let subject = account.token(&own).await?;
        let body = json!({
            "audience": audience,
            "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
            "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
            "scope": SCOPE,
            "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
            "subjectToken": subject,
        });
        let sts = self.sts.as_deref().unwrap_or(STS);
        let what = "Google's token service";
        let answer = ask
            .json(what, Request::post_json(format!("{sts}/v1/token"), &body))
            .await?;
        let token = Expiring {
            value: Secret::new(text_field(&answer, "access_token", what)?),
            lifetime: seconds(answer.get("expires_in")),
        };
        match account.annotations.get(ACCOUNT) {
            Some(email) => self.acting_as(ask, email, &token.value).await,
            None => Ok(token),
        }
    }

    /// A token of a Google account that the identity may act as.
    async fn acting_as(
        &self,
        ask: &Ask<'_>,
        email: &str,
        token: &Secret,
    ) -> Result<Expiring<Secret>, SourceError> {
        let iam = self.iam.as_deref().unwrap_or(IAM);
        let url = format!(
            "{iam}/v1/projects/-/serviceAccounts/{}:generateAccessToken",
            percent(email)
        );
        let mut request = Request::post_json(url, &json!({"scope": [SCOPE]}));
        request.token = Some(token);
        let what = format!("Google account '{email}'");
        let answer = ask.json(&what, request).await?;
        Ok(Expiring {
            value: Secret::new(text_field(&answer, "accessToken", &what)?),
            lifetime: until(text_field(&answer, "expireTime", &what)?),
        })
    }
}

impl Cloud for Gcp {
    fn name(&self) -> &'static str {
        "gcp"
    }

    fn registry<'a>(
        &'a self,
        ask: &'a Ask<'a>,
        host: &'a str,
    ) -> BoxFuture<'a, Result<Expiring<Basic>, SourceError>> {
        Box::pin(async move {
            if host != "gcr.io" && !host.ends_with(".gcr.io") && !host.ends_with("-docker.pkg.dev") {
                return Err(refuse(format!(
                    "'{host}' is no registry of Google Cloud (REGION-docker.pkg.dev, gcr.io); correct spec.url or \
                     spec.provider"
                )));
            }
            let token = self.token(ask).await?;
            Ok(Expiring {
                value: Basic {
                    username: REGISTRY_USER.to_owned(),
                    password: token.value,
                },
                lifetime: token.lifetime,
            })
        })
    }

    fn git<'a>(
        &'a self,
        _ask: &'a Ask<'a>,
        _url: &'a str,
    ) -> BoxFuture<'a, Result<Expiring<GitLogin>, SourceError>> {
        Box::pin(async {
            Err(SourceError::stalled(
                crate::error::reason::INVALID_PROVIDER_CONFIGURATION,
                "spec.provider 'gcp' has no Git service; use generic with a secret",
            ))
        })
    }

    fn storage<'a>(&'a self, ask: &'a Ask<'a>) -> BoxFuture<'a, Result<Expiring<Secret>, SourceError>> {
        Box::pin(self.token(ask))
    }
}

//! Azure: Microsoft Entra tokens for Azure Container Registry, Azure DevOps and Blob storage.

use futures::future::BoxFuture;

use super::{Ask, Cloud, Expiring, GitLogin, Request, percent, seconds, text_field};
use crate::credentials::{Basic, Secret, refuse};
use crate::error::SourceError;

/// Where service account tokens are exchanged.
const AUTHORITY: &str = "https://login.microsoftonline.com/";
/// Where virtual machines ask for the identity that they have.
const METADATA: &str = "http://169.254.169.254";
/// Whom a service account's token is for.
const AUDIENCE: &str = "api://AzureADTokenExchange";
/// Azure DevOps as a resource.
const DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798";
/// The user whose password a registry's refresh token is.
const REGISTRY_USER: &str = "00000000-0000-0000-0000-000000000000";

/// Azure's endpoints; unset ones are the public cloud's.
#[derive(Clone, Debug, Default)]
pub struct Azure {
    /// Where service account tokens are exchanged.
    pub authority: Option<String>,
    /// The metadata service of virtual machines.
    pub metadata: Option<String>,
    /// The exchange of registries: used in place of `https://HOST`.
    pub registry: Option<String>,
}

impl Azure {
    async fn token(&self, ask: &Ask<'_>, resource: &str) -> Result<Expiring<Secret>, SourceError> {
        let (tenant, client, assertion) = if let Some(account) = ask.account {
            (
                account
                    .annotation("azure.workload.identity/tenant-id")?
                    .to_owned(),
                account
                    .annotation("azure.workload.identity/client-id")?
                    .to_owned(),
                account.token(AUDIENCE).await?,
            )
        } else {
            match (
                ask.variable("AZURE_TENANT_ID"),
                ask.variable("AZURE_CLIENT_ID"),
                ask.file("AZURE_FEDERATED_TOKEN_FILE")?,
            ) {
                (Some(tenant), Some(client), Some(assertion)) => {
                    (tenant.to_owned(), client.to_owned(), assertion)
                }
                (_, client, None) => return self.managed(ask, resource, client).await,
                _ => {
                    return Err(refuse(
                        "AZURE_FEDERATED_TOKEN_FILE is set without AZURE_TENANT_ID and AZURE_CLIENT_ID; set all three \
                         (the workload identity webhook does)",
                    ));
                }
            }
        };
        let authority = self
            .authority
            .as_deref()
            .or_else(|| ask.variable("AZURE_AUTHORITY_HOST"))
            .unwrap_or(AUTHORITY);
        let request = Request::form(
            format!(
                "{}/{}/oauth2/v2.0/token",
                authority.trim_end_matches('/'),
                percent(&tenant)
            ),
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &client),
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", &assertion),
                ("scope", &format!("{resource}/.default")),
            ],
        );
        let what = "Microsoft Entra";
        let answer = ask.json(what, request).await?;
        Ok(Expiring {
            value: Secret::new(text_field(&answer, "access_token", what)?),
            lifetime: seconds(answer.get("expires_in")),
        })
    }

    /// The token of the identity that the machine has.
    async fn managed(
        &self,
        ask: &Ask<'_>,
        resource: &str,
        client: Option<&str>,
    ) -> Result<Expiring<Secret>, SourceError> {
        let mut url = format!(
            "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={}",
            self.metadata.as_deref().unwrap_or(METADATA),
            percent(resource)
        );
        if let Some(client) = client {
            url.push_str(&format!("&client_id={}", percent(client)));
        }
        let what = "Azure's metadata service";
        let answer = ask
            .json(what, Request::get(url).header("metadata", "true"))
            .await?;
        Ok(Expiring {
            value: Secret::new(text_field(&answer, "access_token", what)?),
            lifetime: seconds(answer.get("expires_in")),
        })
    }
}

/// The management service of the cloud that a registry is in.
fn management(host: &str) -> Result<&'static str, SourceError> {
    match host.rsplit_once(".azurecr.").map(|(_, top)| top) {
        Some("io") => Ok("https://management.azure.com"),
        Some("cn") => Ok("https://management.chinacloudapi.cn"),
        Some("us") => Ok("https://management.usgovcloudapi.net"),
        _ => Err(refuse(format!(
            "'{host}' is no Azure Container Registry (NAME.azurecr.io); correct spec.url or spec.provider"
        ))),
    }
}

impl Cloud for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn registry<'a>(
        &'a self,
        ask: &'a Ask<'a>,
        host: &'a str,
    ) -> BoxFuture<'a, Result<Expiring<Basic>, SourceError>> {
        Box::pin(async move {
            let token = self.token(ask, management(host)?).await?;
            let base = self.registry.clone().unwrap_or_else(|| format!("https://{host}"));
            let request = Request::form(
                format!("{base}/oauth2/exchange"),
                &[
                    ("grant_type", "access_token"),
                    ("service", host),
                    ("access_token", &token.value.expose_text()),
                ],
            );
            let what = format!("registry '{host}'");
            let answer = ask.json(&what, request).await?;
            Ok(Expiring {
                value: Basic {
                    username: REGISTRY_USER.to_owned(),
                    password: Secret::new(text_field(&answer, "refresh_token", &what)?),
                },
                lifetime: token.lifetime,
            })
        })
    }

    fn git<'a>(
        &'a self,
        ask: &'a Ask<'a>,
        _url: &'a str,
    ) -> BoxFuture<'a, Result<Expiring<GitLogin>, SourceError>> {
        Box::pin(async move {
            let token = self.token(ask, DEVOPS).await?;
            Ok(Expiring {
                value: GitLogin::Bearer(token.value),
                lifetime: token.lifetime,
            })
        })
    }

    fn storage<'a>(&'a self, ask: &'a Ask<'a>) -> BoxFuture<'a, Result<Expiring<Secret>, SourceError>> {
        Box::pin(self.token(ask, "https://storage.azure.com"))
    }
}

//! How a bucket is signed in to: by the keys of a Secret, by temporary ones of a token service, or with the identity that a
//! cloud gives.

use std::collections::BTreeMap;

use fluvial_ports::{BucketRequest, Provider, TokenService};
use reqwest::Url;

use super::wire::Wire;
use super::{BucketSource, Store, azure, gcs, refuse, s3, xml};
use crate::credentials::cloud::{Ask, AwsKeys, Exchange, ServiceAccount, until};
use crate::credentials::{Basic, Expiring, Proxy, Secret, SecretData, Tls};
use crate::error::{SourceError, reason};
use crate::http::HttpSettings;
use crate::web;

/// Whether the settings of a request fit together.
pub(super) fn validate(request: &BucketRequest) -> Result<(), SourceError> {
    let provider = match request.access.provider {
        Provider::Generic => "generic",
        Provider::Aws => "aws",
        Provider::Azure => "azure",
        Provider::Gcp => "gcp",
    };
    if request.access.account.is_some() && provider == "generic" {
        return Err(SourceError::stalled(
            reason::INVALID_PROVIDER_CONFIGURATION,
            "spec.serviceAccountName is for the providers aws, azure and gcp; remove it or set spec.provider",
        ));
    }
    if request.access.account.is_some() && request.access.credentials.is_some() {
        return Err(SourceError::stalled(
            reason::INVALID_PROVIDER_CONFIGURATION,
            "spec.serviceAccountName and spec.secretRef are both set; keep one of them",
        ));
    }
    let Some(sts) = &request.sts else {
        return Ok(());
    };
    let wrong = |text: String| Err(SourceError::stalled(reason::INVALID_STS_CONFIGURATION, text));
    match (provider, sts.provider.as_str()) {
        ("aws", "aws") if sts.credentials.is_some() => {
            wrong("spec.sts.secretRef is not required for the 'aws' STS provider; remove it".to_owned())
        }
        ("aws", "aws") if sts.certificates.is_some() => {
            wrong("spec.sts.certSecretRef is not required for the 'aws' STS provider; remove it".to_owned())
        }
        ("aws", "aws") | ("generic", "ldap") => match Url::parse(&sts.endpoint) {
            Ok(url) if ["http", "https"].contains(&url.scheme()) => Ok(()),
            _ => Err(SourceError::stalled(
                reason::URL_INVALID,
                format!(
                    "failed to parse STS endpoint '{}': write http:// or https://",
                    sts.endpoint
                ),
            )),
        },
        ("aws" | "generic", sts) => wrong(format!(
            "STS provider '{sts}' is not supported for '{provider}' bucket provider; use aws with provider aws, ldap with \
             provider generic"
        )),
        _ => wrong(format!(
            "STS configuration is not supported for '{provider}' bucket provider; remove spec.sts"
        )),
    }
}

fn text(data: &SecretData, key: &str) -> Option<String> {
    let value = data
        .get(key)
        .map(|value| String::from_utf8_lossy(value).trim().to_owned());
    value.filter(|value| !value.is_empty())
}

/// Keys of a Secret.
fn static_keys(data: &SecretData) -> Result<AwsKeys, SourceError> {
    match (text(data, "accesskey"), text(data, "secretkey")) {
        (Some(id), Some(key)) => Ok(AwsKeys {
            access_key_id: id,
            secret_access_key: Secret::new(key),
            session_token: text(data, "sessiontoken").map(Secret::new),
        }),
        _ => Err(refuse(
            "invalid secret data: required fields 'accesskey' and 'secretkey'; add what is missing",
        )),
    }
}

impl BucketSource {
    /// A way to the bucket, signed in.
    pub(super) async fn store(
        &self,
        request: &BucketRequest,
        account: Option<&ServiceAccount>,
        endpoint: Url,
        bucket: &str,
    ) -> Result<Store, SourceError> {
        let access = &request.access;
        let proxy = access.proxy.as_ref().map(Proxy::from_secret).transpose()?;
        let tls = access
            .certificates
            .as_ref()
            .map(Tls::from_cert_secret)
            .transpose()?;
        let settings = HttpSettings {
            tls: tls.unwrap_or_default(),
            proxy,
        };
        let wire = Wire {
            client: self.0.clients.client(&settings)?,
            deadline: web::deadline(access),
        };
        // The clouds' own services are not behind the store's certificates.
        let outside = HttpSettings {
            tls: Tls::default(),
            proxy: settings.proxy.clone(),
        };
        let ask = Ask {
            account,
            environment: &self.0.environment,
            clients: &self.0.clients,
            settings: &outside,
            deadline: wire.deadline,
        };
        Ok(match access.provider {
            Provider::Gcp => Store::Gcs(gcs::Gcs {
                token: Some(self.gcp_token(request, &ask).await?),
                bucket: bucket.to_owned(),
                wire,
                endpoint,
            }),
            Provider::Azure => Store::Azure(azure::Azure {
                login: self.azure_login(request, &ask, &endpoint).await?,
                container: bucket.to_owned(),
                wire,
                endpoint,
            }),
            Provider::Generic | Provider::Aws => {
                let region = s3::region(request.region.as_deref(), &endpoint);
                Store::S3(s3::S3 {
                    keys: self.s3_keys(request, &ask, &region).await?,
                    bucket: bucket.to_owned(),
                    region,
                    wire,
                    endpoint,
                })
            }
        })
    }

    async fn s3_keys(
        &self,
        request: &BucketRequest,
        ask: &Ask<'_>,
        region: &str,
    ) -> Result<Option<AwsKeys>, SourceError> {
        let access = &request.access;
        if let Some(data) = &access.credentials {
            return static_keys(data).map(Some);
        }
        match (access.provider, &request.sts) {
            (Provider::Aws, sts) => {
                let sts = sts.as_ref().map(|sts| sts.endpoint.as_str());
                let keys = self.0.clouds.aws_keys(&access.object, ask, region, sts);
                keys.await.map(Some)
            }
            (_, Some(sts)) => self.ldap_keys(sts, ask).await.map(Some),
            (_, None) => Ok(None),
        }
    }

    /// Temporary keys for a user of a directory, from a store's own token service.
    async fn ldap_keys(&self, sts: &TokenService, ask: &Ask<'_>) -> Result<AwsKeys, SourceError> {
        let none = BTreeMap::new();
        let data = sts.credentials.as_ref().unwrap_or(&none);
        let Some(basic) = Basic::from_secret(data)? else {
            return Err(refuse(
                "invalid secret data for 'ldap' STS provider: required fields 'username' and 'password'; name a secret with \
                 them in spec.sts.secretRef",
            ));
        };
        let tls = sts.certificates.as_ref().map(Tls::from_cert_secret).transpose()?;
        let settings = HttpSettings {
            tls: tls.unwrap_or_default(),
            proxy: ask.settings.proxy.clone(),
        };
        let password = basic.password.expose_text();
        let mut key =
            <sha2::Sha256 as sha2::Digest>::digest(format!("{} {password}", basic.username)).to_vec();
        key.extend_from_slice(sts.endpoint.as_bytes());
        let key = crate::hex(&key);
        let asking = Ask {
            settings: &settings,
            ..ask.clone()
        };
        let given = async {
            let what = "the store's token service";
            let fields = [
                ("Action", "AssumeRoleWithLDAPIdentity"),
                ("Version", "2011-06-15"),
                ("LDAPUsername", basic.username.as_str()),
                ("LDAPPassword", password.as_str()),
            ];
            let exchange = Exchange {
                what,
                url: &sts.endpoint,
                fields: &fields,
            };
            let answer = asking.answer(&exchange).await?;
            temporary(&answer).ok_or_else(|| refuse(format!("{what} answered without credentials")))
        };
        self.0.ldap.get(&key, given).await
    }

    async fn gcp_token(&self, request: &BucketRequest, ask: &Ask<'_>) -> Result<Secret, SourceError> {
        let access = &request.access;
        match &access.credentials {
            Some(data) => {
                let key = data.get("serviceaccount").ok_or_else(|| {
                    refuse("invalid secret data: required field 'serviceaccount'; put the JSON key of a service account there")
                })?;
                let cached = crate::hex(&<sha2::Sha256 as sha2::Digest>::digest(key));
                self.0.tokens.get(&cached, gcs::token(key, ask)).await
            }
            None => self.0.clouds.storage("gcp", &access.object, ask).await,
        }
    }

    async fn azure_login(
        &self,
        request: &BucketRequest,
        ask: &Ask<'_>,
        endpoint: &Url,
    ) -> Result<azure::Login, SourceError> {
        let access = &request.access;
        let Some(data) = &access.credentials else {
            let token = self.0.clouds.storage("azure", &access.object, ask).await?;
            return Ok(azure::Login::Token(token));
        };
        Ok(match azure::shape(data)? {
            azure::Shape::Key(key) => azure::Login::Key(azure::account(endpoint), key),
            azure::Shape::Sas(sas) => azure::Login::Sas(sas),
            azure::Shape::Application(data) => {
                let all = data.iter().fold(String::new(), |all, (name, value)| {
                    format!("{all}{name}={}\n", crate::hex(value))
                });
                let cached = crate::hex(&<sha2::Sha256 as sha2::Digest>::digest(all));
                azure::Login::Token(self.0.tokens.get(&cached, azure::token(data, ask)).await?)
            }
            azure::Shape::Managed(client) => {
                let environment = BTreeMap::from([("AZURE_CLIENT_ID".to_owned(), client.clone())]);
                let ask = Ask {
                    environment: &environment,
                    ..ask.clone()
                };
                let object = format!("{} {client}", access.object);
                azure::Login::Token(self.0.clouds.storage("azure", &object, &ask).await?)
            }
        })
    }
}

/// The keys of a token service's answer.
fn temporary(answer: &[u8]) -> Option<Expiring<AwsKeys>> {
    let answer = xml::parse(answer).ok()?;
    let keys = answer
        .find("AssumeRoleWithLDAPIdentityResult")?
        .find("Credentials")?;
    let given = |name| Some(keys.child(name)).filter(|text| !text.is_empty());
    Some(Expiring {
        value: AwsKeys {
            access_key_id: given("AccessKeyId")?.to_owned(),
            secret_access_key: Secret::new(given("SecretAccessKey")?),
            session_token: given("SessionToken").map(Secret::new),
        },
        lifetime: until(keys.child("Expiration")),
    })
}

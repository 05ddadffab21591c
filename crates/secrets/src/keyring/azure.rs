//! Azure Key Vault, as an application with a secret or a certificate, as a managed or a federated identity.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fluvial_yaml::yaml_to_json;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Keyring, Part, Refused, http, jwt};

const SERVICE: &str = "Azure Key Vault";
const LOGIN: &str = "Microsoft's identity platform";
const AUTHORITY: &str = "https://login.microsoftonline.com";
const API: &str = "7.4";

/// Who an application is.
pub(super) struct Credentials {
    tenant: String,
    client: String,
    authority: Option<String>,
    proof: Proof,
}

enum Proof {
    Secret(Zeroizing<String>),
    /// PEM blocks of a certificate and its key.
    Certificate {
        pem: Zeroizing<String>,
        chain: bool,
    },
    /// A token that the cluster has issued.
    Federated(String),
    /// The machine's own identity.
    Managed,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Stored {
    tenant_id: String,
    client_id: String,
    client_secret: Zeroizing<String>,
    client_certificate: Zeroizing<String>,
    client_certificate_password: Zeroizing<String>,
    client_certificate_send_chain: bool,
    authority_host: String,
    /// What `az ad sp create-for-rbac` prints.
    app_id: String,
    tenant: String,
    password: Zeroizing<String>,
}

impl Credentials {
    pub(super) fn read(data: &[u8]) -> Result<Self, String> {
        // Files of PowerShell are UTF-16.
        let text = match data {
            [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
            [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
            _ => Zeroizing::new(
                std::str::from_utf8(data)
                    .map_err(|_| "not UTF-8 text")?
                    .to_owned(),
            ),
        };
        let json =
            yaml_to_json(&text, false).map_err(|error| format!("no YAML (line {})", error.pos.line))?;
        let stored: Stored = serde_json::from_value(json)
            .map_err(|_| "a mapping of tenantId, clientId and more is expected")?;
        let either = |one: String, other: String| if one.is_empty() { other } else { one };
        let secret = if stored.client_secret.is_empty() {
            stored.password
        } else {
            stored.client_secret
        };
        let (tenant, client) = (
            either(stored.tenant_id, stored.tenant),
            either(stored.client_id, stored.app_id),
        );
        let proof = if !tenant.is_empty() && !client.is_empty() && !secret.is_empty() {
            Proof::Secret(secret)
        } else if !tenant.is_empty() && !client.is_empty() && !stored.client_certificate.is_empty() {
            if !stored.client_certificate_password.is_empty() {
                return Err(
                    "a certificate with a password is not supported; store its key without one".to_owned(),
                );
            }
            Proof::Certificate {
                pem: stored.client_certificate,
                chain: stored.client_certificate_send_chain,
            }
        } else if !client.is_empty() && tenant.is_empty() {
            Proof::Managed
        } else {
            return Err(
                "invalid data: requires a 'clientId' of a managed identity, or 'tenantId' and 'clientId' with a \
                 'clientSecret' or a 'clientCertificate'"
                    .to_owned(),
            );
        };
        Ok(Self {
            tenant,
            client,
            authority: (!stored.authority_host.is_empty()).then_some(stored.authority_host),
            proof,
        })
    }
}

fn utf16(data: &[u8], read: fn([u8; 2]) -> u16) -> Result<Zeroizing<String>, String> {
    let units: Vec<u16> = data
        .chunks_exact(2)
        .map(|pair| read([pair[0], pair[1]]))
        .collect();
    String::from_utf16(&units)
        .map(Zeroizing::new)
        .map_err(|_| "not UTF-16 text".to_owned())
}

impl Keyring {
    pub(super) async fn open_azure(
        &self,
        vault: &str,
        name: &str,
        version: &str,
        encrypted: &str,
    ) -> Result<Part, Refused> {
        let scope = scope(vault)?;
        let token = self.azure_token(&scope).await?;
        let base = self.endpoints.azure_vault.as_deref().unwrap_or(vault);
        let url = format!(
            "{}/keys/{}/{}/decrypt?api-version={API}",
            base.trim_end_matches('/'),
            http::encode(name),
            http::encode(version)
        );
        let request = self.http.client()?.post(url).bearer_auth(token.as_str());
        let body = json!({"alg": "RSA-OAEP-256", "value": encrypted.trim_end_matches('=')});
        let answer = http::ask(SERVICE, http::with_json(request, &body)).await?;
        URL_SAFE_NO_PAD
            .decode(http::text(&answer, "/value", SERVICE)?)
            .map(Part::new)
            .map_err(|_| format!("the key in the answer of {SERVICE} is not base64").into())
    }

    async fn azure_token(&self, scope: &str) -> Result<Zeroizing<String>, Refused> {
        let own;
        let credentials = match &self.azure {
            Some(credentials) => credentials,
            None => {
                own = self.azure_environment()?;
                &own
            }
        };
        let assertion = match &credentials.proof {
            Proof::Managed => return self.azure_managed(&credentials.client, scope).await,
            Proof::Secret(_) => None,
            Proof::Certificate { pem, chain } => Some(self.assertion(credentials, pem, *chain)?),
            Proof::Federated(path) => {
                let token = self.ambient.file(path)?;
                let token = std::str::from_utf8(&token).map_err(|_| "the federated token is no text")?;
                Some(token.trim().to_owned())
            }
        };
        let mut fields = vec![
            ("grant_type", "client_credentials"),
            ("client_id", credentials.client.as_str()),
            ("scope", scope),
        ];
        match (&credentials.proof, &assertion) {
            (Proof::Secret(secret), _) => fields.push(("client_secret", secret.as_str())),
            (_, Some(assertion)) => fields.extend([
                (
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                ),
                ("client_assertion", assertion.as_str()),
            ]),
            (_, None) => {}
        }
        let request = self.http.client()?.post(self.token_url(credentials));
        let answer = http::ask(LOGIN, http::with_form(request, &fields)).await?;
        http::text(&answer, "/access_token", LOGIN).map(|token| Zeroizing::new(token.to_owned()))
    }

    fn token_url(&self, credentials: &Credentials) -> String {
        let authority = self
            .endpoints
            .azure_authority
            .as_deref()
            .or(credentials.authority.as_deref())
            .or_else(|| self.ambient.variable("AZURE_AUTHORITY_HOST"))
            .unwrap_or(AUTHORITY);
        format!(
            "{}/{}/oauth2/v2.0/token",
            authority.trim_end_matches('/'),
            http::encode(&credentials.tenant)
        )
    }

    /// What says who we are, signed with the certificate's key.
    fn assertion(&self, credentials: &Credentials, pem: &str, chain: bool) -> Result<String, Refused> {
        let certificate =
            jwt::pem(pem, &["CERTIFICATE"]).ok_or("clientCertificate holds no PEM block of a certificate")?;
        let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate);
        let mut header = json!({"alg": "RS256", "typ": "JWT", "x5t": URL_SAFE_NO_PAD.encode(thumbprint)});
        if chain {
            use base64::engine::general_purpose::STANDARD;
            header["x5c"] = json!([STANDARD.encode(&*certificate)]);
        }
        let now = self.now()?.as_second();
        let claims = json!({
            "aud": self.token_url(credentials), "iss": credentials.client, "sub": credentials.client,
            "jti": format!("{now}-{}", credentials.client), "nbf": now - 60, "iat": now, "exp": now + 600,
        });
        jwt::sign(&header, &claims, pem).map_err(Refused::from)
    }

    /// What a pod with a federated identity has been given.
    fn azure_environment(&self) -> Result<Credentials, Refused> {
        let variable = |name| self.ambient.variable(name).map(str::to_owned);
        match (
            variable("AZURE_TENANT_ID"),
            variable("AZURE_CLIENT_ID"),
            variable("AZURE_FEDERATED_TOKEN_FILE"),
        ) {
            (Some(tenant), Some(client), Some(path)) => Ok(Credentials {
                tenant,
                client,
                authority: None,
                proof: Proof::Federated(path),
            }),
            _ => Err("no credentials for Azure Key Vault are at hand: the keys' Secret has no entry 'sops.azure-kv', and \
                 this process has no identity there"
                .into()),
        }
    }

    async fn azure_managed(&self, client: &str, scope: &str) -> Result<Zeroizing<String>, Refused> {
        let base = self
            .endpoints
            .azure_metadata
            .as_deref()
            .unwrap_or("http://169.254.169.254");
        let resource = scope.strip_suffix("/.default").unwrap_or(scope);
        let url = format!(
            "{base}/metadata/identity/oauth2/token?api-version=2018-02-01&client_id={}&resource={}",
            http::encode(client),
            http::encode(resource)
        );
        let request = self.http.client()?.get(url).header("Metadata", "true");
        let answer = http::ask("Azure's metadata server", request).await?;
        http::text(&answer, "/access_token", LOGIN).map(|token| Zeroizing::new(token.to_owned()))
    }
}

/// What a token for a vault is asked for: its cloud's vaults. No token goes to a host that is none of them.
fn scope(vault: &str) -> Result<String, String> {
    const CLOUDS: [&str; 7] = [
        "vault.azure.net",
        "vault.azure.cn",
        "vault.usgovcloudapi.net",
        "vault.microsoftazure.de",
        "managedhsm.azure.net",
        "managedhsm.azure.cn",
        "managedhsm.usgovcloudapi.net",
    ];
    let url =
        reqwest::Url::parse(vault).map_err(|error| format!("'{vault}' is no URL of a vault: {error}"))?;
    let host = url.host_str().unwrap_or_default();
    let cloud = CLOUDS
        .iter()
        .find(|cloud| host.strip_suffix(**cloud).is_some_and(|name| name.ends_with('.')))
        .filter(|_| url.scheme() == "https")
        .ok_or_else(|| format!("'{vault}' is no vault of Azure (https://NAME.vault.azure.net)"))?;
    Ok(format!("https://{cloud}/.default"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_follow_the_cloud_of_the_vault() {
        for (vault, want) in [
            ("https://mine.vault.azure.net", "https://vault.azure.net/.default"),
            ("https://mine.vault.azure.cn", "https://vault.azure.cn/.default"),
            (
                "https://mine.vault.usgovcloudapi.net",
                "https://vault.usgovcloudapi.net/.default",
            ),
            (
                "https://mine.managedhsm.azure.net/",
                "https://managedhsm.azure.net/.default",
            ),
        ] {
            assert_eq!(scope(vault).unwrap(), want);
        }
        for other in [
            "http://mine.vault.azure.net",
            "https://evil.example",
            "https://evilvault.azure.net",
            "https://mine.vault.azure.net.evil.example",
            "nonsense",
        ] {
            assert!(scope(other).is_err(), "{other}");
        }
    }

    #[test]
    fn credentials_of_every_known_shape_are_read() {
        let cases: [(&[u8], bool); 6] = [
            (b"tenantId: t\nclientId: c\nclientSecret: s\n", true),
            (br#"{"appId":"a","tenant":"t","password":"p"}"#, true),
            (b"clientId: c\n", true),
            (b"tenantId: t\nclientId: c\n", false),
            (b"- no\n", false),
            (b"\xFF\xFEc\0l\0i\0e\0n\0t\0I\0d\0:\0 \0c\0", true),
        ];
        for (data, good) in cases {
            assert_eq!(
                Credentials::read(data).is_ok(),
                good,
                "{}",
                String::from_utf8_lossy(data)
            );
        }
    }
}

//! Google Cloud KMS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::{AmbientIdentity, Keyring, Part, Refused, http, jwt};

const SERVICE: &str = "Google Cloud KMS";
const LOGIN: &str = "Google's token service";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A credentials file of Google's tools.
pub(super) enum Credentials {
    ServiceAccount {
        email: String,
        key_id: String,
        key: Zeroizing<String>,
        token_uri: String,
    },
    User {
        id: String,
        secret: Zeroizing<String>,
        refresh: Zeroizing<String>,
        token_uri: String,
    },
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Stored {
    r#type: String,
    client_email: String,
    private_key_id: String,
    private_key: Zeroizing<String>,
    token_uri: String,
    client_id: String,
    client_secret: Zeroizing<String>,
    refresh_token: Zeroizing<String>,
}

impl Credentials {
    pub(super) fn read(data: &[u8]) -> Result<Self, String> {
        // What the parser says may quote the file.
        let stored: Stored =
            serde_json::from_slice(data).map_err(|error| format!("no JSON (line {})", error.line()))?;
        let token_uri = if stored.token_uri.is_empty() {
            "https://oauth2.googleapis.com/token".to_owned()
        } else {
            stored.token_uri
        };
        match stored.r#type.as_str() {
            "service_account" if !stored.client_email.is_empty() && !stored.private_key.is_empty() => {
                Ok(Self::ServiceAccount {
                    email: stored.client_email,
                    key_id: stored.private_key_id,
                    key: stored.private_key,
                    token_uri,
                })
            }
            "authorized_user" if !stored.refresh_token.is_empty() => Ok(Self::User {
                id: stored.client_id,
                secret: stored.client_secret,
                refresh: stored.refresh_token,
                token_uri,
            }),
            "service_account" => Err("client_email or private_key is missing".to_owned()),
            "authorized_user" => Err("refresh_token is missing".to_owned()),
            other => Err(format!(
                "credentials of type '{other}' are not supported; use service_account or authorized_user"
            )),
        }
    }
}

impl Keyring {
    pub(super) async fn open_gcp(&self, resource: &str, encrypted: &str) -> Result<Part, Refused> {
        let plain_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
        if !resource.starts_with("projects/") || resource.contains("..") || !resource.bytes().all(plain_name)
        {
            return Err(format!("'{resource}' is no name of a key of {SERVICE}").into());
        }
        let token = self.gcp_token().await?;
        let base = self
            .endpoints
            .gcp_kms
            .as_deref()
            .unwrap_or("https://cloudkms.googleapis.com");
        let request = self
            .http
            .client()?
            .post(format!("{base}/v1/{resource}:decrypt"))
            .bearer_auth(token.as_str());
        let body = json!({"ciphertext": encrypted});
        let answer = http::ask(SERVICE, http::with_json(request, &body)).await?;
        STANDARD
            .decode(http::text(&answer, "/plaintext", SERVICE)?)
            .map(Part::new)
            .map_err(|_| format!("the key in the answer of {SERVICE} is not base64").into())
    }

    async fn gcp_token(&self) -> Result<Zeroizing<String>, Refused> {
        let own;
        let credentials = match &self.gcp {
            Some(credentials) => Some(credentials),
            None => {
                own = from_environment(&self.ambient)?;
                own.as_ref()
            }
        };
        let client = self.http.client()?;
        let answer = match credentials {
            None => return self.gcp_metadata_token().await,
            Some(Credentials::ServiceAccount {
                email,
                key_id,
                key,
                token_uri,
            }) => {
                let now = self.now()?.as_second();
                let header = json!({"alg": "RS256", "typ": "JWT", "kid": key_id});
                let claims = json!({"iss": email, "scope": SCOPE, "aud": token_uri, "iat": now - 10, "exp": now + 3590});
                let assertion = jwt::sign(&header, &claims, key)?;
                let fields = [
                    ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                    ("assertion", assertion.as_str()),
                ];
                http::ask(LOGIN, http::with_form(client.post(token_uri), &fields)).await?
            }
            Some(Credentials::User {
                id,
                secret,
                refresh,
                token_uri,
            }) => {
                let fields = [
                    ("grant_type", "refresh_token"),
                    ("client_id", id.as_str()),
                    ("client_secret", secret.as_str()),
                    ("refresh_token", refresh.as_str()),
                ];
                http::ask(LOGIN, http::with_form(client.post(token_uri), &fields)).await?
            }
        };
        token(&answer)
    }

    /// The token of the account that the machine, or its workload identity, stands for.
    async fn gcp_metadata_token(&self) -> Result<Zeroizing<String>, Refused> {
        let base = match (
            &self.endpoints.gcp_metadata,
            self.ambient.variable("GCE_METADATA_HOST"),
        ) {
            (Some(base), _) => base.clone(),
            (None, Some(host)) => format!("http://{host}"),
            (None, None) if self.ambient.read.is_some() => "http://metadata.google.internal".to_owned(),
            (None, None) => {
                return Err(
                    "no credentials for Google Cloud KMS are at hand: the keys' Secret has no entry \
                     'sops.gcp-kms', and this process has no identity there"
                        .into(),
                );
            }
        };
        let url = format!("{base}/computeMetadata/v1/instance/service-accounts/default/token");
        let request = self.http.client()?.get(url).header("Metadata-Flavor", "Google");
        token(&http::ask("Google's metadata server", request).await?)
    }
}

fn token(answer: &Json) -> Result<Zeroizing<String>, Refused> {
    http::text(answer, "/access_token", LOGIN).map(|token| Zeroizing::new(token.to_owned()))
}

fn from_environment(ambient: &AmbientIdentity) -> Result<Option<Credentials>, Refused> {
    let Some(path) = ambient.variable("GOOGLE_APPLICATION_CREDENTIALS") else {
        return Ok(None);
    };
    let data = ambient.file(path)?;
    let credentials = Credentials::read(&data)
        .map_err(|error| format!("the file of GOOGLE_APPLICATION_CREDENTIALS cannot be read: {error}"))?;
    Ok(Some(credentials))
}

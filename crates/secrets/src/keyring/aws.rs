//! AWS KMS, with keys of one's own, with those of a pod's role, and with a role that the file names.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fluvial_yaml::yaml_to_json;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Keyring, Part, Refused, http};

const SERVICE: &str = "AWS KMS";
const LOGIN: &str = "AWS STS";

/// An access key.
#[derive(Clone)]
pub(super) struct Credentials {
    id: String,
    secret: Zeroizing<String>,
    session: Option<Zeroizing<String>>,
}

/// What is to be decrypted, and as whom.
pub(super) struct Request<'a> {
    pub(super) arn: &'a str,
    pub(super) role: &'a str,
    pub(super) context: &'a BTreeMap<String, String>,
    pub(super) encrypted: &'a str,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Stored {
    aws_access_key_id: String,
    aws_secret_access_key: Zeroizing<String>,
    aws_session_token: Zeroizing<String>,
}

impl Credentials {
    fn new(id: String, secret: Zeroizing<String>, session: Zeroizing<String>) -> Self {
        Self {
            id,
            secret,
            session: (!session.is_empty()).then_some(session),
        }
    }

    pub(super) fn read(data: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(data).map_err(|_| "not UTF-8 text")?;
        let json = yaml_to_json(text, false).map_err(|error| format!("no YAML (line {})", error.pos.line))?;
        let stored: Stored = serde_json::from_value(json).map_err(
            |_| "a mapping of aws_access_key_id, aws_secret_access_key and aws_session_token is expected",
        )?;
        if stored.aws_access_key_id.is_empty() || stored.aws_secret_access_key.is_empty() {
            return Err("aws_access_key_id or aws_secret_access_key is missing".to_owned());
        }
        Ok(Self::new(
            stored.aws_access_key_id,
            stored.aws_secret_access_key,
            stored.aws_session_token,
        ))
    }
}

impl Keyring {
    pub(super) async fn open_aws(&self, wanted: &Request<'_>) -> Result<Part, Refused> {
        let region = region(wanted.arn)?;
        let mut credentials = self.aws_credentials(region).await?;
        if !wanted.role.is_empty() {
            credentials = self.assume(&credentials, wanted.role, region).await?;
        }
        let endpoint = self
            .endpoints
            .aws_kms
            .clone()
            .unwrap_or_else(|| format!("https://kms.{region}.{}", suffix(region)));
        let mut body = json!({"CiphertextBlob": wanted.encrypted, "KeyId": wanted.arn});
        if !wanted.context.is_empty() {
            body["EncryptionContext"] = json!(wanted.context);
        }
        let call = Call {
            service: "kms",
            region,
            url: &endpoint,
            content_type: "application/x-amz-json-1.1",
            target: Some("TrentService.Decrypt"),
            body: body.to_string(),
        };
        let request = self.signed(&call, &credentials)?;
        let answer = http::ask(SERVICE, request).await?;
        STANDARD
            .decode(http::text(&answer, "/Plaintext", SERVICE)?)
            .map(Part::new)
            .map_err(|_| format!("the key in the answer of {SERVICE} is not base64").into())
    }

    /// Who we are there.
    async fn aws_credentials(&self, region: &str) -> Result<Credentials, Refused> {
        if let Some(own) = &self.aws {
            return Ok(own.clone());
        }
        let variable = |name| self.ambient.variable(name);
        if let (Some(id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
            let session = variable("AWS_SESSION_TOKEN").unwrap_or_default();
            return Ok(Credentials::new(
                id.to_owned(),
                Zeroizing::new(secret.to_owned()),
                Zeroizing::new(session.to_owned()),
            ));
        }
        let (Some(path), Some(role)) = (variable("AWS_WEB_IDENTITY_TOKEN_FILE"), variable("AWS_ROLE_ARN"))
        else {
            return Err("no credentials for AWS KMS are at hand: the keys' Secret has no entry 'sops.aws-kms', and this \
                 process has no role there"
                .into());
        };
        let token = self.ambient.file(path)?;
        let token =
            std::str::from_utf8(&token).map_err(|_| "the file of AWS_WEB_IDENTITY_TOKEN_FILE is no text")?;
        let session = variable("AWS_ROLE_SESSION_NAME").unwrap_or("fluvial");
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", session),
            ("WebIdentityToken", token.trim()),
        ];
        let request = self
            .http
            .client()?
            .post(self.sts(region))
            .header("Accept", "application/json");
        let answer = http::ask(LOGIN, http::with_form(request, &fields)).await?;
        issued(&answer, "AssumeRoleWithWebIdentity")
    }

    /// Takes on the role that a file wants its key to be used with.
    async fn assume(&self, own: &Credentials, role: &str, region: &str) -> Result<Credentials, Refused> {
        let fields = [
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", "sops@fluvial"),
        ];
        let url = self.sts(region);
        let call = Call {
            service: "sts",
            region,
            url: &url,
            content_type: "application/x-www-form-urlencoded",
            target: None,
            body: http::form(&fields),
        };
        let request = self.signed(&call, own)?.header("Accept", "application/json");
        issued(&http::ask(LOGIN, request).await?, "AssumeRole")
    }

    fn sts(&self, region: &str) -> String {
        let own = self.endpoints.aws_sts.clone();
        own.unwrap_or_else(|| format!("https://sts.{region}.{}", suffix(region)))
    }

    /// A request with AWS's signature, version 4.
    fn signed(&self, call: &Call<'_>, credentials: &Credentials) -> Result<reqwest::RequestBuilder, Refused> {
        let now = self.now()?.strftime("%Y%m%dT%H%M%SZ").to_string();
        let url = format!("{}/", call.url.trim_end_matches('/'));
        let parsed = reqwest::Url::parse(&url).map_err(|error| format!("'{url}' is no URL: {error}"))?;
        let host = match (parsed.host_str(), parsed.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(format!("'{url}' has no host").into()),
        };
        let mut headers = vec![
            ("content-type", call.content_type.to_owned()),
            ("host", host),
            ("x-amz-date", now.clone()),
        ];
        if let Some(session) = &credentials.session {
            headers.push(("x-amz-security-token", session.to_string()));
        }
        if let Some(target) = call.target {
            headers.push(("x-amz-target", target.to_owned()));
        }
        let authorization = authorization(call, parsed.path(), &headers, &now, credentials);
        let mut request = self.http.client()?.post(url).body(call.body.clone());
        for (name, value) in headers.into_iter().filter(|(name, _)| *name != "host") {
            request = request.header(name, value);
        }
        Ok(request.header("authorization", authorization))
    }
}

/// A request before it is signed.
struct Call<'a> {
    service: &'a str,
    region: &'a str,
    url: &'a str,
    content_type: &'a str,
    target: Option<&'a str>,
    body: String,
}

/// The header that signs a POST without a query. Headers come sorted by name.
fn authorization(
    call: &Call<'_>,
    path: &str,
    headers: &[(&str, String)],
    now: &str,
    credentials: &Credentials,
) -> String {
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let canonical = format!(
        "POST\n{path}\n\n{lines}\n{names}\n{}",
        hex(&Sha256::digest(&call.body))
    );
    let date = &now[..8];
    let scope = format!("{date}/{}/{}/aws4_request", call.region, call.service);
    let text = format!(
        "AWS4-HMAC-SHA256\n{now}\n{scope}\n{}",
        hex(&Sha256::digest(canonical))
    );
    let secret = Zeroizing::new(format!("AWS4{}", credentials.secret.as_str()));
    let mut key = Zeroizing::new(secret.as_bytes().to_vec());
    for part in [date, call.region, call.service, "aws4_request", &text] {
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
        *key = signature.as_ref().to_vec();
    }
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
        credentials.id,
        hex(&key)
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The region of a key's ARN, which becomes part of a host's name.
fn region(arn: &str) -> Result<&str, Refused> {
    let mut parts = arn.split(':');
    let is_kms = parts.next() == Some("arn") && parts.nth(1) == Some("kms");
    let region = parts.next().unwrap_or_default();
    let plain = region
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_kms && plain && !region.is_empty() {
        Ok(region)
    } else {
        Err(format!("'{arn}' is no ARN of a key of {SERVICE}").into())
    }
}

fn suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

/// The credentials in an answer of STS.
fn issued(answer: &Json, action: &str) -> Result<Credentials, Refused> {
    let field = |name: &str| {
        let pointer = format!("/{action}Response/{action}Result/Credentials/{name}");
        http::text(answer, &pointer, LOGIN).map(str::to_owned)
    };
    Ok(Credentials::new(
        field("AccessKeyId")?,
        Zeroizing::new(field("SecretAccessKey")?),
        Zeroizing::new(field("SessionToken")?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arns_of_keys_have_a_region() {
        assert_eq!(region("arn:aws:kms:eu-west-1:1234:key/ab").unwrap(), "eu-west-1");
        assert_eq!(
            region("arn:aws-cn:kms:cn-north-1:1:alias/a").unwrap(),
            "cn-north-1"
        );
        for arn in [
            "",
            "arn:aws:s3:::bucket",
            "arn:aws:kms::1:key/a",
            "arn:aws:kms:evil.example/:1:key/a",
        ] {
            assert!(region(arn).is_err(), "{arn}");
        }
    }

    #[test]
    fn a_secret_that_is_no_credentials_is_refused_without_being_quoted() {
        let error = Credentials::read(b"aws_access_key_id: AKIDEXAMPLE\n")
            .err()
            .unwrap();
        assert!(error.contains("aws_secret_access_key is missing"), "{error}");
        let error = Credentials::read(b"[topsecret]").err().unwrap();
        assert!(!error.contains("topsecret"), "{error}");
    }

    /// The signature's parts are checked against a second way to compute it: the example of a signing key that AWS
    /// documents.
    #[test]
    fn the_signing_key_is_derived_as_documented() {
        let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        for part in ["20120215", "us-east-1", "iam", "aws4_request"] {
            key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes())
                .as_ref()
                .to_vec();
        }
        assert_eq!(
            hex(&key),
            "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"
        );
    }
}

//! AWS: temporary keys by the usual chain, signed requests, and the logins of ECR and CodeCommit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::Url;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

use super::{Ask, Cloud, DEFAULT_LIFETIME, Expiring, GitLogin, Request, percent, text_field, until};
use crate::credentials::{Basic, Secret, refuse};
use crate::error::{SourceError, reason};

/// Where EC2 machines ask for the role that they have.
const METADATA: &str = "http://169.254.169.254";
/// Where ECS tasks ask for theirs.
const TASKS: &str = "http://169.254.170.2";
/// Whom a service account's token is for.
const AUDIENCE: &str = "sts.amazonaws.com";
/// The role of a service account.
const ROLE: &str = "eks.amazonaws.com/role-arn";
/// Region of the public registry's API.
const PUBLIC_REGION: &str = "us-east-1";
/// How long a signature of a Git URL is used.
const GIT_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// AWS's endpoints; unset ones are those of the region.
#[derive(Clone, Debug, Default)]
pub struct Aws {
    /// The token service.
    pub sts: Option<String>,
    /// The registry service.
    pub ecr: Option<String>,
    /// The metadata service of machines.
    pub metadata: Option<String>,
    /// The credentials service of tasks.
    pub tasks: Option<String>,
}

/// Keys that sign requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKeys {
    /// Which key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// Goes along with temporary keys.
    pub session_token: Option<Secret>,
}

impl Aws {
    /// Temporary keys of the identity: of a service account's role, or of what the program runs as (environment, web
    /// identity, container, machine).
    ///
    /// # Errors
    /// If there is no identity, or AWS refuses.
    pub async fn keys(&self, ask: &Ask<'_>, region: &str) -> Result<Expiring<AwsKeys>, SourceError> {
        if let Some(account) = ask.account {
            let role = account.annotation(ROLE)?;
            let token = account.token(AUDIENCE).await?;
            let name = format!("{}.{}.{region}.fluxcd.io", account.namespace, account.name);
            return self.assume(ask, region, role, &token, &name).await;
        }
        if let (Some(id), Some(key)) = (
            ask.variable("AWS_ACCESS_KEY_ID"),
            ask.variable("AWS_SECRET_ACCESS_KEY"),
        ) {
            return Ok(Expiring {
                value: AwsKeys {
                    access_key_id: id.to_owned(),
                    secret_access_key: Secret::new(key),
                    session_token: ask.variable("AWS_SESSION_TOKEN").map(Secret::new),
                },
                lifetime: DEFAULT_LIFETIME,
            });
        }
        if let (Some(role), Some(token)) = (
            ask.variable("AWS_ROLE_ARN"),
            ask.file("AWS_WEB_IDENTITY_TOKEN_FILE")?,
        ) {
            let name = ask.variable("AWS_ROLE_SESSION_NAME").unwrap_or("fluvial");
            return self.assume(ask, region, role, &token, name).await;
        }
        let full = ask
            .variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")
            .map(str::to_owned);
        let uri = full.or_else(|| {
            let path = ask.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")?;
            Some(format!("{}{path}", self.tasks.as_deref().unwrap_or(TASKS)))
        });
        match uri {
            Some(uri) => {
                let mut request = Request::get(uri);
                let token = match ask.file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")? {
                    Some(token) => Some(token),
                    None => ask
                        .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
                        .map(str::to_owned),
                };
                if let Some(token) = token {
                    request = request.header("authorization", token);
                }
                let what = "the container's credentials service";
                keys_of(&ask.json(what, request).await?, "Token", what)
            }
            None => self.machine(ask).await,
        }
    }

    /// The keys of the machine's role (IMDSv2).
    async fn machine(&self, ask: &Ask<'_>) -> Result<Expiring<AwsKeys>, SourceError> {
        let what = "EC2's metadata service";
        let base = self.metadata.as_deref().unwrap_or(METADATA);
        let mut request = Request::get(format!("{base}/latest/api/token"))
            .header("x-aws-ec2-metadata-token-ttl-seconds", "21600");
        request.put = true;
        let token = ask.bytes(what, request).await?;
        let token = String::from_utf8_lossy(&token).trim().to_owned();
        let header = "x-aws-ec2-metadata-token";
        let path = format!("{base}/latest/meta-data/iam/security-credentials/");
        let role = ask
            .bytes(what, Request::get(&path).header(header, &token))
            .await?;
        let role = String::from_utf8_lossy(&role).trim().to_owned();
        let request = Request::get(format!("{path}{}", percent(&role))).header(header, &token);
        keys_of(&ask.json(what, request).await?, "Token", what)
    }

    /// Exchanges a service account's token for the keys of a role.
    async fn assume(
        &self,
        ask: &Ask<'_>,
        region: &str,
        role: &str,
        token: &str,
        session: &str,
    ) -> Result<Expiring<AwsKeys>, SourceError> {
        let sts = match &self.sts {
            Some(sts) => sts.clone(),
            None => format!("https://sts.{region}.{}", domain(region)),
        };
        let session: String = session.chars().take(64).collect();
        let request = Request::form(
            sts,
            &[
                ("Action", "AssumeRoleWithWebIdentity"),
                ("Version", "2011-06-15"),
                ("RoleArn", role),
                ("RoleSessionName", &session),
                ("WebIdentityToken", token),
            ],
        )
        .header("accept", "application/json");
        let what = "AWS's token service";
        let answer = ask.json(what, request).await?;
        let keys = answer
            .pointer("/AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials")
            .ok_or_else(|| refuse(format!("{what} answered without credentials")))?;
        keys_of(keys, "SessionToken", what)
    }

    async fn login(&self, ask: &Ask<'_>, host: &str) -> Result<Expiring<Basic>, SourceError> {
        let registry = Registry::parse(host)?;
        let keys = self.keys(ask, &registry.region).await?.value;
        let (service, target) = if registry.public {
            ("ecr-public", "SpencerFrontendService.GetAuthorizationToken")
        } else {
            (
                "ecr",
                "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
            )
        };
        let url = match &self.ecr {
            Some(ecr) => ecr.clone(),
            None => format!(
                "https://api.{service}.{}.{}",
                registry.region,
                domain(&registry.region)
            ),
        };
        let signed = SignedRequest {
            method: "POST",
            url: &url,
            service,
            region: &registry.region,
            headers: &[
                ("content-type", "application/x-amz-json-1.1"),
                ("x-amz-target", target),
            ],
            body: b"{}",
        }
        .sign(&keys, Timestamp::now())?;
        let request = Request {
            post: true,
            url,
            headers: signed
                .iter()
                .map(|(name, value)| (name.as_str(), value.clone()))
                .collect(),
            body: Bytes::from_static(b"{}"),
            ..Request::default()
        };
        let what = format!("AWS's registry service for '{host}'");
        let answer = ask.json(&what, request).await?;
        let data = answer.get("authorizationData").unwrap_or(&Value::Null);
        let data = data.get(0).unwrap_or(data);
        let token = STANDARD
            .decode(text_field(data, "authorizationToken", &what)?)
            .ok()
            .and_then(|token| String::from_utf8(token).ok());
        let (username, password) = token
            .as_deref()
            .and_then(|token| token.split_once(':'))
            .ok_or_else(|| refuse(format!("{what} gave a token that is no user and password")))?;
        let lifetime = data
            .get("expiresAt")
            .and_then(Value::as_f64)
            .map_or(DEFAULT_LIFETIME, |time| {
                let left = time - Timestamp::now().as_second() as f64;
                Duration::try_from_secs_f64(left).unwrap_or_default()
            });
        Ok(Expiring {
            value: Basic {
                username: username.to_owned(),
                password: Secret::new(password),
            },
            lifetime,
        })
    }

    /// CodeCommit takes a signature of the repository's URL as the password.
    async fn codecommit(&self, ask: &Ask<'_>, url: &str) -> Result<Expiring<GitLogin>, SourceError> {
        let url = Url::parse(url).map_err(|error| {
            SourceError::stalled(reason::URL_INVALID, format!("invalid Git URL: {error}"))
        })?;
        let host = url.host_str().unwrap_or_default();
        let region = host
            .strip_prefix("git-codecommit.")
            .or_else(|| host.strip_prefix("git-codecommit-fips."))
            .and_then(|rest| rest.split_once(".amazonaws.com"))
            .map(|(region, _)| region)
            .ok_or_else(|| {
                SourceError::stalled(
                    reason::URL_INVALID,
                    format!(
                        "'{host}' is no CodeCommit server; write spec.url as \
                         https://git-codecommit.REGION.amazonaws.com/v1/repos/NAME"
                    ),
                )
            })?;
        let Expiring {
            value: keys,
            lifetime,
        } = self.keys(ask, region).await?;
        let (username, password) = codecommit_login(&keys, host, url.path(), region, Timestamp::now())?;
        Ok(Expiring {
            value: GitLogin::Basic(Basic {
                username,
                password: Secret::new(password),
            }),
            lifetime: lifetime.min(GIT_LIFETIME),
        })
    }
}

/// User and password for a CodeCommit repository at a time.
fn codecommit_login(
    keys: &AwsKeys,
    host: &str,
    path: &str,
    region: &str,
    now: Timestamp,
) -> Result<(String, String), SourceError> {
    let time = now.strftime("%Y%m%dT%H%M%S").to_string();
    let canonical = format!("GIT\n{path}\n\nhost:{host}\n\nhost\n");
    let scope = format!("{}/{region}/codecommit/aws4_request", &time[..8]);
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex(&Sha256::digest(canonical))
    );
    let signature = signature(keys, &time[..8], region, "codecommit", &text)?;
    let username = match &keys.session_token {
        Some(token) => format!("{}%{}", keys.access_key_id, token.expose_text()),
        None => keys.access_key_id.clone(),
    };
    Ok((username, format!("{time}Z{signature}")))
}

fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

fn keys_of(answer: &Value, token: &str, what: &str) -> Result<Expiring<AwsKeys>, SourceError> {
    let lifetime = match answer.get("Expiration") {
        Some(Value::String(time)) => until(time),
        // STS writes seconds since 1970 in JSON.
        Some(Value::Number(time)) => time
            .as_f64()
            .and_then(|time| Duration::try_from_secs_f64(time - Timestamp::now().as_second() as f64).ok())
            .unwrap_or_default(),
        _ => DEFAULT_LIFETIME,
    };
    Ok(Expiring {
        value: AwsKeys {
            access_key_id: text_field(answer, "AccessKeyId", what)?.to_owned(),
            secret_access_key: Secret::new(text_field(answer, "SecretAccessKey", what)?),
            session_token: Some(Secret::new(text_field(answer, token, what)?)),
        },
        lifetime,
    })
}

/// A registry of ECR by its host name.
#[derive(Debug, PartialEq, Eq)]
struct Registry {
    region: String,
    public: bool,
}

impl Registry {
    /// `ACCOUNT.dkr.ecr.REGION.amazonaws.com`, its FIPS and dual-stack forms, or `public.ecr.aws`.
    fn parse(host: &str) -> Result<Self, SourceError> {
        if host == "public.ecr.aws" {
            return Ok(Registry {
                region: PUBLIC_REGION.to_owned(),
                public: true,
            });
        }
        let host = host.to_ascii_lowercase();
        let rest = host
            .split_once('.')
            .filter(|(account, _)| account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()));
        let region = rest.and_then(|(_, rest)| {
            ["dkr.ecr.", "dkr.ecr-fips.", "dkr-ecr.", "dkr-ecr-fips."]
                .iter()
                .find_map(|prefix| rest.strip_prefix(prefix))
                .and_then(|rest| rest.split_once('.'))
                .filter(|(_, top)| {
                    [
                        "amazonaws.com",
                        "amazonaws.com.cn",
                        "on.aws",
                        "on.amazonwebservices.com.cn",
                    ]
                    .contains(top)
                })
                .map(|(region, _)| region.to_owned())
        });
        region.map(|region| Registry { region, public: false }).ok_or_else(|| {
            refuse(format!(
                "'{host}' is no registry of AWS (ACCOUNT.dkr.ecr.REGION.amazonaws.com, public.ecr.aws); correct \
                 spec.url or spec.provider"
            ))
        })
    }
}

/// A request to be signed (Signature Version 4).
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Whole URL; its query must be in canonical form.
    pub url: &'a str,
    /// Service that it is for.
    pub service: &'a str,
    /// Region that it is for.
    pub region: &'a str,
    /// Headers that are signed, with lower-case names.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body.
    pub body: &'a [u8],
}

impl SignedRequest<'_> {
    /// All headers to send but `host`.
    ///
    /// # Errors
    /// If the URL is none.
    pub fn sign(&self, keys: &AwsKeys, now: Timestamp) -> Result<Vec<(String, String)>, SourceError> {
        let url = Url::parse(self.url)
            .map_err(|error| refuse(format!("AWS endpoint '{}' is no URL: {error}", self.url)))?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut headers: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.trim().to_owned()))
            .collect();
        headers.push(("x-amz-date".to_owned(), time.clone()));
        if let Some(token) = &keys.session_token {
            headers.push(("x-amz-security-token".to_owned(), token.expose_text()));
        }
        let mut signed = headers.clone();
        signed.push(("host".to_owned(), host));
        signed.sort();
        let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(";");
        let lines: String = signed
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{}",
            self.method,
            url.path(),
            url.query().unwrap_or_default(),
            hex(&Sha256::digest(self.body))
        );
        let scope = format!("{}/{}/{}/aws4_request", &time[..8], self.region, self.service);
        let text = format!(
            "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
            hex(&Sha256::digest(canonical))
        );
        let signature = signature(keys, &time[..8], self.region, self.service, &text)?;
        headers.push((
            "authorization".to_owned(),
            format!(
                "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
                keys.access_key_id
            ),
        ));
        Ok(headers)
    }
}

fn signature(
    keys: &AwsKeys,
    date: &str,
    region: &str,
    service: &str,
    text: &str,
) -> Result<String, SourceError> {
    let mut key = [b"AWS4", keys.secret_access_key.expose()].concat();
    for part in [date, region, service, "aws4_request", text] {
        let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| refuse("the AWS key cannot sign"))?;
        key = mac.chain_update(part.as_bytes()).finalize().into_bytes().to_vec();
    }
    Ok(hex(&key))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing into a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

impl Cloud for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn registry<'a>(
        &'a self,
        ask: &'a Ask<'a>,
        host: &'a str,
    ) -> BoxFuture<'a, Result<Expiring<Basic>, SourceError>> {
        Box::pin(self.login(ask, host))
    }

    fn git<'a>(
        &'a self,
        ask: &'a Ask<'a>,
        url: &'a str,
    ) -> BoxFuture<'a, Result<Expiring<GitLogin>, SourceError>> {
        Box::pin(self.codecommit(ask, url))
    }

    fn storage<'a>(&'a self, _ask: &'a Ask<'a>) -> BoxFuture<'a, Result<Expiring<Secret>, SourceError>> {
        Box::pin(async {
            Err(SourceError::stalled(
                reason::INVALID_PROVIDER_CONFIGURATION,
                "AWS's storage takes signed requests, not tokens",
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published example keys.
    fn keys() -> AwsKeys {
        AwsKeys {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
        }
    }

    #[test]
    fn signatures_are_those_of_the_published_suite() {
        // "get-vanilla" and "post-vanilla" of AWS's test suite for Signature Version 4.
        let now: Timestamp = "2015-08-30T12:36:00Z".parse().unwrap();
        for (method, wanted) in [
            (
                "GET",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
        ] {
            let request = SignedRequest {
                method,
                url: "https://example.amazonaws.com/",
                service: "service",
                region: "us-east-1",
                headers: &[],
                body: b"",
            };
            let headers = request.sign(&keys(), now).unwrap();
            let (_, value) = headers.last().unwrap();
            assert!(value.ends_with(&format!("Signature={wanted}")), "{value}");
        }
    }

    #[test]
    fn registries_are_known_by_their_names() {
        let region = |host: &str| Registry::parse(host).map(|registry| registry.region);
        assert_eq!(
            region("012345678901.dkr.ecr.eu-west-1.amazonaws.com").unwrap(),
            "eu-west-1"
        );
        assert_eq!(
            region("012345678901.dkr.ecr.cn-north-1.amazonaws.com.cn").unwrap(),
            "cn-north-1"
        );
        assert_eq!(
            region("012345678901.dkr-ecr.us-west-2.on.aws").unwrap(),
            "us-west-2"
        );
        assert!(Registry::parse("public.ecr.aws").unwrap().public);
        for wrong in [
            "ghcr.io",
            "1.dkr.ecr.x.amazonaws.com",
            "012345678901.dkr.ecr.x.amazonaws.com.evil.example",
        ] {
            assert!(Registry::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn codecommit_logins_carry_time_signature_and_session() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut keys = keys();
        let (user, password) = codecommit_login(&keys, "h", "/v1/repos/x", "eu-west-1", now).unwrap();
        assert_eq!(user, "AKIDEXAMPLE");
        assert!(password.starts_with("20260102T030405Z") && password.len() == 16 + 64);
        keys.session_token = Some(Secret::new("s/1"));
        assert_eq!(
            codecommit_login(&keys, "h", "/", "eu-west-1", now).unwrap().0,
            "AKIDEXAMPLE%s/1"
        );
    }
}

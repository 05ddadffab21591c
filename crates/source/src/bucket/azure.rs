//! Azure Blob Storage.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::wire::{Answer, Failure, MAX_PAGE, Wire, percent, query};
use super::{Listed, Page, refuse, xml};
use crate::credentials::cloud::{Ask, Exchange};
use crate::credentials::{Expiring, Secret, SecretData, jwt};
use crate::error::SourceError;

/// Version of the interface.
const VERSION: &str = "2021-08-06";
/// Storage as a resource.
const SCOPE: &str = "https://storage.azure.com/.default";
/// Where applications sign in, unless the secret says.
const AUTHORITY: &str = "https://login.microsoftonline.com/";
/// How long an application's own token is good.
const LIFETIME: Duration = Duration::from_secs(600);

/// What goes along with requests.
#[derive(Clone, Debug)]
pub(super) enum Login {
    /// The account's name and key.
    Key(String, Secret),
    /// A shared access signature, as a query.
    Sas(Secret),
    /// An access token.
    Token(Secret),
}

/// A container.
#[derive(Clone, Debug)]
pub(super) struct Azure {
    pub(super) wire: Wire,
    pub(super) endpoint: Url,
    pub(super) container: String,
    pub(super) login: Login,
}

impl Azure {
    async fn get(&self, path: &str, pairs: &[(&str, &str)], most: u64) -> Result<Answer, Failure> {
        let mut url = self.endpoint.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{}{path}", percent(&self.container, false)));
        let mut text = query(pairs);
        if let Login::Sas(sas) = &self.login {
            let sas = sas.expose_text();
            let sas = sas.trim().trim_start_matches('?');
            text = if text.is_empty() {
                sas.to_owned()
            } else {
                format!("{text}&{sas}")
            };
        }
        url.set_query((!text.is_empty()).then_some(&text));
        let date = Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let mut headers = vec![
            ("x-ms-date".to_owned(), date),
            ("x-ms-version".to_owned(), VERSION.to_owned()),
        ];
        match &self.login {
            Login::Sas(_) => {}
            Login::Token(token) => {
                headers.push((
                    "authorization".to_owned(),
                    format!("Bearer {}", token.expose_text()),
                ));
            }
            Login::Key(account, key) => {
                let signature = shared_key(account, key, url.path(), pairs, &headers)?;
                headers.push((
                    "authorization".to_owned(),
                    format!("SharedKey {account}:{signature}"),
                ));
            }
        }
        self.wire.get(url, &headers, most).await
    }

    /// One page of the listing.
    pub(super) async fn page(&self, prefix: &str, next: Option<&str>) -> Result<Page, Failure> {
        let mut pairs = vec![("restype", "container"), ("comp", "list")];
        if !prefix.is_empty() {
            pairs.push(("prefix", prefix));
        }
        if let Some(next) = next {
            pairs.push(("marker", next));
        }
        page_of(&self.get("", &pairs, MAX_PAGE).await?.body)
    }

    /// An object with its etag.
    pub(super) async fn object(&self, key: &str, most: u64) -> Result<Answer, Failure> {
        self.get(&format!("/{}", percent(key, true)), &[], most).await
    }
}

/// The signature of a GET request with an account's key.
fn shared_key(
    account: &str,
    key: &Secret,
    path: &str,
    pairs: &[(&str, &str)],
    headers: &[(String, String)],
) -> Result<String, SourceError> {
    let invalid = || refuse("'accountKey' of the secret is no base64; copy the account's key again");
    let key = STANDARD.decode(key.expose_text().trim()).map_err(|_| invalid())?;
    let mut text = format!("GET{}", "\n".repeat(12));
    for (name, value) in headers {
        text.push_str(&format!("{name}:{value}\n"));
    }
    text.push_str(&format!("/{account}{path}"));
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    for (name, value) in pairs {
        text.push_str(&format!("\n{name}:{value}"));
    }
    let mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| invalid())?;
    Ok(STANDARD.encode(mac.chain_update(text.as_bytes()).finalize().into_bytes()))
}

fn page_of(body: &[u8]) -> Result<Page, Failure> {
    let list = xml::parse(body).map_err(Failure::Answer)?;
    let Some(blobs) = list.find("Blobs") else {
        return Err(Failure::Answer(format!("it is a '{}'", list.name)));
    };
    let none = xml::Element::default();
    let objects = blobs.all("Blob").map(|blob| {
        let properties = blob.find("Properties").unwrap_or(&none);
        Listed {
            key: blob.child("Name").to_owned(),
            etag: properties.child("Etag").trim_matches('"').to_owned(),
            size: properties.child("Content-Length").parse().unwrap_or_default(),
        }
    });
    let next = list.child("NextMarker");
    Ok(Page {
        objects: objects.collect(),
        next: (!next.is_empty()).then(|| next.to_owned()),
    })
}

/// The account of an endpoint: the first part of its host name, or of its path where the host is a number (an emulator).
pub(super) fn account(endpoint: &Url) -> String {
    let first_of = |text: &str, by: char| text.split(by).next().unwrap_or_default().to_owned();
    match endpoint.host_str() {
        Some(host) if host.contains(|byte: char| byte.is_ascii_alphabetic()) && host.contains('.') => {
            first_of(host, '.')
        }
        _ => first_of(endpoint.path().trim_start_matches('/'), '/'),
    }
}

/// Which way to sign in a secret holds.
pub(super) enum Shape<'a> {
    /// The account's key.
    Key(Secret),
    /// A shared access signature.
    Sas(Secret),
    /// An application: tenant, client, and what proves it.
    Application(&'a SecretData),
    /// The identity of the machine with this client id.
    Managed(String),
}

/// Reads a secret.
pub(super) fn shape(data: &SecretData) -> Result<Shape<'_>, SourceError> {
    let text = |key: &str| {
        data.get(key)
            .map(|value| String::from_utf8_lossy(value).trim().to_owned())
    };
    let has = |key: &str| data.contains_key(key);
    if has("tenantId") && has("clientId") && (has("clientSecret") || has("clientCertificate")) {
        return Ok(Shape::Application(data));
    }
    match (text("accountKey"), text("sasKey"), text("clientId")) {
        (Some(key), _, _) => Ok(Shape::Key(Secret::new(key))),
        (_, Some(sas), _) => Ok(Shape::Sas(Secret::new(sas))),
        (_, _, Some(client)) => Ok(Shape::Managed(client)),
        _ => Err(refuse(
            "the secret has no credentials for Azure; add 'accountKey', 'sasKey', 'clientId', or 'tenantId', 'clientId' \
             and 'clientSecret' or 'clientCertificate'",
        )),
    }
}

/// A token for an application.
pub(super) async fn token(data: &SecretData, ask: &Ask<'_>) -> Result<Expiring<Secret>, SourceError> {
    let text = |key: &str| {
        let value = data
            .get(key)
            .map(|value| String::from_utf8_lossy(value).trim().to_owned());
        value.filter(|value| !value.is_empty())
    };
    let authority = text("authorityHost").unwrap_or_else(|| AUTHORITY.to_owned());
    let (tenant, client) = (
        text("tenantId").unwrap_or_default(),
        text("clientId").unwrap_or_default(),
    );
    let url = format!(
        "{}/{}/oauth2/v2.0/token",
        authority.trim_end_matches('/'),
        percent(&tenant, false)
    );
    let mut fields = vec![
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", client.clone()),
        ("scope", SCOPE.to_owned()),
    ];
    match text("clientSecret") {
        Some(secret) => fields.push(("client_secret", secret)),
        None => {
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            fields.push(("client_assertion_type", kind.to_owned()));
            fields.push(("client_assertion", assertion(data, &client, &url)?));
        }
    }
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    ask.exchange(&Exchange {
        what: "Microsoft Entra",
        url: &url,
        fields: &fields,
    })
    .await
}

/// What an application shows in place of a secret: a token signed with its certificate's key.
fn assertion(data: &SecretData, client: &str, audience: &str) -> Result<String, SourceError> {
    const WHAT: &str = "'clientCertificate' of the secret";
    let invalid = |why: &str| {
        refuse(format!(
            "{WHAT} {why}; put the certificate and its unencrypted key there, both as PEM"
        ))
    };
    if data
        .get("clientCertificatePassword")
        .is_some_and(|password| !password.is_empty())
    {
        return Err(invalid("has a password, which is not supported"));
    }
    let pem = data
        .get("clientCertificate")
        .map(Vec::as_slice)
        .unwrap_or_default();
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|_| invalid("is no PEM"))?;
    let first = certificates
        .first()
        .ok_or_else(|| invalid("holds no certificate"))?;
    let mut header = json!({ "x5t": URL_SAFE_NO_PAD.encode(Sha1::digest(first)) });
    if data
        .get("clientCertificateSendChain")
        .is_some_and(|value| value == b"1" || value == b"true")
    {
        let chain = certificates
            .iter()
            .map(|certificate| STANDARD.encode(certificate));
        header["x5c"] = chain.collect::<Vec<_>>().into();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = json!({
        "aud": audience, "iss": client, "sub": client,
        "jti": URL_SAFE_NO_PAD.encode(now.as_nanos().to_be_bytes()),
        "nbf": now.as_secs(), "exp": (now + LIFETIME).as_secs(),
    });
    jwt::rs256(header, &claims, pem, WHAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_named_by_host_or_path() {
        for (endpoint, expected) in [
            ("https://acme.blob.core.windows.net", "acme"),
            ("http://127.0.0.1:10000/devstoreaccount1", "devstoreaccount1"),
            ("http://localhost:10000/dev/", "dev"),
        ] {
            assert_eq!(account(&Url::parse(endpoint).unwrap()), expected);
        }
    }

    #[test]
    fn a_page_has_names_and_etags() {
        let page = page_of(
            b"<EnumerationResults><Blobs><Blob><Name>a/b</Name><Properties><Etag>0x8D</Etag>\
              <Content-Length>3</Content-Length></Properties></Blob></Blobs><NextMarker/></EnumerationResults>",
        )
        .unwrap();
        let object = &page.objects[0];
        assert_eq!(
            (object.key.as_str(), object.etag.as_str(), object.size),
            ("a/b", "0x8D", 3)
        );
        assert!(page.next.is_none());
    }

    #[test]
    fn each_shape_of_a_secret_is_known() {
        let data = |keys: &[&str]| -> SecretData {
            keys.iter()
                .map(|key| ((*key).to_owned(), b"x".to_vec()))
                .collect()
        };
        assert!(matches!(shape(&data(&["accountKey"])), Ok(Shape::Key(_))));
        assert!(matches!(shape(&data(&["sasKey"])), Ok(Shape::Sas(_))));
        assert!(matches!(shape(&data(&["clientId"])), Ok(Shape::Managed(_))));
        let application = data(&["tenantId", "clientId", "clientSecret"]);
        assert!(matches!(shape(&application), Ok(Shape::Application(_))));
        assert!(shape(&data(&["accesskey"])).is_err());
        let error = assertion(&data(&["clientCertificate"]), "c", "a").unwrap_err();
        assert!(error.message.contains("holds no certificate"), "{error}");
    }

    #[test]
    fn a_shared_key_signs_path_query_and_headers() {
        let key = Secret::new(STANDARD.encode("key"));
        let headers = [("x-ms-date".to_owned(), "now".to_owned())];
        let sign = |path: &str, pairs: &[(&str, &str)]| shared_key("a", &key, path, pairs, &headers).unwrap();
        let signed = sign("/c", &[("restype", "container"), ("comp", "list")]);
        assert_eq!(signed, sign("/c", &[("comp", "list"), ("restype", "container")]));
        assert_ne!(
            signed,
            sign("/c/d", &[("comp", "list"), ("restype", "container")])
        );
        assert!(shared_key("a", &Secret::new("?"), "/c", &[], &headers).is_err());
    }
}

//! One repository of a registry over HTTP: signing in as the registry asks for it, manifests, blobs, tags.

use std::time::Instant;

use bytes::Bytes;
use fluvial_ports::Access;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LINK, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use sha2::{Digest as _, Sha256, Sha512};

use super::manifest::{Descriptor, Manifest};
use super::{OCI_ARTIFACT_PULL_FAILED, pull_failed};
use crate::credentials::{Basic, DockerConfig, Secret};
use crate::error::{SourceError, reason};
use crate::git::redact;
use crate::http::{HttpAuth, HttpClients, HttpError, HttpSession, HttpSettings};
use crate::limits::human;
use crate::web;

/// Longest manifest, list of tags or token.
const LARGEST_ANSWER: u64 = 8 << 20;
/// Most pages of tags.
const PAGES: usize = 1000;
/// What manifests may be.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// What lists of referrers are.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest as it was served.
pub(crate) struct RawManifest {
    pub(crate) digest: String,
    /// What the registry calls it.
    pub(crate) media_type: String,
    pub(crate) data: Vec<u8>,
}

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Host with port, as it was written.
    pub(crate) host: String,
    /// Path of the repository.
    pub(crate) path: String,
}

/// How to sign in.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    Basic(Basic),
    /// A refresh token for the token server.
    Identity(Secret),
    /// A token for the registry.
    Registry(Secret),
}

/// A repository that was signed in to.
pub(crate) struct Repository {
    place: Place,
    base: Url,
    session: HttpSession,
}

impl Place {
    /// Reads `oci://HOST/PATH`.
    pub(crate) fn parse(url: &str) -> Result<Self, SourceError> {
        let invalid = |why: &str| {
            SourceError::stalled(
                reason::URL_INVALID,
                format!("URL '{}' {why}; write oci://HOST/REPOSITORY", redact(url)),
            )
        };
        let rest = url
            .strip_prefix("oci://")
            .ok_or_else(|| invalid("does not begin with oci://"))?;
        let (host, path) = rest
            .split_once('/')
            .ok_or_else(|| invalid("names no repository"))?;
        let path = path.trim_matches('/');
        if host.is_empty() || path.is_empty() {
            return Err(invalid("names no host or no repository"));
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let last = path.rsplit('/').next().unwrap_or_default();
        if last.contains([':', '@']) {
            return Err(invalid("names a tag or digest, which belong into spec.ref"));
        }
        if !path.chars().all(plain)
            || path
                .split('/')
                .any(|part| part.is_empty() || part.starts_with('.'))
        {
            return Err(invalid(
                "has a repository with other signs than a-z, 0-9, '.', '_', '-' and '/'",
            ));
        }
        if host.contains('@') {
            return Err(invalid("has credentials in it, which belong into a Secret"));
        }
        let path = match host {
            "docker.io" | "index.docker.io" if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        };
        Ok(Place {
            host: host.to_owned(),
            path,
        })
    }

    /// Host and path.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    fn server(&self) -> &str {
        match self.host.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            host => host,
        }
    }

    fn is_local(&self) -> bool {
        let host = self
            .host
            .rsplit_once(':')
            .map_or(self.host.as_str(), |(host, _)| host);
        host == "localhost" || host.starts_with("127.") || host == "[::1]"
    }
}

/// The login of an access for a repository: user and password, or a docker configuration.
pub(crate) fn login(access: &Access, place: &Place) -> Result<Option<Login>, SourceError> {
    let mut config = DockerConfig::default();
    if let Some(data) = &access.credentials {
        if let Some(basic) = Basic::from_secret(data)? {
            return Ok(Some(Login::Basic(basic)));
        }
        if data.contains_key(".dockerconfigjson") || data.contains_key(".dockercfg") {
            config = DockerConfig::from_secret(data)?;
        } else if crate::credentials::Tls::from_secret(data)?.ca.is_none() {
            // Neither a login nor certificates: the text says which keys are wanted.
            config = DockerConfig::from_secret(data)?;
        }
    }
    for data in &access.pull_secrets {
        config.add(DockerConfig::from_secret(data)?);
    }
    Ok(config.login(&place.name()).map(|login| match login {
        crate::credentials::Login::Basic(basic) => Login::Basic(basic.clone()),
        crate::credentials::Login::Identity(token) => Login::Identity(token.clone()),
        crate::credentials::Login::Registry(token) => Login::Registry(token.clone()),
    }))
}

/// What a registry answers to nobody.
struct Challenge {
    base: Url,
    /// Header of a refusal; nothing if everybody may read.
    wanted: Option<String>,
}

impl Repository {
    /// Finds the registry and signs in, with the right to write if that is wanted.
    pub(crate) async fn open(
        clients: &HttpClients,
        place: Place,
        login: Option<Login>,
        settings: HttpSettings,
        access: &Access,
        write: bool,
    ) -> Result<Self, SourceError> {
        let deadline = web::deadline(access);
        let challenge = knock(clients, &place, &settings, access.insecure, deadline).await?;
        let auth = match (login, challenge.wanted) {
            (Some(Login::Registry(token)), Some(_)) => Some(HttpAuth::Bearer(token)),
            (login, Some(wanted)) => {
                let at = Instantly {
                    clients,
                    settings: &settings,
                    deadline,
                    actions: if write { "pull,push" } else { "pull" },
                };
                at.sign_in(&place, &challenge.base, &wanted, login).await?
            }
            (_, None) => None,
        };
        let session = HttpSession::new(clients, &challenge.base, &settings, auth, deadline)?;
        Ok(Repository {
            place,
            base: challenge.base,
            session,
        })
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    fn url(&self, rest: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{}/{rest}", self.place.path));
        url
    }

    fn failed(&self, what: &str, error: &HttpError) -> SourceError {
        let what = format!(
            "failed to pull artifact from 'oci://{}': {what}",
            self.place.name()
        );
        error.explain(&what, OCI_ARTIFACT_PULL_FAILED, self.session.signed_in())
    }

    /// Stores a blob unless it is there already.
    pub(crate) async fn put_blob(&self, digest: &str, data: &[u8]) -> Result<(), SourceError> {
        let what = format!("layer '{digest}'");
        let here = self.url(&format!("blobs/{digest}"));
        if self.ask(Method::HEAD, &here, None).await.is_ok() {
            return Ok(());
        }
        let uploads = self.url("blobs/uploads/");
        let begun = self
            .ask(Method::POST, &uploads, None)
            .await
            .map_err(|error| self.refused(&what, &error))?;
        let place = begun.headers().get(LOCATION);
        let place = place.and_then(|value| value.to_str().ok());
        let mut target = place.and_then(|place| uploads.join(place).ok()).ok_or_else(|| {
            let error = HttpError::Redirect("an upload without a usable Location".to_owned());
            self.refused(&what, &error)
        })?;
        target.query_pairs_mut().append_pair("digest", digest);
        self.send(Method::PUT, &target, "application/octet-stream", data)
            .await
            .map_err(|error| self.refused(&what, &error))?;
        Ok(())
    }

    /// Stores a manifest under a tag or digest.
    pub(crate) async fn put_manifest(
        &self,
        reference: &str,
        media_type: &str,
        data: &[u8],
    ) -> Result<(), SourceError> {
        let url = self.url(&format!("manifests/{reference}"));
        self.send(Method::PUT, &url, media_type, data)
            .await
            .map_err(|error| self.refused(&format!("manifest '{reference}'"), &error))?;
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        media_type: &str,
        data: &[u8],
    ) -> Result<Response, HttpError> {
        let mut headers = HeaderMap::new();
        let value =
            HeaderValue::from_str(media_type).map_err(|error| HttpError::Connect(error.to_string()))?;
        headers.insert(CONTENT_TYPE, value);
        self.session
            .send(method, url, &headers, Bytes::copy_from_slice(data))
            .await
    }

    fn refused(&self, what: &str, error: &HttpError) -> SourceError {
        let what = format!("failed to push artifact to 'oci://{}': {what}", self.place.name());
        error.explain(&what, OCI_ARTIFACT_PULL_FAILED, self.session.signed_in())
    }

    async fn ask(
        &self,
        method: Method,
        url: &Url,
        accept: Option<&'static str>,
    ) -> Result<Response, HttpError> {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        self.session.send(method, url, &headers, Bytes::new()).await
    }

    /// The digest of a tag without its manifest, if the registry tells.
    pub(crate) async fn head(&self, tag: &str) -> Option<String> {
        let url = self.url(&format!("manifests/{tag}"));
        let response = self.ask(Method::HEAD, &url, Some(MANIFESTS)).await.ok()?;
        let digest = response.headers().get("docker-content-digest")?.to_str().ok()?;
        is_digest(digest).then(|| digest.to_owned())
    }

    /// A manifest by tag or digest, with its digest.
    pub(crate) async fn manifest(&self, reference: &str) -> Result<(String, Manifest), SourceError> {
        let what = format!("manifest '{reference}'");
        let raw = self.raw(reference).await?;
        let raw = raw.ok_or_else(|| self.failed(&what, &HttpError::Status(404)))?;
        let manifest = Manifest::parse(&raw.data).map_err(|error| pull_failed(format!("{what}: {error}")))?;
        Ok((raw.digest, manifest))
    }

    /// A manifest as it was served; nothing if there is none.
    pub(crate) async fn raw(&self, reference: &str) -> Result<Option<RawManifest>, SourceError> {
        if reference.contains(':') && !is_digest(reference) {
            return Err(SourceError::stalled(
                reason::URL_INVALID,
                format!("'{reference}' is no digest; write sha256: and 64 hexadecimal digits"),
            ));
        }
        let what = format!("manifest '{reference}'");
        let url = self.url(&format!("manifests/{reference}"));
        let response = match self.ask(Method::GET, &url, Some(MANIFESTS)).await {
            Ok(response) => response,
            Err(HttpError::Status(404)) => return Ok(None),
            Err(error) => return Err(self.failed(&what, &error)),
        };
        let told = response.headers().get(CONTENT_TYPE);
        let media_type = told.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let data = self
            .session
            .read(response, LARGEST_ANSWER)
            .await
            .map_err(|error| self.failed(&what, &error))?;
        let digest = if is_digest(reference) {
            check(&data, reference).map_err(|error| pull_failed(format!("{what}: {error}")))?;
            reference.to_owned()
        } else {
            format!("sha256:{}", crate::hex(&Sha256::digest(&data)))
        };
        Ok(Some(RawManifest {
            digest,
            media_type,
            data,
        }))
    }

    /// What refers to a digest, by the registry's own list or by the tag that stands for it where there is none.
    pub(crate) async fn referrers(&self, digest: &str) -> Result<Vec<Descriptor>, SourceError> {
        let what = format!("referrers of '{digest}'");
        let url = self.url(&format!("referrers/{digest}"));
        let data = match self.ask(Method::GET, &url, Some(INDEX)).await {
            Ok(response) => {
                let read = self.session.read(response, LARGEST_ANSWER).await;
                Some(read.map_err(|error| self.failed(&what, &error))?)
            }
            // A registry that does not know the way answers in one of these ways.
            Err(HttpError::Status(400 | 404 | 405)) => {
                let tag = digest.replace(':', "-");
                self.raw(&tag).await?.map(|raw| raw.data)
            }
            Err(error) => return Err(self.failed(&what, &error)),
        };
        let list = data.map(|data| Manifest::parse(&data)).transpose();
        let list = list.map_err(|error| pull_failed(format!("{what}: {error}")))?;
        Ok(list.map(|list| list.manifests).unwrap_or_default())
    }

    /// The image of a manifest that may be a list of images.
    pub(crate) async fn image(&self, manifest: Manifest) -> Result<Manifest, SourceError> {
        match manifest.of_list() {
            None => Ok(manifest),
            Some(descriptor) => Ok(self.manifest(&descriptor.digest).await?.1),
        }
    }

    /// A layer, checked.
    pub(crate) async fn blob(&self, layer: &Descriptor, most: u64) -> Result<Vec<u8>, SourceError> {
        let what = format!("layer '{}'", layer.digest);
        if !is_digest(&layer.digest) {
            return Err(pull_failed(format!(
                "the manifest names {what}, which is no digest"
            )));
        }
        if layer.size > most {
            return Err(pull_failed(format!(
                "{what} has {}, more than the {} that are allowed",
                human(layer.size),
                human(most)
            )));
        }
        let url = self.url(&format!("blobs/{}", layer.digest));
        let response = self
            .ask(Method::GET, &url, None)
            .await
            .map_err(|error| self.failed(&what, &error))?;
        // Nothing longer can have the digest.
        let most = if layer.size > 0 { layer.size } else { most };
        let read = self.session.read(response, most).await;
        let data = read.map_err(|error| match error {
            HttpError::TooLarge(_) => pull_failed(format!(
                "{what}: the registry sends more than the {} that the manifest names; the registry is damaged",
                human(most)
            )),
            other => self.failed(&what, &other),
        })?;
        check(&data, &layer.digest).map_err(|error| pull_failed(format!("{what}: {error}")))?;
        Ok(data)
    }

    /// All tags.
    pub(crate) async fn tags(&self) -> Result<Vec<String>, SourceError> {
        #[derive(serde::Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let mut url = self.url("tags/list");
        url.set_query(Some("n=1000"));
        let mut all = Vec::new();
        for _ in 0..PAGES {
            let response = self
                .ask(Method::GET, &url, None)
                .await
                .map_err(|error| self.failed("list of tags", &error))?;
            let next = next_page(response.headers(), &url);
            let read = self.session.read(response, LARGEST_ANSWER).await;
            let data = read.map_err(|error| self.failed("list of tags", &error))?;
            let page: Page = serde_json::from_slice(&data)
                .map_err(|error| pull_failed(format!("the list of tags cannot be read: {error}")))?;
            all.extend(page.tags.unwrap_or_default());
            match next {
                // A registry that leads elsewhere is not followed: the session would not sign in there.
                Some(next) if next.origin() == self.base.origin() => url = next,
                _ => return Ok(all),
            }
        }
        Err(pull_failed(format!(
            "the list of tags has more than {PAGES} pages"
        )))
    }
}

fn next_page(headers: &HeaderMap, here: &Url) -> Option<Url> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let (target, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then(|| here.join(target).ok())?
}

/// Whether a text is a digest whose algorithm can be checked.
fn is_digest(text: &str) -> bool {
    let hex = |rest: &str, length| {
        rest.len() == length
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    match text.split_once(':') {
        Some(("sha256", rest)) => hex(rest, 64),
        Some(("sha512", rest)) => hex(rest, 128),
        _ => false,
    }
}

fn check(data: &[u8], digest: &str) -> Result<(), String> {
    let actual = if digest.starts_with("sha512:") {
        format!("sha512:{}", crate::hex(&Sha512::digest(data)))
    } else {
        format!("sha256:{}", crate::hex(&Sha256::digest(data)))
    };
    if actual == digest {
        return Ok(());
    }
    Err(format!(
        "what came has digest {actual}; the transfer or the registry is damaged"
    ))
}

/// Asks a registry as nobody: over https, and over http where that is allowed.
async fn knock(
    clients: &HttpClients,
    place: &Place,
    settings: &HttpSettings,
    insecure: bool,
    deadline: Instant,
) -> Result<Challenge, SourceError> {
    let client = clients.client(settings)?;
    let schemes: &[&str] = if insecure || place.is_local() {
        &["http", "https"]
    } else {
        &["https"]
    };
    let mut last = None;
    for scheme in schemes {
        let base = Url::parse(&format!("{scheme}://{}/v2/", place.server())).map_err(|error| {
            SourceError::stalled(
                reason::URL_INVALID,
                format!("'oci://{}' has no usable host: {error}", place.name()),
            )
        })?;
        let left = deadline.saturating_duration_since(Instant::now());
        let response = match client.get(base.clone()).timeout(left).send().await {
            Ok(response) => response,
            Err(error) if error.is_timeout() => {
                last = Some(HttpError::Timeout);
                continue;
            }
            Err(error) => {
                last = Some(HttpError::Connect(crate::http::chain(&error.without_url())));
                continue;
            }
        };
        let header = response.headers().get(WWW_AUTHENTICATE);
        let wanted = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
        match response.status() {
            StatusCode::UNAUTHORIZED => {
                let wanted = Some(wanted.unwrap_or_else(|| "Basic".to_owned()));
                return Ok(Challenge { base, wanted });
            }
            // A TLS server that was spoken to in plain words says 400.
            StatusCode::BAD_REQUEST if *scheme == "http" => last = Some(HttpError::Status(400)),
            _ => return Ok(Challenge { base, wanted: None }),
        }
    }
    let what = format!("failed to pull artifact from 'oci://{}'", place.name());
    Err(last
        .unwrap_or(HttpError::Timeout)
        .explain(&what, OCI_ARTIFACT_PULL_FAILED, false))
}

/// With what, and until when, signing in is done.
struct Instantly<'a> {
    clients: &'a HttpClients,
    settings: &'a HttpSettings,
    deadline: Instant,
    /// What is to be allowed.
    actions: &'static str,
}

impl Instantly<'_> {
    /// Answers a challenge.
    async fn sign_in(
        &self,
        place: &Place,
        base: &Url,
        wanted: &str,
        login: Option<Login>,
    ) -> Result<Option<HttpAuth>, SourceError> {
        let (scheme, rest) = wanted.split_once(' ').unwrap_or((wanted, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Ok(match login {
                Some(Login::Basic(basic)) => Some(HttpAuth::Basic(basic)),
                _ => None,
            });
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(pull_failed(format!(
                "registry '{}' asks for authentication of the kind '{scheme}', which is not known",
                place.host
            )));
        }
        let parameters = parameters(rest);
        let realm = parameters
            .iter()
            .find(|(name, _)| name == "realm")
            .map(|(_, value)| value.as_str());
        let refused = |why: String| {
            SourceError::retry(
                reason::AUTHENTICATION_FAILED,
                format!("cannot sign in to registry '{}': {why}", place.host),
            )
        };
        let mut realm = realm
            .and_then(|realm| Url::parse(realm).ok())
            .ok_or_else(|| refused("it names no token server".to_owned()))?;
        if base.scheme() == "https" && realm.scheme() != "https" {
            return Err(refused(format!(
                "its token server '{realm}' is not reached over https"
            )));
        }
        let service = parameters
            .iter()
            .find(|(name, _)| name == "service")
            .map(|(_, value)| value.clone());
        let scope = format!("repository:{}:{}", place.path, self.actions);
        let (method, body, auth) = match login {
            Some(Login::Identity(token)) => {
                let mut form = url_encoded(&[
                    ("grant_type", "refresh_token"),
                    ("client_id", "fluvial"),
                    ("scope", &scope),
                    ("refresh_token", &token.expose_text()),
                ]);
                if let Some(service) = &service {
                    form.push('&');
                    form.push_str(&url_encoded(&[("service", service)]));
                }
                (Method::POST, form, None)
            }
            login => {
                realm.query_pairs_mut().append_pair("scope", &scope);
                if let Some(service) = &service {
                    realm.query_pairs_mut().append_pair("service", service);
                }
                let auth = match login {
                    Some(Login::Basic(basic)) => Some(HttpAuth::Basic(basic)),
                    _ => None,
                };
                (Method::GET, String::new(), auth)
            }
        };
        let signed_in = auth.is_some() || method == Method::POST;
        let session = HttpSession::new(self.clients, &realm, self.settings, auth, self.deadline)?;
        let mut headers = HeaderMap::new();
        if method == Method::POST {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(reqwest::header::CONTENT_TYPE, form);
        }
        let what = format!("cannot sign in to registry '{}'", place.host);
        let explain = |error: HttpError| error.explain(&what, reason::AUTHENTICATION_FAILED, signed_in);
        let response = session
            .send(method, &realm, &headers, body.into())
            .await
            .map_err(explain)?;
        let data = session.read(response, LARGEST_ANSWER).await.map_err(explain)?;
        // The text of an error could quote the token.
        let answer: serde_json::Value = serde_json::from_slice(&data)
            .map_err(|_| refused("the token server's answer is no JSON".to_owned()))?;
        let token = ["token", "access_token"]
            .iter()
            .find_map(|name| answer.get(name)?.as_str());
        let token = token.ok_or_else(|| refused("the token server gave no token".to_owned()))?;
        Ok(Some(HttpAuth::Bearer(Secret::new(token))))
    }
}

/// `name="value"` pairs of a challenge.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([',', ' ']).to_ascii_lowercase();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        all.push((name, value.to_owned()));
        rest = next;
    }
    all
}

fn url_encoded(pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse("http://x/").expect("this is a URL");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_wrong_ones_explained() {
        let place = Place::parse("oci://ghcr.io/stefanprodan/charts/podinfo").unwrap();
        assert_eq!(
            (place.host.as_str(), place.path.as_str()),
            ("ghcr.io", "stefanprodan/charts/podinfo")
        );
        assert_eq!(
            Place::parse("oci://docker.io/nginx").unwrap().path,
            "library/nginx"
        );
        for (url, want) in [
            ("https://ghcr.io/a/b", "oci://"),
            ("oci://ghcr.io", "no repository"),
            ("oci://ghcr.io/a/b:1.0", "spec.ref"),
            ("oci://ghcr.io/a/../b", "other signs"),
            ("oci://me:pw@ghcr.io/a", "Secret"),
        ] {
            let error = Place::parse(url).unwrap_err();
            assert!(error.message.contains(want), "{url}: {error}");
            assert!(!error.message.contains("pw@"), "{error}");
        }
    }

    #[test]
    fn challenges_are_taken_apart() {
        let all = parameters("realm=\"https://auth.example.org/token\",service=\"a, b\", error=denied");
        assert_eq!(
            all[0],
            ("realm".to_owned(), "https://auth.example.org/token".to_owned())
        );
        assert_eq!(all[1].1, "a, b");
        assert_eq!(all[2], ("error".to_owned(), "denied".to_owned()));
        assert!(is_digest(&format!("sha256:{}", "a".repeat(64))));
        assert!(!is_digest("sha256:../x") && !is_digest("md5:00"));
    }
}

//! Buckets: a server that answers as the three kinds of stores do, counts, and misbehaves when told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use fluvial_ports::{Access, BucketFound, BucketRequest, Provider, SecretData, TokenService};
use fluvial_source::SourceError;
use fluvial_source::bucket::BucketSource;
use fluvial_source::credentials::cloud::Clouds;
use fluvial_source::limits::Limits;
use fluvial_source::mirrors::Mirrors;
use fluvial_tree::Digest;
use rcgen::KeyPair;
use serde_json::json;

#[derive(Clone, Copy, Default, PartialEq)]
enum Mood {
    #[default]
    Well,
    EndlessListing,
    EndlessObject,
    Redirect,
    Busy(u8),
    Denied,
}

#[derive(Default)]
struct Served {
    objects: Mutex<BTreeMap<String, String>>,
    mood: Mutex<Mood>,
    /// Path and query, and the authorization, of each request.
    seen: Mutex<Vec<(String, String)>>,
}

impl Served {
    fn put(&self, key: &str, text: &str) {
        self.objects
            .lock()
            .unwrap()
            .insert(key.to_owned(), text.to_owned());
    }

    fn feel(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// The requests since the last call.
    fn requests(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn etag(text: &str) -> String {
    Digest::of(text.as_bytes()).to_hex()[..32].to_owned()
}

fn authorization(headers: &HeaderMap) -> String {
    let value = headers.get("authorization").and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

async fn answer(State(served): State<Arc<Served>>, request: Request) -> Response {
    let path = request.uri().to_string();
    let seen = (path.clone(), authorization(request.headers()));
    served.seen.lock().unwrap().push(seen);
    if path.starts_with("/token") || path.starts_with("/tenant/") {
        return json!({"access_token": "given", "expires_in": 3600})
            .to_string()
            .into_response();
    }
    if path == "/sts" {
        let keys = "<AssumeRoleWithLDAPIdentityResponse><AssumeRoleWithLDAPIdentityResult><Credentials>\
                    <AccessKeyId>TEMPORARY</AccessKeyId><SecretAccessKey>key</SecretAccessKey>\
                    <SessionToken>session</SessionToken></Credentials></AssumeRoleWithLDAPIdentityResult>\
                    </AssumeRoleWithLDAPIdentityResponse>";
        return keys.into_response();
    }
    let mood = *served.mood.lock().unwrap();
    match mood {
        Mood::Redirect => {
            let to = [("location", "http://127.0.0.1:9/elsewhere")];
            return (StatusCode::TEMPORARY_REDIRECT, to).into_response();
        }
        Mood::Busy(0) | Mood::Well => {}
        Mood::Busy(times) => {
            served.feel(Mood::Busy(times - 1));
            let text = "<Error><Code>SlowDown</Code><Message>later</Message></Error>";
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        }
        Mood::Denied => {
            let text = "<Error><Code>SignatureDoesNotMatch</Code><Message>wrong key</Message></Error>";
            return (StatusCode::FORBIDDEN, text).into_response();
        }
        Mood::EndlessListing | Mood::EndlessObject => {}
    }
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let prefix = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("prefix="))
        .unwrap_or_default()
        .replace("%2F", "/");
    let objects = served.objects.lock().unwrap().clone();
    let listed = objects.iter().filter(|(key, _)| key.starts_with(&prefix));
    if query.contains("list-type=2") {
        let items: String = listed
            .map(|(key, text)| {
                let (etag, size) = (etag(text), text.len());
                format!(
                    "<Contents><Key>{key}</Key><ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Contents>"
                )
            })
            .collect();
        let next = match mood {
            Mood::EndlessListing => {
                "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>"
            }
            _ => "",
        };
        return format!("<ListBucketResult>{items}{next}</ListBucketResult>").into_response();
    }
    if query.contains("comp=list") {
        let items: String = listed
            .map(|(key, text)| {
                let properties = format!(
                    "<Etag>{}</Etag><Content-Length>{}</Content-Length>",
                    etag(text),
                    text.len()
                );
                format!("<Blob><Name>{key}</Name><Properties>{properties}</Properties></Blob>")
            })
            .collect();
        return format!("<EnumerationResults><Blobs>{items}</Blobs></EnumerationResults>").into_response();
    }
    if path == "/storage/v1/b/fleet/o" {
        let items: Vec<_> = listed
            .map(|(key, text)| json!({"name": key, "etag": etag(text), "size": text.len().to_string()}))
            .collect();
        return json!({ "items": items }).to_string().into_response();
    }
    if mood == Mood::EndlessObject {
        let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 1 << 16]));
        return Body::from_stream(endless).into_response();
    }
    let key = path
        .trim_start_matches("/storage/v1/b/fleet/o/")
        .trim_start_matches("/fleet/")
        .trim_start_matches("/account/")
        .trim_start_matches("fleet/")
        .replace("%2F", "/");
    match objects.get(&key) {
        Some(text) => ([("etag", format!("\"{}\"", etag(text)))], text.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>").into_response(),
    }
}

struct Setup {
    served: Arc<Served>,
    host: String,
    source: BucketSource,
}

async fn setup() -> Setup {
    let served = Arc::new(Served::default());
    served.put("apps/a.yaml", "a: 1\n");
    served.put("apps/", "");
    served.put("README.md", "left out");
    served.put(".sourceignore", "*.md\n");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&served));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let limits = Limits {
        file: 1 << 20,
        ..Limits::default()
    };
    Setup {
        served,
        host,
        source: BucketSource::new(BTreeMap::new(), Clouds::default(), limits),
    }
}

fn secret(pairs: &[(&str, &str)]) -> Option<SecretData> {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), value.as_bytes().to_vec());
    Some(pairs.iter().map(pair).collect())
}

impl Setup {
    fn request(&self) -> BucketRequest {
        BucketRequest {
            bucket: "fleet".to_owned(),
            endpoint: self.host.clone(),
            access: Access {
                credentials: secret(&[("accesskey", "KEY"), ("secretkey", "hidden")]),
                insecure: true,
                timeout: Duration::from_secs(10),
                ..Access::default()
            },
            ..BucketRequest::default()
        }
    }

    async fn files(&self, request: &BucketRequest) -> Result<BucketFound, SourceError> {
        self.source.files(request, None, &Mirrors::default()).await
    }

    async fn fails(&self, mood: Mood) -> SourceError {
        self.served.feel(mood);
        let error = self.files(&self.request()).await.unwrap_err();
        assert!(!error.message.contains("hidden"), "{error}");
        error
    }
}

fn names(found: &BucketFound) -> Vec<String> {
    let tree = found.files.as_ref().unwrap();
    tree.iter().map(|(path, _)| path.as_str().to_owned()).collect()
}

fn expected(pairs: &[(&str, &str)]) -> String {
    let lines: String = pairs
        .iter()
        .map(|(key, text)| format!("{key} {}\n", etag(text)))
        .collect();
    format!("sha256:{}", Digest::of(lines.as_bytes()).to_hex())
}

#[tokio::test]
async fn a_changed_listing_is_downloaded_and_an_unchanged_one_is_not() {
    let setup = setup().await;
    let mut request = setup.request();
    let found = setup.files(&request).await.unwrap();
    assert_eq!(found.revision, expected(&[("apps/a.yaml", "a: 1\n")]));
    assert_eq!(names(&found), [".sourceignore", "apps", "apps/a.yaml"]);
    assert!(
        setup
            .served
            .requests()
            .iter()
            .all(|(_, auth)| auth.starts_with("AWS4-HMAC-SHA256"))
    );
    request.last_revision = Some(found.revision);
    assert!(setup.files(&request).await.unwrap().files.is_none());
    let paths: Vec<String> = setup
        .served
        .requests()
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert_eq!(paths.len(), 2, "the listing and the rules only: {paths:?}");
    setup.served.put("apps/b.yaml", "b: 1\n");
    let found = setup.files(&request).await.unwrap();
    assert_eq!(
        found.revision,
        expected(&[("apps/a.yaml", "a: 1\n"), ("apps/b.yaml", "b: 1\n")])
    );
    request.prefix = Some("apps/b".to_owned());
    let found = setup.files(&request).await.unwrap();
    assert_eq!(names(&found), [".sourceignore", "apps", "apps/b.yaml"]);
    request.access.credentials = None;
    setup.served.requests();
    setup.files(&request).await.unwrap();
    assert!(setup.served.requests().iter().all(|(_, auth)| auth.is_empty()));
}

#[tokio::test]
async fn what_goes_wrong_is_bounded_and_said() {
    let setup = setup().await;
    let error = setup.fails(Mood::Denied).await;
    assert_eq!(error.reason, "BucketOperationFailed");
    assert!(error.message.contains("credentials were refused"), "{error}");
    let error = setup.fails(Mood::Redirect).await;
    assert!(
        error
            .message
            .contains("redirect to 'http://127.0.0.1:9/elsewhere'"),
        "{error}"
    );
    let error = setup.fails(Mood::EndlessListing).await;
    assert!(error.message.contains("does not end"), "{error}");
    let error = setup.fails(Mood::EndlessObject).await;
    assert!(error.message.contains("1.0 MiB"), "{error}");
    setup.served.feel(Mood::Busy(2));
    assert!(setup.files(&setup.request()).await.is_ok(), "it is asked again");
    setup.served.put("big.yaml", &"x".repeat(2 << 20));
    let error = setup.files(&setup.request()).await.unwrap_err();
    assert!(error.message.contains("'big.yaml' has 2.0 MiB"), "{error}");
}

#[tokio::test]
async fn a_token_service_of_the_store_gives_temporary_keys() {
    let setup = setup().await;
    let mut request = setup.request();
    request.access.credentials = None;
    request.sts = Some(TokenService {
        provider: "ldap".to_owned(),
        endpoint: format!("http://{}/sts", setup.host),
        credentials: secret(&[("username", "ada"), ("password", "hidden")]),
        certificates: None,
    });
    setup.files(&request).await.unwrap();
    let seen = setup.served.requests();
    assert_eq!(seen[0].0, "/sts");
    assert!(seen[1].1.contains("Credential=TEMPORARY/"), "{seen:?}");
    assert!(seen[1].1.contains("x-amz-security-token"), "{seen:?}");
    setup.files(&request).await.unwrap();
    assert!(
        setup.served.requests().iter().all(|(path, _)| path != "/sts"),
        "they are kept"
    );
    let sts = request.sts.as_mut().unwrap();
    sts.credentials = None;
    let error = setup.files(&request).await.unwrap_err();
    assert!(
        error.reason == "AuthenticationFailed" && error.message.contains("'username'"),
        "{error}"
    );
}

#[tokio::test]
async fn google_s_and_microsoft_s_stores_are_asked_in_their_own_words() {
    let setup = setup().await;
    let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).map(|key| key.serialize_pem());
    let mut request = setup.request();
    request.access.provider = Provider::Gcp;
    if let Ok(key) = key {
        let file = json!({
            "client_email": "a@example.com", "private_key": key, "private_key_id": "1",
            "token_uri": format!("http://{}/token", setup.host),
        });
        request.access.credentials = secret(&[("serviceaccount", &file.to_string())]);
        let found = setup.files(&request).await.unwrap();
        assert_eq!(found.revision, expected(&[("apps/a.yaml", "a: 1\n")]));
        let seen = setup.served.requests();
        assert_eq!(seen[0].0, "/token");
        assert!(
            seen[1..].iter().all(|(_, auth)| auth == "Bearer given"),
            "{seen:?}"
        );
    }
    request.access.credentials = secret(&[("serviceaccount", "{}")]);
    let error = setup.files(&request).await.unwrap_err();
    assert!(
        error.reason == "AuthenticationFailed" && error.message.contains("client_email"),
        "{error}"
    );

    request.access.provider = Provider::Azure;
    request.endpoint = format!("http://{}/account", setup.host);
    for (credentials, login) in [
        (secret(&[("accountKey", "a2V5")]), "SharedKey account:"),
        (secret(&[("sasKey", "?sig=hidden&sp=r")]), ""),
        (
            secret(&[
                ("tenantId", "tenant"),
                ("clientId", "client"),
                ("clientSecret", "hidden"),
                ("authorityHost", &format!("http://{}", setup.host)),
            ]),
            "Bearer given",
        ),
    ] {
        request.access.credentials = credentials;
        let found = setup.files(&request).await.unwrap();
        assert_eq!(found.revision, expected(&[("apps/a.yaml", "a: 1\n")]));
        let seen = setup.served.requests();
        let store = seen.iter().filter(|(path, _)| path.starts_with("/account/fleet"));
        assert!(store.clone().count() >= 3, "{seen:?}");
        for (path, auth) in store {
            assert!(auth.starts_with(login), "{path}: {auth}");
            assert!(!login.is_empty() || path.ends_with("sig=hidden&sp=r"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_folder_stands_in_for_a_bucket() {
    let setup = setup().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("apps")).unwrap();
    std::fs::write(folder.path().join("apps/a.yaml"), "a: 1\n").unwrap();
    let rules = json!([{"from": "https://s3.example.com/fleet", "to": folder.path()}]);
    let mirrors = Mirrors::from_value(&rules, folder.path()).unwrap();
    let mut request = setup.request();
    request.endpoint = "s3.example.com".to_owned();
    request.access.insecure = false;
    let found = setup.source.files(&request, None, &mirrors).await.unwrap();
    assert_eq!(names(&found), ["apps", "apps/a.yaml"]);
    assert!(found.rewritten.is_some());
    request.last_revision = Some(found.revision);
    let same = setup.source.files(&request, None, &mirrors).await.unwrap();
    assert!(same.files.is_none());
}

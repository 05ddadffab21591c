//! Key services, played by a server on this machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fluvial_ports::Clock;
use fluvial_secrets::{AmbientIdentity, Endpoints, Format, Integrity, Keyring, KeyringBuilder};
use serde_json::{Value, json};

use crate::made::Maker;

/// It is always the same moment.
struct Still;

impl Clock for Still {
    fn now(&self) -> jiff::Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    fn random(&self) -> f64 {
        0.5
    }

    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

/// A request as the server has seen it.
#[derive(Clone, Debug)]
struct Seen {
    path: String,
    headers: HeaderMap,
    body: String,
}

type Answer = fn(&Seen, &[u8]) -> (StatusCode, Value);

/// A server that gives one answer to all, and remembers what it was asked.
async fn server(answer: Answer, data_key: [u8; 32]) -> (String, Arc<Mutex<Vec<Seen>>>) {
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let log = Arc::clone(&seen);
    let handler = move |uri: Uri, headers: HeaderMap, body: Bytes| {
        let request = Seen {
            path: uri.to_string(),
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        };
        let (status, json) = answer(&request, &data_key);
        log.lock().unwrap().push(request);
        async move { (status, json.to_string()) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await });
    (format!("http://{address}"), seen)
}

fn builder(endpoints: Endpoints) -> KeyringBuilder {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    KeyringBuilder {
        endpoints,
        clock: Some(Arc::new(Still)),
        ..KeyringBuilder::default()
    }
}

fn entries(name: &str, value: &str) -> BTreeMap<String, Vec<u8>> {
    [(name.to_owned(), value.as_bytes().to_vec())].into()
}

/// A file with keys of a service, and what came of opening it.
async fn open(keyring: &Keyring, keys: Value) -> Result<String, String> {
    let mut maker = Maker::new("service", &[]);
    let text = fluvial_yaml::json_to_yaml(&maker.object(&json!({"a": "b"}), keys));
    let plain = keyring
        .decrypt(text.as_bytes(), Format::Yaml, Format::Yaml, Integrity::Checked)
        .await;
    plain
        .map(|plain| String::from_utf8(plain).unwrap())
        .map_err(|error| error.to_string())
}

fn data_key() -> [u8; 32] {
    Maker::new("service", &[]).data_key
}

#[tokio::test]
async fn vault_opens_what_its_transit_engine_encrypted() {
    let (url, seen) = server(
        |request, key| match request.headers.get("x-vault-token") {
            Some(token) if token == "s.secret" => (
                StatusCode::OK,
                json!({"data": {"plaintext": STANDARD.encode(key)}}),
            ),
            _ => (StatusCode::FORBIDDEN, json!({"errors": ["permission denied"]})),
        },
        data_key(),
    )
    .await;
    let keys = json!({"hc_vault": [{"vault_address": url, "engine_path": "sops", "key_name": "first",
        "created_at": "2026-01-01T00:00:00Z", "enc": "vault:v1:abc"}]});
    let keyring = builder(Endpoints::default())
        .build(&entries("sops.vault-token", "s.secret\n"))
        .unwrap();
    assert_eq!(open(&keyring, keys.clone()).await.unwrap(), "a: b\n");
    let first = seen.lock().unwrap()[0].clone();
    assert_eq!(first.path, "/v1/sops/decrypt/first");
    assert_eq!(first.body, r#"{"ciphertext":"vault:v1:abc"}"#);

    let other = builder(Endpoints::default())
        .build(&entries("sops.vault-token", "s.other"))
        .unwrap();
    let error = open(&other, keys.clone()).await.unwrap_err();
    assert!(
        error.contains("Vault refuses (403 Forbidden): permission denied") && !error.contains("s.other"),
        "{error}"
    );
    let none = builder(Endpoints::default()).build(&BTreeMap::new()).unwrap();
    let error = open(&none, keys.clone()).await.unwrap_err();
    assert!(error.contains("no Vault token is at hand"), "{error}");
    let mut ambient = builder(Endpoints::default());
    ambient.ambient = Some(AmbientIdentity {
        variables: [("VAULT_TOKEN", "s.secret"), ("VAULT_ADDR", "https://elsewhere")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        read: None,
    });
    let error = open(&ambient.build(&BTreeMap::new()).unwrap(), keys.clone())
        .await
        .unwrap_err();
    assert!(
        error.contains("no Vault token is at hand"),
        "it is for another Vault: {error}"
    );
    let offline = Keyring::of(&entries("sops.vault-token", "s.secret")).unwrap();
    let error = open(&offline, keys).await.unwrap_err();
    assert!(error.contains("key services are not asked from here"), "{error}");
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_worth_another_try() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let keys =
        json!({"hc_vault": [{"vault_address": url, "engine_path": "sops", "key_name": "first", "enc": "x"}]});
    let keyring = builder(Endpoints::default())
        .build(&entries("sops.vault-token", "s.secret"))
        .unwrap();
    let mut maker = Maker::new("service", &[]);
    let text = maker.object(&json!({"a": "b"}), keys).to_string();
    let error = keyring
        .decrypt(text.as_bytes(), Format::Json, Format::Json, Integrity::Checked)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, fluvial_secrets::Error::DataKey { transient: true, report } if report.contains("does not answer")),
        "{error}"
    );
}

#[tokio::test]
async fn aws_kms_is_asked_with_a_signature_and_in_the_role_of_the_key() {
    let (url, seen) = server(
        |request, key| {
            if request.body.contains("Action=AssumeRole") {
                let credentials =
                    json!({"AccessKeyId": "ASIAROLE", "SecretAccessKey": "x", "SessionToken": "token"});
                return (
                    StatusCode::OK,
                    json!({"AssumeRoleResponse": {"AssumeRoleResult": {"Credentials": credentials}}}),
                );
            }
            (StatusCode::OK, json!({"Plaintext": STANDARD.encode(key)}))
        },
        data_key(),
    )
    .await;
    let endpoints = Endpoints {
        aws_kms: Some(url.clone()),
        aws_sts: Some(url),
        ..Endpoints::default()
    };
    let own = "aws_access_key_id: AKIDEXAMPLE\naws_secret_access_key: wJalrXUtnFEMI\n";
    let keyring = builder(endpoints).build(&entries("sops.aws-kms", own)).unwrap();
    let arn = "arn:aws:kms:eu-west-1:1:key/a";
    let keys = json!({"kms": [{"arn": arn, "created_at": "2026-01-01T00:00:00Z", "enc": "QUJD",
        "context": {"team": "a"}, "aws_profile": ""}]});
    assert_eq!(open(&keyring, keys).await.unwrap(), "a: b\n");
    let first = seen.lock().unwrap().remove(0);
    assert_eq!(first.headers["x-amz-target"], "TrentService.Decrypt");
    assert_eq!(first.headers["x-amz-date"], "20260102T030405Z");
    let authorization = first.headers["authorization"].to_str().unwrap();
    assert!(
        authorization
            .starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-west-1/kms/aws4_request"),
        "{authorization}"
    );
    assert!(authorization.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature="));
    let body: Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!(
        body,
        json!({"CiphertextBlob": "QUJD", "KeyId": arn, "EncryptionContext": {"team": "a"}})
    );

    let keys = json!({"kms": [{"arn": arn, "role": "arn:aws:iam::1:role/r", "enc": "QUJD"}]});
    assert_eq!(open(&keyring, keys).await.unwrap(), "a: b\n");
    let seen = seen.lock().unwrap();
    assert!(
        seen[0].body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr"),
        "{}",
        seen[0].body
    );
    assert_eq!(seen[1].headers["x-amz-security-token"], "token");
    assert!(
        seen[1].headers["authorization"]
            .to_str()
            .unwrap()
            .contains("ASIAROLE/")
    );
}

#[tokio::test]
async fn a_pod_with_a_role_needs_no_key_of_its_own_at_aws() {
    let (url, seen) = server(
        |request, key| {
            if request.body.contains("Action=AssumeRoleWithWebIdentity") {
                let credentials =
                    json!({"AccessKeyId": "ASIAPOD", "SecretAccessKey": "x", "SessionToken": "t"});
                let result = json!({"AssumeRoleWithWebIdentityResult": {"Credentials": credentials}});
                return (
                    StatusCode::OK,
                    json!({"AssumeRoleWithWebIdentityResponse": result}),
                );
            }
            (StatusCode::OK, json!({"Plaintext": STANDARD.encode(key)}))
        },
        data_key(),
    )
    .await;
    let mut builder = builder(Endpoints {
        aws_kms: Some(url.clone()),
        aws_sts: Some(url),
        ..Endpoints::default()
    });
    builder.ambient = Some(AmbientIdentity {
        variables: [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/pod"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        read: Some(Arc::new(|path| match path.to_str() {
            Some("/token") => Ok(b"a.b.c\n".to_vec()),
            other => Err(format!("{other:?} is not there")),
        })),
    });
    let keyring = builder.build(&BTreeMap::new()).unwrap();
    let keys = json!({"kms": [{"arn": "arn:aws:kms:eu-west-1:1:key/a", "enc": "QUJD"}]});
    assert_eq!(open(&keyring, keys).await.unwrap(), "a: b\n");
    assert!(seen.lock().unwrap()[0].body.ends_with("WebIdentityToken=a.b.c"));
}

/// A private key as Google's console gives it.
fn rsa_key() -> String {
    use aws_lc_rs::encoding::AsDer as _;
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let body = STANDARD.encode(der.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

#[tokio::test]
async fn google_kms_is_asked_with_a_token_for_a_signed_statement() {
    let (url, seen) = server(
        |request, key| {
            if request.path == "/token" {
                return (StatusCode::OK, json!({"access_token": "ya29.token"}));
            }
            (StatusCode::OK, json!({"plaintext": STANDARD.encode(key)}))
        },
        data_key(),
    )
    .await;
    let account = json!({"type": "service_account", "client_email": "a@b", "private_key_id": "k",
        "private_key": rsa_key(), "token_uri": format!("{url}/token")});
    let endpoints = Endpoints {
        gcp_kms: Some(url),
        ..Endpoints::default()
    };
    let keyring = builder(endpoints)
        .build(&entries("sops.gcp-kms", &account.to_string()))
        .unwrap();
    let resource = "projects/p/locations/global/keyRings/r/cryptoKeys/k";
    let keys = |resource: &str| json!({"gcp_kms": [{"resource_id": resource, "enc": "QUJD"}]});
    assert_eq!(open(&keyring, keys(resource)).await.unwrap(), "a: b\n");
    {
        let seen = seen.lock().unwrap();
        let assertion = seen[0].body.split("assertion=").nth(1).unwrap();
        let claims = URL_SAFE_NO_PAD
            .decode(assertion.split('.').nth(1).unwrap())
            .unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(
            (&claims["iss"], &claims["exp"]),
            (&json!("a@b"), &json!(1_767_326_635))
        );
        assert_eq!(seen[1].path, format!("/v1/{resource}:decrypt"));
        assert_eq!(seen[1].headers["authorization"], "Bearer ya29.token");
    }
    let error = open(&keyring, keys("projects/../../evil?x=")).await.unwrap_err();
    assert!(error.contains("is no name of a key"), "{error}");
}

#[tokio::test]
async fn azure_key_vault_is_asked_as_an_application_or_a_federated_identity() {
    let (url, seen) = server(
        |request, key| {
            if request.path == "/tenant/oauth2/v2.0/token" {
                return (StatusCode::OK, json!({"access_token": "eyJ"}));
            }
            (StatusCode::OK, json!({"value": URL_SAFE_NO_PAD.encode(key)}))
        },
        data_key(),
    )
    .await;
    let endpoints = Endpoints {
        azure_authority: Some(url.clone()),
        azure_vault: Some(url),
        ..Endpoints::default()
    };
    let own = "tenantId: tenant\nclientId: client\nclientSecret: hidden\n";
    let keyring = builder(endpoints.clone())
        .build(&entries("sops.azure-kv", own))
        .unwrap();
    let keys = json!({"azure_kv": [{"vault_url": "https://mine.vault.azure.net", "name": "n", "version": "v",
        "created_at": "2026-01-01T00:00:00Z", "enc": "QUJD"}]});
    assert_eq!(open(&keyring, keys.clone()).await.unwrap(), "a: b\n");
    {
        let mut seen = seen.lock().unwrap();
        assert!(
            seen[0]
                .body
                .contains("scope=https%3A%2F%2Fvault.azure.net%2F.default"),
            "{}",
            seen[0].body
        );
        assert!(seen[0].body.contains("client_secret=hidden"));
        assert_eq!(seen[1].path, "/keys/n/v/decrypt?api-version=7.4");
        assert_eq!(seen[1].body, r#"{"alg":"RSA-OAEP-256","value":"QUJD"}"#);
        seen.clear();
    }
    let mut federated = builder(endpoints);
    federated.ambient = Some(AmbientIdentity {
        variables: [
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_CLIENT_ID", "pod"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/t"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        read: Some(Arc::new(|_| Ok(b"a.b.c".to_vec()))),
    });
    let keyring = federated.build(&BTreeMap::new()).unwrap();
    assert_eq!(open(&keyring, keys).await.unwrap(), "a: b\n");
    assert!(seen.lock().unwrap()[0].body.contains("client_assertion=a.b.c"));
}

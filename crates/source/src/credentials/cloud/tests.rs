use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::{Method as HttpMethod, Uri};

use super::*;

/// What the clouds were asked.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

#[derive(Debug)]
struct Tokens;

impl ServiceAccountTokens for Tokens {
    fn token<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        audience: &'a str,
    ) -> BoxFuture<'a, Result<String, SourceError>> {
        Box::pin(async move { Ok(format!("jwt:{namespace}/{name}:{}", audience)) })
    }
}

async fn answer(
    State(seen): State<Seen>,
    method: HttpMethod,
    uri: Uri,
    body: Bytes,
) -> (axum::http::StatusCode, String) {
    let path = uri.path().to_owned();
    let body = String::from_utf8_lossy(&body).into_owned();
    seen.lock().unwrap().push((format!("{method} {path}"), body));
    let text = match path.as_str() {
        "/tenant/oauth2/v2.0/token" => r#"{"access_token": "entra", "expires_in": 3600}"#,
        "/metadata/identity/oauth2/token" => r#"{"access_token": "machine", "expires_in": "3600"}"#,
        "/oauth2/exchange" => r#"{"refresh_token": "refresh"}"#,
        "/computeMetadata/v1/project/project-id" => "proj",
        "/computeMetadata/v1/instance/attributes/cluster-location" => "here",
        "/computeMetadata/v1/instance/attributes/cluster-name" => "c",
        "/computeMetadata/v1/instance/service-accounts/default/token" => {
            r#"{"access_token": "node", "expires_in": 60}"#
        }
        "/v1/token" => r#"{"access_token": "federated", "expires_in": 3600}"#,
        "/v1/projects/-/serviceAccounts/a%40b:generateAccessToken" => {
            r#"{"accessToken": "acting", "expireTime": "2999-01-01T00:00:00Z"}"#
        }
        "/sts" => {
            r#"{"AssumeRoleWithWebIdentityResponse": {"AssumeRoleWithWebIdentityResult": {"Credentials":
                {"AccessKeyId": "A", "SecretAccessKey": "S", "SessionToken": "T", "Expiration": 32503680000}}}}"#
        }
        // user "AWS", password "pw"
        "/ecr" => {
            r#"{"authorizationData": [{"authorizationToken": "QVdTOnB3", "expiresAt": 32503680000.5}]}"#
        }
        "/latest/api/token" => "imds",
        "/latest/meta-data/iam/security-credentials/" => "role",
        "/latest/meta-data/iam/security-credentials/role" => {
            r#"{"AccessKeyId": "M", "SecretAccessKey": "S", "Token": "T", "Expiration": "2999-01-01T00:00:00Z"}"#
        }
        _ => return (axum::http::StatusCode::FORBIDDEN, String::new()),
    };
    (axum::http::StatusCode::OK, text.to_owned())
}

async fn server() -> (String, Seen) {
    let seen = Seen::default();
    let router = Router::new().fallback(answer).with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, seen)
}

fn account(annotations: &[(&str, &str)]) -> ServiceAccount {
    ServiceAccount {
        namespace: "ns".to_owned(),
        name: "sa".to_owned(),
        annotations: annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        tokens: Arc::new(Tokens),
    }
}

struct World {
    environment: BTreeMap<String, String>,
    clients: HttpClients,
    settings: HttpSettings,
}

impl World {
    fn new(variables: &[(&str, &str)]) -> Self {
        World {
            environment: variables
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            clients: HttpClients::default(),
            settings: HttpSettings::default(),
        }
    }

    fn ask<'a>(&'a self, account: Option<&'a ServiceAccount>) -> Ask<'a> {
        Ask {
            account,
            environment: &self.environment,
            clients: &self.clients,
            settings: &self.settings,
            deadline: Instant::now() + Duration::from_secs(10),
        }
    }
}

fn password(basic: &Basic) -> String {
    format!("{}:{}", basic.username, basic.password.expose_text())
}

#[tokio::test]
async fn azure_exchanges_service_account_tokens_and_asks_machines() {
    let (url, seen) = server().await;
    let clouds = Clouds {
        azure: Azure {
            authority: Some(url.clone()),
            metadata: Some(url.clone()),
            registry: Some(url),
        },
        ..Clouds::default()
    };
    let world = World::new(&[]);
    let account = account(&[
        ("azure.workload.identity/tenant-id", "tenant"),
        ("azure.workload.identity/client-id", "client"),
    ]);
    let ask = world.ask(Some(&account));
    let login = clouds.registry("azure", "o", &ask, "x.azurecr.io").await.unwrap();
    assert_eq!(password(&login), "00000000-0000-0000-0000-000000000000:refresh");
    // The second time nobody is asked.
    let asked = seen.lock().unwrap().len();
    clouds.registry("azure", "o", &ask, "x.azurecr.io").await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), asked);
    let (_, form) = seen.lock().unwrap()[0].clone();
    assert!(
        form.contains("client_assertion=jwt%3Ans%2Fsa%3Aapi%3A%2F%2FAzureADTokenExchange"),
        "{form}"
    );
    assert!(
        form.contains("scope=https%3A%2F%2Fmanagement.azure.com%2F.default"),
        "{form}"
    );
    let git = clouds
        .git("azure", "o", &world.ask(None), "https://dev.azure.com/x")
        .await
        .unwrap();
    assert_eq!(git, GitLogin::Bearer(Secret::new("machine")));
    assert!(clouds.registry("azure", "o", &ask, "ghcr.io").await.is_err());
}

#[tokio::test]
async fn google_federates_and_acts_as_an_account() {
    let (url, seen) = server().await;
    let clouds = Clouds {
        gcp: Gcp {
            metadata: Some(url.clone()),
            sts: Some(url.clone()),
            iam: Some(url),
        },
        ..Clouds::default()
    };
    let world = World::new(&[]);
    let host = "europe-docker.pkg.dev";
    let inside = account(&[]);
    let login = clouds
        .registry("gcp", "o", &world.ask(Some(&inside)), host)
        .await
        .unwrap();
    assert_eq!(password(&login), "oauth2accesstoken:federated");
    assert!(
        seen.lock()
            .unwrap()
            .iter()
            .any(|(_, body)| body.contains("jwt:ns/sa:proj.svc.id.goog") && body.contains("clusters/c"))
    );
    let outside = account(&[
        (
            "gcp.auth.fluxcd.io/workload-identity-provider",
            "projects/1/providers/p",
        ),
        ("iam.gke.io/gcp-service-account", "a@b"),
    ]);
    let login = clouds
        .registry("gcp", "o", &world.ask(Some(&outside)), host)
        .await
        .unwrap();
    assert_eq!(password(&login), "oauth2accesstoken:acting");
    let login = clouds
        .registry("gcp", "o", &world.ask(None), "gcr.io")
        .await
        .unwrap();
    assert_eq!(password(&login), "oauth2accesstoken:node");
    assert!(
        clouds
            .registry("gcp", "o", &world.ask(None), "evilgcr.io")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn aws_assumes_roles_and_logs_in() {
    let (url, seen) = server().await;
    let clouds = Clouds {
        aws: Aws {
            sts: Some(format!("{url}/sts")),
            ecr: Some(format!("{url}/ecr")),
            metadata: Some(url),
            tasks: None,
        },
        ..Clouds::default()
    };
    let world = World::new(&[]);
    let host = "012345678901.dkr.ecr.eu-west-1.amazonaws.com";
    let role = account(&[("eks.amazonaws.com/role-arn", "arn:aws:iam::1:role/r")]);
    let login = clouds
        .registry("aws", "o", &world.ask(Some(&role)), host)
        .await
        .unwrap();
    assert_eq!(password(&login), "AWS:pw");
    let (_, form) = seen.lock().unwrap()[0].clone();
    assert!(
        form.contains("RoleSessionName=ns.sa.eu-west-1.fluxcd.io"),
        "{form}"
    );
    let login = clouds.registry("aws", "o", &world.ask(None), host).await.unwrap();
    assert_eq!(password(&login), "AWS:pw");
    let url = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/x";
    let GitLogin::Basic(login) = clouds.git("aws", "o", &world.ask(None), url).await.unwrap() else {
        panic!()
    };
    assert_eq!(login.username, "M%T");
    let bare = account(&[]);
    let error = clouds
        .registry("aws", "o", &world.ask(Some(&bare)), host)
        .await
        .unwrap_err();
    assert!(error.message.contains("eks.amazonaws.com/role-arn"), "{error}");
}

#[tokio::test]
async fn a_cloud_that_refuses_says_so() {
    let (url, _) = server().await;
    let clouds = Clouds {
        azure: Azure {
            authority: Some(format!("{url}/other")),
            ..Azure::default()
        },
        ..Clouds::default()
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let world = World::new(&[
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_FEDERATED_TOKEN_FILE", &path),
    ]);
    let error = clouds
        .git("azure", "o", &world.ask(None), "https://x")
        .await
        .unwrap_err();
    assert_eq!(error.reason, crate::error::reason::AUTHENTICATION_FAILED);
    assert!(error.message.contains("status 403"), "{error}");
    assert!(
        clouds
            .git("nocloud", "o", &world.ask(None), "https://x")
            .await
            .is_err()
    );
    assert!(
        clouds
            .git("gcp", "o", &world.ask(None), "https://x")
            .await
            .is_err()
    );
}

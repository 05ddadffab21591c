//! Google Cloud Storage, by its JSON interface: the etags that its revisions are made of are only there.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Url;
use serde_json::{Value, json};

use super::wire::{Answer, Failure, MAX_PAGE, Wire, percent, query};
use super::{Listed, Page};
use crate::credentials::cloud::{Ask, Exchange};
use crate::credentials::{Expiring, Secret, jwt};
use crate::error::SourceError;

/// What a token is good for.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";
/// How long the account's own token is good.
const LIFETIME: Duration = Duration::from_secs(3600);

/// A bucket.
#[derive(Clone, Debug)]
pub(super) struct Gcs {
    pub(super) wire: Wire,
    pub(super) endpoint: Url,
    pub(super) bucket: String,
    /// Access token; nothing for a public bucket.
    pub(super) token: Option<Secret>,
}

impl Gcs {
    async fn get(&self, path: &str, query: &str, most: u64) -> Result<Answer, Failure> {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("/storage/v1/b/{}/o{path}", percent(&self.bucket, false)));
        url.set_query(Some(query));
        let token = self.token.as_ref();
        let headers: Vec<(String, String)> = token
            .map(|token| {
                (
                    "authorization".to_owned(),
                    format!("Bearer {}", token.expose_text()),
                )
            })
            .into_iter()
            .collect();
        self.wire.get(url, &headers, most).await
    }

    /// One page of the listing.
    pub(super) async fn page(&self, prefix: &str, next: Option<&str>) -> Result<Page, Failure> {
        let mut pairs = vec![("fields", "items(name,etag,size),nextPageToken")];
        if !prefix.is_empty() {
            pairs.push(("prefix", prefix));
        }
        if let Some(next) = next {
            pairs.push(("pageToken", next));
        }
        let answer = self.get("", &query(&pairs), MAX_PAGE).await?;
        let list: Value =
            serde_json::from_slice(&answer.body).map_err(|_| Failure::Answer("it is no JSON".to_owned()))?;
        let text = |object: &Value, field: &str| {
            object
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let items = list.get("items").and_then(Value::as_array);
        let objects = items.into_iter().flatten().map(|object| Listed {
            key: text(object, "name"),
            etag: text(object, "etag"),
            size: text(object, "size").parse().unwrap_or_default(),
        });
        Ok(Page {
            objects: objects.collect(),
            next: Some(text(&list, "nextPageToken")).filter(|next| !next.is_empty()),
        })
    }

    /// An object. Its header has another etag than the listing, which therefore counts.
    pub(super) async fn object(&self, key: &str, most: u64) -> Result<Answer, Failure> {
        let path = format!("/{}", percent(key, false));
        let answer = self.get(&path, "alt=media", most).await?;
        Ok(Answer { etag: None, ..answer })
    }
}

/// An access token for the account of a key file (`serviceaccount` of the secret).
pub(super) async fn token(key: &[u8], ask: &Ask<'_>) -> Result<Expiring<Secret>, SourceError> {
    let invalid = |why: &str| {
        super::refuse(format!(
            "'serviceaccount' of the secret {why}; put the JSON key of a service account there"
        ))
    };
    let file: Value = serde_json::from_slice(key).map_err(|_| invalid("is no JSON"))?;
    let field = |name: &str| {
        file.get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let (Some(email), Some(private_key)) = (field("client_email"), field("private_key")) else {
        return Err(invalid("has no 'client_email' and 'private_key'"));
    };
    let place = field("token_uri").unwrap_or("https://oauth2.googleapis.com/token");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = json!({
        "iss": email, "scope": SCOPE, "aud": place, "iat": now.as_secs(), "exp": (now + LIFETIME).as_secs(),
    });
    let mut header = json!({});
    if let Some(id) = field("private_key_id") {
        header["kid"] = id.into();
    }
    let assertion = jwt::rs256(
        header,
        &claims,
        private_key.as_bytes(),
        "'private_key' in 'serviceaccount'",
    )?;
    ask.exchange(&Exchange {
        what: "Google's token service",
        url: place,
        fields: &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", &assertion),
        ],
    })
    .await
}

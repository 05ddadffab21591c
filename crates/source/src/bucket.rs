//! Object stores: the files of a bucket, found anew only when the listing has changed. A store is asked in its own words,
//! because a revision is made of keys and etags exactly as the store has them; signing in is that of all other sources.

mod azure;
mod gcs;
mod listing;
mod login;
mod s3;
mod wire;
mod xml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fluvial_ports::{BucketFound, BucketRequest, Provider};
use fluvial_tree::{Entry, File, Tree, TreeBuilder, TreePath};
use futures::{StreamExt, TryStreamExt};
use reqwest::Url;

use crate::aside::aside;
use crate::credentials::cloud::{AwsKeys, Clouds, ServiceAccount};
use crate::credentials::{Secret, TokenCache};
use crate::error::{SourceError, reason};
use crate::git::redact;
use crate::http::{HttpClients, HttpError};
use crate::ignore::IGNORE_FILE;
use crate::limits::{Budget, Limits};
use crate::mirrors::Mirrors;
use crate::web;
use listing::{bad_key, index, revision};
use wire::{Answer, Failure};

/// How many objects are fetched at the same time.
const AT_ONCE: usize = 16;
/// How often a request is made that fails in a way that may pass.
const TRIES: u32 = 4;
/// Wait before the second try; it doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest file of ignore rules.
const MAX_RULES: u64 = 1 << 20;

/// Object stores. Clones are the same.
#[derive(Clone, Debug)]
pub struct BucketSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clients: HttpClients,
    clouds: Clouds,
    environment: BTreeMap<String, String>,
    ldap: TokenCache<AwsKeys>,
    /// Tokens for what secrets hold, by its digest.
    tokens: TokenCache<Secret>,
    limits: Limits,
}

/// An object of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Listed {
    key: String,
    etag: String,
    size: u64,
}

/// A part of a listing.
struct Page {
    objects: Vec<Listed>,
    next: Option<String>,
}

/// A bucket of any store.
enum Store {
    S3(s3::S3),
    Gcs(gcs::Gcs),
    Azure(azure::Azure),
}

impl Store {
    async fn page(&mut self, prefix: &str, next: Option<&str>) -> Result<Page, Failure> {
        match self {
            Store::S3(store) => store.page(prefix, next).await,
            Store::Gcs(store) => store.page(prefix, next).await,
            Store::Azure(store) => store.page(prefix, next).await,
        }
    }

    async fn object(&self, key: &str, most: u64) -> Result<Answer, Failure> {
        match self {
            Store::S3(store) => store.object(key, most).await,
            Store::Gcs(store) => store.object(key, most).await,
            Store::Azure(store) => store.object(key, most).await,
        }
    }

    fn wire(&mut self) -> &mut wire::Wire {
        match self {
            Store::S3(store) => &mut store.wire,
            Store::Gcs(store) => &mut store.wire,
            Store::Azure(store) => &mut store.wire,
        }
    }
}

/// Where a bucket is.
enum Place {
    Server { endpoint: Url, bucket: String },
    Folder(PathBuf),
}

fn refuse(message: impl Into<String>) -> SourceError {
    SourceError::retry(reason::AUTHENTICATION_FAILED, message)
}

fn unusable(message: impl Into<String>) -> SourceError {
    SourceError::retry(reason::BUCKET_OPERATION_FAILED, message)
}

fn bad_endpoint(endpoint: &str) -> SourceError {
    SourceError::stalled(
        reason::URL_INVALID,
        format!(
            "spec.endpoint '{}' is no address of an object store; write HOST[:PORT], with https:// for provider azure only, \
             and set spec.insecure for plain HTTP",
            redact(endpoint)
        ),
    )
}

/// The address of a store as the spec has it.
fn endpoint(request: &BucketRequest) -> Result<Url, SourceError> {
    let text = request.endpoint.as_str();
    let invalid = || bad_endpoint(text);
    let url = if request.access.provider == Provider::Azure && text.contains("://") {
        Url::parse(text).map_err(|_| invalid())?
    } else {
        if text.contains(['/', '?', '#', '@']) {
            return Err(invalid());
        }
        let scheme = if request.access.insecure { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{text}")).map_err(|_| invalid())?
    };
    let fine = ["http", "https"].contains(&url.scheme()) && url.has_host();
    fine.then_some(url).ok_or_else(invalid)
}

/// Where a request leads, and what is told of it if a mirror rule has a say.
fn locate(request: &BucketRequest, mirrors: &Mirrors) -> Result<(Place, Option<String>), SourceError> {
    let endpoint = endpoint(request)?;
    let base = endpoint.as_str().trim_end_matches('/');
    let whole = format!("{base}/{}", request.bucket);
    let Some(rewritten) = mirrors.rewrite(&whole) else {
        let bucket = request.bucket.clone();
        return Ok((Place::Server { endpoint, bucket }, None));
    };
    let told = Some(redact(&rewritten.url));
    let path = rewritten
        .url
        .strip_prefix("file://")
        .or_else(|| (!rewritten.url.contains("://")).then_some(rewritten.url.as_str()));
    if let Some(path) = path {
        return Ok((Place::Folder(PathBuf::from(path)), told));
    }
    let mut url = Url::parse(&rewritten.url).map_err(|_| bad_endpoint(&rewritten.url))?;
    let path = url.path().trim_end_matches('/').to_owned();
    let (above, bucket) = path
        .rsplit_once('/')
        .ok_or_else(|| bad_endpoint(&rewritten.url))?;
    let bucket = bucket.to_owned();
    url.set_path(above);
    Ok((
        Place::Server {
            endpoint: url,
            bucket,
        },
        told,
    ))
}

impl BucketSource {
    /// Object stores; `environment` is the program's, which says who it is in a cloud.
    #[must_use]
    pub fn new(environment: BTreeMap<String, String>, clouds: Clouds, limits: Limits) -> Self {
        BucketSource(Arc::new(Inner {
            clients: HttpClients::default(),
            clouds,
            environment,
            ldap: TokenCache::default(),
            tokens: TokenCache::default(),
            limits,
        }))
    }

    /// The files of a bucket, if its listing is another than that of the revision that the caller has. Files that
    /// `.sourceignore` at the bucket's root or the request excludes do not count.
    ///
    /// # Errors
    /// With Flux's reason: address, credentials, the bucket, a key that cannot be a file, limits.
    pub async fn files(
        &self,
        request: &BucketRequest,
        account: Option<&ServiceAccount>,
        mirrors: &Mirrors,
    ) -> Result<BucketFound, SourceError> {
        login::validate(request)?;
        let (place, rewritten) = locate(request, mirrors)?;
        let (endpoint, bucket) = match place {
            Place::Folder(folder) => {
                let (this, request) = (self.clone(), request.clone());
                return aside(reason::BUCKET_OPERATION_FAILED, move || {
                    this.folder(&folder, &request, rewritten)
                })
                .await;
            }
            Place::Server { endpoint, bucket } => (endpoint, bucket),
        };
        let mut store = self.store(request, account, endpoint, &bucket).await?;
        let prefix = request.prefix.as_deref().unwrap_or_default();
        let listed = self.list(&mut store, &bucket, prefix).await?;
        let rules = self.rules(&store, request, &listed).await?;
        let mut index = index(&listed, rules.as_ref(), request)?;
        let mut found = BucketFound {
            revision: revision(&index),
            files: None,
            rewritten,
        };
        if request.last_revision.as_deref() == Some(&found.revision) {
            return Ok(found);
        }
        // Listing and fetching have the time limit each.
        store.wire().deadline = web::deadline(&request.access);
        let tree = self.fetch(&store, &bucket, &mut index, rules).await?;
        found.revision = revision(&index);
        found.files = Some(tree);
        Ok(found)
    }

    async fn list(&self, store: &mut Store, bucket: &str, prefix: &str) -> Result<Vec<Listed>, SourceError> {
        let mut all: Vec<Listed> = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut patience = Patience::until(store.wire().deadline);
            let page = loop {
                match store.page(prefix, next.as_deref()).await {
                    Ok(page) => break page,
                    Err(failure) => {
                        let waited = patience.wait(failure).await;
                        waited.map_err(|failure| unlisted(failure, bucket, next.is_none()))?;
                    }
                }
            };
            all.extend(page.objects);
            if all.len() > self.0.limits.entries {
                return Err(SourceError::waiting(
                    reason::BUCKET_OPERATION_FAILED,
                    format!(
                        "bucket '{bucket}' has more than {} objects; take a part of it with spec.prefix",
                        self.0.limits.entries
                    ),
                ));
            }
            match page.next {
                Some(token) if next.as_ref() == Some(&token) => {
                    let text = "the listing does not end".to_owned();
                    return Err(unlisted(Failure::Answer(text), bucket, false));
                }
                Some(token) => next = Some(token),
                None => return Ok(all),
            }
        }
    }

    /// The bucket's own ignore rules, as a file.
    async fn rules(
        &self,
        store: &Store,
        request: &BucketRequest,
        listed: &[Listed],
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let all = request.prefix.as_deref().unwrap_or_default().is_empty();
        if all && !listed.iter().any(|object| object.key == IGNORE_FILE) {
            return Ok(None);
        }
        match store.object(IGNORE_FILE, MAX_RULES).await {
            Ok(answer) => Ok(Some(answer.body)),
            Err(failure) if failure.is_missing() => Ok(None),
            Err(Failure::Source(error)) => Err(error),
            Err(failure) => Err(unusable(format!(
                "failed to get Etag for '{IGNORE_FILE}' object: {failure}"
            ))),
        }
    }

    /// Fetches what is in the index; what has changed or gone since the listing is put right in it.
    async fn fetch(
        &self,
        store: &Store,
        bucket: &str,
        index: &mut BTreeMap<String, Listed>,
        rules: Option<Vec<u8>>,
    ) -> Result<Tree, SourceError> {
        let limits = self.0.limits;
        let mut budget = Budget::new(limits, reason::BUCKET_OPERATION_FAILED);
        for object in index.values() {
            budget.depth(&object.key)?;
            budget.entry(&object.key, object.size)?;
        }
        let deadline = match store {
            Store::S3(store) => store.wire.deadline,
            Store::Gcs(store) => store.wire.deadline,
            Store::Azure(store) => store.wire.deadline,
        };
        let keys: Vec<String> = index.keys().cloned().collect();
        let fetched = futures::stream::iter(keys).map(|key| async move {
            let mut patience = Patience::until(deadline);
            loop {
                let failure = match store.object(&key, limits.file).await {
                    Ok(answer) => return Ok((key, Some(answer))),
                    Err(failure) => failure,
                };
                match failure {
                    failure if failure.is_missing() => return Ok((key, None)),
                    Failure::Source(error) => return Err(error),
                    failure => patience.wait(failure).await.map_err(|failure| {
                        unusable(format!(
                            "fetch from bucket '{bucket}' failed: failed to get '{key}' object: {failure}"
                        ))
                    })?,
                }
            }
        });
        let mut fetched = std::pin::pin!(fetched.buffer_unordered(AT_ONCE));
        let mut builder = TreeBuilder::default();
        let mut budget = Budget::new(limits, reason::BUCKET_OPERATION_FAILED);
        while let Some((key, answer)) = fetched.try_next().await? {
            let Some(answer) = answer else {
                index.remove(&key);
                continue;
            };
            budget.entry(&key, answer.body.len() as u64)?;
            if let (Some(etag), Some(listed)) = (answer.etag, index.get_mut(&key)) {
                listed.etag = etag;
            }
            let file = File::new(answer.body, false);
            builder
                .file(&key, file)
                .map_err(|error| bad_key(&key, &format!("cannot be a file ({error})")))?;
        }
        if let Some(rules) = rules {
            // The file with the rules is part of the artifact.
            let _ = builder.file(IGNORE_FILE, File::new(rules, false));
        }
        Ok(builder.build())
    }

    /// A folder of this machine in place of a bucket.
    fn folder(
        &self,
        folder: &Path,
        request: &BucketRequest,
        rewritten: Option<String>,
    ) -> Result<BucketFound, SourceError> {
        let tree = crate::folder::read(folder, self.0.limits)?;
        let prefix = request.prefix.as_deref().unwrap_or_default();
        let listed: Vec<Listed> = tree
            .iter()
            .filter_map(|(path, entry)| match entry {
                Entry::File(file) if path.as_str().starts_with(prefix) => Some(Listed {
                    key: path.as_str().to_owned(),
                    etag: file.digest().to_hex(),
                    size: file.data().len() as u64,
                }),
                _ => None,
            })
            .collect();
        let file = |key: &str| {
            let path = TreePath::parse(key).ok()?;
            tree.file(&path).ok().cloned()
        };
        let rules = file(IGNORE_FILE).map(|file| file.data().to_vec());
        let index = index(&listed, rules.as_ref(), request)?;
        let revision = revision(&index);
        let mut builder = TreeBuilder::default();
        for key in index
            .keys()
            .map(String::as_str)
            .chain(rules.is_some().then_some(IGNORE_FILE))
        {
            if let Some(file) = file(key) {
                let _ = builder.file(key, file);
            }
        }
        Ok(BucketFound {
            files: (request.last_revision.as_deref() != Some(&revision)).then(|| builder.build()),
            revision,
            rewritten,
        })
    }
}

/// How long a request is made again that failed in a way that may pass.
struct Patience {
    deadline: Instant,
    left: u32,
    pause: Duration,
}

impl Patience {
    fn until(deadline: Instant) -> Self {
        Patience {
            deadline,
            left: TRIES,
            pause: PAUSE,
        }
    }

    /// Waits before the next try; the failure if there is to be none.
    async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        let passes = match &failure {
            Failure::Refused { status, .. } => *status == 429 || *status >= 500,
            Failure::Http(HttpError::Connect(_)) => true,
            _ => false,
        };
        self.left = self.left.saturating_sub(1);
        if !passes || self.left == 0 || Instant::now() + self.pause >= self.deadline {
            return Err(failure);
        }
        tokio::time::sleep(self.pause).await;
        self.pause *= 2;
        Ok(())
    }
}

fn unlisted(failure: Failure, bucket: &str, first: bool) -> SourceError {
    match failure {
        Failure::Source(error) => error,
        failure if failure.is_missing() => unusable(format!(
            "bucket '{bucket}' not found; create it, or correct spec.bucketName, spec.endpoint or spec.region"
        )),
        failure if first => unusable(format!(
            "failed to confirm existence of '{bucket}' bucket: {failure}"
        )),
        failure => unusable(format!(
            "indexation of objects from bucket '{bucket}' failed: {failure}"
        )),
    }
}

#[cfg(test)]
mod tests;

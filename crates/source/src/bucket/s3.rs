//! Stores that speak S3: AWS, MinIO and the others.

use jiff::Timestamp;
use reqwest::Url;

use super::wire::{Answer, Failure, MAX_PAGE, Wire, percent, query};
use super::{Listed, Page, xml};
use crate::credentials::cloud::{AwsKeys, SignedRequest};

/// Digest of an empty body.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// Region of stores that have none, and AWS's first.
const DEFAULT_REGION: &str = "us-east-1";

/// A bucket.
#[derive(Clone, Debug)]
pub(super) struct S3 {
    pub(super) wire: Wire,
    /// `scheme://host[:port]` of the store.
    pub(super) endpoint: Url,
    pub(super) bucket: String,
    pub(super) region: String,
    /// What signs requests; nothing for a public bucket.
    pub(super) keys: Option<AwsKeys>,
}

/// The region that a store's requests are signed for, if the spec does not say.
pub(super) fn region(given: Option<&str>, endpoint: &Url) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    let named = host.strip_suffix(".amazonaws.com").and_then(|host| {
        let region = host
            .strip_prefix("s3.dualstack.")
            .or_else(|| host.strip_prefix("s3."));
        region.or_else(|| host.strip_prefix("s3-"))
    });
    given
        .filter(|region| !region.is_empty())
        .or(named)
        .unwrap_or(DEFAULT_REGION)
        .to_owned()
}

impl S3 {
    /// The address of a key, or of the bucket: AWS's by host name, all others' by path.
    fn url(&self, key: &str, query: &str) -> Result<Url, Failure> {
        let host = self.endpoint.host_str().unwrap_or_default();
        let is_aws = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
        let mut base = self.endpoint.clone();
        let named = is_aws && !self.bucket.contains('.');
        if is_aws {
            let regional = match host {
                "s3.amazonaws.com" if self.region != DEFAULT_REGION => {
                    format!("s3.{}.amazonaws.com", self.region)
                }
                host => host.to_owned(),
            };
            let host = if named {
                format!("{}.{regional}", self.bucket)
            } else {
                regional
            };
            base.set_host(Some(&host))
                .map_err(|_| super::bad_endpoint(&self.bucket))?;
        }
        let path = match (named, key) {
            (true, key) => format!("/{}", percent(key, true)),
            (false, "") => format!("/{}/", percent(&self.bucket, false)),
            (false, key) => format!("/{}/{}", percent(&self.bucket, false), percent(key, true)),
        };
        base.set_path(&path);
        base.set_query((!query.is_empty()).then_some(query));
        Ok(base)
    }

    async fn get(&self, url: Url, most: u64) -> Result<Answer, Failure> {
        let Some(keys) = &self.keys else {
            return self.wire.get(url, &[], most).await;
        };
        let headers = SignedRequest {
            method: "GET",
            url: url.as_str(),
            service: "s3",
            region: &self.region,
            headers: &[("x-amz-content-sha256", EMPTY)],
            body: b"",
        }
        .sign(keys, Timestamp::now())?;
        self.wire.get(url, &headers, most).await
    }

    /// One page of the listing.
    pub(super) async fn page(&mut self, prefix: &str, next: Option<&str>) -> Result<Page, Failure> {
        match self.list(prefix, next).await {
            Err(Failure::Refused {
                region: Some(region),
                status: 301 | 307 | 400 | 403,
                ..
            }) if region != self.region => {
                // It says where the bucket is; that is asked once.
                self.region = region;
                self.list(prefix, next).await
            }
            page => page,
        }
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<Page, Failure> {
        let mut pairs = vec![("list-type", "2"), ("encoding-type", "url")];
        if !prefix.is_empty() {
            pairs.push(("prefix", prefix));
        }
        if let Some(next) = next {
            pairs.push(("continuation-token", next));
        }
        let url = self.url("", &query(&pairs))?;
        page_of(&self.get(url, MAX_PAGE).await?.body)
    }

    /// An object with its etag.
    pub(super) async fn object(&self, key: &str, most: u64) -> Result<Answer, Failure> {
        self.get(self.url(key, "")?, most).await
    }
}

fn page_of(body: &[u8]) -> Result<Page, Failure> {
    let list = xml::parse(body).map_err(Failure::Answer)?;
    if list.name != "ListBucketResult" {
        return Err(Failure::Answer(format!("it is a '{}'", list.name)));
    }
    let encoded = list.child("EncodingType") == "url";
    let objects = list.all("Contents").map(|object| {
        let key = object.child("Key");
        Listed {
            key: if encoded { decoded(key) } else { key.to_owned() },
            etag: object.child("ETag").trim_matches('"').to_owned(),
            size: object.child("Size").parse().unwrap_or_default(),
        }
    });
    let next = list.child("NextContinuationToken");
    Ok(Page {
        objects: objects.collect(),
        next: (list.child("IsTruncated") == "true" && !next.is_empty()).then(|| next.to_owned()),
    })
}

/// A key as it was before it was encoded as in a query.
fn decoded(text: &str) -> String {
    let (mut out, bytes) = (Vec::with_capacity(text.len()), text.as_bytes());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok());
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, code) {
            (b'+', _) => out.push(b' '),
            (b'%', Some(code)) => {
                out.push(code);
                at += 2;
            }
            (byte, _) => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HttpClients, HttpSettings};
    use std::time::Instant;

    fn bucket(endpoint: &str, bucket: &str, region: Option<&str>) -> S3 {
        let endpoint = Url::parse(endpoint).unwrap();
        S3 {
            wire: Wire {
                client: HttpClients::default().client(&HttpSettings::default()).unwrap(),
                deadline: Instant::now(),
            },
            region: super::region(region, &endpoint),
            endpoint,
            bucket: bucket.to_owned(),
            keys: None,
        }
    }

    #[test]
    fn aws_buckets_have_host_names_and_others_paths() {
        for (endpoint, name, region, expected) in [
            ("http://minio:9000", "b", None, "http://minio:9000/b/a%20b"),
            (
                "https://s3.amazonaws.com",
                "b",
                None,
                "https://b.s3.amazonaws.com/a%20b",
            ),
            (
                "https://s3.amazonaws.com",
                "b",
                Some("eu-west-1"),
                "https://b.s3.eu-west-1.amazonaws.com/a%20b",
            ),
            (
                "https://s3.amazonaws.com",
                "b.c",
                None,
                "https://s3.amazonaws.com/b.c/a%20b",
            ),
        ] {
            let bucket = bucket(endpoint, name, region);
            assert_eq!(bucket.url("a b", "").unwrap().as_str(), expected);
        }
        assert_eq!(
            bucket("https://s3.eu-north-1.amazonaws.com", "b", None).region,
            "eu-north-1"
        );
    }

    #[test]
    fn signatures_over_escaped_paths_and_queries_are_those_of_amazon_s_own_programs() {
        let keys = AwsKeys {
            access_key_id: "AKID".to_owned(),
            secret_access_key: crate::credentials::Secret::new("SECRET"),
            session_token: None,
        };
        let store = bucket("http://minio:9000", "fleet", None);
        let listing = query(&[("prefix", "infra/"), ("list-type", "2"), ("encoding-type", "url")]);
        for (url, signature) in [
            (
                store.url("", &listing).unwrap(),
                "fa25d90c1931b8dce0b9a40862914250852b73b6608718728804e3718a89d26d",
            ),
            (
                store.url("apps/a b+c.yaml", "").unwrap(),
                "4243d2cd331b0e3a1bc052542bd2c6dcfe34a97a125f8f90ebd0907c24ae58ca",
            ),
        ] {
            let signed = SignedRequest {
                method: "GET",
                url: url.as_str(),
                service: "s3",
                region: "us-east-1",
                headers: &[("x-amz-content-sha256", EMPTY)],
                body: b"",
            };
            let headers = signed
                .sign(&keys, "2026-01-01T00:00:00Z".parse().unwrap())
                .unwrap();
            let header = &headers.last().unwrap().1;
            assert!(header.ends_with(signature), "{url}: {header}");
        }
    }

    #[test]
    fn a_page_has_keys_as_they_are_and_etags_without_quotes() {
        let page = page_of(
            b"<ListBucketResult xmlns='s3'><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
              <NextContinuationToken>t+</NextContinuationToken><Contents><Key>a%2Fb+c%2B</Key>\
              <ETag>&quot;e1&quot;</ETag><Size>7</Size></Contents></ListBucketResult>",
        )
        .unwrap();
        assert_eq!(page.next.as_deref(), Some("t+"));
        let object = &page.objects[0];
        assert_eq!(
            (object.key.as_str(), object.etag.as_str(), object.size),
            ("a/b c+", "e1", 7)
        );
        assert!(matches!(page_of(b"<html></html>"), Err(Failure::Answer(_))));
    }
}

//! What is asked of a stand-in in the words of an object store, and its answers in the same words.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{Content, digest};

/// Whose words.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Words {
    Amazon,
    Google,
    Microsoft,
}

/// What is asked: `/BUCKET` or `/BUCKET/KEY`, as the content has it.
pub(super) struct Wish {
    pub(super) words: Words,
    pub(super) path: String,
    list: bool,
}

impl Wish {
    /// Reads a request. The account of Microsoft's is `ada`.
    pub(super) fn read(path: &str, query: &str) -> Self {
        if let Some(rest) = path.strip_prefix("/storage/v1/b/") {
            let (bucket, key) = rest.split_once("/o").unwrap_or((rest, ""));
            return Wish {
                words: Words::Google,
                path: format!("/{bucket}{}", key.replace("%2F", "/")),
                list: key.is_empty(),
            };
        }
        if let Some(rest) = path.strip_prefix("/ada/") {
            return Wish {
                words: Words::Microsoft,
                path: format!("/{rest}"),
                list: query.contains("comp=list"),
            };
        }
        Wish {
            words: Words::Amazon,
            path: path.to_owned(),
            list: query.contains("list-type=2"),
        }
    }

    /// Whether a bucket is meant, or what is in it.
    pub(super) fn is_of_a_store(&self) -> bool {
        self.words != Words::Amazon || self.path.starts_with("/fleet") || self.path.starts_with("/absent")
    }

    /// Whether it is for the bytes of an object.
    pub(super) fn is_for_an_object(&self) -> bool {
        !self.list && self.path.starts_with("/fleet/")
    }

    /// The listing, if one is wanted of a bucket that is there.
    pub(super) fn listing(&self, content: &Content) -> Option<String> {
        if !self.list {
            return None;
        }
        let folder = format!("{}/", self.path.trim_end_matches('/'));
        let content = content.0.lock().unwrap();
        let mut items = Vec::new();
        for (key, data) in content.range(folder.clone()..) {
            let Some(key) = key.strip_prefix(&folder) else {
                break;
            };
            items.push((key, digest(data)[7..39].to_owned(), data.len()));
        }
        (!items.is_empty()).then(|| self.words.listing(&items))
    }

    /// A refusal of whoever asks.
    pub(super) fn refusal(&self) -> Response {
        self.words.error(
            StatusCode::FORBIDDEN,
            "InvalidAccessKeyId",
            "nobody knows this key",
        )
    }

    /// There is no such bucket.
    pub(super) fn absence(&self) -> Response {
        self.words
            .error(StatusCode::NOT_FOUND, "NoSuchBucket", "it does not exist")
    }
}

impl Words {
    fn listing(self, items: &[(&str, String, usize)]) -> String {
        let each = |one: &dyn Fn(&str, &str, usize) -> String| -> String {
            items
                .iter()
                .map(|(key, tag, size)| one(key, tag, *size))
                .collect()
        };
        match self {
            Words::Amazon => format!(
                "<ListBucketResult>{}</ListBucketResult>",
                each(&|key, tag, size| format!(
                    "<Contents><Key>{key}</Key><ETag>&quot;{tag}&quot;</ETag><Size>{size}</Size></Contents>"
                ))
            ),
            Words::Microsoft => format!(
                "<EnumerationResults><Blobs>{}</Blobs></EnumerationResults>",
                each(&|key, tag, size| format!(
                    "<Blob><Name>{key}</Name><Properties><Etag>{tag}</Etag><Content-Length>{size}</Content-Length>\
                     </Properties></Blob>"
                ))
            ),
            Words::Google => {
                let items = items
                    .iter()
                    .map(|(key, tag, size)| json!({"name": key, "etag": tag, "size": size.to_string()}));
                json!({"items": items.collect::<Vec<_>>()}).to_string()
            }
        }
    }

    fn error(self, status: StatusCode, code: &str, text: &str) -> Response {
        let body = match self {
            Words::Google => json!({"error": {"code": status.as_u16(), "message": text,
                "errors": [{"reason": code}]}})
            .to_string(),
            Words::Amazon | Words::Microsoft => {
                format!("<Error><Code>{code}</Code><Message>{text}</Message></Error>")
            }
        };
        (status, body).into_response()
    }
}

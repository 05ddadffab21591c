//! The artifacts over HTTP: plain files with ranges and ETags, no listings, nothing else.

use std::io::SeekFrom;
use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::Store;
use crate::git::percent_decode;

/// A router that serves the store's files under the paths that statuses publish.
pub fn serve(store: Store) -> Router {
    Router::new().fallback(file).with_state(store)
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// As Go's file server says it.
fn not_found() -> Response<Body> {
    let mut response = plain(StatusCode::NOT_FOUND);
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    *response.body_mut() = Body::from("404 page not found\n");
    response
}

/// What a file's state is called, and since when it has it.
struct Validators {
    etag: String,
    modified: String,
}

impl Validators {
    fn of(meta: &std::fs::Metadata) -> Self {
        let modified = meta.modified().ok();
        let age = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let age = age.unwrap_or_default();
        let seconds = i64::try_from(age.as_secs()).unwrap_or_default();
        let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
        Validators {
            etag: format!("\"{:x}-{:x}\"", meta.len(), age.as_nanos()),
            modified: time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        }
    }

    /// Whether whoever asks has it already.
    fn are_known(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match text(IF_NONE_MATCH) {
            Some(tags) => tags.split(',').any(|tag| {
                let tag = tag.trim().trim_start_matches("W/");
                tag == "*" || tag == self.etag
            }),
            // Everybody sends back what was sent; a file is replaced, so that an earlier time is another file.
            None => text(IF_MODIFIED_SINCE).is_some_and(|time| time.trim() == self.modified),
        }
    }

    /// Whether the rest of a file is the rest of what whoever asks has.
    fn allow_ranges(&self, headers: &HeaderMap) -> bool {
        let held = headers.get(IF_RANGE).and_then(|value| value.to_str().ok());
        held.is_none_or(|held| held.trim() == self.etag || held.trim() == self.modified)
    }

    fn write(&self, headers: &mut HeaderMap) {
        for (name, text) in [(ETAG, &self.etag), (LAST_MODIFIED, &self.modified)] {
            if let Ok(value) = text.parse() {
                headers.insert(name, value);
            }
        }
    }
}

/// The file that a path leads to; a link to the newest artifact is followed in its folder.
async fn find(store: &Store, path: &str) -> Option<PathBuf> {
    let path = percent_decode(path.trim_start_matches('/'));
    let fits = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    if !path.split('/').all(fits) {
        return None;
    }
    let path = store.root().join(path);
    let real = tokio::fs::canonicalize(&path).await.ok()?;
    let root = tokio::fs::canonicalize(store.root()).await.ok()?;
    let inside = real.strip_prefix(&root).ok()?;
    inside
        .to_str()
        .is_some_and(|text| text.split('/').all(fits))
        .then_some(real)
}

async fn file(State(store): State<Store>, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED);
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let Some(path) = find(&store, uri.path()).await else {
        return not_found();
    };
    let Ok(file) = tokio::fs::File::open(&path).await else {
        return not_found();
    };
    let meta = match file.metadata().await {
        Ok(meta) if meta.is_file() => meta,
        _ => return not_found(),
    };
    let validators = Validators::of(&meta);
    let mut response = if validators.are_known(&headers) {
        plain(StatusCode::NOT_MODIFIED)
    } else {
        let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
        let range = range.filter(|_| validators.allow_ranges(&headers));
        let range = range.map_or(Range::All, |range| parse_range(range, meta.len()));
        content(&path, file, meta.len(), range, method == Method::HEAD).await
    };
    validators.write(response.headers_mut());
    response
}

/// A file or a part of it.
async fn content(
    path: &std::path::Path,
    mut file: tokio::fs::File,
    size: u64,
    range: Range,
    head: bool,
) -> Response<Body> {
    let (status, start, length) = match range {
        Range::Part(start, length) => (StatusCode::PARTIAL_CONTENT, start, length),
        Range::All => (StatusCode::OK, 0, size),
        Range::Unsatisfiable => {
            return Response::builder()
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(CONTENT_RANGE, format!("bytes */{size}"))
                .body(Body::empty())
                .unwrap_or_default();
        }
    };
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz" | "tgz") => "application/gzip",
        Some("yaml" | "yml") => "application/yaml",
        _ => "application/octet-stream",
    };
    let mut response = Response::builder()
        .status(status)
        .header(ACCEPT_RANGES, "bytes")
        .header(CONTENT_TYPE, kind)
        .header(CONTENT_LENGTH, length);
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {start}-{}/{size}", start + length - 1);
        response = response.header(CONTENT_RANGE, part);
    }
    let body = if head {
        Body::empty()
    } else {
        if start > 0 && file.seek(SeekFrom::Start(start)).await.is_err() {
            return plain(StatusCode::INTERNAL_SERVER_ERROR);
        }
        Body::from_stream(ReaderStream::with_capacity(file.take(length), 64 << 10))
    };
    response
        .body(body)
        .unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR))
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    All,
    Part(u64, u64),
    Unsatisfiable,
}

/// Start and length of a single range; several at once are answered with everything.
fn parse_range(text: &str, size: u64) -> Range {
    let Some(range) = text.trim().strip_prefix("bytes=") else {
        return Range::All;
    };
    let Some((first, last)) = range.split_once('-').filter(|_| !range.contains(',')) else {
        return Range::All;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (
        first.trim().is_empty(),
        number(first),
        last.trim().is_empty(),
        number(last),
    ) {
        (true, _, false, Some(0)) => Range::Unsatisfiable,
        (true, _, false, Some(_)) if size == 0 => Range::Unsatisfiable,
        (true, _, false, Some(suffix)) => {
            let length = suffix.min(size);
            Range::Part(size - length, length)
        }
        (false, Some(start), true, _) if start < size => Range::Part(start, size - start),
        (false, Some(start), false, Some(end)) if start < size && start <= end => {
            Range::Part(start, end.min(size - 1) - start + 1)
        }
        (false, Some(start), ..) if start >= size => Range::Unsatisfiable,
        _ => Range::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        for (text, want) in [
            ("bytes=0-3", Range::Part(0, 4)),
            ("bytes=5-", Range::Part(5, 5)),
            ("bytes=-3", Range::Part(7, 3)),
            ("bytes=-30", Range::Part(0, 10)),
            ("bytes=8-100", Range::Part(8, 2)),
            ("bytes=10-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=0-1,4-5", Range::All),
            ("bytes=5-1", Range::All),
            ("lines=1-2", Range::All),
        ] {
            assert_eq!(parse_range(text, 10), want, "{text}");
        }
        assert_eq!(parse_range("bytes=-3", 0), Range::Unsatisfiable);
    }
}

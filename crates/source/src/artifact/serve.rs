//! The artifacts over HTTP: plain files with ranges and ETags, no listings, nothing else.

use std::io::SeekFrom;
use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
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
            .insert(ALLOW, axum::http::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let Some(path) = find(&store, uri.path()).await else {
        return plain(StatusCode::NOT_FOUND);
    };
    let Ok(mut file) = tokio::fs::File::open(&path).await else {
        return plain(StatusCode::NOT_FOUND);
    };
    let meta = match file.metadata().await {
        Ok(meta) if meta.is_file() => meta,
        _ => return plain(StatusCode::NOT_FOUND),
    };
    let size = meta.len();
    let etag = etag(&meta);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let matches = |value: &str| {
        value.split(',').any(|tag| {
            matches!(tag.trim().trim_start_matches("W/"), "*") || tag.trim().trim_start_matches("W/") == etag
        })
    };
    if text(IF_NONE_MATCH).is_some_and(matches) {
        let mut response = plain(StatusCode::NOT_MODIFIED);
        if let Ok(value) = etag.parse() {
            response.headers_mut().insert(ETAG, value);
        }
        return response;
    }
    let same = text(IF_RANGE).is_none_or(|tag| tag.trim() == etag);
    let range = text(RANGE).filter(|_| same).map(|range| parse_range(range, size));
    let (status, start, length) = match range {
        Some(Range::Part(start, length)) => (StatusCode::PARTIAL_CONTENT, start, length),
        Some(Range::Unsatisfiable) => {
            return Response::builder()
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(CONTENT_RANGE, format!("bytes */{size}"))
                .body(Body::empty())
                .unwrap_or_default();
        }
        Some(Range::All) | None => (StatusCode::OK, 0, size),
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
        .header(CONTENT_LENGTH, length)
        .header(ETAG, &etag);
    if status == StatusCode::PARTIAL_CONTENT {
        response = response.header(
            CONTENT_RANGE,
            format!("bytes {start}-{}/{size}", start + length - 1),
        );
    }
    let body = if method == Method::HEAD {
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

/// Names the file's state; a file under one path is replaced, never changed.
fn etag(meta: &std::fs::Metadata) -> String {
    let modified = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_nanos());
    format!("\"{:x}-{modified:x}\"", meta.len())
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

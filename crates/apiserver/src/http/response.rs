//! Answers: bytes with their headers, or a stream of watch events.

use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::Stream;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use serde_json::{Value, json};

use super::negotiate::{Format, Shape};
use super::shape::Shaper;
use crate::api::Api;
use crate::request::Request;
use crate::status::{Failure, Outcome};
use crate::verbs::watch::Watch;
use crate::verbs::{Reply, show};

type Pieces = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

enum State {
    Full(Option<Bytes>),
    Watch(Pieces),
    Done,
}

/// The body of an answer.
pub struct Body(State);

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Body")
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body(State::Full(Some(bytes)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (piece, is_last) = match &mut self.0 {
            State::Done => (None, true),
            State::Full(bytes) => (bytes.take().filter(|bytes| !bytes.is_empty()), true),
            State::Watch(pieces) => {
                let piece = ready!(pieces.as_mut().poll_next(context));
                let is_last = piece.is_none();
                (piece, is_last)
            }
        };
        if is_last {
            self.0 = State::Done;
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Done => true,
            State::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            State::Watch(_) => false,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.0 {
            State::Full(Some(bytes)) => http_body::SizeHint::with_exact(bytes.len() as u64),
            State::Full(None) | State::Done => http_body::SizeHint::with_exact(0),
            State::Watch(_) => http_body::SizeHint::default(),
        }
    }
}

enum Content {
    Json(Bytes),
    Value(Value),
    Bytes(Bytes, &'static str),
    Empty,
    Watch(Box<Watch>),
}

/// An answer before it has a representation.
pub struct Answer {
    code: u16,
    content: Content,
    headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// A JSON value.
    #[must_use]
    pub fn json(code: u16, value: &Value) -> Self {
        Answer {
            code,
            content: Content::Value(value.clone()),
            headers: vec![],
        }
    }

    /// Bytes of a media type.
    #[must_use]
    pub fn bytes(code: u16, bytes: impl Into<Bytes>, media: &'static str) -> Self {
        Answer {
            code,
            content: Content::Bytes(bytes.into(), media),
            headers: vec![],
        }
    }

    /// The same with a header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The response.
    #[must_use]
    pub fn into_response(self, format: Format) -> Response<Body> {
        let (body, media) = match self.content {
            Content::Json(bytes) if format == Format::Json => (Body::from(bytes), "application/json"),
            Content::Json(bytes) => encoded(&serde_json::from_slice(&bytes).unwrap_or_default(), format),
            Content::Value(value) => encoded(&value, format),
            Content::Bytes(bytes, media) => (Body::from(bytes), media),
            Content::Empty => (Body::from(Bytes::new()), ""),
            Content::Watch(watch) => (Body(State::Watch(Box::pin(watch.pieces()))), "application/json"),
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if !media.is_empty() {
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(media));
        }
        headers.insert(
            http::header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, private"),
        );
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

fn encoded(value: &Value, format: Format) -> (Body, &'static str) {
    match format {
        Format::Json => (Body::from(Bytes::from(value.to_string())), "application/json"),
        Format::Pretty => {
            let text = serde_json::to_string_pretty(value).unwrap_or_default();
            (Body::from(Bytes::from(text)), "application/json")
        }
        Format::Yaml => (
            Body::from(Bytes::from(fluvial_yaml::json_to_yaml(value))),
            "application/yaml",
        ),
    }
}

/// Answers from this size on are sent compressed to those who take that.
const LARGE: usize = 128 * 1024;

/// The response with its body compressed, if that is large.
#[must_use]
pub fn packed(mut response: Response<Body>) -> Response<Body> {
    let State::Full(Some(bytes)) = &response.body().0 else {
        return response;
    };
    if bytes.len() <= LARGE {
        return response;
    }
    // Lists are as good as gone when they arrive: time counts more than size.
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    let Ok(packed) = encoder.write_all(bytes).and_then(|()| encoder.finish()) else {
        return response;
    };
    *response.body_mut() = Body::from(Bytes::from(packed));
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(http::header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// The response of a failure.
#[must_use]
pub fn failure(failure: &Failure, format: Format) -> Response<Body> {
    let answer = if failure.plain {
        Answer::bytes(failure.code, failure.message.clone(), "text/plain; charset=utf-8")
            .with_header("x-content-type-options", "nosniff")
    } else {
        let retry = failure
            .details
            .as_ref()
            .and_then(|details| details["retryAfterSeconds"].as_i64());
        let answer = Answer::json(failure.code, &failure.to_value());
        match retry {
            Some(seconds) => answer.with_header("retry-after", seconds.to_string()),
            None => answer,
        }
    };
    answer.into_response(format)
}

/// The response to those who take nothing but protobuf: there is none of it.
#[must_use]
pub fn refused_protobuf() -> Response<Body> {
    let message = "only the following media types are accepted: application/json, application/yaml, \
                   application/vnd.kubernetes.protobuf";
    let body = super::protobuf::status(406, "NotAcceptable", message);
    Answer::bytes(406, body, "application/vnd.kubernetes.protobuf").into_response(Format::Json)
}

/// Gives a reply the shape asked for.
///
/// # Errors
/// It cannot have that shape.
pub fn shaped(api: &Api, request: &Request, reply: Reply) -> Outcome<Answer> {
    let plain = super::is_plain(&request.accept);
    let kind = &request.kind;
    let answer = |code, content| {
        Ok(Answer {
            code,
            content,
            headers: vec![],
        })
    };
    match reply {
        Reply::Watch(watch) => answer(200, Content::Watch(watch)),
        // Nobody says of what kind nothing is.
        Reply::Text(code, text) if text.is_empty() => answer(code, Content::Empty),
        Reply::Text(code, text) => answer(code, Content::Bytes(text.into(), "text/plain")),
        Reply::Stored(code, stored) if plain && !crate::convert::differs(kind) => {
            let head = kind.head();
            let mut out = BytesMut::with_capacity(head.len() + stored.text.size());
            out.put_slice(head.as_bytes());
            out.put_slice(&stored.json()[1..]);
            answer(code, Content::Json(out.freeze()))
        }
        Reply::Stored(code, stored) => one(api, request, code, show(kind, &stored)),
        Reply::Value(code, value) => one(api, request, code, value),
        Reply::List {
            version,
            next,
            remaining,
            objects,
        } => {
            let mut meta = json!({"resourceVersion": version.to_string()});
            if let Some(token) = next {
                meta["continue"] = token.into();
            }
            if kind.custom.is_some() && plain && meta["continue"].is_null() {
                meta["continue"] = "".into();
            }
            if let Some(left) = remaining {
                meta["remainingItemCount"] = left.into();
            }
            if plain && !crate::convert::differs(kind) {
                let mut out =
                    BytesMut::with_capacity(objects.iter().map(|object| object.text.size() + 64).sum());
                out.put_slice(
                    format!(
                        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{meta},\"items\":[",
                        kind.list_kind,
                        kind.api_version()
                    )
                    .as_bytes(),
                );
                let head = if kind.custom.is_some() {
                    kind.head()
                } else {
                    "{".to_owned()
                };
                for (index, object) in objects.iter().enumerate() {
                    if index > 0 {
                        out.put_u8(b',');
                    }
                    out.put_slice(head.as_bytes());
                    out.put_slice(&object.json()[1..]);
                }
                out.put_slice(b"]}");
                return answer(200, Content::Json(out.freeze()));
            }
            let shaper = Shaper::new(kind.clone(), &request.accept.shape, &request.query)?;
            let whole = !plain || kind.custom.is_some();
            let values = objects.iter().map(|stored| {
                let mut value = show(kind, stored);
                if !whole && let Some(map) = value.as_object_mut() {
                    map.remove("kind");
                    map.remove("apiVersion");
                }
                value
            });
            answer(200, Content::Json(shaper.list(&meta, values, api)?))
        }
    }
}

fn one(api: &Api, request: &Request, code: u16, value: Value) -> Outcome<Answer> {
    // Statuses and the like have no other shape.
    let own = value["kind"] == *request.kind.kind;
    let scale = request.target.subresource == "scale";
    let value = if own && request.accept.shape != Shape::Object {
        Shaper::new(request.kind.clone(), &request.accept.shape, &request.query)?.one(value, api)?
    } else if scale && value["kind"] == "Scale" && request.accept.shape != Shape::Object {
        let kind = crate::kinds::Kind {
            group: "autoscaling".to_owned(),
            version: "v1".to_owned(),
            kind: "Scale".to_owned(),
            ..crate::kinds::Kind::default()
        };
        Shaper::new(kind.into(), &request.accept.shape, &request.query)?.one(value, api)?
    } else if let ("TokenRequest", Shape::Partial(_)) =
        (value["kind"].as_str().unwrap_or(""), &request.accept.shape)
    {
        Shaper::new(request.kind.clone(), &request.accept.shape, &request.query)?.one(value, api)?
    } else {
        value
    };
    Ok(Answer {
        code,
        content: Content::Value(value),
        headers: vec![],
    })
}

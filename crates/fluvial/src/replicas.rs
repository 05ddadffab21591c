//! Artifacts that the leading replica has, given out by those that stand by: a Service in front of all of them leads to
//! any, and only the leader makes artifacts.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fluvial_controllers::lease::Leader;
use tower::ServiceExt as _;

/// Marks what one replica asks another, which does not ask a third.
const ASKED: HeaderName = HeaderName::from_static("fluvial-replica");
/// What is passed on of a question,
const QUESTION: [HeaderName; 4] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
];
/// and of its answer.
const ANSWER: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::ETAG,
    header::LAST_MODIFIED,
];

#[derive(Clone)]
struct Replica {
    files: Router,
    leader: Arc<Leader>,
    client: reqwest::Client,
}

/// The files of this process, and what it lacks from the one that leads.
pub(crate) fn router(files: Router, leader: Arc<Leader>) -> Result<Router, String> {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| error.to_string())?;
    let replica = Replica {
        files,
        leader,
        client,
    };
    Ok(Router::new().fallback(give).with_state(replica))
}

async fn give(State(replica): State<Replica>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let (method, path, headers) = (
        parts.method.clone(),
        parts.uri.path().to_owned(),
        parts.headers.clone(),
    );
    let Ok(own) = replica
        .files
        .clone()
        .oneshot(Request::from_parts(parts, Body::empty()))
        .await;
    let asked = headers.contains_key(&ASKED) || ![Method::GET, Method::HEAD].contains(&method);
    match replica.leader.address() {
        Some(address) if own.status() == StatusCode::NOT_FOUND && !asked => {
            let answer = replica.ask(method, format!("{address}{path}"), &headers).await;
            answer.unwrap_or_else(|error| {
                tracing::warn!(%error, path, "the leading replica does not give what it has");
                (StatusCode::BAD_GATEWAY, "the leading replica does not answer\n").into_response()
            })
        }
        _ => own,
    }
}

impl Replica {
    /// The leader's answer.
    async fn ask(
        &self,
        method: Method,
        url: String,
        headers: &HeaderMap,
    ) -> Result<Response, reqwest::Error> {
        let mut question = self
            .client
            .request(method, url)
            .headers(picked(headers, &QUESTION));
        question = question.header(ASKED, HeaderValue::from_static("asks"));
        let answer = question.send().await?;
        let (status, headers) = (answer.status(), picked(answer.headers(), &ANSWER));
        let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

fn picked(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let known = |name: &HeaderName| Some((name.clone(), headers.get(name)?.clone()));
    names.iter().filter_map(known).collect()
}

/// Where the other replicas reach this one: at the address that it listens at, or if that is any, at the one with which
/// this machine or container talks to the cluster.
pub(crate) fn own_address(listening: SocketAddr) -> SocketAddr {
    let mut address = crate::server::reachable(listening);
    if listening.ip().is_unspecified()
        && let Some(ip) = outward()
    {
        address.set_ip(ip);
    }
    address
}

/// The address that requests to the cluster come from. Nothing is sent to find out.
fn outward() -> Option<IpAddr> {
    let host: IpAddr = std::env::var("KUBERNETES_SERVICE_HOST").ok()?.parse().ok()?;
    let any: SocketAddr = match host {
        IpAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect((host, 443)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

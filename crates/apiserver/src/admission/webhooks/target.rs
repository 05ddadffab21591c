//! Where a webhook is, and the call to it.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;

use super::shown;
use crate::api::Api;

/// Most bytes of an answer.
const ANSWER_LIMIT: usize = 16 << 20;

/// Most redirections that are followed.
const REDIRECTIONS: usize = 10;

/// Where to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// Where to connect to.
    address: String,
    /// The name in the certificate.
    name: String,
    path: String,
}

/// What came back.
enum Answer {
    Review(Value),
    /// To be asked elsewhere, with the same body or with none.
    Moved(Place, bool),
}

/// A call to be made.
#[derive(Clone, Debug)]
pub struct Call {
    /// The URL as failures show it.
    url: String,
    place: Place,
    authorities: Vec<CertificateDer<'static>>,
    timeout: Duration,
    body: Bytes,
}

/// The call to a webhook; None if it is behind a service whose pods are simulated.
///
/// # Errors
/// The configuration leads nowhere.
pub fn prepare(api: &Api, config: &Value, seconds: u64, body: &Value) -> Result<Option<Call>, String> {
    let seconds = seconds.clamp(1, 30);
    let (url, mut place): (String, Place);
    if let Some(given) = config["url"].as_str() {
        place = Place::of(given)?;
        url = given.to_owned();
    } else {
        let service = &config["service"];
        let port = service["port"].as_u64().unwrap_or(443);
        let name = shown(service);
        let path = service["path"].as_str().unwrap_or("/").to_owned();
        url = format!("https://{name}:{port}{path}");
        let found = endpoint(api, service, port)
            .map_err(|why| format!("Post \"{url}?timeout={seconds}s\": {why}"))?;
        let Some(address) = found else {
            return Ok(None);
        };
        place = Place { address, name, path };
    }
    let bundle = config["caBundle"].as_str().unwrap_or("");
    let pem = base64::engine::general_purpose::STANDARD
        .decode(bundle)
        .map_err(|error| format!("unable to load root certificates: {error}"))?;
    let authorities: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let separator = if place.path.contains('?') { '&' } else { '?' };
    place.path = format!("{}{separator}timeout={seconds}s", place.path);
    Ok(Some(Call {
        url: format!("{url}{separator}timeout={seconds}s"),
        place,
        authorities: authorities.map_err(|error| format!("unable to load root certificates: {error}"))?,
        timeout: Duration::from_secs(seconds),
        body: body.to_string().into(),
    }))
}

impl Place {
    /// Where a URL leads.
    fn of(url: &str) -> Result<Place, String> {
        let rest = url.strip_prefix("https://").ok_or("only https is allowed")?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let port = if has_port(host) { "" } else { ":443" };
        Ok(Place {
            address: format!("{host}{port}"),
            name: host_of(host).to_owned(),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
        })
    }

    /// Where it sends a request on to.
    fn moved(&self, location: &str) -> Result<Place, String> {
        if location.starts_with('/') && !location.starts_with("//") {
            let path = location.to_owned();
            return Ok(Place { path, ..self.clone() });
        }
        Place::of(location)
    }
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(before, port)| {
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && !before.ends_with(':')
    }) && !host.ends_with(']')
}

fn host_of(host: &str) -> &str {
    let host = if has_port(host) {
        host.rsplit_once(':').map_or(host, |(before, _)| before)
    } else {
        host
    };
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The address of one of a service's endpoints. Where workloads are simulated there is none to connect to.
fn endpoint(api: &Api, service: &Value, port: u64) -> Result<Option<String>, String> {
    let word = |field: &str| service[field].as_str().unwrap_or("");
    let name = word("name");
    let key = format!("{}/{name}", word("namespace"));
    let found = api
        .store
        .collection("services")
        .get(&key)
        .ok_or_else(|| format!("service {name:?} not found"))?
        .value();
    if api.features.workloads {
        return Ok(None);
    }
    let own = found["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|own| own["port"] == port)
        .ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    if found["spec"]["type"] == "ExternalName" {
        let host = found["spec"]["externalName"].as_str().unwrap_or("");
        return Ok(Some(format!("{host}:{port}")));
    }
    let none = || format!("no endpoints available for service {name:?}");
    let endpoints = api
        .store
        .collection("endpoints")
        .get(&key)
        .ok_or_else(none)?
        .value();
    let port_name = own["name"].as_str().unwrap_or("");
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        let target = subset["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|own| own["name"].as_str().unwrap_or("") == port_name);
        let address = subset["addresses"][0]["ip"].as_str();
        if let (Some(target), Some(address)) = (target.and_then(|own| own["port"].as_u64()), address) {
            return Ok(Some(format!("{address}:{target}")));
        }
    }
    Err(none())
}

impl Call {
    /// Makes the call.
    ///
    /// # Errors
    /// What went wrong, as failures of requests show it.
    pub async fn send(&self) -> Result<Value, String> {
        let result = match tokio::time::timeout(self.timeout, self.exchange()).await {
            Ok(result) => result,
            Err(_) => Err("context deadline exceeded".to_owned()),
        };
        result.map_err(|why| format!("Post \"{}\": {why}", self.url))
    }

    async fn exchange(&self) -> Result<Value, String> {
        let (mut place, mut body) = (self.place.clone(), Some(self.body.clone()));
        for _ in 0..=REDIRECTIONS {
            match self.ask(&place, body.clone()).await? {
                Answer::Review(review) => return Ok(review),
                Answer::Moved(next, same) => {
                    place = next;
                    body = body.filter(|_| same);
                }
            }
        }
        Err(format!("stopped after {REDIRECTIONS} redirects"))
    }

    async fn ask(&self, place: &Place, body: Option<Bytes>) -> Result<Answer, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let config = super::trust::config(&self.authorities)?;
        let name = ServerName::try_from(place.name.clone()).map_err(|error| text(&error))?;
        let stream = tokio::net::TcpStream::connect(&place.address)
            .await
            .map_err(|error| format!("dial tcp {}: {}", place.address, unreached(&error)))?;
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| format!("tls: failed to verify certificate: {error}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| text(&error))?;
        let driver = tokio::spawn(connection);
        let method = if body.is_some() { "POST" } else { "GET" };
        let request = ::http::Request::builder()
            .method(method)
            .uri(&place.path)
            .header("host", &place.name)
            .header("content-type", "application/json")
            .header("accept", "application/json, */*")
            .header("user-agent", "kube-apiserver-admission")
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| text(&error))?;
        let response = sender.send_request(request).await.map_err(|error| text(&error))?;
        let answer = read(place, response).await;
        driver.abort();
        answer
    }
}

/// Reads an answer to its end.
async fn read(place: &Place, response: ::http::Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let status = response.status();
    let location = response.headers().get(::http::header::LOCATION);
    if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status.as_u16(), location) {
        let location = location.to_str().map_err(|error| error.to_string())?;
        return Ok(Answer::Moved(
            place.moved(location)?,
            matches!(status.as_u16(), 307 | 308),
        ));
    }
    let body = Limited::new(response.into_body(), ANSWER_LIMIT)
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    if !status.is_success() {
        return Err(format!("the server answered {status}"));
    }
    let review = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    Ok(Answer::Review(review))
}

/// Why nobody was reached, as Go says it.
fn unreached(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_may_have_ports() {
        assert!(has_port("example.com:8443"));
        assert!(!has_port("example.com"));
        assert!(!has_port("[::1]"));
        assert_eq!(host_of("[::1]:443"), "::1");
        assert_eq!(host_of("example.com:8443"), "example.com");
    }

    #[test]
    fn redirections_stay_or_lead_elsewhere_over_https() {
        let place = Place::of("https://[::1]:8443//review?timeout=10s").unwrap();
        assert_eq!(
            (place.name.as_str(), place.path.as_str()),
            ("::1", "//review?timeout=10s")
        );
        let here = place.moved("/review?timeout=10s").unwrap();
        assert_eq!(
            (here.address.as_str(), here.path.as_str()),
            ("[::1]:8443", "/review?timeout=10s")
        );
        let there = place.moved("https://example.com/x").unwrap();
        assert_eq!(
            (there.address.as_str(), there.name.as_str()),
            ("example.com:443", "example.com")
        );
        assert!(place.moved("http://example.com/x").is_err());
        assert!(place.moved("review").is_err());
    }
}

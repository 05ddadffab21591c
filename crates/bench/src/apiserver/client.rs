//! The least client of an API server: HTTP/1.1 over TLS with a token. The certificate is not looked at, so that any server can be
//! measured.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::Failure;

#[derive(Debug)]
struct Trusting(rustls::crypto::WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Where a server is, and who asks.
#[derive(Clone)]
pub(super) struct Place {
    address: String,
    token: String,
    tls: Arc<ClientConfig>,
}

impl Place {
    /// The server at a URL (`https://address:port`).
    pub(super) fn new(url: &str, token: &str) -> Result<Place, Failure> {
        let address = url.trim_end_matches('/').strip_prefix("https://");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let schemes = provider.signature_verification_algorithms;
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting(schemes)))
            .with_no_client_auth();
        Ok(Place {
            address: address
                .ok_or_else(|| format!("{url} is no https URL"))?
                .to_owned(),
            token: token.to_owned(),
            tls: Arc::new(tls),
        })
    }

    /// Where it is.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Who asks.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// What speaks TLS, and a protocol inside.
    pub(super) fn tls(&self, protocol: &[u8]) -> ClientConfig {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![protocol.to_vec()];
        tls
    }

    async fn stream(&self) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, Failure> {
        let stream = tokio::net::TcpStream::connect(&self.address)
            .await
            .map_err(|error| format!("{}: {error}", self.address))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        tokio_rustls::TlsConnector::from(self.tls.clone())
            .connect(name, stream)
            .await
            .map_err(|error| error.to_string())
    }

    /// A connection of its own.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        let stream = self.stream().await?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // It ends with the server or with the client.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Client {
            place: self.clone(),
            sender,
        })
    }
}

/// One connection.
pub(super) struct Client {
    place: Place,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    async fn send(&mut self, method: &str, path: &str, body: Bytes) -> Result<(u16, Incoming), Failure> {
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.place.address)
            .header("authorization", format!("Bearer {}", self.place.token))
            .header("user-agent", "fluvial-bench")
            .header("accept", "application/json")
            .header("content-type", "application/apply-patch+yaml")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response = self
            .sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        Ok((response.status().as_u16(), response.into_body()))
    }

    /// The status and the size of an answer that is read whole.
    pub(super) async fn size(
        &mut self,
        method: &str,
        path: &str,
        body: Bytes,
    ) -> Result<(u16, usize), Failure> {
        let (status, mut body) = self.send(method, path, body).await?;
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            size += frame.data_ref().map_or(0, Bytes::len);
        }
        Ok((status, size))
    }

    /// The same, of an answer that says that it went well.
    pub(super) async fn good(&mut self, method: &str, path: &str, body: Bytes) -> Result<usize, Failure> {
        match self.size(method, path, body).await? {
            (200 | 201, size) => Ok(size),
            (status, _) => Err(format!("{method} {path}: {status}")),
        }
    }
}

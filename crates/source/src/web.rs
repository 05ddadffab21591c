//! Sessions for sources that are not Git: from Secrets to clients and credentials, and bounded downloads into files.

use std::path::Path;
use std::time::{Duration, Instant};

use fluvial_ports::Access;
use reqwest::{Response, Url};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt;

use crate::credentials::{Basic, Proxy, Tls, bearer_token};
use crate::error::SourceError;
use crate::http::{HttpAuth, HttpClients, HttpError, HttpSession, HttpSettings};

/// Time limit where none is given.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Until when an access may take.
pub(crate) fn deadline(access: &Access) -> Instant {
    let limit = if access.timeout.is_zero() {
        TIMEOUT
    } else {
        access.timeout
    };
    Instant::now() + limit
}

/// Certificates and proxy of an access.
pub(crate) fn settings(access: &Access) -> Result<HttpSettings, SourceError> {
    let mut tls = match &access.credentials {
        Some(data) => Tls::from_secret(data)?,
        None => Tls::default(),
    };
    if let Some(data) = &access.certificates {
        let certificates = Tls::from_cert_secret(data)?;
        tls.ca = certificates.ca.or(tls.ca);
        tls.client = certificates.client.or(tls.client);
    }
    let proxy = match &access.proxy {
        Some(data) => Some(Proxy::from_secret(data)?),
        None => None,
    };
    Ok(HttpSettings { tls, proxy })
}

/// User and password or token of an access.
pub(crate) fn auth(access: &Access) -> Result<Option<HttpAuth>, SourceError> {
    let Some(data) = &access.credentials else {
        return Ok(None);
    };
    if let Some(token) = bearer_token(data)? {
        return Ok(Some(HttpAuth::Bearer(token)));
    }
    Ok(Basic::from_secret(data)?.map(HttpAuth::Basic))
}

/// A session for the server of a URL.
pub(crate) fn session(clients: &HttpClients, url: &Url, access: &Access) -> Result<HttpSession, SourceError> {
    let session = HttpSession::new(clients, url, &settings(access)?, auth(access)?, deadline(access))?;
    Ok(session.pass_credentials(access.pass_credentials))
}

/// Takes an answer into a file; the digest of its bytes and their number.
pub(crate) async fn to_file(
    session: &HttpSession,
    mut response: Response,
    path: &Path,
    most: u64,
) -> Result<(String, u64), HttpError> {
    let io =
        |error: std::io::Error| HttpError::Connect(format!("cannot write '{}': {error}", path.display()));
    let mut file = tokio::fs::File::create(path).await.map_err(io)?;
    let mut hash = Sha256::new();
    let mut size = 0;
    while let Some(chunk) = session.chunk(&mut response).await? {
        size += chunk.len() as u64;
        if size > most {
            return Err(HttpError::TooLarge(most));
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(io)?;
    }
    file.flush().await.map_err(io)?;
    Ok((format!("sha256:{}", crate::hex(&hash.finalize())), size))
}

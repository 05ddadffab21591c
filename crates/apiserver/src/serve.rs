//! The service behind TLS on a socket.

use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use crate::auth::User;
use crate::server::{ApiServer, StartError};

pub mod certificates;
mod gather;

use gather::Gather;

/// Answers connections until the listener fails.
///
/// # Errors
/// No server certificate can be made.
pub async fn serve(server: ApiServer, listener: TcpListener) -> Result<(), StartError> {
    let tls = server.authority().server_config()?;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                // Out of file descriptors, say: others must end first.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let (server, acceptor) = (server.clone(), acceptor.clone());
        tokio::spawn(async move {
            // Small answers go out at once.
            let _ignored = stream.set_nodelay(true);
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let session = stream.get_ref().1;
            let shares = session.alpn_protocol() == Some(b"h2");
            let user = session
                .peer_certificates()
                .and_then(|list| list.first())
                .and_then(|certificate| certificates::subject(certificate));
            let service = server.service();
            let with_user = tower::service_fn(move |mut request: ::http::Request<hyper::body::Incoming>| {
                if let Some(user) = &user
                    && !request.headers().contains_key(::http::header::AUTHORIZATION)
                {
                    request.extensions_mut().insert::<User>(user.clone());
                }
                service.clone().call(request)
            });
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http2().max_concurrent_streams(1_000);
            let stream = Gather::new(stream);
            let service = TowerToHyperService::new(with_user);
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream.share()), service);
            stream.turns(connection, shares).await;
        });
    }
}

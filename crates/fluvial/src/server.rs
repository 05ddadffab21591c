//! The API server inside: made, put behind TLS, and reached by the process itself without a socket.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use fluvial_apiserver::admission::plugins::Disabled;
use fluvial_apiserver::api::Features;
use fluvial_apiserver::registry::services::Range;
use fluvial_apiserver::serve::certificates::Given;
use fluvial_apiserver::{ApiServer, Config, StaticTokens, User, serve};
use fluvial_cli::{Server, ServerOptions};
use fluvial_cluster::Client;
use fluvial_ports::{BoxFuture, Cluster};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::folders::Folders;

/// Starts a server; it answers when this returns.
pub(crate) async fn start(options: &ServerOptions, folders: &Folders) -> Result<Server, String> {
    let tokens = match &options.tokens {
        Some(path) => read_tokens(path)?,
        None => StaticTokens::default(),
    };
    let data = match &options.data {
        Some(data) => Some(folders.of(Some(data), "cluster")?),
        None => None,
    };
    let cannot = |error: &dyn std::fmt::Display| format!("the API server cannot start: {error}");
    let server = ApiServer::new(Config {
        data,
        clock: Arc::new(Timestamp::now),
        tokens,
        features: Features {
            controllers: !options.bare,
            workloads: !options.bare && !options.no_workloads,
        },
        disabled: Disabled::parse(&options.disabled).map_err(|error| cannot(&error))?,
        given: given(options)?,
        range: range(options)?,
    })
    .map_err(|error| cannot(&error))?;
    // What cannot be shown is told before anybody connects.
    server
        .authority()
        .server_config()
        .map_err(|error| cannot(&error))?;
    let wanted = options
        .listen
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let listener = TcpListener::bind(wanted)
        .await
        .map_err(|error| cannot_listen("the API server", wanted, &error))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let url = format!("https://{}", reachable(address));
    let kubeconfig = match &options.kubeconfig {
        Some(path) => path.clone(),
        None => folders.of(options.data.as_deref(), "")?.join("kubeconfig"),
    };
    let text = server.kubeconfig(&url).map_err(|error| error.to_string())?;
    write_private(&kubeconfig, &text)?;
    let cluster = inside(&server);
    let (end, ended) = watch::channel(false);
    let task = tokio::spawn(answer(server, listener, ended));
    Ok(Server {
        cluster,
        url,
        kubeconfig: std::path::absolute(&kubeconfig).unwrap_or(kubeconfig),
        stop: Box::new(move || -> BoxFuture<'static, ()> {
            Box::pin(async move {
                end.send_replace(true);
                // It ends at once; if it has failed before, it has said so.
                let _ = task.await;
            })
        }),
    })
}

async fn answer(server: ApiServer, listener: TcpListener, mut ended: watch::Receiver<bool>) {
    tokio::select! {
        result = serve::serve(server, listener) => {
            if let Err(error) = result {
                tracing::error!(%error, "the API server has ended");
            }
        }
        _ = ended.wait_for(|ended| *ended) => {}
    }
}

/// A client that asks the server in this process, as its administrator.
fn inside(server: &ApiServer) -> Arc<dyn Cluster> {
    let service = server.service().map_request(|mut request: http::Request<_>| {
        request.extensions_mut().insert(User::admin());
        request
    });
    Arc::new(Client::from_service(service))
}

/// Whoever listens on all addresses is reached at the loopback one.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Why somebody cannot listen at an address, and what helps.
pub(crate) fn cannot_listen(who: &str, address: SocketAddr, error: &std::io::Error) -> String {
    let help = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another process has it; choose another --listen, or leave it out for a free port"
        }
        std::io::ErrorKind::AddrNotAvailable => "it is no address of this machine",
        std::io::ErrorKind::PermissionDenied => "choose a port from 1024 on",
        _ => return format!("{who} cannot listen at {address}: {error}"),
    };
    format!("{who} cannot listen at {address}: {help}")
}

/// The addresses of Services that were asked for.
fn range(options: &ServerOptions) -> Result<Range, String> {
    let asked = options.service_range.as_deref();
    asked.map_or(Ok(Range::default()), |text| {
        text.parse()
            .map_err(|error| format!("--service-cluster-ip-range: {error}"))
    })
}

/// Reads the certificates that were named.
fn given(options: &ServerOptions) -> Result<Given, String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))
    };
    let server = match &options.identity {
        Some((chain, key)) => Some((read(chain)?, read(key)?)),
        None => None,
    };
    let clients = match &options.client_authorities {
        Some(path) => Some(read(path)?),
        None => None,
    };
    Ok(Given { server, clients })
}

fn read_tokens(path: &Path) -> Result<StaticTokens, String> {
    let fail = |error: &dyn std::fmt::Display| format!("token file {}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| fail(&error))?;
    StaticTokens::parse(&text).map_err(|error| fail(&error))
}

/// Writes a file that holds a key: nobody else may read it.
fn write_private(path: &Path, text: &str) -> Result<(), String> {
    use std::io::Write;
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)
}

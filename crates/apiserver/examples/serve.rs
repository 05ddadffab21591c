//! Runs the API server alone: `serve [--listen ADDR:PORT] [--kubeconfig-out FILE] [--token-auth-file FILE]
//! [--data DIR] [--no-workloads]`.

use fluvial_apiserver::{ApiServer, Config, StaticTokens};

type Failure = Box<dyn std::error::Error>;

async fn run() -> Result<(), Failure> {
    let mut config = Config::default();
    let (mut listen, mut out) = ("127.0.0.1:6443".to_owned(), None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--listen" => listen = value()?,
            "--kubeconfig-out" => out = Some(value()?),
            "--token-auth-file" => config.tokens = StaticTokens::parse(&std::fs::read_to_string(value()?)?)?,
            "--data" => config.data = Some(value()?.into()),
            "--no-workloads" => config.features.workloads = false,
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    let server = ApiServer::new(config)?;
    let listener = tokio::net::TcpListener::bind(&listen).await?;
    if let Some(file) = out {
        std::fs::write(
            file,
            server.kubeconfig(&format!("https://{}", listener.local_addr()?))?,
        )?;
    }
    fluvial_apiserver::serve::serve(server, listener).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    run().await
}

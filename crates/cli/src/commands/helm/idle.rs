//! Options of Helm's that all its commands take and that change nothing here: there is no cache of charts and indexes, no
//! limit of requests, and no colour. They are taken so that command lines go on working.

/// Those of all commands.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Idle {
    #[arg(long, hide = true, value_name = "NUMBER")]
    burst_limit: Option<String>,
    #[arg(long, hide = true, value_name = "NUMBER")]
    qps: Option<String>,
    #[arg(long, hide = true, value_name = "WHEN", alias = "colour")]
    color: Option<String>,
    #[arg(long, hide = true, value_name = "FOLDER")]
    content_cache: Option<String>,
    #[arg(long, hide = true, value_name = "FOLDER")]
    repository_cache: Option<String>,
    #[arg(long, hide = true, value_name = "FILE")]
    repository_config: Option<String>,
    #[arg(long, hide = true, value_name = "FILE")]
    registry_config: Option<String>,
    #[arg(long, hide = true)]
    debug: bool,
}

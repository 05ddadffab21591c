//! What a command of a case reaches: the case's cluster, and nothing else.

use std::path::Path;
use std::sync::Arc;

use fluvial_cli::{
    Connection, ControllerOptions, Controllers, LocalRepository, LogOptions, Outside, Server, ServerOptions,
    SourceOptions,
};
use fluvial_ports::{
    BoxFuture, BoxStream, Cluster, FetchRequest, Fetched, SourceError, SourceErrorClass, Sources,
};
use fluvial_tree::Tree;

/// The outside of one case.
pub(super) struct World {
    /// The cluster, if the case has one.
    pub client: Option<Arc<dyn Cluster>>,
}

fn not_here<T>() -> Result<T, String> {
    Err("not in these cases".to_owned())
}

/// Rules of what to leave out, and no repositories.
struct Rules;

impl Sources for Rules {
    fn fetch(&self, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, SourceError>> {
        Box::pin(async move {
            Err(SourceError {
                class: SourceErrorClass::Stalled,
                reason: "NotHere".to_owned(),
                message: format!("{} is not in these cases", request.url),
            })
        })
    }

    fn filter(&self, tree: &Tree, ignore: Option<&str>) -> Result<Tree, SourceError> {
        Ok(fluvial_source::ignore::filter(tree, ignore))
    }

    fn changes(&self, _: &str) -> Option<BoxStream<'static, ()>> {
        None
    }
}

impl Outside for World {
    fn log(&self, _: &LogOptions) -> Result<(), String> {
        Ok(())
    }

    fn connect<'a>(&'a self, _: &'a Connection) -> BoxFuture<'a, Result<Arc<dyn Cluster>, String>> {
        Box::pin(async {
            self.client
                .clone()
                .ok_or_else(|| "there is no cluster".to_owned())
        })
    }

    fn api_server<'a>(&'a self, _: &'a ServerOptions) -> BoxFuture<'a, Result<Server, String>> {
        Box::pin(async { not_here() })
    }

    fn sources(&self, _: &SourceOptions) -> Result<Arc<dyn Sources>, String> {
        Ok(Arc::new(Rules))
    }

    fn controllers<'a>(
        &'a self,
        _: Arc<dyn Cluster>,
        _: Arc<dyn Sources>,
        _: &'a ControllerOptions,
    ) -> BoxFuture<'a, Result<Controllers, String>> {
        Box::pin(async { not_here() })
    }

    fn repository(&self, _: &Path) -> Result<LocalRepository, String> {
        not_here()
    }

    fn remotes(&self) -> Result<Arc<dyn fluvial_kustomize::RemoteResolver + Send + Sync>, String> {
        Ok(Arc::new(fluvial_kustomize::NoRemote))
    }

    fn terminal(&self) -> Option<(u16, u16)> {
        None
    }

    fn interrupted(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

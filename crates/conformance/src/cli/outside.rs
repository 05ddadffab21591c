//! What a command of a case reaches: the case's cluster, and nothing else.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fluvial_cli::{
    Address, Connection, ControllerOptions, Controllers, Facts, LocalRepository, LogOptions, Outside, Pulled,
    Registry, Server, ServerOptions, SourceOptions,
};
use fluvial_ports::{
    Access, BoxFuture, BoxStream, Cluster, FetchRequest, Fetched, SourceError, SourceErrorClass, Sources,
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

/// How artifacts are packed, and no registries.
struct Packing;

fn unreached<'a, T>(address: &Address) -> BoxFuture<'a, Result<T, String>> {
    let text = format!("{} is not in these cases", address.url());
    Box::pin(async { Err(text) })
}

impl Registry for Packing {
    fn without(&self, files: &Tree, patterns: &str) -> Tree {
        fluvial_source::ignore::without(files, patterns)
    }

    fn pack(&self, files: &Tree) -> Vec<u8> {
        fluvial_source::artifact::pack(files).data.to_vec()
    }

    fn push<'a>(
        &'a self,
        address: &'a Address,
        _: &'a Tree,
        _: &'a BTreeMap<String, String>,
        _: &'a Access,
    ) -> BoxFuture<'a, Result<String, String>> {
        unreached(address)
    }

    fn pull<'a>(&'a self, address: &'a Address, _: &'a Access) -> BoxFuture<'a, Result<Pulled, String>> {
        unreached(address)
    }

    fn tags<'a>(&'a self, address: &'a Address, _: &'a Access) -> BoxFuture<'a, Result<Vec<String>, String>> {
        unreached(address)
    }

    fn describe<'a>(
        &'a self,
        address: &'a Address,
        _: &'a [String],
        _: &'a Access,
    ) -> BoxFuture<'a, Result<Vec<Facts>, String>> {
        unreached(address)
    }

    fn tag<'a>(
        &'a self,
        address: &'a Address,
        _: &'a str,
        _: &'a Access,
    ) -> BoxFuture<'a, Result<(), String>> {
        unreached(address)
    }
}

impl Outside for World {
    fn registry(&self) -> Result<Arc<dyn Registry>, String> {
        Ok(Arc::new(Packing))
    }

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

    fn remotes(&self) -> Arc<dyn fluvial_kustomize::RemoteResolver + Send + Sync> {
        Arc::new(fluvial_kustomize::NoRemote)
    }

    fn artifact<'a>(
        &'a self,
        artifact: &'a fluvial_ports::Artifact,
    ) -> BoxFuture<'a, Result<fluvial_tree::Tree, String>> {
        Box::pin(async { Err(format!("{} is not in these cases", artifact.url)) })
    }

    fn terminal(&self) -> Option<(u16, u16)> {
        None
    }

    fn interrupted(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

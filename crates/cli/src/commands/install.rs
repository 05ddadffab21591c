//! `install`: what a cluster needs before `serve` can work on it: the namespace and the definitions of all kinds.

use fluvial_api::definitions;
use serde_json::{Value, json};

use super::up::{put, served};
use crate::environment::{Outcome, Session};

/// Options of `install`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Print the manifests instead
    #[arg(long)]
    export: bool,
}

/// Puts them there, or prints them.
pub(crate) async fn run(session: &mut Session<'_>, options: &Options) -> Outcome {
    let base = base(&session.global.namespace);
    if options.export {
        for object in &base {
            session.print(&format!("---\n{}", fluvial_yaml::json_to_yaml(object)))?;
        }
        return Ok(());
    }
    let cluster = session.cluster().await?;
    session.action(&format!(
        "installing {} definitions and namespace {}",
        base.len() - 1,
        session.global.namespace
    ));
    put(cluster.as_ref(), &base, "fluvial").await?;
    served(cluster.as_ref(), &base).await?;
    session.success("the cluster is ready for `fluvial serve`");
    Ok(())
}

/// Namespace and definitions.
fn base(namespace: &str) -> Vec<Value> {
    let mut base = vec![json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace},
    })];
    base.extend(definitions());
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_comes_before_the_definitions_of_every_kind() {
        let base = base("tools");
        assert_eq!(base[0]["metadata"]["name"], "tools");
        let kinds: Vec<&str> = base[1..]
            .iter()
            .filter_map(|definition| definition["spec"]["names"]["kind"].as_str())
            .collect();
        for known in fluvial_api::kinds::KINDS {
            assert!(kinds.contains(&known.kind), "{}", known.kind);
        }
    }
}

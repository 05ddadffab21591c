//! `create tenant`: namespaces, each with an account that may reconcile in it.

use serde_json::{Value, json};

use super::{Call, apply, demand};
use crate::environment::Outcome;
use crate::state;

const LABEL: &str = "toolkit.fluxcd.io/tenant";

/// Options of `create tenant`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Options {
    /// Namespaces of the tenant
    #[arg(long, value_name = "NAMESPACES", value_delimiter = ',')]
    with_namespace: Vec<String>,
    /// Role of the tenant's account in them
    #[arg(long, value_name = "NAME", default_value = "cluster-admin")]
    cluster_role: String,
    /// Name of that account [default: the tenant's]
    #[arg(long, value_name = "NAME")]
    with_service_account: Option<String>,
    /// Take the namespaces for granted
    #[arg(long)]
    skip_namespace: bool,
}

/// Creates a tenant.
pub(super) async fn run(call: &mut Call<'_, '_>, options: &Options) -> Outcome {
    demand(!options.with_namespace.is_empty(), "with-namespace is required")?;
    let mut labels = call.labels()?;
    labels.insert(LABEL.to_owned(), call.name.as_str().into());
    let account = options
        .with_service_account
        .as_deref()
        .filter(|name| !name.is_empty());
    let account = account.unwrap_or(&call.name).to_owned();
    let mut objects: Vec<Value> = vec![];
    for namespace in &options.with_namespace {
        if !options.skip_namespace {
            objects.push(json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels},
            }));
        }
        objects.push(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": namespace, "labels": labels},
        }));
        objects.push(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": format!("{}-reconciler", call.name), "namespace": namespace, "labels": labels},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": options.cluster_role,
            },
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("gotk:{namespace}:reconciler")},
                {"kind": "ServiceAccount", "name": account, "namespace": namespace},
            ],
        }));
    }
    if call.common.export {
        return objects.iter().try_for_each(|object| call.print(object));
    }
    let cluster = call.session.cluster().await?;
    for object in &objects {
        let what = match state::kind(object) {
            "ServiceAccount" => "service account",
            "RoleBinding" => "role binding",
            _ => "namespace",
        };
        call.session
            .action(&format!("applying {what} {}", state::name(object)));
        apply(cluster.as_ref(), object).await?;
    }
    call.session.success("tenant setup completed");
    Ok(())
}

//! `uninstall`: takes the controllers and the definitions of all kinds off a cluster. What they delivered stays.

use fluvial_api::kinds::{KINDS, KindInfo};
use fluvial_controllers::lease::{self, Leading};
use fluvial_ports::{Cluster, Delete, ErrorKind, Patch, PatchKind, Select, Target};
use serde_json::{Value, json};

use super::delete::agrees;
use super::suspend::MANAGER;
use crate::environment::{Failure, Outcome, Session};
use crate::nouns::{self, Verb};
use crate::state;

/// Options of `uninstall`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Leave the namespace
    #[arg(long)]
    keep_namespace: bool,
    /// Say what would go, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    silent: bool,
}

/// What controllers that run in a cluster are made of, those that make Pods first: group version and kind.
const COMPONENTS: [(&str, &str); 7] = [
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "ResourceQuota"),
    ("v1", "ServiceAccount"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
];

/// The label selector of what is installed in a namespace.
pub(crate) fn parts(namespace: &str) -> String {
    format!("app.kubernetes.io/part-of in (flux,fluvial),app.kubernetes.io/instance={namespace}")
}

/// Takes everything off, in an order in which nobody prunes what was delivered.
pub(crate) async fn run(session: &mut Session<'_>, options: &Options) -> Outcome {
    let namespace = session.global.namespace.clone();
    let cluster = session.cluster().await?;
    let cluster = cluster.as_ref();
    if !options.dry_run {
        nobody_leads(session, cluster).await?;
        let question = format!(
            "Are you sure you want to delete the controllers, the definitions of all their kinds{}",
            if options.keep_namespace {
                String::new()
            } else {
                format!(" and namespace {namespace} with all that is in it")
            }
        );
        if !options.silent && !agrees(session, &question)? {
            return Err(Failure::new("aborting"));
        }
    }
    components(session, cluster, options).await?;
    session.action("letting go of objects in all namespaces; what they delivered stays");
    for info in KINDS {
        let_go(session, cluster, info, options).await?;
    }
    session.action("deleting the definitions of all kinds");
    for info in KINDS {
        let name = format!("{}.{}", info.plural, info.group);
        let kind = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        remove(session, cluster, kind, "", &name, options).await?;
    }
    if !options.keep_namespace {
        remove(session, cluster, ("v1", "Namespace"), "", &namespace, options).await?;
    }
    session.success("uninstall finished");
    Ok(())
}

/// A process that runs would take all this for changes that it has to carry out.
async fn nobody_leads(session: &Session<'_>, cluster: &dyn Cluster) -> Outcome {
    let namespace = &session.global.namespace;
    match lease::leaders(cluster, namespace, session.env.clock.now())
        .await?
        .first()
    {
        None => Ok(()),
        Some(Leading { lease, holder }) => Err(Failure::new(format!(
            "`fluvial serve` runs as {holder} and holds the lease {namespace}/{lease}: end it first"
        ))),
    }
}

async fn components(session: &mut Session<'_>, cluster: &dyn Cluster, options: &Options) -> Outcome {
    let namespace = session.global.namespace.clone();
    session.action(&format!("deleting controllers in {namespace} namespace"));
    for (api_version, kind) in COMPONENTS {
        let resource = match cluster.resource(api_version, kind).await {
            Err(error) if error.kind == ErrorKind::NoKind => continue,
            resource => resource?,
        };
        let select = Select {
            namespace: resource.namespaced.then(|| namespace.clone()),
            labels: Some(parts(&namespace)),
            metadata_only: true,
            ..Select::default()
        };
        for object in cluster.list(&resource, &select).await? {
            let place = if resource.namespaced {
                namespace.as_str()
            } else {
                ""
            };
            remove(
                session,
                cluster,
                (api_version, kind),
                place,
                state::name(&object),
                options,
            )
            .await?;
        }
    }
    Ok(())
}

/// Lets objects of a kind rest, so that nobody prunes for them any more, and takes what holds them.
async fn let_go(
    session: &mut Session<'_>,
    cluster: &dyn Cluster,
    info: &KindInfo,
    options: &Options,
) -> Outcome {
    let resource = nouns::resource(info);
    let objects = match cluster.list(&resource, &Select::default()).await {
        Err(error) if matches!(error.kind, ErrorKind::NoKind | ErrorKind::NotFound) => return Ok(()),
        objects => objects?,
    };
    let rests = nouns::of_kind(info.kind).is_some_and(|noun| noun.verbs.contains(&Verb::Suspend));
    for object in objects {
        let id = state::id(&object);
        if options.dry_run {
            session.success(&format!("{id} let go of (dry run)"));
            continue;
        }
        let mut body = json!({"metadata": {"finalizers": Value::Null}});
        if rests {
            body["spec"]["suspend"] = true.into();
        }
        let patch = Patch {
            kind: PatchKind::Merge,
            subresource: None,
            manager: MANAGER,
            body: &body,
            dry_run: false,
        };
        match cluster.patch(state::target(&resource, &object), patch).await {
            Err(error) if error.kind == ErrorKind::NotFound => continue,
            patched => patched.map_err(|error| Failure::new(format!("{id}: {error}")))?,
        };
        session.success(&format!("{id} let go of"));
    }
    Ok(())
}

/// Deletes one object, if it is there.
async fn remove(
    session: &mut Session<'_>,
    cluster: &dyn Cluster,
    (api_version, kind): (&str, &str),
    namespace: &str,
    name: &str,
    options: &Options,
) -> Outcome {
    let resource = match cluster.resource(api_version, kind).await {
        Err(error) if error.kind == ErrorKind::NoKind => return Ok(()),
        resource => resource?,
    };
    let target = Target {
        resource: &resource,
        namespace,
        name,
    };
    let id = match namespace {
        "" => format!("{kind}/{name}"),
        _ => format!("{kind}/{namespace}/{name}"),
    };
    if options.dry_run {
        if cluster.get(target).await?.is_some() {
            session.success(&format!("{id} deleted (dry run)"));
        }
    } else if cluster
        .delete(target, Delete::default())
        .await
        .map_err(|error| Failure::new(format!("{id}: {error}")))?
    {
        session.success(&format!("{id} deleted"));
    }
    Ok(())
}

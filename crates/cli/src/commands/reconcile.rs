//! `reconcile`: asks for a reconciliation now, and waits for it.

use fluvial_api::keys;
use fluvial_ports::{BoxFuture, Patch, PatchKind, Target};
use serde_json::{Map, Value, json};

use super::suspend::MANAGER;
use super::{not_found, wait};
use crate::environment::{Failure, Outcome, Session};
use crate::nouns::{self, Noun};
use crate::state::{self, is_static, is_suspended, text};

/// Options of `reconcile`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Reconcile what it depends on for its content first.
    #[arg(long, global = true)]
    pub with_source: bool,
    /// Upgrade the release even if nothing changed (helmreleases).
    #[arg(long, global = true)]
    pub force: bool,
    /// Reset the counts of failures (helmreleases).
    #[arg(long, global = true)]
    pub reset: bool,
}

/// Reconciles one object.
pub(crate) async fn run(
    session: &mut Session<'_>,
    noun: &'static Noun,
    name: Option<&str>,
    options: &Options,
) -> Outcome {
    let name = name.ok_or_else(|| Failure::new(format!("{} name is required", noun.kind)))?;
    let namespace = session.global.namespace.clone();
    one(session, noun, namespace, name.to_owned(), options.clone()).await
}

fn one<'a>(
    session: &'a mut Session<'_>,
    noun: &'static Noun,
    namespace: String,
    name: String,
    options: Options,
) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let cluster = session.cluster().await?;
        let resource = noun.resource();
        let target = Target {
            resource: &resource,
            namespace: &namespace,
            name: &name,
        };
        let object = cluster.get(target).await?.ok_or_else(|| not_found(noun, &name))?;
        if is_static(&object) {
            session.success("reconciliation not supported by the object");
            return Ok(());
        }
        if is_suspended(&object) {
            return Err(Failure::new("resource is suspended"));
        }
        if options.with_source {
            for (source, namespace, name) in sources(&object) {
                one(session, source, namespace, name, Options::default()).await?;
            }
        }
        session.action(&format!(
            "annotating {} {name} in {namespace} namespace",
            noun.kind
        ));
        let last = text(&object, &["status", "lastHandledReconcileAt"]).map(str::to_owned);
        let body = request(&session.env.clock.now().to_string(), &options);
        let patch = Patch {
            kind: PatchKind::Merge,
            subresource: None,
            manager: MANAGER,
            body: &body,
            dry_run: false,
        };
        let object = cluster.patch(target, patch).await?;
        session.success(&format!("{} annotated", noun.kind));
        session.waiting(&format!("waiting for {} reconciliation", noun.kind));
        let object = wait::until(
            cluster.as_ref(),
            noun,
            &object,
            session.global.timeout,
            |object| {
                let handled = text(object, &["status", "lastHandledReconcileAt"]);
                handled.is_some()
                    && handled != last.as_deref()
                    && matches!(
                        state::progress(object),
                        state::Progress::Current | state::Progress::Failed
                    )
            },
        )
        .await
        .map_err(Failure::new)?;
        if let Some(ready) = state::condition(&object, "Ready")
            && text(ready, &["status"]) != Some("True")
        {
            let message = text(ready, &["message"]).unwrap_or_default();
            return Err(Failure::new(format!(
                "{} reconciliation failed: '{message}'",
                noun.kind
            )));
        }
        session.success(&wait::success_message(noun, &object));
        Ok(())
    })
}

/// The annotations that ask.
fn request(token: &str, options: &Options) -> Value {
    let mut annotations = Map::new();
    annotations.insert(keys::REQUESTED_AT.to_owned(), token.into());
    if options.force {
        annotations.insert(keys::FORCE_AT.to_owned(), token.into());
    }
    if options.reset {
        annotations.insert(keys::RESET_AT.to_owned(), token.into());
    }
    json!({"metadata": {"annotations": annotations}})
}

/// What an object takes its content from, the farthest first.
fn sources(object: &Value) -> Vec<(&'static Noun, String, String)> {
    let reference = |path: &[&str]| {
        let reference = state::field(object, path)?;
        let noun = nouns::of_kind(text(reference, &["kind"])?)?;
        let namespace = text(reference, &["namespace"]).unwrap_or_else(|| state::namespace(object));
        Some((noun, namespace.to_owned(), text(reference, &["name"])?.to_owned()))
    };
    let mut sources = vec![];
    sources.extend(reference(&["spec", "sourceRef"]));
    sources.extend(reference(&["spec", "chartRef"]));
    if let Some(source) = reference(&["spec", "chart", "spec", "sourceRef"]) {
        sources.push(source);
        let chart = text(object, &["status", "helmChart"]).and_then(|chart| chart.split_once('/'));
        if let (Some((namespace, name)), Some(noun)) = (chart, nouns::of_kind("HelmChart")) {
            sources.push((noun, namespace.to_owned(), name.to_owned()));
        }
    }
    if let Some(name) = text(object, &["spec", "imageRepositoryRef", "name"])
        && let Some(noun) = nouns::of_kind("ImageRepository")
    {
        let namespace = text(object, &["spec", "imageRepositoryRef", "namespace"]);
        let namespace = namespace.unwrap_or_else(|| state::namespace(object));
        sources.push((noun, namespace.to_owned(), name.to_owned()));
    }
    sources
}

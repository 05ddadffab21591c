//! Definitions in a chart's `crds/` folder: made, made anew or left, as the policy says, never deleted.

use std::sync::Arc;

use fluvial_api::HelmRelease;
use fluvial_api::helm::CrdsPolicy;
use fluvial_helm::Chart;
use fluvial_helm::release::objects_of;
use fluvial_object::ObjectExt;
use fluvial_ports::{Apply, Create, ErrorKind};
use serde_json::Value;

use super::names::Manner;
use super::objects::{Hands, MANAGER, Placed, Trouble, Waits};
use super::render::mark;
use crate::kustomization::apply::target;
use crate::kustomization::health::Awaited;

/// How long definitions are waited for.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Applies the definitions of a chart and waits until they are served. Gives those that there are.
pub(crate) async fn apply(
    hands: &Hands<'_>,
    object: &HelmRelease,
    chart: &Arc<Chart>,
    values: &Value,
    manner: &Manner,
    limit: tokio::time::Instant,
    waits: &mut Waits<'_>,
) -> Result<Vec<Placed>, Trouble> {
    if manner.crds == CrdsPolicy::Skip {
        return Ok(Vec::new());
    }
    let mut placed = Vec::new();
    let mut awaited = Vec::new();
    let files = fluvial_helm::crds(chart, values).map_err(|error| Trouble::from(error.to_string()))?;
    for file in files {
        let objects = objects_of(&file.content())
            .map_err(|error| Trouble::from(format!("failed to parse CRDs from {}: {error}", file.path)))?;
        for one in objects {
            if one.kind() != "CustomResourceDefinition" {
                tracing::warn!(
                    release = hands.release,
                    "{} in {} is no CustomResourceDefinition and is left out",
                    one.object.id(),
                    file.path
                );
                continue;
            }
            let mut definition = one.object;
            mark(&mut definition, object);
            let (one, seen) = put(hands, &definition, manner.crds).await?;
            placed.push(one);
            awaited.extend(seen);
        }
    }
    let soon = limit.min(tokio::time::Instant::now() + LIMIT);
    hands
        .wait(awaited, soon, waits)
        .await
        .map_err(|trouble| trouble.context("CRDs are not served"))?;
    Ok(placed)
}

/// Makes one definition, or replaces it.
async fn put(
    hands: &Hands<'_>,
    definition: &Value,
    policy: CrdsPolicy,
) -> Result<(Placed, Option<Awaited>), Trouble> {
    let failed = |error: fluvial_ports::ClusterError| {
        Trouble::from(format!(
            "failed to {} CustomResourceDefinition {}: {error}",
            if policy == CrdsPolicy::Create {
                "create"
            } else {
                "update"
            },
            definition.name()
        ))
    };
    let placed = hands.place(definition).await.map_err(failed)?;
    let target = target(&placed.resource, &placed.id);
    let result = if policy == CrdsPolicy::Create {
        let how = Create {
            manager: MANAGER,
            dry_run: false,
        };
        hands.metrics.wrote("object");
        match hands.cluster.create(target, definition, how).await {
            Err(error) if error.kind == ErrorKind::AlreadyExists => return Ok((placed, None)),
            result => result,
        }
    } else {
        let how = Apply {
            manager: MANAGER,
            force: true,
            dry_run: false,
        };
        hands.metrics.wrote("object");
        hands.cluster.apply(target, definition, how).await
    };
    let now = result.map_err(failed)?;
    let awaited = placed.awaited(&now, &hands.judge);
    Ok((placed, Some(awaited)))
}

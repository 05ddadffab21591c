//! The transformers, one a file, and the order in which a kustomization's fields run.

pub(crate) mod affix;
pub(crate) mod hash;
pub(crate) mod images;
pub(crate) mod json_patch;
pub(crate) mod labels;
pub(crate) mod name_reference;
pub(crate) mod namespace;
pub(crate) mod patch;
pub(crate) mod path_matcher;
pub(crate) mod replacements;
pub(crate) mod replicas;
pub(crate) mod selector;
pub(crate) mod sort_order;
pub(crate) mod value_add;
pub(crate) mod vars;

use std::rc::Rc;
use std::sync::Arc;

use fluvial_yaml::Node;

use crate::config::TransformerConfig;
use crate::error::{Result, Within};
use crate::explain;
use crate::kustomization::read::Text;
use crate::kustomization::{Kustomization, ReplacementEntry};
use crate::loader::Loader;
use crate::provenance::Trace;
use crate::resmap::ResMap;
use crate::session::Session;
use affix::{AffixTransformer, End};
use images::ImageTransformer;
use labels::EntriesTransformer;
use namespace::{NamespaceTransformer, Subjects};
use patch::{PatchTransformer, StrategicTransformer};
use replacements::{Replacement, ReplacementTransformer};
use replicas::ReplicaTransformer;

/// Changes the resources of a build.
pub(crate) trait Transformer {
    /// Changes them.
    fn transform(&self, map: &mut ResMap, session: &Session<'_>) -> Result<()>;
}

/// A transformer with what is recorded of it in annotations.
pub(crate) struct Step {
    /// Its kind.
    pub(crate) name: &'static str,
    pub(crate) transformer: Box<dyn Transformer>,
    pub(crate) trace: Option<Arc<Trace>>,
}

/// Runs a transformer, and records what it changes if that is wanted.
pub(crate) fn run_one(
    name: &'static str,
    transformer: &dyn Transformer,
    map: &mut ResMap,
    session: &Session<'_>,
) -> Result<()> {
    if !session.options.record_changes {
        return transformer.transform(map, session);
    }
    let before: Vec<Node> = map.resources().iter().map(|one| one.node.clone()).collect();
    transformer.transform(map, session)?;
    for (resource, before) in map.resources_mut().iter_mut().zip(before) {
        explain::record(resource, &before, name);
    }
    Ok(())
}

/// Runs transformers in order.
pub(crate) fn run(steps: &[Step], map: &mut ResMap, session: &Session<'_>) -> Result<()> {
    for step in steps {
        run_one(step.name, &*step.transformer, map, session)?;
        if let Some(trace) = &step.trace {
            for resource in map.resources_mut() {
                if resource.trace.is_none() {
                    resource.trace = Some(Arc::clone(trace));
                } else {
                    resource.transformations.push(Arc::clone(trace));
                }
            }
        }
        map.drop_empty();
    }
    Ok(())
}

/// Collects the steps of a kustomization.
struct Steps<'a> {
    list: Vec<Step>,
    /// Makes what is recorded of a transformer of this kind.
    trace: &'a dyn Fn(&str) -> Option<Arc<Trace>>,
}

impl Steps<'_> {
    fn push(&mut self, kind: &'static str, transformer: impl Transformer + 'static) {
        self.list.push(Step {
            name: kind,
            transformer: Box::new(transformer),
            trace: (self.trace)(kind),
        });
    }
}

/// The transformers that a kustomization's own fields ask for, in their fixed order.
pub(crate) fn of_kustomization(
    kustomization: &Kustomization,
    config: &TransformerConfig,
    session: &Session<'_>,
    loader: &Rc<Loader>,
    trace: &dyn Fn(&str) -> Option<Arc<Trace>>,
) -> Result<Vec<Step>> {
    let mut steps = Steps {
        list: Vec::new(),
        trace,
    };
    if !kustomization.patches_strategic_merge.is_empty() {
        let merge = StrategicTransformer::new(
            session,
            loader,
            &kustomization.patches_strategic_merge,
            &Text::default(),
        )?;
        steps.push("PatchStrategicMergeTransformer", merge);
    }
    for patch in &kustomization.patches {
        steps.push("PatchTransformer", PatchTransformer::new(session, loader, patch)?);
    }
    names(&mut steps, kustomization, config);
    metadata(&mut steps, kustomization, config)?;
    for patch in &kustomization.patches_json6902 {
        steps.push(
            "PatchJson6902Transformer",
            PatchTransformer::json(session, loader, patch)?,
        );
    }
    for replica in &kustomization.replicas {
        steps.push(
            "ReplicaCountTransformer",
            ReplicaTransformer {
                replica: replica.clone(),
                fields: config.replicas.clone(),
            },
        );
    }
    for image in &kustomization.images {
        let transformer = ImageTransformer::new(image.clone(), config.images.clone());
        steps.push("ImageTagTransformer", transformer);
    }
    if !kustomization.replacements.is_empty() {
        let replacements = replacements_of(&kustomization.replacements, session, loader)?;
        steps.push("ReplacementTransformer", ReplacementTransformer { replacements });
    }
    Ok(steps.list)
}

/// Loads the entries that are files.
pub(crate) fn replacements_of(
    entries: &[ReplacementEntry],
    session: &Session<'_>,
    loader: &Loader,
) -> Result<Vec<Replacement>> {
    let mut list = Vec::new();
    for entry in entries {
        match entry {
            ReplacementEntry::Inline(replacement) => list.push((**replacement).clone()),
            ReplacementEntry::File(path) => list.extend(
                Replacement::load(session, loader, path)
                    .within(|| format!("loading replacements from '{}'", path.text))?,
            ),
        }
    }
    Ok(list)
}

fn names(steps: &mut Steps<'_>, kustomization: &Kustomization, config: &TransformerConfig) {
    if !kustomization.namespace.text.is_empty() {
        steps.push(
            "NamespaceTransformer",
            NamespaceTransformer {
                namespace: kustomization.namespace.clone(),
                fields: config.namespace.clone(),
                unset_only: false,
                subjects: Subjects::DefaultOnly,
            },
        );
    }
    for (kind, end, affix, fields) in [
        (
            "PrefixTransformer",
            End::Prefix,
            &kustomization.name_prefix,
            &config.name_prefix,
        ),
        (
            "SuffixTransformer",
            End::Suffix,
            &kustomization.name_suffix,
            &config.name_suffix,
        ),
    ] {
        if !affix.text.is_empty() {
            steps.push(
                kind,
                AffixTransformer {
                    end,
                    affix: affix.clone(),
                    fields: fields.clone(),
                },
            );
        }
    }
}

fn metadata(steps: &mut Steps<'_>, kustomization: &Kustomization, config: &TransformerConfig) -> Result<()> {
    for label in &kustomization.labels {
        let fields = label.all_fields(config)?;
        steps.push(
            "LabelTransformer",
            EntriesTransformer {
                entries: label.pairs.clone(),
                fields,
            },
        );
    }
    for (kind, entries, fields) in [
        (
            "LabelTransformer",
            &kustomization.common_labels,
            &config.common_labels,
        ),
        (
            "AnnotationsTransformer",
            &kustomization.common_annotations,
            &config.common_annotations,
        ),
    ] {
        // The one for `commonLabels` follows those for `labels` even with nothing to do, and is recorded.
        let follows = kind == "LabelTransformer" && !kustomization.labels.is_empty();
        if !entries.is_empty() || follows {
            steps.push(
                kind,
                EntriesTransformer {
                    entries: entries.clone(),
                    fields: fields.clone(),
                },
            );
        }
    }
    Ok(())
}

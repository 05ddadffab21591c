//! Generators and transformers that objects configure (`generators:`, `transformers:`,
//! `validators:`). Only the built-in ones run; programs, containers and scripts are refused.

use std::rc::Rc;

use fluvial_yaml::Mode;

use crate::config::field_spec;
use crate::error::{Error, Result};
use crate::fieldspec::FieldSpec;
use crate::generators::helm::{HelmChart, HelmGlobals};
use crate::generators::{MapGenerator, MapKind, iam_policy};
use crate::kustomization::ReplacementEntry;
use crate::kustomization::read::{Reader, Text};
use crate::loader::Loader;
use crate::resource::Resource;
use crate::session::Session;
use crate::transformers::affix::{AffixTransformer, End};
use crate::transformers::hash::HashTransformer;
use crate::transformers::images::{Image, ImageTransformer};
use crate::transformers::labels::EntriesTransformer;
use crate::transformers::namespace::{NamespaceTransformer, Subjects};
use crate::transformers::patch::{Patch, PatchTransformer, StrategicTransformer};
use crate::transformers::replacements::{Replacement, ReplacementTransformer};
use crate::transformers::replicas::{Replica, ReplicaTransformer};
use crate::transformers::selector::Selector;
use crate::transformers::value_add::ValueAddTransformer;
use crate::transformers::{Transformer, replacements_of};

/// Fails unless an object configures something built in.
fn built_in<'a>(config: &'a Resource, file: &'a str) -> Result<Reader<'a>> {
    let function = config
        .annotations()
        .iter()
        .any(|(key, _)| matches!(*key, "config.kubernetes.io/function" | "config.k8s.io/function"));
    if function {
        return Err(Error::new(format!(
            "{} is a container or program function; these are not run here",
            config.id()
        )));
    }
    if config.api_version() != "builtin" {
        return Err(Error::new(format!(
            "external plugins are not run here; unable to load external plugin '{}'",
            config.id()
        )));
    }
    // It is written and read again there, which a key that stands twice does not survive.
    fluvial_yaml::node_to_yaml(&config.node)
        .map_err(|error| Error::new(error.message).at(file, error.pos.line))?;
    Ok(Reader::new(&config.node, file, Mode::Kyaml)?.lenient())
}

fn unknown(config: &Resource, what: &str) -> Error {
    Error::new(format!("{} is no built-in {what}", config.kind()))
}

fn metadata(reader: &Reader<'_>, field: &str) -> Result<String> {
    reader
        .object("metadata")?
        .map_or(Ok(String::new()), |metadata| metadata.string(field))
}

/// Runs a configured generator.
pub(crate) fn generate(config: &Resource, session: &Session<'_>, loader: &Loader) -> Result<Vec<Resource>> {
    let file = session.file_name(config.node.pos.file);
    let reader = built_in(config, &file)?;
    let map = |kind| {
        let generator = MapGenerator::read_fields(&reader, kind)?
            .named(metadata(&reader, "name")?, metadata(&reader, "namespace")?);
        Ok(vec![generator.generate(session, loader, None)?])
    };
    match config.kind() {
        "ConfigMapGenerator" => map(MapKind::ConfigMap),
        "SecretGenerator" => map(MapKind::Secret),
        "HelmChartInflationGenerator" => {
            let (chart, globals) = if reader.has("chartName") {
                HelmChart::read_old(&reader)?
            } else {
                let globals = HelmGlobals {
                    chart_home: reader.string("chartHome")?,
                };
                (HelmChart::read_fields(&reader)?, globals)
            };
            chart.generate(session, loader, Some(&globals), "")
        }
        "IAMPolicyGenerator" => {
            let mut node = iam_policy::generate(&reader)?;
            crate::generators::place(&mut node, config.node.pos);
            Ok(vec![Resource::new(node, session)])
        }
        _ => Err(unknown(config, "generator")),
    }
}

fn fields(reader: &Reader<'_>) -> Result<Vec<FieldSpec>> {
    reader.list("fieldSpecs", |field| field_spec(&field))
}

/// What a configured transformer runs.
pub(crate) fn transformers(
    config: &Resource,
    session: &Session<'_>,
    loader: &Rc<Loader>,
) -> Result<Vec<Box<dyn Transformer>>> {
    let file = session.file_name(config.node.pos.file);
    let reader = built_in(config, &file)?;
    let affix = |end, field: &str| -> Result<Box<dyn Transformer>> {
        if !reader.has("fieldSpecs") {
            return Err(reader.error("fieldSpecs is not expected to be nil"));
        }
        Ok(Box::new(AffixTransformer {
            end,
            affix: reader.located(field)?,
            fields: fields(&reader)?,
        }))
    };
    let entries = |field: &str| -> Result<Box<dyn Transformer>> {
        Ok(Box::new(EntriesTransformer {
            entries: reader.located_map(field)?,
            fields: fields(&reader)?,
        }))
    };
    let one: Box<dyn Transformer> = match config.kind() {
        "PrefixSuffixTransformer" => {
            return Ok(vec![affix(End::Prefix, "prefix")?, affix(End::Suffix, "suffix")?]);
        }
        "PrefixTransformer" => affix(End::Prefix, "prefix")?,
        "SuffixTransformer" => affix(End::Suffix, "suffix")?,
        "LabelTransformer" => entries("labels")?,
        "AnnotationsTransformer" => entries("annotations")?,
        "NamespaceTransformer" => Box::new(NamespaceTransformer {
            namespace: reader
                .object("metadata")?
                .map_or(Ok(Text::default()), |metadata| metadata.located("namespace"))?,
            fields: fields(&reader)?,
            unset_only: reader.boolean("unsetOnly")?,
            subjects: Subjects::parse(&reader.string("setRoleBindingSubjects")?)?,
        }),
        "HashTransformer" => Box::new(HashTransformer),
        "ImageTagTransformer" => {
            let image = reader
                .object("imageTag")?
                .map_or(Ok(Image::default()), |image| Image::read_loosely(&image))?;
            Box::new(ImageTransformer::new(image, fields(&reader)?))
        }
        "ReplicaCountTransformer" => Box::new(ReplicaTransformer {
            replica: reader
                .object("replica")?
                .map_or(Ok(Replica::default()), |replica| Replica::read(&replica))?,
            fields: fields(&reader)?,
        }),
        "ReplacementTransformer" => Box::new(replacement(&reader, session, loader)?),
        "ValueAddTransformer" => Box::new(ValueAddTransformer::read(&reader, session, loader)?),
        _ => return patch(config, &reader, session, loader).map(|one| vec![one]),
    };
    Ok(vec![one])
}

fn patch(
    config: &Resource,
    reader: &Reader<'_>,
    session: &Session<'_>,
    loader: &Rc<Loader>,
) -> Result<Box<dyn Transformer>> {
    match config.kind() {
        "PatchTransformer" => {
            let patch = Patch::read_fields(reader, "patch", Selector::read_loosely)?;
            Ok(Box::new(PatchTransformer::new(session, loader, &patch)?))
        }
        "PatchJson6902Transformer" => {
            let patch = Patch::read_fields(reader, "jsonOp", Selector::read_loosely)?;
            Ok(Box::new(PatchTransformer::json(session, loader, &patch)?))
        }
        "PatchStrategicMergeTransformer" => Ok(Box::new(StrategicTransformer::new(
            session,
            loader,
            &reader.texts("paths")?,
            &reader.located("patches")?,
        )?)),
        _ => Err(unknown(config, "transformer")),
    }
}

fn replacement(
    reader: &Reader<'_>,
    session: &Session<'_>,
    loader: &Rc<Loader>,
) -> Result<ReplacementTransformer> {
    let entries = reader.list("replacements", |entry| {
        let path = entry.located("path")?;
        if path.text.is_empty() {
            Ok(ReplacementEntry::Inline(Box::new(Replacement::read(&entry)?)))
        } else {
            Ok(ReplacementEntry::File(path))
        }
    })?;
    Ok(ReplacementTransformer {
        replacements: replacements_of(&entries, session, loader)?,
    })
}

//! One transformer over documents, without a kustomization around it: what a tool needs that
//! edits files in place. Comments, order and style of what it does not touch stay, except under
//! JSON patches, which kustomize applies to JSON.

use fluvial_yaml::{FileId, Limits, Mode, Node, ReadOptions};

use crate::config::field_spec;
use crate::error::{Error, Result};
use crate::kustomization::read::Reader;
use crate::kyaml::merge2::{self, ListDirection, MergeOptions};
use crate::options::Options;
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::session::Session;
use crate::transformers::Transformer;
use crate::transformers::affix::{AffixTransformer, End};
use crate::transformers::images::{Image, ImageTransformer};
use crate::transformers::json_patch;
use crate::transformers::labels::EntriesTransformer;
use crate::transformers::namespace::{NamespaceTransformer, Subjects};
use crate::transformers::replacements::{Replacement, ReplacementTransformer};
use crate::transformers::replicas::{Replica, ReplicaTransformer};
use crate::transformers::value_add;

/// Where errors say that the configuration is wrong.
const CONFIGURATION: &str = "configuration";

/// Runs a transformer over documents. `name` is one of `annotations`, `iampolicygenerator` (which
/// adds a document), `imagetag`, `labels`, `namespace`, `patchjson6902`, `patchstrategicmerge`,
/// `prefix`, `replacement`, `replicacount`, `suffix`, `valueadd`; `config` is YAML with the fields
/// that the built-in transformer of that kind has.
///
/// # Errors
/// The name is not known, the configuration is wrong, or the documents do not fit it.
pub fn filter(name: &str, config: &str, mut documents: Vec<Node>) -> Result<Vec<Node>> {
    let config = parse(config, CONFIGURATION)?.unwrap_or_else(|| Node::mapping(Vec::new()));
    let reader = Reader::new(&config, CONFIGURATION, Mode::Kyaml)?.lenient();
    match name {
        "iampolicygenerator" => documents.push(crate::generators::iam_policy::generate(&reader)?),
        "patchjson6902" => {
            let patch = parse(&reader.string("patch")?, "patch")?.ok_or_else(|| missing("patch"))?;
            let operations = json_patch::read(&patch)?;
            for node in &mut documents {
                json_patch::apply(node, &operations, &crate::budget::Budget::default())?;
                let value = node
                    .to_json(Mode::Kyaml)
                    .map_err(|error| Error::new(error.to_string()))?;
                if let Some(patched) = parse(&fluvial_yaml::json_to_yaml(&value), "patched document")? {
                    *node = patched;
                }
            }
        }
        "patchstrategicmerge" => return merge_all(&reader.string("patch")?, documents),
        "replacement" => return replace(&reader, documents),
        _ => {
            let change = change(name, &reader)?;
            for node in &mut documents {
                change(node)?;
            }
        }
    }
    Ok(documents)
}

fn parse(text: &str, file: &str) -> Result<Option<Node>> {
    let options = ReadOptions {
        file: FileId::NONE,
        limits: Limits::default(),
    };
    let at = |error: fluvial_yaml::Error| Error::new(error.message.clone()).at(file, error.pos.line);
    let mut node = fluvial_yaml::parse_first(text, &options).map_err(at)?;
    if let Some(node) = &mut node {
        node.deanchor().map_err(at)?;
    }
    Ok(node)
}

fn missing(field: &str) -> Error {
    Error::new(format!("the configuration has no {field}"))
}

type Change = Box<dyn Fn(&mut Node) -> Result<()>>;

/// What changes one document, whatever the others are.
fn change(name: &str, reader: &Reader<'_>) -> Result<Change> {
    let fields = || reader.list("fieldSpecs", |field| field_spec(&field));
    let field = || {
        let field = reader.object("fieldSpec")?;
        field_spec(&field.ok_or_else(|| missing("fieldSpec"))?)
    };
    let entries = |of: &str| -> Result<Change> {
        let transformer = EntriesTransformer {
            entries: reader.located_map(of)?,
            fields: fields()?,
        };
        Ok(Box::new(move |node| transformer.apply(node, &mut 0)))
    };
    let affix = |end: End| -> Result<Change> {
        let name = if end == End::Prefix { "prefix" } else { "suffix" };
        let transformer = AffixTransformer {
            end,
            affix: reader.located(name)?,
            fields: Vec::new(),
        };
        let field = field()?;
        Ok(Box::new(move |node| transformer.apply(node, &field)))
    };
    match name {
        "annotations" | "labels" => entries(name),
        "prefix" => affix(End::Prefix),
        "suffix" => affix(End::Suffix),
        "imagetag" => {
            let image = reader.object("imageTag")?.ok_or_else(|| missing("imageTag"))?;
            let transformer = ImageTransformer::new(Image::read_loosely(&image)?, fields()?);
            Ok(Box::new(move |node| transformer.apply(node)))
        }
        "namespace" => {
            let transformer = NamespaceTransformer {
                namespace: reader.located("namespace")?,
                fields: fields()?,
                unset_only: reader.boolean("unsetOnly")?,
                subjects: Subjects::parse(&reader.string("setRoleBindingSubjects")?)?,
            };
            Ok(Box::new(move |node| {
                let text = |key: &str| crate::nodes::text_at(node, &[key]);
                let cluster_scoped = crate::facts::is_cluster_scoped(text("apiVersion"), text("kind"));
                transformer.apply(node, cluster_scoped)
            }))
        }
        "replicacount" => {
            let replica = reader.object("replica")?.ok_or_else(|| missing("replica"))?;
            let transformer = ReplicaTransformer {
                replica: Replica::read(&replica)?,
                fields: Vec::new(),
            };
            let field = field()?;
            Ok(Box::new(move |node| transformer.apply(node, &field)))
        }
        "valueadd" => {
            let value = reader.string("value")?;
            let field = reader.string("fieldPath")?;
            let position = reader.integer("filePathPosition")?;
            Ok(Box::new(move |node| {
                value_add::add(node, &value, &field, position)
            }))
        }
        other => Err(Error::new(format!("there is no transformer {other}"))),
    }
}

/// Merges one patch into every document; those that it deletes are gone.
fn merge_all(patch: &str, documents: Vec<Node>) -> Result<Vec<Node>> {
    let Some(patch) = parse(patch, "patch")? else {
        return Ok(documents);
    };
    let options = MergeOptions {
        list_direction: ListDirection::Prepend,
        ..MergeOptions::default()
    };
    let mut out = Vec::with_capacity(documents.len());
    for node in documents {
        let merged = merge2::merge(&patch, Some(node), None, &options)
            .map_err(|error| Error::new(error.message.clone()).at("patch", error.pos.line))?;
        out.extend(merged.filter(|node| !crate::nodes::is_nil_or_empty(node)));
    }
    Ok(out)
}

fn replace(reader: &Reader<'_>, documents: Vec<Node>) -> Result<Vec<Node>> {
    let transformer = ReplacementTransformer {
        replacements: reader.list("replacements", |entry| Replacement::read(&entry))?,
    };
    let options = Options::default();
    let session = Session::new(&options, &crate::NoRemote, &crate::NoCharts);
    let mut map = ResMap::default();
    for node in documents {
        map.resources_mut().push(Resource::new(node, &session));
    }
    transformer.transform(&mut map, &session)?;
    let resources = map.into_resources();
    Ok(resources.into_iter().map(|resource| resource.node).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kyaml::stream::{self, StreamOptions};

    fn filtered(name: &str, config: &str, input: &str) -> String {
        let stream = stream::read(input, StreamOptions::default()).unwrap();
        let documents = filter(name, config, stream.documents).unwrap();
        stream::write(&documents, None).unwrap()
    }

    #[test]
    fn comments_and_order_stay() {
        let input = "kind: A # a kind\nmetadata:\n  name: x\n  # labels\n  labels: {b: \"1\"}\n";
        let config = "{labels: {a: 'true'}, fieldSpecs: [{path: metadata/labels, create: true}]}";
        assert_eq!(
            filtered("labels", config, input),
            "kind: A # a kind\nmetadata:\n  name: x\n  # labels\n  labels: {b: \"1\", a: \"true\"}\n"
        );
    }

    #[test]
    fn a_document_that_a_patch_deletes_is_gone() {
        let input = "kind: A\n---\nkind: B\n";
        assert_eq!(
            filtered("patchstrategicmerge", "patch: '$patch: delete'", input),
            ""
        );
        assert!(filter("nothing", "", Vec::new()).is_err());
    }
}

//! `replicas`: sets the number of replicas of a workload by its name.

use fluvial_yaml::Pos;

use crate::error::{Error, Result};
use crate::fieldspec::{Create, FieldSpec};
use crate::kustomization::read::Reader;
use crate::nodes::{self, Kind, NewScalar};
use crate::resmap::ResMap;
use crate::session::Session;
use crate::transformers::Transformer;

/// An entry of `replicas`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) count: i64,
    pub(crate) pos: Pos,
}

impl Replica {
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        reader.only(&["name", "count"])?;
        Ok(Replica {
            name: reader.string("name")?,
            count: reader.integer("count")?,
            pos: reader.get("count").map_or(Pos::NONE, |count| count.pos),
        })
    }
}

/// The transformer.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplicaTransformer {
    pub(crate) replica: Replica,
    pub(crate) fields: Vec<FieldSpec>,
}

impl Transformer for ReplicaTransformer {
    fn transform(&self, map: &mut ResMap, session: &Session<'_>) -> Result<()> {
        let mut found = false;
        for resource in map.resources_mut() {
            let had_name = resource.name() == self.replica.name
                || resource.history.iter().any(|id| id.name == self.replica.name);
            if !had_name {
                continue;
            }
            let ids = resource.all_ids();
            for field in &self.fields {
                let selected = ids
                    .iter()
                    .any(|id| id.name == self.replica.name && id.gvk.is_selected_by(&field.gvk));
                if selected {
                    found = true;
                    self.apply(&mut resource.node, field)?;
                }
            }
        }
        if found {
            return Ok(());
        }
        let kinds: Vec<String> = self.fields.iter().map(|field| field.gvk.to_string()).collect();
        let error = Error::new(format!(
            "resource with name {} does not match a config with the following GVK [{}]",
            self.replica.name,
            kinds.join(" ")
        ));
        Err(session.at(error, self.replica.pos))
    }
}

impl ReplicaTransformer {
    /// Writes one field of one object.
    pub(crate) fn apply(&self, object: &mut fluvial_yaml::Node, field: &FieldSpec) -> Result<()> {
        let create = Create {
            kind: Kind::Scalar,
            tag: Some("!!int"),
        };
        let count = self.replica.count.to_string();
        field.apply(object, Some(create), &mut |node| {
            nodes::write_scalar(
                node,
                &NewScalar {
                    text: &count,
                    tag: Some("!!int"),
                    pos: self.replica.pos,
                },
            )
        })
    }
}

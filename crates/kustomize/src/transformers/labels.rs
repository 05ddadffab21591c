//! `labels` and `commonLabels`: adds labels to objects, templates and selectors.

use std::collections::BTreeMap;

use fluvial_yaml::Node;

use crate::config::TransformerConfig;
use crate::error::{Error, Result};
use crate::fieldspec::{Create, FieldSpec, merge_all, merge_one};
use crate::id::Gvk;
use crate::kustomization::read::{Reader, Text};
use crate::nodes::{self, Kind, NewScalar, string};
use crate::resmap::ResMap;
use crate::session::Session;
use crate::transformers::Transformer;

/// An entry of `labels`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Label {
    pub(crate) pairs: BTreeMap<String, Text>,
    pub(crate) include_selectors: bool,
    pub(crate) include_templates: bool,
    pub(crate) fields: Vec<FieldSpec>,
}

impl Label {
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        reader.only(&["pairs", "includeSelectors", "includeTemplates", "fields"])?;
        Ok(Label {
            pairs: reader.located_map("pairs")?,
            include_selectors: reader.boolean("includeSelectors")?,
            include_templates: reader.boolean("includeTemplates")?,
            fields: reader.list("fields", |field| {
                field.only(&["group", "version", "kind", "path", "create"])?;
                crate::config::field_spec(&field)
            })?,
        })
    }

    /// The fields that it writes.
    pub(crate) fn all_fields(&self, config: &TransformerConfig) -> Result<Vec<FieldSpec>> {
        let mut fields = self.fields.clone();
        merge_all(&mut fields, &config.labels)?;
        if self.include_selectors {
            merge_all(&mut fields, &config.common_labels)?;
        } else {
            if self.include_templates {
                merge_all(&mut fields, &config.template_labels)?;
            }
            merge_one(
                &mut fields,
                FieldSpec::new(Gvk::default(), "metadata/labels", true),
            )?;
        }
        Ok(fields)
    }
}

/// Sets entries of mappings of strings: labels, and annotations too.
#[derive(Clone, Debug, Default)]
pub(crate) struct EntriesTransformer {
    pub(crate) entries: BTreeMap<String, Text>,
    pub(crate) fields: Vec<FieldSpec>,
}

impl Transformer for EntriesTransformer {
    fn transform(&self, map: &mut ResMap, session: &Session<'_>) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let bytes: usize = self
            .entries
            .iter()
            .map(|(key, value)| key.len() + value.text.len())
            .sum();
        session.budget.add(bytes.saturating_mul(map.resources().len()))?;
        let records = self.fields.iter().any(FieldSpec::sees_records);
        map.resources_mut().iter_mut().try_for_each(|resource| {
            if records {
                resource.make_room_for_records()?;
            }
            self.apply(&mut resource.node, &mut resource.twins)
        })
    }
}

impl EntriesTransformer {
    /// Sets the entries in one object. The reference puts one node into all places where it makes an entry: whatever
    /// writes to one of them later, a patch too, writes to all. `twins` numbers such nodes.
    pub(crate) fn apply(&self, object: &mut Node, twins: &mut u32) -> Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let create = Create {
            kind: Kind::Mapping,
            tag: Some("!!map"),
        };
        let first = *twins;
        for field in FieldSpec::of_kind(&self.fields, object) {
            let mut written = Vec::new();
            field.write(object, Some(create), &mut |node| {
                let mut twin = first;
                self.entries.iter().try_for_each(|(key, value)| {
                    twin += 1;
                    written.extend(set_entry(node, key, &string(&value.text).at(value.pos), twin)?);
                    Ok(())
                })
            })?;
            written.iter().for_each(|written| object.write_twins(written));
        }
        *twins += u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        Ok(())
    }
}

/// Sets one entry; given back if what it was written to is one with other nodes.
fn set_entry(node: &mut Node, key: &str, value: &NewScalar<'_>, twin: u32) -> Result<Option<Node>> {
    if nodes::is_null(node) {
        // The reference writes below null, which nobody sees.
        return Ok(None);
    }
    nodes::expect_kind(node, Kind::Mapping)?;
    if key.is_empty() {
        // The reference takes an entry without a name for the mapping itself, which cannot be the value.
        return Err(Error::new("an entry must have a name"));
    }
    if let Some(field) = node.get_mut(key) {
        value.write_over(field);
        return Ok((field.twin() != 0).then(|| field.clone()));
    }
    let mut new = value.to_node();
    new.set_twin(twin);
    nodes::put(node, key, new);
    Ok(None)
}

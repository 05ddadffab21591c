//! `namePrefix` and `nameSuffix`.

use crate::budget::check_name;
use crate::error::Result;
use crate::fieldspec::{Create, FieldSpec};
use crate::kustomization::read::Text;
use crate::nodes::{self, Kind, text_of, untagged};
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::session::Session;
use crate::transformers::Transformer;

/// Which end of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The front.
    Prefix,
    /// The back.
    Suffix,
}

/// The transformer.
#[derive(Clone, Debug)]
pub(crate) struct AffixTransformer {
    pub(crate) end: End,
    pub(crate) affix: Text,
    pub(crate) fields: Vec<FieldSpec>,
}

impl Transformer for AffixTransformer {
    fn transform(&self, map: &mut ResMap, _session: &Session<'_>) -> Result<()> {
        check_name(&self.affix.text, "prefix or suffix")?;
        for resource in map.resources_mut() {
            if !keeps_its_name(resource) {
                self.rename(resource)?;
            }
        }
        Ok(())
    }
}

/// Kinds whose names mean something outside.
fn keeps_its_name(resource: &Resource) -> bool {
    match resource.first().0 {
        "CustomResourceDefinition" | "Namespace" => true,
        "APIService" => resource.api_version().starts_with("apiregistration.k8s.io/"),
        _ => false,
    }
}

impl AffixTransformer {
    fn rename(&self, resource: &mut Resource) -> Result<()> {
        let mut gvk = resource.gvk();
        resource.first().0.clone_into(&mut gvk.kind);
        for field in &self.fields {
            if !gvk.is_selected_by(&field.gvk) {
                continue;
            }
            // Empty text changes no name, and yet makes the fields that it is for.
            if field.path == "metadata/name" && !self.affix.text.is_empty() {
                let list = match self.end {
                    End::Prefix => &mut resource.prefixes,
                    End::Suffix => &mut resource.suffixes,
                };
                list.push(self.affix.text.clone());
                resource.remember_id();
            }
            if field.sees_records() {
                resource.make_room_for_records()?;
            }
            self.apply(&mut resource.node, field)?;
        }
        Ok(())
    }

    /// Writes one field.
    pub(crate) fn apply(&self, object: &mut fluvial_yaml::Node, field: &FieldSpec) -> Result<()> {
        let create = Create {
            kind: Kind::Scalar,
            tag: Some("!!str"),
        };
        field.apply(object, Some(create), &mut |node| {
            let name = match self.end {
                End::Prefix => format!("{}{}", self.affix.text, text_of(node)),
                End::Suffix => format!("{}{}", text_of(node), self.affix.text),
            };
            let pos = if self.affix.text.is_empty() {
                node.pos
            } else {
                self.affix.pos
            };
            nodes::write_scalar(node, &untagged(&name).at(pos))
        })
    }
}

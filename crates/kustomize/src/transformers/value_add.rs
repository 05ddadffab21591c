//! `ValueAddTransformer`: adds a text to fields; usable as a configured transformer only.

use crate::error::{Error, Result};
use crate::fieldspec::{Create, FieldSpec};
use crate::kustomization::read::Reader;
use crate::nodes::{self, Kind, text_of, untagged};
use crate::resmap::ResMap;
use crate::session::Session;
use crate::transformers::Transformer;
use crate::transformers::selector::{Matcher, Selector};

/// The transformer.
#[derive(Clone, Debug, Default)]
pub(crate) struct ValueAddTransformer {
    value: String,
    targets: Vec<Target>,
}

#[derive(Clone, Debug, Default)]
struct Target {
    selector: Option<Selector>,
    field: Option<FieldSpec>,
    /// 0: the whole field; else the part of the path that the value becomes.
    position: i64,
}

impl ValueAddTransformer {
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        let value = reader.string("value")?;
        let targets = match reader.object("targetFilePath")? {
            Some(_) => return Err(reader.error("targetFilePath is not supported here")),
            None => reader.list("targets", |target| {
                let path = target.string("fieldPath")?;
                Ok(Target {
                    selector: target
                        .object("selector")?
                        .map(|selector| Selector::read_loosely(&selector))
                        .transpose()?,
                    field: (!path.is_empty()).then(|| FieldSpec::new(crate::id::Gvk::default(), &path, true)),
                    position: target.integer("filePathPosition")?,
                })
            })?,
        };
        Ok(ValueAddTransformer { value, targets })
    }
}

/// Puts a text before, after or into a path.
pub(crate) fn add(
    object: &mut fluvial_yaml::Node,
    value: &str,
    field: &FieldSpec,
    position: i64,
) -> Result<()> {
    let create = Create {
        kind: Kind::Scalar,
        tag: Some("!!str"),
    };
    field.apply(object, Some(create), &mut |node| {
        let old = text_of(node).to_owned();
        if position == 0 {
            return nodes::write_scalar(node, &untagged(value));
        }
        let mut parts: Vec<&str> = old.split('/').collect();
        let at = usize::try_from(position.saturating_sub(1))
            .map_err(|_| Error::new("filePathPosition must not be negative"))?;
        parts.insert(at.min(parts.len()), value);
        nodes::write_scalar(node, &untagged(&parts.join("/")))
    })
}

impl Transformer for ValueAddTransformer {
    fn transform(&self, map: &mut ResMap, _session: &Session<'_>) -> Result<()> {
        for target in &self.targets {
            let Some(field) = &target.field else {
                return Err(Error::new("a target needs a fieldPath"));
            };
            let matcher = Matcher::new(target.selector.as_ref().unwrap_or(&Selector::default()))?;
            for resource in map.resources_mut() {
                if matcher.selects(resource) {
                    add(&mut resource.node, &self.value, field, target.position)?;
                }
            }
        }
        Ok(())
    }
}

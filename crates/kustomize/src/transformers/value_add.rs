//! `ValueAddTransformer`: adds a text to fields; usable as a configured transformer only.

use fluvial_yaml::Mode;

use crate::error::{Error, Result};
use crate::fieldspec::{Create, FieldSpec};
use crate::kustomization::read::{Reader, Text};
use crate::loader::Loader;
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

#[derive(Clone, Debug)]
struct Target {
    selector: Selector,
    field: FieldSpec,
    /// 0: the whole field; else the part of the path that the value becomes.
    position: i64,
}

impl ValueAddTransformer {
    /// Reads a configuration. Targets of its file come before those beside it; without a value, the folder's name is it.
    pub(crate) fn read(reader: &Reader<'_>, session: &Session<'_>, loader: &Loader) -> Result<Self> {
        let file = reader.located("targetFilePath")?;
        let mut targets = match file.text.is_empty() {
            true => Vec::new(),
            false => Target::load(session, loader, &file)?,
        };
        targets.extend(reader.list("targets", |target| Target::read(&target))?);
        if targets.is_empty() {
            return Err(reader.error("must specify at least one target"));
        }
        let mut value = reader.string("value")?;
        if value.is_empty() {
            value = loader
                .root_name()
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned();
        }
        Ok(ValueAddTransformer { value, targets })
    }
}

impl Target {
    fn read(reader: &Reader<'_>) -> Result<Self> {
        let path = reader.string("fieldPath")?;
        if path.is_empty() {
            return Err(reader.error("fieldPath cannot be empty"));
        }
        let position = reader.integer("filePathPosition")?;
        if position < 0 {
            return Err(reader.error(format!(
                "value of filePathPosition ({position}) cannot be negative"
            )));
        }
        Ok(Target {
            selector: reader
                .object("selector")?
                .map(|selector| Selector::read_loosely(&selector))
                .transpose()?
                .unwrap_or_default(),
            field: FieldSpec::new(crate::id::Gvk::default(), &path, true),
            position,
        })
    }

    /// Reads a file that shares targets among transformers.
    fn load(session: &Session<'_>, loader: &Loader, path: &Text) -> Result<Vec<Self>> {
        let at = |error: Error| session.at(error, path.pos);
        let loaded = loader
            .load(session, &path.text)
            .map_err(Error::from)
            .map_err(at)?;
        let file = session.add_file(&loaded.name);
        let documents = crate::parse::documents(session, loaded.text()?, file)?;
        let Some(node) = documents.first() else {
            return Ok(Vec::new());
        };
        Reader::new(node, &loaded.name, Mode::Json)?.list("targets", |target| Self::read(&target))
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
            let matcher = Matcher::new(&target.selector)?;
            for resource in map.resources_mut() {
                if matcher.selects(resource)? {
                    add(&mut resource.node, &self.value, &target.field, target.position)?;
                }
            }
        }
        Ok(())
    }
}

//! `ValueAddTransformer`: adds a text to fields; usable as a configured transformer only.

use fluvial_yaml::Mode;

use crate::error::{Error, Result};
use crate::kustomization::read::{Reader, Text};
use crate::loader::Loader;
use crate::nodes::{self, Kind, untagged};
use crate::resmap::ResMap;
use crate::session::Session;
use crate::transformers::Transformer;
use crate::transformers::namespace::NamespaceTransformer;
use crate::transformers::path_matcher::lookup_or_make;
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
    field: String,
    /// 0: the whole field; else the part of the path that the value becomes.
    position: i64,
}

impl ValueAddTransformer {
    /// Reads a configuration. Targets of its file come behind those beside it; without a value, the folder's name is it.
    pub(crate) fn read(reader: &Reader<'_>, session: &Session<'_>, loader: &Loader) -> Result<Self> {
        let file = reader.located("targetFilePath")?;
        let mut targets = reader.list("targets", |target| Target::read(&target))?;
        if !file.text.is_empty() {
            targets.extend(Target::load(session, loader, &file)?);
        }
        if targets.is_empty() {
            return Err(reader.error("must specify at least one target"));
        }
        let mut value = reader.string("value")?.trim().to_owned();
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
            field: path,
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

/// Puts a text into a field, or at a place of the path that the field holds.
pub(crate) fn add(object: &mut fluvial_yaml::Node, value: &str, field: &str, position: i64) -> Result<()> {
    let parts = super::path_matcher::split_path(field, "/");
    let Some(node) = lookup_or_make(object, &parts, Kind::Scalar)? else {
        return Ok(());
    };
    let new = if position > 0 {
        insert_part(node.as_text().unwrap_or_default(), position, value)
    } else {
        value.to_owned()
    };
    if new.is_empty() {
        return Ok(());
    }
    nodes::write_scalar(node, &untagged(&new))?;
    if node.twin() != 0 {
        let written = node.clone();
        object.write_twins(&written);
    }
    Ok(())
}

/// Puts a part into a path, the first place being 1; an absolute path stays one.
fn insert_part(path: &str, position: i64, part: &str) -> String {
    if part.is_empty() {
        return path.to_owned();
    }
    let relative = path.strip_prefix('/');
    let mut parts: Vec<&str> = relative.unwrap_or(path).split('/').collect();
    if parts == [""] {
        parts.clear();
    }
    let at = usize::try_from(position - 1)
        .unwrap_or(usize::MAX)
        .min(parts.len());
    parts.insert(at, part);
    // The parts are cleaned as paths are.
    let mut clean: Vec<&str> = Vec::new();
    for one in parts.iter().flat_map(|part| part.split('/')) {
        match one {
            "" | "." => {}
            ".." if clean.last().is_some_and(|last| *last != "..") => {
                clean.pop();
            }
            one => clean.push(one),
        }
    }
    let rooted = relative.is_some() || parts.first().is_some_and(|first| first.starts_with('/'));
    format!("{}{}", if rooted { "/" } else { "" }, clean.join("/"))
}

/// What the field is that namespaces are in: it is set as a namespace is.
const NAMESPACE: &str = "metadata/namespace";

impl Transformer for ValueAddTransformer {
    fn transform(&self, map: &mut ResMap, _session: &Session<'_>) -> Result<()> {
        for target in &self.targets {
            let matcher = Matcher::new(&target.selector)?;
            let namespace = (target.field == NAMESPACE).then(|| NamespaceTransformer {
                namespace: Text {
                    text: self.value.clone(),
                    pos: fluvial_yaml::Pos::NONE,
                },
                ..NamespaceTransformer::default()
            });
            for resource in map.resources_mut() {
                if !matcher.selects(resource)? {
                    continue;
                }
                match &namespace {
                    Some(transformer) => transformer.apply(&mut resource.node, resource.cluster_scoped),
                    None => add(&mut resource.node, &self.value, &target.field, target.position),
                }
                .map_err(|error| error.within(format!("adding a value to {}", resource.id())))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::insert_part;

    #[test]
    fn a_part_goes_where_the_position_says() {
        for (path, position, want) in [
            ("", 3, "PEACH"),
            ("/", 1, "/PEACH"),
            ("pie", 1, "PEACH/pie"),
            ("/pie", 1, "/PEACH/pie"),
            ("raw", 2, "raw/PEACH"),
            ("/raw", 9, "/raw/PEACH"),
            ("a/nice/warm/pie", 4, "a/nice/warm/PEACH/pie"),
            ("/a/nice/warm/pie", 4, "/a/nice/warm/PEACH/pie"),
        ] {
            assert_eq!(
                insert_part(path, position, "PEACH"),
                want,
                "{path:?} at {position}"
            );
        }
        assert_eq!(insert_part("", 1, "/a//b"), "/a/b");
    }
}

//! `patches`, `patchesJson6902` and `patchesStrategicMerge`.

use std::collections::BTreeMap;
use std::rc::Rc;

use fluvial_yaml::{FileId, Mode, Node, Pos};

use crate::error::{Error, Result, Within};
use crate::kustomization::read::{Reader, Text};
use crate::kyaml::merge2::apply_patch;
use crate::loader::Loader;
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::session::Session;
use crate::transformers::Transformer;
use crate::transformers::json_patch::{self, Operation};
use crate::transformers::selector::{Matcher, Selector};

/// An entry of `patches` or `patchesJson6902`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patch {
    pub(crate) path: String,
    pub(crate) patch: Text,
    pub(crate) target: Option<Selector>,
    pub(crate) options: BTreeMap<String, bool>,
    pub(crate) pos: Pos,
}

impl Patch {
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        reader.only(&["path", "patch", "target", "options"])?;
        Self::read_fields(reader, "patch", Selector::read)
    }

    /// Reads a plugin's configuration; `jsonOp` is another name of the text there.
    pub(crate) fn read_fields(
        reader: &Reader<'_>,
        text: &str,
        selector: impl Fn(&Reader<'_>) -> Result<Selector>,
    ) -> Result<Self> {
        Ok(Patch {
            path: reader.string("path")?.trim().to_owned(),
            patch: reader.located(text)?,
            target: reader
                .object("target")?
                .map(|target| selector(&target))
                .transpose()?,
            options: reader.boolean_map("options")?,
            pos: reader.pos(),
        })
    }

    /// The patch's text, as one of these takes it, with the file it stands in.
    fn load(
        &self,
        session: &Session<'_>,
        loader: &Loader,
        inline: impl Fn(&Text) -> Source,
    ) -> Result<Source> {
        let is_inline = !self.patch.text.trim().is_empty();
        match (is_inline, self.path.is_empty()) {
            (true, true) => Ok(inline(&self.patch)),
            (false, false) => Source::file(session, loader, &self.path),
            (false, true) => Err(Error::new("must specify one of patch and path in a patch")),
            (true, false) => Err(Error::new("patch and path can't be set at the same time")),
        }
    }
}

/// A patch's text, the file that it counts to and the line before its first one.
struct Source {
    text: String,
    file: FileId,
    above: u32,
}

impl Source {
    fn inline(text: &Text) -> Self {
        Source {
            text: text.text.clone(),
            file: text.pos.file,
            above: text.pos.line,
        }
    }

    /// An inline entry of `patches`, whose text loses the white space around it: a block scalar at its end has no last
    /// line break.
    fn trimmed(text: &Text) -> Self {
        let trimmed = text.text.trim();
        let before = text.text.len() - text.text.trim_start().len();
        let lines = text.text[..before].matches('\n').count();
        Source {
            text: trimmed.to_owned(),
            file: text.pos.file,
            above: text.pos.line + u32::try_from(lines).unwrap_or_default(),
        }
    }

    fn file(session: &Session<'_>, loader: &Loader, path: &str) -> Result<Self> {
        let loaded = loader
            .load(session, path)
            .map_err(Error::from)
            .within(|| format!("unable to load patch '{path}'"))?;
        Ok(Source {
            text: loaded.text()?.to_owned(),
            file: session.add_file(&loaded.name),
            above: 0,
        })
    }

    /// The patch as objects that are merged.
    fn objects(&self, session: &Session<'_>) -> Result<Vec<Resource>> {
        let mut list = crate::parse::resources(session, &self.text, self.file)?;
        for resource in &mut list {
            resource.origin.line += self.above;
            shift(&mut resource.node, self.above);
        }
        Ok(list)
    }

    /// The patch as JSON patch operations.
    fn operations(&self, session: &Session<'_>) -> Result<Vec<Operation>> {
        if self.text.starts_with('[') {
            // What begins so has to be JSON; another text may be YAML.
            serde_json::from_str::<serde::de::IgnoredAny>(&self.text).map_err(|error| {
                Error::new(format!("the patch begins as JSON does, and is none: {error}"))
            })?;
        }
        let node = crate::parse::first_document(session, &self.text, self.file)?;
        let mut node = node.ok_or_else(|| Error::new("the patch is empty"))?;
        normalise(session, &mut node)?;
        shift(&mut node, self.above);
        json_patch::read(&node)
    }
}

/// Moves all positions down by some lines, from those in a text to those in its file.
fn shift(node: &mut Node, lines: u32) {
    if lines == 0 {
        return;
    }
    node.pos.line += lines;
    if let Some(entries) = node.entries_mut() {
        for entry in entries {
            entry.key.pos.line += lines;
            shift(&mut entry.value, lines);
        }
    } else if let Some(items) = node.items_mut() {
        items.iter_mut().for_each(|item| shift(item, lines));
    }
}

/// JSON patches are read as YAML 1.1: scalars that mean something else there get that meaning.
fn normalise(session: &Session<'_>, node: &mut Node) -> Result<()> {
    if let Some(entries) = node.entries_mut() {
        return entries
            .iter_mut()
            .try_for_each(|entry| normalise(session, &mut entry.value));
    }
    if let Some(items) = node.items_mut() {
        return items.iter_mut().try_for_each(|item| normalise(session, item));
    }
    let value = node
        .to_json(Mode::Json)
        .map_err(|error| session.about(Error::new(error.to_string()), node))?;
    let mut scalar = Node::from_json(&value);
    scalar.pos = node.pos;
    *node = scalar;
    Ok(())
}

/// What a patch does.
enum Change {
    Merge(Vec<Resource>),
    Json(Vec<Operation>),
}

/// A loaded entry of `patches` or `patchesJson6902`.
pub(crate) struct PatchTransformer {
    change: Change,
    target: Option<Selector>,
    /// Whether an object is still found by the name that it had before. Under `patchesJson6902` it is not: references to
    /// a name that such a patch changes stay as they are.
    remembers: bool,
    pos: Pos,
}

impl PatchTransformer {
    /// Loads an entry of `patches`, which may be of either kind.
    pub(crate) fn new(session: &Session<'_>, loader: &Loader, patch: &Patch) -> Result<Self> {
        let load = || {
            let source = patch.load(session, loader, Source::trimmed)?;
            let merge = source.objects(session);
            let json = source.operations(session);
            match (merge, json) {
                (Ok(objects), Ok(operations)) if !(objects.is_empty() || operations.is_empty()) => Err(
                    Error::new("illegally qualifies as both a strategic merge and a JSON patch"),
                ),
                (Ok(objects), _) => Ok(Change::Merge(objects)),
                (Err(_), Ok(operations)) => Ok(Change::Json(operations)),
                (Err(merge), Err(json)) => Err(Error::new(format!(
                    "unable to parse strategic merge or JSON patch: {merge}; {json}"
                ))),
            }
        };
        let mut change = load().map_err(|error| session.at(error, patch.pos))?;
        let enabled = |name: &str| patch.options.get(name).copied().unwrap_or(false);
        if let Change::Merge(objects) = &mut change {
            for object in objects {
                object.allow_name_change = enabled("allowNameChange");
                object.allow_kind_change = enabled("allowKindChange");
                if object.allow_name_change || object.allow_kind_change {
                    // The reference notes this in the patch's annotations, which are texts from then on.
                    object.spell_out("annotations")?;
                }
            }
        }
        Ok(PatchTransformer {
            change,
            target: patch.target.clone(),
            remembers: true,
            pos: patch.pos,
        })
    }

    /// Loads an entry of `patchesJson6902`.
    pub(crate) fn json(session: &Session<'_>, loader: &Loader, patch: &Patch) -> Result<Self> {
        let load = || {
            let Some(target) = &patch.target else {
                return Err(Error::new(
                    "must specify the target field of a patchesJson6902 entry",
                ));
            };
            if target.name.is_empty() {
                return Err(Error::new(
                    "must specify the target name of a patchesJson6902 entry",
                ));
            }
            let source = patch.load(session, loader, Source::inline)?;
            Ok(PatchTransformer {
                change: Change::Json(source.operations(session)?),
                target: Some(target.clone()),
                remembers: false,
                pos: patch.pos,
            })
        };
        load().map_err(|error| session.at(error, patch.pos))
    }

    fn apply(&self, map: &mut ResMap, session: &Session<'_>) -> Result<()> {
        match (&self.change, &self.target) {
            (Change::Merge(patches), None) => merge_by_id(map, session, patches),
            (Change::Merge(patches), Some(target)) => match patches.as_slice() {
                [] => Ok(()),
                [patch] => merge_selected(map, session, patch, target),
                _ => Err(Error::new(
                    "multiple strategic merge patches in one 'patches' entry are not allowed together with 'target'",
                )),
            },
            (Change::Json(_), None) => Err(Error::new("must specify a target for JSON patch")),
            (Change::Json(operations), Some(target)) => {
                let matcher = Matcher::new(target)?;
                for index in matcher.candidates(map) {
                    if matcher.selects(&map.resources()[index])? {
                        map.change(index, |resource| {
                            if self.remembers {
                                resource.remember_id();
                            }
                            apply_json(resource, operations, session)
                        })?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl Transformer for PatchTransformer {
    fn transform(&self, map: &mut ResMap, session: &Session<'_>) -> Result<()> {
        self.apply(map, session)
            .map_err(|error| session.at(error, self.pos))
    }
}

fn apply_json(resource: &mut Resource, operations: &[Operation], session: &Session<'_>) -> Result<()> {
    resource.make_room_for_records()?;
    if resource.has_records() && json_patch::test_records(operations) {
        return Err(Error::new("testing value failed: test failed"))
            .within(|| format!("patching {}", resource.id()));
    }
    json_patch::apply(&mut resource.node, operations, &session.budget)
        .within(|| format!("patching {}", resource.id()))?;
    resource.node.spell_through_json();
    resource.refresh_scope(session);
    Ok(())
}

/// Merges patches into the objects that they name.
fn merge_by_id(map: &mut ResMap, session: &Session<'_>, patches: &[Resource]) -> Result<()> {
    for patch in patches {
        let index = map.unique_by_any_id(&patch.id()).map_err(|error| {
            session.about(
                error.within(format!(
                    "no resource matches strategic merge patch \"{}\"",
                    patch.id()
                )),
                &patch.node,
            )
        })?;
        map.change(index, |resource| merge(resource, patch, session))?;
    }
    Ok(())
}

/// Merges a patch into all objects that a selector finds.
fn merge_selected(
    map: &mut ResMap,
    session: &Session<'_>,
    patch: &Resource,
    target: &Selector,
) -> Result<()> {
    let matcher = Matcher::new(target)?;
    let mut patch = patch.clone();
    patch.spell_out_metadata()?;
    for index in matcher.candidates(map) {
        let resource = &map.resources()[index];
        if !matcher.selects(resource)? {
            continue;
        }
        // The patch counts as one of the object's own group and version.
        let api_version = crate::nodes::untagged(resource.api_version());
        crate::nodes::set_field(&mut patch.node, "apiVersion", &api_version)?;
        map.change(index, |resource| merge(resource, &patch, session))?;
    }
    map.drop_empty();
    if patch.allow_name_change || patch.allow_kind_change {
        map.check_unique()?;
    }
    Ok(())
}

/// Merges a patch into an object, which keeps its name, namespace and kind unless the patch may
/// change them.
pub(crate) fn merge(resource: &mut Resource, patch: &Resource, session: &Session<'_>) -> Result<()> {
    if patch.allow_name_change || patch.allow_kind_change {
        resource.remember_id();
    }
    let node = std::mem::replace(&mut resource.node, Node::plain("null"));
    session.budget.place(&patch.node, 0)?;
    let schemas = session.schemas();
    let merged = apply_patch(
        &patch.node,
        node,
        patch.allow_name_change,
        patch.allow_kind_change,
        schemas.as_ref(),
    )
    .map_err(|error| session.at(Error::new(error.message), error.pos))?;
    if let Some(merged) = merged {
        resource.node = merged;
        resource.refresh_scope(session);
    }
    Ok(())
}

/// `patchesStrategicMerge`: files or inline patches.
pub(crate) struct StrategicTransformer {
    patches: Vec<Resource>,
}

impl StrategicTransformer {
    /// Loads patches: each text is a patch itself or the path of a file; `inline` is one more.
    pub(crate) fn new(
        session: &Session<'_>,
        loader: &Rc<Loader>,
        paths: &[Text],
        inline: &Text,
    ) -> Result<Self> {
        let mut patches = Vec::new();
        for path in paths {
            match Source::inline(path).objects(session) {
                Ok(objects) => patches.extend(objects),
                Err(_) => {
                    let objects = Source::file(session, loader, &path.text)
                        .and_then(|source| source.objects(session))
                        .map_err(|error| session.at(error, path.pos))?;
                    patches.extend(objects);
                }
            }
        }
        if !inline.text.is_empty() {
            patches.extend(Source::inline(inline).objects(session)?);
        }
        for patch in &mut patches {
            patch.spell_out_metadata()?;
        }
        if patches.is_empty() {
            let names: Vec<&str> = paths.iter().map(|path| path.text.as_str()).collect();
            return Err(Error::new(format!(
                "patch appears to be empty; files={}",
                names.join(", ")
            )));
        }
        Ok(StrategicTransformer { patches })
    }
}

impl Transformer for StrategicTransformer {
    fn transform(&self, map: &mut ResMap, session: &Session<'_>) -> Result<()> {
        merge_by_id(map, session, &self.patches)
    }
}

//! `replacements`: copies a field of one object to fields of others.

use fluvial_yaml::{Mode, Node, NodeData, Pos};
use serde_json::Value;

use crate::budget::Budget;
use crate::error::{Error, Result, Within};
use crate::id::{IdRef, ResId};
use crate::kustomization::read::{Reader, Text};
use crate::loader::Loader;
use crate::nodes::{Kind, is_nil_or_empty, text_of};
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::session::Session;
use crate::transformers::Transformer;
use crate::transformers::path_matcher::{lookup, parse_text, split_path_with_brackets, visit};
use crate::transformers::selector::{Matcher, Selector};

/// An entry of `replacements`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replacement {
    source: Option<Source>,
    source_value: Option<String>,
    targets: Option<Vec<Target>>,
    pos: Pos,
}

#[derive(Clone, Debug, Default)]
struct Source {
    selector: Selector,
    field_path: String,
    options: Option<FieldOptions>,
}

#[derive(Clone, Debug, Default)]
struct Target {
    select: Option<Selector>,
    reject: Vec<Selector>,
    field_paths: Vec<String>,
    options: Option<FieldOptions>,
}

#[derive(Clone, Debug, Default)]
struct FieldOptions {
    delimiter: String,
    index: i64,
    create: bool,
}

const DEFAULT_PATH: &str = "metadata.name";

impl Replacement {
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        Ok(Replacement {
            source: reader
                .object("source")?
                .map(|source| {
                    Ok::<_, Error>(Source {
                        selector: Selector::read_loosely(&source)?,
                        field_path: source.string("fieldPath")?,
                        options: FieldOptions::read(&source)?,
                    })
                })
                .transpose()?,
            source_value: reader.optional_string("sourceValue")?,
            targets: reader
                .has("targets")
                .then(|| reader.list("targets", |target| Target::read(&target)))
                .transpose()?,
            pos: reader.pos(),
        })
    }

    fn run(&self, map: &mut ResMap, session: &Session<'_>) -> Result<()> {
        let targets = match (&self.source, &self.source_value, &self.targets) {
            (None, None, _) | (_, _, None) => {
                return Err(Error::new(
                    "replacements must specify a source and at least one target",
                ));
            }
            (.., Some(targets)) => targets,
        };
        let value = source_value(map.resources(), self, session)?;
        for target in targets {
            apply(map.resources_mut(), &value, target, session)?;
        }
        Ok(())
    }

    /// Reads a file with one replacement or a sequence of them.
    pub(crate) fn load(session: &Session<'_>, loader: &Loader, path: &Text) -> Result<Vec<Self>> {
        let loaded = loader
            .load(session, &path.text)
            .map_err(Error::from)
            .map_err(|error| session.at(error, path.pos))?;
        let file = session.add_file(&loaded.name);
        let documents = crate::parse::documents(session, loaded.text()?, file)?;
        let Some(node) = documents.first() else {
            return Ok(Vec::new());
        };
        let read =
            |node: &Node| Reader::new(node, &loaded.name, Mode::Json).and_then(|reader| Self::read(&reader));
        match node.items() {
            Some(items) => items.iter().map(read).collect(),
            None => Ok(vec![read(node)?]),
        }
    }
}

impl Target {
    fn read(reader: &Reader<'_>) -> Result<Self> {
        Ok(Target {
            select: reader
                .object("select")?
                .map(|select| Selector::read_loosely(&select))
                .transpose()?,
            reject: reader.list("reject", |reject| Selector::read_loosely(&reject))?,
            field_paths: reader.strings("fieldPaths")?,
            options: FieldOptions::read(reader)?,
        })
    }
}

impl FieldOptions {
    fn read(reader: &Reader<'_>) -> Result<Option<Self>> {
        reader
            .object("options")?
            .map(|options| {
                Ok(FieldOptions {
                    delimiter: options.string("delimiter")?,
                    index: options.integer("index")?,
                    create: options.boolean("create")?,
                })
            })
            .transpose()
    }
}

/// The transformer.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplacementTransformer {
    pub(crate) replacements: Vec<Replacement>,
}

impl Transformer for ReplacementTransformer {
    fn transform(&self, map: &mut ResMap, session: &Session<'_>) -> Result<()> {
        for replacement in &self.replacements {
            replacement
                .run(map, session)
                .map_err(|error| session.at(error, replacement.pos))?;
        }
        Ok(())
    }
}

fn source_value(resources: &[Resource], replacement: &Replacement, session: &Session<'_>) -> Result<Node> {
    let source = match (&replacement.source, &replacement.source_value) {
        (Some(_), Some(_)) => {
            return Err(Error::new("value and resource selectors are mutually exclusive"));
        }
        (None, Some(value)) => return Ok(Node::plain(value.as_str())),
        (Some(source), None) => source,
        (None, None) => return Err(Error::new("replacements must specify a source")),
    };
    let path = if source.field_path.is_empty() {
        DEFAULT_PATH
    } else {
        &source.field_path
    };
    let resource = select_source(resources, &source.selector, path)?;
    let node = lookup(&resource.node, &split_path_with_brackets(path, "."))
        .within(|| "error looking up replacement source".to_owned())?
        .filter(|node| !is_nil_or_empty(node))
        .ok_or_else(|| {
            session.about(
                Error::new(format!(
                    "fieldPath `{path}` is missing for replacement source {}",
                    resource.id()
                )),
                &resource.node,
            )
        })?;
    refine(node, source.options.as_ref())
}

/// The one object that a source names, by a current or former identity.
fn select_source<'a>(resources: &'a [Resource], selector: &Selector, path: &str) -> Result<&'a Resource> {
    let wanted = ResId {
        gvk: selector.gvk.clone(),
        name: selector.name.clone(),
        namespace: selector.namespace.clone(),
        // Nobody asks here whether the kind has a namespace.
        cluster_scoped: false,
    };
    let fits = |id: IdRef<'_>| {
        let namespace = crate::id::effective_namespace(id.namespace, false);
        (wanted.namespace.is_empty() || wanted.effective_namespace() == namespace)
            && (wanted.name.is_empty() || wanted.name == id.name)
            && id.is_selected_by(&wanted.gvk)
    };
    let mut matching = resources
        .iter()
        .filter(|resource| resource.written_ids().any(fits));
    match (matching.next(), matching.next()) {
        (Some(resource), None) => Ok(resource),
        (None, _) => Err(Error::new(format!("nothing selected by {wanted}:{path}"))),
        (Some(_), Some(_)) => Err(Error::new(format!(
            "multiple matches for selector {wanted}:{path}"
        ))),
    }
}

/// The part of a value that the options choose.
fn refine(node: &Node, options: Option<&FieldOptions>) -> Result<Node> {
    let Some(options) = options.filter(|options| !options.delimiter.is_empty()) else {
        let mut copy = node.clone();
        copy.part_twins();
        return Ok(copy);
    };
    if Kind::of(node) != Kind::Scalar {
        return Err(Error::new("delimiter option can only be used with scalar nodes"));
    }
    let text = text_of(node);
    let part = usize::try_from(options.index)
        .ok()
        .and_then(|index| text.split(&options.delimiter).nth(index))
        .ok_or_else(|| {
            Error::new(format!(
                "options.index {} is out of bounds for value {text}",
                options.index
            ))
        })?;
    let mut refined = node.clone();
    refined.part_twins();
    fix_tag(&mut refined);
    set_text(&mut refined, part);
    Ok(refined)
}

fn set_text(node: &mut Node, new: &str) {
    if let NodeData::Scalar { text, .. } = &mut node.data {
        *text = new.into();
    }
}

/// Pins the type that a scalar has now, so that a new text does not change it.
fn fix_tag(node: &mut Node) {
    if node.tag().is_none()
        && let Some(tag) = crate::nodes::resolved_tag(node)
    {
        node.set_tag(Some(tag.into()));
    }
}

fn apply(resources: &mut [Resource], value: &Node, target: &Target, session: &Session<'_>) -> Result<()> {
    let select = target
        .select
        .as_ref()
        .ok_or_else(|| Error::new("target must specify resources to select"))?;
    let matcher = Matcher::new(select).within(|| "error creating target selector".to_owned())?;
    let mut rejected = Vec::new();
    for reject in &target.reject {
        rejected.push((reject, Matcher::new(reject)?));
    }
    for resource in resources {
        if !matcher.matches_metadata(resource)? {
            continue;
        }
        let mut by_metadata = false;
        for (selector, matcher) in &rejected {
            let asks = !(selector.label_selector.is_empty() && selector.annotation_selector.is_empty());
            by_metadata = by_metadata || asks && matcher.matches_metadata(resource)?;
        }
        if by_metadata {
            continue;
        }
        if !resource.written_ids().any(|id| matcher.matches_id(&id)) {
            continue;
        }
        let by_id = rejected.iter().any(|(selector, matcher)| {
            !selector.has_no_id() && resource.written_ids().any(|id| matcher.matches_id(&id))
        });
        if !by_id {
            write(resource, value, target, &session.budget)
                .map_err(|error| error.within(format!("replacement in {}", resource.id())))?;
            resource.refresh_scope(session);
        }
    }
    Ok(())
}

fn write(resource: &mut Resource, value: &Node, target: &Target, budget: &Budget) -> Result<()> {
    let create = target
        .options
        .as_ref()
        .is_some_and(|options| options.create)
        .then(|| Kind::of(value));
    let default = [DEFAULT_PATH.to_owned()];
    let paths: &[String] = if target.field_paths.is_empty() {
        &default
    } else {
        &target.field_paths
    };
    for path in paths {
        let parts = split_path_with_brackets(path, ".");
        budget.place(value, parts.len())?;
        if write_inside_text(&mut resource.node, value, &parts, create).is_ok() {
            continue;
        }
        let problem = || {
            let verb = if create.is_some() {
                "find or create"
            } else {
                "find"
            };
            format!("unable to {verb} field \"{path}\" in replacement target")
        };
        let mut written = Vec::new();
        let found = visit(&mut resource.node, &parts, create, &mut |node, made| {
            set_field(node, value, target.options.as_ref(), made, budget)?;
            written.extend((node.twin() != 0).then(|| node.clone()));
            Ok(())
        })
        .within(problem)?;
        written
            .iter()
            .for_each(|written| resource.node.write_twins(written));
        if found == 0 {
            return Err(Error::new(problem()));
        }
    }
    Ok(())
}

fn set_field(
    node: &mut Node,
    value: &Node,
    options: Option<&FieldOptions>,
    made: bool,
    budget: &Budget,
) -> Result<()> {
    let scalar = Kind::of(node) == Kind::Scalar;
    let mut text = raw_text(value).to_owned();
    if let Some(options) = options.filter(|options| !options.delimiter.is_empty()) {
        if !scalar {
            return Err(Error::new("delimiter option can only be used with scalar nodes"));
        }
        let old = raw_text(node).to_owned();
        let mut parts: Vec<&str> = old.split(&options.delimiter).collect();
        let new = text_of(value).to_owned();
        match usize::try_from(options.index) {
            Err(_) => parts.insert(0, &new),
            Ok(index) if index >= parts.len() => parts.push(&new),
            Ok(index) => parts[index] = &new,
        }
        text = parts.join(&options.delimiter);
    }
    budget.add(text.len())?;
    if scalar {
        // Only the text is copied: the type stays what it was.
        if !made {
            fix_tag(node);
        }
        set_text(node, &text);
        node.pos = value.pos;
    } else {
        *node = value.clone();
    }
    Ok(())
}

fn raw_text(node: &Node) -> &str {
    node.as_text().unwrap_or_default()
}

/// Writes into YAML or JSON that a scalar on the way holds as its text. An error means that there
/// is none, and nothing was changed.
fn write_inside_text(object: &mut Node, value: &Node, parts: &[String], create: Option<Kind>) -> Result<()> {
    let none = || Error::new("no structured data found in path");
    let mut split = None;
    for end in 1..parts.len() {
        let Ok(Some(node)) = lookup(object, &parts[..end]) else {
            continue;
        };
        if Kind::of(node) == Kind::Scalar
            && let Ok(document) = parse_text(raw_text(node))
        {
            split = Some((end, document, raw_text(node).to_owned()));
            break;
        }
    }
    let Some((end, Some(mut document), original)) = split else {
        return Err(none());
    };
    let found = visit(&mut document, &parts[end..], create, &mut |node, made| {
        if Kind::of(node) == Kind::Scalar {
            if !made {
                fix_tag(node);
            }
            set_text(node, raw_text(value));
        } else {
            *node = value.clone();
        }
        Ok(())
    })?;
    if found == 0 {
        return Err(none());
    }
    let text = write_text(&document, &original)?;
    visit(object, &parts[..end], None, &mut |node, _| {
        fix_tag(node);
        set_text(node, &text);
        Ok(())
    })?;
    Ok(())
}

/// The document in the format that its text had.
fn write_text(document: &Node, original: &str) -> Result<String> {
    if !original.trim_start().starts_with(['{', '[']) {
        return Ok(
            fluvial_yaml::emit(document, &fluvial_yaml::EmitOptions::default())
                .trim()
                .to_owned(),
        );
    }
    let value = document
        .to_json(Mode::Kyaml)
        .map_err(|error| Error::new(error.to_string()))?;
    let value: Value = value;
    if original.contains('\n') && original.contains("  ") {
        return Ok(crate::transformers::hash::go_json_lines(&value));
    }
    Ok(crate::transformers::hash::go_json(&value))
}

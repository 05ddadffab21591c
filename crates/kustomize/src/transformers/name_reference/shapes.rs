//! Whether the fields that hold names have a shape in which they can. The reference walks them in every build; where
//! nothing was renamed there is nothing to follow, and one walk over all fields of an object at once finds out the same.

use fluvial_yaml::Node;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::config::NameReference;
use crate::error::{Error, Result, Within};
use crate::fieldspec::FieldSpec;
use crate::nodes::{Kind, is_null};
use crate::resource::Resource;
use crate::session::Session;

/// The fields of a kind by the names on their way.
#[derive(Default)]
struct Shape<'a> {
    /// Whether names are held here.
    held: bool,
    below: Vec<(&'a str, Shape<'a>)>,
}

impl<'a> Shape<'a> {
    fn add(&mut self, field: &'a FieldSpec) {
        let mut here = self;
        for name in field.names() {
            let known = here.below.iter().position(|(below, _)| *below == name);
            let at = known.unwrap_or_else(|| {
                here.below.push((name, Shape::default()));
                here.below.len() - 1
            });
            here = &mut here.below[at].1;
        }
        here.held = true;
    }

    fn fits(&self, node: &Node) -> bool {
        if is_null(node) {
            return true;
        }
        if self.held && held_name(node).is_err() {
            return false;
        }
        self.below.is_empty() || self.fits_below(node)
    }

    /// A list stands for each of its items.
    fn fits_below(&self, node: &Node) -> bool {
        match Kind::of(node) {
            Kind::Mapping => self
                .below
                .iter()
                .all(|(name, shape)| node.get(name).is_none_or(|field| shape.fits(field))),
            Kind::Sequence => node
                .items()
                .unwrap_or_default()
                .iter()
                .all(|item| is_null(item) || self.fits_below(item)),
            Kind::Scalar | Kind::Alias => false,
        }
    }
}

/// Fails unless a node is a name, a mapping with one, or a list of these.
fn held_name(node: &Node) -> Result<()> {
    let one = |node: &Node| match Kind::of(node) {
        Kind::Scalar => Ok(()),
        Kind::Mapping if node.get("name").is_some() => Ok(()),
        Kind::Mapping => Err(Error::new("path config error; no 'name' field in node")),
        _ => Err(Error::new("node must be a scalar or mapping")),
    };
    match node.items() {
        Some(items) => items.iter().try_for_each(one),
        None => one(node),
    }
}

/// Fails if an object has a field that could hold no name where one is expected.
pub(super) fn check(
    resources: &[Resource],
    references: &[NameReference],
    session: &Session<'_>,
) -> Result<()> {
    let present: FxHashSet<&str> = resources.iter().map(Resource::kind).collect();
    let fields: Vec<&FieldSpec> = references
        .iter()
        .flat_map(|reference| &reference.referrers)
        .filter(|field| field.gvk.kind.is_empty() || present.contains(field.gvk.kind.as_str()))
        .collect();
    if fields.is_empty() {
        return Ok(());
    }
    let mut shapes: FxHashMap<(&str, &str), Shape<'_>> = FxHashMap::default();
    for resource in resources {
        let shape = shapes
            .entry((resource.api_version(), resource.kind()))
            .or_insert_with(|| {
                let mut shape = Shape::default();
                let gvk = resource.gvk();
                let own = fields.iter().filter(|field| gvk.is_selected_by(&field.gvk));
                own.for_each(|field| shape.add(field));
                shape
            });
        if !shape.fits(&resource.node) {
            explain(resource, &fields).map_err(|error| session.at(error, resource.node.pos))?;
        }
    }
    Ok(())
}

/// The first field that is wrong, as an error.
fn explain(resource: &Resource, fields: &[&FieldSpec]) -> Result<()> {
    let mut copy = resource.node.clone();
    for field in FieldSpec::of_kind_among(fields.iter().copied(), &resource.node) {
        field
            .write(&mut copy, None, &mut |node| {
                if is_null(node) { Ok(()) } else { held_name(node) }
            })
            .within(|| {
                format!(
                    "updating name reference in '{}' field of '{}'",
                    field.path,
                    resource.id()
                )
            })?;
    }
    Ok(())
}

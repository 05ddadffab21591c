//! Which charts take part in a release, under which names, and what parents take over from them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use fluvial_object::semver::{Constraint, Version};
use fluvial_template::{Map, Value};

use crate::chart::Chart;
use crate::error::Error;
use crate::metadata::{Dependency, ImportValues};
use crate::values::{Coalesce, Node, copy_map, path_value, put, table_at};

/// A chart as it takes part in one release.
pub(crate) struct Member {
    pub(crate) chart: Arc<Chart>,
    /// Name or alias.
    pub(crate) name: String,
    /// The entries of `Chart.yaml` that are left, aliases applied.
    pub(crate) declared: Vec<Dependency>,
    pub(crate) children: Vec<Member>,
    /// The chart's values once imports are in them.
    values: Option<Map>,
}

impl Node for Member {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self) -> Map {
        match &self.values {
            Some(values) => copy_map(values),
            None => match Value::from_json(&self.chart.values) {
                Value::Map(map) => map,
                _ => Map::default(),
            },
        }
    }

    fn children(&self) -> &[Member] {
        &self.children
    }
}

/// Whether a version is one that a constraint allows; what is no constraint allows nothing.
pub(crate) fn compatible(constraint: &str, version: &str) -> bool {
    match (Constraint::parse(constraint), Version::parse(version)) {
        (Ok(constraint), Ok(version)) => constraint.matches(&version),
        _ => false,
    }
}

/// The members of a release: aliases, conditions, tags and imports applied.
pub(crate) fn resolve(
    chart: &Arc<Chart>,
    user: &Map,
    warnings: &RefCell<Vec<String>>,
) -> Result<Member, Error> {
    let mut root = Member::new(chart, None);
    enable(&mut root, user, "", warnings)?;
    import(&mut root, warnings)?;
    Ok(root)
}

impl Member {
    fn new(chart: &Arc<Chart>, alias: Option<&str>) -> Self {
        Member {
            chart: Arc::clone(chart),
            name: alias.unwrap_or(chart.name()).to_owned(),
            declared: chart.metadata.dependencies.clone(),
            children: chart
                .dependencies
                .iter()
                .map(|child| Member::new(child, None))
                .collect(),
            values: None,
        }
    }
}

fn enable(
    member: &mut Member,
    values: &Map,
    path: &str,
    warnings: &RefCell<Vec<String>>,
) -> Result<(), Error> {
    if !member.chart.metadata.has_dependencies {
        return Ok(());
    }
    apply_aliases(member);
    let how = Coalesce {
        merge: false,
        warnings,
    };
    let values = how.chart(member, values)?;
    by_tags(&mut member.declared, &values, warnings);
    by_conditions(&mut member.declared, &values, path, warnings);
    let off: Vec<String> = member
        .declared
        .iter()
        .filter(|dependency| !dependency.enabled)
        .map(|dependency| dependency.name.clone())
        .collect();
    member.children.retain(|child| !off.contains(&child.name));
    member
        .declared
        .retain(|dependency| !off.contains(&dependency.name));
    for child in &mut member.children {
        let path = format!("{path}{}.", child.name);
        enable(child, &values, &path, warnings)?;
    }
    Ok(())
}

/// Charts that `Chart.yaml` does not name come first, then one for each entry that has a chart.
fn apply_aliases(member: &mut Member) {
    let fits = |chart: &Chart, dependency: &Dependency| {
        chart.name() == dependency.name && compatible(&dependency.version, &chart.metadata.version)
    };
    let charts: Vec<Arc<Chart>> = member
        .children
        .iter()
        .map(|child| Arc::clone(&child.chart))
        .collect();
    let declared = &mut member.declared;
    let mut children: Vec<Member> = charts
        .iter()
        .filter(|chart| !declared.iter().any(|dependency| fits(chart, dependency)))
        .map(|chart| Member::new(chart, None))
        .collect();
    for dependency in declared.iter_mut() {
        if let Some(chart) = charts.iter().find(|chart| fits(chart, dependency)) {
            let alias = Some(dependency.alias.as_str()).filter(|alias| !alias.is_empty());
            children.push(Member::new(chart, alias));
        }
        if !dependency.alias.is_empty() {
            dependency.name = dependency.alias.clone();
        }
        dependency.enabled = true;
    }
    member.children = children;
}

fn by_tags(declared: &mut [Dependency], values: &Map, warnings: &RefCell<Vec<String>>) {
    let Some(tags) = table_at(values, "tags") else {
        return;
    };
    for dependency in declared {
        let (mut on, mut off) = (false, false);
        for tag in &dependency.tags {
            match tags.get(tag) {
                Some(Value::Bool(true)) => on = true,
                Some(Value::Bool(false)) => off = true,
                None => {}
                Some(_) => warnings.borrow_mut().push(format!(
                    "returned non-bool value tag={tag} chart={}",
                    dependency.name
                )),
            }
        }
        dependency.enabled = on || !off;
    }
}

fn by_conditions(declared: &mut [Dependency], values: &Map, path: &str, warnings: &RefCell<Vec<String>>) {
    for dependency in declared {
        for condition in dependency.condition.trim().split(',') {
            if condition.is_empty() {
                continue;
            }
            match path_value(values, &format!("{path}{condition}")) {
                None => {}
                Some(Value::Bool(enabled)) => {
                    dependency.enabled = enabled;
                    break;
                }
                Some(_) => warnings.borrow_mut().push(format!(
                    "returned non-bool value path={condition} chart={}",
                    dependency.name
                )),
            }
        }
    }
}

/// Children first, so that what they take over can be taken over from them.
fn import(member: &mut Member, warnings: &RefCell<Vec<String>>) -> Result<(), Error> {
    for child in &mut member.children {
        import(child, warnings)?;
    }
    if !member.chart.metadata.has_dependencies || member.declared.is_empty() {
        return Ok(());
    }
    let how = Coalesce {
        merge: true,
        warnings,
    };
    let values = how.chart(member, &Map::default())?;
    let imported = Map::default();
    for dependency in &mut member.declared {
        // What is neither a name nor a pair is forgotten, for templates too.
        dependency
            .import_values
            .retain(|import| !matches!(import, ImportValues::Other(_)));
        for import in &dependency.import_values {
            let (child, parent) = match import {
                ImportValues::Export(name) => (format!("exports.{name}"), "."),
                ImportValues::Table { child, parent } => (child.clone(), parent.as_str()),
                ImportValues::Other(_) => continue,
            };
            match table_at(&values, &format!("{}.{child}", dependency.name)) {
                Some(table) => how.tables(&imported, &at_path(parent, &copy_map(&table)), ""),
                None => warnings.borrow_mut().push(format!(
                    "ImportValues missing table from chart chart={} error=\"{child} is not a table\"",
                    dependency.name
                )),
            }
        }
    }
    // What is taken from it is copied; only what is put into it must not show elsewhere.
    member.values = Some(if imported.borrow().is_empty() {
        values
    } else {
        let values = copy_map(&values);
        how.tables(&values, &imported, "");
        values
    });
    Ok(())
}

/// A table that holds another at a dotted path.
fn at_path(path: &str, table: &Map) -> Map {
    if path == "." {
        return table.clone();
    }
    path.split('.').rev().fold(table.clone(), |inner, key| {
        let outer = Map::default();
        put(&outer, key, Value::Map(inner));
        outer
    })
}

/// A table of the release's charts: full path of each member, the root first.
pub(crate) fn full_path(parent: Option<&str>, name: &str) -> Rc<str> {
    match parent {
        Some(parent) => format!("{parent}/charts/{name}").into(),
        None => name.into(),
    }
}

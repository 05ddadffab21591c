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
    /// What its templates are named by: names of charts from the root on.
    pub(crate) path: Rc<str>,
    /// Whether the member above is its parent for the path, too.
    own: bool,
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
    let mut root = Member::loaded(chart, &chart.name().into());
    enable(&mut root, user, "", warnings)?;
    import(&mut root, warnings)?;
    root.place(None);
    Ok(root)
}

impl Member {
    /// A chart and those below it as they were loaded, with the path that they have then.
    fn loaded(chart: &Arc<Chart>, path: &Rc<str>) -> Self {
        let below = |child: &Arc<Chart>| Member::loaded(child, &full_path(Some(path), child.name()));
        Member {
            chart: Arc::clone(chart),
            name: chart.name().to_owned(),
            declared: chart.metadata.dependencies.clone(),
            children: chart.dependencies.iter().map(below).collect(),
            path: Rc::clone(path),
            own: false,
            values: None,
        }
    }

    /// The one that takes part for an entry of `Chart.yaml`. It and the charts below it are copies that know who is
    /// above them; those further down are the loaded ones, whose paths know nothing of aliases. Of a chart that takes
    /// part twice these are the same: the templates of the later one are left, unless they are entries themselves.
    fn taking_part(&self, alias: &str) -> Self {
        let mut member = Member::loaded(&self.chart, &self.path);
        if !alias.is_empty() {
            alias.clone_into(&mut member.name);
        }
        member.children.iter_mut().for_each(|child| child.own = true);
        member
    }

    /// Gives everybody the path that counts.
    fn place(&mut self, above: Option<&str>) {
        if let Some(above) = above.filter(|_| self.own) {
            self.path = full_path(Some(above), &self.name);
        }
        let path = Rc::clone(&self.path);
        self.children
            .iter_mut()
            .for_each(|child| child.place(Some(&path)));
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
    let declared = &mut member.declared;
    let charts = std::mem::take(&mut member.children);
    let mut taking_part = Vec::new();
    for dependency in declared.iter_mut() {
        if let Some(member) = charts.iter().find(|member| fits(&member.chart, dependency)) {
            taking_part.push(member.taking_part(&dependency.alias));
        }
        dependency.enabled = true;
    }
    member.children = charts
        .into_iter()
        .filter(|member| !declared.iter().any(|dependency| fits(&member.chart, dependency)))
        .chain(taking_part)
        .collect();
    member.children.iter_mut().for_each(|child| child.own = true);
    for dependency in declared.iter_mut().filter(|one| !one.alias.is_empty()) {
        dependency.name = dependency.alias.clone();
    }
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
                // As in the reference the table itself: what a later import adds to it shows in the child, too.
                Some(table) => how.tables(&imported, &at_path(parent, &table), ""),
                None => warnings.borrow_mut().push(format!(
                    "ImportValues missing table from chart chart={} error=\"{child} is not a table\"",
                    dependency.name
                )),
            }
        }
    }
    // What is put into it from here on must not show elsewhere.
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

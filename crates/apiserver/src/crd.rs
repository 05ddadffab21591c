//! Custom resource definitions: what they add to the kinds that are served.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use fluvial_merge::managed::scale::Places;
use fluvial_object::jsonpath::Template;
use fluvial_schema::CrdSchema;
use serde_json::Value;

use crate::api::{Api, meta};
use crate::convert::webhook::Conversion;
use crate::kinds::{Kind, Kinds, Subresource};
use crate::store::{Expect, Store};

pub mod conversion;
pub mod definition;
pub mod names;
pub mod ownership;

/// Where definitions are kept.
pub const COLLECTION: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// A printer column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// integer, number, string, boolean or date.
    pub kind: String,
    /// Format of the type.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// Above zero for wide tables only.
    pub priority: i64,
    /// Where the value is.
    pub path: String,
    /// The path, parsed.
    pub template: Template,
}

/// Paths of the scale subresource.
#[derive(Clone, Debug, Default)]
pub struct Scale {
    /// Wanted number.
    pub spec: String,
    /// Present number.
    pub status: String,
    /// Selector's text, if there is one.
    pub selector: Option<String>,
}

/// What a definition says of one version.
#[derive(Clone, Debug)]
pub struct CustomVersion {
    /// Its schema.
    pub schema: Option<CrdSchema>,
    /// Whether there are other versions.
    pub several: bool,
    /// The schemas of all versions by `apiVersion`, served or not.
    pub schemas: Arc<BTreeMap<String, Option<CrdSchema>>>,
    /// Where the wanted number of the scale subresource is in each version by `apiVersion`, served or not.
    pub scales: Arc<Places>,
    /// Columns of tables.
    pub columns: Vec<Column>,
    /// Fields that can be selected.
    pub selectable: Vec<String>,
    /// The scale subresource.
    pub scale: Option<Scale>,
    /// A deprecated version's warning.
    pub warning: Option<String>,
    /// The definition's name.
    pub definition: String,
    /// The `apiVersion` that objects are kept in.
    pub storage: Arc<str>,
    /// How objects change from one version to another, if a webhook does it.
    pub conversion: Option<Arc<Conversion>>,
}

/// Definitions that were read already, with the version of the object that they were read from.
pub type Cache = BTreeMap<String, (u64, Vec<Arc<Kind>>)>;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Whether a condition of a definition is true.
#[must_use]
pub fn is_true(definition: &Value, condition: &str) -> bool {
    definition["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|item| item["type"] == condition && item["status"] == "True")
}

/// The warning of a deprecated version that has none of its own: it names the best successor.
fn deprecation(definition: &Value, group: &str, version: &str, kind: &str) -> String {
    let own = version_rank(version);
    let successor = definition["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .map(|other| text(other, "name"))
        .filter(|name| version_rank(name) < own)
        .min_by_key(|name| version_rank(name));
    let successor = successor.map(|name| format!("; use {group}/{name} {kind}"));
    format!(
        "{group}/{version} {kind} is deprecated{}",
        successor.unwrap_or_default()
    )
}

/// A column of tables; `None` if its path cannot be read.
fn column_of(column: &Value) -> Option<Column> {
    let path = text(column, "jsonPath");
    Some(Column {
        name: text(column, "name").to_owned(),
        kind: text(column, "type").to_owned(),
        format: text(column, "format").to_owned(),
        description: text(column, "description").to_owned(),
        priority: column["priority"].as_i64().unwrap_or(0),
        path: path.to_owned(),
        template: Template::parse(&format!("{{{path}}}")).ok()?,
    })
}

/// What all versions of a definition have in common.
struct Common {
    schemas: Arc<BTreeMap<String, Option<CrdSchema>>>,
    scales: Arc<Places>,
    storage: Arc<str>,
    conversion: Option<Arc<Conversion>>,
}

fn version_of(definition: &Value, version: &Value, common: &Common) -> CustomVersion {
    let columns = version["additionalPrinterColumns"].as_array();
    let columns = columns.into_iter().flatten().filter_map(column_of);
    let scale = &version["subresources"]["scale"];
    let selectable = version["selectableFields"].as_array().into_iter().flatten();
    let deprecated = version["deprecated"] == true;
    let names = &definition["spec"]["names"];
    let group = text(&definition["spec"], "group");
    let warning = deprecated.then(|| {
        version["deprecationWarning"].as_str().map_or_else(
            || deprecation(definition, group, text(version, "name"), text(names, "kind")),
            str::to_owned,
        )
    });
    CustomVersion {
        schema: common
            .schemas
            .get(&format!("{group}/{}", text(version, "name")))
            .cloned()
            .flatten(),
        several: common.schemas.len() > 1,
        schemas: common.schemas.clone(),
        scales: common.scales.clone(),
        storage: common.storage.clone(),
        conversion: common.conversion.clone(),
        columns: columns.collect(),
        selectable: selectable
            .map(|field| text(field, "jsonPath").to_owned())
            .collect(),
        scale: scale.is_object().then(|| Scale {
            spec: text(scale, "specReplicasPath").to_owned(),
            status: text(scale, "statusReplicasPath").to_owned(),
            selector: scale["labelSelectorPath"].as_str().map(str::to_owned),
        }),
        warning,
        definition: meta(definition, "name").to_owned(),
    }
}

fn subresources(kind: &str, version: &Value) -> Vec<Subresource> {
    let verbs = || ["get", "patch", "update"].map(str::to_owned).to_vec();
    let mut all = vec![];
    if version["subresources"]["status"].is_object() {
        all.push(Subresource {
            name: "status".into(),
            kind: kind.into(),
            verbs: verbs(),
            ..Subresource::default()
        });
    }
    if version["subresources"]["scale"].is_object() {
        let (group, short) = ("autoscaling".to_owned(), "v1".to_owned());
        all.push(Subresource {
            name: "scale".into(),
            kind: "Scale".into(),
            group,
            version: short,
            verbs: verbs(),
        });
    }
    all
}

/// What can be done to objects of definitions, in the order of discovery.
const VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// A version with its schema. Whatever was let in is served: a schema that is refused today was good when it was written.
fn schema_of(group: &str, version: &Value) -> (String, Option<CrdSchema>) {
    let schema = &version["schema"]["openAPIV3Schema"];
    let name = format!("{group}/{}", text(version, "name"));
    (name, schema.is_object().then(|| CrdSchema::read(schema)))
}

/// Where a version has the wanted number of its scale subresource.
fn place_of(group: &str, version: &Value) -> (String, Option<Vec<String>>) {
    let path = version["subresources"]["scale"]["specReplicasPath"].as_str();
    let names = |path: &str| {
        path.trim_start_matches('.')
            .split('.')
            .map(str::to_owned)
            .collect()
    };
    (format!("{group}/{}", text(version, "name")), path.map(names))
}

/// The kinds that a definition adds.
fn kinds_of(definition: &Value) -> Vec<Arc<Kind>> {
    if !is_true(definition, "Established") {
        return vec![];
    }
    let spec = &definition["spec"];
    let names = &definition["status"]["acceptedNames"];
    let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let storage = versions.iter().find(|version| version["storage"] == true);
    let storage = storage.map_or("", |version| text(version, "name"));
    let group = text(spec, "group");
    let schemas = versions.iter().map(|version| schema_of(group, version));
    let scales = versions.iter().map(|version| place_of(group, version));
    let common = Common {
        schemas: Arc::new(schemas.collect()),
        scales: Arc::new(scales.collect()),
        storage: format!("{group}/{storage}").into(),
        conversion: Conversion::read(&spec["conversion"]).map(Arc::new),
    };
    let terminating = !definition["metadata"]["deletionTimestamp"].is_null();
    // What is about to go takes nothing new.
    let writes = |verb: &str| matches!(verb, "patch" | "create" | "update");
    let verbs = VERBS.iter().filter(|verb| !terminating || !writes(verb));
    versions
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| {
            let (plural, kind) = (text(names, "plural"), text(names, "kind"));
            Arc::new(Kind {
                group: group.to_owned(),
                version: text(version, "name").to_owned(),
                kind: kind.to_owned(),
                list_kind: text(names, "listKind").to_owned(),
                plural: plural.to_owned(),
                singular: text(names, "singular").to_owned(),
                short_names: texts(&names["shortNames"]),
                categories: texts(&names["categories"]),
                namespaced: text(spec, "scope") == "Namespaced",
                verbs: verbs.clone().map(|verb| (*verb).to_owned()).collect(),
                subresources: subresources(kind, version),
                collection: format!("{plural}.{group}"),
                custom: Some(Arc::new(version_of(definition, version, &common))),
            })
        })
        .collect()
}

/// Order of versions: `v2` before `v1` before `v2beta1` before `v1alpha1` before others.
#[must_use]
pub fn version_rank(version: &str) -> (u8, std::cmp::Reverse<u64>, std::cmp::Reverse<u64>, String) {
    let other = (3, std::cmp::Reverse(0), std::cmp::Reverse(0), version.to_owned());
    let Some(rest) = version.strip_prefix('v') else {
        return other;
    };
    let digits = rest.len()
        - rest
            .trim_start_matches(|character: char| character.is_ascii_digit())
            .len();
    let Ok(major) = rest[..digits].parse::<u64>() else {
        return other;
    };
    let tail = &rest[digits..];
    let (class, minor) = match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
        _ if tail.is_empty() => (0, Some(0)),
        (Some(minor), _) => (1, minor.parse::<u64>().ok()),
        (_, Some(minor)) => (2, minor.parse::<u64>().ok()),
        _ => return other,
    };
    match minor {
        Some(minor) => (
            class,
            std::cmp::Reverse(major),
            std::cmp::Reverse(minor),
            String::new(),
        ),
        None => other,
    }
}

/// Adds the kinds of all definitions to the built-in ones.
pub fn add_kinds(store: &Store, kinds: &mut Kinds, cache: &mut Cache) {
    let Ok(snapshot) = store.collection(COLLECTION).snapshot(store, "", None, None) else {
        return;
    };
    let mut read = Cache::new();
    for stored in snapshot.objects {
        let name = stored.name().to_owned();
        let entry = match cache.remove(&name) {
            Some(entry) if entry.0 == stored.version => entry,
            _ => (stored.version, kinds_of(&stored.value())),
        };
        read.insert(name, entry);
    }
    let mut all: Vec<Arc<Kind>> = read
        .values()
        .flat_map(|(_, kinds)| kinds.iter().cloned())
        .collect();
    all.sort_by(|a, b| {
        (&a.group, version_rank(&a.version), &a.plural).cmp(&(&b.group, version_rank(&b.version), &b.plural))
    });
    for kind in all {
        store.collection(&kind.collection).keep_forms();
        kinds.add(kind);
    }
    *cache = read;
}

/// Follows a write: a definition is accepted at once, and its kinds are served.
pub fn written(api: &Api, kind: &Kind) {
    if !kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        return;
    }
    let collection = api.store.collection(COLLECTION);
    let Ok(snapshot) = collection.snapshot(&api.store, "", None, None) else {
        return;
    };
    let all = names::all(
        &snapshot.objects,
        &mut api.names.lock().unwrap_or_else(PoisonError::into_inner),
    );
    for (at, stored) in snapshot.objects.iter().enumerate() {
        let own = &all[at];
        let mut others = all.iter().enumerate().filter(|(other, _)| *other != at);
        let conflict = others.any(|(_, other)| other.stands_against(own));
        if !own.is_behind(conflict) {
            continue;
        }
        let mut value = stored.value();
        if definition::accept(api, &mut value, conflict) {
            // Another writer has done it if the version changed.
            let _done = api.store.put(
                &collection,
                &stored.key,
                Expect::Version(stored.version),
                &mut value,
            );
        }
    }
    api.reload_definitions();
}

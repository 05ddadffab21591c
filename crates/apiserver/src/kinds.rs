//! The kinds that are served: built-in ones and those of custom resource definitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use fluvial_schema::{SchemaSet, TypeRef};
use serde_json::Value;

use crate::crd::CustomVersion;
use crate::status::qualified;

/// A subresource.
#[derive(Clone, Debug, Default)]
pub struct Subresource {
    /// Name.
    pub name: String,
    /// Kind of its objects.
    pub kind: String,
    /// Group of its kind, if another.
    pub group: String,
    /// Version of its kind, if another.
    pub version: String,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

/// A kind in one version.
#[derive(Debug, Default)]
pub struct Kind {
    /// Group; empty for the core.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Kind of its lists.
    pub list_kind: String,
    /// Resource.
    pub plural: String,
    /// Name of one.
    pub singular: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<String>,
    /// Subresources.
    pub subresources: Vec<Subresource>,
    /// Name of its collection in the store.
    pub collection: String,
    /// What the definition says, for custom resources.
    pub custom: Option<Arc<CustomVersion>>,
}

impl Kind {
    /// `v1` or `group/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The group that errors about an object name: events are those of the first group, however they are written.
    #[must_use]
    pub fn error_group(&self) -> &str {
        if self.custom.is_none() && self.group == "events.k8s.io" {
            ""
        } else {
            &self.group
        }
    }

    /// `plural` or `plural.group`.
    #[must_use]
    pub fn resource(&self) -> String {
        qualified(&self.group, &self.plural)
    }

    /// A subresource.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// Whether it can be done.
    #[must_use]
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| own == verb)
    }

    /// Whether this is a built-in kind of a group and name.
    #[must_use]
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.custom.is_none() && self.group == group && self.kind == kind
    }

    /// The key of an object in the collection.
    #[must_use]
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced {
            format!("{namespace}/{name}")
        } else {
            name.to_owned()
        }
    }

    /// The kind's type.
    #[must_use]
    pub fn types(&self, schemas: &SchemaSet) -> Option<TypeRef> {
        match &self.custom {
            Some(custom) => custom.schema.as_ref().map(|schema| schema.as_type()),
            None => schemas.kind(&self.group, &self.version, &self.kind),
        }
    }

    /// JSON text that comes before a stored object's fields to make it whole.
    #[must_use]
    pub fn head(&self) -> String {
        format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",",
            self.kind,
            self.api_version()
        )
    }

    /// Adds what stored objects lack.
    pub fn stamp(&self, object: &mut Value) {
        object["kind"] = self.kind.clone().into();
        object["apiVersion"] = self.api_version().into();
    }
}

/// All served kinds at one moment.
#[derive(Clone, Debug, Default)]
pub struct Kinds {
    by_path: BTreeMap<(String, String, String), Arc<Kind>>,
    /// Group, then its versions in order of preference, then kinds in order.
    pub order: Vec<(String, Vec<(String, Vec<Arc<Kind>>)>)>,
}

impl Kinds {
    /// The built-in kinds.
    #[must_use]
    pub fn builtin(schemas: &SchemaSet) -> Self {
        let mut kinds = Kinds::default();
        for resource in schemas.resources() {
            let plural = resource.plural.to_string();
            let group = resource.group.to_string();
            // Two groups show the same events.
            let home = if group == "events.k8s.io" { "" } else { &group };
            let collection = qualified(home, &plural);
            let subresources = resource.subresources.iter().map(|sub| Subresource {
                name: sub.name.to_string(),
                kind: sub.kind.to_string(),
                group: sub.response_group.clone().unwrap_or_default(),
                version: sub.response_version.clone().unwrap_or_default(),
                verbs: sub.verbs.iter().map(ToString::to_string).collect(),
            });
            kinds.add(Arc::new(Kind {
                version: resource.version.to_string(),
                kind: resource.kind.to_string(),
                list_kind: format!("{}List", resource.kind),
                singular: resource.singular.to_string(),
                short_names: resource.short_names.iter().map(ToString::to_string).collect(),
                categories: resource.categories.iter().map(ToString::to_string).collect(),
                namespaced: resource.namespaced,
                verbs: resource.verbs.iter().map(ToString::to_string).collect(),
                subresources: subresources.collect(),
                collection,
                custom: None,
                group,
                plural,
            }));
        }
        kinds
    }

    /// Adds a kind; versions of a group keep the order in which they come.
    pub fn add(&mut self, kind: Arc<Kind>) {
        let key = (kind.group.clone(), kind.version.clone(), kind.plural.clone());
        self.by_path.insert(key, kind.clone());
        let group = match self.order.iter().position(|(name, _)| *name == kind.group) {
            Some(at) => &mut self.order[at].1,
            None => {
                self.order.push((kind.group.clone(), vec![]));
                &mut self.order.last_mut().expect("just pushed").1
            }
        };
        match group.iter().position(|(version, _)| *version == kind.version) {
            Some(at) => group[at].1.push(kind),
            None => group.push((kind.version.clone(), vec![kind])),
        }
    }

    /// The kind of a path.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_path
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// The kind of an object.
    #[must_use]
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Kind>> {
        self.version(group, version)?.iter().find(|own| own.kind == kind)
    }

    /// Any version of a kind.
    #[must_use]
    pub fn any_version(&self, group: &str, kind: &str) -> Option<&Arc<Kind>> {
        let (_, versions) = self.order.iter().find(|(name, _)| name == group)?;
        versions
            .iter()
            .flat_map(|(_, kinds)| kinds)
            .find(|own| own.kind == kind)
    }

    /// A built-in kind by its `apiVersion`.
    #[must_use]
    pub fn find_kind(&self, version: &str, kind: &str) -> Option<Arc<Kind>> {
        let (group, short) = version.split_once('/').unwrap_or(("", version));
        let found = self.by_kind(group, short, kind)?;
        found.custom.is_none().then(|| found.clone())
    }

    /// The kinds of a group's version.
    #[must_use]
    pub fn version(&self, group: &str, version: &str) -> Option<&[Arc<Kind>]> {
        let (_, versions) = self.order.iter().find(|(name, _)| name == group)?;
        versions
            .iter()
            .find(|(name, _)| name == version)
            .map(|(_, kinds)| kinds.as_slice())
    }

    /// The versions of a group.
    #[must_use]
    pub fn group(&self, group: &str) -> Option<&[(String, Vec<Arc<Kind>>)]> {
        self.order
            .iter()
            .find(|(name, _)| name == group)
            .map(|(_, versions)| versions.as_slice())
    }

    /// All kinds.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.order
            .iter()
            .flat_map(|(_, versions)| versions)
            .flat_map(|(_, kinds)| kinds)
    }

    /// One kind for each collection in the store.
    pub fn collections(&self) -> impl Iterator<Item = &Arc<Kind>> {
        let mut seen = std::collections::BTreeSet::new();
        self.all()
            .filter(move |kind| kind.can("list") && seen.insert(kind.collection.clone()))
    }
}

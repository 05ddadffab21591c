//! Which fields the transformers write: the built-in tables, merged with what `configurations:`
//! and `crds:` add.

pub(crate) mod crds;
pub(crate) mod defaults;

use std::sync::{Arc, LazyLock};

use crate::error::{Result, Within};
use crate::fieldspec::{FieldSpec, merge_all};
use crate::id::Gvk;
use crate::kustomization::read::Reader;

/// Fields that hold the names of objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameReference {
    /// The kind that is referred to.
    pub target: Gvk,
    /// The fields that refer to it.
    pub referrers: Vec<FieldSpec>,
}

/// The field lists of all transformers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransformerConfig {
    /// `namePrefix`
    pub name_prefix: Vec<FieldSpec>,
    /// `nameSuffix`
    pub name_suffix: Vec<FieldSpec>,
    /// `namespace`
    pub namespace: Vec<FieldSpec>,
    /// `commonLabels`, and `labels` with `includeSelectors`
    pub common_labels: Vec<FieldSpec>,
    /// All `labels`
    pub labels: Vec<FieldSpec>,
    /// `labels` with `includeTemplates`
    pub template_labels: Vec<FieldSpec>,
    /// `commonAnnotations`
    pub common_annotations: Vec<FieldSpec>,
    /// Names of other objects.
    pub name_reference: Vec<NameReference>,
    /// Where `$(VAR)` is replaced.
    pub var_reference: Vec<FieldSpec>,
    /// `images`
    pub images: Vec<FieldSpec>,
    /// `replicas`
    pub replicas: Vec<FieldSpec>,
}

static BUILT_IN: LazyLock<Arc<TransformerConfig>> = LazyLock::new(|| Arc::new(defaults::built_in().sorted()));

/// The built-in configuration; shared, since nearly all builds use it unchanged.
pub(crate) fn built_in() -> Arc<TransformerConfig> {
    Arc::clone(&BUILT_IN)
}

/// Adds one configuration to another, which is left alone if that changes nothing.
pub(crate) fn merge(into: &mut Arc<TransformerConfig>, other: &Arc<TransformerConfig>) -> Result<()> {
    if Arc::ptr_eq(into, other) || **other == TransformerConfig::default() {
        return Ok(());
    }
    // Fields of one list may be in each other's way; the built-in ones are not.
    if Arc::ptr_eq(other, &BUILT_IN) && **into == TransformerConfig::default() {
        *into = Arc::clone(other);
        return Ok(());
    }
    let mut merged = (**into).clone();
    merged.add(&(**other).clone().sorted())?;
    *into = Arc::new(merged.sorted());
    Ok(())
}

impl TransformerConfig {
    /// The simple lists with their keys in a configuration file.
    fn lists_mut(&mut self) -> [(&'static str, &mut Vec<FieldSpec>); 10] {
        [
            ("namePrefix", &mut self.name_prefix),
            ("nameSuffix", &mut self.name_suffix),
            ("namespace", &mut self.namespace),
            ("commonLabels", &mut self.common_labels),
            ("labels", &mut self.labels),
            ("templateLabels", &mut self.template_labels),
            ("commonAnnotations", &mut self.common_annotations),
            ("varReference", &mut self.var_reference),
            ("images", &mut self.images),
            ("replicas", &mut self.replicas),
        ]
    }

    /// Adds another configuration's fields.
    pub(crate) fn add(&mut self, other: &TransformerConfig) -> Result<()> {
        let mut other = other.clone();
        for ((name, list), (_, added)) in self.lists_mut().into_iter().zip(other.lists_mut()) {
            merge_all(list, added).within(|| format!("merging {name} configuration"))?;
        }
        for reference in other.name_reference {
            self.add_name_reference(reference)?;
        }
        Ok(())
    }

    /// Adds fields that refer to a kind.
    pub(crate) fn add_name_reference(&mut self, added: NameReference) -> Result<()> {
        match self
            .name_reference
            .iter_mut()
            .find(|known| known.target == added.target)
        {
            Some(known) => merge_all(&mut known.referrers, &added.referrers),
            None => {
                self.name_reference.push(added);
                Ok(())
            }
        }
    }

    /// In the order in which the fields are applied.
    #[must_use]
    fn sorted(mut self) -> Self {
        for (_, list) in self.lists_mut() {
            list.sort_by_cached_key(|field| crate::transformers::sort_order::legacy_key(&field.gvk));
        }
        self.name_reference
            .sort_by_cached_key(|reference| crate::transformers::sort_order::legacy_key(&reference.target));
        self
    }

    /// Reads a configuration file's content.
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        let mut config = TransformerConfig::default();
        let mut known = vec!["nameReference"];
        known.extend(config.lists_mut().map(|(name, _)| name));
        reader.only(&known)?;
        let strictly = |field: Reader<'_>| {
            field.only(&["group", "version", "kind", "path", "create"])?;
            field_spec(&field)
        };
        for (name, list) in config.lists_mut() {
            *list = reader.list(name, strictly)?;
        }
        config.name_reference = reader.list("nameReference", |reference| {
            reference.only(&["group", "version", "kind", "fieldSpecs"])?;
            Ok(NameReference {
                target: gvk(&reference)?,
                referrers: reference.list("fieldSpecs", strictly)?,
            })
        })?;
        Ok(config)
    }
}

/// Reads `group`, `version` and `kind`.
pub(crate) fn gvk(reader: &Reader<'_>) -> Result<Gvk> {
    let reader = reader.strict();
    Ok(Gvk {
        group: reader.string("group")?,
        version: reader.string("version")?,
        kind: reader.string("kind")?,
    })
}

/// Reads a field specification.
pub(crate) fn field_spec(reader: &Reader<'_>) -> Result<FieldSpec> {
    Ok(FieldSpec::new(
        gvk(reader)?,
        &reader.string("path")?,
        reader.boolean("create")?,
    ))
}

//! `namespace`: moves every namespaced object, and what refers to a namespace, to one namespace.

use fluvial_yaml::Node;
use rustc_hash::FxHashMap;

use crate::budget::check_name;
use crate::error::{Error, Result, Within};
use crate::fieldspec::{Create, FieldSpec};
use crate::kustomization::read::Text;
use crate::nodes::{self, Kind, NewScalar, is_null, string, text_at};
use crate::resmap::ResMap;
use crate::session::Session;
use crate::transformers::Transformer;

/// Which subjects of role bindings are moved too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Subjects {
    /// Those named `default`.
    #[default]
    DefaultOnly,
    /// All service accounts.
    AllServiceAccounts,
    /// None.
    None,
}

impl Subjects {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "" | "defaultOnly" => Ok(Subjects::DefaultOnly),
            "allServiceAccounts" => Ok(Subjects::AllServiceAccounts),
            "none" => Ok(Subjects::None),
            other => Err(Error::new(format!(
                "invalid value \"{other}\" for setRoleBindingSubjects: must be one of \"defaultOnly\", \"none\" or \"allServiceAccounts\""
            ))),
        }
    }
}

/// The transformer.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamespaceTransformer {
    pub(crate) namespace: Text,
    pub(crate) fields: Vec<FieldSpec>,
    pub(crate) unset_only: bool,
    pub(crate) subjects: Subjects,
}

impl Transformer for NamespaceTransformer {
    fn transform(&self, map: &mut ResMap, session: &Session<'_>) -> Result<()> {
        if self.namespace.text.is_empty() {
            return Ok(());
        }
        check_name(&self.namespace.text, "namespace")?;
        let mut holders: FxHashMap<_, usize> = FxHashMap::default();
        for resource in map.resources() {
            *holders.entry(resource.id().key()).or_default() += 1;
        }
        let records = self.fields.iter().any(FieldSpec::sees_records);
        for resource in map.resources_mut() {
            if resource.is_empty() || resource.from_chart {
                continue;
            }
            let before = resource.id().key();
            resource.remember_id();
            if records {
                resource.make_room_for_records()?;
            }
            let applied = self.apply(&mut resource.node, resource.cluster_scoped);
            let to = &self.namespace.text;
            applied.within(|| format!("moving {} to namespace '{to}'", resource.id()))?;
            let after = resource.id().key();
            if let Some(count) = holders.get_mut(&before) {
                *count -= 1;
            }
            let count = holders.entry(after.clone()).or_default();
            *count += 1;
            if *count > 1 {
                let error = Error::new(format!("namespace transformation produces ID conflict: {after}"));
                return Err(session.at(error, self.namespace.pos));
            }
        }
        Ok(())
    }
}

impl NamespaceTransformer {
    /// Moves one object.
    pub(crate) fn apply(&self, object: &mut Node, cluster_scoped: bool) -> Result<()> {
        if !cluster_scoped {
            let metadata = nodes::field_or_create(object, "metadata", Kind::Mapping)?;
            let field = nodes::field_or_create(metadata, "namespace", Kind::Scalar)?;
            self.set(field, &self.value())?;
        }
        let kind = text_at(object, &["kind"]);
        let binding = matches!(kind, "RoleBinding" | "ClusterRoleBinding");
        if binding {
            self.move_subjects(object)?;
        }
        let core = text_at(object, &["apiVersion"]) == "v1";
        for field in FieldSpec::of_kind(&self.fields, object) {
            let handled = field.path == "metadata/namespace"
                || (!core && field.path == "metadata/name")
                || (binding
                    && field.path == "subjects/namespace"
                    && matches!(&*field.gvk.kind, "RoleBinding" | "ClusterRoleBinding"));
            if handled {
                continue;
            }
            let create = Create {
                kind: Kind::Scalar,
                tag: Some("!!str"),
            };
            field.write(object, Some(create), &mut |node| {
                nodes::expect_kind(node, Kind::Scalar)
                    .within(|| "namespace field specs must target scalar nodes".to_owned())?;
                self.set(node, &self.value())
            })?;
        }
        Ok(())
    }

    fn value(&self) -> NewScalar<'_> {
        string(&self.namespace.text).at(self.namespace.pos)
    }

    fn set(&self, node: &mut Node, value: &NewScalar<'_>) -> Result<()> {
        if self.unset_only && !nodes::text_of(node).is_empty() {
            return Ok(());
        }
        nodes::write_scalar(node, value)
    }

    fn move_subjects(&self, object: &mut Node) -> Result<()> {
        let (field, wanted) = match self.subjects {
            Subjects::None => return Ok(()),
            Subjects::DefaultOnly => ("name", "default"),
            Subjects::AllServiceAccounts => ("kind", "ServiceAccount"),
        };
        let Some(subjects) = object.get_mut("subjects").filter(|node| !is_null(node)) else {
            return Ok(());
        };
        for subject in nodes::elements_mut(subjects)
            .within(|| "setting namespace on (cluster)role binding subjects".to_owned())?
        {
            nodes::expect_kind(subject, Kind::Mapping)?;
            if subject.get(field).map_or("", nodes::text_of) == wanted {
                let namespace = nodes::field_or_create(subject, "namespace", Kind::Scalar)?;
                self.set(namespace, &self.value())?;
            }
        }
        Ok(())
    }
}

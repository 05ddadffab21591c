//! Names that objects refer to each other by: when an object was renamed, what refers to it follows.

mod shapes;

use fluvial_yaml::Node;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::config::{NameReference, TransformerConfig};
use crate::error::{Error, Result, Within};
use crate::fieldspec::FieldSpec;
use crate::id::{Gvk, NO_NAMESPACE, ResId, split_api_version};
use crate::nodes::{self, Kind, is_null, text_of, untagged};
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::session::Session;
use crate::transformers::Transformer;

/// The transformer.
pub(crate) struct NameReferenceTransformer<'a> {
    pub(crate) config: &'a TransformerConfig,
}

/// What must be known of an object that others may refer to.
struct Candidate {
    name: String,
    namespace: String,
    effective: String,
    first_effective: String,
    cluster_scoped: bool,
    service_account: bool,
    group: String,
    version: String,
    /// Kinds and names that it had.
    history: Vec<(String, String)>,
    resource: usize,
}

/// Objects that were renamed or moved, by each name that they had.
struct Candidates {
    list: Vec<Candidate>,
    by_name: FxHashMap<String, Vec<usize>>,
}

impl Candidates {
    fn new(resources: &[Resource]) -> Self {
        let mut list = Vec::new();
        let mut by_name: FxHashMap<String, Vec<usize>> = FxHashMap::default();
        for (index, resource) in resources.iter().enumerate() {
            if resource.history.is_empty() {
                continue;
            }
            let (group, version) = split_api_version(resource.api_version());
            for previous in &resource.history {
                let known = by_name.entry(previous.name.clone()).or_default();
                if known.last() != Some(&list.len()) {
                    known.push(list.len());
                }
            }
            list.push(Candidate {
                name: resource.name().to_owned(),
                namespace: resource.namespace().to_owned(),
                effective: resource.effective_namespace().to_owned(),
                first_effective: resource.first().2.to_owned(),
                cluster_scoped: resource.cluster_scoped,
                service_account: resource.kind() == "ServiceAccount",
                group: group.to_owned(),
                version: version.to_owned(),
                history: resource
                    .history
                    .iter()
                    .map(|previous| (previous.kind.clone(), previous.name.clone()))
                    .collect(),
                resource: index,
            });
        }
        Candidates { list, by_name }
    }
}

impl Candidate {
    fn was(&self, gvk: &Gvk) -> bool {
        (gvk.group.is_empty() || gvk.group == self.group)
            && (gvk.version.is_empty() || gvk.version == self.version)
            && self
                .history
                .iter()
                .any(|(kind, _)| gvk.kind.is_empty() || gvk.kind == *kind)
    }
}

/// The object whose references are followed.
struct Referrer {
    effective: String,
    cluster_scoped: bool,
    /// Namespaces of the service accounts that a role binding names.
    account_namespaces: FxHashSet<String>,
    role: Option<Gvk>,
    resource: usize,
    id: ResId,
}

impl Referrer {
    fn new(resource: &Resource, index: usize) -> Self {
        let mut account_namespaces = FxHashSet::default();
        if resource.kind() == "RoleBinding" {
            let subjects = resource.node.get("subjects").and_then(Node::items);
            for subject in subjects.unwrap_or_default() {
                if subject.get("kind").map(text_of) == Some("ServiceAccount")
                    && let Some(namespace) = subject.get("namespace")
                {
                    account_namespaces.insert(text_of(namespace).to_owned());
                }
            }
        }
        // As they are written: null is a group of that name, which nothing has.
        let written = |node: &Node| node.as_text().unwrap_or_default().to_owned();
        let role = resource.node.get("roleRef").and_then(|role| {
            Some(Gvk {
                group: written(role.get("apiGroup")?),
                version: String::new(),
                kind: written(role.get("kind")?),
            })
        });
        Referrer {
            effective: resource.effective_namespace().to_owned(),
            cluster_scoped: resource.cluster_scoped,
            account_namespaces,
            role,
            resource: index,
            id: resource.id(),
        }
    }

    /// Whether an object could be referred to at all.
    fn reaches(&self, candidate: &Candidate) -> bool {
        self.cluster_scoped
            || candidate.cluster_scoped
            || candidate.effective == self.effective
            || self.account_namespaces.contains(&candidate.namespace)
    }

    /// Whether an object is in reach of names without namespace.
    fn sees(&self, candidate: &Candidate) -> bool {
        self.cluster_scoped
            || candidate.cluster_scoped
            || candidate.service_account
            || candidate.effective == self.effective
    }
}

/// The fields of one kind of referrer, in the order in which they are followed.
type Fields<'a> = Vec<(&'a Gvk, &'a FieldSpec)>;

fn fields_by_kind(references: &[NameReference]) -> FxHashMap<&str, Fields<'_>> {
    let mut by_kind: FxHashMap<&str, Fields<'_>> = FxHashMap::default();
    let kinds: FxHashSet<&str> = references
        .iter()
        .flat_map(|reference| reference.referrers.iter().map(|field| field.gvk.kind.as_str()))
        .collect();
    // Fields of any kind belong to every list; those of unlisted kinds are under the empty name.
    for kind in kinds.into_iter().chain([""]) {
        let list = references
            .iter()
            .flat_map(|reference| {
                reference
                    .referrers
                    .iter()
                    .map(move |field| (&reference.target, field))
            })
            .filter(|(_, field)| field.gvk.kind.is_empty() || field.gvk.kind == kind)
            .collect();
        by_kind.insert(kind, list);
    }
    by_kind
}

impl Transformer for NameReferenceTransformer<'_> {
    fn transform(&self, map: &mut ResMap, session: &Session<'_>) -> Result<()> {
        let candidates = Candidates::new(map.resources());
        if candidates.list.is_empty() {
            return shapes::check(map.resources(), &self.config.name_reference, session);
        }
        let by_kind = fields_by_kind(&self.config.name_reference);
        for index in 0..map.resources().len() {
            let resource = &map.resources()[index];
            let first_kind = resource.first().0;
            let fields = by_kind
                .get(first_kind)
                .or_else(|| by_kind.get(""))
                .map_or(&[][..], Vec::as_slice);
            if fields.is_empty() {
                continue;
            }
            let gvk = Gvk {
                kind: first_kind.to_owned(),
                ..resource.gvk()
            };
            let referrer = Referrer::new(resource, index);
            let place = resource.node.pos;
            // The object is taken out while it changes: what is needed of it is in `referrer`.
            let mut node = std::mem::replace(&mut map.resources_mut()[index].node, Node::plain("null"));
            let pass = Pass {
                candidates: &candidates,
                resources: map.resources(),
                referrer,
            };
            let followed = fields
                .iter()
                .filter(|(_, field)| gvk.is_selected_by(&field.gvk))
                .try_for_each(|(target, field)| pass.follow(&mut node, target, field));
            map.resources_mut()[index].node = node;
            followed.map_err(|error| session.at(error, place))?;
        }
        Ok(())
    }
}

struct Pass<'a> {
    candidates: &'a Candidates,
    resources: &'a [Resource],
    referrer: Referrer,
}

impl Pass<'_> {
    fn follow(&self, object: &mut Node, target: &Gvk, field: &FieldSpec) -> Result<()> {
        let role = field.path.ends_with("roleRef/name");
        // The object's own group, version and kind were checked by the caller.
        let anywhere = FieldSpec::new(Gvk::default(), &field.path, false);
        anywhere
            .apply(object, None, &mut |node| self.update(node, target, role))
            .within(|| {
                format!(
                    "updating name reference in '{}' field of '{}'",
                    field.path, self.referrer.id
                )
            })
    }

    fn update(&self, node: &mut Node, target: &Gvk, role: bool) -> Result<()> {
        if is_null(node) {
            return Ok(());
        }
        match Kind::of(node) {
            Kind::Scalar => self.update_scalar(node, target, role),
            Kind::Mapping => self.update_mapping(node, target, role),
            Kind::Sequence => {
                for item in nodes::elements_mut(node)? {
                    match Kind::of(item) {
                        Kind::Scalar => self.update_scalar(item, target, role)?,
                        Kind::Mapping => self.update_mapping(item, target, role)?,
                        _ => return Err(Error::new("node must be a scalar or mapping")),
                    }
                }
                Ok(())
            }
            Kind::Alias => Err(Error::new("node must be a scalar, sequence or map")),
        }
    }

    fn update_scalar(&self, node: &mut Node, target: &Gvk, role: bool) -> Result<()> {
        let old = node.as_text().unwrap_or_default();
        let found = self.select(old, target, role, |_| true, |a, b| a.name == b.name)?;
        match found {
            Some(candidate) if candidate.name != old => nodes::write_scalar(node, &untagged(&candidate.name)),
            _ => Ok(()),
        }
    }

    /// A mapping with a name and perhaps a namespace.
    fn update_mapping(&self, node: &mut Node, target: &Gvk, role: bool) -> Result<()> {
        let name = node
            .get("name")
            .ok_or_else(|| Error::new("path config error; no 'name' field in node"))?;
        let old = name.as_text().unwrap_or_default().to_owned();
        let namespace = node
            .get("namespace")
            .map(|node| node.as_text().unwrap_or_default().to_owned());
        let equal = |a: &Candidate, b: &Candidate| a.name == b.name && a.namespace == b.namespace;
        let found = match namespace {
            None => self.select(&old, target, role, |_| true, equal)?,
            Some(namespace) => {
                let known = self.has_first_namespace(&namespace);
                let first: fn(&Candidate) -> &str = |one| &one.first_effective;
                let current: fn(&Candidate) -> &str = |one| &one.effective;
                let test = if known { first } else { current };
                self.select(&old, target, role, |one| test(one) == namespace, equal)?
            }
        };
        let Some(candidate) = found else {
            return Ok(());
        };
        if candidate.name == old && candidate.namespace.is_empty() {
            return Ok(());
        }
        nodes::set_field(node, "name", &untagged(&candidate.name))?;
        if candidate.namespace.is_empty() {
            return Ok(());
        }
        nodes::set_field(node, "namespace", &untagged(&candidate.namespace))
    }

    /// Whether an object in reach had this namespace first.
    fn has_first_namespace(&self, namespace: &str) -> bool {
        let referrer = &self.referrer;
        if namespace == NO_NAMESPACE {
            return false;
        }
        let renamed = self
            .candidates
            .list
            .iter()
            .any(|one| one.first_effective == namespace && referrer.reaches(one));
        renamed
            || self.resources.iter().enumerate().any(|(index, one)| {
                index != referrer.resource
                    && one.history.is_empty()
                    && !one.cluster_scoped
                    && one.effective_namespace() == namespace
                    && (referrer.cluster_scoped
                        || referrer.effective == namespace
                        || referrer.account_namespaces.contains(one.namespace()))
            })
    }

    /// The object that a name means, if it was renamed.
    fn select(
        &self,
        old: &str,
        target: &Gvk,
        role: bool,
        keep: impl Fn(&Candidate) -> bool,
        equal: impl Fn(&Candidate, &Candidate) -> bool,
    ) -> Result<Option<&Candidate>> {
        let Some(named) = self.candidates.by_name.get(old) else {
            return Ok(None);
        };
        let referrer = &self.referrer;
        let role = referrer.role.as_ref().filter(|_| role);
        let mut fitting: Vec<&Candidate> = named
            .iter()
            .map(|index| &self.candidates.list[*index])
            .filter(|one| {
                referrer.reaches(one)
                    && keep(one)
                    && one.was(target)
                    && role.is_none_or(|role| one.was(role))
                    && referrer.sees(one)
            })
            .collect();
        let own = &self.resources[referrer.resource];
        for allow_none in [true, false] {
            if fitting.len() == 1 {
                break;
            }
            fitting.retain(|one| self.resources[one.resource].same_affixes(own, allow_none));
        }
        match fitting.as_slice() {
            [] => Ok(None),
            [first, others @ ..] if others.iter().all(|other| equal(first, other)) => Ok(Some(first)),
            several => {
                let ids: Vec<String> = several
                    .iter()
                    .map(|one| self.resources[one.resource].id().to_string())
                    .collect();
                Err(Error::new(format!(
                    "found multiple possible referrals: {}",
                    ids.join(", ")
                )))
            }
        }
    }
}

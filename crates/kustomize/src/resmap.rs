//! The ordered list of a build's resources, with lookup by identity.

use std::cell::OnceCell;

use rustc_hash::FxHashSet;

use crate::error::{Error, Result};
use crate::id::{IdKey, ResId};
use crate::resource::{Behavior, Resource};

/// Resources in load order; no two have the same identity when they are added.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResMap {
    list: Vec<Resource>,
    /// Identities of all, while nothing has changed them.
    ids: OnceCell<FxHashSet<IdKey>>,
}

impl ResMap {
    pub(crate) fn resources(&self) -> &[Resource] {
        &self.list
    }

    pub(crate) fn into_resources(self) -> Vec<Resource> {
        self.list
    }

    /// All resources, to change them.
    pub(crate) fn resources_mut(&mut self) -> &mut Vec<Resource> {
        self.ids.take();
        &mut self.list
    }

    /// Adds a resource.
    pub(crate) fn append(&mut self, resource: Resource) -> Result<()> {
        self.ids
            .get_or_init(|| self.list.iter().map(|known| known.id().key()).collect());
        let id = resource.id();
        if let Some(ids) = self.ids.get_mut()
            && !ids.insert(id.key())
        {
            return Err(Error::new(format!(
                "may not add resource with an already registered id: {id}"
            )));
        }
        self.list.push(resource);
        Ok(())
    }

    /// Adds all of another map.
    pub(crate) fn append_all(&mut self, other: ResMap) -> Result<()> {
        if self.list.is_empty() {
            *self = other;
            self.ids.take();
            return self.check_unique();
        }
        other.list.into_iter().try_for_each(|one| self.append(one))
    }

    fn check_unique(&self) -> Result<()> {
        let mut ids = FxHashSet::default();
        for resource in &self.list {
            let id = resource.id();
            if !ids.insert(id.key()) {
                return Err(Error::new(format!(
                    "may not add resource with an already registered id: {id}"
                )));
            }
        }
        Ok(())
    }

    /// Adds, replaces or merges generated resources, as each of them asks for.
    pub(crate) fn absorb(&mut self, generated: Vec<Resource>) -> Result<()> {
        generated
            .into_iter()
            .try_for_each(|resource| self.absorb_one(resource))
    }

    fn absorb_one(&mut self, mut resource: Resource) -> Result<()> {
        let id = resource.id();
        let mut matching = (0..self.list.len()).filter(|index| self.list[*index].had_id(&id));
        let (first, second) = (matching.next(), matching.next());
        match (first, second, resource.behavior) {
            (None, _, Behavior::Create) => self.append(resource),
            (None, ..) => Err(Error::new(format!(
                "id {id} does not exist; cannot merge or replace"
            ))),
            (Some(_), Some(_), _) => Err(Error::new(format!(
                "found multiple objects that could accept merge of {id}"
            ))),
            (Some(_), None, Behavior::Create) => Err(Error::new(format!(
                "id {id} exists; behavior must be merge or replace"
            ))),
            (Some(index), None, behavior) => {
                let old = &self.list[index];
                crate::generators::merge_metadata(&mut resource, old)?;
                if behavior == Behavior::Merge {
                    crate::generators::merge_data(&mut resource, old)?;
                }
                self.resources_mut()[index] = resource;
                Ok(())
            }
        }
    }

    /// The one resource that has or had this identity.
    pub(crate) fn unique_by_any_id(&self, id: &ResId) -> Result<usize> {
        let mut matching = (0..self.list.len())
            .filter(|index| !self.list[*index].is_empty() && self.list[*index].had_id(id));
        match (matching.next(), matching.next()) {
            (Some(index), None) => Ok(index),
            (None, _) => Err(Error::new(format!(
                "no matches for Id {id}; failed to find unique target for patch {id}"
            ))),
            (Some(_), Some(_)) => Err(Error::new(format!(
                "multiple matches for Id {id}; failed to find unique target for patch {id}"
            ))),
        }
    }

    /// Drops what patches have deleted.
    pub(crate) fn drop_empty(&mut self) {
        if self.list.iter().any(Resource::is_empty) {
            self.resources_mut().retain(|resource| !resource.is_empty());
        }
    }
}

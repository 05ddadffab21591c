//! The ordered list of a build's resources, with lookup by identity.

use std::cell::OnceCell;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::{Error, Result};
use crate::id::{IdKey, ResId};
use crate::resource::{Behavior, Resource};

/// Resources in load order; no two have the same identity when they are added.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResMap {
    list: Vec<Resource>,
    /// Identities of all, while nothing has changed them.
    ids: OnceCell<FxHashSet<IdKey>>,
    /// Who has or had an identity, while nothing has changed them.
    holders: OnceCell<FxHashMap<IdKey, Holder>>,
    /// Who has or had a name, in order, while nothing has changed them.
    names: OnceCell<FxHashMap<String, Vec<usize>>>,
    /// Whether something may have been deleted since the last look.
    deleted: bool,
}

/// Who has or had an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    None,
    One(usize),
    Many,
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
        self.forget();
        self.deleted = true;
        &mut self.list
    }

    fn forget(&mut self) {
        self.ids.take();
        self.holders.take();
        self.names.take();
    }

    /// Changes one resource. Who has which identity is only looked for again if it changed that.
    pub(crate) fn change<T>(&mut self, index: usize, change: impl FnOnce(&mut Resource) -> T) -> T {
        if self.ids.get().is_none() && self.holders.get().is_none() && self.names.get().is_none() {
            let result = change(&mut self.list[index]);
            self.deleted |= self.list[index].is_empty();
            return result;
        }
        let before = keys(&self.list[index]);
        let result = change(&mut self.list[index]);
        if keys(&self.list[index]) != before {
            self.forget();
        }
        self.deleted |= self.list[index].is_empty();
        result
    }

    /// The resources that have or had a name, in order.
    pub(crate) fn named(&self, name: &str) -> Vec<usize> {
        let names = self.names.get_or_init(|| {
            let mut names = FxHashMap::default();
            for (index, resource) in self.list.iter().enumerate() {
                note_names(&mut names, index, resource);
            }
            names
        });
        names.get(name).cloned().unwrap_or_default()
    }

    /// Who has or had an identity; what was deleted does not count.
    fn holder(&self, id: &ResId) -> Holder {
        let holders = self.holders.get_or_init(|| {
            let mut holders = FxHashMap::default();
            for (index, resource) in self.list.iter().enumerate() {
                note(&mut holders, index, resource);
            }
            holders
        });
        holders.get(&id.key()).copied().unwrap_or(Holder::None)
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
        if let Some(holders) = self.holders.get_mut() {
            note(holders, self.list.len(), &resource);
        }
        if let Some(names) = self.names.get_mut() {
            note_names(names, self.list.len(), &resource);
        }
        self.list.push(resource);
        Ok(())
    }

    /// Adds all of another map.
    pub(crate) fn append_all(&mut self, other: ResMap) -> Result<()> {
        if self.list.is_empty() {
            *self = other;
            self.forget();
            return self.check_unique();
        }
        other.list.into_iter().try_for_each(|one| self.append(one))
    }

    /// Fails if two have the same identity now.
    pub(crate) fn check_unique(&self) -> Result<()> {
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
        match (self.holder(&id), resource.behavior) {
            (Holder::None, Behavior::Create) => self.append(resource),
            (Holder::None, _) => Err(Error::new(format!(
                "id {id} does not exist; cannot merge or replace"
            ))),
            (Holder::Many, _) => Err(Error::new(format!(
                "found multiple objects that could accept merge of {id}"
            ))),
            (Holder::One(_), Behavior::Create) => Err(Error::new(format!(
                "id {id} exists; behavior must be merge or replace, not 'create', the default"
            ))),
            (Holder::One(index), behavior) => {
                let old = &self.list[index];
                crate::generators::merge_metadata(&mut resource, old)?;
                if behavior == Behavior::Merge {
                    crate::generators::merge_data(&mut resource, old)?;
                }
                self.change(index, |old| *old = resource);
                Ok(())
            }
        }
    }

    /// The one resource that has or had this identity.
    pub(crate) fn unique_by_any_id(&self, id: &ResId) -> Result<usize> {
        match self.holder(id) {
            Holder::One(index) => Ok(index),
            Holder::None => Err(Error::new(format!(
                "no matches for Id {id}; failed to find unique target for patch {id}"
            ))),
            Holder::Many => Err(Error::new(format!(
                "multiple matches for Id {id}; failed to find unique target for patch {id}"
            ))),
        }
    }

    /// Drops what patches have deleted.
    pub(crate) fn drop_empty(&mut self) {
        if std::mem::take(&mut self.deleted) && self.list.iter().any(Resource::is_empty) {
            self.forget();
            self.list.retain(|resource| !resource.is_empty());
        }
    }
}

/// The identities that a resource has or had; none once it is deleted.
fn keys(resource: &Resource) -> Vec<IdKey> {
    if resource.is_empty() {
        return Vec::new();
    }
    let mut keys: Vec<IdKey> = Vec::new();
    for key in resource.all_ids().iter().map(ResId::key) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn note(holders: &mut FxHashMap<IdKey, Holder>, index: usize, resource: &Resource) {
    for key in keys(resource) {
        let holder = holders.entry(key).or_insert(Holder::None);
        *holder = match *holder {
            Holder::None => Holder::One(index),
            Holder::One(known) if known == index => Holder::One(index),
            _ => Holder::Many,
        };
    }
}

fn note_names(names: &mut FxHashMap<String, Vec<usize>>, index: usize, resource: &Resource) {
    for id in resource.all_ids() {
        let holders = names.entry(id.name).or_default();
        if holders.last() != Some(&index) {
            holders.push(index);
        }
    }
}

//! The names that definitions ask for and have, kept by version: definitions are large, and each write of one looks
//! at those of all.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::is_true;
use crate::store::Stored;

/// What was read of definitions, by name, with the version of the object.
pub type Cache = BTreeMap<String, (u64, Arc<Names>)>;

/// What decides whether a definition is accepted.
pub struct Names {
    group: String,
    wanted: Value,
    accepted: Value,
    names_accepted: bool,
    established: bool,
    has_conditions: bool,
}

impl Names {
    fn read(definition: &Value) -> Self {
        Names {
            group: definition["spec"]["group"].as_str().unwrap_or("").to_owned(),
            wanted: definition["spec"]["names"].clone(),
            accepted: definition["status"]["acceptedNames"].clone(),
            names_accepted: is_true(definition, "NamesAccepted"),
            established: is_true(definition, "Established"),
            has_conditions: !definition["status"]["conditions"].is_null(),
        }
    }

    /// Whether it has a name that another one asks for.
    pub fn stands_against(&self, other: &Names) -> bool {
        let same = |field: &str| self.accepted[field] == other.wanted[field];
        self.group == other.group && self.names_accepted && (same("kind") || same("listKind"))
    }

    /// Whether [`super::definition::accept`] would change its status.
    pub fn is_behind(&self, conflict: bool) -> bool {
        if conflict && !self.names_accepted {
            !self.has_conditions
        } else {
            !self.established || self.accepted != self.wanted
        }
    }
}

/// The names of these definitions, in their order; those read before are taken from the cache, which then holds these.
pub fn all(stored: &[Arc<Stored>], cache: &mut Cache) -> Vec<Arc<Names>> {
    let mut read = Cache::new();
    let names = stored.iter().map(|stored| {
        let entry = match cache.remove(stored.name()) {
            Some(entry) if entry.0 == stored.version => entry,
            _ => (stored.version, Arc::new(Names::read(&stored.value()))),
        };
        let names = Arc::clone(&entry.1);
        read.insert(stored.name().to_owned(), entry);
        names
    });
    let names = names.collect();
    *cache = read;
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_was_first_keeps_a_name_and_the_other_is_told_once() {
        let names = json!({"plural": "teas", "kind": "Tea", "listKind": "TeaList"});
        let wanting = json!({"spec": {"group": "a.io", "names": names}});
        let mut having = wanting.clone();
        having["status"] = json!({"acceptedNames": names, "conditions": [
            {"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]});
        let mut elsewhere = having.clone();
        elsewhere["spec"]["group"] = "b.io".into();
        let mut told = wanting.clone();
        told["status"]["conditions"] = json!([{"type": "NamesAccepted", "status": "False"}]);
        let [wanting, having, elsewhere, told] =
            [wanting, having, elsewhere, told].map(|it| Names::read(&it));
        assert!(having.stands_against(&wanting) && !wanting.stands_against(&having));
        assert!(!elsewhere.stands_against(&wanting));
        assert!(wanting.is_behind(true) && wanting.is_behind(false));
        assert!(!having.is_behind(true) && !having.is_behind(false));
        assert!(!told.is_behind(true) && told.is_behind(false));
    }
}

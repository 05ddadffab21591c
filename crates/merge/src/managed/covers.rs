//! Whether an apply would change anything: told by looking alone, because of all applies most
//! change nothing.

use fluvial_schema::ListType;
use serde_json::{Map, Value};

use super::path::{Step, equal};
use super::set::Set;
use super::shape::{Form, ListShape, Shape};

/// Whether merging `applied` over `live` gives `live`. `false` if that is not easily seen.
pub(super) fn covers(shape: Shape<'_>, live: &Value, applied: &Value) -> bool {
    let atom = shape.atom();
    let (of_live, of_applied) = (atom.for_value(Some(live)), atom.for_value(Some(applied)));
    if !of_live.same(&of_applied) {
        return false;
    }
    match (of_applied.form(), live, applied) {
        (Form::Map(map), Value::Object(live), Value::Object(applied)) if !map.atomic => {
            if applied.is_empty() {
                return live.is_empty();
            }
            applied.iter().all(|(name, wanted)| {
                let Some(own) = live.get(name) else { return false };
                // Where equal to what is live, the value fits the schema as that does.
                map.field(name).is_some_and(|field| covers(field, own, wanted))
            })
        }
        (Form::List(list), Value::Array(live), Value::Array(applied))
            if list.relation != ListType::Atomic && !applied.is_empty() =>
        {
            covers_list(&list, live, applied)
        }
        _ => equal(live, applied),
    }
}

/// Items must be there in the same order; others may stand between them.
fn covers_list(shape: &ListShape<'_>, live: &[Value], applied: &[Value]) -> bool {
    let mut rest = live.iter();
    for wanted in applied {
        let Ok(step) = shape.step(wanted) else {
            return false;
        };
        let found = rest.by_ref().find(|own| is_step(shape, own, &step));
        let Some(own) = found else { return false };
        if !covers(shape.items, own, wanted) {
            return false;
        }
    }
    true
}

fn is_step(shape: &ListShape<'_>, item: &Value, wanted: &Step) -> bool {
    match (wanted, item) {
        (Step::Value(value), item) => equal(value, item),
        (Step::Key(keys), Value::Object(map)) => {
            // Where a key is left out its default counts: then the whole step is compared.
            let plain = keys.iter().all(|(name, _)| map.contains_key(name.as_ref()));
            if plain {
                return keys
                    .iter()
                    .all(|(name, value)| map.get(name.as_ref()).is_some_and(|own| equal(own, value)));
            }
            shape.step(item).is_ok_and(|step| step == *wanted)
        }
        _ => false,
    }
}

/// Holds the fields of a value against `fieldsV1` without making a set of them.
pub(super) struct Owned<'s> {
    /// Paths that the endpoint ignores, with all below.
    pub(super) ignored: &'s Set,
    /// Paths that nobody manages.
    pub(super) stripped: &'s Set,
}

/// The two differ, or cannot be told apart here.
pub(super) struct Differs;

impl Owned<'_> {
    /// Whether the fields of a value are those that `fieldsV1` lists.
    pub(super) fn same(&self, shape: Shape<'_>, value: &Value, fields: &Value) -> bool {
        let found = self.below(
            shape,
            value,
            fields.as_object(),
            Some(self.ignored),
            Some(self.stripped),
            &mut String::new(),
        );
        found.is_ok_and(|found| !found.own)
    }

    fn below(
        &self,
        shape: Shape<'_>,
        value: &Value,
        fields: Option<&Map<String, Value>>,
        ignored: Option<&Set>,
        stripped: Option<&Set>,
        key: &mut String,
    ) -> Result<Found, Differs> {
        let leaf = |own: bool| Ok(Found { own, any: false });
        let mut count = 0;
        match shape.atom().for_value(Some(value)).form() {
            Form::Scalar(_) => return leaf(true),
            Form::Nothing => return leaf(false),
            Form::Map(map) if map.atomic => return leaf(true),
            Form::List(list) if list.relation == ListType::Atomic => return leaf(true),
            Form::Map(map) => {
                for (name, child) in value.as_object().into_iter().flatten() {
                    let ignored = ignored.and_then(|ignored| ignored.field(name));
                    let stripped = stripped.and_then(|stripped| stripped.field(name));
                    if ignored.is_some_and(|ignored| ignored.member) {
                        continue;
                    }
                    key.clear();
                    key.push_str("f:");
                    key.push_str(name);
                    let fields = child_of(fields, key)?;
                    let found = match map.field(name) {
                        Some(field) => {
                            let ignored = ignored.map(|ignored| &ignored.below);
                            let stripped = stripped.map(|stripped| &stripped.below);
                            self.below(field, child, fields, ignored, stripped, key)?
                        }
                        None => Found {
                            own: true,
                            any: false,
                        },
                    };
                    let empty = child.is_null() || child.as_object().is_some_and(Map::is_empty);
                    let own = (found.own || empty || !map.declares(name))
                        && !stripped.is_some_and(|stripped| stripped.member);
                    count += found.with(own).check(fields)?;
                }
            }
            Form::List(list) => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                for (at, item) in items.iter().enumerate() {
                    let Ok(step) = list.step(item) else {
                        return Err(Differs);
                    };
                    if items[..at].iter().any(|before| is_step(&list, before, &step)) {
                        return Err(Differs);
                    }
                    key.clear();
                    step.encode(key);
                    let fields = child_of(fields, key)?;
                    let found = self.below(list.items, item, fields, None, None, key)?;
                    count += found.with(true).check(fields)?;
                }
            }
        }
        let listed = fields.map_or(0, |fields| fields.len() - usize::from(fields.contains_key(".")));
        if listed == count {
            Ok(Found {
                own: false,
                any: count > 0,
            })
        } else {
            Err(Differs)
        }
    }
}

/// What is below a key of `fieldsV1`.
fn child_of<'f>(
    fields: Option<&'f Map<String, Value>>,
    key: &str,
) -> Result<Option<&'f Map<String, Value>>, Differs> {
    match fields.and_then(|fields| fields.get(key)) {
        None => Ok(None),
        Some(Value::Object(below)) => Ok(Some(below)),
        Some(_) => Err(Differs),
    }
}

/// What a place contributes: its own path, and paths below.
#[derive(Clone, Copy)]
struct Found {
    own: bool,
    any: bool,
}

impl Found {
    fn with(self, own: bool) -> Found {
        Found { own, ..self }
    }

    /// Holds it against what is listed there; 1 if there is anything.
    fn check(self, fields: Option<&Map<String, Value>>) -> Result<usize, Differs> {
        let good = match fields {
            None => !self.own && !self.any,
            Some(fields) if fields.is_empty() => self.own && !self.any,
            Some(fields) => self.any && fields.contains_key(".") == self.own,
        };
        if good {
            Ok(usize::from(fields.is_some()))
        } else {
            Err(Differs)
        }
    }
}

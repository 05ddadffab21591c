//! Type parameters: what they stand for, and whether one type may go where another is wanted.

use std::collections::BTreeMap;

use super::types::Type;

/// What is known about type parameters so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    of: BTreeMap<u32, Type>,
    next: u32,
    /// What was known before each change of an attempt, to go back to.
    changes: Vec<(u32, Option<Type>)>,
}

impl Known {
    /// A parameter that nothing is known about.
    pub(crate) fn fresh(&mut self) -> Type {
        self.next += 1;
        Type::Param(self.next - 1)
    }

    /// Numbers for the parameters of a signature.
    pub(crate) fn reserve(&mut self, count: u32) -> u32 {
        self.next += count;
        self.next - count
    }

    /// The type with its parameters filled in; unknown ones become dyn if asked for.
    pub(crate) fn fill(&self, kind: &Type, dynamic: bool) -> Type {
        match kind {
            Type::Param(number) => match self.of.get(number) {
                Some(known) => self.fill(known, dynamic),
                None if dynamic => Type::Dyn,
                None => kind.clone(),
            },
            Type::List(items) => Type::list(self.fill(items, dynamic)),
            Type::Optional(of) => Type::optional(self.fill(of, dynamic)),
            Type::Map(of) => Type::map(self.fill(&of.0, dynamic), self.fill(&of.1, dynamic)),
            other => other.clone(),
        }
    }

    /// Whether values of `given` may go where `wanted` is; what that says about parameters is kept.
    pub(crate) fn assignable(&mut self, given: &Type, wanted: &Type) -> bool {
        self.all_assignable(&[(given, wanted)])
    }

    /// Whether all pairs fit at once.
    pub(crate) fn all_assignable(&mut self, pairs: &[(&Type, &Type)]) -> bool {
        self.changes.clear();
        let good = pairs.iter().all(|(given, wanted)| self.fits(given, wanted));
        if !good {
            while let Some((number, before)) = self.changes.pop() {
                match before {
                    Some(kind) => self.of.insert(number, kind),
                    None => self.of.remove(&number),
                };
            }
        }
        good
    }

    fn fits(&mut self, one: &Type, other: &Type) -> bool {
        if let Type::Param(number) = other {
            let (valid, known) = self.stands_for(one, *number, other);
            if valid || known {
                return valid;
            }
        }
        if let Type::Param(number) = one {
            return self.stands_for(other, *number, one).0;
        }
        if one.is_wild() || other.is_wild() {
            return true;
        }
        match (one, other) {
            (Type::Null, kind) | (kind, Type::Null) => matches!(
                kind,
                Type::Null
                    | Type::Opaque(_)
                    | Type::Object(_)
                    | Type::Record(_)
                    | Type::Duration
                    | Type::Timestamp
                    | Type::Optional(_)
            ),
            (Type::List(one), Type::List(other)) | (Type::Optional(one), Type::Optional(other)) => {
                self.fits(one, other)
            }
            (Type::Map(one), Type::Map(other)) => self.fits(&one.0, &other.0) && self.fits(&one.1, &other.1),
            _ => one.same(other),
        }
    }

    /// Whether `kind` may be what the parameter stands for; and whether something is known of it.
    fn stands_for(&mut self, kind: &Type, number: u32, param: &Type) -> (bool, bool) {
        if kind.same(param) {
            return (true, true);
        }
        if let Some(known) = self.of.get(&number).cloned() {
            if kind.same(&known) {
                return (true, true);
            }
            if self.fits(kind, &known) {
                let general = most_general(kind, &known);
                if !self.refers(&general, number) {
                    self.learn(number, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.refers(kind, number) {
            return (false, false);
        }
        self.learn(number, kind.clone());
        (true, false)
    }

    fn learn(&mut self, number: u32, kind: Type) {
        let before = self.of.insert(number, kind);
        self.changes.push((number, before));
    }

    /// Whether a type has the parameter within.
    fn refers(&self, kind: &Type, number: u32) -> bool {
        match kind {
            Type::Param(own) if *own == number => true,
            Type::Param(own) => self.of.get(own).is_some_and(|known| self.refers(known, number)),
            Type::List(of) | Type::Optional(of) => self.refers(of, number),
            Type::Map(of) => self.refers(&of.0, number) || self.refers(&of.1, number),
            _ => false,
        }
    }
}

/// The one of two matching types that says less.
pub(crate) fn most_general(one: &Type, other: &Type) -> Type {
    if less_specific(one, other) {
        one.clone()
    } else {
        other.clone()
    }
}

fn less_specific(one: &Type, other: &Type) -> bool {
    if one.is_dyn() || matches!(one, Type::Param(_)) {
        return true;
    }
    if other.is_dyn() || matches!(other, Type::Param(_)) {
        return false;
    }
    match (one, other) {
        (Type::List(one), Type::List(other)) | (Type::Optional(one), Type::Optional(other)) => {
            less_specific(one, other)
        }
        (Type::Map(one), Type::Map(other)) => {
            less_specific(&one.0, &other.0) && less_specific(&one.1, &other.1)
        }
        _ => one.same(other),
    }
}

/// A signature's type with the parameters numbered from `base`.
pub(crate) fn instantiate(kind: &Type, base: u32) -> Type {
    match kind {
        Type::Param(number) => Type::Param(base + number),
        Type::List(items) => Type::list(instantiate(items, base)),
        Type::Optional(of) => Type::optional(instantiate(of, base)),
        Type::Map(of) => Type::map(instantiate(&of.0, base), instantiate(&of.1, base)),
        other => other.clone(),
    }
}

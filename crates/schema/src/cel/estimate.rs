//! What a rule may cost at most, from the limits that its schema sets: definitions whose rules could
//! be too dear are refused before any object exists.

use crate::table::Base;
use crate::types::Type as Schema;

use super::Program;

mod known;
mod price;
mod walk;

/// The largest request, which bounds what has no limit of its own.
const REQUEST: u64 = 3 * 1024 * 1024;

/// From and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    pub(super) min: u64,
    pub(super) max: u64,
}

const UNKNOWN: Span = Span {
    min: 0,
    max: u64::MAX,
};

impl Span {
    pub(super) fn exactly(count: u64) -> Span {
        Span {
            min: count,
            max: count,
        }
    }

    pub(super) fn plus(self, other: Span) -> Span {
        Span {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    pub(super) fn times(self, other: Span) -> Span {
        Span {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    pub(super) fn union(self, other: Span) -> Span {
        Span {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// A part of it, rounded up.
    pub(super) fn part(self, by: u64) -> Span {
        Span {
            min: self.min.div_ceil(by),
            max: self.max.div_ceil(by),
        }
    }

    /// So many tenths of it, rounded up.
    pub(super) fn tenths(self, count: u64) -> Span {
        self.times(Span::exactly(count)).part(10)
    }

    /// The price of walking over a text of this size.
    pub(super) fn walk(self) -> Span {
        self.part(10)
    }
}

const ONE: Span = Span { min: 1, max: 1 };
const NOTHING: Span = Span { min: 0, max: 0 };

/// The highest cost of a rule on a node with this schema.
pub(crate) fn max_cost(program: &Program, schema: Schema<'_>) -> u64 {
    walk::Estimator::new(schema).of(&program.expr).cost.max
}

/// How many values of this schema fit into a request.
pub(crate) fn max_count(schema: Schema<'_>) -> u64 {
    REQUEST / (min_size(schema) + 1)
}

/// Bytes that a value takes at least.
fn min_size(schema: Schema<'_>) -> u64 {
    match schema.base() {
        Base::Object if !schema.has_fields() => 2,
        Base::Object => {
            let required = schema.required().iter().filter_map(|name| {
                let field = schema.own_field(name)?;
                let needed = field.default_value().is_none();
                needed.then(|| name.len() as u64 + min_size(field) + 4)
            });
            2 + required.sum::<u64>()
        }
        Base::Boolean => 4,
        Base::Integer | Base::Number | Base::Any => 1,
        Base::Array => 2,
        Base::String => match schema.format() {
            Some("duration") => 4,
            Some("date") => 12,
            Some("date-time") => 21,
            _ => 2,
        },
    }
}

/// How many items, entries or characters a value has at most; 0 for what has none.
fn max_elements(schema: Schema<'_>) -> u64 {
    let checks = schema.checks();
    if schema.int_or_string() {
        let own = checks.and_then(|checks| checks.max_length);
        return own.map_or(REQUEST - 2, |own| own.saturating_mul(4));
    }
    match schema.base() {
        Base::Array => {
            let own = checks.and_then(|checks| checks.max_items);
            own.unwrap_or_else(|| (REQUEST - 2) / (schema.items().map_or(1, min_size) + 1))
        }
        Base::Object => match schema.additional() {
            Some(values) if !schema.has_fields() => {
                let own = checks.and_then(|checks| checks.max_properties);
                own.unwrap_or_else(|| (REQUEST - 2) / (min_size(values) + 6))
            }
            _ => 0,
        },
        Base::String => string_length(schema),
        Base::Boolean | Base::Integer | Base::Number | Base::Any => 0,
    }
}

fn string_length(schema: Schema<'_>) -> u64 {
    let max = schema.checks().and_then(|checks| checks.max_length);
    let default = || match schema.format() {
        Some("duration" | "date-time") => 32,
        Some("date") => 12,
        _ => REQUEST - 2,
    };
    match (max, schema.format()) {
        (Some(max), Some("byte")) => max,
        // A character takes up to four bytes.
        (Some(max), None) => max.saturating_mul(4),
        (Some(max), Some(format)) if !matches!(format, "duration" | "date" | "date-time") => {
            max.saturating_mul(4)
        }
        _ if !schema.enumeration().is_empty() => {
            let texts = schema.enumeration().iter().filter_map(|value| value.as_str());
            texts.map(|text| text.len() as u64).max().unwrap_or(0)
        }
        _ => default(),
    }
}

//! Prices of functions, and what is known of their results.

use crate::cel::ast::{Call, Expr, Kind};
use crate::cel::library::{Libraries, overloads};
use crate::cel::types::Type;
use crate::cel::value::Value;

use super::known::{Form, Known, Place};
use super::walk::Estimator;
use super::{NOTHING, ONE, Span, UNKNOWN};

impl<'s> Estimator<'s> {
    pub(super) fn call(&mut self, call: &Call) -> Known<'s> {
        let args: Vec<Known<'s>> = call.args.iter().map(|arg| self.of(arg)).collect();
        let sum = args.iter().fold(NOTHING, |sum, arg| sum.plus(arg.cost));
        let size = |at: usize| args.get(at).map_or(ONE, |arg| arg.size);
        let first = args.first().map_or(Form::Other, |arg| arg.form);
        let any_text = args.iter().any(|arg| arg.form.is_text());
        let any_dyn = args.iter().any(|arg| arg.form == Form::Dyn);
        match &*call.name {
            "_[_]" => {
                return Known::at(
                    sum.plus(ONE),
                    args[0].inner(),
                    match args[0].entry {
                        Some(_) => Place::Nowhere,
                        None => args[0].inside(self.root),
                    },
                    args[0].entry,
                );
            }
            "_[?_]" => return Known::at(sum.plus(ONE), args[0].inner(), Place::Nowhere, None),
            "_+_" if matches!(first, Form::Text | Form::Bytes | Form::List | Form::Dyn) => {
                let both = size(0).plus(size(1));
                let cost = if first == Form::List {
                    ONE
                } else {
                    both.walk().union(if any_dyn { ONE } else { both.walk() })
                };
                let entry = args[0].entry.zip(args[1].entry);
                return Known {
                    item: Some(args[0].inner()),
                    entry: entry.map(|(one, other)| one.union(other)),
                    ..Known::with(sum.plus(cost), both, first)
                };
            }
            "dyn" => {
                return Known {
                    cost: sum.plus(ONE),
                    place: Place::Nowhere,
                    schema: None,
                    form: Form::Dyn,
                    ..args[0]
                };
            }
            _ => {}
        }
        let least = || {
            let max = size(0).max.min(size(1).max);
            Span {
                min: u64::from(max > 0),
                max,
            }
            .walk()
        };
        let own = match &*call.name {
            "_==_" | "_!=_" if is_opaque(call) => ONE,
            "_==_" | "_!=_" => least(),
            "_<_" | "_<=_" | "_>_" | "_>=_" if any_text => least(),
            _ => self.price(call, &args, first),
        };
        result(call, sum.plus(own), &args, first)
    }

    /// What a function costs beside its arguments.
    fn price(&self, call: &Call, args: &[Known<'s>], first: Form) -> Span {
        let size = |at: usize| args.get(at).map_or(ONE, |arg| arg.size);
        let pattern = |text: Span, pattern: Span| text.plus(ONE).walk().times(pattern.part(4));
        let number = |at: usize| match call.args.get(at).and_then(Expr::literal) {
            Some(Value::Int(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        match &*call.name {
            "startsWith" | "endsWith" => size(1).walk(),
            "@in" if args.get(1).is_some_and(|list| list.form == Form::List) => size(1),
            "contains" => size(0).walk().times(size(1).walk()),
            "matches" | "find" | "findAll" => pattern(size(0), size(1)),
            // The price of the longest pattern that a format has.
            "validate" => size(1).walk().times(Span::exactly(32)),
            "check" => Span::exactly(350_000),
            "fieldSelector" | "labelSelector" => {
                let wanted = size(1).part(2).times(Span::exactly(50));
                Span::exactly(10).plus(size(1).walk()).plus(wanted)
            }
            "string" if first == Form::Bytes => size(0).walk(),
            "bytes" | "format" | "strings.quote" if first.is_text() => size(0).walk(),
            "indexOf" | "lastIndexOf" if first == Form::Text => size(0).walk(),
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
                let mut each = ONE;
                if args[0].inner().0.is_text() {
                    each = each.plus(self.items(&args[0]).walk());
                }
                size(0).times(each)
            }
            "sort" => sort(size(0), args[0].inner().0),
            "distinct" => list_made(size(0).times(size(0)).times(Span::exactly(2))),
            "slice" => {
                let end = number(2).unwrap_or(size(0).max);
                let count = end.wrapping_sub(number(1).unwrap_or(0));
                list_made(Span::exactly(count))
            }
            "reverse" if first == Form::List => list_made(size(0)),
            "flatten" => {
                let depth = if args.len() > 1 {
                    number(1).unwrap_or(u64::MAX)
                } else {
                    1
                };
                list_made(size(0).times(Span::exactly(depth)))
            }
            "lists.range" => list_made(Span::exactly(number(0).unwrap_or(u64::MAX))),
            "sets.contains" | "sets.intersects" => size(0).times(size(1)).plus(ONE),
            "sets.equivalent" => size(0).times(size(1)).times(Span::exactly(2)).plus(ONE),
            "url" | "quantity" | "isQuantity" | "isIP" | "cidr" | "isCIDR" | "semver" | "isSemver"
            | "lowerAscii" | "upperAscii" | "substring" | "trim" => size(0).walk(),
            "ip" if first.is_text() => size(0).walk(),
            "ip.isCanonical" | "replace" | "split" => size(0).tenths(2),
            "join" => self.joined(args).walk(),
            "containsIP" | "containsCIDR" => {
                // Addresses have four to sixteen bytes.
                let bytes = Span { min: 4, max: 16 };
                let mut cost = bytes.plus(bytes).walk();
                if &*call.name == "containsCIDR" {
                    cost = cost.plus(bytes.walk()).plus(ONE);
                }
                match args.get(1) {
                    Some(arg) if arg.form == Form::Text => cost.plus(arg.size.walk()),
                    _ => cost,
                }
            }
            _ => ONE,
        }
    }

    /// How large the items of a list are.
    fn items(&self, list: &Known<'s>) -> Span {
        match list.place {
            Place::Nowhere => UNKNOWN,
            _ => list.inside(self.root).size().unwrap_or(UNKNOWN),
        }
    }

    /// How long a joined text is.
    fn joined(&self, args: &[Known<'s>]) -> Span {
        let text = args[0].size.times(self.items(&args[0]));
        let Some(between) = args.get(1) else {
            return text;
        };
        let gaps = Span {
            min: args[0].size.min.saturating_sub(1),
            max: args[0].size.max.saturating_sub(1),
        };
        text.plus(between.size.times(gaps))
    }
}

/// A list or a map that is written out.
pub(super) fn made<'s>(cost: Span, form: Form, parts: &[Known<'s>], values: &[Known<'s>]) -> Known<'s> {
    let cost = parts.iter().fold(cost, |sum, part| sum.plus(part.cost));
    let entry = values.iter().map(|value| value.size).reduce(Span::union);
    Known {
        item: values.first().map(|value| (value.form, value.schema)),
        entry: Some(entry.unwrap_or(NOTHING)),
        ..Known::with(cost, Span::exactly(parts.len() as u64), form)
    }
}

/// The price of a call that makes a list, from what it costs to look at the items.
fn list_made(cost: Span) -> Span {
    cost.plus(Span::exactly(11))
}

pub(super) fn sort(size: Span, items: Form) -> Span {
    let tenths = if items.is_text() { 21 } else { 20 };
    list_made(size.times(size).tenths(tenths))
}

/// Whether values are compared at a glance, for they are no plain ones.
fn is_opaque(call: &Call) -> bool {
    call.args.iter().any(|arg| {
        let Kind::Call(inner) = &arg.kind else {
            return false;
        };
        let mut all = overloads(&inner.name, Libraries::KUBERNETES).peekable();
        all.peek().is_some() && all.all(|overload| matches!(overload.result, Type::Opaque(_)))
    })
}

/// How long a text is after replacements.
fn replaced(text: Span, what: Span, with: Span) -> Span {
    let times = |count: u64, size: u64, kept: u64| count.saturating_mul(size).saturating_add(kept);
    let max = if what.min == 0 {
        times(text.max.saturating_add(1), with.max, text.max)
    } else if with.max <= what.min {
        text.max
    } else {
        times(text.max.div_ceil(what.min), with.max, 0)
    };
    let min = if what.max == 0 {
        times(text.min.saturating_add(1), with.min, text.min)
    } else if what.max <= with.min {
        text.min
    } else {
        times(text.min.div_ceil(what.max), with.min, 0)
    };
    Span { min, max }
}

/// What is known of a call's result beside its cost.
fn result<'s>(call: &Call, cost: Span, args: &[Known<'s>], first: Form) -> Known<'s> {
    let arg = |at: usize| args.get(at).map_or(UNKNOWN, |arg| arg.size);
    let size = arg(0);
    let up_to = |max: u64| Span { min: 0, max };
    let text = |size: Span| Known::with(cost, size, Form::Text);
    let list = |size: Span| Known {
        item: args.first().map(Known::inner),
        ..Known::with(cost, size, Form::List)
    };
    match &*call.name {
        "lowerAscii" | "upperAscii" | "trim" | "substring" => text(size),
        "find" => text(up_to(size.max)),
        "replace" => text(replaced(size, arg(1), arg(2))),
        "join" => text(UNKNOWN),
        "strings.quote" => text(Span {
            min: size.min.saturating_add(2),
            max: size.max.saturating_mul(2).saturating_add(2),
        }),
        "string" if first == Form::Bytes => text(Span {
            min: size.min / 4,
            max: size.max,
        }),
        "bytes" if first == Form::Text => Known {
            form: Form::Bytes,
            ..text(Span {
                min: size.min,
                max: size.max.saturating_mul(4),
            })
        },
        "split" | "findAll" => {
            let most = call.args.get(2).and_then(Expr::literal);
            let most = match most {
                Some(Value::Int(most)) => u64::try_from(*most).ok(),
                _ => None,
            };
            Known {
                item: Some((Form::Text, None)),
                ..Known::with(cost, up_to(most.unwrap_or(size.max)), Form::List)
            }
        }
        "sort" | "distinct" => list(size.times(size)),
        "reverse" | "slice" | "flatten" => list(size),
        "orValue" | "value" | "optional.of" | "optional.ofNonZeroValue" => {
            let of = args.first().copied().unwrap_or(Known::scalar(cost));
            Known {
                item: of.item,
                ..Known::at(cost, (of.form, of.schema), Place::Nowhere, None)
            }
        }
        // Sums of numbers and times have overloads that are texts.
        "_+_" if first == Form::Scalar => Known::scalar(cost),
        name => {
            let scalar = |kind: &Type| {
                matches!(
                    kind,
                    Type::Bool | Type::Int | Type::Uint | Type::Double | Type::Duration | Type::Timestamp
                )
            };
            let mut all = overloads(name, Libraries::KUBERNETES).peekable();
            if all
                .clone()
                .any(|overload| matches!(overload.result, Type::String))
            {
                return text(UNKNOWN);
            }
            if all.peek().is_some() && all.all(|overload| scalar(&overload.result)) {
                return Known::scalar(cost);
            }
            match name {
                "_+_" | "_-_" | "_*_" | "_/_" | "_%_" | "-_" | "max" | "min" | "sum"
                    if matches!(first, Form::Scalar | Form::List) =>
                {
                    Known::scalar(cost)
                }
                _ => Known::with(cost, UNKNOWN, Form::Other),
            }
        }
    }
}

pub(super) fn literal<'s>(value: &Value<'_>) -> Known<'s> {
    match value {
        Value::String(_) => Known::with(NOTHING, Span::exactly(value.extent()), Form::Text),
        Value::Bytes(_) => Known::with(NOTHING, Span::exactly(value.extent()), Form::Bytes),
        // A list of constants is made once, but is charged for as any list.
        Value::List(list) => {
            let items: Vec<Known<'s>> = list.iter().map(|item| literal(&item)).collect();
            made(Span::exactly(10), Form::List, &items, &items)
        }
        // Times are written as calls.
        Value::Duration(_) | Value::Timestamp(_) => Known::scalar(ONE),
        _ => Known::scalar(NOTHING),
    }
}

//! The walk over an expression.

use crate::cel::ast::{Bind, Expr, Fold, FoldKind, Kind, Select};
use crate::types::Type as Schema;

use super::known::{Form, Known, Place};
use super::price::{literal, made, sort};
use super::{NOTHING, ONE, Span, UNKNOWN};

/// Goes through an expression with what is known of the names in it.
pub(super) struct Estimator<'s> {
    pub(super) root: Schema<'s>,
    scope: Vec<(String, Known<'s>)>,
}

impl<'s> Estimator<'s> {
    pub(super) fn new(root: Schema<'s>) -> Self {
        Estimator {
            root,
            scope: Vec::new(),
        }
    }

    pub(super) fn of(&mut self, expr: &Expr) -> Known<'s> {
        match &expr.kind {
            Kind::Literal(value) => literal(value),
            Kind::Ident(name) => self.ident(name),
            Kind::Select(select) => self.select(select),
            Kind::Call(call) => self.call(call),
            Kind::Logic { args, .. } => {
                let costs: Vec<Span> = args.iter().map(|arg| self.of(arg).cost).collect();
                let max = costs
                    .iter()
                    .fold(0, |sum: u64, cost| sum.saturating_add(cost.max));
                Known::scalar(Span {
                    min: costs.first().map_or(0, |cost| cost.min),
                    max,
                })
            }
            Kind::Ternary(parts) => {
                let condition = self.of(&parts[0]);
                let (yes, no) = (self.of(&parts[1]), self.of(&parts[2]));
                Known {
                    cost: condition.cost.plus(yes.cost.union(no.cost)),
                    size: yes.size.union(no.size),
                    entry: yes.entry.zip(no.entry).map(|(yes, no)| yes.union(no)),
                    place: Place::Nowhere,
                    ..yes
                }
            }
            Kind::List(items) => {
                let known: Vec<Known<'s>> = items.iter().map(|(_, item)| self.of(item)).collect();
                made(Span::exactly(10), Form::List, &known, &known)
            }
            Kind::Map(entries) => {
                let keys: Vec<Known<'s>> = entries.iter().map(|entry| self.of(&entry.key)).collect();
                let values: Vec<Known<'s>> = entries.iter().map(|entry| self.of(&entry.value)).collect();
                let cost = keys.iter().fold(Span::exactly(30), |sum, key| sum.plus(key.cost));
                made(cost, Form::Other, &values, &values)
            }
            Kind::Struct(message) => {
                let fields = message.fields.iter();
                let cost = fields.fold(Span::exactly(40), |sum, field| {
                    sum.plus(self.of(&field.value).cost)
                });
                Known::with(cost, UNKNOWN, Form::Other)
            }
            Kind::Fold(fold) => self.fold(fold),
            Kind::Bind(bind) => self.bind(bind),
        }
    }

    fn ident(&self, name: &str) -> Known<'s> {
        if let Some((_, known)) = self.scope.iter().rev().find(|(own, _)| own == name) {
            return Known { cost: ONE, ..*known };
        }
        match name {
            "self" | "oldSelf" => {
                let kind = (Form::of(self.root), Some(self.root));
                Known::at(ONE, kind, Place::At(self.root), None)
            }
            _ => Known::with(ONE, UNKNOWN, Form::Other),
        }
    }

    fn select(&mut self, select: &Select) -> Known<'s> {
        let operand = self.of(&select.operand);
        if select.test {
            return Known::scalar(operand.cost);
        }
        let field = |schema: Schema<'s>| schema.field(&select.field);
        let below = operand.schema.and_then(field);
        let kind = match (below, operand.item) {
            (Some(below), _) => (Form::of(below), Some(below)),
            (None, Some(item)) => item,
            (None, None) => (Form::Other, None),
        };
        // An optional selection is a call, whose result has no place.
        if select.optional {
            return Known::at(operand.cost.plus(ONE), kind, Place::Nowhere, None);
        }
        let cost = if operand.form == Form::Dyn { NOTHING } else { ONE };
        Known::at(operand.cost.plus(cost), kind, operand.place.below(field), None)
    }

    /// `optMap`: whether the target has a value, and a name for it in the body.
    fn bind(&mut self, bind: &Bind) -> Known<'s> {
        let target = self.of(&bind.target);
        let asked = target.cost.plus(ONE);
        let value = Known {
            place: Place::Nowhere,
            ..target
        };
        self.scope.push((bind.name.to_string(), value));
        let body = self.of(&bind.body);
        self.scope.pop();
        let made = if bind.flat { NOTHING } else { ONE };
        let some = asked.plus(Span::exactly(10)).plus(body.cost).plus(made);
        Known {
            cost: asked.plus(some.union(ONE)),
            place: Place::Nowhere,
            size: if body.form == Form::Scalar { ONE } else { UNKNOWN },
            ..body
        }
    }

    fn fold(&mut self, fold: &Fold) -> Known<'s> {
        let range = self.of(&fold.range);
        let depth = self.scope.len();
        let (first, second) = self.bound(&range);
        let single = if range.form == Form::List { second } else { first };
        match &fold.second {
            None => self.scope.push((fold.first.to_string(), single)),
            Some(name) => {
                self.scope.push((fold.first.to_string(), first));
                self.scope.push((name.to_string(), second));
            }
        }
        let filter = fold
            .filter
            .as_ref()
            .map_or(NOTHING, |filter| self.of(filter).cost);
        let body = self.of(&fold.body);
        self.scope.truncate(depth);
        // What each turn costs beside the body, at least and at most; what the walk costs itself.
        let (turn, once) = match fold.kind {
            FoldKind::All => (Span::exactly(3), 1),
            FoldKind::Exists => (Span::exactly(4), 1),
            FoldKind::ExistsOne => (Span { min: 1, max: 2 }, 2),
            FoldKind::List if fold.filter.is_none() => (Span::exactly(12), 11),
            FoldKind::List | FoldKind::SortBy => (Span { min: 1, max: 12 }, 11),
            FoldKind::Filter => (Span { min: 1, max: 13 }, 11),
            FoldKind::MapValues => (Span { min: 1, max: 3 }, 31),
            FoldKind::MapEntries => (Span { min: 1, max: 2 }, 31),
        };
        let short = matches!(fold.kind, FoldKind::All | FoldKind::Exists);
        let body_cost = Span {
            min: if short { 0 } else { body.cost.min },
            max: body.cost.max,
        };
        let each = turn.plus(body_cost).plus(filter);
        let cost = range.cost.plus(range.size.times(each)).plus(Span::exactly(once));
        let list = |item: (Form, Option<Schema<'s>>), size: Span| Known {
            item: Some(item),
            entry: Some(Span {
                min: 0,
                max: size.max,
            }),
            ..Known::with(cost, range.size, Form::List)
        };
        match fold.kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => Known::scalar(cost),
            FoldKind::MapValues | FoldKind::MapEntries => Known {
                item: Some((body.form, body.schema)),
                ..Known::with(cost, range.size, Form::Other)
            },
            FoldKind::Filter => list(range.inner(), single.size),
            FoldKind::List => list((body.form, body.schema), body.size),
            FoldKind::SortBy => {
                // The list gets a name, its keys are computed, and both are sorted.
                let sorted = sort(range.size, body.form);
                Known {
                    cost: cost.plus(Span::exactly(12)).plus(sorted),
                    size: range.size.times(range.size),
                    ..list(range.inner(), single.size)
                }
            }
        }
    }

    /// What a walk binds: index or key, and item or value.
    fn bound(&self, range: &Known<'s>) -> (Known<'s>, Known<'s>) {
        let kind = range.inner();
        let item = Known::at(ONE, kind, range.inside(self.root), range.entry);
        if range.form == Form::List {
            return (Known::scalar(ONE), item);
        }
        // The reference takes keys for empty: their length has no limit that it knows.
        let key = match range.place {
            Place::Nowhere => Place::At(self.root).size().unwrap_or(NOTHING),
            _ => NOTHING,
        };
        (Known::with(ONE, key, Form::Text), item)
    }
}

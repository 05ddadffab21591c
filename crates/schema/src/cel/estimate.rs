//! What a rule may cost at most, from the limits that its schema sets: definitions whose rules could
//! be too dear are refused before any object exists.

use crate::table::Base;
use crate::types::Type as Schema;

use super::Program;
use super::ast::{Bind, Call, Expr, Fold, FoldKind, Kind};
use super::functions::formats::NamedFormat;
use super::library::{Libraries, overloads};
use super::types::Type;
use super::value::Value;

/// The largest request, which bounds what has no limit of its own.
const REQUEST: u64 = 3 * 1024 * 1024;

/// From and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    min: u64,
    max: u64,
}

const UNKNOWN: Span = Span {
    min: 0,
    max: u64::MAX,
};

impl Span {
    fn exactly(count: u64) -> Span {
        Span {
            min: count,
            max: count,
        }
    }

    fn plus(self, other: Span) -> Span {
        Span {
            min: self.min.saturating_add(other.min),
            max: self.max.saturating_add(other.max),
        }
    }

    fn times(self, other: Span) -> Span {
        Span {
            min: self.min.saturating_mul(other.min),
            max: self.max.saturating_mul(other.max),
        }
    }

    fn union(self, other: Span) -> Span {
        Span {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// A part of it, rounded up.
    fn part(self, by: u64) -> Span {
        Span {
            min: self.min.div_ceil(by),
            max: self.max.div_ceil(by),
        }
    }

    /// The price of walking over a text of this size.
    fn walk(self) -> Span {
        self.part(10)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Scalar,
    Text,
    List,
    Other,
}

/// What is known of an expression.
#[derive(Clone, Copy, Debug)]
struct Known<'s> {
    cost: Span,
    size: Span,
    form: Form,
    /// Where in the schema the value comes from.
    schema: Option<Schema<'s>>,
    /// Size and place of the items of a list that an expression made.
    item: Option<Schema<'s>>,
}

impl Known<'_> {
    fn scalar(cost: Span) -> Self {
        Known {
            cost,
            size: Span::exactly(1),
            form: Form::Scalar,
            schema: None,
            item: None,
        }
    }

    fn with(cost: Span, size: Span, form: Form) -> Self {
        Known {
            size,
            form,
            ..Known::scalar(cost)
        }
    }
}

/// The highest cost of a rule on a node with this schema.
pub(crate) fn max_cost(program: &Program, schema: Schema<'_>) -> u64 {
    let mut estimator = Estimator {
        root: schema,
        scope: Vec::new(),
    };
    estimator.of(&program.expr).cost.max
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
        return REQUEST - 2;
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

struct Estimator<'s> {
    root: Schema<'s>,
    scope: Vec<(String, Known<'s>)>,
}

impl<'s> Estimator<'s> {
    /// What a place of the schema is known for.
    fn place(&self, cost: Span, schema: Option<Schema<'s>>) -> Known<'s> {
        let Some(schema) = schema else {
            return Known::with(cost, UNKNOWN, Form::Other);
        };
        let form = match schema.base() {
            _ if schema.int_or_string() => Form::Text,
            Base::String => match schema.format() {
                Some("duration" | "date" | "date-time") => Form::Scalar,
                _ => Form::Text,
            },
            Base::Array => Form::List,
            Base::Object | Base::Any => Form::Other,
            Base::Integer | Base::Number | Base::Boolean => Form::Scalar,
        };
        let size = Span {
            min: 0,
            max: max_elements(schema),
        };
        Known {
            cost,
            size,
            form,
            schema: Some(schema),
            item: schema.items(),
        }
    }

    fn of(&mut self, expr: &Expr) -> Known<'s> {
        match &expr.kind {
            Kind::Literal(value) => literal(value),
            Kind::Ident(name) => self.ident(name),
            Kind::Select(select) => {
                let operand = self.of(&select.operand);
                if select.test {
                    return Known::scalar(operand.cost);
                }
                let field = operand.schema.and_then(|schema| schema.field(&select.field));
                self.place(operand.cost.plus(Span::exactly(1)), field)
            }
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
                    ..yes
                }
            }
            Kind::List(items) => {
                let cost = items
                    .iter()
                    .fold(Span::exactly(10), |sum, (_, item)| sum.plus(self.of(item).cost));
                Known::with(cost, Span::exactly(items.len() as u64), Form::List)
            }
            Kind::Map(entries) => {
                let cost = entries.iter().fold(Span::exactly(30), |sum, entry| {
                    sum.plus(self.of(&entry.key).cost)
                        .plus(self.of(&entry.value).cost)
                });
                Known::with(cost, Span::exactly(entries.len() as u64), Form::Other)
            }
            Kind::Struct(message) => {
                let fields = message.fields.iter();
                Known::scalar(fields.fold(Span::exactly(40), |sum, field| {
                    sum.plus(self.of(&field.value).cost)
                }))
            }
            Kind::Fold(fold) => self.fold(fold),
            Kind::Bind(bind) => self.bind(bind),
        }
    }

    fn ident(&self, name: &str) -> Known<'s> {
        let one = Span::exactly(1);
        if let Some((_, known)) = self.scope.iter().rev().find(|(own, _)| own == name) {
            return Known { cost: one, ..*known };
        }
        match name {
            "self" | "oldSelf" => self.place(one, Some(self.root)),
            _ => Known::with(one, UNKNOWN, Form::Other),
        }
    }

    fn bind(&mut self, bind: &Bind) -> Known<'s> {
        let target = self.of(&bind.target);
        self.scope.push((bind.name.to_string(), target));
        let body = self.of(&bind.body);
        self.scope.pop();
        Known {
            cost: target.cost.plus(body.cost).plus(Span::exactly(3)),
            ..body
        }
    }

    fn fold(&mut self, fold: &Fold) -> Known<'s> {
        let range = self.of(&fold.range);
        let zero = Span::exactly(0);
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
        let filter = fold.filter.as_ref().map_or(zero, |filter| self.of(filter).cost);
        let body = self.of(&fold.body);
        self.scope.truncate(depth);
        // What each turn costs beside the body, at least and at most; what the walk costs itself.
        let (turn, once) = match fold.kind {
            FoldKind::All => (Span { min: 3, max: 3 }, 1),
            FoldKind::Exists => (Span { min: 4, max: 4 }, 1),
            FoldKind::ExistsOne => (Span { min: 1, max: 2 }, 2),
            FoldKind::List if fold.filter.is_none() => (Span::exactly(12), 11),
            FoldKind::List | FoldKind::SortBy => (Span { min: 1, max: 12 }, 11),
            FoldKind::Filter => (Span { min: 1, max: 13 }, 11),
            FoldKind::MapValues | FoldKind::MapEntries => (Span::exactly(32), 31),
        };
        let short = matches!(fold.kind, FoldKind::All | FoldKind::Exists);
        let body_cost = Span {
            min: if short { 0 } else { body.cost.min },
            max: body.cost.max,
        };
        let each = turn.plus(body_cost).plus(filter);
        let cost = range.cost.plus(range.size.times(each)).plus(Span::exactly(once));
        match fold.kind {
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => Known::scalar(cost),
            FoldKind::MapValues | FoldKind::MapEntries => Known::with(cost, range.size, Form::Other),
            FoldKind::Filter | FoldKind::SortBy => Known {
                item: range.item.filter(|_| range.form == Form::List),
                ..Known::with(cost, range.size, Form::List)
            },
            FoldKind::List => Known {
                item: body.schema,
                ..Known::with(cost, range.size, Form::List)
            },
        }
    }

    /// What a walk binds: index or key, and item or value.
    fn bound(&self, range: &Known<'s>) -> (Known<'s>, Known<'s>) {
        let one = Span::exactly(1);
        if range.form == Form::List {
            return (Known::scalar(one), self.place(one, range.item));
        }
        // The reference takes keys for empty: their length has no limit that it knows.
        let key = Span::exactly(0);
        let values = range.schema.and_then(Schema::additional);
        (Known::with(one, key, Form::Text), self.place(one, values))
    }

    fn call(&mut self, call: &Call) -> Known<'s> {
        let args: Vec<Known<'s>> = call.args.iter().map(|arg| self.of(arg)).collect();
        let sum = args.iter().fold(Span::exactly(0), |sum, arg| sum.plus(arg.cost));
        let size = |at: usize| args.get(at).map_or(Span::exactly(1), |arg| arg.size);
        let first = args.first().map_or(Form::Other, |arg| arg.form);
        let one = Span::exactly(1);
        let least = |at: usize, other: usize| {
            let max = size(at).max.min(size(other).max);
            Span {
                min: u64::from(max > 0),
                max,
            }
            .walk()
        };
        let pattern = |text: Span, pattern: Span| text.plus(one).walk().times(pattern.part(4));
        let own = match &*call.name {
            "_[_]" | "_[?_]" => {
                let below = args[0]
                    .item
                    .or_else(|| args[0].schema.and_then(Schema::additional));
                return self.place(sum.plus(one), below);
            }
            "_==_" | "_!=_" => least(0, 1),
            "_<_" | "_<=_" | "_>_" | "_>=_" if first == Form::Text => least(0, 1),
            "_+_" if matches!(first, Form::Text | Form::List) => {
                let both = size(0).plus(size(1));
                let cost = if first == Form::List { one } else { both.walk() };
                return Known {
                    item: args[0].item,
                    ..Known::with(sum.plus(cost), both, first)
                };
            }
            // A sum of numbers or times is one; other sums have been told apart above.
            "_+_" if first == Form::Scalar => return Known::scalar(sum.plus(one)),
            "startsWith" | "endsWith" => size(1).walk(),
            "@in" if args.get(1).is_some_and(|list| list.form == Form::List) => size(1),
            "contains" => size(0).walk().times(size(1).walk()),
            "matches" | "find" | "findAll" => pattern(size(0), size(1)),
            "validate" => pattern(
                size(1),
                Span::exactly(NamedFormat::Dns1123Subdomain.pattern_length()),
            ),
            "check" => Span::exactly(350_000),
            "string" | "bytes" | "format" | "strings.quote" if first == Form::Text => size(0).walk(),
            "indexOf" | "lastIndexOf" if first == Form::Text => size(0).walk(),
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "sort" | "distinct"
            | "reverse" | "slice" => {
                let text = args[0].item.map(|item| self.place(one, Some(item)));
                let text = text.filter(|item| item.form == Form::Text);
                let each = text.map_or(one, |item| one.plus(item.size.walk()));
                size(0).times(each)
            }
            "sets.contains" | "sets.intersects" => size(0).times(size(1)).plus(one),
            "sets.equivalent" => size(0).times(size(1)).times(Span::exactly(2)).plus(one),
            "url" | "isURL" | "quantity" | "isQuantity" | "ip" | "isIP" | "ip.isCanonical" | "cidr"
            | "isCIDR" | "semver" | "isSemver" | "lowerAscii" | "upperAscii" | "substring" | "trim"
            | "replace" | "split" | "join" => size(0).walk(),
            _ => one,
        };
        result(call, sum.plus(own), &args)
    }
}

/// What is known of a call's result beside its cost.
fn result<'s>(call: &Call, cost: Span, args: &[Known<'s>]) -> Known<'s> {
    let size = args.first().map_or(UNKNOWN, |arg| arg.size);
    let up_to = |max: u64| Span { min: 0, max };
    match &*call.name {
        "lowerAscii" | "upperAscii" | "trim" | "substring" | "find" | "charAt" => {
            Known::with(cost, up_to(size.max), Form::Text)
        }
        "replace" => {
            let with = args.get(2).map_or(UNKNOWN, |arg| arg.size);
            let max = size
                .max
                .saturating_add(1)
                .saturating_mul(with.max.saturating_add(1));
            Known::with(cost, up_to(max), Form::Text)
        }
        "split" | "findAll" => Known::with(cost, up_to(size.max), Form::List),
        "sort" | "distinct" | "reverse" | "slice" | "orValue" | "value" => Known {
            cost,
            ..args.first().copied().unwrap_or(Known::scalar(cost))
        },
        "optional.of" | "optional.ofNonZeroValue" => Known {
            cost,
            ..args.first().copied().unwrap_or(Known::scalar(cost))
        },
        "dyn" => Known { cost, ..args[0] },
        name => {
            let scalar = |kind: &Type| {
                matches!(
                    kind,
                    Type::Bool
                        | Type::Int
                        | Type::Uint
                        | Type::Double
                        | Type::Duration
                        | Type::Timestamp
                        | Type::Opaque(_)
                        | Type::Type
                )
            };
            let mut all = overloads(name, Libraries::KUBERNETES);
            if all
                .clone()
                .any(|overload| matches!(overload.result, Type::String))
            {
                // How long the text of a number is, nobody says.
                return Known::with(cost, UNKNOWN, Form::Text);
            }
            if all.all(|overload| scalar(&overload.result)) {
                return Known::scalar(cost);
            }
            Known::with(cost, UNKNOWN, Form::Other)
        }
    }
}

fn literal<'s>(value: &Value<'_>) -> Known<'s> {
    let zero = Span::exactly(0);
    match value {
        Value::String(_) | Value::Bytes(_) => Known::with(zero, Span::exactly(value.extent()), Form::Text),
        // A list of constants is made once, but is charged for as any list.
        Value::List(list) => Known::with(Span::exactly(10), Span::exactly(list.len() as u64), Form::List),
        _ => Known::scalar(zero),
    }
}

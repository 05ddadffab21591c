//! What is known of an expression: its price, and how large its value can be.

use crate::table::Base;
use crate::types::Type as Schema;

use super::{Span, UNKNOWN, max_elements};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Scalar,
    Text,
    Bytes,
    List,
    /// Known at run time only.
    Dyn,
    Other,
}

impl Form {
    pub(super) fn of(schema: Schema<'_>) -> Form {
        match schema.base() {
            _ if schema.int_or_string() => Form::Dyn,
            Base::String => match schema.format() {
                Some("duration" | "date" | "date-time") => Form::Scalar,
                Some("byte") => Form::Bytes,
                _ => Form::Text,
            },
            Base::Array => Form::List,
            Base::Object | Base::Any => Form::Other,
            Base::Integer | Base::Number | Base::Boolean => Form::Scalar,
        }
    }

    pub(super) fn is_text(self) -> bool {
        matches!(self, Form::Text | Form::Bytes)
    }
}

/// Where the server takes the limits of a value from. What a walk over a computed list binds has, to the server, the place
/// of the rule itself, and fields of it have the places of the rule's fields.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'s> {
    Nowhere,
    /// There is nothing in the schema where it should be.
    Lost,
    At(Schema<'s>),
}

impl<'s> Place<'s> {
    pub(super) fn of(schema: Option<Schema<'s>>) -> Place<'s> {
        schema.map_or(Place::Lost, Place::At)
    }

    pub(super) fn below(self, step: impl FnOnce(Schema<'s>) -> Option<Schema<'s>>) -> Place<'s> {
        match self {
            Place::At(schema) => Place::of(step(schema)),
            other => other,
        }
    }

    pub(super) fn size(self) -> Option<Span> {
        match self {
            Place::At(schema) => Some(Span {
                min: 0,
                max: max_elements(schema),
            }),
            _ => None,
        }
    }
}

/// What is known of an expression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'s> {
    pub(super) cost: Span,
    pub(super) size: Span,
    pub(super) form: Form,
    pub(super) place: Place<'s>,
    /// The type, where a schema describes it.
    pub(super) schema: Option<Schema<'s>>,
    /// The form and the type of what is in a list or a map that an expression made.
    pub(super) item: Option<(Form, Option<Schema<'s>>)>,
    /// How large the items are of a list or a map that an expression made.
    pub(super) entry: Option<Span>,
}

impl<'s> Known<'s> {
    pub(super) fn scalar(cost: Span) -> Self {
        Known::with(cost, Span::exactly(1), Form::Scalar)
    }

    pub(super) fn with(cost: Span, size: Span, form: Form) -> Self {
        Known {
            cost,
            size,
            form,
            place: Place::Nowhere,
            schema: None,
            item: None,
            entry: None,
        }
    }

    /// A value of a form and a type, with the limits of its place; `otherwise` where it has none.
    pub(super) fn at(
        cost: Span,
        kind: (Form, Option<Schema<'s>>),
        place: Place<'s>,
        otherwise: Option<Span>,
    ) -> Self {
        let (form, schema) = kind;
        let plain = (form == Form::Scalar).then(|| Span::exactly(1));
        let size = place.size().or(plain).or(otherwise).unwrap_or(UNKNOWN);
        Known {
            place,
            schema,
            ..Known::with(cost, size, form)
        }
    }

    /// The form and the type of what is in it.
    pub(super) fn inner(&self) -> (Form, Option<Schema<'s>>) {
        let below = self
            .schema
            .and_then(|schema| schema.items().or_else(|| schema.additional()));
        match below {
            Some(below) => (Form::of(below), Some(below)),
            None => self.item.unwrap_or((Form::Other, None)),
        }
    }

    /// Where its items are: those of a computed list are where the rule is.
    pub(super) fn inside(&self, root: Schema<'s>) -> Place<'s> {
        match self.place {
            Place::Nowhere => Place::At(root),
            place => place.below(|schema| schema.items().or_else(|| schema.additional())),
        }
    }
}

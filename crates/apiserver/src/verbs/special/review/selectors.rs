//! Selectors in questions about access: those that cannot be read are refused, or said to be left out of the answer.

use fluvial_object::fields::FieldSelector;
use fluvial_object::labels::Selector;
use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::text;
use crate::names;

const FIELDS: [&str; 2] = ["fieldSelector", "labelSelector"];

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// What is refused.
pub(super) fn errors(resource: &Value, errors: &mut Vec<FieldError>) {
    for field in FIELDS {
        let selector = &resource[field];
        if !selector.is_object() {
            continue;
        }
        let path = format!("spec.resourceAttributes.{field}");
        let (raw, requirements) = (text(selector, "rawSelector"), list(selector, "requirements"));
        if !raw.is_empty() && !requirements.is_empty() {
            let detail = "may not specified at the same time as requirements";
            let at = format!("{path}.rawSelector");
            errors.push(FieldError::new(ErrorKind::Invalid, at, raw.into(), detail));
        } else if raw.is_empty() && requirements.is_empty() {
            let detail = format!("when {path} is specified, requirements or rawSelector is required");
            let at = format!("{path}.requirements");
            errors.push(FieldError::plain(ErrorKind::Required, at, detail));
        }
        for (index, one) in requirements.iter().enumerate() {
            let path = format!("{path}.requirements[{index}]");
            requirement(one, field == "labelSelector", &path, errors);
        }
    }
}

/// Operators that are not known are let pass: newer clients may know more of them.
fn requirement(one: &Value, labels: bool, path: &str, errors: &mut Vec<FieldError>) {
    let (key, values) = (text(one, "key"), list(one, "values"));
    if !labels && key.is_empty() {
        let at = format!("{path}.key");
        errors.push(FieldError::plain(ErrorKind::Required, at, "must be specified"));
    }
    let at = format!("{path}.values");
    match text(one, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::plain(ErrorKind::Required, at, detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::plain(ErrorKind::Forbidden, at, detail));
        }
        _ => {}
    }
    if !labels {
        return;
    }
    for detail in names::qualified_name(key) {
        let at = format!("{path}.key");
        errors.push(FieldError::new(ErrorKind::Invalid, at, key.into(), detail));
    }
    for (index, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or("");
        for detail in names::label_value(value) {
            let at = format!("{path}.values[{index}]");
            errors.push(FieldError::new(ErrorKind::Invalid, at, value.into(), detail));
        }
    }
}

/// What of the selectors counted for nothing.
pub(super) fn ignored(resource: &Value) -> Option<String> {
    let said = FIELDS.iter().filter_map(|field| {
        let selector = &resource[*field];
        let requirements = list(selector, "requirements");
        let labels = *field == "labelSelector";
        let known = |one: &&Value| match text(one, "operator") {
            "In" | "NotIn" => labels || list(one, "values").len() == 1,
            "Exists" | "DoesNotExist" => labels,
            _ => false,
        };
        let (all, good) = if requirements.is_empty() {
            let raw = text(selector, "rawSelector");
            let read = if labels {
                Selector::parse(raw).is_ok()
            } else {
                FieldSelector::parse(raw).is_ok()
            };
            (usize::from(!raw.is_empty()), usize::from(read))
        } else {
            (requirements.len(), requirements.iter().filter(known).count())
        };
        let part = match good {
            _ if good >= all => return None,
            0 => "",
            _ => "partially ",
        };
        Some(format!(
            "spec.resourceAttributes.{field} {part}ignored due to parse error"
        ))
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_refused_for_their_form_only() {
        let found = |resource: Value| {
            let mut all = vec![];
            errors(&resource, &mut all);
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let at = "spec.resourceAttributes";
        assert_eq!(
            found(json!({"fieldSelector": {}})),
            [format!(
                "{at}.fieldSelector.requirements: Required value: when {at}.fieldSelector is specified, requirements or rawSelector is required"
            )]
        );
        let requirements =
            json!([{"key": "a", "operator": "Exists", "values": ["b"]}, {"key": "a", "operator": "Later"}]);
        assert_eq!(
            found(json!({"labelSelector": {"requirements": requirements}})),
            [format!(
                "{at}.labelSelector.requirements[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )]
        );
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let later = json!({"key": "a", "operator": "Later"});
        let known = json!({"key": "a", "operator": "In", "values": ["b"]});
        let resource = json!({"labelSelector": {"rawSelector": "a in ("}, "fieldSelector": {"requirements": [later, known]}});
        assert_eq!(
            ignored(&resource).as_deref(),
            Some(
                "spec.resourceAttributes.fieldSelector partially ignored due to parse error; \
                 spec.resourceAttributes.labelSelector ignored due to parse error"
            )
        );
        assert_eq!(ignored(&json!({"labelSelector": {"rawSelector": "a=b"}})), None);
    }
}

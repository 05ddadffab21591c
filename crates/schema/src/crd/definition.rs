//! Checks of a definition's rules: their form, whether they compile, and where old values are known.

use serde_json::Value as Json;

use crate::error::{ErrorKind, FieldError};
use crate::table::ListType;
use crate::types::{Type, TypeRef};

use crate::cel::estimate;

use super::rules::{Compiled, Rule, Rules};
use super::{field_path, rules};

/// Reasons that a rule may give, as the server lists them.
const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// All mistakes in rules; paths begin with `openAPIV3Schema`.
pub(super) fn check(root: &TypeRef, compiled: &Rules) -> Vec<FieldError> {
    if !rules::any(root) {
        return Vec::new();
    }
    let mut checker = Checker {
        compiled,
        form: Vec::new(),
        meaning: Vec::new(),
        costs: Vec::new(),
    };
    checker.walk(root.view(), "openAPIV3Schema", None, Some(1));
    // What a malformed rule means is not asked.
    if !checker.form.is_empty() {
        return checker.form;
    }
    checker.check_total();
    checker.meaning
}

struct Checker<'r> {
    compiled: &'r Rules,
    form: Vec<FieldError>,
    meaning: Vec<FieldError>,
    /// What the rules at each path may cost.
    costs: Vec<(u64, String)>,
}

/// The most that one rule may cost over all values that an object has room for.
const RULE_LIMIT: u64 = 10_000_000;
/// The most that all rules of a version may.
const TOTAL_LIMIT: u64 = 100_000_000;

/// By how much a cost is too high.
fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people's eyes")]
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

impl Checker<'_> {
    /// `lost` is the list below which old values are not known; `count` is how many such values an
    /// object has at most, if the schema limits it.
    fn walk(&mut self, schema: Type<'_>, path: &str, lost: Option<&str>, count: Option<u64>) {
        let compiled = self.compiled.of.get(&schema.index).map(Vec::as_slice);
        for (index, rule) in rules::sources(schema).iter().enumerate() {
            let path = format!("{path}.x-kubernetes-validations[{index}]");
            self.form(rule, schema, &path);
            if let Some(compiled) = compiled.and_then(|compiled| compiled.get(index)) {
                self.cost(compiled, schema, &path, count);
                self.meaning(compiled, &path, lost);
            }
        }
        for (name, field) in schema.fields() {
            if path == "openAPIV3Schema" && name == "metadata" {
                continue;
            }
            self.walk(field, &format!("{path}.properties[{name}]"), lost, count);
        }
        if let Some(items) = schema.items() {
            let below = format!("{path}.items");
            let keyed = schema.list_type() == Some(ListType::Map);
            let own = (!keyed).then_some(path);
            let limit = schema.checks().and_then(|checks| checks.max_items);
            self.walk(items, &below, lost.or(own), product(count, limit));
        }
        if let Some(values) = schema.additional() {
            let limit = schema.checks().and_then(|checks| checks.max_properties);
            let below = format!("{path}.additionalProperties");
            self.walk(values, &below, lost, product(count, limit));
        }
    }

    /// What a rule and its message may cost over all values with it.
    fn cost(&mut self, compiled: &Compiled, schema: Type<'_>, path: &str, count: Option<u64>) {
        let count = count.unwrap_or_else(|| estimate::max_count(schema));
        let message = compiled
            .message
            .as_ref()
            .and_then(|message| message.as_ref().ok())
            .filter(|_| compiled.program.is_ok());
        // A message is made once, whatever the number of values.
        let all = [
            (
                compiled.program.as_ref().ok(),
                "rule",
                "estimated rule cost",
                count,
            ),
            (
                message,
                "messageExpression",
                "estimated messageExpression cost",
                1,
            ),
        ];
        for (program, key, what, count) in all {
            let Some(program) = program else { continue };
            let cost = estimate::max_cost(program, schema).saturating_mul(count);
            let path = format!("{path}.{key}");
            if cost > RULE_LIMIT {
                let detail = exceeds(what, cost, RULE_LIMIT);
                self.meaning
                    .push(FieldError::plain(ErrorKind::Forbidden, path.clone(), detail));
            }
            self.costs.push((cost, path));
        }
    }

    /// All rules together; the dearest are named.
    fn check_total(&mut self) {
        let total = self
            .costs
            .iter()
            .fold(0, |sum: u64, (cost, _)| sum.saturating_add(*cost));
        if total <= TOTAL_LIMIT {
            return;
        }
        self.costs.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        let dear = self
            .costs
            .iter()
            .take(4)
            .filter(|(cost, _)| *cost > TOTAL_LIMIT / 100);
        for (_, path) in dear {
            let detail =
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            self.meaning
                .push(FieldError::plain(ErrorKind::Forbidden, path.clone(), detail));
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        self.meaning.push(FieldError::plain(
            ErrorKind::Forbidden,
            "openAPIV3Schema",
            exceeds(what, total, TOTAL_LIMIT),
        ));
    }

    fn form(&mut self, rule: &Rule, schema: Type<'_>, path: &str) {
        let breaks = |text: &str| text.contains(['\n', '\r']);
        let (text, message) = (rule.rule.trim(), rule.message.trim());
        let expression = &rule.message_expression;
        let mut invalid = |key: &str, value: &str, detail: &str| {
            let path = format!("{path}.{key}");
            self.form
                .push(FieldError::new(ErrorKind::Invalid, path, value.into(), detail));
        };
        if !rule.message.is_empty() && message.is_empty() && !text.is_empty() {
            invalid("message", &rule.message, "must be non-empty if specified");
        } else if breaks(message) && !text.is_empty() {
            invalid("message", &rule.message, "must not contain line breaks");
        }
        if !rule.field_path.is_empty() {
            let trimmed = rule.field_path.trim();
            if trimmed.is_empty() {
                invalid("fieldPath", &rule.field_path, "must be non-empty if specified");
            } else if breaks(&rule.field_path) {
                invalid("fieldPath", &rule.field_path, "must not contain line breaks");
            }
            if field_path::resolve(trimmed, schema).is_err() {
                invalid("fieldPath", &rule.field_path, "must be a valid path");
            }
        }
        let mut required = |key: &str, detail: &str| {
            let path = format!("{path}.{key}");
            self.form
                .push(FieldError::plain(ErrorKind::Required, path, detail));
        };
        if text.is_empty() {
            required("rule", "rule is not specified");
        } else if breaks(text) && message.is_empty() {
            required(
                "message",
                "message must be specified if rule contains line breaks",
            );
        }
        if !expression.is_empty() && expression.trim().is_empty() {
            required(
                "messageExpression",
                "messageExpression must be non-empty if specified",
            );
        }
        if let Some(reason) = &rule.reason
            && !REASONS.contains(&reason.as_str())
        {
            let path = format!("{path}.reason");
            self.form
                .push(FieldError::not_supported(path, reason.as_str().into(), &REASONS));
        }
    }

    fn meaning(&mut self, compiled: &Compiled, path: &str, lost: Option<&str>) {
        let source = &compiled.source;
        let shown = |text: &str| format!("{}: {text}", go_rule(source));
        if let Err(text) = &compiled.program {
            let path = format!("{path}.rule");
            self.meaning
                .push(FieldError::plain(ErrorKind::Invalid, path, shown(text)));
        }
        if let Some(Err(text)) = &compiled.message
            && compiled.program.is_ok()
        {
            let path = format!("{path}.messageExpression");
            let text = shown(&format!("messageExpression {text}"));
            self.meaning
                .push(FieldError::plain(ErrorKind::Invalid, path, text));
        }
        if compiled.uses_old {
            if let Some(lost) = lost {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {lost}"
                );
                let path = format!("{path}.rule");
                let rule = Json::from(source.rule.as_str());
                self.meaning
                    .push(FieldError::new(ErrorKind::Invalid, path, rule, detail));
            }
        } else if let (Some(set), Ok(_)) = (source.optional_old_self, &compiled.program) {
            let path = format!("{path}.optionalOldSelf");
            let detail = "may not be set if oldSelf is not used in rule";
            self.meaning
                .push(FieldError::new(ErrorKind::Invalid, path, set.into(), detail));
        }
    }
}

fn product(count: Option<u64>, limit: Option<u64>) -> Option<u64> {
    Some(count?.saturating_mul(limit?))
}

/// The rule as the server's error shows it.
fn go_rule(rule: &Rule) -> String {
    let escaped = |text: &str| {
        let text = Json::from(text).to_string();
        text.replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
    };
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        escaped(&rule.rule),
        escaped(&rule.message),
        escaped(&rule.message_expression),
        rule.reason.as_deref().map_or("null".to_owned(), escaped),
        escaped(&rule.field_path),
        rule.optional_old_self
            .map_or("null".to_owned(), |set| set.to_string()),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use crate::CrdSchema;

    fn texts(field: &Json) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {"spec": field}});
        let errors = CrdSchema::parse(&schema).err().unwrap_or_default();
        let cut = |text: String| text.replace("openAPIV3Schema.properties[spec]", "");
        errors.iter().map(|error| cut(error.to_string())).collect()
    }

    #[test]
    fn rules_must_be_written_well() {
        let rules = json!([{"rule": " "}, {"rule": "true", "message": " "}, {"rule": "true", "reason": "Nope"},
            {"rule": "true", "fieldPath": ".nope"}]);
        assert_eq!(
            texts(&json!({"type": "object", "x-kubernetes-validations": rules})),
            [
                ".x-kubernetes-validations[0].rule: Required value: rule is not specified",
                ".x-kubernetes-validations[1].message: Invalid value: \" \": must be non-empty if specified",
                ".x-kubernetes-validations[2].reason: Unsupported value: \"Nope\": supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\"",
                ".x-kubernetes-validations[3].fieldPath: Invalid value: \".nope\": must be a valid path",
            ]
        );
    }

    #[test]
    fn rules_must_compile_and_be_cheap() {
        let wrong = json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self.size() > 1"}]});
        let found = texts(&wrong).join("");
        assert!(
            found.contains("found no matching overload for 'size' applied to 'int.()'"),
            "{found}"
        );
        let list = |limit: Json| {
            let mut list = json!({"type": "array", "items": {"type": "string"},
                "x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, x == y))"}]});
            if !limit.is_null() {
                list["maxItems"] = limit;
                list["items"]["maxLength"] = 10.into();
            }
            texts(&list)
        };
        assert_eq!(list(json!(10)), [""; 0]);
        assert_eq!(list(Json::Null).len(), 3);
    }

    /// By how much a rule of items is too dear, of which there may be a million.
    fn factor(rule: &str) -> String {
        let text = |limit: u64| json!({"type": "string", "maxLength": limit});
        let items = json!({"type": "object", "required": ["id"], "properties": {
            "id": text(4), "short": text(10), "long": text(40), "count": {"type": "integer"},
            "list": {"type": "array", "maxItems": 5, "items": text(10)},
            "map": {"type": "object", "maxProperties": 4, "additionalProperties": text(6)},
            "either": {"x-kubernetes-int-or-string": true, "maxLength": 5},
            "parts": {"type": "array", "maxItems": 3, "items": {"type": "object", "properties": {"key": text(8)}}},
        }, "x-kubernetes-validations": [{"rule": rule}]});
        let found = texts(&json!({"type": "array", "maxItems": 1_000_000, "items": items,
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}));
        let first = found.first().cloned().unwrap_or_default();
        let at = first.find("factor of ").map_or(0, |at| at + "factor of ".len());
        first[at..].split(" (").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn rules_cost_what_the_server_says() {
        for (rule, wanted) in [
            // What a walk over a computed list binds has the limits of the rule's own place.
            ("self.list.map(x, x + 'a').all(y, y.contains('b'))", "12.4x"),
            ("self.list.filter(x, x != 'a').all(y, y.contains('b'))", "10.9x"),
            ("self.map.transformMap(k, v, v + 'b').size() > 2", "6.3x"),
            ("self.map.transformMapEntry(k, v, {v: k}).size() > 2", "17.1x"),
            ("self.long.split(',').all(x, x == 'abc')", "67.5x"),
            ("self.long.replace('', 'bc').size() > 3", "3.6x"),
            ("self.list.join() == 'a'", "2.3x"),
            ("self.list.sort().size() > 1", "6.8x"),
            ("self.list.sortBy(x, x).size() > 1", "15.6x"),
            ("cidr(self.long).containsCIDR('10.0.0.0/8')", "2.6x"),
            (
                "type(self.either) == string ? self.either.matches('^a+$') : self.either > 3",
                "",
            ),
            (
                "(has(self.long) ? 1 : 0) + (has(self.short) ? 1 : 0) + (has(self.map) ? 1 : 0) == 1",
                "",
            ),
            // A text takes mixed values.
            ("'%s-%d'.format([self.short, self.count]) == 'a'", "1.6x"),
        ] {
            assert_eq!(factor(rule), wanted, "{rule}");
        }
    }

    #[test]
    fn a_message_is_made_once_and_must_be_short() {
        let found = |message: &str| {
            let rules = json!([{"rule": "true", "messageExpression": message}]);
            texts(&json!({"type": "array", "items": {"type": "integer", "x-kubernetes-validations": rules}}))
        };
        assert_eq!(found("'x'"), [""; 0]);
        let dear = found("'x' + string(self)").join("; ");
        assert!(
            dear.starts_with(
                ".items.x-kubernetes-validations[0].messageExpression: Forbidden: estimated messageExpression cost exceeds budget by factor of more than 100x"
            ),
            "{dear}"
        );
    }

    #[test]
    fn old_values_must_be_known() {
        let items = json!({"type": "array", "maxItems": 3, "items": {"type": "integer",
            "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}});
        assert_eq!(
            texts(&items),
            [
                ".items.x-kubernetes-validations[0].rule: Invalid value: \"self >= oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within "
            ]
        );
    }
}

//! Values of objects as Go prints them with `%v` and `%T`: messages of the Go programs hold them.

use serde_json::Value;

use crate::jsonpath::Numbers;

/// Go's `%v` of a decoded value.
#[must_use]
pub fn plain(value: &Value) -> String {
    plain_with(value, Numbers::Typed)
}

/// The same, with numbers as their decoder left them.
pub(crate) fn plain_with(value: &Value, numbers: Numbers) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) if numbers == Numbers::Typed && !number.is_f64() => number.to_string(),
        Value::Number(number) => float(number.as_f64().unwrap_or_default()),
        Value::Array(list) => {
            let parts: Vec<String> = list.iter().map(|value| plain_with(value, numbers)).collect();
            format!("[{}]", parts.join(" "))
        }
        Value::Object(map) => {
            let parts: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", plain_with(value, numbers)))
                .collect();
            format!("map[{}]", parts.join(" "))
        }
    }
}

/// Go's `%s` of a decoded value: what is no text is shown with its type.
#[must_use]
pub fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "%!s(<nil>)".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("%!s({}={})", type_name(value), plain(value)),
        Value::Array(list) => {
            let parts: Vec<String> = list.iter().map(as_part).collect();
            format!("[{}]", parts.join(" "))
        }
        Value::Object(map) => {
            let parts: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", as_part(value)))
                .collect();
            format!("map[{}]", parts.join(" "))
        }
    }
}

fn as_part(value: &Value) -> String {
    if value.is_null() {
        plain(value)
    } else {
        as_text(value)
    }
}

/// The shortest form of a floating number, with an exponent from ten to the sixth up.
pub(crate) fn float(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return format!("{number}");
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{number}")
}

/// Go's `%T` of a decoded value.
#[must_use]
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_print_as_in_go() {
        let value = json!({"b": [1, 1.5, 1e21, null], "a": {"x": true}});
        assert_eq!(plain(&value), "map[a:map[x:true] b:[1 1.5 1e+21 <nil>]]");
        assert_eq!(type_name(&value), "map[string]interface {}");
        let text = "map[a:map[x:%!s(bool=true)] b:[%!s(int64=1) %!s(float64=1.5) %!s(float64=1e+21) <nil>]]";
        assert_eq!(as_text(&value), text);
    }
}

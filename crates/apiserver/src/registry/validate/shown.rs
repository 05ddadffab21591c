//! Objects with the names and the order of the server's own types, as messages about them show them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fluvial_schema::{ErrorKind, FieldError};
use serde_json::Value;

use super::common::go_struct;
use super::diff::Shown;

/// A type a line, then its fields. `Name=name` has another name in JSON, `?` is left out when it is empty. After the
/// colon: `s` text, `n` number, `b` truth value, `q` quantity, `p` whatever may be absent, `&T` a struct, `*T` one that
/// may be absent, `[T` a list of structs, `{T` a map of them. `~T` has its fields here.
static TYPES: LazyLock<BTreeMap<&'static str, &'static str>> = LazyLock::new(|| {
    let lines = include_str!("../../../data/shown.txt").lines();
    lines.filter_map(|line| line.split_once(' ')).collect()
});

/// What of a pod the server's own type keeps with the pod's security.
const OF_THE_HOST: [&str; 5] = [
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "shareProcessNamespace",
    "hostUsers",
];

/// A value of a type.
pub(super) fn of(name: &str, value: &Value) -> Shown {
    let mut fields = vec![];
    add(name, value, &mut fields);
    Shown::Fields(fields)
}

/// The complaint about a part that has changed and must not.
pub(super) fn fixed(form: &str, path: impl Into<String>, value: &Value) -> FieldError {
    let shown = of_form(form, value).compact();
    go_struct(ErrorKind::Invalid, path, &shown, "field is immutable")
}

fn add(name: &str, value: &Value, out: &mut Vec<(String, Shown)>) {
    let line = TYPES.get(name).copied().unwrap_or_default();
    for word in line.split(' ') {
        if let Some(inner) = word.strip_prefix('~') {
            match inner.split_once('=') {
                Some((field, inner)) => add(inner, &value[field], out),
                None => add(inner, value, out),
            }
            continue;
        }
        let Some((field, form)) = word.split_once(':') else {
            continue;
        };
        let (field, omitted) = match field.strip_suffix('?') {
            Some(field) => (field, true),
            None => (field, false),
        };
        let (field, json) = match field.split_once('=') {
            Some((field, json)) => (field, json.to_owned()),
            None => (field, json_name(field)),
        };
        let own = &value[json.as_str()];
        if omitted && is_nothing(own) {
            continue;
        }
        let shown = if name == "PodSpec" && field == "SecurityContext" && own.is_object() {
            let mut own = own.clone();
            for field in OF_THE_HOST {
                own[field] = value[field].clone();
            }
            of_form(form, &own)
        } else {
            of_form(form, own)
        };
        out.push((field.to_owned(), shown));
    }
}

fn is_nothing(value: &Value) -> bool {
    super::common::is_empty(value) || *value == false || *value == 0
}

/// A value of a form, as fields of types are.
pub(super) fn of_form(form: &str, value: &Value) -> Shown {
    let (mark, name) = form.split_at(1);
    match (mark, value) {
        ("&", _) => of(name, value),
        ("s", Value::Null) => Shown::Plain("".into()),
        ("n", Value::Null) => Shown::Plain(0.into()),
        ("b", Value::Null) => Shown::Plain(false.into()),
        ("q", Value::Null) => Shown::Plain("0".into()),
        ("*", Value::Object(_)) => of(name, value),
        ("[", Value::Array(items)) => Shown::List(items.iter().map(|item| of(name, item)).collect()),
        ("{", Value::Object(map)) => {
            let fields = map.iter().map(|(key, value)| (key.clone(), of(name, value)));
            Shown::Fields(fields.collect())
        }
        _ => Shown::of(value),
    }
}

/// `DNSPolicy` is `dnsPolicy`, and `OS` is `os`.
fn json_name(field: &str) -> String {
    let upper = field.bytes().take_while(u8::is_ascii_uppercase).count();
    let small = if upper > 1 && upper < field.len() {
        upper - 1
    } else {
        upper
    };
    field[..small].to_ascii_lowercase() + &field[small..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_fields_begin_small() {
        let names = ["DNSPolicy", "OS", "HTTPGet", "Name", "SELinuxOptions", "HostPID"].map(json_name);
        assert_eq!(
            names,
            ["dnsPolicy", "os", "httpGet", "name", "seLinuxOptions", "hostPID"]
        );
    }

    #[test]
    fn all_types_are_there() {
        for line in TYPES.values() {
            for word in line.split(' ') {
                let form = word.rsplit_once(':').map_or("", |(_, form)| form);
                let name = form.trim_start_matches(['&', '*', '[', '{']);
                let inner = word
                    .strip_prefix('~')
                    .map(|inner| inner.rsplit_once('=').map_or(inner, |(_, own)| own));
                for name in [(name != form).then_some(name), inner].into_iter().flatten() {
                    assert!(
                        TYPES.contains_key(name) || name == "metav1.FieldsV1",
                        "{name} of {line}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_template_shows_its_metadata_and_what_is_of_the_host() {
        let template = json!({"metadata": {"labels": {"a": "<"}},
            "spec": {"hostPID": true, "securityContext": {}, "nodeSelector": {"k": "v"}}});
        let text = of("PodTemplateSpec", &template).compact();
        assert!(
            text.starts_with(r#"{"labels":{"a":"\u003c"},"Spec":{"Volumes":null,"#),
            "{text}"
        );
        assert!(
            text.contains(r#""SecurityContext":{"HostNetwork":false,"HostPID":true,"#),
            "{text}"
        );
    }

    #[test]
    fn a_selector_is_shown_by_its_names_in_json() {
        let selector =
            json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "Exists"}]});
        let error = fixed("*metav1.LabelSelector", "spec.selector", &selector).to_string();
        assert_eq!(
            error,
            r#"spec.selector: Invalid value: {"matchLabels":{"a":"b"},"matchExpressions":[{"key":"k","operator":"Exists"}]}: field is immutable"#
        );
    }
}

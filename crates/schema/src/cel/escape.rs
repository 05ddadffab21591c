//! Names of properties as expressions spell them: what is no identifier is escaped.

use super::parser::RESERVED;

const PARTS: [(&str, &str); 4] = [
    ("__underscores__", "__"),
    ("__dot__", "."),
    ("__dash__", "-"),
    ("__slash__", "/"),
];

fn reserved(name: &str) -> bool {
    matches!(name, "true" | "false" | "null" | "in") || RESERVED.contains(&name)
}

/// The property that `name` stands for; `None` where nothing is spelled so.
pub(crate) fn unescape(name: &str) -> Option<String> {
    if reserved(name) {
        return None;
    }
    if let Some(word) = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
        && reserved(word)
    {
        return Some(word.to_owned());
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("__") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (escape, plain) = PARTS.iter().find(|(escape, _)| rest.starts_with(escape))?;
        out.push_str(plain);
        rest = &rest[escape.len()..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_mean_properties() {
        for (plain, escaped) in [
            ("in", "__in__"),
            ("a-b.c/d", "a__dash__b__dot__c__slash__d"),
            ("a__b", "a__underscores__b"),
            ("plain_1", "plain_1"),
        ] {
            assert_eq!(unescape(escaped).as_deref(), Some(plain));
        }
        assert_eq!(unescape("a__nope__"), None);
    }
}

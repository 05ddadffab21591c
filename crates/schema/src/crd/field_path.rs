//! The `fieldPath` of a rule: a path below the rule's place that names a field of the schema.

use crate::types::Type;

/// The path as errors print it after the place of the rule.
pub(crate) fn resolve(path: &str, schema: Type<'_>) -> Result<String, String> {
    let mut here = schema;
    let mut out = String::new();
    let mut rest = path;
    if rest.is_empty() {
        return Err("empty path is not allowed".to_owned());
    }
    while !rest.is_empty() {
        let (name, after) = token(rest)?;
        rest = after;
        if let Some(field) = here.own_field(&name) {
            here = field;
            out.push('.');
            out.push_str(&name);
        } else if let Some(values) = here.additional() {
            here = values;
            out.push_str(&format!("[{name}]"));
        } else {
            return Err(format!("does not refer to a valid field: {name}"));
        }
    }
    Ok(out)
}

fn token(text: &str) -> Result<(String, &str), String> {
    if let Some(rest) = text.strip_prefix("['") {
        let mut name = String::new();
        let mut characters = rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some((_, escaped @ ('\'' | '\\'))) => name.push(escaped),
                    _ => return Err("unexpected escape in path".to_owned()),
                },
                '\'' => {
                    let after = rest[at + 1..].strip_prefix(']');
                    let after = after.ok_or_else(|| "expected ] after the name".to_owned())?;
                    return Ok((name, after));
                }
                other => name.push(other),
            }
        }
        return Err("unterminated name in path".to_owned());
    }
    let Some(rest) = text.strip_prefix('.') else {
        return Err(format!("expected [ or . but got: {text}"));
    };
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if end == 0 || !rest[..end].chars().all(plain) || rest.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("unexpected token: {}", &rest[..end]));
    }
    Ok((rest[..end].to_owned(), &rest[end..]))
}

//! Sections of `name = value` lines, with a comment above each section and name. Metadata are a section of their own.

use super::{Loaded, NO_METADATA, flat};
use crate::metadata::{FIELD, unflatten};
use crate::value::{Comment, Item, Value};

/// The section before the first one that has a name.
const DEFAULT: &str = "DEFAULT";

pub(super) fn load(data: &[u8]) -> Result<Loaded, String> {
    let text = std::str::from_utf8(data).map_err(|error| format!("not UTF-8 text ({error})"))?;
    let mut branch = read(text)?;
    let at = branch
        .iter()
        .position(|item| matches!(item, Item::Entry { key, .. } if key == FIELD))
        .ok_or(NO_METADATA)?;
    let Item::Entry {
        value: Value::Branch(section),
        ..
    } = branch.remove(at)
    else {
        return Err(NO_METADATA.to_owned());
    };
    Ok(Loaded {
        metadata: unflatten(flat(&section))?,
        branches: vec![branch],
    })
}

/// A comment without its sign.
fn comment(lines: &mut Vec<&str>) -> Option<Item> {
    let text = std::mem::take(lines).join("\n");
    let text = match text.chars().next()? {
        sign @ (';' | '#') => text.trim_start_matches([sign, ' ']).to_owned(),
        _ => text,
    };
    Some(Item::Comment(Comment { text, inline: false }))
}

fn read(text: &str) -> Result<Vec<Item>, String> {
    let mut sections: Vec<(String, Vec<Item>)> = vec![(DEFAULT.to_owned(), Vec::new())];
    let mut current = 0;
    let mut comments: Vec<&str> = Vec::new();
    let mut lines = (1..).zip(text.trim_start_matches('\u{feff}').lines());
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if line.starts_with(['#', ';']) {
            comments.push(line);
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest
                .rfind(']')
                .map(|end| rest[..end].trim())
                .ok_or_else(|| format!("unclosed section in line {number}"))?;
            if name.is_empty() {
                return Err(format!("empty section name in line {number}"));
            }
            current = section(&mut sections, name);
            let items = &mut sections[current].1;
            // A section that comes again keeps its first comment's place.
            items.splice(0..0, comment(&mut comments));
            continue;
        }
        let (key, rest) =
            name(line).ok_or_else(|| format!("key-value delimiter not found in line {number}"))?;
        let mut value = String::new();
        unquote(rest, &mut value, &mut lines)?;
        let items = &mut sections[current].1;
        let entry = Item::Entry {
            key: key.clone(),
            value: Value::text(value),
        };
        let known = items
            .iter()
            .position(|item| matches!(item, Item::Entry { key: other, .. } if *other == key));
        match known {
            Some(at) => items[at] = entry,
            None => items.push(entry),
        }
        items.extend(comment(&mut comments));
    }
    Ok(sections
        .into_iter()
        .map(|(key, items)| Item::Entry {
            key,
            value: Value::Branch(items),
        })
        .collect())
}

fn section(sections: &mut Vec<(String, Vec<Item>)>, name: &str) -> usize {
    if let Some(at) = sections.iter().position(|(known, _)| known == name) {
        return at;
    }
    sections.push((name.to_owned(), Vec::new()));
    sections.len() - 1
}

/// The name of a line, quoted or not, and what stands behind its `=` or `:`.
fn name(line: &str) -> Option<(String, &str)> {
    for quote in ["\"\"\"", "`", "\""] {
        if let Some(rest) = line.strip_prefix(quote) {
            let (key, rest) = rest.split_once(quote)?;
            let rest = rest.trim_start().strip_prefix(['=', ':'])?;
            return Some((key.to_owned(), rest.trim()));
        }
    }
    let at = line.find(['=', ':'])?;
    let key = line[..at].trim();
    (!key.is_empty()).then(|| (key.to_owned(), line[at + 1..].trim()))
}

/// A value without its quotes and without what is only a remark behind it.
fn unquote<'t>(
    text: &'t str,
    value: &mut String,
    lines: &mut impl Iterator<Item = (usize, &'t str)>,
) -> Result<(), String> {
    for (open, name) in [("\"\"\"", "triple"), ("`", "back")] {
        let Some(rest) = text.strip_prefix(open) else {
            continue;
        };
        if let Some(end) = rest.find(open) {
            value.push_str(&rest[..end]);
            return Ok(());
        }
        value.push_str(rest);
        for (_, line) in lines.by_ref() {
            value.push('\n');
            if let Some(end) = line.find(open) {
                value.push_str(&line[..end]);
                return Ok(());
            }
            value.push_str(line);
        }
        return Err(format!("missing closing {name} quotes of a value"));
    }
    let mut text = text.to_owned();
    while text.ends_with('\\') {
        text.pop();
        match lines.next() {
            Some((_, line)) if !line.trim().is_empty() => text.push_str(line.trim()),
            _ => break,
        }
    }
    let end = text.find([';', '#']).filter(|at| {
        // A sign within a word is part of it.
        *at == 0 || text[..*at].ends_with([' ', '\t'])
    });
    let bare = text[..end.unwrap_or(text.len())].trim();
    let quoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| bare.strip_prefix(quote)?.strip_suffix(quote));
    value.push_str(quoted.unwrap_or(bare));
    Ok(())
}

pub(super) fn emit(branches: &[Vec<Item>]) -> Result<Vec<u8>, String> {
    let mut out = String::new();
    for item in branches.iter().flatten() {
        let Item::Entry { key: name, value } = item else {
            continue;
        };
        let Value::Branch(items) = value else {
            return Err(format!(
                "Error encoding section: Section values should always be TreeBranches ('{name}' is {})",
                value.kind()
            ));
        };
        write(name, items, &mut out)?;
    }
    Ok(out.into_bytes())
}

fn write(name: &str, items: &[Item], out: &mut String) -> Result<(), String> {
    let mut items = items;
    if let Some((Item::Comment(comment), rest)) = items.split_first() {
        remark(&comment.text, out);
        items = rest;
    }
    if name != DEFAULT {
        out.push_str(&format!("[{name}]\n"));
    } else if items.is_empty() {
        return Ok(());
    }
    // Each name with the comment that follows it here, and stands above it there.
    let mut lines: Vec<(String, String, Option<&str>)> = Vec::new();
    for item in items {
        match item {
            Item::Comment(comment) => {
                if let Some(last) = lines.last_mut() {
                    last.2 = Some(&comment.text);
                }
            }
            Item::Entry { key, value } => {
                let plain = value
                    .plain()
                    .ok_or_else(|| format!("Error encoding key: '{key}' is {}", value.kind()))?;
                lines.push((
                    quoted_name(key),
                    String::from_utf8_lossy(&plain).into_owned(),
                    None,
                ));
            }
        }
    }
    let width = lines
        .iter()
        .map(|(name, ..)| name.len())
        .max()
        .unwrap_or_default();
    for (name, value, comment) in lines {
        if let Some(comment) = comment {
            remark(comment, out);
        }
        out.push_str(&format!("{name:width$} = {}\n", quoted_value(&value)));
    }
    out.push('\n');
    Ok(())
}

fn remark(text: &str, out: &mut String) {
    for line in text.split('\n') {
        let sign = if line.starts_with(['#', ';']) { "" } else { "; " };
        out.push_str(sign);
        out.push_str(line);
        out.push('\n');
    }
}

fn quoted_name(name: &str) -> String {
    if name.contains(['"', '=', ':']) && !name.contains('`') {
        format!("`{name}`")
    } else if name.contains(['=', ':', '`']) {
        format!("\"\"\"{name}\"\"\"")
    } else {
        name.to_owned()
    }
}

fn quoted_value(value: &str) -> String {
    if value.contains(['\n', '`']) {
        format!("\"\"\"{value}\"\"\"")
    } else if value.contains(['#', ';']) {
        format!("`{value}`")
    } else if value.trim() != value {
        format!("\"{value}\"")
    } else {
        value.to_owned()
    }
}

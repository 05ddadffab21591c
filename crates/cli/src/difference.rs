//! How two values differ, told as dyff tells it, which flux's `diff` prints: one block for each path. Pure.

use serde_json::{Map, Value};

/// Columns that blocks may take to stand side by side, where there is no terminal.
const WIDTH: usize = 80;
/// What stands between them then.
const GAP: &str = "   ";

/// One path with its changes, each a text of several lines.
struct Difference {
    path: String,
    blocks: Vec<String>,
}

/// All differences; empty if there are none.
pub(crate) fn report(old: &Value, new: &Value, width: Option<usize>) -> String {
    let mut found = vec![];
    values("", old, new, &mut found);
    let mut text = String::new();
    for Difference { path, blocks } in found {
        let path = if path.is_empty() { "(root level)" } else { &path };
        text.push_str(&format!("{path}\n"));
        write(&mut text, &blocks, width.unwrap_or(WIDTH));
        text.push('\n');
    }
    text
}

/// Blocks side by side if there is room, else below each other.
fn write(text: &mut String, blocks: &[String], width: usize) {
    let wide = |block: &String| block.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let total: usize = blocks.iter().map(wide).sum::<usize>() + GAP.len() * blocks.len().saturating_sub(1);
    if total > width {
        for block in blocks {
            text.push_str(block);
            text.push('\n');
        }
        return;
    }
    let height = blocks
        .iter()
        .map(|block| block.lines().count())
        .max()
        .unwrap_or(0);
    for row in 0..height {
        let mut line = String::new();
        for (column, block) in blocks.iter().enumerate() {
            let cell = block.lines().nth(row).unwrap_or("");
            line.push_str(cell);
            if column + 1 < blocks.len() {
                line.push_str(&" ".repeat(wide(block) - cell.chars().count()));
                line.push_str(GAP);
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn values(path: &str, old: &Value, new: &Value, found: &mut Vec<Difference>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(old), Value::Object(new)) => maps(path, old, new, found),
        (Value::Array(old), Value::Array(new)) => lists(path, old, new, found),
        _ => found.push(Difference {
            path: path.to_owned(),
            blocks: vec![changed(old, new)],
        }),
    }
}

fn maps(path: &str, old: &Map<String, Value>, new: &Map<String, Value>, found: &mut Vec<Difference>) {
    let absent = |one: &Map<String, Value>, other: &Map<String, Value>| -> Map<String, Value> {
        one.iter()
            .filter(|(key, _)| !other.contains_key(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let entries = |entries: Map<String, Value>| (entries.len(), yaml(&Value::Object(entries)));
    whole(
        path,
        entries(absent(old, new)),
        entries(absent(new, old)),
        "map entry",
        "map entries",
        found,
    );
    for (key, value) in old {
        if let Some(other) = new.get(key) {
            values(&below(path, key), value, other, found);
        }
    }
}

/// Entries that went and entries that came.
fn whole(
    path: &str,
    (removed, old): (usize, String),
    (added, new): (usize, String),
    one: &str,
    several: &str,
    found: &mut Vec<Difference>,
) {
    let mut blocks = vec![];
    if removed > 0 {
        blocks.push(format!("- {} removed:\n{old}", plural(removed, one, several)));
    }
    if added > 0 {
        let indented: String = new
            .lines()
            .map(|line| format!("{}\n", format!("  {line}").trim_end()))
            .collect();
        blocks.push(format!("+ {} added:\n{indented}", plural(added, one, several)));
    }
    if !blocks.is_empty() {
        found.push(Difference {
            path: path.to_owned(),
            blocks,
        });
    }
}

fn lists(path: &str, old: &[Value], new: &[Value], found: &mut Vec<Difference>) {
    if let Some(key) = identifier(old, new) {
        return named_lists(path, key, old, new, found);
    }
    if let ([old], [new]) = (old, new) {
        return values(&below(path, "0"), old, new, found);
    }
    let absent = |one: &[Value], other: &[Value]| -> Vec<Value> {
        one.iter().filter(|item| !other.contains(item)).cloned().collect()
    };
    let (removed, added) = (absent(old, new), absent(new, old));
    if removed.is_empty() && added.is_empty() {
        found.push(order(path, old, new, inline));
    }
    entries(path, removed, added, found);
}

fn entries(path: &str, removed: Vec<Value>, added: Vec<Value>, found: &mut Vec<Difference>) {
    let list = |items: Vec<Value>| (items.len(), yaml(&Value::Array(items)));
    whole(
        path,
        list(removed),
        list(added),
        "list entry",
        "list entries",
        found,
    );
}

fn order(path: &str, old: &[Value], new: &[Value], name: impl Fn(&Value) -> String) -> Difference {
    let names = |items: &[Value]| items.iter().map(&name).collect::<Vec<_>>().join(", ");
    Difference {
        path: path.to_owned(),
        blocks: vec![format!("⇆ order changed\n- {}\n+ {}\n", names(old), names(new))],
    }
}

/// The field that names the entries of both lists, if there is one.
fn identifier(old: &[Value], new: &[Value]) -> Option<&'static str> {
    let names = |items: &[Value], key: &str| {
        let mut seen = std::collections::BTreeSet::new();
        items.iter().all(|item| {
            item[key]
                .as_str()
                .is_some_and(|name| seen.insert(name.to_owned()))
        })
    };
    ["name", "key", "id"]
        .into_iter()
        .find(|key| !(old.is_empty() && new.is_empty()) && names(old, key) && names(new, key))
}

fn named_lists(path: &str, key: &str, old: &[Value], new: &[Value], found: &mut Vec<Difference>) {
    let of = |items: &'_ [Value], wanted: &Value| items.iter().position(|item| item[key] == wanted[key]);
    let absent = |one: &[Value], other: &[Value]| -> Vec<Value> {
        one.iter()
            .filter(|item| of(other, item).is_none())
            .cloned()
            .collect()
    };
    let common: Vec<(&Value, usize)> = old
        .iter()
        .filter_map(|item| Some((item, of(new, item)?)))
        .collect();
    if !common.is_sorted_by_key(|(_, position)| *position) {
        found.push(order(path, old, new, |item| inline(&item[key])));
    }
    entries(path, absent(old, new), absent(new, old), found);
    for (item, position) in common {
        values(&below(path, &inline(&item[key])), item, &new[position], found);
    }
}

fn changed(old: &Value, new: &Value) -> String {
    let kind = |value: &Value| match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    };
    let title = match (old, new) {
        _ if kind(old) != kind(new) => format!("type change from {} to {}", kind(old), kind(new)),
        (Value::String(old), Value::String(new)) => {
            let bare = |text: &str| text.split_whitespace().collect::<Vec<_>>().concat();
            if bare(old) == bare(new) {
                "whitespace only change".to_owned()
            } else {
                "value change".to_owned()
            }
        }
        _ => "value change".to_owned(),
    };
    let side = |sign: char, value: &Value| -> String {
        let text = match value {
            Value::Object(_) | Value::Array(_) => yaml(value),
            value => inline(value),
        };
        let mut lines = text.lines();
        let mut side = format!("{sign} {}", lines.next().unwrap_or_default())
            .trim_end()
            .to_owned();
        lines.for_each(|line| side.push_str(format!("\n  {line}").trim_end()));
        side.push('\n');
        side
    };
    format!("± {title}\n{}{}", side('-', old), side('+', new))
}

/// A scalar on one line.
fn inline(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `one entry`, `two entries`.
fn plural(count: usize, one: &str, several: &str) -> String {
    const WORDS: [&str; 13] = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    let number = WORDS
        .get(count)
        .map_or_else(|| count.to_string(), |word| (*word).to_owned());
    format!("{number} {}", if count == 1 { one } else { several })
}

/// YAML for reading: texts without the quotes that only a machine needs.
fn yaml(value: &Value) -> String {
    let mut text = String::new();
    lines(value, "", &mut text);
    text
}

fn lines(value: &Value, indent: &str, text: &mut String) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                field(&format!("{indent}{key}:"), value, indent, text);
            }
        }
        Value::Array(items) => {
            for item in items {
                let deeper = format!("{indent}  ");
                let mut inner = String::new();
                match item {
                    Value::Object(_) | Value::Array(_) if !is_empty(item) => lines(item, &deeper, &mut inner),
                    _ => field("", item, indent, &mut inner),
                }
                text.push_str(&format!("{indent}- {}", inner.trim_start_matches(' ')));
            }
        }
        value => text.push_str(&format!("{indent}{}\n", quoted(value))),
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn field(start: &str, value: &Value, indent: &str, text: &mut String) {
    let deeper = format!("{indent}  ");
    match value {
        Value::Object(_) if is_empty(value) => text.push_str(&format!("{start} {{}}\n")),
        Value::Array(_) if is_empty(value) => text.push_str(&format!("{start} []\n")),
        Value::Object(_) => {
            text.push_str(&format!("{start}\n"));
            lines(value, &deeper, text);
        }
        Value::Array(_) => {
            text.push_str(&format!("{start}\n"));
            lines(value, indent, text);
        }
        Value::String(long) if long.contains('\n') => {
            text.push_str(&format!("{start} |\n"));
            for line in long.split('\n') {
                text.push_str(format!("{deeper}{line}").trim_end());
                text.push('\n');
            }
        }
        value => text.push_str(&format!("{start} {}\n", quoted(value))),
    }
}

fn quoted(value: &Value) -> String {
    let text = inline(value);
    let special = |c: char| "*&!|>%@`{}[]#,?:-\"'".contains(c);
    let odd = text.is_empty() || text.starts_with(special) || text.contains(": ") || text.contains(" #");
    if value.is_string() && odd {
        format!("{text:?}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_told_with_what_changed_at_them() {
        let old = json!({"spec": {"containers": [{"name": "web", "image": "a:1"}], "n": 1}});
        let new = json!({"data": {"text": "one\ntwo\n"}, "spec": {"containers": [{"name": "web", "image": "a:2"}], "n": "1"}});
        assert_eq!(
            report(&old, &new, None),
            "(root level)\n+ one map entry added:\n  data:\n    text: |\n      one\n      two\n\n\n\
             spec.containers.web.image\n± value change\n- a:1\n+ a:2\n\n\
             spec.n\n± type change from int to string\n- 1\n+ 1\n\n"
        );
    }

    #[test]
    fn short_blocks_stand_side_by_side_and_long_ones_below_each_other() {
        let old = json!({"data": {"old": "*****"}});
        let new = json!({"data": {"new": "*****"}});
        assert_eq!(
            report(&old, &new, None),
            "data\n- one map entry removed:   + one map entry added:\nold: \"*****\"                 new: \"*****\"\n\n"
        );
        let text = report(&old, &new, Some(40));
        assert!(
            text.contains("old: \"*****\"\n\n+ one map entry added:\n  new: \"*****\"\n\n\n"),
            "{text}"
        );
    }

    #[test]
    fn lists_are_compared_by_entry_and_by_order() {
        let (old, new) = (json!({"a": ["x", "y"]}), json!({"a": ["y", "x"]}));
        assert_eq!(report(&old, &new, None), "a\n⇆ order changed\n- x, y\n+ y, x\n\n");
        let new = json!({"a": ["x", "y", "z"]});
        assert_eq!(report(&old, &new, None), "a\n+ one list entry added:\n  - z\n\n");
    }
}

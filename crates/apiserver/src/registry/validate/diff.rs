//! What changed in a field that may not change, shown as Go tools show it: two texts of JSON side by side.

use std::collections::BTreeMap;

use serde_json::Value;

/// Lines around a change.
const CONTEXT: usize = 3;

/// A value with the names and the order of the server's own types.
pub(super) enum Shown {
    /// Any value as it is.
    Plain(Value),
    /// A list.
    List(Vec<Shown>),
    /// Fields in order.
    Fields(Vec<(String, Shown)>),
}

impl Shown {
    pub(super) fn of(value: &Value) -> Shown {
        match value {
            Value::Array(items) => Shown::List(items.iter().map(Shown::of).collect()),
            Value::Object(map) if !map.is_empty() => {
                let fields = map.iter().map(|(name, value)| (name.clone(), Shown::of(value)));
                Shown::Fields(fields.collect())
            }
            other => Shown::Plain(other.clone()),
        }
    }

    /// On one line, as it is shown in other messages.
    pub(super) fn compact(&self) -> String {
        let joined = |parts: Vec<String>| parts.join(",");
        match self {
            Shown::Plain(value) => go_json(value),
            Shown::List(items) => format!("[{}]", joined(items.iter().map(Shown::compact).collect())),
            Shown::Fields(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| format!("{}:{}", go_json(&name.as_str().into()), value.compact()));
                format!("{{{}}}", joined(fields.collect()))
            }
        }
    }

    fn write(&self, depth: usize, out: &mut String) {
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', depth));
        };
        match self {
            Shown::Plain(value) => out.push_str(&go_json(value)),
            Shown::Fields(fields) if fields.is_empty() => out.push_str("{}"),
            Shown::List(items) if items.is_empty() => out.push_str("[]"),
            Shown::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    line(out, depth + 1);
                    item.write(depth + 1, out);
                }
                line(out, depth);
                out.push(']');
            }
            Shown::Fields(fields) => {
                out.push('{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    line(out, depth + 1);
                    out.push_str(&go_json(&name.as_str().into()));
                    out.push_str(": ");
                    value.write(depth + 1, out);
                }
                line(out, depth);
                out.push('}');
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut out = String::new();
        self.write(0, &mut out);
        out.split('\n').map(str::to_owned).collect()
    }
}

/// JSON with the characters escaped that mean something in HTML.
fn go_json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['<', '>', '&']) {
        return text;
    }
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// One line of a comparison.
enum Line<'a> {
    Same(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// Texts of so many lines and more have lines that say nothing, for they are everywhere.
const LONG: usize = 200;

/// Finds what two texts have in common, as Go tools do: the longest run of equal lines, and then on both sides of it. Runs
/// begin and end at lines that are not everywhere, and are then made longer by those that are.
struct Matcher<'a> {
    old: &'a [String],
    new: &'a [String],
    places: BTreeMap<&'a str, Vec<usize>>,
    runs: Vec<(usize, usize, usize)>,
}

impl<'a> Matcher<'a> {
    fn new(old: &'a [String], new: &'a [String]) -> Self {
        let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, line) in new.iter().enumerate() {
            places.entry(line).or_default().push(index);
        }
        if new.len() >= LONG {
            let most = new.len() / 100 + 1;
            places.retain(|_, own| own.len() <= most);
        }
        let mut matcher = Matcher {
            old,
            new,
            places,
            runs: vec![],
        };
        matcher.find((0, old.len()), (0, new.len()));
        matcher
    }

    fn find(&mut self, old: (usize, usize), new: (usize, usize)) {
        let (mut i, mut j, mut size) = (old.0, new.0, 0);
        // How long the run is that ends at a line of the new text and the last one of the old text.
        let mut ending: BTreeMap<usize, usize> = BTreeMap::new();
        for at in old.0..old.1 {
            let mut next = BTreeMap::new();
            let places = self.places.get(self.old[at].as_str());
            for place in places.into_iter().flatten().copied() {
                if !(new.0..new.1).contains(&place) {
                    continue;
                }
                let before = place.checked_sub(1).and_then(|before| ending.get(&before));
                let length = before.copied().unwrap_or(0) + 1;
                next.insert(place, length);
                if length > size {
                    (i, j, size) = (at + 1 - length, place + 1 - length, length);
                }
            }
            ending = next;
        }
        while i > old.0 && j > new.0 && self.old[i - 1] == self.new[j - 1] {
            (i, j, size) = (i - 1, j - 1, size + 1);
        }
        while i + size < old.1 && j + size < new.1 && self.old[i + size] == self.new[j + size] {
            size += 1;
        }
        if size == 0 {
            return;
        }
        self.find((old.0, i), (new.0, j));
        self.runs.push((i, j, size));
        self.find((i + size, old.1), (j + size, new.1));
    }
}

/// The lines of two texts in one order.
fn align<'a>(old: &'a [String], new: &'a [String]) -> Vec<Line<'a>> {
    let mut lines = vec![];
    let (mut i, mut j) = (0, 0);
    let end = (old.len(), new.len(), 0);
    for (at, place, size) in Matcher::new(old, new).runs.into_iter().chain([end]) {
        lines.extend(old[i..at].iter().map(|line| Line::Gone(line)));
        lines.extend(new[j..place].iter().map(|line| Line::New(line)));
        lines.extend(old[at..at + size].iter().map(|line| Line::Same(line)));
        (i, j) = (at + size, place + size);
    }
    lines
}

/// The changes as a unified diff without file names.
pub(super) fn unified(old: &Shown, new: &Shown) -> String {
    let (old, new) = (old.lines(), new.lines());
    let lines = align(&old, &new);
    let changed: Vec<usize> = (0..lines.len())
        .filter(|at| !matches!(lines[*at], Line::Same(_)))
        .collect();
    let mut out = String::new();
    let mut at = 0;
    while let Some(first) = changed.iter().copied().find(|change| *change >= at) {
        let start = first.saturating_sub(CONTEXT);
        let mut last = first;
        while let Some(next) = changed.iter().copied().find(|change| *change > last) {
            if next - last > 2 * CONTEXT + 1 {
                break;
            }
            last = next;
        }
        let end = (last + CONTEXT + 1).min(lines.len());
        hunk(&lines, start, end, &mut out);
        at = end;
    }
    out
}

fn hunk(lines: &[Line<'_>], start: usize, end: usize, out: &mut String) {
    let count = |lines: &[Line<'_>]| {
        let gone = lines.iter().filter(|line| !matches!(line, Line::New(_))).count();
        let new = lines.iter().filter(|line| !matches!(line, Line::Gone(_))).count();
        (gone, new)
    };
    let (before_old, before_new) = count(&lines[..start]);
    let (old, new) = count(&lines[start..end]);
    out.push_str(&format!(
        "@@ -{},{old} +{},{new} @@\n",
        before_old + 1,
        before_new + 1
    ));
    for line in &lines[start..end] {
        let (mark, text) = match line {
            Line::Same(text) => (' ', text),
            Line::Gone(text) => ('-', text),
            Line::New(text) => ('+', text),
        };
        out.push(mark);
        out.push_str(text);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_item_more_at_the_end_of_a_list_begins_where_the_longest_run_ends() {
        let list = |items: &[i64]| {
            let item = |value: &i64| Shown::Fields(vec![("N".into(), Shown::Plain((*value).into()))]);
            let rest = (0..9).map(|index| (format!("R{index}"), Shown::Plain(index.into())));
            let list = ("List".to_owned(), Shown::List(items.iter().map(item).collect()));
            Shown::Fields([list].into_iter().chain(rest).collect())
        };
        let text = unified(&list(&[1]), &list(&[1, 2]));
        assert_eq!(
            text,
            "@@ -2,6 +2,9 @@\n  \"List\": [\n   {\n    \"N\": 1\n+  },\n+  {\n+   \"N\": 2\n   }\n  ],\n  \"R0\": 0,\n"
        );
    }

    #[test]
    fn a_change_is_shown_with_three_lines_around_it() {
        let names = ["A", "B", "C", "D", "E", "F", "G", "H", "I"];
        let shown = |f: i64| {
            let fields = names.iter().map(|name| {
                let value = if *name == "E" { json!(f) } else { json!(0) };
                ((*name).to_owned(), Shown::of(&value))
            });
            Shown::Fields(fields.collect())
        };
        let text = unified(&shown(1), &shown(2));
        assert_eq!(
            text,
            "@@ -3,7 +3,7 @@\n  \"B\": 0,\n  \"C\": 0,\n  \"D\": 0,\n- \"E\": 1,\n+ \"E\": 2,\n  \"F\": 0,\n  \"G\": 0,\n  \"H\": 0,\n"
        );
    }
}

//! What changed in a field that may not change, shown as Go tools show it: two texts of JSON side by side.

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

/// The lines of two texts in one order, by their longest common subsequence. Texts are short: specs of single objects.
fn align<'a>(old: &'a [String], new: &'a [String]) -> Vec<Line<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..]
        .iter()
        .rev()
        .zip(new[head..].iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let (mid_old, mid_new) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let width = mid_new.len() + 1;
    let mut table = vec![0_usize; (mid_old.len() + 1) * width];
    for (i, a) in mid_old.iter().enumerate().rev() {
        for (j, b) in mid_new.iter().enumerate().rev() {
            table[i * width + j] = if a == b {
                table[(i + 1) * width + j + 1] + 1
            } else {
                table[(i + 1) * width + j].max(table[i * width + j + 1])
            };
        }
    }
    let mut lines: Vec<Line<'a>> = old[..head].iter().map(|line| Line::Same(line)).collect();
    let (mut i, mut j) = (0, 0);
    while i < mid_old.len() || j < mid_new.len() {
        if i < mid_old.len() && j < mid_new.len() && mid_old[i] == mid_new[j] {
            lines.push(Line::Same(&mid_old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j >= mid_new.len()
            || (i < mid_old.len() && table[(i + 1) * width + j] >= table[i * width + j + 1])
        {
            lines.push(Line::Gone(&mid_old[i]));
            i += 1;
        } else {
            lines.push(Line::New(&mid_new[j]));
            j += 1;
        }
    }
    lines.extend(old[old.len() - tail..].iter().map(|line| Line::Same(line)));
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

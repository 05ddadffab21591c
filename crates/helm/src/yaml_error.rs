//! YAML failures in the words of the reference's parser, which charts' authors know and search for.

use fluvial_yaml::Error;

/// How the parser counts the line of a failure.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// The scanner: the line itself, but none on the first one.
    Scanner,
    /// The scanner, where the text ends.
    End,
    /// The scanner, at the next line with content.
    NextLine,
    /// The parser: one line less, and none where that is zero.
    Parser,
    /// No line.
    Nowhere,
}

/// Beginnings of messages, the reference's words, and where it says they are.
const WORDS: [(&str, &str, Place); 30] = [
    (
        "could not find the ':'",
        "could not find expected ':'",
        Place::NextLine,
    ),
    (
        "found unexpected end of stream",
        "found unexpected end of stream",
        Place::End,
    ),
    (
        "mapping values are not allowed",
        "mapping values are not allowed in this context",
        Place::Scanner,
    ),
    (
        "mapping keys are not allowed",
        "mapping keys are not allowed in this context",
        Place::Scanner,
    ),
    (
        "block sequence entries are not allowed",
        "block sequence entries are not allowed in this context",
        Place::Scanner,
    ),
    (
        "found a tab where",
        "found character that cannot start any token",
        Place::Scanner,
    ),
    (
        "found character",
        "found character that cannot start any token",
        Place::Scanner,
    ),
    (
        "found unexpected document indicator",
        "found unexpected document indicator",
        Place::Scanner,
    ),
    (
        "found unknown escape character",
        "found unknown escape character",
        Place::Scanner,
    ),
    (
        "found invalid Unicode",
        "found invalid Unicode character escape code",
        Place::Scanner,
    ),
    (
        "found a tab character that",
        "found a tab character that violates indentation",
        Place::Scanner,
    ),
    (
        "found a tab character where",
        "found a tab character where an indentation space is expected",
        Place::Scanner,
    ),
    (
        "found an indentation indicator",
        "found an indentation indicator equal to 0",
        Place::Scanner,
    ),
    (
        "did not find the comment or line break",
        "did not find expected comment or line break",
        Place::Scanner,
    ),
    (
        "did not find the letters",
        "did not find expected alphabetic or numeric character",
        Place::Scanner,
    ),
    (
        "did not find the '>'",
        "did not find the expected '>'",
        Place::Scanner,
    ),
    (
        "did not find the white space",
        "did not find expected whitespace or line break",
        Place::Scanner,
    ),
    (
        "did not find a tag after",
        "did not find expected tag URI",
        Place::Scanner,
    ),
    (
        "did not find two hexadecimal",
        "did not find URI escaped octet",
        Place::Scanner,
    ),
    (
        "did not find the 2 hex",
        "did not find expected hexdecimal number",
        Place::Scanner,
    ),
    (
        "did not find the 4 hex",
        "did not find expected hexdecimal number",
        Place::Scanner,
    ),
    (
        "did not find the 8 hex",
        "did not find expected hexdecimal number",
        Place::Scanner,
    ),
    (
        "found unknown directive",
        "found unknown directive name",
        Place::Scanner,
    ),
    (
        "found incompatible YAML document",
        "found incompatible YAML document",
        Place::Parser,
    ),
    (
        "found duplicate %YAML",
        "found duplicate %YAML directive",
        Place::Parser,
    ),
    (
        "found duplicate %TAG",
        "found duplicate %TAG directive",
        Place::Parser,
    ),
    (
        "found undefined tag handle",
        "found undefined tag handle",
        Place::Parser,
    ),
    (
        "control characters are not",
        "control characters are not allowed",
        Place::Nowhere,
    ),
    (
        "map merge requires",
        "map merge requires map or sequence of maps as the value",
        Place::Nowhere,
    ),
    (
        "document contains excessive",
        "document contains excessive aliasing",
        Place::Nowhere,
    ),
];

/// The failure as the reference words it.
pub(crate) fn go_yaml_error(text: &str, error: &Error) -> String {
    let message = error.message.as_str();
    if let Some(number) = message.strip_prefix("unsupported value in JSON: ") {
        let number = match number {
            "inf" => "+Inf",
            "-inf" => "-Inf",
            number => number,
        };
        return format!("json: unsupported value: {number}");
    }
    if message.starts_with("unsupported map key \"null\"") {
        return null_key(text);
    }
    if message.starts_with("unknown anchor") || message.starts_with("anchor ") {
        return format!("yaml: {message}");
    }
    if message.starts_with("invalid map key: ") {
        return format!("yaml: {message}");
    }
    let known = WORDS.iter().find(|(start, _, _)| message.starts_with(start));
    let (words, place) = match known {
        Some((_, words, place)) => (*words, *place),
        None if message.starts_with("did not find expected ") => {
            let end = [" in the ", " after ", ": "]
                .iter()
                .filter_map(|mark| message.find(mark))
                .min()
                .unwrap_or(message.len());
            (&message[..end], Place::Parser)
        }
        None => (message, Place::Scanner),
    };
    let zero_based = usize::try_from(error.pos.line).unwrap_or(0).saturating_sub(1);
    let column = usize::try_from(error.pos.column).unwrap_or(1);
    let (words, place) = match place {
        Place::NextLine => empty_is_no_key(text, zero_based, column).unwrap_or((words, place)),
        _ => (words, place),
    };
    let line = match place {
        Place::Nowhere => 0,
        Place::Scanner if zero_based == 0 => 0,
        Place::Scanner => zero_based + 1,
        Place::End => match text.matches('\n').count() {
            0 => 0,
            lines => lines + 1,
        },
        Place::NextLine => next_line(text, zero_based, column),
        Place::Parser if zero_based == 0 => begin_line(message).saturating_sub(1),
        Place::Parser => zero_based,
    };
    match line {
        0 => format!("yaml: {words}"),
        line => format!("yaml: line {line}: {words}"),
    }
}

/// What is said of `[]` or `{}` where a key or an item has to be: the reference does not look ahead for the colon behind what
/// is empty.
fn empty_is_no_key(text: &str, zero_based: usize, column: usize) -> Option<(&'static str, Place)> {
    let lines: Vec<&str> = text.lines().take(zero_based + 1).collect();
    let (place, before) = lines.split_last()?;
    let inner = place.get(column.saturating_sub(1)..)?.strip_prefix(['[', '{'])?;
    if !inner.trim_start().starts_with([']', '}']) {
        return None;
    }
    // The block that it stands in: where all its lines at this column are items, a sequence.
    let mut items = None;
    for line in before.iter().rev() {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len() + 1;
        if content.is_empty() || content.starts_with('#') || indent > column {
            continue;
        }
        if indent < column {
            break;
        }
        items = Some(items.unwrap_or(true) && (content == "-" || content.starts_with("- ")));
    }
    let words = match items {
        Some(true) => "did not find expected '-' indicator",
        _ => "did not find expected key",
    };
    Some((words, Place::Parser))
}

/// The line, from 1, where a scalar that begins in `column`, from 1, of a line is found to be no key, or that of the text's
/// end. Lines that are indented deeper are more of it, up to a comment or a colon; if it ends in its first line, it is the
/// next token that shows it.
fn next_line(text: &str, zero_based: usize, column: usize) -> usize {
    let mut lines = text.lines().enumerate().skip(zero_based);
    let start = lines.next().map_or("", |(_, line)| line);
    let start = start.get(column.saturating_sub(1)..).unwrap_or_default();
    let ended = start.starts_with(['"', '\'', '[', '{']) || start.contains(" #");
    let found = lines.find(|(_, line)| {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            return !content.is_empty() && !ended;
        }
        let deeper = line.len() - content.len() >= column;
        ended
            || !deeper
            || [": ", " #"].iter().any(|mark| content.contains(mark))
            || content.trim_end().ends_with(':')
    });
    // What ends within a line is taken to end with it.
    let end = || text.matches('\n').count() + usize::from(!text.ends_with('\n'));
    found.map_or_else(end, |(index, _)| index) + 1
}

/// The line at which the collection began that a message speaks of.
fn begin_line(message: &str) -> usize {
    let number = message.rsplit("begins in line ").next();
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A key that is null: the reference shows what stands behind it.
fn null_key(text: &str) -> String {
    let value = fluvial_yaml::parse_first(text, &fluvial_yaml::ReadOptions::default())
        .ok()
        .flatten()
        .and_then(|node| value_of_null_key(&node, 0))
        .unwrap_or_default();
    format!("unsupported map key of type: %!s(<nil>), key: <nil>, value: {value}")
}

fn value_of_null_key(node: &fluvial_yaml::Node, depth: usize) -> Option<String> {
    if depth > 200 {
        return None;
    }
    if let Some(items) = node.items() {
        return items.iter().find_map(|item| value_of_null_key(item, depth + 1));
    }
    for entry in node.entries()? {
        let key = entry.key.to_json(fluvial_yaml::Mode::Json);
        if matches!(key, Ok(serde_json::Value::Null)) {
            let value = entry.value.to_json(fluvial_yaml::Mode::Json).ok()?;
            let value = fluvial_template::Value::from_json_with_ints(&value);
            return Some(fluvial_template::print::sprintf("%#v", &[value]));
        }
        if let Some(found) = value_of_null_key(&entry.value, depth + 1) {
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{go_yaml_error, next_line};

    #[test]
    fn what_is_empty_is_no_key() {
        for (text, wanted) in [
            (
                "a:\n  - x\n  []\nb: 1\n",
                "line 2: did not find expected '-' indicator",
            ),
            (
                "a:\n  - x\n    y\n\n  # c\n  { }\n  - z\n",
                "line 5: did not find expected '-' indicator",
            ),
            ("a:\n- x\n[]\nb: 1\n", "line 2: did not find expected key"),
            ("a:\n  x: 1\n  {}\n  y: 1\n", "line 2: did not find expected key"),
            ("a:\n  - x\n  [y]\nb: 1\n", "line 4: could not find expected ':'"),
        ] {
            let error = fluvial_yaml::yaml_to_json(text, false).unwrap_err();
            assert_eq!(go_yaml_error(text, &error), format!("yaml: {wanted}"), "{text:?}");
        }
    }

    #[test]
    fn a_scalar_that_is_no_key_is_found_where_the_reference_finds_it() {
        for (text, line) in [
            ("a: 1\nfoo\nb: 1\n", 3),
            ("a: 1\nfoo\n\n\n", 5),
            ("a: 1\n{b: c}", 3),
            ("a: 1\nfoo bar\n  baz: 1\n  quux: 2\n", 3),
            ("a: 1\nfoo\n  x:y\n  z\n  b:\n    c: 1\n", 5),
            ("a: 1\nfoo\n# c\nb: 1\n", 3),
            ("a: 1\nfoo\n  x\n  y # c\n  b: 1\n", 4),
            ("a: 1\nfoo # x\n  # c\n\n  b: 1\n", 5),
            ("a: 1\n\"foo\"\n  c: 1\n", 3),
        ] {
            assert_eq!(next_line(text, 1, 1), line, "{text:?}");
        }
    }
}

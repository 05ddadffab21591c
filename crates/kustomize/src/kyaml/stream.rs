//! Streams of documents: splitting, unwrapping of lists, the annotations that remember where in
//! the stream a document stood, and writing them back.

use fluvial_yaml::{
    EmitOptions, Entry, Error as YamlError, Node, NodeData, ReadOptions, ScalarStyle, SequenceIndent, emit,
    parse_part_first, separated,
};

use super::{Error, is_null, wrong_kind};

const INDEX: &str = "internal.config.kubernetes.io/index";
const OLD_INDEX: &str = "config.kubernetes.io/index";
const SEQUENCE_INDENT: &str = "internal.config.kubernetes.io/seqindent";
/// Annotations with the names that they had before.
const RENAMED: [(&str, &str); 3] = [
    ("config.kubernetes.io/path", "internal.config.kubernetes.io/path"),
    (OLD_INDEX, INDEX),
    ("config.k8s.io/id", "internal.config.kubernetes.io/id"),
];
/// The field that a document gets that is a bare sequence.
const WRAPPING_KEY: &str = "bareSeqNodeWrappingKey";

/// How a stream is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamOptions {
    /// Leave out the annotations with a document's place in the stream.
    pub omit_annotations: bool,
    /// Remember in an annotation how the document indents sequences.
    pub keep_sequence_indent: bool,
    /// Put a document that is a sequence into a mapping, which can have annotations.
    pub wrap_sequences: bool,
    /// Keep a `List` or `ResourceList` as it is.
    pub keep_lists: bool,
    /// Expand anchors.
    pub deanchor: bool,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The documents, or the items of the list that was the only one.
    pub documents: Vec<Node>,
    /// The list that the documents were taken from.
    pub wrapper: Option<Wrapper>,
}

/// A list around documents.
#[derive(Clone, Debug)]
pub struct Wrapper {
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Its `functionConfig`.
    pub function_config: Option<Node>,
    /// Its `results`.
    pub results: Option<Node>,
}

/// Reads a stream of documents.
///
/// # Errors
/// A document is malformed, or cannot have the annotations that the options ask for; or the
/// options contradict each other.
pub fn read(text: &str, options: StreamOptions) -> Result<Stream, Error> {
    if options.keep_sequence_indent && options.omit_annotations {
        return Err(Error {
            pos: fluvial_yaml::Pos::NONE,
            message: "the sequence indentation is kept in an annotation: annotations cannot be omitted"
                .to_owned(),
        });
    }
    let text = text.replace("\r\n", "\n");
    let chunks = separated(&text).map_err(|error| Error {
        pos: error.pos,
        message: error.message,
    })?;
    let mut stream = Stream::default();
    let mut index = 0;
    for chunk in &chunks {
        let node = parse_part_first(chunk, &ReadOptions::default()).map_err(|error| malformed(&error))?;
        let Some(node) = node.filter(|node| !is_null(node)) else {
            continue;
        };
        let node = annotated(node, chunk.text(), index, options)?;
        let kind = node.get("kind").and_then(Node::as_text).unwrap_or_default();
        let has_list = node.get("items").is_some() || node.get("functionConfig").is_some();
        if !options.keep_lists && chunks.len() == 1 && matches!(kind, "ResourceList" | "List") && has_list {
            unwrap_list(node, &mut stream);
        } else {
            stream.documents.push(node);
            index += 1;
        }
    }
    if options.deanchor {
        for node in &mut stream.documents {
            node.deanchor().map_err(|error| malformed(&error))?;
        }
    }
    Ok(stream)
}

fn malformed(error: &YamlError) -> Error {
    Error {
        pos: error.pos,
        message: format!("MalformedYAMLError: {error}"),
    }
}

fn unwrap_list(mut node: Node, stream: &mut Stream) {
    let text = |key: &str| {
        node.get(key)
            .and_then(Node::as_text)
            .unwrap_or_default()
            .to_owned()
    };
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let mut take = |key: &str| {
        let entries = node.entries_mut()?;
        let at = entries
            .iter()
            .position(|entry| entry.key.as_text() == Some(key))?;
        Some(entries.remove(at).value)
    };
    stream.wrapper = Some(Wrapper {
        api_version,
        kind,
        function_config: take("functionConfig"),
        results: take("results"),
    });
    if let Some(NodeData::Sequence { items, .. }) = take("items").map(|items| items.data) {
        stream.documents.extend(items);
    }
}

/// Wraps a bare sequence and sets the annotations of a document's place.
fn annotated(mut node: Node, text: &str, index: usize, options: StreamOptions) -> Result<Node, Error> {
    if options.wrap_sequences && node.items().is_some() {
        node.set_document_comments(String::new(), String::new());
        node = Node::mapping(vec![Entry {
            key: Node::plain(WRAPPING_KEY),
            value: node,
        }]);
    }
    if options.omit_annotations {
        return Ok(node);
    }
    for (old, new) in RENAMED {
        let value = |key| annotation(&node, key).filter(|value| !value.is_empty());
        match (value(old).map(str::to_owned), value(new).map(str::to_owned)) {
            (None, Some(value)) => set_annotation(&mut node, old, &value)?,
            (Some(value), None) => set_annotation(&mut node, new, &value)?,
            _ => {}
        }
    }
    let index = index.to_string();
    set_annotation(&mut node, OLD_INDEX, &index)?;
    set_annotation(&mut node, INDEX, &index)?;
    if options.keep_sequence_indent {
        let style = match sequence_indent(text) {
            SequenceIndent::Wide => "wide",
            SequenceIndent::Compact => "compact",
        };
        set_annotation(&mut node, SEQUENCE_INDENT, style)?;
    }
    Ok(node)
}

/// An annotation's value.
fn annotation<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get("metadata")?.get("annotations")?.get(key)?.as_text()
}

/// Sets an annotation, in single quotes if it is new.
///
/// # Errors
/// The object, its metadata or its annotations are no mapping.
pub fn set_annotation(node: &mut Node, key: &str, value: &str) -> Result<(), Error> {
    clear_empty_annotations(node)?;
    let mut at = node;
    for field in ["metadata", "annotations"] {
        at = field_or_new(at, field)?;
    }
    expect_mapping(at)?;
    if let Some(old) = at.get_mut(key) {
        let style = match old.data {
            NodeData::Scalar { style, .. } => style,
            _ => ScalarStyle::Plain,
        };
        *old = string(value, style);
    } else if let Some(entries) = at.entries_mut() {
        entries.push(Entry {
            key: Node::plain(key),
            value: string(value, ScalarStyle::SingleQuoted),
        });
    }
    Ok(())
}

fn string(text: &str, style: ScalarStyle) -> Node {
    let mut node = Node::new(NodeData::Scalar {
        text: text.into(),
        style,
    });
    node.set_tag(Some("!!str".into()));
    node
}

fn expect_mapping(node: &Node) -> Result<(), Error> {
    if node.entries().is_some() || is_null(node) {
        Ok(())
    } else {
        Err(wrong_kind(&Node::mapping(Vec::new()), node))
    }
}

/// A field that is a mapping, made if it is missing or null.
fn field_or_new<'n>(node: &'n mut Node, name: &str) -> Result<&'n mut Node, Error> {
    expect_mapping(node)?;
    if is_null(node) {
        *node = Node::mapping(Vec::new());
    }
    let pos = node.pos;
    let entries = node.entries_mut().ok_or_else(|| Error {
        pos,
        message: "expected a mapping".to_owned(),
    })?;
    let at = entries
        .iter()
        .position(|entry| entry.key.as_text() == Some(name))
        .unwrap_or_else(|| {
            entries.push(Entry {
                key: Node::plain(name),
                value: Node::mapping(Vec::new()),
            });
            entries.len() - 1
        });
    Ok(&mut entries[at].value)
}

/// Removes annotations that are empty, and then metadata that is.
fn clear_empty_annotations(node: &mut Node) -> Result<(), Error> {
    expect_mapping(node)?;
    let empty = |entry: &Entry, name: &str| {
        let value = &entry.value;
        let has_content = value.entries().is_some_and(|entries| !entries.is_empty())
            || value.items().is_some_and(|items| !items.is_empty());
        entry.key.as_text() == Some(name) && !has_content
    };
    if let Some(metadata) = node.get_mut("metadata") {
        expect_mapping(metadata)?;
        if let Some(entries) = metadata.entries_mut() {
            entries.retain(|entry| !empty(entry, "annotations"));
        }
    }
    if let Some(entries) = node.entries_mut() {
        entries.retain(|entry| !empty(entry, "metadata"));
    }
    Ok(())
}

fn clear_annotation(node: &mut Node, key: &str) {
    let annotations = node
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"));
    if let Some(entries) = annotations.and_then(Node::entries_mut) {
        entries.retain(|entry| entry.key.as_text() != Some(key));
    }
}

/// Writes documents without the annotations that reading them made, each with the indentation of
/// sequences that it had; inside of a list if they came from one that is given.
///
/// # Errors
/// A document or its metadata is no mapping.
pub fn write(documents: &[Node], wrapper: Option<&Wrapper>) -> Result<String, Error> {
    let mut out = String::new();
    let mut items = Vec::new();
    for node in documents {
        let mut node = node.clone();
        let wide = annotation(&node, SEQUENCE_INDENT) == Some("wide");
        for key in [INDEX, OLD_INDEX, SEQUENCE_INDENT] {
            clear_annotation(&mut node, key);
        }
        clear_empty_annotations(&mut node)?;
        if wrapper.is_some() {
            items.push(node);
            continue;
        }
        if !out.is_empty() {
            out.push_str("---\n");
        }
        let options = EmitOptions {
            sequences: if wide {
                SequenceIndent::Wide
            } else {
                SequenceIndent::Compact
            },
        };
        let wrapped = node.get(WRAPPING_KEY).filter(|node| !is_null(node));
        out.push_str(&emit(wrapped.unwrap_or(&node), &options));
    }
    if let Some(wrapper) = wrapper {
        out.push_str(&emit(&wrap(wrapper, items), &EmitOptions::default()));
    }
    Ok(out)
}

fn wrap(wrapper: &Wrapper, items: Vec<Node>) -> Node {
    let plain = |text: &str| Node::plain(text);
    let mut entries = vec![
        ("apiVersion", plain(&wrapper.api_version)),
        ("kind", plain(&wrapper.kind)),
        ("items", Node::sequence(items)),
    ];
    entries.extend(
        wrapper
            .function_config
            .clone()
            .map(|node| ("functionConfig", node)),
    );
    entries.extend(wrapper.results.clone().map(|node| ("results", node)));
    let entries = entries.into_iter().map(|(key, value)| Entry {
        key: Node::plain(key),
        value,
    });
    Node::mapping(entries.collect())
}

/// How a text indents the first sequence under a key.
#[must_use]
pub fn sequence_indent(text: &str) -> SequenceIndent {
    let lines: Vec<&str> = text.split('\n').collect();
    for (at, line) in lines.iter().enumerate() {
        let Some((indent, _)) = line.split_once("- ") else {
            continue;
        };
        if !indent.bytes().all(|byte| byte == b' ') {
            continue;
        }
        let key_line = lines[..at]
            .iter()
            .rev()
            .find(|line| !line.trim_matches(' ').starts_with('#'));
        let key_line = key_line.map_or("", |line| line.split('#').next().unwrap_or_default());
        let key = key_line.trim_matches(' ');
        // A colon in the middle is part of a text that only looks like a sequence.
        if key.matches(':').count() != 1 || !key.ends_with(':') {
            continue;
        }
        let key_indent = key_line.len() - key_line.trim_start_matches(' ').len();
        if indent.len() == key_indent {
            return SequenceIndent::Compact;
        }
        if indent.len() == key_indent + 2 {
            return SequenceIndent::Wide;
        }
    }
    SequenceIndent::Compact
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str, options: StreamOptions) -> Stream {
        read(text, options).unwrap()
    }

    #[test]
    fn what_is_read_is_written_again_without_the_notes() {
        let text = "a: 1 # one\n---\nb:\n  - 2\n";
        let options = StreamOptions {
            keep_sequence_indent: true,
            ..StreamOptions::default()
        };
        let stream = read_all(text, options);
        assert_eq!(annotation(&stream.documents[1], INDEX), Some("1"));
        assert_eq!(write(&stream.documents, None).unwrap(), text);
    }

    #[test]
    fn a_single_list_is_unwrapped_and_can_be_wrapped_again() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: B\n";
        let stream = read_all(text, StreamOptions::default());
        assert_eq!(stream.documents.len(), 2);
        assert_eq!(write(&stream.documents, stream.wrapper.as_ref()).unwrap(), text);
        let two = format!("{text}---\nkind: C\n");
        assert_eq!(read_all(&two, StreamOptions::default()).documents.len(), 2);
    }

    #[test]
    fn text_behind_a_separator_is_refused_with_its_line() {
        let error = read("a: 1\n--- b\nc: 2\n", StreamOptions::default()).unwrap_err();
        assert_eq!(
            (error.pos.line, error.message.as_str()),
            (2, "invalid document separator: --- b")
        );
        let error = read("a: 1\n---\nb: [\n", StreamOptions::default()).unwrap_err();
        assert!(error.pos.line >= 3, "{error:?}");
    }
}

//! `index.yaml` of a chart repository, read as a stream: one version of one chart is in memory at a time (and the rows of
//! its chart), so that an index of tens of megabytes costs next to nothing. What comes out is JSON without what is
//! no chart, newest versions first, and a table of where each chart's rows are in it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};

use fluvial_helm::{ChartVersion, sort_versions};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Indexes up to this size are read as a whole if they are written in a way that the stream does not know.
const WHOLE: u64 = 16 << 20;
/// Longest text of one version or field.
const LONGEST: usize = 4 << 20;

/// Where the rows of each chart are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// Offset and length of a JSON list, by name.
    pub(crate) charts: BTreeMap<Box<str>, (u64, u64)>,
    /// How many versions there are in all.
    pub(crate) versions: usize,
}

/// Why an index cannot be read.
#[derive(Debug)]
pub(crate) enum IndexError {
    /// Reading or writing failed.
    Io(io::Error),
    /// It is no index.
    Content(String),
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        IndexError::Io(error)
    }
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IndexError::Io(error) => error.fmt(f),
            IndexError::Content(text) => f.write_str(text),
        }
    }
}

fn content(text: impl Into<String>) -> IndexError {
    IndexError::Content(text.into())
}

/// Reads an index, writes it as JSON into an output that is made empty, a second time if need be.
pub(crate) fn normalise<R: Read + Seek, W: Write>(
    mut input: R,
    output: impl Fn() -> io::Result<W>,
) -> Result<(Table, W), IndexError> {
    let size = input.seek(SeekFrom::End(0))?;
    input.rewind()?;
    if size == 0 {
        return Err(content("empty index.yaml file"));
    }
    let mut reader = BufReader::with_capacity(64 << 10, &mut input);
    let is_json = first_byte(&mut reader)? == Some(b'{');
    let mut out = Output::new(output()?)?;
    let mut told = Map::new();
    if is_json {
        read_json(&mut reader, &mut out, &mut told)?;
        return out.finish(told);
    }
    match Lines::new(&mut reader).read(&mut out, &mut told) {
        Ok(()) => out.finish(told),
        Err(Stop::Io(error)) => Err(IndexError::Io(error)),
        Err(Stop::Unknown(why)) => {
            if size > WHOLE {
                return Err(content(format!("{why}; write the index with 'helm repo index'")));
            }
            input.rewind()?;
            let mut text = String::new();
            input.read_to_string(&mut text)?;
            let mut out = Output::new(output()?)?;
            read_whole(&text, &mut out)?;
            out.finish(Map::from_iter([("apiVersion".to_owned(), Value::from("v1"))]))
        }
    }
}

/// The first byte that is no white space; it stays in the reader.
fn first_byte(reader: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let blank = buffer
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        if let Some(byte) = buffer.get(blank) {
            return Ok(Some(*byte));
        }
        reader.consume(blank);
    }
}

/// An index that the stream does not know, as a whole.
fn read_whole<W: Write>(text: &str, out: &mut Output<W>) -> Result<(), IndexError> {
    let json = fluvial_yaml::yaml_to_json(text, true).map_err(|error| content(error.to_string()))?;
    if !json.is_object() {
        return Err(content(
            "this is no index of charts; correct the repository's URL",
        ));
    }
    match json.get("apiVersion").and_then(Value::as_str) {
        None | Some("") => return Err(content("no API version specified")),
        Some(_) => {}
    }
    for (name, versions) in json
        .get("entries")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        for version in versions.as_array().into_iter().flatten() {
            out.version(version.clone());
        }
        out.chart(name)?;
    }
    Ok(())
}

/// The JSON under way.
struct Output<W> {
    to: W,
    at: u64,
    table: Table,
    rows: Vec<(String, Vec<u8>)>,
}

impl<W: Write> Output<W> {
    fn new(to: W) -> io::Result<Self> {
        let mut out = Output {
            to,
            at: 0,
            table: Table::default(),
            rows: Vec::new(),
        };
        out.write(b"{\"entries\":{")?;
        Ok(out)
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.at += data.len() as u64;
        self.to.write_all(data)
    }

    /// Takes in a version, if it is a chart.
    fn version(&mut self, mut row: Value) {
        if ChartVersion::from_json(&row).is_none() {
            return;
        }
        let Some(fields) = row.as_object_mut() else { return };
        if fields
            .get("apiVersion")
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            fields.insert("apiVersion".to_owned(), "v1".into());
        }
        let version = fields.get("version").and_then(Value::as_str).unwrap_or_default();
        self.rows.push((version.to_owned(), row.to_string().into_bytes()));
    }

    /// Writes the versions that were taken in as those of a chart.
    fn chart(&mut self, name: &str) -> Result<(), IndexError> {
        if self.table.charts.contains_key(name) {
            return Err(content(format!("chart '{name}' is listed twice")));
        }
        let mut rows = std::mem::take(&mut self.rows);
        sort_versions(&mut rows, |(version, _)| version);
        if !self.table.charts.is_empty() {
            self.write(b",")?;
        }
        self.write(Value::from(name).to_string().as_bytes())?;
        self.write(b":")?;
        let start = self.at;
        self.write(b"[")?;
        for (number, (_, row)) in rows.iter().enumerate() {
            if number > 0 {
                self.write(b",")?;
            }
            self.write(row)?;
        }
        self.write(b"]")?;
        self.table.versions += rows.len();
        self.table.charts.insert(name.into(), (start, self.at - start));
        Ok(())
    }

    fn finish(mut self, told: Map<String, Value>) -> Result<(Table, W), IndexError> {
        match told.get("apiVersion").and_then(Value::as_str) {
            None | Some("") => return Err(content("no API version specified")),
            Some(_) => {}
        }
        self.write(b"}")?;
        for (name, value) in told {
            self.write(format!(",{}:{value}", Value::from(name)).as_bytes())?;
        }
        self.write(b"}\n")?;
        self.to.flush()?;
        Ok((self.table, self.to))
    }
}

/// Why the stream ends early.
enum Stop {
    Io(io::Error),
    /// It is written in a way that the stream does not know, or broken.
    Unknown(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Stop::Unknown(error.to_string()),
            _ => Stop::Io(error),
        }
    }
}

impl From<IndexError> for Stop {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Io(error) => Stop::Io(error),
            IndexError::Content(text) => Stop::Unknown(text),
        }
    }
}

/// Reads block YAML line by line.
struct Lines<R> {
    reader: R,
    line: String,
    number: usize,
    /// The line was looked at but not used.
    kept: bool,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R) -> Self {
        Lines {
            reader,
            line: String::new(),
            number: 0,
            kept: false,
        }
    }

    /// Goes to the next line; false at the end.
    fn advance(&mut self) -> Result<bool, Stop> {
        if self.kept {
            self.kept = false;
            return Ok(!self.line.is_empty());
        }
        self.line.clear();
        self.number += 1;
        let count = (&mut self.reader)
            .take(LONGEST as u64)
            .read_line(&mut self.line)?;
        if count == LONGEST {
            return Err(self.unknown("the line is too long"));
        }
        Ok(count > 0)
    }

    fn unknown(&self, what: &str) -> Stop {
        Stop::Unknown(format!("line {}: {what}", self.number))
    }

    /// Indentation of a line that says something.
    fn indent(&self) -> Option<usize> {
        let text = self.line.trim_end();
        let inner = text.trim_start_matches(' ');
        (!inner.is_empty() && !inner.starts_with('#')).then(|| text.len() - inner.len())
    }

    fn is_item(&self, indent: usize) -> bool {
        let rest = &self.line[indent..];
        rest.starts_with("- ") || rest.trim_end() == "-"
    }

    /// Reads lines that are deeper than `indent` (or say nothing) onto `text`; stops before the next one.
    fn deeper(&mut self, indent: usize, text: &mut String) -> Result<(), Stop> {
        while self.advance()? {
            if self.indent().is_some_and(|here| here <= indent) {
                self.kept = true;
                return Ok(());
            }
            text.push_str(&self.line);
            if text.len() > LONGEST {
                return Err(self.unknown("one entry is too large"));
            }
        }
        Ok(())
    }

    fn parse(&self, text: &str) -> Result<Value, Stop> {
        fluvial_yaml::yaml_to_json(text, true)
            .map_err(|error| Stop::Unknown(format!("before line {}: {error}", self.number)))
    }

    fn read<W: Write>(&mut self, out: &mut Output<W>, told: &mut Map<String, Value>) -> Result<(), Stop> {
        while self.advance()? {
            match self.indent() {
                None => continue,
                Some(0) => {}
                Some(_) => return Err(self.unknown("the line is indented, but nothing is above it")),
            }
            let line = self.line.trim_end();
            if line == "---" || line.starts_with("--- #") {
                continue;
            }
            if line == "entries:" || line.starts_with("entries: #") {
                self.entries(out)?;
                continue;
            }
            let mut text = self.line.clone();
            self.deeper(0, &mut text)?;
            match self.parse(&text)? {
                Value::Object(fields) => {
                    for (name, value) in fields {
                        let blank = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                        if name == "entries" && !blank {
                            return Err(self.unknown("the entries are in flow style"));
                        }
                        let known = told.contains_key(&name);
                        if known {
                            return Err(self.unknown(&format!("field '{name}' is there twice")));
                        }
                        if name != "entries" {
                            told.insert(name, value);
                        }
                    }
                }
                _ => return Err(self.unknown("this is no index")),
            }
        }
        Ok(())
    }

    fn entries<W: Write>(&mut self, out: &mut Output<W>) -> Result<(), Stop> {
        let mut indent = None;
        while self.advance()? {
            let Some(here) = self.indent() else { continue };
            if here == 0 {
                self.kept = true;
                break;
            }
            if *indent.get_or_insert(here) != here || self.is_item(here) {
                return Err(self.unknown("this is no name of a chart"));
            }
            let mut head = self.line.clone();
            let name = match self.parse(&head) {
                Ok(Value::Object(fields)) if fields.len() == 1 && fields.values().all(Value::is_null) => {
                    self.items(here, out)?;
                    fields
                        .into_iter()
                        .next()
                        .map(|(name, _)| name)
                        .unwrap_or_default()
                }
                _ => {
                    self.deeper(here, &mut head)?;
                    let Value::Object(fields) = self.parse(&head)? else {
                        return Err(self.unknown("this is no name of a chart"));
                    };
                    let Some((name, versions)) = fields.into_iter().next() else {
                        continue;
                    };
                    if let Value::Array(versions) = versions {
                        versions.into_iter().for_each(|version| out.version(version));
                    }
                    name
                }
            };
            out.chart(&name)?;
        }
        Ok(())
    }

    /// The versions of one chart, whose name is indented so far.
    fn items<W: Write>(&mut self, name: usize, out: &mut Output<W>) -> Result<(), Stop> {
        let mut indent = None;
        while self.advance()? {
            let Some(here) = self.indent() else { continue };
            if here < name || (here == name && !self.is_item(here)) {
                self.kept = true;
                return Ok(());
            }
            if *indent.get_or_insert(here) != here || !self.is_item(here) {
                return Err(self.unknown("a version in a list was expected"));
            }
            let mut text = self.line.clone();
            self.deeper(here, &mut text)?;
            match self.parse(&text)? {
                Value::Array(versions) => versions.into_iter().for_each(|version| out.version(version)),
                _ => return Err(self.unknown("a version in a list was expected")),
            }
        }
        Ok(())
    }
}

/// Reads JSON as a stream.
fn read_json<R: Read, W: Write>(
    reader: R,
    out: &mut Output<W>,
    told: &mut Map<String, Value>,
) -> Result<(), IndexError> {
    let mut failure = None;
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let root = Root {
        out,
        told,
        failure: &mut failure,
    };
    let result = root
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    if let Some(failure) = failure {
        return Err(failure);
    }
    result.map_err(|error| match error.io_error_kind() {
        Some(kind) => IndexError::Io(kind.into()),
        None => content(error.to_string()),
    })
}

struct Root<'a, W> {
    out: &'a mut Output<W>,
    told: &'a mut Map<String, Value>,
    failure: &'a mut Option<IndexError>,
}

impl<'de, W: Write> DeserializeSeed<'de> for Root<'_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, W: Write> Visitor<'de> for Root<'_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an index")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == "entries" {
                map.next_value_seed(Entries {
                    out: &mut *self.out,
                    failure: &mut *self.failure,
                })?;
            } else {
                let value = map.next_value()?;
                self.told.insert(name, value);
            }
        }
        Ok(())
    }
}

struct Entries<'a, W> {
    out: &'a mut Output<W>,
    failure: &'a mut Option<IndexError>,
}

impl<'de, W: Write> DeserializeSeed<'de> for Entries<'_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, W: Write> Visitor<'de> for Entries<'_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("charts by name")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            map.next_value_seed(Versions { out: &mut *self.out })?;
            if let Err(error) = self.out.chart(&name) {
                *self.failure = Some(error);
                return Err(A::Error::custom("the index cannot be taken in"));
            }
        }
        Ok(())
    }
}

struct Versions<'a, W> {
    out: &'a mut Output<W>,
}

impl<'de, W: Write> DeserializeSeed<'de> for Versions<'_, W> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, W: Write> Visitor<'de> for Versions<'_, W> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("versions of a chart")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(version) = list.next_element::<Value>()? {
            self.out.version(version);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Not a list: as if there were no versions.
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<(Value, Table), String> {
        let made = normalise(Cursor::new(text.as_bytes()), || Ok(Vec::new()));
        let (table, data) = made.map_err(|error| error.to_string())?;
        for (name, (at, length)) in &table.charts {
            let rows = &data[*at as usize..(*at + *length) as usize];
            let rows: Value = serde_json::from_slice(rows).expect("the table points at JSON");
            assert!(rows.is_array(), "{name}");
        }
        Ok((serde_json::from_slice(&data).expect("JSON"), table))
    }

    fn versions(json: &Value, chart: &str) -> Vec<String> {
        let rows = json["entries"][chart].as_array().expect("a list");
        rows.iter()
            .map(|row| row["version"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn versions_come_newest_first_in_either_indentation() {
        for pad in ["", "  "] {
            let text = format!(
                "# made by hand\napiVersion: v1\nentries:\n  b: []\n  \"a\":\n  {pad}- name: a\n  {pad}  version: 1.2.0\n\n  \
                 {pad}  description: |\n  {pad}    - not: an item\n  {pad}      # nor a comment\n  {pad}- version: 1.10.0\n  {pad}  \
                 name: a\n  {pad}-\n  {pad}  version: none\n  {pad}  name: a\n  c:\ngenerated: \"2026-01-01T00:00:00Z\"\n"
            );
            let (json, table) = read(&text).unwrap();
            assert_eq!(versions(&json, "a"), ["1.10.0", "1.2.0"], "{text}");
            assert_eq!(
                json["entries"]["a"][1]["description"],
                "- not: an item\n  # nor a comment\n"
            );
            assert_eq!(json["entries"]["a"][0]["apiVersion"], "v1");
            assert_eq!(
                (json["entries"]["b"].clone(), json["entries"]["c"].clone()),
                (json!([]), json!([]))
            );
            assert_eq!(json["generated"], "2026-01-01T00:00:00Z");
            assert_eq!((table.charts.len(), table.versions), (3, 2));
        }
    }

    #[test]
    fn json_and_flow_style_and_aliases_are_read_too() {
        for text in [
            r#"{"entries":{"a":[{"name":"a","version":"1.0.0"}],"n":null},"apiVersion":"v1"}"#,
            "apiVersion: v1\nentries: {a: [{name: a, version: 1.0.0}]}\n",
            "apiVersion: v1\nentries:\n  a: [{name: a, version: 1.0.0}]\n",
            "apiVersion: v1\nx: &v 1.0.0\nentries:\n  a:\n  - name: a\n    version: *v\n",
        ] {
            let (json, _) = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(versions(&json, "a"), ["1.0.0"], "{text}");
        }
    }

    #[test]
    fn what_is_no_index_is_refused_with_the_reason() {
        for (text, want) in [
            ("", "empty index.yaml file"),
            ("entries: {}\n", "no API version specified"),
            (
                "apiVersion: v1\nentries:\n  a:\n  - name: a\n   version: 1\n",
                "line",
            ),
            ("<html>\n", "no index"),
            (
                r#"{"apiVersion":"v1","entries":{"a":[],"a":[]}}"#,
                "'a' is listed twice",
            ),
            (r#"{"apiVersion":"v1","entries":{"a":["#, "EOF"),
            (
                "apiVersion: v1\nentries:\n  a:\n  - {name: a, version: 1.0.0}\n  a:\n  - {name: a, version: 1.0.0}\n",
                "a",
            ),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
        }
        let deep = format!("apiVersion: v1\nentries:\n  a:\n  - x: {}\n", "[".repeat(100_000));
        assert!(read(&deep).is_err());
        let deep = format!("{{\"apiVersion\":\"v1\",\"entries\":{}", "[".repeat(100_000));
        assert!(read(&deep).is_err());
    }
}

//! What Go's decoder refuses in an index: fields of other kinds, times that are none, and, of YAML, fields that nobody
//! knows.

use fluvial_object::time;
use fluvial_template::quote;
use serde_json::Value as Json;

use crate::metadata;

/// What a value is decoded into.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Flag,
    Time,
    Any,
    /// A list and its Go type.
    List(&'static Shape, &'static str),
    /// A map and its Go type.
    Map(&'static Shape, &'static str),
    Struct(&'static Fields),
}

/// A Go struct.
struct Fields {
    /// As errors of its fields name it.
    name: &'static str,
    kind: &'static str,
    fields: &'static [(&'static str, Shape)],
    /// Fields of a struct within it, which errors name on the way.
    embedded: Option<(&'static str, &'static [(&'static str, Shape)])>,
}

const TEXTS: Shape = Shape::List(&Shape::Text, "[]string");
const TEXT_MAP: Shape = Shape::Map(&Shape::Text, "map[string]string");

const INDEX: Fields = Fields {
    name: "IndexFile",
    kind: "repo.IndexFile",
    fields: &[
        ("serverInfo", Shape::Map(&Shape::Any, "map[string]interface {}")),
        ("apiVersion", Shape::Text),
        ("generated", Shape::Time),
        (
            "entries",
            Shape::Map(
                &Shape::List(&Shape::Struct(&CHART), "repo.ChartVersions"),
                "map[string]repo.ChartVersions",
            ),
        ),
        ("publicKeys", TEXTS),
        ("annotations", TEXT_MAP),
    ],
    embedded: None,
};

/// The struct within a chart's version.
const METADATA: &str = "Metadata";

const CHART: Fields = Fields {
    name: "ChartVersion",
    kind: "repo.ChartVersion",
    fields: &[
        ("urls", TEXTS),
        ("created", Shape::Time),
        ("removed", Shape::Flag),
        ("digest", Shape::Text),
        ("checksum", Shape::Text),
        ("engine", Shape::Text),
        ("tillerVersion", Shape::Text),
        ("url", Shape::Text),
    ],
    embedded: Some((
        METADATA,
        &[
            ("name", Shape::Text),
            ("home", Shape::Text),
            ("sources", TEXTS),
            ("version", Shape::Text),
            ("description", Shape::Text),
            ("keywords", TEXTS),
            (
                "maintainers",
                Shape::List(&Shape::Struct(&MAINTAINER), "[]*v2.Maintainer"),
            ),
            ("icon", Shape::Text),
            ("apiVersion", Shape::Text),
            ("condition", Shape::Text),
            ("tags", Shape::Text),
            ("appVersion", Shape::Text),
            ("deprecated", Shape::Flag),
            ("annotations", TEXT_MAP),
            ("kubeVersion", Shape::Text),
            (
                "dependencies",
                Shape::List(&Shape::Struct(&DEPENDENCY), "[]*v2.Dependency"),
            ),
            ("type", Shape::Text),
        ],
    )),
};

const MAINTAINER: Fields = Fields {
    name: "Maintainer",
    kind: "v2.Maintainer",
    fields: &[
        ("name", Shape::Text),
        ("email", Shape::Text),
        ("url", Shape::Text),
    ],
    embedded: None,
};

const DEPENDENCY: Fields = Fields {
    name: "Dependency",
    kind: "v2.Dependency",
    fields: &[
        ("name", Shape::Text),
        ("version", Shape::Text),
        ("repository", Shape::Text),
        ("condition", Shape::Text),
        ("tags", TEXTS),
        ("enabled", Shape::Flag),
        ("import-values", Shape::List(&Shape::Any, "[]interface {}")),
        ("alias", Shape::Text),
    ],
    embedded: None,
};

/// Checks an index; of YAML fields that nobody knows are refused, too.
pub(super) fn check(index: &Json, yaml: bool) -> Result<(), String> {
    let mut checker = Checker {
        yaml,
        path: Vec::new(),
        inside: None,
        first: None,
    };
    match checker.value(index, Shape::Struct(&INDEX)) {
        Ok(()) => checker.first.map_or(Ok(()), Err),
        // A time that is none ends the reading; what was found before does not count.
        Err(error) => Err(error),
    }
}

struct Checker {
    yaml: bool,
    path: Vec<&'static str>,
    /// The innermost struct.
    inside: Option<&'static str>,
    /// Go reads on and tells the first error.
    first: Option<String>,
}

impl Checker {
    fn note(&mut self, error: String) {
        self.first.get_or_insert(error);
    }

    fn mismatch(&mut self, found: &Json, wanted: &str) {
        let field = (self.inside).map(|name| format!("{name}.{}", self.path.join(".")));
        self.note(metadata::unfit(found, &field.unwrap_or_default(), wanted));
    }

    fn value(&mut self, json: &Json, shape: Shape) -> Result<(), String> {
        match (shape, json) {
            (Shape::Any, _)
            | (_, Json::Null)
            | (Shape::Text, Json::String(_))
            | (Shape::Flag, Json::Bool(_)) => {}
            (Shape::Time, Json::String(text)) => {
                time::parse(text).map_err(|error| error.to_string())?;
            }
            (Shape::Time, _) => return Err("Time.UnmarshalJSON: input is not a JSON string".to_owned()),
            (Shape::List(of, _), Json::Array(items)) => {
                for item in items {
                    self.value(item, *of)?;
                }
            }
            (Shape::Map(of, _), Json::Object(entries)) => {
                for value in entries.values() {
                    self.value(value, *of)?;
                }
            }
            (Shape::Struct(fields), Json::Object(entries)) => self.fields(fields, entries)?,
            // YAML's numbers and truths are taken as their text, but not behind the pointer to the metadata.
            (Shape::Text, Json::Number(_) | Json::Bool(_)) if self.yaml && !self.path.contains(&METADATA) => {
            }
            (Shape::Text, _) => self.mismatch(json, "string"),
            (Shape::Flag, _) => self.mismatch(json, "bool"),
            (Shape::List(_, kind) | Shape::Map(_, kind), _) => self.mismatch(json, kind),
            (Shape::Struct(fields), _) => self.mismatch(json, fields.kind),
        }
        Ok(())
    }

    fn fields(&mut self, fields: &Fields, entries: &serde_json::Map<String, Json>) -> Result<(), String> {
        let outside = self.inside;
        for (key, value) in entries {
            let depth = self.path.len();
            let own = find(fields.fields, key);
            let embedded = fields
                .embedded
                .and_then(|(name, inner)| Some((name, find(inner, key)?)));
            let (name, shape) = match (own, embedded) {
                (Some(field), _) => field,
                (None, Some((outer, field))) => {
                    self.path.push(outer);
                    field
                }
                (None, None) => {
                    if self.yaml {
                        self.note(format!("json: unknown field {}", quote(key)));
                    }
                    continue;
                }
            };
            self.path.push(name);
            self.inside = Some(fields.name);
            self.value(value, shape)?;
            self.path.truncate(depth);
        }
        self.inside = outside;
        Ok(())
    }
}

/// The field that a key means: case counts only where it decides.
fn find(fields: &[(&'static str, Shape)], key: &str) -> Option<(&'static str, Shape)> {
    let exact = fields.iter().find(|(name, _)| *name == key);
    exact
        .or_else(|| fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)))
        .copied()
}

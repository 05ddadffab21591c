//! `Chart.yaml`: reading as Go's JSON decoder would, checking, and what templates see of it.

use std::collections::BTreeMap;
use std::rc::Rc;

use fluvial_object::semver::Version;
use fluvial_template::{List, Map, Value, is_printable, number, quote};
use serde_json::Value as Json;

use crate::error::Error;

type Fields = serde_json::Map<String, Json>;

/// Who maintains a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintainer {
    /// Name.
    pub name: String,
    /// Address.
    pub email: String,
    /// Page.
    pub url: String,
}

/// Values that a chart takes over from a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportValues {
    /// `exports.NAME` of the child, into the parent's root.
    Export(String),
    /// A table of the child, into a table of the parent.
    Table {
        /// Path in the child.
        child: String,
        /// Path in the parent.
        parent: String,
    },
    /// Something else, which has no effect.
    Other(Json),
}

/// A chart that another one brings along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependency {
    /// The chart's name; its alias once dependencies are resolved.
    pub name: String,
    /// Constraint.
    pub version: String,
    /// Where to have it from.
    pub repository: String,
    /// Value paths that switch it, the first one that is set decides.
    pub condition: String,
    /// Names under `tags` that switch it.
    pub tags: Vec<String>,
    /// Whether it takes part.
    pub enabled: bool,
    /// What the parent takes over.
    pub import_values: Vec<ImportValues>,
    /// Another name for it.
    pub alias: String,
}

/// What `Chart.yaml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `v1`, `v2` or `v3`.
    pub api_version: String,
    /// Name.
    pub name: String,
    /// Version of the chart.
    pub version: String,
    /// Version of what it installs.
    pub app_version: String,
    /// Constraint on the cluster's version.
    pub kube_version: String,
    /// One sentence.
    pub description: String,
    /// `application`, `library` or empty.
    pub kind: String,
    /// Home page.
    pub home: String,
    /// Icon's address.
    pub icon: String,
    /// Old charts: a condition.
    pub condition: String,
    /// Old charts: tags.
    pub tags: String,
    /// Addresses of sources.
    pub sources: Vec<String>,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Maintainers.
    pub maintainers: Vec<Maintainer>,
    /// Annotations.
    pub annotations: Option<BTreeMap<String, String>>,
    /// Whether it should not be used any more.
    pub deprecated: bool,
    /// Charts that it brings along.
    pub dependencies: Vec<Dependency>,
    /// Whether a list of dependencies was given at all.
    pub(crate) has_dependencies: bool,
    /// An entry of a list that is null: refused when the chart is checked.
    null_entry: Option<&'static str>,
}

impl Metadata {
    /// Takes what a file says over what is already known.
    pub(crate) fn merge(&mut self, json: &Json) -> Result<(), String> {
        let fields = match json {
            Json::Null => return Ok(()),
            Json::Object(fields) => fields,
            other => return Err(mismatch(other, "", "v2.Metadata")),
        };
        let reader = Reader {
            fields,
            kind: "Metadata",
        };
        reader.text("apiVersion", &mut self.api_version)?;
        reader.text("name", &mut self.name)?;
        reader.text("version", &mut self.version)?;
        reader.text("appVersion", &mut self.app_version)?;
        reader.text("kubeVersion", &mut self.kube_version)?;
        reader.text("description", &mut self.description)?;
        reader.text("type", &mut self.kind)?;
        reader.text("home", &mut self.home)?;
        reader.text("icon", &mut self.icon)?;
        reader.text("condition", &mut self.condition)?;
        reader.text("tags", &mut self.tags)?;
        reader.texts("sources", &mut self.sources)?;
        reader.texts("keywords", &mut self.keywords)?;
        reader.flag("deprecated", &mut self.deprecated)?;
        match reader.get("annotations") {
            None | Some(Json::Null) => {}
            Some(Json::Object(entries)) => {
                let annotations = self.annotations.get_or_insert_default();
                for (key, value) in entries {
                    let text =
                        text_of(value).ok_or_else(|| mismatch(value, "Metadata.annotations", "string"))?;
                    annotations.insert(key.clone(), text);
                }
            }
            Some(other) => return Err(mismatch(other, "Metadata.annotations", "map[string]string")),
        }
        self.lists(&reader)
    }

    fn lists(&mut self, reader: &Reader<'_>) -> Result<(), String> {
        if let Some(items) = reader.list("maintainers", "[]*v2.Maintainer")? {
            self.maintainers.clear();
            for item in items {
                match item {
                    Json::Null => self.null_entry = Some("maintainers must not contain empty or null nodes"),
                    Json::Object(fields) => self.maintainers.push(maintainer(fields)?),
                    other => return Err(mismatch(other, "Metadata.maintainers", "v2.Maintainer")),
                }
            }
        }
        if let Some(items) = reader.list("dependencies", "[]*v2.Dependency")? {
            self.dependencies.clear();
            self.has_dependencies = true;
            for item in items {
                match item {
                    Json::Null => self.null_entry = Some("dependencies must not contain empty or null nodes"),
                    Json::Object(fields) => self.dependencies.push(dependency(fields)?),
                    other => return Err(mismatch(other, "Metadata.dependencies", "v2.Dependency")),
                }
            }
        }
        Ok(())
    }

    /// What must hold before a chart is used.
    pub(crate) fn validate(&mut self) -> Result<(), Error> {
        self.check()
            .map_err(|message| Error::load(format!("validation: {message}")))
    }

    fn check(&mut self) -> Result<(), String> {
        for text in [
            &mut self.name,
            &mut self.description,
            &mut self.home,
            &mut self.icon,
            &mut self.condition,
            &mut self.tags,
            &mut self.app_version,
            &mut self.kube_version,
        ] {
            *text = sanitize(text);
        }
        self.sources
            .iter_mut()
            .chain(&mut self.keywords)
            .for_each(|text| *text = sanitize(text));
        if self.api_version.is_empty() {
            return Err("chart.metadata.apiVersion is required".to_owned());
        }
        if self.name.is_empty() {
            return Err("chart.metadata.name is required".to_owned());
        }
        if matches!(self.name.as_str(), "." | "..") {
            return Err(format!(
                "chart.metadata.name {} is not allowed",
                quote(&self.name)
            ));
        }
        if self.name.contains('/') {
            return Err(format!("chart.metadata.name {} is invalid", quote(&self.name)));
        }
        if self.version.is_empty() {
            return Err("chart.metadata.version is required".to_owned());
        }
        if Version::parse(&self.version).is_err() {
            return Err(format!(
                "chart.metadata.version {} is invalid",
                quote(&self.version)
            ));
        }
        if !matches!(self.kind.as_str(), "" | "application" | "library") {
            return Err("chart.metadata.type must be application or library".to_owned());
        }
        if let Some(problem) = self.null_entry {
            return Err(problem.to_owned());
        }
        let mut names = std::collections::BTreeSet::new();
        for dependency in &self.dependencies {
            let alias = &dependency.alias;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            if !alias.is_empty() && !alias.chars().all(plain) {
                let name = quote(&dependency.name);
                return Err(format!(
                    "dependency {name} has disallowed characters in the alias"
                ));
            }
            let key = if alias.is_empty() { &dependency.name } else { alias };
            if !names.insert(key) {
                return Err(format!(
                    "more than one dependency with name or alias {}",
                    quote(key)
                ));
            }
        }
        Ok(())
    }

    /// The same as `Chart.yaml` would hold it, without what is empty.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut out = Fields::new();
        let mut text = |key: &str, text: &str| {
            if !text.is_empty() {
                out.insert(key.to_owned(), text.into());
            }
        };
        text("apiVersion", &self.api_version);
        text("name", &self.name);
        text("version", &self.version);
        text("appVersion", &self.app_version);
        text("kubeVersion", &self.kube_version);
        text("description", &self.description);
        text("type", &self.kind);
        text("home", &self.home);
        text("icon", &self.icon);
        text("condition", &self.condition);
        text("tags", &self.tags);
        let mut list = |key: &str, items: Vec<Json>| {
            if !items.is_empty() {
                out.insert(key.to_owned(), items.into());
            }
        };
        list(
            "sources",
            self.sources.iter().map(|source| source.as_str().into()).collect(),
        );
        list(
            "keywords",
            self.keywords.iter().map(|word| word.as_str().into()).collect(),
        );
        list(
            "maintainers",
            self.maintainers.iter().map(maintainer_json).collect(),
        );
        list(
            "dependencies",
            self.dependencies.iter().map(dependency_json).collect(),
        );
        if self.deprecated {
            out.insert("deprecated".to_owned(), true.into());
        }
        if let Some(annotations) = self
            .annotations
            .as_ref()
            .filter(|annotations| !annotations.is_empty())
        {
            let entries = annotations
                .iter()
                .map(|(key, value)| (key.clone(), value.as_str().into()));
            out.insert("annotations".to_owned(), Json::Object(entries.collect()));
        }
        Json::Object(out)
    }

    /// Whether it only defines templates for others.
    #[must_use]
    pub fn is_library(&self) -> bool {
        self.kind == "library"
    }
}

/// Texts that are not empty.
fn filled<const N: usize>(entries: [(&str, &str); N]) -> Fields {
    entries
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| (key.to_owned(), text.into()))
        .collect()
}

fn maintainer_json(person: &Maintainer) -> Json {
    filled([
        ("name", &person.name),
        ("email", &person.email),
        ("url", &person.url),
    ])
    .into()
}

fn dependency_json(dependency: &Dependency) -> Json {
    let mut out = filled([
        ("version", &dependency.version),
        ("condition", &dependency.condition),
        ("alias", &dependency.alias),
    ]);
    out.insert("name".to_owned(), dependency.name.as_str().into());
    out.insert("repository".to_owned(), dependency.repository.as_str().into());
    if !dependency.tags.is_empty() {
        out.insert("tags".to_owned(), dependency.tags.clone().into());
    }
    if dependency.enabled {
        out.insert("enabled".to_owned(), true.into());
    }
    if !dependency.import_values.is_empty() {
        let imports = dependency.import_values.iter().map(|import| match import {
            ImportValues::Export(name) => name.as_str().into(),
            ImportValues::Table { child, parent } => filled([("child", child), ("parent", parent)]).into(),
            ImportValues::Other(json) => json.clone(),
        });
        out.insert("import-values".to_owned(), imports.collect());
    }
    Json::Object(out)
}

/// What templates see as `.Chart`; `name` and the dependencies are those after aliases and conditions.
pub(crate) fn chart_value(metadata: &Metadata, name: &str, dependencies: &[Dependency], root: bool) -> Map {
    let text = |text: &str| Value::from(text);
    let annotations = match &metadata.annotations {
        None => Map::strings(BTreeMap::new()).nil().into(),
        Some(entries) => strings(entries.iter().map(|(key, value)| (key.as_str(), value.as_str()))),
    };
    let maintainers = metadata.maintainers.iter().map(|person| {
        table([
            ("Name", text(&person.name)),
            ("Email", text(&person.email)),
            ("URL", text(&person.url)),
        ])
    });
    let entries = [
        ("Name", text(name)),
        ("Home", text(&metadata.home)),
        ("Sources", texts(&metadata.sources)),
        ("Version", text(&metadata.version)),
        ("Description", text(&metadata.description)),
        ("Keywords", texts(&metadata.keywords)),
        ("Maintainers", List::any(maintainers.collect()).into()),
        ("Icon", text(&metadata.icon)),
        ("APIVersion", text(&metadata.api_version)),
        ("Condition", text(&metadata.condition)),
        ("Tags", text(&metadata.tags)),
        ("AppVersion", text(&metadata.app_version)),
        ("Deprecated", metadata.deprecated.into()),
        ("Annotations", annotations),
        ("KubeVersion", text(&metadata.kube_version)),
        (
            "Dependencies",
            List::any(dependencies.iter().map(dependency_value).collect()).into(),
        ),
        ("Type", text(&metadata.kind)),
        ("IsRoot", root.into()),
    ];
    Map::new(
        entries
            .into_iter()
            .map(|(key, value)| (Rc::from(key), value))
            .collect(),
    )
}

fn dependency_value(dependency: &Dependency) -> Value {
    let imports = dependency.import_values.iter().map(|import| match import {
        ImportValues::Export(name) => {
            strings([("child", format!("exports.{name}").as_str()), ("parent", ".")])
        }
        ImportValues::Table { child, parent } => {
            strings([("child", child.as_str()), ("parent", parent.as_str())])
        }
        ImportValues::Other(json) => Value::from_json(json),
    });
    table([
        ("Name", dependency.name.as_str().into()),
        ("Version", dependency.version.as_str().into()),
        ("Repository", dependency.repository.as_str().into()),
        ("Condition", dependency.condition.as_str().into()),
        ("Tags", texts(&dependency.tags)),
        ("Enabled", dependency.enabled.into()),
        ("ImportValues", List::any(imports.collect()).into()),
        ("Alias", dependency.alias.as_str().into()),
    ])
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Map::new(
        entries
            .into_iter()
            .map(|(key, value)| (Rc::from(key), value))
            .collect(),
    )
    .into()
}

fn strings<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    Map::strings(
        entries
            .into_iter()
            .map(|(key, value)| (Rc::from(key), value.into()))
            .collect(),
    )
    .into()
}

fn texts(items: &[String]) -> Value {
    List::any(items.iter().map(|item| item.as_str().into()).collect()).into()
}

fn sanitize(text: &str) -> String {
    let keep = |c: char| match c {
        c if c.is_whitespace() => Some(' '),
        c if is_printable(c) => Some(c),
        _ => None,
    };
    text.chars().filter_map(keep).collect()
}

fn maintainer(fields: &Fields) -> Result<Maintainer, String> {
    let reader = Reader {
        fields,
        kind: "Maintainer.maintainers",
    };
    let mut maintainer = Maintainer::default();
    reader.text("name", &mut maintainer.name)?;
    reader.text("email", &mut maintainer.email)?;
    reader.text("url", &mut maintainer.url)?;
    for text in [&mut maintainer.name, &mut maintainer.email, &mut maintainer.url] {
        *text = sanitize(text);
    }
    Ok(maintainer)
}

fn dependency(fields: &Fields) -> Result<Dependency, String> {
    let reader = Reader {
        fields,
        kind: "Dependency.dependencies",
    };
    let mut dependency = Dependency::default();
    reader.text("name", &mut dependency.name)?;
    reader.text("version", &mut dependency.version)?;
    reader.text("repository", &mut dependency.repository)?;
    reader.text("condition", &mut dependency.condition)?;
    reader.text("alias", &mut dependency.alias)?;
    reader.texts("tags", &mut dependency.tags)?;
    reader.flag("enabled", &mut dependency.enabled)?;
    for text in [
        &mut dependency.name,
        &mut dependency.version,
        &mut dependency.repository,
        &mut dependency.condition,
    ] {
        *text = sanitize(text);
    }
    let imports = reader
        .list("import-values", "[]interface {}")?
        .unwrap_or_default();
    dependency.import_values = imports.iter().map(import_value).collect();
    Ok(dependency)
}

fn import_value(json: &Json) -> ImportValues {
    match json {
        Json::String(name) => ImportValues::Export(name.clone()),
        Json::Object(fields) => {
            // Go prints whatever is there, and `<nil>` for nothing.
            let side = |key: &str| {
                let value = fields.get(key).map_or(Value::Nil, Value::from_json);
                fluvial_template::print::go_value(&value)
            };
            ImportValues::Table {
                child: side("child"),
                parent: side("parent"),
            }
        }
        other => ImportValues::Other(other.clone()),
    }
}

/// Reads fields as Go's decoder does: names in any case, the last one counts.
pub(crate) struct Reader<'f> {
    pub(crate) fields: &'f Fields,
    pub(crate) kind: &'static str,
}

impl Reader<'_> {
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.fields.get(name).or_else(|| {
            let mut same = self
                .fields
                .iter()
                .filter(|(key, _)| key.eq_ignore_ascii_case(name));
            same.next_back().map(|(_, value)| value)
        })
    }

    pub(crate) fn text(&self, name: &str, target: &mut String) -> Result<(), String> {
        match self.get(name) {
            None | Some(Json::Null) => Ok(()),
            Some(value) => match text_of(value) {
                Some(text) => {
                    *target = text;
                    Ok(())
                }
                None => Err(mismatch(value, &format!("{}.{name}", self.kind), "string")),
            },
        }
    }

    fn flag(&self, name: &str, target: &mut bool) -> Result<(), String> {
        match self.get(name) {
            None | Some(Json::Null) => Ok(()),
            Some(Json::Bool(value)) => {
                *target = *value;
                Ok(())
            }
            Some(other) => Err(mismatch(other, &format!("{}.{name}", self.kind), "bool")),
        }
    }

    fn list(&self, name: &str, of: &str) -> Result<Option<&[Json]>, String> {
        match self.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::Array(items)) => Ok(Some(items)),
            Some(other) => Err(mismatch(other, &format!("{}.{name}", self.kind), of)),
        }
    }

    pub(crate) fn texts(&self, name: &str, target: &mut Vec<String>) -> Result<(), String> {
        let Some(items) = self.list(name, "[]string")? else {
            return Ok(());
        };
        target.clear();
        for item in items {
            let text = match item {
                Json::Null => Some(String::new()),
                item => text_of(item),
            };
            target.push(text.ok_or_else(|| mismatch(item, &format!("{}.{name}", self.kind), "string"))?);
        }
        Ok(())
    }
}

/// A float with the digits that it has in half the space: the reference writes no more of them.
#[expect(clippy::cast_possible_truncation, reason = "as Go narrows")]
fn narrowed(float: f64) -> f64 {
    let digits = format!("{:e}", float as f32);
    digits.parse().unwrap_or(float)
}

/// A scalar where a string is wanted: YAML's numbers and truths are taken as their text.
fn text_of(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Bool(value) => Some(value.to_string()),
        Json::Number(value) => match (value.is_f64(), value.as_f64()) {
            (true, Some(float)) => Some(number::format_float(narrowed(float), 'g', None)),
            _ => Some(value.to_string()),
        },
        _ => None,
    }
}

/// What Go's reader of YAML says of a value of the wrong kind.
pub(crate) fn mismatch(found: &Json, field: &str, wanted: &str) -> String {
    let unfit = unfit(found, field, wanted);
    format!("error unmarshaling JSON: while decoding JSON: {unfit}")
}

/// What Go's decoder says of a value of the wrong kind.
pub(crate) fn unfit(found: &Json, field: &str, wanted: &str) -> String {
    let kind = match found {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    let place = if field.is_empty() {
        "Go value".to_owned()
    } else {
        format!("Go struct field {field}")
    };
    format!("json: cannot unmarshal {kind} into {place} of type {wanted}")
}

//! A kustomization's own OpenAPI document, brought into the form of the built-in facts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

use super::{BUILT_IN, SchemaRef, SchemaSet};

/// How deep inline schemas may nest.
const DEPTH: usize = 64;

impl SchemaSet {
    /// The kinds of an OpenAPI (v2) document: definitions with
    /// `x-kubernetes-group-version-kind`, and scopes where `paths` say them.
    ///
    /// # Errors
    /// The document's definitions are none, or nest too deep.
    pub fn from_openapi(document: &Value) -> Result<Arc<SchemaSet>, String> {
        let mut builder = Builder::default();
        builder.document(document)?;
        Ok(builder.build(""))
    }

    /// The built-in kinds with those of a document over them.
    ///
    /// # Errors
    /// As [`SchemaSet::from_openapi`].
    pub fn with_openapi(document: &Value) -> Result<Arc<SchemaSet>, String> {
        let mut builder = Builder::default();
        builder.document(document)?;
        Ok(builder.build(BUILT_IN))
    }

    /// The type that a schema of its own describes, which may refer to definitions of this set.
    /// Nothing if it says nothing.
    pub(crate) fn inline(self: &Arc<Self>, schema: &Value) -> Option<SchemaRef> {
        const NAME: &str = "#";
        if schema.as_object()?.is_empty() {
            return None;
        }
        let mut builder = Builder::default();
        let text = builder.property("#field", schema, 0).ok()?;
        builder
            .definitions
            .insert(NAME.to_owned(), format!("- field={text}"));
        let set = SchemaSet {
            base: Some(Arc::clone(self)),
            ..builder.text("")
        };
        Arc::new(set).root(NAME)?.field("field")
    }
}

#[derive(Default)]
struct Builder {
    /// `apiVersion`, kind → definition and scope.
    kinds: BTreeMap<(String, String), (String, char)>,
    definitions: BTreeMap<String, String>,
}

impl Builder {
    fn document(&mut self, document: &Value) -> Result<(), String> {
        let none = serde_json::Map::new();
        // A document of another kind is a schema that knows nothing.
        let definitions = match &document["definitions"] {
            Value::Object(definitions) => definitions,
            Value::Null if document.is_object() || document.is_null() => &none,
            _ => {
                return Err("the schema has no definitions: an OpenAPI v2 document is expected".to_owned());
            }
        };
        for (name, definition) in definitions {
            let name = clean(name);
            self.definition(&name, definition, 0)?;
            for kind in definition["x-kubernetes-group-version-kind"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let (Some(version), Some(kind_name)) = (kind["version"].as_str(), kind["kind"].as_str())
                else {
                    continue;
                };
                let key = (
                    api_version(kind["group"].as_str().unwrap_or(""), version),
                    kind_name.to_owned(),
                );
                self.kinds.insert(key, (name.clone(), '-'));
            }
        }
        self.scopes(&document["paths"]);
        Ok(())
    }

    /// A path with `{namespace}` in it serves a namespaced kind.
    fn scopes(&mut self, paths: &Value) {
        for (path, operations) in paths.as_object().into_iter().flatten() {
            let kind = &operations["get"]["x-kubernetes-group-version-kind"];
            let (Some(version), Some(name)) = (kind["version"].as_str(), kind["kind"].as_str()) else {
                continue;
            };
            let key = (
                api_version(kind["group"].as_str().unwrap_or(""), version),
                name.to_owned(),
            );
            if let Some((_, scope)) = self.kinds.get_mut(&key) {
                if path.contains("namespaces/{namespace}") {
                    *scope = 'N';
                } else if *scope == '-' && path.contains("{name}") {
                    *scope = 'C';
                }
            }
        }
    }

    fn definition(&mut self, name: &str, schema: &Value, depth: usize) -> Result<(), String> {
        if depth > DEPTH {
            return Err(format!("the schema of {name} nests too deep"));
        }
        let mut line = scalar(schema).to_owned();
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            if field.contains([' ', '=', '\n']) {
                continue;
            }
            let text = self.property(&format!("{name}.{field}"), property, depth + 1)?;
            let _ = write!(line, " {field}={text}");
        }
        self.definitions.insert(name.to_owned(), line);
        Ok(())
    }

    /// A type's text; an inline object becomes a definition of its own.
    fn property(&mut self, name: &str, schema: &Value, depth: usize) -> Result<String, String> {
        if depth > DEPTH {
            return Err(format!("the schema of {name} nests too deep"));
        }
        let mut text = if let Some(target) = schema["$ref"].as_str() {
            format!("@{}", clean(target.trim_start_matches("#/definitions/")))
        } else if schema["items"].is_object() {
            format!("[{}", plain(&self.property(name, &schema["items"], depth + 1)?))
        } else if schema["properties"].is_object() {
            self.definition(name, schema, depth)?;
            format!("@{name}")
        } else if schema["additionalProperties"].is_object() {
            format!(
                "{{{}",
                plain(&self.property(name, &schema["additionalProperties"], depth + 1)?)
            )
        } else {
            scalar(schema).to_owned()
        };
        if let Some(strategy) = schema["x-kubernetes-patch-strategy"].as_str() {
            let _ = write!(text, ",patch:{}", clean(&strategy.replace(',', "+")));
        }
        let keys: Vec<String> = match schema["x-kubernetes-list-map-keys"].as_array() {
            Some(keys) => keys.iter().filter_map(Value::as_str).map(clean).collect(),
            None => schema["x-kubernetes-patch-merge-key"]
                .as_str()
                .map(clean)
                .into_iter()
                .collect(),
        };
        if !keys.is_empty() {
            let _ = write!(text, ",keys:{}", keys.join("+"));
        }
        Ok(text)
    }

    fn build(self, base: &str) -> Arc<SchemaSet> {
        Arc::new(self.text(base))
    }

    fn text(mut self, base: &str) -> SchemaSet {
        let mut in_kinds = true;
        for line in base.lines() {
            if line.is_empty() {
                in_kinds = false;
            } else if in_kinds {
                let words: Vec<&str> = line.split(' ').collect();
                if let [version, kind, definition, scope] = words[..] {
                    self.kinds
                        .entry((version.to_owned(), kind.to_owned()))
                        .or_insert((definition.to_owned(), scope.chars().next().unwrap_or('-')));
                }
            } else if let Some((name, rest)) = line.split_once(' ') {
                self.definitions.entry(name.to_owned()).or_insert(rest.to_owned());
            }
        }
        let mut text = String::new();
        for ((version, kind), (definition, scope)) in &self.kinds {
            let _ = writeln!(text, "{version} {kind} {definition} {scope}");
        }
        text.push('\n');
        for (name, line) in &self.definitions {
            let _ = writeln!(text, "{name} {line}");
        }
        SchemaSet::new(Cow::Owned(text))
    }
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        clean(version)
    } else {
        clean(&format!("{group}/{version}"))
    }
}

/// A name without the characters that the table's grammar uses.
fn clean(name: &str) -> String {
    let name = name.strip_prefix("io.k8s.").unwrap_or(name);
    name.chars().filter(|c| !matches!(c, ' ' | '\n' | ',')).collect()
}

/// A type's text without what only a field of a definition can say.
fn plain(text: &str) -> &str {
    text.split(',').next().unwrap_or(text)
}

fn scalar(schema: &Value) -> &'static str {
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (_, Some("int-or-string")) => "x",
        (Some("string"), _) => "s",
        (Some("integer"), _) => "i",
        (Some("boolean"), _) => "b",
        (Some("number"), _) => "n",
        _ => "-",
    }
}

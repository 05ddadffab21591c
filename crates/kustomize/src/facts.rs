//! What kustomize knows of Kubernetes' kinds: which are cluster-scoped, and how their lists merge.
//!
//! The built-in facts are those of Kubernetes 1.21, which kustomize carries; a kustomization's own
//! OpenAPI document (`openapi.path`) is brought into the same form. A set is a text: one line a
//! kind, then one line a definition with its fields' types (the grammar is in [`TypeText`]). Lines
//! are looked at when they are needed, so that nothing is decoded up front.

mod openapi;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

const BUILT_IN: &str = include_str!("facts/kubernetes-1.21.txt");

/// Kinds with their definitions.
#[derive(Debug)]
pub struct SchemaSet {
    /// Lines of kinds, sorted: `apiVersion kind definition scope`; after an empty one lines of definitions, sorted:
    /// `definition type field=type …`.
    text: Cow<'static, str>,
    /// Where the definitions begin.
    definitions: usize,
    /// Where definitions are looked for that this set lacks.
    base: Option<Arc<SchemaSet>>,
}

/// A type within a schema.
#[derive(Clone, Debug)]
pub struct SchemaRef {
    set: Arc<SchemaSet>,
    /// The type's text, or a definition's line.
    at: (u32, u32),
    definition: bool,
}

/// The type of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A string.
    String,
    /// An integer.
    Integer,
    /// A boolean.
    Boolean,
    /// A number.
    Number,
    /// An integer or a string.
    IntOrString,
}

/// Whether objects of a kind live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// Outside of namespaces.
    Cluster,
}

/// A type's text: `s`, `i`, `b`, `n`, `x` (integer or string), `-` (not said), `@definition`,
/// `[items` or `{values`; after it `,patch:strategy+…` and `,keys:key+…`.
struct TypeText<'t> {
    shape: &'t str,
    patch: &'t str,
    keys: &'t str,
}

impl<'t> TypeText<'t> {
    fn read(text: &'t str) -> Self {
        let mut parts = text.split(',');
        let mut read = TypeText {
            shape: parts.next().unwrap_or("-"),
            patch: "",
            keys: "",
        };
        for part in parts {
            if let Some(patch) = part.strip_prefix("patch:") {
                read.patch = patch;
            } else if let Some(keys) = part.strip_prefix("keys:") {
                read.keys = keys;
            }
        }
        read
    }
}

impl SchemaSet {
    /// The facts that kustomize carries.
    #[must_use]
    pub fn built_in() -> Arc<SchemaSet> {
        static SET: OnceLock<Arc<SchemaSet>> = OnceLock::new();
        Arc::clone(SET.get_or_init(|| Arc::new(SchemaSet::new(Cow::Borrowed(BUILT_IN)))))
    }

    /// Takes a text whose two sections are sorted.
    fn new(text: Cow<'static, str>) -> Self {
        // Without any kind the empty line is the first one.
        let kinds = if text.starts_with('\n') {
            Some(0)
        } else {
            text.find("\n\n").map(|end| end + 1)
        };
        SchemaSet {
            definitions: kinds.map_or(text.len(), |end| end + 1),
            text,
            base: None,
        }
    }

    fn slice(&self, (start, end): (u32, u32)) -> &str {
        &self.text[start as usize..end as usize]
    }

    fn kind_line(&self, api_version: &str, kind: &str) -> Option<(&str, &str)> {
        let kinds = &self.text[..self.definitions];
        let (start, end) = find_line(kinds, |line| {
            let (version, rest) = line.split_once(' ').unwrap_or((line, ""));
            let name = rest.split_once(' ').map_or(rest, |(name, _)| name);
            (version, name).cmp(&(api_version, kind))
        })?;
        let (_, rest) = kinds[start..end].split_once(' ')?;
        rest.split_once(' ')?.1.split_once(' ')
    }

    fn definition(&self, name: &str) -> Option<(u32, u32)> {
        let (start, end) = find_line(&self.text[self.definitions..], |line| {
            line.split_once(' ').map_or(line, |(name, _)| name).cmp(name)
        })?;
        let at = |place: usize| u32::try_from(self.definitions + place).ok();
        Some((at(start)?, at(end)?))
    }

    /// The schema of a kind.
    #[must_use]
    pub fn schema_for(self: &Arc<Self>, api_version: &str, kind: &str) -> Option<SchemaRef> {
        let (definition, _) = self.kind_line(api_version, kind)?;
        self.root(definition)
    }

    /// The type that a definition describes.
    fn root(self: &Arc<Self>, name: &str) -> Option<SchemaRef> {
        if let Some(at) = self.definition(name) {
            return Some(SchemaRef {
                set: Arc::clone(self),
                at,
                definition: true,
            });
        }
        self.base.as_ref()?.root(name)
    }

    /// Where objects of a kind live, if the set says it.
    #[must_use]
    pub fn scope(&self, api_version: &str, kind: &str) -> Option<Scope> {
        match self.kind_line(api_version, kind)?.1 {
            "C" => Some(Scope::Cluster),
            "N" => Some(Scope::Namespaced),
            _ => None,
        }
    }
}

/// Where a line is among sorted ones: found by halving the text, so that no table of all lines need be made.
fn find_line(lines: &str, order: impl Fn(&str) -> Ordering) -> Option<(usize, usize)> {
    let bytes = lines.as_bytes();
    let (mut low, mut high) = (0, lines.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let before = bytes[low..middle].iter().rposition(|byte| *byte == b'\n');
        let start = before.map_or(low, |at| low + at + 1);
        let after = bytes[middle..].iter().position(|byte| *byte == b'\n');
        let end = after.map_or(lines.len(), |at| middle + at);
        match order(&lines[start..end]) {
            Ordering::Equal => return Some((start, end)),
            Ordering::Less => low = end + 1,
            Ordering::Greater => high = start,
        }
    }
    None
}

/// The built-in schema of a kind.
#[must_use]
pub fn schema_for(api_version: &str, kind: &str) -> Option<SchemaRef> {
    SchemaSet::built_in().schema_for(api_version, kind)
}

/// Whether the built-in facts say that objects of a kind have no namespace.
#[must_use]
pub fn is_cluster_scoped(api_version: &str, kind: &str) -> bool {
    SchemaSet::built_in().scope(api_version, kind) == Some(Scope::Cluster)
}

impl SchemaRef {
    fn text(&self) -> &str {
        self.set.slice(self.at)
    }

    /// The same set's type at a text that lies within it.
    fn at(&self, text: &str) -> SchemaRef {
        let start = text.as_ptr() as usize - self.set.text.as_ptr() as usize;
        let start = u32::try_from(start).unwrap_or(0);
        SchemaRef {
            set: Arc::clone(&self.set),
            at: (start, start + u32::try_from(text.len()).unwrap_or(0)),
            definition: false,
        }
    }

    /// Follows a reference.
    fn resolved(self) -> Option<SchemaRef> {
        if self.definition {
            return Some(self);
        }
        let Some(name) = TypeText::read(self.text()).shape.strip_prefix('@') else {
            return Some(self);
        };
        self.set.root(name)
    }

    /// The type of a field, or of a map's values.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<SchemaRef> {
        if !self.definition {
            let values = TypeText::read(self.text()).shape.strip_prefix('{')?;
            return self.at(values).resolved();
        }
        let text = self
            .text()
            .split(' ')
            .skip(2)
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
        self.at(text).resolved()
    }

    /// The type of a list's items.
    #[must_use]
    pub fn items(&self) -> Option<SchemaRef> {
        if self.definition {
            return None;
        }
        let items = TypeText::read(self.text()).shape.strip_prefix('[')?;
        self.at(items).resolved()
    }

    /// Whether a strategic patch merges this list's items.
    #[must_use]
    pub fn merges_items(&self) -> bool {
        !self.definition
            && TypeText::read(self.text())
                .patch
                .split('+')
                .any(|strategy| strategy == "merge")
    }

    /// The fields that tell this list's items apart; none for lists of scalars.
    #[must_use]
    pub fn merge_keys(&self) -> Vec<&str> {
        if self.definition {
            return Vec::new();
        }
        let text = TypeText::read(self.text());
        if text.patch.is_empty() {
            return Vec::new();
        }
        text.keys.split('+').filter(|key| !key.is_empty()).collect()
    }

    /// The type, if it is a scalar's.
    #[must_use]
    pub fn scalar(&self) -> Option<Scalar> {
        let shape = if self.definition {
            self.text().split(' ').nth(1).unwrap_or("-")
        } else {
            TypeText::read(self.text()).shape
        };
        match shape {
            "s" => Some(Scalar::String),
            "i" => Some(Scalar::Integer),
            "b" => Some(Scalar::Boolean),
            "n" => Some(Scalar::Number),
            "x" => Some(Scalar::IntOrString),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ports_merge_by_port_and_protocol() {
        let ports = ["spec", "template", "spec"]
            .iter()
            .try_fold(schema_for("apps/v1", "Deployment").unwrap(), |schema, field| {
                schema.field(field)
            })
            .and_then(|pod| pod.field("containers")?.items()?.field("ports"))
            .unwrap();
        assert!(ports.merges_items());
        assert_eq!(ports.merge_keys(), ["containerPort", "protocol"]);
        let name = ports.items().unwrap().field("name").unwrap();
        assert_eq!(name.scalar(), Some(Scalar::String));
    }

    #[test]
    fn scopes_are_known_for_built_in_kinds_only() {
        assert!(is_cluster_scoped("v1", "Namespace"));
        assert!(!is_cluster_scoped("v1", "Pod"));
        assert_eq!(SchemaSet::built_in().scope("example.com/v1", "Thing"), None);
    }

    #[test]
    fn a_document_of_ones_own_gives_keys_and_scopes() {
        let document = serde_json::json!({
            "definitions": {
                "com.example.Thing": {
                    "properties": {
                        "parts": {
                            "type": "array",
                            "items": { "$ref": "#/definitions/com.example.Part" },
                            "x-kubernetes-patch-strategy": "merge",
                            "x-kubernetes-patch-merge-key": "id"
                        }
                    },
                    "x-kubernetes-group-version-kind": [{ "group": "example.com", "version": "v1", "kind": "Thing" }]
                },
                "com.example.Part": { "properties": { "id": { "type": "string" } } }
            }
        });
        let set = SchemaSet::from_openapi(&document).unwrap();
        let parts = set
            .schema_for("example.com/v1", "Thing")
            .unwrap()
            .field("parts")
            .unwrap();
        assert_eq!(parts.merge_keys(), ["id"]);
        assert!(parts.items().unwrap().field("id").is_some());
    }
}

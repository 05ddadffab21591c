//! `crds:`: which fields of custom resources hold labels, annotations and names of other objects,
//! as extensions in their OpenAPI definitions say.

use serde_json::Value;

use crate::config::{NameReference, TransformerConfig};
use crate::error::{Error, Result, Within};
use crate::fieldspec::{FieldSpec, merge_one};
use crate::id::Gvk;
use crate::kustomization::read::Text;
use crate::loader::Loader;
use crate::session::Session;

/// Definitions below each other, at most.
const MAX_DEPTH: usize = 32;

/// Loads the definitions of files.
pub(crate) fn load(session: &Session<'_>, loader: &Loader, paths: &[Text]) -> Result<TransformerConfig> {
    let mut config = TransformerConfig::default();
    for path in paths {
        let read = || {
            let loaded = loader.load(session, &path.text).map_err(Error::from)?;
            let value = fluvial_yaml::yaml_to_json(loaded.text()?, false)
                .map_err(|error| Error::new(error.message).at(&loaded.name, error.pos.line))?;
            definitions(&value)
        };
        let added = read()
            .map_err(|error| session.at(error, path.pos))
            .within(|| format!("unable to parse open API definition from '{}'", path.text))?;
        config.add(&added)?;
    }
    Ok(config)
}

fn definitions(value: &Value) -> Result<TransformerConfig> {
    let mut config = TransformerConfig::default();
    let Value::Object(all) = value else {
        return Err(Error::new("a mapping of definitions is needed"));
    };
    for (name, definition) in all {
        if !definition.is_object() {
            return Err(Error::new(format!("definition '{name}' is no mapping")));
        }
        let Some(properties) = properties(definition) else {
            continue;
        };
        if ["kind", "apiVersion", "metadata"]
            .iter()
            .all(|field| properties.contains_key(*field))
        {
            let kind = name.rsplit('.').next().unwrap_or(name);
            let mut walk = Walk {
                config: &mut config,
                all,
                kind,
            };
            walk.properties(properties, &mut Vec::new())?;
        }
    }
    Ok(config)
}

type Properties = serde_json::Map<String, Value>;

fn properties(definition: &Value) -> Option<&Properties> {
    definition.get("Schema")?.get("properties")?.as_object()
}

struct Walk<'a> {
    config: &'a mut TransformerConfig,
    all: &'a Properties,
    kind: &'a str,
}

impl Walk<'_> {
    fn field(&self, path: &[String], last: Option<&str>) -> FieldSpec {
        let gvk = Gvk {
            kind: self.kind.to_owned(),
            ..Gvk::default()
        };
        let mut text = path.join("/");
        if let Some(last) = last {
            text.push('/');
            text.push_str(last);
        }
        FieldSpec::new(gvk, &text, false)
    }

    fn properties(&mut self, properties: &Properties, path: &mut Vec<String>) -> Result<()> {
        if path.len() > MAX_DEPTH {
            return Ok(());
        }
        for (name, property) in properties {
            path.push(name.clone());
            self.property(property, path)?;
            path.pop();
        }
        Ok(())
    }

    fn property(&mut self, property: &Value, path: &mut Vec<String>) -> Result<()> {
        let text = |name: &str| property.get(name).and_then(Value::as_str);
        for (extension, list) in [
            ("x-kubernetes-annotation", &mut self.config.common_annotations),
            ("x-kubernetes-label-selector", &mut self.config.common_labels),
            ("x-kubernetes-identity", &mut self.config.name_prefix),
        ] {
            if text(extension).is_some() {
                let gvk = Gvk {
                    kind: self.kind.to_owned(),
                    ..Gvk::default()
                };
                merge_one(list, FieldSpec::new(gvk, &path.join("/"), false))?;
            }
        }
        if let (Some(version), Some(kind)) = (
            text("x-kubernetes-object-ref-api-version"),
            text("x-kubernetes-object-ref-kind"),
        ) {
            let key = text("x-kubernetes-object-ref-name-key").unwrap_or("name");
            let referrers = vec![self.field(path, Some(key))];
            self.config.add_name_reference(NameReference {
                target: Gvk {
                    group: String::new(),
                    version: version.to_owned(),
                    kind: kind.to_owned(),
                },
                referrers,
            })?;
        }
        if let Some(inner) = text("$ref")
            .and_then(|name| self.all.get(name))
            .and_then(self::properties)
        {
            self.properties(inner, path)?;
        }
        Ok(())
    }
}

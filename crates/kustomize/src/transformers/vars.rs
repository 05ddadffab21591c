//! `vars`: `$(NAME)` in some fields becomes a field of some object.

use serde_json::Value;

use crate::budget::Budget;
use crate::error::{Error, Result, Within};
use crate::fieldspec::FieldSpec;
use crate::id::{Gvk, ResId};
use crate::kustomization::read::Reader;
use crate::nodes::{self, Kind, NewScalar, is_null, is_string};
use crate::resmap::ResMap;
use crate::session::Session;
use crate::transformers::path_matcher::{lookup, split_path_with_brackets};
use fluvial_yaml::{Mode, Node};

/// An entry of `vars`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    gvk: Gvk,
    object: String,
    namespace: String,
    field_path: String,
}

impl Variable {
    pub(crate) fn read(reader: &Reader<'_>) -> Result<Self> {
        reader.only(&["name", "objref", "fieldref"])?;
        let object = reader.object("objref")?;
        let (mut gvk, mut name, mut namespace) = (Gvk::default(), String::new(), String::new());
        if let Some(object) = object {
            object.only(&["kind", "apiVersion", "group", "version", "name", "namespace"])?;
            gvk = crate::config::gvk(&object)?;
            let api_version = object.string("apiVersion")?;
            if !api_version.is_empty() {
                gvk = Gvk::new(&api_version, &gvk.kind);
            }
            name = object.string("name")?;
            namespace = object.string("namespace")?;
        }
        let field = reader.object("fieldref")?;
        let mut field_path = String::new();
        if let Some(field) = field {
            field.only(&["fieldPath"])?;
            field_path = field.string("fieldPath")?;
        }
        if field_path.is_empty() {
            "metadata.name".clone_into(&mut field_path);
        }
        Ok(Variable {
            name: reader.string("name")?,
            gvk,
            object: name,
            namespace,
            field_path,
        })
    }
}

/// The variables of a build so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variables(Vec<Variable>);

impl Variables {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds variables; a name can be given once.
    pub(crate) fn add(&mut self, others: &[Variable]) -> Result<()> {
        for variable in others {
            if self.0.iter().any(|known| known.name == variable.name) {
                return Err(Error::new(format!("var '{}' already encountered", variable.name)));
            }
            self.0.push(variable.clone());
        }
        Ok(())
    }

    pub(crate) fn into_list(self) -> Vec<Variable> {
        self.0
    }
}

/// Notes in the objects which variables read them, while they still have the names of this level.
pub(crate) fn bind(map: &mut ResMap, variables: &[Variable]) -> Result<()> {
    if variables.is_empty() {
        return Ok(());
    }
    for variable in variables {
        let id = ResId {
            gvk: variable.gvk.clone(),
            name: variable.object.clone(),
            namespace: variable.namespace.clone(),
            // The reference does not look at the kind here: with a namespace, none without one is found.
            cluster_scoped: false,
        };
        let exact = !id.namespace.is_empty();
        let mut matching =
            map.resources_mut()
                .iter_mut()
                .filter(|resource| {
                    resource.all_ids().iter().any(|known| {
                        known.gvk == id.gvk && known.name == id.name && (!exact || known.same(&id))
                    })
                })
                .collect::<Vec<_>>();
        match matching.as_mut_slice() {
            [] => {}
            [resource] => resource.variables.push(variable.name.clone()),
            several => {
                return Err(Error::new(format!(
                    "found {} resId matches for var {} (unable to disambiguate)",
                    several.len(),
                    variable.name
                )));
            }
        }
    }
    Ok(())
}

/// Replaces all variables.
pub(crate) fn resolve(
    map: &mut ResMap,
    variables: &[Variable],
    fields: &[FieldSpec],
    session: &Session<'_>,
) -> Result<()> {
    let mut values = Vec::new();
    for variable in variables {
        values.push((variable.name.clone(), value_of(map, variable)?, false));
    }
    let transformer = VariableTransformer {
        fields,
        budget: &session.budget,
    };
    for resource in map.resources_mut() {
        transformer
            .apply(&mut resource.node, &mut values)
            .map_err(|error| session.at(error, resource.node.pos))?;
    }
    let unused: Vec<&str> = values
        .iter()
        .filter(|(.., used)| !used)
        .map(|(name, ..)| name.as_str())
        .collect();
    if !unused.is_empty() {
        session.warn(
            format!("well-defined vars that were never replaced: {}", unused.join(",")),
            None,
        );
    }
    Ok(())
}

fn value_of(map: &ResMap, variable: &Variable) -> Result<Value> {
    let resource = map
        .resources()
        .iter()
        .find(|resource| resource.variables.contains(&variable.name))
        .ok_or_else(|| {
            Error::new(format!(
                "var '{}' cannot be mapped to a field in the set of known resources",
                variable.name
            ))
        })?;
    let path = split_indexes(split_path_with_brackets(&variable.field_path, "."));
    let missing = || {
        Error::new(format!(
            "field specified in var '{}' not found in corresponding resource: {}",
            variable.name, variable.field_path
        ))
    };
    let node = lookup(&resource.node, &path)?.ok_or_else(missing)?;
    node.to_json(Mode::Kyaml).map_err(|_| missing())
}

/// `ports[0]` is `ports`, `0`.
fn split_indexes(path: Vec<String>) -> Vec<String> {
    path.into_iter()
        .flat_map(|part| match part.split_once('[') {
            Some((name, index)) if !name.is_empty() && index.ends_with(']') => {
                vec![name.to_owned(), index.trim_end_matches(']').to_owned()]
            }
            _ => vec![part],
        })
        .collect()
}

struct VariableTransformer<'a> {
    fields: &'a [FieldSpec],
    budget: &'a Budget,
}

/// Name, value, whether it was used.
type Values = [(String, Value, bool)];

impl VariableTransformer<'_> {
    fn apply(&self, object: &mut Node, values: &mut Values) -> Result<()> {
        for field in FieldSpec::of_kind(self.fields, object) {
            let mut written = Vec::new();
            field
                .write(object, None, &mut |node| {
                    replace(node, values, self.budget)?;
                    let entries = node.entries().unwrap_or_default().iter();
                    let shared = entries.filter(|entry| entry.value.twin() != 0);
                    written.extend(shared.map(|entry| entry.value.clone()));
                    Ok(())
                })
                .within(|| format!("considering field '{}'", field.path))?;
            written.iter().for_each(|written| object.write_twins(written));
        }
        Ok(())
    }
}

fn replace(node: &mut Node, values: &mut Values, budget: &Budget) -> Result<()> {
    if is_null(node) {
        return Ok(());
    }
    match Kind::of(node) {
        Kind::Scalar => replace_scalar(node, values, budget).map(drop),
        Kind::Mapping => {
            for entry in node.entries_mut().into_iter().flatten() {
                if !is_string(&entry.key) {
                    return Err(Error::new(format!(
                        "invalid map key: value='{}'",
                        entry.key.as_text().unwrap_or_default()
                    )));
                }
                replace_scalar(&mut entry.value, values, budget)?;
            }
            Ok(())
        }
        Kind::Sequence => {
            for item in nodes::elements_mut(node)? {
                if !replace_scalar(item, values, budget)? {
                    return Err(Error::new("invalid value type: expected a string"));
                }
            }
            Ok(())
        }
        Kind::Alias => Err(Error::new("invalid type encountered")),
    }
}

/// Replaces the variables in a string; says whether it was one.
fn replace_scalar(node: &mut Node, values: &mut Values, budget: &Budget) -> Result<bool> {
    if Kind::of(node) != Kind::Scalar || !is_string(node) {
        return Ok(false);
    }
    let text = node.as_text().unwrap_or_default();
    if !text.contains('$') {
        return Ok(true);
    }
    // Each mark stands for a value, which may be long.
    let longest = values
        .iter()
        .map(|(_, value, _)| value.as_str().map_or(32, str::len));
    let marks = text.matches("$(").count();
    budget.add(
        text.len()
            .saturating_add(marks.saturating_mul(longest.max().unwrap_or(0))),
    )?;
    let value = expand(text, values);
    let (text, tag) = match value {
        Value::String(text) => (text, "!!str"),
        Value::Bool(value) => (value.to_string(), "!!bool"),
        // Without an exponent, however long it is.
        Value::Number(number) if number.is_f64() => {
            (number.as_f64().unwrap_or_default().to_string(), "!!float")
        }
        Value::Number(number) => (number.to_string(), "!!int"),
        other => {
            return Err(Error::new(format!("a text cannot become {other}")));
        }
    };
    let mut new = NewScalar {
        text: &text,
        tag: Some(tag),
        pos: node.pos,
    }
    .to_node();
    new.pos = node.pos;
    new.set_twin(node.twin());
    *node = new;
    Ok(true)
}

/// Replaces `$(NAME)`; `$$` is a dollar sign. A text that is one variable takes its type.
fn expand(text: &str, values: &mut Values) -> Value {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        let mut skip = 0;
        match after.chars().next() {
            None => {
                out.push('$');
            }
            Some('$') => {
                out.push('$');
                skip = 1;
            }
            Some('(') => match after.find(')') {
                None => {
                    out.push_str("$(");
                    skip = 1;
                }
                Some(end) => {
                    let name = &after[1..end];
                    skip = end + 1;
                    let scalar = |value: &Value| value.is_string() || value.is_boolean() || value.is_number();
                    // A variable whose value is none of these stays where it is.
                    let known = values.iter_mut().find(|(known, ..)| known == name);
                    match known.filter(|(_, value, _)| scalar(value)) {
                        None => out.push_str(&rest[dollar..=dollar + skip]),
                        Some((_, value, used)) => {
                            *used = true;
                            if out.is_empty()
                                && dollar == 0
                                && skip == after.len()
                                && rest.len() == text.len()
                            {
                                return value.clone();
                            }
                            match value {
                                Value::String(value) => out.push_str(value),
                                other => out.push_str(&other.to_string()),
                            }
                        }
                    }
                }
            },
            Some(other) => {
                out.push('$');
                out.push(other);
                skip = other.len_utf8();
            }
        }
        rest = &after[skip..];
    }
    out.push_str(rest);
    Value::String(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_variable_keeps_its_type() {
        let mut values = [
            ("N".to_owned(), Value::from(5), false),
            ("S".to_owned(), "x".into(), false),
            ("L".to_owned(), serde_json::json!(["x"]), false),
            ("Z".to_owned(), Value::Null, false),
        ];
        assert_eq!(expand("$(N)", &mut values), Value::from(5));
        assert_eq!(expand("a$(S)b$(N)", &mut values), Value::from("axb5"));
        assert_eq!(
            expand("$$(S) $(NO) $x $(", &mut values),
            Value::from("$(S) $(NO) $x $(")
        );
        assert_eq!(expand("cost$", &mut values), Value::from("cost$"));
        assert_eq!(expand("$(L)", &mut values), Value::from("$(L)"));
        assert_eq!(expand("a$(Z)", &mut values), Value::from("a$(Z)"));
        assert!(values[..2].iter().all(|(.., used)| *used));
        assert!(!values[2].2 && !values[3].2);
    }
}

//! Objects that a cluster holds before it follows a repository: what people make by hand, such as Secrets with keys, and
//! what something else than the repository installs, such as definitions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fluvial_object::ObjectExt;
use fluvial_ports::Cluster;
use serde_json::{Value, json};

use super::{put, served};
use crate::environment::{Failure, Outcome, Session};
use crate::state;

/// Objects of the named files and folders, in their order.
pub(super) fn read(session: &Session<'_>, paths: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    let mut objects = vec![];
    for path in paths {
        let fail =
            |error: &dyn std::fmt::Display| Failure::new(format!("--seed {}: {error}", path.display()));
        let place = session.env.folder.join(path);
        let mut files = vec![];
        gather(&place, &mut files).map_err(|error| fail(&error))?;
        for file in files {
            let before = objects.len();
            take(&file, &mut objects)
                .map_err(|error| Failure::new(format!("--seed {}: {error}", file.display())))?;
            if objects.len() == before && file == place {
                return Err(fail(&"there is no object in this file"));
            }
        }
    }
    Ok(objects)
}

/// A file, or all YAML files below a folder.
fn gather(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        let is_yaml = entry
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json");
        // Links may lead in circles.
        if is_yaml && entry.is_file() || entry.is_dir() && !entry.is_symlink() {
            gather(&entry, files)?;
        }
    }
    Ok(())
}

fn take(file: &Path, objects: &mut Vec<Value>) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    for document in fluvial_yaml::split_documents(&text).map_err(|error| error.to_string())? {
        let value = fluvial_yaml::yaml_to_json(&document, false).map_err(|error| error.to_string())?;
        let items = match value {
            Value::Null => continue,
            Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => {
                match list.remove("items") {
                    Some(Value::Array(items)) => items,
                    _ => vec![],
                }
            }
            other => vec![other],
        };
        for item in items {
            if item.kind().is_empty() || item.name().is_empty() || item.api_version().is_empty() {
                return Err("an object needs apiVersion, kind and metadata.name".to_owned());
            }
            objects.push(item);
        }
    }
    Ok(())
}

/// Puts them on the cluster: namespaces and definitions first; namespaces that nobody defines are made.
pub(super) async fn sow(cluster: &dyn Cluster, objects: Vec<Value>) -> Outcome {
    let is_namespace = |object: &Value| object.kind() == "Namespace";
    let (mut first, mut others): (Vec<Value>, Vec<Value>) = objects
        .into_iter()
        .partition(|object| is_namespace(object) || object.kind() == "CustomResourceDefinition");
    let mut missing: BTreeSet<&str> = others.iter().map(|object| object.namespace()).collect();
    missing.remove("");
    for object in first.iter().filter(|object| is_namespace(object)) {
        missing.remove(object.name());
    }
    let made: Vec<Value> = missing
        .iter()
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect();
    first.extend(made);
    put(cluster, &first, "fluvial").await?;
    served(cluster, &first).await?;
    for object in &mut others {
        let resource = cluster
            .resource(object.api_version(), object.kind())
            .await
            .map_err(|error| Failure::new(format!("--seed: {}: {error}", state::id(object))))?;
        if resource.namespaced && object.namespace().is_empty() {
            object["metadata"]["namespace"] = "default".into();
        }
    }
    put(cluster, &others, "fluvial").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_objects_and_lists_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let mut objects = vec![];
            take(&file, &mut objects).map(|()| {
                let ids = objects.iter().map(state::id);
                ids.collect::<Vec<_>>().join(" ")
            })
        };
        let one = "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: b}\n";
        assert_eq!(
            read(&format!("# only a remark\n---\n{one}---\n")),
            Ok("Secret/b/a".to_owned())
        );
        let list =
            "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Namespace, metadata: {name: one}}]}";
        assert_eq!(read(list), Ok("Namespace/one".to_owned()));
        assert!(read("just a text").unwrap_err().contains("apiVersion"));
        assert!(read("a: {").is_err());
    }

    #[test]
    fn folders_are_read_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a/z.yaml", "c.json", "notes.txt"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let mut files = vec![];
        gather(folder.path(), &mut files).unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|file| file.strip_prefix(folder.path()).unwrap().to_string_lossy())
            .collect();
        assert_eq!(names, ["a/z.yaml", "b.yml", "c.json"]);
        assert!(gather(&folder.path().join("absent"), &mut vec![]).is_ok());
    }
}

//! `spec.include`: another source's files under a folder of this one.

use fluvial_tree::{Tree, TreePath};

use crate::error::{SourceError, reason};

/// One included source.
#[derive(Clone, Debug)]
pub struct Include<'a> {
    /// The name of its GitRepository, for messages and as the default of `to`.
    pub name: &'a str,
    /// Its files.
    pub tree: &'a Tree,
    /// Which folder of it; all of it if empty.
    pub from: &'a str,
    /// Where to; its name if empty.
    pub to: &'a str,
}

/// The tree with the included files added; they replace what is at the same path.
///
/// # Errors
/// If a path leads outside of its tree or is not there.
pub fn include(tree: &Tree, includes: &[Include<'_>]) -> Result<Tree, SourceError> {
    if includes.is_empty() {
        return Ok(tree.clone());
    }
    let mut builder = tree.to_builder();
    for include in includes {
        let name = include.name;
        let path = |field: &str, text: &str| {
            TreePath::parse(text).map_err(|error| {
                SourceError::stalled(
                    reason::INCLUDE_UNAVAILABLE,
                    format!("invalid {field} of the include of '{name}': {error}"),
                )
            })
        };
        let from = path("fromPath", include.from)?;
        let to = path("toPath", if include.to.is_empty() { name } else { include.to })?;
        if !matches!(include.tree.get(&from), Some(fluvial_tree::Entry::Folder)) {
            return Err(SourceError::waiting(
                reason::INCLUDE_UNAVAILABLE,
                format!(
                    "included source '{name}' has no folder '{from}'; correct fromPath or add the folder there"
                ),
            ));
        }
        for (at, entry) in include.tree.below(&from) {
            let rest = at.strip_prefix(&from).unwrap_or_default();
            let target = if to.is_root() {
                rest.to_owned()
            } else {
                format!("{to}/{rest}")
            };
            crate::entry::insert(&mut builder, &target, entry).map_err(|error| {
                SourceError::waiting(
                    reason::INCLUDE_UNAVAILABLE,
                    format!("include of '{name}': {error}"),
                )
            })?;
        }
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use fluvial_tree::{File, TreeBuilder};

    use super::*;

    fn tree(files: &[&str]) -> Tree {
        let mut builder = TreeBuilder::default();
        for path in files {
            builder.file(path, File::new(path.as_bytes(), false)).unwrap();
        }
        builder.build()
    }

    #[test]
    fn a_folder_of_another_source_is_put_under_a_path() {
        let base = tree(&["a"]);
        let other = tree(&["x/y", "z"]);
        let include = |from, to| Include {
            name: "other",
            tree: &other,
            from,
            to,
        };
        let both = super::include(&base, &[include("./x", "in/to"), include("", "")]).unwrap();
        let names: Vec<_> = both.iter().map(|(path, _)| path.as_str().to_owned()).collect();
        assert_eq!(
            names,
            [
                "a",
                "in",
                "in/to",
                "in/to/y",
                "other",
                "other/x",
                "other/x/y",
                "other/z"
            ]
        );
        assert!(super::include(&base, &[include("nope", "")]).is_err());
        assert!(super::include(&base, &[include("", "../out")]).is_err());
    }
}

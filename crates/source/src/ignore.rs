//! What of a source becomes its artifact: `.sourceignore` files, `spec.ignore` and the defaults.
//!
//! Each entry is matched on its own, as the source controller does: an ignored folder's entries are
//! still looked at, so a later `!` rule can bring one of them back.

mod glob;

use std::collections::BTreeMap;

use fluvial_tree::{Entry, Tree, TreeBuilder, TreePath};
use rustc_hash::FxHashMap;

use glob::Glob;

/// The name of the files with ignore rules.
pub const IGNORE_FILE: &str = ".sourceignore";

/// Excluded always, unless a rule brings them back.
const GIT_FILES: [&str; 4] = [".git/", ".gitignore", ".gitmodules", ".gitattributes"];

/// Excluded only where the source and the spec have no rule of their own.
const DEFAULTS: [&str; 20] = [
    "*.jpg",
    "*.jpeg",
    "*.gif",
    "*.png",
    "*.wmv",
    "*.flv",
    "*.tar.gz",
    "*.zip",
    ".github/",
    ".circleci/",
    ".travis.yml",
    ".gitlab-ci.yml",
    "appveyor.yml",
    ".drone.yml",
    "cloudbuild.yaml",
    "codeship-services.yml",
    "codeship-steps.yml",
    "**/.goreleaser.yml",
    "**/.sops.yaml",
    "**/.flux.yaml",
];

/// A tree's rules in order; the last one that matches decides.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    /// The folder that the rule is written in, and is limited to.
    domain: TreePath,
    include: bool,
    folders_only: bool,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    /// Without a slash: any part of the path below the domain.
    Name(Glob),
    /// With one: the path from the domain on.
    Path(Vec<Part>),
}

#[derive(Clone, Debug)]
enum Part {
    Empty,
    AnyFolders,
    /// Stars that are more than a part of their own: matches nothing.
    Refused,
    Name(Glob),
}

impl Pattern {
    fn parse(line: &str, domain: &TreePath) -> Self {
        let (include, text) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let text = if text.ends_with("\\ ") {
            text
        } else {
            text.trim_end_matches(' ')
        };
        let (folders_only, text) = text.strip_suffix('/').map_or((false, text), |rest| (true, rest));
        let shape = if text.contains('/') {
            Shape::Path(text.split('/').map(Part::parse).collect())
        } else {
            Shape::Name(Glob::new(text))
        };
        Pattern {
            domain: domain.clone(),
            include,
            folders_only,
            shape,
        }
    }

    /// The parts of `path` below the domain, if there are any.
    fn below<'a>(&self, path: &'a TreePath) -> Option<&'a str> {
        path.strip_prefix(&self.domain).filter(|rest| !rest.is_empty())
    }
}

impl Part {
    fn parse(text: &str) -> Self {
        match text {
            "" => Part::Empty,
            "**" => Part::AnyFolders,
            text if text.contains("**") => Part::Refused,
            text => Part::Name(Glob::new(text)),
        }
    }
}

/// Whether a pattern with slashes matches: part by part, `**` skipping forward to the next match.
fn path_matches(parts: &[Part], path: &str, folders_only: bool, is_folder: bool) -> bool {
    let mut names = path.split('/').peekable();
    let (mut matched, mut skip) = (false, false);
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Empty => skip = false,
            Part::AnyFolders if index + 1 == parts.len() => break,
            Part::AnyFolders => skip = true,
            Part::Refused => return false,
            Part::Name(glob) => {
                if names.peek().is_none() {
                    return false;
                }
                matched = if skip {
                    names.by_ref().any(|name| glob.matches(name))
                } else {
                    names.next().is_some_and(|name| glob.matches(name))
                };
                if !matched && !skip {
                    return false;
                }
                skip = false;
            }
        }
    }
    matched && !(folders_only && !is_folder && names.peek().is_none())
}

/// The rules of an ignore file or of `spec.ignore`.
fn parse_lines<'a>(text: &'a str, domain: &'a TreePath) -> impl Iterator<Item = Pattern> + 'a {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| Pattern::parse(line, domain))
}

impl Rules {
    /// The rules that hold for `tree`.
    #[must_use]
    pub fn load(tree: &Tree, spec_ignore: Option<&str>) -> Self {
        let root = TreePath::root();
        let mut own: Vec<Pattern> = Vec::new();
        for (path, folder) in ignore_files(tree) {
            if let Ok(file) = tree.file(&path) {
                let text = String::from_utf8_lossy(file.data());
                own.extend(parse_lines(&text, &folder));
            }
        }
        if let Some(text) = spec_ignore {
            own.extend(parse_lines(text, &root));
        }
        let defaults: &[&str] = if own.is_empty() { &DEFAULTS } else { &[] };
        let mut patterns: Vec<Pattern> = GIT_FILES
            .iter()
            .chain(defaults)
            .map(|line| Pattern::parse(line, &root))
            .collect();
        patterns.append(&mut own);
        Rules { patterns }
    }

    /// The rules for the keys of a bucket: only those at its root and the spec's, and no defaults.
    #[must_use]
    pub fn of_keys(root: Option<&str>, spec_ignore: Option<&str>) -> Self {
        let folder = TreePath::root();
        let texts = root.into_iter().chain(spec_ignore);
        Rules {
            patterns: texts.flat_map(|text| parse_lines(text, &folder)).collect(),
        }
    }

    /// Which of these files are excluded, in the same order.
    pub fn excluded<'a>(&self, files: impl IntoIterator<Item = &'a TreePath>) -> Vec<bool> {
        let mut matcher = Matcher::new(self);
        files
            .into_iter()
            .map(|path| matcher.excluded(path, false))
            .collect()
    }

    /// The entries of `tree` that stay.
    pub fn kept<'a>(&self, tree: &'a Tree) -> Vec<(&'a TreePath, &'a Entry)> {
        let mut matcher = Matcher::new(self);
        tree.iter()
            .filter(|(path, entry)| !matcher.excluded(path, matches!(entry, Entry::Folder)))
            .collect()
    }
}

/// The ignore files of a tree: a folder's own before those of its folders, which follow by name.
fn ignore_files(tree: &Tree) -> impl Iterator<Item = (TreePath, TreePath)> {
    let mut files: BTreeMap<Vec<String>, (TreePath, TreePath)> = BTreeMap::new();
    for (path, entry) in tree.iter() {
        if path.name() != Some(IGNORE_FILE) || matches!(entry, Entry::Folder) {
            continue;
        }
        let folder = path.parent().unwrap_or_default();
        if folder.parts().any(|part| part == ".git") {
            continue;
        }
        let order = folder.parts().map(str::to_owned).collect();
        files.insert(order, (path.clone(), folder));
    }
    files.into_values()
}

/// Matches the entries of one tree; what the folders above an entry decide is kept.
struct Matcher<'a> {
    patterns: &'a [Pattern],
    /// Folder → the last pattern that one of its parts' names matches.
    folders: FxHashMap<TreePath, Option<usize>>,
}

impl<'a> Matcher<'a> {
    fn new(rules: &'a Rules) -> Self {
        Matcher {
            patterns: &rules.patterns,
            folders: FxHashMap::default(),
        }
    }

    fn excluded(&mut self, path: &TreePath, is_folder: bool) -> bool {
        let above = path.parent().and_then(|parent| self.folder(&parent));
        let own = self.last_match(path, is_folder, above);
        own.is_some_and(|index| !self.patterns[index].include)
    }

    /// The last pattern that matches the path, if it comes after `floor`.
    fn last_match(&self, path: &TreePath, is_folder: bool, floor: Option<usize>) -> Option<usize> {
        let name = path.name().unwrap_or_default();
        let from = floor.map_or(0, |index| index + 1);
        (from..self.patterns.len())
            .rev()
            .find(|index| {
                let pattern = &self.patterns[*index];
                let Some(rest) = pattern.below(path) else {
                    return false;
                };
                match &pattern.shape {
                    Shape::Name(glob) => (is_folder || !pattern.folders_only) && glob.matches(name),
                    Shape::Path(parts) => path_matches(parts, rest, pattern.folders_only, is_folder),
                }
            })
            .or(floor)
    }

    /// The last name pattern that a part of this folder's path matches.
    fn folder(&mut self, folder: &TreePath) -> Option<usize> {
        if folder.is_root() {
            return None;
        }
        if let Some(known) = self.folders.get(folder) {
            return *known;
        }
        let above = folder.parent().and_then(|parent| self.folder(&parent));
        let name = folder.name().unwrap_or_default();
        let from = above.map_or(0, |index| index + 1);
        let found = (from..self.patterns.len())
            .rev()
            .find(|index| {
                let pattern = &self.patterns[*index];
                match &pattern.shape {
                    Shape::Name(glob) => pattern.below(folder).is_some() && glob.matches(name),
                    Shape::Path(_) => false,
                }
            })
            .or(above);
        self.folders.insert(folder.clone(), found);
        found
    }
}

/// So many excluded files are taken out one by one; more, and the tree is built anew.
const FEW: usize = 16;

/// The tree without what its rules exclude; the same tree if that is nothing.
#[must_use]
pub fn filter(tree: &Tree, spec_ignore: Option<&str>) -> Tree {
    apply(tree, &Rules::load(tree, spec_ignore))
}

/// The tree without what these rules alone exclude, a line each.
#[must_use]
pub fn without(tree: &Tree, lines: &str) -> Tree {
    let patterns = parse_lines(lines, &TreePath::root()).collect();
    apply(tree, &Rules { patterns })
}

fn apply(tree: &Tree, rules: &Rules) -> Tree {
    let kept = rules.kept(tree);
    if kept.len() == tree.len() {
        return tree.clone();
    }
    if tree.len() - kept.len() <= FEW
        && let Some(smaller) = without_few(tree, &kept)
    {
        return smaller;
    }
    let mut builder = TreeBuilder::default();
    for (path, entry) in kept {
        // The paths come from a tree, so they are fit for one.
        let _ = crate::entry::insert(&mut builder, path.as_str(), entry);
    }
    builder.build()
}

/// The tree without what is not kept, if that are no folders, below which something may be kept.
fn without_few(tree: &Tree, kept: &[(&TreePath, &Entry)]) -> Option<Tree> {
    let mut kept = kept.iter().peekable();
    let mut builder = tree.to_builder();
    for (path, entry) in tree.iter() {
        if kept.next_if(|(next, _)| *next == path).is_some() {
            continue;
        }
        if matches!(entry, Entry::Folder) {
            return None;
        }
        builder.remove(path);
    }
    Some(builder.build())
}

#[cfg(test)]
mod tests {
    use fluvial_tree::File;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut builder = TreeBuilder::default();
        for (path, text) in files {
            builder.file(path, File::new(text.as_bytes(), false)).unwrap();
        }
        builder.build()
    }

    fn names(tree: &Tree) -> Vec<&str> {
        tree.iter()
            .filter(|(_, entry)| matches!(entry, Entry::File(_)))
            .map(|(path, _)| path.as_str())
            .collect()
    }

    #[test]
    fn without_rules_the_defaults_hold() {
        let tree = tree(&[
            ("a.yaml", ""),
            ("a.png", ""),
            (".gitignore", ""),
            (".github/x.yml", ""),
            ("sub/.sops.yaml", ""),
        ]);
        assert_eq!(names(&filter(&tree, None)), ["a.yaml"]);
    }

    #[test]
    fn own_rules_replace_the_defaults_but_not_the_git_files() {
        let tree = tree(&[("a.yaml", ""), ("a.png", ""), (".gitignore", "")]);
        assert_eq!(names(&filter(&tree, Some("*.yaml"))), ["a.png"]);
        assert_eq!(
            names(&filter(&tree, Some("!.gitignore"))),
            [".gitignore", "a.png", "a.yaml"]
        );
    }

    #[test]
    fn an_ignored_folder_does_not_hide_what_a_later_rule_brings_back() {
        let tree = tree(&[("sub/a", ""), ("sub/b", ""), ("x", "")]);
        assert_eq!(names(&filter(&tree, Some("sub/\n!sub/a"))), ["sub/a", "x"]);
    }

    #[test]
    fn an_ignore_file_is_limited_to_its_folder() {
        let tree = tree(&[
            ("sub/.sourceignore", "/a\n"),
            ("sub/a", ""),
            ("a", ""),
            ("sub/x/a", ""),
        ]);
        assert_eq!(names(&filter(&tree, None)), ["a", "sub/.sourceignore", "sub/x/a"]);
    }

    #[test]
    fn a_tree_of_which_all_stays_is_not_copied() {
        let tree = tree(&[("a", ""), ("b/c", "")]);
        assert_eq!(filter(&tree, None).len(), tree.len());
    }
}

//! What one build shares between its steps: the options, the files it has read, the warnings, the
//! schema in force. Nothing outlives the build, so builds run side by side.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use fluvial_tree::{Digest, TreePath};
use fluvial_yaml::{FileId, Node, Pos};

use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::facts::{SchemaSet, Scope};
use crate::options::Options;
use crate::remote::{ChartRenderer, RemoteResolver};

/// The most resources that one build may hold.
const MAX_RESOURCES: usize = 200_000;
/// The most kustomizations below each other.
pub(crate) const MAX_DEPTH: usize = 100;
/// The most kustomizations in one build.
const MAX_KUSTOMIZATIONS: usize = 20_000;

/// A message that does not fail the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The text, as kustomize prints it.
    pub message: String,
    /// The file that it is about.
    pub file: Option<String>,
}

/// What a build has read of its own tree, for telling whether a later tree would build the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Files with their digests; no digest: it was looked for and not there.
    pub files: BTreeMap<TreePath, Option<Digest>>,
    /// Whether something outside of the tree, or a chart, was read, so that nothing can be said.
    pub remote: bool,
}

impl Reads {
    /// Whether the same build of another tree reads the same.
    #[must_use]
    pub fn same_in(&self, tree: &fluvial_tree::Tree) -> bool {
        !self.remote
            && self
                .files
                .iter()
                .all(|(path, digest)| tree.file(path).ok().map(fluvial_tree::File::digest) == *digest)
    }
}

pub(crate) struct Session<'a> {
    pub(crate) options: &'a Options,
    pub(crate) remote: &'a dyn RemoteResolver,
    pub(crate) charts: &'a dyn ChartRenderer,
    schemas: RefCell<Option<Arc<SchemaSet>>>,
    schema_chosen: Cell<bool>,
    files: RefCell<Vec<String>>,
    warnings: RefCell<Vec<Warning>>,
    reads: RefCell<Reads>,
    pub(crate) budget: Budget,
    resources: Cell<usize>,
    kustomizations: Cell<usize>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        options: &'a Options,
        remote: &'a dyn RemoteResolver,
        charts: &'a dyn ChartRenderer,
    ) -> Self {
        Session {
            options,
            remote,
            charts,
            schemas: RefCell::new(None),
            schema_chosen: Cell::new(false),
            files: RefCell::default(),
            warnings: RefCell::default(),
            reads: RefCell::default(),
            budget: Budget::default(),
            resources: Cell::new(0),
            kustomizations: Cell::new(0),
        }
    }

    /// Numbers a file.
    pub(crate) fn add_file(&self, name: &str) -> FileId {
        let mut files = self.files.borrow_mut();
        files.push(name.to_owned());
        FileId(u32::try_from(files.len() - 1).unwrap_or(u32::MAX - 1))
    }

    /// The name of a file; empty if it has none.
    pub(crate) fn file_name(&self, file: FileId) -> String {
        self.files
            .borrow()
            .get(file.0 as usize)
            .cloned()
            .unwrap_or_default()
    }

    /// Says where in a file an error is.
    pub(crate) fn at(&self, error: Error, pos: Pos) -> Error {
        if pos.file == FileId::NONE {
            error
        } else {
            error.at(self.file_name(pos.file), pos.line)
        }
    }

    /// Notes that a file of the own tree was looked at.
    pub(crate) fn read(&self, path: &TreePath, digest: Option<Digest>) {
        self.reads.borrow_mut().files.insert(path.clone(), digest);
    }

    /// Notes that something outside was read.
    pub(crate) fn read_remote(&self) {
        self.reads.borrow_mut().remote = true;
    }

    pub(crate) fn warn(&self, message: impl Into<String>, file: Option<&str>) {
        self.warnings.borrow_mut().push(Warning {
            message: message.into(),
            file: file.map(str::to_owned),
        });
    }

    /// Counts resources as they are loaded.
    pub(crate) fn count_resources(&self, more: usize) -> Result<()> {
        let total = self.resources.get() + more;
        self.resources.set(total);
        if total > MAX_RESOURCES {
            return Err(Error::new(format!(
                "the build loads more than {MAX_RESOURCES} resources; split it"
            )));
        }
        Ok(())
    }

    /// Whether resources were loaded already.
    pub(crate) fn has_resources(&self) -> bool {
        self.resources.get() > 0
    }

    /// Counts kustomizations as they are entered.
    pub(crate) fn count_kustomization(&self) -> Result<()> {
        let total = self.kustomizations.get() + 1;
        self.kustomizations.set(total);
        if total > MAX_KUSTOMIZATIONS {
            return Err(Error::new(format!(
                "the build enters more than {MAX_KUSTOMIZATIONS} kustomizations; split it"
            )));
        }
        Ok(())
    }

    /// Takes a kustomization's own schema, or its word that the built-in one is meant; what an
    /// outer kustomization chose stays.
    pub(crate) fn choose_schema(&self, schemas: Option<Arc<SchemaSet>>) {
        if !self.schema_chosen.replace(true) {
            self.schemas.replace(schemas);
        }
    }

    /// Whether a schema was chosen already.
    pub(crate) fn schema_chosen(&self) -> bool {
        self.schema_chosen.get()
    }

    /// Whether objects of this kind have no namespace. What is built in holds beside any schema.
    pub(crate) fn is_cluster_scoped(&self, api_version: &str, kind: &str) -> bool {
        crate::facts::is_cluster_scoped(api_version, kind)
            || self
                .schemas
                .borrow()
                .as_ref()
                .is_some_and(|schemas| schemas.scope(api_version, kind) == Some(Scope::Cluster))
    }

    /// The schemas that merges follow; none: the built-in ones.
    pub(crate) fn schemas(&self) -> Option<Arc<SchemaSet>> {
        self.schemas.borrow().clone()
    }

    pub(crate) fn finish(self) -> (Vec<String>, Vec<Warning>, Reads) {
        (
            self.files.into_inner(),
            self.warnings.into_inner(),
            self.reads.into_inner(),
        )
    }

    /// The line of a node as an error's place.
    pub(crate) fn about(&self, error: Error, node: &Node) -> Error {
        self.at(error, node.pos)
    }
}
